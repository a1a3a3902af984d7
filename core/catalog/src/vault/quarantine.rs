//! Records that were rejected: why, at which stage, and where their bytes lie. No values: these are in the kept input.

use super::{
    error::Result,
    key::base32,
    ledger::{Ledger, sensitive},
    segment::{SegmentWriter, Segments},
};
use clinmill_model::{Digest, Sensitive};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One rejected record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    /// Short and stable: the same record rejected for the same reason has the same one in every run.
    pub id: String,
    /// The run that rejected it.
    pub run_id: String,
    /// The release that run made.
    pub release: u64,
    /// The source.
    pub source: String,
    /// `ingest`, or the name of the transform.
    pub stage: String,
    /// Stable code of the reason.
    pub code: String,
    /// The reason in words, without values.
    pub message: String,
    /// The input.
    pub input: Digest,
    /// The number in the ledger under which the input was read.
    #[serde(default)]
    pub number: u32,
    /// The input's path from the searched folder. May hold identifiers.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional")]
    pub path: Option<Sensitive<String>>,
    /// Byte offset of the record in the input.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// 1-based row or message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// Sheet or segment index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
    /// 1-based column of a cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<u32>,
    /// The record kind, if it got that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How many records it stands for: more than one where an input has too many to be listed one by one.
    #[serde(default = "one")]
    pub records: u64,
}

fn one() -> u64 {
    1
}

/// The stage at which records are rejected before they are events.
pub const INGEST: &str = "ingest";

impl QuarantineRecord {
    /// False once its input was read again: then what that reading rejected holds, and this may be solved. A row that a
    /// step rejected holds as long as its event does.
    pub fn holds(&self, ledger: &Ledger) -> bool {
        let (Some(read), Some(last)) = (ledger.by_number(self.number), ledger.last_reading(self.number)) else {
            return true;
        };
        match self.stage.as_str() {
            INGEST => last.number == read.number,
            _ => last.parse_id == read.parse_id,
        }
    }

    /// The same record with the id that belongs to it: twelve characters of a digest over its place and its reason.
    pub fn identified(mut self) -> Self {
        let number = |n: Option<u64>| n.map_or(String::new(), |n| n.to_string());
        let digest = Digest::of_parts([
            self.source.as_str(),
            &self.stage,
            &self.code,
            &self.input.to_string(),
            self.path.as_ref().map_or("", |path| path.expose()),
            &self.offset.to_string(),
            &self.length.to_string(),
            &number(self.row),
            &number(self.part.map(u64::from)),
            &number(self.cell.map(u64::from)),
            self.kind.as_deref().unwrap_or_default(),
        ]);
        let mut half = [0u8; 16];
        half.copy_from_slice(&digest.as_bytes()[..16]);
        self.id = base32(&half).chars().take(12).collect();
        self
    }
}

/// Which rejected records are asked for; what is none does not matter.
#[derive(Clone, Debug, Default)]
pub struct QuarantineFilter {
    /// Of this source.
    pub source: Option<String>,
    /// Of this stage.
    pub stage: Option<String>,
    /// With this code.
    pub code: Option<String>,
    /// Of this input.
    pub input: Option<Digest>,
    /// Of this run.
    pub run_id: Option<String>,
    /// Whose id begins so.
    pub id: Option<String>,
}

impl QuarantineFilter {
    /// True for a record that is asked for.
    pub fn wants(&self, record: &QuarantineRecord) -> bool {
        let same = |asked: &Option<String>, is: &str| asked.as_deref().is_none_or(|a| a == is);
        same(&self.source, &record.source)
            && same(&self.stage, &record.stage)
            && same(&self.code, &record.code)
            && same(&self.run_id, &record.run_id)
            && self.input.is_none_or(|i| i == record.input)
            && self.id.as_deref().is_none_or(|begin| record.id.starts_with(begin))
    }
}

/// `<vault>/quarantine`.
#[derive(Debug)]
pub struct Quarantine(Segments<QuarantineRecord>);

impl Quarantine {
    pub(super) fn new(root: &Path) -> Self {
        Self(Segments::new(root, "quarantine", "quarantine segment"))
    }

    /// Begins the segment of a refresh.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(&self) -> Result<SegmentWriter<QuarantineRecord>> {
        self.0.create()
    }

    /// Gives every record of these segments that the filter wants, oldest segment first.
    ///
    /// # Errors
    /// A missing or damaged segment, by its digest.
    pub fn read(
        &self,
        segments: &[Digest],
        filter: &QuarantineFilter,
        mut each: impl FnMut(QuarantineRecord),
    ) -> Result<()> {
        segments.iter().try_for_each(|digest| {
            self.0.read(digest, |record| {
                if filter.wants(&record) {
                    each(record);
                }
            })
        })
    }

    /// The records of these segments that the filter wants, at most `limit`.
    ///
    /// # Errors
    /// A missing or damaged segment, by its digest.
    pub fn list(&self, segments: &[Digest], filter: &QuarantineFilter, limit: usize) -> Result<Vec<QuarantineRecord>> {
        let mut records = Vec::new();
        self.read(segments, filter, |record| {
            if records.len() < limit {
                records.push(record);
            }
        })?;
        Ok(records)
    }
}

/// Optional sensitive values in files that stay in the vault.
mod optional {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Sensitive<String>>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => sensitive::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Sensitive<String>>, D::Error> {
        Option::<String>::deserialize(from).map(|value| value.map(Sensitive::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::testing::vault;

    fn record(row: u64, code: &str) -> QuarantineRecord {
        QuarantineRecord {
            id: String::new(),
            run_id: "r1".into(),
            release: 1,
            source: "lis".into(),
            stage: "ingest".into(),
            code: code.into(),
            message: "the row has too few fields".into(),
            input: Digest::of(b"x"),
            path: row.is_multiple_of(2).then(|| Sensitive::new("4711.csv".into())),
            offset: row * 10,
            length: 10,
            row: Some(row),
            part: None,
            cell: None,
            kind: None,
            number: 0,
            records: 1,
        }
        .identified()
    }

    #[test]
    fn ids_are_stable_and_tell_records_apart() {
        assert_eq!(record(1, "ragged").id, record(1, "ragged").id);
        assert_eq!(record(1, "ragged").id.len(), 12);
        assert_ne!(record(1, "ragged").id, record(2, "ragged").id);
        assert_ne!(record(1, "ragged").id, record(1, "quote").id);
        let later = QuarantineRecord {
            run_id: "r2".into(),
            release: 2,
            ..record(1, "ragged")
        }
        .identified();
        assert_eq!(later.id, record(1, "ragged").id);
    }

    #[test]
    fn lists_what_is_asked_for() {
        let (_dir, vault) = vault();
        let mut writer = vault.quarantine().create().unwrap();
        let all: Vec<_> = (0..9)
            .map(|i| record(i, if i % 3 == 0 { "quote" } else { "ragged" }))
            .collect();
        all.iter().for_each(|r| writer.push(r).unwrap());
        assert_eq!(writer.lines(), 9);
        let digest = writer.finish().unwrap().unwrap();
        let list = |filter, limit| vault.quarantine().list(&[digest], &filter, limit).unwrap();
        assert_eq!(list(QuarantineFilter::default(), 100), all);
        assert_eq!(list(QuarantineFilter::default(), 2).len(), 2);
        assert_eq!(
            list(
                QuarantineFilter {
                    code: Some("quote".into()),
                    ..Default::default()
                },
                100
            )
            .len(),
            3
        );
        let id = Some(all[4].id.chars().take(8).collect());
        assert_eq!(
            list(
                QuarantineFilter {
                    id,
                    ..Default::default()
                },
                100
            ),
            [all[4].clone()]
        );
        assert!(
            list(
                QuarantineFilter {
                    source: Some("adt".into()),
                    ..Default::default()
                },
                100
            )
            .is_empty()
        );
        assert!(!format!("{all:?}").contains("4711"));
    }
}
