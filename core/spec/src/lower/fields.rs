//! Reading one mapping: its keys against the known ones, its values with their types.

use crate::{
    codes,
    keys::{Key, Shape},
    pipeline::{Span, Spanned},
    report::{Report, hint, quoted},
    rewrite::rewrite,
    tree::{Entry, Kind, Node, Scalar},
};

/// A mapping whose keys were checked.
pub(crate) struct Fields<'n> {
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// Checks a section: it is a mapping, has no unknown key, lacks no required one. `name` is where its name stands.
    pub(crate) fn open(node: &'n Node, what: &str, name: Span, keys: &[Key], report: &mut Report<'_>) -> Option<Self> {
        let fields = Self::open_any(node, what, name, keys, report)?;
        for entry in fields.entries {
            if !keys.iter().any(|k| k.name == entry.key) {
                let message = format!("{what} has no key {}", quoted(&entry.key));
                let known: Vec<&str> = keys.iter().map(|k| k.name).collect();
                let hint = report.key_hint(&entry.key, &known);
                report.hinted(codes::UNKNOWN_KEY, entry.key_span, message, hint);
            }
        }
        Some(fields)
    }

    /// As [`open`](Self::open), but other keys are allowed.
    pub(crate) fn open_any(
        node: &'n Node,
        what: &str,
        name: Span,
        keys: &[Key],
        report: &mut Report<'_>,
    ) -> Option<Self> {
        let fields = Self {
            entries: section(node, what, keys, report)?,
        };
        for key in keys {
            match fields.entry(key.name) {
                None if key.required => {
                    let message = format!("{what} lacks the key `{}`", key.name);
                    report.hinted(
                        codes::MISSING_KEY,
                        name,
                        message,
                        Some(format!("add `{}`: {}", key.name, lower_first(key.doc))),
                    );
                }
                Some(entry) => {
                    if let Shape::Later(code) = key.shape {
                        let message = format!("`{}` is not available in this version", key.name);
                        let hint = Some(format!("remove it to go on without: {}", lower_first(key.doc)));
                        report.hinted(code, entry.key_span, message, hint);
                    }
                }
                None => {}
            }
        }
        Some(fields)
    }

    /// All entries, in file order.
    pub(crate) fn entries(&self) -> &'n [Entry] {
        self.entries
    }

    /// The entry of a key.
    pub(crate) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|e| e.key == key)
    }

    /// The text under a key; `None` where it is absent or not text (then reported).
    pub(crate) fn text(&self, key: &str, report: &mut Report<'_>) -> Option<Spanned<String>> {
        let entry = self.entry(key)?;
        text(&entry.value, &format!("`{key}`"), report)
    }

    /// The list of texts under a key, each once; an unusable entry is left out.
    pub(crate) fn texts(&self, key: &str, report: &mut Report<'_>) -> Option<Vec<Spanned<String>>> {
        let entry = self.entry(key)?;
        let items = match &entry.value.kind {
            Kind::Sequence(items) => items,
            Kind::Invalid => return None,
            _ => {
                wrong_type(&entry.value, &format!("`{key}`"), "a list", report);
                return None;
            }
        };
        let mut found: Vec<Spanned<String>> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for item in items {
            let Some(item) = text(item, &format!("an entry of `{key}`"), report) else {
                continue;
            };
            if !seen.insert(item.value.clone()) {
                let message = format!("{} is there twice", quoted(&item.value));
                report.hinted(
                    codes::REPEATED,
                    item.span,
                    message,
                    Some("remove one of the two".to_owned()),
                );
            } else {
                found.push(item);
            }
        }
        Some(found)
    }

    /// One of several words under a key.
    pub(crate) fn choice(
        &self,
        key: &str,
        known: &'static [&'static str],
        report: &mut Report<'_>,
    ) -> Option<Spanned<&'static str>> {
        let word = self.text(key, report)?;
        match known.iter().find(|k| **k == word.value) {
            Some(known) => Some(Spanned {
                value: known,
                span: word.span,
            }),
            None => {
                let message = format!("`{key}` cannot be {}", quoted(&word.value));
                report.hinted(
                    codes::BAD_CHOICE,
                    word.span,
                    message,
                    hint(&word.value, known.iter().copied()),
                );
                None
            }
        }
    }
}

/// The entries of a mapping; a wrong type is reported.
pub(crate) fn entries<'n>(node: &'n Node, what: &str, report: &mut Report<'_>) -> Option<&'n [Entry]> {
    match &node.kind {
        Kind::Mapping(entries) => Some(entries),
        Kind::Invalid => None,
        _ => {
            wrong_type(node, what, "a mapping", report);
            None
        }
    }
}

/// As [`entries`], of a section with these keys: what it must hold is said.
fn section<'n>(node: &'n Node, what: &str, keys: &[Key], report: &mut Report<'_>) -> Option<&'n [Entry]> {
    let needed: Vec<&Key> = keys.iter().filter(|key| key.required).collect();
    let hint = match (&node.kind, needed.as_slice()) {
        (Kind::Mapping(_) | Kind::Invalid, _) | (_, []) => return entries(node, what, report),
        // The one thing that is needed may be what stands there.
        (Kind::Scalar(scalar), [only]) if scalar.value().is_string() && scalar.shown().len() <= 60 => {
            let shown = scalar.shown();
            let is_word = shown.chars().all(|c| c.is_alphanumeric() || c == '_');
            let quote = if is_word || shown.contains('"') { "" } else { "\"" };
            format!("write `{{ {}: {quote}{shown}{quote} }}`", only.name)
        }
        (_, needed) => {
            let needed: Vec<String> = needed.iter().map(|key| format!("{}: …", key.name)).collect();
            format!("write `{{ {} }}`", needed.join(", "))
        }
    };
    let message = format!("{what} must be a mapping, not {}", node.described());
    report.hinted(codes::WRONG_TYPE, node.span, message, Some(hint));
    None
}

/// A node as text; a wrong type is reported.
pub(crate) fn text(node: &Node, what: &str, report: &mut Report<'_>) -> Option<Spanned<String>> {
    let scalar = scalar(node, what, "text", report)?;
    if !scalar.value().is_string() {
        wrong_type(node, what, "text", report);
        return None;
    }
    Some(Spanned {
        value: scalar.text.clone(),
        span: node.span,
    })
}

/// A node as text, numbers and booleans as they are written.
pub(crate) fn loose_text(node: &Node, what: &str, report: &mut Report<'_>) -> Option<Spanned<String>> {
    let scalar = scalar(node, what, "text or a number", report)?;
    if node.is_null() {
        wrong_type(node, what, "text or a number", report);
        return None;
    }
    Some(Spanned {
        value: scalar.text.clone(),
        span: node.span,
    })
}

fn scalar<'n>(node: &'n Node, what: &str, expected: &str, report: &mut Report<'_>) -> Option<&'n Scalar> {
    match &node.kind {
        Kind::Scalar(scalar) => Some(scalar),
        Kind::Invalid => None,
        _ => {
            wrong_type(node, what, expected, report);
            None
        }
    }
}

pub(crate) fn wrong_type(node: &Node, what: &str, expected: &str, report: &mut Report<'_>) {
    let message = format!("{what} must be {expected}, not {}", node.described());
    report.hinted(codes::WRONG_TYPE, node.span, message, rewrite(node, expected));
}

pub(crate) fn lower_first(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}
