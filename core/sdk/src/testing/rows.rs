//! The rows that a transform case begins with: `input.csv` with `name:type` headers, or `input.json`.

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use serde_json::Value;
use std::{path::Path, sync::Arc};

/// Reads the rows of a case.
///
/// CSV: each header is `name` or `name:type`; an empty cell is null, `""` an empty text; a cell may be quoted.
/// JSON: `{"columns": {"name": "type"}, "rows": [{"name": value}]}`; an absent name is null.
/// Types: string, integer, number, decimal(p,s), boolean, date, timestamp.
pub fn read(path: &Path) -> RecordBatch {
    let text = super::files::text(path);
    let table = if path.extension().is_some_and(|e| e == "json") {
        from_json(&text)
    } else {
        from_csv(&text)
    };
    table.unwrap_or_else(|message| panic!("{}: {message}", path.display()))
}

/// Column names with types, and the cells of each row as text.
type Cells = Vec<Option<String>>;

fn from_csv(text: &str) -> Result<RecordBatch, String> {
    let mut records = parse_csv(text)?;
    if records.is_empty() {
        return Err("no header".into());
    }
    let header = records
        .remove(0)
        .into_iter()
        .map(|h| {
            let h = h.unwrap_or_default();
            match h.rsplit_once(':') {
                Some((name, kind)) => (name.to_owned(), kind.to_owned()),
                None => (h, "string".to_owned()),
            }
        })
        .collect();
    build(header, &records)
}

fn from_json(text: &str) -> Result<RecordBatch, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let columns = value["columns"].as_object().ok_or("columns: an object is missing")?;
    let header: Vec<(String, String)> = columns
        .iter()
        .map(|(name, kind)| (name.clone(), kind.as_str().unwrap_or("?").to_owned()))
        .collect();
    let mut records = Vec::new();
    for row in value["rows"].as_array().ok_or("rows: an array is missing")? {
        let cell = |(name, _): &(String, String)| match &row[name] {
            Value::Null => None,
            Value::String(s) => Some(s.clone()),
            other => Some(other.to_string()),
        };
        records.push(header.iter().map(cell).collect());
    }
    build(header, &records)
}

fn build(header: Vec<(String, String)>, records: &[Cells]) -> Result<RecordBatch, String> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (index, (name, kind)) in header.into_iter().enumerate() {
        let cells = records.iter().map(|r| r.get(index).cloned().flatten());
        let texts: StringArray = cells.collect();
        let data_type = data_type(&kind).ok_or_else(|| format!("{name}: unknown type {kind}"))?;
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let array = cast_with_options(&texts, &data_type, &strict).map_err(|e| format!("{name}: {e}"))?;
        fields.push(Field::new(name, data_type, true));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(|e| e.to_string())
}

/// Rows with a column of each type that tables have, under its name, and two texts under names that odd options hold.
pub fn made_up() -> RecordBatch {
    let columns = [
        ("a", "string", ["x", "2024-02-29", ""]),
        ("", "string", ["x", "-1.5", "病案号"]),
        ("integer", "integer", ["1", "-1", "0"]),
        ("number", "number", ["1.5", "-1", "0"]),
        ("decimal", "decimal(18,6)", ["1.5", "-1", "0"]),
        ("boolean", "boolean", ["true", "false", "true"]),
        ("date", "date", ["2024-02-29", "1899-12-31", "1970-01-01"]),
        (
            "timestamp",
            "timestamp",
            ["2024-02-29T23:59:59", "1899-12-31T00:00:00", "1970-01-01T00:00:00"],
        ),
    ];
    let header = columns.map(|(name, kind, _)| (name.to_owned(), kind.to_owned()));
    let row = |index: usize| columns.map(|(_, _, cells)| cells.get(index).map(|cell| (*cell).to_owned()));
    // The last has no values.
    let rows: Vec<Cells> = (0..4).map(|index| row(index).to_vec()).collect();
    build(header.to_vec(), &rows).expect("cells of their types")
}

/// The type behind a name in a header.
pub fn data_type(kind: &str) -> Option<DataType> {
    Some(match kind {
        "string" => DataType::Utf8,
        "integer" => DataType::Int64,
        "number" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => {
            let (precision, scale) = kind.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            DataType::Decimal128(precision.trim().parse().ok()?, scale.trim().parse().ok()?)
        }
    })
}

fn parse_csv(text: &str) -> Result<Vec<Cells>, String> {
    let mut records = vec![Vec::new()];
    let (mut cell, mut quoted, mut inside) = (String::new(), false, false);
    let mut chars = text.chars().peekable();
    let end = |records: &mut Vec<Cells>, cell: &mut String, quoted: &mut bool| {
        let text = std::mem::take(cell);
        let value = (*quoted || !text.is_empty()).then_some(text);
        *quoted = false;
        records.last_mut().expect("never empty").push(value);
    };
    while let Some(c) = chars.next() {
        match c {
            '"' if inside && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => {
                inside = !inside;
                quoted = true;
            }
            ',' if !inside => end(&mut records, &mut cell, &mut quoted),
            '\r' if !inside => {}
            '\n' if !inside => {
                end(&mut records, &mut cell, &mut quoted);
                records.push(Vec::new());
            }
            c => cell.push(c),
        }
    }
    if inside {
        return Err("a quote is not closed".into());
    }
    if !cell.is_empty() || quoted || records.last().is_some_and(|r| !r.is_empty()) {
        end(&mut records, &mut cell, &mut quoted);
    }
    records.retain(|r| !r.is_empty());
    let width = records.first().map_or(0, Vec::len);
    match records.iter().position(|r| r.len() != width) {
        Some(row) => Err(format!("record {} has not {width} cells", row + 1)),
        None => Ok(records),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Array;

    #[test]
    fn csv_has_types_and_nulls() {
        let batch = from_csv("a,n:integer,d:\"decimal(5,2)\"\nx,1,2.50\n,,\n\"\",3,\n").unwrap();
        assert_eq!(batch.num_rows(), 3);
        assert_eq!(batch.schema().field(2).data_type(), &DataType::Decimal128(5, 2));
        assert!(batch.column(0).is_null(1) && batch.column(0).is_valid(2));
        assert!(from_csv("n:integer\nx\n").is_err());
        assert!(from_csv("a,b\n1\n").is_err());
    }
}
