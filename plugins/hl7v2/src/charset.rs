//! The character set of a message: what MSH-18 says, or what its bytes are.

use crate::text::Delimiters;
use encoding_rs::{DecoderResult, Encoding, GB18030, ISO_2022_JP, UTF_8};
use memchr::{memchr, memchr_iter};
use std::borrow::Cow;

/// What a message says of its character set (HL7 table 0211).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// Nothing.
    Nothing,
    /// ASCII and no other.
    Ascii,
    /// This one.
    Known(&'static Encoding),
    /// One that is not known here.
    Unknown,
}

/// Begins an escape sequence of ISO 2022, by which a set of 7-bit codes takes the place of ASCII.
const ESC: u8 = 0x1b;

/// True where the bytes are ASCII, whatever MSH-18 says.
#[inline]
pub fn is_ascii(bytes: &[u8]) -> bool {
    bytes.is_ascii() && memchr(ESC, bytes).is_none()
}

/// Reads MSH-18 of an undecoded message: its first repetition, or where that is empty or ASCII, what the others add.
///
/// A character before MSH-18 may have a delimiter as its second byte. Therefore an `MSH` that is not ASCII is read
/// in up to three ways, and the first that gives the name of a character set counts.
pub fn declared(msh: &[u8], delimiters: &Delimiters) -> Declared {
    let raw = any(field_18(msh, delimiters), delimiters);
    if is_ascii(msh) || matches!(raw, Declared::Known(_)) {
        return raw;
    }
    let other = if msh.is_ascii() { ISO_2022_JP } else { GB18030 };
    let text = match std::str::from_utf8(msh) {
        Ok(_) if other == GB18030 => None,
        _ => other.decode_without_bom_handling_and_without_replacement(msh),
    };
    match text.map(|text| any(field_18(text.as_bytes(), delimiters), delimiters)) {
        // A set that is none of those in which it was read.
        Some(found) if other == GB18030 || found == Declared::Known(ISO_2022_JP) => found,
        _ => raw,
    }
}

/// What the repetitions of MSH-18 say together.
fn any(field: &[u8], delimiters: &Delimiters) -> Declared {
    let mut found = Declared::Nothing;
    for name in field.split(|&b| b == delimiters.repetition) {
        match named(name) {
            known @ Declared::Known(_) => return known,
            Declared::Unknown => found = Declared::Unknown,
            Declared::Ascii if found == Declared::Nothing => found = Declared::Ascii,
            Declared::Ascii | Declared::Nothing => {}
        }
    }
    found
}

fn field_18<'m>(msh: &'m [u8], delimiters: &Delimiters) -> &'m [u8] {
    // MSH-1 is the separator itself: MSH-18 stands behind the seventeenth.
    let mut separators = memchr_iter(delimiters.field, msh);
    let Some(start) = separators.nth(16) else { return &[] };
    let end = separators.next().unwrap_or(msh.len());
    msh.get(start + 1..end).unwrap_or_default()
}

fn named(name: &[u8]) -> Declared {
    let name = name.trim_ascii();
    if name == b"UNICODE UTF-8" {
        // The usual one of those that need a look at all.
        return Declared::Known(UTF_8);
    }
    let key: String = name
        .iter()
        .filter(|b| b.is_ascii_alphanumeric())
        .map(|b| b.to_ascii_uppercase() as char)
        .collect();
    let label = match key.as_str() {
        "" | "UNICODEUTF16" | "UNICODEUTF32" => return Declared::Nothing,
        "ASCII" | "USASCII" | "ISOIR6" => return Declared::Ascii,
        "UNICODEUTF8" | "UTF8" | "UNICODE" => "utf-8",
        "GB180302000" | "GB18030" | "GB180302005" | "GBK" | "CP936" | "GB2312" | "GB23121980" => "gb18030",
        "BIG5" => "big5",
        "KSX1001" => "euc-kr",
        "ISOIR87" | "JISX0208" => "iso-2022-jp",
        "CP1252" => "windows-1252",
        _ => match key.strip_prefix("ISO").unwrap_or(&key).strip_prefix("8859") {
            Some(part) => return of_label(format!("iso-8859-{part}").as_bytes()),
            None => return of_label(name),
        },
    };
    of_label(label.as_bytes())
}

fn of_label(label: &[u8]) -> Declared {
    // Some labels stand for sets that are known and never decoded, ISO-2022-KR among them.
    Encoding::for_label_no_replacement(label).map_or(Declared::Unknown, Declared::Known)
}

/// Bytes as the UTF-8 that they are.
///
/// # Errors
/// The index of the first byte that is not UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, usize> {
    // Faster than the standard library's check, which says where the first bad byte stands.
    match UTF_8.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(Cow::Borrowed(text)) => Ok(text),
        _ => std::str::from_utf8(bytes).map_err(|error| error.valid_up_to()),
    }
}

/// Appends `bytes` to `text`.
///
/// # Errors
/// The index of the first byte that is not in the encoding.
pub fn decode_into(encoding: &'static Encoding, bytes: &[u8], text: &mut String) -> Result<(), usize> {
    if encoding == UTF_8 || bytes.is_ascii() && encoding != ISO_2022_JP {
        text.push_str(utf8(bytes)?);
        return Ok(());
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    text.reserve(
        decoder
            .max_utf8_buffer_length_without_replacement(bytes.len())
            .unwrap_or(bytes.len() * 3 + 16),
    );
    match decoder.decode_to_string_without_replacement(bytes, text, true) {
        (DecoderResult::InputEmpty, _) => Ok(()),
        (DecoderResult::Malformed(bad, after), read) => Err(read.saturating_sub(usize::from(bad) + usize::from(after))),
        (DecoderResult::OutputFull, read) => Err(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Delimiters;

    #[test]
    fn names() {
        for (name, label) in [
            ("UNICODE UTF-8", "UTF-8"),
            ("8859/1", "windows-1252"),
            ("8859/15", "ISO-8859-15"),
            ("ISO-8859-2", "ISO-8859-2"),
            ("GB 18030-2000", "gb18030"),
            ("gbk", "gb18030"),
            ("BIG-5", "Big5"),
            ("windows-1251", "windows-1251"),
        ] {
            match named(name.as_bytes()) {
                Declared::Known(found) => assert_eq!(found.name(), label, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(named(b"ASCII"), Declared::Ascii);
        assert_eq!(named(b"ISO IR87"), Declared::Known(ISO_2022_JP));
        for unknown in ["ISO IR149", "ISO IR159", "ISO-2022-KR", "CNS 11643-1992", "XYZ"] {
            assert_eq!(named(unknown.as_bytes()), Declared::Unknown, "{unknown}");
        }
    }

    #[test]
    fn repetitions() {
        let delimiters = Delimiters::of(br"MSH|^~\&|").unwrap();
        for (field, declared) in [
            ("", Declared::Nothing),
            ("ASCII", Declared::Ascii),
            ("~ASCII", Declared::Ascii),
            ("ASCII~ISO IR87", Declared::Known(ISO_2022_JP)),
            ("~ISO IR87~ISO IR159", Declared::Known(ISO_2022_JP)),
            ("ASCII~ISO IR149", Declared::Unknown),
            ("GBK~UNICODE UTF-8", Declared::Known(GB18030)),
        ] {
            assert_eq!(any(field.as_bytes(), &delimiters), declared, "{field}");
        }
    }

    #[test]
    fn finds_msh_18_behind_a_character_of_7_bits_with_a_delimiter_in_it() {
        let text = "MSH|^~\\&|亨|区|||20240101||ORU^R01|1|P|2.4||||||~ISO IR87";
        let (bytes, _, _) = ISO_2022_JP.encode(text);
        assert!(bytes.is_ascii() && bytes.iter().filter(|&&b| b == b'|').count() > text.matches('|').count());
        let delimiters = Delimiters::of(&bytes).unwrap();
        assert_eq!(declared(&bytes, &delimiters), Declared::Known(ISO_2022_JP));
    }

    #[test]
    fn finds_msh_18_behind_a_character_with_a_delimiter_in_it() {
        let text = "MSH|^~\\&|億LIS|區|||20240101||ORU^R01|1|P|2.4||||||GBK";
        let (bytes, _, _) = GB18030.encode(text);
        assert!(bytes.iter().filter(|&&b| b == b'|').count() > text.matches('|').count());
        let delimiters = Delimiters::of(&bytes).unwrap();
        assert_eq!(declared(&bytes, &delimiters), Declared::Known(GB18030));
    }
}
