//! The options of `terminology`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of the `terminology` transform.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TerminologyConfig {
    /// The column to look up, of text or integers.
    pub column: String,
    /// The mapping table, as `maps:FOLDER`.
    #[schemars(schema_with = "clinmill_sdk::mapping_ref")]
    pub map: String,
    /// What the column holds: `name` (compared as written, then without differences of case, width, spaces, traditional
    /// characters and at last punctuation) or `code` (compared as written).
    #[serde(default)]
    pub by: By,
    /// The column of the source's unit, of text. It must fit a row's `when_unit`; a row without one is not taken where the
    /// unit measures something else than the target, such as `%` for a count.
    #[serde(default)]
    pub unit: Option<String>,
    /// A column with units that stood in the values' own texts (`_unit` of `labvalue`); where it has one, it goes before
    /// `unit`, as in the step `units`.
    #[serde(default)]
    pub unit_in_value: Option<String>,
    /// A column with what the values are (`_kind` of `labvalue`). A titre gets no code but one of a titre, a number
    /// without a unit none of presence, and a word one of presence where the name has one.
    #[serde(default)]
    pub kind: Option<String>,
    /// The column of the source's specimen, of text. It must fit a row's `when_specimen`; a row without one is not taken
    /// where the target is of another specimen, such as urine for blood.
    #[serde(default)]
    pub specimen: Option<String>,
    /// The column of the day the value is of (a date or a timestamp), for rows of the table that have `valid_from` or
    /// `valid_to`. Without it, rows that have ended do not count.
    #[serde(default)]
    pub date: Option<String>,
    /// Prefix of the new columns `_code`, `_system`, `_name`, `_status` and, where the table has units, `_unit`.
    /// Without it: the name of the column.
    #[serde(default, rename = "as")]
    pub prefix: Option<String>,
    /// What happens to a row whose value has no single target: `keep` (with nulls and its status) or `reject`.
    #[serde(default)]
    pub unmapped: Unmapped,
}

/// What the column holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The table's `source_name`.
    #[default]
    Name,
    /// The table's `source_code`.
    Code,
}

/// What happens to a row without a single target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unmapped {
    /// The row stays, its new columns are null, its status says why.
    #[default]
    Keep,
    /// The row is rejected.
    Reject,
}
