//! The options of `labvalue`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of the `labvalue` transform.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabvalueConfig {
    /// The column of results, text. It stays as it is.
    pub column: String,
    /// Prefix of the new columns. Without it: the name of the column.
    #[serde(default, rename = "as")]
    pub prefix: Option<String>,
    /// The column of units beside the results, text. With it, a power of ten that stands in the text and in the unit
    /// (`5.6×10^9` beside `10^9/L`) is read once, `+3` beside a unit is a number, and `-` beside that of a quantity no result.
    #[serde(default)]
    pub unit: Option<String>,
    /// A column of reference ranges, text. With it, `_range_low`, `_range_high`, `_range_qualitative` and
    /// `_range_unit` are added.
    #[serde(default)]
    pub range: Option<String>,
    /// A column with the sex (`M`, `F`, `男`, `女`, `1`, `2`), for reference ranges that depend on it.
    #[serde(default)]
    pub sex: Option<String>,
    /// A column with the age in years, a number, for reference ranges that depend on it.
    #[serde(default)]
    pub age: Option<String>,
    /// Digits after the point of the numbers, 0 to 18. What has more is rounded and counted as `rounded`.
    #[serde(default = "ten")]
    pub scale: u8,
    /// What a comma within digits is: `auto` (by the digits behind it; `1,234` could be both and stays unparsed),
    /// `decimal` or `thousands`.
    #[serde(default)]
    pub comma: Comma,
    /// What happens to a row whose text does not parse: `keep` (with nulls, counted by its pattern) or `reject`.
    #[serde(default)]
    pub unparsed: Unparsed,
}

/// What a comma within digits is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Comma {
    /// Told by the digits behind it.
    #[default]
    Auto,
    /// A decimal point.
    Decimal,
    /// A separator of thousands.
    Thousands,
}

/// What happens to a row whose text does not parse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unparsed {
    /// The row stays, its new columns are null.
    #[default]
    Keep,
    /// The row is rejected.
    Reject,
}

fn ten() -> u8 {
    10
}
