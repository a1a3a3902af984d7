//! The grammar of values.

use crate::{
    Comma,
    flag::unflagged,
    fold::fold,
    number::{Number, plain, power_of_ten, scan},
    operator::operator,
    unit::{is_unit, tens},
    words::{self, Word},
};

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number, with or without an operator: `5.6`, `<0.1`.
    Number,
    /// From one number to another: `3-5/HP`.
    Range,
    /// A dilution; the number is what it was diluted to: 160 of `1:160` and of `1/160`.
    Titre,
    /// A word or a row of signs: `阳性(+)`, `++`.
    Qualitative,
    /// A word that says that there is no result: `溶血`.
    NoResult,
}

impl Kind {
    /// As it is written into the column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Range => "range",
            Self::Titre => "titre",
            Self::Qualitative => "qualitative",
            Self::NoResult => "no-result",
        }
    }
}

/// What a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'t> {
    /// What it is.
    pub kind: Kind,
    /// `<`, `<=`, `>`, `>=` or `~`.
    pub operator: Option<&'static str>,
    /// The number of a number or a titre, and one beside a word.
    pub number: Option<Number>,
    /// The ends of a range.
    pub range: Option<(Number, Number)>,
    /// The concept of a word or of signs.
    pub qualitative: Option<&'static str>,
    /// How many plus signs.
    pub grade: Option<i8>,
    /// The number that `+3` is where it is no grade.
    pub signed: Option<Number>,
    /// The unit that stands in the text, folded; empty without one.
    pub unit: &'t str,
    /// `H`, `L`, `HH`, `LL`, `N`, `A` (an asterisk too) or `AA`.
    pub flag: Option<&'static str>,
}

impl Parsed<'_> {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            operator: None,
            number: None,
            range: None,
            qualitative: None,
            grade: None,
            signed: None,
            unit: "",
            flag: None,
        }
    }

    /// The power of ten that is written behind the numbers, where the text has no unit of its own; 0 without one, nothing
    /// where the ends of a range have different ones.
    pub fn power(&self) -> Option<i32> {
        let of = |number: Option<Number>| number.map_or(0, Number::power);
        match (self.unit, self.range) {
            ("", Some((low, high))) => (low.power() == high.power()).then_some(high.power()),
            ("", None) => Some(of(self.number)),
            _ => Some(0),
        }
    }
}

/// Buffers that are used again for each text.
#[derive(Default)]
pub struct Scratch {
    folded: String,
    lower: String,
}

impl Scratch {
    /// A text in one spelling.
    pub fn fold(&mut self, text: &str) -> &str {
        fold(text, &mut self.folded);
        &self.folded
    }
}

/// Longer texts are no values.
pub const MAX_BYTES: usize = 120;

/// Reads a value. Nothing where the grammar has no rule for it.
#[inline]
pub fn parse<'s>(text: &str, comma: Comma, scratch: &'s mut Scratch) -> Option<Parsed<'s>> {
    if let Some(number) = plain(text.trim_ascii().as_bytes()) {
        return Some(Parsed {
            number: Some(number),
            ..Parsed::of(Kind::Number)
        });
    }
    if text.len() > MAX_BYTES {
        return None;
    }
    let Scratch { folded, lower } = scratch;
    fold(text, folded);
    let (rest, flag) = unflagged(folded);
    let found = folded_value(rest, comma, lower)?;
    Some(Parsed { flag, ..found })
}

/// Reads a folded text without flags.
pub fn folded_value<'t>(text: &'t str, comma: Comma, lower: &mut String) -> Option<Parsed<'t>> {
    if text.is_empty() {
        return None;
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return signs(text)
            .or_else(|| numeric(text, comma, lower))
            .or_else(|| mixed(text, comma, lower));
    }
    signs(text)
        .or_else(|| word(text, lower))
        .or_else(|| numeric(text, comma, lower))
        .or_else(|| bracketed(text, comma, lower))
        .or_else(|| mixed(text, comma, lower))
}

/// `+`, `++`, `2+`, `+2`, `-`, `+-`, with or without parentheses.
fn signs(text: &str) -> Option<Parsed<'static>> {
    let inner = text
        .strip_prefix('(')
        .and_then(|t| t.strip_suffix(')'))
        .unwrap_or(text)
        .trim();
    let bytes = inner.as_bytes();
    let (qualitative, grade) = match bytes {
        b"-" => ("negative", None),
        b"+-" | b"-+" | b"-~+" => ("plus-minus", None),
        [digit @ b'1'..=b'5', b'+'] | [b'+', digit @ b'1'..=b'5'] => ("positive", Some(digit - b'0')),
        _ if !bytes.is_empty() && bytes.len() <= 5 && bytes.iter().all(|b| *b == b'+') => {
            ("positive", Some(u8::try_from(bytes.len()).ok()?))
        }
        _ => return None,
    };
    let signed = match text.as_bytes() {
        [b'+', digit @ b'1'..=b'5'] => Some(Number::integer(i128::from(digit - b'0'))),
        _ => None,
    };
    Some(Parsed {
        qualitative: Some(qualitative),
        grade: grade.and_then(|grade| i8::try_from(grade).ok()),
        signed,
        ..Parsed::of(Kind::Qualitative)
    })
}

fn word(text: &str, lower: &mut String) -> Option<Parsed<'static>> {
    let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap_or(text);
    let (kind, concept) = match words::find(inner, lower)? {
        Word::Result(concept) => (Kind::Qualitative, concept),
        Word::NoResult(concept) => (Kind::NoResult, concept),
    };
    Some(Parsed {
        qualitative: Some(concept),
        ..Parsed::of(kind)
    })
}

/// What begins with a number.
fn numeric<'t>(text: &'t str, comma: Comma, lower: &mut String) -> Option<Parsed<'t>> {
    let (operator, text) = operator(text);
    let (first, length) = scan(text, comma)?;
    let rest = text.get(length..)?.trim_start();
    let number = Parsed {
        operator,
        number: Some(first),
        ..Parsed::of(Kind::Number)
    };
    match rest.as_bytes() {
        [] => Some(number),
        [b':', tail @ ..] | [b'/', tail @ ..] if tail.first().is_some_and(|b| b.is_ascii_digit() || *b == b' ') => {
            let (second, length) = scan(rest.get(1..)?.trim_start(), comma)?;
            let titre = first == Number::integer(1) && second.whole().is_some_and(|to| to > 1);
            let diluted = titre.then_some(Parsed {
                operator,
                number: Some(second),
                ..Parsed::of(Kind::Titre)
            })?;
            let note = rest.get(1..)?.trim_start().get(length..)?.trim_start();
            behind(diluted, note, lower).filter(|found| found.unit.is_empty() && found.operator == operator)
        }
        [b'-' | b'~' | b't' | b'T', ..] if operator.is_none() && range_sign(rest).is_some() => {
            let after = range_sign(rest)?.trim_start();
            // A second hyphen is a sign behind a tilde or a negative number: 3--5 is 3 to 5, -3--1 is -3 to -1.
            let signed = after.starts_with('-') && (!rest.starts_with('-') || text.starts_with('-'));
            let tail = match signed {
                true => after,
                false => after.trim_start_matches(['-', '~']).trim_start(),
            };
            let (second, length) = scan(tail, comma)?;
            // A power behind the second number is that of both: 4-10x10^9/L.
            let of = |text: &str| text.contains(['x', 'X', '*', 'e', 'E', '^']);
            let (before, written) = (text.get(..text.len() - rest.len())?, tail.get(..length)?);
            let first = match power_of_ten(written) {
                Some(power) if !of(before) => first.times_ten(power),
                _ => first,
            };
            let unit = tail.get(length..)?.trim_start();
            let range = first.at_most(second).then_some(Parsed {
                range: Some((first, second)),
                ..Parsed::of(Kind::Range)
            })?;
            behind(range, unit, lower).filter(|found| found.operator.is_none())
        }
        _ => behind(number, rest, lower),
    }
}

/// What stands behind the sign of a range: a hyphen, a tilde, `to`.
fn range_sign(text: &str) -> Option<&str> {
    let word = |word: &str| text.strip_prefix(word).filter(|rest| rest.starts_with([' ', '-', '+']));
    text.strip_prefix(['-', '~'])
        .or_else(|| word("to"))
        .or_else(|| word("TO"))
}

/// A range in brackets, with its unit within or behind: `[3.5-5.5]`, `(3-5)/HP`. One number in them is none: in books of
/// accounts it would be negative.
fn bracketed<'t>(text: &'t str, comma: Comma, lower: &mut String) -> Option<Parsed<'t>> {
    let (inner, behind) = match text.as_bytes().first()? {
        b'(' => text.get(1..)?.split_once(')')?,
        b'[' => text.get(1..)?.split_once(']')?,
        _ => return None,
    };
    let range = numeric(inner.trim(), comma, lower).filter(|found| found.kind == Kind::Range)?;
    let (low, high) = range.range?;
    let behind = behind.trim_start();
    let (range, behind) = match power_of_ten(behind) {
        // (4-10)x10^9/L
        Some(power) => {
            let end = behind.find(['/', ' ']).unwrap_or(behind.len());
            let both = (low.times_ten(power), high.times_ten(power));
            (
                Parsed {
                    range: Some(both),
                    ..range
                },
                behind.get(end..)?.trim_start(),
            )
        }
        None => (range, behind),
    };
    match (range.unit, behind) {
        (_, "") => Some(range),
        ("", unit) if is_unit(unit) => Some(Parsed { unit, ..range }),
        _ => None,
    }
}

/// What may stand behind a number: a unit, a word, or both.
fn behind<'t>(number: Parsed<'t>, rest: &'t str, lower: &mut String) -> Option<Parsed<'t>> {
    for (words, operator) in [("以上", ">="), ("以下", "<=")] {
        if let (None, Some(unit)) = (number.operator, rest.strip_suffix(words))
            && (unit.is_empty() || is_unit(unit))
        {
            return Some(Parsed {
                operator: Some(operator),
                unit,
                ..number
            });
        }
    }
    let (unit, note) = match rest.strip_suffix(')').and_then(|inner| inner.rsplit_once('(')) {
        Some((unit, note)) if signs(note).or_else(|| word(note, lower)).is_some() => (unit.trim_end(), note),
        _ => match word(rest, lower) {
            Some(_) => ("", rest),
            None => (rest, ""),
        },
    };
    let said = signs(note).or_else(|| word(note, lower));
    if said.is_some_and(|said| said.kind == Kind::NoResult) || !(unit.is_empty() || is_unit(unit)) {
        return None;
    }
    // 5.6x10^9 10^9/L: nobody can tell whether the power counts once or twice.
    if number.number.is_some_and(|number| number.power() != 0) && tens(unit).is_some_and(|power| power != 0) {
        return None;
    }
    Some(Parsed {
        qualitative: said.and_then(|said| said.qualitative),
        grade: said.and_then(|said| said.grade),
        unit,
        ..number
    })
}

/// A word or signs with more behind it: `阳性(+)`, `阳性++`, `阳性(1:160)`, `+(25)`, `阴性 <0.1`.
fn mixed<'t>(text: &'t str, comma: Comma, lower: &mut String) -> Option<Parsed<'t>> {
    let (head, tail) = match text.strip_suffix(')').and_then(|inner| inner.split_once('(')) {
        Some((head, inner)) => (head, inner),
        None => {
            let at = text.find([
                ' ', '+', '-', '<', '>', '=', ',', ':', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
            ])?;
            (text.get(..at)?, text.get(at..)?)
        }
    };
    let (head, tail) = (head.trim(), tail.trim_matches([' ', ',', ':', ';']));
    let said = signs(head).or_else(|| word(head, lower))?;
    if said.kind == Kind::NoResult {
        return None;
    }
    let more = signs(tail)
        .or_else(|| word(tail, lower))
        .or_else(|| numeric(tail, comma, lower))?;
    match more.kind {
        Kind::NoResult => None,
        // The word says more than the signs: 弱阳性(±) is weakly positive.
        Kind::Qualitative => {
            let (word_first, word_last) = (word(head, lower).is_some(), word(tail, lower).is_some());
            // Two words are two results, such as colour and clarity: one of them would be lost.
            let both = word_first && word_last && said.qualitative != more.qualitative;
            if both || opposite(said.qualitative, more.qualitative) {
                return None;
            }
            let words_first = word_first || !word_last;
            Some(Parsed {
                qualitative: if words_first {
                    said.qualitative
                } else {
                    more.qualitative
                },
                grade: said.grade.or(more.grade),
                signed: None,
                ..said
            })
        }
        _ => Some(Parsed {
            kind: Kind::Qualitative,
            qualitative: said.qualitative,
            grade: said.grade,
            ..more
        }),
    }
}

/// Whether a word and signs say opposite things: 阴性(+), 阳性(-).
fn opposite(one: Option<&str>, other: Option<&str>) -> bool {
    let side = |concept: Option<&str>| match concept? {
        "negative" | "not-detected" | "non-reactive" => Some(false),
        "positive" | "weakly-positive" | "strongly-positive" | "detected" | "reactive" | "plus-minus" => Some(true),
        _ => None,
    };
    matches!((side(one), side(other)), (Some(one), Some(other)) if one != other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(text: &str) -> String {
        let mut scratch = Scratch::default();
        let Some(p) = parse(text, Comma::Auto, &mut scratch) else {
            return "unparsed".to_owned();
        };
        let number = |n: Number| {
            let text = format!("{}", n.scaled(6).unwrap().0 as f64 / 1e6);
            text
        };
        let mut parts = vec![p.kind.name().to_owned()];
        parts.extend(p.operator.map(str::to_owned));
        parts.extend(p.number.map(number));
        parts.extend(p.range.map(|(low, high)| format!("{}..{}", number(low), number(high))));
        parts.extend(p.qualitative.map(str::to_owned));
        parts.extend(p.grade.map(|grade| format!("grade {grade}")));
        parts.extend((!p.unit.is_empty()).then(|| format!("unit {}", p.unit)));
        parts.extend(p.flag.map(|flag| format!("flag {flag}")));
        parts.join(" ")
    }

    #[test]
    fn the_grammar() {
        for (text, want) in [
            ("5.6", "number 5.6"),
            ("  5.6 ", "number 5.6"),
            ("<0.1", "number < 0.1"),
            (">=200", "number >= 200"),
            ("≥200", "number >= 200"),
            ("1:160", "titre 160"),
            ("1/160", "titre 160"),
            ("<1:20", "titre < 20"),
            ("3-5/HP", "range 3..5 unit /HP"),
            ("0~2个/HP", "range 0..2 unit 个/HP"),
            ("阳性(+)", "qualitative positive grade 1"),
            ("阳性（＋＋）", "qualitative positive grade 2"),
            ("弱阳性", "qualitative weakly-positive"),
            ("弱阳性(±)", "qualitative weakly-positive"),
            ("阴性(-)", "qualitative negative"),
            ("++", "qualitative positive grade 2"),
            ("2+", "qualitative positive grade 2"),
            ("(+)", "qualitative positive grade 1"),
            ("±", "qualitative plus-minus"),
            ("+/-", "qualitative plus-minus"),
            ("未检出", "qualitative not-detected"),
            ("NEG", "qualitative negative"),
            ("Not Detected", "qualitative not-detected"),
            ("５．６", "number 5.6"),
            ("3,5", "number 3.5"),
            ("1.2×10^9", "number 1200000000"),
            ("1.2×10⁹/L", "number 1200000000 unit /L"),
            ("10E3", "number 10000"),
            ("5.6↑", "number 5.6 flag H"),
            ("5.6 ↓↓", "number 5.6 flag LL"),
            ("↑5.6", "number 5.6 flag H"),
            ("5.6 H", "number 5.6 flag H"),
            ("5.6L", "number 5.6 flag L"),
            ("*5.6", "number 5.6 flag A"),
            ("5.6*", "number 5.6 flag A"),
            ("5.6(H)", "number 5.6 flag H"),
            ("阳性(+)↑", "qualitative positive grade 1 flag H"),
            ("5.6 mmol/L", "number 5.6 unit mmol/L"),
            ("<0.1ng/ml", "number < 0.1 unit ng/ml"),
            ("72次/分", "number 72 unit 次/分"),
            ("36.5℃", "number 36.5 unit ℃"),
            ("140 mm Hg", "number 140 unit mm Hg"),
            ("-2.5", "number -2.5"),
            ("0.05(阴性)", "number 0.05 negative"),
            ("0.05 阴性", "number 0.05 negative"),
            ("阳性(1:160)", "qualitative 160 positive"),
            ("阳性 5.6", "qualitative 5.6 positive"),
            ("1+(25)", "qualitative 25 positive grade 1"),
            ("++(阳性)", "qualitative positive grade 2"),
            ("LESS THAN 10", "number < 10"),
            ("GREATER THAN 20 NG/ML", "number > 20 unit NG/ML"),
            ("大于200", "number > 200"),
            ("200以上", "number >= 200"),
            ("溶血", "no-result haemolysed"),
            ("淡黄色", "qualitative pale-yellow"),
            ("1.005-1.030", "range 1.005..1.03"),
            ("-2~3", "range -2..3"),
            ("-3~-1", "range -3..-1"),
            ("-3--1", "range -3..-1"),
            ("-3-3", "range -3..3"),
            ("-3-+3", "range -3..3"),
            ("-3～+3", "range -3..3"),
            ("3--5", "range 3..5"),
            ("3.5——5.5", "range 3.5..5.5"),
            ("3.5 to 5.5 mmol/L", "range 3.5..5.5 unit mmol/L"),
            ("[3.5-5.5]", "range 3.5..5.5"),
            ("（3.5～5.5）", "range 3.5..5.5"),
            ("(3-5)/HP", "range 3..5 unit /HP"),
            ("5~10", "range 5..10"),
            ("4-10×10^9/L", "range 4000000000..10000000000 unit /L"),
            ("(4-10)×10⁹/L", "range 4000000000..10000000000 unit /L"),
            ("1.5×10^9-4.0×10^9", "range 1500000000..4000000000"),
            ("10^4-10^5", "range 10000..100000"),
            ("~5", "number ~ 5"),
            ("～5", "number ~ 5"),
            ("约5", "number ~ 5"),
            ("大约 5 mmol/L", "number ~ 5 unit mmol/L"),
            ("approx. 5", "number ~ 5"),
            ("5.60E+02", "number 560"),
            ("5.6 mmol/L H", "number 5.6 unit mmol/L flag H"),
            ("5.6 mmol/L ↑", "number 5.6 unit mmol/L flag H"),
            ("5.6偏高", "number 5.6 flag H"),
            ("5.6 低", "number 5.6 flag L"),
            ("5.6 N", "number 5.6 flag N"),
            ("5.6 A", "number 5.6 flag A"),
            ("5.6 mmol/L N", "number 5.6 unit mmol/L flag N"),
            ("5.6(A)", "number 5.6 flag A"),
            ("5.2 critical", "number 5.2 flag AA"),
            ("5.2 mmol/l", "number 5.2 unit mmol/l"),
            ("未檢出", "qualitative not-detected"),
            ("淡黃色", "qualitative pale-yellow"),
            ("陰性", "qualitative negative"),
            ("無", "qualitative not-detected"),
            ("72次/分鐘", "number 72 unit 次/分钟"),
            ("None seen", "qualitative not-detected"),
            ("5.6 mg/dl (Low)", "number 5.6 unit mg/dl flag L"),
            ("5.6 10^9/L", "number 5.6 unit 10^9/L"),
            ("0.5 mg/L FEU", "number 0.5 unit mg/L FEU"),
            ("90ml/min/1.73㎡", "number 90 unit ml/min/1.73㎡"),
            ("1:80(+)", "titre 80 positive grade 1"),
            ("1:80阳性", "titre 80 positive"),
            ("1-5 RARE", "range 1..5 rare"),
            ("0-3/HP", "range 0..3 unit /HP"),
            ("22 kg/m2", "number 22 unit kg/m2"),
            ("1.8m2", "number 1.8 unit m2"),
            ("正常(-)", "qualitative normal"),
        ] {
            assert_eq!(said(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_value_stays_unparsed() {
        let mut wrong = Vec::new();
        for text in [
            "*1/*17",
            "120/80",
            "2020-01-02",
            "18/",
            "/20",
            "1,234",
            "1.2×109",
            "5.6.7",
            "—",
            "--",
            "见上",
            "x",
            "5-3",
            "<",
            "*",
            "↑",
            "5 see note",
            "12:30",
            "1:1",
            "阳性(x)",
            "溶血(+)",
            "<3-5",
            "13800001111 张三",
            "()",
            "(",
            "1e",
            "5.6 溶血",
            "1e400",
            "-1e400",
            "1e-400",
            "1.2×10^400",
            "5e+",
            "-3---1",
            "-1--3",
            "-3--5-1",
            "—5",
            "–5",
            "(5.6)",
            "[5]",
            "(3-5",
            "~5~10",
            "10 9/L",
            "1.2×10 9/L",
            "5、6",
            "10-1×10^5",
            "(4-10)×109/L",
            "5.6 109/L",
            "1:80 mg",
            "2C19",
            "0x1F",
            "2x",
            "阴性(+)",
            "阳性(-)",
            "阳性 阴性",
            "黄色 清亮",
            "inf",
            "NaN",
            "1/0",
            "5.6×10^9 10^9/L",
            "5.6E9 K/uL",
            "None",
            "none",
            "NONE",
            "5.2 verified",
        ] {
            let parsed = said(text);
            wrong.extend((parsed != "unparsed").then(|| format!("{text}: {parsed}")));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[0-9.,<>=+\\-*/:()~ HLxeE^±×↑↓阳性阴弱未检出溶血mol\u{ff10}-\u{ff19}⁹]{0,20}") {
            let _ = said(&text);
        }

        #[test]
        fn numbers_come_back(mantissa in -10i64.pow(12)..10i64.pow(12), places in 0usize..6, operator in "(|<|>|<=|>=)") {
            let digits = format!("{:0width$}", mantissa.abs(), width = places + 1);
            let (whole, part) = digits.split_at(digits.len() - places);
            let sign = if mantissa < 0 { "-" } else { "" };
            let point = if places > 0 { "." } else { "" };
            let text = format!("{operator}{sign}{whole}{point}{part}");
            let mut scratch = Scratch::default();
            let parsed = parse(&text, Comma::Auto, &mut scratch);
            let want = i128::from(mantissa) * 10i128.pow(6 - u32::try_from(places).unwrap());
            prop_assert_eq!(parsed.and_then(|p| p.number?.scaled(6)), Some((want, true)), "{}", text);
            prop_assert_eq!(parsed.and_then(|p| p.operator).unwrap_or(""), operator);
        }
    }
}
