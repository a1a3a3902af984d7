//! Whether the tags of an XML text are tags and fit together. The reader of workbooks does not look: where a `<` was
//! written into a text as it is, it would go on within another cell, and a value would come under another row.

use memchr::{memchr, memchr3, memmem};
use std::{
    io::{self, Read},
    ops::Range,
};

/// A longer tag or comment is none of a workbook's.
const LONGEST: usize = 1 << 20;
const BLOCK: usize = 1 << 16;
/// The most bytes of a value that are kept: no cell holds more characters than 32,767.
const MOST_TEXT: usize = 1 << 18;
/// Rows of a sheet (ECMA-376 part 1, 18.3.1.73).
const MOST_ROWS: u32 = 1 << 20;
const CDATA: &[u8] = b"<![CDATA[";

enum Found {
    /// It goes on beyond the bytes at hand.
    Cut,
    Bad,
    /// Its length; nothing that nests.
    Other(usize),
    Open(usize, usize),
    Close(usize, usize),
    Empty(usize, usize),
}

/// Why an XML text cannot be read.
#[derive(Debug)]
pub enum Fault {
    /// The bytes cannot be had.
    Io(io::Error),
    /// Its tags do not fit together.
    Tags,
    /// It is in UTF-16, which the reader of workbooks does not know.
    Utf16,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The tags of an XML text, each of them checked: it has a name, and each end its beginning (XML 1.0, productions 40
/// to 44).
pub struct Tags<R> {
    from: R,
    text: Vec<u8>,
    block: Vec<u8>,
    at: usize,
    ended: bool,
    names: Vec<u8>,
    lengths: Vec<usize>,
    /// The first bytes between the last tag and this one.
    before: Vec<u8>,
    /// Room for the next value.
    spare: Vec<u8>,
    /// The text before this tag holds a reference (`&`).
    refers: bool,
    is_number: bool,
    holds_more: bool,
    is_odd: bool,
    is_wrong: bool,
    /// What follows the name in the tag of the last cell.
    attributes: Vec<u8>,
    /// The row at hand, from 0, and whether its tag says so.
    row: u32,
    is_row_told: bool,
    has_bad_row: bool,
    /// The last cell as [`plain`](Self::plain) returns it, where it is wanted.
    record: Option<Vec<u8>>,
}

/// A tag that opens, or closes, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Open,
    Close,
    Empty,
}

impl<R: Read> Tags<R> {
    /// Of a text.
    pub fn new(from: R) -> Self {
        Self {
            from,
            text: Vec::with_capacity(2 * BLOCK),
            block: vec![0; BLOCK],
            at: 0,
            ended: false,
            names: Vec::new(),
            lengths: Vec::new(),
            before: Vec::new(),
            spare: Vec::new(),
            refers: false,
            is_number: false,
            holds_more: false,
            is_odd: false,
            is_wrong: false,
            attributes: Vec::new(),
            row: 0,
            is_row_told: false,
            has_bad_row: false,
            record: None,
        }
    }

    /// Of a sheet whose cells are wanted plain.
    pub fn recording(from: R) -> Self {
        Self {
            record: Some(Vec::new()),
            ..Self::new(from)
        }
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// As [`Fault`] says.
    pub fn finish(&mut self) -> Result<(), Fault> {
        while self.next(false)?.is_some() {}
        Ok(())
    }

    /// The next tag and the place of its name in the text at hand. `keep`: the text before it is wanted.
    fn next(&mut self, keep: bool) -> Result<Option<(Tag, Range<usize>)>, Fault> {
        self.before.clear();
        self.refers = false;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let tag = memchr(b'<', rest);
            let before = rest.get(..tag.unwrap_or(rest.len())).unwrap_or_default();
            if keep {
                let room = MOST_TEXT.saturating_sub(self.before.len());
                let kept = before.get(..room).unwrap_or(before);
                self.before.extend_from_slice(kept);
                self.refers |= memchr(b'&', before).is_some();
            }
            if let Some(record) = &mut self.record {
                record.extend_from_slice(before);
            }
            self.at += before.len();
            let start = self.at;
            let found = match tag {
                Some(_) => look(self.text.get(start..).unwrap_or_default()),
                None => Found::Cut,
            };
            match found {
                Found::Cut => {
                    if self.ended {
                        let is_whole = tag.is_none() && self.lengths.is_empty();
                        return if is_whole { Ok(None) } else { Err(Fault::Tags) };
                    }
                    self.read_on()?;
                }
                Found::Bad => return Err(Fault::Tags),
                Found::Other(length) => {
                    self.at += length;
                    self.other(start, keep);
                }
                Found::Empty(length, name) => {
                    self.at += length;
                    self.recorded(start);
                    return Ok(Some((Tag::Empty, start + 1..start + 1 + name)));
                }
                Found::Open(length, name) => {
                    self.at += length;
                    self.recorded(start);
                    let name = start + 1..start + 1 + name;
                    self.names
                        .extend_from_slice(self.text.get(name.clone()).unwrap_or_default());
                    self.lengths.push(name.len());
                    return Ok(Some((Tag::Open, name)));
                }
                Found::Close(length, name) => {
                    self.at += length;
                    self.recorded(start);
                    let name = start + 2..start + 2 + name;
                    let open = self.lengths.pop().ok_or(Fault::Tags)?;
                    let began = self.names.len().saturating_sub(open);
                    if self.names.get(began..) != self.text.get(name.clone()) {
                        return Err(Fault::Tags);
                    }
                    self.names.truncate(began);
                    return Ok(Some((Tag::Close, name)));
                }
            }
        }
    }

    /// Takes a comment, an instruction or CDATA. Within a value the reader of workbooks takes what stands before it for the
    /// whole text.
    #[cold]
    fn other(&mut self, start: usize, keep: bool) {
        let text = self.text.get(start..self.at).unwrap_or_default();
        let cdata = text.strip_prefix(CDATA).and_then(|text| text.strip_suffix(b"]]>"));
        if keep {
            self.is_odd = true;
            escape(cdata.unwrap_or_default(), &mut self.before);
        }
        if cdata.is_some() {
            self.recorded(start);
        }
    }

    #[inline]
    fn recorded(&mut self, start: usize) {
        if let Some(record) = &mut self.record {
            record.extend_from_slice(self.text.get(start..self.at).unwrap_or_default());
        }
    }

    fn read_on(&mut self) -> Result<(), Fault> {
        self.text.drain(..self.at);
        self.at = 0;
        if self.text.len() > LONGEST {
            return Err(Fault::Tags);
        }
        let n = self.from.read(&mut self.block)?;
        self.ended = n == 0;
        self.text.extend_from_slice(self.block.get(..n).unwrap_or_default());
        if self.lengths.is_empty() && (self.text.starts_with(&[0xff, 0xfe]) || self.text.starts_with(&[0xfe, 0xff])) {
            return Err(Fault::Utf16);
        }
        Ok(())
    }

    /// The next cell of a sheet: the text of its value as it stands in the file, empty where it has none. `None` after the
    /// last. A value that is no text holds nothing but its characters: the reader of workbooks would lose the rest.
    ///
    /// # Errors
    /// As [`Fault`] says.
    pub fn cell(&mut self) -> Result<Option<&[u8]>, Fault> {
        (self.is_number, self.holds_more) = (false, false);
        (self.is_odd, self.is_wrong) = (false, false);
        let (is_text, is_string, is_index) = loop {
            match self.next(false)? {
                None => return Ok(None),
                Some((Tag::Open, name)) if self.is(name.clone(), b"c") => {
                    self.begin(&name);
                    let kind = attribute(&self.attributes, b"t");
                    self.is_number = matches!(kind, None | Some(b"n"));
                    let is_string = kind == Some(b"str");
                    break (is_string || kind == Some(b"d"), is_string, kind == Some(b"s"));
                }
                Some((Tag::Empty, name)) if self.is(name.clone(), b"c") => {
                    self.begin(&name);
                    self.before.clear();
                    return Ok(Some(&self.before));
                }
                Some((tag, name)) if self.is(name.clone(), b"row") => self.turn(tag, &name),
                Some(_) => {}
            }
        };
        let depth = self.lengths.len();
        let mut value = std::mem::take(&mut self.spare);
        value.clear();
        let (mut in_value, mut is_formula, mut has_text) = (false, false, false);
        // Values so far; within an element that is none of a cell's; where the element at hand begins in the record.
        let (mut values, mut is_foreign, mut mark) = (0, false, 0);
        loop {
            if self.lengths.len() == depth {
                mark = self.record.as_ref().map_or(0, Vec::len);
            }
            let Some((tag, name)) = self.next(in_value)? else {
                break;
            };
            if in_value {
                if tag != Tag::Close {
                    return Err(Fault::Tags);
                }
                self.is_odd |= self.refers && !is_text;
                value.clone_from(&self.before);
                if self.is_odd {
                    self.write_plain(&mut value, is_text, mark)?;
                }
            }
            let level = self.lengths.len() + usize::from(tag == Tag::Empty);
            let local = match tag {
                Tag::Close => &[],
                _ => self.local(name),
            };
            let is_value = level == depth + 1 && local == b"v";
            let (is_inline, is_calculated) = (local == b"is", local == b"f");
            let is_cell_or_row = local == b"c" || local == b"row";
            is_formula |= is_calculated;
            has_text |= is_inline && tag == Tag::Open;
            values += usize::from(is_value) + usize::from(is_inline && level == depth + 1);
            if tag != Tag::Close && level == depth + 1 && !is_value && !is_inline && !is_calculated {
                (is_foreign, self.is_odd) = (true, true);
            }
            if is_foreign {
                // The reader of workbooks would go on with it.
                if is_cell_or_row {
                    return Err(Fault::Tags);
                }
                if self.lengths.len() == depth {
                    is_foreign = false;
                    if let Some(record) = &mut self.record {
                        record.truncate(mark);
                    }
                }
            }
            in_value = is_value && tag == Tag::Open;
            if self.lengths.len() < depth {
                break;
            }
        }
        // The number of a shared text: what is none would be read as the first.
        self.is_wrong = values > 1 || is_index && (value.len() > 9 || !value.iter().all(u8::is_ascii_digit));
        let is_blank = value.trim_ascii().is_empty();
        self.holds_more = has_text || !is_blank || is_formula && !is_string;
        self.spare = std::mem::replace(&mut self.before, value);
        Ok(Some(&self.before))
    }

    fn begin(&mut self, name: &Range<usize>) {
        let attributes = self.text.get(name.end..self.at).unwrap_or_default();
        self.attributes.clear();
        self.attributes.extend_from_slice(attributes);
        if let Some(record) = &mut self.record {
            record.clear();
            record.extend_from_slice(self.text.get(name.start - 1..self.at).unwrap_or_default());
        }
    }

    /// Takes the tag of a row.
    fn turn(&mut self, tag: Tag, name: &Range<usize>) {
        if tag != Tag::Close {
            let told = attribute(self.text.get(name.end..self.at).unwrap_or_default(), b"r");
            let row = told.and_then(row_number);
            self.has_bad_row |= told.is_some() && row.is_none();
            self.is_row_told = row.is_some();
            self.row = row.unwrap_or(self.row);
        }
        if tag != Tag::Open {
            self.is_row_told = false;
            self.row = self.row.saturating_add(1);
        }
    }

    /// Makes a value what it means, and the record so that the reader of workbooks reads that.
    #[cold]
    fn write_plain(&mut self, value: &mut Vec<u8>, is_text: bool, mark: usize) -> Result<(), Fault> {
        if value.len() >= MOST_TEXT {
            return Err(Fault::Tags);
        }
        let mut written = value.clone();
        // In a text that reader knows references.
        if !is_text {
            *value = resolved(value).ok_or(Fault::Tags)?;
            written.clear();
            escape(value, &mut written);
        }
        if let Some(record) = &mut self.record {
            record.truncate(mark);
            for part in [b"<v>", &written[..], b"</v>"] {
                record.extend_from_slice(part);
            }
        }
        Ok(())
    }

    /// True where the last cell is written as the format allows and the reader of workbooks does not know: a value with
    /// comments, CDATA or references, a cell with an extension (`extLst`).
    pub const fn is_odd(&self) -> bool {
        self.is_odd
    }

    /// True where nobody knows the value of the last cell: it has two, or is a shared text by something else than a number.
    pub const fn is_wrong(&self) -> bool {
        self.is_wrong
    }

    /// The last cell as the reader of workbooks knows cells.
    pub fn plain(&self) -> &[u8] {
        self.record.as_deref().unwrap_or_default()
    }

    /// Row and column of the last cell, from 0, as its reference says.
    pub fn place(&self) -> Option<(u32, u32)> {
        let reference = attribute(&self.attributes, b"r")?;
        let letters = reference.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let (letters, digits) = reference
            .split_at_checked(letters)
            .filter(|(l, _)| (1..=3).contains(&l.len()))?;
        let add = |column: u32, letter: &u8| column * 26 + u32::from(letter.to_ascii_uppercase() - b'A') + 1;
        Some((row_number(digits)?, letters.iter().fold(0, add) - 1))
    }

    /// True where the last cell has a reference, whatever it says.
    pub fn is_referred(&self) -> bool {
        attribute(&self.attributes, b"r").is_some()
    }

    /// The row of the last cell, from 0: what the tags of rows say, or else their count.
    pub const fn row(&self) -> u32 {
        self.row
    }

    /// The same, where its tag says so.
    pub fn told_row(&self) -> Option<u32> {
        self.is_row_told.then_some(self.row)
    }

    /// True where the tag of a row so far has a number that is none.
    pub const fn has_bad_row(&self) -> bool {
        self.has_bad_row
    }

    /// What [`cell`](Self::cell) returned last.
    pub fn value(&self) -> &[u8] {
        &self.before
    }

    /// True for a cell of a number, or of no type: white space round its value is none of it.
    pub const fn is_number(&self) -> bool {
        self.is_number
    }

    /// True where the last cell, if it reads as empty, is none: it holds a formula without its result (ECMA-376 part 1,
    /// 18.3.1.40; an empty text is one), or a value that is not where the reader of workbooks looks for it.
    pub const fn holds_more(&self) -> bool {
        self.holds_more
    }

    /// Whether a name is this one, whatever its prefix.
    fn is(&self, name: Range<usize>, local: &[u8]) -> bool {
        self.local(name) == local
    }

    /// A name without its prefix.
    fn local(&self, name: Range<usize>) -> &[u8] {
        let name = self.text.get(name).unwrap_or_default();
        let colon = name.iter().rposition(|b| *b == b':');
        colon.map_or(name, |colon| name.get(colon + 1..).unwrap_or_default())
    }
}

/// What begins with this `<`.
fn look(text: &[u8]) -> Found {
    let until = |end: &[u8]| memmem::find(text, end).map_or(Found::Cut, |i| Found::Other(i + end.len()));
    match text.get(1) {
        None => Found::Cut,
        Some(b'?') => until(b"?>"),
        Some(b'!') => match text.get(2) {
            None => Found::Cut,
            Some(b'-') => until(b"-->"),
            Some(b'[') => match text.get(..CDATA.len()) {
                None => Found::Cut,
                Some(CDATA) => until(b"]]>"),
                Some(_) => Found::Bad,
            },
            // Workbooks have no DTD, and entities are a way to do harm.
            Some(_) => Found::Bad,
        },
        Some(b'/') => match memchr(b'>', text) {
            None => Found::Cut,
            Some(end) => {
                let inner = text.get(2..end).unwrap_or_default();
                match name(inner) {
                    0 => Found::Bad,
                    n if inner.get(n..).is_some_and(|rest| rest.trim_ascii().is_empty()) => Found::Close(end + 1, n),
                    _ => Found::Bad,
                }
            }
        },
        Some(_) => {
            let n = name(text.get(1..).unwrap_or_default());
            let mut at = 1 + n;
            match text.get(at) {
                None => return Found::Cut,
                Some(b'>' | b'/' | b' ' | b'\t' | b'\r' | b'\n') if n > 0 => {}
                Some(_) => return Found::Bad,
            }
            // To the end, past what stands in quotes.
            loop {
                let rest = text.get(at..).unwrap_or_default();
                let Some(stop) = memchr3(b'>', b'"', b'\'', rest) else {
                    return Found::Cut;
                };
                if memchr(b'<', rest.get(..stop).unwrap_or_default()).is_some() {
                    return Found::Bad;
                }
                at += stop;
                match text.get(at).copied() {
                    Some(b'>') if text.get(at - 1) == Some(&b'/') => return Found::Empty(at + 1, n),
                    Some(b'>') => return Found::Open(at + 1, n),
                    Some(quote) => {
                        let Some(end) = memchr(quote, text.get(at + 1..).unwrap_or_default()) else {
                            return Found::Cut;
                        };
                        at += end + 2;
                    }
                    None => return Found::Cut,
                }
            }
        }
    }
}

/// The value of an attribute of a tag, as it stands between its quotes (XML 1.0, productions 3, 10, 25 and 41).
pub fn attribute<'t>(mut attributes: &'t [u8], wanted: &[u8]) -> Option<&'t [u8]> {
    loop {
        let (key, rest) = attributes.split_at_checked(memchr(b'=', attributes)?)?;
        let rest = rest.get(1..)?.trim_ascii_start();
        let (quote, rest) = rest.split_first().filter(|(quote, _)| matches!(quote, b'"' | b'\''))?;
        let (value, rest) = rest.split_at_checked(memchr(*quote, rest)?)?;
        if key.trim_ascii() == wanted {
            return Some(value);
        }
        attributes = rest.get(1..)?;
    }
}

/// The number of a row, from 0.
fn row_number(digits: &[u8]) -> Option<u32> {
    let number = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    let number: u32 = number.parse().ok()?;
    number.checked_sub(1).filter(|row| *row < MOST_ROWS)
}

/// A text with its references resolved (XML 1.0, 4.1 and 4.6); `None` where one is to something that is not known.
fn resolved(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut parts = text.split(|b| *b == b'&');
    plain.extend_from_slice(parts.next()?);
    for part in parts {
        let (name, rest) = part.split_at_checked(memchr(b';', part)?)?;
        let meant = match std::str::from_utf8(name).ok()? {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            number => {
                let number = number.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(number) => u32::from_str_radix(number, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code).filter(|c| *c != '\0')?
            }
        };
        plain.extend_from_slice(meant.encode_utf8(&mut [0; 4]).as_bytes());
        plain.extend_from_slice(rest.get(1..)?);
    }
    Some(plain)
}

/// Adds a text so that it holds no markup.
fn escape(text: &[u8], into: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'&' => into.extend_from_slice(b"&amp;"),
            b'<' => into.extend_from_slice(b"&lt;"),
            _ => into.push(*byte),
        }
    }
}

/// Bytes of the name at the start.
fn name(text: &[u8]) -> usize {
    let starts = |b: &u8| b.is_ascii_alphabetic() || *b == b'_' || *b >= 0x80;
    let goes_on = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-' | b'.') || *b >= 0x80;
    match text.first() {
        Some(first) if starts(first) => text.iter().take_while(|b| goes_on(b)).count(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
