//! The grammar of values.

use crate::{
    Comma,
    fold::fold,
    number::{Number, plain, scan},
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
    /// The unit that stands in the text, folded; empty without one.
    pub unit: &'t str,
    /// `H`, `L`, `HH`, `LL` or `A` (marked by an asterisk).
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
            unit: "",
            flag: None,
        }
    }
}

/// Buffers that are used again for each text.
#[derive(Default)]
pub struct Scratch {
    folded: String,
    lower: String,
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
        .or_else(|| mixed(text, comma, lower))
}

/// Takes flags off both ends: arrows, asterisks, and H and L behind a digit or in parentheses.
fn unflagged(text: &str) -> (&str, Option<&'static str>) {
    // What could be a flag begins or ends so; the arrows are E2 86 91 and E2 86 93.
    let ends = matches!(text.as_bytes().last(), Some(b'*' | b'H' | b'L' | b')' | 0x91 | 0x93));
    if !ends && !matches!(text.as_bytes().first(), Some(b'*' | b'H' | b'L' | b'(' | 0xe2)) {
        return (text, None);
    }
    let mut flag = None;
    let mut starred = false;
    let mut rest = text.trim();
    loop {
        let before = rest;
        for (sign, meaning) in [
            ("↑↑", "HH"),
            ("↓↓", "LL"),
            ("↑", "H"),
            ("↓", "L"),
            ("(HH)", "HH"),
            ("(LL)", "LL"),
            ("(H)", "H"),
            ("(L)", "L"),
            ("(↑)", "H"),
            ("(↓)", "L"),
        ] {
            if let Some(less) = rest.strip_suffix(sign).or_else(|| rest.strip_prefix(sign)) {
                flag = flag.or(Some(meaning));
                rest = less.trim();
            }
        }
        for (letters, meaning) in [("HH", "HH"), ("LL", "LL"), ("H", "H"), ("L", "L")] {
            let behind = rest
                .strip_suffix(letters)
                .map(str::trim_end)
                .filter(|less| less.ends_with(|c: char| c.is_ascii_digit()));
            let ahead = rest
                .strip_prefix(letters)
                .and_then(|less| less.strip_prefix(' '))
                .map(str::trim_start);
            if let Some(less) = behind.or(ahead.filter(|less| less.starts_with(|c: char| c.is_ascii_digit()))) {
                flag = flag.or(Some(meaning));
                rest = less;
                break;
            }
        }
        if let Some(less) = rest.strip_prefix('*').or_else(|| rest.strip_suffix('*')) {
            starred = true;
            rest = less.trim();
        }
        if rest == before {
            return (rest, flag.or(starred.then_some("A")));
        }
    }
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
    Some(Parsed {
        qualitative: Some(qualitative),
        grade: grade.and_then(|grade| i8::try_from(grade).ok()),
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

/// Operators in signs and words.
const OPERATORS: [(&str, &str); 24] = [
    ("<=", "<="),
    ("=<", "<="),
    (">=", ">="),
    ("=>", ">="),
    ("<", "<"),
    (">", ">"),
    ("≈", "~"),
    ("约", "~"),
    ("小于等于", "<="),
    ("小于或等于", "<="),
    ("不超过", "<="),
    ("不大于", "<="),
    ("大于等于", ">="),
    ("大于或等于", ">="),
    ("不低于", ">="),
    ("不小于", ">="),
    ("小于", "<"),
    ("低于", "<"),
    ("少于", "<"),
    ("大于", ">"),
    ("高于", ">"),
    ("超过", ">"),
    ("less than ", "<"),
    ("greater than ", ">"),
];

fn operator(text: &str) -> (Option<&'static str>, &str) {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return (None, text);
    }
    for (sign, meaning) in OPERATORS {
        let begins = text
            .get(..sign.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(sign));
        if begins {
            return (Some(meaning), text.get(sign.len()..).unwrap_or_default().trim_start());
        }
    }
    (None, text.strip_prefix('=').unwrap_or(text).trim_start())
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
            let ends = rest.get(1..)?.trim_start().len() == length;
            let titre = ends && first == Number::integer(1) && second.whole().is_some_and(|to| to > 1);
            titre.then_some(Parsed {
                operator,
                number: Some(second),
                ..Parsed::of(Kind::Titre)
            })
        }
        [b'-' | b'~', ..] if operator.is_none() => {
            let tail = rest.trim_start_matches(['-', '~']).trim_start();
            // A sign of the second number is one only behind a tilde: 3--5 is 3 to 5.
            let signed = rest.starts_with('~') && rest.get(1..)?.trim_start().starts_with('-');
            let tail = if signed { rest.get(1..)?.trim_start() } else { tail };
            let (second, length) = scan(tail, comma)?;
            let unit = tail.get(length..)?.trim_start();
            let whole = (unit.is_empty() || is_unit(unit)) && first.at_most(second);
            whole.then_some(Parsed {
                range: Some((first, second)),
                unit,
                ..Parsed::of(Kind::Range)
            })
        }
        _ => behind(number, rest, lower),
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
            let words_first = word(head, lower).is_some() || word(tail, lower).is_none();
            Some(Parsed {
                qualitative: if words_first {
                    said.qualitative
                } else {
                    more.qualitative
                },
                grade: said.grade.or(more.grade),
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

/// Han characters that units are written with.
const HAN: &str = "次分钟个毫微纳皮飞克升摩尔秒小时天日年岁单位国际米厘千卡焦帕汞柱水度万亿百视野高低倍每人拷贝";

/// Whether a text could be a unit. It is not looked up: that is for the step `units`.
fn is_unit(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || "%/μ°℃℉‰#".contains(c) || HAN.contains(c));
    // Behind a solidus comes a name, not a number: 1/*17 is a gene's alleles.
    let named = !text.starts_with('/')
        || text
            .get(1..)
            .unwrap_or_default()
            .starts_with(|c: char| c.is_alphabetic() || "[({".contains(c));
    let fits = |c: char| c.is_ascii_alphanumeric() || "%/^*.μ°℃℉‰()[]{}_#'-".contains(c) || HAN.contains(c);
    let spaced = ["mm Hg", "cm H2O", "kg H2O"].iter().any(|end| text.ends_with(end));
    let short = text.contains(['/', '(', '[']) || text.chars().count() <= 10;
    text.len() <= 40 && begins && named && short && text.chars().all(|c| fits(c) || (spaced && c == ' '))
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
