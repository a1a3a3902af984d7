//! Pipelines with mistakes: every one is shown at its place, and nothing runs.

use super::{LIS, RESULT, project, yaml};
use clinmill_tests::Project;

/// The findings of `validate`: code, line, column, message. `run` refuses the same file.
fn findings(project: &Project) -> Vec<(String, u64, u64, String)> {
    let checked = project
        .run(["validate", "pipeline.yaml", "--format", "json"])
        .expect_code(2)
        .json();
    let file = &checked["files"][0];
    assert_eq!(file["valid"], false);
    let found = file["diagnostics"].as_array().unwrap();
    let text = project.run(["validate", "pipeline.yaml"]).expect_code(2).stdout;
    for diagnostic in found {
        assert_eq!(diagnostic["file"], "pipeline.yaml", "{diagnostic}");
        let place = format!("pipeline.yaml:{}:{}", diagnostic["line"], diagnostic["column"]);
        assert!(text.contains(&place), "{place} is not shown:\n{text}");
        assert!(
            text.contains(&format!("error[{}]", diagnostic["code"].as_str().unwrap())),
            "{text}"
        );
    }
    assert!(text.contains('^'), "no caret:\n{text}");
    let run = project.run(["run", "pipeline.yaml"]).expect_code(2);
    assert!(
        run.stdout.is_empty() && run.stderr.contains("pipeline.yaml:"),
        "{}{}",
        run.stdout,
        run.stderr
    );
    assert!(
        !project.at("vault").exists() && !project.at("out").exists(),
        "an invalid pipeline made something"
    );
    let number = |d: &serde_json::Value, key: &str| d[key].as_u64().unwrap();
    let text = |d: &serde_json::Value, key: &str| d[key].as_str().unwrap().to_owned();
    found
        .iter()
        .map(|d| {
            (
                text(d, "code"),
                number(d, "line"),
                number(d, "column"),
                text(d, "message"),
            )
        })
        .collect()
}

fn finds(pipeline: &str, expected: &[(&str, u64, u64, &str)]) {
    let project = project(pipeline);
    let found = findings(&project);
    let found: Vec<_> = found
        .iter()
        .map(|(code, line, column, m)| (code.as_str(), *line, *column, m.as_str()))
        .collect();
    assert_eq!(found, expected, "\n{pipeline}");
}

fn sql(query: &str) -> String {
    let transforms = format!("transforms:\n  odd:\n    sql: {query}\n");
    yaml(LIS, &transforms, "  result: { from: odd, key: [order_no] }\n")
}

#[test]
fn five_mistakes_are_shown_in_one_run() {
    let pipeline = r#"version: 1
name: hostile
timezone: Asia/Shanghay
vault: { url: "file:vault", key: auto }
dataset: { url: "file:out" }
sources:
  lis:
    plugin: table
    inputs: { glob: "inbox/检验/*.csv", setle: 10m }
    columns: { 病案号: 患者, 结果: 5 }
    encodng: gb18030
    subject: { id: 病案号, issuer: MRN }
tables:
  result: { from: lsi }
"#;
    finds(
        pipeline,
        &[
            ("E0211", 3, 11, "`Asia/Shanghay` is not a time zone"),
            ("E0201", 9, 39, "`inputs` has no key `setle`"),
            (
                "E0404",
                10,
                29,
                "`columns.结果` must be text or a mapping, not an integer",
            ),
            ("E0402", 11, 5, "the plugin `table` has no option `encodng`"),
            ("E0301", 14, 19, "there is no source or transform `lsi`"),
        ],
    );
}

/// What is well in itself and reads what is well is looked at whole, whatever is wrong elsewhere in the file.
#[test]
fn what_steps_tables_and_gates_say_stands_beside_other_mistakes() {
    let pipeline = r#"version: 1
name: hostile
timezone: Asia/Shanghay
bogus: 2
vault: { url: "file:vault", key: auto }
dataset: { url: "file:out" }
sources:
  lis:
    plugin: table
    inputs: { glob: "inbox/*.csv" }
    columns: { 病案号: no, 结果: value }
    subject: { id: no, issuer: MRN }
  odd:
    plugin: table
    inputs: { glob: "odd/*.csv" }
    colums: { 病案号: no }
    subject: { id: no, issuer: MRN }
transforms:
  a:
    from: lis
    steps:
      - datetime: { column: taken, formats: [iso] }
  b:
    from: lis
    steps:
      - map: { dorp: [no] }
      - datetime: { column: taken, formats: [iso] }
  c:
    from: b
    steps:
      - datetime: { column: taken, formats: [iso] }
  d:
    sql: select subject_id, valve from lis
  e:
    sql: select subject_id, wanting from odd
tables:
  result: { from: lis }
  other: { from: odd, key: [wanting] }
"#;
    let project = project(pipeline);
    let found: Vec<(String, u64)> = findings(&project)
        .into_iter()
        .map(|(code, line, ..)| (code, line))
        .collect();
    let expected = [
        ("E0211", 3),
        ("E0201", 4),
        ("E0402", 16),
        ("DATETIME_COLUMN", 22),
        ("E0402", 26),
        ("E0711", 33),
    ];
    assert_eq!(found, expected.map(|(code, line)| (code.to_owned(), line)));
    let gates = "bogus: 2\ngates:\n  filled: { check: not_null, column: result.valve }\n";
    let pipeline = format!("{}{gates}", yaml(LIS, "", "  result: { from: lis }\n"));
    let found = findings(&self::project(&pipeline));
    let codes: Vec<&str> = found.iter().map(|(code, ..)| code.as_str()).collect();
    assert_eq!(codes, ["E0201", "E0724"], "{found:?}");
}

#[test]
fn an_unknown_plugin() {
    finds(
        &yaml(&LIS.replace("plugin: table", "plugin: tabel"), "", RESULT),
        &[("E0401", 8, 13, "there is no source plugin `tabel`")],
    );
}

#[test]
fn an_unknown_option() {
    finds(
        &yaml(&LIS.replace("encoding:", "encodin:"), "", RESULT),
        &[("E0402", 10, 5, "the plugin `table` has no option `encodin`")],
    );
    let steps = "transforms:\n  t:\n    from: lis\n    steps:\n      - datetime: { column: value, formatz: [iso] }\n";
    finds(
        &yaml(LIS, steps, "  result: { from: t }\n"),
        &[("E0402", 18, 36, "the plugin `datetime` has no option `formatz`")],
    );
}

#[test]
fn a_wrong_type() {
    finds(
        &yaml(&LIS.replace("key: [no]", "key: 7"), "", RESULT),
        &[("E0404", 12, 10, "`key` must be a list, not an integer")],
    );
    finds(
        &yaml(&LIS.replace("{ glob: \"inbox/*\" }", "{ glob: [a] }"), "", RESULT),
        &[("E0203", 9, 21, "`glob` must be text, not a list")],
    );
}

#[test]
fn a_missing_mapping_file() {
    let steps =
        "transforms:\n  t:\n    from: lis\n    steps:\n      - terminology: { column: value, map: maps/nowhere }\n";
    finds(
        &yaml(LIS, steps, "  result: { from: t }\n"),
        &[("E0510", 18, 44, "the mapping \"maps/nowhere\" does not exist")],
    );
}

#[test]
fn transforms_in_a_circle() {
    let transforms = "transforms:\n  one: { sql: \"select * from two\" }\n  two: { from: three }\n  three: { union: [lis, one] }\n  \
                      self: { from: self }\n";
    finds(
        &yaml(LIS, transforms, "  result: { from: one }\n"),
        &[
            (
                "E0304",
                15,
                30,
                "these transforms read each other in a circle: `one` reads `two` reads `three` reads `one`",
            ),
            ("E0304", 18, 17, "the transform `self` reads itself"),
        ],
    );
}

#[test]
fn a_pipeline_that_does_not_read() {
    let project = project("version: 1\n");
    let run = project.run(["run", "nowhere.yaml"]).expect_code(2);
    assert!(
        run.stderr
            .contains("error[E0100]: cannot read nowhere.yaml: No such file"),
        "{}",
        run.stderr
    );
    project.write("pipeline.yaml", b"version: 1\nname: \xd6\xd0\n");
    let run = project
        .run(["validate", "pipeline.yaml", "--format", "json"])
        .expect_code(2)
        .json();
    let found = &run["files"][0]["diagnostics"][0];
    assert_eq!(found["message"], "pipeline.yaml is not UTF-8 from byte 17 on");
}

#[test]
fn sql_that_is_not_about_one_subject() {
    for (query, code, message) in [
        (
            "select order_no, value from lis order by order_no limit 1",
            "E0703",
            "LIMIT would cut across subjects",
        ),
        (
            "select order_no from lis order by order_no offset 1",
            "E0703",
            "LIMIT would cut across subjects",
        ),
        (
            "select order_no, (select max(value) from lis) as m from lis",
            "E0708",
            "a subquery inside an expression is not subject-local",
        ),
        (
            "select order_no from lis where value in (select value from lis)",
            "E0708",
            "a subquery inside an expression is not subject-local",
        ),
        (
            "select order_no, random() as r from lis",
            "E0706",
            "random() gives another result at every run",
        ),
        (
            "select order_no, now() as r from lis",
            "E0706",
            "now() gives another result at every run",
        ),
        (
            "select order_no, uuid() as r from lis",
            "E0706",
            "uuid() gives another result at every run",
        ),
        (
            "select distinct on (value) order_no, value from lis",
            "E0702",
            "DISTINCT ON keeps an arbitrary row",
        ),
        (
            "select order_no, first_value(value) as v from lis group by order_no",
            "E0707",
            "first_value() without ORDER BY depends on the order of the rows",
        ),
        (
            "select order_no, row_number() over (partition by value) as n from lis",
            "E0707",
            "row_number() without ORDER BY depends on the order of the rows",
        ),
        (
            "select order_no, sum(1) over (rows between 1 preceding and current row) as n from lis",
            "E0707",
            "sum() without ORDER BY depends on the order of the rows",
        ),
        (
            "select '1' as order_no",
            "E0704",
            "rows that come from no input belong to no subject",
        ),
        (
            "select order_no, count(*) as n from lis group by rollup(order_no, value)",
            "E0705",
            "ROLLUP, CUBE and GROUPING SETS are not subject-local",
        ),
        ("drop table lis", "E0709", "only SELECT is allowed"),
    ] {
        // The position is that of the word in question; the query begins at 16:10.
        let found = findings(&project(&sql(query)));
        let [(found_code, line, column, found_message)] = found.as_slice() else {
            panic!("{query}: {found:?}");
        };
        assert_eq!(
            (found_code.as_str(), found_message.as_str()),
            (code, message),
            "{query}"
        );
        let end = 10 + query.len() as u64;
        assert!(*line == 16 && (10..end).contains(column), "{query}: {line}:{column}");
    }
}

#[test]
fn sql_that_is_about_one_subject_passes() {
    for query in [
        "select order_no, row_number() over (partition by value order by order_no) as n from lis",
        "select order_no, count(*) over (partition by value) as n from lis",
        "select order_no, max(value) as v from lis group by order_no",
    ] {
        project(&sql(query)).run(["validate", "pipeline.yaml"]).expect_code(0);
    }
}
