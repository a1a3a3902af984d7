//! Blocks of whole lines from an input, decoded, with the way back from a line's end to its bytes.

use crate::layout::Layout;
use clinmill_sdk::{InputReader, PluginError, decode::Encoding};
use encoding_rs::DecoderResult;
use std::io::Read;

/// Bytes read at once.
pub const BLOCK: usize = 1 << 18;

/// A window of undecoded bytes that moves through an input.
pub struct Blocks<'i> {
    reader: InputReader<'i>,
    raw: Vec<u8>,
    base: u64,
    end: bool,
}

impl<'i> Blocks<'i> {
    /// From the reader's position on.
    pub fn new(reader: InputReader<'i>) -> Self {
        let base = reader.position();
        Self {
            reader,
            raw: Vec::with_capacity(BLOCK * 2),
            base,
            end: false,
        }
    }

    /// Offset of the window in the input.
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// Bytes of the window.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// True when the window reaches the end of the range.
    pub const fn at_end(&self) -> bool {
        self.end
    }

    /// Lets go of the first bytes of the window.
    pub fn consume(&mut self, n: usize) {
        let n = n.min(self.raw.len());
        self.raw.drain(..n);
        self.base += n as u64;
    }

    /// Reads on: a block, or as much again as there is, so that a long row is looked at few times.
    pub fn read_on(&mut self) -> Result<(), PluginError> {
        let want = BLOCK.max(self.raw.len());
        let mut have = self.raw.len();
        let goal = have + want;
        self.raw.resize(goal, 0);
        while have < goal {
            let Some(rest) = self.raw.get_mut(have..) else { break };
            match self.reader.read(rest)? {
                0 => {
                    self.end = true;
                    break;
                }
                got => have += got,
            }
        }
        self.raw.truncate(have);
        Ok(())
    }
}

/// Decodes blocks; keeps its buffer.
#[derive(Default)]
pub struct Decoder {
    text: String,
    /// Where the text has a replacement character for bytes that the encoding does not know, and those bytes' place.
    bad: Vec<(usize, usize)>,
}

impl Decoder {
    /// Decodes whole lines.
    pub fn decode<'b>(&'b mut self, raw: &'b [u8], layout: &'b Layout) -> Decoded<'b> {
        self.text.clear();
        self.bad.clear();
        if layout.encoding == Encoding::Utf8 {
            if let Ok(text) = std::str::from_utf8(raw) {
                return Decoded {
                    text,
                    bad: &self.bad,
                    lines: None,
                };
            }
            self.lossy(raw);
        } else {
            self.foreign(raw, layout.encoding);
        }
        Decoded {
            text: &self.text,
            bad: &self.bad,
            lines: Some(Lines {
                text: &self.text,
                raw,
                layout,
                text_at: 0,
                raw_at: 0,
            }),
        }
    }

    fn lossy(&mut self, raw: &[u8]) {
        let mut at = 0;
        for chunk in raw.utf8_chunks() {
            self.text.push_str(chunk.valid());
            at += chunk.valid().len();
            if !chunk.invalid().is_empty() {
                self.bad.push((self.text.len(), at));
                self.text.push(char::REPLACEMENT_CHARACTER);
                at += chunk.invalid().len();
            }
        }
    }

    fn foreign(&mut self, raw: &[u8], encoding: Encoding) {
        let mut decoder = encoding.encoding_rs().new_decoder_without_bom_handling();
        let mut at = 0;
        loop {
            let rest = raw.get(at..).unwrap_or_default();
            let need = decoder
                .max_utf8_buffer_length_without_replacement(rest.len())
                .unwrap_or(rest.len() * 3 + 16);
            self.text.reserve(need);
            let (result, read) = decoder.decode_to_string_without_replacement(rest, &mut self.text, true);
            at += read;
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(bad, after) => {
                    self.bad.push((
                        self.text.len(),
                        at.saturating_sub(usize::from(bad) + usize::from(after)),
                    ));
                    self.text.push(char::REPLACEMENT_CHARACTER);
                }
            }
        }
    }
}

/// Decoded lines.
pub struct Decoded<'b> {
    /// The text.
    pub text: &'b str,
    /// Place in the text and in the bytes of everything that is not of the encoding.
    pub bad: &'b [(usize, usize)],
    lines: Option<Lines<'b>>,
}

impl Decoded<'_> {
    /// The place in the bytes of a place in the text that follows a line end, or of the text's end. Places must be
    /// asked for in order.
    #[inline]
    pub fn raw_of(&mut self, text_at: usize) -> usize {
        self.lines.as_mut().map_or(text_at, |lines| lines.raw_of(text_at))
    }

    /// Bytes of a line end of so many characters.
    pub fn raw_end(&self, characters: usize) -> usize {
        self.lines
            .as_ref()
            .map_or(characters, |lines| characters * lines.layout.unit())
    }
}

/// A line end is never part of another character in the encodings used here, so the n-th of the text is the n-th of
/// the bytes.
struct Lines<'b> {
    text: &'b str,
    raw: &'b [u8],
    layout: &'b Layout,
    text_at: usize,
    raw_at: usize,
}

impl Lines<'_> {
    fn raw_of(&mut self, to: usize) -> usize {
        while self.text_at < to {
            let rest = self.text.as_bytes().get(self.text_at..to).unwrap_or_default();
            let next = memchr::memchr(self.layout.newline, rest);
            let next_raw = self.layout.find_newline(self.raw, self.raw_at);
            let (Some(text), Some(raw)) = (next, next_raw) else {
                self.text_at = to;
                self.raw_at = self.raw.len();
                break;
            };
            self.text_at += text + 1;
            self.raw_at = raw + self.layout.unit();
        }
        self.raw_at
    }
}
