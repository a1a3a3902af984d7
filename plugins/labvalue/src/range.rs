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

impl Part {
    /// True where it is a concept and no number.
    pub fn is_qualitative(&self) -> bool {
        self.range.qualitative.is_some() && self.range.low.is_none() && self.range.high.is_none()
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub low: Option<Number>,
    /// The most.
    pub high: Option<Number>,
    /// The expected concept.
    pub qualitative: Option<&'static str>,
    /// The unit that stands in the text, folded; empty without one.
    pub unit: Box<str>,
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
    let parts: Option<Vec<Part>> = segments(untitled(&folded))
        .into_iter()
        .map(|segment| part(segment, comma, &mut lower))
        .collect();
    parts.unwrap_or_default()
}

/// The range for somebody: the only part that fits. Nothing where several fit, or none.
pub fn choose(parts: &[Part], sex: Option<Sex>, age: Option<f64>) -> Option<&Range> {
    if let [only] = parts
        && only.sex.is_none()
        && only.age.is_none()
    {
        return Some(&only.range);
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
        (Some(part), None) => Some(&part.range),
        _ => None,
    }
}

/// True where the parts are for different people.
pub fn is_split(parts: &[Part]) -> bool {
    parts.iter().any(|part| part.sex.is_some() || part.age.is_some())
}

/// A word, and whom it names.
type People = (&'static str, Option<Sex>, Option<(f64, f64)>);

const ADULT: Option<(f64, f64)> = Some((18.0, 200.0));
const CHILD: Option<(f64, f64)> = Some((0.0, 18.0));
const NEWBORN: Option<(f64, f64)> = Some((0.0, 28.0 / 365.25));
const INFANT: Option<(f64, f64)> = Some((0.0, 1.0));

/// Words that name people, without difference of case; those that begin others come after them.
const PEOPLE: [People; 36] = [
    ("成年男性", Some(Sex::Male), ADULT),
    ("成年女性", Some(Sex::Female), ADULT),
    ("成人男", Some(Sex::Male), ADULT),
    ("成人女", Some(Sex::Female), ADULT),
    ("男性", Some(Sex::Male), None),
    ("女性", Some(Sex::Female), None),
    ("男", Some(Sex::Male), None),
    ("女", Some(Sex::Female), None),
    ("females", Some(Sex::Female), None),
    ("female", Some(Sex::Female), None),
    ("males", Some(Sex::Male), None),
    ("male", Some(Sex::Male), None),
    ("women", Some(Sex::Female), None),
    ("men", Some(Sex::Male), None),
    ("(f)", Some(Sex::Female), None),
    ("(m)", Some(Sex::Male), None),
    ("f:", Some(Sex::Female), None),
    ("m:", Some(Sex::Male), None),
    ("f ", Some(Sex::Female), None),
    ("m ", Some(Sex::Male), None),
    ("成年人", None, ADULT),
    ("成年", None, ADULT),
    ("成人", None, ADULT),
    ("儿童", None, CHILD),
    ("小儿", None, CHILD),
    ("新生儿", None, NEWBORN),
    ("婴儿", None, INFANT),
    ("adults", None, ADULT),
    ("adult", None, ADULT),
    ("children", None, CHILD),
    ("child", None, CHILD),
    ("newborns", None, NEWBORN),
    ("newborn", None, NEWBORN),
    ("neonates", None, NEWBORN),
    ("infants", None, INFANT),
    ("infant", None, INFANT),
];

/// `text` without `start`, whatever the case of Latin letters.
fn without_start<'t>(text: &'t str, start: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

/// The people that a text begins with, and what follows. A Latin word ends where its letters do.
fn named(text: &str) -> Option<(&'static People, &str)> {
    PEOPLE.iter().find_map(|people| {
        let rest = without_start(text, people.0)?;
        let whole = !people.0.ends_with(|c: char| c.is_ascii_alphabetic())
            || !rest.starts_with(|c: char| c.is_ascii_alphabetic());
        whole.then_some((people, rest))
    })
}

/// `M` or `F` alone.
fn letter(text: &str) -> Option<Sex> {
    Sex::read(text).filter(|_| text.trim().len() == 1 && text.trim().starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// One segment for each group of people.
fn segments(text: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    for piece in text.split([';', '|']) {
        let mut rest = piece.trim();
        // 57-111(男) 41-81(女): people stand behind, in parentheses.
        let suffixed = rest.starts_with(|c: char| c.is_ascii_digit() || "<>[".contains(c))
            && rest.split('(').skip(1).any(|inner| {
                let whom = inner.split(')').next().unwrap_or_default();
                letter(whom).is_some() || named(inner).is_some_and(|(_, behind)| behind.starts_with(')'))
            });
        while !rest.is_empty() {
            let end = match suffixed {
                true => rest.find(')').map_or(rest.len(), |at| at + 1),
                false => next_people(rest),
            };
            let (segment, more) = rest.split_at(end);
            segments.push(segment.trim().trim_end_matches([',', '/', ' ']));
            rest = more.trim_start_matches([',', '/', ' ']);
        }
    }
    segments.retain(|segment| !segment.is_empty());
    segments
}

/// Where the next group of people begins, after the range of the first one.
fn next_people(text: &str) -> usize {
    let (_, _, range) = people(text);
    let begin = text.len() - range.len();
    let starts = range.char_indices().skip(1).map(|(at, _)| at).find(|at| {
        let (Some(before), Some(rest)) = (range.get(..*at), range.get(*at..)) else {
            return false;
        };
        let apart = before.ends_with([' ', ',', '/', ')']) || before.ends_with(|c: char| c.is_ascii_digit());
        let within = rest.strip_prefix('(').is_some_and(|inner| named(inner).is_some());
        let begins = within || (named(rest).is_some() && (apart || rest.starts_with(|c: char| !c.is_ascii())));
        // An age is told from the range before it by what stands between them.
        let ages = before.ends_with([' ', ',']) && aged(rest).is_some();
        begins || ages
    });
    starts.map_or(text.len(), |at| begin + at)
}

/// Takes the words for people off the front: sex, age, what is left.
fn people(text: &str) -> (Option<Sex>, Option<(f64, f64)>, &str) {
    let (mut sex, mut age, mut rest) = (None, None, text.trim());
    loop {
        let within = match rest.strip_prefix('(') {
            // (男) 57-111, but not the parenthesis of (57-111).
            Some(inner) if named(inner).is_some() || aged(inner).is_some() => inner,
            _ => rest,
        };
        let found = named(rest)
            .or_else(|| named(within))
            .map(|((_, of, years), less)| (*of, *years, less));
        let found = found.or_else(|| aged(within).map(|(years, less)| (None, Some(years), less)));
        let Some((of, years, less)) = found else {
            return (sex, age, rest);
        };
        sex = sex.or(of);
        age = age.or(years);
        rest = less.trim_start_matches([':', ' ', ')', ',']);
    }
}

/// Units of age, as words and in years; those that begin others come after them.
const AGES: [(&str, f64); 17] = [
    ("周岁", 1.0),
    ("岁", 1.0),
    ("years", 1.0),
    ("year", 1.0),
    ("yrs", 1.0),
    ("yr", 1.0),
    ("y", 1.0),
    ("个月", 1.0 / 12.0),
    ("月龄", 1.0 / 12.0),
    ("月", 1.0 / 12.0),
    ("months", 1.0 / 12.0),
    ("month", 1.0 / 12.0),
    ("mos", 1.0 / 12.0),
    ("mo", 1.0 / 12.0),
    ("天", 1.0 / 365.25),
    ("days", 1.0 / 365.25),
    ("day", 1.0 / 365.25),
];

/// Ages in front of a range: `0-3岁`, `>=60岁`, `<18 years`, `14岁以上`; `6月-2岁` is not read.
fn aged(text: &str) -> Option<((f64, f64), &str)> {
    let at = text.find(|c: char| !(c.is_ascii_digit() || "<>=-~. ".contains(c)))?;
    let (before, unit) = text.split_at(at);
    let (years, after) = AGES.iter().find_map(|(word, years)| {
        let rest = without_start(unit, word)?;
        let whole = !(word.is_ascii() && rest.starts_with(|c: char| c.is_ascii_alphabetic()));
        whole.then_some((*years, rest))
    })?;
    let before = before.trim();
    if before.len() > 12 {
        return None;
    }
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let word = |words: [&str; 2]| words.iter().find_map(|word| after.strip_prefix(word));
    // Ages are whole: up to 14 lasts until the birthday after, more than 60 begins with 61.
    let (range, rest) = if let Some(rest) = word(["及以上", "以上"]) {
        ((number(before)?, 200.0 / years), rest)
    } else if let Some(rest) = after.strip_prefix("及以下") {
        ((0.0, number(before)? + 1.0), rest)
    } else if let Some(rest) = after.strip_prefix("以下") {
        ((0.0, number(before)?), rest)
    } else if let Some(from) = before.strip_prefix(">=") {
        ((number(from)?, 200.0 / years), after)
    } else if let Some(from) = before.strip_prefix('>') {
        ((number(from)? + 1.0, 200.0 / years), after)
    } else if let Some(to) = before.strip_prefix("<=") {
        ((0.0, number(to)? + 1.0), after)
    } else if let Some(to) = before.strip_prefix('<') {
        ((0.0, number(to)?), after)
    } else {
        let (from, to) = before.split_once(['-', '~'])?;
        ((number(from)?, number(to)? + 1.0), after)
    };
    Some(((range.0 * years, range.1 * years), rest))
}

/// Words in front of a range that say nothing else.
const TITLES: [&str; 12] = [
    "参考范围",
    "参考区间",
    "参考值",
    "正常参考值",
    "正常范围",
    "正常值",
    "reference range",
    "ref. range",
    "ref range",
    "normal range",
    "reference",
    "ref",
];

/// Takes a title such as `参考值:` off the front.
fn untitled(text: &str) -> &str {
    let titled = TITLES.iter().find_map(|title| {
        let rest = without_start(text, title)?;
        rest.starts_with([':', ' ', '.'])
            .then(|| rest.trim_start_matches([':', ' ', '.']))
    });
    titled.unwrap_or(text)
}

/// `(-3)-(+3)` as `-3-+3`.
fn signed(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('(') {
        let number = after
            .split_once(')')
            .filter(|(inner, _)| inner.starts_with(['-', '+']) && inner.len() > 1)
            .filter(|(inner, _)| inner.bytes().skip(1).all(|b| b.is_ascii_digit() || b == b'.'));
        plain.push_str(before);
        rest = match number {
            Some((inner, more)) => {
                plain.push_str(inner);
                more
            }
            None => {
                plain.push('(');
                after
            }
        };
    }
    plain.push_str(rest);
    plain
}

fn part(segment: &str, comma: Comma, lower: &mut String) -> Option<Part> {
    let (mut sex, mut age, mut rest) = people(segment);
    if let Some((range, behind)) = rest.strip_suffix(')').and_then(|inner| inner.rsplit_once('(')) {
        let (of, years, left) = match letter(behind) {
            Some(sex) => (Some(sex), None, ""),
            None => people(behind),
        };
        if left.is_empty() && (of.is_some() || years.is_some()) {
            (sex, age, rest) = (sex.or(of), age.or(years), range.trim());
        }
    }
    // 3.5-5.5(mmol/L)
    let mut unit_behind = "";
    if let Some((range, unit)) = rest.strip_suffix(')').and_then(|inner| inner.rsplit_once('('))
        && range.ends_with(|c: char| c.is_ascii_digit() || c == ' ')
        && unit.contains(['/', '%'])
    {
        (rest, unit_behind) = (range.trim_end(), unit.trim());
    }
    let plain = signed(rest);
    // ±3 is from -3 to 3.
    let plain = match plain.strip_prefix("+-") {
        Some(most) if !most.is_empty() => format!("-{most}~{most}"),
        _ => plain,
    };
    let said = folded_value(&plain, comma, lower)?;
    // Of 4-10x10^9/L nobody can tell here whether the power is the unit's or the number's; the value may have neither.
    let ends = said
        .range
        .map_or([said.number; 2], |(low, high)| [Some(low), Some(high)]);
    if ends.into_iter().flatten().any(|number| number.power() != 0) {
        return None;
    }
    let mut range = Range {
        qualitative: said.qualitative,
        unit: match said.unit {
            "" => unit_behind.into(),
            unit => unit.into(),
        },
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
        let parts = parse(text, Comma::Auto);
        let range = choose(&parts, Sex::read(sex), age)?;
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
            ("[3.5-5.5]", Some((Some(35), Some(55), None))),
            ("(3.5-5.5)", Some((Some(35), Some(55), None))),
            ("【3.5～5.5】mmol/L", Some((Some(35), Some(55), None))),
            ("3.5-5.5 (mmol/L)", Some((Some(35), Some(55), None))),
            ("参考值：3.5-5.5", Some((Some(35), Some(55), None))),
            ("Ref. range: 3.5 to 5.5", Some((Some(35), Some(55), None))),
            ("-3--1", Some((Some(-30), Some(-10), None))),
            ("4-10×10^3/uL", None),
            ("(4-10)×10⁹/L", None),
            ("(-3)-(+3)", Some((Some(-30), Some(30), None))),
            ("±3.0", Some((Some(-30), Some(30), None))),
            ("-3～+3", Some((Some(-30), Some(30), None))),
            ("阴性(<1.0)", Some((None, Some(10), Some("negative")))),
            ("约5", None),
            ("~5", None),
            ("—5", None),
            ("1e400-2e400", None),
            ("<1e400", None),
            ("5.5-3.5", None),
            ("5", None),
            ("见说明", None),
            ("", None),
        ] {
            assert_eq!(chosen(text, "", None), want, "{text}");
        }
    }

    #[test]
    fn the_unit_of_a_range_is_kept() {
        for (text, want) in [
            ("3.5-5.5", ""),
            ("3.5-5.5 mmol/L", "mmol/L"),
            ("3.5-5.5(mmol/L)", "mmol/L"),
            ("(3.5-5.5)mmol/L", "mmol/L"),
            ("[3.5-5.5] mg/dL", "mg/dL"),
            ("<10 mg/L", "mg/L"),
            ("男57-111umol/L女41-81umol/L", "umol/L"),
            ("阴性", ""),
        ] {
            let parts = parse(text, Comma::Auto);
            assert_eq!(&*choose(&parts, Some(Sex::Male), None).unwrap().unit, want, "{text}");
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
            "57-111 (M), 41-81 (F)",
            "57-111 (Male) 41-81 (Female)",
            "M:57-111 F:41-81",
            "男57-111女41-81",
            "男：57-111/女：41-81",
            "(男)57-111 (女)41-81",
            "男(57-111)女(41-81)",
            "男57-111umol/L女41-81umol/L",
            "男性57～111 umol/L、女性41～81 umol/L",
            "Male: 57-111; Female: 41-81",
            "male 57-111, female 41-81",
            "MALE 57-111 FEMALE 41-81",
            "Men 57-111 | Women 41-81",
            "F 41-81 M 57-111",
            "(M) 57-111 (F) 41-81",
            "参考值: 男 57-111 女 41-81",
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
        for (text, age, want) in [
            ("<=60岁:1-2;>60岁:3-4", 60.5, Some((Some(10), Some(20), None))),
            ("<=60岁:1-2;>60岁:3-4", 61.0, Some((Some(30), Some(40), None))),
            ("60岁及以上:3-4;60岁以下:1-2", 60.0, Some((Some(30), Some(40), None))),
            ("18-60 years: 3-4; >60 yrs: 5-6", 60.9, Some((Some(30), Some(40), None))),
            ("18-60 years: 3-4; >60 yrs: 5-6", 17.0, None),
            ("Adults: 3-4; Children: 5-6", 17.0, Some((Some(50), Some(60), None))),
            ("0-28天:1-2 1-12个月:3-4", 0.5, Some((Some(30), Some(40), None))),
            ("1-3岁:1-2;3-6岁:3-4", 3.5, None),
        ] {
            assert_eq!(chosen(text, "", Some(age)), want, "{text} at {age}");
        }
        for text in ["57-111 男 41-81 女", "男:57-111;女", "男:x;女:41-81"] {
            assert_eq!(chosen(text, "女", Some(30.0)), None, "{text}");
        }
        let both = "成人男:40-50;成人女:35-45;儿童:30-40";
        assert_eq!(chosen(both, "2", Some(30.0)), Some((Some(350), Some(450), None)));
        assert_eq!(chosen(both, "1", Some(10.0)), Some((Some(300), Some(400), None)));
        assert_eq!(
            chosen("<60岁:<5.0;>=60岁:<7.0", "", Some(61.0)),
            Some((None, Some(70), None))
        );
    }
}
