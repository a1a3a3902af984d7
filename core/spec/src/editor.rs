//! The JSON Schema of the pipeline file, for editors: made from the same tables and plugin schemas as the checks.

use crate::{
    Plugins,
    keys::{COMPLETE, Key, PIPELINE, SOURCE, Shape},
};
use serde_json::{Map, Value, json};

/// A schema (2020-12) of the pipeline file with the options of every plugin inside.
pub fn json_schema(plugins: &dyn Plugins) -> Value {
    let mut defs = Map::new();
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
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Shape::Version => json!({ "const": 1 }),
        Shape::NamedTexts => json!({ "type": "object", "additionalProperties": scalar }),
        Shape::Section(keys) => section(keys, plugins, defs),
        Shape::Named(keys) => named(json!({ "anyOf": [section(keys, plugins, defs), { "type": "null" }] })),
        Shape::Sources => sources(plugins, defs),
        Shape::Steps => steps(plugins, defs),
        Shape::VaultKey => json!({ "anyOf": [
            { "const": "auto" },
            { "type": "object", "properties": { "$secret": { "type": "string", "description": "The name of the secret." } },
              "required": ["$secret"],
              "additionalProperties": false } ] }),
        Shape::Mode => {
            let what = "Each input holds all of its scope: what it lacks is deleted.";
            let complete = described(section(COMPLETE, plugins, defs), Some(what.to_owned()));
            json!({ "anyOf": [
                { "const": "partial", "description": "An input adds to what came before." },
                { "type": "object", "properties": { "complete": complete },
                  "required": ["complete"], "additionalProperties": false } ] })
        }
        Shape::Share => json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9.]+%$" }, { "type": "number", "minimum": 0, "maximum": 1 } ] }),
        Shape::Number => json!({ "type": "number" }),
        Shape::Scalars => json!({ "type": "array", "items": scalar }),
        Shape::Bounds => {
            json!({ "type": "array", "items": { "type": ["number", "null"] }, "minItems": 2, "maxItems": 2 })
        }
        Shape::Any | Shape::Later(_) => json!({}),
    }
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
        let mut schema = hoist(schema, &id, defs);
        let own = properties(SOURCE, plugins, defs);
        if let Value::Object(object) = &mut schema {
            let known = object.entry("properties").or_insert_with(|| json!({}));
            if let Value::Object(known) = known {
                known.extend(own);
            }
            let required = object.entry("required").or_insert_with(|| json!([]));
            if let Value::Array(required) = required {
                required.extend(SOURCE.iter().filter(|k| k.required).map(|k| Value::from(k.name)));
            }
        }
        defs.insert(id.clone(), schema);
        cases.push(json!({
            "if": { "properties": { "plugin": { "const": name } }, "required": ["plugin"] },
            "then": { "$ref": format!("#/$defs/{id}") },
        }));
    }
    let mut plugin = choice(&names, &|name| plugins.source_summary(name));
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
    let names = plugins.transform_names();
    let mut properties = Map::new();
    for name in &names {
        let Some(schema) = plugins.transform_schema(name) else {
            continue;
        };
        let id = format!("transform.{name}");
        let schema = hoist(schema, &id, defs);
        defs.insert(id.clone(), schema);
        let options = json!({ "anyOf": [{ "$ref": format!("#/$defs/{id}") }, { "type": "null" }] });
        properties.insert(name.clone(), described(options, plugins.transform_summary(name)));
    }
    let word = choice(&names, &|name| plugins.transform_summary(name));
    let step = json!({
        "type": "object", "properties": properties, "additionalProperties": false,
        "minProperties": 1, "maxProperties": 1,
    });
    json!({ "type": "array", "items": { "anyOf": [word, step] } })
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

/// Moves a plugin schema's definitions to the top, under names of their own.
fn hoist(mut schema: Value, id: &str, defs: &mut Map<String, Value>) -> Value {
    rename(&mut schema, id);
    if let Value::Object(object) = &mut schema {
        object.remove("$schema");
        if let Some(Value::Object(own)) = object.remove("$defs") {
            defs.extend(own.into_iter().map(|(name, schema)| (format!("{id}.{name}"), schema)));
        }
    }
    schema
}

fn rename(schema: &mut Value, id: &str) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(target) if key == "$ref" => {
                        if target == "#" {
                            *target = format!("#/$defs/{id}");
                        } else if let Some(name) = target.strip_prefix("#/$defs/") {
                            *target = format!("#/$defs/{id}.{name}");
                        }
                    }
                    value => rename(value, id),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, id)),
        _ => {}
    }
}
