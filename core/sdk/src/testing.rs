//! Helpers for the tests of plugins: sinks that collect what a plugin pushes, and the runners of the cases and the
//! conformance checks that every plugin folder must pass.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod cancelled;
mod cases;
mod check;
mod conformance;
mod files;
mod fits;
mod odd;
mod render;
mod rows;
mod sinks;

pub use cases::{source_cases, source_cases_of, transform_cases, transform_cases_of};
pub use check::{Checked, check_sink, check_source, check_transform};
pub use sinks::{sink_cases, sink_cases_of};

use crate::{Emit, IdentityLink, Origin, PluginError, RecordBatchOf, RecordSink, RejectedRow, Rejection};
use arrow::array::RecordBatch;
use std::collections::BTreeMap;

/// Keeps everything that a source pushes.
#[derive(Default)]
pub struct CollectedRecords {
    /// The batches, in order.
    pub batches: Vec<RecordBatchOf>,
    /// The rejections, in order.
    pub rejections: Vec<Rejection>,
    /// The links, in order.
    pub links: Vec<IdentityLink>,
    /// Filtered records by rule.
    pub filtered: BTreeMap<String, u64>,
    /// Bytes of progress.
    pub bytes: u64,
}

impl CollectedRecords {
    /// How many rows of a kind were pushed.
    pub fn rows_of(&self, kind: usize) -> usize {
        self.batches
            .iter()
            .filter(|b| b.kind == kind)
            .map(|b| b.rows.num_rows())
            .sum()
    }
}

impl RecordSink for CollectedRecords {
    fn rows(&mut self, batch: RecordBatchOf) -> Result<(), PluginError> {
        self.batches.push(batch);
        Ok(())
    }
    fn reject(&mut self, rejection: Rejection) -> Result<(), PluginError> {
        self.rejections.push(rejection);
        Ok(())
    }
    fn filtered(&mut self, rule: &str, count: u64) {
        *self.filtered.entry(rule.to_owned()).or_default() += count;
    }
    fn link(&mut self, link: IdentityLink) -> Result<(), PluginError> {
        self.links.push(link);
        Ok(())
    }
    fn progress(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
}

/// Keeps everything that a transform emits.
#[derive(Default)]
pub struct CollectedRows {
    /// The batches with their origins, in order.
    pub batches: Vec<(RecordBatch, Origin)>,
    /// The rejected rows, in order.
    pub rejected: Vec<RejectedRow>,
    /// The counts.
    pub counts: BTreeMap<String, u64>,
}

impl Emit for CollectedRows {
    fn rows(&mut self, batch: RecordBatch, origin: Origin) -> Result<(), PluginError> {
        self.batches.push((batch, origin));
        Ok(())
    }
    fn reject(&mut self, row: RejectedRow) -> Result<(), PluginError> {
        self.rejected.push(row);
        Ok(())
    }
    fn count(&mut self, name: &str, n: u64) {
        *self.counts.entry(name.to_owned()).or_default() += n;
    }
}
