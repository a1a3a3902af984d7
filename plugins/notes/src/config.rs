//! The options of `notes`.

use clinmill_sdk::decode::Encoding;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Options of the `notes` source. A *field* is a member of the JSON object or a column of the CSV row; where it is
/// absent, and always with `format: text`, it is what the `{name}` of the source's `glob` captured from the path.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotesConfig {
    /// How an input holds its notes: `text` (one per file), `jsonl` (one per line) or `csv` (one per row).
    #[serde(default)]
    pub format: Format,
    /// Character encoding: `auto`, `utf-8`, `gb18030` (reads GBK and GB2312), `utf-16`, `utf-16be` or `latin1`.
    #[serde(default)]
    pub encoding: Encoding,
    /// Whom a note is about.
    pub subject: Subject,
    /// The field that holds the text, with `jsonl` and `csv`. The record's column is always called `text`.
    #[serde(default = "text")]
    pub text: String,
    /// The fields that make a note the same note when it comes again. Without it, equal notes of a subject are one.
    #[serde(default)]
    pub key: Vec<String>,
    /// Fields to keep beside the text, each with the name of its column. Fields of the key are kept in any case.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// The field that orders versions of the same note, comparable as text (a time, a number with leading zeros).
    #[serde(default)]
    pub version: Option<String>,
    /// The separator of `csv`: `,`, `;` or a tab.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// The longest record in bytes, 1 GiB at most; a longer one is rejected.
    #[serde(default = "sixteen_mib")]
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub max_note: u64,
}

/// How an input holds its notes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The whole file is one note.
    #[default]
    Text,
    /// Each line is a JSON object.
    Jsonl,
    /// A table as of RFC 4180 with a header; texts may span lines within quotes.
    Csv,
}

/// Whom a note is about.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The field that holds the identifier.
    pub id: String,
    /// Who issued the identifier, such as `MRN`.
    #[serde(default)]
    pub issuer: String,
}

fn text() -> String {
    "text".into()
}

fn comma() -> char {
    ','
}

fn sixteen_mib() -> u64 {
    16 << 20
}
