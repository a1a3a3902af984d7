//! L3, all or nothing: the real binary is killed at every step of a refresh, and at random times; what is left is the
//! old or the new release, whole, and running again gives what an undisturbed run gives.

use clinmill_tests::Project;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::ExitStatusExt,
    process::{Child, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const PIPELINE: &str = r#"version: 1
name: kills
timezone: Asia/Shanghai
vault: { url: "file:vault", key: { $secret: vault_key } }
dataset: { url: "file:out" }
sources:
  lis:
    plugin: table
    inputs: { glob: "inbox/lis/*.csv", as_of: "lis_{date}.csv" }
    encoding: utf-8
    subject: { id: mrn, issuer: MRN }
    key: [no]
    columns: { no: order_no, test: test_name, value: value }
  registry:
    plugin: table
    inputs: { glob: "inbox/registry/*.csv" }
    mode: { complete: { as_of: "registry_{date}.csv", max_deletes: 50% } }
    encoding: utf-8
    subject: { id: mrn, issuer: MRN }
    key: [visit]
    columns: { visit: visit_no, side: side }
transforms:
  known: { sql: "select order_no, test_name, value from lis where value is not null" }
tables:
  result: { from: known, key: [order_no] }
  stenting: { from: registry, key: [visit_no] }
"#;

/// A key that no vault outside the tests has; equal keys give equal row ids.
const KEY: &str = "9f1c27be5a40d8836e0db91f72c5ae4438d6017bfa92ec5d1067f3b84cd92ae5";

/// The protocol, as a refresh passes it.
const STEPS: [&str; 13] = [
    "refresh.discovered",
    "refresh.ingested",
    "refresh.transformed",
    "files.before-put",
    "files.after-put",
    "refresh.staged",
    "refresh.state-stored",
    "commit.before-list",
    "commit.before-put",
    "commit.after-put",
    "commit.before-hint",
    "commit.done",
    "refresh.committed",
];
/// From this step on the new release is visible.
const VISIBLE_FROM: &str = "commit.after-put";

fn project() -> Project {
    let project = Project::new().env("VAULT_KEY", KEY);
    project.write("pipeline.yaml", PIPELINE);
    project
}

/// Week 1 has a broken row; week 2 corrects a result, adds a patient, and its registry lacks one operation.
fn deliver(project: &Project, week: u64) {
    let (lis, registry) = match week {
        1 => (
            "mrn,no,test,value\nA1,1,K,4.1\nA1,2,NA,140\nB2,3,K\nB2,4,K,3.9\nC3,5,K,4.4\n",
            "mrn,visit,side\nA1,V1,left\nB2,V2,right\nC3,V3,left\n",
        ),
        _ => (
            "mrn,no,test,value\nA1,1,K,5.2\nD4,6,NA,138\n",
            "mrn,visit,side\nA1,V1,left\nC3,V3,right\n",
        ),
    };
    project.write(format!("inbox/lis/lis_2026-01-0{week}.csv"), lis);
    project.write(format!("inbox/registry/registry_2026-01-0{week}.csv"), registry);
}

/// The newest release of the dataset, 0 for none; every number up to it is there.
fn release(project: &Project) -> u64 {
    let manifest = |n: u64| project.at(format!("out/_releases/{n:08}.json")).exists();
    let newest = (1..100).take_while(|n| manifest(*n)).last().unwrap_or(0);
    assert!(!manifest(newest + 2), "a release is missing between others");
    newest
}

/// What must not depend on how often a refresh was killed.
fn essence(project: &Project, release: u64) -> Value {
    if release == 0 {
        return Value::Null;
    }
    let bytes = fs::read(project.at(format!("out/_releases/{release:08}.json"))).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let tables: BTreeMap<&String, Value> = manifest["tables"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, table)| {
            let rows = |files: &Value| {
                files
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|f| f["rows"].as_u64().unwrap())
                    .sum::<u64>()
            };
            let table = json!({
                "fingerprint": table["fingerprint"], "row_count": table["row_count"], "key": table["key"],
                "schema": table["schema_sha256"], "base": rows(&table["base"]), "changes": rows(&table["changes"]),
            });
            (name, table)
        })
        .collect();
    json!({ "kind": manifest["kind"], "counts": manifest["counts"], "tables": tables })
}

/// Every published byte is there and right, as `verify` says.
fn assert_whole(project: &Project, when: &str) {
    if !project.at("out").is_dir() {
        return;
    }
    let found = project.run(["verify", "file:out", "--format", "json"]);
    assert_eq!(found.code, Some(0), "{when}:\n{}{}", found.stdout, found.stderr);
    assert_eq!(found.json()["release"], release(project), "{when}");
}

/// The releases that undisturbed refreshes of the same inputs with the same key make, by number.
fn undisturbed() -> [Value; 3] {
    let project = project();
    let mut all = [Value::Null, Value::Null, Value::Null];
    for week in [1, 2] {
        deliver(&project, week);
        let run = project.run(["run", "pipeline.yaml", "--format", "json"]).expect_code(0);
        assert_eq!(run.json()["release"], week);
        all[week as usize] = essence(&project, week);
    }
    assert_eq!(all[1]["counts"]["rejected"], 1, "{}", all[1]);
    assert_eq!(all[2]["tables"]["stenting"]["row_count"], 2, "{}", all[2]);
    assert_eq!(
        all[2]["tables"]["stenting"]["changes"], 2,
        "one deletion, one correction: {}",
        all[2]
    );
    all
}

/// The steps that a refresh of this project passes, in order, with repetitions.
fn passed(project: &Project) -> Vec<String> {
    let log = project.at("steps.log");
    let _ = fs::remove_file(&log);
    let mut command = project.command(["run", "pipeline.yaml"]);
    let output = command.env("CLINMILL_STEPS_LOG", &log).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

/// A project with `week - 1` releases and the inputs of this week.
fn ready(week: u64) -> Project {
    let project = project();
    for earlier in 1..week {
        deliver(&project, earlier);
        project.run(["run", "pipeline.yaml"]).expect_code(0);
    }
    deliver(&project, week);
    project
}

/// Runs until the step is passed the nth time and the process dies there.
fn run_killed_at(project: &Project, step: &str, nth: usize) -> ExitStatus {
    let log = project.at("steps.log");
    let _ = fs::remove_file(&log);
    let mut command = project.command(["run", "pipeline.yaml"]);
    command
        .env("CLINMILL_KILL_AT", format!("{step}:{nth}"))
        .env("CLINMILL_STEPS_LOG", &log);
    let output = command.output().unwrap();
    let steps = fs::read_to_string(log).unwrap_or_default();
    assert_eq!(
        output.status.signal(),
        Some(9),
        "{step}:{nth} did not kill a live process; it passed\n{steps}"
    );
    assert_eq!(steps.lines().last(), Some(step), "it died elsewhere");
    output.status
}

/// After a kill: wholly at the old release or wholly at the new one. Then it runs to its end, once.
fn check_and_finish(project: &Project, week: u64, expected: &[Value; 3], when: &str) -> u64 {
    let left = release(project);
    assert!(
        left == week || left + 1 == week,
        "{when}: release {left} after a refresh for release {week}"
    );
    assert_eq!(
        essence(project, left),
        expected[left as usize],
        "{when}: what is visible"
    );
    assert_whole(project, when);
    let again = project
        .run(["run", "pipeline.yaml", "--format", "json"])
        .expect_code(0)
        .json();
    let outcome = if left == week { "no-op" } else { "released" };
    assert_eq!(
        (&again["outcome"], &again["release"]),
        (&json!(outcome), &json!(week)),
        "{when}: {again}"
    );
    assert_eq!(
        essence(project, week),
        expected[week as usize],
        "{when}: after running again"
    );
    assert_whole(project, when);
    left
}

#[test]
fn a_kill_at_any_step_leaves_the_old_or_the_new_release() {
    let expected = undisturbed();
    let mut kills: BTreeMap<(String, u64), usize> = BTreeMap::new();
    for week in [1, 2] {
        let steps = passed(&ready(week));
        let distinct: BTreeSet<&str> = steps.iter().map(String::as_str).collect();
        assert_eq!(distinct, BTreeSet::from(STEPS), "the steps that a refresh passes");
        for step in STEPS {
            let times = steps.iter().filter(|s| *s == step).count();
            for nth in BTreeSet::from([1, times]) {
                let project = ready(week);
                run_killed_at(&project, step, nth);
                let when = format!("killed at {step}, pass {nth} of {times}, release {week}");
                let visible = STEPS.iter().position(|s| *s == VISIBLE_FROM) <= STEPS.iter().position(|s| *s == step);
                assert_eq!(release(&project) == week, visible, "{when}");
                let mut killed = 1;
                if !visible {
                    // The same again, on what the dead one left.
                    run_killed_at(&project, step, 1);
                    killed += 1;
                }
                check_and_finish(&project, week, &expected, &when);
                *kills.entry((step.to_owned(), week)).or_default() += killed;
            }
        }
    }
    println!("kills of a live process, per step:");
    for step in STEPS {
        let of = |week| kills.get(&(step.to_owned(), week)).copied().unwrap_or(0);
        println!("  {step:22} first release {:2}, second release {:2}", of(1), of(2));
        assert!(of(1) > 0 && of(2) > 0, "{step} was not killed");
    }
    println!("  {} in all", kills.values().sum::<usize>());
}

#[test]
fn a_kill_at_any_time_leaves_the_old_or_the_new_release() {
    let expected = undisturbed();
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(20_261_123);
    println!("SEED={seed}");
    let mut random = Random(seed);
    let began = Instant::now();
    ready(1).run(["run", "pipeline.yaml"]).expect_code(0);
    let mut usual = began.elapsed();
    let (mut kills, mut old, mut tries) = (0, 0, 0);
    while kills < 10 && tries < 60 {
        tries += 1;
        let week = 1 + random.below(2);
        let project = ready(week);
        let both = tries % 3 == 0;
        let mut running: Vec<Child> = (0..if both { 2 } else { 1 }).map(|_| start(&project)).collect();
        let after = Duration::from_micros(random.below(usual.as_micros() as u64 + 1));
        sleep(after);
        for child in &mut running {
            child.kill().unwrap();
        }
        let live = running
            .iter_mut()
            .filter_map(|c| c.wait().unwrap().signal())
            .filter(|s| *s == 9)
            .count();
        let when = format!("SEED={seed}, try {tries}: {live} killed after {after:?}");
        let left = check_and_finish(&project, week, &expected, &when);
        if live == 0 {
            // Measured while the machine was busy.
            usual = usual * 3 / 4;
            continue;
        }
        kills += 1;
        old += usize::from(left != week);
    }
    println!("{kills} random kills of a live process in {tries} tries; {old} left the old release");
    assert!(kills >= 10, "only {kills} of {tries} tries met a live process");
}

#[test]
fn a_second_refresh_is_told_who_runs() {
    let project = project();
    let rows: String = (0..60_000).map(|n| format!("P{},{n},K,{}\n", n % 997, n % 7)).collect();
    project.write("inbox/lis/lis_2026-01-01.csv", format!("mrn,no,test,value\n{rows}"));
    let log = project.at("steps.log");
    let mut command = project.command(["run", "pipeline.yaml", "--format", "json"]);
    let first = command
        .env("CLINMILL_STEPS_LOG", &log)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = first.id().to_string();
    let began = Instant::now();
    while !fs::read_to_string(&log).is_ok_and(|steps| steps.contains("refresh.discovered")) {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "the first refresh does not begin"
        );
        sleep(Duration::from_millis(1));
    }
    signal("-STOP", &pid);
    let second = project.run(["run", "pipeline.yaml"]);
    let third = project.run(["run", "pipeline.yaml", "--format", "json"]);
    let steps = fs::read_to_string(&log).unwrap();
    signal("-CONT", &pid);
    let first = first.wait_with_output().unwrap();
    assert!(
        !steps.contains("refresh.committed"),
        "the first one was over too soon to show anything"
    );
    assert_eq!(
        (second.code, third.code),
        (Some(5), Some(5)),
        "{}{}",
        second.stderr,
        third.stderr
    );
    assert!(
        second.stderr.contains("another refresh holds the vault's lease"),
        "{}",
        second.stderr
    );
    assert!(second.stderr.contains(&pid), "{}", second.stderr);
    assert_eq!(third.json()["error"]["code"], "LEASE_HELD");
    assert!(first.status.success());
    assert_eq!(release(&project), 1);
    project.run(["run", "pipeline.yaml"]).expect_code(0);
    assert_eq!(release(&project), 1);
}

#[test]
fn first_refreshes_that_begin_at_once_make_one_vault() {
    let expected = undisturbed();
    let mut refused = 0;
    for round in 0..10 {
        let project = ready(1);
        let running: Vec<Child> = (0..3).map(|_| start(&project)).collect();
        let codes: Vec<Option<i32>> = running.into_iter().map(|mut c| c.wait().unwrap().code()).collect();
        assert!(codes.contains(&Some(0)), "round {round}: {codes:?}");
        assert!(
            codes.iter().all(|c| [Some(0), Some(5)].contains(c)),
            "round {round}: {codes:?}"
        );
        refused += codes.iter().filter(|c| **c == Some(5)).count();
        check_and_finish(&project, 1, &expected, &format!("round {round}: {codes:?}"));
    }
    println!("{refused} of 30 refreshes were told that another one runs");
    assert!(refused > 0, "they never met");
}

fn start(project: &Project) -> Child {
    project
        .command(["run", "pipeline.yaml"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn signal(name: &str, pid: &str) {
    assert!(
        std::process::Command::new("kill")
            .args([name, pid])
            .status()
            .unwrap()
            .success()
    );
}

/// SplitMix64 (Steele, Lea, Flood 2014), for times that can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}
