//! The bytes of a record as people read them. Row values: for `trace` and `quarantine show` alone.

use serde_json::{Value, json};
use std::fmt::Write;

/// How many bytes of one record are shown at most.
pub const MAX_BYTES: usize = 4096;

/// How many bytes of a record that is no text are shown at most.
const MAX_DUMPED: usize = 128;

/// Bytes of an input, with the encoding they read in.
pub struct Excerpt<'a> {
    bytes: &'a [u8],
    /// The record's whole length; more than is shown for long ones.
    length: u64,
    text: Option<(&'static str, String)>,
}

impl<'a> Excerpt<'a> {
    /// The first bytes of a record of `length` bytes.
    pub fn new(bytes: &'a [u8], length: u64) -> Self {
        let bytes = bytes.get(..MAX_BYTES).unwrap_or(bytes);
        Self {
            bytes,
            length,
            text: decode(bytes, length > bytes.len() as u64),
        }
    }

    /// Which encoding the bytes were read in; `hex` for bytes that are no text.
    pub fn encoding(&self) -> &'static str {
        self.text.as_ref().map_or("hex", |(encoding, _)| encoding)
    }

    /// Indented lines: text, or a dump of 16 bytes a line.
    pub fn lines(&self, indent: &str) -> String {
        let mut out = String::new();
        let mut shown_bytes = self.bytes;
        match &self.text {
            Some((_, text)) => {
                for line in text.split(['\r', '\n']).filter(|line| !line.is_empty()) {
                    let shown: String = line.chars().flat_map(shown).collect();
                    let _ = writeln!(out, "{indent}{shown}");
                }
            }
            None => {
                shown_bytes = self.bytes.get(..MAX_DUMPED).unwrap_or(self.bytes);
                for (i, line) in shown_bytes.chunks(16).enumerate() {
                    let hex: Vec<String> = line.iter().map(|b| format!("{b:02x}")).collect();
                    let _ = writeln!(out, "{indent}{:06x}  {}", i * 16, hex.join(" "));
                }
            }
        }
        let left = self.length.saturating_sub(shown_bytes.len() as u64);
        if left > 0 {
            let _ = writeln!(out, "{indent}… and {} bytes more", crate::output::thousands(left));
        }
        out
    }

    /// For programs: the encoding, the text if it is text, and the bytes in hexadecimal.
    pub fn json(&self) -> Value {
        let hex: String = self.bytes.iter().map(|b| format!("{b:02x}")).collect();
        let text = self.text.as_ref().map(|(_, text)| text);
        json!({ "encoding": self.encoding(), "text": text, "hex": hex, "length": self.length })
    }
}

/// Control characters would act on the terminal.
fn shown(c: char) -> impl Iterator<Item = char> {
    let c = if c == '\t' { ' ' } else { c };
    let (plain, escaped) = match c.is_control() {
        true => (None, Some(c.escape_unicode())),
        false => (Some(c), None),
    };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

/// UTF-8, else GB 18030. A record that was cut may end within a character.
fn decode(bytes: &[u8], cut: bool) -> Option<(&'static str, String)> {
    let is_text = |text: &str| !text.contains('\0');
    let spare = if cut { 4 } else { 1 };
    for left_out in 0..spare.min(bytes.len() + 1) {
        let part = bytes.get(..bytes.len() - left_out)?;
        if let Ok(text) = std::str::from_utf8(part) {
            return is_text(text).then(|| ("utf-8", text.to_owned()));
        }
    }
    for left_out in 0..spare.min(bytes.len() + 1) {
        let part = bytes.get(..bytes.len() - left_out)?;
        if let Some(text) = encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(part) {
            return is_text(&text).then(|| ("gb18030", text.into_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_in_its_encoding() {
        let gbk: &[u8] = &[0xd1, 0xaa, 0xcc, 0xc7, b',', b'7'];
        for (bytes, encoding, lines) in [
            (&b"a,b\r\nc\x1b[31m"[..], "utf-8", "> a,b\n> c\\u{1b}[31m\n"),
            (gbk, "gb18030", "> 血糖,7\n"),
            (&[0, 1, 0xff], "hex", "> 000000  00 01 ff\n"),
            (b"", "utf-8", ""),
        ] {
            let excerpt = Excerpt::new(bytes, bytes.len() as u64);
            assert_eq!((excerpt.encoding(), excerpt.lines("> ").as_str()), (encoding, lines));
        }
        assert_eq!(Excerpt::new(gbk, 6).json()["hex"], "d1aaccc72c37");
    }

    #[test]
    fn long_records_are_cut_within_a_character() {
        let text = "血".repeat(2000);
        let excerpt = Excerpt::new(text.as_bytes(), text.len() as u64);
        assert_eq!(excerpt.encoding(), "utf-8");
        assert!(excerpt.lines("").ends_with("… and 1,904 bytes more\n"));
        assert!(excerpt.text.as_ref().unwrap().1.chars().all(|c| c == '血'));
    }
}
