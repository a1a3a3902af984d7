//! Cuts the bytes of an input into lines or CSV records without decoding them, in bounded memory.
//!
//! UTF-8, GB18030 and Latin-1 never use the bytes of `"`, `,`, `;`, tab, CR and LF within a longer sequence, so these
//! are looked for in the bytes themselves; in UTF-16 they are looked for in code units.

use clinmill_sdk::{Input, InputReader, PluginError};
use std::{borrow::Cow, io::Read};

/// One line or CSV record, as cut.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Byte offset in the input.
    pub offset: u64,
    /// Length without the line end.
    pub length: u64,
    /// 1-based number: of the line, or of the row as a spreadsheet shows it.
    pub row: u64,
    /// What it is.
    pub content: Content<'a>,
}

/// What a frame holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// The bytes, without the line end.
    Bytes(&'a [u8]),
    /// More bytes than are taken.
    TooLong,
    /// The first line of a record whose quote is never closed; the next frame begins after that line.
    Unclosed,
}

/// How an input is cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The delimiter of CSV; `None`: lines.
    pub csv: Option<u8>,
    /// Bytes per code unit: 1, or 2 for UTF-16.
    pub unit: usize,
    /// UTF-16 with the high byte first.
    pub big_endian: bool,
    /// The longest record in bytes.
    pub max: usize,
}

/// Reads an input frame by frame.
pub struct Frames<'a> {
    input: &'a dyn Input,
    reader: InputReader<'a>,
    cut: Cut,
    buffer: Vec<u8>,
    /// Where in `buffer` the next frame begins.
    start: usize,
    /// The input's offset of `buffer[0]`.
    base: u64,
    row: u64,
    ended: bool,
    /// Bytes that were read again because a quote was not closed.
    again: u64,
}

const CHUNK: usize = 64 << 10;

/// How the search for a record's end went.
enum End {
    /// The line end begins here and is this long.
    At(usize, usize),
    /// Not within the buffer; the search can resume with this state.
    More(Scan),
}

/// Where the search stands within a record.
#[derive(Clone, Copy)]
struct Scan {
    at: usize,
    state: State,
    /// The input's offset of the first line's end, for going back.
    first_line: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote within quotes: the end of the field, or the first half of `""`.
    Quote,
}

impl<'a> Frames<'a> {
    /// Reads from `offset` (after a byte order mark).
    pub fn new(input: &'a dyn Input, offset: u64, cut: Cut) -> Self {
        Self {
            input,
            reader: InputReader::new(input, offset..input.size()),
            cut,
            buffer: Vec::new(),
            start: 0,
            base: offset,
            row: 0,
            ended: false,
            again: 0,
        }
    }

    /// The offset up to which frames were given.
    pub fn position(&self) -> u64 {
        self.base + self.start as u64
    }

    /// The next frame, `None` at the end. Empty lines are frames too.
    ///
    /// # Errors
    /// When the bytes cannot be read, or when unclosed quotes make the input be read again and again.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, PluginError> {
        self.row += 1;
        let mut scan = Scan {
            at: self.start,
            state: State::FieldStart,
            first_line: None,
        };
        loop {
            match self.find_end(scan) {
                End::At(end, line_end) => return Ok(Some(self.take(end, line_end))),
                End::More(reached) => scan = reached,
            }
            let held = self.buffer.len() - self.start;
            if held > self.cut.max {
                return self.overlong(scan);
            }
            if self.ended {
                if held == 0 {
                    return Ok(None);
                }
                if scan.state == State::Quoted {
                    return self.go_back(self.position(), scan).map(Some);
                }
                return Ok(Some(self.take(self.buffer.len(), 0)));
            }
            let moved = self.fill()?;
            scan.at -= moved;
        }
    }

    /// Reads more; returns by how much positions in the buffer moved.
    fn fill(&mut self) -> Result<usize, PluginError> {
        let moved = self.start;
        self.buffer.drain(..moved);
        self.base += moved as u64;
        self.start = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + CHUNK, 0);
        let mut filled = held;
        // Whole code units only, except at the very end.
        while filled == held || !(filled - held).is_multiple_of(self.cut.unit) {
            let free = self.buffer.get_mut(filled..).unwrap_or_default();
            let got = self.reader.read(free)?;
            if got == 0 {
                self.ended = true;
                break;
            }
            filled += got;
        }
        self.buffer.truncate(filled);
        Ok(moved)
    }

    fn take(&mut self, end: usize, line_end: usize) -> Frame<'_> {
        let (from, offset) = (self.start, self.position());
        self.start = end + line_end;
        let content = match end - from > self.cut.max {
            true => Content::TooLong,
            false => Content::Bytes(self.buffer.get(from..end).unwrap_or_default()),
        };
        Frame {
            offset,
            length: (end - from) as u64,
            row: self.row,
            content,
        }
    }

    /// Skips the rest of a record that is longer than what is taken, without holding it.
    fn overlong(&mut self, mut scan: Scan) -> Result<Option<Frame<'_>>, PluginError> {
        let offset = self.position();
        loop {
            if self.ended {
                if scan.state == State::Quoted {
                    return self.go_back(offset, scan).map(Some);
                }
                self.start = self.buffer.len();
                return Ok(Some(self.too_long(offset, self.position() - offset)));
            }
            self.start = scan.at;
            scan.at -= self.fill()?;
            match self.find_end(scan) {
                End::At(end, line_end) => {
                    let length = self.base + end as u64 - offset;
                    self.start = end + line_end;
                    return Ok(Some(self.too_long(offset, length)));
                }
                End::More(reached) => scan = reached,
            }
        }
    }

    fn too_long(&self, offset: u64, length: u64) -> Frame<'static> {
        Frame {
            offset,
            length,
            row: self.row,
            content: Content::TooLong,
        }
    }

    /// Gives up the first line of a record with an unclosed quote and begins again after it.
    fn go_back(&mut self, offset: u64, scan: Scan) -> Result<Frame<'_>, PluginError> {
        let reached = self.base + self.buffer.len() as u64;
        let end = scan.first_line.unwrap_or(reached);
        let next = (end + self.cut.unit as u64).min(reached);
        self.again += reached - next;
        if self.again > self.input.size().saturating_add(self.cut.max as u64) {
            return Err(PluginError::data(
                offset,
                crate::error::UNCLOSED_QUOTE,
                "too many quotes are not closed",
            ));
        }
        self.reader = InputReader::new(self.input, next..self.input.size());
        self.buffer.clear();
        (self.base, self.start, self.ended) = (next, 0, false);
        Ok(Frame {
            offset,
            length: end - offset,
            row: self.row,
            content: Content::Unclosed,
        })
    }

    fn find_end(&self, scan: Scan) -> End {
        match self.cut.csv {
            None => self.find_line_end(scan),
            Some(delimiter) => self.find_record_end(scan, delimiter),
        }
    }

    fn find_line_end(&self, mut scan: Scan) -> End {
        match self.find(scan.at, b'\n', b'\n') {
            Some(at) => {
                let cr = at >= self.start + self.cut.unit && self.unit(at - self.cut.unit) == Some(b'\r');
                let end = if cr { at - self.cut.unit } else { at };
                End::At(end, at + self.cut.unit - end)
            }
            None => {
                scan.at = self.whole_units();
                End::More(scan)
            }
        }
    }

    fn find_record_end(&self, mut scan: Scan, delimiter: u8) -> End {
        loop {
            match scan.state {
                State::FieldStart if self.unit(scan.at) == Some(b'"') => {
                    scan.state = State::Quoted;
                    scan.at += self.cut.unit;
                }
                State::FieldStart if scan.at < self.whole_units() => scan.state = State::Plain,
                State::Plain => match self.find(scan.at, delimiter, b'\n') {
                    Some(at) if self.unit(at) == Some(delimiter) => {
                        scan.at = at + self.cut.unit;
                        scan.state = State::FieldStart;
                    }
                    Some(at) => {
                        scan.at = at;
                        return self.find_line_end(scan);
                    }
                    None => break,
                },
                State::Quoted => match self.find(scan.at, b'"', if scan.first_line.is_none() { b'\n' } else { b'"' }) {
                    Some(at) if self.unit(at) == Some(b'"') => {
                        scan.at = at + self.cut.unit;
                        scan.state = State::Quote;
                    }
                    Some(at) => {
                        scan.first_line = Some(self.base + at as u64);
                        scan.at = at + self.cut.unit;
                    }
                    None => break,
                },
                State::Quote if self.unit(scan.at) == Some(b'"') => {
                    scan.state = State::Quoted;
                    scan.at += self.cut.unit;
                }
                State::Quote if scan.at < self.whole_units() => scan.state = State::Plain,
                State::FieldStart | State::Quote => return End::More(scan),
            }
        }
        scan.at = self.whole_units();
        End::More(scan)
    }

    /// End of the last whole code unit in the buffer, counted from the frame's start.
    fn whole_units(&self) -> usize {
        self.buffer.len() - (self.buffer.len() - self.start) % self.cut.unit
    }

    /// The ASCII character at a position, if one is there.
    fn unit(&self, at: usize) -> Option<u8> {
        let unit = self.buffer.get(at..at + self.cut.unit)?;
        match *unit {
            [byte] => Some(byte),
            [0, low] if self.cut.big_endian => Some(low),
            [low, 0] if !self.cut.big_endian => Some(low),
            _ => None,
        }
    }

    fn find(&self, from: usize, a: u8, b: u8) -> Option<usize> {
        if self.cut.unit == 1 {
            return memchr::memchr2(a, b, self.buffer.get(from..)?).map(|at| from + at);
        }
        (from..self.whole_units())
            .step_by(self.cut.unit)
            .find(|at| self.unit(*at).is_some_and(|u| u == a || u == b))
    }
}

/// Splits a decoded CSV record into its cells (RFC 4180, section 2; text after a closing quote is kept as it is).
pub fn cells(record: &str, delimiter: char) -> Vec<Cow<'_, str>> {
    let mut cells = Vec::new();
    let mut rest = record;
    loop {
        let (cell, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_cell(quoted, delimiter),
            None => match rest.split_once(delimiter) {
                Some((cell, after)) => (Cow::Borrowed(cell), Some(after)),
                None => (Cow::Borrowed(rest), None),
            },
        };
        cells.push(cell);
        match after {
            Some(after) => rest = after,
            None => return cells,
        }
    }
}

fn quoted_cell(text: &str, delimiter: char) -> (Cow<'_, str>, Option<&str>) {
    let mut cell = Cow::Borrowed("");
    let mut rest = text;
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            join(&mut cell, rest);
            return (cell, None);
        };
        join(&mut cell, part);
        if let Some(after) = after.strip_prefix('"') {
            join(&mut cell, "\"");
            rest = after;
            continue;
        }
        let (tail, after) = match after.split_once(delimiter) {
            Some((tail, after)) => (tail, Some(after)),
            None => (after, None),
        };
        join(&mut cell, tail);
        return (cell, after);
    }
}

fn join<'a>(cell: &mut Cow<'a, str>, part: &'a str) {
    if cell.is_empty() {
        *cell = Cow::Borrowed(part);
    } else if !part.is_empty() {
        cell.to_mut().push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinmill_sdk::MemoryInput;
    use proptest::prelude::*;

    fn frames(bytes: &[u8], cut: Cut) -> Vec<(u64, u64, u64, Option<Vec<u8>>)> {
        let input = MemoryInput::new("x", bytes);
        let mut frames = Frames::new(&input, 0, cut);
        let mut all = Vec::new();
        while let Some(frame) = frames.next().unwrap() {
            let bytes = match frame.content {
                Content::Bytes(bytes) => Some(bytes.to_vec()),
                _ => None,
            };
            all.push((frame.offset, frame.length, frame.row, bytes));
        }
        assert_eq!(frames.position(), bytes.len() as u64);
        all
    }

    const CSV: Cut = Cut {
        csv: Some(b','),
        unit: 1,
        big_endian: false,
        max: 1000,
    };

    #[test]
    fn a_quote_spans_lines_and_an_unclosed_one_costs_its_line_only() {
        let all = frames(b"a,b\r\n1,\"x\ny\"\"\"\n2,\"z\n3,w\n", CSV);
        let bytes: Vec<_> = all.iter().map(|f| f.3.as_deref()).collect();
        assert_eq!(bytes, [Some(&b"a,b"[..]), Some(b"1,\"x\ny\"\"\""), None, Some(b"3,w")]);
        assert_eq!((all[2].0, all[2].1, all[2].2), (15, 4, 3));
    }

    #[test]
    fn what_is_too_long_is_skipped() {
        let lines = Cut {
            csv: None,
            max: 10,
            ..CSV
        };
        let mut bytes = b"short\n".to_vec();
        bytes.extend(vec![b'x'; 200_000]);
        bytes.extend(b"\nshort");
        let all = frames(&bytes, lines);
        assert_eq!(all[1], (6, 200_000, 2, None));
        assert_eq!(all[2].3.as_deref(), Some(&b"short"[..]));
    }

    #[test]
    fn utf16_units_are_not_mistaken_for_line_ends() {
        let utf16: Vec<u8> = "上\n਀".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let cut = Cut {
            csv: None,
            unit: 2,
            ..CSV
        };
        assert_eq!(frames(&utf16, cut).len(), 2);
    }

    proptest! {
        #[test]
        fn written_records_come_back(rows in proptest::collection::vec(
            proptest::collection::vec("[a,\"\n 中]{0,6}", 2..4), 1..6)) {
            let quote = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
            let text: String = rows.iter().map(|r| r.iter().map(quote).collect::<Vec<_>>().join(",") + "\n").collect();
            let all = frames(text.as_bytes(), CSV);
            prop_assert_eq!(all.len(), rows.len());
            for (frame, row) in all.iter().zip(&rows) {
                let record = String::from_utf8(frame.3.clone().unwrap()).unwrap();
                prop_assert_eq!(&cells(&record, ','), row);
            }
        }

        #[test]
        fn any_bytes_are_cut_without_loss(bytes in proptest::collection::vec(
            prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), Just(b'a'), Just(0)], 0..60),
            unit in 1usize..3, max in 1usize..20) {
            let cut = Cut { unit, max, ..CSV };
            let input = MemoryInput::new("x", bytes.clone());
            let mut frames = Frames::new(&input, 0, cut);
            let mut end = 0;
            loop {
                let frame = match frames.next() {
                    Ok(Some(frame)) => (frame.offset, frame.length),
                    Ok(None) => break,
                    Err(error) => { prop_assert_eq!(error.code, crate::error::UNCLOSED_QUOTE); return Ok(()); }
                };
                prop_assert!(frame.0 >= end && frame.0 - end <= 4);
                end = frame.0 + frame.1;
            }
            prop_assert!(bytes.len() as u64 - end <= 4);
        }
    }
}
