//! The audit of a refresh: its gates run over what would be published, before anything is. What a gate stops stays in
//! the vault's staging area, with a description of it, until the next refresh.

use super::{
    EngineState, Refresh, publish::Former, range::Dirty, release::civil_now, session::Session, stage::StagedTable,
};
use crate::{
    bound::Bound,
    error::EngineError,
    fold::Id,
    gates::{self, Audit, Lost, Rejected, TableState, columns},
    graph::transform_of,
};
use clinmill_catalog::dataset::Manifest;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Failing rows of a gate that a manifest names.
const LISTED: usize = 20;
/// The description of what a stopped refresh left.
const STAGED: &str = "staged.json";

/// What a refresh that a gate stopped would have published.
#[derive(Debug, Serialize, Deserialize)]
struct Staged {
    /// The release that it would have been.
    release: u64,
    /// By table: of those that were made anew.
    tables: BTreeMap<String, StagedFiles>,
    /// What it rejected.
    #[serde(default)]
    rejected: Rejected,
    /// Rows that contracts keep out, by table.
    #[serde(default)]
    broken: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StagedFiles {
    /// Change files, relative to the description.
    changes: Vec<PathBuf>,
    /// Rows after them.
    rows: u64,
}

/// The tables that gates are run over without a refresh.
pub struct Found {
    /// As they are, or would be.
    pub tables: Vec<TableState>,
    /// The release before.
    pub previous: Vec<TableState>,
    /// What is in none of them.
    pub lost: Lost,
    /// The folder of a stopped refresh.
    pub staging: Option<PathBuf>,
    /// The release, or the one that it would have been.
    pub release: u64,
}

impl Refresh<'_> {
    /// Runs the gates over what would be published. `steps` is what the steps and contracts counted.
    ///
    /// # Errors
    /// When one that blocks does not hold; what was staged stays, described.
    pub(super) async fn audit(
        &self,
        staged: &BTreeMap<String, Vec<StagedTable>>,
        steps: &BTreeMap<String, BTreeMap<String, u64>>,
        broken: &Broken,
        staging: &Path,
    ) -> Result<Audit, EngineError> {
        if self.bound.gates.is_empty() {
            return Ok(Audit::default());
        }
        self.progress.stage("gates");
        let last = self.session.last.as_ref().map(|r| &r.manifest);
        let scratch = staging.join("fetched");
        std::fs::create_dir_all(&scratch).map_err(|e| EngineError::io("create", &scratch, e))?;
        let previous = of_release(self.bound, &self.session, last, self.options.full, &scratch).await?;
        let mut tables = Vec::new();
        let mut described = BTreeMap::new();
        for table in &self.bound.tables {
            let before = previous.iter().find(|t| t.name == table.name);
            let mut state = before.cloned().unwrap_or_else(|| TableState::empty(table));
            if let Some(ranges) = staged.get(&table.name) {
                let changes = ranges.iter().flat_map(|r| r.changes.iter().map(|f| f.path.clone()));
                let changes: Vec<PathBuf> = changes.collect();
                state.rows = ranges.iter().map(|r| r.fingerprint.count).sum();
                let relative = |path: &PathBuf| path.strip_prefix(staging).unwrap_or(path).to_path_buf();
                let files = StagedFiles {
                    changes: changes.iter().map(relative).collect(),
                    rows: state.rows,
                };
                described.insert(table.name.clone(), files);
                state.changes.push(changes);
            }
            tables.push(state);
        }
        let now = civil_now(self.bound, self.env);
        let lost = Lost {
            rejected: rejected(self.bound, steps),
            broken: totals(self.bound, broken),
        };
        let audit = gates::run(&self.bound.gates, &tables, &previous, &lost, now, LISTED).await?;
        if let Some(refusal) = audit.refusal() {
            let staged = Staged {
                release: self.release,
                tables: described,
                rejected: lost.rejected,
                broken: lost.broken,
            };
            let text = serde_json::to_vec_pretty(&staged).map_err(|e| EngineError::internal(e.to_string()))?;
            let path = staging.join(STAGED);
            std::fs::write(&path, text).map_err(|e| EngineError::io("write", &path, e))?;
            return Err(EngineError::QualityGate(format!(
                "{refusal}\nwhat was staged can be looked at with `clinmill gates`; the next run starts anew"
            )));
        }
        Ok(audit)
    }
}

/// Rows that contracts keep out, by table and subject; of those whose subject nobody knows, the subject is empty.
pub(super) type Broken = BTreeMap<String, BTreeMap<String, u64>>;

/// What contracts keep out after a refresh that made the rows of some subjects anew.
pub(super) fn broken(
    mut before: Broken,
    dirty: &BTreeMap<String, Dirty>,
    staged: &BTreeMap<String, Vec<StagedTable>>,
) -> Broken {
    let key = |id: &Option<Id>| id.map_or_else(String::new, |id| format!("{:032x}", u128::from_be_bytes(id)));
    for (table, ranges) in staged {
        let subjects = before.entry(table.clone()).or_default();
        match dirty.get(table) {
            Some(Dirty::Some(made)) => {
                for id in made.iter() {
                    subjects.remove(&key(&Some(*id)));
                }
            }
            _ => subjects.clear(),
        }
        subjects.remove("");
        for (subject, n) in ranges.iter().flat_map(|range| &range.broken) {
            *subjects.entry(key(subject)).or_default() += n;
        }
    }
    before
}

/// How many rows the contract of each table that has one keeps out.
fn totals(bound: &Bound, broken: &Broken) -> BTreeMap<String, u64> {
    let tables = bound.tables.iter().filter(|table| table.has_contract);
    let total = |name: &String| broken.get(name).map_or(0, |subjects| subjects.values().sum());
    tables.map(|table| (table.name.clone(), total(&table.name))).collect()
}

/// What the steps behind each table and its contract rejected, by code.
fn rejected(bound: &Bound, steps: &BTreeMap<String, BTreeMap<String, u64>>) -> Rejected {
    let mut rejected = Rejected::new();
    for table in &bound.tables {
        let judges = table.judges(&bound.graph);
        let behind = steps.iter().filter(|(step, _)| judges.contains(transform_of(step)));
        for (name, n) in behind.flat_map(|(_, counts)| counts) {
            if let Some(code) = name.strip_prefix("rejected ") {
                let codes = rejected.entry(table.name.clone()).or_default();
                *codes.entry(code.to_owned()).or_default() += n;
            }
        }
    }
    rejected
}

/// What a refresh left that a gate stopped, else the last release; none where there is neither.
///
/// # Errors
/// When files cannot be read.
pub async fn look_at(bound: &Bound, session: &Session) -> Result<Option<Found>, EngineError> {
    let scratch = session.vault.staging();
    let last = session.last.as_ref().map(|r| &r.manifest);
    let release = session.release();
    if let Some((folder, staged)) = newest_staged(session)?
        && staged.release == release + 1
    {
        let previous = of_release(bound, session, last, false, &scratch).await?;
        let mut tables = Vec::new();
        for table in &bound.tables {
            let before = previous.iter().find(|t| t.name == table.name);
            let mut state = before.cloned().unwrap_or_else(|| TableState::empty(table));
            if let Some(files) = staged.tables.get(&table.name) {
                state
                    .changes
                    .push(files.changes.iter().map(|f| folder.join(f)).collect());
                state.rows = files.rows;
            }
            tables.push(state);
        }
        return Ok(Some(Found {
            tables,
            previous,
            lost: Lost {
                rejected: staged.rejected,
                broken: staged.broken,
            },
            staging: Some(folder),
            release: staged.release,
        }));
    }
    let Some(manifest) = last else {
        return Ok(None);
    };
    let before = match manifest.parent {
        None => None,
        Some(parent) => Some(session.dataset.manifest(parent.release).await?),
    };
    let tables = of_release(bound, session, Some(manifest), false, &scratch).await?;
    Ok(Some(Found {
        tables: tables_of(bound, tables),
        previous: of_release(bound, session, before.as_ref(), false, &scratch).await?,
        lost: Lost {
            rejected: Rejected::new(),
            broken: totals(bound, &EngineState::of(&session.state).broken),
        },
        staging: None,
        release,
    }))
}

/// Every table of the pipeline, empty where the release lacks it.
fn tables_of(bound: &Bound, found: Vec<TableState>) -> Vec<TableState> {
    let of = |name: &str| found.iter().find(|t| t.name == name).cloned();
    let tables = bound.tables.iter();
    tables
        .map(|t| of(&t.name).unwrap_or_else(|| TableState::empty(t)))
        .collect()
}

/// The tables of a release that the pipeline still has; where they are made `anew`, from whatever is whole.
async fn of_release(
    bound: &Bound,
    session: &Session,
    manifest: Option<&Manifest>,
    anew: bool,
    scratch: &Path,
) -> Result<Vec<TableState>, EngineError> {
    let mut states = Vec::new();
    for table in &bound.tables {
        let Some(entry) = manifest.and_then(|m| m.tables.get(&table.name)) else {
            continue;
        };
        let former = Former::of(session, (&table.name, Some(entry)), anew, scratch).await?;
        states.push(TableState {
            name: table.name.clone(),
            schema: columns(table),
            base: former.base,
            changes: former.levels,
            rows: entry.row_count,
        });
    }
    Ok(states)
}

fn newest_staged(session: &Session) -> Result<Option<(PathBuf, Staged)>, EngineError> {
    let root = session.vault.staging();
    let entries = std::fs::read_dir(&root).map_err(|e| EngineError::io("read", &root, e))?;
    for entry in entries.flatten() {
        let path = entry.path().join(STAGED);
        // A run at work has no description; it is made when a gate stops it.
        let Ok(text) = std::fs::read(&path) else { continue };
        if let Ok(staged) = serde_json::from_slice::<Staged>(&text) {
            return Ok(Some((entry.path(), staged)));
        }
    }
    Ok(None)
}
