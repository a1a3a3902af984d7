//! Unit tests beside a pipeline: YAML text to checked [`Case`]s with located diagnostics, and back. No I/O.
//!
//! A file holds one test (`given` and `expect` at its top) or several under `tests`, by name.

mod lower;
mod write;

pub use lower::is_meta;
pub use write::{Rewrite, WrittenRow, rewrite};

use crate::{
    pipeline::{Span, Spanned},
    report::Report,
    text::SourceFile,
    tree,
};
use clinmill_model::Diagnostic;
use std::collections::BTreeMap;

/// A test file after reading.
#[derive(Clone, Debug)]
pub struct CaseFile {
    /// Its tests that can be run, in file order.
    pub cases: Vec<Case>,
    /// What was found, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// The text, to turn a span into a place.
    pub source: SourceFile,
}

/// One test.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: Spanned<String>,
    /// `now`: the time at which it runs (RFC 3339).
    pub now: Option<jiff::Timestamp>,
    /// `given`: what each source, or record kind of a source, has.
    pub given: Vec<Given>,
    /// `expect`, by step, in file order.
    pub expect: Vec<Expected>,
}

/// What a test gives to one source or record kind.
#[derive(Clone, Debug)]
pub struct Given {
    /// `source` or `source.kind`.
    pub name: Spanned<String>,
    /// Rows or files.
    pub data: GivenData,
}

/// Rows or files.
#[derive(Clone, Debug)]
pub enum GivenData {
    /// Records as the source would read them.
    Rows(Vec<Row>),
    /// Files for the source to read, by the path that its `inputs.glob` is matched with.
    Files(Vec<GivenFile>),
}

/// A file that a test gives.
#[derive(Clone, Debug)]
pub struct GivenFile {
    /// Its path, relative to the pipeline file or `root:path`.
    pub path: Spanned<String>,
    /// What it holds.
    pub content: FileContent,
}

/// What a given file holds.
#[derive(Clone, Debug)]
pub enum FileContent {
    /// This text, in this encoding (UTF-8 where none is named).
    Text(String, Option<Spanned<String>>),
    /// What a file beside the pipeline holds.
    Copy(Spanned<String>),
}

/// One row: what it names, as it is written. An absent column is null.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where it stands.
    pub span: Span,
    /// Columns in the order of the file.
    pub values: Vec<Value>,
}

impl Row {
    /// The value of a column that the row names.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.values.iter().find(|v| v.column.value == column)
    }
}

/// One value of a row.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its column.
    pub column: Spanned<String>,
    /// As it is written; none for null.
    pub text: Option<String>,
    /// Where it is written.
    pub span: Span,
}

/// What a test expects of one step: a source, a record kind, a transform, one of its steps (`transform/plugin`) or a
/// table.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The step.
    pub step: Spanned<String>,
    /// `rows`, in any order; none: not written down yet.
    pub rows: Option<Slot<Option<Vec<Row>>>>,
    /// `count`: how many rows.
    pub count: Option<Slot<u64>>,
    /// `counts`: numbers by name, such as `duplicates` of a source or `unmapped` of a step.
    pub counts: Option<Slot<BTreeMap<String, u64>>>,
    /// `rejects`: how many records were rejected, by code.
    pub rejects: Option<Slot<BTreeMap<String, u64>>>,
    /// `schema`: columns and their types, in order.
    pub schema: Option<Slot<Vec<(String, String)>>>,
}

/// A value of `expect` and where it is written, so that it can be written anew.
#[derive(Clone, Debug)]
pub struct Slot<T> {
    /// What is expected.
    pub value: T,
    /// Its key.
    pub key: Span,
    /// What follows the key and its colon, up to the end of the value.
    pub(crate) written: Span,
    /// Spaces before the key; none within `{ }`.
    pub(crate) indent: Option<usize>,
}

/// Reads a test file. `file` is its name in diagnostics, `name` the name of a test that has none of its own.
pub fn load(file: &str, name: &str, text: &str) -> CaseFile {
    let source = SourceFile::new(file, text);
    let mut report = Report::new(&source);
    let cases = tree::parse(&mut report).map_or_else(Vec::new, |root| lower::file(&root, name, &mut report));
    let diagnostics = report.finish();
    CaseFile {
        cases,
        diagnostics,
        source,
    }
}

#[cfg(test)]
mod tests;
