//! What pipeline authors work with: diagnostics, unit tests, drawings, plans, previews.

use clinmill_tests::{Project, copy_dir, root, site::Site};
use clinmill_tests_abi::registry;
use std::fs;

const PIPELINE: &str = r#"version: 1
name: labs
vault: { url: "file:./vault/labs", key: { $secret: vault_key } }
dataset: { url: "file:./out/labs" }
sources:
  lis:
    plugin: table
    inputs: { glob: "inbox/*.csv" }
    subject: { id: mrn, issuer: MRN }
    key: [order]
    columns: { order: order, val: val, unit: unit }
transforms:
  numbers:
    from: lis
    steps:
      - map: { set: { number: { from: val, type: decimal, scale: 3, on_error: "null" } } }
tables:
  measurement: { from: numbers }
"#;

/// Each folder of `tests/wrong` is a pipeline as a newcomer would get it wrong, with what it is told.
/// `CLINMILL_WRITE=1` writes the diagnostics anew: read what changed.
#[test]
fn wrong_pipelines_are_told_what_to_do() {
    let mut count = 0;
    let mut bare = Vec::new();
    for entry in fs::read_dir(root().join("tests/wrong")).unwrap().flatten() {
        let folder = entry.path();
        let project = Project::new();
        copy_dir(&folder, project.path());
        let run = project.run(["validate", "pipeline.yaml"]).expect_code(2);
        let told = folder.join("expected.txt");
        if std::env::var_os("CLINMILL_WRITE").is_some() {
            fs::write(&told, &run.stdout).unwrap();
        }
        let expected = fs::read_to_string(&told).unwrap_or_default();
        assert_eq!(run.stdout, expected, "{}", folder.display());
        // Where, what, and what to do: each finding has a place and advice.
        let findings = project.run(["validate", "pipeline.yaml", "--format", "json"]).json();
        for d in findings["files"][0]["diagnostics"].as_array().unwrap() {
            if !d["line"].is_u64() || !d["hint"].is_string() {
                bare.push(format!("{}: {d}", folder.display()));
            }
        }
        count += 1;
    }
    assert!(count >= 10, "{count}");
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
fn the_pipelines_pass_their_tests() {
    for name in ["carotid-stenting", "hl7-elr", "liver-transplant", "tongji-covid"] {
        let project = Project::of_pipeline(name);
        let tests = format!("pipelines/{name}/tests");
        copy_dir(&root().join(&tests), &project.at(&tests));
        let run = project
            .run(["test", &format!("pipelines/{name}/pipeline.yaml")])
            .expect_code(0);
        assert!(run.stdout.ends_with(" passed, 0 failed\n"), "{}", run.stdout);
    }
}

const CASES: &str = "tests:
  a text that is no number:   # stays
    given:
      lis: [{ subject_id: \"MRN:1\", order: 1, val: 7.5 }, { subject_id: MRN:2, order: 2, val: high }]
    expect:
      measurement:
        rows:
          - { order: 1, number: 7.6 }   # 7.5 is meant
          - { order: 3 }
      lis: { count: 2 }
";

#[test]
fn a_failing_test_says_where_and_can_be_rewritten() {
    let project = Project::new().env("VAULT_KEY", "ab".repeat(32));
    project.write("pipeline.yaml", PIPELINE);
    project.write("tests/labs.yaml", CASES);
    let run = project
        .run(["test", "pipeline.yaml", "--junit", "report.xml"])
        .expect_code(1);
    for line in [
        "8:33: measurement: row 1: number: expected \"7.600\", was \"7.500\"",
        "9:15: measurement: row 2: there is no such row: order: \"3\"",
        "7:9: measurement: a row that is not expected: order: \"2\"",
        "1 test: 0 passed, 1 failed",
    ] {
        assert!(run.stdout.contains(line), "{line}\n{}", run.stdout);
    }
    let junit = fs::read_to_string(project.at("report.xml")).unwrap();
    assert!(
        junit.contains("failures=\"1\"") && junit.contains("labs.yaml:8:33"),
        "{junit}"
    );
    assert!(
        !project.at("vault").exists() && !project.at("out").exists(),
        "a test runs apart"
    );

    project.run(["test", "pipeline.yaml", "--update"]).expect_code(0);
    let text = fs::read_to_string(project.at("tests/labs.yaml")).unwrap();
    let rows = "          - { order: 1, number: 7.500 }\n          - { order: 2, number: null }\n";
    assert!(
        text.contains(rows) && text.contains("# stays") && text.contains("lis: { count: 2 }"),
        "{text}"
    );
    project.run(["test", "pipeline.yaml"]).expect_code(0);
    // Nothing was run: a script must notice.
    let none = project
        .run(["test", "pipeline.yaml", "--filter", "nothing like it"])
        .expect_code(2);
    assert!(
        none.stderr
            .contains("no test has \"nothing like it\" in its name; there are: a text that is no number"),
        "{}",
        none.stderr
    );
    fs::remove_dir_all(project.at("tests")).unwrap();
    let none = project
        .run(["test", "pipeline.yaml", "--format", "json"])
        .expect_code(2);
    assert_eq!(none.json()["error"]["code"], "NO_TESTS");
}

#[test]
fn a_folder_in_the_place_of_a_pipeline_is_told() {
    let project = Project::new();
    project.run(["init", "p"]).expect_code(0);
    let run = project.run(["quarantine", "list", "p"]).expect_code(2);
    assert!(
        run.stderr.contains("p is a folder") && run.stderr.contains("name the file: p/pipeline.yaml"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_preview_goes_on_without_what_it_cannot_read() {
    let project = Project::new().env("VAULT_KEY", "ab".repeat(32));
    project.write("pipeline.yaml", PIPELINE);
    for (file, text) in [
        ("b.csv", "order,mrn,val\n9,z,1\n"),
        ("c.csv", "order,mrn,val,unit\n1,a,7.5,g\n2,b,8,g\n3,a,9,g\n"),
        ("d.csv", ""),
        ("e.csv", "order,mrn,val,unit\n4,c,1,g\n"),
    ] {
        project.write(format!("inbox/{file}"), text);
    }
    let preview = || {
        project
            .run(["preview", "pipeline.yaml", "lis", "--format", "json"])
            .expect_code(0)
    };
    let shown = preview();
    let orders: Vec<String> = shown.json()["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {}", row["order"], row["subject_id"]).replace('"', ""))
        .collect();
    assert_eq!(orders.len(), 4, "{orders:?}");
    // In the order of the inbox, by name.
    let left: Vec<String> = shown.json()["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["input"].as_str().unwrap(), one["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        left,
        ["inbox/b.csv TABLE_MISSING_COLUMN", "inbox/d.csv TABLE_NO_HEADER"]
    );
    let told = "source lis: left out inbox/b.csv: the header lacks \"unit\"; it has \"order\", \"mrn\", \"val\"";
    assert!(shown.stderr.contains(told), "{}", shown.stderr);
    // The same rows in the same order; subjects are numbers, and a subject's rows have the same.
    assert_eq!(preview().stdout, shown.stdout);
    let subject_of = |order: &str| {
        orders
            .iter()
            .find_map(|o| o.strip_prefix(&format!("{order} ")))
            .unwrap()
            .to_owned()
    };
    assert_eq!(subject_of("1"), subject_of("3"));
    assert!(
        orders.iter().any(|o| o.ends_with("subject 3")) && subject_of("1") != subject_of("2"),
        "{orders:?}"
    );
}

#[test]
fn a_wrong_test_file_is_located() {
    let project = Project::new().env("VAULT_KEY", "ab".repeat(32));
    project.write("pipeline.yaml", PIPELINE);
    let text = "given:\n  lis: [{ order: 1 }, { subject_id: a, vall: 2 }]\n  lab: []\nexpect:\n  numbers/maps: { count: 1 }\n  numbers: { rows: [{ nr: 1 }] }\n";
    project.write("tests/a.yaml", text);
    let run = project
        .run(["test", "pipeline.yaml", "--format", "json"])
        .expect_code(2);
    let found: Vec<(String, u64, u64)> = run.json()["error"]["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| {
            (
                d["code"].as_str().unwrap().to_owned(),
                d["line"].as_u64().unwrap(),
                d["column"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("E0806", 2, 11),
        ("E0804", 2, 40),
        ("E0803", 3, 3),
        ("E0803", 5, 3),
        ("E0804", 6, 23),
    ];
    assert_eq!(
        found,
        expected.map(|(code, line, column)| (code.to_owned(), line, column))
    );
}

#[test]
fn breaking_changes_of_published_tables_are_planned_and_refused() {
    let site = Site::new(PIPELINE);
    site.put("inbox/a.csv", "order,mrn,val,unit\n1,a,7.5,g\n2,b,8,g\n");
    site.refresh();
    site.edit(|p| {
        p.replace(", unit: unit", "")
            .replace("scale: 3", "scale: 2")
            .replace("val: val", "val: val, mrn: mrn")
    });
    site.put("inbox/b.csv", "order,mrn,val,unit\n3,c,1,g\n");
    let project = site.project();
    let plan = project
        .run(["plan", "pipeline.yaml", "--format", "json"])
        .expect_code(0)
        .json();
    assert_eq!(plan["tables"]["measurement"]["subjects"], 3);
    assert_eq!(plan["tables"]["measurement"]["scope"], "changed");
    let told: Vec<String> = plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| format!("{} {}: {}", c["what"], c["name"], c["how"]).replace('"', ""))
        .collect();
    assert_eq!(
        told,
        ["source lis: columns changed", "transform numbers: step 1 (map) changed"]
    );
    let impacts: Vec<String> = plan["schemas"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| format!("{} {}", c["impact"], c["column"]).replace('"', ""))
        .collect();
    assert_eq!(impacts, ["breaking unit", "breaking number", "additive mrn"]);

    let refused = project.run(["run", "pipeline.yaml"]).expect_code(2);
    for part in [
        "table measurement: column unit (was string) is gone",
        "table measurement: column number was decimal(38,3), now decimal(38,2)",
        "--allow-breaking",
    ] {
        assert!(refused.stderr.contains(part), "{part}\n{}", refused.stderr);
    }
    let releases = |project: &Project| fs::read_dir(project.at("out/labs/_releases")).unwrap().count();
    let before = releases(&project);
    project.run(["run", "pipeline.yaml", "--allow-breaking"]).expect_code(0);
    assert!(releases(&project) > before);
    let plan = project.run(["plan", "pipeline.yaml"]).expect_code(0);
    assert!(plan.stdout.contains("a refresh would do nothing"), "{}", plan.stdout);
}

/// An old value that the new type cannot hold belongs to a row that is gone; a row without a value stays as it was.
#[test]
fn a_changed_type_is_published_beside_values_that_it_cannot_hold() {
    let project = Project::new();
    let text = PIPELINE
        .replace("{ $secret: vault_key }", "auto")
        .replace("{ order: order, val: val, unit: unit }", "{ order: order, val: val }");
    let (sources, rest) = text.split_once("transforms:").unwrap();
    let (_, tables) = rest.split_once("tables:").unwrap();
    let text = format!("{sources}tables:{}", tables.replace("from: numbers", "from: lis"));
    project.write("pipeline.yaml", &text);
    project.write("inbox/a.csv", "order,mrn,val\n1,a,1\n2,b,x\n3,c,\n");
    project.run(["run", "pipeline.yaml"]).expect_code(0);
    project.run(["apply", "file:out/labs", "--to", "copy"]).expect_code(0);
    project.write(
        "pipeline.yaml",
        text.replace("val: val }", "val: { name: val, type: integer } }"),
    );
    project
        .run(["run", "pipeline.yaml", "--allow-breaking", "--approve-deletes"])
        .expect_code(0);
    project.run(["apply", "file:out/labs", "--to", "copy"]).expect_code(0);
    let manifest = fs::read(project.at("out/labs/_releases/00000002.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["tables"]["measurement"]["row_count"], 2);
    project.run(["verify", "file:out/labs"]).expect_code(0);
}

#[test]
fn another_key_of_a_published_table_is_breaking() {
    let project = Project::new();
    let text = PIPELINE.replace("{ $secret: vault_key }", "auto");
    project.write("pipeline.yaml", &text);
    project.write("inbox/a.csv", "order,mrn,val,unit\n1,a,1,g\n2,b,1,g\n");
    project.run(["run", "pipeline.yaml"]).expect_code(0);
    let keyed = "measurement: { from: numbers, key: [order] }";
    project.write("pipeline.yaml", text.replace("measurement: { from: numbers }", keyed));
    let said = "table measurement: it was keyed by its records, now keyed by order";
    let plan = project.run(["plan", "pipeline.yaml"]).expect_code(0);
    assert!(plan.stdout.contains(&format!("breaking: {said}")), "{}", plan.stdout);
    let refused = project.run(["run", "pipeline.yaml"]).expect_code(2);
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    project.run(["run", "pipeline.yaml", "--allow-breaking"]).expect_code(0);
    let plan = project.run(["plan", "pipeline.yaml"]).expect_code(0);
    assert!(!plan.stdout.contains("breaking"), "{}", plan.stdout);
    // A drawing in no known language: those that there are, are told.
    let run = project
        .run(["graph", "pipeline.yaml", "--format", "png"])
        .expect_code(2);
    assert!(
        run.stderr.contains("[possible values: text, json, mermaid, dot, svg]"),
        "{}",
        run.stderr
    );
}

#[test]
fn previews_are_filtered_and_drawings_drawn() {
    let project = Project::new().env("VAULT_KEY", "ab".repeat(32));
    project.write("pipeline.yaml", PIPELINE);
    project.write("inbox/a.csv", "order,mrn,val,unit\n1,a,7.5,g\n2,b,high,g\n");
    let rows = project
        .run([
            "preview",
            "pipeline.yaml",
            "numbers",
            "--where",
            "number is null and unit = 'g'",
            "--format",
            "json",
        ])
        .expect_code(0)
        .json();
    assert_eq!(rows["rows"].as_array().unwrap().len(), 1);
    assert_eq!(rows["rows"][0]["order"], "2");
    for (expression, part) in [
        ("numbr = 1", "numbr"),
        ("number =", "not the end\n    number =\n           ^"),
        ("number = 'x'", ""),
        ("table = 3", "table"),
    ] {
        let wrong = project.run(["preview", "pipeline.yaml", "numbers", "--where", expression]);
        assert_ne!(wrong.code, Some(0), "{expression}");
        assert!(
            wrong.stderr.contains(part) && !wrong.stderr.contains("ParserError") && !wrong.stderr.contains("?table?"),
            "{}",
            wrong.stderr
        );
    }
    for (format, begins) in [("mermaid", "flowchart LR"), ("dot", "digraph"), ("svg", "<svg ")] {
        let run = project
            .run(["graph", "pipeline.yaml", "--format", format])
            .expect_code(0);
        assert!(
            run.stdout.starts_with(begins) && run.stdout.contains("measurement"),
            "{}",
            run.stdout
        );
    }
    let json = project
        .run(["graph", "pipeline.yaml", "--format", "json"])
        .expect_code(0)
        .json();
    assert_eq!(json["edges"].as_array().unwrap().len(), 2);
    project.run(["plan", "pipeline.yaml", "--format", "svg"]).expect_code(2);
}

#[test]
fn a_failing_query_names_its_transform() {
    let site = Site::new(&PIPELINE.replace(
        "tables:\n",
        "  cast:\n    sql: select \"order\", cast(val as int) as n from lis\ntables:\n  c: { from: cast, key: [\"order\"] }\n",
    ));
    site.put("inbox/a.csv", "order,mrn,val,unit\n1,a,high,g\n");
    let run = site.project().run(["run", "pipeline.yaml"]).expect_code(1);
    assert!(
        run.stderr.contains("transform cast: a value does not fit"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("high"), "{}", run.stderr);
}

#[test]
fn the_schema_knows_every_option() {
    let schema = clinmill_spec::json_schema(&clinmill_engine::bound::PluginsOf(&registry()));
    let text = schema.to_string();
    assert!(!text.contains("\"#/definitions"), "2020-12 has $defs");
    for name in [
        "source.table",
        "source.hl7v2",
        "source.notes",
        "transform.map",
        "transform.datetime",
    ] {
        assert!(schema["$defs"][name]["properties"].is_object(), "{name}");
    }
}

#[test]
fn a_trace_whose_mappings_are_gone_says_what_to_do() {
    let project = Project::of_pipeline("carotid-stenting");
    let file = "pipelines/carotid-stenting/pipeline.yaml";
    let week = "pipelines/carotid-stenting/inbox/week1";
    copy_dir(&root().join(week), &project.at(week));
    project.run(["run", file]).expect_code(0);
    let text = fs::read_to_string(project.at(file)).unwrap();
    project.write(file, text.replace("maps:lab-zh__loinc", "maps:other"));
    fs::rename(project.at("mappings/lab-zh__loinc"), project.at("mappings/other")).unwrap();
    let run = project
        .run(["trace", file, "measurement", &"a".repeat(26)])
        .expect_code(2);
    assert!(
        run.stderr.contains("maps:lab-zh__loinc") && run.stderr.contains("put back the mappings"),
        "{}",
        run.stderr
    );
}

#[test]
fn an_edited_pipeline_still_traces_the_last_release() {
    let site = Site::new(PIPELINE);
    site.put("inbox/a.csv", "order,mrn,val,unit\n1,a,7.5,g\n");
    site.refresh();
    let row_id = site.rows(1, "measurement").keys().next().unwrap().clone();
    site.edit(|p| p.replace("scale: 3", "scale: 2"));
    let run = site
        .project()
        .run(["trace", "pipeline.yaml", "measurement", &row_id])
        .expect_code(0);
    assert!(
        run.stdout.contains("7.500") && run.stderr.contains("edited since"),
        "{}{}",
        run.stdout,
        run.stderr
    );
}

#[test]
fn a_plan_says_what_a_run_refuses() {
    let project = Project::new();
    let pipeline = PIPELINE.replace("{ $secret: vault_key }", "auto");
    project.write("pipeline.yaml", &pipeline);
    project.write("inbox/a.csv", "order,mrn,val,unit\n1,a,7.5,g\n2,b,8,g\n3,a,9,g\n");
    project.run(["run", "pipeline.yaml"]).expect_code(0);
    let quiet = project
        .run(["plan", "pipeline.yaml", "--format", "json"])
        .expect_code(0);
    assert_eq!(quiet.json()["warnings"], serde_json::json!([]), "{}", quiet.stdout);
    project.write(
        "pipeline.yaml",
        pipeline.replace("  lis:", "  labs:").replace("from: lis", "from: labs"),
    );
    let plan = project
        .run(["plan", "pipeline.yaml", "--format", "json"])
        .expect_code(0);
    let warned = &plan.json()["warnings"][0];
    let said = "table measurement: `lis` is no source of it any more, and `labs` is one";
    assert!(warned["message"].as_str().unwrap().starts_with(said), "{warned}");
    let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(3);
    assert_eq!(run.json()["error"]["code"], warned["code"], "{}", run.stdout);
    project
        .run(["run", "pipeline.yaml", "--approve-deletes"])
        .expect_code(0);
    let after = project
        .run(["plan", "pipeline.yaml", "--format", "json"])
        .expect_code(0);
    assert_eq!(after.json()["warnings"], serde_json::json!([]), "{}", after.stdout);
}

/// Without a vault too: times that cannot be read, files that are still written, and headers that do not fit are told, and
/// a preview shows what a refresh would publish.
#[test]
fn a_first_plan_and_a_preview_see_what_a_run_sees() {
    let project = Project::new();
    let pipeline = PIPELINE.replace("{ $secret: vault_key }", "auto").replace(
        "glob: \"inbox/*.csv\"",
        "glob: \"inbox/*.csv\", as_of: \"*_{date}.csv\"",
    );
    assert!(pipeline.contains("as_of"), "{pipeline}");
    project.write("pipeline.yaml", &pipeline);
    let head = "order,mrn,val,unit\n";
    project.write("inbox/a_20200110.csv", format!("{head}1,a,2,g\n"));
    project.write("inbox/b_20200102.csv", format!("{head}1,a,1,g\n"));
    project.write("inbox/odd.csv", format!("{head}2,b,3,g\n"));
    project.write("inbox/c_20200111.csv", "order,mrn,value,unit\n3,c,1,g\n");
    let plan = project
        .run(["plan", "pipeline.yaml", "--format", "json"])
        .expect_code(0)
        .json();
    let lis = &plan["sources"]["lis"];
    assert_eq!((&lis["files"], &lis["pending"]), (&4.into(), &3.into()), "{plan}");
    let codes: Vec<&str> = plan["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|w| w["code"].as_str())
        .collect();
    assert_eq!(codes, ["INPUT_WITHOUT_AS_OF", "INPUT_GIVEN_UP"], "{plan}");
    let shown = project
        .run(["preview", "pipeline.yaml", "lis", "--format", "json"])
        .expect_code(0)
        .json();
    let rows = shown["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{shown}");
    assert_eq!(rows[0]["val"], "2", "{shown}");
    assert_eq!(shown["warnings"][0]["code"], "INPUT_WITHOUT_AS_OF");
}

/// Gates and what columns promise are told by name, and another unit breaks those who read the column.
#[test]
fn a_plan_names_the_contracts_and_gates_that_changed() {
    let project = Project::new();
    let head = PIPELINE.replace("{ $secret: vault_key }", "auto");
    let with = |range: &str, unit: &str, gate: &str| {
        let columns = format!("{{ order: {{}}, number: {{ type: number, range: {range}, unit: {unit} }} }}");
        format!(
            "{}\ngates:\n  bounds: {{ check: range, column: measurement.number, range: {gate}, on_fail: warn }}\n",
            head.replace("{ from: numbers }", &format!("{{ from: numbers, columns: {columns} }}"))
        )
    };
    project.write("pipeline.yaml", with("[0, 100]", "kPa", "[0, 50]"));
    project.write("inbox/a.csv", "order,mrn,val,unit\n1,a,7.5,g\n2,b,8,g\n3,a,9,g\n");
    project.run(["run", "pipeline.yaml"]).expect_code(0);
    project.write("pipeline.yaml", with("[0, 90]", "kPa", "[0, 40]"));
    let plan = project
        .run(["plan", "pipeline.yaml", "--format", "json"])
        .expect_code(0);
    let told: Vec<String> = plan.json()["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| format!("{} {}: {}", c["what"], c["name"], c["how"]).replace('"', ""))
        .collect();
    let expected = [
        "table measurement: contract of column number changed",
        "gate bounds: check changed",
    ];
    assert_eq!(told, expected);
    project.write("pipeline.yaml", with("[0, 100]", "Pa", "[0, 50]"));
    let plan = project.run(["plan", "pipeline.yaml"]).expect_code(0);
    let breaks = "table measurement: column number was float64 in kPa, now float64 in Pa";
    assert!(plan.stdout.contains("float64 in kPa"), "{}", plan.stdout);
    let run = project.run(["run", "pipeline.yaml"]).expect_code(2);
    assert!(run.stderr.contains(breaks), "{}", run.stderr);
    project.run(["run", "pipeline.yaml", "--allow-breaking"]).expect_code(0);
}

/// A name that a standard model has almost is told, and nothing else that its table leaves out.
#[test]
fn a_misspelt_column_of_a_model_is_told() {
    let project = Project::new();
    let pipeline = PIPELINE
        .replace("{ $secret: vault_key }", "auto")
        .replace("{ from: numbers }", "{ from: rows, key: [order], model: omop-5.4 }")
        .replace(
            "tables:",
            "  rows:\n    sql: select \"order\", unit, number as rangelow, number as value_as_number, \
             cast('2026-01-01' as timestamp) as measurement_datetime from numbers\ntables:",
        );
    project.write("pipeline.yaml", &pipeline);
    let valid = project
        .run(["validate", "pipeline.yaml", "--format", "json"])
        .expect_code(0);
    let told = &valid.json()["files"][0]["diagnostics"];
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told[0]["code"], "E0730");
    assert_eq!(told[0]["severity"], "warning");
    assert_eq!(told[0]["hint"], "did you mean `range_low`?");
    project.write("pipeline.yaml", pipeline.replace("rangelow", "range_low"));
    let valid = project
        .run(["validate", "pipeline.yaml", "--format", "json"])
        .expect_code(0);
    assert_eq!(valid.json()["files"][0]["diagnostics"], serde_json::json!([]));
}
