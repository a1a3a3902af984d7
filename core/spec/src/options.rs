//! The options of a plugin: their value, where each part stands, and whether they fit the plugin's schema.

use crate::{
    codes,
    lower::Context,
    pipeline::{Options, Span, Spanned},
    report::{hint, quoted},
    schema,
    tree::{Entry, Kind, Node},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Which kind of plugin is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PluginKind {
    Source,
    Transform,
}

/// Checks the entries that belong to a plugin and makes its options of them.
pub(crate) fn lower(
    kind: PluginKind,
    plugin: &Spanned<String>,
    own: &[Entry],
    context: &mut Context<'_, '_>,
) -> Options {
    let node = Node {
        kind: Kind::Mapping(own.to_vec()),
        span: plugin.span,
    };
    let mut spans = BTreeMap::new();
    collect(&node, &mut String::new(), plugin.span, &mut spans);
    let mut options = Options {
        value: node.json(),
        spans,
        mappings: Vec::new(),
        refused: false,
    };
    match schema_of(kind, &plugin.value, context) {
        None => unknown(kind, plugin, context),
        Some(schema) => {
            let outcome = schema::check(&schema, &node, plugin);
            options.refused = !outcome.violations.is_empty();
            if options.refused {
                options.value = without_refused(&node, &outcome.violations);
            }
            for (pointer, integer) in outcome.integers {
                // A plugin that asks for an integer may be unable to read `1.0`.
                if let Some(value) = options.value.pointer_mut(&pointer) {
                    *value = Value::Number(integer);
                }
            }
            for v in outcome.violations {
                let hint = match &v.unknown {
                    Some((name, known)) => {
                        let known: Vec<&str> = known.iter().map(String::as_str).collect();
                        context.report.key_hint(name, &known)
                    }
                    None => v.hint,
                };
                context.report.hinted(v.code, v.span, v.message, hint);
            }
            for (pointer, reference, span) in outcome.mappings {
                if context.path(&reference, span) {
                    options.mappings.push((pointer, reference));
                }
            }
        }
    }
    options
}

/// The options without the words that the schema refuses, so that what else is wrong with a pipeline is found in the same
/// run: a word decides hardly ever which columns there are.
fn without_refused(node: &Node, violations: &[schema::Violation]) -> Value {
    let Kind::Mapping(own) = &node.kind else {
        return node.json();
    };
    let is_refused = |entry: &Entry| {
        matches!(entry.value.kind, Kind::Scalar(_))
            && violations
                .iter()
                .any(|v| v.span == entry.key_span || v.span == entry.value.span)
    };
    let kept = own.iter().filter(|entry| !is_refused(entry)).cloned().collect();
    Node {
        kind: Kind::Mapping(kept),
        span: node.span,
    }
    .json()
}

fn schema_of(kind: PluginKind, name: &str, context: &Context<'_, '_>) -> Option<Value> {
    match kind {
        PluginKind::Source => context.plugins.source_schema(name),
        PluginKind::Transform => context.plugins.transform_schema(name),
    }
}

/// Reports a plugin that there is not.
pub(crate) fn unknown(kind: PluginKind, plugin: &Spanned<String>, context: &mut Context<'_, '_>) {
    let (what, known, others) = match kind {
        PluginKind::Source => (
            "source",
            context.plugins.source_names(),
            context.plugins.transform_names(),
        ),
        PluginKind::Transform => (
            "transform",
            context.plugins.transform_names(),
            context.plugins.source_names(),
        ),
    };
    let message = format!("there is no {what} plugin {}", quoted(&plugin.value));
    let hint = if kind == PluginKind::Transform && plugin.value == "sql" {
        Some("a query is a transform of its own, not a step: `NAME: { sql: select … }` under `transforms`".to_owned())
    } else if others.contains(&plugin.value) {
        Some(format!("{} is a plugin of another kind", quoted(&plugin.value)))
    } else {
        hint(&plugin.value, known.iter().map(String::as_str))
    };
    context.report.hinted(codes::UNKNOWN_PLUGIN, plugin.span, message, hint);
}

/// Notes where each value stands. A list or mapping is represented by its key: an excerpt shows one line.
fn collect(node: &Node, pointer: &mut String, here: Span, spans: &mut BTreeMap<String, Span>) {
    spans.insert(pointer.clone(), here);
    let length = pointer.len();
    match &node.kind {
        Kind::Invalid | Kind::Scalar(_) => {}
        Kind::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                collect(item, pointer, item.span, spans);
                pointer.truncate(length);
            }
        }
        Kind::Mapping(entries) => {
            for entry in entries {
                pointer.push('/');
                pointer.push_str(&escape(&entry.key));
                collect(&entry.value, pointer, entry.shown_at(), spans);
                pointer.truncate(length);
            }
        }
    }
}

impl Entry {
    /// Where to point for the value: at a scalar itself, at the key of a list or mapping.
    pub(crate) fn shown_at(&self) -> Span {
        match self.value.kind {
            Kind::Scalar(_) => self.value.span,
            _ => self.key_span,
        }
    }
}

/// A key as a token of a JSON pointer (RFC 6901, section 3).
pub(crate) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

impl Options {
    /// Where the value at an RFC 6901 pointer was written; for a pointer to something absent, where its nearest parent
    /// was. The empty pointer is the plugin's name.
    pub fn locate(&self, pointer: &str) -> Span {
        let mut pointer = pointer;
        loop {
            if let Some(span) = self.spans.get(pointer) {
                return *span;
            }
            match pointer.rfind('/') {
                Some(at) => pointer = pointer.get(..at).unwrap_or_default(),
                None => return self.spans.get("").copied().unwrap_or_default(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locates_the_nearest_parent() {
        let span = |start| Span { start, end: start + 1 };
        let spans = [("", 1), ("/a", 2), ("/a/x~1y", 3), ("/a/0", 4)];
        let options = Options {
            spans: spans.map(|(p, s)| (p.to_owned(), span(s))).into(),
            ..Options::default()
        };
        for (pointer, start) in [
            ("", 1),
            ("/zz", 1),
            ("/a", 2),
            ("/a/q/r", 2),
            ("/a/x~1y", 3),
            ("/a/0/k", 4),
            ("bad", 1),
        ] {
            assert_eq!(options.locate(pointer), span(start), "{pointer}");
        }
        assert_eq!(Options::default().locate("/a"), Span::default());
    }
}
