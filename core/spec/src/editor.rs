//! The JSON Schema of the pipeline file, for editors: made from the same tables and plugin schemas as the checks.

mod hoist;
mod variable;

use crate::{
    Plugins,
    keys::{COMPLETE, Key, PIPELINE, SOURCE, Shape},
    schema,
};
use hoist::{Beside, hoist};
use serde_json::{Map, Value, json};
use variable::{definition, is_container, or_variable, variable_may_stand};

/// A schema (2020-12) of the pipeline file with the options of every plugin inside.
pub fn json_schema(plugins: &dyn Plugins) -> Value {
    let mut defs = Map::from_iter([definition()]);
    let mut schema = section(PIPELINE, plugins, &mut defs);
    if let Value::Object(object) = &mut schema {
        object.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        object.insert("title".into(), "clinmill pipeline".into());
        object.insert("$defs".into(), Value::Object(defs));
    }
    schema
}

fn section(keys: &[Key], plugins: &dyn Plugins, defs: &mut Map<String, Value>) -> Value {
    let required: Vec<&str> = keys.iter().filter(|k| k.required).map(|k| k.name).collect();
    let properties = properties(keys, plugins, defs);
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn properties(keys: &[Key], plugins: &dyn Plugins, defs: &mut Map<String, Value>) -> Map<String, Value> {
    keys.iter()
        .filter(|key| !matches!(key.shape, Shape::Later(_)))
        .map(|key| {
            let mut schema = shape(&key.shape, plugins, defs);
            if let Value::Object(object) = &mut schema {
                object.insert("description".into(), key.doc.into());
            }
            (key.name.to_owned(), schema)
        })
        .collect()
}

fn shape(shape: &Shape, plugins: &dyn Plugins, defs: &mut Map<String, Value>) -> Value {
    let scalar = json!({ "type": ["string", "number", "boolean"] });
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Range => json!({ "type": ["string", "integer"], "minimum": 0 }),
        Shape::Choice(words) => or_variable(json!({ "enum": words })),
        Shape::Texts => json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true }),
        Shape::Version => or_variable(json!({ "const": 1 })),
        Shape::NamedTexts => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Shape::NamedScalars => json!({ "type": "object", "additionalProperties": scalar }),
        Shape::Section(keys) => section(keys, plugins, defs),
        Shape::Named(keys) => named(section(keys, plugins, defs)),
        Shape::NamedOrNone(keys) => or_none(named(section(keys, plugins, defs))),
        Shape::Columns(keys) => named(json!({ "anyOf": [section(keys, plugins, defs), { "type": "null" }] })),
        Shape::Sources => sources(plugins, defs),
        Shape::Steps => or_none(steps(plugins, defs)),
        Shape::VaultKey => or_variable(json!({ "anyOf": [
            { "const": "auto" },
            { "type": "object", "properties": { "$secret": { "type": "string", "description": "The name of the secret." } },
              "required": ["$secret"],
              "additionalProperties": false } ] })),
        Shape::Mode => {
            let what = "Each input holds all of its scope: what it lacks is deleted.";
            let complete = described(section(COMPLETE, plugins, defs), Some(what.to_owned()));
            or_variable(json!({ "anyOf": [
                { "const": "partial", "description": "An input adds to what came before." },
                { "type": "object", "properties": { "complete": complete },
                  "required": ["complete"], "additionalProperties": false } ] }))
        }
        Shape::Share => or_variable(json!({ "anyOf": [
            { "type": "string", "pattern": SHARE }, { "type": "number", "minimum": 0, "maximum": 1 } ] })),
        Shape::Number => or_variable(json!({ "type": "number", "minimum": 0 })),
        Shape::Scalars => json!({ "type": "array", "items": scalar, "minItems": 1 }),
        Shape::Bounds => {
            let bound = or_variable(json!({ "type": ["number", "null"] }));
            json!({ "type": "array", "items": bound, "minItems": 2, "maxItems": 2,
                    "contains": { "type": ["number", "string"] } })
        }
        Shape::Any | Shape::Later(_) => json!({}),
    }
}

/// `5%` or `0.05`, as text.
const SHARE: &str = r"^0*(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$|^0*(0(\.[0-9]+)?|1(\.0+)?)$";

/// A section that may be empty.
fn or_none(mut schema: Value) -> Value {
    let kind = schema["type"].take();
    schema["type"] = json!([kind, "null"]);
    schema
}

fn named(entry: Value) -> Value {
    json!({ "type": "object", "propertyNames": { "pattern": "^[^_]" }, "additionalProperties": entry })
}

/// Each source by its plugin: the engine's keys and the plugin's options together.
fn sources(plugins: &dyn Plugins, defs: &mut Map<String, Value>) -> Value {
    let names = plugins.source_names();
    let mut cases = Vec::new();
    for name in &names {
        let Some(schema) = plugins.source_schema(name) else {
            continue;
        };
        let id = format!("source.{name}");
        let keys: Vec<&str> = SOURCE.iter().map(|key| key.name).collect();
        let required: Vec<&str> = SOURCE.iter().filter(|k| k.required).map(|k| k.name).collect();
        let beside = Beside {
            keys: &keys,
            required: required.len(),
        };
        hoist(&schema, &id, beside, defs);
        let own = properties(SOURCE, plugins, defs);
        if let Some(Value::Object(object)) = defs.get_mut(&id) {
            if let Value::Object(known) = object.entry("properties").or_insert_with(|| json!({})) {
                known.extend(own);
            }
            // The options have none of them among their own.
            if let Value::Array(all) = object.entry("required").or_insert_with(|| json!([])) {
                all.extend(required.into_iter().map(Value::from));
            }
        }
        cases.push(json!({
            "if": { "properties": { "plugin": { "const": name } }, "required": ["plugin"] },
            "then": { "$ref": format!("#/$defs/{id}") },
        }));
    }
    let mut plugin = or_variable(choice(&names, &|name| plugins.source_summary(name)));
    plugin["description"] = "The source plugin.".into();
    let mut entry = json!({
        "type": "object",
        "properties": { "plugin": plugin },
        "required": ["plugin"],
    });
    // JSON Schema allows no empty `allOf`.
    if let (Value::Object(entry), false) = (&mut entry, cases.is_empty()) {
        entry.insert("allOf".into(), Value::Array(cases));
    }
    named(entry)
}

fn steps(plugins: &dyn Plugins, defs: &mut Map<String, Value>) -> Value {
    let mut alone = Vec::new();
    let mut properties = Map::new();
    for name in plugins.transform_names() {
        let Some(schema) = plugins.transform_schema(&name) else {
            continue;
        };
        let id = format!("transform.{name}");
        hoist(&schema, &id, Beside::default(), defs);
        let mut options = json!({ "$ref": format!("#/$defs/{id}") });
        if schema::takes_nothing(&schema) {
            options = json!({ "anyOf": [options, { "type": "null" }] });
            alone.push(name.clone());
        }
        let summary = plugins.transform_summary(&name);
        properties.insert(name, described(options, summary));
    }
    let word = choice(&alone, &|name| plugins.transform_summary(name));
    let step = json!({
        "type": "object", "properties": properties, "additionalProperties": false,
        "minProperties": 1, "maxProperties": 1,
    });
    json!({ "type": "array", "items": or_variable(json!({ "anyOf": [word, step] })) })
}

/// One of these words, each with what an editor shows beside it.
fn choice(names: &[String], summary: &dyn Fn(&str) -> Option<String>) -> Value {
    let each = names
        .iter()
        .map(|name| described(json!({ "const": name }), summary(name)));
    match each.collect::<Vec<Value>>() {
        // JSON Schema allows no empty `oneOf`.
        none if none.is_empty() => json!({ "not": {} }),
        words => json!({ "oneOf": words }),
    }
}

fn described(mut schema: Value, summary: Option<String>) -> Value {
    if let (Value::Object(object), Some(summary)) = (&mut schema, summary) {
        object.insert("description".into(), summary.into());
    }
    schema
}

#[cfg(test)]
mod tests;
