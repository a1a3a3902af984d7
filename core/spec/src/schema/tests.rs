//! Options against schemas of the kinds that schemars writes.

use super::*;
use crate::{SourceFile, report::Report, tree};
use serde_json::json;

/// The findings for options in YAML: code, what is written at the place, message, hint.
fn found(schema: &Value, text: &str) -> Vec<(String, String, String, String)> {
    outcome(schema, text)
        .violations
        .into_iter()
        .map(|v| {
            (
                v.code.to_owned(),
                text[v.span.start..v.span.end].to_owned(),
                v.message,
                v.hint.unwrap_or_default(),
            )
        })
        .collect()
}

fn outcome(schema: &Value, text: &str) -> Outcome {
    let source = SourceFile::new("f", text);
    let mut report = Report::new(&source);
    let node = tree::parse(&mut report).unwrap();
    check(
        schema,
        &node,
        &Spanned {
            value: "table".into(),
            span: Span::default(),
        },
    )
}

fn table() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["subject"],
        "properties": {
            "subject": { "$ref": "#/$defs/Subject", "description": "Who a row is about.\n\nMore." },
            "encoding": { "oneOf": [
                { "const": "auto", "description": "found out" }, { "const": "gb18030" }, { "enum": ["utf8", "utf16"] } ] },
            "columns": { "type": ["object", "null"], "additionalProperties": { "anyOf": [
                { "type": "string" }, { "$ref": "#/$defs/Column" } ] } },
            "skip": { "type": "integer", "minimum": 0, "maximum": 9 },
            "strict": { "type": "boolean" },
            "key": { "type": "array", "items": { "type": "string" }, "minItems": 1, "uniqueItems": true },
            "map": { "anyOf": [ { "type": "string", "format": "clinmill-mapping" }, { "type": "null" } ] },
            "expr": { "$ref": "#/$defs/Expr" }
        },
        "$defs": {
            "Subject": { "type": "object", "additionalProperties": false, "required": ["id"],
                "properties": { "id": { "type": "string" }, "issuer": { "type": "string", "minLength": 1 } } },
            "Column": { "type": "object", "additionalProperties": false, "required": ["name"],
                "properties": { "name": { "type": "string" }, "type": { "enum": ["text", "number"] } } },
            "Expr": { "oneOf": [
                { "type": "object", "additionalProperties": false, "required": ["upper"],
                  "properties": { "upper": { "$ref": "#/$defs/Expr" } } },
                { "type": "object", "additionalProperties": false, "required": ["concat"],
                  "properties": { "concat": { "type": "array", "items": { "$ref": "#/$defs/Expr" } } } },
                { "type": "object", "additionalProperties": false, "required": ["column"],
                  "properties": { "column": { "type": "string" } } } ] }
        }
    })
}

#[test]
fn what_fits_is_accepted() {
    let text = "subject: { id: 病案号, issuer: MRN }\nencoding: utf16\ncolumns: { 结果: value, 单位: { name: unit, type: text } }\n\
                skip: 9\nstrict: true\nkey: [a, b]\nexpr: { concat: [{ column: a }, { upper: { column: b } }] }\n";
    assert_eq!(found(&table(), text), []);
}

#[test]
fn everything_wrong_is_found_at_its_place() {
    let text = "子: 1\nsubject: { ids: 3, issuer: '' }\nencoding: gb18031\nskip: 10\nstrict: yes\nkey: [a, 5, a]\n";
    let places: Vec<(String, String)> = found(&table(), text).into_iter().map(|f| (f.0, f.1)).collect();
    let expected = [
        (codes::UNKNOWN_OPTION, "子"),
        (codes::MISSING_OPTION, "subject"),
        (codes::UNKNOWN_OPTION, "ids"),
        (codes::OPTION_BOUNDS, "''"),
        (codes::OPTION_CHOICE, "gb18031"),
        (codes::OPTION_BOUNDS, "10"),
        (codes::OPTION_TYPE, "yes"),
        (codes::OPTION_TYPE, "5"),
        (codes::OPTION_SHAPE, "a"),
    ];
    assert_eq!(places, expected.map(|(c, p)| (c.to_owned(), p.to_owned())));
}

#[test]
fn messages_say_what_would_fit() {
    let texts = |yaml: &str| {
        let all = found(&table(), &format!("subject: {{ id: a }}\n{yaml}\n"));
        all.into_iter()
            .map(|f| format!("{} ({})", f.2, f.3))
            .collect::<Vec<_>>()
            .join("; ")
    };
    assert_eq!(
        texts("encodng: auto"),
        "the plugin `table` has no option `encodng` (did you mean `encoding`?)"
    );
    assert_eq!(
        texts("encoding: gb1803"),
        "`encoding` cannot be `gb1803` (did you mean `gb18030`?)"
    );
    assert_eq!(
        texts("encoding: 5"),
        "`encoding` cannot be `5` (known: `auto`, `gb18030`, `utf8`, `utf16`)"
    );
    assert_eq!(
        texts("skip: '3'"),
        "`skip` must be an integer, not text (write it without quotes)"
    );
    assert_eq!(
        texts("strict: yes"),
        "`strict` must be `true` or `false`, not text (write `true`)"
    );
    assert_eq!(
        texts("key: [007.5, 1]"),
        "`key[1]` must be text, not an integer (put it in quotes: \"1\")"
    );
    assert_eq!(
        texts("columns: { 结果: 5 }"),
        "`columns.结果` must be text or a mapping, not an integer (put it in quotes: \"5\")"
    );
    assert_eq!(
        texts("columns: { a: { nam: b } }").split(" (").next().unwrap(),
        "`columns.a` needs the option `name`"
    );
    assert_eq!(
        texts("columns: { a: { name: b, type: texd } }"),
        "`columns.a.type` cannot be `texd` (did you mean `text`?)"
    );
    assert_eq!(
        texts("expr: { concat: [{ column: a }, { upper: { colum: b } }] }")
            .matches("expr.concat[1].upper")
            .count(),
        2
    );
    assert_eq!(
        texts("skip:"),
        "`skip` must be an integer, not nothing (write a value: nothing stands behind the `:`)"
    );
    assert_eq!(
        texts("skip: \"3\""),
        "`skip` must be an integer, not text (write it without quotes)"
    );
    // Without quotes it would be text all the same.
    assert_eq!(
        texts("skip: \"three\""),
        "`skip` must be an integer, not text (write a whole number, such as `3`)"
    );
    assert_eq!(
        texts("columns: [a, b]"),
        "`columns` must be a mapping, not a list (write names with their values, not a list: `{ a: …, b: … }`)"
    );
    assert_eq!(
        texts("map: { $secret: x }"),
        "`map` must be text, not a mapping (this option takes no secret)"
    );
    let missing = found(&table(), "skip: 1\n");
    assert_eq!(
        (missing[0].2.as_str(), missing[0].3.as_str()),
        (
            "the plugin `table` needs the option `subject`",
            "add `subject`: who a row is about"
        )
    );
}

#[test]
fn mapping_options_are_collected() {
    let text = "subject: { id: a }\nmap: \"maps:lab-zh__loinc\"\n";
    let outcome = outcome(&table(), text);
    assert!(outcome.violations.is_empty());
    let [(pointer, reference, span)] = outcome.mappings.as_slice() else {
        panic!()
    };
    assert_eq!((pointer.as_str(), reference.as_str()), ("/map", "maps:lab-zh__loinc"));
    assert_eq!(&text[span.start..span.end], "\"maps:lab-zh__loinc\"");
}

#[test]
fn flattened_structs_know_all_their_options() {
    let schema = json!({
        "type": "object", "unevaluatedProperties": false, "properties": { "a": { "type": "string" } },
        "allOf": [{ "$ref": "#/$defs/More" }],
        "$defs": { "More": { "type": "object", "required": ["b"], "properties": { "b": { "type": "integer" } } } }
    });
    assert_eq!(found(&schema, "a: x\nb: 1\n"), []);
    let codes: Vec<String> = found(&schema, "a: x\nb: y\nc: 1\n").into_iter().map(|f| f.0).collect();
    assert_eq!(codes, [codes::OPTION_TYPE, codes::UNKNOWN_OPTION]);
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    for schema in [
        json!({ "$ref": "#" }),
        json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] }),
    ] {
        assert_eq!(found(&schema, "a: 1\n"), []);
    }
}
