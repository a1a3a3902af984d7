//! YAML text to a tree of located nodes, within limits. The only module that knows the YAML library.

use crate::{
    codes,
    pipeline::Span,
    report::{Report, quoted},
    text::BOM,
};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use std::collections::HashSet;

mod syntax;

/// Largest accepted text, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Deepest accepted nesting.
pub const MAX_DEPTH: usize = 64;
/// Most accepted nodes, keys included.
pub const MAX_NODES: usize = 100_000;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Already reported: later layers pass over it in silence.
    Invalid,
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A scalar before its type is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scalar {
    /// The value, after substitution.
    pub(crate) text: String,
    /// Not quoted and not a block: may be null, a boolean or a number.
    pub(crate) plain: bool,
    /// As written, where substitution changed it: messages never show what came from the environment.
    pub(crate) written: Option<String>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

/// Reads the text; what is wrong goes to the report, and `None` means that there is nothing to go on with.
pub(crate) fn parse(report: &mut Report<'_>) -> Option<Node> {
    let source = report.source;
    let text = source.text();
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len());
        let hint = "name the pipeline's YAML file; long lists of values belong into a mapping table".to_owned();
        report.hinted(codes::TOO_LARGE, Span::default(), message, Some(hint));
        return None;
    }
    let body = text.strip_prefix(BOM).unwrap_or(text);
    let shift = text.len() - body.len();
    if let Some((at, c)) = body.char_indices().find(|(_, c)| !printable(*c)) {
        let span = Span {
            start: shift + at,
            end: shift + at + c.len_utf8(),
        };
        let message = format!("the character U+{:04X} is not allowed in YAML", u32::from(c));
        let hint = Some("remove it; save the file as UTF-8 text".to_owned());
        report.hinted(codes::CHARACTER, span, message, hint);
        return None;
    }
    Builder {
        report,
        offsets: Offsets::new(body, shift),
        stack: Vec::new(),
        nodes: 0,
        root: None,
    }
    .run(body)
}

/// YAML 1.2.2, production 1 (c-printable), without the byte order mark inside the text.
pub(crate) fn printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{85}' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}'
        | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

/// The library counts characters; everything else here counts bytes.
struct Offsets<'b> {
    /// Byte offset of each character; empty for ASCII, where both are the same.
    bytes: Vec<usize>,
    body: &'b str,
    /// Length of what stands before the body: the byte order mark.
    shift: usize,
}

impl<'b> Offsets<'b> {
    fn new(body: &'b str, shift: usize) -> Self {
        let bytes = if body.is_ascii() {
            Vec::new()
        } else {
            body.char_indices().map(|(at, _)| at).collect()
        };
        Self { bytes, body, shift }
    }

    fn byte(&self, marker: Marker) -> usize {
        let index = marker.index();
        let at = if self.bytes.is_empty() {
            index
        } else {
            self.bytes.get(index).copied().unwrap_or(self.body.len())
        };
        self.shift + at.min(self.body.len())
    }

    /// Without the white space that the library counts to some ends.
    fn span(&self, span: saphyr_parser::Span) -> Span {
        let start = self.byte(span.start);
        let end = self.byte(span.end).max(start);
        let text = self.body.get(start - self.shift..end - self.shift).unwrap_or_default();
        Span {
            start,
            end: start + text.trim_end().len(),
        }
    }
}

/// A container that is still open.
struct Frame {
    start: Span,
    entries: Vec<Entry>,
    items: Vec<Node>,
    mapping: bool,
    /// The key that waits for its value.
    key: Option<(String, Span)>,
    /// Set while the value of a key that must not be kept (a duplicate) is read.
    discard: bool,
    seen: HashSet<String>,
}

struct Builder<'r, 's, 'b> {
    report: &'r mut Report<'s>,
    offsets: Offsets<'b>,
    stack: Vec<Frame>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_, '_, '_> {
    fn run(mut self, body: &str) -> Option<Node> {
        let mut parser = Parser::new_from_str(body);
        let mut documents = 0;
        while let Some(event) = parser.next_event() {
            let (event, at) = match event {
                Ok((event, span)) => (event, self.offsets.span(span)),
                Err(error) => {
                    let start = self.offsets.byte(*error.marker());
                    self.syntax(body, error.info(), start);
                    return None;
                }
            };
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let message = "a second YAML document begins here; a pipeline file has one";
                        let hint = Some("remove the line `---`, or put what follows into a file of its own".to_owned());
                        self.report.hinted(codes::DOCUMENT, at, message, hint);
                        return None;
                    }
                }
                Event::Alias(_) => {
                    let hint = Some("write the value out".to_owned());
                    self.report
                        .hinted(codes::ALIAS, at, "aliases are not allowed in a pipeline file", hint);
                    self.value(Node {
                        kind: Kind::Invalid,
                        span: at,
                    })?;
                }
                Event::Scalar(text, style, _, tag) => {
                    self.tag(tag.is_some(), at);
                    let plain = matches!(style, ScalarStyle::Plain);
                    let scalar = Scalar {
                        text: text.into_owned(),
                        plain,
                        written: None,
                    };
                    self.value(Node {
                        kind: Kind::Scalar(scalar),
                        span: at,
                    })?;
                }
                Event::SequenceStart(_, tag) => {
                    self.tag(tag.is_some(), at);
                    self.open(at, false)?;
                }
                Event::MappingStart(_, tag) => {
                    self.tag(tag.is_some(), at);
                    self.open(at, true)?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(frame) = self.stack.pop() {
                        let span = Span {
                            start: frame.start.start,
                            end: at.end.max(frame.start.end),
                        };
                        let kind = if frame.mapping {
                            Kind::Mapping(frame.entries)
                        } else {
                            Kind::Sequence(frame.items)
                        };
                        self.value(Node { kind, span })?;
                    }
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        if self.root.is_none() {
            let hint = Some("`clinmill init DIR` makes a pipeline to begin with".to_owned());
            self.report
                .hinted(codes::DOCUMENT, Span::default(), "the file is empty", hint);
        }
        self.root
    }

    fn open(&mut self, start: Span, mapping: bool) -> Option<()> {
        if self.stack.len() >= MAX_DEPTH {
            self.too_deep(start);
            return None;
        }
        self.stack.push(Frame {
            start,
            entries: Vec::new(),
            items: Vec::new(),
            mapping,
            key: None,
            discard: false,
            seen: HashSet::new(),
        });
        Some(())
    }

    /// Takes a finished node: a key, a value, an item or the root.
    fn value(&mut self, mut node: Node) -> Option<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values and keys");
            let hint = Some("long lists of values belong into a mapping table".to_owned());
            self.report.hinted(codes::TOO_COMPLEX, node.span, message, hint);
            return None;
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        if !frame.mapping {
            frame.items.push(node);
            return Some(());
        }
        if let Some((key, key_span)) = frame.key.take() {
            // The library places an absent value at the next token, which may be lines away.
            if node.span.start >= node.span.end {
                node.span = key_span;
            }
            if !std::mem::take(&mut frame.discard) {
                frame.entries.push(Entry {
                    key,
                    key_span,
                    value: node,
                });
            }
            return Some(());
        }
        match node.kind {
            Kind::Scalar(scalar) => {
                if !frame.seen.insert(scalar.text.clone()) {
                    frame.discard = true;
                    let message = format!("the key {} is there twice", quoted(&scalar.text));
                    let hint = Some("keep one of the two: YAML would take the last in silence".to_owned());
                    self.report.hinted(codes::DUPLICATE_KEY, node.span, message, hint);
                }
                frame.key = Some((scalar.text, node.span));
            }
            Kind::Invalid => {
                frame.discard = true;
                frame.key = Some((String::new(), node.span));
            }
            Kind::Sequence(_) | Kind::Mapping(_) => {
                frame.discard = true;
                frame.key = Some((String::new(), node.span));
                let hint = Some("quote it if it is meant as text, such as \"{...}\"".to_owned());
                self.report
                    .hinted(codes::COMPLEX_KEY, node.span, "a key must be a plain name", hint);
            }
        }
        Some(())
    }

    fn tag(&mut self, present: bool, at: Span) {
        if present {
            let hint = Some("remove it; quote a value that is text".to_owned());
            self.report
                .hinted(codes::TAG, at, "tags are not allowed in a pipeline file", hint);
        }
    }

    fn too_deep(&mut self, at: Span) {
        let message = format!("nested deeper than {MAX_DEPTH} levels");
        let hint = Some("check that each `{` and `[` is closed".to_owned());
        self.report.hinted(codes::TOO_COMPLEX, at, message, hint);
    }

    fn syntax(&mut self, body: &str, info: &str, start: usize) {
        // The library looks ahead: its own limit for `[` and `{` may be met before ours.
        if info.contains("recursion limit") {
            return self.too_deep(Span { start, end: start });
        }
        let found = syntax::explain(body, info, start.saturating_sub(self.offsets.shift));
        let span = Span {
            start: found.span.start + self.offsets.shift,
            end: found.span.end + self.offsets.shift,
        };
        self.report.hinted(found.code, span, found.message, Some(found.hint));
    }
}

#[cfg(test)]
mod tests;
