//! How far two distributions are apart: the population stability index, sum of (p - q) ln(p / q) over ten bins of
//! equally many values of the earlier one, or over its commonest words. Below 0.1 it is called small, above 0.25 large
//! (Siddiqi, Credit Risk Scorecards, 2006, chapter 9).

use crate::error::EngineError;
use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{DataType, Float64Type, Int64Type},
};
use std::collections::{BTreeMap, HashMap};

/// Bins of numbers.
const BINS: usize = 10;
/// Words apart; what is rarer is one bin.
const WORDS: usize = 50;
/// The share of an empty bin, so that its logarithm is finite.
const LEAST: f64 = 1e-4;

/// The index of two samples of numbers; none where one of them is empty.
pub fn of_numbers(mut before: Vec<f64>, now: &[f64]) -> Option<f64> {
    before.retain(|v| !v.is_nan());
    before.sort_by(f64::total_cmp);
    let edges: Vec<f64> = (1..BINS)
        .filter_map(|i| before.get(before.len() * i / BINS).copied())
        .collect();
    let count = |values: &[f64]| {
        let mut bins = [0u64; BINS];
        for value in values.iter().filter(|v| !v.is_nan()) {
            let bin = edges.partition_point(|edge| edge <= value);
            if let Some(n) = bins.get_mut(bin) {
                *n += 1;
            }
        }
        bins
    };
    index(count(&before).into_iter().zip(count(now)))
}

/// The index of two counts of words: how often each was there before and is now.
pub fn of_words(mut counts: Vec<(u64, u64)>) -> Option<f64> {
    counts.sort_unstable_by_key(|&(before, now)| std::cmp::Reverse((before, now)));
    let rest = counts.split_off(counts.len().min(WORDS));
    counts.push(rest.iter().fold((0, 0), |sum, n| (sum.0 + n.0, sum.1 + n.1)));
    index(counts.into_iter())
}

/// Groups with fewer values, before or now, are not compared: with so few, ten bins differ by chance.
pub const FEW: usize = 50;

/// How far groups of rows are apart.
#[derive(Debug, Default)]
pub struct Groups {
    /// By group.
    index: BTreeMap<String, f64>,
    /// Groups that have too few values.
    pub few: usize,
}

impl Groups {
    /// How many were compared.
    pub fn compared(&self) -> usize {
        self.index.len()
    }

    /// Those further apart than this, with their index, the furthest first.
    pub fn far(&self, at_most: f64) -> Vec<(&str, f64)> {
        let far = self.index.iter().filter(|(_, index)| **index > at_most);
        let mut far: Vec<(&str, f64)> = far.map(|(group, index)| (group.as_str(), *index)).collect();
        far.sort_by(|a, b| b.1.total_cmp(&a.1));
        far
    }

    /// The largest index.
    pub fn largest(&self) -> Option<f64> {
        self.index.values().copied().max_by(f64::total_cmp)
    }
}

/// The index within each group, of the results of the two queries of a plan: values (of words also how often), group.
///
/// # Errors
/// A defect.
pub fn by_group(before: &[RecordBatch], now: &[RecordBatch], numeric: bool) -> Result<Groups, EngineError> {
    let mut numbers: HashMap<String, [Vec<f64>; 2]> = HashMap::new();
    let mut words: HashMap<String, HashMap<String, (u64, u64)>> = HashMap::new();
    let both = before.iter().map(|b| (false, b)).chain(now.iter().map(|b| (true, b)));
    for (is_now, batch) in both {
        let groups = arrow::compute::cast(batch.column(batch.num_columns() - 1), &DataType::Utf8)?;
        let groups = groups.as_string::<i32>().iter().map(Option::unwrap_or_default);
        if numeric {
            let values = batch.column(0).as_primitive::<Float64Type>();
            for (group, value) in groups.zip(values) {
                if !numbers.contains_key(group) {
                    numbers.insert(group.to_owned(), Default::default());
                }
                if let Some([old, new]) = numbers.get_mut(group) {
                    if is_now { new } else { old }.extend(value);
                }
            }
            continue;
        }
        let values = arrow::compute::cast(batch.column(0), &DataType::Utf8)?;
        let counts = arrow::compute::cast(batch.column(1), &DataType::Int64)?;
        let counts = counts.as_primitive::<Int64Type>();
        for (row, (group, word)) in groups.zip(values.as_string::<i32>()).enumerate() {
            let known = words.entry(group.to_owned()).or_default();
            let (old, new) = known.entry(word.unwrap_or_default().to_owned()).or_default();
            *(if is_now { new } else { old }) += u64::try_from(counts.value(row)).unwrap_or(0);
        }
    }
    let mut all = Groups::default();
    let mut add = |group: String, index: Option<f64>| match index {
        Some(index) => drop(all.index.insert(group, index)),
        None => all.few += 1,
    };
    for (group, [old, new]) in numbers {
        let enough = old.len().min(new.len()) >= FEW;
        add(group, enough.then(|| of_numbers(old, &new)).flatten());
    }
    for (group, counts) in words {
        let totals = counts.values().fold((0, 0), |sum, n| (sum.0 + n.0, sum.1 + n.1));
        let enough = totals.0.min(totals.1) >= FEW as u64;
        add(
            group,
            enough.then(|| of_words(counts.into_values().collect())).flatten(),
        );
    }
    Ok(all)
}

fn index(bins: impl Iterator<Item = (u64, u64)> + Clone) -> Option<f64> {
    let totals = bins.clone().fold((0, 0), |sum, n| (sum.0 + n.0, sum.1 + n.1));
    if totals.0 == 0 || totals.1 == 0 {
        return None;
    }
    let share = |n: u64, of: u64| (n as f64 / of as f64).max(LEAST);
    let parts = bins.filter(|n| *n != (0, 0)).map(|(before, now)| {
        let (p, q) = (share(now, totals.1), share(before, totals.0));
        (p - q) * (p / q).ln()
    });
    Some(parts.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_near_and_a_factor_of_ten_is_far() {
        let values: Vec<f64> = (1..1000).map(f64::from).collect();
        assert_eq!(of_numbers(values.clone(), &values), Some(0.0));
        let slightly: Vec<f64> = values.iter().map(|v| v * 1.02).collect();
        assert!(of_numbers(values.clone(), &slightly).unwrap() < 0.1);
        let wrong: Vec<f64> = values.iter().map(|v| v * 10.0).collect();
        assert!(of_numbers(values.clone(), &wrong).unwrap() > 1.0);
        assert_eq!(of_numbers(values, &[]), None);
        assert_eq!(of_numbers(vec![1.0; 5], &[1.0, 1.0]), Some(0.0));
    }

    #[test]
    fn groups_stand_by_themselves() {
        use arrow::array::{ArrayRef, Float64Array, StringArray};
        use std::sync::Arc;
        let rows = |factor: f64, few: usize| {
            let group =
                |name: &'static str, n: usize, factor: f64| (0..n).map(move |i| (name, (i % 10 + 1) as f64 * factor));
            let all: Vec<_> = group("a", 1000, 1.0)
                .chain(group("b", 60, factor))
                .chain(group("c", few, factor))
                .collect();
            let values: ArrayRef = Arc::new(Float64Array::from_iter_values(all.iter().map(|(_, v)| *v)));
            let groups: ArrayRef = Arc::new(StringArray::from_iter_values(all.iter().map(|(g, _)| *g)));
            RecordBatch::try_from_iter([("v", values), ("g", groups)]).unwrap()
        };
        let apart = by_group(&[rows(1.0, 49)], &[rows(10.0, 500)], true).unwrap();
        assert_eq!((apart.compared(), apart.few), (2, 1));
        let far: Vec<&str> = apart.far(0.25).into_iter().map(|(group, _)| group).collect();
        assert_eq!(far, ["b"]);
        assert!(apart.largest() > Some(1.0));
        let apart = by_group(&[rows(1.0, 50)], &[rows(1.0, 50)], true).unwrap();
        assert_eq!((apart.compared(), apart.few, apart.largest()), (3, 0, Some(0.0)));
    }

    #[test]
    fn words_by_hand() {
        // 50:50 to 75:25: 0.25 ln 1.5 + 0.25 ln 2
        let index = of_words(vec![(50, 75), (50, 25)]).unwrap();
        assert!((index - 0.25 * (1.5f64.ln() + 2f64.ln())).abs() < 1e-12, "{index}");
        assert!(of_words(vec![(100, 0), (0, 100)]).unwrap() > 5.0);
        let many = (0..200).map(|_| (1, 1)).collect();
        assert!(of_words(many).unwrap().abs() < 1e-12);
    }
}
