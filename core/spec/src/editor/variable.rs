//! Where a text with `${NAME}` may stand for a value of another kind: what it becomes, no editor knows.

use clinmill_model::keywords;
use serde_json::{Map, Value, json};

/// The name of the definition of such a text.
const NAME: &str = "variable";

pub(super) fn definition() -> (String, Value) {
    let text = json!({ "type": "string", "pattern": "\\$\\{", "description": "With `${NAME}` or `${NAME:-default}`." });
    (NAME.to_owned(), text)
}

/// A schema, or such a text.
pub(super) fn or_variable(mut schema: Value) -> Value {
    let description = schema.as_object_mut().and_then(|object| object.remove("description"));
    let mut either = json!({ "anyOf": [schema, { "$ref": format!("#/$defs/{NAME}") }] });
    if let (Value::Object(either), Some(description)) = (&mut either, description) {
        either.insert("description".into(), description);
    }
    either
}

/// References and parts within one another that are followed.
const DEPTH: usize = 8;

/// True where a schema is of values that such a text may become, and does not take the text itself.
pub(super) fn variable_may_stand(root: &Value, schema: &Value) -> bool {
    !is_container(root, schema) && !takes_texts(root, schema, DEPTH)
}

/// Lists and mappings alone, or nothing.
pub(super) fn is_container(root: &Value, schema: &Value) -> bool {
    holds_parts(root, schema, DEPTH)
}

fn holds_parts(root: &Value, schema: &Value, depth: usize) -> bool {
    let Value::Object(object) = schema else {
        return schema == &Value::Bool(false);
    };
    if depth == 0 {
        return false;
    }
    let inner = |part: &Value| holds_parts(root, part, depth - 1);
    let types = types(object);
    let every = |key: &str| parts(object, key).is_some_and(|parts| parts.iter().all(inner));
    (!types.is_empty() && types.iter().all(|t| matches!(*t, "object" | "array" | "null")))
        || reference(root, object).is_some_and(inner)
        || parts(object, "allOf").is_some_and(|parts| parts.iter().any(inner))
        || every("anyOf")
        || every("oneOf")
}

/// Any text of some characters fits.
fn takes_texts(root: &Value, schema: &Value, depth: usize) -> bool {
    let Value::Object(object) = schema else {
        return schema == &Value::Bool(true);
    };
    // The shortest is `${A}`.
    let is_short = |key: &str| object.get(key).and_then(keywords::count).is_none_or(|count| count <= 4);
    let types = types(object);
    let inner = |part: &Value| takes_texts(root, part, depth - 1);
    depth > 0
        && (types.is_empty() || types.contains(&"string"))
        && is_short("minLength")
        && !["const", "enum", "maxLength", "oneOf"]
            .iter()
            .any(|key| object.contains_key(*key))
        && reference(root, object).is_none_or(inner)
        && parts(object, "allOf").is_none_or(|parts| parts.iter().all(inner))
        && parts(object, "anyOf").is_none_or(|parts| parts.iter().any(inner))
}

fn types(object: &Map<String, Value>) -> Vec<&str> {
    match object.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn parts<'s>(object: &'s Map<String, Value>, key: &str) -> Option<&'s Vec<Value>> {
    object.get(key).and_then(Value::as_array)
}

fn reference<'s>(root: &'s Value, object: &Map<String, Value>) -> Option<&'s Value> {
    keywords::target(root, object.get("$ref")?.as_str()?)
}
