//! Whether options fit the schema that describes them: what does not, no host hands on.
//!
//! Reads [`clinmill_model::keywords::CHECKED`], as the host does, and says yes or no.

use clinmill_model::{
    equal::{compare, equal, is_integer},
    keywords,
};
use serde_json::{Map, Number, Value};

/// Deepest chain of schemas for one value; more is a schema that refers to itself.
const DEPTH: usize = 64;

/// Whether a value fits a schema.
pub fn fits(schema: &Value, value: &Value) -> bool {
    fits_within(schema, schema, value, 0)
}

/// What `$ref` leads to.
pub fn target<'s>(root: &'s Value, schema: &Map<String, Value>) -> Option<&'s Value> {
    keywords::target(root, schema.get("$ref")?.as_str()?)
}

/// The schemas below a keyword.
pub fn list<'s>(schema: &'s Map<String, Value>, key: &str) -> &'s [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn fits_within(root: &Value, schema: &Value, value: &Value, depth: usize) -> bool {
    let map = match schema {
        Value::Bool(all) => return *all,
        Value::Object(map) if depth < DEPTH => map,
        _ => return false,
    };
    let part = |part: &Value| fits_within(root, part, value, depth + 1);
    let (any, one) = (list(map, "anyOf"), list(map, "oneOf"));
    has_type(map, value)
        && map.get("const").is_none_or(|only| equal(only, value))
        && map
            .get("enum")
            .and_then(Value::as_array)
            .is_none_or(|all| all.iter().any(|one| equal(one, value)))
        && target(root, map).is_none_or(part)
        && list(map, "allOf").iter().all(part)
        && (any.is_empty() || any.iter().any(part))
        && (one.is_empty() || one.iter().filter(|branch| part(branch)).count() == 1)
        && match value {
            Value::String(text) => is_within(map, "minLength", "maxLength", text.chars().count()),
            Value::Number(number) => is_in_range(map, number),
            Value::Array(items) => items_fit(root, map, items, depth),
            Value::Object(entries) => entries_fit(root, map, entries, depth),
            Value::Null | Value::Bool(_) => true,
        }
}

fn has_type(schema: &Map<String, Value>, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("number") => value.is_number(),
        Some("integer") => value.as_number().is_some_and(is_integer),
        _ => false,
    };
    match schema.get("type") {
        Some(Value::Array(several)) => several.iter().any(is),
        one => one.is_none_or(is),
    }
}

fn is_within(schema: &Map<String, Value>, least: &str, most: &str, n: usize) -> bool {
    let limit = |key| schema.get(key).and_then(keywords::count);
    let n = n as u64;
    limit(least).is_none_or(|least| n >= least) && limit(most).is_none_or(|most| n <= most)
}

fn is_in_range(schema: &Map<String, Value>, n: &Number) -> bool {
    keywords::LIMITS.iter().all(|(key, _, holds)| match schema.get(*key) {
        Some(Value::Number(limit)) => compare(n, limit).is_some_and(holds),
        _ => true,
    })
}

fn items_fit(root: &Value, schema: &Map<String, Value>, items: &[Value], depth: usize) -> bool {
    let prefix = list(schema, "prefixItems");
    let twice = |(index, item)| items.iter().take(index).any(|other| equal(other, item));
    let mut each = items.iter().enumerate();
    is_within(schema, "minItems", "maxItems", items.len())
        && (schema.get("uniqueItems") != Some(&Value::Bool(true)) || !items.iter().enumerate().any(twice))
        && each.all(|(index, item)| {
            let schema = prefix.get(index).or_else(|| schema.get("items"));
            schema.is_none_or(|schema| fits_within(root, schema, item, depth + 1))
        })
}

fn entries_fit(root: &Value, schema: &Map<String, Value>, entries: &Map<String, Value>, depth: usize) -> bool {
    let mut required = list(schema, "required").iter().filter_map(Value::as_str);
    let properties = schema.get("properties").and_then(Value::as_object);
    let others = schema.get("additionalProperties");
    let unevaluated = schema.get("unevaluatedProperties");
    is_within(schema, "minProperties", "maxProperties", entries.len())
        && required.all(|name| entries.contains_key(name))
        && entries.iter().all(|(name, value)| {
            let fits = |schema: &Value| fits_within(root, schema, value, depth + 1);
            match (properties.and_then(|all| all.get(name)), others, unevaluated) {
                (Some(schema), ..) | (None, Some(schema), _) => fits(schema),
                (None, None, Some(others)) => declares(root, schema, name, depth) || fits(others),
                (None, None, None) => true,
            }
        })
}

/// Whether a schema or a part of it declares a property.
fn declares(root: &Value, schema: &Map<String, Value>, name: &str, depth: usize) -> bool {
    let mut parts = ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .flat_map(|key| list(schema, key));
    let of_part = |part: &Value| {
        part.as_object()
            .is_some_and(|part| declares(root, part, name, depth + 1))
    };
    depth < DEPTH
        && (schema.get("properties").is_some_and(|all| all.get(name).is_some())
            || target(root, schema).is_some_and(of_part)
            || parts.any(of_part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_keyword_is_read() {
        let closed = json!({ "$ref": "#/$defs/a", "unevaluatedProperties": false,
            "$defs": { "a": { "properties": { "x": { "type": "integer" } } } } });
        for (schema, good, bad) in [
            (json!({ "type": ["string", "null"] }), json!(null), json!(1)),
            (json!({ "type": "integer" }), json!(2.0), json!(2.5)),
            (json!({ "const": 1 }), json!(1.0), json!(2)),
            (
                json!({ "maximum": 9_007_199_254_740_992_i64 }),
                json!(9_007_199_254_740_992_i64),
                json!(9_007_199_254_740_993_i64),
            ),
            (
                json!({ "$ref": "#/$defs/a%62", "$defs": { "ab": { "minLength": 2.0 } } }),
                json!("xx"),
                json!("x"),
            ),
            (json!({ "uniqueItems": true }), json!([1, true]), json!([1, 1.0])),
            (json!({ "enum": ["a", "b"] }), json!("b"), json!("c")),
            (
                json!({ "anyOf": [{ "type": "null" }, { "minimum": 3 }] }),
                json!(3),
                json!(2),
            ),
            (
                json!({ "oneOf": [{ "minimum": 1 }, { "minimum": 3 }] }),
                json!(2),
                json!(4),
            ),
            (
                json!({ "allOf": [{ "exclusiveMaximum": 3 }, { "exclusiveMinimum": 1 }] }),
                json!(2),
                json!(3),
            ),
            (json!({ "minLength": 2, "maxLength": 2 }), json!("病案"), json!("x")),
            (
                json!({ "prefixItems": [true, false], "items": false }),
                json!([1]),
                json!([1, 2]),
            ),
            (
                json!({ "uniqueItems": true, "minItems": 1 }),
                json!([1, 2]),
                json!([1, 1]),
            ),
            (json!({ "required": ["a"] }), json!({ "a": 1 }), json!({})),
            (
                json!({ "additionalProperties": false, "properties": { "a": true } }),
                json!({ "a": 1 }),
                json!({ "b": 1 }),
            ),
            (
                json!({ "additionalProperties": { "type": "null" } }),
                json!({ "a": null }),
                json!({ "a": 1 }),
            ),
            (closed.clone(), json!({ "x": 1 }), json!({ "x": "1" })),
            (closed, json!({}), json!({ "y": 1 })),
        ] {
            assert!(fits(&schema, &good), "{schema}: {good}");
            assert!(!fits(&schema, &bad), "{schema}: {bad}");
        }
        assert!(!fits(&json!({ "$ref": "#" }), &json!(1)), "a schema that is itself");
    }
}
