//! How to write a value that is of another type than the one that is wanted.

use crate::tree::{Kind, Node, Scalar};

/// Longer values are not repeated in advice.
const SHOWN: usize = 40;

/// What to write instead of a value; `wanted` says in words what fits, such as `a list` or `text or a number`.
pub(crate) fn rewrite(node: &Node, wanted: &str) -> Option<String> {
    let wants = |what: &str| wanted.contains(what);
    let fix = match &node.kind {
        Kind::Invalid => return None,
        _ if node.is_null() && wants("text") => {
            "write a value: nothing stands behind the `:`; a text that holds a `#` must be in quotes".to_owned()
        }
        _ if node.is_null() => "write a value: nothing stands behind the `:`".to_owned(),
        Kind::Scalar(scalar) if wants("`true`") && boolean(scalar).is_some() => boolean(scalar)?.to_owned(),
        Kind::Scalar(_) if wants("text") => return quote_hint(node),
        Kind::Scalar(scalar) if fits_unquoted(scalar, wanted) => "write it without quotes".to_owned(),
        Kind::Scalar(_) if wants("a list") => match short(node) {
            Some(text) => format!("write it as a list: `[{text}]`"),
            None => "write it as a list, each entry in a line that begins with `- `".to_owned(),
        },
        Kind::Scalar(_) if wants("a mapping") => "write names with their values: `{ name: value }`".to_owned(),
        Kind::Scalar(_) if wants("an integer") => "write a whole number, such as `3`".to_owned(),
        Kind::Scalar(_) if wants("a number") => "write a number, such as `3` or `0.5`".to_owned(),
        Kind::Scalar(_) if wants("`true`") => "write `true` or `false`".to_owned(),
        Kind::Scalar(_) => return None,
        Kind::Sequence(items) if wants("a mapping") => match named(items) {
            Some(names) => format!("write names with their values, not a list: `{{ {names} }}`"),
            None => "write names with their values, `name: value`, without `- ` before them".to_owned(),
        },
        Kind::Sequence(items) => match items.as_slice() {
            [only] => format!("write it without brackets: `{}`", short(only)?),
            _ => "write one value, not a list".to_owned(),
        },
        Kind::Mapping(_) if wants("a list") => "begin each entry with `- `".to_owned(),
        Kind::Mapping(_) => "write one value: nothing may be indented below it".to_owned(),
    };
    Some(fix)
}

/// How to write a number or boolean that is meant as text.
pub(crate) fn quote_hint(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Scalar(s) if !node.is_null() => {
            let shown = s.shown();
            let short = shown.len() <= SHOWN && !shown.contains(['"', '\n']);
            Some(if short {
                format!("put it in quotes: \"{shown}\"")
            } else {
                "put it in quotes".to_owned()
            })
        }
        _ => None,
    }
}

fn boolean(scalar: &Scalar) -> Option<&'static str> {
    match scalar.text.to_lowercase().as_str() {
        "yes" | "on" | "y" | "true" => Some("write `true`"),
        "no" | "off" | "n" | "false" => Some("write `false`"),
        _ => None,
    }
}

/// True for a quoted text that would be what is wanted without its quotes.
fn fits_unquoted(scalar: &Scalar, wanted: &str) -> bool {
    let plain = Scalar {
        plain: true,
        ..scalar.clone()
    };
    let value = plain.value();
    !scalar.plain
        && match wanted.contains("a number") {
            true => value.is_number(),
            false => wanted.contains("an integer") && (value.is_i64() || value.is_u64()),
        }
}

/// A scalar as it may stand in a list.
fn short(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar(s) if !node.is_null() => {
            Some(s.shown()).filter(|text| text.len() <= SHOWN && !text.contains([',', '\n', '[', '{', '`']))
        }
        _ => None,
    }
}

/// The entries of a list as names of a mapping.
fn named(items: &[Node]) -> Option<String> {
    let names: Option<Vec<String>> = items
        .iter()
        .take(3)
        .map(|i| Some(format!("{}: …", short(i)?)))
        .collect();
    names.filter(|names| !names.is_empty()).map(|names| names.join(", "))
}
