//! The columns that the step writes.

use super::{Units, numbers::Numbers, plan::Plan};
use crate::core::Lost;
use clinmill_sdk::{
    PluginError,
    arrow::array::ArrayRef,
    sparse::{Decimals, Texts},
};

/// The new columns of one batch.
pub struct Columns {
    pub values: Vec<Decimals>,
    pub unit: Texts,
    factor: Texts,
    rule: Texts,
    pub status: Texts,
}

impl Columns {
    /// Empty ones, with so many of values.
    pub fn new(rows: usize, values: usize) -> Self {
        Self {
            values: (0..values).map(|_| Decimals::new(rows)).collect(),
            unit: Texts::new(rows),
            factor: Texts::new(rows),
            rule: Texts::new(rows),
            status: Texts::new(rows),
        }
    }

    /// Writes a row.
    ///
    /// # Errors
    /// A value has no result; then nothing but values is written.
    #[inline]
    pub fn add(&mut self, to: usize, row: usize, plan: &Plan, numbers: &[Numbers], step: &Units) -> Result<(), Lost> {
        let Some(conversion) = &plan.conversion else {
            self.status.set(to, plan.status);
            return Ok(());
        };
        for (column, result) in numbers.iter().zip(&mut self.values) {
            if column.is_valid(row) {
                result.set(to, column.convert(row, conversion, step.scale)?);
            }
        }
        self.unit.set(to, &plan.unit);
        self.factor.set(to, &conversion.factor);
        self.rule.set(to, &plan.rule);
        self.status.set(to, plan.status);
        Ok(())
    }

    /// The columns as they go out.
    ///
    /// # Errors
    /// Never for rows of the batch.
    pub fn finish(self, rows: usize, scale: u8) -> Result<Vec<ArrayRef>, PluginError> {
        let values = self
            .values
            .into_iter()
            .map(|column| column.finish(rows, scale.cast_signed()));
        let mut all = values.collect::<Result<Vec<_>, _>>()?;
        for texts in [self.unit, self.factor, self.rule, self.status] {
            all.push(texts.finish(rows)?);
        }
        Ok(all)
    }
}
