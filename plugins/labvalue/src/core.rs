//! The grammar of values.

mod concept;
mod quantity;

use crate::{
    Comma,
    flag::unflagged,
    fold::fold,
    number::{Number, plain},
};
use concept::{mixed, signs, word};
use quantity::{bracketed, numeric};

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
    /// The number is that of a dilution.
    pub diluted: bool,
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
            diluted: kind == Kind::Titre,
            range: None,
            qualitative: None,
            grade: None,
            signed: None,
            unit: "",
            flag: None,
        }
    }

    /// The power of ten that is written behind the numbers; nothing where the ends of a range have different ones.
    pub fn scaled(&self) -> Option<i32> {
        match self.range {
            Some((low, high)) => (low.power() == high.power()).then_some(high.power()),
            None => Some(self.number.map_or(0, Number::power)),
        }
    }

    /// The power of ten of a count, which is that of its unit: 9 of `5.6x10^9/L`, which are 5.6 of `10^9/L`.
    pub fn of_the_unit(&self) -> Option<i32> {
        let power = self
            .scaled()
            .filter(|power| *power != 0 && self.unit.starts_with('/'))?;
        self.leaves_a_power().then_some(power)
    }

    /// Whether a power of ten stands behind a number as `x10^9` does, which a range beside it may share or not. E notation is
    /// how a number is printed.
    pub fn leaves_a_power(&self) -> bool {
        let range = self.range.map(|(low, high)| [low, high]);
        let mut numbers = self.number.into_iter().chain(range.into_iter().flatten());
        numbers.any(|number| number.power() != 0 && !number.is_printed())
    }

    /// The power of ten that is written behind the numbers, where the text has no unit of its own; 0 without one, nothing
    /// where the ends of a range have different ones.
    pub fn power(&self) -> Option<i32> {
        match self.unit {
            "" => self.scaled(),
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
            ("3.5%-5.5%", "range 3.5..5.5 unit %"),
            ("3.5g/L～5.5g/L", "range 3.5..5.5 unit g/L"),
            ("3.5 g/L - 5.5 g/L", "range 3.5..5.5 unit g/L"),
            ("-3mmol/L～3mmol/L", "range -3..3 unit mmol/L"),
            ("3-5万", "range 30000..50000"),
            ("3万-5万", "range 30000..50000"),
            ("3-5万/uL", "range 3..5 unit 万/uL"),
            ("120万", "number 1200000"),
            ("+1:320", "titre 320 positive grade 1"),
            ("+1:320(+)", "titre 320 positive grade 1"),
            ("1:320 +", "titre 320 positive grade 1"),
            ("1:320(-)", "titre 320 negative"),
            ("阳性(+)1:320", "qualitative 320 positive grade 1"),
            ("阴性(-) <1:10", "qualitative < 10 negative"),
            ("阴性（—）", "qualitative negative"),
            ("偶见/HP", "qualitative rare unit /HP"),
            ("少量 /LP", "qualitative few unit /LP"),
            ("5.6(h)", "number 5.6 flag H"),
            ("5.6(高)", "number 5.6 flag H"),
            ("TND", "qualitative not-detected"),
            ("(-)阴性", "qualitative negative"),
            ("(++)阳性", "qualitative positive grade 2"),
            ("(-)<1.0", "qualitative < 1 negative"),
            ("++/HP", "qualitative positive grade 2 unit /HP"),
            ("样本溶血", "no-result haemolysed"),
            ("4.08 lg IU/mL", "number 4.08 unit lg IU/mL"),
            ("4.08 Log10 copies/mL", "number 4.08 unit Log10 copies/mL"),
            ("120mmH2O", "number 120 unit mmH2O"),
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
            ("不小于89 low", "number >= 89 flag L"),
            ("大于200 HIGH", "number > 200 flag H"),
            ("不小于89 mg/L L", "number >= 89 unit mg/L flag L"),
            ("about 5 low", "number ~ 5 flag L"),
            ("x 5 low", "unparsed"),
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
            "5-6×10^9 10^9/L",
            "None",
            "none",
            "NONE",
            "5.2 verified",
            "3.5%-5.5",
            "3.5g/dL～55g/L",
            "3.5g/dL-55g/L",
            "5.5%-3.5%",
            "3.5g/L-5",
            "+1:320 阴性",
            "-1:320",
            "-3.0--3.0",
            "(+)阴性",
            "5.6(H)7",
            "阳性/HP 阴性",
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
