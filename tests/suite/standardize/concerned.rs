//! Changed mapping tables: which subjects are recomputed, and that the others need not be.

use super::{LABS, ROWS, edit_line, site};
use clinmill_engine::refresh::{Outcome, RefreshOptions};
use clinmill_tests::{copy_dir, site::Site};
use std::fs;

const YAML: &str = "title: t\nfrom: a\nto: b\nversion: 1\norigin: here\nlicence: x\n";
const HEADER: &str = "source_code,source_name,target_system,target_code,target_name,equivalence,status,origin,note";

/// Tests by name, then their groups by code; what has no group is rejected. Rows as they are, summed up per subject, and a
/// table that looks nothing up.
const GROUPS: &str = r#"version: 1
name: groups
roots: { maps: maps }
vault: { url: "file:./vault/groups", key: { $secret: vault_key } }
dataset: { url: "file:./out/groups" }
sources:
  lis:
    plugin: table
    inputs: { glob: "inbox/*.csv" }
    subject: { id: mrn, issuer: MRN }
    key: [order]
    columns: { order: order_no, test: test }
transforms:
  coded:
    from: lis
    steps:
      - terminology: { column: test, map: "maps:tests", as: t }
      - terminology: { column: t_code, map: "maps:groups", by: code, as: g, unmapped: reject }
  sums:
    sql: select subject_id, coalesce(g_code, '-') as g, count(*) as n from coded group by subject_id, g_code
tables:
  coded: { from: coded, key: [order_no] }
  sums: { from: sums, key: [subject_id, g] }
  plain: { from: lis, key: [order_no] }
"#;

fn put_map(site: &Site, name: &str, rows: &[String]) {
    site.put(&format!("maps/{name}/mapping.yaml"), YAML);
    site.put(
        &format!("maps/{name}/map.csv"),
        format!("{HEADER}\n{}\n", rows.join("\n")),
    );
}

fn named(name: &str, code: &str) -> String {
    format!(",{name},s,{code},,equivalent,accepted,here,")
}

fn coded(code: &str, target: &str) -> String {
    format!("{code},,s,{target},,equivalent,accepted,here,")
}

fn groups() -> Site {
    let site = Site::new(GROUPS);
    let tests = [named("Alpha", "1"), named("beta", "2"), named("gamma", "3")];
    put_map(&site, "tests", &tests);
    put_map(&site, "groups", &[coded("1", "x"), coded("2", "x"), coded("3", "y")]);
    site.put(
        "inbox/1.csv",
        "mrn,order,test\na,1,alpha\na,2,beta\nb,3,beta\nc,4,GAMMA\nc,5,delta\nd,6,\n",
    );
    site
}

/// What the same inputs and mapping tables give from the beginning.
fn assert_as_from_scratch(site: &Site, release: u64) {
    let fresh = Site::new(&fs::read_to_string(site.file()).unwrap());
    for folder in ["maps", "inbox"] {
        copy_dir(&site.at(folder), &fresh.at(folder));
    }
    fresh.refresh();
    assert_eq!(site.fingerprints(release), fresh.fingerprints(1));
    // `_prov` says by which tables a row was made when it was.
    let rows = |site: &Site, release: u64| {
        let mut content = site.content(release);
        for row in content.values_mut().flat_map(|table| table.values_mut()) {
            row.remove("_prov");
        }
        content
    };
    assert_eq!(rows(site, release), rows(&fresh, 1));
}

/// Subjects that the plan names, those that the refresh then recomputes, and that nothing else would have come of all.
fn planned_and_done(site: &Site, table: &str) -> (&'static str, Option<u64>) {
    let plan = site.plan();
    let (scope, planned) = (plan.tables[table].scope, plan.tables[table].subjects);
    let report = site.refresh();
    assert_eq!(report.outcome, Outcome::Released);
    match scope {
        "mapping" => assert_eq!(report.subjects, planned),
        _ => assert_eq!(report.subjects, None, "all"),
    }
    assert_as_from_scratch(site, report.release);
    (scope, report.subjects)
}

#[test]
fn the_rows_of_a_mapping_recompute_the_subjects_that_meet_them() {
    let site = site(LABS, ROWS);
    site.refresh();
    // A target: who has the test.
    edit_line(&site, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
        line.replace(",14682-9,", ",99999-5,")
    });
    assert_eq!(planned_and_done(&site, "measurement"), ("mapping", Some(2)));
    edit_line(&site, "lab-zh__loinc", &[",肌酐,", ",99999-5,"], |line| {
        line.replace(",99999-5,", ",14682-9,")
    });
    assert_eq!(planned_and_done(&site, "measurement"), ("mapping", Some(2)));
    // A factor: who has the test in a unit that needs it.
    edit_line(&site, "molar-mass__ucum", &["14682-9,"], |line| {
        line.replace(",113.12,", ",113.21,")
    });
    assert_eq!(planned_and_done(&site, "measurement"), ("mapping", Some(1)));
    // The same factor, and the same spelling, in another line are the same rule of the rows that they made.
    edit_line(&site, "molar-mass__ucum", &["14749-6,"], |line| {
        format!("some,thing,mol,g,1.5,accepted,reckoned,x,\n{line}")
    });
    edit_line(&site, "units-local__ucum", &[",次/分,"], |line| {
        format!(",没有的单位,http://unitsofmeasure.org,g,,equivalent,accepted,manual,x,\n{line}")
    });
    assert_eq!(planned_and_done(&site, "measurement"), ("mapping", Some(0)));
    // A row that was not there: who has a name that it gives a meaning.
    edit_line(&site, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
        format!("{line}\n,没有的项目,http://loinc.org,718-7,x,equivalent,accepted,g/L,,,manual,x,,,")
    });
    assert_eq!(planned_and_done(&site, "measurement"), ("mapping", Some(1)));
}

/// The release says by which table it would be made; no row and no table file is another.
#[test]
fn what_nobody_uses_recomputes_nobody() {
    let site = groups();
    site.refresh();
    let before = site.content(1);
    let tests = |rest: &[String]| {
        let known = [named("Alpha", "1"), named("beta", "2"), named("gamma", "3")];
        put_map(&site, "tests", &[&known, rest].concat());
    };
    tests(&[named("epsilon", "5")]);
    assert_eq!(planned_and_done(&site, "coded"), ("mapping", Some(0)));
    site.put("maps/tests/mapping.yaml", YAML.replace("version: 1", "version: 2"));
    assert_eq!(planned_and_done(&site, "coded"), ("mapping", Some(0)));
    assert_eq!(site.content(3), before);
    for release in [2, 3] {
        assert!(site.changes(release, "coded").is_empty());
        assert_eq!(site.manifest(release)["tables"], site_tables(&site, release - 1));
    }
    assert_ne!(site.manifest(3)["mappings"], site.manifest(2)["mappings"]);
    assert_eq!(site.refresh().outcome, Outcome::NoOp);
}

/// The tables of a release as the next one without changes names them.
fn site_tables(site: &Site, release: u64) -> serde_json::Value {
    let mut tables = site.manifest(release)["tables"].clone();
    for table in tables.as_object_mut().unwrap().values_mut() {
        table["changes"] = serde_json::json!([]);
    }
    tables
}

#[test]
fn a_change_goes_through_later_steps_rejections_and_queries() {
    let site = groups();
    let report = site.refresh();
    assert_eq!(report.tables["coded"].rows, 6, "no code is nothing to map");
    // The code that the second table is asked for changes, and is none that it knows.
    let mut tests = vec![named("Alpha", "9"), named("beta", "2"), named("gamma", "3")];
    put_map(&site, "tests", &tests);
    assert_eq!(planned_and_done(&site, "coded"), ("mapping", Some(1)));
    assert_eq!(site.rows(2, "coded").len(), 5);
    assert!(site.changes(2, "plain").is_empty());
    // Both tables change at once: c by the first, a by the second.
    tests.push(named("delta", "3"));
    put_map(&site, "tests", &tests);
    let groups = ["1", "2", "3", "9"].map(|code| coded(code, if code < "3" { "x" } else { "y" }));
    put_map(&site, "groups", &groups);
    assert_eq!(planned_and_done(&site, "sums"), ("mapping", Some(2)));
    // Another reason for the rejection of a row is a change too.
    put_map(&site, "groups", &groups[..3]);
    assert_eq!(planned_and_done(&site, "sums"), ("mapping", Some(1)));
    let turned_down = coded("9", "y").replace("accepted", "rejected");
    put_map(&site, "groups", &[&groups[..3], &[turned_down]].concat());
    assert_eq!(planned_and_done(&site, "sums"), ("mapping", Some(1)));
    assert!(
        site.quarantine().iter().any(|q| q.code.contains("REJECTED")),
        "{:?}",
        site.quarantine()
    );
}

#[test]
fn news_are_recomputed_beside_those_concerned() {
    let site = groups();
    site.refresh();
    put_map(
        &site,
        "tests",
        &[named("Alpha", "1"), named("beta", "3"), named("gamma", "3")],
    );
    site.put("inbox/2.csv", "mrn,order,test\nd,7,gamma\ne,8,alpha\nb,9,alpha\n");
    let report = site.refresh();
    // a and b by the table; b, d and e by their new rows.
    assert_eq!(report.subjects, Some(4));
    assert_as_from_scratch(&site, 2);
    let changed = |table: &str| site.changes(2, table).len();
    assert_eq!(changed("plain"), 3, "a table that looks nothing up has its news alone");
    assert_eq!(changed("coded"), 5);
}

#[test]
fn where_it_is_not_known_all_are_recomputed() {
    let why = |site: &Site| {
        let plan = site.plan();
        plan.tables["coded"].why.clone().unwrap_or_default()
    };
    // Other columns of a step.
    let listed = |text: &str| {
        text.replace(
            "coded: { from: coded, key: [order_no] }",
            "coded: { from: coded, key: [order_no], columns: { t_code: {} } }",
        )
    };
    let site = groups();
    site.edit(listed);
    site.refresh();
    let text = fs::read_to_string(site.at("maps/tests/map.csv")).unwrap();
    let wider: Vec<String> = text.lines().map(|line| format!("{line},")).collect();
    site.put(
        "maps/tests/map.csv",
        wider.join("\n").replacen("note,", "note,unit", 1) + "\n",
    );
    assert_eq!(
        why(&site),
        "a mapping changed, and with it the columns of coded/terminology"
    );
    assert_eq!(planned_and_done(&site, "coded"), ("changed", None));
    // Not the mapping alone.
    put_map(
        &site,
        "tests",
        &[named("Alpha", "2"), named("beta", "2"), named("gamma", "3")],
    );
    site.edit(|text| text.replace("unmapped: reject", "unmapped: keep"));
    assert_eq!(why(&site), "its making changed");
    assert_eq!(planned_and_done(&site, "coded"), ("changed", None));
    // A table that the vault has lost.
    put_map(
        &site,
        "tests",
        &[named("Alpha", "1"), named("beta", "2"), named("gamma", "3")],
    );
    let kept = fs::read_dir(site.vault().join("pipelines")).unwrap().flatten();
    for file in kept.filter(|f| f.file_name().to_string_lossy().ends_with(".mapping.zst")) {
        fs::remove_file(file.path()).unwrap();
    }
    assert_eq!(why(&site), "the vault does not have maps:tests as it was");
    assert_eq!(planned_and_done(&site, "coded"), ("changed", None));
    // And again with what is asked for.
    put_map(
        &site,
        "tests",
        &[named("Alpha", "3"), named("beta", "2"), named("gamma", "3")],
    );
    let full = RefreshOptions {
        full: true,
        ..RefreshOptions::default()
    };
    assert_eq!(site.refresh_with(&full).subjects, None);
    assert_as_from_scratch(&site, 5);
}

#[test]
fn a_table_over_all_subjects_is_made_of_all() {
    let site = groups();
    site.edit(|text| {
        text.replace(
            "  sums:\n    sql: select subject_id,",
            "  sums:\n    scope: dataset\n    sql: select",
        )
        .replace("group by subject_id, g_code", "group by g_code")
        .replace("key: [subject_id, g]", "key: [g]")
    });
    site.refresh();
    put_map(
        &site,
        "tests",
        &[named("Alpha", "3"), named("beta", "2"), named("gamma", "3")],
    );
    let plan = site.plan();
    assert_eq!(plan.tables["coded"].subjects, Some(1));
    let why = plan.tables["sums"].why.as_deref();
    assert_eq!(why, Some("a mapping changed, and it is not made subject by subject"));
    assert_eq!(planned_and_done(&site, "sums"), ("changed", None));
    assert_eq!(site.changes(2, "coded").len(), 1);
}

/// More events than one bucket range takes: few subjects of many, in many ranges.
#[test]
fn few_of_many_subjects_are_recomputed() {
    let site = groups();
    let mut rows = "mrn,order,test\n".to_owned();
    for order in 100..100_100 {
        let test = ["alpha", "beta"][order % 2];
        let test = if order % 10_000 == 0 { "gamma" } else { test };
        rows.push_str(&format!("p{},{order},{test}\n", order / 10));
    }
    site.put("inbox/2.csv", rows);
    site.refresh();
    let tests = [named("Alpha", "1"), named("beta", "2"), named("gamma", "1")];
    put_map(&site, "tests", &tests);
    let report = site.refresh();
    // Ten of them and c.
    assert_eq!(report.subjects, Some(11));
    assert_eq!(report.tables["coded"].upserts, 11);
    let fresh = groups();
    copy_dir(&site.at("inbox"), &fresh.at("inbox"));
    put_map(&fresh, "tests", &tests);
    fresh.refresh();
    assert_eq!(site.fingerprints(2), fresh.fingerprints(1));
}

/// L1 with tables that change: any history of edits and deliveries ends where the last tables and all inputs lead.
#[test]
fn any_history_of_edits_ends_as_from_scratch() {
    for seed in 0..3_u64 {
        // SplitMix64 (Steele, Lea and Flood 2014).
        let mut state = seed;
        let mut below = |n: u64| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) % n
        };
        let site = groups();
        site.refresh();
        let names = ["alpha", "beta", "gamma", "delta", "eps-ilon"];
        let mut order = 100;
        for round in 0..6 {
            let mut tests = Vec::new();
            for name in names {
                let row = named(name, &(1 + below(4)).to_string());
                match below(5) {
                    0 => {}
                    1 => tests.push(row.replace("accepted", "proposed")),
                    2 => tests.push(row.replace(name, &name.to_uppercase())),
                    _ => tests.push(row),
                }
            }
            put_map(&site, "tests", &tests);
            if below(2) == 0 {
                let rows: Vec<String> = (1..=4)
                    .map(|c| coded(&c.to_string(), ["x", "y"][below(2) as usize]))
                    .collect();
                put_map(&site, "groups", &rows[below(2) as usize..]);
            }
            if below(2) == 0 {
                let mut rows = "mrn,order,test\n".to_owned();
                for _ in 0..3 {
                    order += 1;
                    rows.push_str(&format!("p{},{order},{}\n", below(9), names[below(5) as usize]));
                }
                site.put(&format!("inbox/{}.csv", round + 2), rows);
            }
            let report = site.refresh();
            assert!(report.subjects.is_some(), "{report:?}");
            assert_as_from_scratch(&site, report.release);
        }
    }
}
