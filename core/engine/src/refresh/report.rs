//! What a refresh did, value-free: for people, for scripts and for the vault's record of runs.

use super::discover::Warning;
use crate::ingest::Counts;
use clinmill_catalog::dataset::{Dimension, GateResult, Score};
use serde::Serialize;
use std::collections::BTreeMap;

/// How a refresh ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A release was committed.
    Released,
    /// Nothing was pending and nothing had changed.
    NoOp,
}

/// The report of one refresh.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// How it ended.
    pub outcome: Outcome,
    /// The release it made, or the last one.
    pub release: u64,
    /// The run.
    pub run_id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// All sources together.
    pub counts: TotalCounts,
    /// By source.
    pub sources: BTreeMap<String, SourceReport>,
    /// By table.
    pub tables: BTreeMap<String, TableReport>,
    /// Named counts by step.
    pub steps: BTreeMap<String, BTreeMap<String, u64>>,
    /// Bytes written to the dataset, and how many of them are changes.
    pub written_bytes: u64,
    /// Subjects that were recomputed; none given where a table was made for all of them.
    pub subjects: Option<u64>,
    /// What somebody should look at.
    pub warnings: Vec<Warning>,
    /// Sources that sent nothing for longer than they promise: the refresh ends with the code of a quality gate, though
    /// what the others sent is published.
    pub unmet: Vec<String>,
    /// The pipeline's gates and those of its contracts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateResult>,
    /// What they counted, by the dimensions of GB/T 36344.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<Dimension, Score>,
    /// Seconds it took.
    pub seconds: f64,
}

/// The counts of all sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TotalCounts {
    /// Inputs read.
    pub inputs: u64,
    /// Records read.
    pub read: u64,
    /// Events written.
    pub written: u64,
    /// Records that were known already.
    pub duplicates: u64,
    /// Records in quarantine.
    pub rejected: u64,
    /// Records left out by a named rule.
    pub filtered: u64,
}

/// What became of one source's inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Files that matched its glob.
    pub files: u64,
    /// Inputs read.
    pub inputs: u64,
    /// Records read.
    pub read: u64,
    /// Events written.
    pub written: u64,
    /// Records that were known already.
    pub duplicates: u64,
    /// Records in quarantine.
    pub rejected: u64,
    /// Records left out by a named rule.
    pub filtered: u64,
    /// Records left out, by rule.
    pub filtered_by: BTreeMap<String, u64>,
    /// Records in quarantine, by code.
    pub rejected_by: BTreeMap<String, u64>,
    /// Records that a complete export deleted.
    pub deleted: u64,
}

impl SourceReport {
    /// Adds the counts of an input.
    pub fn add(&mut self, counts: &Counts) {
        self.inputs += 1;
        self.read = self.read.saturating_add(counts.read);
        self.written = self.written.saturating_add(counts.written);
        self.duplicates = self.duplicates.saturating_add(counts.duplicates);
        self.rejected = self.rejected.saturating_add(counts.rejected);
        self.filtered = self.filtered.saturating_add(counts.filtered);
    }
}

/// What became of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// Rows at this release.
    pub rows: u64,
    /// Rows that are new or other than before.
    pub upserts: u64,
    /// Rows that are no more.
    pub deletes: u64,
}

/// Follows a refresh while it runs. All calls may come from several threads.
pub trait Progress: Sync {
    /// A stage begins.
    fn stage(&self, name: &'static str);
    /// What ingest has before it.
    fn plan(&self, inputs: u64, bytes: u64);
    /// One more input is read.
    fn input(&self);
    /// So many more bytes are read.
    fn bytes(&self, n: u64);
    /// So many more records are read.
    fn records(&self, n: u64);
    /// Bucket ranges done and in all.
    fn ranges(&self, done: u64, total: u64);
    /// So many rows were upserted or deleted.
    fn rows(&self, n: u64);
}

/// Follows nothing.
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &'static str) {}
    fn plan(&self, _: u64, _: u64) {}
    fn input(&self) {}
    fn bytes(&self, _: u64) {}
    fn records(&self, _: u64) {}
    fn ranges(&self, _: u64, _: u64) {}
    fn rows(&self, _: u64) {}
}
