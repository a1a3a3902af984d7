//! Flags of laboratories at the ends of a value.

use crate::operator::operator;

/// Flags in words, behind a value.
const FLAG_WORDS: [(&str, &str); 16] = [
    ("(高)", "H"),
    ("(低)", "L"),
    ("(偏高)", "H"),
    ("(偏低)", "L"),
    ("偏高", "H"),
    ("偏低", "L"),
    ("高", "H"),
    ("低", "L"),
    ("(HIGH)", "H"),
    ("(LOW)", "L"),
    (" HIGH", "H"),
    (" LOW", "L"),
    ("(CRITICAL)", "AA"),
    (" CRITICAL", "AA"),
    ("(PANIC)", "AA"),
    (" PANIC", "AA"),
];

/// Comments of laboratories that leave a value what it is: it was measured again, or checked.
const CHECKED: [&str; 18] = [
    "复查",
    "已复查",
    "复",
    "复核",
    "已复核",
    "复检",
    "已复检",
    "复测",
    "已复测",
    "重测",
    "已核",
    "已核对",
    "已核实",
    "重复",
    "rechecked",
    "repeated",
    "checked",
    "verified",
];

/// A value without the comment in parentheses behind it, `5.6(复查)`; nothing where there is none. In Chinese the parentheses
/// may be a space.
pub fn uncommented(text: &str) -> Option<&str> {
    let within = text.strip_suffix(')').and_then(|inner| inner.rsplit_once('('));
    let (value, comment) = within.or_else(|| text.rsplit_once(' ').filter(|(_, last)| !last.is_ascii()))?;
    let known = CHECKED.iter().any(|word| word.eq_ignore_ascii_case(comment.trim()));
    known.then(|| value.trim_end()).filter(|value| !value.is_empty())
}

/// `text` without `end`, whatever the case of Latin letters.
fn without_end<'t>(text: &'t str, end: &str) -> Option<&'t str> {
    let (less, tail) = text.split_at_checked(text.len().checked_sub(end.len())?)?;
    tail.eq_ignore_ascii_case(end).then_some(less)
}

/// Takes flags off both ends: arrows, asterisks, words, and H, L, N (normal), A and AA (abnormal, HL7 table 0078) behind a digit, behind a unit or in parentheses.
pub fn unflagged(text: &str) -> (&str, Option<&'static str>) {
    // What could be a flag begins or ends so; the arrows are E2 86 91 and E2 86 93, 高 ends in 98 and 低 in 8E.
    let ends = matches!(
        text.as_bytes().last(),
        Some(
            b'*' | b'H'
                | b'L'
                | b'N'
                | b'A'
                | b'C'
                | b'l'
                | b'c'
                | b'h'
                | b'w'
                | b'W'
                | b')'
                | 0x91
                | 0x93
                | 0x98
                | 0x8e
        )
    );
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
            ("(h)", "H"),
            ("(l)", "L"),
            ("(N)", "N"),
            ("(A)", "A"),
            ("(↑)", "H"),
            ("(↓)", "L"),
        ] {
            if let Some(less) = rest.strip_suffix(sign).or_else(|| rest.strip_prefix(sign)) {
                flag = flag.or(Some(meaning));
                rest = less.trim();
            }
        }
        let worded = FLAG_WORDS.iter().find_map(|(word, meaning)| {
            let less = without_end(rest, word)?;
            let value = less.starts_with(|c: char| !c.is_alphabetic()) || operator(less).0.is_some();
            let less = Some(less).filter(|_| value)?;
            Some((less.trim_end(), *meaning))
        });
        if let Some((less, meaning)) = worded {
            flag = flag.or(Some(meaning));
            rest = less;
        }
        for (letters, meaning) in [
            ("HH", "HH"),
            ("LL", "LL"),
            ("AA", "AA"),
            ("H", "H"),
            ("L", "L"),
            ("N", "N"),
            ("A", "A"),
        ] {
            let behind = rest.strip_suffix(letters).and_then(|less| {
                let value = less.trim_end();
                // Behind a unit, a space tells the flag from the unit: 5.6 mg/L H, but not 5 U L.
                let unit = value.len() < less.len()
                    && (value.starts_with(|c: char| c.is_ascii_digit()) || operator(value).0.is_some())
                    && value.rsplit(' ').next().is_some_and(|unit| unit.contains(['/', '%']));
                (unit || value.ends_with(|c: char| c.is_ascii_digit())).then_some(value)
            });
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
