//! Delimiters and escapes (HL7 v2.5, sections 2.5.4 and 2.7).

use crate::{charset, error};
use encoding_rs::Encoding;
use memchr::memchr;

/// Stands for a delimiter that a message does not use: no byte of UTF-8 has this value.
const UNUSED: u8 = 0xff;

/// The delimiters of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    /// MSH-1, usually `|`.
    pub field: u8,
    /// Usually `^`.
    pub component: u8,
    /// Usually `~`.
    pub repetition: u8,
    /// Usually `\`.
    pub escape: u8,
    /// Usually `&`.
    pub subcomponent: u8,
    /// Since v2.7, usually `#`.
    pub truncation: u8,
}

impl Delimiters {
    /// Reads them from the bytes of an `MSH` segment.
    ///
    /// # Errors
    /// The code and what is wrong.
    pub fn of(msh: &[u8]) -> Result<Self, (&'static str, &'static str)> {
        let truncated = (
            error::MSH_TRUNCATED,
            "the MSH segment ends before its encoding characters do",
        );
        let (&field, rest) = msh.get(3..).and_then(<[u8]>::split_first).ok_or(truncated)?;
        if !usable(field) {
            return Err((error::DELIMITERS, "the field separator is no punctuation mark"));
        }
        let end = memchr(field, rest).ok_or(truncated)?;
        let marks = rest.get(..end).unwrap_or_default();
        if marks.is_empty() || marks.len() > 5 {
            return Err((error::DELIMITERS, "there are one to five encoding characters"));
        }
        let mut all = [field, UNUSED, UNUSED, UNUSED, UNUSED, UNUSED];
        for (slot, &mark) in all.iter_mut().skip(1).zip(marks) {
            if !usable(mark) {
                return Err((error::DELIMITERS, "an encoding character is no punctuation mark"));
            }
            *slot = mark;
        }
        let used = all.get(..=marks.len()).unwrap_or_default();
        if (1..used.len()).any(|i| {
            used.get(..i)
                .is_some_and(|before| used.get(i).is_some_and(|m| before.contains(m)))
        }) {
            return Err((error::DELIMITERS, "two delimiters are the same"));
        }
        let [field, component, repetition, escape, subcomponent, truncation] = all;
        Ok(Self {
            field,
            component,
            repetition,
            escape,
            subcomponent,
            truncation,
        })
    }

    /// The n-th (from 1) component of a repetition; empty where there is none.
    #[inline]
    pub fn component<'t>(&self, text: &'t str, n: u16) -> &'t str {
        nth(text, self.component, n)
    }

    /// The n-th (from 1) subcomponent of a component; empty where there is none.
    #[inline]
    pub fn subcomponent<'t>(&self, text: &'t str, n: u16) -> &'t str {
        nth(text, self.subcomponent, n)
    }

    /// The n-th (from 1) repetition of a field; empty where there is none.
    #[inline]
    pub fn repetition<'t>(&self, text: &'t str, n: u16) -> &'t str {
        nth(text, self.repetition, n)
    }

    /// The first component of the first repetition.
    #[inline]
    pub fn first<'t>(&self, text: &'t str) -> &'t str {
        match find(self.component, self.repetition, text.as_bytes()) {
            Some(end) => text.get(..end).unwrap_or_default(),
            None => text,
        }
    }

    /// Decodes the escapes of `value` onto `out`. What is no known escape stays as it is. `\X..\` is read in
    /// `encoding`, the message's own.
    pub fn unescape(&self, value: &str, encoding: &'static Encoding, out: &mut String) {
        let mut rest = value;
        while let Some(start) = memchr(self.escape, rest.as_bytes()) {
            let (before, from) = rest.split_at(start);
            out.push_str(before);
            let inner = from.get(1..).unwrap_or_default();
            let Some(end) = memchr(self.escape, inner.as_bytes()) else {
                rest = from;
                break;
            };
            let (body, after) = inner.split_at(end);
            if self.decode_escape(body, encoding, out) {
                rest = after.get(1..).unwrap_or_default();
            } else {
                // The second escape character may begin the next escape.
                out.push(char::from(self.escape));
                out.push_str(body);
                rest = after;
                if !self.begins_escape(rest, encoding) {
                    out.push(char::from(self.escape));
                    rest = after.get(1..).unwrap_or_default();
                }
            }
        }
        out.push_str(rest);
    }

    /// True where `text`, which begins with the escape character, begins with an escape that is known.
    fn begins_escape(&self, text: &str, encoding: &'static Encoding) -> bool {
        let inner = text.get(1..).unwrap_or_default();
        memchr(self.escape, inner.as_bytes())
            .is_some_and(|end| self.decode_escape(inner.get(..end).unwrap_or_default(), encoding, &mut String::new()))
    }

    fn decode_escape(&self, body: &str, encoding: &'static Encoding, out: &mut String) -> bool {
        let mark = match body {
            "F" => self.field,
            "S" => self.component,
            "T" => self.subcomponent,
            "R" => self.repetition,
            "E" => self.escape,
            "P" => self.truncation,
            "H" | "N" => return true,
            ".br" | ".ce" => b'\n',
            _ => {
                let skipped = skipped(body);
                out.extend(
                    skipped
                        .into_iter()
                        .flat_map(|(mark, times)| std::iter::repeat_n(mark, times)),
                );
                return skipped.is_some() || body.strip_prefix('X').is_some_and(|hex| decode_hex(hex, encoding, out));
            }
        };
        if mark == UNUSED {
            return false;
        }
        out.push(char::from(mark));
        true
    }
}

/// What `\.sp<number>\` (line ends) and `\.sk<number>\` (blanks) stand for, and how often (v2.5, 2.7.6): without a number
/// once. A number beyond any page is none: a short text would become a long one.
fn skipped(body: &str) -> Option<(char, usize)> {
    const MOST: usize = 100;
    let (mark, least, number) = match (body.strip_prefix(".sp"), body.strip_prefix(".sk")) {
        (Some(number), _) => ('\n', 1, number),
        (_, Some(number)) => (' ', 0, number),
        (None, None) => return None,
    };
    let number = number.trim();
    let times: usize = match number.is_empty() {
        true => 1,
        false => number.parse().ok()?,
    };
    (times <= MOST).then_some((mark, times.max(least)))
}

fn usable(mark: u8) -> bool {
    mark.is_ascii_punctuation() && mark != b'"' || matches!(mark, 0x01..=0x08 | 0x0e..=0x1b | 0x1d..=0x1f)
}

#[inline]
fn nth(text: &str, separator: u8, n: u16) -> &str {
    let mut rest = text;
    for _ in 1..n {
        match find(separator, separator, rest.as_bytes()) {
            Some(i) => rest = rest.get(i + 1..).unwrap_or_default(),
            None => return "",
        }
    }
    match find(separator, separator, rest.as_bytes()) {
        Some(i) => rest.get(..i).unwrap_or_default(),
        None => rest,
    }
}

/// Where one of two bytes first stands. Eight bytes at a time: most fields end before a wider search has begun.
#[inline]
fn find(one: u8, other: u8, bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The lowest bit set is at the first byte of x that is zero.
    let zero = |x: u64| x.wrapping_sub(ONES) & !x & (ONES << 7);
    let (words, tail) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let hits = zero(word ^ (u64::from(one) * ONES)) | zero(word ^ (u64::from(other) * ONES));
        if hits != 0 {
            return Some(i * 8 + hits.trailing_zeros() as usize / 8);
        }
    }
    tail.iter()
        .position(|&b| b == one || b == other)
        .map(|i| words.len() * 8 + i)
}

fn decode_hex(hex: &str, encoding: &'static Encoding, out: &mut String) -> bool {
    if hex.is_empty() || !hex.len().is_multiple_of(2) {
        return false;
    }
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let bytes: Option<Vec<u8>> = hex
        .as_bytes()
        .chunks_exact(2)
        .map(|p| Some(digit(*p.first()?)? << 4 | digit(*p.get(1)?)?))
        .collect();
    let before = out.len();
    let done = bytes.is_some_and(|bytes| charset::decode_into(encoding, &bytes, out).is_ok());
    if !done {
        out.truncate(before);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoding_rs::{GB18030, UTF_8};

    fn usual() -> Delimiters {
        Delimiters::of(br"MSH|^~\&|").unwrap()
    }

    fn decoded(value: &str) -> String {
        let mut out = String::new();
        usual().unescape(value, UTF_8, &mut out);
        out
    }

    #[test]
    fn delimiters() {
        assert_eq!(usual().component, b'^');
        assert_eq!(Delimiters::of(b"MSH@*!?%#@").unwrap().truncation, b'#');
        assert_eq!(Delimiters::of(b"MSH|^~|").unwrap().escape, UNUSED);
        for (msh, code) in [
            (&br"MSH"[..], error::MSH_TRUNCATED),
            (b"MSH|", error::MSH_TRUNCATED),
            (b"MSH|^~", error::MSH_TRUNCATED),
            (b"MSH||", error::DELIMITERS),
            (b"MSHA^~\\&A", error::DELIMITERS),
            (b"MSH|^^\\&|", error::DELIMITERS),
            (b"MSH|^~\\b|", error::DELIMITERS),
            (b"MSH|^~\\&#+|", error::DELIMITERS),
            (b"MSH|^~\"&|", error::DELIMITERS),
        ] {
            assert_eq!(
                Delimiters::of(msh).unwrap_err().0,
                code,
                "{}",
                String::from_utf8_lossy(msh)
            );
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(decoded(r"a\F\b\S\c\T\d\R\e\E\f"), r"a|b^c&d~e\f");
        assert_eq!(decoded(r"one\.br\two\H\bold\N\"), "one\ntwobold");
        assert_eq!(decoded(r"a\.sp\b\.sp3\c\.sp 2\d\.sp0\e"), "a\nb\n\n\nc\n\nd\ne");
        assert_eq!(decoded(r"a\.sk2\b\.sk\c\.sk+3\d\.sk0\e"), "a  b c   de");
        assert_eq!(decoded(r"\X41\\X0D\"), "A\r");
        assert_eq!(decoded(r"\XE79785\"), "病");
        for kept in [
            r"\Zx\",
            r"C:\dir",
            r"\XZZ\",
            r"\X4\",
            r"\.in4\",
            r"\.sp-1\",
            r"\.sk101\",
            r"\.spx\",
            r"\",
            r"\\",
            r"\XFF\",
        ] {
            assert_eq!(decoded(kept), kept);
        }
        assert_eq!(decoded(r"C:\dir\T\x"), r"C:\dir&x");
        let mut out = String::new();
        usual().unescape(r"\XB2A1\", GB18030, &mut out);
        assert_eq!(out, "病");
    }

    #[test]
    fn finds_bytes() {
        for text in [
            "",
            "^",
            "abc^",
            "12345678^",
            "1234567~^",
            "\u{75c5}\u{75c5}\u{75c5}~",
            "_]_]_]_]_^",
            "nothing here at all",
        ] {
            let naive = text.bytes().position(|b| b == b'^' || b == b'~');
            assert_eq!(find(b'^', b'~', text.as_bytes()), naive, "{text}");
        }
    }

    #[test]
    fn parts() {
        let d = usual();
        assert_eq!(d.component("a^b^c", 2), "b");
        assert_eq!(d.component("a", 1), "a");
        assert_eq!(d.component("a", 2), "");
        assert_eq!(d.first("x~y^z"), "x");
        assert_eq!(d.repetition("x~y^z", 2), "y^z");
        assert_eq!(d.subcomponent("p&q", 2), "q");
    }
}
