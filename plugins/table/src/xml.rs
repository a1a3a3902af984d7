//! Whether the tags of an XML text are tags and fit together. The reader of workbooks does not look: where a `<` was
//! written into a text as it is, it would go on within another cell, and a value would come under another row.

use memchr::{memchr, memchr3, memmem};
use std::io::{self, Read};

/// A longer tag or comment is none of a workbook's.
const LONGEST: usize = 1 << 20;
const BLOCK: usize = 1 << 16;

enum Found {
    /// It goes on beyond the bytes at hand.
    Cut,
    Bad,
    /// Its length; nothing that nests.
    Other(usize),
    Open(usize, usize),
    Close(usize, usize),
    Empty(usize),
}

/// True when every tag has a name, and each end its beginning (XML 1.0, productions 40 to 44).
///
/// # Errors
/// When it cannot be read.
pub fn is_balanced(mut from: impl Read) -> io::Result<bool> {
    let (mut names, mut lengths): (Vec<u8>, Vec<usize>) = Default::default();
    let mut text: Vec<u8> = Vec::with_capacity(2 * BLOCK);
    let mut block = vec![0; BLOCK];
    loop {
        let n = from.read(&mut block)?;
        text.extend_from_slice(block.get(..n).unwrap_or_default());
        if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
            // UTF-16: not looked at, and not read either.
            return Ok(true);
        }
        let mut at = 0;
        while let Some(tag) = memchr(b'<', text.get(at..).unwrap_or_default()) {
            at += tag;
            let rest = text.get(at..).unwrap_or_default();
            match look(rest) {
                Found::Cut => break,
                Found::Bad => return Ok(false),
                Found::Other(length) | Found::Empty(length) => at += length,
                Found::Open(length, name) => {
                    names.extend_from_slice(rest.get(1..=name).unwrap_or_default());
                    lengths.push(name);
                    at += length;
                }
                Found::Close(length, name) => {
                    let Some(open) = lengths.pop() else { return Ok(false) };
                    let began = names.len().saturating_sub(open);
                    if names.get(began..) != rest.get(2..2 + name) {
                        return Ok(false);
                    }
                    names.truncate(began);
                    at += length;
                }
            }
        }
        let has_tag = text.get(at) == Some(&b'<');
        text.drain(..if has_tag { at } else { text.len() });
        if n == 0 {
            return Ok(!has_tag && lengths.is_empty());
        }
        if text.len() > LONGEST {
            return Ok(false);
        }
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
            Some(b'[') => until(b"]]>"),
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
                    Some(b'>') if text.get(at - 1) == Some(&b'/') => return Found::Empty(at + 1),
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
mod tests {
    use super::*;

    fn whole(text: &str) -> bool {
        // Also where blocks end anywhere.
        struct Drip<'t>(&'t [u8]);
        impl Read for Drip<'_> {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                let n = to.len().min(1).min(self.0.len());
                to[..n].copy_from_slice(&self.0[..n]);
                self.0 = &self.0[n..];
                Ok(n)
            }
        }
        let at_once = is_balanced(text.as_bytes()).unwrap();
        assert_eq!(at_once, is_balanced(Drip(text.as_bytes())).unwrap(), "{text}");
        at_once
    }

    #[test]
    fn tags_fit_or_do_not() {
        for good in [
            "",
            "<a/>",
            "<?xml version=\"1.0\"?><!-- <x> --><x:a b='>' c=\"/>'\"><b />t &lt;3 > <![CDATA[<3]]></x:a >",
            "<row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t xml:space=\"preserve\">血糖</t></is></c></row>",
        ] {
            assert!(whole(good), "{good}");
        }
        for bad in [
            "<t><3</t>",
            "<t>a < b</t>",
            "<t>a<b</t></c>",
            "<t>a<b c></t>",
            "<c><v>1</v></row>",
            "</c>",
            "<c>",
            "<c",
            "<c a=\"",
            "<c a=\"1\" <v>",
            "<!DOCTYPE x>",
            "<>",
        ] {
            assert!(!whole(bad), "{bad}");
        }
    }
}
