//! `clinmill releases`: the history of a dataset.

use crate::{
    args,
    context::Context,
    failure::{Failure, OK},
    output::{Grid, thousands},
};
use clinmill_catalog::dataset::{Counts, DataFile, Dataset, Manifest, ReleaseKind};
use serde::Serialize;
use std::collections::BTreeMap;

/// One release in the list.
#[derive(Debug, Serialize)]
pub struct Listed {
    release: u64,
    kind: ReleaseKind,
    #[serde(rename = "transactionTime")]
    transaction_time: jiff::Timestamp,
    deidentified: bool,
    pipeline_sha256: String,
    counts: Counts,
    tables: BTreeMap<String, ListedTable>,
}

#[derive(Debug, Serialize)]
struct ListedTable {
    rows: u64,
    /// Upserts and deletes together.
    changes: u64,
    changed_bytes: u64,
    fingerprint: String,
}

/// Lists the releases.
///
/// # Errors
/// When a manifest does not read.
pub async fn run(context: &Context, args: &args::Target) -> Result<u8, Failure> {
    let dataset = context.dataset(&args.target).await?;
    let releases = list(&dataset).await?;
    context.console.result(&releases, || match releases.is_empty() {
        true => format!("no release in {}\n", dataset.url()),
        false => table(&releases).to_string(),
    })?;
    Ok(OK)
}

/// All releases of a dataset, oldest first.
///
/// # Errors
/// When a manifest does not read.
pub async fn list(dataset: &Dataset) -> Result<Vec<Listed>, Failure> {
    let mut out = Vec::new();
    for release in dataset.releases().await? {
        out.push(Listed::from(dataset.manifest(release).await?));
    }
    Ok(out)
}

/// The list as text.
pub fn table(releases: &[Listed]) -> Grid {
    let mut grid = Grid::new([
        ">release",
        "committed (UTC)",
        "kind",
        ">inputs",
        ">records",
        ">rejected",
        ">rows",
        ">changes",
    ]);
    for r in releases {
        let kind = match r.kind {
            ReleaseKind::Full => "full",
            ReleaseKind::Delta => "delta",
            ReleaseKind::Rebase => "rebase",
        };
        grid.row([
            r.release.to_string(),
            r.transaction_time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            kind.to_owned(),
            thousands(r.counts.inputs),
            thousands(r.counts.read),
            thousands(r.counts.rejected),
            thousands(r.tables.values().map(|t| t.rows).sum()),
            thousands(r.tables.values().map(|t| t.changes).sum()),
        ]);
    }
    grid
}

impl From<Manifest> for Listed {
    fn from(manifest: Manifest) -> Self {
        let tables = manifest.tables.iter().map(|(name, entry)| {
            let sum = |of: fn(&DataFile) -> u64| entry.changes.iter().map(of).sum();
            let table = ListedTable {
                rows: entry.row_count,
                changes: sum(|f| f.rows),
                changed_bytes: sum(|f| f.size),
                fingerprint: entry.fingerprint.to_string(),
            };
            (name.clone(), table)
        });
        Self {
            release: manifest.release,
            kind: manifest.kind,
            transaction_time: manifest.transaction_time,
            deidentified: manifest.deidentified,
            pipeline_sha256: manifest.pipeline_sha256.to_string(),
            tables: tables.collect(),
            counts: manifest.counts,
        }
    }
}
