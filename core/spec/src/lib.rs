//! The pipeline file: YAML text to a checked [`Pipeline`] and all its diagnostics. No I/O.
//!
//! The layers, each in its own module: text to a tree with byte positions, substitution of `${VAR}`, tree to
//! [`Pipeline`], plugin options against the plugin's own schema, then references. [`load`] does all that needs no bound
//! plugin; [`resolve`] does the rest. Every layer goes on after an error, so that one run shows all of them.

pub mod cases;
pub mod codes;
pub mod pipeline;

mod editor;
mod keys;
mod lower;
mod options;
mod paths;
mod reference;
mod render;
mod report;
mod resolve;
mod rewrite;
mod scalar;
mod schema;
mod substitute;
mod text;
mod tree;
mod values;

pub use editor::json_schema;
pub use pipeline::Pipeline;
pub use reference::reference;
pub use render::{render, render_coloured};
pub use resolve::{Kinds, SqlTables, resolve};
pub use text::SourceFile;
pub use tree::{MAX_BYTES, MAX_DEPTH, MAX_NODES};

use clinmill_model::Diagnostic;
use report::Report;
use serde_json::Value;
use std::collections::BTreeMap;

/// "did you mean" for a word that is near a known one, else the list of what is known.
pub fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    report::hint(word, known)
}

/// What the pipeline file needs to know of the plugins.
pub trait Plugins {
    /// The JSON Schema of a source plugin's options; `None` for an unknown plugin.
    fn source_schema(&self, name: &str) -> Option<Value>;
    /// The JSON Schema of a transform plugin's options; `None` for an unknown plugin.
    fn transform_schema(&self, name: &str) -> Option<Value>;
    /// The names of all source plugins.
    fn source_names(&self) -> Vec<String>;
    /// The names of all transform plugins.
    fn transform_names(&self) -> Vec<String>;
    /// One line about a source plugin, for editors.
    fn source_summary(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }
    /// One line about a transform plugin, for editors.
    fn transform_summary(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }
}

/// A pipeline file after the first pass.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The pipeline, as far as it can be read: beside errors it is there for further checks, and may run only when there
    /// are none.
    pub pipeline: Option<Pipeline>,
    /// What was found, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// The text, to turn a span into a place.
    pub source: SourceFile,
}

impl Loaded {
    /// True when an error was found.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads a pipeline file. `file` is its name in diagnostics, `env` looks up environment variables.
pub fn load(file: &str, text: &str, env: &dyn Fn(&str) -> Option<String>, plugins: &dyn Plugins) -> Loaded {
    let source = SourceFile::new(file, text);
    let mut report = Report::with_plugins(&source, plugins);
    let pipeline = tree::parse(&mut report).and_then(|mut root| {
        substitute::apply(&mut root, env, &mut report);
        lower::pipeline(&root, plugins, &mut report)
    });
    let diagnostics = report.finish();
    Loaded {
        pipeline,
        diagnostics,
        source,
    }
}

/// No plugin is known.
struct NoPlugins;

impl Plugins for NoPlugins {
    fn source_schema(&self, _: &str) -> Option<Value> {
        None
    }
    fn transform_schema(&self, _: &str) -> Option<Value> {
        None
    }
    fn source_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn transform_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Which plugins a pipeline file names.
pub struct NamedPlugins {
    /// The paths.
    pub files: pipeline::PluginFiles,
    /// What is wrong with how they are named. [`load`] says it too.
    pub diagnostics: Vec<Diagnostic>,
    /// The text, to turn a span into a place.
    pub source: SourceFile,
}

/// Reads which plugins a pipeline file names, before they are loaded and [`load`] can check their options. What is wrong
/// with the rest of the file, [`load`] says.
pub fn plugin_files(file: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> NamedPlugins {
    let source = SourceFile::new(file, text);
    let mut report = Report::new(&source);
    let files = tree::parse(&mut report).map(|mut root| {
        substitute::apply(&mut root, env, &mut report);
        lower::plugins(&root, &NoPlugins, &mut report)
    });
    let diagnostics = report.finish();
    NamedPlugins {
        files: files.unwrap_or_default(),
        diagnostics,
        source,
    }
}

/// The keys that the tables of a pipeline file declare, by table: of a file that was good once, whatever has become of its
/// plugins and mappings.
pub fn table_keys(text: &str) -> BTreeMap<String, Option<Vec<String>>> {
    let source = SourceFile::new("", text);
    let mut report = Report::new(&source);
    let tables = tree::parse(&mut report).map(|root| lower::tables(&root, &NoPlugins, &mut report));
    let keys = |key: Vec<pipeline::Spanned<String>>| key.into_iter().map(|column| column.value).collect();
    let each = tables.into_iter().flatten();
    each.map(|table| (table.name.value, table.key.map(keys))).collect()
}

#[cfg(test)]
mod tests;
