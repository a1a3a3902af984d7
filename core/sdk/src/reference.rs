//! The options of a plugin as a Markdown table, made from the JSON Schema of its [`Config`](crate::Config).

use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Where the table begins in a plugin's README.
pub const BEGIN: &str = "<!-- options: begin (generated from src/config.rs) -->";
/// Where it ends.
pub const END: &str = "<!-- options: end -->";

/// Deepest chain of lists, mappings and alternatives that a type is told by.
const DEPTH: usize = 8;
/// Most types told in one table: alternatives within alternatives multiply.
const MOST: usize = 10_000;
/// What stands in the place of a type that is not told.
const MORE: &str = "…";

/// The options of a schema: one table, and one for each kind of object that they are made of.
pub fn options_table(schema: &Value) -> String {
    let mut open = vec![(String::new(), schema.clone())];
    let mut seen = BTreeSet::new();
    let mut left = MOST;
    let mut out = String::new();
    while !open.is_empty() {
        let (title, object) = open.remove(0);
        if !title.is_empty() {
            let _ = write!(out, "\n`{title}`:\n\n");
        }
        out.push_str("| option | type | default | what it is |\n|---|---|---|---|\n");
        let required: Vec<&str> = object["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, option) in object["properties"].as_object().unwrap_or(&Map::new()) {
            let default = match (required.contains(&name.as_str()), option.get("default")) {
                (true, _) => "required".to_owned(),
                (false, None | Some(Value::Null)) => String::new(),
                // A word as it is written in the pipeline; what is no word keeps its quotes.
                (false, Some(Value::String(word))) if !word.is_empty() && word.chars().all(char::is_alphanumeric) => {
                    format!("`{word}`")
                }
                (false, Some(value)) => format!("`{value}`"),
            };
            let mut object = |named: &str, inner: &Value| {
                if seen.insert(named.to_owned()) {
                    open.push((named.to_owned(), inner.clone()));
                }
            };
            let mut kinds = Kinds {
                root: schema,
                left: &mut left,
                object: &mut object,
            };
            let kind = kinds.of(option, 0);
            let text = described(option, schema);
            let _ = writeln!(
                out,
                "| `{name}` | {} | {} | {} |",
                cell(&kind),
                cell(&default),
                cell(&text)
            );
        }
    }
    out
}

/// A README with the table of this schema between the markers; `None` where it has none.
pub fn with_options(readme: &str, schema: &Value) -> Option<String> {
    let start = readme.find(BEGIN)? + BEGIN.len();
    let end = start + readme.get(start..)?.find(END)?;
    let (before, after) = (readme.get(..start)?, readme.get(end..)?);
    Some(format!("{before}\n{}{after}", options_table(schema)))
}

fn resolved<'s>(schema: &'s Value, root: &'s Value) -> (&'s Value, Option<&'s str>) {
    match schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|r| r.strip_prefix("#/$defs/"))
    {
        Some(name) => (
            root.get("$defs").and_then(|d| d.get(name)).unwrap_or(schema),
            Some(name),
        ),
        None => (schema, None),
    }
}

fn described(option: &Value, root: &Value) -> String {
    let own = option.get("description").and_then(Value::as_str);
    let text = own.or_else(|| resolved(option, root).0.get("description").and_then(Value::as_str));
    text.unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Tells types in words; objects with options of their own are named and handed to `object`.
struct Kinds<'s, 'o> {
    root: &'s Value,
    /// How many more types are told.
    left: &'o mut usize,
    object: &'o mut dyn FnMut(&str, &Value),
}

impl Kinds<'_, '_> {
    fn of(&mut self, schema: &Value, depth: usize) -> String {
        if depth > DEPTH || *self.left == 0 {
            return MORE.to_owned();
        }
        *self.left -= 1;
        let (inner, name) = resolved(schema, self.root);
        for key in ["anyOf", "oneOf"] {
            if let Some(parts) = inner.get(key).and_then(Value::as_array) {
                let mut kinds: Vec<String> = Vec::new();
                for part in parts.iter().filter(|p| p.get("type") != Some(&Value::from("null"))) {
                    let kind = self.of(part, depth + 1);
                    if !kinds.contains(&kind) {
                        kinds.push(kind);
                    }
                }
                return kinds.join(" or ");
            }
        }
        if let Some(value) = inner.get("const") {
            return format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        if let Some(words) = inner.get("enum").and_then(Value::as_array) {
            let words: Vec<String> = words
                .iter()
                .filter_map(Value::as_str)
                .map(|w| format!("`{w}`"))
                .collect();
            return words.join(", ");
        }
        let types: Vec<&str> = match inner.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several
                .iter()
                .filter_map(Value::as_str)
                .filter(|t| *t != "null")
                .collect(),
            _ => vec![],
        };
        let words: Vec<String> = types
            .iter()
            .map(|t| match *t {
                "string" if inner.get("format") == Some(&Value::from("clinmill-mapping")) => "mapping".to_owned(),
                "string" => "text".to_owned(),
                "array" => match inner.get("items") {
                    Some(items) => format!("list of {}", self.of(items, depth + 1)),
                    None => "list".to_owned(),
                },
                "object" => match (inner.get("additionalProperties"), inner.get("properties"), name) {
                    (_, Some(_), Some(name)) => {
                        (self.object)(name, inner);
                        format!("`{name}`")
                    }
                    (Some(values @ Value::Object(_)), _, _) => format!("name to {}", self.of(values, depth + 1)),
                    _ => "mapping of names".to_owned(),
                },
                other => other.to_owned(),
            })
            .collect();
        if words.is_empty() {
            "anything".to_owned()
        } else {
            words.join(" or ")
        }
    }
}

/// A text within one cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_type_that_has_no_end_is_told_as_far_as_it_helps() {
        let mut defs = Map::from_iter([(
            "List".to_owned(),
            json!({ "type": "array", "items": { "$ref": "#/$defs/List" } }),
        )]);
        defs.insert("D0".to_owned(), json!({ "type": "string" }));
        for i in 1..24 {
            let below = |kind: &str| json!({ "type": kind, "items": { "$ref": format!("#/$defs/D{}", i - 1) } });
            let other = json!({ "type": "object", "additionalProperties": { "$ref": format!("#/$defs/D{}", i - 1) } });
            defs.insert(format!("D{i}"), json!({ "oneOf": [below("array"), other] }));
        }
        let options: Map<String, Value> = (0..50)
            .map(|i| (format!("deep{i}"), json!({ "$ref": "#/$defs/D23" })))
            .collect();
        let mut schema = json!({ "properties": options, "$defs": defs });
        let table = options_table(&schema);
        assert!(table.len() < 1 << 20, "{}", table.len());
        assert!(table.contains("| `deep49` |") && table.contains(MORE));
        schema["properties"] = json!({ "list": { "$ref": "#/$defs/List" }, "word": { "enum": ["a"] } });
        let table = options_table(&schema);
        assert!(
            table.contains("list of list of list of") && table.contains("| `word` | `a` |"),
            "{table}"
        );
    }

    #[test]
    fn options_are_told_with_what_they_are_made_of() {
        let schema = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "description": "The name,\n of `a|b`." },
                "size": { "type": ["integer", "null"], "default": 5 },
                "parts": { "type": "object", "additionalProperties": { "$ref": "#/$defs/Part" }, "default": null },
                "mode": { "anyOf": [{ "$ref": "#/$defs/Mode" }, { "type": "null" }], "default": "a" },
                "quote": { "type": "string", "default": "\"" }
            },
            "$defs": {
                "Part": { "type": "object", "properties": { "map": { "type": "string", "format": "clinmill-mapping" } } },
                "Mode": { "enum": ["a", "b"], "description": "How." }
            }
        });
        let expected = "\
| option | type | default | what it is |
|---|---|---|---|
| `name` | text | required | The name, of `a\\|b`. |
| `size` | integer | `5` |  |
| `parts` | name to `Part` |  |  |
| `mode` | `a`, `b` | `a` |  |
| `quote` | text | `\"\\\"\"` |  |

`Part`:

| option | type | default | what it is |
|---|---|---|---|
| `map` | mapping |  |  |
";
        let mut lines: Vec<&str> = expected.lines().collect();
        let table = options_table(&schema);
        let mut given: Vec<&str> = table.lines().collect();
        // The order of the options is that of the schema's text, which depends on a feature of serde_json.
        lines.sort_unstable();
        given.sort_unstable();
        assert_eq!(given, lines);
        let readme = format!("# a\n{BEGIN}\nold\n{END}\nend\n");
        let fresh = with_options(&readme, &schema).unwrap();
        assert!(fresh.starts_with(&format!("# a\n{BEGIN}\n| option")) && fresh.ends_with(&format!("|\n{END}\nend\n")));
        assert_eq!(with_options(&fresh, &schema).unwrap(), fresh);
        assert_eq!(with_options("# a", &schema), None);
    }
}
