//! Completing a table to a standard model: types, ids, dates, concepts that nothing is mapped to.
//!
//! OMOP CDM 5.4 conventions (`userGuidance` and `etlConventions` of its field list): a concept that is required and not
//! mapped is 0; one that is not required is 0 where its source value is given, else null. Integer ids are derived from
//! `_row_id` and from the subject, so that they are stable and no table of numbers is kept.

use crate::{
    error::EngineError,
    exact::{exactly, is_castable, needs_clock},
    fold::Id,
    graph::{Graph, Located, subject_column},
    tables::{Identity, TableSpec},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch, RecordBatchOptions},
    compute::{DatePart, cast, date_part, is_null, kernels::zip::zip},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit},
};
use clinmill_catalog::{rowhash::row_hashes, vault::VaultKey};
use clinmill_model::{Diagnostic, Digest, columns::SUBJECT_ID, omop};
use clinmill_spec::{
    codes, did_you_mean,
    pipeline::{Column, Model, Table},
};
use jiff::tz::TimeZone;
use std::sync::Arc;

/// How a column is completed where it is null or not given.
#[derive(Clone, Debug, PartialEq)]
pub enum Fill {
    /// A number derived from the row's `_row_id`.
    RowId,
    /// A number derived from the subject.
    Subject,
    /// The day of this time.
    Day(String),
    /// A part of the time of birth: `year`, `month` or `day`.
    Birth(&'static str),
    /// A concept.
    Concept(i64),
    /// 0 where this source value is given.
    Unmapped(String),
    /// The number derived from the `_row_id` of the row of another table that has this key.
    Row {
        /// The other table.
        table: String,
        /// Its key columns with their types, all of which this table's relation has.
        key: Vec<Field>,
    },
}

/// The columns of a table's model, in its order; none without a model.
pub fn columns(table: &Table) -> Option<Vec<(&'static str, DataType)>> {
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
    Some(match table.model.as_ref()?.value {
        Model::Meds04 => vec![
            ("time", timestamp),
            ("code", DataType::Utf8),
            ("numeric_value", DataType::Float64),
            ("text_value", DataType::Utf8),
        ],
        Model::Omop54 => omop::table(&table.name.value)?
            .fields
            .iter()
            .map(|f| {
                let data_type = match f.kind {
                    omop::Kind::Integer => DataType::Int64,
                    omop::Kind::Float => DataType::Float64,
                    omop::Kind::Date => DataType::Date32,
                    omop::Kind::Datetime => timestamp.clone(),
                    omop::Kind::Text => DataType::Utf8,
                };
                (f.name, data_type)
            })
            .collect(),
    })
}

/// How the columns of a model's table are completed. Reports what is required and can come from nowhere.
pub fn fills(table: &Table, tables: &[Table], input: &SchemaRef, findings: &mut Vec<Located>) -> Vec<(String, Fill)> {
    let given = |name: &str| input.field_with_name(name).is_ok();
    // What [`link`] will do.
    let linked = |field: &omop::Field| {
        let other = field
            .refers
            .and_then(|(other, _)| tables.iter().find(|t| t.name.value == other))?;
        let key = other.key.as_ref()?;
        key.iter()
            .all(|k| k.value == SUBJECT_ID || given(&k.value))
            .then_some(())
    };
    let mut missing: Vec<String> = Vec::new();
    let mut fills = Vec::new();
    match table.model.as_ref().map(|m| m.value) {
        None => return fills,
        Some(Model::Meds04) => {
            if !given("code") {
                missing.push("code".to_owned());
            }
        }
        Some(Model::Omop54) => {
            let fields = omop::table(&table.name.value).map_or(&[][..], |t| &t.fields);
            for field in fields {
                match fill(&table.name.value, field, &given) {
                    Some(fill) => fills.push((field.name.to_owned(), fill)),
                    None if field.required && !given(field.name) && linked(field).is_none() => {
                        missing.push(field.name.to_owned())
                    }
                    None => {}
                }
            }
        }
    }
    if !missing.is_empty() {
        let message = format!(
            "{} has no column for what `{}` requires: {}",
            table.from.value,
            table.name.value,
            missing.join(", ")
        );
        let hint = "give them in the transform that the table is made from; ids, days of times and unmapped concepts are \
                    completed";
        findings.push((
            Diagnostic::error(codes::MODEL_COLUMNS, message).hint(hint),
            table.from.span,
        ));
    }
    fills
}

/// Columns of a table's relation that an OMOP table does not take, though it has a column of almost that name which nothing
/// gives: a name that is probably misspelt.
pub fn untaken(table: &Table, spec: &TableSpec, input: &SchemaRef) -> Vec<Located> {
    if spec.model != Some(Model::Omop54) {
        return Vec::new();
    }
    let given = |name: &str| input.field_with_name(name).is_ok();
    let takes = |name: &str| {
        let unit = |c: &Column| c.unit.is_some() && name == format!("{}_unit", c.name.value);
        let source = |fill: &Fill| match fill {
            Fill::Day(of) | Fill::Unmapped(of) => of == name,
            Fill::Birth(_) => name == "birth_datetime",
            _ => false,
        };
        spec.schema.field_with_name(name).is_ok()
            || spec.fills.iter().any(|(_, fill)| source(fill))
            || table.columns.iter().any(unit)
    };
    let open: Vec<&str> = spec
        .schema
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .filter(|n| !given(n))
        .collect();
    let names = input.fields().iter().map(|f| f.name().as_str());
    names
        .filter(|name| !takes(name))
        .filter_map(|name| {
            // Not where it could only list the columns there are.
            let hint = did_you_mean(name, open.iter().copied()).filter(|hint| hint.starts_with("did you mean"))?;
            let message = format!(
                "the column {name:?} of {} is left out: `{}` of OMOP 5.4 has none of this name",
                spec.from, spec.name
            );
            Some((
                Diagnostic::warning(codes::MODEL_UNTAKEN, message).hint(hint),
                table.from.span,
            ))
        })
        .collect()
}

fn fill(table: &str, field: &omop::Field, given: &dyn Fn(&str) -> bool) -> Option<Fill> {
    if field.name == "person_id" {
        return Some(Fill::Subject);
    }
    // Spans share the ids of what they are spans of; these have to be given.
    if field.primary && field.kind == omop::Kind::Integer && field.refers.is_none() {
        return Some(Fill::RowId);
    }
    if field.is_concept() {
        if field.required {
            return Some(Fill::Concept(field.default_concept()));
        }
        return field.source_value().filter(|s| given(s)).map(Fill::Unmapped);
    }
    if let Some(time) = field.datetime().filter(|t| given(t)) {
        return Some(Fill::Day(time));
    }
    let part = match (table, field.name) {
        ("person", "year_of_birth") => "year",
        ("person", "month_of_birth") => "month",
        ("person", "day_of_birth") => "day",
        _ => return None,
    };
    given("birth_datetime").then_some(Fill::Birth(part))
}

/// Lets rows refer to rows of other tables: where a table has the key columns of another one, it can tell the id of the
/// row that it belongs to without looking.
pub fn link(specs: &mut [TableSpec], graph: &Graph) {
    let targets: Vec<(String, Vec<Field>)> = specs
        .iter()
        .filter(|t| t.model == Some(Model::Omop54))
        .filter_map(|t| {
            let Identity::Key(key) = &t.identity else { return None };
            let fields = key.iter().map(|k| t.schema.field_with_name(k).ok().cloned());
            Some((t.name.clone(), fields.collect::<Option<Vec<_>>>()?))
        })
        .collect();
    for spec in specs.iter_mut().filter(|t| t.model == Some(Model::Omop54)) {
        let (Some(table), Some(input)) = (omop::table(&spec.name), graph.schema(&spec.from)) else {
            continue;
        };
        let mut links = Vec::new();
        for field in &table.fields {
            let Some((other, id)) = field
                .refers
                .filter(|(other, id)| *other != spec.name && *id == field.name)
            else {
                continue;
            };
            let Some((_, key)) = targets.iter().find(|(name, _)| name == other) else {
                continue;
            };
            let has = |f: &Field| {
                let here = input.field_with_name(f.name());
                (f.name() == SUBJECT_ID && spec.subject)
                    || here.is_ok_and(|h| {
                        let has_clock = spec.clock.is_some() || !needs_clock(h.data_type(), f.data_type());
                        has_clock && is_castable(h.data_type(), f.data_type())
                    })
            };
            if id != "person_id" && key.iter().all(has) {
                let fill = Fill::Row {
                    table: other.to_owned(),
                    key: key.clone(),
                };
                links.push((field.name.to_owned(), fill));
            }
        }
        if !links.is_empty() {
            for digest in [&mut spec.digest, &mut spec.making] {
                *digest = Digest::of_parts([digest.to_string(), format!("{links:?}")]);
            }
            spec.fills.extend(links);
        }
    }
}

/// The number of a 128-bit id: its first 63 bits, so that it is not negative.
pub fn number(id: &Id) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *id;
    i64::from_be_bytes([a & 0x7f, b, c, d, e, f, g, h])
}

/// Completes rows with all that does not need their own `_row_id`. `given` is what they were made of.
///
/// # Errors
/// When a column cannot be read as the model has it.
pub fn complete(
    table: &TableSpec,
    rows: RecordBatch,
    given: &RecordBatch,
    subjects: Option<&FixedSizeBinaryArray>,
    key: &VaultKey,
) -> Result<RecordBatch, EngineError> {
    if table.fills.is_empty() {
        return Ok(rows);
    }
    let schema = rows.schema();
    let n = rows.num_rows();
    let mut columns = rows.columns().to_vec();
    for (name, fill) in &table.fills {
        let Ok(at) = schema.index_of(name) else { continue };
        let value = |of: &str| {
            let at = schema.index_of(of).ok();
            at.and_then(|i| columns.get(i).cloned())
                .or_else(|| given.column_by_name(of).cloned())
        };
        let filled: Option<ArrayRef> = match fill {
            Fill::RowId => None,
            Fill::Subject => subjects.map(|subjects| {
                let ids = (0..n).map(|i| Some(number(&crate::fold::id_at(subjects, i))));
                Arc::new(ids.collect::<Int64Array>()) as ArrayRef
            }),
            Fill::Day(time) => value(time).map(|t| cast(&t, &DataType::Date32)).transpose()?,
            Fill::Birth(part) => match value("birth_datetime") {
                None => None,
                Some(birth) => {
                    let part = match *part {
                        "year" => DatePart::Year,
                        "month" => DatePart::Month,
                        _ => DatePart::Day,
                    };
                    let birth = cast(&birth, &DataType::Date32)?;
                    Some(cast(&date_part(&birth, part)?, &DataType::Int64)?)
                }
            },
            Fill::Concept(concept) => Some(Arc::new(Int64Array::from(vec![*concept; n]))),
            Fill::Unmapped(source) => value(source).map(|source| {
                let zeros = (0..n).map(|i| source.is_valid(i).then_some(omop::UNMAPPED));
                Arc::new(zeros.collect::<Int64Array>()) as ArrayRef
            }),
            Fill::Row {
                table: other,
                key: fields,
            } => Some(row_numbers(
                other,
                fields,
                given,
                subjects,
                (key, table.clock.as_ref()),
            )?),
        };
        if let (Some(filled), Some(column)) = (filled, columns.get_mut(at)) {
            let filled = cast(&filled, column.data_type())?;
            *column = match column.null_count() {
                0 if n > 0 => column.clone(),
                _ if column.null_count() == n => filled,
                _ => zip(&is_null(column)?, &filled, column)?,
            };
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(n));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// The numbers of the rows of another table that have these keys; null where a part of the key is.
fn row_numbers(
    table: &str,
    fields: &[Field],
    given: &RecordBatch,
    subjects: Option<&FixedSizeBinaryArray>,
    (key, clock): (&VaultKey, Option<&TimeZone>),
) -> Result<ArrayRef, EngineError> {
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for field in fields {
        let array: ArrayRef = match (given.column_by_name(field.name()), subjects) {
            (_, Some(subjects)) if field.name() == SUBJECT_ID => Arc::new(subject_column(subjects)),
            (Some(array), _) => exactly(array, field.data_type(), clock)?,
            (None, _) => return Err(EngineError::internal(format!("no column {} to refer by", field.name()))),
        };
        arrays.push(array);
    }
    let fields: Vec<Field> = fields.iter().map(|f| f.clone().with_nullable(true)).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let hashes = row_hashes(&batch)?;
    let whole = |i: usize| batch.columns().iter().all(|c| c.is_valid(i));
    let numbers = hashes.iter().enumerate().map(|(i, hash)| {
        let id = key.hmac128("row-key", &[table.as_bytes(), &hash.to_be_bytes()]);
        whole(i).then(|| number(&id))
    });
    Ok(Arc::new(numbers.collect::<Int64Array>()))
}

/// Puts the numbers of their own `_row_id`s into rows, where none is given.
///
/// # Errors
/// A defect.
pub fn number_rows(table: &TableSpec, rows: RecordBatch, ids: &[Id]) -> Result<RecordBatch, EngineError> {
    let schema = rows.schema();
    let own = table.fills.iter().find(|(_, fill)| *fill == Fill::RowId);
    let Some(at) = own.and_then(|(name, _)| schema.index_of(name).ok()) else {
        return Ok(rows);
    };
    let mut columns = rows.columns().to_vec();
    if let Some(column) = columns.get_mut(at) {
        let known = column.as_primitive::<Int64Type>().clone();
        let numbers = ids
            .iter()
            .enumerate()
            .map(|(i, id)| if known.is_valid(i) { known.value(i) } else { number(id) });
        *column = Arc::new(Int64Array::from_iter_values(numbers));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positive_and_keep_the_order_but_for_the_first_bit() {
        assert_eq!(number(&[0xff; 16]), i64::MAX);
        let mut id = [0u8; 16];
        id[7] = 5;
        assert_eq!(number(&id), 5);
    }

    #[test]
    fn what_completes_a_field() {
        let of = |table: &str, field: &str, given: &[&str]| {
            let field = *omop::table(table).unwrap().field(field).unwrap();
            fill(table, &field, &|name| given.contains(&name))
        };
        assert_eq!(of("measurement", "measurement_id", &[]), Some(Fill::RowId));
        assert_eq!(of("measurement", "person_id", &[]), Some(Fill::Subject));
        assert_eq!(of("person", "person_id", &[]), Some(Fill::Subject));
        assert_eq!(of("measurement", "measurement_concept_id", &[]), Some(Fill::Concept(0)));
        assert_eq!(
            of("measurement", "unit_concept_id", &[]),
            None,
            "no unit is given: null"
        );
        let unit = Fill::Unmapped("unit_source_value".to_owned());
        assert_eq!(of("measurement", "unit_concept_id", &["unit_source_value"]), Some(unit));
        assert_eq!(of("note", "encoding_concept_id", &[]), Some(Fill::Concept(omop::UTF8)));
        assert_eq!(of("measurement", "measurement_date", &[]), None);
        let day = Fill::Day("measurement_datetime".to_owned());
        assert_eq!(
            of("measurement", "measurement_date", &["measurement_datetime"]),
            Some(day)
        );
        assert_eq!(
            of("person", "year_of_birth", &["birth_datetime"]),
            Some(Fill::Birth("year"))
        );
        assert_eq!(
            of("note_nlp_span", "note_nlp_id", &[]),
            None,
            "it is the id of another row"
        );
    }
}
