//! Every key of the pipeline file, once: what is known, what is required, what it means. Both the reader and the
//! JSON Schema for editors are made from these tables.

use crate::codes;

/// A key of one section.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) shape: Shape,
    /// One line, shown by editors.
    pub(crate) doc: &'static str,
}

/// What may stand under a key.
pub(crate) enum Shape {
    /// Text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// The number 1: the version of the format.
    Version,
    /// A number of rows, or bounds of it: text or a number.
    Range,
    /// A mapping of names to texts.
    NamedTexts,
    /// A mapping of names to texts, numbers and booleans.
    NamedScalars,
    /// A mapping with these keys.
    Section(&'static [Key]),
    /// A mapping of names to mappings with these keys.
    Named(&'static [Key]),
    /// As `Named`, or nothing.
    NamedOrNone(&'static [Key]),
    /// As `Named`, where each of them may be nothing.
    Columns(&'static [Key]),
    /// A mapping of names to sources.
    Sources,
    /// A list of steps.
    Steps,
    /// `auto` or a secret.
    VaultKey,
    /// `partial` or `{ complete: … }`.
    Mode,
    /// A share: `5%` or `0.05`.
    Share,
    /// A number.
    Number,
    /// A list of texts, numbers and booleans.
    Scalars,
    /// `[low, high]`, numbers or null.
    Bounds,
    /// Anything: checked by another part of the product, without effect on what a refresh writes.
    Any,
    /// Part of the format, but not carried out by this version: reported under this code.
    Later(&'static str),
}

const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        name,
        required: true,
        shape,
        doc,
    }
}

const fn optional(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        name,
        required: false,
        shape,
        doc,
    }
}

pub(crate) const PIPELINE: &[Key] = &[
    required("version", Shape::Version, "The version of the pipeline format: 1."),
    required(
        "name",
        Shape::Text,
        "The pipeline's name: letters, digits, `-` and `_`.",
    ),
    optional("title", Shape::Text, "What the dataset is, for people."),
    optional(
        "timezone",
        Shape::Text,
        "The IANA time zone of every time that does not carry its own.",
    ),
    optional(
        "roots",
        Shape::NamedTexts,
        "The only folders outside the pipeline's own that it may read, by name.",
    ),
    optional(
        "plugins",
        Shape::Section(PLUGINS),
        "Plugins beside the built-in ones; each stands in `plugins.lock` beside this file.",
    ),
    required(
        "vault",
        Shape::Section(VAULT),
        "The store that never leaves the hospital.",
    ),
    required("dataset", Shape::Section(DATASET), "What buyers may read."),
    required("sources", Shape::Sources, "Where records come from, by name."),
    optional(
        "transforms",
        Shape::NamedOrNone(TRANSFORM),
        "Pure functions of one subject's events, by name.",
    ),
    required("tables", Shape::Named(TABLE), "The tables of the dataset, by name."),
    optional(
        "deidentify",
        Shape::Later(codes::SECTION_LATER),
        "The de-identification policy.",
    ),
    optional(
        "gates",
        Shape::NamedOrNone(GATE),
        "Checks that must hold before a release.",
    ),
    optional("sinks", Shape::Later(codes::SECTION_LATER), "Buyers and what they get."),
    optional("schedule", Shape::Any, "When the refresh is due."),
    optional(
        "tests",
        Shape::Text,
        "The folder of the pipeline's unit tests, or one file. Default: `tests`, where there is one.",
    ),
];

pub(crate) const PLUGINS: &[Key] = &[
    optional("libraries", Shape::Texts, "Libraries of native plugins."),
    optional(
        "processes",
        Shape::NamedTexts,
        "Programs that are plugins, by the plugin's name.",
    ),
];

pub(crate) const VAULT: &[Key] = &[
    required("url", Shape::Text, "Where the vault is: `file:PATH`."),
    required(
        "key",
        Shape::VaultKey,
        "`auto` (made on the first run of a new vault) or `{ $secret: name }`.",
    ),
];

pub(crate) const DATASET: &[Key] = &[required("url", Shape::Text, "Where the dataset is: `file:PATH`.")];

/// The engine's own keys of a source. Every other key is an option of its plugin.
pub(crate) const SOURCE: &[Key] = &[
    required("plugin", Shape::Text, "The source plugin."),
    required("inputs", Shape::Section(INPUTS), "The files it reads."),
    optional(
        "mode",
        Shape::Mode,
        "`partial` (default), or `{ complete: … }`: an input is everything there is in its scope.",
    ),
    optional(
        "keep",
        Shape::Choice(KEEP),
        "`copy` inputs into the vault (default), or `reference` them as immutable.",
    ),
    optional(
        "expect",
        Shape::Section(EXPECT),
        "What a refresh should bring; unmet, it says so and exits with 3. `rows` and `rejected` are of refreshes that read an \
         input of the source; `every` tells of one that did not come.",
    ),
];

/// Where a key of the engine's belongs, for the words that are often put in the wrong place.
pub(crate) fn home(key: &str) -> Option<&'static str> {
    // In the order in which they are looked up: a word of several sections belongs to the first of them.
    const HOMES: &[(&[Key], &str)] = &[
        (
            INPUTS,
            "under `inputs` of a source: `inputs: { glob: \"inbox/*.csv\" }`",
        ),
        (EXPECT, "under `expect` of a source"),
        (COMPLETE, "under `mode: { complete: { } }` of a source"),
        (PIPELINE, "at the top of the file, not indented"),
        (SOURCE, "in a source, beside its `plugin`"),
        (TRANSFORM, "in a transform"),
        (TABLE, "in a table"),
        (GATE, "in a gate"),
    ];
    // Words that plugins have too, or that any section could have.
    const COMMON: &[&str] = &[
        "name", "title", "key", "columns", "column", "values", "range", "unit", "where", "from", "rows", "table", "to",
    ];
    let is_in = |keys: &[Key]| {
        keys.iter()
            .any(|k| k.name == key && !matches!(k.shape, Shape::Later(_)))
    };
    let found = HOMES.iter().find(|(keys, _)| is_in(keys))?;
    (!COMMON.contains(&key)).then_some(found.1)
}

pub(crate) const KEEP: &[&str] = &["copy", "reference"];

pub(crate) const INPUTS: &[Key] = &[
    required(
        "glob",
        Shape::Text,
        "A path with `*`, `**`, `?` and `{captures}`, relative to this file, or `root:path`.",
    ),
    optional(
        "settle",
        Shape::Text,
        "A file counts once it was not touched for this long, such as `10m`. Default: at once.",
    ),
    optional(
        "as_of",
        Shape::Text,
        "What time a file speaks of: a pattern on its name (on its path, where it holds a `/`) such as `lis_{date}.csv` or `{site}_{date}_*.csv`, or `arrival`: the order in which files came.",
    ),
];

pub(crate) const EXPECT: &[Key] = &[
    optional(
        "every",
        Shape::Text,
        "The longest time between two inputs, such as `7d`.",
    ),
    optional(
        "rows",
        Shape::Range,
        "Records read per refresh, such as `500..` or `500..2000`.",
    ),
    optional(
        "rejected",
        Shape::Text,
        "The largest share of records rejected, such as `..1%`.",
    ),
];

pub(crate) const MODES: &[&str] = &["partial", "complete"];

pub(crate) const COMPLETE: &[Key] = &[
    optional(
        "scope",
        Shape::NamedScalars,
        "What an input is complete for; values may hold `{captures}` of the glob.",
    ),
    required(
        "as_of",
        Shape::Text,
        "What time an input speaks of, as under `inputs`: a pattern such as `lis_{date}.csv`, or `arrival`.",
    ),
    optional(
        "max_deletes",
        Shape::Share,
        "The share of live records in scope that one input may delete. Default: 5 %.",
    ),
];

pub(crate) const TRANSFORM: &[Key] = &[
    optional("from", Shape::Text, "A source, `source.kind` or transform."),
    optional(
        "union",
        Shape::Texts,
        "Several of them, by column name; a missing column is null.",
    ),
    optional("sql", Shape::Text, "A query over them."),
    optional("steps", Shape::Steps, "Transform plugins, in order."),
    optional(
        "scope",
        Shape::Choice(SCOPES),
        "`subject` (default): one subject's events; `dataset`: whole tables, last.",
    ),
];

pub(crate) const SCOPES: &[&str] = &["subject", "dataset"];

/// The keys of which a transform has exactly one.
pub(crate) const TRANSFORM_INPUTS: &[&str] = &["from", "union", "sql"];

pub(crate) const TABLE: &[Key] = &[
    required("from", Shape::Text, "A source, `source.kind` or transform."),
    optional(
        "key",
        Shape::Texts,
        "The columns that identify a row, among those of all subjects: `subject_id` is one where the others are unique within a subject only.",
    ),
    optional(
        "columns",
        Shape::Columns(COLUMN),
        "The contract: where given, the table has these columns only, in this order.",
    ),
    optional(
        "model",
        Shape::Choice(MODELS),
        "The standard model whose table of this name completes and checks it.",
    ),
];

pub(crate) const COLUMN: &[Key] = &[
    optional("type", Shape::Choice(TYPES), "The column's type. Default: as it comes."),
    optional("description", Shape::Text, "What the column holds, for people."),
    optional("values", Shape::Scalars, "The values it may have."),
    optional(
        "range",
        Shape::Bounds,
        "The least and the largest number, inclusive; `null` for none.",
    ),
    optional("unit", Shape::Text, "The UCUM unit of its values."),
    optional("required", Shape::Share, "The least share of rows that have a value."),
];

pub(crate) const TYPES: &[&str] = &["string", "integer", "decimal", "number", "boolean", "date", "timestamp"];

/// A file with several unit tests.
pub(crate) const CASES: &[Key] = &[required("tests", Shape::Any, "The tests, by name.")];

/// One unit test.
pub(crate) const CASE: &[Key] = &[
    optional(
        "now",
        Shape::Text,
        "The time at which it runs: 2026-03-16T08:00:00+08:00.",
    ),
    optional(
        "given",
        Shape::Any,
        "Rows or files by source or `source.kind`; what is not named has nothing.",
    ),
    required(
        "expect",
        Shape::Any,
        "What the steps give: sources, record kinds, transforms, `transform/plugin`, tables.",
    ),
];

pub(crate) const GIVEN: &[Key] = &[required("files", Shape::Any, "Contents by path.")];

pub(crate) const GIVEN_FILE: &[Key] = &[
    optional("text", Shape::Text, "What it holds."),
    optional(
        "encoding",
        Shape::Text,
        "The encoding to write the text in. Default: UTF-8.",
    ),
    optional("from", Shape::Text, "A file to copy, relative to the pipeline file."),
];

pub(crate) const EXPECTED: &[Key] = &[
    optional(
        "rows",
        Shape::Any,
        "All rows, in any order; the columns that no row names are not looked at.",
    ),
    optional("count", Shape::Any, "How many rows."),
    optional(
        "counts",
        Shape::Any,
        "Numbers by name; what is not named is not looked at.",
    ),
    optional(
        "rejects",
        Shape::Any,
        "How many records were rejected, by code: all of them.",
    ),
    optional("schema", Shape::Any, "All columns and their types, in order."),
];
pub(crate) const MODELS: &[&str] = &["omop-5.4", "meds-0.4"];

pub(crate) const GATE: &[Key] = &[
    required("check", Shape::Choice(CHECKS), "What is checked."),
    optional("column", Shape::Text, "The column it is about: `table.column`."),
    optional(
        "columns",
        Shape::Texts,
        "Columns of one table: `unique` in all of them together.",
    ),
    optional("table", Shape::Text, "The table whose rows are counted."),
    optional(
        "to",
        Shape::Text,
        "The column that a foreign key leads to: `table.column`.",
    ),
    optional("values", Shape::Scalars, "The values the column may have."),
    optional(
        "range",
        Shape::Bounds,
        "The least and the largest number, inclusive; `null` for none.",
    ),
    optional(
        "after",
        Shape::Text,
        "The time that it does not come before: `table.column`.",
    ),
    optional(
        "before",
        Shape::Text,
        "The time that it does not come after: `table.column`.",
    ),
    optional("birth", Shape::Text, "The time of birth, for `age`: `table.column`."),
    optional(
        "age",
        Shape::Bounds,
        "The least and the largest age in years, inclusive.",
    ),
    optional(
        "sex",
        Shape::Text,
        "The column with the subject's sex, for `values`: `table.column`.",
    ),
    optional(
        "per",
        Shape::Text,
        "The column within whose values there is one unit: `table.column`.",
    ),
    optional("at_most", Shape::Number, "The largest population stability index."),
    optional(
        "by",
        Shape::Texts,
        "Columns of the same table within whose values distributions are compared: `[table.column, …]`.",
    ),
    optional(
        "within",
        Shape::Text,
        "The largest age of the newest time, such as `14d`.",
    ),
    optional("rows", Shape::Range, "The number of rows, such as `500..`."),
    optional(
        "change",
        Shape::Text,
        "The growth since the last release, such as `-10%..50%`.",
    ),
    optional("sql", Shape::Text, "A query whose rows are the failing ones."),
    optional("where", Shape::Text, "The rows it is about, as an SQL condition."),
    optional(
        "at_least",
        Shape::Share,
        "The share of the rows that must hold. Default: all.",
    ),
    optional(
        "on_fail",
        Shape::Choice(ON_FAIL),
        "`block` the release (default), or `warn`.",
    ),
];

pub(crate) const CHECKS: &[&str] = &[
    "not_null",
    "unique",
    "foreign_key",
    "values",
    "range",
    "plausible",
    "unit",
    "drift",
    "fresh",
    "row_count",
    "sql",
];

/// The keys that a check takes beside `check` and `on_fail`, and those among them that it needs.
pub(crate) fn check_keys(check: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match check {
        "not_null" => (&["column", "where", "at_least"], &["column"]),
        "unique" => (&["column", "columns", "where", "at_least"], &[]),
        "foreign_key" => (&["column", "to", "where", "at_least"], &["column", "to"]),
        "values" => (&["column", "values", "where", "at_least"], &["column", "values"]),
        "range" => (&["column", "range", "where", "at_least"], &["column", "range"]),
        "plausible" => (
            &[
                "column", "after", "before", "birth", "age", "sex", "values", "where", "at_least",
            ],
            &["column"],
        ),
        "unit" => (&["column", "per", "where", "at_least"], &["column", "per"]),
        "drift" => (&["column", "at_most", "by", "where"], &["column", "at_most"]),
        "fresh" => (&["column", "within", "where"], &["column", "within"]),
        "row_count" => (&["table", "rows", "change"], &["table"]),
        _ => (&["sql", "table", "at_least"], &["sql"]),
    }
}

pub(crate) const ON_FAIL: &[&str] = &["block", "warn"];
