//! What lies in an inbox: a walk guided by the source's pattern. Nothing that is there is passed over in silence.

use super::{
    error::Result,
    glob::{Captures, Pattern},
};
use clinmill_model::Sensitive;
use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// A file that matches a source's pattern.
#[derive(Clone, Debug)]
pub struct FoundFile {
    /// Where to read it.
    pub path: Sensitive<PathBuf>,
    /// Path from the searched folder, always with `/`.
    pub relative: Sensitive<String>,
    /// What the pattern's `{name}`s matched.
    pub captures: Sensitive<Captures>,
    /// What the system says of it, for the cache of hashes.
    pub stamp: Stamp,
}

/// What tells that a file was not touched: if all of this is the same, so is the content, where the stamp
/// [is settled](Self::is_settled). Its device is not part of it: that number may change with every mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of the content, nanoseconds since 1970.
    pub modified: i64,
    /// Time of the last change of the file's entry (ctime), nanoseconds since 1970.
    pub changed: i64,
    /// The file's number on its file system.
    pub inode: u64,
}

/// Something that could hold inputs and was not read, for the run's report.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Path from the searched folder.
    pub relative: Sensitive<String>,
    /// Why.
    pub reason: FindingReason,
}

/// Why something was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingReason {
    /// The system refuses to list or look at it.
    Unreadable(io::ErrorKind),
    /// A symbolic link out of the searched folder.
    LeavesRoot,
    /// A symbolic link to a folder above itself.
    Loop,
    /// A name that is not UTF-8.
    NotUtf8,
    /// It would match the pattern but for its upper and lower case.
    OtherCase,
    /// It matches the pattern and is a pipe, socket or device.
    NotAFile,
    /// It changed less than `settle` ago.
    Unsettled,
}

impl FindingReason {
    /// A stable word for reports.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::LeavesRoot => "leaves-root",
            Self::Loop => "link-loop",
            Self::NotUtf8 => "name-not-utf8",
            Self::OtherCase => "other-case",
            Self::NotAFile => "not-a-file",
            Self::Unsettled => "unsettled",
        }
    }
}

/// What a walk found, sorted by relative path.
#[derive(Clone, Debug, Default)]
pub struct Discovered {
    /// The files that match.
    pub files: Vec<FoundFile>,
    /// What could not be looked at.
    pub findings: Vec<Finding>,
}

impl Discovered {
    /// Moves files that changed less than `settle` before `now` (or, by their clock, after it) to the findings: they
    /// may still be written.
    pub fn settle(&mut self, now: SystemTime, settle: Duration) {
        if settle.is_zero() {
            return;
        }
        let limit = nanoseconds(now).saturating_sub(i64::try_from(settle.as_nanos()).unwrap_or(i64::MAX));
        let (ready, early): (Vec<_>, Vec<_>) = self.files.drain(..).partition(|f| f.stamp.modified <= limit);
        self.files = ready;
        self.findings.extend(early.into_iter().map(|f| Finding {
            relative: f.relative,
            reason: FindingReason::Unsettled,
        }));
    }
}

/// Finds the files under `base` that match the pattern. A folder that is missing holds nothing.
///
/// # Errors
/// [`super::VaultError::Pattern`]; what cannot be read is a finding, not an error.
pub fn glob(base: &Path, pattern: &str) -> Result<Discovered> {
    let pattern = Pattern::parse(pattern)?;
    let mut walk = Walk {
        in_lower_case: pattern.in_lower_case(),
        pattern,
        root: base.to_owned(),
        files: BTreeMap::new(),
        findings: Vec::new(),
    };
    match fs::canonicalize(base) {
        Ok(root) => {
            walk.root.clone_from(&root);
            walk.folder(base, &mut Vec::new(), &mut vec![root]);
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => walk.found("", FindingReason::Unreadable(e.kind())),
    }
    let mut findings = walk.findings;
    findings.sort_by(|a, b| a.relative.cmp(&b.relative));
    Ok(Discovered {
        files: walk.files.into_values().collect(),
        findings,
    })
}

struct Walk {
    pattern: Pattern,
    in_lower_case: Pattern,
    root: PathBuf,
    files: BTreeMap<String, FoundFile>,
    findings: Vec<Finding>,
}

impl Walk {
    /// `real` holds the real paths of this folder and those above it.
    fn folder(&mut self, path: &Path, parts: &mut Vec<String>, real: &mut Vec<PathBuf>) {
        let relative = parts.join("/");
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(e) => return self.found(&relative, FindingReason::Unreadable(e.kind())),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => {
                    self.found(&relative, FindingReason::Unreadable(e.kind()));
                    continue;
                }
            };
            let name = match entry.file_name().into_string() {
                Ok(name) => name,
                Err(name) => {
                    let relative = join(&relative, &name.to_string_lossy());
                    self.found(&relative, FindingReason::NotUtf8);
                    continue;
                }
            };
            parts.push(name);
            self.entry(&entry.path(), parts, real);
            parts.pop();
        }
    }

    fn entry(&mut self, path: &Path, parts: &mut Vec<String>, real: &mut Vec<PathBuf>) {
        let relative = parts.join("/");
        let captures = self.pattern.matches(&relative);
        let enter = self
            .pattern
            .may_hold(&parts.iter().map(String::as_str).collect::<Vec<_>>());
        let in_other_case = captures.is_none() && self.in_lower_case.matches(&relative.to_lowercase()).is_some();
        if captures.is_none() && !enter && !in_other_case {
            return;
        }
        let looked = fs::symlink_metadata(path).and_then(|m| {
            let link = m.is_symlink();
            Ok((link, if link { fs::metadata(path)? } else { m }))
        });
        let (link, metadata) = match looked {
            Ok(looked) => looked,
            Err(e) => return self.found(&relative, FindingReason::Unreadable(e.kind())),
        };
        if in_other_case && metadata.is_file() {
            return self.found(&relative, FindingReason::OtherCase);
        }
        if metadata.is_dir() && !enter || !metadata.is_dir() && captures.is_none() {
            return;
        }
        let real_path = if link {
            match fs::canonicalize(path) {
                Ok(to) if !to.starts_with(&self.root) => return self.found(&relative, FindingReason::LeavesRoot),
                Ok(to) if metadata.is_dir() && real.contains(&to) => {
                    return self.found(&relative, FindingReason::Loop);
                }
                Ok(to) => to,
                Err(e) => return self.found(&relative, FindingReason::Unreadable(e.kind())),
            }
        } else {
            let above = real.last().unwrap_or(&self.root);
            above.join(parts.last().map_or("", String::as_str))
        };
        if metadata.is_dir() {
            real.push(real_path);
            self.folder(path, parts, real);
            real.pop();
        } else if !metadata.is_file() {
            self.found(&relative, FindingReason::NotAFile);
        } else if let Some(captures) = captures {
            let file = FoundFile {
                path: Sensitive::new(path.to_owned()),
                relative: Sensitive::new(relative.clone()),
                captures: Sensitive::new(captures),
                stamp: Stamp::of(&metadata),
            };
            self.files.insert(relative, file);
        }
    }

    fn found(&mut self, relative: &str, reason: FindingReason) {
        self.findings.push(Finding {
            relative: Sensitive::new(relative.to_owned()),
            reason,
        });
    }
}

impl Stamp {
    /// What the system says of a file.
    pub fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let nanoseconds = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        Self {
            size: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// True where a write after `at`, when reading began, is sure to show in another stamp: only what was read then may
    /// be remembered by this one.
    pub fn is_settled(&self, at: SystemTime) -> bool {
        let last = self.modified.max(self.changed);
        let whole_seconds = self.changed % 1_000_000_000 == 0;
        let tick = if whole_seconds { LONG_TICK } else { TICK };
        last.saturating_add(tick.as_nanos() as i64) <= nanoseconds(at)
    }
}

/// The longest tick of a file system's clock that counts whole seconds, FAT's: a file written twice within it may have one
/// stamp twice.
const LONG_TICK: Duration = Duration::from_secs(2);
/// Ten times the longest of other clocks: 10 ms of exFAT, and of a kernel that looks at the time a hundred times a second.
const TICK: Duration = Duration::from_millis(100);

/// Nanoseconds since 1970, good until 2262.
fn nanoseconds(time: SystemTime) -> i64 {
    let count = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => count(after),
        Err(before) => -count(before.duration()),
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{ffi::OsStrExt, fs::symlink};

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join("in").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        dir
    }

    fn names(found: &Discovered) -> Vec<&str> {
        found.files.iter().map(|f| f.relative.expose().as_str()).collect()
    }

    fn reasons(found: &Discovered) -> Vec<(&str, FindingReason)> {
        found
            .findings
            .iter()
            .map(|f| (f.relative.expose().as_str(), f.reason))
            .collect()
    }

    #[test]
    fn finds_what_matches_in_order() {
        let dir = tree(&[
            "b/2.csv",
            "a/1.csv",
            "a/1.txt",
            "a/deep/3.csv",
            ".hidden/4.csv",
            "0.csv",
        ]);
        let base = dir.path().join("in");
        assert_eq!(
            names(&glob(&base, "**/*.csv").unwrap()),
            ["0.csv", "a/1.csv", "a/deep/3.csv", "b/2.csv"]
        );
        let found = glob(&base, "{ward}/{n}.csv").unwrap();
        assert_eq!(names(&found), ["a/1.csv", "b/2.csv"]);
        assert_eq!(found.files[0].captures.expose()["ward"], "a");
        assert_eq!(found.files[0].stamp.size, 7);
        assert!(found.findings.is_empty());
        assert!(glob(&base.join("nothing"), "*.csv").unwrap().files.is_empty());
    }

    #[test]
    fn what_differs_in_case_is_told() {
        let dir = tree(&["a/1.csv", "a/2.CSV", "a/Ä.Csv", "a/3.txt"]);
        let found = glob(&dir.path().join("in"), "a/*.csv").unwrap();
        assert_eq!(names(&found), ["a/1.csv"]);
        let other = FindingReason::OtherCase;
        assert_eq!(reasons(&found), [("a/2.CSV", other), ("a/Ä.Csv", other)]);
    }

    #[test]
    fn links_are_followed_inside_only() {
        let dir = tree(&["a/1.csv", "c/2.csv"]);
        let base = dir.path().join("in");
        fs::write(dir.path().join("secret.csv"), "x").unwrap();
        symlink(dir.path().join("secret.csv"), base.join("out.csv")).unwrap();
        symlink(dir.path(), base.join("up")).unwrap();
        symlink(base.join("c"), base.join("a/in")).unwrap();
        symlink(&base, base.join("c/again")).unwrap();
        symlink(base.join("gone"), base.join("gone.csv")).unwrap();
        let found = glob(&base, "**/*.csv").unwrap();
        assert_eq!(names(&found), ["a/1.csv", "a/in/2.csv", "c/2.csv"]);
        assert_eq!(
            reasons(&found),
            [
                ("a/in/again", FindingReason::Loop),
                ("c/again", FindingReason::Loop),
                ("gone.csv", FindingReason::Unreadable(io::ErrorKind::NotFound)),
                ("out.csv", FindingReason::LeavesRoot),
                ("up", FindingReason::LeavesRoot),
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let dir = tree(&["1.csv"]);
        let base = dir.path().join("in");
        fs::write(base.join(std::ffi::OsStr::from_bytes(b"\xb2\xa1.csv")), "x").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(base.join("s.csv")).unwrap();
        let found = glob(&base, "*.csv").unwrap();
        assert_eq!(names(&found), ["1.csv"]);
        let codes: Vec<_> = found.findings.iter().map(|f| f.reason.code()).collect();
        assert_eq!(codes, ["not-a-file", "name-not-utf8"]);
    }

    #[test]
    fn young_files_wait() {
        let dir = tree(&["old.csv", "young.csv"]);
        let base = dir.path().join("in");
        let now = SystemTime::now();
        let file = fs::File::options().write(true).open(base.join("old.csv")).unwrap();
        file.set_modified(now - Duration::from_secs(3600)).unwrap();
        let mut found = glob(&base, "*.csv").unwrap();
        found.settle(now, Duration::from_secs(600));
        assert_eq!(names(&found), ["old.csv"]);
        assert_eq!(reasons(&found), [("young.csv", FindingReason::Unsettled)]);
        let mut found = glob(&base, "*.csv").unwrap();
        found.settle(now, Duration::ZERO);
        assert_eq!(names(&found).len(), 2);
    }

    #[test]
    fn a_stamp_is_settled_when_the_clock_has_ticked_since_the_last_change() {
        let of = |modified: i64, changed: i64| Stamp {
            size: 1,
            modified: modified * 1_000_000,
            changed: changed * 1_000_000,
            inode: 1,
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        for early in [
            of(98_000, 98_000),
            of(0, 98_000),
            of(99_900, 99_896),
            of(98_000, 99_892),
        ] {
            assert!(early.is_settled(at), "{early:?}");
        }
        for late in [
            of(99_000, 0),
            of(0, 99_000),
            of(101_000, 0),
            of(99_000, 99_000),
            of(99_950, 99_896),
            of(0, 99_904),
        ] {
            assert!(!late.is_settled(at), "{late:?}");
        }
    }

    #[test]
    fn debug_hides_paths() {
        let dir = tree(&["patient-4711.csv"]);
        let found = glob(&dir.path().join("in"), "{who}.csv").unwrap();
        assert!(!format!("{found:?}").contains("4711"));
    }
}
