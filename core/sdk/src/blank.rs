//! What hospitals write into a cell where there is nothing to write.

const NOTHING: [&str; 12] = [
    "",
    "-",
    "--",
    "—",
    "–",
    "/",
    "\\",
    "n/a",
    "none",
    "null",
    "无",
    "不适用",
];

/// True for a unit, specimen or the like that says that there is none.
pub fn says_nothing(text: &str) -> bool {
    let text = text.trim();
    NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing)) || text == "無"
}

#[cfg(test)]
mod tests {
    use super::says_nothing;

    #[test]
    fn nothing_is_no_unit() {
        assert!(
            ["", " ", "N/A", "n/a", "-", "/", "无", "None"]
                .into_iter()
                .all(says_nothing)
        );
        assert!(
            ["%", "1", "N", "A", "/HP", "mg/L", "NA"]
                .into_iter()
                .all(|text| !says_nothing(text))
        );
    }
}
