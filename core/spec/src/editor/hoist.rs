//! A plugin's schema among the definitions of the editor's: each place that it refers to becomes a definition of its own.

use super::{is_container, or_variable, variable_may_stand};
use clinmill_model::keywords;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// Keys that stand beside a plugin's options, in one mapping with them.
#[derive(Clone, Copy, Default)]
pub(super) struct Beside<'k> {
    pub(super) keys: &'k [&'k str],
    pub(super) required: usize,
}

/// Makes definitions of a schema and of what it refers to; the schema itself is called `id`.
pub(super) fn hoist(schema: &Value, id: &str, beside: Beside<'_>, defs: &mut Map<String, Value>) {
    let mut hoist = Hoist {
        root: schema,
        id,
        beside,
        loose: false,
        names: HashMap::new(),
        open: Vec::new(),
    };
    let whole = !beside.keys.is_empty();
    hoist.loose = whole && hoist.is_loose();
    let own = hoist.copy(schema, whole);
    defs.insert(id.to_owned(), own);
    while let Some((target, whole, name)) = hoist.open.pop() {
        let copy = hoist.copy(target, whole);
        defs.insert(name, copy);
    }
}

struct Hoist<'s> {
    root: &'s Value,
    id: &'s str,
    beside: Beside<'s>,
    /// Something of the options cannot be told while other keys stand among them: alternatives may fit that do not.
    loose: bool,
    /// Names by what is referred to, and whether the options as a whole must fit it.
    names: HashMap<(*const Value, bool), String>,
    open: Vec<(&'s Value, bool, String)>,
}

/// What is nowhere else but behind references, or would change what they mean.
const LEFT_OUT: [&str; 6] = ["$schema", "$id", "$anchor", "$dynamicAnchor", "$defs", "definitions"];

impl Hoist<'_> {
    fn name(&mut self, reference: &str, whole: bool) -> String {
        let id = self.id;
        // A schema whose references lead nowhere is not loaded.
        let target = keywords::target(self.root, reference).unwrap_or(self.root);
        if std::ptr::eq(target, self.root) && whole != self.beside.keys.is_empty() {
            return id.to_owned();
        }
        let key = (std::ptr::from_ref(target), whole);
        if let Some(name) = self.names.get(&key) {
            return name.clone();
        }
        let is_plain = |name: &&str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let own = reference.strip_prefix("#/$defs/").filter(is_plain);
        let own = own.map_or_else(|| (self.names.len() + 1).to_string(), str::to_owned);
        let name = match whole {
            true => format!("{id}.options.{own}"),
            false => format!("{id}.{own}"),
        };
        self.names.insert(key, name.clone());
        self.open.push((target, whole, name.clone()));
        name
    }

    /// A schema with its references to definitions. `whole`: it is applied to the options as a whole, so that the keys
    /// beside them must fit too.
    fn copy(&mut self, schema: &Value, whole: bool) -> Value {
        let Value::Object(object) = schema else {
            return schema.clone();
        };
        let mut out = Map::new();
        for (key, value) in object {
            let value = match (key.as_str(), value) {
                (key, _) if LEFT_OUT.contains(&key) => continue,
                ("$ref", Value::String(reference)) => format!("#/$defs/{}", self.name(reference, whole)).into(),
                ("properties", Value::Object(parts)) => {
                    let parts = parts.iter().map(|(name, part)| (name.clone(), self.value(part)));
                    Value::Object(parts.collect())
                }
                ("items" | "additionalProperties" | "unevaluatedProperties", part) => self.value(part),
                ("prefixItems", Value::Array(parts)) => parts.iter().map(|part| self.value(part)).collect(),
                ("allOf" | "anyOf" | "oneOf", Value::Array(parts)) => {
                    parts.iter().map(|part| self.copy(part, whole)).collect()
                }
                (_, other) => other.clone(),
            };
            out.insert(key.clone(), value);
        }
        // With keys beside them, or a variable in the place of the word that tells them apart, two alternatives may fit.
        let mappings = |parts: &[Value]| parts.iter().any(|part| is_container(self.root, part));
        if (whole && self.loose || mappings(array(object, "oneOf")))
            && let Some(one) = out.remove("oneOf")
            && let Value::Array(all) = out.entry("allOf").or_insert_with(|| json!([]))
        {
            all.push(json!({ "anyOf": one }));
        }
        match whole {
            true => self.with_beside(out),
            false => Value::Object(out),
        }
    }

    /// The schema of a value of its own.
    fn value(&mut self, schema: &Value) -> Value {
        let copy = self.copy(schema, false);
        match variable_may_stand(self.root, schema) {
            true => or_variable(copy),
            false => copy,
        }
    }

    /// A schema of the options as a whole, which says nothing of the keys beside them.
    fn with_beside(&self, mut schema: Map<String, Value>) -> Value {
        let is_beside = |name: &Value| self.beside.keys.iter().any(|key| name == key);
        // They are never the plugin's: what asks for one as an option fits nothing.
        if array(&schema, "required").iter().any(is_beside) {
            return Value::Bool(false);
        }
        let is_closed = ["additionalProperties", "unevaluatedProperties"]
            .iter()
            .any(|key| schema.contains_key(*key));
        let known = schema.get("properties").and_then(Value::as_object);
        let is_said = |key: &&str| is_closed || known.is_some_and(|known| known.contains_key(*key));
        let named: Vec<&str> = self.beside.keys.iter().copied().filter(is_said).collect();
        if !named.is_empty()
            && let Value::Object(known) = schema.entry("properties").or_insert_with(|| json!({}))
        {
            known.extend(named.into_iter().map(|key| (key.to_owned(), Value::Bool(true))));
        }
        for (key, more) in [
            ("minProperties", self.beside.required),
            ("maxProperties", self.beside.keys.len()),
        ] {
            if let Some(count) = schema.get_mut(key) {
                *count = (keywords::count(count).unwrap_or(0).saturating_add(more as u64)).into();
            }
        }
        schema.remove("const");
        schema.remove("enum");
        Value::Object(schema)
    }

    fn is_loose(&self) -> bool {
        let mut seen: HashSet<*const Value> = HashSet::new();
        let mut open = vec![self.root];
        while let Some(schema) = open.pop() {
            let Value::Object(object) = schema else { continue };
            if !seen.insert(schema) {
                continue;
            }
            if ["minProperties", "maxProperties", "const", "enum"]
                .iter()
                .any(|key| object.contains_key(*key))
            {
                return true;
            }
            let reference = object.get("$ref").and_then(Value::as_str);
            open.extend(reference.and_then(|reference| keywords::target(self.root, reference)));
            open.extend(["allOf", "anyOf", "oneOf"].iter().flat_map(|key| array(object, key)));
        }
        false
    }
}

fn array<'s>(schema: &'s Map<String, Value>, key: &str) -> &'s [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
