//! The published table of patients evaluated for liver transplantation in Leipzig, through `leipzig.yaml`: OMOP
//! measurements and MELD, reckoned again by a script without clinmill.

use super::{python, script};
use clinmill_tests::{Run, root, shared_data, site::Site};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const FOLDER: &str = "pipelines/liver-transplant";

fn file(name: &str) -> String {
    fs::read_to_string(root().join(FOLDER).join(name)).unwrap()
}

/// The text between two transforms of a pipeline file.
fn between<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    let start = text.find(from).unwrap();
    let length = text[start..].find(to).unwrap();
    &text[start..start + length]
}

/// What is tested on the real table is what the pipeline beside it does.
#[test]
fn both_pipelines_reckon_scores_with_the_same_queries() {
    let (own, real) = (file("pipeline.yaml"), file("leipzig.yaml"));
    for (from, ends) in [
        ("  scored:\n", ["  transplants:\n", "  evaluations:\n"]),
        (
            "             cast(case when m.meld_i > 40",
            [",\n             i.immunosuppressants", "\n      from patients p"],
        ),
    ] {
        let [own, real] = [between(&own, from, ends[0]), between(&real, from, ends[1])];
        assert!(own.lines().count() > 15 && own == real, "{own}\n---\n{real}");
    }
}

const TABLE: &str = "eldd_first200.csv";
const CHECK: &str = include_str!("leipzig_check.py");

/// The pipeline, changed like this, over the published table.
fn site(raw: &Path, change: impl FnOnce(String) -> String) -> Site {
    // The pipeline asks for a number of the row: the publisher took all identifiers away.
    let text = fs::read_to_string(raw.join(TABLE)).unwrap();
    let mut lines = text.lines();
    let mut numbered = format!("patient,{}\n", lines.next().unwrap());
    for (number, line) in lines.enumerate() {
        numbered += &format!("{},{line}\n", number + 1);
    }
    let site = Site::of_pipeline("liver-transplant");
    let pipeline = change(file("leipzig.yaml").replace("key: auto", "key: { $secret: vault_key }"));
    site.edit(|_| pipeline);
    site.put("leipzig/eldd.csv", &numbered);
    site
}

/// The arguments of the script, after a refresh.
fn arguments(raw: &Path, site: &Site) -> [PathBuf; 3] {
    let dataset = site.dataset();
    let manifest = dataset.join("_releases/00000001.json");
    [raw.join(TABLE), dataset, manifest]
}

#[test]
fn the_table_of_leipzig_has_the_scores_that_an_independent_script_has() {
    let Some(raw) = shared_data("tables-liver-transplant-leipzig") else {
        return;
    };
    let site = site(&raw, |text| text);
    let report = site.refresh();
    assert_eq!((report.counts.rejected, site.quarantine().len()), (0, 0));
    let json = site.manifest(1);
    let rows = |table: &str| json["tables"][table]["row_count"].as_u64();
    assert_eq!(
        ["person", "liver_evaluation"].map(rows),
        [Some(200), Some(200)],
        "one row per patient"
    );
    let Some(python) = python() else { return };
    let told = script(python, CHECK, &arguments(&raw, &site).each_ref().map(PathBuf::as_path));
    assert_eq!(told["measurement"].as_u64(), rows("measurement"));
    assert_eq!(
        (told["meld"].as_u64(), told["without"].as_u64()),
        (Some(199), Some(1)),
        "{told}"
    );
    // Rounded factors (88.4 and 17.1) may move a score that stands between two whole numbers, by one.
    assert!(told["moved_by_rounded_factors"].as_u64() < Some(4), "{told}");
}

#[test]
fn a_planted_factor_is_noticed() {
    let Some(raw) = shared_data("tables-liver-transplant-leipzig") else {
        return;
    };
    let Some(python) = python() else { return };
    let site = site(&raw, |text| {
        let planted = text.replace(
            "case when b.inr < 1 then 1 else b.inr end as meld_inr",
            "case when b.inr < 1 then 1 else b.inr * 10 end as meld_inr",
        );
        assert_ne!(planted, text);
        planted
    });
    site.refresh();
    let run: Run = Command::new(python)
        .args(["-c", CHECK])
        .args(arguments(&raw, &site))
        .output()
        .unwrap()
        .into();
    let run = run.expect_code(1);
    assert!(run.stderr.starts_with("scores: "), "{}", run.stderr);
}
