//! What a line says.

use crate::error;

/// The identifier and the text of a line; else a code and what is wrong, without the line's own words.
pub fn parse(line: &[u8]) -> Result<(&str, &str), (&'static str, &'static str)> {
    let line = std::str::from_utf8(line).map_err(|_| (error::UTF8, "the line is not UTF-8"))?;
    match line.split_once('\t') {
        Some((id, text)) if !id.trim().is_empty() => Ok((id.trim(), text)),
        _ => Err((error::LINE, "the line has no identifier and tab")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_two_parts() {
        assert_eq!(parse("7\t白细胞\tx".as_bytes()), Ok(("7", "白细胞\tx")));
        assert_eq!(parse(b"7").unwrap_err().0, error::LINE);
        assert_eq!(parse(b" \tx").unwrap_err().0, error::LINE);
        assert_eq!(parse(b"\xff\tx").unwrap_err().0, error::UTF8);
    }
}
