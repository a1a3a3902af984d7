//! The options, which are also the reference manual.

use crate::{
    error,
    path::{self, Path},
};
use clinmill_sdk::{Findings, decode::Encoding};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

/// Options of the source `hl7v2`.
///
/// A path names a place in a segment: `PID-3.1` is the first component of field 3 of the segment PID, `PID-3[2].1`
/// that of its second repetition, `OBX-5` the whole field as it stands, with its separators. Escapes are decoded.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hl7Config {
    /// Whom the records are about.
    pub subject: SubjectConfig,
    /// The record kinds, by name: one record per segment of the named kind.
    pub records: Ordered<RecordConfig>,
    /// Message types to read, by MSH-9: `ADT` (all triggers) or `ORU^R01`. Others are counted as filtered. Default: all.
    #[serde(default)]
    pub messages: Vec<String>,
    /// Character encoding. `auto`: what each message says in MSH-18; where it says nothing, UTF-8 if its bytes are
    /// that, else GB18030. Anything else overrides MSH-18.
    #[serde(default)]
    pub encoding: Encoding,
    /// Longest message in bytes. A longer one is rejected as a whole and is not held in memory.
    #[serde(default = "max_message")]
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_message: u64,
}

const fn max_message() -> u64 {
    64 << 20
}

/// Whom the records are about.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubjectConfig {
    /// Path of the identifier, such as `PID-3.1`.
    pub id: String,
    /// Who issued it: a path such as `PID-3.4`, or any other text, which then stands for itself.
    pub issuer: String,
}

/// One kind of record.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordConfig {
    /// The segment that makes a record, such as `OBX`.
    pub per: String,
    /// Columns that make a record the same record when it comes again, within its subject. An empty list: one record
    /// per subject. Left out: the content.
    pub key: Option<Vec<String>>,
    /// Columns and where their values stand: in the record's own segment, or in the nearest one before it in its group
    /// (an OBX sees the OBR, ORC, PV1, PID and MSH it belongs to; what its group lacks is null), or in one directly after
    /// it that continues it (NTE; PD1 of PID, PV2 of PV1).
    pub fields: Ordered<String>,
    /// How versions of a record combine. Default: `patch` for PID, PD1, PV1 and PV2, else `replace`.
    pub fold: Option<FoldConfig>,
    /// Only segments in which each of these paths has one of its values. Others are counted as filtered.
    #[serde(default, rename = "where")]
    pub filter: Ordered<Vec<String>>,
}

/// How versions of a record combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FoldConfig {
    /// The latest replaces all earlier ones.
    Replace,
    /// An empty field leaves the earlier value, `""` clears it (HL7 v2.5, section 2.5.3).
    Patch,
}

/// A map that keeps the order in which it was written.
#[derive(Clone, Debug)]
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
            type Value = Vec<(String, T)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries(PhantomData)).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for Ordered<T> {
    fn schema_name() -> Cow<'static, str> {
        BTreeMap::<String, T>::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
    fn inline_schema() -> bool {
        true
    }
}

impl Hl7Config {
    /// Reports every option that its schema allows and that makes no sense.
    pub fn check(&self, findings: &mut Findings) {
        check_path("/subject/id", &self.subject.id, findings);
        if path::looks_like_path(&self.subject.issuer) {
            check_path("/subject/issuer", &self.subject.issuer, findings);
        }
        if self.subject.issuer.trim().is_empty() {
            findings.add(
                "/subject/issuer",
                error::EMPTY,
                "an identifier needs to say who issued it",
            );
        }
        if self.records.0.is_empty() {
            findings.add("/records", error::EMPTY, "there is no record to read");
        }
        for (name, record) in &self.records.0 {
            record.check(&format!("/records/{}", escaped(name)), findings);
        }
        for (index, name) in self.messages.iter().enumerate() {
            let (code, trigger) = name.split_once('^').unwrap_or((name, "ANY"));
            let fine = |s: &str| s.len() == 3 && s.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
            if !fine(code) || !fine(trigger) {
                findings.add_with_hint(
                    format!("/messages/{index}"),
                    error::BAD_MESSAGE_TYPE,
                    "this is no message type",
                    "write ADT for all triggers or ORU^R01 for one",
                );
            }
        }
        if !(1024..=1 << 30).contains(&self.max_message) {
            findings.add(
                "/max_message",
                error::BAD_LIMIT,
                "max_message lies between 1024 and 1073741824 bytes",
            );
        }
    }
}

impl RecordConfig {
    fn check(&self, at: &str, findings: &mut Findings) {
        if let Err(wrong) = path::segment_id(&self.per) {
            findings.add_with_hint(format!("{at}/per"), error::BAD_SEGMENT, wrong.message, wrong.hint);
        }
        for (index, column) in self.key.iter().flatten().enumerate() {
            if !self.fields.0.iter().any(|(name, _)| name == column) {
                findings.add_with_hint(
                    format!("{at}/key/{index}"),
                    error::BAD_KEY,
                    "a key is made of columns of this record",
                    "add the column to `fields`",
                );
            }
        }
        for (column, path) in &self.fields.0 {
            let at = format!("{at}/fields/{}", escaped(column));
            if column.is_empty() || column.starts_with('_') || column == "subject_id" {
                findings.add(&at, error::BAD_COLUMN, "this column name is not free");
            }
            check_path(&at, path, findings);
        }
        for (path, _) in &self.filter.0 {
            check_path(&format!("{at}/where/{}", escaped(path)), path, findings);
        }
    }
}

fn check_path(pointer: &str, path: &str, findings: &mut Findings) {
    if let Err(wrong) = path.parse::<Path>() {
        findings.add_with_hint(pointer, error::BAD_PATH, wrong.message, wrong.hint);
    }
}

/// A key as RFC 6901 writes it in a pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
