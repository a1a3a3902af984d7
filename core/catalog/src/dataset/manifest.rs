//! The manifest of a release: what a dataset holds at that release, as JSON.
//!
//! The last member of the document, `checksum`, is the SHA-256 of the bytes before it, so that a damaged manifest is
//! known as such even while no later release names its digest.

use super::schema::ColumnSpec;
use crate::rowhash::Fingerprint;
use crate::{CatalogError, Result};
use bytes::Bytes;
use clinmill_model::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the manifest that this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The folder of the manifests.
pub const RELEASES: &str = "_releases";

/// The manifest of one release. Paths are relative to the dataset's root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The dataset's name.
    pub dataset: String,
    /// The number of this release, from 1 without gaps.
    pub release: u64,
    /// Drawn at random for each commit: tells whose commit a manifest is.
    pub commit_id: String,
    /// The refresh that made the release.
    pub run_id: String,
    /// The release before; none for the first.
    pub parent: Option<Parent>,
    /// What kind of release.
    pub kind: ReleaseKind,
    /// When it was committed. Named as in the FHIR Bulk Publish manifest.
    #[serde(rename = "transactionTime")]
    pub transaction_time: Timestamp,
    /// Whether a locked de-identification policy was in force. False: the dataset may not leave `file:`.
    pub deidentified: bool,
    /// The vault that made it, by digests alone.
    pub vault: VaultRef,
    /// The pipeline file.
    pub pipeline_sha256: Digest,
    /// The version of this program.
    pub engine_version: String,
    /// The plugins that took part.
    pub plugins: Vec<PluginRef>,
    /// The mappings that took part.
    pub mappings: Vec<MappingRef>,
    /// The tables by name.
    pub tables: BTreeMap<String, TableEntry>,
    /// What became of what was read.
    pub counts: Counts,
    /// The gates, all of them held but those that only warn.
    pub gates: Vec<GateResult>,
    /// What the gates counted, by the six dimensions of data quality of GB/T 36344.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<Dimension, Score>,
}

/// The release before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its number.
    pub release: u64,
    /// The SHA-256 of its manifest's bytes.
    pub sha256: Digest,
}

/// What kind of release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseKind {
    /// The first release: its changes are all rows.
    Full,
    /// Changes since the parent.
    Delta,
    /// Full bases after a purge: replay and verification start here.
    Rebase,
}

/// The vault that made a release. Nothing here leads to its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRef {
    /// The vault's random id.
    pub id: String,
    /// The digest of the vault's state that the release rests on.
    pub state: String,
    /// Tells a wrong key from the right one.
    pub key_check: String,
}

/// A plugin that took part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginRef {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of its code.
    pub sha256: Digest,
}

/// A mapping that took part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingRef {
    /// Its name.
    pub name: String,
    /// The digest of its content.
    pub sha256: Digest,
}

/// A table at a release: base, then overlay in order, is its state; changes are what this release did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableEntry {
    /// The columns, with the engine's own.
    pub schema: Vec<ColumnSpec>,
    /// The digest of the schema, see [`schema_digest`](super::schema::schema_digest).
    pub schema_sha256: Digest,
    /// The column(s) that buyers use as key.
    pub key: Vec<String>,
    /// Rows of the state.
    pub row_count: u64,
    /// The fingerprint of the state.
    pub fingerprint: Fingerprint,
    /// Base files in the order of the table's sort key.
    pub base: Vec<DataFile>,
    /// Change files since the base, oldest release first.
    pub overlay: Vec<DataFile>,
    /// Change files of this release.
    pub changes: Vec<DataFile>,
}

impl TableEntry {
    /// Every file that this entry names.
    pub fn files(&self) -> impl Iterator<Item = &DataFile> {
        self.base.iter().chain(&self.overlay).chain(&self.changes)
    }

    /// True when the table has a subject column, and is therefore sorted by subject.
    pub fn has_subject(&self) -> bool {
        self.schema
            .iter()
            .any(|c| c.name == clinmill_model::columns::SUBJECT_ID)
    }
}

/// A data file by its content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DataFile {
    /// Its key under the dataset's root.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes; also in its name.
    pub sha256: Digest,
    /// Rows.
    pub rows: u64,
}

/// The balance of a refresh: `read = written + duplicates + rejected + filtered`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Inputs taken in.
    pub inputs: u64,
    /// Records read from them.
    pub read: u64,
    /// Records kept as events.
    pub written: u64,
    /// Records that were there already.
    pub duplicates: u64,
    /// Records in quarantine.
    pub rejected: u64,
    /// Records that the pipeline leaves out by declaration.
    pub filtered: u64,
}

/// The outcome of a gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// The gate's name in the pipeline.
    pub name: String,
    /// Whether it held. A release is only committed when all do that do not only warn.
    pub passed: bool,
    /// One sentence without values of rows.
    pub detail: String,
    /// What it counted; none for the gates of every refresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

impl GateResult {
    /// True when it stands in the way of a release.
    pub fn blocks(&self) -> bool {
        !self.passed && self.measured.as_ref().is_none_or(|m| m.on_fail == Severity::Block)
    }
}

/// What a gate counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The check: `not_null`, `unique`, …
    pub check: String,
    /// The check of OHDSI's DataQualityDashboard that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dqd: Option<String>,
    /// The category of the DataQualityDashboard: Conformance, Completeness or Plausibility.
    pub category: String,
    /// The dimension of GB/T 36344.
    pub dimension: Dimension,
    /// `table` or `table.column`.
    pub target: String,
    /// What happens when it does not hold.
    pub on_fail: Severity,
    /// Rows that it is about.
    pub rows: u64,
    /// Those among them that fail.
    pub failed: u64,
    /// The share of the rows that must hold.
    pub at_least: f64,
    /// For drift: the population stability index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<f64>,
    /// `_row_id`s of the first failing rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub row_ids: Vec<String>,
}

/// What happens when a gate does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// No release.
    Block,
    /// A release, and a warning.
    Warn,
}

/// The dimensions of data quality of GB/T 36344-2018, section 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dimension {
    /// 规范性: in the form that standards and the contract ask for.
    Normative,
    /// 完整性: there.
    Complete,
    /// 准确性: plausible for what it describes.
    Accurate,
    /// 一致性: not in contradiction to other data.
    Consistent,
    /// 时效性: of the time that it should be of.
    Timely,
    /// 可访问性: read back as it is stated.
    Accessible,
}

impl Dimension {
    /// All six, in the standard's order.
    pub const ALL: [Self; 6] = [
        Self::Normative,
        Self::Complete,
        Self::Accurate,
        Self::Consistent,
        Self::Timely,
        Self::Accessible,
    ];
}

/// A share, as it was counted: 0 of 0 is not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// What holds.
    pub numerator: u64,
    /// Of so many.
    pub denominator: u64,
}

const CHECKSUM: &str = ",\n  \"checksum\": \"";
const END: &str = "\"\n}\n";

impl Manifest {
    /// The manifest as it is stored.
    pub fn to_bytes(&self) -> Result<Bytes> {
        let mut text = serde_json::to_string_pretty(self).map_err(CatalogError::json("manifest"))?;
        // The document's own closing bracket comes again after the checksum.
        if let Some(body) = text.strip_suffix("\n}").map(str::len) {
            text.truncate(body);
        }
        let digest = Digest::of(text.as_bytes());
        text.push_str(CHECKSUM);
        text.push_str(&digest.to_string());
        text.push_str(END);
        Ok(text.into())
    }

    /// Reads a stored manifest. Any changed bit is an error.
    pub fn from_bytes(path: &str, bytes: &[u8]) -> Result<Self> {
        let damaged = |reason: &str| CatalogError::damaged(path, reason);
        let tail = CHECKSUM.len() + 64 + END.len();
        let (body, tail) = bytes
            .len()
            .checked_sub(tail)
            .map(|at| bytes.split_at(at))
            .ok_or_else(|| damaged("shorter than any manifest"))?;
        let expected = format!("{CHECKSUM}{}{END}", Digest::of(body));
        if tail != expected.as_bytes() {
            return Err(damaged("its content does not fit its checksum"));
        }
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let version: Version = serde_json::from_slice(bytes).map_err(CatalogError::json(path))?;
        if version.format_version > FORMAT_VERSION {
            return Err(CatalogError::invalid(
                path,
                format!(
                    "written in format {}, this program reads up to {FORMAT_VERSION}; use a newer version",
                    version.format_version
                ),
            ));
        }
        serde_json::from_slice(bytes).map_err(CatalogError::json(path))
    }

    /// The key of a release's manifest.
    pub fn key(release: u64) -> String {
        format!("{RELEASES}/{release:08}.json")
    }

    /// The release of a manifest's key; none for other keys.
    pub fn release_of(key: &str) -> Option<u64> {
        let number = key.strip_prefix(RELEASES)?.strip_prefix('/')?.strip_suffix(".json")?;
        let release = number.parse().ok()?;
        (Self::key(release) == key).then_some(release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::testing::manifest;

    #[test]
    fn round_trip_and_names() {
        let manifest = manifest(7);
        let bytes = manifest.to_bytes().unwrap();
        assert_eq!(Manifest::from_bytes("x", &bytes).unwrap(), manifest);
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["transactionTime"], "2026-01-01T00:00:00Z");
        assert_eq!(json["kind"], "delta");
        assert_eq!(json["parent"]["release"], 6);
        assert_eq!(json["tables"]["t"]["row_count"], 2);
        assert_eq!(json.as_object().unwrap().keys().next_back().unwrap(), "checksum");
    }

    #[test]
    fn a_gate_that_warns_does_not_block() {
        let measured = |on_fail| Measured {
            check: "not_null".into(),
            dqd: Some("measureValueCompleteness".into()),
            category: "Completeness".into(),
            dimension: Dimension::Complete,
            target: "t.v".into(),
            on_fail,
            rows: 2,
            failed: 1,
            at_least: 1.0,
            index: None,
            row_ids: vec!["r".into()],
        };
        let gate = |on_fail| GateResult {
            name: "g".into(),
            passed: false,
            detail: String::new(),
            measured: Some(measured(on_fail)),
        };
        assert!(gate(Severity::Block).blocks() && !gate(Severity::Warn).blocks());
        let score = Score {
            numerator: 1,
            denominator: 2,
        };
        let told = Manifest {
            gates: vec![gate(Severity::Warn)],
            scores: BTreeMap::from([(Dimension::Complete, score)]),
            ..manifest(2)
        };
        let bytes = told.to_bytes().unwrap();
        assert_eq!(Manifest::from_bytes("x", &bytes).unwrap(), told);
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["scores"]["complete"]["denominator"], 2);
        assert_eq!(json["gates"][0]["measured"]["on_fail"], "warn");
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let bytes = manifest(3).to_bytes().unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << (at % 8);
            assert!(Manifest::from_bytes("x", &flipped).is_err(), "byte {at}");
            assert!(Manifest::from_bytes("x", &bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_with_advice() {
        let newer = Manifest {
            format_version: 2,
            ..manifest(1)
        };
        let e = Manifest::from_bytes("_releases/00000001.json", &newer.to_bytes().unwrap()).unwrap_err();
        assert!(e.to_string().contains("newer version"), "{e}");
    }

    #[test]
    fn keys() {
        assert_eq!(Manifest::key(7), "_releases/00000007.json");
        assert_eq!(Manifest::release_of("_releases/00000007.json"), Some(7));
        for other in [
            "_releases/7.json",
            "_releases/latest.json",
            "_releases/00000007.withdrawn.json",
            "x/00000007.json",
        ] {
            assert_eq!(Manifest::release_of(other), None, "{other}");
        }
    }
}
