//! `verify` names every published object that was changed or cut, whichever byte it is.

use super::{LIS, manifest, project, yaml};
use clinmill_tests::Project;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A dataset of two tables and two releases.
fn dataset() -> Project {
    let tables = "  result: { from: lis }\n  copy: { from: lis }\n";
    let project = project(&yaml(LIS, "", tables));
    for (n, rows) in ["A1,1,4.1\nB2,2,3.9\n", "A1,1,5.0\nC3,3,4.4\n"].into_iter().enumerate() {
        project.write(format!("inbox/{n}.csv"), format!("mrn,no,value\n{rows}"));
        project.run(["run", "pipeline.yaml"]).expect_code(0);
    }
    assert_eq!(manifest(&project, 2)["tables"]["copy"]["row_count"], 4 - 1);
    project
}

/// Every file below a folder, relative to it.
fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                all.push(entry.path().strip_prefix(folder).unwrap().to_path_buf());
            }
        }
    }
    all.sort();
    all
}

#[test]
fn every_changed_or_cut_object_is_named() {
    let project = dataset();
    project.run(["verify", "file:out"]).expect_code(0);
    let out = project.at("out");
    let all = objects(&out);
    let manifests = all.iter().filter(|path| path.starts_with("_releases")).count();
    assert_eq!(manifests, 3, "{all:?}");
    // Two tables; each release has a base and changes of each.
    assert_eq!(all.len() - manifests, 8, "{all:?}");
    let mut damages = 0;
    for object in &all {
        let path = out.join(object);
        let whole = fs::read(&path).unwrap();
        let name = object.to_str().unwrap();
        let flip = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            (format!("a bit of byte {at} flipped"), bytes)
        };
        let cut = |to: usize| (format!("cut to {to} bytes"), whole[..to].to_vec());
        let last = whole.len() - 1;
        let mut cases = vec![
            flip(0),
            flip(whole.len() / 2),
            flip(last),
            cut(0),
            cut(1),
            cut(whole.len() / 2),
            cut(last),
        ];
        if name.ends_with("latest.json") {
            // A hint has no checksum of its own: every byte of it.
            cases.extend((1..last).map(flip));
        }
        for (what, bytes) in cases {
            fs::write(&path, bytes).unwrap();
            let found = project.run(["verify", "file:out"]);
            assert_eq!(found.code, Some(1), "{name}, {what}:\n{}{}", found.stdout, found.stderr);
            let named = format!("{}{}", found.stdout, found.stderr);
            assert!(named.contains(name), "{name}, {what}, is not named:\n{named}");
            damages += 1;
        }
        fs::write(&path, &whole).unwrap();
        fs::rename(&path, path.with_extension("gone")).unwrap();
        if !name.ends_with("latest.json") {
            // The hint is not needed; everything else is.
            let found = project.run(["verify", "file:out"]).expect_code(1);
            assert!(
                found.stdout.contains(name),
                "{name}, missing, is not named:\n{}",
                found.stdout
            );
            damages += 1;
        }
        fs::rename(path.with_extension("gone"), &path).unwrap();
    }
    project.run(["verify", "file:out"]).expect_code(0);
    println!("{damages} damages of {} objects, each named", all.len());
}

#[test]
fn a_foreign_file_is_named_and_an_orphan_is_no_damage() {
    let project = dataset();
    project.write("out/_releases/notes.txt", "x");
    let found = project.run(["verify", "file:out"]).expect_code(1);
    assert!(found.stdout.contains("_releases/notes.txt"), "{}", found.stdout);
    fs::remove_file(project.at("out/_releases/notes.txt")).unwrap();
    let orphan = format!("tables/result/base/{}.parquet", "0".repeat(64));
    project.write(Path::new("out").join(&orphan), "x");
    project.write("out/_probe/cut-off", "x");
    let found = project.run(["verify", "file:out"]).expect_code(0);
    assert!(found.stdout.contains(&orphan), "{}", found.stdout);
}

/// A gate looks at what is there before: it stands in the way of no repair.
#[test]
fn a_damaged_base_is_made_anew_beside_gates() {
    for is_gone in [false, true] {
        let project = dataset();
        let text = fs::read_to_string(project.at("pipeline.yaml")).unwrap();
        project.write(
            "pipeline.yaml",
            format!("{text}gates:\n  filled: {{ check: not_null, column: result.value }}\n"),
        );
        let base = manifest(&project, 2)["tables"]["result"]["base"][0]["path"].clone();
        let path = project.at("out").join(base.as_str().unwrap());
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] ^= 1;
        match is_gone {
            true => fs::remove_file(&path).unwrap(),
            false => fs::write(&path, bytes).unwrap(),
        }
        project.write("inbox/2.csv", "mrn,no,value\nD4,4,4.6\n");
        let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
        assert!(run.stderr.contains("run --full"), "{}", run.stderr);
        project.run(["run", "pipeline.yaml", "--full"]).expect_code(0);
        assert_eq!(manifest(&project, 3)["tables"]["result"]["row_count"], 4);
    }
}

#[test]
fn a_damaged_base_is_not_published_again_and_made_anew() {
    let project = dataset();
    let base = manifest(&project, 2)["tables"]["result"]["base"][0]["path"].clone();
    let path = project.at("out").join(base.as_str().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] ^= 1;
    fs::write(&path, bytes).unwrap();
    project.write("inbox/2.csv", "mrn,no,value\nD4,4,4.6\n");
    let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
    assert!(run.stderr.contains("does not fit its digest"), "{}", run.stderr);
    assert!(run.stderr.contains("run --full"), "{}", run.stderr);
    project.run(["run", "pipeline.yaml", "--full"]).expect_code(0);
    let release = manifest(&project, 3);
    assert_eq!(release["tables"]["result"]["row_count"], 4, "{release}");
    let found = project.run(["verify", "file:out"]);
    assert!(!found.stdout.contains("00000003.json"), "{}", found.stdout);
    // With whole bases, changes of old are not needed; a base that is gone is made from them.
    for (number, kind) in [(3, "changes"), (4, "base")] {
        let files = &manifest(&project, number)["tables"]["copy"][kind];
        let path = project.at("out").join(files[0]["path"].as_str().unwrap());
        let away = path.with_extension("away");
        fs::rename(&path, &away).unwrap();
        project.run(["run", "pipeline.yaml", "--full"]).expect_code(0);
        let table = &manifest(&project, number + 1)["tables"]["copy"];
        let base = project.at("out").join(table["base"][0]["path"].as_str().unwrap());
        assert!(base.is_file(), "{kind}");
        assert_eq!(table["row_count"], 4, "{kind}");
        fs::rename(away, path).unwrap();
    }
    let found = project.run(["verify", "file:out"]);
    assert_eq!(
        found.stdout.matches("damaged  ").count(),
        1,
        "release 2 alone: {}",
        found.stdout
    );
}

#[test]
fn a_damaged_shard_of_the_vault_ends_the_refresh() {
    let project = dataset();
    let vault = project.at("vault");
    let shards: Vec<PathBuf> = objects(&vault)
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "parquet"))
        .collect();
    for kind in ["events", "index"] {
        // Of the indexes, the one before the last is kept, too.
        let of_kind: Vec<PathBuf> = shards
            .iter()
            .filter(|p| p.starts_with(kind))
            .map(|p| vault.join(p))
            .collect();
        let whole: Vec<Vec<u8>> = of_kind.iter().map(|path| fs::read(path).unwrap()).collect();
        for (path, whole) in of_kind.iter().zip(&whole) {
            let mut bytes = whole.clone();
            bytes[whole.len() / 3] ^= 1;
            fs::write(path, bytes).unwrap();
        }
        project.write("inbox/2.csv", "mrn,no,value\nD4,4,4.6\n");
        let run = project.run(["run", "pipeline.yaml"]).expect_code(1);
        let is_named = |path: &PathBuf| run.stderr.contains(path.file_name().unwrap().to_str().unwrap());
        assert!(of_kind.iter().any(is_named), "{kind}: {}", run.stderr);
        assert!(run.stderr.contains("from a backup"), "{}", run.stderr);
        if kind == "events" {
            let rows = clinmill_tests::state::rows_of(&project.at("out"), &manifest(&project, 2), "result");
            let row = rows.keys().next().unwrap();
            let run = project
                .run(["trace", "pipeline.yaml", "result", row, "--format", "json"])
                .expect_code(1);
            let error = &run.json()["error"];
            let said = error["message"].as_str().unwrap();
            assert_eq!(error["code"], "DAMAGED", "{error}");
            assert!(
                said.starts_with("events/") && said.contains("does not fit its digest"),
                "{error}"
            );
            assert!(!said.contains("Parquet") && !said.contains("rrow"), "{error}");
        }
        for (path, whole) in of_kind.iter().zip(whole) {
            fs::write(path, whole).unwrap();
        }
    }
    project.run(["run", "pipeline.yaml"]).expect_code(0);
}
