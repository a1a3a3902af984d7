//! Compares every published byte since the last rebase with the manifests, and names what does not fit.

use super::files::{is_data_file, is_own};
use super::manifest::{DataFile, Manifest, Parent, ReleaseKind, TableEntry};
use super::schema::{from_specs, schema_digest};
use super::table::fold;
use super::{Dataset, Hint, LATEST, Release};
use crate::rowhash::Fingerprint;
use crate::store::{PROBE, StoreErrorKind};
use crate::{CatalogError, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// What was compared, and what does not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The newest release.
    pub release: u64,
    /// The release it starts at: the last full or rebase.
    pub since: u64,
    /// Manifests read.
    pub manifests: u64,
    /// Data files read.
    pub files: u64,
    /// Bytes of data files read.
    pub bytes: u64,
    /// Table states whose rows were hashed again.
    pub states: u64,
    /// What does not fit, by path.
    pub findings: Vec<Finding>,
}

impl Verification {
    /// True when something published is damaged; orphans of stopped refreshes are not damage.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|f| f.kind != FindingKind::Orphan)
    }
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Which object, or which table of which release.
    pub path: String,
    /// How.
    pub kind: FindingKind,
    /// In words.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.detail)
    }
}

/// How something does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// Named, but not there.
    Missing,
    /// Another size.
    Size,
    /// Another content.
    Content,
    /// Does not read.
    Unreadable,
    /// Another number of rows.
    RowCount,
    /// The rows say something else than the fingerprint.
    Fingerprint,
    /// A manifest does not follow from its parent.
    Chain,
    /// Not of this dataset.
    Foreign,
    /// A data file that no manifest names, or a key of the store's probe: left by a refresh that was stopped, or not committed yet.
    Orphan,
}

/// Compares everything. Remote files are copied to `scratch` one table at a time. An error only when the store cannot
/// be listed.
pub async fn verify(dataset: &Dataset, scratch: &Path) -> Result<Verification> {
    let listed = dataset.retry.run(&dataset.env, || dataset.store.list("")).await?;
    let mut run = Run {
        dataset,
        scratch,
        out: Verification::default(),
        good: HashSet::new(),
        damaged: HashSet::new(),
    };
    let releases: Vec<u64> = {
        let mut all: Vec<u64> = listed
            .iter()
            .filter_map(|o| Manifest::release_of(&o.key))
            .filter(|n| *n > 0)
            .collect();
        all.sort_unstable();
        all
    };
    let read = run.chain(&releases).await?;
    run.hint(&read, releases.last().copied()).await?;
    let named: BTreeSet<&str> = read
        .values()
        .flat_map(|r| r.manifest.tables.values())
        .flat_map(TableEntry::files)
        .map(|f| &*f.path)
        .collect();
    for object in &listed {
        if named.contains(object.key.as_str()) || is_own(&object.key) {
            continue;
        }
        if object.key.starts_with(PROBE) {
            run.find(
                &object.key,
                FindingKind::Orphan,
                "left by a first refresh that was stopped",
            );
        } else if is_data_file(&object.key) {
            run.find(&object.key, FindingKind::Orphan, "no release names it");
        } else {
            run.find(&object.key, FindingKind::Foreign, "not a file of this dataset");
        }
    }
    let since = read
        .values()
        .filter(|r| r.manifest.kind != ReleaseKind::Delta)
        .map(|r| r.manifest.release)
        .max();
    run.out.release = releases.last().copied().unwrap_or(0);
    run.out.since = since.unwrap_or(0);
    for release in read.range(run.out.since..).map(|(_, r)| r) {
        for entry in release.manifest.tables.values() {
            for file in entry.files() {
                run.file(file).await?;
            }
        }
    }
    run.states(&read).await?;
    run.out.findings.sort();
    run.out.findings.dedup();
    Ok(run.out)
}

struct Run<'a> {
    dataset: &'a Dataset,
    scratch: &'a Path,
    out: Verification,
    good: HashSet<DataFile>,
    damaged: HashSet<DataFile>,
}

impl Run<'_> {
    fn find(&mut self, path: &str, kind: FindingKind, detail: impl Into<String>) {
        self.out.findings.push(Finding {
            path: path.to_owned(),
            kind,
            detail: detail.into(),
        });
    }

    /// Reads all manifests: none may be missing, damaged or out of the chain.
    async fn chain(&mut self, releases: &[u64]) -> Result<BTreeMap<u64, Release>> {
        let mut read: BTreeMap<u64, Release> = BTreeMap::new();
        let mut before = 0;
        for &n in releases {
            let key = Manifest::key(n);
            match n - before {
                0 | 1 => {}
                2 => self.find(&Manifest::key(n - 1), FindingKind::Missing, "this release is missing"),
                _ => {
                    let detail = format!("this release and all up to {} are missing", n - 1);
                    self.find(&Manifest::key(before + 1), FindingKind::Missing, detail);
                }
            }
            before = n;
            let release = match self.dataset.release(n).await {
                Ok(release) => release,
                Err(CatalogError::NotFound(_)) => {
                    self.find(&key, FindingKind::Missing, "this release is missing");
                    continue;
                }
                Err(CatalogError::Damaged { reason, .. }) => {
                    self.find(&key, FindingKind::Content, reason);
                    continue;
                }
                Err(e @ CatalogError::Store(_)) => return Err(e),
                Err(e) => {
                    self.find(&key, FindingKind::Unreadable, e.to_string());
                    continue;
                }
            };
            self.out.manifests += 1;
            let expected = read.get(&(n - 1)).map(Release::as_parent);
            match (release.manifest.parent, expected) {
                (None, _) if n > 1 => self.find(&key, FindingKind::Chain, "names no parent"),
                (Some(_), _) if n == 1 => self.find(&key, FindingKind::Chain, "release 1 names a parent"),
                (Some(Parent { release, .. }), _) if release != n - 1 => {
                    self.find(&key, FindingKind::Chain, format!("its parent is release {release}"));
                }
                (Some(parent), Some(expected)) if parent != expected => {
                    self.find(
                        &key,
                        FindingKind::Chain,
                        "names another digest of its parent's manifest",
                    );
                }
                _ => {}
            }
            for (name, table) in &release.manifest.tables {
                if schema_digest(&table.schema) != table.schema_sha256 {
                    let detail = format!("table {name}: the schema's digest does not fit");
                    self.find(&key, FindingKind::Content, detail);
                }
            }
            read.insert(n, release);
        }
        Ok(read)
    }

    /// The hint may be behind, but not wrong or ahead.
    async fn hint(&mut self, read: &BTreeMap<u64, Release>, newest: Option<u64>) -> Result<()> {
        let bytes = match self.dataset.store.get(LATEST).await {
            Err(e) if e.kind == StoreErrorKind::NotFound => return Ok(()),
            bytes => bytes?,
        };
        match serde_json::from_slice::<Hint>(&bytes) {
            Err(_) => self.find(LATEST, FindingKind::Content, "does not read as a hint"),
            Ok(hint) if Some(hint.release) > newest => {
                let detail = format!("{LATEST} names this release, which is not there");
                self.find(&Manifest::key(hint.release), FindingKind::Missing, detail);
            }
            Ok(hint) => {
                if read.get(&hint.release).is_none_or(|r| r.sha256 != hint.sha256) {
                    self.find(
                        LATEST,
                        FindingKind::Content,
                        "names another digest of its release's manifest",
                    );
                }
            }
        }
        Ok(())
    }

    /// Size and digest of a data file, each once.
    async fn file(&mut self, file: &DataFile) -> Result<()> {
        if self.good.contains(file) || self.damaged.contains(file) {
            return Ok(());
        }
        let (store, env) = (&self.dataset.store, &self.dataset.env);
        let finding = match self.dataset.retry.run(env, || store.digest(&file.path)).await {
            Err(e) if e.kind == StoreErrorKind::NotFound => Some((FindingKind::Missing, "missing".to_owned())),
            Err(e) => Some((FindingKind::Unreadable, e.reason)),
            Ok((size, _)) if size != file.size => {
                Some((FindingKind::Size, format!("{size} bytes instead of {}", file.size)))
            }
            Ok((_, sha256)) if sha256 != file.sha256 => {
                Some((FindingKind::Content, "its content does not fit its digest".to_owned()))
            }
            Ok((size, _)) => {
                self.out.bytes += size;
                None
            }
        };
        self.out.files += 1;
        match finding {
            None => {
                self.good.insert(file.clone());
            }
            Some((kind, detail)) => {
                self.find(&file.path, kind, detail);
                self.damaged.insert(file.clone());
            }
        }
        Ok(())
    }

    /// Hashes the rows of each table state that is whole, each once, and compares with its manifest.
    async fn states(&mut self, read: &BTreeMap<u64, Release>) -> Result<()> {
        let mut known: BTreeMap<String, Fingerprint> = BTreeMap::new();
        for (n, release) in read.range(self.out.since..) {
            for (name, entry) in &release.manifest.tables {
                if entry.files().any(|f| self.damaged.contains(f)) {
                    continue;
                }
                let what = format!("{}: table {name}", Manifest::key(*n));
                let changes = entry.changes.clone();
                if let Err(e) = self.count_rows(&changes).await {
                    self.find(&what, FindingKind::RowCount, e.to_string());
                }
                let key: String = entry
                    .base
                    .iter()
                    .chain(&entry.overlay)
                    .map(|f| f.sha256.to_string())
                    .collect();
                let key = format!("{name} {} {key}", entry.schema_sha256);
                let found = match known.get(&key) {
                    Some(found) => *found,
                    None => match self.state(entry).await {
                        Ok(found) => {
                            self.out.states += 1;
                            known.insert(key, found);
                            found
                        }
                        Err(e) => {
                            self.find(&what, FindingKind::Unreadable, e.to_string());
                            continue;
                        }
                    },
                };
                if found.count != entry.row_count {
                    let detail = format!("{} rows instead of {}", found.count, entry.row_count);
                    self.find(&what, FindingKind::RowCount, detail);
                } else if found != entry.fingerprint {
                    self.find(&what, FindingKind::Fingerprint, "its rows have another fingerprint");
                }
            }
        }
        Ok(())
    }

    async fn state(&self, entry: &TableEntry) -> Result<Fingerprint> {
        self.count_rows(&entry.base).await?;
        let (mut base, mut overlay) = (Vec::new(), Vec::new());
        for file in &entry.base {
            base.push(self.dataset.fetch_unchecked(file, self.scratch).await?);
        }
        for file in &entry.overlay {
            overlay.push(vec![self.dataset.fetch_unchecked(file, self.scratch).await?]);
        }
        let schema = from_specs(&entry.schema)?;
        super::blocking(move || {
            let mut all = Fingerprint::default();
            for rows in fold(base, overlay, schema)? {
                all.merge(Fingerprint::of(&rows?)?);
            }
            Ok(all)
        })
        .await
    }

    /// Compares the row counts in the files' own footers with the manifest.
    async fn count_rows(&self, files: &[DataFile]) -> Result<()> {
        for file in files {
            let path: PathBuf = self.dataset.fetch_unchecked(file, self.scratch).await?;
            let (name, rows) = (file.path.clone(), file.rows);
            super::blocking(move || {
                let open = clinmill_sdk::regular::open(&path).map_err(CatalogError::io("read", &path))?;
                let reader = parquet::file::serialized_reader::SerializedFileReader::new(open)
                    .map_err(CatalogError::parquet(&name))?;
                let found = parquet::file::reader::FileReader::metadata(&reader)
                    .file_metadata()
                    .num_rows();
                if found == rows as i64 {
                    return Ok(());
                }
                Err(CatalogError::damaged(name, format!("{found} rows instead of {rows}")))
            })
            .await?;
        }
        Ok(())
    }
}
