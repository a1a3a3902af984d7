//! How far two distributions are apart: the population stability index, sum of (p - q) ln(p / q) over ten bins of
//! equally many values of the earlier one, or over its commonest words. Below 0.1 it is called small, above 0.25 large
//! (Siddiqi, Credit Risk Scorecards, 2006, chapter 9).

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
    fn words_by_hand() {
        // 50:50 to 75:25: 0.25 ln 1.5 + 0.25 ln 2
        let index = of_words(vec![(50, 75), (50, 25)]).unwrap();
        assert!((index - 0.25 * (1.5f64.ln() + 2f64.ln())).abs() < 1e-12, "{index}");
        assert!(of_words(vec![(100, 0), (0, 100)]).unwrap() > 5.0);
        let many = (0..200).map(|_| (1, 1)).collect();
        assert!(of_words(many).unwrap().abs() < 1e-12);
    }
}
