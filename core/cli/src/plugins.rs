//! The plugins that a pipeline brings: loaded by its `plugins.lock`, added to the built-in ones.

use crate::{context::environment, failure::Failure};
use clinmill_host::{
    Limits, Loader, TARGET_TRIPLE, holder,
    lock::Lock,
    process::{self, Pinned},
};
use clinmill_model::{Diagnostic, Digest};
use clinmill_sdk::{Registry, regular};
use clinmill_spec::{
    NamedPlugins, SourceFile, codes, did_you_mean,
    pipeline::{PluginFiles, Span, Spanned},
};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

/// The name of the lock file, beside the pipeline.
pub const LOCK: &str = "plugins.lock";

/// The target under which a lock holds the program of a process plugin.
pub const ANY_TARGET: &str = "any";

/// Names how many seconds one call into a plugin may take.
const SECONDS: &str = "CLINMILL_PLUGIN_SECONDS";

/// How long one call may take, where the environment says it.
///
/// # Errors
/// When what it says is no number of seconds.
pub fn seconds() -> Result<Option<u64>, Failure> {
    let Some(text) = environment(SECONDS) else {
        return Ok(None);
    };
    match text.parse().ok().filter(|seconds| *seconds > 0) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(Failure::usage(format!(
            "{SECONDS} is to be a number of whole seconds, 1 or more"
        ))),
    }
}

fn limits() -> Limits {
    // One that is wrong was refused before.
    match seconds().ok().flatten() {
        Some(seconds) => Limits {
            call: Some(Duration::from_secs(seconds)),
            progress: Some(Duration::from_secs(seconds.saturating_mul(10))),
            ..Limits::default()
        },
        None => Limits::default(),
    }
}

/// What a pipeline names.
pub struct Named {
    /// The paths.
    pub files: PluginFiles,
    /// The file, to say where.
    pub source: SourceFile,
    /// The folder of the pipeline.
    pub dir: PathBuf,
    /// What is wrong with how they are named.
    pub wrong: Vec<Diagnostic>,
}

impl Named {
    /// Reads which plugins a pipeline file names. A file that cannot be read names none; who reads it next says so.
    pub fn read(file: &Path) -> Self {
        let text = regular::text(file).unwrap_or_default();
        let NamedPlugins {
            files,
            diagnostics,
            source,
        } = clinmill_spec::plugin_files(&file.display().to_string(), &text, &environment);
        let dir = file
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        Self {
            files,
            source,
            dir: dir.to_path_buf(),
            wrong: diagnostics,
        }
    }

    /// Where the lock file lies.
    pub fn lock_path(&self) -> PathBuf {
        self.dir.join(LOCK)
    }

    /// What the lock file says; nothing where there is none.
    ///
    /// # Errors
    /// What is wrong with it, at its place in it.
    pub fn lock(&self) -> Result<Lock, Vec<Diagnostic>> {
        let path = self.lock_path();
        let refused = |message: String| Diagnostic::error(codes::PLUGIN_REFUSED, message);
        let text = match regular::text(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Lock::default()),
            Err(error) => {
                let first = self.files.libraries.first().map(|path| path.span);
                let first = first.or_else(|| self.files.processes.first().map(|(name, _)| name.span));
                let place = self.source.place(first.unwrap_or_default());
                let hint = "delete what lies in its place, and write it anew: clinmill plugin lock";
                let found = refused(format!("{} cannot be read: {error}", path.display()));
                return Err(vec![found.at(place).hint(hint)]);
            }
        };
        Lock::parse(&text).map_err(|error| {
            let lines: usize = text
                .split_inclusive('\n')
                .take(error.line.saturating_sub(1))
                .map(str::len)
                .sum();
            let rest = text.get(lines..).unwrap_or_default();
            let start = lines
                + rest
                    .chars()
                    .take(error.column.saturating_sub(1))
                    .map(char::len_utf8)
                    .sum::<usize>();
            let source = SourceFile::new(path.display().to_string(), text.clone());
            let place = source.place(Span { start, end: start + 1 });
            vec![
                refused(format!("plugins.lock: {}", error.message))
                    .at(place)
                    .hint("mend what is wrong, or delete the file and write it anew: clinmill plugin lock"),
            ]
        })
    }

    /// A failure of a command over what was found.
    pub fn failure(&self, diagnostics: Vec<Diagnostic>, message: &str) -> Failure {
        Failure {
            code: Some("INVALID"),
            diagnostics,
            source: Some((self.source.name().to_owned(), self.source.text().to_owned())),
            ..Failure::new(crate::failure::INVALID, message)
        }
    }

    /// Where a path of the pipeline leads.
    pub fn place(&self, path: &str) -> PathBuf {
        match path
            .split_once(':')
            .and_then(|(root, rest)| Some((self.files.roots.get(root)?, rest)))
        {
            Some((root, rest)) => self.dir.join(&root.value).join(rest),
            None => self.dir.join(path),
        }
    }

    /// The folders that plugins may come from.
    pub fn roots(&self) -> Vec<PathBuf> {
        let named = self.files.roots.values().map(|root| self.dir.join(&root.value));
        named.chain([self.dir.clone()]).collect()
    }

    /// A plugin that is not loaded, with what to do.
    pub fn refused(&self, at: &Spanned<String>, code: &str, message: &str) -> Diagnostic {
        let message = match code == "PLUGIN_READ" && !self.place(&at.value).exists() {
            true => format!("there is no file {:?} [{code}]", at.value),
            false => format!("{message} [{code}]"),
        };
        Diagnostic::error(codes::PLUGIN_REFUSED, message)
            .at(self.source.place(at.span))
            .hint(self.advice(&at.value, code))
    }

    fn advice(&self, path: &str, code: &str) -> String {
        let advice = match code {
            "PLUGIN_READ" => return self.beside(path),
            "PLUGIN_NOT_LOCKED" | "PLUGIN_VERSION" | "PLUGIN_NO_DIGEST" | "PLUGIN_DIGEST" => {
                return format!("after a review: clinmill plugin lock {}", self.source.name());
            }
            "PLUGIN_TRIPLE" => return format!("build it for this machine: {TARGET_TRIPLE}"),
            "PLUGIN_ROOT" => {
                "put it below the pipeline's folder, or declare its folder under `roots:` and write `root:path`"
            }
            "PLUGIN_NOT_A_LIBRARY" => {
                "name a library that was built for this machine; a program, such as a script, stands under `processes:` by its name"
            }
            "PLUGIN_MAJOR" => "build it anew against the header of this version",
            "PLUGIN_SYMBOL" | "PLUGIN_MAGIC" | "PLUGIN_DAMAGED" | "PLUGIN_TABLE" => {
                "build it anew; `clinmill plugin new` makes the folder of one that builds"
            }
            "PLUGIN_OPEN" => "install the libraries that it needs: `ldd` names those that are missing",
            "PLUGIN_NAME_TAKEN" => "give it another name, or leave one of the two out",
            _ => {
                return format!(
                    "`clinmill plugin check {}` looks at it alone",
                    self.place(path).display()
                );
            }
        };
        advice.to_owned()
    }

    /// What may be meant by the path of a file that is not there or cannot be read.
    fn beside(&self, path: &str) -> String {
        let place = self.place(path);
        let listed = place.parent().and_then(|folder| folder.read_dir().ok());
        let files = listed.into_iter().flatten().flatten().filter(|e| e.path().is_file());
        let mut names: Vec<String> = files.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        let wanted = place.file_name().unwrap_or_default().to_string_lossy();
        let advice = "write the path of a file from the folder of the pipeline, or from a root as `root:path`";
        match did_you_mean(&wanted, names.iter().map(String::as_str)) {
            Some(near) if !place.exists() && near.ends_with('?') => near,
            Some(known) if !place.exists() => format!("{known}; {advice}"),
            _ => advice.to_owned(),
        }
    }

    /// Adds the plugins to a registry.
    ///
    /// # Errors
    /// All that were refused, each at its place in the file.
    pub fn load(&self, built_in: &Registry) -> Result<Registry, Vec<Diagnostic>> {
        let mut registry = built_in.clone();
        if self.files.libraries.is_empty() && self.files.processes.is_empty() {
            return Ok(registry);
        }
        let lock = self.lock()?;
        let loader = Loader::new(self.roots(), lock.clone(), limits());
        let mut found = Vec::new();
        for path in &self.files.libraries {
            let added = loader
                .load(&self.place(&path.value))
                .and_then(|plugin| plugin.register(&mut registry));
            if let Err(error) = added {
                found.push(self.refused(path, error.code(), &error.to_string()));
            }
        }
        for (name, path) in &self.files.processes {
            if let Err((code, message)) = self.process(&name.value, &path.value, &lock, &mut registry) {
                found.push(self.refused(path, &code, &message));
            }
        }
        if found.is_empty() { Ok(registry) } else { Err(found) }
    }

    fn process(&self, name: &str, path: &str, lock: &Lock, registry: &mut Registry) -> Result<(), (String, String)> {
        let say = |code: &str, message: &str| (code.to_owned(), message.to_owned());
        let program = self
            .place(path)
            .canonicalize()
            .map_err(|_| say("PLUGIN_READ", "the program of the plugin cannot be read"))?;
        let within = |root: &PathBuf| root.canonicalize().is_ok_and(|root| program.starts_with(root));
        if !self.roots().iter().any(within) {
            return Err(say(
                "PLUGIN_ROOT",
                "the plugin is outside the folders that plugins may come from",
            ));
        }
        let bytes = regular::read(&program).map_err(|error| {
            let message = format!("the program of the plugin cannot be read: {error}");
            ("PLUGIN_READ".to_owned(), message)
        })?;
        let locked = lock.plugins.get(name).and_then(|locked| locked.files.get(ANY_TARGET));
        let build = Digest::of(&bytes);
        if locked != Some(&build) {
            let (code, what) = match locked {
                None => ("PLUGIN_NOT_LOCKED", "the program does not stand in plugins.lock"),
                Some(_) => ("PLUGIN_DIGEST", "the program is not the one that plugins.lock names"),
            };
            return Err(say(code, what));
        }
        if let Some(holder) = holder(registry, name) {
            return Err(say("PLUGIN_NAME_TAKEN", &format!("{holder} has this name")));
        }
        let pinned = Pinned {
            path: program.clone(),
            digest: build,
        };
        process::register(registry, name, vec![program], pinned, limits())
            .map(drop)
            .map_err(|error| (error.code.clone(), error.message))
    }

    /// As [`load`](Self::load), as a failure of a command.
    ///
    /// # Errors
    /// When a plugin was refused.
    pub fn registry(&self, built_in: &Registry) -> Result<Registry, Failure> {
        self.load(built_in)
            .map_err(|diagnostics| self.failure(diagnostics, "a plugin of the pipeline is not loaded"))
    }
}
