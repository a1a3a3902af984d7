//! Public HL7 v2 messages of many senders: every segment that the pipeline names is counted, and the tables hold what
//! the messages say.

use clinmill_engine::refresh::Outcome;
use clinmill_tests::{
    readers::{self, Message},
    root,
    site::{Site, tree},
    state::text,
};
use encoding_rs::UTF_8;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

fn inbox() -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = root().join("pipelines/hl7-elr/inbox");
    let files = tree(&folder)
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|e| e == "hl7"));
    files
        .map(|(path, bytes)| (path.strip_prefix(&folder).unwrap().to_path_buf(), bytes))
        .collect()
}

fn messages(bytes: &[u8]) -> Vec<Message> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut messages = readers::hl7(bytes, UTF_8);
    // Envelopes of batches are no messages; lines that are no segment belong to the text of the one before.
    let is_segment = |name: &str| name.len() == 3 && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    for message in &mut messages {
        message.retain(|s| is_segment(s.name()) && !["FHS", "BHS", "BTS", "FTS"].contains(&s.name()));
    }
    messages.retain(|m| !m.is_empty());
    messages
}

/// It has a header whose delimiters can be told apart.
fn is_whole(message: &Message) -> bool {
    let marks = message[0].field(2);
    let different: BTreeSet<char> = marks.chars().collect();
    message[0].name() == "MSH" && message[0].text.split('|').count() > 2 && different.len() == marks.len()
}

/// It says whom it is about.
fn is_known(message: &Message) -> bool {
    message
        .iter()
        .find(|s| s.name() == "PID")
        .is_some_and(|pid| !pid.component(3, 1).is_empty())
}

#[test]
fn every_segment_is_a_row_or_accounted_for() {
    let site = Site::of_pipeline("hl7-elr");
    let files = inbox();
    for (path, bytes) in &files {
        site.put(&format!("inbox/{}", path.display()), bytes);
    }
    let report = site.refresh();
    assert_eq!((report.outcome, report.release), (Outcome::Released, 1));
    let once: BTreeSet<&Vec<u8>> = files.values().collect();
    assert_eq!(report.counts.inputs, once.len() as u64);

    // Of a broken message one record is rejected, of a message about nobody each.
    let (mut segments, mut broken, mut merges) = (0, 0, 0);
    let (mut patients, mut results) = (BTreeSet::new(), BTreeMap::new());
    let mut deleted = BTreeSet::new();
    for bytes in once {
        for message in messages(bytes) {
            let count = |name: &str| message.iter().filter(|s| s.name() == name).count() as u64;
            let records = count("PID") + count("PV1") + count("OBX");
            if !is_whole(&message) || !is_known(&message) {
                broken += if is_whole(&message) { records } else { 1 };
                continue;
            }
            segments += records;
            merges += count("MRG");
            let mut patient = (String::new(), String::new());
            // Everything in an A29 is deleted.
            let deletes = message[0].component(9, 2) == "A29";
            let (mut panel, mut reported, mut cancelled) = ((String::new(), String::new()), "", deletes);
            for s in &message {
                match s.name() {
                    "PID" => {
                        patient = (s.component(3, 1), s.component(3, 4));
                        patients.insert(patient.clone());
                        if deletes {
                            deleted.insert(patient.clone());
                        }
                    }
                    "OBR" => {
                        panel = (s.component(3, 1), s.component(4, 1));
                        reported = s.field(22);
                        cancelled = deletes || s.field(25) == "X";
                    }
                    // Ordered, pending, not asked for: no result is there.
                    "OBX" if ["I", "O", "N"].contains(&s.field(11)) => {}
                    "OBX" => {
                        // Without an order number a result is known by all it says.
                        let said = if panel.0.is_empty() {
                            s.text.clone()
                        } else {
                            String::new()
                        };
                        let key = (
                            patient.clone(),
                            panel.clone(),
                            s.component(3, 1),
                            s.field(4).to_owned(),
                            said,
                        );
                        let times = [reported, s.field(14), message[0].field(7)];
                        let time = times
                            .iter()
                            .find(|t| !t.is_empty())
                            .copied()
                            .unwrap_or_default()
                            .to_owned();
                        let version = (time, cancelled || ["D", "W", "X"].contains(&s.field(11)));
                        let known = results.entry(key).or_insert_with(|| version.clone());
                        *known = version.max(known.clone());
                    }
                    _ => {}
                }
            }
        }
    }
    let counts = report.counts;
    assert_eq!(counts.read, segments + broken + merges);
    assert_eq!(
        counts.read,
        counts.written + counts.duplicates + counts.rejected + counts.filtered
    );
    assert_eq!(counts.rejected, broken);
    // The A29 is as old as other messages about its patient: nothing says which of them is the latest.
    let rows = site.rows(1, "patient").len();
    assert!(
        (patients.len() - deleted.len()..=patients.len()).contains(&rows),
        "{rows}"
    );
    let rows = site.rows(1, "result");
    results.retain(|_, (_, withdrawn)| !*withdrawn);
    assert_eq!(rows.len(), results.len());
    for row in rows.values() {
        let of = |column: &str| text(row, column).to_owned();
        let panel = (of("order_no"), of("panel_code"));
        let known = results
            .keys()
            .any(|(_, p, test, sub, _)| *p == panel && *test == of("test_code") && *sub == of("sub_id"));
        assert!(known, "{panel:?}");
    }
    let quarantine = site.quarantine();
    assert_eq!(quarantine.len() as u64, broken);
    assert!(quarantine.iter().all(|r| !r.code.is_empty() && r.path.is_some()));
    assert_eq!(site.refresh().outcome, Outcome::NoOp);
}
