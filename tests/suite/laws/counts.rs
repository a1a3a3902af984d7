//! L6: every record read is a row, a duplicate, a named rejection or a declared filter.

use super::weekly;
use clinmill_catalog::vault::QuarantineRecord;
use clinmill_tests::{
    hospital::{self, DropFile, WEEKS},
    readers,
};
use encoding_rs::{GB18030, UTF_8};
use std::collections::{BTreeMap, BTreeSet};

/// Records of a file, counted by the tests' own readers: of an HL7 message one for each segment that the pipeline
/// names and one for a merge; one for each message that is broken.
fn records(file: &DropFile) -> u64 {
    let count = match file.kind() {
        "hl7" => readers::hl7(&file.bytes, GB18030)
            .iter()
            .map(|message| {
                let of = |name: &str| message.iter().filter(|s| s.name() == name).count();
                let whole = message[0].name() == "MSH" && !message[0].field(12).is_empty();
                let readable = !message.iter().any(|s| s.text.contains('\u{fffd}'));
                match whole && readable {
                    true => of("PID") + of("PV1") + of("OBX") + of("MRG"),
                    false => 1,
                }
            })
            .sum(),
        "lis" => readers::csv(&file.bytes, GB18030).len(),
        "registry" => readers::csv(&file.bytes, UTF_8).len(),
        "dialogue" => file
            .bytes
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .count(),
        _ => 1,
    };
    count as u64
}

fn source_of(kind: &str) -> &str {
    match kind {
        "hl7" => "adt",
        kind => kind,
    }
}

#[test]
fn counts_balance_and_agree_with_a_count_of_the_files() {
    let weekly = weekly();
    let mut seen: BTreeSet<(&str, &[u8])> = BTreeSet::new();
    for (week, report) in (1..=WEEKS).zip(&weekly.reports) {
        let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
        for file in hospital::files().iter().filter(|f| f.week == week) {
            // The same note of two patients is two records; a file that is sent again is none.
            if file.kind() == "notes" || seen.insert((file.kind(), &file.bytes)) {
                *wanted.entry(source_of(file.kind())).or_default() += records(file);
            }
        }
        let mut total = [0; 5];
        for (name, s) in &report.sources {
            assert_eq!(
                s.read,
                s.written + s.duplicates + s.rejected + s.filtered,
                "{name} of week {week}"
            );
            assert_eq!(
                s.read,
                wanted.get(name.as_str()).copied().unwrap_or_default(),
                "{name} of week {week}"
            );
            assert_eq!(s.rejected, s.rejected_by.values().sum::<u64>());
            assert_eq!(s.filtered, s.filtered_by.values().sum::<u64>());
            total
                .iter_mut()
                .zip([s.read, s.written, s.duplicates, s.rejected, s.filtered])
                .for_each(|(t, n)| *t += n);
        }
        let c = report.counts;
        assert_eq!([c.read, c.written, c.duplicates, c.rejected, c.filtered], total);
        let counts = &weekly.site.manifest(week as u64)["counts"];
        for (name, n) in ["read", "written", "duplicates", "rejected", "filtered"]
            .iter()
            .zip(total)
        {
            assert_eq!(counts[*name], n, "{name} in the manifest of release {week}");
        }
    }
    for entry in weekly.site.session().ledger.entries() {
        assert!(entry.counts.balances());
    }
}

#[test]
fn every_broken_record_is_in_quarantine_and_nothing_else() {
    let weekly = weekly();
    let quarantine = weekly.site.quarantine();
    let at_ingest = quarantine.iter().filter(|r| r.stage == "ingest").count() as u64;
    assert_eq!(
        at_ingest,
        weekly.reports.iter().map(|r| r.counts.rejected).sum::<u64>(),
        "none is lost"
    );
    let ids: BTreeSet<&str> = quarantine.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids.len(), quarantine.len(), "each has its own id");

    let truth = hospital::truth();
    let broken: Vec<&str> = truth["weeks"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|w| w["broken"].as_array().into_iter().flatten())
        .filter_map(|b| b["file"].as_str())
        .collect();
    assert!(broken.len() >= 11);
    let path_of = |r: &QuarantineRecord| r.path.as_ref().map(|p| p.expose().clone()).unwrap_or_default();
    for file in &broken {
        let found: Vec<_> = quarantine.iter().filter(|r| path_of(r).ends_with(file)).collect();
        // A message without a patient's number is rejected record by record.
        let records = if file.ends_with("oru_20260318.hl7") { 2 } else { 1 };
        assert_eq!(found.len(), records, "{file}");
        for record in found {
            let size = std::fs::metadata(weekly.site.at("inbox").join(file)).unwrap().len();
            assert!(!record.code.is_empty() && !record.message.is_empty());
            assert!(
                record.offset + record.length <= size && (record.length > 0 || size == 0),
                "{file}: its place"
            );
        }
    }
    assert_eq!(quarantine.len(), broken.len() + 1, "what is whole is not in quarantine");
}
