//! The `clinmill` command.
fn main() {}
