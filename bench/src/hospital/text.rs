//! Text as the sample hospital's systems write it: GB18030 bytes, HL7 escapes, CSV quotes.

use std::borrow::Cow;

/// An encoder that remembers the bytes of each character, because a generator of gigabytes asks for the same few
/// thousand again and again.
pub struct Gb18030 {
    // Length and bytes of each character of the basic plane; length 0: not asked for yet.
    known: Vec<[u8; 5]>,
}

impl Default for Gb18030 {
    fn default() -> Self {
        Self {
            known: vec![[0; 5]; 0x1_0000],
        }
    }
}

impl Gb18030 {
    /// Appends the bytes of `text`.
    pub fn encode(&mut self, text: &str, out: &mut Vec<u8>) {
        for c in text.chars() {
            if c.is_ascii() {
                out.push(c as u8);
                continue;
            }
            let Some(entry) = self.known.get_mut(c as usize) else {
                out.extend_from_slice(&one(c)[..]);
                continue;
            };
            if entry[0] == 0 {
                let bytes = one(c);
                entry[0] = u8::try_from(bytes.len()).unwrap_or(0);
                entry[1..=bytes.len()].copy_from_slice(&bytes);
            }
            out.extend_from_slice(&entry[1..=usize::from(entry[0])]);
        }
    }
}

fn one(c: char) -> Cow<'static, [u8]> {
    let mut buffer = [0; 4];
    Cow::Owned(encoding_rs::GB18030.encode(c.encode_utf8(&mut buffer)).0.into_owned())
}

/// Escapes the delimiters of HL7 v2 (section 2.7.1).
pub fn er7(text: &str) -> Cow<'_, str> {
    if !text.contains(['|', '^', '~', '\\', '&']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\E\\"),
            '|' => escaped.push_str("\\F\\"),
            '^' => escaped.push_str("\\S\\"),
            '~' => escaped.push_str("\\R\\"),
            '&' => escaped.push_str("\\T\\"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// Quotes a CSV field where it must be (RFC 4180, section 2).
pub fn csv(text: &str) -> Cow<'_, str> {
    if !text.contains([',', '"', '\n', '\r']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_as_the_library_does() {
        let text = "葉億區誠乕㐂𠮷 ×10^9/L ↑";
        let mut bytes = Vec::new();
        let mut gb = Gb18030::default();
        gb.encode(text, &mut bytes);
        gb.encode(text, &mut bytes);
        let expected = encoding_rs::GB18030.encode(text).0;
        assert_eq!(bytes, [&expected[..], &expected[..]].concat());
    }

    #[test]
    fn escapes() {
        assert_eq!(er7("10^9/L"), "10\\S\\9/L");
        assert_eq!(csv("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
