//! Words and signs, alone and with a number behind them.

use super::{Kind, Parsed, quantity::numeric};
use crate::{
    Comma,
    number::Number,
    words::{self, Word},
};

/// `+`, `++`, `2+`, `+2`, `-`, `+-`, with or without parentheses.
pub fn signs(text: &str) -> Option<Parsed<'static>> {
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

pub fn word(text: &str, lower: &mut String) -> Option<Parsed<'static>> {
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

/// Fields of view, of which words say how much is in one.
pub const FIELDS: [&str; 8] = ["/HPF", "/HP", "/LPF", "/LP", "/hpf", "/hp", "/lpf", "/lp"];

/// `+3/HP`: three plus signs, or three in a field. It is positive either way, and nobody can tell of what the 3 is.
pub fn signed_field(text: &str) -> Option<Parsed<'_>> {
    let field = FIELDS.iter().find(|field| text.ends_with(*field))?;
    let (head, unit) = text.split_at_checked(text.len() - field.len())?;
    let said = signs(head.trim_end()).filter(|said| said.signed.is_some())?;
    Some(Parsed {
        unit,
        grade: None,
        signed: None,
        ..said
    })
}

/// A word or signs with more behind it: `阳性(+)`, `阳性++`, `阳性(1:160)`, `阳性(+)1:160`, `+(25)`, `阴性 <0.1`, `偶见/HP`.
pub fn mixed<'t>(text: &'t str, comma: Comma, lower: &mut String) -> Option<Parsed<'t>> {
    let field = FIELDS.iter().find(|field| text.ends_with(*field));
    if let Some((head, unit)) = field.and_then(|field| text.split_at_checked(text.len() - field.len())) {
        let said = word(head.trim_end(), lower).or_else(|| signs(head.trim_end()));
        let said = said.filter(|said| said.kind == Kind::Qualitative && said.signed.is_none());
        return said.map(|said| Parsed { unit, ..said });
    }
    // 阳性(+)1:160, (-)阴性
    if let Some((head, tail)) = text.find(')').and_then(|at| text.split_at_checked(at + 1))
        && !tail.trim_start().is_empty()
    {
        let (said, tail) = (signs(head).or_else(|| mixed(head, comma, lower))?, tail.trim_start());
        if let Some(named) = word(tail, lower).filter(|named| named.kind == Kind::Qualitative) {
            let whole = said.kind == Kind::Qualitative && head.starts_with('(') && said.number.is_none();
            return (whole && !opposite(said.qualitative, named.qualitative)).then_some(Parsed {
                grade: said.grade,
                ..named
            });
        }
        let more = numeric(tail, comma, lower)?;
        let bare = said.kind == Kind::Qualitative && said.number.is_none() && said.range.is_none();
        return (bare && more.qualitative.is_none()).then_some(Parsed {
            kind: beside(&more),
            qualitative: said.qualitative,
            grade: said.grade,
            ..more
        });
    }
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
            kind: beside(&more),
            qualitative: said.qualitative,
            grade: said.grade,
            ..more
        }),
    }
}

/// What a word is with a number behind it: of `阳性(1:160)` a titre, as of `1:160阳性`.
fn beside(number: &Parsed<'_>) -> Kind {
    match number.diluted {
        true => Kind::Titre,
        false => Kind::Mixed,
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
