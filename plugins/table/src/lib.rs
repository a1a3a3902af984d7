//! clinmill plugin table.
