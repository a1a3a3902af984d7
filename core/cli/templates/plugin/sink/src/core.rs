//! How a value becomes a cell, and a release a file name.

/// A cell: tabs, line ends and backslashes are escaped.
pub fn cell(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
}

/// Whether a text is a plain file name: what a run is called, and a token that came back.
pub fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() < 200 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_one_line() {
        let mut out = String::new();
        cell("a\tb\n\\", &mut out);
        assert_eq!(out, "a\\tb\\n\\\\");
        assert!(is_plain("release-1") && !is_plain("../x") && !is_plain(""));
    }
}
