//! Texts in one spelling: half width, one kind of dash, of comparison and of multiplication sign.

use clinmill_sdk::han::simplified;

/// Writes `text` into `into` in the spelling that the grammar reads. White space around it is left out.
///
/// Superscripts become `^9`, traditional characters simplified ones, `±` becomes `+-`, `×` becomes `x`. Long dashes behind
/// a number become `~`, the sign of a range; in front of one they stay, since they may be a minus or the mark of a missing
/// value.
pub fn fold(text: &str, into: &mut String) {
    into.clear();
    let mut raised = false;
    for c in text.trim().chars() {
        let digit = match c {
            '⁰' => Some('0'),
            '¹' => Some('1'),
            '²' => Some('2'),
            '³' => Some('3'),
            '⁴'..='⁹' => char::from_u32(u32::from(c) - 0x2070 + u32::from('0')),
            '⁻' => Some('-'),
            '⁺' => Some('+'),
            _ => None,
        };
        if let Some(digit) = digit {
            if !raised {
                into.push('^');
            }
            raised = true;
            into.push(digit);
            continue;
        }
        raised = false;
        match c {
            // Full width (Unicode block FF00, Halfwidth and Fullwidth Forms).
            '〜' | '～' | '∼' => into.push('~'),
            '—' | '–' | '―' | '至' | '到' if into.contains(|c: char| c.is_ascii_digit()) => into.push('~'),
            '\u{ff01}'..='\u{ff5d}' => into.extend(char::from_u32(u32::from(c) - 0xfee0)),
            '\u{3000}' | '\u{a0}' | '\t' | '\r' | '\n' | '\u{2009}' | '\u{202f}' => into.push(' '),
            '\u{feff}' | '\u{200b}'..='\u{200d}' => {}
            '≤' | '≦' | '⩽' | '≮' => into.push_str(if c == '≮' { ">=" } else { "<=" }),
            '≥' | '≧' | '⩾' | '≯' => into.push_str(if c == '≯' { "<=" } else { ">=" }),
            '〈' | '‹' | '﹤' => into.push('<'),
            '〉' | '›' | '﹥' => into.push('>'),
            '−' | '‐' | '‑' | '﹣' => into.push('-'),
            '﹢' => into.push('+'),
            '±' => into.push_str("+-"),
            '×' | '✕' | '╳' | '✖' => into.push('x'),
            '∶' => into.push(':'),
            // It separates one thing from the next and is no decimal comma.
            '、' => into.push(';'),
            '【' | '〔' => into.push('('),
            '】' | '〕' => into.push(')'),
            '⬆' | '▲' | '⇧' => into.push('↑'),
            '⬇' | '▼' | '⇩' => into.push('↓'),
            'µ' => into.push('μ'),
            c => into.push(simplified(c)),
        }
    }
    if into.contains("+/-") {
        *into = into.replace("+/-", "+-");
    }
    // A dash in parentheses beside a result is a minus sign: 阴性(—).
    for dash in ["(—)", "(–)", "(―)", "(~)"] {
        if into.ends_with(dash) {
            into.truncate(into.len() - dash.len());
            into.push_str("(-)");
        }
    }
    let kept = into.trim_end().len();
    into.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        let folded = |text| {
            let mut into = String::new();
            fold(text, &mut into);
            into
        };
        for (text, want) in [
            ("　５．６　", "5.6"),
            ("＜０．１", "<0.1"),
            ("≥２００", ">=200"),
            ("1.2×10⁹/L", "1.2x10^9/L"),
            ("10⁻³", "10^-3"),
            ("3.5～5.5", "3.5~5.5"),
            ("阳性（＋）", "阳性(+)"),
            ("±", "+-"),
            ("+/-", "+-"),
            ("—", "—"),
            ("阴性（—）", "阴性(-)"),
            ("0.05(–)", "0.05(-)"),
            ("–5", "–5"),
            ("～5", "~5"),
            ("3—5", "3~5"),
            ("3 至 5", "3 ~ 5"),
            ("1：160", "1:160"),
            ("未檢出", "未检出"),
            ("72次/分鐘", "72次/分钟"),
        ] {
            assert_eq!(folded(text), want, "{text}");
        }
    }
}
