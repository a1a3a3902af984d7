//! `clinmill preview`: the first rows of a source or transform. It shows values: for use inside the hospital.

use crate::{
    args,
    context::Context,
    failure::{FAILED, Failure, OK},
    output::{Grid, counted, thousands},
};
use arrow::{
    array::{Array, RecordBatch},
    datatypes::DataType,
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use clinmill_engine::inspect::{self, Extent, PREVIEW_RECORDS};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Shows the first rows.
///
/// # Errors
/// When the name is unknown or a step fails.
pub async fn run(context: &Context, args: &args::Preview) -> Result<u8, Failure> {
    let bound = context.bind(&args.file).await?;
    let extent = Extent {
        rows: args.limit,
        records: PREVIEW_RECORDS,
    };
    let preview = inspect::preview(&bound, &args.name, extent, args.filter.as_deref()).await;
    let preview = preview.map_err(|error| Failure::located(&bound, error))?;
    let rows = preview.rows.clone();
    let cells = cells(&rows).map_err(|_| Failure::new(FAILED, "a column cannot be shown"))?;
    let schema = rows.schema();
    let columns: Vec<Value> = schema
        .fields()
        .iter()
        .map(|f| json!({ "name": f.name(), "type": f.data_type().to_string() }))
        .collect();
    let value = json!({
        "name": args.name, "columns": columns, "rows": objects(&rows, &cells), "left_out": preview.left_out,
        "rejected": preview.rejected, "is_cut": preview.is_cut, "warnings": preview.warnings,
    });
    context.console.result(&value, || table(&rows, cells))?;
    Told::default().tell(context, &preview, PREVIEW_RECORDS);
    if !context.console.is_json() {
        context.console.note(&format!(
            "{} of {}, read from the inbox; subjects are numbered, their ids are made by a refresh",
            counted(rows.num_rows() as u64, "row", "rows"),
            args.name
        ));
    }
    Ok(OK)
}

/// Warns of what is lacking in rows, of one thing once: several previews may read the same inputs.
#[derive(Default)]
pub struct Told(HashSet<String>);

impl Told {
    /// Inputs that could not be read, by name, records that were rejected, and records beyond those that a preview looks
    /// at.
    pub fn tell(&mut self, context: &Context, preview: &inspect::Preview, records: usize) {
        let mut warn = |code: &str, message: String| {
            if !self.0.contains(&message) {
                context.console.warn(Some(code), &message);
                self.0.insert(message);
            }
        };
        for warning in &preview.warnings {
            warn(&warning.code, warning.message.clone());
        }
        for one in &preview.left_out {
            let message = format!("source {}: left out {}: {}", one.source, one.input, one.message);
            warn(&one.code, message);
        }
        for (what, n) in &preview.rejected {
            let told = counted(*n, "record was", "records were");
            warn("REJECTED", format!("{told} rejected: {what}"));
        }
        if preview.is_cut {
            let records = thousands(records as u64);
            warn(
                "CUT",
                format!("the inbox holds more: only {records} records of a source were looked at"),
            );
        }
    }
}

/// All values as text, by row; null is none.
fn cells(rows: &RecordBatch) -> Result<Vec<Vec<Option<String>>>, ArrowError> {
    let options = FormatOptions::default();
    let formatters: Vec<_> = rows
        .columns()
        .iter()
        .map(|c| ArrayFormatter::try_new(c.as_ref(), &options))
        .collect::<Result<_, _>>()?;
    (0..rows.num_rows())
        .map(|row| {
            let cell = |(column, formatter): (&std::sync::Arc<dyn Array>, &ArrayFormatter<'_>)| {
                column
                    .is_valid(row)
                    .then(|| formatter.value(row).try_to_string())
                    .transpose()
            };
            rows.columns().iter().zip(&formatters).map(cell).collect()
        })
        .collect()
}

/// Rows as objects: numbers and truth values as such, everything else as text.
fn objects(rows: &RecordBatch, cells: &[Vec<Option<String>>]) -> Vec<Value> {
    let schema = rows.schema();
    let value = |kind: &DataType, text: &Option<String>| match text {
        None => Value::Null,
        Some(text) if kind.is_integer() || kind.is_floating() || *kind == DataType::Boolean => {
            serde_json::from_str(text).unwrap_or_else(|_| text.clone().into())
        }
        Some(text) => text.clone().into(),
    };
    let object = |row: &Vec<Option<String>>| -> Value {
        let fields = schema.fields().iter().zip(row);
        fields
            .map(|(f, text)| (f.name().clone(), value(f.data_type(), text)))
            .collect::<Map<_, _>>()
            .into()
    };
    cells.iter().map(object).collect()
}

/// Longer texts are cut in the table; JSON has all of them.
const SHOWN_CHARS: usize = 40;

fn table(rows: &RecordBatch, cells: Vec<Vec<Option<String>>>) -> String {
    let schema = rows.schema();
    let titles: Vec<String> = schema
        .fields()
        .iter()
        .map(|f| {
            if f.data_type().is_numeric() {
                format!(">{}", f.name())
            } else {
                f.name().clone()
            }
        })
        .collect();
    let mut grid = Grid::new(titles.iter().map(String::as_str));
    for row in cells {
        grid.row(row.into_iter().map(|cell| shown(&cell.unwrap_or_default())));
    }
    grid.to_string()
}

/// One line of at most [`SHOWN_CHARS`] characters, without control characters.
fn shown(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(SHOWN_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn rows_become_a_table_and_objects() {
        let rows = RecordBatch::try_from_iter_with_nullable([
            (
                "项目",
                Arc::new(StringArray::from(vec![Some("血糖"), None])) as Arc<dyn Array>,
                true,
            ),
            ("n", Arc::new(Int64Array::from(vec![1, 22])), true),
            ("v", Arc::new(Float64Array::from(vec![Some(7.5), Some(f64::NAN)])), true),
        ])
        .unwrap();
        let cells = cells(&rows).unwrap();
        let objects = objects(&rows, &cells);
        assert_eq!(
            objects,
            [
                json!({"项目": "血糖", "n": 1, "v": 7.5}),
                json!({"项目": null, "n": 22, "v": "NaN"})
            ]
        );
        assert_eq!(
            table(&rows, cells),
            "  项目   n    v\n  血糖   1  7.5\n        22  NaN\n"
        );
    }

    #[test]
    fn long_texts_stay_on_one_line() {
        assert_eq!(shown("a\nb"), "a b");
        assert_eq!(shown(&"血".repeat(41)).chars().count(), 41);
        assert!(shown(&"血".repeat(41)).ends_with('…'));
    }
}
