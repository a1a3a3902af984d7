//! Many mistakes in one file, each where it is; and how they are printed.

use super::*;
use crate::{codes, render};

const FIVE: &str = r#"version: 1
name: 五个错误
timezone: Asia/Shanghay
vault: { url: "file:vault", key: auto }
dataset: { url: "file:out" }
sources:
  lis:
    plugin: table
    inputs: { glob: "inbox/检验/*.csv", setle: 10m }
    columns: { 病案号: 患者, 结果: 5 }
    encodng: gb18030
tables:
  result: { from: lsi }
"#;

#[test]
fn five_mistakes_are_all_reported_at_their_places() {
    let loaded = read(FIVE);
    let expected = [
        (codes::BAD_NAME, 2, 7, "五个错误"),
        (codes::BAD_TIMEZONE, 3, 11, "Asia/Shanghay"),
        (codes::UNKNOWN_KEY, 9, 39, "setle"),
        (codes::OPTION_TYPE, 10, 29, "5"),
        (codes::UNKNOWN_OPTION, 11, 5, "encodng"),
        (codes::UNKNOWN_NAME, 13, 19, "lsi"),
    ];
    assert_eq!(
        places(&loaded.diagnostics, FIVE),
        expected.map(|(code, line, column, text)| (code.to_owned(), line, column, text.to_owned()))
    );
}

#[test]
fn rendering() {
    let loaded = read(FIVE);
    let text = render(&loaded.diagnostics, "p.yaml", FIVE);
    let expected = "\
error[E0205]: `五个错误` cannot be the pipeline's name
 --> p.yaml:2:7
  |
2 | name: 五个错误
  |       ^^^^^^^^
  |
  = help: it may have letters, digits, `-` and `_`, and begins with a letter or digit

error[E0211]: `Asia/Shanghay` is not a time zone
 --> p.yaml:3:11
  |
3 | timezone: Asia/Shanghay
  |           ^^^^^^^^^^^^^
  |
  = help: did you mean `Asia/Shanghai`?

error[E0201]: `inputs` has no key `setle`
 --> p.yaml:9:39
  |
9 |     inputs: { glob: \"inbox/检验/*.csv\", setle: 10m }
  |                                         ^^^^^
  |
  = help: did you mean `settle`?

error[E0404]: `columns.结果` must be text, not an integer
  --> p.yaml:10:29
   |
10 |     columns: { 病案号: 患者, 结果: 5 }
   |                                    ^
   |
   = help: put it in quotes: \"5\"

error[E0402]: the plugin `table` has no option `encodng`
  --> p.yaml:11:5
   |
11 |     encodng: gb18030
   |     ^^^^^^^
   |
   = help: did you mean `encoding`?

error[E0301]: there is no source or transform `lsi`
  --> p.yaml:13:19
   |
13 |   result: { from: lsi }
   |                   ^^^
   |
   = help: did you mean `lis`?

";
    assert_eq!(text, expected);
    assert!(!text.contains('\u{1b}'));
    assert!(crate::render_coloured(&loaded.diagnostics, "p.yaml", FIVE).contains('\u{1b}'));
}

#[test]
fn rendering_without_an_excerpt() {
    let place = read(FIVE).diagnostics[0].place.clone().unwrap();
    let elsewhere = Diagnostic::warning("E0408", "odd").at(place).hint("look");
    assert_eq!(
        render(&[elsewhere], "other.yaml", ""),
        "p.yaml:2:7: warning[E0408]: odd (look)\n\n"
    );
    let nowhere = render(
        &[Diagnostic::error("E0101", "too large").hint("cut it")],
        "p.yaml",
        FIVE,
    );
    assert!(
        nowhere.starts_with("error[E0101]: too large") && nowhere.contains("help: cut it"),
        "{nowhere}"
    );
}

/// What one changed line gives: code and what is written at the place.
fn of(sources: &str, transforms: &str, tables: &str) -> Vec<(String, String)> {
    let text = small(sources, transforms, tables);
    places(&read(&text).diagnostics, &text)
        .into_iter()
        .map(|(code, _, _, text)| (code, text))
        .collect()
}

fn source(rest: &str) -> Vec<(String, String)> {
    of(
        &format!("  x: {{ {rest} }}\n"),
        "  t: { from: lis }\n",
        "  r: { from: t }\n",
    )
}

fn is(found: Vec<(String, String)>, code: &str, text: &str) {
    assert_eq!(found, [(code.to_owned(), text.to_owned())]);
}

#[test]
fn sources() {
    let with = |rest: &str| source(&format!("plugin: table, inputs: {{ glob: \"a/{{site}}/b\" }}, {rest}"));
    is(
        source("plugin: tabel, inputs: { glob: a }"),
        codes::UNKNOWN_PLUGIN,
        "tabel",
    );
    is(
        source("plugin: labvalue, inputs: { glob: a }"),
        codes::UNKNOWN_PLUGIN,
        "labvalue",
    );
    is(source("inputs: { glob: a }"), codes::MISSING_KEY, "x");
    is(source("plugin: table"), codes::MISSING_KEY, "x");
    is(
        source("plugin: table, inputs: { settle: 1d }"),
        codes::MISSING_KEY,
        "inputs",
    );
    is(source("plugin: table, inputs: { glob: [a] }"), codes::WRONG_TYPE, "[a]");
    is(
        source("plugin: table, inputs: { glob: \"a/{B}/*\" }"),
        codes::BAD_PATTERN,
        "{",
    );
    is(
        source("plugin: table, inputs: { glob: \"a/{mrn}*.txt\" }"),
        codes::BAD_PATTERN,
        "{",
    );
    for (glob, at) in [
        ("inbox/a**", "*"),
        ("inbox/***", "*"),
        ("**.csv", "*"),
        ("inbox/**", "*"),
        ("a//b", "/"),
    ] {
        let inputs = format!("plugin: table, inputs: {{ glob: \"{glob}\" }}");
        is(source(&inputs), codes::BAD_PATTERN, at);
    }
    is(
        source("plugin: table, inputs: { glob: a, as_of: \"**_{date}.csv\" }"),
        codes::BAD_PATTERN,
        "*",
    );
    is(
        source("plugin: table, inputs: { glob: a, as_of: \"lis_{date}*.csv\" }"),
        codes::BAD_PATTERN,
        "{",
    );
    is(
        with("mode: { complete: { as_of: \"*{date}.csv\", scope: { a: \"{site}\" } } }"),
        codes::BAD_PATTERN,
        "{",
    );
    is(
        source("plugin: table, inputs: { glob: a, settle: 10 }"),
        codes::BAD_DURATION,
        "10",
    );
    is(
        source("plugin: table, inputs: { glob: a, as_of: x.csv }"),
        codes::BAD_PATTERN,
        "x.csv",
    );
    is(with("mode: complete"), codes::BAD_CHOICE, "complete");
    is(with("mode: partail"), codes::BAD_CHOICE, "partail");
    is(
        with("mode: { complete: { scope: { a: b } } }"),
        codes::MISSING_KEY,
        "complete",
    );
    is(
        with("mode: { complete: { as_of: arrival, max_deletes: 5 } }"),
        codes::BAD_RANGE,
        "5",
    );
    is(
        with("mode: { complete: { as_of: arrival, scope: { a: \"{sit}\" } } }"),
        codes::UNKNOWN_CAPTURE,
        "\"{sit}\"",
    );
    is(with("keep: move"), codes::BAD_CHOICE, "move");
    is(with("expect: { rows: 9..1 }"), codes::BAD_RANGE, "9..1");
    is(with("expect: { rejected: 1% }"), codes::BAD_RANGE, "1%");
    is(with("header: -1"), codes::OPTION_BOUNDS, "-1");
    is(with("columns: { a: b, a: c }"), codes::DUPLICATE_KEY, "a");
    is(
        with("columns: { a: \"${NOWHERE}\" }"),
        codes::VARIABLE_UNSET,
        "${NOWHERE}",
    );
}

#[test]
fn paths_stay_inside() {
    let glob = |glob: &str| source(&format!("plugin: table, inputs: {{ glob: \"{glob}\" }}"));
    is(glob("../other/*.csv"), codes::PATH_ESCAPES, "\"../other/*.csv\"");
    is(glob("a/../../b"), codes::PATH_ESCAPES, "\"a/../../b\"");
    is(glob("maps:../x"), codes::PATH_ESCAPES, "\"maps:../x\"");
    is(glob("/etc/*"), codes::PATH_ESCAPES, "\"/etc/*\"");
    is(glob("mapz:x"), codes::UNKNOWN_ROOT, "\"mapz:x\"");
    is(glob("file:///etc/passwd"), codes::PATH_IS_URL, "\"file:///etc/passwd\"");
    is(glob("a\\\\b"), codes::BAD_PATH, "\"a\\\\b\"");
    is(glob("a\\0b"), codes::BAD_PATH, "\"a\\0b\"");
    let map = |map: &str| {
        of(
            "",
            &format!("  t: {{ from: lis, steps: [sections: {{ profile: \"{map}\" }}] }}\n"),
            "  r: { from: t }\n",
        )
    };
    is(map("maps:../../x"), codes::PATH_ESCAPES, "\"maps:../../x\"");
    is(map("../x.yaml"), codes::PATH_ESCAPES, "\"../x.yaml\"");
    assert_eq!(map("maps:sections-zh"), []);
}

#[test]
fn transforms_and_tables() {
    let steps = |steps: &str| {
        of(
            "",
            &format!("  t: {{ from: lis, steps: {steps} }}\n"),
            "  r: { from: t }\n",
        )
    };
    is(steps("[labvalu: { column: a }]"), codes::UNKNOWN_PLUGIN, "labvalu");
    is(steps("[labvalue: { colum: a }]"), codes::UNKNOWN_OPTION, "colum");
    is(steps("[{ labvalue: , units: }]"), codes::EXACTLY_ONE, "units");
    is(steps("{ labvalue: }"), codes::WRONG_TYPE, "{ labvalue: }");
    is(steps("[[]]"), codes::WRONG_TYPE, "[]");
    let transform = |t: &str| of("", &format!("  t: {{ {t} }}\n"), "  r: { from: lis }\n");
    is(transform("from: lis, sql: select 1"), codes::EXACTLY_ONE, "sql");
    is(transform("steps: []"), codes::EXACTLY_ONE, "t");
    is(transform("union: [lis, lis]"), codes::REPEATED, "lis");
    is(transform("union: []"), codes::MISSING_KEY, "union");
    is(transform("from: lis, scope: patient"), codes::BAD_CHOICE, "patient");
    is(
        of("", "  T: { from: lis }\n", "  r: { from: lis }\n"),
        codes::BAD_NAME,
        "T",
    );
    is(
        of("", "  lis: { sql: select 1 }\n", "  r: { from: lis }\n"),
        codes::NAME_TAKEN,
        "lis",
    );
    let table = |name: &str, t: &str| of("", "  t: { from: lis }\n", &format!("  {name}: {{ {t} }}\n"));
    is(table("_r", "from: t"), codes::RESERVED_NAME, "_r");
    is(table("\"../r\"", "from: t"), codes::BAD_NAME, "\"../r\"");
    is(table("r", "from: t, key: [_row_id]"), codes::RESERVED_NAME, "_row_id");
    is(
        table("r", "from: t, columns: { _release: }"),
        codes::RESERVED_NAME,
        "_release",
    );
    is(
        table("r", "from: t, columns: { b: { type: strng } }"),
        codes::BAD_CHOICE,
        "strng",
    );
    let misspelt = [(codes::MISSING_KEY, "r"), (codes::UNKNOWN_KEY, "form")];
    assert_eq!(
        table("r", "form: t"),
        misspelt.map(|(c, t)| (c.to_owned(), t.to_owned()))
    );
}

#[test]
fn vault_and_dataset() {
    let top = |vault: &str, dataset: &str| {
        let text = small("", "", "  r: { from: lis }\n")
            .replace("{ url: \"file:vault\", key: auto }", vault)
            .replace("{ url: \"file:out\" }", dataset)
            .replace("transforms:\n", "");
        places(&read(&text).diagnostics, &text)
            .into_iter()
            .map(|(code, _, _, text)| (code, text))
            .collect::<Vec<_>>()
    };
    let (vault, dataset) = ("{ url: file:/srv/vault, key: auto }", "{ url: file:./out }");
    assert_eq!(top(vault, dataset), []);
    is(top(vault, "{ url: s3://bucket/x }"), codes::SCHEME, "s3://bucket/x");
    is(top("{ url: ./vault, key: auto }", dataset), codes::SCHEME, "./vault");
    is(
        top("{ url: file:./out/vault, key: auto }", dataset),
        codes::OVERLAP,
        "file:./out",
    );
    is(top("{ url: file:v }", dataset), codes::MISSING_KEY, "vault");
    is(
        top("{ url: file:v, key: { $secrte: k } }", dataset),
        codes::BAD_SECRET,
        "{ $secrte: k }",
    );
    let literal = top("{ url: file:v, key: 0123abcd }", dataset);
    is(literal, codes::BAD_SECRET, "0123abcd");
}

#[test]
fn a_key_in_the_file_is_not_repeated_in_a_message() {
    let text = small("", "", "  r: { from: lis }\n").replace("key: auto", "key: c0ffee");
    let messages: Vec<String> = read(&text).diagnostics.iter().map(ToString::to_string).collect();
    assert!(!messages.join("\n").contains("c0ffee"), "{messages:?}");
}

#[test]
fn versions_and_missing_keys() {
    let found = |text: &str| read(text).diagnostics.into_iter().map(|d| d.code).collect::<Vec<_>>();
    assert_eq!(
        found("version: 2\n"),
        vec![codes::MISSING_KEY; 5]
            .into_iter()
            .chain([codes::BAD_VERSION])
            .collect::<Vec<_>>()
    );
    assert_eq!(found("- a\n"), [codes::DOCUMENT]);
    assert_eq!(found("just text\n"), [codes::DOCUMENT]);
}

/// Something of another type than the one that is wanted, with the advice.
#[test]
fn values_of_another_type_are_written_as_they_are_meant() {
    let advice = |sources: &str, transforms: &str, tables: &str| -> Vec<String> {
        let text = small(sources, transforms, tables);
        let found = read(&text).diagnostics.into_iter();
        found
            .map(|d| d.hint.unwrap_or_else(|| panic!("{}: no advice", d.message)))
            .collect()
    };
    let source = |rest: &str| {
        advice(
            &format!("  x: {{ {rest} }}\n"),
            "  t: { from: lis }\n",
            "  r: { from: t }\n",
        )
    };
    let with = |rest: &str| source(&format!("plugin: table, inputs: {{ glob: a }}, {rest}"));
    let transform = |rest: &str| advice("", &format!("  t: {{ {rest} }}\n"), "  r: { from: lis }\n");
    let table = |rest: &str| advice("", "  t: { from: lis }\n", &format!("  r: {rest}\n"));
    let cases = [
        (with("key: mrn"), "write it as a list: `[mrn]`"),
        (
            with("columns: [order, val]"),
            "write names with their values, not a list: `{ order: …, val: … }`",
        ),
        (
            with("columns: order"),
            "write names with their values: `{ name: value }`",
        ),
        (with("subject: mrn"), "write `{ id: … }`"),
        (with("encoding: [gb18030]"), "known: `auto`, `utf-8`, `gb18030`"),
        (with("expect: { rejected: 5 }"), "write `..1%`"),
        (with("mode: { complete: true }"), "write `{ as_of: … }`"),
        (
            source("plugin: table, inputs: \"a/*.csv\""),
            "write `{ glob: \"a/*.csv\" }`",
        ),
        (source(""), "add `plugin`: the source plugin"),
        (transform("from: [lis]"), "write it without brackets: `lis`"),
        (
            transform("from: [lis, x]"),
            "several are put together by `union` in the place of `from`",
        ),
        (transform("union: lis"), "write it as a list: `[lis]`"),
        (
            transform("from: lis, sql: select 1"),
            "keep one of them: a query names what it reads itself",
        ),
        (
            transform("from: lis, steps: { labvalue: { column: a } }"),
            "begin each entry with `- `",
        ),
        (
            transform("from: lis, steps: [sql: select 1]"),
            "a query is a transform of its own, not a step: `NAME: { sql: select … }` under `transforms`",
        ),
        (
            transform("from: lis, steps: [labvalue: val]"),
            "write `- labvalue: { option: … }`; `clinmill plugin info labvalue` lists the options",
        ),
        (table("t"), "write `{ from: t }`"),
        (table("{ from: t, key: order }"), "write it as a list: `[order]`"),
        (
            table("{ from: t, columns: [a, b] }"),
            "write names with their values, not a list: `{ a: …, b: … }`",
        ),
        (table(""), "write `{ from: … }`"),
    ];
    for (found, expected) in cases {
        assert!(found.iter().any(|hint| hint == expected), "{expected}: {found:?}");
    }
}
