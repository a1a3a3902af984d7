//! Which keywords of JSON Schema the schema of a plugin's options may use: those that options are checked by. One that is
//! not read would let options through that do not fit.

use serde_json::{Map, Value};

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
const UNREAD: [&str; 20] = [
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
];

/// The first keyword of a schema that options are not checked by, and where it stands. What only describes (`title`,
/// `default`, `format`, `x-codes`, …) is no such keyword.
pub fn unread(schema: &Value) -> Option<String> {
    of_schema(schema, schema, "")
}

fn of_schema(root: &Value, schema: &Value, at: &str) -> Option<String> {
    let schema = schema.as_object()?;
    let own = schema.iter().find_map(|(key, value)| {
        let what = match (key.as_str(), value) {
            (key, _) if UNREAD.contains(&key) => format!("the keyword {key:?}"),
            ("$ref", Value::String(target)) if !leads_within(root, target) => {
                format!("the reference {target:?} to what is not within the schema")
            }
            ("items", Value::Array(_)) => "a list of \"items\" (write \"prefixItems\")".to_owned(),
            ("exclusiveMinimum" | "exclusiveMaximum", Value::Bool(_)) => format!("{key:?} without a number"),
            _ => return None,
        };
        Some(format!("{what} at {at:?} is not one that options are checked by"))
    });
    own.or_else(|| of_parts(root, schema, at))
}

fn of_parts(root: &Value, schema: &Map<String, Value>, at: &str) -> Option<String> {
    schema.iter().find_map(|(key, value)| {
        let below = |name: &str, part: &Value| of_schema(root, part, &format!("{at}/{key}{name}"));
        match (key.as_str(), value) {
            ("properties" | "$defs" | "definitions", Value::Object(parts)) => {
                parts.iter().find_map(|(name, part)| below(&format!("/{name}"), part))
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(parts)) => parts
                .iter()
                .enumerate()
                .find_map(|(index, part)| below(&format!("/{index}"), part)),
            ("items" | "additionalProperties" | "unevaluatedProperties", part) => below("", part),
            _ => None,
        }
    })
}

fn leads_within(root: &Value, target: &str) -> bool {
    target
        .strip_prefix('#')
        .is_some_and(|pointer| root.pointer(pointer).is_some())
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
        ] {
            let told = unread(&of(bad.clone())).unwrap_or_default();
            assert!(told.contains(what), "{bad}: {told}");
        }
        assert!(CHECKED.iter().all(|keyword| !UNREAD.contains(keyword)));
    }
}
