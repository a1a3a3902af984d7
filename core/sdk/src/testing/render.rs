//! What a plugin yielded, as JSON that people can read and review: one record per line.

use super::{CollectedRecords, CollectedRows};
use crate::{Locator, RecordKind, SubjectId};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{
        DataType, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
    util::display::{ArrayFormatter, FormatOptions},
};
use serde_json::{Map, Value, json};

/// Everything that a source pushed, by record kind.
pub fn records(collected: &CollectedRecords, kinds: &[RecordKind]) -> Value {
    let mut by_kind = Map::new();
    for (index, kind) in kinds.iter().enumerate() {
        let mut rows = Vec::new();
        for batch in collected.batches.iter().filter(|b| b.kind == index) {
            for row in 0..batch.rows.num_rows() {
                rows.push(record(batch, row));
            }
        }
        by_kind.insert(kind.name.clone(), Value::Array(rows));
    }
    let rejections = collected.rejections.iter().map(|r| {
        let mut map = Map::new();
        if let Some(kind) = r.kind {
            map.insert(
                "kind".into(),
                kinds.get(kind).map_or(Value::Null, |k| k.name.clone().into()),
            );
        }
        map.insert("code".into(), r.code.clone().into());
        map.insert("message".into(), r.message.clone().into());
        map.insert("at".into(), locator(&r.at));
        Value::Object(map)
    });
    let subject = |s: &SubjectId| json!({ "issuer": s.issuer, "id": s.id });
    let links = collected.links.iter().map(|l| {
        json!({ "survivor": subject(&l.survivor), "retired": subject(&l.retired), "version": l.version,
                "at": locator(&l.at) })
    });
    json!({
        "records": by_kind,
        "rejections": rejections.collect::<Vec<_>>(),
        "filtered": collected.filtered,
        "links": links.collect::<Vec<_>>(),
    })
}

fn record(batch: &crate::RecordBatchOf, row: usize) -> Value {
    let meta = &batch.meta;
    let text = |a: &arrow::array::StringArray| a.is_valid(row).then(|| a.value(row).to_owned());
    let mut map = Map::new();
    map.insert("issuer".into(), text(&meta.issuer).into());
    map.insert("subject".into(), text(&meta.subject).into());
    map.insert("version".into(), text(&meta.version).into());
    if meta.void.value(row) != 0 {
        map.insert("void".into(), true.into());
    }
    let at = Locator {
        offset: meta.offset.value(row),
        length: meta.length.value(row),
        row: meta.row.value(row),
        part: meta.part.value(row),
        cell: meta.cell.is_valid(row).then(|| meta.cell.value(row)),
    };
    map.insert("at".into(), locator(&at));
    map.insert("row".into(), cells(&batch.rows, row));
    Value::Object(map)
}

fn locator(at: &Locator) -> Value {
    let mut map = Map::new();
    map.insert("offset".into(), at.offset.into());
    map.insert("length".into(), at.length.into());
    map.insert("row".into(), at.row.into());
    if at.part != 0 {
        map.insert("part".into(), at.part.into());
    }
    if let Some(cell) = at.cell {
        map.insert("cell".into(), cell.into());
    }
    Value::Object(map)
}

/// Everything that a transform emitted; `from` is the row of the case's input that an output row came from.
pub fn rows(collected: &CollectedRows, output: &arrow::datatypes::Schema, from: &[u32]) -> Value {
    let columns: Map<String, Value> = output
        .fields()
        .iter()
        .map(|f| (f.name().clone(), type_name(f.data_type()).into()))
        .collect();
    let mut rows = Vec::new();
    for (batch, _) in &collected.batches {
        for row in 0..batch.num_rows() {
            rows.push(json!({ "from": from.get(rows.len()), "row": cells(batch, row) }));
        }
    }
    let rejected = collected
        .rejected
        .iter()
        .map(|r| json!({ "from": r.row, "code": r.code, "message": r.message }));
    json!({
        "columns": columns,
        "rows": rows,
        "rejected": rejected.collect::<Vec<_>>(),
        "counts": collected.counts,
    })
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "string".into(),
        DataType::Int64 => "integer".into(),
        DataType::Float64 => "number".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        other => other.to_string(),
    }
}

fn cells(batch: &RecordBatch, row: usize) -> Value {
    let schema = batch.schema();
    let pairs = schema.fields().iter().zip(batch.columns());
    Value::Object(
        pairs
            .map(|(field, array)| (field.name().clone(), cell(array.as_ref(), row)))
            .collect(),
    )
}

fn cell(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float64 => {
            let number = array.as_primitive::<Float64Type>().value(row);
            serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            Value::Array((0..items.len()).map(|i| cell(items.as_ref(), i)).collect())
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            Value::Object(
                fields
                    .iter()
                    .zip(columns)
                    .map(|(f, c)| (f.name().clone(), cell(c.as_ref(), row)))
                    .collect(),
            )
        }
        // Decimals, dates and times as Arrow writes them: exact, and stable between runs.
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(array, &options).expect("a printable type");
            formatter.value(row).to_string().into()
        }
    }
}

/// JSON with one line per element of the arrays of the first two levels.
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out.push('\n');
    out
}

fn write(value: &Value, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth + 1);
    let end = "  ".repeat(depth);
    match value {
        Value::Object(map) if depth < 2 && !map.is_empty() => {
            out.push_str("{\n");
            for (index, (key, item)) in map.iter().enumerate() {
                let comma = if index + 1 < map.len() { "," } else { "" };
                out.push_str(&format!("{pad}{}: ", Value::from(key.as_str())));
                write(item, depth + 1, out);
                out.push_str(&format!("{comma}\n"));
            }
            out.push_str(&format!("{end}}}"));
        }
        Value::Array(items) if depth < 3 && !items.is_empty() => {
            out.push_str("[\n");
            for (index, item) in items.iter().enumerate() {
                let comma = if index + 1 < items.len() { "," } else { "" };
                out.push_str(&format!("{pad}{item}{comma}\n"));
            }
            out.push_str(&format!("{end}]"));
        }
        other => out.push_str(&other.to_string()),
    }
}
