//! Names, units and specimens without the differences that carry no meaning.

use clinmill_sdk::{han::simplified, says_nothing};
use unicode_normalization::UnicodeNormalization;

/// A name without compatibility forms (full and half width among them), case, white space, characters of no width and
/// traditional characters (Unicode Standard Annex 15, NFKC).
pub fn fold(name: &str) -> String {
    name.nfkc()
        .flat_map(char::to_lowercase)
        .filter(|c| !c.is_whitespace() && !matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}'))
        .nfkc()
        .map(simplified)
        .collect()
}

/// A name as [`fold`] has it, without the marks that reports print at it: `★肌酐` and `*肌酐` for tests that are accredited.
pub fn name(text: &str) -> String {
    let marks = ['★', '☆', '▲', '△', '※', '◆', '●', '○', ' ', '\u{3000}'];
    let unmarked = text.trim_matches(marks);
    let behind = unmarked
        .trim_start_matches(['*', '#', '＊', '＃'])
        .trim_start_matches(marks);
    // Nothing but marks is no name.
    fold(if behind.is_empty() { text } else { behind })
}

/// The two names of `谷丙转氨酶(ALT)`, `ALT[谷丙转氨酶]`, `谷丙转氨酶ALT` and `ALT 谷丙转氨酶`, folded; nothing where there is one.
pub fn halves(folded: &str) -> Option<(&str, &str)> {
    for (open, close) in [('(', ')'), ('[', ']'), ('【', '】')] {
        if let Some((before, inner)) = folded.strip_suffix(close).and_then(|rest| rest.rsplit_once(open)) {
            return Some((before, inner)).filter(|_| !before.is_empty() && !inner.is_empty());
        }
    }
    let latin = |c: char| !('\u{3400}'..='\u{9fff}').contains(&c);
    let first = folded.chars().next()?;
    let at = folded.find(|c: char| latin(c) != latin(first))?;
    let (one, other) = folded.split_at(at);
    // One change of script alone.
    (other.chars().all(|c| latin(c) != latin(first))).then_some((one, other.trim_matches(['-', ':', '/', '_'])))
}

/// A folded name without punctuation, except for what tells tests apart: `%`, `#`, `+`, `/`, and points and commas
/// between digits.
pub fn bare(folded: &str) -> String {
    let characters: Vec<char> = folded.chars().collect();
    let digit = |index: Option<usize>| {
        index
            .and_then(|index| characters.get(index))
            .is_some_and(char::is_ascii_digit)
    };
    let kept = |index: usize, c: char| match c {
        '%' | '#' | '+' | '/' => true,
        '.' | ',' => digit(index.checked_sub(1)) && digit(Some(index + 1)),
        c => c.is_alphanumeric() || !(c.is_ascii_punctuation() || is_punctuation(c)),
    };
    characters
        .iter()
        .enumerate()
        .filter(|(index, c)| kept(*index, **c))
        .map(|(_, c)| *c)
        .collect()
}

/// Punctuation that NFKC leaves: dashes, quotes, brackets and stops of Latin and Chinese text.
fn is_punctuation(c: char) -> bool {
    matches!(c, '\u{2010}'..='\u{205e}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}'
        | '\u{00b7}' | '\u{30fb}')
}

/// A unit or a specimen to compare with a condition: folded, with one micro sign, powers of ten without their sign and
/// without brackets, so that `×10^9/L`, `10*9/L` and `10⁹/l` are the same, and `mg/L(FEU)` is `mg/L FEU`.
pub fn condition(text: &str) -> String {
    let folded = fold(text);
    let plain = folded.trim_start_matches(['x', '×', '*']);
    let plain = if plain.starts_with("10") { plain } else { &folded };
    plain
        .chars()
        .filter(|c| !matches!(c, '^' | '*' | '×' | '(' | ')' | '{' | '}'))
        .map(|c| if c == 'μ' || c == 'µ' { 'u' } else { c })
        .collect()
}

/// Chinese words of units, longer ones first, and their signs, folded.
const WORDS: [(&str, &str); 22] = [
    ("毫摩尔", "mmol"),
    ("微摩尔", "umol"),
    ("纳摩尔", "nmol"),
    ("皮摩尔", "pmol"),
    ("毫克", "mg"),
    ("微克", "ug"),
    ("纳克", "ng"),
    ("皮克", "pg"),
    ("克", "g"),
    ("国际单位", "iu"),
    ("单位", "u"),
    ("毫米汞柱", "mmhg"),
    ("毫米", "mm"),
    ("微升", "ul"),
    ("毫升", "ml"),
    ("分升", "dl"),
    ("升", "l"),
    ("小时", "h"),
    ("分钟", "min"),
    ("分", "min"),
    ("秒", "s"),
    ("天", "d"),
];

/// A unit to compare with a condition: as [`condition`], Chinese words by their signs; empty where none is meant.
pub fn unit_condition(text: &str) -> String {
    if says_nothing(text) {
        return String::new();
    }
    let mut unit = condition(text);
    if !unit.is_ascii() {
        for (word, sign) in WORDS {
            unit = unit.replace(word, sign);
        }
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_keeps_what_means_something() {
        assert_eq!(fold("Ｄ－Ｄ 二聚体（定量）"), fold("d-d二聚体(定量)"));
        assert_eq!(fold("γ-谷氨酰转肽酶"), fold("Γ-谷氨酰转肽酶"));
        assert_eq!(fold("總膽固醇"), "总胆固醇");
        assert_eq!(fold("血紅蛋白濃度"), fold("血红蛋白浓度"));
        assert_ne!(fold("嗜酸细胞(%)"), fold("嗜酸细胞(#)"));
        assert_eq!(fold("\u{feff}Mass/\u{200b}vol\u{ad}ume"), fold("mass/volume"));
        assert_eq!(fold(&fold("㎎／㎗ ＡＢ")), fold("mg/dl ab"));
    }

    #[test]
    fn marks_are_no_part_of_a_name() {
        for text in ["★肌酐", "*肌酐", "# 肌酐", "☆▲肌酐", "＊肌酐", "肌酐★", " △ 肌酐"] {
            assert_eq!(name(text), "肌酐", "{text}");
        }
        assert_eq!(name("嗜酸细胞(#)"), "嗜酸细胞(#)");
        assert_eq!(name("NEUT#"), "neut#");
        assert_eq!(name("***"), "***");
        for text in [
            "谷丙转氨酶(ALT)",
            "谷丙转氨酶（ALT）",
            "谷丙转氨酶[ALT]",
            "谷丙转氨酶 ALT",
            "谷丙转氨酶-ALT",
        ] {
            assert_eq!(halves(&name(text)), Some(("谷丙转氨酶", "alt")), "{text}");
        }
        assert_eq!(halves("alt谷丙转氨酶"), Some(("alt", "谷丙转氨酶")));
        for one in ["谷丙转氨酶", "alt", "β2微球蛋白x", "", "()"] {
            assert_eq!(halves(one), None, "{one}");
        }
    }

    #[test]
    fn punctuation_goes_last() {
        let bared = |text: &str| bare(&fold(text));
        assert_eq!(bared("D-二聚体"), bared("D二聚体"));
        assert_eq!(bared("《总蛋白》（TP）"), "总蛋白tp");
        assert_eq!(bared("CA19‑9"), "ca199");
        assert_ne!(bared("嗜酸细胞(%)"), bared("嗜酸细胞(#)"));
        assert_ne!(bared("CD3+"), bared("CD3"));
        assert_ne!(bared("1.5小时"), bared("15小时"));
    }

    #[test]
    fn spellings_of_a_unit_are_one() {
        for other in ["×10^9/L", "10*9/L", "10⁹/l", "x10^9/L", " 10^9 / L"] {
            assert_eq!(condition(other), condition("10*9/L"), "{other}");
        }
        assert_eq!(condition("μmol/L"), condition("umol/l"));
        assert_eq!(unit_condition("毫摩尔/升"), unit_condition("mmol/L"));
        assert_eq!(unit_condition("克/24小时"), unit_condition("g/24h"));
        assert_eq!(
            [unit_condition("N/A"), unit_condition("无"), unit_condition("-")],
            [""; 3]
        );
        assert_ne!(condition("mmol/L"), condition("mg/dL"));
        for other in ["mg/L(FEU)", "mg/L{FEU}", "MG/L FEU", "mg/L（FEU）"] {
            assert_eq!(condition(other), condition("mg/L FEU"), "{other}");
        }
        assert_ne!(condition("mg/L"), condition("mg/L FEU"));
    }
}
