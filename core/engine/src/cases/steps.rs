//! What the steps of a pipeline gave in a test's refresh.

use super::{Located, counts_of};
use crate::{
    bound::Bound,
    error::EngineError,
    fold::{Folded, Id, id_at},
    graph::{Graph, Relation, StepReport, TaskInput},
    ingest::subject_id,
    refresh::{Dirty, RangeContext, RunReport, Secrets},
    tables::TableSpec,
    view::View,
};
use arrow::{
    array::{Array, AsArray, FixedSizeBinaryArray, RecordBatch},
    datatypes::{Schema, SchemaRef},
};
use clinmill_catalog::{dataset::to_specs, env::Env, events, vault::base32};
use clinmill_model::{BUCKETS, Diagnostic, columns::SUBJECT_ID};
use clinmill_spec::{
    cases::{Case, Expected},
    codes,
    pipeline::Span,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::AtomicBool},
};

/// What a test may name.
enum Step<'b> {
    /// A source with several record kinds: it has counts, no rows.
    Source,
    /// A relation: a record kind, a transform or, with another graph, one of its steps.
    Relation(Box<Option<Graph>>, String),
    /// A table.
    Table(&'b TableSpec),
}

/// What a step gave.
pub struct StepResult {
    /// Its columns without the engine's; none for a source with several record kinds.
    pub rows: Option<RecordBatch>,
    /// The subject of each row as `ISSUER:ID`; empty where rows have none.
    pub subjects: Vec<String>,
    /// Numbers by name.
    pub counts: BTreeMap<String, u64>,
    /// True when it has no other counts; those of a step are the ones that came up.
    pub is_counted_whole: bool,
    /// Rejected records by code.
    pub rejects: BTreeMap<String, u64>,
}

/// A table has the name of a transform or source now and then: what is asked of then is the table.
fn find<'b>(bound: &'b Bound, name: &str) -> Option<Step<'b>> {
    if let Some(table) = bound.tables.iter().find(|t| t.name == name) {
        return Some(Step::Table(table));
    }
    if let Some((graph, name)) = bound.graph.until(name) {
        return Some(Step::Relation(Box::new(Some(graph)), name));
    }
    if bound.graph.schema(name).is_some() {
        return Some(Step::Relation(Box::new(None), name.to_owned()));
    }
    let source = bound.sources.iter().find(|s| s.name() == name)?;
    match source.bound.records().len() {
        1 => Some(Step::Relation(Box::new(None), source.relation(0))),
        _ => Some(Step::Source),
    }
}

/// The source that a relation is a record kind of.
fn source_of<'b>(bound: &'b Bound, relation: &str) -> Option<&'b str> {
    let of = |s: &&crate::bound::SourceSpec| (0..s.bound.records().len()).any(|k| s.relation(k) == relation);
    bound.sources.iter().find(of).map(|s| s.name())
}

/// Everything that a test expects of steps and columns that are not there.
pub fn check(bound: &Bound, case: &Case) -> Vec<Located> {
    let mut found = Vec::new();
    for expected in &case.expect {
        let name = &expected.step.value;
        let schema = match find(bound, name) {
            None => {
                let message = format!("there is no step {name:?}");
                let hint = format!("there are {}", known(bound).join(", "));
                found.push((
                    Diagnostic::error(codes::CASE_STEP, message).hint(hint),
                    expected.step.span,
                ));
                continue;
            }
            Some(Step::Source) => {
                ask_of_source(bound, expected, &mut found);
                continue;
            }
            Some(Step::Table(table)) => Some(table.schema.clone()),
            Some(Step::Relation(graph, relation)) => {
                let graph = graph.as_ref().as_ref().unwrap_or(&bound.graph);
                let of_kind = source_of(bound, &relation).filter(|source| source != name && relation == *name);
                if let Some(source) = of_kind {
                    ask_of_kind(source, expected, &mut found);
                }
                graph.schema(&relation).cloned()
            }
        };
        if let Some(schema) = schema {
            columns(expected, &schema, &mut found);
        }
    }
    found
}

fn known(bound: &Bound) -> Vec<String> {
    let sources = bound.sources.iter().flat_map(|s| {
        let kinds = s.bound.records().len();
        let own = (kinds > 1).then(|| s.name().to_owned());
        own.into_iter().chain((0..kinds).map(|k| s.relation(k)))
    });
    let nodes = bound.pipeline.transforms.iter().flat_map(|t| {
        let steps = bound.graph.node(&t.name.value).map_or(&[][..], |n| n.steps());
        [t.name.value.clone()]
            .into_iter()
            .chain(steps.iter().map(|s| s.name.clone()))
    });
    let tables = bound.tables.iter().map(|t| t.name.clone());
    let mut all: Vec<String> = Vec::new();
    for name in sources.chain(nodes).chain(tables) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

fn asked(message: String, hint: String, span: Span) -> Located {
    (Diagnostic::error(codes::CASE_ASKED, message).hint(hint), span)
}

fn ask_of_source(bound: &Bound, expected: &Expected, found: &mut Vec<Located>) {
    let name = &expected.step.value;
    let slots = [
        expected.rows.as_ref().map(|s| s.key),
        expected.count.as_ref().map(|s| s.key),
        expected.schema.as_ref().map(|s| s.key),
    ];
    for span in slots.into_iter().flatten() {
        let kinds: Vec<String> = bound
            .sources
            .iter()
            .filter(|s| s.name() == name)
            .flat_map(|s| (0..s.bound.records().len()).map(|k| s.relation(k)))
            .collect();
        let message = format!("the source {name:?} has several record kinds and no rows of its own");
        found.push(asked(message, format!("ask one of {}", kinds.join(", ")), span));
    }
}

fn ask_of_kind(source: &str, expected: &Expected, found: &mut Vec<Located>) {
    let slots = [
        expected.counts.as_ref().map(|s| s.key),
        expected.rejects.as_ref().map(|s| s.key),
    ];
    for span in slots.into_iter().flatten() {
        let message = "what is counted and rejected while reading is known of the source as a whole".to_owned();
        found.push(asked(message, format!("ask `{source}`"), span));
    }
}

/// The columns that expected rows name.
fn columns(expected: &Expected, schema: &Schema, found: &mut Vec<Located>) {
    let rows = expected.rows.iter().flat_map(|s| s.value.iter().flatten());
    for value in rows.flat_map(|r| &r.values) {
        let column = &value.column.value;
        if column != SUBJECT_ID && schema.field_with_name(column).is_err() {
            let known: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            let message = format!("{:?} has no column {column:?}", expected.step.value);
            let hint = format!("its columns are {}", known.join(", "));
            found.push((
                Diagnostic::error(codes::CASE_COLUMN, message).hint(hint),
                value.column.span,
            ));
        }
    }
}

/// Reads what the steps gave.
pub struct Reader<'a> {
    bound: &'a Bound,
    report: &'a RunReport,
    view: View,
}

impl<'a> Reader<'a> {
    /// Opens the test's vault.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn open(
        bound: &'a Bound,
        env: &Env,
        secrets: Secrets<'_>,
        report: &'a RunReport,
    ) -> Result<Self, EngineError> {
        let view = View::open(bound, env, secrets).await?;
        Ok(Self { bound, report, view })
    }

    /// What one step gave.
    ///
    /// # Errors
    /// When it fails.
    pub async fn read(&self, name: &str) -> Result<StepResult, EngineError> {
        let unknown = || EngineError::NotFound(format!("there is no step {name:?}"));
        match find(self.bound, name).ok_or_else(unknown)? {
            Step::Source => Ok(StepResult {
                rows: None,
                subjects: Vec::new(),
                counts: self.counts(name),
                is_counted_whole: true,
                rejects: self.rejects(name),
            }),
            Step::Relation(graph, relation) => {
                let (made, mut report, inputs) = self
                    .relation(graph.as_ref().as_ref().unwrap_or(&self.bound.graph), &relation)
                    .await?;
                // A transform is told with all its steps, a step alone.
                let mine =
                    |step: &str| step == name || step.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
                report.counts.retain(|step, _| mine(step));
                report.rejections.retain(|r| mine(&r.step));
                let source = source_of(self.bound, &relation);
                let names = self.names(&inputs);
                Ok(StepResult {
                    subjects: subjects_of(made.subject.as_ref(), &names),
                    rows: Some(made.rows),
                    counts: source.map_or_else(|| summed(&report), |source| self.counts(source)),
                    is_counted_whole: source.is_some(),
                    rejects: source.map_or_else(|| by_code(&report), |source| self.rejects(source)),
                })
            }
            Step::Table(table) => self.table(table).await,
        }
    }

    async fn table(&self, table: &TableSpec) -> Result<StepResult, EngineError> {
        let (made, _, inputs) = self.relation(&self.bound.graph, &table.from).await?;
        let dirty = BTreeMap::new();
        let cancelled = AtomicBool::new(false);
        let context = self.context(self.bound, &dirty, &cancelled);
        let mut report = StepReport::default();
        let rows = context.rows(table, &made, &inputs, &mut report)?;
        let names = self.names(&inputs);
        let subjects = rows.entries.iter().map(|e| named(&e.subject, &names));
        let own: Vec<usize> = (0..rows.rows.num_columns())
            .filter(|&i| rows.rows.schema().field(i).name() != SUBJECT_ID)
            .collect();
        let counts = self.report.tables.get(&table.name).map(|t| {
            [("rows", t.rows), ("upserts", t.upserts), ("deletes", t.deletes)].map(|(name, n)| (name.to_owned(), n))
        });
        Ok(StepResult {
            subjects: if table.subject { subjects.collect() } else { Vec::new() },
            rows: Some(rows.rows.project(&own)?),
            counts: counts.into_iter().flatten().collect(),
            is_counted_whole: true,
            rejects: by_code(&report),
        })
    }

    async fn relation(
        &self,
        graph: &Graph,
        name: &str,
    ) -> Result<(Relation, StepReport, Vec<(String, Folded)>), EngineError> {
        let dirty: BTreeMap<String, Dirty> = BTreeMap::new();
        let cancelled = AtomicBool::new(false);
        let context = self.context(self.bound, &dirty, &cancelled);
        let wanted = [name.to_owned()];
        let inputs = context.records_behind((0, BUCKETS - 1), None, &wanted)?;
        let task: Vec<TaskInput<'_>> = inputs.iter().map(|(name, folded)| TaskInput { name, folded }).collect();
        let mut report = StepReport::default();
        let mut relations = graph.run(&task, &wanted, false, &cancelled, &mut report).await?;
        let made = relations
            .remove(name)
            .ok_or_else(|| EngineError::internal(format!("the relation {name} was not made")))?;
        Ok((made, report, inputs))
    }

    fn context<'c>(
        &'c self,
        bound: &'c Bound,
        dirty: &'c BTreeMap<String, Dirty>,
        cancelled: &'c AtomicBool,
    ) -> RangeContext<'c> {
        RangeContext {
            bound,
            session: &self.view.session,
            events: &self.view.session.state.events,
            identity: &self.view.identity,
            covered: &self.view.covered,
            dirty,
            left_out: None,
            lineage: false,
            cancelled,
        }
    }

    fn counts(&self, source: &str) -> BTreeMap<String, u64> {
        let counts = counts_of(self.report, source);
        let filtered = self.report.sources.get(source).map(|s| &s.filtered_by);
        let by_rule = filtered
            .into_iter()
            .flatten()
            .map(|(rule, n)| (format!("filtered {rule}"), *n));
        counts
            .into_iter()
            .map(|(name, n)| (name.to_owned(), n))
            .chain(by_rule)
            .collect()
    }

    fn rejects(&self, source: &str) -> BTreeMap<String, u64> {
        let report = self.report.sources.get(source);
        report.map(|s| s.rejected_by.clone()).unwrap_or_default()
    }

    /// The identifier that each subject is known by.
    fn names(&self, inputs: &[(String, Folded)]) -> HashMap<Id, String> {
        let mut names = HashMap::new();
        for (_, folded) in inputs {
            let text = |name: &str| Some(folded.events.column_by_name(name)?.as_string_opt::<i32>()?.clone());
            let (Some(issuers), Some(ids)) = (text(events::ISSUER), text(events::ID)) else {
                continue;
            };
            for i in (0..ids.len()).filter(|&i| ids.is_valid(i)) {
                let (issuer, id) = (issuers.value(i), ids.value(i));
                let shown = if issuer.is_empty() {
                    id.to_owned()
                } else {
                    format!("{issuer}:{id}")
                };
                names.insert(subject_id(&self.view.session.key, issuer, id), shown);
            }
        }
        names
    }
}

fn subjects_of(subjects: Option<&FixedSizeBinaryArray>, names: &HashMap<Id, String>) -> Vec<String> {
    let Some(subjects) = subjects else { return Vec::new() };
    (0..subjects.len()).map(|i| named(&id_at(subjects, i), names)).collect()
}

fn named(id: &Id, names: &HashMap<Id, String>) -> String {
    names.get(id).cloned().unwrap_or_else(|| base32(id))
}

fn summed(report: &StepReport) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (name, n) in report.counts.values().flatten() {
        let count = counts.entry(name.clone()).or_default();
        *count = count.saturating_add(*n);
    }
    counts
}

fn by_code(report: &StepReport) -> BTreeMap<String, u64> {
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    for rejection in &report.rejections {
        *codes.entry(rejection.code.clone()).or_default() += 1;
    }
    codes
}

/// Columns and types as manifests write them.
pub fn described(schema: &SchemaRef) -> Vec<(String, String)> {
    let one = |f: &Arc<arrow::datatypes::Field>| {
        let specs = to_specs(&Schema::new(vec![f.as_ref().clone()])).ok();
        let kind = specs.and_then(|s| Some(s.first()?.kind.clone()));
        (f.name().clone(), kind.unwrap_or_else(|| f.data_type().to_string()))
    };
    schema.fields().iter().map(one).collect()
}
