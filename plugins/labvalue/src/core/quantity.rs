//! Numbers, ranges and dilutions, with the unit or the word behind them.

use super::{
    Kind, Parsed,
    concept::{signs, word},
};
use crate::{
    Comma,
    glued::{is_digit, is_known},
    number::{Number, power_of_ten, scan},
    operator::operator,
    unit::{is_unit, tens},
};

/// What begins with a number.
pub fn numeric<'t>(text: &'t str, comma: Comma, lower: &mut String) -> Option<Parsed<'t>> {
    let (operator, text) = operator(text);
    let (first, length) = scan(text, comma)?;
    let behind_it = text.get(length..)?;
    let rest = behind_it.trim_start();
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
            // +1:320 is positive at 1:320.
            let positive = text.starts_with('+');
            let diluted = titre.then_some(Parsed {
                operator,
                number: Some(second),
                qualitative: positive.then_some("positive"),
                grade: positive.then_some(1),
                ..Parsed::of(Kind::Titre)
            })?;
            let note = rest.get(1..)?.trim_start().get(length..)?.trim_start();
            // 1:80-1:160
            if let (None, false, Some(after)) = (operator, positive, range_sign(note)) {
                let last = numeric(after.trim_start(), comma, lower)?;
                let plain = last.kind == Kind::Titre && last.operator.is_none() && last.qualitative.is_none();
                let high = last.number.filter(|high| plain && second.at_most(*high))?;
                return Some(Parsed {
                    number: None,
                    range: Some((second, high)),
                    ..diluted
                });
            }
            let signed = signs(note).filter(|said| said.signed.is_none() && !positive);
            if let Some(said) = signed {
                return Some(Parsed {
                    qualitative: said.qualitative,
                    grade: said.grade,
                    ..diluted
                });
            }
            behind(diluted, note, lower)
                .filter(|found| found.unit.is_empty() && found.operator == operator)
                .and_then(|found| match (positive, found.qualitative) {
                    (false, _) => Some(found),
                    (true, None | Some("positive")) => Some(Parsed {
                        qualitative: Some("positive"),
                        grade: found.grade.or(Some(1)),
                        ..found
                    }),
                    // +1:320 阴性
                    (true, Some(_)) => None,
                })
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
            let of = |text: &str| text.contains(['x', 'X', '*', 'e', 'E', '^', '万', '亿']);
            let (before, written) = (text.get(..text.len() - rest.len())?, tail.get(..length)?);
            let myriads = written.ends_with(['万', '亿']).then(|| second.power());
            let first = match power_of_ten(written).or(myriads) {
                Some(power) if !of(before) => first.times_ten(power),
                _ => first,
            };
            let unit = tail.get(length..)?;
            // -3--3 is from -3 to 3 rather than one number; nobody writes what is meant.
            if signed && rest.starts_with('-') && second.at_most(first) {
                return None;
            }
            let range = first.at_most(second).then_some(Parsed {
                range: Some((first, second)),
                ..Parsed::of(Kind::Range)
            })?;
            behind(range, unit, lower).filter(|found| found.operator.is_none())
        }
        _ => match both_ends(number, rest, comma) {
            Ok(None) => match with_range(number, behind_it, comma, lower) {
                Some(found) => Some(found),
                None => behind(number, behind_it, lower),
            },
            Ok(range) => range,
            Err(Unlike) => None,
        },
    }
}

/// The two ends of a range have different units.
struct Unlike;

/// `g/L~5.5g/L` behind a number: the range, where both ends have the same unit; nothing where there is no range.
fn both_ends<'t>(number: Parsed<'t>, rest: &'t str, comma: Comma) -> Result<Option<Parsed<'t>>, Unlike> {
    let Some(first) = number.number.filter(|_| number.operator.is_none()) else {
        return Ok(None);
    };
    let signs = rest.char_indices().filter(|(_, c)| matches!(c, '-' | '~'));
    let mut unlike = false;
    for (at, sign) in signs {
        let (Some(before), Some(after)) = (rest.get(..at), rest.get(at + 1..)) else {
            continue;
        };
        let (unit, after) = (before.trim_end(), after.trim_start_matches(['-', '~', ' ']));
        if !is_unit(unit) {
            continue;
        }
        let Some((second, length)) = scan(after, comma) else {
            continue;
        };
        let last = after.get(length..).unwrap_or_default().trim_start();
        if last == unit && first.at_most(second) {
            return Ok(Some(Parsed {
                range: Some((first, second)),
                unit,
                doubtful: is_doubtful(unit, true),
                ..Parsed::of(Kind::Range)
            }));
        }
        unlike |= sign == '~';
    }
    match unlike {
        true => Err(Unlike),
        false => Ok(None),
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
pub fn bracketed<'t>(text: &'t str, comma: Comma, lower: &mut String) -> Option<Parsed<'t>> {
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

/// A number with the range it is compared with behind it, in brackets: `5.6 (3.9-6.1)`, `5.6 mmol/L [3.9-6.1]`. It is the
/// number; the unit may stand behind either of them, or both the same. Powers of ten in it are not sorted out.
fn with_range<'t>(number: Parsed<'t>, rest: &'t str, comma: Comma, lower: &mut String) -> Option<Parsed<'t>> {
    let (head, inner) = match rest.as_bytes().last()? {
        b')' => rest.strip_suffix(')')?.rsplit_once('(')?,
        b']' => rest.strip_suffix(']')?.rsplit_once('[')?,
        _ => return None,
    };
    let begins = inner
        .trim_start()
        .starts_with(|c: char| c.is_ascii_digit() || "-.<>".contains(c));
    let range = numeric(inner.trim(), comma, lower).filter(|_| begins)?;
    let bare = range.qualitative.is_none() && !range.diluted;
    let ends = range.kind == Kind::Range || matches!(range.operator, Some("<" | "<=" | ">" | ">="));
    let (head, flag) = flagged(head);
    let found = behind(number, head, lower)?;
    let unit = match (found.unit, range.unit) {
        (own, "") => own,
        ("", theirs) => theirs,
        (own, theirs) if own == theirs => own,
        _ => return None,
    };
    let powers = found.leaves_a_power() || range.leaves_a_power();
    (bare && ends && !powers && found.qualitative.is_none()).then_some(Parsed {
        unit,
        flag,
        doubtful: found.doubtful || range.doubtful,
        ..found
    })
}

/// The flag between a number and its range, behind the unit: `5.6 mmol/L ↑ (3.9-6.1)`.
fn flagged(head: &str) -> (&str, Option<&'static str>) {
    let signs = [
        ("↑↑", "HH"),
        ("↓↓", "LL"),
        ("↑", "H"),
        ("↓", "L"),
        (" H", "H"),
        (" L", "L"),
        (" N", "N"),
        ("*", "A"),
    ];
    let found = signs.iter().find_map(|(sign, flag)| {
        let less = head.trim_end().strip_suffix(sign)?;
        Some((less.trim_end(), Some(*flag)))
    });
    found.unwrap_or((head.trim_end(), None))
}

/// Whether a unit may be digits that were written as letters. `glued` where nothing stands between the digits and it.
fn is_doubtful(unit: &str, glued: bool) -> bool {
    match glued {
        true => unit == "l" || !(unit.is_empty() || is_known(unit)),
        false => is_digit(unit),
    }
}

/// What may stand behind a number: a unit, a word, or both.
fn behind<'t>(number: Parsed<'t>, rest: &'t str, lower: &mut String) -> Option<Parsed<'t>> {
    let (glued, rest) = (!rest.starts_with(' '), rest.trim_start());
    for (words, operator) in [("以上", ">="), ("以下", "<=")] {
        if let (None, Some(unit)) = (number.operator, rest.strip_suffix(words))
            && (unit.is_empty() || is_unit(unit))
        {
            return Some(Parsed {
                operator: Some(operator),
                unit,
                doubtful: is_doubtful(unit, glued),
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
    let last = number.number.or(number.range.map(|(_, high)| high));
    if last.is_some_and(|last| last.power() != 0) && tens(unit).is_some_and(|power| power != 0) {
        return None;
    }
    Some(Parsed {
        qualitative: said.and_then(|said| said.qualitative),
        grade: said.and_then(|said| said.grade),
        unit,
        doubtful: is_doubtful(unit, glued),
        ..number
    })
}
