//! The pipeline file as the engine uses it: everything named, checked and located, nothing looked up outside.

use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// A byte range in the pipeline file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// End, exclusive.
    pub end: usize,
}

/// A value with the place it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub span: Span,
}

/// A whole pipeline.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// `name`: letters, digits, `-` and `_`.
    pub name: Spanned<String>,
    /// `title`, for people.
    pub title: Option<String>,
    /// `timezone`: an IANA name.
    pub timezone: Option<Spanned<String>>,
    /// `roots`: folders outside the pipeline's own that it may read, by name, as written.
    pub roots: BTreeMap<String, Spanned<String>>,
    /// `vault`.
    pub vault: Vault,
    /// `dataset.url`, after substitution.
    pub dataset: Spanned<String>,
    /// `sources`, in file order.
    pub sources: Vec<Source>,
    /// `transforms`, in an order in which every one comes after what it reads.
    pub transforms: Vec<Transform>,
    /// `tables`, in file order.
    pub tables: Vec<Table>,
    /// `tests`: the folder or file of the unit tests, relative to the pipeline file.
    pub tests: Option<Spanned<String>>,
}

/// `plugins`: what stands beside the built-in ones.
#[derive(Clone, Debug, Default)]
pub struct PluginFiles {
    /// `libraries`: paths, as written.
    pub libraries: Vec<Spanned<String>>,
    /// `processes`: the plugin's name and the path of the program, as written.
    pub processes: Vec<(Spanned<String>, Spanned<String>)>,
    /// `roots`, which paths may begin with.
    pub roots: BTreeMap<String, Spanned<String>>,
}

/// `vault`.
#[derive(Clone, Debug)]
pub struct Vault {
    /// `vault.url`, after substitution.
    pub url: Spanned<String>,
    /// `vault.key`.
    pub key: KeyRef,
}

/// Where the vault's key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRef {
    /// `auto`: made on the first run of a new vault.
    Auto,
    /// `{ $secret: name }`: must exist.
    Secret(Spanned<String>),
}

/// One entry of `sources`.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: Spanned<String>,
    /// `plugin`.
    pub plugin: Spanned<String>,
    /// `inputs`.
    pub inputs: Inputs,
    /// `mode`.
    pub mode: Mode,
    /// `keep`: whether inputs are copied into the vault.
    pub keep: Keep,
    /// `expect`.
    pub expect: Option<Expect>,
    /// The plugin's own options: every other key.
    pub options: Options,
}

/// `inputs` of a source.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// `glob`: a path with `*`, `**`, `?` and `{name}` captures, relative to the pipeline file or `root:path`.
    pub glob: Spanned<String>,
    /// `settle`: a file counts once it has not been touched for this long.
    pub settle: Duration,
    /// `as_of` of partial sources.
    pub as_of: Option<Spanned<AsOf>>,
}

/// What time an input speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// A pattern on the file's name (or on its path where it holds a `/`) with one `{capture}` of a date or time:
    /// `lis_{date}.csv`.
    Pattern(String),
    /// The order in which the vault first saw the content at its path.
    Arrival,
}

/// `mode` of a source.
#[derive(Clone, Debug)]
pub enum Mode {
    /// An input adds to what is known.
    Partial,
    /// An input is everything there is in its scope at its time: what is absent is deleted.
    Complete {
        /// `scope`: what the input is complete for; values may hold `{captures}` of the path.
        scope: BTreeMap<String, String>,
        /// `as_of`.
        as_of: Spanned<AsOf>,
        /// `max_deletes`: share of the live records in scope that one input may delete; default 0.05.
        max_deletes: f64,
    },
}

/// `keep` of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// A compressed copy in the vault.
    Copy,
    /// The input is declared immutable and stays where it is.
    Reference,
}

/// `expect` of a source; unmet: the refresh says so and exits with the code of a quality gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// `every`: at most this long between inputs' `as_of`.
    pub every: Option<Duration>,
    /// `rows: "500.."`: records read per refresh, inclusive bounds.
    pub rows: (Option<u64>, Option<u64>),
    /// `rejected: "..1%"`: share of records read.
    pub rejected: Option<f64>,
    /// Where it was written.
    pub span: Span,
}

/// Options of a plugin: the value the plugin gets, and where each part of it was written.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The options.
    pub value: Value,
    /// RFC 6901 pointer to the span of the value there (for a wrong or unknown key: of the key).
    pub spans: BTreeMap<String, Span>,
    /// Every option of the format `clinmill-mapping`: pointer and reference.
    pub mappings: Vec<(String, String)>,
    /// The plugin's schema refuses them; the diagnostics say where.
    pub refused: bool,
}

/// One entry of `transforms`.
#[derive(Clone, Debug)]
pub struct Transform {
    /// Its name.
    pub name: Spanned<String>,
    /// Where its rows come from.
    pub input: TransformInput,
    /// `steps`, in order.
    pub steps: Vec<Step>,
    /// `scope`.
    pub scope: Scope,
}

/// Where the rows of a transform come from. Names are `source`, `source.kind` or another transform.
#[derive(Clone, Debug)]
pub enum TransformInput {
    /// `from`.
    From(Spanned<String>),
    /// `union`: by column name; a missing column is null.
    Union(Vec<Spanned<String>>),
    /// `sql`: the text, and the names it reads (found when it is planned).
    Sql(Spanned<String>),
}

/// `scope` of a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A pure function of one subject's events.
    Subject,
    /// Over full current tables; runs last.
    Dataset,
}

/// One step of a transform.
#[derive(Clone, Debug)]
pub struct Step {
    /// The transform plugin.
    pub plugin: Spanned<String>,
    /// Its options.
    pub options: Options,
}

/// One entry of `tables`.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name: lower-case letters, digits and `_`, beginning with a letter.
    pub name: Spanned<String>,
    /// `from`: `source`, `source.kind` or a transform.
    pub from: Spanned<String>,
    /// `key`: columns that, with the subject, identify a row.
    pub key: Option<Vec<Spanned<String>>>,
    /// `columns`: the contract of the table; where given, the table has these columns only, in this order.
    pub columns: Vec<Column>,
}

/// One column of a table's contract.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: Spanned<String>,
    /// `type`: string, integer, decimal, number, boolean, date, timestamp. None: as it comes.
    pub kind: Option<Spanned<String>>,
    /// `description`.
    pub description: Option<String>,
}
