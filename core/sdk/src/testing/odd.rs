//! Options that are made up from their schema: odd ones, and such as name a column or a text in each place for one.

use super::fits::{fits, list, target};
use crate::PluginError;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// How deep optional properties are made up.
const DEPTH: usize = 4;
/// How many options that name columns are tried: each may start processes.
const MOST_TRIED: usize = 48;

/// How many options are tried one at a time, where a plugin has more: some of them, from first to last.
const MOST_ALONE: usize = 100;

/// Options that hold strange values where the schema allows them. What does not fit it is refused by the host: no plugin
/// sees it.
pub fn odd(schema: &Value) -> Vec<Value> {
    let base = Made::of(schema, false).map_or_else(|| json!({}), |made| made.naming("a"));
    let names = list_of_names(schema);
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e308),
        json!(""),
        json!("\u{0}病案号"),
        json!("x".repeat(10_000)),
        json!([[]]),
        json!({ "": {} }),
    ];
    let mut all = vec![base.clone(), json!({}), json!({ "no such option": 1 })];
    for value in &values {
        let with = |names: &[&String]| {
            let mut options = base.clone();
            for name in names {
                options[name.as_str()] = value.clone();
            }
            options
        };
        let alone = names.iter().step_by(names.len().div_ceil(MOST_ALONE).max(1));
        all.extend(alone.map(|name| with(&[name])));
        all.push(with(&names));
    }
    all.retain(|options| fits(schema, options));
    all.dedup();
    all
}

fn list_of_names(schema: &Value) -> Vec<&String> {
    let properties = schema["properties"].as_object();
    properties.into_iter().flat_map(Map::keys).collect()
}

/// Tries options that hold one of these names in each place for a text, until all were tried; what *bind* says of a place
/// leads to the next name there.
///
/// # Errors
/// That of a *bind* for which nothing more is to be tried.
pub fn naming(
    schema: &Value,
    names: &[&str],
    mut bind: impl FnMut(&Value) -> Result<(), PluginError>,
) -> Result<(), PluginError> {
    let mut tried = BTreeSet::new();
    for made in [false, true].into_iter().filter_map(|all| Made::of(schema, all)) {
        for first in names {
            let mut options = made.naming(first);
            // At each place its own names, behind the one that all begin with.
            let mut next: Vec<_> = made.places.iter().map(|place| (place, names.iter())).collect();
            while tried.len() < MOST_TRIED && fits(schema, &options) && tried.insert(options.to_string()) {
                let Err(error) = bind(&options) else { break };
                if error.is_of_boundary() {
                    return Err(error);
                }
                let at = error.pointer.as_deref();
                let Some((place, others)) = next.iter_mut().find(|(place, _)| Some(place.as_str()) == at) else {
                    break;
                };
                let (Some(other), Some(value)) = (others.next_back(), options.pointer_mut(place)) else {
                    break;
                };
                *value = json!(other);
            }
        }
    }
    Ok(())
}

/// Options of a schema, and where in them a text stands that may be any.
struct Made {
    options: Value,
    places: Vec<String>,
}

impl Made {
    /// With the required options alone, or all. `None` where an option is required that cannot be made up.
    fn of(schema: &Value, all: bool) -> Option<Self> {
        let mut places = Vec::new();
        let options = Maker { root: schema, all }.make(schema, "", 0, &mut places)?;
        Some(Self { options, places })
    }

    fn naming(&self, name: &str) -> Value {
        let mut options = self.options.clone();
        for place in &self.places {
            if let Some(value) = options.pointer_mut(place) {
                *value = json!(name);
            }
        }
        options
    }
}

struct Maker<'s> {
    root: &'s Value,
    all: bool,
}

impl Maker<'_> {
    fn make(&self, schema: &Value, at: &str, depth: usize, places: &mut Vec<String>) -> Option<Value> {
        let Some(map) = schema.as_object().filter(|_| depth < 4 * DEPTH) else {
            return (schema == &Value::Bool(true)).then(|| json!(1));
        };
        let said = map.get("const").or_else(|| list(map, "enum").first());
        if let Some(value) = said.or_else(|| map.get("default").filter(|value| !value.is_null())) {
            return Some(value.clone());
        }
        // Parts first: what stands beside them adds to an object.
        let alternatives = ["anyOf", "oneOf"].map(|key| {
            let mut all = list(map, key).iter();
            all.find_map(|part| self.make(part, at, depth + 1, places).filter(|value| !value.is_null()))
        });
        let mut parts: Vec<Value> = alternatives.into_iter().flatten().collect();
        for part in target(self.root, map).into_iter().chain(list(map, "allOf")) {
            parts.push(self.make(part, at, depth + 1, places)?);
        }
        let own = self.make_own(map, at, depth, places);
        if parts.is_empty() {
            return own;
        }
        parts.into_iter().chain(own).reduce(|mut all, part| {
            if let (Value::Object(all), Value::Object(part)) = (&mut all, part) {
                all.extend(part);
            }
            all
        })
    }

    fn make_own(&self, map: &Map<String, Value>, at: &str, depth: usize, places: &mut Vec<String>) -> Option<Value> {
        let named = match map.get("type") {
            Some(Value::Array(several)) => several.iter().find(|name| *name != "null"),
            one => one,
        };
        let number = |key| map.get(key).and_then(Value::as_i64);
        match named.and_then(Value::as_str) {
            // Mapping files are read by the host: there are none.
            Some("string") if map.get("format").is_some_and(|format| format == "clinmill-mapping") => None,
            Some("string") => {
                places.push(at.to_owned());
                Some(json!("a"))
            }
            Some("integer" | "number") => {
                let least = number("minimum").or_else(|| number("exclusiveMinimum").map(|n| n.saturating_add(1)));
                let most = number("maximum").or_else(|| number("exclusiveMaximum").map(|n| n.saturating_sub(1)));
                Some(json!(least.unwrap_or(1).min(most.unwrap_or(i64::MAX))))
            }
            Some("boolean") => Some(json!(true)),
            Some("null") => Some(Value::Null),
            Some("array") => self.make_items(map, at, depth, places),
            Some("object") => self.make_entries(map, at, depth, places),
            _ if map.contains_key("properties") => self.make_entries(map, at, depth, places),
            _ => None,
        }
    }

    fn make_items(&self, map: &Map<String, Value>, at: &str, depth: usize, places: &mut Vec<String>) -> Option<Value> {
        let prefix = list(map, "prefixItems");
        let least = map
            .get("minItems")
            .and_then(Value::as_u64)
            .unwrap_or(1)
            .max(prefix.len() as u64);
        let items = (0..usize::try_from(least.min(16)).ok()?).map(|index| {
            let schema = prefix.get(index).or_else(|| map.get("items"))?;
            self.make(schema, &format!("{at}/{index}"), depth + 1, places)
        });
        Some(Value::Array(items.collect::<Option<_>>()?))
    }

    fn make_entries(
        &self,
        map: &Map<String, Value>,
        at: &str,
        depth: usize,
        places: &mut Vec<String>,
    ) -> Option<Value> {
        let mut entries = Map::new();
        let required = list(map, "required");
        let properties = map.get("properties").and_then(Value::as_object);
        for (name, schema) in properties.into_iter().flatten() {
            let is_required = required.iter().any(|required| required == name.as_str());
            if !is_required && (!self.all || depth > DEPTH) {
                continue;
            }
            let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
            match self.make(schema, &place, depth + 1, places) {
                Some(value) => entries.insert(name.clone(), value),
                None if is_required => return None,
                None => None,
            };
        }
        let others = map.get("additionalProperties").filter(|others| others.is_object());
        if let Some(others) = others.filter(|_| properties.is_none() && depth <= DEPTH) {
            entries.insert("a".into(), self.make(others, &format!("{at}/a"), depth + 1, places)?);
        }
        Some(Value::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": false, "required": ["column", "how"], "properties": {
            "column": { "type": "string", "description": "d" },
            "how": { "$ref": "#/$defs/how" },
            "as": { "type": ["string", "null"] },
            "table": { "type": "string", "format": "clinmill-mapping" },
            "parts": { "type": "array", "items": { "type": "object", "required": ["n"], "properties": {
                "n": { "type": "integer", "minimum": 3 } } } } },
            "$defs": { "how": { "oneOf": [{ "const": "same" }, { "const": "other" }] } } })
    }

    #[test]
    fn what_is_made_up_fits() {
        let few = Made::of(&schema(), false).unwrap();
        assert_eq!(few.naming("x"), json!({ "column": "x", "how": "same" }));
        let all = Made::of(&schema(), true).unwrap();
        assert_eq!(
            all.naming("x"),
            json!({ "column": "x", "how": "same", "as": "x", "parts": [{ "n": 3 }] })
        );
        let odd = odd(&schema());
        assert!(
            odd.len() > 3 && odd.iter().all(|options| fits(&schema(), options)),
            "{odd:?}"
        );
        let mapping = json!({ "type": "object", "required": ["t"], "properties": {
            "t": { "type": "string", "format": "clinmill-mapping" } } });
        assert!(Made::of(&mapping, true).is_none());
    }

    #[test]
    fn what_bind_says_of_a_place_leads_on() {
        let mut bound = Vec::new();
        let refuse = |place: &str| Err(PluginError::config(place, "NO", "no"));
        let bind = |options: &Value| match (&options["column"], &options["as"]) {
            (column, _) if column != "date" => refuse("/column"),
            (_, name) if name.is_string() && name != "new" => refuse("/as"),
            _ => {
                bound.push(options.clone());
                Ok(())
            }
        };
        naming(&schema(), &["text", "date", "new"], bind).unwrap();
        let with = |more: Value| {
            let mut options = json!({ "column": "date", "how": "same" });
            options
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            options
        };
        assert!(bound.contains(&with(json!({}))), "{bound:?}");
        assert!(
            bound.contains(&with(json!({ "as": "new", "parts": [{ "n": 3 }] }))),
            "{bound:?}"
        );
    }
}
