//! The options of `map`.

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use std::{collections::BTreeMap, fmt};

/// Options of the `map` transform. First columns are renamed, then `set` computes columns from the renamed ones, then
/// `keep` or `drop` chooses.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapConfig {
    /// New names of columns, by their old ones.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Columns to compute, by name: one that is there is replaced in its place, others follow in this order.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Column>")]
    pub set: InOrder,
    /// The columns that stay, in this order. Without it, all.
    #[serde(default)]
    pub keep: Option<Vec<String>>,
    /// The columns that go.
    #[serde(default)]
    pub drop: Vec<String>,
}

/// A column to compute: from a column (of its own name, if nothing else is said), a constant or an expression.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The column to take the value from.
    #[serde(default)]
    pub from: Option<String>,
    /// A constant: text, a number or a boolean.
    #[serde(default)]
    pub value: Option<Scalar>,
    /// An expression; the README describes the language.
    #[serde(default)]
    pub expr: Option<String>,
    /// The type to cast to. Dates and timestamps are read as ISO 8601; the step `datetime` reads other formats.
    #[serde(default, rename = "type")]
    pub data_type: Option<TypeName>,
    /// Digits after the point, with `type: decimal`.
    #[serde(default = "six")]
    #[schemars(range(min = 0, max = 18))]
    pub scale: i8,
    /// What stands for a value that is absent (not for one that failed), after the cast.
    #[serde(default)]
    pub default: Option<Scalar>,
    /// What happens to a row whose value cannot be cast or computed: `reject` it, or set the value to `null` and count
    /// it.
    #[serde(default, deserialize_with = "on_error")]
    #[schemars(with = "Option<OnError>")]
    pub on_error: OnError,
}

/// The types of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TypeName {
    /// Text.
    String,
    /// 64 bits, signed.
    Integer,
    /// 38 digits, of which `scale` after the point.
    Decimal,
    /// Floating point, 64 bits.
    Number,
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// A local time in microseconds.
    Timestamp,
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// Text.
    String(String),
}

/// What happens to a row whose value cannot be cast or computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The row is rejected.
    #[default]
    Reject,
    /// The value is null; the row is counted as `failed`.
    Null,
}

/// Columns by name, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct InOrder(pub Vec<(String, Column)>);

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = InOrder;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("columns by name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(InOrder(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

fn six() -> i8 {
    6
}

/// In YAML an unquoted `null` is no text.
fn on_error<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OnError, D::Error> {
    Ok(Option::<OnError>::deserialize(deserializer)?.unwrap_or(OnError::Null))
}
