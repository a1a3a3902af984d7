//! Comparing what a step gave with what a test expects of it.

use super::{
    Difference,
    given::as_column,
    steps::{StepResult, described},
};
use arrow::{
    array::{Array, RecordBatch},
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};
use clinmill_model::columns::SUBJECT_ID;
use clinmill_spec::cases::{Expected, Rewrite, Row};
use std::collections::BTreeMap;

type Cell = Option<String>;

/// Adds all that is other than expected.
pub fn compare(expected: &Expected, given: &StepResult, differences: &mut Vec<Difference>) {
    let step = &expected.step.value;
    let mut differ = |span, message: String| {
        differences.push(Difference {
            step: step.clone(),
            message,
            span,
        });
    };
    if let (Some(slot), Some(batch)) = (&expected.schema, &given.rows) {
        let actual = described(&batch.schema());
        if actual != slot.value {
            for message in schema_differences(&slot.value, &actual) {
                differ(slot.key, message);
            }
        }
    }
    let n = given.rows.as_ref().map_or(0, RecordBatch::num_rows) as u64;
    if let Some(slot) = expected.count.as_ref().filter(|slot| slot.value != n) {
        differ(slot.key, format!("expected {} rows, there are {n}", slot.value));
    }
    if let Some(slot) = &expected.counts {
        for (name, expected) in &slot.value {
            let actual = given.counts.get(name).copied();
            let is_known =
                actual.is_some() || !(given.is_counted_whole || name == "rows") || name.starts_with("filtered ");
            if !is_known {
                differ(slot.key, format!("it counts no {name:?}: {}", counted(&given.counts)));
            } else if actual.unwrap_or(0) != *expected {
                let actual = actual.unwrap_or(0);
                differ(slot.key, format!("{name}: expected {expected}, was {actual}"));
            }
        }
    }
    if let Some(slot) = &expected.rejects {
        let codes: BTreeMap<&String, ()> = slot.value.keys().chain(given.rejects.keys()).map(|c| (c, ())).collect();
        for code in codes.into_keys() {
            let of = |map: &BTreeMap<String, u64>| map.get(code).copied().unwrap_or(0);
            let (expected, actual) = (of(&slot.value), of(&given.rejects));
            if expected != actual {
                differ(slot.key, format!("rejected {code}: expected {expected}, was {actual}"));
            }
        }
    }
    if let (Some(slot), Some(batch)) = (&expected.rows, &given.rows) {
        match &slot.value {
            None => differ(
                slot.key,
                format!("no rows are written down yet, and there are {n}: write them, or run with --update"),
            ),
            Some(rows) => {
                for (span, message) in row_differences(rows, batch, &given.subjects, slot.key) {
                    differ(span, message);
                }
            }
        }
    }
}

/// What a step counts.
fn counted(counts: &BTreeMap<String, u64>) -> String {
    let names: Vec<&str> = counts.keys().map(String::as_str).collect();
    match names.is_empty() {
        true => "it counts nothing; how many rows it gives is `count`".to_owned(),
        false => format!("it counts {}; how many rows it gives is `count`", names.join(", ")),
    }
}

fn schema_differences(expected: &[(String, String)], actual: &[(String, String)]) -> Vec<String> {
    let mut out = Vec::new();
    for (name, kind) in expected {
        match actual.iter().find(|(n, _)| n == name) {
            None => out.push(format!("schema: the column {name} is missing")),
            Some((_, is)) if is != kind => out.push(format!("schema: {name}: expected {kind}, was {is}")),
            Some(_) => {}
        }
    }
    for (name, kind) in actual.iter().filter(|(n, _)| !expected.iter().any(|(e, _)| e == n)) {
        out.push(format!("schema: the column {name} ({kind}) is not expected"));
    }
    if out.is_empty() {
        let order: Vec<&str> = actual.iter().map(|(n, _)| n.as_str()).collect();
        out.push(format!("schema: the order of the columns is {}", order.join(", ")));
    }
    out
}

/// The columns that are looked at: those that a row names.
fn looked_at(rows: &[Row]) -> Vec<&str> {
    let mut columns: Vec<&str> = Vec::new();
    for value in rows.iter().flat_map(|r| &r.values) {
        if !columns.contains(&value.column.value.as_str()) {
            columns.push(&value.column.value);
        }
    }
    columns
}

fn row_differences(
    rows: &[Row],
    batch: &RecordBatch,
    subjects: &[String],
    at: clinmill_spec::pipeline::Span,
) -> Vec<(clinmill_spec::pipeline::Span, String)> {
    let columns = looked_at(rows);
    let actual = cells(batch, subjects, &columns);
    let expected: Vec<Vec<Cell>> = rows.iter().map(|row| normal(row, batch, &columns)).collect();
    // Equal rows first; then each expected row with the one that is most like it.
    let mut left: Vec<usize> = (0..actual.len()).collect();
    let mut unmet = Vec::new();
    for (i, row) in expected.iter().enumerate() {
        match left.iter().position(|&a| actual[a] == *row) {
            Some(found) => {
                left.remove(found);
            }
            None => unmet.push(i),
        }
    }
    let mut out = Vec::new();
    for i in unmet {
        let likeness = |a: usize| {
            let same = expected[i]
                .iter()
                .zip(&actual[a])
                .filter(|(e, a)| e == a && e.is_some());
            same.count()
        };
        let best = left
            .iter()
            .copied()
            .max_by_key(|&a| (likeness(a), std::cmp::Reverse(a)));
        match best.filter(|&a| likeness(a) > 0 || columns.len() == 1) {
            Some(a) => {
                left.retain(|&other| other != a);
                for ((column, expected), actual) in columns.iter().zip(&expected[i]).zip(&actual[a]) {
                    if expected != actual {
                        let span = rows[i].get(column).map_or(rows[i].span, |v| v.span);
                        let message = format!(
                            "row {}: {column}: expected {}, was {}",
                            i + 1,
                            shown(expected),
                            shown(actual)
                        );
                        out.push((span, message));
                    }
                }
            }
            None => out.push((
                rows[i].span,
                format!("row {}: there is no such row: {}", i + 1, line(&columns, &expected[i])),
            )),
        }
    }
    for a in left {
        let (names, cells) = match columns.is_empty() {
            true => all_columns(batch, subjects, a),
            false => (columns.iter().map(|c| (*c).to_owned()).collect(), actual[a].clone()),
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        out.push((at, format!("a row that is not expected: {}", line(&names, &cells))));
    }
    out
}

fn all_columns(batch: &RecordBatch, subjects: &[String], row: usize) -> (Vec<String>, Vec<Cell>) {
    let names = column_names(batch, subjects);
    let columns: Vec<&str> = names.iter().map(String::as_str).collect();
    let cells = cells(
        &batch.slice(row, 1),
        subjects.get(row..=row).unwrap_or_default(),
        &columns,
    );
    let row = cells.into_iter().next().unwrap_or_default();
    (names, row)
}

fn column_names(batch: &RecordBatch, subjects: &[String]) -> Vec<String> {
    let own = batch.schema();
    let subject = (!subjects.is_empty()).then(|| SUBJECT_ID.to_owned());
    subject
        .into_iter()
        .chain(own.fields().iter().map(|f| f.name().clone()))
        .collect()
}

fn shown(cell: &Cell) -> String {
    cell.as_ref()
        .map_or_else(|| "null".to_owned(), |text| format!("{text:?}"))
}

fn line(columns: &[&str], cells: &[Cell]) -> String {
    let parts: Vec<String> = columns
        .iter()
        .zip(cells)
        .filter(|(_, cell)| cell.is_some())
        .map(|(column, cell)| format!("{column}: {}", shown(cell)))
        .collect();
    if parts.is_empty() {
        "all null".to_owned()
    } else {
        parts.join(", ")
    }
}

/// Values as they are shown: by row, in the order of these columns; a column that is not there is null.
fn cells(batch: &RecordBatch, subjects: &[String], columns: &[&str]) -> Vec<Vec<Cell>> {
    let options = FormatOptions::default();
    let formatters: Vec<_> = columns
        .iter()
        .map(|name| {
            let column = batch.column_by_name(name)?;
            Some((column, ArrayFormatter::try_new(column.as_ref(), &options).ok()?))
        })
        .collect();
    let cell = |row: usize, name: &str, column: &Option<(&arrow::array::ArrayRef, ArrayFormatter<'_>)>| match column {
        _ if name == SUBJECT_ID => subjects.get(row).cloned(),
        Some((column, formatter)) if column.is_valid(row) => Some(formatter.value(row).to_string()),
        _ => None,
    };
    (0..batch.num_rows())
        .map(|row| {
            columns
                .iter()
                .zip(&formatters)
                .map(|(name, column)| cell(row, name, column))
                .collect()
        })
        .collect()
}

/// An expected row as its values would be shown: `1.5` is `1.500` in a column of three decimals.
fn normal(row: &Row, batch: &RecordBatch, columns: &[&str]) -> Vec<Cell> {
    columns
        .iter()
        .map(|name| {
            let text = row.get(name)?.text.as_deref()?;
            let as_shown = batch
                .column_by_name(name)
                .filter(|c| *c.data_type() != DataType::Utf8)
                .and_then(|column| {
                    let typed = as_column(&[Some(text)], column.data_type())?;
                    let options = FormatOptions::default();
                    let formatter = ArrayFormatter::try_new(typed.as_ref(), &options).ok()?;
                    Some(formatter.value(0).to_string())
                });
            Some(as_shown.unwrap_or_else(|| text.to_owned()))
        })
        .collect()
}

/// What a step gave, in the form in which the test writes it down.
pub fn actual(expected: &Expected, given: &StepResult, of: (usize, usize)) -> Rewrite {
    let n = given.rows.as_ref().map_or(0, RecordBatch::num_rows) as u64;
    Rewrite {
        of,
        rows: expected.rows.as_ref().zip(given.rows.as_ref()).map(|(slot, batch)| {
            let named = slot.value.as_deref().map(looked_at).filter(|c| !c.is_empty());
            let all = column_names(batch, &given.subjects);
            let is_named = named.is_some();
            let columns = named.unwrap_or_else(|| all.iter().map(String::as_str).collect());
            let mut rows: Vec<Vec<(String, Cell)>> = cells(batch, &given.subjects, &columns)
                .into_iter()
                .map(|row| {
                    let pairs = columns.iter().zip(row).map(|(c, v)| ((*c).to_owned(), v));
                    // Null is what is not named; where nothing else is left the row must still be seen.
                    let kept: Vec<_> = pairs.clone().filter(|(_, v)| v.is_some()).collect();
                    if kept.is_empty() || is_named {
                        pairs.collect()
                    } else {
                        kept
                    }
                })
                .collect();
            rows.sort();
            rows
        }),
        count: Some(n),
        counts: expected.counts.as_ref().map(|slot| {
            let names: Vec<String> = match slot.value.is_empty() {
                true => given.counts.keys().cloned().collect(),
                false => slot.value.keys().cloned().collect(),
            };
            let value = |name: String| {
                let n = given.counts.get(&name).copied().unwrap_or(0);
                (name, n)
            };
            names.into_iter().map(value).collect()
        }),
        rejects: Some(given.rejects.clone()),
        schema: given.rows.as_ref().map(|batch| described(&batch.schema())),
    }
}
