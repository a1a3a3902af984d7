//! The grammar of reference ranges: one, or several for sexes and ages.

use crate::{
    Comma,
    core::{Kind, folded_value},
    fold::fold,
    number::Number,
    people::{First, Sex, Whom, aged, letter, named, people, without_start},
};
use clinmill_sdk::says_nothing;

/// A range with the people it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    sex: Option<Sex>,
    /// Years, from and below.
    age: Option<(f64, f64)>,
    /// What it says.
    pub range: Range,
}

impl Part {
    /// True where it is a concept and no number.
    pub fn is_qualitative(&self) -> bool {
        self.range.qualitative.is_some() && self.range.low.is_none() && self.range.high.is_none()
    }
}

impl Part {
    /// True where it is for some sex or age.
    fn is_named(&self) -> bool {
        self.sex.is_some() || self.age.is_some()
    }

    /// Whether it is for somebody: nothing where it is not, false where it may be.
    fn fits(&self, sex: Option<Sex>, age: Option<f64>) -> Option<bool> {
        let sexes = self.sex.is_none_or(|of| sex.is_none_or(|sex| sex == of));
        // An age in whole years lasts until the next birthday: of 0 years may be one of 3 days or of 11 months.
        let lived = age.map(|age| (age, if age.fract() == 0.0 { age + 1.0 } else { age }));
        let may = |(from, below)| lived.is_none_or(|(least, most)| least < below && (from <= least || from < most));
        let is = |(from, below)| lived.is_some_and(|(least, most)| from <= least && least < below && most <= below);
        let known = (self.sex.is_none() || sex.is_some()) && self.age.is_none_or(is);
        (sexes && self.age.is_none_or(may)).then_some(known)
    }
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

impl Range {
    /// True where a power of ten stands behind a number and no unit behind that: the unit beside the range tells whose it
    /// is.
    pub fn is_open(&self) -> bool {
        self.unit.is_empty() && self.ends().any(|number| number.power() != 0)
    }

    /// True where it has numbers.
    pub fn is_numeric(&self) -> bool {
        self.ends().next().is_some()
    }

    /// The range beside a unit that begins with a power of ten (0: with none): a power that both have is the unit's.
    /// Nothing where they differ.
    pub fn beside(&self, tens: i32) -> Option<Self> {
        match tens {
            0 => Some(self.clone()),
            tens if self.ends().all(|number| number.power() == tens) => Some(self.without_power()),
            _ => None,
        }
    }

    /// True where a number is in E notation: it says its own power, be it none.
    pub fn is_printed(&self) -> bool {
        self.ends().any(Number::is_printed)
    }

    fn ends(&self) -> impl Iterator<Item = Number> {
        [self.low, self.high].into_iter().flatten()
    }

    fn without_power(&self) -> Self {
        Self {
            low: self.low.map(Number::without_power),
            high: self.high.map(Number::without_power),
            ..self.clone()
        }
    }
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
    if is_none(&folded) {
        return Vec::new();
    }
    let mut lower = String::new();
    let mut parts = Vec::new();
    let mut outer = None;
    for segment in segments(untitled(&folded)) {
        let Some(mut part) = part(segment, comma, &mut lower) else {
            return Vec::new();
        };
        outer = under(outer, people(segment).0, &mut part);
        parts.push(part);
    }
    parts
}

/// True for what is written where there is no range: `-`, `--`, `/`, `无`. Of a test that is to be negative, `(-)` is one.
pub fn is_none(text: &str) -> bool {
    says_nothing(text) || text.chars().all(|c| matches!(c, '-' | '—' | '–' | '－' | '/' | ' '))
}

/// Gives a part what was said before it of whole groups, and what is said of those behind it: of `成人 男 57-111 女 41-81` both
/// are of adults, of `男 成人 1-2 儿童 3-4 女 5-6` the first two are of males.
fn under(outer: Option<Whom>, said: Whom, part: &mut Part) -> Option<Whom> {
    match (said, outer.and_then(|outer| Some((outer.first?, outer)))) {
        (
            Whom {
                sex: Some(_),
                age: Some(_),
                ..
            },
            _,
        ) => Some(said),
        (Whom { sex: Some(_), .. }, Some((First::Age, whom))) => {
            part.age = part.age.or(whom.age);
            outer
        }
        (Whom { age: Some(_), .. }, Some((First::Sex, whom))) => {
            part.sex = part.sex.or(whom.sex);
            outer
        }
        _ => None,
    }
}

/// The range for somebody: the only part that names them, else the only one that names nobody. Nothing where several fit,
/// or none, or where a part could be theirs if their sex or age were known.
pub fn choose(parts: &[Part], sex: Option<Sex>, age: Option<f64>) -> Option<&Range> {
    let (named, others): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(|part| part.is_named());
    let theirs: Vec<_> = named
        .into_iter()
        .filter_map(|part| Some((part, part.fits(sex, age)?)))
        .collect();
    match (&*theirs, &*others) {
        ([(part, true)], _) | ([], [part]) => Some(&part.range),
        _ => None,
    }
}

/// True where the parts are for different people.
pub fn is_split(parts: &[Part]) -> bool {
    parts.iter().any(Part::is_named)
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
    let (_, range) = people(text);
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
    let (Whom { mut sex, mut age, .. }, mut rest) = people(segment);
    if let Some((range, behind)) = rest.strip_suffix(')').and_then(|inner| inner.rsplit_once('(')) {
        let (of, left) = match letter(behind) {
            Some(sex) => (
                Whom {
                    sex: Some(sex),
                    ..Whom::default()
                },
                "",
            ),
            None => people(behind),
        };
        if left.is_empty() && (of.sex.is_some() || of.age.is_some()) {
            (sex, age, rest) = (sex.or(of.sex), age.or(of.age), range.trim());
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
    let mut range = Range {
        qualitative: said.qualitative,
        unit: match said.unit {
            "" => unit_behind.into(),
            unit => unit.into(),
        },
        ..Range::default()
    };
    // 阴性(1:80)
    let expected = said.diluted && plain.starts_with(|c: char| !c.is_ascii_digit()) && said.qualitative.is_some();
    match (said.kind, said.operator, said.number) {
        (Kind::NoResult, ..) | (_, Some("~"), _) => return None,
        // 3.5-1O
        _ if said.doubtful => return None,
        // <10 (3-5): two ranges.
        (Kind::Number, Some(_), _) if plain.ends_with([')', ']']) => return None,
        (_, Some("<" | "<="), number) => range.high = number,
        (_, Some(_), number) => range.low = number,
        // A single number is no range.
        (Kind::Number | Kind::Titre, None, _) if said.range.is_none() && !expected => return None,
        _ => {}
    }
    if let Some((low, high)) = said.range {
        (range.low, range.high) = (Some(low), Some(high));
    }
    Some(Part {
        sex,
        age,
        range: counted(range),
    })
}

/// The power of a count as that of its unit, which is the same: of `4-10x10^9/L` 4 to 10 of `10^9/L`.
fn counted(range: Range) -> Range {
    let power = range.ends().next().map_or(0, Number::power);
    if power == 0 || !range.unit.starts_with('/') || range.ends().any(|number| number.power() != power) {
        return range;
    }
    Range {
        unit: format!("10^{power}{}", range.unit).into(),
        ..range.without_power()
    }
}

#[cfg(test)]
mod tests;
