//! What the columns beside a result tell about it: the unit, whether a power of ten is the number's or the unit's,
//! whether `+3` is a number, and whether `-` is a result.

use crate::{
    core::{FIELDS, Kind, Parsed, Scratch},
    transform::Scaled,
    unit::tens,
};
use clinmill_sdk::{
    arrow::array::{Array, AsArray, RecordBatch, StringArray},
    says_nothing,
};

/// The columns beside the results, at one row.
pub struct Neighbours<'a> {
    units: Option<&'a StringArray>,
    ranges: Option<&'a StringArray>,
    row: usize,
}

impl<'a> Neighbours<'a> {
    /// Of a batch, by the indexes of its columns of text.
    pub fn of(batch: &'a RecordBatch, unit: Option<usize>, range: Option<usize>) -> Self {
        let text = |index: usize| batch.column(index).as_string::<i32>();
        Self {
            units: unit.map(text),
            ranges: range.map(text),
            row: 0,
        }
    }

    /// Goes to a row.
    #[inline]
    pub fn go(&mut self, row: usize) {
        self.row = row;
    }

    fn at(&self, column: Option<&'a StringArray>) -> Option<&'a str> {
        column
            .filter(|column| column.is_valid(self.row))
            .map(|column| column.value(self.row))
    }

    /// The power of ten that the unit of the row begins with, 0 without a unit; nothing where no unit is looked at.
    pub fn tens(&self, scratch: &mut Scratch) -> Option<i32> {
        let units = self.units?;
        Some(
            self.at(Some(units))
                .and_then(|unit| tens(scratch.fold(unit)))
                .unwrap_or(0),
        )
    }

    /// The reference range of the row.
    pub fn range(&self) -> Option<&'a str> {
        self.at(self.ranges)
    }
}

/// A text that does not say by itself what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beside {
    /// A power of ten behind the numbers and no unit; nothing where the ends of a range have different ones.
    Power {
        /// The power.
        power: Option<i32>,
        /// The number without it.
        number: Scaled,
        /// The ends of the range without it.
        range: (Scaled, Scaled),
    },
    /// `+3`: three plus signs, or the number.
    Plus(Scaled),
    /// `-` and `无`: negative, or how a program writes a missing value.
    Bare,
    /// `1:20`, also behind a word: a dilution, which is no amount of any unit.
    Titre,
    /// `5.6 l`: a unit, or a flag in lower case.
    Letter(&'static Letter),
    /// `1.5L`: low, or litres.
    Litre,
    /// `12O`: a unit, or digits that were written as letters.
    Doubtful(Box<str>),
}

/// A lower-case letter behind a number: litre or low, hour or high.
#[derive(Debug, PartialEq, Eq)]
pub struct Letter {
    letter: &'static str,
    flag: &'static str,
    /// How the unit that it may be is written in the column of units.
    units: &'static [&'static str],
}

/// Units of volume beside which an L may be litres.
const VOLUMES: [&str; 8] = ["ml", "ul", "μl", "dl", "cc", "毫升", "ml/24h", "ml/d"];

const LETTERS: [Letter; 4] = [
    Letter {
        letter: "h",
        flag: "H",
        units: &["h", "hr", "hrs", "hour", "hours", "小时", "时"],
    },
    Letter {
        letter: "l",
        flag: "L",
        units: &["l", "liter", "litre", "liters", "litres", "升"],
    },
    Letter {
        letter: "n",
        flag: "N",
        units: &["n"],
    },
    Letter {
        letter: "a",
        flag: "A",
        units: &["a", "y", "yr", "yrs", "year", "years", "岁", "年"],
    },
];

/// What it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// What is written.
    Written,
    /// The power is that of the unit: these are the numbers.
    Once(Scaled, (Scaled, Scaled)),
    /// What is written, with a power of ten; no unit was looked at.
    Unseen,
    /// A number with its sign.
    Signed(Scaled),
    /// A row of plus signs.
    Grade,
    /// Number and unit have different powers, and nobody can tell which holds.
    Neither,
    /// `1.5L` beside millilitres, and nobody can tell whether it is low or litres.
    Volume,
    /// A titre beside a unit of something else: its number is none of that unit.
    Dilution,
    /// `-` or `无` beside the unit of a quantity, of which nothing is negative: no result.
    Missing,
    /// What stands right behind the digits is neither a unit that is known nor that of the row.
    Unknown,
    /// The letter behind the number is this flag: the column has a unit of something else.
    Flag(&'static str),
}

impl Meant {
    /// What it is counted as.
    pub fn count(self) -> Option<&'static str> {
        match self {
            Self::Written => None,
            Self::Once(..) => Some("power of the unit"),
            Self::Unseen => Some("power without a column of units"),
            Self::Signed(_) => Some("plus sign as number"),
            Self::Grade => Some("plus sign as grade"),
            Self::Neither => Some("power unlike the unit"),
            Self::Volume => Some("low or litres"),
            Self::Dilution => Some("titre beside a unit"),
            Self::Missing => Some("missing beside a unit"),
            Self::Unknown => Some("letter or digit"),
            Self::Flag(_) => Some("letter as flag"),
        }
    }
}

impl Beside {
    /// Of a text; nothing where it says all by itself. `scale` is how many digits after the point are kept.
    pub fn of(text: &str, parsed: &Parsed<'_>, scale: u8) -> Option<Self> {
        if parsed.doubtful {
            return Some(Self::Doubtful(parsed.unit.into()));
        }
        if parsed.flag == Some("L")
            && parsed.unit.is_empty()
            && parsed.scaled() == Some(0)
            && text.trim_end().ends_with('L')
        {
            return Some(Self::Litre);
        }
        if let Some(number) = parsed.signed {
            return Some(Self::Plus(number.kept(scale)));
        }
        if parsed.bare {
            return Some(Self::Bare);
        }
        if parsed.diluted {
            return Some(Self::Titre);
        }
        let power = parsed.power();
        if power == Some(0) {
            let bare = matches!(parsed.kind, Kind::Number | Kind::Range)
                && parsed.scaled() == Some(0)
                && parsed.flag.is_none()
                && parsed.qualitative.is_none();
            let letter = LETTERS.iter().find(|letter| bare && letter.letter == parsed.unit);
            return letter.map(Self::Letter);
        }
        let range = parsed.range;
        Some(Self::Power {
            power,
            number: parsed.number.and_then(|number| number.without_power().kept(scale)),
            range: (
                range.and_then(|(low, _)| low.without_power().kept(scale)),
                range.and_then(|(_, high)| high.without_power().kept(scale)),
            ),
        })
    }

    /// What it means at a row; `qualitative` where the reference range is a concept.
    pub fn meant(&self, near: &Neighbours<'_>, qualitative: bool, scratch: &mut Scratch) -> Meant {
        let written = near.at(near.units).filter(|unit| !says_nothing(unit));
        let unit = written.and_then(|unit| tens(scratch.fold(unit)));
        match (self, unit) {
            (Self::Doubtful(own), _) => {
                let alike = |unit: &str| {
                    let litre = LETTERS.iter().find(|letter| letter.letter == &**own);
                    unit.eq_ignore_ascii_case(own)
                        || litre.is_some_and(|letter| letter.units.iter().any(|of| of.eq_ignore_ascii_case(unit)))
                };
                match written.is_some_and(|unit| alike(scratch.fold(unit).trim())) {
                    true => Meant::Written,
                    false => Meant::Unknown,
                }
            }
            (Self::Titre, _) => match written {
                Some(unit) if !is_titre(scratch.fold(unit)) => Meant::Dilution,
                _ => Meant::Written,
            },
            (Self::Bare, Some(_)) if !qualitative => match written {
                Some(unit) if !is_seen(scratch.fold(unit)) => Meant::Missing,
                _ => Meant::Written,
            },
            (Self::Bare, _) => Meant::Written,
            (Self::Litre, _) => match written.map(|unit| scratch.fold(unit).to_ascii_lowercase()) {
                Some(unit) if VOLUMES.contains(&unit.trim()) => Meant::Volume,
                _ => Meant::Written,
            },
            (Self::Letter(letter), _) => match written.map(|unit| scratch.fold(unit).to_owned()) {
                Some(unit) if !letter.units.iter().any(|own| own.eq_ignore_ascii_case(unit.trim())) => {
                    Meant::Flag(letter.flag)
                }
                _ => Meant::Written,
            },
            (Self::Power { .. }, _) if near.units.is_none() => Meant::Unseen,
            (Self::Power { .. }, None | Some(0)) => Meant::Written,
            (Self::Power { power, number, range }, Some(of)) if *power == Some(of) => Meant::Once(*number, *range),
            (Self::Power { .. }, Some(_)) => Meant::Neither,
            (Self::Plus(number), Some(_)) if !qualitative => Meant::Signed(*number),
            (Self::Plus(_), _) => Meant::Grade,
        }
    }
}

/// Whether a folded unit is that of what is there or not: a field of view, a titre.
fn is_seen(unit: &str) -> bool {
    FIELDS.iter().any(|field| unit.trim().ends_with(field)) || is_titre(unit)
}

/// Whether a folded unit says that the number is a titre.
fn is_titre(unit: &str) -> bool {
    let unit = unit.trim().trim_matches(|c| matches!(c, '{' | '}' | '(' | ')'));
    ["titer", "titre", "滴度", "1:", "1:x"]
        .iter()
        .any(|word| unit.eq_ignore_ascii_case(word))
}
