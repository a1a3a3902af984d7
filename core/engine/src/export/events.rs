//! From rows of standard tables to events: which columns hold a code, a time and a value.

use crate::{
    error::EngineError,
    graph::{Graph, Node},
    tables::TableSpec,
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use clinmill_spec::pipeline::Model;
use std::collections::BTreeSet;

/// One event of a subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Microseconds since 1970, local; none for what has no time.
    pub time: Option<i64>,
    /// The code.
    pub code: String,
    /// The standard concept that the code is mapped to.
    pub concept: Option<i64>,
    /// The value as a number.
    pub number: Option<f64>,
    /// The value as text.
    pub text: Option<String>,
    /// The unit of the number.
    pub unit: Option<String>,
}

/// One kind of event that each row of a table may give.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    /// What the code begins with; with neither source nor concept it is the whole code.
    prefix: &'static str,
    /// Columns with the source's code, the first that has a value counts.
    source: &'static [&'static str],
    /// The column with the standard concept.
    concept: &'static str,
    /// Columns with the time, the first that has a value counts; empty: the event has none.
    time: &'static [&'static str],
    number: &'static str,
    text: &'static [&'static str],
    /// Columns that may hold the unit of the number, see [`unit_columns`].
    unit: &'static [&'static str],
}

/// MEDS 0.4: the codes of birth and death.
const BIRTH: &str = "MEDS_BIRTH";
const DEATH: &str = "MEDS_DEATH";

/// The unit of `value_as_number`: what a further column says of it (CONTRACTS.md), else what was sent.
const VALUE_UNIT: &[&str] = &["value_as_number_unit", "unit", "unit_source_value"];

/// What units were sent in.
const SENT: &str = "_source_value";

/// The columns with the unit of a number, the first that has a value counts. `written` are those that conversions of
/// the table's rows write. Where there are such, a number may be converted, and only a table that says to what can say
/// where it was not: elsewhere the unit that was sent is none of the number's, and the unit is not known. Two converted
/// units do not say which of them is the number's.
fn unit_columns<'a>(of: &'a [&'a str], written: &'a [String], has: impl Fn(&str) -> bool) -> Vec<&'a str> {
    let own = of
        .iter()
        .copied()
        .filter(|n| !n.ends_with(SENT) && n.ends_with("_unit") && has(n));
    let converted = written.iter().map(String::as_str).filter(|n| has(n));
    let other = of.iter().copied().filter(|n| *n == "unit" && has(n));
    let mut said: Vec<&str> = own.collect();
    if said.is_empty() && converted.clone().count() < 2 {
        said.extend(converted);
    }
    said.extend(other.filter(|_| said.is_empty()).collect::<Vec<_>>());
    if written.is_empty() || !said.is_empty() {
        said.extend(of.iter().copied().filter(|n| n.ends_with(SENT) && has(n)));
    }
    said
}

/// The columns with units that the steps `units` behind a table write: `<as>_unit`.
pub fn written(graph: &Graph, table: &TableSpec) -> Vec<String> {
    let mut found = BTreeSet::new();
    for name in graph.needed(std::slice::from_ref(&table.from)) {
        let steps = graph.node(&name).map(Node::steps).unwrap_or_default();
        for step in steps.iter().filter(|s| s.plugin == "units") {
            let columns = step.bound.output();
            let prefixes = columns.fields().iter().filter_map(|f| f.name().strip_suffix("_factor"));
            let units = prefixes.map(|prefix| format!("{prefix}_unit"));
            found.extend(units.filter(|unit| columns.column_with_name(unit).is_some()));
        }
    }
    found.into_iter().collect()
}

fn kinds(table: &TableSpec) -> Vec<Kind> {
    let none = Kind::default();
    match (table.model, table.name.as_str()) {
        (Some(Model::Meds04), _) => vec![Kind {
            source: &["code"],
            time: &["time"],
            number: "numeric_value",
            text: &["text_value"],
            unit: &["unit"],
            ..none
        }],
        (Some(Model::Omop54), "person") => vec![
            Kind {
                prefix: BIRTH,
                time: &["birth_datetime"],
                ..none
            },
            Kind {
                prefix: "GENDER",
                source: &["gender_source_value"],
                concept: "gender_concept_id",
                ..none
            },
            Kind {
                prefix: "RACE",
                source: &["race_source_value"],
                concept: "race_concept_id",
                ..none
            },
            Kind {
                prefix: "ETHNICITY",
                source: &["ethnicity_source_value"],
                concept: "ethnicity_concept_id",
                ..none
            },
        ],
        (Some(Model::Omop54), "death") => vec![Kind {
            prefix: DEATH,
            time: &["death_datetime", "death_date"],
            ..none
        }],
        // `visit_source_value` is the visit's own number in many hospitals: no code, and nobody else's business.
        (Some(Model::Omop54), "visit_occurrence") => vec![
            Kind {
                prefix: "VISIT",
                concept: "visit_concept_id",
                time: &["visit_start_datetime", "visit_start_date"],
                ..none
            },
            Kind {
                prefix: "VISIT_END",
                concept: "visit_concept_id",
                time: &["visit_end_datetime", "visit_end_date"],
                ..none
            },
        ],
        (Some(Model::Omop54), "condition_occurrence") => vec![Kind {
            prefix: "CONDITION",
            source: &["condition_source_value"],
            concept: "condition_concept_id",
            time: &["condition_start_datetime", "condition_start_date"],
            ..none
        }],
        (Some(Model::Omop54), "drug_exposure") => vec![Kind {
            prefix: "DRUG",
            source: &["drug_source_value"],
            concept: "drug_concept_id",
            time: &["drug_exposure_start_datetime", "drug_exposure_start_date"],
            // Of tablets it is their number: no unit of the dose stands beside it (CDM 5.4, drug_exposure).
            number: "quantity",
            ..none
        }],
        (Some(Model::Omop54), "procedure_occurrence") => vec![Kind {
            prefix: "PROCEDURE",
            source: &["procedure_source_value"],
            concept: "procedure_concept_id",
            time: &["procedure_datetime", "procedure_date"],
            ..none
        }],
        (Some(Model::Omop54), "device_exposure") => vec![Kind {
            prefix: "DEVICE",
            source: &["device_source_value"],
            concept: "device_concept_id",
            time: &["device_exposure_start_datetime", "device_exposure_start_date"],
            ..none
        }],
        (Some(Model::Omop54), "measurement") => vec![Kind {
            prefix: "MEASUREMENT",
            source: &["measurement_source_value"],
            concept: "measurement_concept_id",
            time: &["measurement_datetime", "measurement_date"],
            number: "value_as_number",
            text: &["value_source_value"],
            unit: VALUE_UNIT,
        }],
        (Some(Model::Omop54), "observation") => vec![Kind {
            prefix: "OBSERVATION",
            source: &["observation_source_value"],
            concept: "observation_concept_id",
            time: &["observation_datetime", "observation_date"],
            number: "value_as_number",
            text: &["value_as_string", "value_source_value"],
            unit: VALUE_UNIT,
        }],
        (Some(Model::Omop54), "note") => vec![Kind {
            prefix: "NOTE",
            source: &["note_source_value", "note_title"],
            concept: "note_class_concept_id",
            time: &["note_datetime", "note_date"],
            text: &["note_text"],
            ..none
        }],
        _ => Vec::new(),
    }
}

/// True for a table whose rows become events.
pub fn has_events(table: &TableSpec) -> bool {
    table.subject && !kinds(table).is_empty()
}

/// The columns of a batch that events are made of.
pub struct Rows {
    kinds: Vec<Columns>,
}

struct Columns {
    kind: Kind,
    source: Vec<StringArray>,
    concept: Option<Int64Array>,
    time: Vec<TimestampMicrosecondArray>,
    number: Option<Float64Array>,
    text: Vec<StringArray>,
    unit: Vec<StringArray>,
}

impl Rows {
    /// Finds them; `written` are the columns of [`written`].
    ///
    /// # Errors
    /// When a column has a type that no model gives it.
    pub fn of(table: &TableSpec, written: &[String], batch: &RecordBatch) -> Result<Self, EngineError> {
        let typed = |name: &str, data_type: &DataType| -> Result<Option<ArrayRef>, EngineError> {
            let column = batch.column_by_name(name).filter(|_| !name.is_empty());
            Ok(column.map(|c| cast(c, data_type)).transpose()?)
        };
        let texts = |names: &[&str]| -> Result<Vec<StringArray>, EngineError> {
            let found = names
                .iter()
                .map(|n| typed(n, &DataType::Utf8))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(found
                .into_iter()
                .flatten()
                .map(|c| c.as_string::<i32>().clone())
                .collect())
        };
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let mut found = Vec::new();
        for kind in kinds(table) {
            let mut time = Vec::new();
            for name in kind.time {
                let column = typed(name, &micros)?;
                time.extend(column.map(|c| c.as_primitive::<TimestampMicrosecondType>().clone()));
            }
            found.push(Columns {
                kind,
                source: texts(kind.source)?,
                concept: typed(kind.concept, &DataType::Int64)?.map(|c| c.as_primitive::<Int64Type>().clone()),
                time,
                number: typed(kind.number, &DataType::Float64)?.map(|c| c.as_primitive::<Float64Type>().clone()),
                text: texts(kind.text)?,
                unit: texts(&unit_columns(kind.unit, written, |name| {
                    batch.column_by_name(name).is_some()
                }))?,
            });
        }
        Ok(Self { kinds: found })
    }

    /// The events of one row.
    pub fn events(&self, row: usize) -> Vec<Event> {
        self.kinds.iter().filter_map(|columns| columns.event(row)).collect()
    }
}

impl Columns {
    fn event(&self, row: usize) -> Option<Event> {
        let text = |columns: &[StringArray]| {
            let of = columns.iter().find(|c| c.is_valid(row));
            of.map(|c| c.value(row).to_owned())
        };
        let time = self.time.iter().find(|c| c.is_valid(row)).map(|c| c.value(row));
        let source = text(&self.source);
        let concept = self.concept.as_ref().filter(|c| c.is_valid(row)).map(|c| c.value(row));
        let concept = concept.filter(|c| *c != 0);
        let whole = self.kind.source.is_empty() && self.kind.concept.is_empty();
        // Birth that is not known is no event; nor is a race that nothing is said of.
        let code = match (whole, source, concept) {
            (true, ..) => time.map(|_| self.kind.prefix.to_owned())?,
            (_, Some(source), _) if self.kind.prefix.is_empty() => source,
            (_, Some(source), _) => format!("{}//{source}", self.kind.prefix),
            (_, None, Some(concept)) => format!("{}//OMOP/{concept}", self.kind.prefix),
            (_, None, None) if self.kind.time.is_empty() => return None,
            (_, None, None) => format!("{}//UNKNOWN", self.kind.prefix),
        };
        Some(Event {
            time,
            code,
            concept,
            number: self.number.as_ref().filter(|c| c.is_valid(row)).map(|c| c.value(row)),
            text: text(&self.text),
            unit: text(&self.unit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_unit_it_was_converted_to() {
        let columns = |written: &[&str], table: &[&str]| {
            let written: Vec<String> = written.iter().map(|&w| w.to_owned()).collect();
            unit_columns(VALUE_UNIT, &written, |name| table.contains(&name)).join(" ")
        };
        let sent = "unit_source_value";
        assert_eq!(columns(&[], &[sent]), sent);
        assert_eq!(columns(&[], &[sent, "unit"]), "unit unit_source_value");
        // Converted, and the table does not say to what.
        assert_eq!(columns(&["standard_unit"], &[sent]), "");
        assert_eq!(
            columns(&["standard_unit"], &[sent, "standard_unit"]),
            "standard_unit unit_source_value"
        );
        assert_eq!(
            columns(&["si_unit"], &[sent, "unit", "si_unit"]),
            "si_unit unit_source_value"
        );
        assert_eq!(columns(&["si_unit"], &[sent, "unit"]), "unit unit_source_value");
        let two = ["si_unit", "us_unit"];
        assert_eq!(columns(&two, &[sent, "si_unit", "us_unit"]), "");
        assert_eq!(
            columns(&two, &[sent, "value_as_number_unit", "si_unit", "us_unit"]),
            "value_as_number_unit unit_source_value"
        );
    }
}
