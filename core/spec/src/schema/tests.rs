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
fn of_alternatives_those_that_fit_say_which_options_there_are() {
    let branch = |kind: &str, option: &str| {
        json!({ "required": ["kind"], "properties": {
        "kind": { "const": kind }, option: { "type": "integer" } } })
    };
    for key in ["oneOf", "anyOf"] {
        let schema = json!({ "type": "object", "unevaluatedProperties": false, "properties": { "column": {} },
            key: [branch("a", "x"), branch("b", "y")] });
        assert_eq!(found(&schema, "kind: a\nx: 1\ncolumn: c\n"), []);
        let all = found(&schema, "kind: a\nx: 1\ny: nonsense\n");
        let [(code, place, _, hint)] = all.as_slice() else {
            panic!("{all:?}")
        };
        assert_eq!((code.as_str(), place.as_str()), (codes::UNKNOWN_OPTION, "y"));
        assert_eq!(hint, "remove it: it does not go with what stands beside it");
        // Which one was meant is not known.
        let codes: Vec<String> = found(&schema, "kind: c\nx: 1\ny: 2\n")
            .into_iter()
            .map(|f| f.0)
            .collect();
        assert_eq!(codes, [codes::OPTION_CHOICE]);
    }
}

#[test]
fn a_part_may_allow_what_the_whole_does_not_name() {
    let open = json!({ "unevaluatedProperties": false, "allOf": [{ "additionalProperties": true }] });
    assert_eq!(found(&open, "z: 1\n"), []);
    let both = json!({ "allOf": [{ "properties": { "b": {} } }], "additionalProperties": { "type": "integer" },
        "unevaluatedProperties": false });
    assert_eq!(found(&both, "b: x\n")[0].0, codes::OPTION_TYPE);
    let nested = json!({ "properties": { "a": { "anyOf": [
        { "properties": { "b": {} }, "required": ["b"] }, { "properties": { "c": {} } } ], "unevaluatedProperties": false } } });
    assert_eq!(found(&nested, "a: { b: 1, c: 2 }\n"), []);
    assert_eq!(found(&nested, "a: { b: 1, d: 2 }\n")[0].1, "d");
}

#[test]
fn equal_numbers_are_equal_however_they_are_written() {
    let schema = json!({ "properties": { "one": { "enum": [1, "x"] }, "whole": { "type": "integer" },
        "big": { "maximum": 9007199254740992_i64 }, "list": { "uniqueItems": true },
        "both": { "const": 1, "enum": [2, 3] }, "long": { "minLength": 2.0 } } });
    assert_eq!(
        found(
            &schema,
            "one: 1.0\nwhole: 2e0\nbig: 9007199254740992\nlist: [1, '1', true]\n"
        ),
        []
    );
    for wrong in [
        "one: 1.5",
        "whole: 1.5",
        "big: 9007199254740993",
        "list: [1, 1.0]",
        "list: [{ a: 1, b: 2 }, { b: 2, a: 1 }]",
        "both: 1",
        "both: 2",
        "long: x",
    ] {
        assert_eq!(found(&schema, wrong).len(), 1, "{wrong}");
    }
    // As the integer that a plugin asks for.
    let integers = outcome(&schema, "one: 1.0\nwhole: 2.0\n").integers;
    assert_eq!(
        integers,
        [("/one".to_owned(), 1.into()), ("/whole".to_owned(), 2.into())]
    );
}

#[test]
fn what_cannot_be_checked_to_its_end_is_refused() {
    let twice = |name: &str| json!({ "allOf": [{ "$ref": name }, { "$ref": name }] });
    let mut defs = Map::from_iter([("a0".to_owned(), json!({}))]);
    for i in 1..32 {
        defs.insert(format!("a{i}"), twice(&format!("#/$defs/a{}", i - 1)));
    }
    for schema in [
        json!({ "$ref": "#" }),
        json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] }),
        json!({ "properties": { "a": { "$ref": "#/$defs/a31" }, "z": { "type": "string" } }, "$defs": defs }),
    ] {
        let all = found(&schema, "a: 1\nz: 1\n");
        let [(code, _, message, _)] = all.as_slice() else {
            panic!("{all:?}")
        };
        assert_eq!(code, codes::OPTION_SCHEMA);
        assert_eq!(
            message,
            "the options of `table` cannot be checked by the plugin's schema"
        );
    }
}
