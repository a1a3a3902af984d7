//! The bytes of a split, as they are or, where they are UTF-16, as UTF-8.

use clinmill_sdk::{Input, InputReader, PluginError, Split};
use encoding_rs::{CoderResult, Decoder, Encoding};
use std::io::Read;

const BLOCK: usize = 1 << 16;

/// Reads a split in blocks.
pub struct Bytes<'a> {
    reader: InputReader<'a>,
    wide: Option<Wide>,
}

struct Wide {
    decoder: Decoder,
    raw: Vec<u8>,
    start: usize,
    end: usize,
    last: bool,
    malformed: bool,
}

impl<'a> Bytes<'a> {
    /// The bytes of `split`; `wide` names the kind of UTF-16 to decode.
    pub fn new(input: &'a dyn Input, split: &Split, wide: Option<&'static Encoding>) -> Self {
        let wide = wide.map(|encoding| Wide {
            decoder: encoding.new_decoder_without_bom_handling(),
            raw: vec![0; BLOCK],
            start: 0,
            end: 0,
            last: false,
            malformed: false,
        });
        Self {
            reader: InputReader::new(input, split.start..split.end),
            wide,
        }
    }

    /// The input offset of the next byte to read; before the first read, of the first byte.
    pub fn offset(&self) -> u64 {
        self.reader.position()
    }

    /// True where UTF-16 becomes UTF-8.
    pub fn transcoded(&self) -> bool {
        self.wide.is_some()
    }

    /// True once something was read that is not UTF-16; it reads as U+FFFD.
    pub fn malformed(&self) -> bool {
        self.wide.as_ref().is_some_and(|wide| wide.malformed)
    }

    /// How many bytes of the input `text` was made of. Every malformed unit of UTF-16 is one U+FFFD, so this holds
    /// for those, too.
    pub fn input_length(&self, text: &[u8]) -> u64 {
        if self.wide.is_none() {
            return text.len() as u64;
        }
        let units: usize = text
            .iter()
            .map(|&b| usize::from(b & 0xc0 != 0x80) + usize::from(b >= 0xf0))
            .sum();
        units as u64 * 2
    }

    /// Reads into `buf`, which is not empty; 0 at the end.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, PluginError> {
        let Some(wide) = &mut self.wide else {
            return Ok(self.reader.read(buf)?);
        };
        loop {
            if wide.start == wide.end && !wide.last {
                wide.start = 0;
                wide.end = self.reader.read(&mut wide.raw)?;
                wide.last = wide.end == 0;
            }
            let raw = wide.raw.get(wide.start..wide.end).unwrap_or_default();
            let (result, read, written, malformed) = wide.decoder.decode_to_utf8(raw, buf, wide.last);
            wide.start += read;
            wide.malformed |= malformed;
            if written > 0 {
                return Ok(written);
            }
            if wide.last && result == CoderResult::InputEmpty {
                return Ok(0);
            }
        }
    }
}
