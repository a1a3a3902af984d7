//! Test files: read, refused, and written anew.

use super::*;
use crate::codes;

const TWO: &str = r#"# about the laboratory
tests:
  一个:
    now: 2026-03-16T08:00:00+08:00
    given:
      lis:                                # rows
        - { subject_id: "MRN:1", 结果: 7.5, unit: null }
      notes: { files: { "inbox/a.txt": "text", b.bin: { from: data/b.bin } } }
    expect:
      labs:
        rows:
          - { subject_id: MRN:1, value: 007 }   # leading zeros
          # and another one
          - { value: "null" }
        count: 2                          # two
      lis: { rejects: { TABLE_NO_SUBJECT: 1 }, rows: [], counts: {} }
  two:
    expect:
      measurement:
        schema:
          value: string
          number: decimal(38,3)

      # what follows stays
      person: { rows: }
"#;

fn read(text: &str) -> CaseFile {
    load("t.yaml", "t", text)
}

#[test]
fn reads_tests() {
    let file = read(TWO);
    assert!(file.diagnostics.is_empty(), "{:#?}", file.diagnostics);
    let [one, two] = file.cases.as_slice() else {
        panic!("{:#?}", file.cases)
    };
    assert_eq!(one.name.value, "一个");
    assert_eq!(one.now.unwrap().to_string(), "2026-03-16T00:00:00Z");
    let GivenData::Rows(rows) = &one.given[0].data else {
        panic!("not rows")
    };
    assert_eq!(rows[0].get("结果").unwrap().text.as_deref(), Some("7.5"));
    assert_eq!(rows[0].get("unit").unwrap().text, None);
    let GivenData::Files(files) = &one.given[1].data else {
        panic!("not files")
    };
    assert!(matches!(&files[1].content, FileContent::Copy(from) if from.value == "data/b.bin"));
    let rows = one.expect[0].rows.as_ref().unwrap().value.as_ref().unwrap();
    assert_eq!(rows[0].get("value").unwrap().text.as_deref(), Some("007"));
    assert_eq!(rows[1].get("value").unwrap().text.as_deref(), Some("null"));
    assert!(two.expect[1].rows.as_ref().unwrap().value.is_none());
}

#[test]
fn a_file_may_be_one_test() {
    let file = read("expect: { labs: { count: 0 } }\n");
    assert!(file.diagnostics.is_empty(), "{:#?}", file.diagnostics);
    assert_eq!(file.cases[0].name.value, "t");
}

#[test]
fn writes_what_changed_and_nothing_else() {
    let file = read(TWO);
    let row = |pairs: &[(&str, Option<&str>)]| -> Vec<(String, Option<String>)> {
        let owned = |(c, v): &(&str, Option<&str>)| ((*c).to_owned(), v.map(str::to_owned));
        pairs.iter().map(owned).collect()
    };
    let values = [
        Rewrite {
            of: (0, 0),
            rows: Some(vec![
                row(&[("subject_id", Some("MRN:1")), ("value", Some("a: b, c"))]),
                row(&[("value", None)]),
            ]),
            count: Some(3),
            ..Rewrite::default()
        },
        Rewrite {
            of: (0, 1),
            rows: Some(vec![row(&[("value", Some("true"))])]),
            rejects: Some(BTreeMap::new()),
            ..Rewrite::default()
        },
        Rewrite {
            of: (1, 0),
            schema: Some(vec![("value".into(), "string".into())]),
            ..Rewrite::default()
        },
        Rewrite {
            of: (1, 1),
            rows: Some(vec![row(&[("sex", Some("F"))])]),
            ..Rewrite::default()
        },
    ];
    let text = rewrite(TWO, &file.cases, &values);
    let expected = TWO
        .replace(
            "          - { subject_id: MRN:1, value: 007 }   # leading zeros\n          # and another one\n          - { value: \"null\" }\n",
            "          - { subject_id: MRN:1, value: \"a: b, c\" }\n          - { value: null }\n",
        )
        .replace("count: 2 ", "count: 3 ")
        .replace("{ rejects: { TABLE_NO_SUBJECT: 1 }, rows: [], ", "{ rejects: {}, rows: [{ value: true }], ")
        .replace(
            "schema:\n          value: string\n          number: decimal(38,3)\n",
            "schema: { value: string }\n",
        )
        .replace("{ rows: }", "{ rows: [{ sex: F }] }");
    assert_eq!(text, expected);
    assert!(read(&text).diagnostics.is_empty());
}

#[test]
fn every_text_comes_back() {
    for text in [
        "",
        " a",
        "a ",
        "null",
        "~",
        "true",
        "7.5",
        "-1",
        "a: b",
        "a #b",
        "#",
        "- a",
        "? a",
        "'",
        "\"",
        "a\nb",
        "a\tb",
        "血糖",
        "<0.04",
        "10.08↑",
        "{a}",
        "[",
        "a,b",
        "*x",
        "&x",
        "!x",
        "%",
        "@",
        "`",
        "|",
        ">",
        "\u{1}",
        "\u{85}",
        "=",
        "MRN:1",
        "a:",
        "2026-03-02T08:00:00",
        "\u{feff}x",
        "😀",
    ] {
        let empty = read("expect: { s: { rows: } }\n");
        let values = [Rewrite {
            rows: Some(vec![vec![(format!("k{text}"), Some(text.to_owned()))]]),
            ..Rewrite::default()
        }];
        let written = rewrite(empty.source.text(), &empty.cases, &values);
        let file = read(&written);
        assert!(
            file.diagnostics.is_empty(),
            "{text:?}: {written}\n{:#?}",
            file.diagnostics
        );
        let rows = file.cases[0].expect[0].rows.as_ref().unwrap().value.as_ref().unwrap();
        let value = &rows[0].values[0];
        assert_eq!(
            (value.column.value.as_str(), value.text.as_deref()),
            (format!("k{text}").as_str(), Some(text))
        );
    }
}

#[test]
fn mistakes_are_located() {
    let text = "tests:\n  a:\n    now: yesterday\n    given: { lis: 5 }\n    expect:\n      labs: { row: [] }\n      x: { count: many, rows: [5] }\n      y: {}\n  b: { expect: {} }\n";
    let found: Vec<(String, u32, u32)> = read(text)
        .diagnostics
        .into_iter()
        .map(|d| {
            let place = d.place.unwrap();
            (d.code, place.line, place.column)
        })
        .collect();
    let expected = [
        (codes::CASE_TIME, 3, 10),
        (codes::CASE_GIVEN, 4, 19),
        (codes::UNKNOWN_KEY, 6, 15),
        (codes::WRONG_TYPE, 7, 19),
        (codes::WRONG_TYPE, 7, 32),
        (codes::CASE_EMPTY, 8, 7),
        (codes::CASE_EMPTY, 9, 8),
    ];
    assert_eq!(
        found,
        expected.map(|(code, line, column)| (code.to_owned(), line, column))
    );
}
