//! The schema of pipelines with plugins whose schemas have every shape.

use super::*;
use crate::{
    SourceFile,
    pipeline::{Span, Spanned},
    report::Report,
    tree,
};

/// One plugin of either kind, with these options.
struct One(Value);

impl Plugins for One {
    fn source_schema(&self, _: &str) -> Option<Value> {
        Some(self.0.clone())
    }
    fn transform_schema(&self, _: &str) -> Option<Value> {
        Some(self.0.clone())
    }
    fn source_names(&self) -> Vec<String> {
        vec!["one".to_owned()]
    }
    fn transform_names(&self) -> Vec<String> {
        vec!["one".to_owned()]
    }
}

/// Every reference of a schema.
fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn fits(schema: &Value, name: &str, text: &str) -> bool {
    let source = SourceFile::new("f", text);
    let node = tree::parse(&mut Report::new(&source)).unwrap();
    let plugin = Spanned {
        value: "one".to_owned(),
        span: Span::default(),
    };
    let mut one = json!({ "$ref": format!("#/$defs/{name}"), "$defs": schema["$defs"] });
    // A pattern is not what options are checked by.
    one["$defs"]["variable"] = json!({ "const": "${X}" });
    let found = schema::check(&one, &node, &plugin).violations;
    found.is_empty()
}

/// What fits as options, and what does not: to the editor as to the check, in a source and in a step.
fn agree(options: Value, good: &[&str], bad: &[&str]) {
    let schema = json_schema(&One(options.clone()));
    let mut all = Vec::new();
    references(&schema, &mut all);
    for reference in all {
        assert!(schema.pointer(&reference[1..]).is_some(), "{options}: {reference}");
    }
    assert!(!schema.to_string().contains("\"$id\""), "{options}");
    for (texts, is_good) in [(good, true), (bad, false)] {
        for text in texts {
            assert_eq!(fits(&schema, "transform.one", text), is_good, "{options}: {text}");
            for engine in ["", "keep: copy\n", "keep: copy\nmode: partial\nexpect: { every: 1d }\n"] {
                let text = format!("plugin: one\ninputs: {{ glob: a }}\n{engine}{text}\n");
                assert_eq!(fits(&schema, "source.one", &text), is_good, "{options}: {text}");
            }
        }
    }
}

#[test]
fn references_lead_to_what_they_led_to() {
    let text = json!({ "type": "string" });
    agree(
        json!({ "properties": { "deed": { "$ref": "#/definitions/D" } }, "definitions": { "D": text } }),
        &["deed: x"],
        &["deed: 1"],
    );
    agree(
        json!({ "properties": { "deed": text, "two": { "$ref": "#/properties/deed" } } }),
        &["two: x"],
        &["two: 1"],
    );
    agree(
        json!({ "$id": "https://x.example/s", "properties": { "a": { "$ref": "#/$defs/A/properties/b" } },
            "$defs": { "A": { "properties": { "b": { "$ref": "#/$defs/a~1%62" } } }, "a/b": text } }),
        &["a: x"],
        &["a: 1"],
    );
    agree(
        json!({ "additionalProperties": false, "properties": { "below": { "$ref": "#" }, "a": text } }),
        &["below: { below: { a: x } }"],
        &["below: { keep: copy }", "below: { b: 1 }"],
    );
}

#[test]
fn the_keys_of_a_source_stand_beside_options_of_any_shape() {
    let closed =
        json!({ "type": "object", "additionalProperties": false, "properties": { "deed": { "type": "string" } } });
    agree(
        json!({ "$ref": "#/$defs/C", "$defs": { "C": closed } }),
        &["deed: a"],
        &["dead: a"],
    );
    let branch = |kind: &str, option: &str| {
        json!({ "type": "object", "additionalProperties": false, "required": ["kind"],
        "properties": { "kind": { "const": kind }, option: { "type": "integer" } } })
    };
    agree(
        json!({ "oneOf": [branch("a", "x"), branch("b", "y")] }),
        &["kind: a\nx: 1", "kind: b", "kind: ${X}"],
        &["kind: a\ny: 1", "kind: c", "x: 1"],
    );
    agree(
        json!({ "unevaluatedProperties": false, "allOf": [{ "properties": { "x": { "type": "integer" } } }] }),
        &["x: 1"],
        &["y: 1", "x: a"],
    );
    agree(
        json!({ "additionalProperties": { "type": "integer" } }),
        &["x: 1"],
        &["x: a"],
    );
    agree(
        json!({ "maxProperties": 1, "properties": { "deed": {} } }),
        &["deed: a"],
        &[],
    );
    agree(json!({ "minProperties": 1 }), &["deed: a"], &[]);
    agree(
        json!({ "oneOf": [{ "maxProperties": 1 }, { "minProperties": 2 }] }),
        &["deed: a", "deed: a\nother: b"],
        &[],
    );
    // An option of that name can never be given.
    let own = json!({ "type": "integer" });
    let schema = json_schema(&One(
        json!({ "properties": { "keep": own, "a": {} }, "required": ["a"] }),
    ));
    assert_eq!(
        schema["$defs"]["source.one"]["required"],
        json!(["a", "plugin", "inputs"])
    );
    assert!(fits(
        &schema,
        "source.one",
        "plugin: one\ninputs: { glob: a }\nkeep: copy\na: 1\n"
    ));
    let schema = json_schema(&One(json!({ "properties": { "keep": own }, "required": ["keep"] })));
    assert_eq!(schema["$defs"]["source.one"], json!(false));
}

#[test]
fn a_variable_may_stand_where_no_text_does() {
    let options = json!({ "properties": {
        "word": { "oneOf": [{ "const": "a" }, { "const": "b" }], "description": "One of two." },
        "count": { "type": ["integer", "null"] }, "short": { "type": "string", "maxLength": 1 },
        "text": { "type": "string", "minLength": 1 }, "part": { "anyOf": [{ "$ref": "#/$defs/Part" }, { "type": "null" }] } },
        "$defs": { "Part": { "type": "object", "properties": { "flags": { "type": "array", "items": { "type": "boolean" } } } } } });
    let schema = json_schema(&One(options));
    let variable = json!({ "$ref": "#/$defs/variable" });
    let of = &schema["$defs"]["transform.one"]["properties"];
    assert_eq!(of["word"]["description"], "One of two.");
    for (part, is_allowed) in [
        (&of["word"], true),
        (&of["count"], true),
        (&of["short"], true),
        (&of["text"], false),
        (&of["part"], false),
        (&schema["$defs"]["transform.one.Part"]["properties"]["flags"], false),
        (
            &schema["$defs"]["transform.one.Part"]["properties"]["flags"]["items"],
            true,
        ),
        (&schema["properties"]["version"], true),
        (&schema["properties"]["vault"]["properties"]["key"], true),
        (
            &schema["properties"]["gates"]["additionalProperties"]["properties"]["on_fail"],
            true,
        ),
    ] {
        assert_eq!(part["anyOf"][1] == variable, is_allowed, "{part}");
    }
}

#[test]
fn sections_are_empty_where_they_may_be() {
    let schema = json_schema(&One(json!({ "required": ["a"] })));
    let of = &schema["properties"];
    assert_eq!(of["gates"]["type"], json!(["object", "null"]));
    assert_eq!(of["transforms"]["type"], json!(["object", "null"]));
    let transform = &of["transforms"]["additionalProperties"];
    assert_eq!(
        (&transform["type"], &of["tables"]["type"]),
        (&json!("object"), &json!("object"))
    );
    assert_eq!(of["tables"]["additionalProperties"]["type"], "object");
    // A step that needs options is not written without them.
    let step = &transform["properties"]["steps"]["items"]["anyOf"][0]["anyOf"];
    assert_eq!(step[0], json!({ "not": {} }));
    assert_eq!(step[1]["properties"]["one"], json!({ "$ref": "#/$defs/transform.one" }));
}
