//! Columns that are filled row by row and hold a value in some of the rows only: a row without one costs nothing.

use crate::PluginError;
use arrow::{
    array::{ArrayRef, BooleanBufferBuilder, Decimal128Array, Int64Array, StringArray, new_null_array},
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::DataType,
};
use std::sync::Arc;

/// The rows that have a value. Bits are kept from the first row on that has none: most columns have no such row.
struct Present {
    /// Rows from the first on that have a value, without bits.
    filled: usize,
    bits: Option<BooleanBufferBuilder>,
    rows: usize,
}

impl Present {
    fn new(rows: usize) -> Self {
        Self {
            filled: 0,
            bits: None,
            rows,
        }
    }

    #[inline]
    fn set(&mut self, row: usize) {
        match &mut self.bits {
            Some(bits) => bits.set_bit(row, true),
            None if row == self.filled => self.filled += 1,
            None if row < self.filled => {}
            None => self.begin_bits().set_bit(row, true),
        }
    }

    #[cold]
    fn begin_bits(&mut self) -> &mut BooleanBufferBuilder {
        let mut bits = BooleanBufferBuilder::new(self.rows);
        bits.append_n(self.filled, true);
        bits.append_n(self.rows - self.filled, false);
        self.bits.insert(bits)
    }

    fn clear(&mut self, row: usize) {
        if self.bits.is_none() && row + 1 == self.filled {
            self.filled = row;
        } else if self.bits.is_some() || row < self.filled {
            match &mut self.bits {
                Some(bits) => bits.set_bit(row, false),
                None => self.begin_bits().set_bit(row, false),
            }
        }
    }

    /// No row ever had a value.
    fn is_empty(&self) -> bool {
        self.bits.is_none() && self.filled == 0
    }

    /// `None`: all of the first `rows` rows have a value.
    fn finish(mut self, rows: usize) -> Option<NullBuffer> {
        if self.bits.is_none() {
            if self.filled >= rows {
                return None;
            }
            self.begin_bits();
        }
        let mut bits = self.bits?;
        bits.truncate(rows);
        Some(NullBuffer::new(bits.finish()))
    }
}

/// A column of decimals.
pub struct Decimals {
    values: Vec<i128>,
    present: Present,
}

impl Decimals {
    /// A column for at most so many rows.
    pub fn new(rows: usize) -> Self {
        Self {
            values: Vec::new(),
            present: Present::new(rows),
        }
    }

    /// Gives a row its value, without the point. Rows beyond the column's are left out.
    #[inline]
    pub fn set(&mut self, row: usize, unscaled: i128) {
        if self.values.is_empty() {
            self.values = vec![0; self.present.rows];
        }
        if let Some(place) = self.values.get_mut(row) {
            *place = unscaled;
            self.present.set(row);
        }
    }

    /// Takes a row's value away.
    pub fn clear(&mut self, row: usize) {
        if row < self.values.len() {
            self.present.clear(row);
        }
    }

    /// The first `rows` rows as Decimal128(38, `scale`).
    ///
    /// # Errors
    /// A scale that Arrow does not know.
    pub fn finish(mut self, rows: usize, scale: i8) -> Result<ArrayRef, PluginError> {
        let rows = rows.min(self.present.rows);
        if self.present.is_empty() {
            return Ok(new_null_array(&DataType::Decimal128(38, scale), rows));
        }
        self.values.truncate(rows);
        let nulls = self.present.finish(self.values.len());
        let array = Decimal128Array::try_new(ScalarBuffer::from(self.values), nulls)?;
        Ok(Arc::new(array.with_precision_and_scale(38, scale)?))
    }
}

/// A column of whole numbers.
pub struct Integers {
    values: Vec<i64>,
    present: Present,
}

impl Integers {
    /// A column for at most so many rows.
    pub fn new(rows: usize) -> Self {
        Self {
            values: Vec::new(),
            present: Present::new(rows),
        }
    }

    /// Gives a row its value. Rows beyond the column's are left out.
    #[inline]
    pub fn set(&mut self, row: usize, value: i64) {
        if self.values.is_empty() {
            self.values = vec![0; self.present.rows];
        }
        if let Some(place) = self.values.get_mut(row) {
            *place = value;
            self.present.set(row);
        }
    }

    /// The first `rows` rows as Int64.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn finish(mut self, rows: usize) -> Result<ArrayRef, PluginError> {
        let rows = rows.min(self.present.rows);
        if self.present.is_empty() {
            return Ok(new_null_array(&DataType::Int64, rows));
        }
        self.values.truncate(rows);
        let nulls = self.present.finish(self.values.len());
        Ok(Arc::new(Int64Array::try_new(ScalarBuffer::from(self.values), nulls)?))
    }
}

/// Bytes that a column of texts asks for at once, at most.
const MAX_RESERVED: usize = 1 << 20;

/// A column of texts, filled from the first row to the last.
pub struct Texts {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    present: Present,
    rows: usize,
}

impl Texts {
    /// A column for at most so many rows.
    pub fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            offsets,
            bytes: Vec::new(),
            present: Present::new(rows),
            rows,
        }
    }

    /// Gives a row its text. Rows must come in order; one that was passed, or lies beyond the column's, is left out.
    #[inline]
    pub fn set(&mut self, row: usize, text: &str) {
        let end = i32::try_from(self.bytes.len() + text.len());
        if let (true, Ok(end)) = (row < self.rows && row + 1 >= self.offsets.len(), end) {
            let begin = self.offsets.last().copied().unwrap_or_default();
            if self.bytes.capacity() == 0 {
                // As if all rows had such a text: growing step by step costs more than memory that is never touched.
                self.bytes.reserve((self.rows * text.len()).min(MAX_RESERVED));
            }
            if self.offsets.len() <= row {
                self.offsets.resize(row + 1, begin);
            }
            self.offsets.push(end);
            self.bytes.extend_from_slice(text.as_bytes());
            self.present.set(row);
        }
    }

    /// The first `rows` rows as Utf8.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn finish(mut self, rows: usize) -> Result<ArrayRef, PluginError> {
        let rows = rows.min(self.rows);
        let end = self.offsets.last().copied().unwrap_or_default();
        self.offsets.resize(rows + 1, end);
        if self.present.is_empty() {
            return Ok(Arc::new(StringArray::new_null(rows)));
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let nulls = self.present.finish(rows);
        Ok(Arc::new(StringArray::try_new(
            offsets,
            Buffer::from_vec(self.bytes),
            nulls,
        )?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{array::AsArray, datatypes::Decimal128Type};

    #[test]
    fn rows_without_a_value_are_null() {
        let mut texts = Texts::new(5);
        texts.set(1, "a");
        texts.set(3, "");
        texts.set(9, "left out");
        let array = texts.finish(4).unwrap();
        assert_eq!(
            array.as_string::<i32>().iter().collect::<Vec<_>>(),
            [None, Some("a"), None, Some("")]
        );
        let mut numbers = Decimals::new(3);
        numbers.set(2, 15);
        numbers.set(3, 1);
        let array = numbers.finish(3, 1).unwrap();
        let texts: Vec<_> = (0..3).map(|i| array.is_valid(i)).collect();
        assert_eq!(texts, [false, false, true]);
        assert_eq!(Texts::new(2).finish(2).unwrap().null_count(), 2);
        let mut small = Integers::new(2);
        small.set(0, 3);
        assert_eq!(small.finish(1).unwrap().len(), 1);
    }

    #[test]
    fn every_choice_of_rows_is_kept() {
        for chosen in 0u32..64 {
            for gone in 0..7 {
                let wanted: Vec<Option<i128>> = (0..6)
                    .map(|row| (chosen >> row & 1 == 1 && row != gone).then_some(i128::from(row) + 1))
                    .collect();
                let mut numbers = Decimals::new(6);
                for row in (0..6).filter(|row| chosen >> row & 1 == 1) {
                    numbers.set(row as usize, i128::from(row) + 1);
                    if row == gone {
                        numbers.clear(row as usize);
                    }
                }
                let array = numbers.finish(6, 0).unwrap();
                let found: Vec<Option<i128>> = array.as_primitive::<Decimal128Type>().iter().collect();
                assert_eq!(found, wanted, "{chosen:b} without {gone}");
            }
        }
        let mut dense = Integers::new(4);
        (0..4).for_each(|row| dense.set(row, 1));
        assert!(dense.finish(4).unwrap().nulls().is_none());
    }
}
