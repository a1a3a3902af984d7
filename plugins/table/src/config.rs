//! The options of the plugin. This is the reference manual: the JSON Schema is made from it.

use crate::{date::DateFormat, plan};
use clinmill_sdk::{Findings, decode::Encoding};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use std::{borrow::Cow, fmt, marker::PhantomData};

/// Options of the source plugin `table`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file format. `auto` looks at the content: a zip archive with a workbook is XLSX, `PAR1` is Parquet,
    /// everything else is CSV.
    #[serde(default)]
    pub format: Format,
    /// Character encoding of CSV.
    #[serde(default)]
    pub encoding: Encoding,
    /// What separates the fields of CSV: one ASCII character. Default: found among `,`, `;`, TAB and `|`.
    pub delimiter: Option<char>,
    /// What encloses fields of CSV that hold delimiters or line ends: one ASCII character; `null` for none.
    #[serde(default = "quote")]
    pub quote: Option<char>,
    /// The row of the column names, counted from 1; rows above it are skipped. Parquet has none.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub header_row: u32,
    /// The sheet of an XLSX workbook by name, or by number from 1. Default: the first that is not hidden.
    pub sheet: Option<Sheet>,
    /// Columns in which an empty cell takes the value above it (merged cells). CSV is then read in one piece.
    #[serde(default)]
    pub fill_down: Vec<String>,
    /// Whom a row is about: `none` for reference tables.
    pub subject: Subject,
    /// What makes a record the same record when it comes again: column headers, captured path names, or the name
    /// column of `unpivot`. `[]`: one record per subject. Default: its content.
    pub key: Option<Vec<String>>,
    /// The record's own version, comparable as text: a column, or a column with its format.
    pub version: Option<Version>,
    /// The columns of the records: header to output name, or to name, type and format. A captured path name may stand
    /// for a header.
    #[serde(default)]
    pub columns: Columns,
    /// Values that mean "nothing". An empty cell always does.
    #[serde(default)]
    pub null_values: Vec<String>,
    /// Wide to long: one record per filled cell of these columns.
    pub unpivot: Option<Unpivot>,
    /// Rows to keep: header to a value or a list of values; other rows are counted as filtered.
    #[serde(default, rename = "where")]
    pub only: Conditions,
    /// Several kinds of record from the same rows, by name; instead of `key`, `columns`, `unpivot` and `where` above.
    pub records: Option<Records>,
    /// The most bytes that one quoted field of CSV may have before its quote counts as never closed.
    #[serde(default = "max_field")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub max_field: usize,
    /// The most bytes an XLSX workbook may unpack to.
    #[serde(default = "max_unpacked")]
    pub max_unpacked: u64,
}

fn quote() -> Option<char> {
    Some('"')
}
const fn one() -> u32 {
    1
}
const fn max_field() -> usize {
    1 << 20
}
const fn max_unpacked() -> u64 {
    4 << 30
}

/// A file format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// By content.
    #[default]
    Auto,
    /// Delimited text.
    Csv,
    /// An Excel workbook (ECMA-376).
    Xlsx,
    /// Apache Parquet.
    Parquet,
}

/// A sheet of a workbook.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Sheet {
    /// By number, from 1.
    Number(u32),
    /// By name.
    Name(String),
}

/// Whom a row is about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Subject {
    /// Nobody: a reference table.
    None(NoSubject),
    /// A subject.
    Of(SubjectOptions),
}

/// The word `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum NoSubject {
    /// `none`.
    #[serde(rename = "none")]
    None,
}

/// Where the subject's identifier stands and who issued it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubjectOptions {
    /// The column of the identifier, or a captured path name.
    pub id: String,
    /// Who issued it: this text.
    pub issuer: String,
    /// Further identifiers of the same subject in the row, such as the number of a visit: rows of other sources under one
    /// of them are then about this subject. Each that is new to an input counts as one more record read.
    #[serde(default)]
    pub also: Vec<Identifier>,
}

/// An identifier beside the subject's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identifier {
    /// The column of the identifier, or a captured path name.
    pub id: String,
    /// Who issued it: this text.
    pub issuer: String,
}

/// The record's own version.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Version {
    /// A column whose text can be compared.
    Column(String),
    /// A column that is first read as a time.
    Time(VersionOptions),
}

/// A version that is a time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionOptions {
    /// The column.
    pub column: String,
    /// Its format, as for columns. A row whose version does not fit it is rejected.
    pub format: String,
}

/// One output column.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Column {
    /// The output name of a string column.
    Name(String),
    /// Name, type and format.
    Options(ColumnOptions),
}

/// Name, type and format of an output column.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnOptions {
    /// The output name.
    pub name: String,
    /// The type of its values.
    #[serde(default, rename = "type")]
    pub kind: Type,
    /// How dates and times are written: `iso` (default), `excel` (serial numbers) or a pattern such as `yyyymmdd`,
    /// `yyyy/m/d h:mm:ss`, `yyyy年m月d日 h时`. One letter is a number of one or two digits, two letters are exactly
    /// two; `m` after `h` is the minute. Date cells of XLSX and Parquet need no format.
    pub format: Option<String>,
    /// Digits after the point of a `decimal`; default 6. A value with more is rejected, never rounded.
    #[schemars(range(max = 38))]
    pub scale: Option<u8>,
    /// Files may lack the column: its values are null there.
    #[serde(default)]
    pub optional: bool,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Text as it stands.
    #[default]
    String,
    /// 64-bit whole number.
    Integer,
    /// Exact decimal of 38 digits.
    Decimal,
    /// 64-bit floating point.
    Number,
    /// `true false 1 0 yes no y n t f 是 否`.
    Boolean,
    /// A day.
    Date,
    /// A local date and time, to the microsecond; one with its offset from UTC becomes a time of the pipeline's zone.
    Timestamp,
}

/// Wide to long.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unpivot {
    /// The columns to turn into records: `"*"` (all that no other option names), a list of headers, or header to the
    /// name they get (`null`: the header itself).
    pub columns: UnpivotColumns,
    /// With `"*"`: headers to leave out; `""` are the columns without one.
    #[serde(default)]
    pub except: Vec<String>,
    /// The output column of the header.
    pub name: String,
    /// The output column of the value: its name, or name, type and format.
    pub value: Column,
}

/// Which columns become records.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum UnpivotColumns {
    /// All that no other option names.
    All(Star),
    /// These headers.
    List(Vec<String>),
    /// These headers under these names.
    Named(Ordered<Option<String>>),
}

/// The word `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Star {
    /// `*`.
    #[serde(rename = "*")]
    All,
}

/// One kind of record.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// As `key` of the source.
    pub key: Option<Vec<String>>,
    /// As `columns` of the source.
    #[serde(default)]
    pub columns: Columns,
    /// As `unpivot` of the source.
    pub unpivot: Option<Unpivot>,
    /// As `where` of the source.
    #[serde(default, rename = "where")]
    pub only: Conditions,
}

/// A value, or one of several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Condition {
    /// This value.
    Is(String),
    /// One of these.
    In(Vec<String>),
}

impl Condition {
    /// The allowed values.
    pub fn values(&self) -> &[String] {
        match self {
            Self::Is(value) => std::slice::from_ref(value),
            Self::In(values) => values,
        }
    }
}

/// Header to output column.
pub type Columns = Ordered<Column>;
/// Name to kind of record.
pub type Records = Ordered<Record>;
/// Header to allowed values.
pub type Conditions = Ordered<Condition>;

/// A map that keeps the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered<T>(pub Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Ordered<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", T::schema_name()).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let value = generator.subschema_for::<T>();
        schemars::json_schema!({ "type": "object", "additionalProperties": value })
    }
}

/// What JSON Schema cannot say about the options.
pub fn check(config: &Config, findings: &mut Findings) {
    for (name, value) in [("delimiter", config.delimiter), ("quote", config.quote)] {
        if value.is_some_and(|c| !c.is_ascii() || matches!(c, '\r' | '\n' | '\0') || c.is_ascii_alphanumeric()) {
            findings.add(
                format!("/{name}"),
                "TABLE_DIALECT",
                "must be an ASCII character that stands in no word",
            );
        }
    }
    if config.delimiter.is_some() && config.delimiter == config.quote {
        findings.add("/quote", "TABLE_DIALECT", "must differ from the delimiter");
    }
    if config.header_row == 0 || config.sheet == Some(Sheet::Number(0)) {
        let at = if config.header_row == 0 {
            "/header_row"
        } else {
            "/sheet"
        };
        findings.add(at, "TABLE_COUNT", "counts from 1");
    }
    if let Some(Version::Time(version)) = &config.version {
        check_format(&version.format, "/version/format", findings);
    }
    let Some(records) = &config.records else {
        check_record(&plan::only_record(config), "", findings);
        return;
    };
    let twice = [
        ("key", config.key.is_some()),
        ("columns", !config.columns.0.is_empty()),
        ("unpivot", config.unpivot.is_some()),
        ("where", !config.only.0.is_empty()),
    ];
    for (name, _) in twice.iter().filter(|(_, given)| *given) {
        findings.add(
            format!("/{name}"),
            "TABLE_RECORDS",
            "belongs into each entry of `records` where there are several kinds",
        );
    }
    if records.0.is_empty() {
        findings.add("/records", "TABLE_RECORDS", "names no kind of record");
    }
    for (name, record) in &records.0 {
        check_record(record, &format!("/records/{}", escape(name)), findings);
    }
}

fn check_record(record: &Record, at: &str, findings: &mut Findings) {
    let mut taken: Vec<String> = Vec::new();
    for (header, column) in &record.columns.0 {
        let pointer = format!("{at}/columns/{}", escape(header));
        check_column(column, &pointer, findings);
        if column.is_optional() && plan::key_columns(record).any(|name| name == column.name()) {
            let message = "a column of the key cannot be optional: its records would be others once files have it";
            findings.add(format!("{pointer}/optional"), "TABLE_OPTIONAL", message);
        }
        claim(column.name(), pointer, &mut taken, findings);
    }
    if let Some(unpivot) = &record.unpivot {
        claim(&unpivot.name, format!("{at}/unpivot/name"), &mut taken, findings);
        check_column(&unpivot.value, &format!("{at}/unpivot/value"), findings);
        if unpivot.value.is_optional() {
            let message = "goes with `columns` only: a cell that is not there becomes no record";
            findings.add(format!("{at}/unpivot/value/optional"), "TABLE_OPTIONAL", message);
        }
        claim(
            unpivot.value.name(),
            format!("{at}/unpivot/value"),
            &mut taken,
            findings,
        );
        if !unpivot.except.is_empty() && !matches!(unpivot.columns, UnpivotColumns::All(_)) {
            findings.add(
                format!("{at}/unpivot/except"),
                "TABLE_UNPIVOT",
                "goes with `columns: \"*\"` only",
            );
        }
    } else if record.columns.0.is_empty() {
        let hint = "name the columns: `columns: { HEADER: output_name }`";
        findings.add_with_hint(
            at,
            "TABLE_NO_COLUMNS",
            "no columns: what a source yields must be known before it reads",
            hint,
        );
    }
    for (i, key) in record.key.iter().flatten().enumerate() {
        let known = plan::key_column(record, key).is_some();
        if !known && (key.starts_with('_') || key == "subject_id" || taken.iter().any(|name| name == key)) {
            findings.add(
                format!("{at}/key/{i}"),
                "TABLE_KEY",
                format!("{key:?} cannot be added as a column; map it in `columns`"),
            );
        }
    }
}

/// Takes an output name, once.
fn claim(name: &str, pointer: String, taken: &mut Vec<String>, findings: &mut Findings) {
    if name.is_empty() || name.starts_with('_') || name == "subject_id" {
        findings.add_with_hint(
            pointer,
            "TABLE_NAME",
            format!("the name {name:?} belongs to the engine"),
            "give the column another name; `subject` says whom a row is about",
        );
    } else if taken.iter().any(|other| other == name) {
        findings.add(pointer, "TABLE_NAME", format!("two columns are named {name:?}"));
    } else {
        taken.push(name.to_owned());
    }
}

fn check_column(column: &Column, at: &str, findings: &mut Findings) {
    let Column::Options(options) = column else { return };
    let is_time = matches!(options.kind, Type::Date | Type::Timestamp);
    if let Some(format) = &options.format {
        if is_time {
            check_format(format, &format!("{at}/format"), findings);
        } else {
            findings.add(
                format!("{at}/format"),
                "TABLE_FORMAT",
                "goes with the types date and timestamp only",
            );
        }
    }
    if let Some(scale) = options.scale {
        if options.kind != Type::Decimal {
            findings.add(format!("{at}/scale"), "TABLE_SCALE", "goes with the type decimal only");
        } else if scale > 38 {
            findings.add(format!("{at}/scale"), "TABLE_SCALE", "is at most 38");
        }
    }
}

fn check_format(format: &str, at: &str, findings: &mut Findings) {
    if DateFormat::parse(format).is_none() {
        let hint = "use `iso`, `excel`, or a pattern of yyyy, m, d, h, m, s such as `yyyy/m/d h:mm`";
        findings.add_with_hint(at, "TABLE_FORMAT", format!("{format:?} is no date format"), hint);
    }
}

/// A key of a map as part of an RFC 6901 pointer.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

impl Column {
    /// The output name.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Options(options) => &options.name,
        }
    }

    /// Whether files may lack it.
    pub const fn is_optional(&self) -> bool {
        matches!(self, Self::Options(ColumnOptions { optional: true, .. }))
    }
}
