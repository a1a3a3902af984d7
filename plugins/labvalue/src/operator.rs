//! Operators in front of a number.

/// Operators in signs and words.
const OPERATORS: [(&str, &str); 31] = [
    ("<=", "<="),
    ("=<", "<="),
    (">=", ">="),
    ("=>", ">="),
    ("<", "<"),
    (">", ">"),
    ("≈", "~"),
    ("~", "~"),
    ("大约", "~"),
    ("约为", "~"),
    ("约", "~"),
    ("approx. ", "~"),
    ("approx ", "~"),
    ("about ", "~"),
    ("ca. ", "~"),
    ("小于等于", "<="),
    ("小于或等于", "<="),
    ("不超过", "<="),
    ("不大于", "<="),
    ("大于等于", ">="),
    ("大于或等于", ">="),
    ("不低于", ">="),
    ("不小于", ">="),
    ("小于", "<"),
    ("低于", "<"),
    ("少于", "<"),
    ("大于", ">"),
    ("高于", ">"),
    ("超过", ">"),
    ("less than ", "<"),
    ("greater than ", ">"),
];

/// The operator at the beginning of a folded text, and what follows.
pub fn operator(text: &str) -> (Option<&'static str>, &str) {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return (None, text);
    }
    for (sign, meaning) in OPERATORS {
        let begins = text
            .get(..sign.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(sign));
        if begins {
            return (Some(meaning), text.get(sign.len()..).unwrap_or_default().trim_start());
        }
    }
    (None, text.strip_prefix('=').unwrap_or(text).trim_start())
}
