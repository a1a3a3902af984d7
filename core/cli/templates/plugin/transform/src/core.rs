//! What is done to one text.

/// The text with one space for each run of white space, and none at its ends; `None` where nothing else is there.
pub fn tidy(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes() {
        assert_eq!(tidy("  a \t b\u{3000}c\n").as_deref(), Some("a b c"));
        assert_eq!(tidy(" \u{3000}"), None);
    }
}
