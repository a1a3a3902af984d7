//! The pipeline file as the engine uses it: everything named, checked and located, nothing looked up outside.

use crate::resolve::Names;
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
    /// `gates`, in file order.
    pub gates: Vec<Gate>,
    /// All names of sources and transforms, also of those that are left out above because they cannot be read.
    pub(crate) names: Names,
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
    /// A pattern on the file's name (or on its path where it holds a `/`) with one `{capture}` of a date or time, or with
    /// several of which one is called `date`: `lis_{date}.csv`.
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
    /// `key`: columns that identify a row among those of all subjects.
    pub key: Option<Vec<Spanned<String>>>,
    /// `columns`: the contract of the table; where given, the table has these columns only, in this order.
    pub columns: Vec<Column>,
    /// `model`: the standard model whose table of this name completes and checks it.
    pub model: Option<Spanned<Model>>,
}

/// `model` of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// `omop-5.4`: the OMOP Common Data Model 5.4.
    Omop54,
    /// `meds-0.4`: events of the Medical Event Data Standard 0.4.
    Meds04,
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
    /// `values`: what it may hold, as text.
    pub values: Option<Vec<Spanned<String>>>,
    /// `range`: inclusive bounds of its numbers.
    pub range: Option<Spanned<(Option<f64>, Option<f64>)>>,
    /// `unit`: the UCUM code of its values.
    pub unit: Option<Spanned<String>>,
    /// `required`: the least share of rows that have a value.
    pub required: Option<f64>,
}

/// One entry of `gates`.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Its name.
    pub name: Spanned<String>,
    /// What is counted.
    pub check: Check,
    /// `where`: the rows it is about, as an SQL condition on the table.
    pub filter: Option<Spanned<String>>,
    /// `at_least`: the share of the rows it is about that must hold; 1 unless it is given.
    pub at_least: f64,
    /// `on_fail`.
    pub on_fail: OnFail,
}

/// `on_fail` of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFail {
    /// No release.
    Block,
    /// A release, and a warning.
    Warn,
}

/// A column of a table of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnRef {
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// Where it was written.
    pub span: Span,
}

/// `check` of a gate, with what it needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// `not_null`: the column has a value; a concept id of a standard model that is 0 counts as none.
    NotNull(ColumnRef),
    /// `unique`: no two rows have the same values in these columns of one table; nulls are left out.
    Unique(Vec<ColumnRef>),
    /// `foreign_key`: every value of the first column is one of the second; nulls are left out.
    ForeignKey(ColumnRef, ColumnRef),
    /// `values`: the column holds these only; nulls are left out.
    Values(ColumnRef, Vec<String>),
    /// `range`: inclusive bounds of a column of numbers; nulls are left out.
    Range(ColumnRef, (Option<f64>, Option<f64>)),
    /// `plausible` with `after`: not before the time in the other column, of the same row or of the same subject's row in
    /// another table.
    After(ColumnRef, ColumnRef),
    /// `plausible` with `before`: not after it.
    Before(ColumnRef, ColumnRef),
    /// `plausible` with `age`: years from the time in the second column to that in the first.
    Age(ColumnRef, ColumnRef, (Option<f64>, Option<f64>)),
    /// `plausible` with `sex`: the subject's value in the second column is one of these.
    Sex(ColumnRef, ColumnRef, Vec<String>),
    /// `unit`: the first column holds one value for each value of the second.
    Unit(ColumnRef, ColumnRef),
    /// `drift`: the distribution of the column is not further from that of the last release than this (population
    /// stability index); with `by`, in each group of rows that have the same values in these columns.
    Drift(ColumnRef, Vec<ColumnRef>, f64),
    /// `fresh`: the newest time in the column is not older than this.
    Fresh(ColumnRef, Duration),
    /// `row_count`: bounds of the number of rows, and of its growth since the last release as a share.
    RowCount {
        /// The table.
        table: Spanned<String>,
        /// `rows`.
        rows: (Option<u64>, Option<u64>),
        /// `change`: such as -0.1 and 0.5.
        change: (Option<f64>, Option<f64>),
    },
    /// What a standard model says of the values of a column, as SQL that is true of those that fail. No pipeline file says it.
    Model(ColumnRef, String),
    /// `sql`: the rows that a query over the tables returns fail; `_row_id` among its columns lists them.
    Sql {
        /// The query.
        sql: Spanned<String>,
        /// `table`: the rows that are checked; without it the query must return none.
        table: Option<Spanned<String>>,
    },
}

impl Check {
    /// As the pipeline file names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotNull(_) => "not_null",
            Self::Unique(_) => "unique",
            Self::ForeignKey(..) => "foreign_key",
            Self::Values(..) => "values",
            Self::Range(..) => "range",
            Self::After(..) | Self::Before(..) | Self::Age(..) | Self::Sex(..) => "plausible",
            Self::Model(..) => "model",
            Self::Unit(..) => "unit",
            Self::Drift(..) => "drift",
            Self::Fresh(..) => "fresh",
            Self::RowCount { .. } => "row_count",
            Self::Sql { .. } => "sql",
        }
    }

    /// Every column it names; the first is the one it is about.
    pub fn columns(&self) -> Vec<&ColumnRef> {
        match self {
            Self::NotNull(column)
            | Self::Values(column, _)
            | Self::Range(column, _)
            | Self::Model(column, _)
            | Self::Fresh(column, _) => vec![column],
            Self::Unique(columns) => columns.iter().collect(),
            Self::Drift(column, by, _) => std::iter::once(column).chain(by).collect(),
            Self::ForeignKey(a, b)
            | Self::After(a, b)
            | Self::Before(a, b)
            | Self::Age(a, b, _)
            | Self::Sex(a, b, _)
            | Self::Unit(a, b) => vec![a, b],
            Self::RowCount { .. } | Self::Sql { .. } => Vec::new(),
        }
    }

    /// The table whose rows are counted.
    pub fn table(&self) -> Option<&str> {
        match self {
            Self::RowCount { table, .. } => Some(&table.value),
            Self::Sql { table, .. } => table.as_ref().map(|t| t.value.as_str()),
            _ => self.columns().first().map(|c| c.table.as_str()),
        }
    }
}
