//! The reference of the pipeline file as Markdown tables, for `core/PIPELINE.md`: made from the tables that the reader of
//! the file itself is made of.

use crate::{
    codes,
    keys::{
        CASE, CASES, COLUMN, COMPLETE, DATASET, EXPECT, EXPECTED, GATE, GIVEN, GIVEN_FILE, INPUTS, Key, PIPELINE,
        PLUGINS, SOURCE, Shape, TABLE, TRANSFORM, VAULT,
    },
    report::list,
};
use std::fmt::Write;

/// The generated parts of the page: what stands between the markers of that name, and the text.
pub fn reference() -> Vec<(&'static str, String)> {
    let keys = [
        ("The file", PIPELINE),
        ("`plugins`", PLUGINS),
        ("`vault`", VAULT),
        ("`dataset`", DATASET),
        ("A source: `sources.NAME`", SOURCE),
        ("`inputs` of a source", INPUTS),
        ("`mode: { complete: … }` of a source", COMPLETE),
        ("`expect` of a source", EXPECT),
        ("A transform: `transforms.NAME`", TRANSFORM),
        ("A table: `tables.NAME`", TABLE),
        ("A column: `tables.NAME.columns.NAME`", COLUMN),
        ("A gate: `gates.NAME`", GATE),
    ];
    let tests = [
        ("A file with several tests", CASES),
        ("A test", CASE),
        ("Files, instead of rows: `given.SOURCE`", GIVEN),
        ("A file: `given.SOURCE.files.PATH`; or just its text", GIVEN_FILE),
        ("What a step is to give: `expect.STEP`", EXPECTED),
    ];
    vec![
        ("keys", sections(&keys)),
        ("tests", sections(&tests)),
        ("codes", table_of_codes()),
    ]
}

fn sections(sections: &[(&str, &[Key])]) -> String {
    let mut out = String::new();
    for (title, keys) in sections {
        let _ = write!(out, "\n{title}\n\n| key | value | what it is |\n|---|---|---|\n");
        for key in *keys {
            let required = if key.required { ", required" } else { "" };
            let doc = key.doc.replace('|', "\\|");
            let _ = writeln!(out, "| `{}` | {}{required} | {doc} |", key.name, words(&key.shape));
        }
    }
    out
}

/// What may stand under a key, in words.
fn words(shape: &Shape) -> String {
    match shape {
        Shape::Text | Shape::Range => "text".to_owned(),
        Shape::Choice(choices) => list(choices),
        Shape::Texts => "list of texts".to_owned(),
        Shape::Version => "`1`".to_owned(),
        Shape::NamedTexts | Shape::NamedScalars => "names to texts".to_owned(),
        Shape::Section(_) => "mapping".to_owned(),
        Shape::Named(_) | Shape::NamedOrNone(_) | Shape::Columns(_) | Shape::Sources => "names to mappings".to_owned(),
        Shape::Steps => "list of `- plugin: { options }`".to_owned(),
        Shape::VaultKey => "`auto` or `{ $secret: name }`".to_owned(),
        Shape::Mode => "`partial` or a mapping".to_owned(),
        Shape::Share => "share: `5%` or `0.05`".to_owned(),
        Shape::Number => "number".to_owned(),
        Shape::Scalars => "list of values".to_owned(),
        Shape::Bounds => "`[low, high]`".to_owned(),
        Shape::Any => "see below".to_owned(),
        Shape::Later(_) => "not in this version".to_owned(),
    }
}

fn table_of_codes() -> String {
    let mut out = "\n| code | meaning |\n|---|---|\n".to_owned();
    for code in codes::ALL {
        let _ = writeln!(out, "| `{}` | {} |", code.code, code.meaning.replace('|', "\\|"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_every_section_has_a_line() {
        let parts = reference();
        let text: String = parts.iter().map(|(_, text)| text.as_str()).collect();
        for keys in [PIPELINE, SOURCE, INPUTS, GATE, CASE, EXPECTED] {
            for key in keys {
                assert!(text.contains(&format!("| `{}` |", key.name)), "{}", key.name);
            }
        }
        assert!(text.lines().filter(|l| l.starts_with("| `E")).count() == codes::ALL.len());
        assert!(text.contains("| `sinks` | not in this version |") && text.contains("| `version` | `1`, required |"));
    }
}
