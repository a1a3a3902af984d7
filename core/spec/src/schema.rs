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
use clinmill_model::{
    equal::{canonical, compare, equal, is_integer, whole},
    keywords,
};
use serde_json::{Map, Number, Value};
use std::{cell::Cell, collections::HashSet};

/// Deepest chain of schemas; more is a schema that refers to itself.
const DEPTH: usize = 400;
/// Most schemas and keys looked at for the options of one plugin: alternatives within alternatives multiply.
const STEPS: usize = 2_000_000;

/// The entries of a mapping that a schema says something of, by their index: what `unevaluatedProperties` is not about.
type Evaluated = HashSet<usize>;

/// What was found.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    /// Pointer, reference and place of every option of the format `clinmill-mapping`.
    pub(crate) mappings: Vec<(String, String, Span)>,
    /// Where a float is written for an integer, such as `1.0`, with that integer.
    pub(crate) integers: Vec<(String, Number)>,
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
    if checker.steps.get() > STEPS {
        // What was found until then may be wrong too: an alternative that was not looked at to its end.
        let message = format!(
            "the options of `{}` cannot be checked by the plugin's schema",
            checker.plugin
        );
        outcome.violations = vec![Violation {
            hint: Some(TOO_LARGE.to_owned()),
            ..at.violation(codes::OPTION_SCHEMA, message)
        }];
    }
    outcome
}

const TOO_LARGE: &str = "its schema refers to itself or has too many alternatives within alternatives: tell the plugin's \
                         author; fewer options may do";

/// True where a plugin needs no options.
pub(crate) fn takes_nothing(schema: &Value) -> bool {
    let none = Node {
        kind: Kind::Mapping(Vec::new()),
        span: Span::default(),
    };
    let plugin = Spanned {
        value: String::new(),
        span: Span::default(),
    };
    check(schema, &none, &plugin).violations.is_empty()
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
    fn check(&self, schema: &'s Value, node: &Node, at: &At, depth: usize, out: &mut Outcome) -> Evaluated {
        let mut evaluated = Evaluated::new();
        let keys = match &node.kind {
            Kind::Mapping(entries) => entries.len(),
            _ => 0,
        };
        let steps = match depth > DEPTH {
            true => STEPS,
            false => self.steps.get(),
        };
        self.steps.set(steps.saturating_add(1 + keys));
        if self.steps.get() > STEPS || matches!(node.kind, Kind::Invalid) {
            return evaluated;
        }
        let Value::Object(schema) = schema else {
            if schema == &Value::Bool(false) {
                out.violations.push(Violation {
                    hint: Some("remove it".to_owned()),
                    ..at.violation(codes::OPTION_SHAPE, format!("{} is not allowed", self.subject(at)))
                });
            }
            return evaluated;
        };
        if !self.check_type(schema, node, at, out) || !self.check_choice(schema, node, at, out) {
            return evaluated;
        }
        if let Some(target) = self.target(schema) {
            evaluated.extend(self.check(target, node, at, depth + 1, out));
        }
        for part in list(schema, "allOf") {
            evaluated.extend(self.check(part, node, at, depth + 1, out));
        }
        for key in ["anyOf", "oneOf"] {
            let branches = list(schema, key);
            if !branches.is_empty() {
                evaluated.extend(self.check_alternatives(branches, key == "oneOf", node, at, depth, out));
            }
        }
        match &node.kind {
            Kind::Invalid => {}
            Kind::Scalar(scalar) => self.check_scalar(schema, &scalar.value(), at, out),
            Kind::Sequence(items) => self.check_items(schema, items, at, depth, out),
            Kind::Mapping(entries) => self.check_entries(schema, entries, at, depth, &mut evaluated, out),
        }
        evaluated
    }

    fn check_type(&self, schema: &Map<String, Value>, node: &Node, at: &At, out: &mut Outcome) -> bool {
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => return true,
        };
        if types.iter().any(|t| has_type(node, t)) {
            if !types.contains(&"number") {
                self.is_integer(node, at, out);
            }
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

    /// Notes a float that is taken as the integer it is equal to.
    fn is_integer(&self, node: &Node, at: &At, out: &mut Outcome) {
        if let Value::Number(number) = node.json()
            && number.is_f64()
            && let Some(integer) = whole(&number).and_then(|n| i64::try_from(n).ok())
        {
            out.integers.push((at.pointer.clone(), integer.into()));
        }
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
        let only = schema.get("const").map(std::slice::from_ref);
        let several = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice);
        let mut all = only.into_iter().chain(several).peekable();
        if all.peek().is_none() {
            return true;
        }
        let value = node.json();
        let Some(allowed) = all.find(|allowed| !allowed.iter().any(|one| equal(one, &value))) else {
            if only
                .into_iter()
                .chain(several)
                .flatten()
                .any(|one| one.is_i64() || one.is_u64())
            {
                self.is_integer(node, at, out);
            }
            return true;
        };
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
        let Value::Number(number) = value else {
            return;
        };
        for (key, words, holds) in keywords::LIMITS {
            if let Some(Value::Number(limit)) = schema.get(key)
                && !compare(number, limit).is_some_and(holds)
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
        let mut seen = HashSet::new();
        let prefix = list(schema, "prefixItems");
        for (index, item) in items.iter().enumerate() {
            let below = At {
                pointer: format!("{}/{index}", at.pointer),
                path: format!("{}[{index}]", at.path),
                span: item.span,
            };
            if unique && !seen.insert(canonical(&item.json())) {
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
        evaluated: &mut Evaluated,
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
        let additional = schema.get("additionalProperties");
        let unevaluated = schema.get("unevaluatedProperties");
        for (index, entry) in entries.iter().enumerate() {
            let own = properties.and_then(|p| p.get(&entry.key));
            let rest = || unevaluated.filter(|_| !evaluated.contains(&index));
            let Some(part) = own.or(additional).or_else(rest) else {
                continue;
            };
            evaluated.insert(index);
            let below = at.below(&entry.key, entry.shown_at());
            if own.is_none() && part == &Value::Bool(false) {
                out.violations.push(self.unknown(schema, entry, at));
            } else {
                self.check(part, &entry.value, &below, depth + 1, out);
            }
        }
    }

    fn unknown(&self, schema: &'s Map<String, Value>, entry: &Entry, at: &At) -> Violation {
        let subject = match at.path.is_empty() {
            true => format!("the plugin `{}`", self.plugin),
            false => quoted(&at.path),
        };
        let mut known = Vec::new();
        match schema.contains_key("additionalProperties") {
            true => known.extend(properties_of(schema)),
            false => self.known(schema, &mut HashSet::new(), &mut known),
        }
        let message = format!("{subject} has no option {}", quoted(&entry.key));
        let (hint, unknown) = match known.contains(&entry.key.as_str()) {
            true => (
                Some("remove it: it does not go with what stands beside it".to_owned()),
                None,
            ),
            false => (
                hint(&entry.key, known.iter().copied()),
                Some((entry.key.clone(), known.iter().map(|k| (*k).to_owned()).collect())),
            ),
        };
        Violation {
            hint,
            span: entry.key_span,
            unknown,
            ..at.violation(codes::UNKNOWN_OPTION, message)
        }
    }

    /// Every property that a schema declares, also by its parts.
    fn known(&self, schema: &'s Map<String, Value>, seen: &mut HashSet<*const Value>, found: &mut Vec<&'s str>) {
        found.extend(properties_of(schema));
        let parts = ["allOf", "anyOf", "oneOf"]
            .into_iter()
            .flat_map(|key| list(schema, key));
        for part in parts.chain(self.target(schema)) {
            if let (true, Value::Object(part)) = (seen.len() < DEPTH && seen.insert(part), part) {
                self.known(part, seen, found);
            }
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
            let count = schema.get(key).and_then(keywords::count)?;
            Some(usize::try_from(count).unwrap_or(usize::MAX))
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
        keywords::target(self.root, schema.get("$ref")?.as_str()?)
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

fn properties_of(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).map(String::as_str)
}

fn has_type(node: &Node, name: &str) -> bool {
    match (&node.kind, name) {
        (Kind::Sequence(_), "array") | (Kind::Mapping(_), "object") => true,
        (Kind::Scalar(scalar), _) => match (scalar.value(), name) {
            (Value::Null, "null") | (Value::Bool(_), "boolean") | (Value::String(_), "string") => true,
            (Value::Number(_), "number") => true,
            (Value::Number(n), "integer") => is_integer(&n),
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
