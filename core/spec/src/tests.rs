//! Whole files: the reference example, several mistakes at once, references, rendering, hostile text.

mod hostile;
mod mistakes;
mod references;

use crate::{Loaded, Plugins, load};
use clinmill_model::Diagnostic;
use serde_json::{Value, json};

/// The example of the project's documentation.
pub(super) const EXAMPLE: &str = include_str!("tests/example.yaml");

/// Plugins with the options that the example uses.
pub(super) struct Fake;

impl Plugins for Fake {
    fn source_schema(&self, name: &str) -> Option<Value> {
        let text = json!({ "type": "string" });
        let texts = json!({ "type": "array", "items": text });
        let named = json!({ "type": "object", "additionalProperties": text });
        let subject = json!({ "type": "object", "additionalProperties": false, "required": ["id"],
            "properties": { "id": text, "issuer": text } });
        let properties = match name {
            "hl7v2" => json!({ "subject": subject, "records": { "type": "object", "additionalProperties":
                { "type": "object", "additionalProperties": false, "required": ["per"],
                  "properties": { "per": text, "key": texts, "fields": named } } } }),
            "table" => json!({ "subject": subject, "encoding": { "enum": ["auto", "utf-8", "gb18030"] }, "key": texts,
                "columns": named, "header": { "type": "integer", "minimum": 0 } }),
            "notes" => json!({ "subject": subject, "encoding": text, "key": texts }),
            _ => return None,
        };
        Some(json!({ "type": "object", "additionalProperties": false, "properties": properties }))
    }

    fn transform_schema(&self, name: &str) -> Option<Value> {
        let text = json!({ "type": "string" });
        let mapping = json!({ "type": "string", "format": "clinmill-mapping" });
        let properties = match name {
            "terminology" => json!({ "column": text, "map": mapping, "unmapped": { "enum": ["keep", "reject"] } }),
            "labvalue" => json!({ "column": text }),
            "units" => json!({ "value": text, "unit": text, "to": text }),
            "sections" => json!({ "profile": mapping }),
            "extract" => json!({ "rules": mapping }),
            _ => return None,
        };
        Some(json!({ "type": "object", "additionalProperties": false, "properties": properties }))
    }

    fn source_names(&self) -> Vec<String> {
        ["hl7v2", "notes", "table"].map(str::to_owned).to_vec()
    }

    fn transform_names(&self) -> Vec<String> {
        ["extract", "labvalue", "sections", "terminology", "units"]
            .map(str::to_owned)
            .to_vec()
    }

    fn transform_summary(&self, name: &str) -> Option<String> {
        Some(format!("About {name}."))
    }
}

pub(super) fn read(text: &str) -> Loaded {
    load("p.yaml", text, &|_| None, &Fake)
}

/// Code, line, column and what is written there.
pub(super) fn places(diagnostics: &[Diagnostic], text: &str) -> Vec<(String, u32, u32, String)> {
    let places = diagnostics.iter().map(|d| {
        let place = d.place.as_ref().unwrap();
        (
            d.code.clone(),
            place.line,
            place.column,
            text[place.start..place.end].to_owned(),
        )
    });
    places.collect()
}

/// A small pipeline that has no mistake; `%` is replaced by more top-level lines.
pub(super) fn small(sources: &str, transforms: &str, tables: &str) -> String {
    format!(
        "version: 1\nname: small\nroots: {{ maps: ../maps }}\nvault: {{ url: \"file:vault\", key: auto }}\n\
         dataset: {{ url: \"file:out\" }}\nsources:\n  lis: {{ plugin: table, inputs: {{ glob: \"in/{{day}}/*.csv\" }} }}\n\
         {sources}transforms:\n{transforms}tables:\n{tables}"
    )
}

mod example {
    use super::*;
    use crate::{
        codes, json_schema,
        pipeline::{AsOf, Keep, KeyRef, Mode, Model, OnFail, TransformInput},
    };
    use std::time::Duration;

    #[test]
    fn parses_but_for_what_is_not_available() {
        let loaded = read(EXAMPLE);
        let found: Vec<(String, String)> = places(&loaded.diagnostics, EXAMPLE)
            .into_iter()
            .map(|(code, _, _, text)| (code, text))
            .collect();
        let expected = [(codes::SECTION_LATER, "deidentify"), (codes::SECTION_LATER, "sinks")];
        assert_eq!(found, expected.map(|(c, t)| (c.to_owned(), t.to_owned())));
        let p = loaded.pipeline.unwrap();
        assert_eq!(p.name.value, "carotid-stenting");
        assert_eq!(p.timezone.unwrap().value, "Asia/Shanghai");
        assert_eq!(p.vault.url.value, "file:./vault/carotid");
        assert!(matches!(p.vault.key, KeyRef::Secret(name) if name.value == "vault_key"));
        assert_eq!(p.dataset.value, "file:./out/carotid");
        assert_eq!(
            p.sources.iter().map(|s| s.name.value.as_str()).collect::<Vec<_>>(),
            ["adt", "lis", "notes"]
        );
        let lis = &p.sources[1];
        assert_eq!(lis.inputs.settle, Duration::from_secs(600));
        assert!(matches!(lis.mode, Mode::Partial));
        assert_eq!(lis.keep, Keep::Copy);
        let expect = lis.expect.as_ref().unwrap();
        assert_eq!(
            (expect.every, expect.rows, expect.rejected),
            (Some(Duration::from_secs(7 * 86_400)), (Some(500), None), Some(0.01))
        );
        assert_eq!(lis.options.value["subject"], json!({ "id": "病案号", "issuer": "MRN" }));
        assert_eq!(lis.options.value.get("inputs"), None);
        assert_eq!(loaded.source.slice(lis.options.locate("/columns/结果")), "value");
        assert_eq!(loaded.source.slice(lis.options.locate("/key/1")), "项目名称");
        assert_eq!(
            p.transforms[0].steps[0].options.mappings,
            [("/map".to_owned(), "maps:lab-zh__loinc".to_owned())]
        );
        assert!(
            matches!(&p.transforms[2].input, TransformInput::Sql(sql) if sql.value.starts_with("select f.subject_id"))
        );
        assert_eq!(p.tables[3].columns.len(), 2);
        assert_eq!(p.tables[0].model.as_ref().map(|m| m.value), Some(Model::Omop54));
        let [side, stenosis] = p.tables[3].columns.as_slice() else {
            panic!()
        };
        let values = side.values.iter().flatten().map(|v| v.value.as_str());
        assert_eq!(values.collect::<Vec<_>>(), ["left", "right"]);
        assert_eq!(stenosis.range.as_ref().unwrap().value, (Some(0.0), Some(100.0)));
        assert_eq!(stenosis.unit.as_ref().unwrap().value, "%");
        let gate = &p.gates[0];
        assert_eq!(
            (gate.at_least, gate.on_fail, gate.check.name()),
            (0.95, OnFail::Block, "not_null")
        );
        assert_eq!(
            loaded.source.slice(gate.check.columns()[0].span),
            "measurement.measurement_concept_id"
        );
    }

    #[test]
    fn a_complete_source() {
        let loaded = read(&small(
            "  x: { plugin: table, inputs: { glob: \"x/{site}/*.csv\" }, keep: reference, mode: { complete: { scope: { \
             facility: \"{site}\", floor: 3 }, as_of: \"x_{date}.csv\", max_deletes: 10% } } }\n",
            "  t: { from: lis, steps: [labvalue, units: ] }\n",
            "  r: { from: t }\n",
        ));
        assert_eq!(loaded.diagnostics, []);
        let source = &loaded.pipeline.as_ref().unwrap().sources[1];
        assert_eq!(source.keep, Keep::Reference);
        let Mode::Complete {
            scope,
            as_of,
            max_deletes,
        } = &source.mode
        else {
            panic!()
        };
        assert_eq!(scope["facility"], "{site}");
        assert_eq!(scope["floor"], "3");
        assert_eq!(as_of.value, AsOf::Pattern("x_{date}.csv".into()));
        assert_eq!(*max_deletes, 0.1);
        assert_eq!(loaded.pipeline.unwrap().transforms[0].steps.len(), 2);
    }

    #[test]
    fn variables_change_values_only() {
        let env = |name: &str| (name == "DATASET_URL").then(|| "file:/srv/x\nsinks: {}".to_owned());
        let loaded = load("p.yaml", EXAMPLE, &env, &Fake);
        // The line break stays inside the value, where it is refused; the value itself is not shown.
        let refused = loaded.diagnostics.iter().find(|d| d.code == codes::BAD_PATH).unwrap();
        assert_eq!(refused.place.as_ref().unwrap().line, 8);
        assert!(loaded.has_errors());
        assert!(!format!("{:?}", loaded.diagnostics).contains("/srv/x"));
    }

    #[test]
    fn the_editor_schema_knows_the_plugins() {
        let schema = json_schema(&Fake);
        let table = &schema["$defs"]["source.table"];
        assert_eq!(
            table["properties"]["encoding"]["anyOf"][0]["enum"],
            json!(["auto", "utf-8", "gb18030"])
        );
        assert!(table["properties"]["inputs"]["properties"]["glob"].is_object());
        assert_eq!(table["additionalProperties"], false);
        assert!(schema["$defs"]["transform.terminology"]["properties"]["map"].is_object());
        assert_eq!(
            schema["properties"]["sources"]["additionalProperties"]["allOf"][2]["then"]["$ref"],
            "#/$defs/source.table"
        );
        assert!(schema["required"].as_array().unwrap().contains(&json!("vault")));
        assert_eq!(schema["properties"].get("sinks"), None);
        // What an editor shows over a step's name.
        let steps = &schema["properties"]["transforms"]["additionalProperties"]["properties"]["steps"];
        let [word, step] = steps["items"]["anyOf"][0]["anyOf"].as_array().unwrap().as_slice() else {
            panic!("a word or a mapping: {steps}");
        };
        assert_eq!(step["properties"]["terminology"]["description"], "About terminology.");
        let choice = json!({ "const": "terminology", "description": "About terminology." });
        assert!(word["oneOf"].as_array().unwrap().contains(&choice), "{word}");
    }
}
