//! The shape of a text that did not parse, without anything of its content.

/// Characters of a shape, at most.
const MAX: usize = 24;

/// Digits become `9`, Latin letters `a`, Han characters `字`, other letters `?`; a run of one class is one character.
/// Signs stay as they are.
pub fn shape(text: &str) -> String {
    let mut shape = String::new();
    let mut last = None;
    for c in text.trim().chars() {
        let class = match c {
            c if c.is_numeric() => '9',
            c if c.is_ascii_alphabetic() => 'a',
            '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' => '字',
            c if c.is_whitespace() => ' ',
            c if c.is_ascii_punctuation() => c,
            '↑' | '↓' | '±' | '×' | '～' | '—' | '，' | '（' | '）' | '：' | '；' | '、' | '。' => c,
            _ => '?',
        };
        if last != Some(class) {
            shape.push(class);
        }
        last = Some(class);
        if shape.chars().count() >= MAX {
            shape.push('…');
            break;
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_holds_no_value() {
        assert_eq!(shape("*1/*17"), "*9/*9");
        assert_eq!(shape(" 张三 13800001111 abc"), "字 9 a");
        assert_eq!(shape("120/80 mmHg"), "9/9 a");
        assert_eq!(shape(&"a1".repeat(100)).chars().count(), MAX + 1);
        assert_eq!(shape("٣Ω"), "9?");
    }
}
