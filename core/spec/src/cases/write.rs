//! Writing what a test gave into its file, in the place of what it expected. Everything else stays as it is.

use super::{Case, Expected, Slot};
use crate::tree::{self, Kind, Scalar};
use std::{collections::BTreeMap, fmt::Write};

/// One row: columns and values.
pub type WrittenRow = Vec<(String, Option<String>)>;

/// What a step gave, of what a test expects of it: only what is written down is written anew.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    /// Index of the test in its file, and of the step among what it expects.
    pub of: (usize, usize),
    /// Rows: their columns and values.
    pub rows: Option<Vec<WrittenRow>>,
    /// How many rows.
    pub count: Option<u64>,
    /// Numbers by name.
    pub counts: Option<BTreeMap<String, u64>>,
    /// Rejections by code.
    pub rejects: Option<BTreeMap<String, u64>>,
    /// Columns and types.
    pub schema: Option<Vec<(String, String)>>,
}

/// The text of a test file with these values in it; as it was where the values would leave it unreadable (a row in the
/// midst of a flow collection that spans lines).
pub fn rewrite(text: &str, cases: &[Case], values: &[Rewrite]) -> String {
    let mut edits: Vec<(usize, usize, String)> = Vec::new();
    for value in values {
        let (case, step) = value.of;
        if let Some(expected) = cases.get(case).and_then(|c| c.expect.get(step)) {
            collect(expected, value, &mut edits);
        }
    }
    // From the end, so that what comes before stays where it is.
    edits.sort_by_key(|(start, ..)| std::cmp::Reverse(*start));
    let mut out = text.to_owned();
    for (start, end, new) in edits {
        if out.is_char_boundary(start) && out.is_char_boundary(end) && start <= end && end <= out.len() {
            out.replace_range(start..end, &new);
        }
    }
    let again = super::load("", "", &out);
    match again.diagnostics.is_empty() && again.cases.len() == cases.len() {
        true => out,
        false => text.to_owned(),
    }
}

fn collect(expected: &Expected, value: &Rewrite, edits: &mut Vec<(usize, usize, String)>) {
    let mut edit = |written: crate::pipeline::Span, text: String| edits.push((written.start, written.end, text));
    if let (Some(slot), Some(rows)) = (&expected.rows, &value.rows) {
        edit(slot.written, rows_text(slot, rows));
    }
    if let (Some(slot), Some(count)) = (&expected.count, value.count) {
        edit(slot.written, format!(" {count}"));
    }
    let numbers = |map: &BTreeMap<String, u64>| {
        let parts = map.iter().map(|(name, n)| (name.clone(), Some(n.to_string())));
        format!(" {}", mapping(&parts.collect::<Vec<_>>()))
    };
    if let (Some(slot), Some(counts)) = (&expected.counts, &value.counts) {
        edit(slot.written, numbers(counts));
    }
    if let (Some(slot), Some(rejects)) = (&expected.rejects, &value.rejects) {
        edit(slot.written, numbers(rejects));
    }
    if let (Some(slot), Some(schema)) = (&expected.schema, &value.schema) {
        let parts = schema.iter().map(|(name, kind)| (name.clone(), Some(kind.clone())));
        edit(slot.written, format!(" {}", mapping(&parts.collect::<Vec<_>>())));
    }
}

fn rows_text<T>(slot: &Slot<T>, rows: &[WrittenRow]) -> String {
    match slot.indent {
        _ if rows.is_empty() => " []".to_owned(),
        None => {
            let rows: Vec<String> = rows.iter().map(|r| mapping(r)).collect();
            format!(" [{}]", rows.join(", "))
        }
        Some(indent) => rows.iter().fold(String::new(), |mut out, row| {
            let _ = write!(out, "\n{:1$}- {2}", "", indent + 2, mapping(row));
            out
        }),
    }
}

/// A mapping within one line.
fn mapping(values: &[(String, Option<String>)]) -> String {
    if values.is_empty() {
        return "{}".to_owned();
    }
    let parts: Vec<String> = values
        .iter()
        .map(|(name, value)| {
            let value = value.as_ref().map_or_else(|| "null".to_owned(), |v| scalar(v));
            format!("{}: {value}", scalar(name))
        })
        .collect();
    format!("{{ {} }}", parts.join(", "))
}

/// A text as a YAML scalar within one line: plain where it reads back as itself, else in double quotes.
fn scalar(text: &str) -> String {
    let plain = Scalar {
        text: text.to_owned(),
        plain: true,
        written: None,
    };
    let first = |c: char| c.is_alphanumeric() || matches!(c, '.' | '/' | '+' | '(' | '_' | '<' | '↑' | '↓');
    let inside = |c: char| !c.is_control() && !matches!(c, '{' | '}' | '[' | ']' | ',' | '#' | '"' | '\u{feff}');
    let is_plain = text.starts_with(first)
        && text.chars().all(inside)
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !text.chars().any(|c| matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}'))
        && !Kind::Scalar(plain).is_nothing();
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// Double quotes with the escapes of YAML 1.2.2, section 5.7; what YAML does not allow as it is, by its number.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || !tree::printable(c) || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = match u32::from(c) {
                    n @ ..=0xffff => write!(out, "\\u{n:04x}"),
                    n => write!(out, "\\U{n:08x}"),
                };
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl Kind {
    fn is_nothing(&self) -> bool {
        matches!(self, Kind::Scalar(s) if s.value().is_null())
    }
}
