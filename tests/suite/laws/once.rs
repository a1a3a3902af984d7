//! L4: each input counts exactly once, and a rerun without news makes no release.

use super::weekly;
use clinmill_engine::refresh::Outcome;
use clinmill_model::Digest;
use clinmill_tests::{
    hospital::{self, DropFile, WEEKS},
    site::tree,
};
use std::collections::BTreeSet;

/// What makes two files one input: their content, and what the source's glob reads from the path.
fn identity(file: &DropFile) -> (String, Digest, String) {
    let captured = match file.kind() {
        "notes" | "registry" => file.path.clone(),
        _ => String::new(),
    };
    (file.kind().to_owned(), Digest::of(&file.bytes), captured)
}

#[test]
fn each_input_counts_once_also_when_it_is_sent_again() {
    let weekly = weekly();
    let mut known = BTreeSet::new();
    for (week, report) in (1..=WEEKS).zip(&weekly.reports) {
        let files: Vec<&DropFile> = hospital::files().iter().filter(|f| f.week == week).collect();
        let new = files.iter().filter(|f| known.insert(identity(f))).count();
        assert_eq!(report.counts.inputs, new as u64, "week {week}");
        if week == 2 {
            assert_eq!(new + 2, files.len(), "two files are sent again in week 2");
        }
    }
    let session = weekly.site.session();
    let entries: BTreeSet<_> = session
        .ledger
        .entries()
        .iter()
        .map(|e| (&e.source, e.sha256, e.captures.expose()))
        .collect();
    assert_eq!(entries.len(), known.len());
    assert_eq!(session.ledger.entries().len(), known.len());
}

#[test]
fn a_rerun_without_news_makes_no_release() {
    let site = hospital::site();
    assert_eq!(site.refresh().outcome, Outcome::NoOp, "an empty inbox");
    assert!(site.releases().is_empty());
    hospital::put_week(&site, 1);
    assert_eq!(site.refresh().outcome, Outcome::Released);
    let before = tree(&site.dataset());
    let report = site.refresh();
    assert_eq!((report.outcome, report.release), (Outcome::NoOp, 1));
    assert_eq!(report.counts.read, 0);

    // The same again under other paths is no news; nor is the loss of what was read.
    hospital::files()
        .iter()
        .filter(|f| f.week == 1)
        .for_each(|f| f.put(&site, "sent-again"));
    site.remove("inbox/week1");
    assert_eq!(site.refresh().outcome, Outcome::NoOp);
    site.remove("inbox");
    assert_eq!(site.refresh().outcome, Outcome::NoOp);
    assert!(tree(&site.dataset()) == before, "the dataset is as it was");
}
