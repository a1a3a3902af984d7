//! The commit of a release: one create-if-absent write of its manifest makes all its tables visible at once.
//!
//! An error of that write does not mean "not committed", and "already exists" does not mean "somebody else": after
//! any error the manifest is read back and its commit id compared.

use super::manifest::{Counts, FORMAT_VERSION, GateResult, Manifest, MappingRef, Parent, PluginRef, ReleaseKind};
use super::manifest::{Dimension, Score, TableEntry, VaultRef};
use super::{Dataset, Hint, LATEST, Release, parse};
use crate::steps::step;
use crate::store::StoreErrorKind;
use crate::{CatalogError, Result};
use clinmill_model::Digest;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A release to be: everything that the engine says of it. Number, commit id and time are given by the commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The dataset's name.
    pub dataset: String,
    /// The refresh that made it.
    pub run_id: String,
    /// The release that it was computed from; none for the first.
    pub parent: Option<Parent>,
    /// What kind of release.
    pub kind: ReleaseKind,
    /// Whether a locked de-identification policy was in force.
    pub deidentified: bool,
    /// The vault.
    pub vault: VaultRef,
    /// The pipeline file.
    pub pipeline_sha256: Digest,
    /// The version of the program.
    pub engine_version: String,
    /// The plugins that took part.
    pub plugins: Vec<PluginRef>,
    /// The mappings that took part.
    pub mappings: Vec<MappingRef>,
    /// All tables, also those without changes. Their new files were put with [`Dataset::put_file`].
    pub tables: BTreeMap<String, TableEntry>,
    /// What became of what was read.
    pub counts: Counts,
    /// The gates that were passed, and those that only warn.
    pub gates: Vec<GateResult>,
    /// What the gates counted.
    pub scores: BTreeMap<Dimension, Score>,
}

impl Draft {
    /// The number that this release will have.
    pub fn release(&self) -> u64 {
        self.parent.map_or(1, |p| p.release + 1)
    }
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq)]
pub enum CommitOutcome {
    /// It is a release now, and durable.
    Committed(Box<Release>),
    /// Another writer was first: start again from discover.
    Lost,
}

impl Dataset {
    /// Commits a release. `Committed` is returned only when it is, `Lost` only when it is not and never will be;
    /// [`CatalogError::CommitUnknown`] when the store does not say, which running again settles.
    pub async fn commit(&self, draft: Draft) -> Result<CommitOutcome> {
        check(&draft)?;
        step("commit.before-list");
        let newest = self.releases().await?.last().copied();
        if newest != draft.parent.map(|p| p.release) {
            return Ok(CommitOutcome::Lost);
        }
        let mut published = BTreeSet::new();
        if let Some(parent) = draft.parent {
            let found = self.release(parent.release).await?;
            if found.sha256 != parent.sha256 {
                return Err(CatalogError::damaged(
                    Manifest::key(parent.release),
                    "it is not the manifest that this release was computed from",
                ));
            }
            for table in found.manifest.tables.into_values() {
                published.extend(table.files().cloned().map(|f| f.path));
            }
        }
        let new = draft
            .tables
            .values()
            .flat_map(TableEntry::files)
            .filter(|f| !published.contains(&f.path));
        let deadline = self.check_present(new).await?;

        let manifest = self.number(draft);
        let release = self.put_manifest(&manifest, deadline).await?;
        if let Some(release) = &release {
            step("commit.before-hint");
            let hint = Hint {
                release: release.manifest.release,
                sha256: release.sha256,
            };
            let hint = serde_json::to_vec(&hint).map_err(CatalogError::json(LATEST))?;
            // A hint: the release is committed whether it is written or not.
            let _ = self
                .retry
                .run(&self.env, || self.store.put(LATEST, hint.clone().into()))
                .await;
            step("commit.done");
        }
        Ok(release.map_or(CommitOutcome::Lost, |r| CommitOutcome::Committed(Box::new(r))))
    }

    fn number(&self, draft: Draft) -> Manifest {
        Manifest {
            format_version: FORMAT_VERSION,
            release: draft.release(),
            commit_id: self.env.uuid(),
            transaction_time: self.env.clock.now(),
            dataset: draft.dataset,
            run_id: draft.run_id,
            parent: draft.parent,
            kind: draft.kind,
            deidentified: draft.deidentified,
            vault: draft.vault,
            pipeline_sha256: draft.pipeline_sha256,
            engine_version: draft.engine_version,
            plugins: draft.plugins,
            mappings: draft.mappings,
            tables: draft.tables,
            counts: draft.counts,
            gates: draft.gates,
            scores: draft.scores,
        }
    }

    /// Writes the manifest under its number, not after the deadline of its files. None: another writer's stands there.
    async fn put_manifest(&self, manifest: &Manifest, deadline: Timestamp) -> Result<Option<Release>> {
        let key = Manifest::key(manifest.release);
        let bytes = manifest.to_bytes()?;
        let mine = parse(&key, &bytes)?;
        let mut reason = String::new();
        for attempt in 1..=self.retry.attempts {
            if self.env.clock.now() > deadline {
                reason = "its data files became too old meanwhile".into();
                break;
            }
            step("commit.before-put");
            let put = self.store.put_if_absent(&key, bytes.clone()).await;
            step("commit.after-put");
            let Err(e) = put else {
                return Ok(Some(mine));
            };
            reason.clone_from(&e.reason);
            match self.read_back(&key, manifest, &mut reason).await {
                ReadBack::Mine => {
                    // Somebody's write made it visible, maybe a call of ours that was cut off before it was durable.
                    self.retry.run(&self.env, || self.store.sync(&key)).await?;
                    return Ok(Some(mine));
                }
                ReadBack::Anothers => return Ok(None),
                // Denied, or a full disk: not there, and no use in trying again.
                ReadBack::Absent if attempt == 1 && e.kind == StoreErrorKind::Permanent => return Err(e.into()),
                // The same bytes again: were the first write still to arrive, either of the two wins.
                ReadBack::Absent | ReadBack::Unknown => self.retry.wait(&self.env, attempt).await,
            }
        }
        // Nothing more is written from here on, but a write of ours may still arrive.
        for attempt in 1..=self.retry.attempts {
            match self.read_back(&key, manifest, &mut reason).await {
                ReadBack::Mine => return Ok(Some(mine)),
                ReadBack::Anothers => return Ok(None),
                ReadBack::Absent | ReadBack::Unknown => self.retry.wait(&self.env, attempt).await,
            }
        }
        Err(CatalogError::CommitUnknown {
            release: manifest.release,
            reason,
        })
    }

    async fn read_back(&self, key: &str, manifest: &Manifest, reason: &mut String) -> ReadBack {
        // A read that fails or comes back damaged says nothing: again, up to the patience of the policy.
        for attempt in 1..=self.retry.attempts {
            let e = match self.try_get(key).await {
                Ok(None) => return ReadBack::Absent,
                Ok(Some(bytes)) => match Manifest::from_bytes(key, &bytes) {
                    Ok(found) if found.commit_id == manifest.commit_id => return ReadBack::Mine,
                    Ok(_) => return ReadBack::Anothers,
                    Err(e) => e.to_string(),
                },
                Err(e) => e.reason,
            };
            *reason = e;
            self.retry.wait(&self.env, attempt).await;
        }
        ReadBack::Unknown
    }
}

enum ReadBack {
    Mine,
    Anothers,
    Absent,
    Unknown,
}

/// What can be known to be wrong with a draft before anything is written.
fn check(draft: &Draft) -> Result<()> {
    let bad = |what: String, reason: &str| Err(CatalogError::invalid(what, reason));
    if draft.parent.is_none() && draft.kind == ReleaseKind::Delta {
        return bad("release 1".into(), "the first release is of kind full");
    }
    if let Some(gate) = draft.gates.iter().find(|g| g.blocks()) {
        return bad(
            format!("gate {}", gate.name),
            "a release with a failed gate is not committed",
        );
    }
    for (name, table) in &draft.tables {
        check_table_name(name)?;
        if table.fingerprint.count != table.row_count {
            return bad(
                format!("table {name}"),
                "its fingerprint counts other rows than its row count",
            );
        }
        let folder = format!("tables/{name}/");
        if let Some(file) = table.files().find(|f| !f.path.starts_with(&folder)) {
            return bad(format!("table {name}"), &format!("{} is not in its folder", file.path));
        }
    }
    Ok(())
}

/// Table names are folder names: lower-case letters, digits and `_`, beginning with a letter, at most 63.
pub(super) fn check_table_name(name: &str) -> Result<()> {
    let good = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if good {
        return Ok(());
    }
    Err(CatalogError::invalid(
        format!("table name {name:?}"),
        "use lower-case letters, digits and _, beginning with a letter, at most 63 characters",
    ))
}
