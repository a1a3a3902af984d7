//! What a delimited file looks like: encoding, delimiter, quote and line end, given or found in its first bytes.

use crate::config::Config;
use clinmill_sdk::{
    Input, PluginError,
    decode::{self, Encoding},
};
use std::borrow::Cow;

/// Bytes looked at to find delimiter and line end.
const HEAD: usize = 1 << 16;
/// With `encoding: auto`: how far to look for the first byte that is not ASCII.
const ASCII_SCAN: u64 = 64 << 20;
/// Bytes beyond ASCII that are too few to say what the encoding is.
const FEW: usize = 64;
/// Delimiters that are found without being named, the likelier first.
const CANDIDATES: [u8; 4] = [b',', b'\t', b';', b'|'];
/// Lines that vote on the delimiter.
const VOTERS: usize = 50;

/// The dialect of a delimited file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Never `Auto`.
    pub encoding: Encoding,
    /// Bytes of byte order mark.
    pub bom: u64,
    /// Field separator.
    pub delimiter: u8,
    /// Quote, if any.
    pub quote: Option<u8>,
    /// Line end: LF (with or without a CR before it), or CR alone.
    pub newline: u8,
    /// Longest quoted field in bytes.
    pub max_field: usize,
}

impl Layout {
    /// Looks at an input.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn detect(input: &dyn Input, config: &Config) -> Result<Self, PluginError> {
        let head = read(input, 0, HEAD)?;
        config.encoding.check_mark(&head)?;
        let whole = head.len() as u64 == input.size();
        let mut resolved = config.encoding.resolve(&head, whole);
        if config.encoding == Encoding::Auto && resolved.encoding == Encoding::Utf8 && head.is_ascii() && !whole {
            resolved.encoding = beyond_ascii(input, head.len() as u64)?;
        }
        if config.encoding == Encoding::Auto && resolved.encoding == Encoding::Gb18030 && !whole {
            resolved.encoding = with_more(input, head.clone())?;
        }
        let text = decoded(resolved.encoding, head.get(resolved.bom..).unwrap_or_default());
        let quote = config.quote.and_then(|c| u8::try_from(c).ok());
        let newline = newline(text.as_bytes(), quote);
        let named = config.delimiter.and_then(|c| u8::try_from(c).ok());
        Ok(Self {
            encoding: resolved.encoding,
            bom: resolved.bom as u64,
            delimiter: named.unwrap_or_else(|| delimiter(text.as_bytes(), newline, quote, config.header_row)),
            quote,
            newline,
            max_field: config.max_field,
        })
    }

    /// Bytes of one code unit.
    pub const fn unit(&self) -> usize {
        if matches!(self.encoding, Encoding::Utf16 | Encoding::Utf16Be) {
            2
        } else {
            1
        }
    }

    /// Where the line end at or after `from` stands in undecoded bytes that begin on a whole code unit.
    pub fn find_newline(&self, raw: &[u8], from: usize) -> Option<usize> {
        if self.unit() == 1 {
            return memchr::memchr(self.newline, raw.get(from..)?).map(|i| from + i);
        }
        let unit = self.newline_unit();
        raw.get(from..)?
            .chunks_exact(2)
            .position(|pair| pair == unit)
            .map(|i| from + i * 2)
    }

    /// As [`find_newline`](Self::find_newline), the last one.
    pub fn find_last_newline(&self, raw: &[u8]) -> Option<usize> {
        if self.unit() == 1 {
            return memchr::memrchr(self.newline, raw);
        }
        let unit = self.newline_unit();
        raw.chunks_exact(2).rposition(|pair| pair == unit).map(|i| i * 2)
    }

    /// How many line ends stand in undecoded bytes.
    pub fn count_newlines(&self, raw: &[u8]) -> u64 {
        if self.unit() == 1 {
            return memchr::memchr_iter(self.newline, raw).count() as u64;
        }
        let unit = self.newline_unit();
        raw.chunks_exact(2).filter(|pair| **pair == unit).count() as u64
    }

    const fn newline_unit(&self) -> [u8; 2] {
        if matches!(self.encoding, Encoding::Utf16Be) {
            [0, self.newline]
        } else {
            [self.newline, 0]
        }
    }
}

/// Up to `most` bytes from an offset.
pub fn read(input: &dyn Input, offset: u64, most: usize) -> Result<Vec<u8>, PluginError> {
    let left = usize::try_from(input.size().saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; most.min(left)];
    let mut have = 0;
    while let Some(rest) = bytes.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match input.read_at(offset + have as u64, rest)? {
            0 => break,
            got => have += got,
        }
    }
    bytes.truncate(have);
    Ok(bytes)
}

/// UTF-8 or GB18030, by the first bytes that are not ASCII.
fn beyond_ascii(input: &dyn Input, from: u64) -> Result<Encoding, PluginError> {
    Ok(sample_beyond(input, from)?.map_or(Encoding::Utf8, |(sample, whole)| {
        Encoding::Auto.resolve(&sample, whole).encoding
    }))
}

/// UTF-8 or GB18030, where the first bytes say GB18030: so few of them may be beyond ASCII that they are no more than damage.
fn with_more(input: &dyn Input, mut head: Vec<u8>) -> Result<Encoding, PluginError> {
    if head.iter().filter(|b| !b.is_ascii()).count() > FEW {
        return Ok(Encoding::Gb18030);
    }
    let more = sample_beyond(input, head.len() as u64)?;
    let is_utf8 = more.is_some_and(|(sample, whole)| {
        head.extend(sample);
        decode::is_utf8(&head, whole)
    });
    Ok(if is_utf8 { Encoding::Utf8 } else { Encoding::Gb18030 })
}

/// What begins with the first byte that is not ASCII, and whether it goes to the end.
fn sample_beyond(input: &dyn Input, from: u64) -> Result<Option<(Vec<u8>, bool)>, PluginError> {
    let mut offset = from;
    while offset < input.size().min(ASCII_SCAN) {
        let bytes = read(input, offset, 1 << 20)?;
        if bytes.is_empty() {
            break;
        }
        if let Some(first) = bytes.iter().position(|b| !b.is_ascii()) {
            let at = offset + first as u64;
            // The sample begins with a lead byte, so it cannot be cut in front.
            let sample = read(input, at, HEAD)?;
            let whole = at + sample.len() as u64 == input.size();
            return Ok(Some((sample, whole)));
        }
        offset += bytes.len() as u64;
    }
    Ok(None)
}

fn decoded(encoding: Encoding, head: &[u8]) -> Cow<'_, str> {
    encoding.encoding_rs().decode_without_bom_handling(head).0
}

/// The first line end outside quotes says it; else any.
fn newline(text: &[u8], quote: Option<u8>) -> u8 {
    let mut quoted = false;
    for (i, byte) in text.iter().enumerate() {
        if Some(*byte) == quote {
            quoted = !quoted;
        } else if !quoted && *byte == b'\n' {
            return b'\n';
        } else if !quoted && *byte == b'\r' {
            return if text.get(i + 1) == Some(&b'\r') || text.get(i + 1) != Some(&b'\n') {
                b'\r'
            } else {
                b'\n'
            };
        }
    }
    if !text.contains(&b'\n') && text.contains(&b'\r') {
        b'\r'
    } else {
        b'\n'
    }
}

/// The delimiter of the header row with which the most lines have as many fields as the header.
fn delimiter(text: &[u8], newline: u8, quote: Option<u8>, header_row: u32) -> u8 {
    let lines: Vec<&[u8]> = text
        .split(|b| *b == newline)
        .skip(header_row.saturating_sub(1) as usize)
        .filter(|line| !line.trim_ascii().is_empty())
        .take(VOTERS)
        .collect();
    let count = |line: &[u8], delimiter: u8| {
        let (mut quoted, mut n) = (false, 0usize);
        for byte in line {
            quoted ^= Some(*byte) == quote;
            n += usize::from(!quoted && *byte == delimiter);
        }
        n
    };
    let mut best = (0, 0, b',');
    for candidate in CANDIDATES {
        let fields = lines.first().map_or(0, |header| count(header, candidate));
        if fields > 0 {
            let votes = lines.iter().filter(|line| count(line, candidate) == fields).count();
            if (votes, fields) > (best.0, best.1) {
                best = (votes, fields, candidate);
            }
        }
    }
    best.2
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinmill_sdk::MemoryInput;

    fn detect(bytes: &[u8]) -> Layout {
        let config: Config = serde_json::from_value(serde_json::json!({"subject": "none"})).expect("options");
        Layout::detect(&MemoryInput::new("x", bytes), &config).expect("layout")
    }

    #[test]
    fn finds_delimiter_and_line_end() {
        assert_eq!(detect(b"a;b;c\n1,5;2,5;3\n").delimiter, b';');
        assert_eq!(detect(b"a\tb\n1,2\t3\n").delimiter, b'\t');
        assert_eq!(detect(b"\"a|b\",c\n1,2\n").delimiter, b',');
        assert_eq!(detect("病案号|姓名\n1|甲,乙\n".as_bytes()).delimiter, b'|');
        assert_eq!(detect(b"one\n1\n").delimiter, b',');
        assert_eq!(detect(b"a,b\r1,2\r").newline, b'\r');
        assert_eq!(detect(b"a,b\r\n1,2\r\n").newline, b'\n');
        assert_eq!(detect(b"\"a\nb\",c\r1,2\r").newline, b'\r');
    }

    #[test]
    fn finds_the_encoding_behind_a_long_ascii_start() {
        let mut bytes = b"a,b\n".repeat(40_000);
        bytes.extend_from_slice(&encoding_rs::GB18030.encode("病案号,姓名\n").0);
        assert_eq!(detect(&bytes).encoding, Encoding::Gb18030);
        let mut bytes = b"a,b\n".repeat(40_000);
        bytes.extend_from_slice("病案号,姓名\n".as_bytes());
        assert_eq!(detect(&bytes).encoding, Encoding::Utf8);
    }

    #[test]
    fn one_bad_byte_far_before_the_rest_is_no_encoding() {
        let ascii = b"a,b\n".repeat(40_000);
        let with = |rest: &[u8]| [b"a,b\n5 \xb5g,b\n", ascii.as_slice(), rest].concat();
        assert_eq!(detect(&with("病案号,姓名\n".as_bytes())).encoding, Encoding::Utf8);
        assert_eq!(
            detect(&with(&encoding_rs::GB18030.encode("病案号,姓名\n").0)).encoding,
            Encoding::Gb18030
        );
        assert_eq!(detect(&with(b"")).encoding, Encoding::Gb18030);
    }
}
