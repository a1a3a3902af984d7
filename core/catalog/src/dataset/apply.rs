//! The buyer's side: a local copy of a dataset, caught up by changes.
//!
//! ```text
//! <dir>/current -> releases/00000007         swapped in one rename: all tables of a release appear at once
//! <dir>/releases/00000007/<table>.parquet    the state of a table
//! <dir>/releases/00000007/state.json         which release of which dataset it is, written last
//! ```
//!
//! Releases are applied one by one and each table's fingerprint is compared with the manifest after each; a copy
//! that is new, or behind a rebase, starts from the newest state instead. A process that dies leaves the copy as it
//! was; calling again goes on. One call at a time for a folder. A file of the copy that is missing or has another size is
//! refused; what goes into the next release is read whole and compared with its digest.

use super::schema::from_specs;
use super::table::{FileTarget, TableWriter, WriterOptions, fold, read_files};
use super::{Dataset, Manifest, Release, ReleaseKind, TableEntry};
use crate::hashed::Hashed;
use crate::rowhash::Fingerprint;
use crate::{CatalogError, Result};
use clinmill_model::Digest;
use clinmill_model::columns::OP;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What an [`apply()`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Apply {
    /// The release of the copy before; none for a new one.
    pub from: Option<u64>,
    /// The release of the copy now.
    pub to: u64,
    /// True when the state was read whole, false when changes were applied.
    pub restarted: bool,
    /// By table.
    pub tables: BTreeMap<String, AppliedTable>,
}

/// What an [`apply()`] did to one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AppliedTable {
    /// Rows now.
    pub rows: u64,
    /// Changes applied that upsert a row.
    pub upserts: u64,
    /// Changes applied that delete a row.
    pub deletes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    dataset: String,
    release: u64,
    manifest_sha256: Digest,
    tables: BTreeMap<String, StateTable>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct StateTable {
    rows: u64,
    size: u64,
    sha256: Digest,
    fingerprint: Fingerprint,
    schema_sha256: Digest,
}

/// Catches up the copy in `dir` to release `until`, or the newest.
pub async fn apply(dataset: &Dataset, dir: &Path, until: Option<u64>) -> Result<Apply> {
    let releases = dataset.releases().await?;
    let target = match until {
        Some(n) if releases.contains(&n) => n,
        Some(n) => return Err(CatalogError::NotFound(format!("release {n} of {}", dataset.url()))),
        None => *releases
            .last()
            .ok_or_else(|| CatalogError::NotFound(format!("a release of {}", dataset.url())))?,
    };
    let mut local = read_state(dir)?;
    if local.is_none() {
        only_ours(dir)?;
    }
    apart(&dataset.url(), dir)?;
    let mut done = Apply {
        from: local.as_ref().map(|s| s.release),
        to: target,
        ..Apply::default()
    };
    if let Some(state) = &local {
        let same = dataset
            .release(state.release)
            .await
            .is_ok_and(|r| r.sha256 == state.manifest_sha256);
        if !same {
            return Err(CatalogError::refused(
                format!("{} is not a copy of {}", dir.display(), dataset.url()),
                "its release is unknown there; apply to an empty folder",
            ));
        }
        for (name, table) in &state.tables {
            let path = table_path(dir, state.release, name);
            if fs::metadata(&path).map_or(0, |m| m.len()) != table.size {
                return Err(changed(&path));
            }
        }
        if state.release > target {
            return Err(CatalogError::refused(
                format!("the copy is at release {}, after {target}", state.release),
                "apply to an empty folder",
            ));
        }
    }
    let mut next = match &local {
        Some(state) if !rebased(dataset, state.release, target).await? => state.release + 1,
        _ => {
            done.restarted = true;
            target
        }
    };
    if done.restarted {
        local = None;
    }
    while next <= target {
        let release = dataset.release(next).await?;
        let state = step(dataset, dir, local.as_ref(), release, &mut done).await?;
        local = Some(state);
        next += 1;
    }
    for (name, table) in local.iter().flat_map(|s| &s.tables) {
        done.tables.entry(name.clone()).or_default().rows = table.rows;
    }
    Ok(done)
}

/// True when the change files between two releases may be gone: a rebase lies after the next release. The rebase's
/// own changes are there, so the release right before it can go on.
async fn rebased(dataset: &Dataset, from: u64, target: u64) -> Result<bool> {
    for release in from + 2..=target {
        if dataset.manifest(release).await?.kind == ReleaseKind::Rebase {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes the copy of one release, from the copy before it or from the dataset's state.
async fn step(dataset: &Dataset, dir: &Path, before: Option<&State>, to: Release, done: &mut Apply) -> Result<State> {
    let manifest = to.manifest;
    let new = dir.join("releases").join(format!(".new-{:08}", manifest.release));
    if new.exists() {
        fs::remove_dir_all(&new).map_err(CatalogError::io("remove", &new))?;
    }
    fs::create_dir_all(&new).map_err(CatalogError::io("create", &new))?;
    let mut tables = BTreeMap::new();
    for (name, entry) in &manifest.tables {
        super::commit::check_table_name(name)?;
        let old = before.and_then(|s| Some((table_path(dir, s.release, name), *s.tables.get(name)?)));
        let target = new.join(format!("{name}.parquet"));
        let made = match old {
            Some((path, state)) => {
                let held = path.clone();
                let held = super::blocking(move || Hashed::file(&held).map_err(CatalogError::io("read", held))).await?;
                if held != (state.size, state.sha256) {
                    return Err(changed(&path));
                }
                let changes = dataset.fetch_all(&entry.changes, &new).await?;
                let counts = done.tables.entry(name.clone()).or_default();
                update(entry.clone(), state, path, changes, target, counts).await?
            }
            // A table that came with this release has all its rows in its changes, and in its base.
            None => {
                let base = dataset.fetch_all(&entry.base, &new).await?;
                let mut overlay = Vec::new();
                for file in &entry.overlay {
                    overlay.push(vec![dataset.fetch(file, &new).await?]);
                }
                write_state(entry.clone(), base, overlay, target).await?
            }
        };
        if made.fingerprint != entry.fingerprint {
            return Err(CatalogError::damaged(
                format!("table {name} of release {}", manifest.release),
                "the applied state has another fingerprint than the manifest: where `verify` finds the dataset whole, remove the copy and apply again",
            ));
        }
        tables.insert(name.clone(), made);
    }
    let state = State {
        dataset: manifest.dataset.clone(),
        release: manifest.release,
        manifest_sha256: to.sha256,
        tables,
    };
    publish(dir, &new, &state, &manifest)?;
    Ok(state)
}

fn changed(path: &Path) -> CatalogError {
    CatalogError::refused(
        format!("{} is not as `apply` left it", path.display()),
        "remove the copy, or apply to an empty folder: it is made anew",
    )
}

/// Applies one release's changes to a table's file.
async fn update(
    entry: TableEntry,
    state: StateTable,
    old: PathBuf,
    changes: Vec<PathBuf>,
    target: PathBuf,
    counts: &mut AppliedTable,
) -> Result<StateTable> {
    if changes.is_empty() && entry.schema_sha256 == state.schema_sha256 {
        fs::hard_link(&old, &target)
            .or_else(|_| fs::copy(&old, &target).map(drop))
            .map_err(CatalogError::io("copy", &old))?;
        return Ok(state);
    }
    for batch in read_files(changes.clone()).only(&[OP]) {
        let ops = super::table::text(&batch?, OP)?;
        for op in ops.iter().flatten() {
            match op {
                Some("D") => counts.deletes += 1,
                _ => counts.upserts += 1,
            }
        }
    }
    write_state(entry, vec![old], vec![changes], target).await
}

async fn write_state(
    entry: TableEntry,
    base: Vec<PathBuf>,
    changes: Vec<Vec<PathBuf>>,
    target: PathBuf,
) -> Result<StateTable> {
    super::blocking(move || {
        let schema = from_specs(&entry.schema)?;
        let dir = target.with_extension("parts");
        let mut writer = TableWriter::new(
            FileTarget {
                dir: dir.clone(),
                run_id: String::new(),
            },
            schema.clone(),
            WriterOptions {
                file_bytes: u64::MAX,
                ..WriterOptions::default()
            },
        )?;
        let mut fingerprint = Fingerprint::default();
        for rows in fold(base, changes, schema)? {
            let rows = rows?;
            fingerprint.merge(Fingerprint::of(&rows)?);
            writer.write(&rows)?;
        }
        let file = writer.finish_one()?;
        fs::rename(&file.path, &target).map_err(CatalogError::io("rename", &target))?;
        fs::remove_dir(&dir).map_err(CatalogError::io("remove", &dir))?;
        Ok(StateTable {
            rows: file.rows,
            size: file.size,
            sha256: file.sha256,
            fingerprint,
            schema_sha256: entry.schema_sha256,
        })
    })
    .await
}

/// Makes a finished folder the current one, then removes the older ones.
fn publish(dir: &Path, new: &Path, state: &State, manifest: &Manifest) -> Result<()> {
    // Copies of remote files that were only needed for folding.
    for entry in fs::read_dir(new).map_err(CatalogError::io("read", new))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name
            .strip_suffix(".parquet")
            .is_some_and(|t| manifest.tables.contains_key(t))
        {
            fs::remove_file(entry.path()).map_err(CatalogError::io("remove", entry.path()))?;
        }
    }
    let path = new.join("state.json");
    let text = serde_json::to_vec_pretty(state).map_err(CatalogError::json("state.json"))?;
    fs::write(&path, text).map_err(CatalogError::io("write", &path))?;
    sync(&path)?;
    sync(new)?;

    let releases = dir.join("releases");
    let folder = releases.join(format!("{:08}", state.release));
    if folder.exists() {
        // Left by a process that died between the two renames, or the base of a restart at the same release.
        let old = releases.join(format!(".old-{:08}", state.release));
        if old.exists() {
            fs::remove_dir_all(&old).map_err(CatalogError::io("remove", &old))?;
        }
        fs::rename(&folder, &old).map_err(CatalogError::io("rename", &folder))?;
    }
    fs::rename(new, &folder).map_err(CatalogError::io("rename", &folder))?;
    sync(&releases)?;
    let (link, now) = (dir.join("current.new"), dir.join("current"));
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link).map_err(CatalogError::io("remove", &link))?;
    }
    symlink(&Path::new("releases").join(format!("{:08}", state.release)), &link)
        .map_err(CatalogError::io("link", &link))?;
    fs::rename(&link, &now).map_err(CatalogError::io("rename", &now))?;
    sync(dir)?;
    for entry in fs::read_dir(&releases)
        .map_err(CatalogError::io("read", &releases))?
        .flatten()
    {
        if entry.path() != folder {
            fs::remove_dir_all(entry.path()).map_err(CatalogError::io("remove", entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn symlink(to: &Path, at: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

#[cfg(not(unix))]
fn symlink(_to: &Path, _at: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn sync(path: &Path) -> Result<()> {
    let file = fs::File::open(path).map_err(CatalogError::io("sync", path))?;
    file.sync_all().map_err(CatalogError::io("sync", path))
}

fn table_path(dir: &Path, release: u64, table: &str) -> PathBuf {
    dir.join("releases")
        .join(format!("{release:08}"))
        .join(format!("{table}.parquet"))
}

/// Refuses a folder that holds anything but what a stopped call left.
fn only_ours(dir: &Path) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(CatalogError::io("read", dir))?,
    };
    for entry in entries {
        let name = entry.map_err(CatalogError::io("read", dir))?.file_name();
        if ["releases", "current", "current.new"].iter().all(|ours| name != *ours) {
            return Err(CatalogError::refused(
                format!("{} holds something else than a copy", dir.display()),
                "apply to a new folder, or to one that `apply` made",
            ));
        }
    }
    Ok(())
}

/// Refuses a copy in the dataset's folder, and one around it: neither may hold the other's files.
fn apart(url: &str, dir: &Path) -> Result<()> {
    let Some(root) = url.strip_prefix("file:") else {
        return Ok(());
    };
    let (root, copy) = (real(Path::new(root)), real(dir));
    if copy.starts_with(&root) || root.starts_with(&copy) {
        return Err(CatalogError::refused(
            format!("{} and the dataset {url} lie one in the other", dir.display()),
            "apply to a folder beside the dataset",
        ));
    }
    Ok(())
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = path
        .ancestors()
        .find_map(|above| Some((above, above.canonicalize().ok()?)));
    found.map_or(path.clone(), |(above, real)| match path.strip_prefix(above) {
        Ok(rest) if rest.as_os_str().is_empty() => real,
        Ok(rest) => real.join(rest),
        Err(_) => path.clone(),
    })
}

fn read_state(dir: &Path) -> Result<Option<State>> {
    let path = dir.join("current").join("state.json");
    match clinmill_sdk::regular::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => {
            let bytes = read.map_err(CatalogError::io("read", &path))?;
            serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(CatalogError::json(path.display().to_string()))
        }
    }
}
