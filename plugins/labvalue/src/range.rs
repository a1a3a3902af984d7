//! The grammar of reference ranges: one, or several for sexes and ages.

use crate::{
    Comma,
    core::{Kind, folded_value},
    fold::fold,
    number::Number,
};

/// Sex, as reference ranges know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sex {
    /// 男.
    Male,
    /// 女.
    Female,
}

impl Sex {
    /// Reads a code or word: `M`, `F`, `男`, `女`, and `1`, `2` of GB/T 2261.1 and ISO/IEC 5218.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
        if is(&["M", "男", "男性", "male", "1"]) {
            Some(Self::Male)
        } else if is(&["F", "女", "女性", "female", "2"]) {
            Some(Self::Female)
        } else {
            None
        }
    }
}

/// A range with the people it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    sex: Option<Sex>,
    /// Years, from and below.
    age: Option<(f64, f64)>,
    /// What it says.
    pub range: Range,
}

/// What a reference range says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub low: Option<Number>,
    /// The most.
    pub high: Option<Number>,
    /// The expected concept.
    pub qualitative: Option<&'static str>,
}

/// Longer texts are no reference ranges.
const MAX_BYTES: usize = 400;

/// Reads a reference range; empty where it does not parse as a whole.
pub fn parse(text: &str, comma: Comma) -> Vec<Part> {
    if text.len() > MAX_BYTES {
        return Vec::new();
    }
    let mut folded = String::new();
    fold(text, &mut folded);
    let mut lower = String::new();
    let parts: Option<Vec<Part>> = segments(&folded)
        .into_iter()
        .map(|segment| part(segment, comma, &mut lower))
        .collect();
    parts.unwrap_or_default()
}

/// The range for somebody: the only part that fits. Nothing where several fit, or none.
pub fn choose(parts: &[Part], sex: Option<Sex>, age: Option<f64>) -> Option<Range> {
    if let [only] = parts
        && only.sex.is_none()
        && only.age.is_none()
    {
        return Some(only.range);
    }
    let fits = |part: &&Part| {
        let sexes = part.sex.is_none_or(|of| Some(of) == sex);
        let ages = part
            .age
            .is_none_or(|(from, below)| age.is_some_and(|age| from <= age && age < below));
        sexes && ages
    };
    let mut fitting = parts.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(part), None) => Some(part.range),
        _ => None,
    }
}

/// True where the parts are for different people.
pub fn is_split(parts: &[Part]) -> bool {
    parts.iter().any(|part| part.sex.is_some() || part.age.is_some())
}

/// A word, and whom it names.
type People = (&'static str, Option<Sex>, Option<(f64, f64)>);

/// Words that name people, longest first.
const PEOPLE: [People; 21] = [
    ("成年男性", Some(Sex::Male), Some((18.0, 200.0))),
    ("成年女性", Some(Sex::Female), Some((18.0, 200.0))),
    ("成人男", Some(Sex::Male), Some((18.0, 200.0))),
    ("成人女", Some(Sex::Female), Some((18.0, 200.0))),
    ("男性", Some(Sex::Male), None),
    ("女性", Some(Sex::Female), None),
    ("Female", Some(Sex::Female), None),
    ("female", Some(Sex::Female), None),
    ("Male", Some(Sex::Male), None),
    ("male", Some(Sex::Male), None),
    ("男", Some(Sex::Male), None),
    ("女", Some(Sex::Female), None),
    ("F:", Some(Sex::Female), None),
    ("M:", Some(Sex::Male), None),
    ("成年人", None, Some((18.0, 200.0))),
    ("成年", None, Some((18.0, 200.0))),
    ("成人", None, Some((18.0, 200.0))),
    ("儿童", None, Some((0.0, 18.0))),
    ("小儿", None, Some((0.0, 18.0))),
    ("新生儿", None, Some((0.0, 28.0 / 365.25))),
    ("婴儿", None, Some((0.0, 1.0))),
];

/// One segment for each group of people.
fn segments(text: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    for piece in text.split([';', '|']) {
        let mut rest = piece.trim();
        // 57-111(男) 41-81(女): people stand behind, in parentheses.
        let suffixed = PEOPLE.iter().any(|(word, ..)| rest.contains(&format!("({word})")));
        while !rest.is_empty() {
            let end = match suffixed {
                true => rest.find(')').map_or(rest.len(), |at| at + 1),
                false => next_people(rest),
            };
            let (segment, more) = rest.split_at(end);
            segments.push(segment.trim().trim_end_matches([',', ' ']));
            rest = more.trim_start_matches([',', ' ']);
        }
    }
    segments.retain(|segment| !segment.is_empty());
    segments
}

/// Where the next group of people begins, after the range of the first one.
fn next_people(text: &str) -> usize {
    let (_, _, range) = people(text);
    let begin = text.len() - range.len();
    let starts = range
        .char_indices()
        .skip(1)
        .filter(|(at, _)| {
            range
                .get(..*at)
                .is_some_and(|before| before.ends_with([' ', ',']) || before.ends_with(|c: char| c.is_ascii_digit()))
        })
        .map(|(at, _)| at)
        .find(|at| {
            range
                .get(*at..)
                .is_some_and(|rest| PEOPLE.iter().any(|(word, ..)| rest.starts_with(word)) || aged(rest).is_some())
        });
    starts.map_or(text.len(), |at| begin + at)
}

/// Takes the words for people off the front: sex, age, what is left.
fn people(text: &str) -> (Option<Sex>, Option<(f64, f64)>, &str) {
    let (mut sex, mut age, mut rest) = (None, None, text.trim());
    loop {
        let named = PEOPLE
            .iter()
            .find_map(|(word, of, years)| Some((*of, *years, rest.strip_prefix(word)?)));
        let found = named.or_else(|| aged(rest).map(|(years, rest)| (None, Some(years), rest)));
        let Some((of, years, less)) = found else {
            return (sex, age, rest);
        };
        sex = sex.or(of);
        age = age.or(years);
        rest = less.trim_start_matches([':', ' ', '(', ')', ',']);
    }
}

/// Ages in front of a range: `0-3岁`, `>=60岁`, `<18岁`, `14岁以上`, `6月-2岁` is not read.
fn aged(text: &str) -> Option<((f64, f64), &str)> {
    let at = text.find(['岁', '月', '天'])?;
    let (before, unit) = text.split_at(at);
    let (years, after) = match unit.strip_prefix("岁") {
        Some(after) => (1.0, after),
        None => match unit.strip_prefix("月") {
            Some(after) => (1.0 / 12.0, after),
            None => (1.0 / 365.25, unit.strip_prefix("天")?),
        },
    };
    let before = before.trim().trim_end_matches(['周', '个']);
    if before.len() > 12 {
        return None;
    }
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let (above, below) = (after.strip_prefix("以上"), after.strip_prefix("以下"));
    let (range, rest) = if let Some(rest) = above {
        ((number(before)?, 200.0 / years), rest)
    } else if let Some(rest) = below {
        ((0.0, number(before)?), rest)
    } else if let Some(from) = before.strip_prefix(">=").or_else(|| before.strip_prefix('>')) {
        ((number(from)?, 200.0 / years), after)
    } else if let Some(to) = before.strip_prefix("<=") {
        // Whole years: up to 14 means until the birthday after.
        ((0.0, number(to)? + 1.0), after)
    } else if let Some(to) = before.strip_prefix('<') {
        ((0.0, number(to)?), after)
    } else {
        let (from, to) = before.split_once(['-', '~'])?;
        ((number(from)?, number(to)? + 1.0), after)
    };
    Some(((range.0 * years, range.1 * years), rest))
}

fn part(segment: &str, comma: Comma, lower: &mut String) -> Option<Part> {
    let (mut sex, mut age, mut rest) = people(segment);
    if let Some((range, behind)) = rest.strip_suffix(')').and_then(|inner| inner.rsplit_once('(')) {
        let (of, years, left) = people(behind);
        if left.is_empty() && (of.is_some() || years.is_some()) {
            (sex, age, rest) = (sex.or(of), age.or(years), range.trim());
        }
    }
    let said = folded_value(rest, comma, lower)?;
    let mut range = Range {
        qualitative: said.qualitative,
        ..Range::default()
    };
    match (said.kind, said.operator, said.number) {
        (Kind::NoResult, ..) | (_, Some("~"), _) => return None,
        (_, Some("<" | "<="), number) => range.high = number,
        (_, Some(_), number) => range.low = number,
        // A single number is no range.
        (Kind::Number | Kind::Titre, None, _) => return None,
        _ => {}
    }
    if let Some((low, high)) = said.range {
        (range.low, range.high) = (Some(low), Some(high));
    }
    Some(Part { sex, age, range })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str, sex: &str, age: Option<f64>) -> Option<(Option<i128>, Option<i128>, Option<&'static str>)> {
        let range = choose(&parse(text, Comma::Auto), Sex::read(sex), age)?;
        let tenths = |n: Option<Number>| n.and_then(|n| n.scaled(1)).map(|(n, _)| n);
        Some((tenths(range.low), tenths(range.high), range.qualitative))
    }

    #[test]
    fn one_range_is_for_everybody() {
        for (text, want) in [
            ("3.5～5.5", Some((Some(35), Some(55), None))),
            ("3.5-5.5 mmol/L", Some((Some(35), Some(55), None))),
            ("3.5--5.5", Some((Some(35), Some(55), None))),
            ("3.5—5.5", Some((Some(35), Some(55), None))),
            ("<10", Some((None, Some(100), None))),
            ("≥60", Some((Some(600), None, None))),
            ("＜1:80", Some((None, Some(800), None))),
            ("阴性", Some((None, None, Some("negative")))),
            ("阴性(-)", Some((None, None, Some("negative")))),
            ("5", None),
            ("见说明", None),
            ("", None),
        ] {
            assert_eq!(chosen(text, "", None), want, "{text}");
        }
    }

    #[test]
    fn long_texts_cost_nothing() {
        assert!(parse(&"1 ".repeat(1 << 20), Comma::Auto).is_empty());
    }

    #[test]
    fn ranges_by_sex_and_age() {
        for text in [
            "男:57-111;女:41-81",
            "男 57-111 女 41-81",
            "男性：57～111，女性：41～81",
            "57-111(男) 41-81(女)",
            "M:57-111 F:41-81",
            "男57-111女41-81",
        ] {
            assert_eq!(chosen(text, "M", None), Some((Some(570), Some(1110), None)), "{text}");
            assert_eq!(chosen(text, "女", None), Some((Some(410), Some(810), None)), "{text}");
            assert_eq!(chosen(text, "", None), None, "{text}");
            assert!(is_split(&parse(text, Comma::Auto)));
        }
        let aged = "0-3岁:1-2;4-17岁:3-4;18岁以上:5-6";
        assert_eq!(chosen(aged, "", Some(3.5)), Some((Some(10), Some(20), None)));
        assert_eq!(chosen(aged, "", Some(17.9)), Some((Some(30), Some(40), None)));
        assert_eq!(chosen(aged, "", Some(40.0)), Some((Some(50), Some(60), None)));
        assert_eq!(chosen(aged, "", None), None);
        let both = "成人男:40-50;成人女:35-45;儿童:30-40";
        assert_eq!(chosen(both, "2", Some(30.0)), Some((Some(350), Some(450), None)));
        assert_eq!(chosen(both, "1", Some(10.0)), Some((Some(300), Some(400), None)));
        assert_eq!(
            chosen("<60岁:<5.0;>=60岁:<7.0", "", Some(61.0)),
            Some((None, Some(70), None))
        );
    }
}
