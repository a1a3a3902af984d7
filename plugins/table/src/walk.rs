//! Walks over the rows of a delimited file (RFC 4180): one pass, fields as places in the decoded text.
//!
//! A row that cannot be read is told to the visitor and the walk goes on at the line after the row's first line, so
//! that one stray quote does not swallow the rest of the file.

use crate::{
    core::RowAt,
    error,
    hits::Hits,
    layout::Layout,
    rows::{Rows, Span},
    text::{Blocks, Decoded, Decoder},
};
use clinmill_sdk::{Input, InputReader, PluginError};

/// Longest row in bytes, unless a single field may be longer.
const MAX_ROW: usize = 16 << 20;
/// Bytes that may be looked at in vain for closing quotes, beside four times the input.
const VAIN: u64 = 64 << 20;

/// Where the next row begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Byte offset.
    pub offset: u64,
    /// Line number from 1.
    pub line: u64,
}

/// What a walk tells of.
pub trait Visit {
    /// A row: its fields are the open ones of `rows`; the visitor ends the row or drops it. False stops the walk.
    fn row(&mut self, rows: &mut Rows, text: &str, at: RowAt, next: Next) -> Result<bool, PluginError>;
    /// A row that cannot be read; its fields are dropped. False stops the walk.
    fn broken(&mut self, rows: &mut Rows, at: RowAt, code: &'static str, message: String) -> Result<bool, PluginError>;
    /// The text that the rows refer to goes away.
    fn flush(&mut self, rows: &mut Rows, text: &str, bytes: u64) -> Result<(), PluginError>;
}

/// Walks over `from.offset..to`, both at the start of a row.
pub fn walk(
    input: &dyn Input,
    layout: &Layout,
    from: Next,
    to: u64,
    rows: &mut Rows,
    visitor: &mut impl Visit,
) -> Result<(), PluginError> {
    let mut blocks = Blocks::new(InputReader::new(input, from.offset..to));
    let mut decoder = Decoder::default();
    let max_row = MAX_ROW.max(layout.max_field.saturating_mul(2));
    let mut walker = Walker {
        layout,
        line: from.line,
        vain: 0,
        vain_limit: VAIN + 4 * input.size(),
        visitor,
    };
    loop {
        blocks.read_on()?;
        let end = blocks.at_end();
        let newline = if end {
            None
        } else {
            layout.find_last_newline(blocks.raw())
        };
        let cut = match newline {
            _ if end => blocks.raw().len(),
            Some(newline) => newline + layout.unit(),
            None if blocks.raw().len() > max_row => {
                if !walker.skip_line(&mut blocks, rows)? {
                    return Ok(());
                }
                continue;
            }
            None => continue,
        };
        let mut block = decoder.decode(blocks.raw().get(..cut).unwrap_or_default(), layout);
        let (used, go_on) = walker.block(&mut block, blocks.base(), end || cut > max_row, rows)?;
        walker.visitor.flush(rows, block.text, used as u64)?;
        blocks.consume(used);
        if !go_on || (end && blocks.raw().is_empty()) {
            return Ok(());
        }
    }
}

struct Walker<'w, V> {
    layout: &'w Layout,
    line: u64,
    vain: u64,
    vain_limit: u64,
    visitor: &'w mut V,
}

/// How a quoted field ends.
enum Quoted {
    /// At this quote; whether quotes inside are doubled.
    Closed(usize, bool),
    Open,
}

/// How a row ends.
enum RowEnd {
    /// Before and after the line end; whether a field was quoted.
    Whole {
        end: usize,
        next: usize,
        quoted: bool,
    },
    /// More text is needed.
    Cut,
    Broken(&'static str),
}

impl<V: Visit> Walker<'_, V> {
    /// Walks over a block; `all` says that nothing follows it, or that no more may be waited for. Returns the bytes used.
    fn block(
        &mut self,
        block: &mut Decoded<'_>,
        base: u64,
        all: bool,
        rows: &mut Rows,
    ) -> Result<(usize, bool), PluginError> {
        let text = block.text;
        let bytes = text.as_bytes();
        let quote = self.layout.quote.unwrap_or(self.layout.newline);
        let mut hits = Hits::new(bytes, [self.layout.delimiter, self.layout.newline, quote]);
        let mut bad = block.bad.iter().peekable();
        let mut at = 0;
        let mut raw_at = 0;
        while at < bytes.len() {
            match self.row(bytes, at, all, &mut hits, rows) {
                RowEnd::Cut => {
                    rows.drop_row();
                    break;
                }
                RowEnd::Whole { end, next, quoted } => {
                    let raw_next = block.raw_of(next);
                    let raw_end = raw_next.saturating_sub(block.raw_end(next - end));
                    let place = self.place(base, raw_at, raw_end);
                    if quoted {
                        self.line += memchr::memchr_iter(self.layout.newline, bytes.get(at..next).unwrap_or_default())
                            .count() as u64;
                    } else {
                        self.line += 1;
                    }
                    let is_bad = bad.peek().is_some_and(|(bad, _)| *bad < next);
                    let go_on = if is_bad {
                        let first = bad.next().map_or(0, |(_, raw)| *raw);
                        while bad.next_if(|(bad, _)| *bad < next).is_some() {}
                        rows.drop_row();
                        let message = format!(
                            "the bytes are not {} (at byte {})",
                            self.layout.encoding.name(),
                            base + first as u64
                        );
                        self.visitor.broken(rows, place, error::ENCODING, message)?
                    } else if end == at && !quoted {
                        rows.drop_row();
                        true
                    } else {
                        let next = Next {
                            offset: base + raw_next as u64,
                            line: self.line,
                        };
                        self.visitor.row(rows, text, place, next)?
                    };
                    (at, raw_at) = (next, raw_next);
                    if !go_on {
                        return Ok((raw_at, false));
                    }
                }
                RowEnd::Broken(message) => {
                    rows.drop_row();
                    let rest = bytes.get(at..).unwrap_or_default();
                    let newline = memchr::memchr(self.layout.newline, rest);
                    let next = newline.map_or(bytes.len(), |i| at + i + 1);
                    let end = without_cr(bytes, at, newline.map_or(bytes.len(), |i| at + i), self.layout.newline);
                    let raw_next = block.raw_of(next);
                    let place = self.place(base, raw_at, raw_next.saturating_sub(block.raw_end(next - end)));
                    self.line += 1;
                    while bad.next_if(|(bad, _)| *bad < next).is_some() {}
                    if self.vain > self.vain_limit {
                        return Err(error::limit(
                            place.offset,
                            error::QUOTES,
                            "too many quotes that are never closed",
                        ));
                    }
                    (at, raw_at) = (next, raw_next);
                    hits.seek(at);
                    if !self
                        .visitor
                        .broken(rows, place, error::UNCLOSED_QUOTE, message.to_owned())?
                    {
                        return Ok((raw_at, false));
                    }
                }
            }
        }
        Ok((raw_at, true))
    }

    #[inline]
    fn row(&mut self, bytes: &[u8], start: usize, all: bool, hits: &mut Hits<'_>, rows: &mut Rows) -> RowEnd {
        let Layout {
            delimiter,
            newline,
            quote,
            ..
        } = *self.layout;
        let mut field = start;
        let mut quoted = false;
        loop {
            let Some(at) = hits.step() else {
                if !all {
                    return RowEnd::Cut;
                }
                let end = without_cr(bytes, field, bytes.len(), newline);
                rows.field(Span::of(field, end));
                return RowEnd::Whole {
                    end,
                    next: bytes.len(),
                    quoted,
                };
            };
            let byte = bytes.get(at).copied().unwrap_or(newline);
            if byte == delimiter {
                rows.field(Span::of(field, at));
                field = at + 1;
            } else if byte == newline {
                let end = without_cr(bytes, field, at, newline);
                rows.field(Span::of(field, end));
                return RowEnd::Whole {
                    end,
                    next: at + 1,
                    quoted,
                };
            } else if at == field {
                quoted = true;
                let Some(quote) = quote else { continue };
                let (close, doubled) = match self.quoted(bytes, at, quote) {
                    Quoted::Closed(close, doubled) => (close, doubled),
                    Quoted::Open if !all && bytes.len() - at <= self.layout.max_field => return RowEnd::Cut,
                    Quoted::Open => {
                        self.vain += (bytes.len() - start) as u64;
                        return RowEnd::Broken("a quoted field is never closed");
                    }
                };
                match doubled {
                    false => rows.field(Span::of(at + 1, close)),
                    true => rows.written(|into| unescape(bytes.get(at + 1..close).unwrap_or_default(), quote, into)),
                }
                hits.seek(close + 1);
                let after = without_quote_cr(bytes, close + 1, newline);
                match bytes.get(after) {
                    None if all => {
                        return RowEnd::Whole {
                            end: close + 1,
                            next: bytes.len(),
                            quoted,
                        };
                    }
                    None => return RowEnd::Cut,
                    Some(byte) if *byte == newline => {
                        return self.after_quote(hits, close + 1, after + 1);
                    }
                    Some(byte) if *byte == delimiter && after == close + 1 => {
                        field = after + 1;
                        hits.seek(field);
                    }
                    Some(_) => {
                        self.vain += (close - start) as u64;
                        return RowEnd::Broken("text follows the closing quote of a field");
                    }
                }
            }
        }
    }

    fn after_quote(&self, hits: &mut Hits<'_>, end: usize, next: usize) -> RowEnd {
        hits.seek(next);
        RowEnd::Whole {
            end,
            next,
            quoted: true,
        }
    }

    fn quoted(&self, bytes: &[u8], open: usize, quote: u8) -> Quoted {
        let limit = bytes.len().min((open + 1).saturating_add(self.layout.max_field));
        let mut from = open + 1;
        let mut doubled = false;
        while let Some(i) = memchr::memchr(quote, bytes.get(from..limit).unwrap_or_default()) {
            let at = from + i;
            if bytes.get(at + 1) != Some(&quote) {
                return Quoted::Closed(at, doubled);
            }
            doubled = true;
            from = at + 2;
        }
        Quoted::Open
    }

    /// Rejects a line that is longer than any row may be, without holding it.
    fn skip_line(&mut self, blocks: &mut Blocks<'_>, rows: &mut Rows) -> Result<bool, PluginError> {
        let start = blocks.base();
        let end = loop {
            if let Some(newline) = self.layout.find_newline(blocks.raw(), 0) {
                let end = blocks.base() + newline as u64;
                blocks.consume(newline + self.layout.unit());
                break end;
            }
            let whole = blocks.raw().len() / self.layout.unit() * self.layout.unit();
            if blocks.at_end() {
                blocks.consume(blocks.raw().len());
                break blocks.base();
            }
            blocks.consume(whole);
            blocks.read_on()?;
        };
        let place = RowAt {
            offset: start,
            length: end.saturating_sub(start),
            row: self.line,
        };
        self.line += 1;
        self.visitor.broken(
            rows,
            place,
            error::LONG_ROW,
            "the row is longer than any row may be".to_owned(),
        )
    }

    const fn place(&self, base: u64, start: usize, end: usize) -> RowAt {
        RowAt {
            offset: base + start as u64,
            length: end.saturating_sub(start) as u64,
            row: self.line,
        }
    }
}

/// The end of a field that ends at a line end: a CR before an LF belongs to the line end.
#[inline]
fn without_cr(bytes: &[u8], start: usize, end: usize, newline: u8) -> usize {
    let cr = newline == b'\n' && end > start && bytes.get(end - 1) == Some(&b'\r');
    end - usize::from(cr)
}

/// After a closing quote: over the CR of a CRLF.
fn without_quote_cr(bytes: &[u8], at: usize, newline: u8) -> usize {
    let cr = newline == b'\n' && bytes.get(at) == Some(&b'\r') && matches!(bytes.get(at + 1), None | Some(b'\n'));
    at + usize::from(cr)
}

fn unescape(bytes: &[u8], quote: u8, into: &mut String) {
    // The bytes are a part of a valid text between ASCII characters, hence valid.
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let quote = char::from(quote);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(quote) {
        into.push_str(before);
        into.push(quote);
        rest = after.strip_prefix(quote).unwrap_or(after);
    }
    into.push_str(rest);
}
