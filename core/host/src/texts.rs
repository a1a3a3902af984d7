//! Texts that plugins say, as the host repeats them: in reports, logs and on terminals.

use clinmill_sdk::Finding;
use serde_json::Value;

/// How long a text of a plugin may be, in bytes.
pub const LONGEST_TEXT: usize = 4096;
/// How long the name of a rule or of a count may be, in bytes.
pub const LONGEST_NAME: usize = 256;

/// Whether a text is a code: stable, and to be searched for.
pub fn is_code(text: &str) -> bool {
    let is_of_code = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(is_of_code)
}

/// A text without control characters and cut; what separates words still does.
pub fn said(text: &str, longest: usize) -> String {
    let cut = text.get(..text.floor_char_boundary(longest)).unwrap_or_default();
    let kept = cut.chars().filter_map(|c| match c {
        '\n' | '\r' | '\t' => Some(' '),
        c => (!c.is_control()).then_some(c),
    });
    kept.collect()
}

/// A finding of *check*; `None` when it is none.
pub fn finding(value: &Value) -> Option<Finding> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(|t| said(t, LONGEST_TEXT));
    Some(Finding {
        code: text("code").filter(|code| is_code(code))?,
        pointer: text("pointer").unwrap_or_default(),
        message: text("message")?,
        hint: text("hint"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_hold_no_control_characters() {
        assert_eq!(said("a\u{1b}[2J\nb\0\u{9b}c", 100), "a[2J bc");
        assert_eq!(said("éé", 3), "é");
        assert!(is_code("HL7_2") && is_code(&"A".repeat(64)));
        for text in ["", "a", "A B", "É", "A\u{1b}", &"A".repeat(65)] {
            assert!(!is_code(text), "{text:?}");
        }
    }
}
