//! Readers of the formats that the sample inputs have, made for the tests alone: small, slow, and nothing of the
//! product's parsers, so that both cannot be wrong in the same way.

use calamine::{Data, Reader, Xlsx};
use encoding_rs::{Encoding, GB18030, UTF_8};
use std::{collections::BTreeMap, io::Cursor};

/// A segment of an HL7 v2 message, and where it stands in its file.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Byte offset.
    pub offset: u64,
    /// Length in bytes, without the line end.
    pub length: u64,
    /// Its text.
    pub text: String,
}

impl Segment {
    /// `PID`, `OBX`, …
    pub fn name(&self) -> &str {
        self.text.split('|').next().unwrap_or_default()
    }

    /// A field as it stands, counted as HL7 does.
    pub fn field(&self, number: usize) -> &str {
        // MSH-1 is the separator itself.
        let skipped = usize::from(self.name() == "MSH");
        self.text.split('|').nth(number - skipped).unwrap_or_default()
    }

    /// A component of a field's first repetition, its escapes resolved.
    pub fn component(&self, field: usize, number: usize) -> String {
        let first = self.field(field).split('~').next().unwrap_or_default();
        unescape(first.split('^').nth(number - 1).unwrap_or_default())
    }
}

/// A message: its segments in order. What stands before the first MSH of a file is one without MSH.
pub type Message = Vec<Segment>;

/// Cuts a file into messages; segments may end with CR, LF or both.
pub fn hl7(bytes: &[u8], encoding: &'static Encoding) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let mut at = 0;
    for line in bytes.split_inclusive(|b| matches!(b, b'\r' | b'\n')) {
        let length = line.iter().take_while(|b| !matches!(b, b'\r' | b'\n')).count();
        if length > 0 {
            let text = encoding.decode_without_bom_handling(&line[..length]).0.into_owned();
            let segment = Segment {
                offset: at as u64,
                length: length as u64,
                text,
            };
            if segment.name() == "MSH" || messages.is_empty() {
                messages.push(Vec::new());
            }
            if let Some(message) = messages.last_mut() {
                message.push(segment);
            }
        }
        at += line.len();
    }
    messages
}

/// HL7's escapes (version 2.5, chapter 2.7).
pub fn unescape(text: &str) -> String {
    let pairs = [
        ("\\S\\", "^"),
        ("\\T\\", "&"),
        ("\\F\\", "|"),
        ("\\R\\", "~"),
        ("\\.br\\", "\n"),
        ("\\E\\", "\\"),
    ];
    pairs
        .iter()
        .fold(text.to_owned(), |text, (code, meaning)| text.replace(code, meaning))
}

/// A line of a delimited table, and where it stands in its file.
#[derive(Clone, Debug)]
pub struct Line {
    /// Byte offset.
    pub offset: u64,
    /// Length in bytes, without the line end.
    pub length: u64,
    /// The fields by header; none for a line that cannot be cut into as many as the header has.
    pub fields: Option<BTreeMap<String, String>>,
}

/// The lines of a CSV file below its header. Fields may be quoted, but no field holds a line end.
pub fn csv(bytes: &[u8], encoding: &'static Encoding) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut header: Option<Vec<String>> = None;
    let mut at = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let length = line.len() - line.iter().rev().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let text = encoding.decode_without_bom_handling(&line[..length]).0.into_owned();
        match &header {
            None => header = csv_fields(text.trim_start_matches('\u{feff}')),
            Some(_) if length == 0 => {}
            Some(header) => {
                let fields = csv_fields(&text)
                    .filter(|fields| fields.len() == header.len())
                    .map(|fields| header.iter().cloned().zip(fields).collect());
                lines.push(Line {
                    offset: at as u64,
                    length: length as u64,
                    fields,
                });
            }
        }
        at += line.len();
    }
    lines
}

/// `None`: a quote is not closed.
fn csv_fields(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields.last_mut()?.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut()?.push(c),
        }
    }
    (!quoted).then_some(fields)
}

/// Text as UTF-8 if it is that, else as GB18030; `None`: neither.
pub fn chinese(bytes: &[u8]) -> Option<String> {
    let strict = |encoding: &'static Encoding| encoding.decode_without_bom_handling_and_without_replacement(bytes);
    let text = strict(UTF_8).or_else(|| strict(GB18030))?;
    Some(text.trim_start_matches('\u{feff}').to_owned())
}

/// The first sheet of a workbook: its filled cells as text, by row and column from 1.
///
/// # Panics
/// When it is no workbook.
pub fn xlsx(bytes: &[u8]) -> BTreeMap<(u64, u32), String> {
    let mut book: Xlsx<_> = match Xlsx::new(Cursor::new(bytes.to_vec())) {
        Ok(book) => book,
        Err(error) => panic!("no workbook: {error}"),
    };
    let Some(Ok(range)) = book.worksheet_range_at(0) else {
        panic!("the workbook has no sheet");
    };
    let (top, left) = range.start().unwrap_or_default();
    range
        .used_cells()
        .filter(|(_, _, cell)| !matches!(cell, Data::Empty))
        .map(|(row, column, cell)| {
            let at = (u64::from(top) + row as u64 + 1, left + column as u32 + 1);
            (at, cell_text(cell))
        })
        .collect()
}

fn cell_text(cell: &Data) -> String {
    match cell {
        Data::DateTime(at) => {
            let (year, month, day, hour, minute, second, _) = at.to_ymd_hms_milli();
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
        }
        other => other.to_string(),
    }
}
