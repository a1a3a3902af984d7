//! Which keywords of JSON Schema the schema of a plugin's options may use: those that options are checked by. One that is
//! not read would let options through that do not fit.

use serde_json::Value;
use std::{cmp::Ordering, collections::HashSet};

/// The keywords that options are checked by.
pub const CHECKED: [&str; 25] = [
    "$ref",
    "type",
    "const",
    "enum",
    "properties",
    "required",
    "additionalProperties",
    "unevaluatedProperties",
    "minProperties",
    "maxProperties",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "allOf",
    "anyOf",
    "oneOf",
    "$defs",
];

/// Those that would refuse options, in this or an earlier draft, and are not read.
const UNREAD: [&str; 21] = [
    "pattern",
    "patternProperties",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "contains",
    "minContains",
    "maxContains",
    "multipleOf",
    "divisibleBy",
    "unevaluatedItems",
    "additionalItems",
    "$dynamicRef",
    "$recursiveRef",
    "disallow",
    "extends",
];

/// Whether a number that compares so with a limit keeps to it.
pub type Holds = fn(Ordering) -> bool;

/// What a number is held to: the keyword, in words, and how the number may compare with the keyword's.
pub const LIMITS: [(&str, &str, Holds); 4] = [
    ("minimum", "at least", Ordering::is_ge),
    ("maximum", "at most", Ordering::is_le),
    ("exclusiveMinimum", "more than", Ordering::is_gt),
    ("exclusiveMaximum", "less than", Ordering::is_lt),
];

/// The types of JSON Schema.
const TYPES: [&str; 7] = ["null", "boolean", "object", "array", "number", "integer", "string"];

/// The first thing of a schema that options cannot be checked by, and where it stands: a keyword that is not read, or one
/// with a value that it cannot have. What only describes (`title`, `default`, `format`, `x-codes`, …) is no such keyword.
pub fn unread(schema: &Value) -> Option<String> {
    // A reference may lead to any place: what stands there is looked at like the rest, and once.
    let mut seen: HashSet<*const Value> = HashSet::new();
    let mut open = vec![(String::new(), schema)];
    while let Some((at, part)) = open.pop() {
        if !seen.insert(part) {
            continue;
        }
        let what = match part {
            Value::Bool(_) => None,
            Value::Object(keywords) => keywords.iter().find_map(|(key, value)| wrong(schema, &at, key, value)),
            _ => Some("what is no schema".to_owned()),
        };
        if let Some(what) = what {
            return Some(format!("{what} at {at:?} is not one that options are checked by"));
        }
        let mut parts = parts(schema, part, &at);
        parts.reverse();
        open.extend(parts);
    }
    None
}

/// What a reference leads to: a JSON pointer behind `#` (RFC 6901, section 6).
pub fn target<'s>(root: &'s Value, reference: &str) -> Option<&'s Value> {
    let pointer = reference.strip_prefix('#')?;
    match pointer.contains('%') {
        true => root.pointer(&percent_decoded(pointer)?),
        false => root.pointer(pointer),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let byte = digit()? * 16 + digit()?;
        out.push(u8::try_from(byte).ok()?);
    }
    String::from_utf8(out).ok()
}

/// A number of characters, entries or keys; `2.0` is one too.
pub fn count(value: &Value) -> Option<u64> {
    let whole = |n: &f64| n.fract() == 0.0 && *n >= 0.0;
    value
        .as_u64()
        // More than fits is more than there can be.
        .or_else(|| value.as_f64().filter(whole).map(|n| n as u64))
}

/// What is wrong with a keyword at a place.
fn wrong(root: &Value, at: &str, key: &str, value: &Value) -> Option<String> {
    let texts = |value: &Value| value.as_array().is_some_and(|all| all.iter().all(Value::is_string));
    let fits = match key {
        _ if UNREAD.contains(&key) => return Some(format!("the keyword {key:?}")),
        // It would make another place the root of the references below it.
        "$id" if !at.is_empty() => return Some("an \"$id\" that is not the schema's own".to_owned()),
        "$ref" => match value.as_str() {
            Some(reference) if target(root, reference).is_none() => {
                return Some(format!("the reference {reference:?} to what is not within the schema"));
            }
            reference => reference.is_some(),
        },
        "items" if value.is_array() => return Some("a list of \"items\" (write \"prefixItems\")".to_owned()),
        "exclusiveMinimum" | "exclusiveMaximum" if value.is_boolean() => {
            return Some(format!("{key:?} without a number"));
        }
        "type" => match value {
            Value::Array(several) => !several.is_empty() && several.iter().all(is_type),
            one => is_type(one),
        },
        "enum" => value.is_array(),
        "required" => texts(value),
        "properties" | "$defs" | "definitions" => value.is_object(),
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => value.as_array().is_some_and(|parts| !parts.is_empty()),
        "minProperties" | "maxProperties" | "minItems" | "maxItems" | "minLength" | "maxLength" => {
            count(value).is_some()
        }
        "uniqueItems" => value.is_boolean(),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => value.is_number(),
        _ => true,
    };
    (!fits).then(|| format!("{key:?} with a value that it cannot have"))
}

fn is_type(value: &Value) -> bool {
    value.as_str().is_some_and(|name| TYPES.contains(&name))
}

/// The schemas that one is made of, and those that it refers to.
fn parts<'s>(root: &'s Value, schema: &'s Value, at: &str) -> Vec<(String, &'s Value)> {
    let mut found = Vec::new();
    for (key, value) in schema.as_object().into_iter().flatten() {
        let at = format!("{at}/{key}");
        match (key.as_str(), value) {
            ("properties" | "$defs" | "definitions", Value::Object(parts)) => {
                found.extend(parts.iter().map(|(name, part)| (format!("{at}/{name}"), part)));
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(parts)) => {
                found.extend(
                    parts
                        .iter()
                        .enumerate()
                        .map(|(index, part)| (format!("{at}/{index}"), part)),
                );
            }
            ("items" | "additionalProperties" | "unevaluatedProperties", part) => found.push((at, part)),
            ("$ref", Value::String(reference)) => {
                found.extend(target(root, reference).map(|part| (reference.trim_start_matches('#').to_owned(), part)));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_checked_is_told_where_it_stands() {
        let of = |option: Value| json!({ "type": "object", "properties": { "a": option } });
        for good in [
            json!({ "type": "string", "format": "date", "default": { "pattern": "x" }, "x-own": { "not": 1 } }),
            json!({ "enum": ["pattern"], "examples": [{ "if": true }] }),
            json!({ "properties": { "pattern": { "type": "string" } } }),
            json!({ "$ref": "#/properties/a" }),
            json!({ "$ref": "#/properties/%61" }),
            json!({ "minLength": 2.0, "maximum": 5.5, "enum": [], "type": ["string", "null"] }),
            json!(true),
        ] {
            assert_eq!(unread(&of(good.clone())), None, "{good}");
        }
        for (bad, what) in [
            (json!({ "pattern": "^x$" }), "\"pattern\" at \"/properties/a\""),
            (json!({ "items": { "not": {} } }), "\"not\" at \"/properties/a/items\""),
            (
                json!({ "oneOf": [true, { "multipleOf": 2 }] }),
                "\"multipleOf\" at \"/properties/a/oneOf/1\"",
            ),
            (json!({ "$ref": "http://127.0.0.1/x" }), "\"http://127.0.0.1/x\""),
            (json!({ "$ref": "#/$defs/none" }), "\"#/$defs/none\""),
            (json!({ "items": [] }), "prefixItems"),
            (json!({ "exclusiveMinimum": true }), "without a number"),
            (json!({ "properties": { "$id": {}, "b": { "$id": "x" } } }), "\"$id\""),
            (json!({ "type": "text" }), "\"type\" with a value that it cannot have"),
            (json!({ "type": [] }), "\"type\""),
            (json!({ "minimum": "5" }), "\"minimum\""),
            (json!({ "minLength": 1.5 }), "\"minLength\""),
            (json!({ "maxItems": -1 }), "\"maxItems\""),
            (json!({ "enum": "a" }), "\"enum\""),
            (json!({ "required": true }), "\"required\""),
            (json!({ "uniqueItems": 1 }), "\"uniqueItems\""),
            (json!({ "properties": [] }), "\"properties\""),
            (json!({ "allOf": [] }), "\"allOf\""),
            (json!({ "items": "a" }), "no schema at \"/properties/a/items\""),
        ] {
            let told = unread(&of(bad.clone())).unwrap_or_default();
            assert!(told.contains(what), "{bad}: {told}");
        }
        // A reference may lead to where no keyword stands.
        for (hidden, what) in [
            (json!({ "pattern": "x" }), "\"pattern\" at \"/x-own/p\""),
            (json!(5), "no schema"),
        ] {
            let schema = json!({ "properties": { "a": { "$ref": "#/x-own/p" } }, "x-own": { "p": hidden } });
            let told = unread(&schema).unwrap_or_default();
            assert!(told.contains(what), "{told}");
        }
        assert!(CHECKED.iter().all(|keyword| !UNREAD.contains(keyword)));
    }
}
