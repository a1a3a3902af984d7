//! The canonical bytes of column values.

use super::logical_type;
use crate::{CatalogError, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, StringArray, new_empty_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal256Type, DecimalType, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type, i256,
};
use arrow::error::ArrowError;

/// One column, ready to be written row by row.
pub(super) struct Column {
    /// Everything of a column's entry before the value's length.
    header: Vec<u8>,
    values: Values,
    nulls: Option<NullBuffer>,
}

/// Values in one of few forms.
enum Values {
    Null,
    Bool(BooleanArray),
    Int(Int64Array),
    Unsigned(arrow::array::UInt64Array),
    Float(Float64Array),
    /// Dates, times and timestamps in their canonical unit.
    Ticks(Int64Array),
    Text(StringArray),
    Binary(BinaryArray),
    /// Dictionary keys into text.
    Coded(Int64Array, StringArray),
    /// Bytes worked out beforehand: decimals, lists and structs.
    Ready(Vec<Vec<u8>>),
}

impl Column {
    pub(super) fn new(name: &str, array: &ArrayRef) -> Result<Self> {
        let kind = logical_type(array.data_type()).ok_or_else(|| {
            CatalogError::invalid(
                format!("column {name}"),
                format!("a table may not have the type {}", array.data_type()),
            )
        })?;
        let mut header = (name.len() as u32).to_le_bytes().to_vec();
        header.extend_from_slice(name.as_bytes());
        header.extend_from_slice(kind.as_bytes());
        header.push(0);
        let values = Values::new(array)?;
        let nulls = match &values {
            Values::Coded(keys, texts) if texts.null_count() > 0 => {
                // A key may be valid and point at a null.
                let valid = (0..keys.len()).map(|i| keys.is_valid(i) && texts.is_valid(keys.value(i) as usize));
                Some(valid.collect())
            }
            Values::Null => Some(NullBuffer::new_null(array.len())),
            _ => array.nulls().filter(|n| n.null_count() > 0).cloned(),
        };
        Ok(Self { header, values, nulls })
    }

    /// Calls `f` with the position in the chunk and the row of each value that is there.
    fn each(&self, start: usize, rows: usize, mut f: impl FnMut(usize, usize)) {
        match &self.nulls {
            None => (0..rows).for_each(|i| f(i, start + i)),
            Some(nulls) => (0..rows)
                .filter(|i| nulls.is_valid(start + i))
                .for_each(|i| f(i, start + i)),
        }
    }

    /// Adds the size of this column's entry to each row of a chunk.
    pub(super) fn add_sizes(&self, start: usize, sizes: &mut [usize]) {
        let fixed = self.header.len() + 4;
        let rows = sizes.len();
        match &self.values {
            Values::Null => {}
            Values::Bool(_) => self.each(start, rows, |i, _| sizes[i] += fixed + 1),
            Values::Int(_) | Values::Unsigned(_) => self.each(start, rows, |i, _| sizes[i] += fixed + 16),
            Values::Float(_) | Values::Ticks(_) => self.each(start, rows, |i, _| sizes[i] += fixed + 8),
            Values::Text(a) => self.each(start, rows, |i, r| sizes[i] += fixed + a.value_length(r) as usize),
            Values::Binary(a) => self.each(start, rows, |i, r| sizes[i] += fixed + a.value_length(r) as usize),
            Values::Coded(keys, texts) => self.each(start, rows, |i, r| {
                sizes[i] += fixed + texts.value_length(keys.value(r) as usize) as usize;
            }),
            Values::Ready(all) => self.each(start, rows, |i, r| sizes[i] += fixed + all[r].len()),
        }
    }

    /// Writes this column's entry at each row's cursor and moves the cursors on.
    pub(super) fn write(&self, start: usize, cursors: &mut [usize], out: &mut [u8]) {
        let rows = cursors.len();
        let mut put = |cursor: &mut usize, value: &[u8]| {
            let (head, rest) = out[*cursor..].split_at_mut(self.header.len());
            head.copy_from_slice(&self.header);
            let (length, rest) = rest.split_at_mut(4);
            length.copy_from_slice(&(value.len() as u32).to_le_bytes());
            rest[..value.len()].copy_from_slice(value);
            *cursor += self.header.len() + 4 + value.len();
        };
        match &self.values {
            Values::Null => {}
            Values::Bool(a) => self.each(start, rows, |i, r| put(&mut cursors[i], &[a.value(r).into()])),
            Values::Int(a) => self.each(start, rows, |i, r| {
                put(&mut cursors[i], &i128::from(a.value(r)).to_le_bytes());
            }),
            Values::Unsigned(a) => self.each(start, rows, |i, r| {
                put(&mut cursors[i], &i128::from(a.value(r)).to_le_bytes());
            }),
            Values::Float(a) => self.each(start, rows, |i, r| put(&mut cursors[i], &float(a.value(r)))),
            Values::Ticks(a) => self.each(start, rows, |i, r| put(&mut cursors[i], &a.value(r).to_le_bytes())),
            Values::Text(a) => self.each(start, rows, |i, r| put(&mut cursors[i], a.value(r).as_bytes())),
            Values::Binary(a) => self.each(start, rows, |i, r| put(&mut cursors[i], a.value(r))),
            Values::Coded(keys, texts) => self.each(start, rows, |i, r| {
                put(&mut cursors[i], texts.value(keys.value(r) as usize).as_bytes());
            }),
            Values::Ready(all) => self.each(start, rows, |i, r| put(&mut cursors[i], &all[r])),
        }
    }
}

/// -0 is 0, and there is one NaN.
fn float(value: f64) -> [u8; 8] {
    let canonical = if value.is_nan() { f64::NAN } else { value + 0.0 };
    canonical.to_bits().to_le_bytes()
}

fn to<T: 'static>(array: &ArrayRef, kind: &DataType, take: impl Fn(&ArrayRef) -> T) -> Result<T, ArrowError> {
    if array.data_type() == kind {
        return Ok(take(array));
    }
    Ok(take(&cast(array, kind)?))
}

impl Values {
    fn new(array: &ArrayRef) -> Result<Self> {
        use DataType as T;
        Ok(match array.data_type() {
            T::Null => Self::Null,
            T::Boolean => Self::Bool(array.as_boolean().clone()),
            T::UInt64 => Self::Unsigned(array.as_primitive::<UInt64Type>().clone()),
            t if t.is_integer() => Self::Int(to(array, &T::Int64, |a| a.as_primitive::<Int64Type>().clone())?),
            t if t.is_floating() => Self::Float(to(array, &T::Float64, |a| a.as_primitive().clone())?),
            T::Utf8 | T::LargeUtf8 | T::Utf8View => Self::Text(to(array, &T::Utf8, |a| a.as_string::<i32>().clone())?),
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => {
                Self::Binary(to(array, &T::Binary, |a| a.as_binary::<i32>().clone())?)
            }
            T::Date32 | T::Date64 => {
                let days = to(array, &T::Date32, |a| a.as_primitive::<Date32Type>().clone())?;
                Self::Ticks(days.unary(i64::from))
            }
            T::Time32(_) | T::Time64(_) => {
                let micros = cast(array, &T::Time64(TimeUnit::Microsecond))?;
                Self::Ticks(cast(&micros, &T::Int64)?.as_primitive::<Int64Type>().clone())
            }
            T::Timestamp(_, zone) => {
                let micros = T::Timestamp(TimeUnit::Microsecond, zone.clone());
                let micros = to(array, &micros, |a| a.as_primitive::<TimestampMicrosecondType>().clone())?;
                Self::Ticks(micros.unary(|t| t))
            }
            T::Dictionary(_, value) if logical_type(value) == Some("string") => {
                let coded = array.as_any_dictionary();
                let keys = cast(&coded.keys().slice(0, coded.len()), &T::Int64)?;
                let texts = cast(coded.values(), &T::Utf8)?;
                if texts.is_empty() {
                    return Ok(Self::Null);
                }
                Self::Coded(
                    keys.as_primitive::<Int64Type>().clone(),
                    texts.as_string::<i32>().clone(),
                )
            }
            T::Dictionary(_, value) => Self::new(&cast(array, value)?)?,
            T::Decimal32(_, scale) | T::Decimal64(_, scale) | T::Decimal128(_, scale) | T::Decimal256(_, scale) => {
                let wide = T::Decimal256(Decimal256Type::MAX_PRECISION, *scale);
                let wide = to(array, &wide, |a| a.as_primitive::<Decimal256Type>().clone())?;
                Self::Ready(
                    wide.iter()
                        .map(|v| v.map(|v| decimal(v, *scale)).unwrap_or_default())
                        .collect(),
                )
            }
            T::List(_) | T::LargeList(_) | T::FixedSizeList(..) => Self::Ready(lists(array)?),
            T::Struct(fields) => {
                let mut order: Vec<usize> = (0..fields.len()).collect();
                order.sort_by_key(|i| fields.get(*i).map(|f| f.name().clone()));
                let parts = array.as_struct();
                let mut all = vec![Vec::new(); array.len()];
                for i in order {
                    let (Some(field), part) = (fields.get(i), parts.column(i)) else {
                        continue;
                    };
                    Column::new(field.name(), part)?.append(&mut all);
                }
                Self::Ready(all)
            }
            _ => Self::Null,
        })
    }
}

impl Column {
    /// Appends this column's entry to each row's own buffer.
    fn append(&self, rows: &mut [Vec<u8>]) {
        let mut sizes = vec![0; rows.len()];
        self.add_sizes(0, &mut sizes);
        let mut cursors = Vec::with_capacity(rows.len());
        let mut total = 0;
        for size in &sizes {
            cursors.push(total);
            total += size;
        }
        let mut out = vec![0; total];
        let starts = cursors.clone();
        self.write(0, &mut cursors, &mut out);
        for ((row, start), end) in rows.iter_mut().zip(starts).zip(cursors) {
            row.extend_from_slice(&out[start..end]);
        }
    }
}

/// The unscaled value without trailing zeros, and the scale that then fits.
fn decimal(value: i256, scale: i8) -> Vec<u8> {
    let mut scale = i16::from(scale);
    let mut value = value;
    if let Some(mut small) = value.to_i128().and_then(|v| i64::try_from(v).ok()) {
        // Nearly every value: 256-bit division is many times slower.
        if small == 0 {
            scale = 0;
        }
        while small != 0 && small % 10 == 0 {
            small /= 10;
            scale -= 1;
        }
        value = i256::from_i128(i128::from(small));
    } else {
        let ten = i256::from_i128(10);
        while value.wrapping_rem(ten) == i256::ZERO {
            value = value.wrapping_div(ten);
            scale -= 1;
        }
    }
    let mut bytes = value.to_le_bytes().to_vec();
    bytes.extend_from_slice(&scale.to_le_bytes());
    bytes
}

fn lists(array: &ArrayRef) -> Result<Vec<Vec<u8>>> {
    let item = match array.data_type() {
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) => f.clone(),
        _ => return Ok(Vec::new()),
    };
    let large = cast(array, &DataType::LargeList(item.clone()))?;
    let large = large.as_list::<i64>();
    // All items as one column without a name; then cut at the lists' offsets.
    let items = match large.values() {
        values if values.is_empty() => new_empty_array(item.data_type()),
        values => values.clone(),
    };
    let column = Column::new("", &items)?;
    let mut entries = vec![Vec::new(); items.len()];
    column.append(&mut entries);
    let skip = column.header.len() + 4;
    let mut all = Vec::with_capacity(array.len());
    for bounds in large.value_offsets().windows(2) {
        let mut bytes = Vec::new();
        if let [from, to] = *bounds {
            for entry in entries.get(from as usize..to as usize).unwrap_or_default() {
                let value = entry.get(skip..);
                bytes.extend_from_slice(&value.map_or(0, |v| v.len() as u32 + 1).to_le_bytes());
                bytes.extend_from_slice(value.unwrap_or_default());
            }
        }
        all.push(bytes);
    }
    Ok(all)
}
