//! The text of a pipeline file and where its bytes stand for people: lines and columns.

use crate::pipeline::Span;
use clinmill_model::Place;

/// A file's name and text, with its lines found.
#[derive(Clone, Debug)]
pub struct SourceFile {
    name: String,
    text: String,
    lines: Vec<usize>,
}

impl SourceFile {
    /// A file as it was named and read.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let ends = text.match_indices(LINE_ENDS).map(|(at, _)| at + 1);
        // The two characters of a line end of Windows end one line.
        let ends = ends.filter(|at| text.get(at - 1..=*at) != Some("\r\n"));
        let lines = std::iter::once(0).chain(ends).collect();
        Self {
            name: name.into(),
            text,
            lines,
        }
    }

    /// The file as it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is written at a span; empty where the span is not in the text.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Line and column of a span. The place ends with the span's first line, so that an excerpt stays short.
    pub fn place(&self, span: Span) -> Place {
        let start = floor(&self.text, span.start);
        let row = self.lines.partition_point(|&line| line <= start).saturating_sub(1);
        let line_start = self.lines.get(row).copied().unwrap_or(0);
        let rest = self.text.get(start..).unwrap_or_default();
        let line_end = start + rest.find(LINE_ENDS).unwrap_or(rest.len());
        let before = self.text.get(line_start..start).unwrap_or_default();
        let before = before.strip_prefix(BOM).unwrap_or(before);
        Place {
            file: self.name.clone(),
            line: u32::try_from(row + 1).unwrap_or(u32::MAX),
            column: u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
            start,
            end: floor(&self.text, span.end.max(start)).min(line_end),
        }
    }

    /// Where a part of a scalar's value was written: `offset` and `length` are bytes of `value`, the scalar's text.
    /// Block scalars lose their indentation and folded ones their line breaks, so what is not white space is counted;
    /// where that does not add up (escapes, substitution) the whole scalar is meant.
    pub fn within(&self, scalar: Span, value: &str, offset: usize, length: usize) -> Span {
        let written = self.slice(scalar);
        let (skipped, body) = match written.chars().next() {
            Some('|' | '>') => {
                let header = written.find(LINE_ENDS).map_or(written.len(), |at| at + 1);
                (header, written.get(header..).unwrap_or_default())
            }
            Some('"' | '\'') => (1, written.get(1..written.len().saturating_sub(1)).unwrap_or_default()),
            _ => (0, written),
        };
        let dense = |text: &str| {
            text.chars()
                .filter(|c| !c.is_whitespace())
                .map(char::len_utf8)
                .sum::<usize>()
        };
        let same = value
            .chars()
            .filter(|c| !c.is_whitespace())
            .eq(body.chars().filter(|c| !c.is_whitespace()));
        let Some(before) = value.get(..offset).filter(|_| same) else {
            return scalar;
        };
        let mut left = dense(before);
        for (at, c) in body.char_indices().filter(|(_, c)| !c.is_whitespace()) {
            if left == 0 {
                let start = scalar.start + skipped + at;
                let end = floor(&self.text, (start + length).min(scalar.end));
                return Span {
                    start,
                    end: end.max(start),
                };
            }
            left = left.saturating_sub(c.len_utf8());
        }
        scalar
    }
}

/// The byte order mark, which may stand before the first line and counts for no column.
pub(crate) const BOM: char = '\u{feff}';

/// What ends a line, as YAML has it (1.2.2, production 28): both, one behind the other, end one line.
pub(crate) const LINE_ENDS: [char; 2] = ['\n', '\r'];

/// Where the line begins that goes on after `before`.
pub(crate) fn line_start(before: &str) -> usize {
    before.rfind(LINE_ENDS).map_or(0, |at| at + 1)
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str, part: &str) -> Span {
        let start = text.find(part).unwrap();
        Span {
            start,
            end: start + part.len(),
        }
    }

    #[test]
    fn columns_count_characters() {
        let text = "\u{feff}a: 1\n实验室: 结果 # x\n";
        let file = SourceFile::new("p.yaml", text);
        let place = file.place(span(text, "结果"));
        assert_eq!((place.line, place.column), (2, 6));
        assert_eq!(&text[place.start..place.end], "结果");
        assert_eq!(file.place(span(text, "a")).column, 1);
        assert_eq!(file.place(Span { start: 900, end: 901 }).line, 3);
    }

    #[test]
    fn lines_end_as_yaml_has_it() {
        let text = "a: 1\rb: 2\r\nc: 3\n\rd: 4";
        let file = SourceFile::new("f", text);
        let lines = ["a", "b", "c", "d"].map(|key| file.place(span(text, key)).line);
        assert_eq!(lines, [1, 2, 3, 5]);
        let place = file.place(span(text, "2"));
        assert_eq!((place.column, &text[place.start..place.end]), (4, "2"));
    }

    #[test]
    fn a_place_ends_with_its_line() {
        let text = "a:\r\n  b: 1\r\n  c: 2\r\n";
        let place = SourceFile::new("f", text).place(Span {
            start: 6,
            end: text.len(),
        });
        assert_eq!(&text[place.start..place.end], "b: 1");
    }

    #[test]
    fn finds_a_part_of_a_block_scalar() {
        let text = "sql: |\n    select 甲 from t\n    join missing\n";
        let file = SourceFile::new("f", text);
        let scalar = Span {
            start: 5,
            end: text.len(),
        };
        let value = "select 甲 from t\njoin missing\n";
        let found = file.within(scalar, value, value.find("missing").unwrap(), 7);
        assert_eq!(file.slice(found), "missing");
        assert_eq!(file.within(scalar, "other", 1, 2), scalar);
    }
}
