//! The grammar of values.

mod concept;
mod quantity;

use crate::{
    Comma,
    flag::{uncommented, unflagged},
    fold::fold,
    number::{Number, plain},
};
pub use concept::FIELDS;
use concept::{mixed, signed_field, signs, word};
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
    /// A word or signs with a number behind them: `阳性(125.3)`.
    Mixed,
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
            Self::Mixed => "mixed",
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
    /// `-` or `无` and nothing else: negative, or a value that is missing.
    pub bare: bool,
    /// The unit that stands in the text, folded; empty without one.
    pub unit: &'t str,
    /// Whether that unit may be digits that were written as letters: `12O`, `1S.2`.
    pub doubtful: bool,
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
            bare: false,
            unit: "",
            doubtful: false,
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
    let (mut rest, mut flag) = unflagged(folded);
    if let Some(bare) = uncommented(rest) {
        let within;
        (rest, within) = unflagged(bare);
        flag = flag.or(within);
    }
    let found = folded_value(rest, comma, lower)?;
    Some(Parsed {
        flag: flag.or(found.flag),
        bare: matches!(rest, "-" | "无"),
        ..found
    })
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
        .or_else(|| signed_field(text))
        .or_else(|| numeric(text, comma, lower))
        .or_else(|| bracketed(text, comma, lower))
        .or_else(|| mixed(text, comma, lower))
}

#[cfg(test)]
mod tests;
