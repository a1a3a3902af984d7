//! The options of `datetime`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of the `datetime` transform.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatetimeConfig {
    /// The column of text (or integers such as 20260420) to read.
    pub column: String,
    /// The formats to try, in this order; the first that fits the whole text is taken.
    #[serde(default = "iso")]
    pub formats: Vec<Format>,
    /// Name of the new column. Without it, the column itself is replaced.
    #[serde(default, rename = "as")]
    pub output: Option<String>,
    /// True: the result is a date; what the text says of the time of day is left out.
    #[serde(default)]
    pub date: bool,
    /// Name of a new column that says how much the text gave: `year`, `month`, `day`, `hour`, `minute` or `second`.
    #[serde(default)]
    pub precision: Option<String>,
    /// Name of a new column that is true where the local time occurs twice or not at all (clock changes, in China
    /// 1986 to 1991) and the text has no offset.
    #[serde(default)]
    pub ambiguous: Option<String>,
    /// The time zone that texts with an offset are converted to, an IANA name. Without it: the pipeline's.
    #[serde(default)]
    pub timezone: Option<String>,
    /// What happens to a row whose text fits no format: `reject` it, or set the result to `null` and count it.
    #[serde(default, deserialize_with = "on_error")]
    #[schemars(with = "Option<OnError>")]
    pub on_error: OnError,
}

/// A named format. Square brackets mark what may be missing; full-width digits and signs are read like ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Format {
    /// ISO 8601: `YYYY[-MM[-DD[Thh[:mm[:ss[.f]]][Z|+hh:mm]]]]`; a space may stand for the `T`.
    #[serde(rename = "iso")]
    Iso,
    /// HL7 v2 TS: `YYYY[MM[DD[HH[MM[SS[.S]]]]]][+ZZZZ]`.
    #[serde(rename = "hl7")]
    Hl7,
    /// `20260420`.
    #[serde(rename = "yyyymmdd")]
    CompactDate,
    /// `20260420083000`.
    #[serde(rename = "yyyymmddhhmmss")]
    CompactTime,
    /// `2026-4-20 8:30[:00]`; month, day and hour with one or two digits.
    #[serde(rename = "yyyy-mm-dd hh:mm[:ss]")]
    DashTime,
    /// `2026/4/20[ 8:30[:00]]`; month, day and hour with one or two digits.
    #[serde(rename = "yyyy/m/d")]
    Slash,
    /// `2026年4月20日`, also `二〇二六年四月二十日`.
    #[serde(rename = "yyyy年m月d日")]
    ChineseDate,
    /// `2026年4月20日 8时[30分[5秒]]`, also with `8:30[:05]`, `点` for `时` and Chinese numerals.
    #[serde(rename = "yyyy年m月d日 h时[m分]")]
    ChineseTime,
}

/// What happens to a row whose text fits no format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The row is rejected.
    #[default]
    Reject,
    /// The result is null; the row is counted as `unparsed`.
    Null,
}

fn iso() -> Vec<Format> {
    vec![Format::Iso]
}

/// In YAML an unquoted `null` is no text.
fn on_error<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<OnError, D::Error> {
    Ok(Option::<OnError>::deserialize(deserializer)?.unwrap_or(OnError::Null))
}
