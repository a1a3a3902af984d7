//! What the end-to-end tests share: the real binary, throw-away projects, and where things are.

#![allow(clippy::panic, reason = "a failing test panics")]

pub mod hospital;
pub mod readers;
pub mod site;
pub mod state;

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// The repository's root.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Real inputs that are not part of the repository; `None`, said on stderr, where they are not there.
pub fn shared_data(folder: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: {folder} of the shared inputs is not there");
    None
}

/// The `clinmill` binary of this build, built once.
///
/// # Panics
/// When it does not build.
pub fn clinmill() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        // The test binary lies in <target>/<profile>/deps.
        let exe = std::env::current_exe().unwrap_or_default();
        let profile_dir = exe
            .parent()
            .and_then(Path::parent)
            .map(Path::to_path_buf)
            .unwrap_or_default();
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build
            .args(["build", "--quiet", "--package", "clinmill-cli", "--bin", "clinmill"])
            .current_dir(root());
        if profile_dir.ends_with("release") {
            build.arg("--release");
        }
        if let Some(target) = profile_dir.parent() {
            build.env("CARGO_TARGET_DIR", target);
        }
        let status = build.status();
        assert!(status.is_ok_and(|s| s.success()), "the clinmill binary does not build");
        profile_dir.join("clinmill")
    })
}

/// What a call of the binary gave.
#[derive(Debug)]
pub struct Run {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("not JSON ({error}):\n{}\n{}", self.stdout, self.stderr),
        }
    }

    /// The same run, checked to have ended with this code.
    ///
    /// # Panics
    /// When it ended otherwise.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A folder with a pipeline, an inbox, a vault and a dataset, gone at the end.
pub struct Project {
    dir: tempfile::TempDir,
    envs: Vec<(String, String)>,
}

impl Default for Project {
    fn default() -> Self {
        Self::new()
    }
}

impl Project {
    /// An empty one.
    ///
    /// # Panics
    /// When no temporary folder can be made.
    pub fn new() -> Self {
        match tempfile::tempdir() {
            Ok(dir) => Self { dir, envs: Vec::new() },
            Err(error) => panic!("no temporary folder: {error}"),
        }
    }

    /// One of the repository's pipelines, copied without its inbox, with the mappings beside it.
    pub fn of_pipeline(name: &str) -> Self {
        let project = Self::new();
        copy_dir(&root().join("mappings"), &project.dir.path().join("mappings"));
        let home = project.dir.path().join("pipelines").join(name);
        make_dir(&home.join("inbox"));
        copy_file(
            &root().join("pipelines").join(name).join("pipeline.yaml"),
            &home.join("pipeline.yaml"),
        );
        project
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in the folder.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Sets an environment variable for all runs.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.envs.push((name.to_owned(), value.into()));
        self
    }

    /// Writes a file, with its folders.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(path);
        if let Some(parent) = path.parent() {
            make_dir(parent);
        }
        if let Err(error) = fs::write(&path, content) {
            panic!("cannot write {}: {error}", path.display());
        }
        path
    }

    /// The command, ready to start.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(clinmill());
        command.args(args).current_dir(self.dir.path());
        command.env_remove("CLINMILL_HOME").env_remove("DATASET_URL");
        for (name, value) in &self.envs {
            command.env(name, value);
        }
        command
    }

    /// Runs the binary with these arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        match self.command(args).output() {
            Ok(output) => output.into(),
            Err(error) => panic!("the binary does not start: {error}"),
        }
    }
}

/// Copies a folder with everything in it.
///
/// # Panics
/// When something cannot be copied.
pub fn copy_dir(from: &Path, to: &Path) {
    make_dir(to);
    let entries = fs::read_dir(from).unwrap_or_else(|error| panic!("cannot list {}: {error}", from.display()));
    for entry in entries.flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            copy_file(&entry.path(), &target);
        }
    }
}

/// Copies one file.
///
/// # Panics
/// When it cannot be copied.
pub fn copy_file(from: &Path, to: &Path) {
    if let Err(error) = fs::copy(from, to) {
        panic!("cannot copy {}: {error}", from.display());
    }
}

fn make_dir(path: &Path) {
    if let Err(error) = fs::create_dir_all(path) {
        panic!("cannot make {}: {error}", path.display());
    }
}
