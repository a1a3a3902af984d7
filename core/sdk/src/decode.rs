//! Character encodings of hospital exports: named, or recognised from the first bytes.

use crate::PluginError;
use encoding_rs::{GB18030, UTF_8, UTF_16BE, UTF_16LE};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// How the bytes of an input become text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Recognised by byte order mark, else UTF-8 where the bytes are valid UTF-8 but for a few, else GB18030.
    #[default]
    Auto,
    /// UTF-8, with or without byte order mark.
    #[serde(rename = "utf-8", alias = "utf8")]
    Utf8,
    /// GB18030, of which GBK and GB2312 are subsets.
    #[serde(alias = "gbk", alias = "gb2312")]
    Gb18030,
    /// UTF-16, little endian unless a byte order mark says otherwise.
    #[serde(rename = "utf-16", alias = "utf16", alias = "utf-16le")]
    Utf16,
    /// UTF-16, big endian.
    #[serde(rename = "utf-16be")]
    Utf16Be,
    /// ISO 8859-1, as Windows-1252.
    #[serde(rename = "latin1", alias = "iso-8859-1", alias = "windows-1252", alias = "ascii")]
    Latin1,
}

/// What [`Encoding::resolve`] found: the encoding and how many bytes of byte order mark to skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Never [`Encoding::Auto`].
    pub encoding: Encoding,
    /// Bytes of byte order mark at the start.
    pub bom: usize,
}

impl Encoding {
    /// The encoding to use for an input that begins with `head` (64 KiB are enough). `whole` says that `head` is
    /// all there is.
    pub fn resolve(self, head: &[u8], whole: bool) -> Resolved {
        let (marked, bom) = match head {
            [0xef, 0xbb, 0xbf, ..] => (Some(Self::Utf8), 3),
            [0xff, 0xfe, ..] => (Some(Self::Utf16), 2),
            [0xfe, 0xff, ..] => (Some(Self::Utf16Be), 2),
            _ => (None, 0),
        };
        match (self, marked) {
            (Self::Auto, Some(encoding)) => Resolved { encoding, bom },
            (Self::Auto, None) => Resolved {
                encoding: guess(head, whole),
                bom: 0,
            },
            (Self::Utf16, Some(Self::Utf16Be)) => Resolved {
                encoding: Self::Utf16Be,
                bom,
            },
            (named, Some(marked)) if named == marked => Resolved { encoding: named, bom },
            (named, _) => Resolved {
                encoding: named,
                bom: 0,
            },
        }
    }

    /// Refuses an input whose byte order mark says another encoding than the options do.
    ///
    /// # Errors
    /// `ENCODING`, which names both.
    pub fn check_mark(self, head: &[u8]) -> Result<(), PluginError> {
        let marked = Self::Auto.resolve(head.get(..3).unwrap_or(head), false);
        let agrees = match (self, marked.encoding) {
            (Self::Auto, _) | (Self::Utf16, Self::Utf16Be) => true,
            (named, marked) => named == marked,
        };
        if marked.bom == 0 || agrees {
            return Ok(());
        }
        let message = format!(
            "the input begins with the byte order mark of {}, and the option `encoding` says {}",
            marked.encoding.name(),
            self.name()
        );
        Err(PluginError::data(0, "ENCODING", message))
    }

    /// The encoding as `encoding_rs` knows it; [`Encoding::Auto`] counts as UTF-8.
    pub fn encoding_rs(self) -> &'static encoding_rs::Encoding {
        match self {
            Self::Auto | Self::Utf8 => UTF_8,
            Self::Gb18030 => GB18030,
            Self::Utf16 => UTF_16LE,
            Self::Utf16Be => UTF_16BE,
            Self::Latin1 => encoding_rs::WINDOWS_1252,
        }
    }

    /// Decodes a piece of text that stands at byte `offset` of its input. Borrows where nothing changes.
    ///
    /// # Errors
    /// `ENCODING` with the offset of the first byte that the encoding does not know.
    pub fn decode(self, bytes: &[u8], offset: u64) -> Result<Cow<'_, str>, PluginError> {
        let encoding = self.encoding_rs();
        if let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(bytes) {
            return Ok(text);
        }
        Err(PluginError::data(
            offset + first_bad(encoding, bytes) as u64,
            "ENCODING",
            format!("the bytes are not {}", self.name()),
        ))
    }

    /// The name that pipelines use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Utf8 => "utf-8",
            Self::Gb18030 => "gb18030",
            Self::Utf16 => "utf-16",
            Self::Utf16Be => "utf-16be",
            Self::Latin1 => "latin1",
        }
    }
}

/// Without a byte order mark: zero bytes in every second place are UTF-16; UTF-8 is UTF-8; what cannot be GB18030 and is
/// Chinese in UTF-16 is UTF-16; the rest GB18030.
fn guess(head: &[u8], whole: bool) -> Encoding {
    let pairs = head.chunks_exact(2);
    let half = (pairs.len() * 2 / 5).max(1);
    if head.len() >= 4 {
        if head.chunks_exact(2).filter(|p| p[1] == 0 && p[0] != 0).count() >= half {
            return Encoding::Utf16;
        }
        if head.chunks_exact(2).filter(|p| p[0] == 0 && p[1] != 0).count() >= half {
            return Encoding::Utf16Be;
        }
    }
    if is_utf8(head, whole) {
        return Encoding::Utf8;
    }
    let is_wide = |unit: fn([u8; 2]) -> u16| {
        let units = head.chunks_exact(2).filter_map(|pair| pair.first_chunk().copied());
        let fit = units.filter(|pair| is_of_chinese(unit(*pair))).count();
        fit > 0 && fit * 50 >= head.len() / 2 * 49
    };
    // Text has no such bytes; MLLP has VT and FS.
    let strange = |b: &u8| matches!(b, 0..=8 | 0x0e..=0x1b | 0x1d..=0x1f | 0x7f | 0xff);
    if head.iter().any(strange) {
        if is_wide(u16::from_le_bytes) {
            return Encoding::Utf16;
        }
        if is_wide(u16::from_be_bytes) {
            return Encoding::Utf16Be;
        }
    }
    Encoding::Gb18030
}

/// A unit of UTF-16 that Chinese text consists of: ASCII, ideographs, and the marks between them.
const fn is_of_chinese(unit: u16) -> bool {
    matches!(unit, 9 | 10 | 13 | 0x20..=0x7e | 0x3000..=0x303f | 0x4e00..=0x9fff | 0xff00..=0xffef)
}

/// True for UTF-8 and for UTF-8 with a few bytes that are not, such as one broken field or a last character that is cut:
/// sequences of three bytes and more, as Chinese has them, outnumber what is not UTF-8 by two to one. Text in GB18030 often
/// has sequences of two bytes that are valid, and hardly ever longer ones: these count where they are many, all of them are
/// letters and signs of Latin or Greek (`µ`, `±`, `ü`), and hardly anything is not UTF-8. `whole`: nothing follows these bytes.
pub fn is_utf8(bytes: &[u8], whole: bool) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => return true,
        // A sequence cut by the end of the sample is no evidence against UTF-8.
        Err(error) if !whole && error.error_len().is_none() => return true,
        Err(_) => {}
    }
    let (mut long, mut short, mut odd, mut bad) = (0, 0, 0, 0);
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars().filter(|letter| !letter.is_ascii()) {
            match letter {
                '\u{3000}'.. => long += 1,
                '\u{a0}'..='\u{17f}' | '\u{391}'..='\u{3c9}' => short += 1,
                _ => odd += 1,
            }
        }
        bad += usize::from(!chunk.invalid().is_empty());
    }
    long >= 2 && long >= 2 * bad || odd == 0 && short >= 20 && short >= 20 * bad
}

fn first_bad(encoding: &'static encoding_rs::Encoding, bytes: &[u8]) -> usize {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let capacity = decoder
        .max_utf8_buffer_length_without_replacement(bytes.len())
        .unwrap_or(bytes.len() * 4 + 16);
    let mut text = vec![0; capacity];
    match decoder.decode_to_utf8_without_replacement(bytes, &mut text, true) {
        (encoding_rs::DecoderResult::Malformed(bad, after), read, _) => {
            read.saturating_sub(usize::from(bad) + usize::from(after))
        }
        (_, read, _) => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises() {
        let of = |bytes: &[u8]| Encoding::Auto.resolve(bytes, true).encoding;
        assert_eq!(of("病案号".as_bytes()), Encoding::Utf8);
        assert_eq!(of(&GB18030.encode("病案号,姓名").0), Encoding::Gb18030);
        assert_eq!(of(b"\xff\xfea\0b\0"), Encoding::Utf16);
        assert_eq!(of(b"a\0b\0c\0d\0"), Encoding::Utf16);
        assert_eq!(of(b"\xef\xbb\xbfabc"), Encoding::Utf8);
        assert_eq!(
            Encoding::Auto.resolve(&"病".as_bytes()[..2], false).encoding,
            Encoding::Utf8
        );
    }

    #[test]
    fn a_few_bad_bytes_are_no_other_encoding() {
        let of = |bytes: &[u8]| Encoding::Auto.resolve(bytes, true).encoding;
        let signs = [&"12 µmol/L ±2 °C\n".repeat(20).into_bytes()[..], b"\xb5g\n"].concat();
        assert_eq!(of(&signs), Encoding::Utf8);
        for words in ["双胎,肌酐\n", "止痛,男\n", "痰湿,正常\n"] {
            assert_eq!(of(&GB18030.encode(&words.repeat(50)).0), Encoding::Gb18030, "{words}");
        }
        let valid = GB18030.encode("止痛").0;
        let mostly = [valid.repeat(500), GB18030.encode("男").0.to_vec()].concat();
        assert_eq!(of(&mostly), Encoding::Gb18030);
        let utf8 = "检查正常".as_bytes();
        assert_eq!(of(&[utf8, b"\xb5g"].concat()), Encoding::Utf8);
        assert_eq!(of(&[b"5 \xb5g,", utf8].concat()), Encoding::Utf8);
        assert_eq!(of(&utf8[..utf8.len() - 1]), Encoding::Utf8);
        // As many characters of GB18030 are valid as it may be: these are UTF-8 too, and are taken for it.
        assert_eq!(of(&GB18030.encode("通").0), Encoding::Utf8);
        for text in [
            "联通丨",
            "联通联通血",
            "病案号,姓名\n1,张三",
            "铵阿",
            "患者女性，六十岁，一般情况可，心肺听诊正常。",
            "a long line in English, and then 正常",
            "5 正",
        ] {
            assert_eq!(of(&GB18030.encode(text).0), Encoding::Gb18030, "{text}");
        }
    }

    #[test]
    fn chinese_in_utf16_without_a_mark() {
        let of = |bytes: &[u8]| Encoding::Auto.resolve(bytes, true).encoding;
        let units = |of: fn(u16) -> [u8; 2]| "入院记录患者男".encode_utf16().flat_map(of).collect::<Vec<u8>>();
        assert_eq!(of(&units(u16::to_le_bytes)), Encoding::Utf16);
        assert_eq!(of(&units(u16::to_be_bytes)), Encoding::Utf16Be);
        assert_eq!(
            of(&[b"\x0bMSH|^~", &GB18030.encode("入院记录").0[..], b"\x1c\r"].concat()),
            Encoding::Gb18030
        );
    }

    #[test]
    fn a_mark_that_says_otherwise() {
        for (encoding, head, agrees) in [
            (Encoding::Gb18030, &b"\xef\xbb\xbfid"[..], false),
            (Encoding::Utf8, b"\xef\xbb\xbfid", true),
            (Encoding::Utf8, b"\xff\xfei\0", false),
            (Encoding::Utf16, b"\xfe\xff\0i", true),
            (Encoding::Utf16Be, b"\xff\xfei\0", false),
            (Encoding::Auto, b"\xff\xfei\0", true),
            (Encoding::Gb18030, b"id", true),
            (Encoding::Gb18030, b"", true),
        ] {
            assert_eq!(encoding.check_mark(head).is_ok(), agrees, "{encoding:?} {head:?}");
        }
        let resolved = Encoding::Utf16.resolve(b"\xfe\xff\0i", true);
        assert_eq!((resolved.encoding, resolved.bom), (Encoding::Utf16Be, 2));
    }

    #[test]
    fn names_the_first_bad_byte() {
        let error = Encoding::Utf8.decode(b"abc\xb2\xa1", 100).unwrap_err();
        assert_eq!(error.offset, Some(103));
        assert!(Encoding::Gb18030.decode(b"abc\xb2\xa1", 0).is_ok());
    }
}
