//! What changed between two releases, from the change files alone.

use super::table::{read_files, text};
use super::{Dataset, ReleaseKind};
use crate::{CatalogError, Result};
use arrow::array::Array;
use clinmill_model::columns::{CAUSE, OP, ROW_ID};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_128;

/// The net difference of two releases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The older release.
    pub from: u64,
    /// The newer release.
    pub to: u64,
    /// By table; tables without changes too.
    pub tables: BTreeMap<String, TableDiff>,
}

/// The net difference of one table: a row that came and went in between does not count. One that was there before and is there
/// now counts where anything happened to it in between, even if it is again as it was: that the change files do not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableDiff {
    /// Rows of the older release (0 when it did not have the table).
    pub rows_before: u64,
    /// Rows of the newer release.
    pub rows_after: u64,
    /// Rows upserted, by cause: new, late, corrected, restandardized.
    pub upserts: BTreeMap<String, u64>,
    /// Rows deleted.
    pub deletes: u64,
    /// The rows themselves, up to the limit asked for, by row id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<ChangedRow>,
}

impl TableDiff {
    /// Rows upserted for any cause.
    pub fn upserted(&self) -> u64 {
        self.upserts.values().sum()
    }
}

/// One changed row. Its values are in the dataset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ChangedRow {
    /// Its id.
    pub row_id: String,
    /// `U` or `D`.
    pub op: &'static str,
    /// Why, on `U`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// What changed from release `from` (0: from nothing) to release `to`. Lists up to `limit` rows of each table.
/// Remote change files are copied to `scratch`. Memory: some 60 bytes for each changed row.
pub async fn diff(dataset: &Dataset, from: u64, to: u64, limit: usize, scratch: &Path) -> Result<Diff> {
    if from >= to {
        return Err(CatalogError::invalid("releases", format!("{from} is not before {to}")));
    }
    // What is asked for is named first where it is missing, not the one after `from`.
    dataset.manifest(to).await?;
    let mut tables: BTreeMap<String, TableDiff> = BTreeMap::new();
    if from > 0 {
        for (name, entry) in dataset.manifest(from).await?.tables {
            tables.entry(name).or_default().rows_before = entry.row_count;
        }
    }
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for release in from + 1..=to {
        let manifest = dataset.manifest(release).await?;
        if manifest.kind == ReleaseKind::Rebase && release > from + 1 {
            return Err(CatalogError::refused(
                format!("release {release} is a rebase: changes before it are gone"),
                format!("start from release {} or later", release - 1),
            ));
        }
        for (name, entry) in manifest.tables {
            let table = tables.entry(name.clone()).or_default();
            if release == to {
                table.rows_after = entry.row_count;
            }
            files
                .entry(name)
                .or_default()
                .extend(dataset.fetch_all(&entry.changes, scratch).await?);
        }
    }
    for (name, files) in files {
        let table = tables.entry(name).or_default();
        let net = super::blocking(move || net(files, limit)).await?;
        (table.upserts, table.deletes, table.rows) = net;
    }
    Ok(Diff { from, to, tables })
}

#[derive(Clone, Copy)]
struct Fate {
    existed: bool,
    deleted: bool,
    /// Index into the causes seen.
    cause: u8,
    /// Index into the listed rows plus one; 0 for none.
    listed: u32,
}

type Net = (BTreeMap<String, u64>, u64, Vec<ChangedRow>);

fn net(files: Vec<PathBuf>, limit: usize) -> Result<Net> {
    let mut fates: HashMap<u128, Fate> = HashMap::new();
    let mut causes: Vec<String> = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for batch in read_files(files).only(&[OP, ROW_ID, CAUSE]) {
        let batch = batch?;
        let lacks = || CatalogError::invalid("a change file", "lacks _op, _row_id or _cause");
        let column = |name| text(&batch, name)?.ok_or_else(lacks);
        let (op, id, why) = (column(OP)?, column(ROW_ID)?, column(CAUSE)?);
        for row in 0..op.len() {
            let deleted = op.value(row) == "D";
            let name = if why.is_valid(row) { why.value(row) } else { "" };
            let cause = match causes.iter().position(|c| c == name) {
                Some(known) => known,
                None => {
                    causes.push(name.to_owned());
                    causes.len() - 1
                }
            };
            let cause = u8::try_from(cause).map_err(|_| CatalogError::invalid("a change file", "too many causes"))?;
            fates
                .entry(xxh3_128(id.value(row).as_bytes()))
                .and_modify(|fate| {
                    fate.deleted = deleted;
                    // What did not exist before stays new, however often it was corrected since.
                    if fate.existed {
                        fate.cause = cause;
                    }
                })
                .or_insert_with(|| {
                    let listed = ids.len() < limit;
                    if listed {
                        ids.push(id.value(row).to_owned());
                    }
                    Fate {
                        existed: deleted || !is_first(name),
                        deleted,
                        cause,
                        listed: if listed { ids.len() as u32 } else { 0 },
                    }
                });
        }
    }
    let corrected = "corrected".to_owned();
    let (mut upserts, mut deletes, mut rows) = (BTreeMap::new(), 0, Vec::new());
    for fate in fates.into_values() {
        let cause = causes.get(usize::from(fate.cause)).filter(|c| !c.is_empty());
        // What was there before is not new where it came back after a deletion.
        let came_back = fate.existed && cause.is_some_and(|c| is_first(c));
        let cause = if came_back { Some(&corrected) } else { cause };
        match (fate.deleted, fate.existed) {
            (true, false) => continue,
            (true, true) => deletes += 1,
            (false, _) => {
                *upserts
                    .entry(cause.cloned().unwrap_or_else(|| "new".into()))
                    .or_default() += 1
            }
        }
        if let Some(row_id) = (fate.listed as usize).checked_sub(1).and_then(|i| ids.get(i)) {
            rows.push(ChangedRow {
                row_id: row_id.clone(),
                op: if fate.deleted { "D" } else { "U" },
                cause: if fate.deleted { None } else { cause.cloned() },
            });
        }
    }
    rows.sort();
    Ok((upserts, deletes, rows))
}

/// True for the causes of a row that was not there before.
fn is_first(cause: &str) -> bool {
    matches!(cause, "new" | "late")
}
