//! Complete exports: each says all there is at its time, and only the latest counts.

use clinmill_engine::{
    EngineError,
    refresh::{Outcome, RefreshOptions, RunReport},
};
use clinmill_tests::{
    site::Site,
    state::{Change, text},
};

const A: &str = "no,mrn,stent\n1,p1,Precise\n2,p2,Acculink\n3,p3,Wallstent\n";
/// One row other, one gone, one more.
const B: &str = "no,mrn,stent\n1,p1,Precise\n2,p2,Precise\n4,p4,Acculink\n";

fn site(glob: &str, as_of: &str) -> Site {
    Site::new(&format!(
        r#"version: 1
name: registry
timezone: Asia/Shanghai
vault: {{ url: "file:./vault/registry", key: {{ $secret: vault_key }} }}
dataset: {{ url: "file:./out/registry" }}
sources:
  registry:
    plugin: table
    inputs: {{ glob: "{glob}" }}
    mode: {{ complete: {{ as_of: {as_of}, max_deletes: 50% }} }}
    subject: {{ id: mrn, issuer: MRN }}
    key: [no]
    columns: {{ no: no, stent: stent }}
tables:
  operation: {{ from: registry }}
"#
    ))
}

/// Each row as `no stent`.
fn state(site: &Site, release: u64) -> Vec<String> {
    let mut rows: Vec<String> = site
        .rows(release, "operation")
        .values()
        .map(|row| format!("{} {}", text(row, "no"), text(row, "stent")))
        .collect();
    rows.sort();
    rows
}

/// Each change as `op no`; what is deleted has its key in the release before.
fn changes(site: &Site, release: u64) -> Vec<String> {
    let before = if release > 1 {
        site.rows(release - 1, "operation")
    } else {
        Default::default()
    };
    let name = |c: &Change| {
        let row = if c.op == "D" { &before[&c.row_id] } else { &c.row };
        format!("{} {} {}", c.op, text(row, "no"), c.cause.as_deref().unwrap_or("-"))
    };
    let mut changes: Vec<String> = site.changes(release, "operation").iter().map(name).collect();
    changes.sort();
    changes
}

const STATE_A: [&str; 3] = ["1 Precise", "2 Acculink", "3 Wallstent"];
const STATE_B: [&str; 3] = ["1 Precise", "2 Precise", "4 Acculink"];

fn check_a_b_a(site: &Site) {
    assert_eq!(site.releases(), [1, 2, 3]);
    assert_eq!(
        (state(site, 1), state(site, 2), state(site, 3)),
        (
            STATE_A.map(str::to_owned).to_vec(),
            STATE_B.map(str::to_owned).to_vec(),
            STATE_A.map(str::to_owned).to_vec()
        )
    );
    assert_eq!(changes(site, 1), ["U 1 new", "U 2 new", "U 3 new"]);
    assert_eq!(changes(site, 2), ["D 3 -", "U 2 corrected", "U 4 new"]);
    assert_eq!(changes(site, 3), ["D 4 -", "U 2 corrected", "U 3 new"]);
    let ids = |release| site.rows(release, "operation").into_keys().collect::<Vec<_>>();
    assert_eq!(ids(1), ids(3), "what comes back has the identity it had");
}

#[test]
fn a_b_a_under_one_path_is_three_states() {
    let site = site("inbox/registry.csv", "arrival");
    for content in [A, B, A] {
        site.put("inbox/registry.csv", content);
        assert_eq!(site.refresh().outcome, Outcome::Released);
        assert_eq!(site.refresh().outcome, Outcome::NoOp);
    }
    check_a_b_a(&site);
}

#[test]
fn a_b_a_under_dated_paths_is_three_states() {
    let site = site("inbox/registry_{date}.csv", "\"registry_{date}.csv\"");
    for (day, content) in [("20260301", A), ("20260308", B), ("20260315", A)] {
        site.put(&format!("inbox/registry_{day}.csv"), content);
        assert_eq!(site.refresh().outcome, Outcome::Released);
        assert_eq!(site.refresh().outcome, Outcome::NoOp);
    }
    check_a_b_a(&site);
}

#[test]
fn dated_exports_in_any_order_end_in_the_same_state() {
    let days = [("20260301", A), ("20260308", B), ("20260315", A), ("20260322", B)];
    let put = |site: &Site, i: usize| site.put(&format!("inbox/registry_{}.csv", days[i].0), days[i].1);
    let wanted = site("inbox/registry_{date}.csv", "\"registry_{date}.csv\"");
    (0..days.len()).for_each(|i| put(&wanted, i));
    wanted.refresh();
    assert_eq!(state(&wanted, 1), STATE_B);
    for order in [[3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        let site = site("inbox/registry_{date}.csv", "\"registry_{date}.csv\"");
        for i in order {
            put(&site, i);
            site.refresh();
        }
        assert_eq!(site.content(4), wanted.content(1), "{order:?}");
    }
}

#[test]
fn a_late_older_export_changes_nothing() {
    let site = site("inbox/registry_{date}.csv", "\"registry_{date}.csv\"");
    site.put("inbox/registry_20260308.csv", B);
    site.refresh();
    site.put("inbox/registry_20260301.csv", A);
    let report = site.refresh();
    // Something was read, so there is a release; nothing in it is other.
    assert_eq!(
        (report.outcome, report.release, report.counts.read),
        (Outcome::Released, 2, 3)
    );
    assert!(changes(&site, 2).is_empty(), "{:?}", changes(&site, 2));
    assert_eq!(state(&site, 2), STATE_B);
    assert_eq!(site.content(1), site.content(2));
}

#[test]
fn an_export_that_lacks_too_much_is_held_back() {
    let site = site("inbox/registry.csv", "arrival");
    site.put("inbox/registry.csv", A);
    site.refresh();
    site.put("inbox/registry.csv", "no,mrn,stent\n1,p1,Precise\n");
    let error = site
        .try_refresh(&RefreshOptions::default())
        .expect_err("two of three rows are gone");
    assert!(
        matches!(error, EngineError::QualityGate(_)) && error.exit_code() == 3,
        "{error}"
    );
    assert_eq!(site.releases(), [1]);
    site.refresh_with(&RefreshOptions {
        approve_deletes: true,
        ..RefreshOptions::default()
    });
    assert_eq!(state(&site, 2), ["1 Precise"]);
}

/// Names of an older and a newer export, and which of the two are read.
#[test]
fn no_older_export_wins_by_its_name() {
    for (older, newer, read) in [
        ("2026-12", "2027-1", [true, true]),
        ("2026年2月28日", "20260301", [true, true]),
        ("20260228", "202603010800", [true, true]),
        ("202612", "2027-1", [true, true]),
        // What has no known order is not read.
        ("28-02-2026", "01-03-2026", [false, false]),
        ("12312025", "01072026", [false, false]),
        ("28Feb2026", "1Mar2026", [false, false]),
        ("20260301", "20260301 (1)", [true, false]),
        ("20260301 (30)", "20260302", [false, true]),
        ("20260201-20260228", "20260315", [false, true]),
        // Nor is what does not compare with the others.
        ("20261231", "202701", [true, false]),
        ("12", "20260301", [false, true]),
    ] {
        let wanted: Vec<&str> = match read {
            [_, true] => STATE_B.to_vec(),
            [true, false] => STATE_A.to_vec(),
            [false, false] => Vec::new(),
        };
        for together in [true, false] {
            let site = site("inbox/*.csv", "\"registry_{date}.csv\"");
            let mut told = 0;
            site.put(&format!("inbox/registry_{older}.csv"), A);
            if !together {
                told += odd(&site.refresh());
            }
            site.put(&format!("inbox/registry_{newer}.csv"), B);
            told += odd(&site.refresh());
            // Alone in an empty vault, the counter was the kind of most files.
            if (older, together) == ("12", false) {
                assert_eq!(told, 1);
                continue;
            }
            let state = site.releases().last().map_or_else(Vec::new, |last| state(&site, *last));
            assert_eq!(state, wanted, "{older} {newer} {together}");
            assert_eq!(told > 0, read.contains(&false), "{older} {newer} {together}");
        }
    }
}

/// How many warnings speak of names without a time.
fn odd(report: &RunReport) -> usize {
    let warnings = report.warnings.iter();
    warnings.filter(|w| w.code == "INPUT_WITHOUT_AS_OF").count()
}
