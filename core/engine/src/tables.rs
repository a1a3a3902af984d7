//! Tables: which relation a table is made of, its columns, and what identifies its rows.

use crate::{
    bound::{SourceSpec, canonical},
    contract::{self, Term},
    exact::{is_castable, needs_clock},
    graph::{Graph, Located, Node, contract_of},
    mappings::Mapping,
    model::{self, Fill},
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use clinmill_catalog::dataset::{base_schema, to_specs};
use clinmill_model::{Diagnostic, Digest, columns::SUBJECT_ID};
use clinmill_sdk::units::{self, ucum};
use clinmill_spec::{
    codes,
    pipeline::{Column, Model, Pipeline, Scope, Span, Table, TransformInput},
};
use jiff::tz::TimeZone;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A table that is ready to be made.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// Its name.
    pub name: String,
    /// The relation it is made of.
    pub from: String,
    /// The published columns: `subject_id` first where the table has subjects.
    pub schema: SchemaRef,
    /// What identifies a row.
    pub identity: Identity,
    /// Rows are about subjects.
    pub subject: bool,
    /// Made subject by subject, or over the whole dataset.
    pub scope: Scope,
    /// The source names, the mappings and the method that `_prov` shows.
    pub prov: Prov,
    /// Columns of which so large a share of the rows must have a value, and where that was written.
    pub required: Vec<(String, f64, Span)>,
    /// The standard model that it follows.
    pub model: Option<Model>,
    /// Columns that the model completes, and how.
    pub fills: Vec<(String, Fill)>,
    /// The pipeline says what its rows must hold: by columns or a model.
    pub has_contract: bool,
    /// What each row must hold to be published.
    pub terms: Vec<Term>,
    /// The pipeline's zone: what its clocks show at times that carry their zone stands in the table.
    pub clock: Option<TimeZone>,
    /// The units of columns, for the manifest.
    pub units: BTreeMap<String, String>,
    /// Digest of everything upstream: another one recomputes the table.
    pub digest: Digest,
    /// The same without the content of the mappings that its steps look up: where it stays, only subjects that those
    /// concern are recomputed.
    pub making: Digest,
}

impl TableSpec {
    /// What may reject its rows: the relations that it is made of, by name, and its contract. A step is one of them when
    /// [`transform_of`](crate::graph::transform_of) it is.
    pub fn judges(&self, graph: &Graph) -> BTreeSet<String> {
        let mut judges = graph.needed(std::slice::from_ref(&self.from));
        judges.insert(contract_of(&self.name));
        judges
    }
}

/// What identifies a row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The record it comes from.
    Record,
    /// These columns of the table.
    Key(Vec<String>),
}

/// What `_prov` shows of all rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prov {
    /// The sources behind the table.
    pub sources: Vec<String>,
    /// The mappings that its rows went through, by reference.
    pub mappings: Vec<String>,
}

/// Binds all tables.
pub fn bind(
    pipeline: &Pipeline,
    sources: &[SourceSpec],
    graph: &Graph,
    mappings: &BTreeMap<String, Mapping>,
) -> (Vec<TableSpec>, Vec<Located>) {
    let mut specs = Vec::new();
    let mut findings = Vec::new();
    for table in &pipeline.tables {
        match bind_table(table, pipeline, sources, graph, mappings) {
            Ok(spec) => {
                let input = graph.schema(&spec.from);
                findings.extend(input.into_iter().flat_map(|input| model::untaken(table, &spec, input)));
                specs.push(spec);
            }
            Err(found) => findings.extend(found),
        }
    }
    model::link(&mut specs, graph);
    (specs, findings)
}

fn bind_table(
    table: &Table,
    pipeline: &Pipeline,
    sources: &[SourceSpec],
    graph: &Graph,
    mappings: &BTreeMap<String, Mapping>,
) -> Result<TableSpec, Vec<Located>> {
    let from = &table.from.value;
    // A missing relation was reported with the references or with its transform.
    let Some(input) = graph.schema(from) else {
        return Err(Vec::new());
    };
    let upstream = graph.needed(std::slice::from_ref(from));
    let over_dataset = |n: &Node| {
        matches!(
            n,
            Node::Sql {
                scope: Scope::Dataset,
                ..
            }
        )
    };
    let scope = match upstream.iter().filter_map(|n| graph.node(n)).any(over_dataset) {
        true => Scope::Dataset,
        false => Scope::Subject,
    };
    let subject = scope == Scope::Subject && upstream.iter().all(|name| graph.is_about_subjects(name));
    let mut findings = Vec::new();
    let clock = pipeline
        .timezone
        .as_ref()
        .and_then(|zone| TimeZone::get(&zone.value).ok());
    let schema = published(table, (input, clock.is_some()), subject, &mut findings);
    check_types(table, &schema, &mut findings);
    check_values(table, &schema, &mut findings);
    check_units(table, &mut findings);
    let fills = model::fills(table, &pipeline.tables, input, &mut findings);
    let terms = contract::terms(table);

    let behind_query = upstream
        .iter()
        .filter_map(|n| graph.node(n))
        .any(|n| matches!(n, Node::Sql { .. }));
    let identity = match &table.key {
        None if behind_query => {
            let message = format!(
                "the table {} comes from a query, so its rows need a key",
                table.name.value
            );
            let hint = "add `key: [columns]` that are unique and do not change";
            findings.push((Diagnostic::error(codes::NO_KEY, message).hint(hint), table.name.span));
            Identity::Record
        }
        None => Identity::Record,
        Some(names) => {
            for name in names.iter().filter(|n| schema.field_with_name(&n.value).is_err()) {
                let message = format!("the key column {:?} is not a column of the table", name.value);
                let known: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                let hint = format!("its columns are {}", known.join(", "));
                findings.push((Diagnostic::error(codes::KEY_COLUMN, message).hint(hint), name.span));
            }
            Identity::Key(names.iter().map(|n| n.value.clone()).collect())
        }
    };
    if !findings.is_empty() {
        return Err(findings);
    }
    let behind: Vec<&SourceSpec> = sources
        .iter()
        .filter(|s| (0..s.bound.records().len()).any(|k| upstream.contains(&s.relation(k))))
        .collect();
    let nodes = pipeline.transforms.iter().filter(|t| upstream.contains(&t.name.value));
    let mut used: Vec<String> = nodes
        .clone()
        .flat_map(|t| {
            t.steps
                .iter()
                .flat_map(|s| s.options.mappings.iter().map(|(_, reference)| reference.clone()))
        })
        .chain(
            behind
                .iter()
                .flat_map(|s| s.spec.options.mappings.iter().map(|(_, reference)| reference.clone())),
        )
        .collect();
    used.sort();
    used.dedup();
    let mut parts: Vec<String> = behind.iter().map(|s| format!("{} {}", s.name(), s.parse_id)).collect();
    for transform in nodes {
        parts.push(match &transform.input {
            TransformInput::From(name) => format!("from {}", name.value),
            TransformInput::Union(names) => {
                format!("union {:?}", names.iter().map(|n| &n.value).collect::<Vec<_>>())
            }
            TransformInput::Sql(text) => format!("sql {}", text.value),
        });
        for step in &transform.steps {
            parts.push(format!("{} {}", step.plugin.value, canonical(&step.options.value)));
        }
        // Built-in steps are what the engine's version says they are; loaded ones are their code.
        let bound = graph.node(&transform.name.value).map(Node::steps).unwrap_or_default();
        parts.extend(bound.iter().filter_map(|step| step.version.1.clone()));
    }
    let contents: Vec<String> = used
        .iter()
        .filter_map(|r| mappings.get(r))
        .map(|m| m.sha256.to_string())
        .collect();
    let mut rest = vec![format!("{} {from} {identity:?} {schema:?}", table.name.value)];
    if !fills.is_empty() || !terms.is_empty() {
        rest.push(format!("{fills:?} {terms:?}"));
    }
    rest.push(pipeline.timezone.as_ref().map(|t| t.value.clone()).unwrap_or_default());
    // What another engine made is no measure for what this one makes with other mappings.
    let engine = format!("engine {}", env!("CARGO_PKG_VERSION"));
    let making = Digest::of_parts(parts.iter().chain(&rest).chain([&engine]));
    Ok(TableSpec {
        name: table.name.value.clone(),
        from: from.clone(),
        schema,
        identity,
        subject,
        scope,
        prov: Prov {
            sources: behind.iter().map(|s| s.name().to_owned()).collect(),
            mappings: used,
        },
        required: table
            .columns
            .iter()
            .filter_map(|c| Some((c.name.value.clone(), c.required?, c.name.span)))
            .collect(),
        model: table.model.as_ref().map(|m| m.value),
        has_contract: table.model.is_some() || !table.columns.is_empty(),
        fills,
        terms,
        clock,
        units: table
            .columns
            .iter()
            .filter_map(|c| Some((c.name.value.clone(), c.unit.as_ref()?.value.clone())))
            .collect(),
        digest: Digest::of_parts(parts.into_iter().chain(contents).chain(rest)),
        making,
    })
}

/// True for a concept id of a standard model: 0 says that there is no standard concept.
pub fn conceptual(table: &TableSpec, column: &str) -> bool {
    let field = || clinmill_model::omop::table(&table.name)?.field(column);
    table.model == Some(Model::Omop54) && field().is_some_and(clinmill_model::omop::Field::is_concept)
}

fn published(
    table: &Table,
    (input, has_clock): (&SchemaRef, bool),
    subject: bool,
    findings: &mut Vec<Located>,
) -> SchemaRef {
    let mut fields: Vec<Field> = Vec::new();
    if subject {
        fields.push(Field::new(SUBJECT_ID, DataType::Utf8, false));
    }
    if let Some(columns) = model::columns(table) {
        return model_schema(table, (input, has_clock), fields, columns, findings);
    }
    if table.columns.is_empty() {
        fields.extend(input.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)));
    }
    // Key columns that the contract does not list stand before it.
    for name in table.key.iter().flatten().filter(|_| !table.columns.is_empty()) {
        let listed = table.columns.iter().any(|c| c.name.value == name.value);
        if let Some(field) = input.field_with_name(&name.value).ok().filter(|_| !listed) {
            fields.push(field.clone().with_nullable(true));
        }
    }
    for column in &table.columns {
        match input.field_with_name(&column.name.value) {
            Ok(field) => {
                let data_type = contract_type(column).unwrap_or_else(|| field.data_type().clone());
                if let Some(found) = unlike(field, &data_type, has_clock) {
                    findings.push((found, column.name.span));
                } else {
                    fields.push(Field::new(&column.name.value, data_type, true));
                }
            }
            Err(_) if column.name.value == SUBJECT_ID => {}
            Err(_) => {
                let known: Vec<&str> = input.fields().iter().map(|f| f.name().as_str()).collect();
                let message = format!("{} has no column {:?}", table.from.value, column.name.value);
                let hint = format!("it has {}", known.join(", "));
                findings.push((
                    Diagnostic::error(codes::NO_COLUMN, message).hint(hint),
                    column.name.span,
                ));
            }
        }
    }
    Arc::new(Schema::new(fields))
}

/// What to say of a column that cannot be made one of the type that the table promises.
fn unlike(field: &Field, data_type: &DataType, has_clock: bool) -> Option<Diagnostic> {
    let (name, from) = (field.name(), field.data_type());
    if needs_clock(from, data_type) && !has_clock {
        let kind = type_word(data_type).unwrap_or("time");
        let message =
            format!("the column {name:?} holds times with a zone, and no `timezone` says which {kind} that is");
        let hint = "write `timezone:` at the top of the pipeline, such as `timezone: Asia/Shanghai`";
        return Some(Diagnostic::error(codes::COLUMN_TYPE, message).hint(hint));
    }
    if is_castable(from, data_type) {
        return None;
    }
    let message = format!("the column {name:?} is {from} and cannot be {data_type}");
    let found = Diagnostic::error(codes::COLUMN_TYPE, message);
    Some(match from.is_temporal() || data_type.is_temporal() {
        true => found.hint("a time is no number: read it as text, such as `20260301`, or write it in a query"),
        false => found,
    })
}

/// Types that no table can be written with.
fn check_types(table: &Table, schema: &SchemaRef, findings: &mut Vec<Located>) {
    for field in schema.fields() {
        // Parquet's decimals have no negative scale (format, DECIMAL).
        let is_coarse = matches!(field.data_type(), DataType::Decimal128(_, scale) if *scale < 0);
        if is_coarse || to_specs(&base_schema(&Schema::new(vec![field.clone()]))).is_err() {
            let message = format!(
                "the column {:?} is {}, and no table can have that type",
                field.name(),
                field.data_type()
            );
            let listed = table.columns.iter().find(|c| c.name.value == *field.name());
            let hint = "make it a number, a text or a time where it comes from: in a query with `cast(… as …)`, of a \
                        difference of times with `date_part('epoch', …)`";
            findings.push((
                Diagnostic::error(codes::COLUMN_TYPE, message).hint(hint),
                listed.map_or(table.from.span, |c| c.name.span),
            ));
        }
    }
}

/// Values of the contract that a column of its type never holds.
fn check_values(table: &Table, schema: &SchemaRef, findings: &mut Vec<Located>) {
    for column in &table.columns {
        let Ok(field) = schema.field_with_name(&column.name.value) else {
            continue;
        };
        for value in column.values.iter().flatten() {
            if !contract::is_holdable(&value.value, field.data_type()) {
                let kind = type_word(field.data_type()).unwrap_or("another type");
                let name = &column.name.value;
                let message = format!("the column {name:?} is of the type {kind}, and never {:?}", value.value);
                let hint = match field.data_type() {
                    DataType::Decimal128(precision, scale) => format!(
                        "a decimal has at most {} digits before the point and {scale} behind it: write such values, or give \
                         the column the type `number` or `string`",
                        i16::from(*precision) - i16::from(*scale)
                    ),
                    _ => "give it the type of its values, such as `string`, or write values of its type, such as `1`, \
                          `true` or `2026-03-01`"
                        .to_owned(),
                };
                findings.push((Diagnostic::error(codes::COLUMN_VALUES, message).hint(hint), value.span));
            }
        }
    }
}

/// Units of the contract that are none of UCUM's.
fn check_units(table: &Table, findings: &mut Vec<Located>) {
    for unit in table.columns.iter().filter_map(|c| c.unit.as_ref()) {
        if ucum::validate(&unit.value).is_err() {
            let message = format!("the unit {:?} is no UCUM code", unit.value);
            let hint = units::meant(&unit.value).map_or_else(
                || {
                    "write it as UCUM does, such as `mmol/L`, `10*9/L`, `[iU]/mL` or `%`; `clinmill units` reads codes"
                        .to_owned()
                },
                |meant| format!("did you mean `{meant}`?"),
            );
            findings.push((Diagnostic::error(codes::COLUMN_UNIT, message).hint(hint), unit.span));
        }
    }
}

/// The columns of a standard model's table: keys that it lacks, its own in its order, then what the pipeline adds.
fn model_schema(
    table: &Table,
    (input, has_clock): (&SchemaRef, bool),
    mut fields: Vec<Field>,
    columns: Vec<(&'static str, DataType)>,
    findings: &mut Vec<Located>,
) -> SchemaRef {
    let own = |name: &str| columns.iter().any(|(known, _)| *known == name);
    let open = table.model.as_ref().is_some_and(|m| m.value == Model::Meds04);
    for name in table.key.iter().flatten().filter(|n| !own(&n.value) && !open) {
        if let Ok(field) = input.field_with_name(&name.value) {
            fields.push(field.clone().with_nullable(true));
        }
    }
    for (name, data_type) in &columns {
        let found = input
            .field_with_name(name)
            .ok()
            .and_then(|f| unlike(f, data_type, has_clock));
        findings.extend(found.map(|found| (found, table.name.span)));
        fields.push(Field::new(*name, data_type.clone(), true));
    }
    let listed = |name: &str| table.columns.iter().find(|c| c.name.value == name);
    for column in table.columns.iter().filter(|c| !own(&c.name.value)) {
        if input.field_with_name(&column.name.value).is_err() {
            let message = format!("{} has no column {:?}", table.from.value, column.name.value);
            let mut found = Diagnostic::error(codes::NO_COLUMN, message);
            let known = input.fields().iter().map(|f| f.name().as_str());
            found.hint = clinmill_spec::did_you_mean(&column.name.value, known);
            findings.push((found, column.name.span));
        }
    }
    // Events take along all that they are given.
    for field in input.fields().iter().filter(|f| !own(f.name())) {
        let column = listed(field.name());
        if (open || column.is_some()) && !fields.iter().any(|f| f.name() == field.name()) {
            let data_type = column
                .and_then(contract_type)
                .unwrap_or_else(|| field.data_type().clone());
            let found = unlike(field, &data_type, has_clock);
            findings.extend(found.map(|found| (found, column.map_or(table.name.span, |c| c.name.span))));
            fields.push(Field::new(field.name(), data_type, true));
        }
    }
    Arc::new(Schema::new(fields))
}

/// The types that a contract may ask for, by their words in the pipeline file.
static TYPES: [(&str, DataType); 7] = [
    ("string", DataType::Utf8),
    ("integer", DataType::Int64),
    ("decimal", DataType::Decimal128(38, 6)),
    ("number", DataType::Float64),
    ("boolean", DataType::Boolean),
    ("date", DataType::Date32),
    ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
];

fn contract_type(column: &Column) -> Option<DataType> {
    let word = &column.kind.as_ref()?.value;
    let found = TYPES.iter().find(|(known, _)| known == word);
    found.map(|(_, data_type)| data_type.clone())
}

/// The word for a type that a contract or a model asks for.
pub fn type_word(data_type: &DataType) -> Option<&'static str> {
    let found = TYPES.iter().find(|(_, known)| known == data_type);
    found.map(|(word, _)| *word)
}
