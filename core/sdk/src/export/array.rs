//! Arrays across the boundary: the Arrow C Data Interface without a copy, both ways. What comes from a plugin is checked
//! as far as memory can be: lengths, offsets, UTF-8, nulls. That a pointer leads to as many bytes as it should, nobody can.

mod export;
mod import;

pub use export::{export_batch, export_columns};
pub use import::{Lent, Moved, Releases, Trust, import_columns};

/// How many rows a batch may have.
pub const MOST_ROWS: usize = 1 << 24;
