//! Two runs of a row-wise step over the same rows, with other mapping tables: whose rows come out otherwise.

use super::{Relation, run::Collected};
use crate::fold::id_at;
use arrow::{
    array::{Array, DynComparator, RecordBatch, make_comparator},
    compute::{SortOptions, concat_batches},
    error::ArrowError,
};
use clinmill_model::Ids;
use clinmill_sdk::RejectedRow;
use std::{cmp::Ordering, collections::HashMap};

/// The subjects of the rows of `input` for which the two gave something else: another row, or another rejection. What
/// cannot be compared is taken to be something else, and so is everything where there is nothing to compare with.
pub(super) fn unlike(was: Option<&Collected>, is: &Collected, input: &Relation) -> Ids {
    let Some(subject) = &input.subject else {
        return Ids::default();
    };
    let all = || (0..subject.len()).map(|i| id_at(subject, i)).collect();
    let Some(was) = was else {
        return all();
    };
    let rows = subject.len();
    let (Ok(before), Ok(after)) = (Rows::of(was, rows), Rows::of(is, rows)) else {
        return all();
    };
    let Some(columns) = comparators(&before, &after, was.origins == is.origins) else {
        return all();
    };
    let mut found = Ids::default();
    for row in 0..rows {
        let same = match (before.place(row), after.place(row)) {
            (Some(a), Some(b)) => columns.iter().all(|column| column(a, b) == Ordering::Equal),
            (None, None) => before.rejection(row) == after.rejection(row),
            _ => false,
        };
        if !same {
            found.insert(id_at(subject, row));
        }
    }
    found
}

/// What a run made of each row of its input.
struct Rows<'a> {
    /// `None` where no row was kept.
    rows: Option<RecordBatch>,
    /// By row of the input: the row that came of it.
    places: Vec<Option<u32>>,
    rejected: HashMap<u32, &'a RejectedRow>,
}

impl<'a> Rows<'a> {
    fn of(run: &'a Collected, total: usize) -> Result<Self, ArrowError> {
        let mut places = vec![None; total];
        for (place, origin) in run.origins.iter().enumerate() {
            if let Some(entry) = places.get_mut(*origin as usize) {
                *entry = u32::try_from(place).ok();
            }
        }
        let rows = run
            .rows
            .first()
            .map(|first| concat_batches(first.schema_ref(), &run.rows));
        Ok(Self {
            rows: rows.transpose()?,
            places,
            rejected: run.rejected.iter().map(|r| (r.row, r)).collect(),
        })
    }

    fn place(&self, row: usize) -> Option<usize> {
        self.places.get(row).copied().flatten().map(|place| place as usize)
    }

    fn rejection(&self, row: usize) -> Option<(&str, &str)> {
        let rejected = self.rejected.get(&u32::try_from(row).ok()?)?;
        Some((&rejected.code, &rejected.message))
    }
}

/// One per column; `None` where the columns are others or cannot be compared. Columns that both runs passed on as they
/// are need no look, where the rows stand in the same order.
fn comparators(before: &Rows<'_>, after: &Rows<'_>, aligned: bool) -> Option<Vec<DynComparator>> {
    let (Some(a), Some(b)) = (&before.rows, &after.rows) else {
        // One of them kept no row: there is nothing to compare column by column.
        return Some(Vec::new());
    };
    if a.schema() != b.schema() {
        return None;
    }
    let pairs = a.columns().iter().zip(b.columns());
    pairs
        .filter(|(a, b)| !(aligned && a.to_data().ptr_eq(&b.to_data())))
        .map(|(a, b)| make_comparator(a.as_ref(), b.as_ref(), SortOptions::default()).ok())
        .collect()
}
