//! Headers in the middle of a line: files put together without a line end between them, and what logs and links put
//! before a message. `MSH`, its separator, its encoding characters and the separator again are never data, because no
//! value holds an unescaped separator (HL7 v2.5, section 2.7).

use memchr::memmem::{self, Finder};

/// How many bytes such a header has at most, up to its second separator.
pub const LONGEST: usize = 10;
/// Where a header's separator stands.
const MARKS: usize = 3;

/// Finds headers with the delimiters of the message at hand.
#[derive(Default)]
pub struct Own(Option<([u8; 4], Finder<'static>)>);

impl Own {
    /// A message begins with `msh`.
    #[inline]
    pub fn learn(&mut self, msh: &[u8]) {
        let found = msh.get(MARKS..).and_then(|rest| rest.first_chunk::<4>());
        match (found, &self.0) {
            (Some(found), Some((known, _))) if found == known => {}
            (Some(found), _) if is_header(msh) => self.0 = Some((*found, Finder::new(found).into_owned())),
            _ => self.0 = None,
        }
    }

    /// Where in `text`, behind its first byte, a header first stands.
    #[inline]
    pub fn find(&self, text: &[u8]) -> Option<usize> {
        let (_, finder) = self.0.as_ref()?;
        let mut from = MARKS + 1;
        loop {
            let marks = from + finder.find(text.get(from..)?)?;
            let at = marks - MARKS;
            if text.get(at..).is_some_and(is_header) {
                return Some(at);
            }
            from = marks + 1;
        }
    }
}

/// Where in `text` a header of any delimiters first stands.
pub fn find(text: &[u8]) -> Option<usize> {
    let verified = |at: &usize| text.get(*at..).is_some_and(is_header);
    let message = memmem::find_iter(text, b"MSH").find(verified);
    let before = text.get(..message.unwrap_or(text.len())).unwrap_or_default();
    let envelope = memmem::find_iter(before, b"HS")
        .filter_map(|at| at.checked_sub(1))
        .find(verified);
    envelope.or(message)
}

/// True where `text` begins with `MSH`, `FHS` or `BHS` and three to five encoding characters between two separators.
fn is_header(text: &[u8]) -> bool {
    let (Some(b"MSH" | b"FHS" | b"BHS"), Some((separator, rest))) =
        (text.get(..MARKS), text.get(MARKS..).and_then(<[u8]>::split_first))
    else {
        return false;
    };
    let rest = rest.get(..LONGEST - MARKS - 1).unwrap_or(rest);
    let Some(marks) = rest.iter().position(|b| b == separator).and_then(|end| rest.get(..end)) else {
        return false;
    };
    let distinct = |(i, mark): (usize, &u8)| mark.is_ascii_punctuation() && !marks.iter().take(i).any(|m| m == mark);
    separator.is_ascii_punctuation() && (3..=5).contains(&marks.len()) && marks.iter().enumerate().all(distinct)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_within_a_line() {
        let mut own = Own::default();
        own.learn(br"MSH|^~\&|A");
        assert_eq!(own.find(br"MSH|^~\&|A|FMSH|^~\&|B"), Some(12));
        assert_eq!(own.find(br"MSH|^~\&|A|FTS|1FHS|^~\&#|B"), Some(16));
        for none in [
            &br"MSH|^~\&|A|MSH||(-)|"[..],
            br"MSH|^~\&|A|XSH|^~\&|",
            br"MSH|^~\&|AMSH@^~\&@",
            br"MSH|^~\&|AMSH|^~\",
            br"MSH|^~\&|AMSH|^~\^|",
            br"MSH|^~\&|AMSH|^~\a|",
            b"MSH|",
            b"",
        ] {
            assert_eq!(own.find(none), None, "{}", String::from_utf8_lossy(none));
        }
        own.learn(br"MSH@*!?%@");
        assert_eq!(own.find(br"MSH@*!?%@A@FMSH@*!?%@B"), Some(12));
        own.learn(b"MSH|^~|");
        assert_eq!(own.find(br"MSH|^~|AMSH|^~|MSH|^~\&|"), None);
    }

    #[test]
    fn headers_of_any_delimiters() {
        assert_eq!(find(br"10:00 MSH|^~\&|A"), Some(6));
        assert_eq!(find(b"\0\x0bMSH@*!?%@"), Some(2));
        assert_eq!(find(br"BTS|1BHS|^~\&|MSH|^~\&|"), Some(5));
        assert_eq!(find(br"HS|^~\&|"), None);
        assert_eq!(find(b"alpha MSH (-) MSH"), None);
    }
}
