//! Gates: checks on the full current tables before a release is made of them. Each is compiled to SQL and counts the rows
//! it is about and those that fail; what fails is named by its `_row_id`, never by a value.
//!
//! Names and categories are those of OHDSI's DataQualityDashboard where it has the check; dimensions are those of
//! GB/T 36344-2018.

mod counts;
mod drift;
mod query;
mod run;
mod state;

pub(crate) use run::warnings;
pub use run::{Audit, Looked, Lost, Rejected, look, run};
pub use state::{TableState, columns};

use crate::{
    contract::{Rule, Term},
    graph::Located,
    sql,
    tables::{TableSpec, conceptual},
};
use arrow::datatypes::{DataType, SchemaRef};
use clinmill_catalog::dataset::{Dimension, Severity};
use clinmill_model::Diagnostic;
use clinmill_spec::{
    SourceFile, codes,
    pipeline::{Check, ColumnRef, Gate, Model, OnFail, Pipeline, Span},
};
use query::Plan;
use std::collections::BTreeMap;

/// A gate that is ready to be run.
#[derive(Clone, Debug)]
pub struct GateSpec {
    /// Its name; of a contract's own gates `table.column.check`.
    pub name: String,
    /// The check as the pipeline names it.
    pub check: &'static str,
    /// The check of the DataQualityDashboard.
    pub dqd: Option<&'static str>,
    /// The category of the DataQualityDashboard.
    pub category: &'static str,
    /// The dimension of GB/T 36344.
    pub dimension: Dimension,
    /// `table` or `table.column`.
    pub target: String,
    /// The share of the rows that must hold.
    pub at_least: f64,
    /// What happens when it does not hold.
    pub on_fail: Severity,
    /// The table that its rows refer to.
    pub parent: Option<String>,
    plan: Plan,
}

/// Binds the gates of a pipeline and those of its tables' contracts: columns found, queries planned.
pub async fn bind(pipeline: &Pipeline, tables: &[TableSpec], source: &SourceFile) -> (Vec<GateSpec>, Vec<Located>) {
    let schemas: BTreeMap<String, SchemaRef> = tables.iter().map(|t| (t.name.clone(), columns(t))).collect();
    let unmapped = |column: &ColumnRef| {
        let table = tables.iter().find(|t| t.name == column.table);
        table.is_some_and(|t| conceptual(t, &column.column))
    };
    let listed = |column: &ColumnRef| {
        let table = tables.iter().find(|t| t.name == column.table);
        let lists = |term: &Term| term.column == column.column && matches!(term.rule, Rule::OneOf(_));
        table.is_some_and(|t| t.terms.iter().any(lists))
    };
    let empty: Vec<TableState> = tables.iter().map(TableState::empty).collect();
    let mut gates = Vec::new();
    let mut findings = Vec::new();
    let own = tables.iter().flat_map(|t| contract(t, tables));
    let declared = pipeline.gates.iter().map(|gate| (gate.clone(), None));
    for (gate, dqd) in declared.chain(own) {
        if let Some(found) = misread(&gate, source) {
            findings.push(found);
            continue;
        }
        let filter = gate.filter.as_ref().map(|f| f.value.as_str());
        let plan = match query::plan(&gate.check, filter, &schemas, &unmapped, &listed) {
            Ok(plan) => plan,
            Err(found) => {
                findings.push(*found);
                continue;
            }
        };
        let spec = described(&gate, plan, &unmapped, dqd);
        if let Err(message) = run::check(&spec, &empty).await {
            let (what, text) = match (&gate.check, &gate.filter) {
                (Check::Sql { sql, .. }, _) => ("the query", sql),
                (_, Some(filter)) => ("the condition", filter),
                _ => ("the check", &gate.name),
            };
            let span = match sql::culprit(&text.value, &message) {
                Some((at, length)) => source.within(text.span, &text.value, at, length),
                None => text.span,
            };
            let message = format!("{what} of the gate `{}` cannot be planned: {message}", gate.name.value);
            findings.push((Diagnostic::error(codes::GATE_QUERY, message).hint(advice(&gate)), span));
            continue;
        }
        gates.push(spec);
    }
    (gates, findings)
}

/// What is wrong with a text that goes into a gate's queries, read alone: put into one, it could say something else.
fn misread(gate: &Gate, source: &SourceFile) -> Option<Located> {
    let (what, text, read) = match (&gate.check, &gate.filter) {
        (Check::Sql { sql, .. }, _) => ("the query", sql, sql::query(&sql.value).map(|_| ())),
        (_, Some(filter)) => ("the condition", filter, sql::expression(&filter.value)),
        _ => return None,
    };
    let (at, wrong) = read.err()?;
    let span = source.within(text.span, &text.value, at, 1);
    let message = format!("{what} of the gate `{}` cannot be read: {wrong}", gate.name.value);
    Some((Diagnostic::error(codes::GATE_QUERY, message).hint(advice(gate)), span))
}

fn advice(gate: &Gate) -> &'static str {
    match gate.check {
        Check::Sql { .. } => "write one SELECT over the tables of the pipeline; the rows that it returns fail",
        _ => "write one condition over the columns of the table, such as: unit is null and value > 100",
    }
}

fn described(gate: &Gate, plan: Plan, unmapped: &dyn Fn(&ColumnRef) -> bool, dqd: Option<&'static str>) -> GateSpec {
    use Dimension as D;
    let (conformance, completeness, plausibility) = ("Conformance", "Completeness", "Plausibility");
    let (named, category, dimension) = match &gate.check {
        Check::NotNull(c) if unmapped(c) && c.column.ends_with("_source_concept_id") => {
            (Some("sourceConceptRecordCompleteness"), completeness, D::Complete)
        }
        Check::NotNull(c) if unmapped(c) => (Some("standardConceptRecordCompleteness"), completeness, D::Complete),
        Check::NotNull(_) if gate.at_least >= 1.0 => (Some("isRequired"), conformance, D::Complete),
        Check::NotNull(_) => (Some("measureValueCompleteness"), completeness, D::Complete),
        Check::Unique(_) => (Some("isPrimaryKey"), conformance, D::Consistent),
        Check::ForeignKey(..) => (Some("isForeignKey"), conformance, D::Consistent),
        Check::Values(..) => (None, conformance, D::Normative),
        Check::Range(_, (Some(_), None)) => (Some("plausibleValueLow"), plausibility, D::Accurate),
        Check::Range(_, (None, Some(_))) => (Some("plausibleValueHigh"), plausibility, D::Accurate),
        Check::Range(..) => (Some("plausibleValueLow, plausibleValueHigh"), plausibility, D::Accurate),
        Check::After(..) => (Some("plausibleTemporalAfter"), plausibility, D::Accurate),
        Check::Before(a, b) if a.table == b.table => (Some("plausibleStartBeforeEnd"), plausibility, D::Accurate),
        Check::Before(_, b) if b.table == "death" => (Some("plausibleBeforeDeath"), plausibility, D::Accurate),
        Check::Before(..) | Check::Age(..) => (None, plausibility, D::Accurate),
        Check::Sex(..) => (Some("plausibleGender"), plausibility, D::Accurate),
        Check::Unit(..) => (Some("plausibleUnitConceptIds"), plausibility, D::Consistent),
        Check::Drift(..) => (None, plausibility, D::Consistent),
        Check::Fresh(..) => (None, completeness, D::Timely),
        Check::RowCount { .. } => (None, completeness, D::Complete),
        Check::Model(..) if dqd == Some(VALUE_HIGH) => (dqd, plausibility, D::Accurate),
        Check::Model(..) => (None, conformance, D::Consistent),
        Check::Sql { .. } if dqd == Some(WITHIN_VISIT) => (dqd, plausibility, D::Accurate),
        Check::Sql { .. } => (None, conformance, D::Consistent),
    };
    let target = match (gate.check.columns().first(), gate.check.table()) {
        (Some(c), _) => format!("{}.{}", c.table, c.column),
        (None, table) => table.unwrap_or_default().to_owned(),
    };
    GateSpec {
        name: gate.name.value.clone(),
        check: gate.check.name(),
        dqd: dqd.or(named),
        category,
        dimension,
        target,
        at_least: gate.at_least,
        on_fail: match gate.on_fail {
            OnFail::Block => Severity::Block,
            OnFail::Warn => Severity::Warn,
        },
        parent: match &gate.check {
            Check::ForeignKey(_, to) => Some(to.table.clone()),
            _ => None,
        },
        plan,
    }
}

/// The DataQualityDashboard's check that an event lies within a week of its visit; five of a hundred may not.
const WITHIN_VISIT: &str = "withinVisitDates";

/// The DataQualityDashboard's check that a date is not later than tomorrow; one of a hundred may be.
const VALUE_HIGH: &str = "plausibleValueHigh";

/// Dates that may be of the future, or that the dashboard does not look at.
const OF_THE_FUTURE: [&str; 4] = ["valid_start_date", "valid_end_date", "metadata_date", "nlp_date"];

/// Of what a number is that is not the one in the source's text, beside a unit that has no concept: of a unit that the row
/// does not show. Compared are texts with one number, whatever words, signs and flags stand around it; one with a power of
/// ten may be read with it or, where that is the unit's, without. What is rounded differs by less than a hundredth.
fn converted_without_a_unit() -> String {
    const NUMBER: &str =
        r"^[^0-9.]*([0-9]+(?:[.][0-9]+)?|[.][0-9]+)(?:(?:[eE]| *[xX×*] *10 *[\^eE*]?)([+-]?[0-9]{1,2}))?[^0-9]*$";
    const PLAIN: &str = "translate(value_source_value, '０１２３４５６７８９．⁰¹²³⁴⁵⁶⁷⁸⁹', '0123456789.0123456789')";
    let differs = |groups: &str| {
        let written = format!("try_cast(regexp_replace({PLAIN}, '{NUMBER}', '{groups}') as double)");
        format!("abs(abs(value_as_number) - {written}) > 0.000001 + 0.01 * {written}")
    };
    let (number, with_power) = (differs(r"\1"), differs(r"\1e\2"));
    format!(
        "case when coalesce(unit_concept_id, 0) = 0 and unit_source_value is not null \
         then {number} and coalesce({with_power}, true) else false end"
    )
}

/// The dates that it is about, by table.
const VISITED: [(&str, &str); 8] = [
    ("condition_occurrence", "condition_start_date"),
    ("drug_exposure", "drug_exposure_start_date"),
    ("measurement", "measurement_date"),
    ("note", "note_date"),
    ("observation", "observation_date"),
    ("procedure_occurrence", "procedure_date"),
    ("visit_detail", "visit_detail_start_date"),
    ("visit_detail", "visit_detail_end_date"),
];

/// The gates that a table's contract brings along: shares of values that are required, and what a standard model says
/// beyond single rows. Those of the model that are about plausibility and mapping only warn.
fn contract(table: &TableSpec, tables: &[TableSpec]) -> Vec<(Gate, Option<&'static str>)> {
    let column = |table: &str, column: &str, span: Span| ColumnRef {
        table: table.to_owned(),
        column: column.to_owned(),
        span,
    };
    let mut gates: Vec<_> = table
        .required
        .iter()
        .map(|(name, share, span)| {
            let check = Check::NotNull(column(&table.name, name, *span));
            (
                own_gate(table, name, "required", check, *share, OnFail::Block, *span),
                None,
            )
        })
        .collect();
    let Some(model) = clinmill_model::omop::table(&table.name).filter(|_| table.model == Some(Model::Omop54)) else {
        return gates;
    };
    let span = Span::default();
    let own = |name: &str| column(&table.name, name, span);
    let modelled = |name: &str| tables.iter().any(|t| t.name == name && t.model == Some(Model::Omop54));
    let mut add = |name: &str, dqd: &'static str, check, at_least, on_fail| {
        gates.push((own_gate(table, name, dqd, check, at_least, on_fail, span), Some(dqd)));
    };
    for field in &model.fields {
        let name = field.name;
        if field.primary {
            let key = match field.refers {
                // A span is one of several of the same row.
                Some(_) => vec![own(name), own("offset_start")],
                None => vec![own(name)],
            };
            add(name, "isPrimaryKey", Check::Unique(key), 1.0, OnFail::Block);
        }
        if field.required && !field.is_concept() {
            add(name, "isRequired", Check::NotNull(own(name)), 1.0, OnFail::Block);
        }
        if field.required && field.is_concept() && !name.ends_with("_type_concept_id") {
            let mapped = "standardConceptRecordCompleteness";
            add(name, mapped, Check::NotNull(own(name)), 0.0, OnFail::Warn);
        }
        if let Some((other, key)) = field.refers.filter(|(other, _)| modelled(other)) {
            let check = Check::ForeignKey(own(name), column(other, key, span));
            add(name, "isForeignKey", check, 1.0, OnFail::Block);
        }
        let is_time = matches!(field.kind, clinmill_model::omop::Kind::Date);
        if VISITED.contains(&(table.name.as_str(), name)) && modelled("visit_occurrence") {
            let sql = clinmill_spec::pipeline::Spanned {
                value: format!(
                    "select t._row_id from {} t join visit_occurrence v on t.visit_occurrence_id = v.visit_occurrence_id \
                     where {}",
                    table.name,
                    query::apart(&format!("t.{name}"), ("v.visit_start_date", "v.visit_end_date"), 7)
                ),
                span,
            };
            let counted = Some(clinmill_spec::pipeline::Spanned {
                value: table.name.clone(),
                span,
            });
            let check = Check::Sql { sql, table: counted };
            add(name, WITHIN_VISIT, check, 0.95, OnFail::Warn);
        }
        let begins = name.strip_suffix("_start_date").or_else(|| name.strip_suffix("_date"));
        if let Some(end) = begins.map(|s| format!("{s}_end_date"))
            && model.field(&end).is_some()
        {
            let check = Check::Before(own(name), own(&end));
            add(name, "plausibleStartBeforeEnd", check, 1.0, OnFail::Warn);
        }
        if is_time && !OF_THE_FUTURE.contains(&name) {
            let late = Check::Model(own(name), query::late(name, &DataType::Date32));
            add(name, VALUE_HIGH, late, 0.99, OnFail::Warn);
        }
        if is_time && table.subject && table.name != "person" && modelled("person") {
            let check = Check::After(own(name), column("person", "birth_datetime", span));
            add(name, "plausibleAfterBirth", check, 1.0, OnFail::Warn);
        }
        if is_time && table.subject && !matches!(table.name.as_str(), "person" | "death") && modelled("death") {
            let check = Check::Before(own(name), column("death", "death_date", span));
            add(name, "plausibleBeforeDeath", check, 1.0, OnFail::Warn);
        }
    }
    let beside = ["unit_concept_id", "unit_source_value", "value_source_value"];
    if model.field("value_as_number").is_some() && beside.iter().all(|name| model.field(name).is_some()) {
        let check = Check::Model(own("value_as_number"), converted_without_a_unit());
        let gate = own_gate(table, "value_as_number", "unitOfValue", check, 1.0, OnFail::Block, span);
        gates.push((gate, None));
    }
    gates
}

fn own_gate(
    table: &TableSpec,
    column: &str,
    what: &str,
    check: Check,
    at_least: f64,
    on_fail: OnFail,
    span: Span,
) -> Gate {
    Gate {
        name: clinmill_spec::pipeline::Spanned {
            value: format!("{}.{column}.{what}", table.name),
            span,
        },
        check,
        filter: None,
        at_least,
        on_fail,
    }
}
