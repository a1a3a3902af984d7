//! The rows of a table in Parquet: writing base and change files, and folding them into a state.
//!
//! Base and change files are sorted by (`subject_id`, `_row_id`), tables without subjects by `_row_id`. In one
//! change file list a row id occurs once. Everything streams; memory depends on the batch size, the number of change
//! levels and the number of moved rows (48 bytes each), not on the size of the table.

mod fold;
mod plan;
mod read;
mod writer;

pub use fold::{Fold, fold};
pub use plan::{OVERLAY_PERCENT, SMALL_BASE, StoragePlan, plan_storage};
pub(super) use read::text;
pub use read::{BatchReader, adapt, read_files};
pub use writer::{FileTarget, TableWriter, WriterOptions};

#[cfg(test)]
mod tests;
