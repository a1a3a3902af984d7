//! From the bytes of an input to messages, each with its segments: line ends, MLLP blocks, batch envelopes, garbage.
//!
//! CR, LF and the MLLP bytes never occur inside a character of UTF-8, GB18030 or a single-byte set, so messages are
//! cut from undecoded bytes. UTF-16 is turned into UTF-8 on the way in, and offsets are counted back.

use crate::{
    bytes::Bytes,
    glued::{self, Own},
};
use clinmill_sdk::PluginError;
use memchr::memchr3;

/// MLLP: start of a block (HL7 v2.5 implementation guide, appendix C: minimal lower layer protocol).
const VT: u8 = 0x0b;
/// MLLP: end of a block.
const FS: u8 = 0x1c;
const BOM: &[u8] = b"\xef\xbb\xbf";
/// How many bytes of a line are looked at to tell what it is.
const LOOK: usize = 64;
const BLOCK: usize = 1 << 20;
/// How much of a message is read before it is searched for a header in the middle of a line.
const STRIDE: usize = 4096;
/// Bytes before a message that are looked at: what stands between two is shorter.
pub const BEFORE: usize = 64;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A line that begins with `MSH`, and the segments after it, up to the next header wherever it stands.
    Message,
    /// One line of a batch envelope: `FHS`, `BHS`, `BTS` or `FTS`.
    Envelope,
    /// Lines that belong to no message.
    Outside,
    /// A message longer than allowed; its bytes are gone.
    TooLong,
}

/// How a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By what ends it, or by what begins after it.
    Told,
    /// The bytes end within its last line: nothing says that there was no more.
    InLine,
    /// The bytes end within its MLLP block.
    InBlock,
}

/// A piece of the input.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// What it is.
    pub kind: FrameKind,
    /// How it ends.
    pub end: End,
    start: usize,
    len: usize,
    /// Byte offset in the input.
    pub offset: u64,
    /// Length in bytes of the input.
    pub length: u64,
}

/// A line of a message; offsets within the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// First byte.
    pub start: u32,
    /// End, exclusive, without the line end.
    pub end: u32,
    /// False for a line that is no segment.
    pub segment: bool,
}

/// Cuts a range of an input into frames. Holds one message and one block at a time.
pub struct Frames<'a> {
    bytes: Bytes<'a>,
    buf: Vec<u8>,
    /// The next byte to frame.
    pos: usize,
    /// End of the bytes in `buf`.
    filled: usize,
    /// Input offset of `pos`.
    offset: u64,
    eof: bool,
    max: usize,
    own: Own,
    /// So many bytes from `pos` on are known to hold no line end.
    unbroken: usize,
}

impl<'a> Frames<'a> {
    /// Frames of `bytes`; messages of more than `max` bytes are dropped.
    pub fn new(bytes: Bytes<'a>, max: usize) -> Self {
        let offset = bytes.offset();
        Self {
            bytes,
            buf: Vec::new(),
            pos: 0,
            filled: 0,
            offset,
            eof: false,
            max,
            own: Own::default(),
            unbroken: 0,
        }
    }

    /// The same with the last bytes before the range: a block may begin there.
    pub fn after(mut self, before: Vec<u8>) -> Self {
        (self.pos, self.filled) = (before.len(), before.len());
        self.buf = before;
        self
    }

    /// The next frame; `lines` are those of a message. The frame's bytes stay until the next call.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn next(&mut self, lines: &mut Vec<Line>) -> Result<Option<Frame>, PluginError> {
        lines.clear();
        if !self.skip_blank()? {
            return Ok(None);
        }
        match header(self.rest(0)) {
            Some(Header::Message) => self.message(lines).map(Some),
            Some(Header::Envelope) => self.envelope().map(Some),
            None => self.skip(FrameKind::Outside).map(Some),
        }
    }

    /// The bytes of the frame that was last returned (in UTF-8 where the input is UTF-16).
    pub fn text(&self, frame: &Frame) -> &[u8] {
        self.buf.get(frame.start..frame.start + frame.len).unwrap_or_default()
    }

    /// True when frames are not the input's own bytes but UTF-8 made of UTF-16.
    pub fn transcoded(&self) -> bool {
        self.bytes.transcoded()
    }

    /// True when some bytes so far were not UTF-16.
    pub fn malformed(&self) -> bool {
        self.bytes.malformed()
    }

    /// The input offset of the next byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Drops the line at hand and all that follow up to a line that begins a message or belongs to an envelope.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn skip_to_header(&mut self) -> Result<(), PluginError> {
        self.drop_to_header(None)
    }

    /// The same. With `glued`, a header in the middle of a line ends it, too, that many bytes on or later.
    fn drop_to_header(&mut self, glued: Option<usize>) -> Result<(), PluginError> {
        let mut glued = glued;
        loop {
            let end = memchr3(b'\r', b'\n', FS, self.rest(0));
            let line = self.rest(0).get(..end.unwrap_or(usize::MAX)).unwrap_or(self.rest(0));
            let within = glued.and_then(|from| Some(from + glued::find(line.get(from..)?)?));
            if let Some(at) = within {
                let text = line.get(..at).unwrap_or_default();
                let blanks = text.iter().rev().take_while(|byte| is_blank(**byte)).count();
                self.advance(at - blanks);
                return Ok(());
            }
            match end {
                Some(end) => {
                    self.want(end + 2)?;
                    let text = matches!(self.rest(end), [FS, next, ..] if *next != VT);
                    self.advance(end + 1);
                    glued = glued.map(|_| 0);
                    if text {
                        continue;
                    }
                }
                None => {
                    // What is kept may be the first bytes of a header.
                    let kept = if self.eof { 0 } else { glued::LONGEST };
                    let gone = (self.filled - self.pos).saturating_sub(kept);
                    self.advance(gone);
                    glued = glued.map(|from| from.saturating_sub(gone));
                    if self.eof {
                        return Ok(());
                    }
                    self.fill()?;
                    continue;
                }
            }
            self.want(LOOK)?;
            if self.rest(0).is_empty() || header(indented(look(self.rest(0)))).is_some() {
                return Ok(());
            }
        }
    }

    fn message(&mut self, lines: &mut Vec<Line>) -> Result<Frame, PluginError> {
        let block = begins_block(self.buf.get(..self.pos).unwrap_or_default());
        let separator = self.rest(0).get(3).copied().unwrap_or(0);
        self.own.learn(self.buf.get(self.pos..self.filled).unwrap_or_default());
        let (mut at, mut searched) = (0, 0);
        let mut told = End::Told;
        // Where the message ends, and where the next frame may begin.
        let (end, mut next) = loop {
            self.want(at + LOOK)?;
            let rest = self.rest(at);
            let mut shape = Shape::Segment;
            if at > 0 {
                match rest.first() {
                    None => {
                        told = match lines.last() {
                            _ if block => End::InBlock,
                            Some(line) if line.end as usize == at => End::InLine,
                            _ => End::Told,
                        };
                        break (at, at);
                    }
                    Some(&VT) => break (at, at),
                    Some(b'\r' | b'\n') => {
                        at += 1;
                        continue;
                    }
                    Some(&FS) => break (at, at + 1),
                    Some(_) if header(rest).is_some() => break (at, at),
                    Some(_) => shape = shape_of(rest, separator),
                }
            }
            let (start, segment) = match shape {
                Shape::Segment => (at, true),
                Shape::Indented(by) => (at + by, true),
                Shape::Header => break (at, at),
                Shape::Other => (at, false),
            };
            let whole = self.line_end(start)?;
            let end = whole.unwrap_or(self.filled - self.pos);
            self.line(lines, start, end, segment);
            at = end;
            if segment && whole.is_some() && end - searched < STRIDE {
                continue;
            }
            let glued = self.header_within(searched, start, end, segment);
            searched = end;
            match glued {
                Some(header) => {
                    self.unbroken = if header > start { end } else { 0 };
                    self.cut(lines, header);
                    break (header, header);
                }
                None if whole.is_none() => return self.skip(FrameKind::TooLong),
                None => {}
            }
        };
        if let Some(header) = self.header_within(searched, end, end, true) {
            told = End::Told;
            self.cut(lines, header);
            next = header;
        }
        let end = lines.last().map_or(end, |line| line.end as usize);
        if end > self.max {
            lines.clear();
            return self.skip(FrameKind::TooLong);
        }
        Ok(Frame {
            end: told,
            ..self.take(FrameKind::Message, end, next)
        })
    }

    /// Where a header stands in the middle of a line between `from` and `end`: one with the message's own delimiters,
    /// or in the line at `start`, where that is no segment, one with any.
    fn header_within(&self, from: usize, start: usize, end: usize, segment: bool) -> Option<usize> {
        let within = |from: usize| self.rest(0).get(from..end).unwrap_or_default();
        let own = self.own.find(within(from)).map(|at| from + at);
        let any = if segment { None } else { glued::find(within(start)) };
        own.into_iter().chain(any.map(|at| start + at)).min()
    }

    /// The message ends where a header stands in the middle of a line.
    fn cut(&self, lines: &mut Vec<Line>, header: usize) {
        while lines.pop_if(|line| line.start as usize >= header).is_some() {}
        let Some(last) = lines.last_mut().filter(|line| line.end as usize > header) else {
            return;
        };
        let text = self.rest(last.start as usize).get(..header - last.start as usize);
        let text = text.unwrap_or_default();
        let marks = text.iter().rev().take_while(|byte| matches!(**byte, VT | FS)).count();
        last.end = (header - marks) as u32;
        if trim(text).is_empty() {
            lines.pop();
        }
    }

    /// Adds a line to those of the message.
    fn line(&self, lines: &mut Vec<Line>, start: usize, end: usize, segment: bool) {
        let line = Line {
            start: start as u32,
            end: end as u32,
            segment,
        };
        if segment {
            return lines.push(line);
        }
        if trim(self.rest(start).get(..end - start).unwrap_or_default()).is_empty() {
            return;
        }
        // Where segments end with CR, a bare LF is a line of text within a value.
        let break_after = |line: &Line| self.rest(line.end as usize).first().copied();
        match (lines.first().and_then(break_after), lines.last_mut()) {
            (Some(b'\r'), Some(last)) if last.start > 0 && break_after(last) == Some(b'\n') => last.end = line.end,
            _ => lines.push(line),
        }
    }

    /// The end of the line that begins at `start`; none where the message grows too long.
    fn line_end(&mut self, start: usize) -> Result<Option<usize>, PluginError> {
        let mut from = start.max(self.unbroken);
        loop {
            match memchr3(b'\r', b'\n', FS, self.rest(from)) {
                Some(i) => {
                    let end = from + i;
                    self.want(end + 2)?;
                    match self.rest(end) {
                        // The byte ends an MLLP block only where a block may end.
                        [FS, next, ..] if !matches!(*next, b'\r' | b'\n' | VT) => from = end + 1,
                        _ => return Ok(Some(end)),
                    }
                }
                None if self.eof => return Ok(Some(self.filled - self.pos)),
                None => {
                    from = self.filled - self.pos;
                    if from > self.max {
                        return Ok(None);
                    }
                    self.fill()?;
                }
            }
        }
    }

    fn envelope(&mut self) -> Result<Frame, PluginError> {
        match self.line_end(0)? {
            Some(end) => {
                let line = self.rest(0).get(..end).unwrap_or_default();
                // Behind the name of the line itself.
                let glued = glued::find(line.get(3..).unwrap_or_default()).map(|at| at + 3);
                if glued.is_some() {
                    self.unbroken = end;
                }
                let end = glued.unwrap_or(end);
                Ok(self.take(FrameKind::Envelope, end, end))
            }
            None => self.skip(FrameKind::TooLong),
        }
    }

    fn skip(&mut self, kind: FrameKind) -> Result<Frame, PluginError> {
        let offset = self.offset;
        // What is too long begins with a header itself.
        self.drop_to_header(Some(if kind == FrameKind::TooLong { 3 } else { 0 }))?;
        let length = self.offset - offset;
        Ok(Frame {
            kind,
            end: End::Told,
            start: 0,
            len: 0,
            offset,
            length,
        })
    }

    fn take(&mut self, kind: FrameKind, end: usize, next: usize) -> Frame {
        let (start, offset) = (self.pos, self.offset);
        let length = self.bytes.input_length(self.rest(0).get(..end).unwrap_or_default());
        self.advance(next);
        Frame {
            kind,
            end: End::Told,
            start,
            len: end,
            offset,
            length,
        }
    }

    /// Skips what stands between messages and means nothing. False at the end.
    fn skip_blank(&mut self) -> Result<bool, PluginError> {
        loop {
            self.want(LOOK)?;
            let rest = look(self.rest(0));
            let blank = rest.len() - trim(rest).len();
            match (blank, rest.len()) {
                (_, 0) => return Ok(false),
                (0, _) => return Ok(true),
                _ => self.advance(blank),
            }
        }
    }

    #[inline]
    fn rest(&self, at: usize) -> &[u8] {
        self.buf.get(self.pos + at..self.filled).unwrap_or_default()
    }

    fn advance(&mut self, n: usize) {
        self.offset += self
            .bytes
            .input_length(self.buf.get(self.pos..self.pos + n).unwrap_or_default());
        self.pos += n;
        self.unbroken = self.unbroken.saturating_sub(n);
    }

    /// Reads on until `n` bytes are at hand or the end is reached.
    #[inline]
    fn want(&mut self, n: usize) -> Result<(), PluginError> {
        while self.filled - self.pos < n && !self.eof {
            self.fill()?;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), PluginError> {
        let gone = self.pos.saturating_sub(BEFORE);
        if gone > 0 {
            self.buf.copy_within(gone..self.filled, 0);
            self.filled -= gone;
            self.pos -= gone;
        }
        if self.filled + BLOCK / 2 > self.buf.len() {
            self.buf
                .resize((self.buf.len() * 2).clamp(BLOCK, self.buf.len() + 16 * BLOCK), 0);
        }
        let n = self.bytes.read(self.buf.get_mut(self.filled..).unwrap_or_default())?;
        self.eof = n == 0;
        self.filled += n;
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Message,
    Envelope,
}

enum Shape {
    Segment,
    Indented(usize),
    Header,
    Other,
}

#[inline]
fn header(line: &[u8]) -> Option<Header> {
    match line {
        [b'M', b'S', b'H', ..] => Some(Header::Message),
        [b'F' | b'B', b'H' | b'T', b'S', after @ ..] if !after.first().is_some_and(u8::is_ascii_alphanumeric) => {
            Some(Header::Envelope)
        }
        _ => None,
    }
}

#[inline]
fn is_segment(line: &[u8], separator: u8) -> bool {
    match line {
        [a, b, c, after @ ..] => {
            a.is_ascii_uppercase()
                && (b.is_ascii_uppercase() || b.is_ascii_digit())
                && (c.is_ascii_uppercase() || c.is_ascii_digit())
                && after
                    .first()
                    .is_none_or(|&d| d == separator || matches!(d, b'\r' | b'\n' | FS))
        }
        _ => false,
    }
}

fn shape_of(line: &[u8], separator: u8) -> Shape {
    if is_segment(line, separator) {
        return Shape::Segment;
    }
    let line = look(line);
    let inner = indented(line);
    if inner.len() < line.len() && header(inner).is_some() {
        return Shape::Header;
    }
    let indent = line.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
    if indent > 0 && is_segment(line.get(indent..).unwrap_or_default(), separator) {
        return Shape::Indented(indent);
    }
    Shape::Other
}

/// As much of a line as is looked at, so that what it is does not depend on how much was read.
fn look(line: &[u8]) -> &[u8] {
    line.get(..LOOK).unwrap_or(line)
}

/// A line without what may stand before its first segment: blanks, MLLP bytes, a byte order mark.
fn indented(line: &[u8]) -> &[u8] {
    strip(line, |byte| matches!(byte, b' ' | b'\t' | VT | FS))
}

/// Whether an MLLP block begins in the blanks at the end of these bytes, and does not end there.
fn begins_block(before: &[u8]) -> bool {
    let blanks = before.iter().rev().take_while(|byte| is_blank(**byte)).count();
    let text = before.len() - blanks;
    let blanks = before.get(text..).unwrap_or_default();
    // What stands before the first line end belongs to a line of text, unless the message begins in that line.
    let line = blanks.iter().position(|byte| matches!(*byte, b'\r' | b'\n' | FS));
    let from = if text == 0 { 0 } else { line.unwrap_or(0) };
    let last = blanks.iter().skip(from).rfind(|byte| matches!(**byte, VT | FS));
    last == Some(&VT)
}

/// Line ends and what means as little, among them the end-of-file mark of DOS.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | VT | FS | 0x1a)
}

/// The bytes without those that mean nothing.
fn trim(bytes: &[u8]) -> &[u8] {
    strip(bytes, is_blank)
}

fn strip(mut bytes: &[u8], means_nothing: impl Fn(u8) -> bool) -> &[u8] {
    loop {
        bytes = match bytes {
            [first, rest @ ..] if means_nothing(*first) => rest,
            _ => match bytes.strip_prefix(BOM) {
                Some(rest) => rest,
                None => return bytes,
            },
        };
    }
}
