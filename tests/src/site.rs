//! A pipeline that runs in this process: the engine as the command calls it, without starting the command.

use crate::{
    Project,
    state::{Change, Rows, changes_of, rows_of},
};
use clinmill_catalog::{
    env::Env,
    vault::{QuarantineFilter, QuarantineRecord},
};
use clinmill_engine::{
    EngineError,
    bound::{self, Bound},
    inspect::{self, PlanReport},
    refresh::{self, Access, RefreshOptions, RunReport, Session, Silent},
    trace::{self, TraceReport},
};
use clinmill_sdk::Registry;
use clinmill_tests_abi::registry;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};
use tokio::runtime::Runtime;

/// The key of every site's vault: equal keys make equal row ids, so that datasets can be compared.
const KEY: &str = "c1d2e3f405162738495a6b7c8d9eafb0a1b2c3d4e5f60718293a4b5c6d7e8f90";

/// A pipeline with its inbox, vault and dataset, gone at the end.
pub struct Site {
    project: Project,
    home: PathBuf,
    runtime: Runtime,
    registry: Registry,
}

impl Site {
    /// A pipeline of this text, in an empty folder. Its vault is to have the key `{ $secret: vault_key }`.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn new(pipeline: &str) -> Self {
        let project = Project::new();
        project.write("pipeline.yaml", pipeline);
        let home = project.path().to_path_buf();
        Self {
            project,
            home,
            runtime: runtime(),
            registry: registry(),
        }
    }

    /// One of the repository's pipelines with an empty inbox, and a vault whose key is given.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn of_pipeline(name: &str) -> Self {
        let project = Project::of_pipeline(name);
        let home = project.at("pipelines").join(name);
        let site = Self {
            project,
            home,
            runtime: runtime(),
            registry: registry(),
        };
        site.edit(|text| {
            assert!(text.contains("key: auto"));
            text.replace("key: auto", "key: { $secret: vault_key }")
        });
        site
    }

    /// The same pipeline with other plugins.
    pub fn with(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// A path beside the pipeline file.
    pub fn at(&self, path: &str) -> PathBuf {
        self.home.join(path)
    }

    /// The pipeline file.
    pub fn file(&self) -> PathBuf {
        self.at("pipeline.yaml")
    }

    /// The project around it, to run the binary in; it finds the vault's key in the environment.
    pub fn project(self) -> Project {
        self.project.env("VAULT_KEY", KEY)
    }

    /// Writes a file beside the pipeline file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        let parent = path.parent().unwrap_or(&self.home);
        if let Err(error) = fs::create_dir_all(parent).and_then(|()| fs::write(&path, content)) {
            panic!("cannot write {}: {error}", path.display());
        }
    }

    /// Deletes a file or a folder beside the pipeline file.
    ///
    /// # Panics
    /// When it cannot be deleted.
    pub fn remove(&self, path: &str) {
        let path = self.at(path);
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        if let Err(error) = removed {
            panic!("cannot delete {}: {error}", path.display());
        }
    }

    /// Changes the pipeline file.
    ///
    /// # Panics
    /// When nothing changes.
    pub fn edit(&self, change: impl FnOnce(&str) -> String) {
        let text = fs::read_to_string(self.file()).unwrap_or_default();
        let changed = change(&text);
        assert_ne!(text, changed, "the pipeline file stays as it is");
        self.put("pipeline.yaml", changed);
    }

    /// The pipeline, bound.
    ///
    /// # Panics
    /// With all findings when it is not valid.
    pub fn bind(&self) -> Bound {
        match self
            .runtime
            .block_on(bound::bind(&self.file(), &self.registry, &|_| None))
        {
            Ok(bound) => bound,
            Err(refused) => panic!("{:#?}", refused.diagnostics),
        }
    }

    /// One refresh.
    ///
    /// # Errors
    /// As the engine's.
    pub fn try_refresh(&self, options: &RefreshOptions) -> Result<RunReport, EngineError> {
        let bound = self.bind();
        let cancelled = AtomicBool::new(false);
        self.runtime.block_on(refresh::refresh(
            &bound,
            &Env::system(),
            &secret,
            options,
            &cancelled,
            &Silent,
        ))
    }

    /// One refresh that works.
    ///
    /// # Panics
    /// When it fails.
    pub fn refresh(&self) -> RunReport {
        self.refresh_with(&RefreshOptions::default())
    }

    /// One refresh that works, with options.
    ///
    /// # Panics
    /// When it fails.
    pub fn refresh_with(&self, options: &RefreshOptions) -> RunReport {
        match self.try_refresh(options) {
            Ok(report) => report,
            Err(error) => panic!("the refresh failed: {error}"),
        }
    }

    /// Every row of a table at the last release, each with where it comes from.
    ///
    /// # Panics
    /// When tracing fails.
    pub fn trace_all(&self, table: &str) -> Vec<TraceReport> {
        let bound = self.bind();
        match self
            .runtime
            .block_on(trace::trace_all(&bound, &Env::system(), &secret, table))
        {
            Ok(reports) => reports,
            Err(error) => panic!("the trace failed: {error}"),
        }
    }

    /// One row, with the bytes it comes from.
    ///
    /// # Panics
    /// When tracing fails.
    pub fn trace(&self, table: &str, row_id: &str) -> TraceReport {
        let bound = self.bind();
        match self
            .runtime
            .block_on(trace::trace(&bound, &Env::system(), &secret, table, row_id))
        {
            Ok(report) => report,
            Err(error) => panic!("the trace failed: {error}"),
        }
    }

    /// What a refresh would do.
    ///
    /// # Panics
    /// When it cannot be said.
    pub fn plan(&self) -> PlanReport {
        let (bound, env) = (self.bind(), Env::system());
        let plan = inspect::plan(&bound, &env, &secret, &self.registry, &|_| None, false);
        match self.runtime.block_on(plan) {
            Ok(plan) => plan,
            Err(error) => panic!("there is no plan: {error}"),
        }
    }

    /// Vault, dataset and last release, to look at.
    ///
    /// # Panics
    /// When they do not open.
    pub fn session(&self) -> Session {
        let bound = self.bind();
        match self
            .runtime
            .block_on(Session::open(&bound, &Env::system(), &secret, Access::Read))
        {
            Ok(session) => session,
            Err(error) => panic!("the vault does not open: {error}"),
        }
    }

    /// Everything in quarantine at the last release.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn quarantine(&self) -> Vec<QuarantineRecord> {
        let session = self.session();
        let quarantine = session.vault.quarantine();
        match quarantine.list(&session.state.quarantine, &QuarantineFilter::default(), usize::MAX) {
            Ok(records) => records,
            Err(error) => panic!("the quarantine does not read: {error}"),
        }
    }

    /// The vault's folder.
    pub fn vault(&self) -> PathBuf {
        self.folder("vault")
    }

    /// The dataset's folder.
    pub fn dataset(&self) -> PathBuf {
        self.folder("out")
    }

    /// The numbers of the releases there are.
    pub fn releases(&self) -> Vec<u64> {
        let names = fs::read_dir(self.dataset().join("_releases"))
            .into_iter()
            .flatten()
            .flatten();
        let mut releases: Vec<u64> = names
            .filter_map(|n| n.file_name().to_str()?.strip_suffix(".json")?.parse().ok())
            .collect();
        releases.sort_unstable();
        releases
    }

    /// The manifest of a release.
    ///
    /// # Panics
    /// When there is none.
    pub fn manifest(&self, release: u64) -> Value {
        let path = self.dataset().join(format!("_releases/{release:08}.json"));
        let text = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{} is no JSON: {error}", path.display()))
    }

    /// The tables of a release.
    pub fn tables(&self, release: u64) -> Vec<String> {
        let tables = self.manifest(release)["tables"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        tables.keys().cloned().collect()
    }

    /// All rows of a table at a release, from its base and overlay files.
    pub fn rows(&self, release: u64, table: &str) -> Rows {
        rows_of(&self.dataset(), &self.manifest(release), table)
    }

    /// What a release changed in a table, from its change files.
    pub fn changes(&self, release: u64, table: &str) -> Vec<Change> {
        changes_of(&self.dataset(), &self.manifest(release), table)
    }

    /// Every table at a release without `_release`: what does not depend on how the inputs were cut into refreshes.
    pub fn content(&self, release: u64) -> BTreeMap<String, Rows> {
        self.tables(release)
            .into_iter()
            .map(|table| {
                let mut rows = self.rows(release, &table);
                rows.values_mut().for_each(|row| {
                    row.remove("_release");
                });
                (table, rows)
            })
            .collect()
    }

    /// The fingerprint of every table at a release, as the manifest states it.
    pub fn fingerprints(&self, release: u64) -> BTreeMap<String, String> {
        let tables = self.manifest(release)["tables"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        tables
            .into_iter()
            .map(|(name, t)| (name, t["fingerprint"].to_string()))
            .collect()
    }

    /// `vault` or `out` holds one folder, named after the pipeline.
    fn folder(&self, kind: &str) -> PathBuf {
        let mut inside = fs::read_dir(self.at(kind)).into_iter().flatten().flatten();
        inside.next().map_or_else(|| self.at(kind), |entry| entry.path())
    }
}

/// Every file below a folder with its content, by path.
pub fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            out.extend(tree(&path));
        } else {
            out.insert(path.clone(), fs::read(&path).unwrap_or_default());
        }
    }
    out
}

fn secret(name: &str) -> Option<Vec<u8>> {
    (name == "vault_key").then(|| KEY.as_bytes().to_vec())
}

fn runtime() -> Runtime {
    match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime: {error}"),
    }
}
