//! Options against the plugin's own JSON Schema (2020-12, as schemars writes it), each violation at its key or value.
//!
//! Known: [`clinmill_model::keywords::CHECKED`], and the format `clinmill-mapping`. A plugin whose schema has another keyword
//! that would refuse options is not loaded.

mod alternatives;

use crate::{
    codes,
    lower::lower_first,
    options::escape,
    pipeline::{Span, Spanned},
    report::{hint, list as words, quoted},
    rewrite::rewrite,
    tree::{Entry, Kind, Node},
};
use serde_json::{Map, Value};
use std::cell::Cell;

/// Deepest chain of schemas for one value; more is a schema that refers to itself.
const DEPTH: usize = 200;
/// Most schemas applied to the options of one plugin: alternatives within alternatives multiply.
const STEPS: usize = 2_000_000;

/// What was found.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    /// Pointer, reference and place of every option of the format `clinmill-mapping`.
    pub(crate) mappings: Vec<(String, String, Span)>,
}

/// One thing that does not fit.
pub(crate) struct Violation {
    pub(crate) code: &'static str,
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// The value it is about.
    pointer: String,
    /// What would have fitted: types in words.
    expected: Vec<String>,
    /// What would have fitted: words.
    choices: Vec<String>,
    /// For an unknown option: its name, and the known ones.
    pub(crate) unknown: Option<(String, Vec<String>)>,
}

/// Checks options, given as one mapping.
pub(crate) fn check(schema: &Value, options: &Node, plugin: &Spanned<String>) -> Outcome {
    let mut outcome = Outcome::default();
    let checker = Checker {
        root: schema,
        plugin: &plugin.value,
        steps: Cell::new(0),
    };
    let at = At {
        pointer: String::new(),
        path: String::new(),
        span: plugin.span,
    };
    checker.check(schema, options, &at, 0, &mut outcome);
    outcome
}

struct Checker<'s> {
    root: &'s Value,
    plugin: &'s str,
    steps: Cell<usize>,
}

/// Where the check is: as pointer, in words, and in the file.
struct At {
    pointer: String,
    path: String,
    span: Span,
}

impl At {
    fn below(&self, key: &str, span: Span) -> Self {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        Self {
            pointer: format!("{}/{}", self.pointer, escape(key)),
            path,
            span,
        }
    }

    fn violation(&self, code: &'static str, message: String) -> Violation {
        Violation {
            code,
            span: self.span,
            message,
            hint: None,
            pointer: self.pointer.clone(),
            expected: Vec::new(),
            choices: Vec::new(),
            unknown: None,
        }
    }
}

impl<'s> Checker<'s> {
    fn check(&self, schema: &'s Value, node: &Node, at: &At, depth: usize, out: &mut Outcome) {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if depth > DEPTH || steps > STEPS || matches!(node.kind, Kind::Invalid) {
            return;
        }
        let Value::Object(schema) = schema else {
            if schema == &Value::Bool(false) {
                out.violations.push(Violation {
                    hint: Some("remove it".to_owned()),
                    ..at.violation(codes::OPTION_SHAPE, format!("{} is not allowed", self.subject(at)))
                });
            }
            return;
        };
        if !self.check_type(schema, node, at, out) || !self.check_choice(schema, node, at, out) {
            return;
        }
        if let Some(target) = self.target(schema) {
            self.check(target, node, at, depth + 1, out);
        }
        for part in list(schema, "allOf") {
            self.check(part, node, at, depth + 1, out);
        }
        for key in ["anyOf", "oneOf"] {
            let branches = list(schema, key);
            if !branches.is_empty() {
                self.check_alternatives(branches, key == "oneOf", node, at, depth, out);
            }
        }
        match &node.kind {
            Kind::Invalid => {}
            Kind::Scalar(scalar) => self.check_scalar(schema, &scalar.value(), at, out),
            Kind::Sequence(items) => self.check_items(schema, items, at, depth, out),
            Kind::Mapping(entries) => self.check_entries(schema, entries, at, depth, out),
        }
    }

    fn check_type(&self, schema: &Map<String, Value>, node: &Node, at: &At, out: &mut Outcome) -> bool {
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => return true,
        };
        if types.iter().any(|t| has_type(node, t)) {
            return true;
        }
        let expected: Vec<String> = types.iter().filter(|t| **t != "null").map(|t| in_words(t)).collect();
        let mut violation = self.wrong_type(node, at, expected);
        if types.contains(&"object") {
            violation.hint = match (self.shape(schema), self.doc(at)) {
                (Some(shape), _) => Some(format!("write {shape}")),
                (None, Some(doc)) => violation.hint.map(|hint| format!("{hint} ({})", lower_first(&doc))),
                (None, None) => violation.hint,
            };
        }
        out.violations.push(violation);
        false
    }

    fn wrong_type(&self, node: &Node, at: &At, expected: Vec<String>) -> Violation {
        let message = format!(
            "{} must be {}, not {}",
            self.subject(at),
            expected.join(" or "),
            node.described()
        );
        let secret = matches!(&node.kind, Kind::Mapping(entries) if entries.iter().any(|e| e.key == "$secret"));
        let hint = match secret {
            true => Some("this option takes no secret".to_owned()),
            false => rewrite(node, &expected.join(" or ")),
        };
        Violation {
            hint,
            expected,
            ..at.violation(codes::OPTION_TYPE, message)
        }
    }

    fn check_choice(&self, schema: &Map<String, Value>, node: &Node, at: &At, out: &mut Outcome) -> bool {
        let allowed: Vec<&Value> = match (schema.get("const"), schema.get("enum")) {
            (Some(value), _) => vec![value],
            (None, Some(Value::Array(values))) => values.iter().collect(),
            _ => return true,
        };
        let value = node.json();
        if allowed.contains(&&value) {
            return true;
        }
        let choices: Vec<String> = allowed
            .iter()
            .filter(|v| !v.is_null())
            .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
            .collect();
        out.violations.push(self.wrong_choice(node, at, choices));
        false
    }

    fn wrong_choice(&self, node: &Node, at: &At, choices: Vec<String>) -> Violation {
        let (shown, word) = match &node.kind {
            Kind::Scalar(s) if !node.is_null() => (quoted(s.shown()), s.text.as_str()),
            _ => (node.described().to_owned(), ""),
        };
        let message = format!("{} cannot be {shown}", self.subject(at));
        let hint = hint(word, choices.iter().map(String::as_str));
        Violation {
            hint: self.other_name(at, word).or(hint),
            choices,
            ..at.violation(codes::OPTION_CHOICE, message)
        }
    }

    /// The choice whose description speaks of this word: `gbk` is read by `gb18030`.
    fn other_name(&self, at: &At, word: &str) -> Option<String> {
        let option = self.root.pointer(&at.pointer.replace('/', "/properties/"))?;
        let schema = option.as_object().and_then(|o| self.target(o)).unwrap_or(option);
        let lower = word.to_lowercase();
        let speaks = |text: &str| {
            text.split(|c: char| !c.is_alphanumeric())
                .any(|w| w.to_lowercase() == lower)
        };
        list(schema.as_object()?, "oneOf").iter().find_map(|choice| {
            let text = self.description(choice).filter(|text| word.len() > 2 && speaks(text))?;
            Some(format!("write `{}`: {text}", choice.get("const")?.as_str()?))
        })
    }

    fn check_scalar(&self, schema: &Map<String, Value>, value: &Value, at: &At, out: &mut Outcome) {
        if let Some(text) = value.as_str() {
            self.bounds(
                schema,
                "minLength",
                "maxLength",
                text.chars().count(),
                ("characters", text),
                at,
                out,
            );
            if schema.get("format").and_then(Value::as_str) == Some("clinmill-mapping") {
                out.mappings.push((at.pointer.clone(), text.to_owned(), at.span));
            }
        }
        let Some(number) = value.as_f64().filter(|_| value.is_number()) else {
            return;
        };
        type Holds = fn(f64, f64) -> bool;
        let limits: [(&str, &str, Holds); 4] = [
            ("minimum", "at least", |n, limit| n >= limit),
            ("maximum", "at most", |n, limit| n <= limit),
            ("exclusiveMinimum", "more than", |n, limit| n > limit),
            ("exclusiveMaximum", "less than", |n, limit| n < limit),
        ];
        for (key, words, holds) in limits {
            if let Some(limit) = schema.get(key)
                && limit.as_f64().is_some_and(|l| !holds(number, l))
            {
                let message = format!("{} must be {words} {limit}", self.subject(at));
                out.violations.push(Violation {
                    hint: Some(format!("write a number of {words} {limit}{}", self.doc_behind(at))),
                    ..at.violation(codes::OPTION_BOUNDS, message)
                });
            }
        }
    }

    fn check_items(&self, schema: &'s Map<String, Value>, items: &[Node], at: &At, depth: usize, out: &mut Outcome) {
        self.bounds(schema, "minItems", "maxItems", items.len(), ("entries", ""), at, out);
        let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let mut seen = std::collections::HashSet::new();
        let prefix = list(schema, "prefixItems");
        for (index, item) in items.iter().enumerate() {
            let below = At {
                pointer: format!("{}/{index}", at.pointer),
                path: format!("{}[{index}]", at.path),
                span: item.span,
            };
            if unique && !seen.insert(item.json().to_string()) {
                let message = format!("{} is in the list twice", self.subject(&below));
                out.violations.push(Violation {
                    hint: Some("remove one of the two".to_owned()),
                    ..below.violation(codes::OPTION_SHAPE, message)
                });
            }
            if let Some(schema) = prefix.get(index).or_else(|| schema.get("items")) {
                self.check(schema, item, &below, depth + 1, out);
            }
        }
    }

    fn check_entries(
        &self,
        schema: &'s Map<String, Value>,
        entries: &[Entry],
        at: &At,
        depth: usize,
        out: &mut Outcome,
    ) {
        self.bounds(
            schema,
            "minProperties",
            "maxProperties",
            entries.len(),
            ("keys", ""),
            at,
            out,
        );
        let properties = schema.get("properties").and_then(Value::as_object);
        for name in list(schema, "required").iter().filter_map(Value::as_str) {
            if !entries.iter().any(|e| e.key == name) {
                let subject = match at.path.is_empty() {
                    true => format!("the plugin `{}`", self.plugin),
                    false => format!("`{}`", at.path),
                };
                let message = format!("{subject} needs the option `{name}`");
                let doc = properties.and_then(|p| p.get(name)).and_then(|p| self.description(p));
                let hint = match doc {
                    Some(doc) => Some(format!("add `{name}`: {}", lower_first(&doc))),
                    None => Some(format!("add `{name}: …`")),
                };
                out.violations.push(Violation {
                    hint,
                    ..at.violation(codes::MISSING_OPTION, message)
                });
            }
        }
        let closed = schema.get("unevaluatedProperties") == Some(&Value::Bool(false));
        let mut known = Vec::new();
        if closed {
            self.known(schema, 0, &mut known);
        } else {
            known.extend(properties.into_iter().flat_map(Map::keys).map(String::as_str));
        }
        let others = schema
            .get("additionalProperties")
            .or_else(|| schema.get("unevaluatedProperties"));
        for entry in entries {
            let below = at.below(&entry.key, entry.shown_at());
            if let Some(schema) = properties.and_then(|p| p.get(&entry.key)) {
                self.check(schema, &entry.value, &below, depth + 1, out);
            } else if known.contains(&entry.key.as_str()) {
                // Checked where it is declared: in a part of `allOf` or an alternative.
            } else if others == Some(&Value::Bool(false)) {
                out.violations.push(self.unknown(entry, at, &known));
            } else if let Some(schema) = others {
                self.check(schema, &entry.value, &below, depth + 1, out);
            }
        }
    }

    fn unknown(&self, entry: &Entry, at: &At, known: &[&str]) -> Violation {
        let subject = match at.path.is_empty() {
            true => format!("the plugin `{}`", self.plugin),
            false => quoted(&at.path),
        };
        let message = format!("{subject} has no option {}", quoted(&entry.key));
        let hint = hint(&entry.key, known.iter().copied());
        Violation {
            hint,
            span: entry.key_span,
            unknown: Some((entry.key.clone(), known.iter().map(|k| (*k).to_owned()).collect())),
            ..at.violation(codes::UNKNOWN_OPTION, message)
        }
    }

    /// Every property that a schema declares, also by its parts.
    fn known(&self, schema: &'s Map<String, Value>, depth: usize, found: &mut Vec<&'s str>) {
        if depth > DEPTH {
            return;
        }
        found.extend(
            schema
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(Map::keys)
                .map(String::as_str),
        );
        let parts = ["allOf", "anyOf", "oneOf"]
            .into_iter()
            .flat_map(|key| list(schema, key));
        for part in parts.chain(self.target(schema)).filter_map(Value::as_object) {
            self.known(part, depth + 1, found);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "two keys and a unit tell three uses apart")]
    fn bounds(
        &self,
        schema: &Map<String, Value>,
        least: &str,
        most: &str,
        n: usize,
        (of, word): (&str, &str),
        at: &At,
        out: &mut Outcome,
    ) {
        let limit = |key| {
            schema
                .get(key)
                .and_then(Value::as_u64)
                .and_then(|l| usize::try_from(l).ok())
        };
        let (bound, limit) = match (limit(least), limit(most)) {
            (Some(least), _) if n < least => ("at least", least),
            (_, Some(most)) if n > most => ("at most", most),
            _ => return,
        };
        let of = match (limit, of) {
            (1, "entries") => "entry",
            (1, of) => of.trim_end_matches('s'),
            (_, of) => of,
        };
        let message = format!("{} must have {bound} {limit} {of}, not {n}", self.subject(at));
        let hint = match of {
            // As somebody writes it who has not met the escape.
            "character" if word == "tab" || word == "\\t" => "write `\"\\t\"`".to_owned(),
            _ => format!("write {bound} {limit} {of}{}", self.doc_behind(at)),
        };
        out.violations.push(Violation {
            hint: Some(hint),
            ..at.violation(codes::OPTION_BOUNDS, message)
        });
    }

    /// The schema behind `$ref`.
    fn target(&self, schema: &Map<String, Value>) -> Option<&'s Value> {
        let pointer = schema.get("$ref")?.as_str()?.strip_prefix('#')?;
        self.root.pointer(pointer)
    }

    /// The schema itself, or the one behind its `$ref`.
    fn resolved(&self, schema: &'s Map<String, Value>) -> Option<&'s Map<String, Value>> {
        match self.target(schema) {
            Some(target) => target.as_object(),
            None => Some(schema),
        }
    }

    /// A mapping with its required keys, where a schema asks for one: `{ id: …, issuer: … }`; else the keys that it may have.
    fn shape(&self, schema: &Map<String, Value>) -> Option<String> {
        let required: Vec<String> = list(schema, "required")
            .iter()
            .filter_map(|name| Some(format!("{}: …", name.as_str()?)))
            .collect();
        if !required.is_empty() {
            return Some(format!("`{{ {} }}`", required.join(", ")));
        }
        let known = schema.get("properties").and_then(Value::as_object)?;
        let known: Vec<&str> = known.keys().map(String::as_str).collect();
        (!known.is_empty()).then(|| format!("a mapping with some of {}", words(&known)))
    }

    fn description(&self, schema: &Value) -> Option<String> {
        let object = schema.as_object()?;
        let own = object
            .get("description")
            .or_else(|| self.target(object)?.get("description"));
        let text = own?.as_str()?.trim();
        let first = text.split("\n\n").next().unwrap_or(text);
        Some(first.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// What the option is for, in its plugin's words, without what follows the first sentence.
    fn doc(&self, at: &At) -> Option<String> {
        let option = self.root.pointer(&at.pointer.replace('/', "/properties/"))?;
        let text = self.description(option)?;
        Some(
            text.split(". ")
                .next()
                .unwrap_or(&text)
                .trim_end_matches('.')
                .to_owned(),
        )
    }

    /// As [`doc`](Self::doc), behind what to write.
    fn doc_behind(&self, at: &At) -> String {
        self.doc(at)
            .map_or_else(String::new, |doc| format!(": {}", lower_first(&doc)))
    }

    fn subject(&self, at: &At) -> String {
        if at.path.is_empty() {
            format!("the options of `{}`", self.plugin)
        } else {
            quoted(&at.path)
        }
    }
}

fn list<'s>(schema: &'s Map<String, Value>, key: &str) -> &'s [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn has_type(node: &Node, name: &str) -> bool {
    match (&node.kind, name) {
        (Kind::Sequence(_), "array") | (Kind::Mapping(_), "object") => true,
        (Kind::Scalar(scalar), _) => match (scalar.value(), name) {
            (Value::Null, "null") | (Value::Bool(_), "boolean") | (Value::String(_), "string") => true,
            (Value::Number(_), "number") => true,
            (Value::Number(n), "integer") => n.is_i64() || n.is_u64(),
            _ => false,
        },
        _ => false,
    }
}

fn in_words(name: &str) -> String {
    match name {
        "string" => "text",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "a list",
        "object" => "a mapping",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
