//! Whether the versions of a source's records are in order as text: `9` comes after `10`, and 2 January 2026 after
//! 12 March when it is written `2/1/2026`. Nothing is said of single values: a version that is no number and no date is
//! passed over.

use arrow::array::StringArray;
use serde::{Deserialize, Serialize};

/// Groups of digits that are looked at: year, month, day, hour, minute, second.
const GROUPS: usize = 6;

/// What was seen of the versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The shortest and the longest of each group of digits, by its place; 0 where there was none.
    groups: [(u8, u8); GROUPS],
    /// A date with its day or month first.
    day_first: bool,
}

/// Why they are not in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disorder {
    /// Numbers of different lengths.
    Number,
    /// Dates without leading zeros, or with the day first.
    Date,
}

impl Versions {
    /// Looks at the versions of a batch.
    pub fn add(&mut self, versions: &StringArray) {
        let mut former = "";
        for text in versions.iter().flatten() {
            if text != former {
                self.see(text);
                former = text;
            }
        }
    }

    /// Takes in what was seen elsewhere.
    pub fn merge(&mut self, other: &Self) {
        for (mine, (least, most)) in self.groups.iter_mut().zip(other.groups) {
            if most > 0 {
                widen(mine, least);
                widen(mine, most);
            }
        }
        self.day_first |= other.day_first;
    }

    /// What is wrong with them, as far as it was seen.
    pub fn disorder(&self) -> Option<Disorder> {
        let uneven = |group: &(u8, u8)| group.0 != group.1;
        let [first, rest @ ..] = &self.groups;
        match (self.day_first || rest.iter().any(uneven), uneven(first)) {
            (true, _) => Some(Disorder::Date),
            (false, true) => Some(Disorder::Number),
            (false, false) => None,
        }
    }

    fn see(&mut self, text: &str) {
        let Some((lengths, n)) = groups(text) else { return };
        let seen = &lengths[..n];
        // `20260420` and `202604200830` compare, whatever their lengths.
        let is_time = n == 1 && seen[0] >= 8 && (text.starts_with("19") || text.starts_with("20"));
        if is_time {
            return;
        }
        self.day_first |= n >= 3 && seen[0] <= 2 && seen[1] <= 2 && seen[2] == 4;
        for (group, length) in self.groups.iter_mut().zip(seen) {
            widen(group, *length);
        }
    }
}

fn widen(group: &mut (u8, u8), length: u8) {
    *group = match *group {
        (_, 0) => (length, length),
        (least, most) => (least.min(length), most.max(length)),
    };
}

/// The lengths of the groups of digits of a number or date, and how many there are; none of another text. What follows the
/// point of a fraction compares: it is left out.
fn groups(text: &str) -> Option<([u8; GROUPS], usize)> {
    let mut lengths = [0u8; GROUPS];
    let (mut n, mut inside, mut former) = (0, false, ' ');
    for c in text.trim().chars() {
        if c.is_ascii_digit() {
            if !inside && n == GROUPS {
                break;
            }
            n += usize::from(!inside);
            inside = true;
            lengths[n - 1] = lengths[n - 1].saturating_add(1);
            continue;
        }
        inside = false;
        match c {
            _ if n == 0 => return None,
            '+' | 'Z' => break,
            '.' if former == ':' || text.matches('.').count() == 1 => break,
            '/' | '-' | '.' | ':' | ' ' | 'T' | '年' | '月' | '日' | '时' | '分' | '秒' => former = c,
            _ => return None,
        }
    }
    (n > 0).then_some((lengths, n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Option<Disorder> {
        // Each in an input of its own, as corrections come.
        let mut all = Versions::default();
        for text in texts {
            let mut one = Versions::default();
            one.add(&StringArray::from(vec![Some(*text), None, Some(*text)]));
            all.merge(&one);
        }
        all.disorder()
    }

    #[test]
    fn what_compares_as_text_is_passed_over() {
        let fine: [&[&str]; 9] = [
            &[],
            &["1", "9", "3"],
            &["0009", "0010"],
            &["2026-04-20T08:30:00", "2026-04-20", "2026-04-20 08:30:00.25"],
            &["20260420", "202604200830", "20260420083000+0800"],
            &["2026年04月09日", "2026年04月20日 08时"],
            &["A9", "A10", "f47ac10b-58cc", "9c858901-8a57"],
            &["2026-04-20T08:30:00Z", "2026-04-20T08:30:00+08:00"],
            &["7.5", "7.25"],
        ];
        for texts in fine {
            assert_eq!(of(texts), None, "{texts:?}");
        }
    }

    #[test]
    fn what_does_not_compare_is_found() {
        let numbers: [&[&str]; 3] = [&["9", "10"], &["1", "2", "100"], &["900", "1000.5"]];
        for texts in numbers {
            assert_eq!(of(texts), Some(Disorder::Number), "{texts:?}");
        }
        let dates: [&[&str]; 5] = [
            &["2026/4/9", "2026/4/20"],
            &["20/04/2026"],
            &["4.9.2026"],
            &["2026-04-20 8:05", "2026-04-20 10:05"],
            &["2026年4月9日", "2026年4月20日"],
        ];
        for texts in dates {
            assert_eq!(of(texts), Some(Disorder::Date), "{texts:?}");
        }
    }
}
