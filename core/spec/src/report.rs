//! Collecting diagnostics, and the hints that go with unknown names.

use crate::{Plugins, codes, keys, pipeline::Span, text::SourceFile};
use clinmill_model::Diagnostic;

/// More findings than this are not shown: nobody reads them, and a hostile file could hold a hundred thousand.
const SHOWN: usize = 200;

/// Everything found in one file so far.
pub(crate) struct Report<'a> {
    pub(crate) source: &'a SourceFile,
    found: Vec<Diagnostic>,
    dropped: usize,
    /// Whose options a misplaced key may be.
    plugins: Option<&'a dyn Plugins>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(source: &'a SourceFile) -> Self {
        Self {
            source,
            found: Vec::new(),
            dropped: 0,
            plugins: None,
        }
    }

    /// As [`new`](Self::new), with plugins whose options are known when they stand in a wrong place.
    pub(crate) fn with_plugins(source: &'a SourceFile, plugins: &'a dyn Plugins) -> Self {
        Self {
            plugins: Some(plugins),
            ..Self::new(source)
        }
    }

    /// What to do about an unknown key: the known one that it is like, else the place where it belongs, else all known
    /// ones.
    pub(crate) fn key_hint(&self, key: &str, known: &[&str]) -> Option<String> {
        if nearest(key, known).is_none()
            && let Some(place) = self.home(key)
        {
            return Some(format!("{} belongs {place}", quoted(key)));
        }
        hint(key, known.iter().copied())
    }

    /// Where a key belongs that is not known where it stands.
    fn home(&self, key: &str) -> Option<String> {
        if let Some(place) = keys::home(key) {
            return Some(place.to_owned());
        }
        let plugins = self.plugins?;
        let takes = |name: &String| {
            let schema = plugins.source_schema(name);
            schema.is_some_and(|s| s.get("properties").is_some_and(|p| p.get(key).is_some()))
        };
        let of: Vec<String> = plugins.source_names().into_iter().filter(takes).collect();
        let of: Vec<&str> = of.iter().map(String::as_str).collect();
        let place = format!("in a source, beside its `plugin`: it is an option of {}", list(&of));
        (!of.is_empty()).then_some(place)
    }

    /// An error at a place, with what to do about it.
    pub(crate) fn hinted(&mut self, code: &str, span: Span, message: impl Into<String>, hint: Option<String>) {
        if self.found.len() >= SHOWN {
            self.dropped += 1;
            return;
        }
        let mut diagnostic = Diagnostic::error(code, message).at(self.source.place(span));
        diagnostic.hint = hint;
        self.found.push(diagnostic);
    }

    /// The findings, in the order of the file.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|d| d.place.as_ref().map_or(0, |p| p.start));
        if self.dropped > 0 {
            let message = format!("{} more problems are not shown", self.dropped);
            self.found.push(Diagnostic::error(codes::TOO_MANY, message));
        }
        self.found
    }
}

/// "did you mean" for a word that is near a known one, else the list of what is known.
pub(crate) fn hint<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, &known) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known: {}", list(&known))),
    }
}

/// The known words, quoted and separated by commas; long lists are cut.
pub(crate) fn list(known: &[&str]) -> String {
    const LISTED: usize = 40;
    let mut text = known
        .iter()
        .take(LISTED)
        .map(|k| format!("`{k}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if known.len() > LISTED {
        text.push_str(", …");
    }
    text
}

/// The known word that was probably meant.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let length = word.chars().count();
    // Edit distance is quadratic: a word longer than any name is not compared.
    if length == 0 || length > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    // `header` for `header_row`, where there is only one such word.
    let mut longer = known
        .iter()
        .filter(|k| k.strip_prefix(word).is_some_and(|rest| rest.starts_with('_')));
    if let (Some(only), None) = (longer.next(), longer.next())
        && !known.contains(&word)
    {
        return Some(only);
    }
    known
        .iter()
        .take(1000)
        .filter(|k| k.len() <= 128)
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), *k))
        .filter(|(distance, k)| *distance <= (length.max(k.chars().count()) / 3).max(1) && *distance < length)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// A word as it appears in a message: short, on one line.
pub(crate) fn quoted(word: &str) -> String {
    const SHOWN: usize = 60;
    let mut text: String = word
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if word.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_what_is_near_or_what_is_known() {
        assert_eq!(
            hint("encodng", ["encoding", "columns"]).unwrap(),
            "did you mean `encoding`?"
        );
        assert_eq!(
            hint("Columns", ["encoding", "columns"]).unwrap(),
            "did you mean `columns`?"
        );
        assert_eq!(
            hint("zzz", ["encoding", "columns"]).unwrap(),
            "known: `encoding`, `columns`"
        );
        assert_eq!(
            hint("header", ["header_row", "sheet"]).unwrap(),
            "did you mean `header_row`?"
        );
        assert_eq!(hint("a", ["b"]).unwrap(), "known: `b`");
        assert_eq!(hint(&"x".repeat(1_000_000), []), None);
    }

    #[test]
    fn words_in_messages_are_short() {
        assert_eq!(quoted("a\nb"), "`a b`");
        assert!(quoted(&"宽".repeat(100)).ends_with("…`"));
    }
}
