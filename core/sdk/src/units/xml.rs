//! Small XML files as trees.

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

/// An element.
#[derive(Clone, Debug, Default)]
pub struct Element {
    /// Its name, without a namespace's prefix.
    pub name: String,
    attributes: Vec<(String, String)>,
    /// The elements in it.
    pub children: Vec<Element>,
    /// Its text, with that of the elements in it.
    pub text: String,
}

/// Elements within elements, at most.
const MAX_DEPTH: usize = 64;

impl Element {
    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first element of this name in it.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }
}

/// Reads a document: UTF-8, with or without a byte order mark.
///
/// # Errors
/// What is wrong, with a byte offset where there is one.
pub fn parse(bytes: &[u8]) -> Result<Element, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text =
        std::str::from_utf8(bytes).map_err(|error| format!("the file is not UTF-8 (byte {})", error.valid_up_to()))?;
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::default()];
    loop {
        let at = reader.buffer_position();
        let wrong = |what: &str| format!("{what} (byte {at})");
        let event = reader.read_event().map_err(|_| wrong("this is not XML"))?;
        let innermost = open.last_mut().ok_or_else(|| wrong("more ends than beginnings"))?;
        match event {
            Event::Start(start) => {
                if open.len() > MAX_DEPTH {
                    return Err(wrong("elements are nested too deeply"));
                }
                open.push(element(&start).ok_or_else(|| wrong("an attribute does not read"))?);
            }
            Event::Empty(start) => {
                let child = element(&start).ok_or_else(|| wrong("an attribute does not read"))?;
                innermost.children.push(child);
            }
            Event::End(_) => {
                let closed = open.pop().unwrap_or_default();
                let parent = open.last_mut().ok_or_else(|| wrong("more ends than beginnings"))?;
                parent.text.push_str(&closed.text);
                parent.children.push(closed);
            }
            Event::Text(text) => innermost.text.push_str(&text.xml10_content()),
            Event::CData(text) => innermost.text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => innermost.text.extend(reference.resolve_char_ref().ok().flatten()),
            Event::Eof => break,
            _ => {}
        }
    }
    let mut root = open.pop().unwrap_or_default();
    match (open.is_empty(), root.children.pop()) {
        (true, Some(element)) => Ok(element),
        _ => Err("the file ends within an element".to_owned()),
    }
}

fn element(start: &BytesStart<'_>) -> Option<Element> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Some(Element {
        name: start.local_name().as_ref().to_owned(),
        attributes,
        ..Element::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_attributes_comments_and_references() {
        let root = parse("\u{feff}<?xml version='1.0'?><a><!-- <b/> --><c d='1 &lt; &#232;'/>x&#181;</a>".as_bytes());
        let root = root.unwrap();
        assert_eq!((root.name.as_str(), root.text.as_str()), ("a", "xµ"));
        assert_eq!(root.child("c").unwrap().attribute("d"), Some("1 < è"));
        assert!(root.child("b").is_none());
    }

    #[test]
    fn what_is_broken_is_said() {
        for wrong in ["", "<a>", "<a></b>", "<a b=1/>", "</a>", "<a b='&nope;'/>"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(parse(b"<a b='\xff'/>").unwrap_err().contains("UTF-8"));
        assert!(parse("<a>".repeat(100_000).as_bytes()).is_err());
    }
}
