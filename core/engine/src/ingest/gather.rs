//! Gathering: the columns of the events of many runs, as one batch.

use super::runs::{Run, span};
use arrow::{
    array::{
        Array, ArrayData, ArrayRef, ArrowPrimitiveType, AsArray, Capacities, MutableArrayData, PrimitiveArray,
        RecordBatch, RecordBatchOptions, StringArray, downcast_primitive, make_array, new_null_array,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    compute::interleave,
    datatypes::DataType,
    error::ArrowError,
};
use std::sync::Arc;

/// Columns of runs are copied as one from so many events each, in the mean; of shorter ones event by event.
const WORTH_COPYING: usize = 3;

/// Where an event is: part, and row in it.
type Place = (u32, u32);

/// The texts of the events of some runs, as one batch.
///
/// # Errors
/// Never for runs of these parts.
pub fn gather(parts: &[&RecordBatch], runs: &[Run]) -> Result<RecordBatch, ArrowError> {
    let rows: usize = runs.iter().map(|run| run.len as usize).sum();
    let Some(first) = parts.first() else {
        return Err(ArrowError::InvalidArgumentError("nothing to gather".to_owned()));
    };
    let schema = first.schema();
    let together = rows >= runs.len() * WORTH_COPYING;
    let singly = runs.iter().filter(|_| !together);
    let places: Vec<Place> = singly
        .flat_map(|run| (run.row..run.row + run.len).map(|row| (run.part, row)))
        .collect();
    let column = |i: usize| -> Result<ArrayRef, ArrowError> {
        let columns: Vec<&dyn Array> = parts.iter().map(|part| part.column(i).as_ref()).collect();
        if columns.iter().all(|column| column.null_count() == column.len()) {
            Ok(new_null_array(schema.field(i).data_type(), rows))
        } else if together {
            copy(&columns, runs, rows)
        } else {
            pick(&columns, &places)
        }
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

fn copy(columns: &[&dyn Array], runs: &[Run], rows: usize) -> Result<ArrayRef, ArrowError> {
    let data: Vec<ArrayData> = columns.iter().map(|column| column.to_data()).collect();
    let texts: Option<Vec<&StringArray>> = columns.iter().map(|column| column.as_string_opt()).collect();
    let room = match texts {
        Some(texts) => {
            let of = |run: &Run| span(texts[run.part as usize], run.rows());
            Capacities::Binary(rows, Some(runs.iter().map(of).sum()))
        }
        None => Capacities::Array(rows),
    };
    let mut out = MutableArrayData::with_capacities(data.iter().collect(), false, room);
    for run in runs {
        let rows = run.rows();
        out.try_extend(run.part as usize, rows.start, rows.end)?;
    }
    Ok(make_array(out.freeze()))
}

fn pick(columns: &[&dyn Array], places: &[Place]) -> Result<ArrayRef, ArrowError> {
    let Some(first) = columns.first() else {
        return Err(ArrowError::InvalidArgumentError("nothing to pick from".to_owned()));
    };
    let any = || {
        let places: Vec<(usize, usize)> = places
            .iter()
            .map(|(part, row)| (*part as usize, *row as usize))
            .collect();
        interleave(columns, &places)
    };
    macro_rules! numbers {
        ($kind:ty) => {
            pick_numbers::<$kind>(columns, places, first.data_type())
        };
    }
    downcast_primitive!(
        first.data_type() => (numbers),
        DataType::Utf8 => pick_texts(columns, places)?.map_or_else(any, Ok),
        _ => any(),
    )
}

fn pick_numbers<T: ArrowPrimitiveType>(
    columns: &[&dyn Array],
    places: &[Place],
    kind: &DataType,
) -> Result<ArrayRef, ArrowError> {
    let parts: Option<Vec<&[T::Native]>> = columns
        .iter()
        .map(|column| Some(&**column.as_primitive_opt::<T>()?.values()))
        .collect();
    let parts = parts.ok_or_else(unlike)?;
    let numbers: Vec<T::Native> = places
        .iter()
        .map(|(part, row)| parts[*part as usize][*row as usize])
        .collect();
    let picked = PrimitiveArray::<T>::try_new(ScalarBuffer::from(numbers), nulls(columns, places))?;
    Ok(Arc::new(picked.with_data_type(kind.clone())))
}

/// Texts are copied as so many bytes, with what follows them, where they are no longer: that takes a register, and no call.
const SHORT: usize = 16;
/// Texts that are longer in the mean are left to the library, which need not look whether they are texts.
const MOST_MEAN: usize = 64;

/// `None` for long texts.
fn pick_texts(columns: &[&dyn Array], places: &[Place]) -> Result<Option<ArrayRef>, ArrowError> {
    let texts: Option<Vec<&StringArray>> = columns.iter().map(|column| column.as_string_opt()).collect();
    let parts: Vec<(&[i32], &[u8])> = texts
        .ok_or_else(unlike)?
        .into_iter()
        .map(|texts| (texts.value_offsets(), texts.value_data()))
        .collect();
    let bounds = |(part, row): &Place| {
        let (offsets, bytes) = parts[*part as usize];
        let (start, end) = (offsets[*row as usize] as usize, offsets[*row as usize + 1] as usize);
        (start, end - start, bytes)
    };
    let all: usize = places.iter().map(|place| bounds(place).1).sum();
    if all > places.len() * MOST_MEAN {
        return Ok(None);
    }
    let mut offsets: Vec<i32> = Vec::with_capacity(places.len() + 1);
    let mut out = vec![0; all + SHORT];
    let mut at = 0;
    offsets.push(0);
    for place in places {
        let (start, len, bytes) = bounds(place);
        match (
            out[at..].first_chunk_mut::<SHORT>(),
            bytes[start..].first_chunk::<SHORT>(),
        ) {
            (Some(out), Some(text)) if len <= SHORT => *out = *text,
            _ => out[at..at + len].copy_from_slice(&bytes[start..start + len]),
        }
        at += len;
        offsets.push(at as i32);
    }
    out.truncate(all);
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let picked = StringArray::try_new(offsets, Buffer::from_vec(out), nulls(columns, places))?;
    Ok(Some(Arc::new(picked)))
}

fn nulls(columns: &[&dyn Array], places: &[Place]) -> Option<NullBuffer> {
    if columns.iter().all(|column| column.null_count() == 0) {
        return None;
    }
    let parts: Vec<Option<&NullBuffer>> = columns.iter().map(|column| column.nulls()).collect();
    let is_valid = |i: usize| {
        let (part, row) = places[i];
        parts[part as usize].is_none_or(|nulls| nulls.is_valid(row as usize))
    };
    let valid = NullBuffer::new(BooleanBuffer::collect_bool(places.len(), is_valid));
    (valid.null_count() > 0).then_some(valid)
}

fn unlike() -> ArrowError {
    ArrowError::InvalidArgumentError("parts with columns of other types".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{BooleanArray, Decimal128Array, Float64Array, TimestampMicrosecondArray, UInt16Array},
        compute::concat,
        datatypes::{Field, Schema},
    };
    use proptest::prelude::*;

    fn part(values: &[Option<String>]) -> RecordBatch {
        let lengths = || values.iter().map(|value| value.as_ref().map(String::len));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(values.to_vec())),
            Arc::new(
                lengths()
                    .map(|n| n.map(|n| "长".repeat(n * 40)))
                    .collect::<StringArray>(),
            ),
            Arc::new(lengths().map(|n| n.map(|n| n as u16)).collect::<UInt16Array>()),
            Arc::new(lengths().map(|n| n.map(|n| n as f64)).collect::<Float64Array>()),
            Arc::new(
                lengths()
                    .map(|n| n.map(|n| n as i64))
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
            Arc::new(
                Decimal128Array::from_iter(lengths().map(|n| n.map(|n| n as i128)))
                    .with_precision_and_scale(9, 2)
                    .unwrap(),
            ),
            Arc::new(lengths().map(|n| n.map(|n| n % 2 == 0)).collect::<BooleanArray>()),
            Arc::new(StringArray::new_null(values.len())),
        ];
        let field = |(i, column): (usize, &ArrayRef)| Field::new(format!("c{i}"), column.data_type().clone(), true);
        let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_gathered_is_what_the_runs_have(
            values in prop::collection::vec(
                prop::collection::vec(prop::option::weighted(0.8, "[a-z中]{0,22}"), 1..12), 1..4),
            runs in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 0..30),
            longest in 1u32..6,
            skip in 0usize..3,
        ) {
            // Also parts that begin in the middle of their memory.
            let parts: Vec<RecordBatch> = values
                .iter()
                .map(|values| part(values))
                .map(|part| part.slice(skip.min(part.num_rows() - 1), part.num_rows() - skip.min(part.num_rows() - 1)))
                .collect();
            let parts: Vec<&RecordBatch> = parts.iter().collect();
            let run = |(part, row, len): (u32, u32, u32)| {
                let part = part % parts.len() as u32;
                let rows = parts[part as usize].num_rows() as u32;
                let row = row % rows;
                Run { part, row, len: (1 + len % longest).min(rows - row) }
            };
            let runs: Vec<Run> = runs.into_iter().map(run).collect();
            let gathered = gather(&parts, &runs).unwrap();
            let rows: usize = runs.iter().map(|run| run.len as usize).sum();
            prop_assert_eq!(gathered.num_rows(), rows);
            for (i, column) in gathered.columns().iter().enumerate() {
                prop_assert_eq!(column.data_type(), parts[0].column(i).data_type());
                let expected: Vec<ArrayRef> = runs
                    .iter()
                    .map(|run| parts[run.part as usize].column(i).slice(run.row as usize, run.len as usize))
                    .collect();
                let expected: Vec<&dyn Array> = expected.iter().map(AsRef::as_ref).collect();
                if !expected.is_empty() {
                    prop_assert_eq!(column, &concat(&expected).unwrap());
                }
            }
        }
    }
}
