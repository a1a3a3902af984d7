//! Names that the engine owns. A pipeline may not give them to its own columns.

/// The keyed id of the subject a row is about, in every subject-scope table and SQL input.
pub const SUBJECT_ID: &str = "subject_id";
/// A row's stable identity, unique in its table.
pub const ROW_ID: &str = "_row_id";
/// The release in which a row took its present form.
pub const RELEASE: &str = "_release";
/// Where a row comes from, as a buyer may see it: a struct of source, method, rule and pipeline digest.
pub const PROV: &str = "_prov";
/// In change files: `U` (upserted) or `D` (deleted).
pub const OP: &str = "_op";
/// In change files, on `U`: new, late, corrected or restandardized.
pub const CAUSE: &str = "_cause";
/// Lineage: the input rows an output row was made of.
pub const INPUTS: &str = "_in";

/// True for a name that only the engine may give: everything that begins with an underscore.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with('_')
}
