//! The fuzz bodies over mutations of the repository's own files: a second each by default, as long as
//! `CLINMILL_FUZZ_SECONDS` says where that is set. A failure names its seed.

use clinmill_catalog::env::SeededRandom;
use clinmill_tests::root;
use clinmill_tests_abi::{build_c, fuzz, library};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

fn seconds() -> Duration {
    let set = std::env::var("CLINMILL_FUZZ_SECONDS").ok();
    Duration::from_secs(set.and_then(|s| s.parse().ok()).unwrap_or(1))
}

/// Every YAML file below a folder that `wanted` takes.
fn yaml(folder: &Path, wanted: &dyn Fn(&Path) -> bool, found: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            yaml(&path, wanted, found);
        } else if path.extension().is_some_and(|e| e == "yaml") && wanted(&path) {
            found.push(fs::read(&path).unwrap());
        }
    }
}

/// Cuts, doubles, swaps and replaces pieces; pieces of other files come in too.
fn mutated(corpus: &[Vec<u8>], random: &SeededRandom) -> Vec<u8> {
    const PIECES: [&[u8]; 14] = [
        b": ",
        b"\n",
        b"- ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"'",
        b"|\n",
        b"#",
        b"null",
        b"  ",
        "血".as_bytes(),
    ];
    let pick = |n: usize| random.below(n as u64) as usize;
    let mut text = corpus[pick(corpus.len())].clone();
    for _ in 0..=pick(4) {
        let at = pick(text.len() + 1);
        let end = (at + pick(24)).min(text.len());
        match pick(4) {
            0 => drop(text.drain(at..end)),
            1 => {
                let piece = PIECES[pick(PIECES.len())].to_vec();
                text.splice(at..at, piece);
            }
            2 => {
                let piece = text[at..end].to_vec();
                let to = pick(text.len() + 1);
                text.splice(to..to, piece);
            }
            _ => {
                let other = &corpus[pick(corpus.len())];
                let from = pick(other.len() + 1);
                let piece = other[from..(from + pick(40)).min(other.len())].to_vec();
                text.splice(at..end, piece);
            }
        }
    }
    text
}

fn run(name: &str, corpus: &[Vec<u8>], body: fn(&[u8])) {
    assert!(!corpus.is_empty());
    corpus.iter().for_each(|text| body(text));
    let (began, limit) = (Instant::now(), seconds());
    let mut n = 0;
    while began.elapsed() < limit {
        let text = mutated(corpus, &SeededRandom::new(n));
        let one = Instant::now();
        let failed = std::panic::catch_unwind(|| body(&text)).is_err();
        assert!(!failed, "{name}: seed {n}:\n{}", String::from_utf8_lossy(&text));
        assert!(
            one.elapsed() < Duration::from_secs(10),
            "{name}: seed {n} took {:?}",
            one.elapsed()
        );
        n += 1;
    }
    println!("{name}: {n} texts");
    assert!(n > 10, "{name}: {n} texts only");
}

#[test]
fn pipeline_files() {
    let mut corpus = Vec::new();
    let named = |p: &Path| p.ends_with("pipeline.yaml") || p.ends_with("sample.yaml");
    for folder in ["pipelines", "plugins", "core/cli/templates", "tests/wrong"] {
        yaml(&root().join(folder), &named, &mut corpus);
    }
    run("pipeline files", &corpus, fuzz::pipeline);
}

#[test]
fn test_files() {
    let mut corpus = Vec::new();
    let of_tests = |p: &Path| p.parent().is_some_and(|p| p.ends_with("tests"));
    yaml(&root().join("pipelines"), &of_tests, &mut corpus);
    run("test files", &corpus, fuzz::cases);
}

#[test]
fn options_of_plugins() {
    let corpus = [
        r#"{"encoding":"gb18030","subject":{"id":"a","issuer":"M"},"key":["a"],"version":"v","columns":{"a":"b","c":{"name":"d","type":"date","format":"yyyy-mm-dd"}}}"#,
        r#"{"subject":{"id":"PID-3.1","issuer":"PID-3.4"},"messages":["ADT","ORU^R01"],"records":{"r":{"per":"OBX","key":["a"],"fields":{"a":"OBX-5"}}}}"#,
        r#"{"format":"jsonl","encoding":"utf-8","subject":{"id":"mrn","issuer":"M"},"key":["n"],"columns":{"a":"a"}}"#,
        r#"{"set":{"n":{"from":"a","type":"decimal","scale":3,"on_error":"null"}}}"#,
        r#"{"column":"a","formats":["iso","yyyy/m/d"],"date":true}"#,
        r#"{"column":"a","map":"maps:x","as":"loinc","unmapped":"keep"}"#,
    ]
    .map(|text| text.as_bytes().to_vec());
    run("options", &corpus, fuzz::options);
}

#[test]
fn headers_of_libraries() {
    // A small library, so that most of what is changed matters.
    let place = tempfile::tempdir().unwrap();
    let small = place.path().join("small.so");
    let source = root().join("tests/abi/c_plugin/text_length.c");
    let built = build_c(&source, &root().join("core/abi/include"), &small, &["-g0", "-s"]);
    let file = match built {
        Some(()) => small,
        None => library("hostile"),
    };
    run("headers", &[fs::read(file).unwrap()], fuzz::header);
}

#[test]
fn locks_of_plugins() {
    let digest = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    let lock = format!(
        "version: 1\nplugins:\n  - name: units\n    version: \"0.3.0\"\n    files:\n      x86_64-unknown-linux-gnu: {digest}\n      \
         any: \"{digest}\"\n  - name: own\n    version: process\n    files: {{}}\n"
    );
    let corpus = [lock.into_bytes(), b"version: 1\nplugins: []\n".to_vec()];
    run("locks", &corpus, fuzz::lock);
}
