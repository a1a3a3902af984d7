//! The sample hospital: its drops as they are committed, and what is true of it.

use crate::{
    readers, root,
    site::{Site, tree},
};
use encoding_rs::{GB18030, UTF_8};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::OnceLock,
};

/// How many weeks there are.
pub const WEEKS: usize = 3;

/// One file of the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropFile {
    /// From 1.
    pub week: usize,
    /// Its path below the week's folder.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl DropFile {
    /// Puts it into the inbox, below a folder of this name.
    pub fn put(&self, site: &Site, folder: &str) {
        site.put(&format!("inbox/{folder}/{}", self.path), &self.bytes);
    }

    /// `hl7`, `lis`, `registry`, `notes` or `dialogue`.
    pub fn kind(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }
}

/// Every file, week by week.
///
/// # Panics
/// When the folder is not there.
pub fn files() -> &'static [DropFile] {
    static FILES: OnceLock<Vec<DropFile>> = OnceLock::new();
    FILES.get_or_init(|| {
        let inbox = root().join("pipelines/carotid-stenting/inbox");
        let files: Vec<DropFile> = (1..=WEEKS)
            .flat_map(|week| {
                let folder = inbox.join(format!("week{week}"));
                tree(&folder).into_iter().map(move |(path, bytes)| {
                    let path = path
                        .strip_prefix(&folder)
                        .unwrap_or(&path)
                        .to_string_lossy()
                        .into_owned();
                    DropFile { week, path, bytes }
                })
            })
            .collect();
        assert!(files.len() > 50, "the sample hospital's inbox is not there");
        files
    })
}

/// A site with the hospital's pipeline and an empty inbox.
pub fn site() -> Site {
    Site::of_pipeline("carotid-stenting")
}

/// Puts a week's files into the inbox.
pub fn put_week(site: &Site, week: usize) {
    files()
        .iter()
        .filter(|f| f.week == week)
        .for_each(|f| f.put(site, &format!("week{week}")));
}

/// The truth file.
///
/// # Panics
/// When it is not there.
pub fn truth() -> Value {
    let path = root().join("pipelines/carotid-stenting/truth.json");
    let text = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("truth.json is no JSON: {error}"))
}

/// The rows of a list of the truth file, columns by name.
pub fn truths(truth: &Value, list: &str) -> Vec<BTreeMap<String, Value>> {
    let rows = truth[list]["rows"].as_array().into_iter().flatten();
    let columns: Vec<String> = truth[list]["columns"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| c.as_str().unwrap_or_default().into())
        .collect();
    rows.map(|row| {
        columns
            .iter()
            .cloned()
            .zip(row.as_array().cloned().unwrap_or_default())
            .collect()
    })
    .collect()
}

/// The identifiers of every patient: those that were merged are one.
pub fn patients() -> Vec<BTreeSet<String>> {
    let persons = truths(&truth(), "person");
    persons
        .iter()
        .map(|p| {
            ["mrn", "temporary_mrn"]
                .iter()
                .filter_map(|c| p[*c].as_str().map(str::to_owned))
                .collect()
        })
        .collect()
}

/// The files as they would be if the hospital had these patients only. What names no patient is left out.
pub fn only(patients: &BTreeSet<String>) -> Vec<DropFile> {
    files().iter().filter_map(|file| only_of(file, patients)).collect()
}

fn only_of(file: &DropFile, patients: &BTreeSet<String>) -> Option<DropFile> {
    let cut = |(offset, length): (u64, u64)| &file.bytes[offset as usize..(offset + length) as usize];
    let bytes = match file.kind() {
        "hl7" => {
            let mut kept = Vec::new();
            for message in readers::hl7(&file.bytes, GB18030) {
                let of = message.iter().find(|s| s.name() == "PID").map(|s| s.component(3, 1));
                if message[0].name() == "MSH" && of.is_some_and(|mrn| patients.contains(&mrn)) {
                    for segment in &message {
                        kept.extend_from_slice(cut((segment.offset, segment.length)));
                        kept.push(b'\r');
                    }
                }
            }
            kept
        }
        "lis" | "registry" => {
            let encoding = if file.kind() == "lis" { GB18030 } else { UTF_8 };
            let header = file.bytes.split_inclusive(|b| *b == b'\n').next().unwrap_or_default();
            let mut kept = header.to_vec();
            for line in readers::csv(&file.bytes, encoding) {
                if line.fields.is_some_and(|f| patients.contains(&f["病案号"])) {
                    kept.extend_from_slice(cut((line.offset, line.length)));
                    kept.extend_from_slice(b"\r\n");
                }
            }
            kept
        }
        "dialogue" => {
            let of = |line: &&[u8]| {
                let call: Option<Value> = serde_json::from_slice(line).ok();
                call.is_some_and(|c| c["mrn"].as_str().is_some_and(|mrn| patients.contains(mrn)))
            };
            file.bytes
                .split_inclusive(|b| *b == b'\n')
                .filter(of)
                .flatten()
                .copied()
                .collect()
        }
        _ => {
            let mrn = file.path.split('/').nth(1)?;
            return patients.contains(mrn).then(|| file.clone());
        }
    };
    // A file without a message is not sent; a complete export without a row is.
    let sent = !bytes.is_empty();
    sent.then(|| DropFile { bytes, ..file.clone() })
}
