//! What every command stands on: the console, the plugins, the clock, the environment.

use crate::{
    args::Global,
    failure::{FAILED, Failure, INVALID},
    output::Console,
    registry, secrets,
};
use clinmill_catalog::{dataset::Dataset, env::Env};
use clinmill_engine::{
    bound::{self, Bound},
    refresh::folder,
};
use clinmill_sdk::{Registry, regular};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// What every command stands on.
pub struct Context {
    /// Where it prints.
    pub console: Console,
    /// The plugins.
    pub registry: Registry,
    /// Clock and randomness.
    pub env: Env,
}

impl Context {
    /// The context of this process.
    pub fn new(global: &Global) -> Self {
        Self {
            console: Console::new(global),
            registry: registry::built_in(),
            env: Env::system(),
        }
    }

    /// The built-in plugins and those that a pipeline brings.
    ///
    /// # Errors
    /// When one of them was refused.
    pub fn registry_of(&self, file: &Path) -> Result<Registry, Failure> {
        crate::plugins::Named::read(file).registry(&self.registry)
    }

    /// The plugins that a pipeline has, where nothing else of it is read.
    ///
    /// # Errors
    /// As [`registry_of`](Self::registry_of); when there is no such file.
    pub fn plugins_of(&self, file: &Path) -> Result<Registry, Failure> {
        regular::text(file).map_err(|error| Failure::argument(file, &error))?;
        self.registry_of(file)
    }

    /// Reads and binds a pipeline file; its warnings are shown.
    ///
    /// # Errors
    /// All findings, when one of them is an error.
    pub async fn bind(&self, file: &Path) -> Result<Bound, Failure> {
        let registry = self.registry_of(file)?;
        let bound = bound::bind(file, &registry, &environment).await?;
        let source = (bound.file.display().to_string(), bound.text.clone());
        self.console.diagnostics(&bound.warnings, Some(&source));
        Ok(bound)
    }

    /// The dataset behind `file:DIR`, a folder, or the pipeline file that makes it.
    ///
    /// # Errors
    /// When it is none of these, or there is no such folder.
    pub async fn dataset(&self, target: &str) -> Result<Dataset, Failure> {
        let path = Path::new(target);
        let is_pipeline = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if is_pipeline && !path.is_dir() {
            return self.dataset_of(&self.bind(path).await?);
        }
        if let Some((scheme, _)) = target.split_once("://")
            && scheme != "file"
        {
            let message = format!("this version reads datasets on `file:` only, not `{scheme}:`");
            return Err(Failure::usage(message));
        }
        let dir = folder(target, Path::new(""));
        let is_empty = || fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_none());
        // A dataset that lost one of the two is damaged, which is for `verify` to say.
        let parts = ["_releases", "tables"].map(|part| dir.join(part));
        if !dir.is_dir() || !(parts.iter().any(|part| part.is_dir()) || is_empty()) {
            let message = format!(
                "there is no dataset at {}: name the folder that holds `_releases`, or the pipeline file that makes it",
                dir.display()
            );
            return Err(Failure {
                code: Some("NOT_FOUND"),
                ..Failure::new(INVALID, message)
            });
        }
        self.open(&dir)
    }

    /// Refuses a release that an argument names and the dataset does not have.
    ///
    /// # Errors
    /// When there is none of this number, or the dataset cannot be listed.
    pub async fn known_release(&self, dataset: &Dataset, wanted: u64) -> Result<(), Failure> {
        let known = dataset.releases().await?;
        if known.contains(&wanted) {
            return Ok(());
        }
        let there = match known.as_slice() {
            // Another state is needed, not another argument.
            [] => return Err(no_release()),
            [only] => format!("the only one is {only}"),
            [first, .., last] => format!("there are {first} to {last}"),
        };
        Err(Failure {
            code: Some("NOT_FOUND"),
            ..Failure::new(INVALID, format!("{} has no release {wanted}; {there}", dataset.url()))
        })
    }

    /// The dataset a pipeline makes.
    ///
    /// # Errors
    /// When its URL cannot be used.
    pub fn dataset_of(&self, bound: &Bound) -> Result<Dataset, Failure> {
        self.open(&folder(&bound.pipeline.dataset.value, &bound.dir))
    }

    fn open(&self, dir: &Path) -> Result<Dataset, Failure> {
        // Without the `.` of `./out`, which would stand in every message.
        let dir: PathBuf = dir.components().collect();
        Ok(Dataset::open(self.env.clone(), &format!("file:{}", dir.display()))?)
    }

    /// The secrets of a pipeline, by name.
    pub fn secrets(&self) -> impl Fn(&str) -> Option<Vec<u8>> + Sync {
        |name: &str| match secrets::lookup(name, &|name| std::env::var_os(name)) {
            Ok(secret) => secret,
            Err(message) => {
                self.console.warn(Some("SECRET"), &message);
                None
            }
        }
    }

    /// A flag that Ctrl-C (or SIGTERM) sets, so that a refresh ends with nothing published; a second Ctrl-C ends the
    /// process at once.
    pub fn cancelled(&self) -> Arc<AtomicBool> {
        use signal_hook::{consts, flag};
        let cancelled = Arc::new(AtomicBool::new(false));
        // In this order: what is registered first runs first, and finds the flag unset at the first signal.
        for signal in [consts::SIGINT, consts::SIGTERM] {
            let all = flag::register_conditional_shutdown(signal, 130, cancelled.clone())
                .and_then(|_| flag::register(signal, cancelled.clone()))
                .and_then(|_| flag::register(signal, clinmill_host::interrupted().clone()));
            if let Err(error) = all {
                self.console
                    .warn(None, &format!("Ctrl-C will end the process at once: {error}"));
            }
        }
        cancelled
    }
}

/// There is nothing to look at before the first refresh.
pub fn no_release() -> Failure {
    Failure {
        code: Some("NOT_FOUND"),
        ..Failure::new(FAILED, "there is no release yet: run the pipeline first")
    }
}

/// The environment, for `${VAR}` in pipeline files.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where copies of remote files go while they are read.
pub fn scratch() -> PathBuf {
    std::env::temp_dir()
}
