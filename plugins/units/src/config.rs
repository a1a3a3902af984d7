//! The options of `units`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of the `units` transform.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitsConfig {
    /// The column of values: decimals, integers or floating-point numbers. It stays as it is.
    pub value: String,
    /// The column of units as the source writes them. It stays as it is.
    pub unit: String,
    /// A column with units that stood in the values' own texts (`_unit` of `labvalue`); where it has one, it goes
    /// before `unit`.
    #[serde(default)]
    pub unit_in_value: Option<String>,
    /// The unit to convert to, a UCUM code, the same for all rows.
    #[serde(default)]
    pub to: Option<String>,
    /// A column with the unit to convert to, UCUM codes (`_unit` of `terminology`). A row without one keeps its value.
    #[serde(default)]
    pub to_column: Option<String>,
    /// Further columns to convert with the same factor, such as the ends of a value that is a range: the result of `x` is
    /// `<as>_x`. Reference ranges belong in `ranges`.
    #[serde(default)]
    pub also: Vec<String>,
    /// Columns of reference ranges (`_range_low` and `_range_high` of `labvalue`), which are written in a unit of their
    /// own (`unit_in_range`) or else in that of `unit`, whatever the value's text has. The result of `x` is `<as>_x`, in
    /// the unit of the result, or null and counted.
    #[serde(default)]
    pub ranges: Vec<String>,
    /// A column with units that stood in the texts of the reference ranges (`_range_unit` of `labvalue`); where it has
    /// one, it goes before `unit`.
    #[serde(default)]
    pub unit_in_range: Option<String>,
    /// A table of spellings, as `maps:FOLDER`.
    #[serde(default)]
    #[schemars(schema_with = "clinmill_sdk::mapping_ref")]
    pub map: Option<String>,
    /// A table that says what one unit of an analyte is in another, such as its molar mass, as `maps:FOLDER`.
    #[serde(default)]
    #[schemars(schema_with = "clinmill_sdk::mapping_ref")]
    pub analytes: Option<String>,
    /// The column that names the analyte, by `source_code` or `source_name` of the table `analytes`.
    #[serde(default)]
    pub analyte: Option<String>,
    /// Prefix of the new columns `_value`, `_unit`, `_factor`, `_rule` and `_status`.
    #[serde(default = "standard", rename = "as")]
    pub prefix: String,
    /// Digits after the point of the results, 0 to 18; the last one is rounded to the nearest. 6 where the results go into a
    /// table's column of `type: decimal`, which holds no more.
    #[serde(default = "ten")]
    pub scale: u8,
    /// What happens to a row whose unit is unknown or measures something else: `reject` it, or set the result to `null`
    /// and count it.
    #[serde(default, deserialize_with = "on_error")]
    #[schemars(with = "Option<OnError>")]
    pub on_error: OnError,
}

/// What happens to a row that cannot be converted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The row is rejected.
    #[default]
    Reject,
    /// The result is null; the row is counted, and `_status` says why.
    Null,
}

fn standard() -> String {
    "standard".to_owned()
}

fn ten() -> u8 {
    10
}

/// In YAML an unquoted `null` is no text.
fn on_error<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<OnError, D::Error> {
    Ok(Option::<OnError>::deserialize(deserializer)?.unwrap_or(OnError::Null))
}
