//! A line of JSON (RFC 8259) as the members of its object, numbers as they are written: a double would change them.

use serde::de::IgnoredAny;
use std::{borrow::Cow, collections::HashMap};

/// The members of an object by name.
#[derive(Debug)]
pub struct Object<'a>(HashMap<Cow<'a, str>, Member<'a>>);

/// What a member holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// `null`.
    Null,
    /// A text.
    Text(Cow<'a, str>),
    /// A number, as written.
    Number(&'a str),
    /// A boolean, array or object: its JSON without white space.
    Other(String),
}

/// Why a line has no members. Says nothing of its values.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is something else than an object.
    NoObject,
    /// A member stands twice: which one counts, nobody knows.
    Twice,
    /// It is no JSON from this byte on, counted from 1; or it ends within it.
    Syntax {
        /// Where.
        column: usize,
        /// True where it ends too early.
        ends: bool,
    },
}

impl<'a> Object<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// As [`Wrong`] says.
    pub fn read(line: &'a str) -> Result<Self, Wrong> {
        serde_json::from_str::<IgnoredAny>(line).map_err(|error| Wrong::Syntax {
            column: error.column(),
            ends: error.is_eof(),
        })?;
        // From here on it is known to be JSON, but for what its texts spell.
        let mut at = past_blanks(line, 0);
        if byte(line, at) != Some(b'{') {
            return Err(Wrong::NoObject);
        }
        let mut members = HashMap::new();
        at = past_blanks(line, at + 1);
        while byte(line, at) == Some(b'"') {
            let end = value_end(line, at);
            let name = text(line, at, end)?;
            at = past_blanks(line, past_blanks(line, end) + 1);
            let end = value_end(line, at);
            let raw = line.get(at..end).unwrap_or_default();
            let member = match byte(line, at) {
                Some(b'n') => Member::Null,
                Some(b'"') => Member::Text(text(line, at, end)?),
                Some(b'-' | b'0'..=b'9') => Member::Number(raw),
                _ => Member::Other(compact(line, at, end)?),
            };
            if members.insert(name, member).is_some() {
                return Err(Wrong::Twice);
            }
            at = past_blanks(line, past_blanks(line, end) + 1);
        }
        Ok(Self(members))
    }

    /// A member by name.
    pub fn get(&self, name: &str) -> Option<&Member<'a>> {
        self.0.get(name)
    }
}

fn byte(line: &str, at: usize) -> Option<u8> {
    line.as_bytes().get(at).copied()
}

fn past_blanks(line: &str, at: usize) -> usize {
    let rest = line.as_bytes().get(at..).unwrap_or_default();
    at + (rest.len() - rest.trim_ascii_start().len())
}

/// Where the value that begins here ends.
fn value_end(line: &str, from: usize) -> usize {
    let mut at = from;
    let mut depth = 0usize;
    while let Some(next) = byte(line, at) {
        match next {
            b'"' => at = text_end(line, at),
            b'{' | b'[' => (depth, at) = (depth + 1, at + 1),
            b'}' | b']' if depth > 0 => (depth, at) = (depth - 1, at + 1),
            b'}' | b']' => break,
            _ if depth > 0 => at += 1,
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => break,
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Where the text that begins with this quote ends.
fn text_end(line: &str, from: usize) -> usize {
    let bytes = line.as_bytes();
    let mut at = from + 1;
    while let Some(i) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += i;
        if byte(line, at) == Some(b'"') {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// What a text spells.
fn text(line: &str, from: usize, end: usize) -> Result<Cow<'_, str>, Wrong> {
    let raw = line.get(from..end).unwrap_or_default();
    if !raw.contains('\\') {
        return Ok(Cow::Borrowed(raw.trim_matches('"')));
    }
    // Half of a surrogate pair is found here only.
    serde_json::from_str(raw)
        .map(Cow::Owned)
        .map_err(|error| Wrong::Syntax {
            column: from + error.column(),
            ends: false,
        })
}

/// JSON without white space, its texts with as few escapes as can be: the same value has the same text.
fn compact(line: &str, from: usize, end: usize) -> Result<String, Wrong> {
    let mut compact = String::with_capacity(end.saturating_sub(from));
    let mut at = from;
    while at < end {
        let next = match byte(line, at) {
            Some(b'"') => {
                let next = text_end(line, at);
                let spelt = text(line, at, next)?;
                compact.push_str(&serde_json::Value::from(spelt).to_string());
                next
            }
            Some(b' ' | b'\t' | b'\r' | b'\n') => at + 1,
            _ => {
                compact.push_str(line.get(at..=at).unwrap_or_default());
                at + 1
            }
        };
        at = next;
    }
    Ok(compact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_as_written() {
        let line = " { \"a\\u0062\" : 1.50,\"n\":null , \"t\":\"x\\n\\\"\\u8840\",\"e\":\"\",\"o\" : {\"k\": [1e2, \"\\u8840}\" ,true]}, \"z\":-0 }";
        let object = Object::read(line).unwrap();
        assert_eq!(object.get("ab"), Some(&Member::Number("1.50")));
        assert_eq!(object.get("n"), Some(&Member::Null));
        assert_eq!(object.get("t"), Some(&Member::Text("x\n\"血".into())));
        assert_eq!(object.get("e"), Some(&Member::Text("".into())));
        assert_eq!(
            object.get("o"),
            Some(&Member::Other("{\"k\":[1e2,\"血}\",true]}".into()))
        );
        assert_eq!(object.get("z"), Some(&Member::Number("-0")));
        assert_eq!(object.get("k"), None);
    }

    #[test]
    fn what_has_no_members() {
        assert_eq!(Object::read("[1]").unwrap_err(), Wrong::NoObject);
        assert_eq!(Object::read("{\"a\":1,\"\\u0061\":1}").unwrap_err(), Wrong::Twice);
        for (line, ends) in [
            ("{\"a\":1", true),
            ("{\"a\":01}", false),
            ("{} {}", false),
            ("{\"a\":\"\\ud800\"}", false),
        ] {
            assert!(
                matches!(Object::read(line), Err(Wrong::Syntax { ends: e, .. }) if e == ends),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_reader_of_json(line in "[{}\\[\\]\":,\\\\u0 1a.-]{0,24}") {
            let known: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&line).ok();
            match (known, Object::read(&line)) {
                (Some(known), Ok(object)) => {
                    prop_assert_eq!(known.len(), object.0.len());
                    for (name, value) in known {
                        let same = match (object.get(&name), &value) {
                            (Some(Member::Text(text)), serde_json::Value::String(known)) => text == known,
                            (Some(Member::Number(number)), known) => serde_json::from_str(number).ok().as_ref() == Some(known),
                            (Some(Member::Other(json)), known) => serde_json::from_str(json).ok().as_ref() == Some(known),
                            (Some(Member::Null), known) => known.is_null(),
                            _ => false,
                        };
                        prop_assert!(same, "{}", line);
                    }
                }
                (Some(_), Err(wrong)) => prop_assert_eq!(wrong, Wrong::Twice),
                (None, Ok(_)) => prop_assert!(false, "{}", line),
                (None, Err(_)) => {}
            }
        }
    }
}
