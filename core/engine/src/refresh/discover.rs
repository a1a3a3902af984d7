//! Discover: which inputs lie in the inboxes, and which of them are pending.

use super::session::{Session, folder};
use crate::{
    bound::{Bound, SourceSpec},
    error::EngineError,
    mappings,
};
use clinmill_catalog::vault::{
    AsOfPattern, Captures, FindingReason, Found, FoundFile, LedgerEntry, Order, Pattern, Pending, Sighting, TimeKind,
    VaultError, glob, normalize_as_of, pending,
};
use clinmill_model::{Digest, Sensitive};
use clinmill_spec::pipeline::{AsOf, Keep, Mode};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

/// What one source has to read.
pub struct SourcePlan {
    /// Inputs to read.
    pub pending: Vec<Pending>,
    /// Copies seen under new paths.
    pub sightings: Vec<Sighting>,
    /// Where the new ones lie now.
    pub paths: BTreeMap<Digest, PathBuf>,
    /// How many files matched.
    pub files: usize,
}

/// Something that a person should look at; it holds no values of rows and no paths of inputs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Warning {
    /// A stable word.
    pub code: String,
    /// What it is.
    pub message: String,
}

impl Warning {
    /// A warning.
    pub fn new(code: &str, message: String) -> Self {
        let code = code.to_owned();
        Self { code, message }
    }
}

/// Looks into the inboxes of all sources. With `keep`, new contents are copied into the vault while they are hashed.
///
/// # Errors
/// When the vault cannot be written, or a glob cannot be understood.
pub fn discover(
    bound: &Bound,
    session: &Session,
    keep: bool,
    threads: usize,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<SourcePlan>, EngineError> {
    let mut cache = session.vault.hash_cache();
    let mut plans = Vec::new();
    for source in &bound.sources {
        plans.push(discover_source(
            bound, source, session, &mut cache, keep, threads, warnings,
        )?);
    }
    // Where no source has an input, that is said once.
    if plans.iter().any(|plan| plan.files > 0) || session.last.is_some() {
        let without = bound.sources.iter().zip(&plans).filter(|(_, plan)| plan.files == 0);
        warnings.extend(without.filter_map(|(source, _)| never_came(bound, source, session.ledger.entries())));
    }
    if keep {
        cache.save()?;
    }
    Ok(plans)
}

/// The folder that a source's glob is searched in, and the pattern below it.
pub fn input_folder(bound: &Bound, source: &SourceSpec) -> (PathBuf, String) {
    let pattern = &source.spec.inputs.glob.value;
    match pattern.split_once(':') {
        Some((root, rest)) => {
            let base = mappings::resolve(&format!("{root}:"), &bound.pipeline, &bound.dir);
            (base.unwrap_or_else(|| bound.dir.clone()), rest.to_owned())
        }
        None => (bound.dir.clone(), pattern.clone()),
    }
}

/// What is wrong where no file matches a source's glob; a week without one is nothing wrong.
pub fn never_came(bound: &Bound, source: &SourceSpec, read: &[LedgerEntry]) -> Option<Warning> {
    let name = source.name();
    let (base, pattern) = input_folder(bound, source);
    let fixed = pattern.split('/').take_while(|part| !part.contains(['*', '?', '{']));
    let parts: Vec<&str> = fixed.collect();
    let folders = parts.len().min(pattern.split('/').count() - 1);
    let folder = base.join(parts.iter().take(folders).collect::<PathBuf>());
    let message = if !folder.is_dir() {
        format!("{name}: the folder of its `glob` is not there")
    } else if !read.iter().any(|entry| entry.source == name) {
        format!("{name}: no file matches its `glob`, and none ever did")
    } else {
        return None;
    };
    Some(Warning::new("NO_INPUT", message))
}

/// Where the pipeline itself writes: nothing there is an input, unless the inbox lies in it.
fn own_folders(bound: &Bound, vault: &Path, base: &Path) -> Vec<PathBuf> {
    let dataset = folder(&bound.pipeline.dataset.value, &bound.dir);
    let base = std::path::absolute(base).unwrap_or_default();
    [vault, &dataset]
        .into_iter()
        .filter_map(|own| std::path::absolute(own).ok())
        .filter(|own| !base.starts_with(own))
        .collect()
}

fn discover_source(
    bound: &Bound,
    source: &SourceSpec,
    session: &Session,
    cache: &mut clinmill_catalog::vault::HashCache,
    keep: bool,
    threads: usize,
    warnings: &mut Vec<Warning>,
) -> Result<SourcePlan, EngineError> {
    let name = source.name();
    let times = TimeOf::new(source)?;
    let shape = Pattern::parse(&input_folder(bound, source).1)?;
    let entries = || session.ledger.entries().iter().filter(|e| e.source == name);
    let now = |path: &str| times.of(path, &shape.matches(path)?)?;
    let known = entries()
        .filter(|e| e.as_of.is_some())
        .find_map(|e| now(e.path.expose()));
    let Seen { files: seen, matched } = seen(bound, source, session.vault.root(), known.as_deref(), warnings)?;
    let (files, as_ofs): (Vec<FoundFile>, Vec<Option<String>>) = seen.into_iter().unzip();
    let hashed = hash_all(&files, source, session, cache, keep, threads, warnings)?;
    let mut candidates = Vec::new();
    let mut paths = BTreeMap::new();
    let mut overwritten = 0;
    let referenced: HashMap<&str, Digest> = entries()
        .filter(|e| e.referenced)
        .map(|e| (e.path.expose().as_str(), e.sha256))
        .collect();
    for ((file, as_of), hash) in files.into_iter().zip(as_ofs).zip(hashed) {
        let Some((sha256, size)) = hash else { continue };
        let before = referenced.get(file.relative.expose().as_str());
        overwritten += usize::from(before.is_some_and(|before| *before != sha256));
        paths.insert(sha256, file.path.expose().clone());
        candidates.push(Found {
            path: Sensitive::new(file.path.expose().clone()),
            relative: file.relative,
            captures: file.captures,
            as_of,
            sha256,
            size,
            referenced: source.spec.keep == Keep::Reference,
        });
    }
    if overwritten > 0 {
        warnings.push(Warning::new(
            "REFERENCE_CHANGED",
            format!(
                "{name}: {overwritten} files that the vault only refers to have another content than when they were read: \
                 what they held cannot be traced or read again; give new contents new names, or let the vault keep copies"
            ),
        ));
    }
    let reads = |path: &str| {
        let captures = shape.matches(path)?;
        let as_of = times.of(path, &captures)?;
        Some((Sensitive::new(captures), as_of))
    };
    let plan = pending(
        name,
        times.order(),
        &source.parse_id,
        &candidates,
        &session.ledger,
        &reads,
    );
    Ok(SourcePlan {
        pending: plan.pending,
        sightings: plan.sightings,
        paths,
        files: matched,
    })
}

/// When the inputs of a source speak of, by its `as_of`.
struct TimeOf {
    pattern: Option<AsOfPattern>,
    is_arrival: bool,
}

impl TimeOf {
    fn new(source: &SourceSpec) -> Result<Self, EngineError> {
        let as_of = match &source.spec.mode {
            Mode::Complete { as_of, .. } => Some(&as_of.value),
            Mode::Partial => source.spec.inputs.as_of.as_ref().map(|a| &a.value),
        };
        let pattern = match as_of {
            Some(AsOf::Pattern(text)) => Some(AsOfPattern::parse(text)?),
            _ => None,
        };
        Ok(Self {
            pattern,
            is_arrival: as_of == Some(&AsOf::Arrival),
        })
    }

    /// The time of an input, if it has one; `None` where what its path holds is none.
    fn of(&self, path: &str, captures: &Captures) -> Option<Option<String>> {
        match (&self.pattern, captures.get("as_of")) {
            (Some(pattern), _) => pattern.read(path).map(Some),
            (None, Some(text)) => normalize_as_of(text).map(Some),
            (None, None) => Some(None),
        }
    }

    fn order(&self) -> Order {
        match self.is_arrival {
            true => Order::Arrival,
            false => Order::Content,
        }
    }
}

/// The files of a source's inbox that may be read.
pub struct Seen {
    /// Each with the time it speaks of.
    pub files: Vec<(FoundFile, Option<String>)>,
    /// How many matched: those without a time among them.
    pub matched: usize,
}

/// Looks into the inbox of one source. `known` is the time of an input that was read before.
///
/// # Errors
/// When the glob or `as_of` cannot be understood.
pub fn seen(
    bound: &Bound,
    source: &SourceSpec,
    vault: &Path,
    known: Option<&str>,
    warnings: &mut Vec<Warning>,
) -> Result<Seen, EngineError> {
    let name = source.name();
    let (base, glob_text) = input_folder(bound, source);
    let mut found = glob(&base, &glob_text)?;
    let own = own_folders(bound, vault, &base);
    found.files.retain(|file| {
        let path = std::path::absolute(file.path.expose()).ok();
        !own.iter()
            .any(|own| path.as_ref().is_some_and(|path| path.starts_with(own)))
    });
    found.settle(SystemTime::now(), source.spec.inputs.settle);
    let is_of_another = |relative: &str| {
        let mut others = bound.sources.iter().filter(|other| other.name() != name);
        others.any(|other| {
            let (other_base, pattern) = input_folder(bound, other);
            other_base == base && Pattern::parse(&pattern).is_ok_and(|p| p.matches(relative).is_some())
        })
    };
    found
        .findings
        .retain(|f| f.reason != FindingReason::OtherCase || !is_of_another(f.relative.expose()));
    let mut by_reason: BTreeMap<&'static str, usize> = BTreeMap::new();
    for finding in &found.findings {
        *by_reason.entry(finding.reason.code()).or_default() += 1;
    }
    for (reason, n) in by_reason {
        warnings.push(Warning::new(
            "INPUT_SKIPPED",
            format!("{name}: {n} found and not read: {reason}"),
        ));
    }
    let matched = found.files.len();
    let times = TimeOf::new(source)?;
    let timed = found.files.into_iter().filter_map(|file| {
        let as_of = times.of(file.relative.expose(), file.captures.expose())?;
        Some((file, as_of))
    });
    let mut files: Vec<(FoundFile, Option<String>)> = timed.collect();
    if files.len() < matched {
        let without_time = matched - files.len();
        warnings.push(Warning::new(
            "INPUT_WITHOUT_AS_OF",
            format!(
                "{name}: {without_time} inputs were not read: their names do not fit `as_of`, or what they hold there is no \
                 date; mend the pattern or rename the files"
            ),
        ));
    }
    if let Some((kind, odd)) = keep_one_kind(&mut files, known) {
        let message = format!(
            "{name}: {odd} inputs were not read: the names of the others hold {} where `as_of` looks, and theirs another kind \
             of time, which does not compare; rename the files",
            kind.word()
        );
        warnings.push(Warning::new("INPUT_WITHOUT_AS_OF", message));
    }
    Ok(Seen { files, matched })
}

/// Leaves out the files whose time is not of the source's kind: that of the first input the vault has of it, else that of
/// most files. Returns the kind and how many were left out, if any.
fn keep_one_kind(files: &mut Vec<(FoundFile, Option<String>)>, known: Option<&str>) -> Option<(TimeKind, usize)> {
    let mut by_kind: BTreeMap<TimeKind, usize> = BTreeMap::new();
    for time in files.iter().filter_map(|(_, time)| time.as_deref()) {
        *by_kind.entry(TimeKind::of(time)).or_default() += 1;
    }
    let of_most = || by_kind.iter().rev().max_by_key(|(_, n)| **n).map(|(kind, _)| *kind);
    let kind = known.map(TimeKind::of).or_else(of_most)?;
    let before = files.len();
    files.retain(|(_, time)| time.as_deref().is_none_or(|time| TimeKind::of(time) == kind));
    let odd = before - files.len();
    (odd > 0).then_some((kind, odd))
}

type Hashed = Option<(Digest, u64)>;

/// The digest of every file; none for one that cannot be read or is being written.
fn hash_all(
    files: &[FoundFile],
    source: &SourceSpec,
    session: &Session,
    cache: &mut clinmill_catalog::vault::HashCache,
    keep: bool,
    threads: usize,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Hashed>, EngineError> {
    let inputs = session.vault.inputs();
    let known: Vec<Hashed> = files
        .iter()
        .map(|f| {
            cache
                .get(f)
                .filter(|sha| !keep || inputs.has(sha))
                .map(|sha| (sha, f.stamp.size))
        })
        .collect();
    let results: Vec<Mutex<Option<Result<Hashed, EngineError>>>> = files.iter().map(|_| Mutex::default()).collect();
    let began = SystemTime::now();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(i) else { return };
            if known[i].is_some() {
                continue;
            }
            let path = file.path.expose();
            let kept = match (keep, source.spec.keep) {
                (true, Keep::Copy) => inputs.keep(path).map(|k| Some((k.sha256, k.size))),
                (true, Keep::Reference) => inputs.reference(path).map(|k| Some((k.sha256, k.size))),
                (false, _) => hash(path),
            };
            let result = match kept {
                Ok(hashed) => Ok(hashed),
                // A file that cannot be read costs itself only; it is looked for again next time.
                Err(VaultError::Source { .. } | VaultError::Changed { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            };
            *results[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(files.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut unreadable = 0;
    let mut out = Vec::with_capacity(files.len());
    for ((file, known), result) in files.iter().zip(known).zip(results) {
        let hashed = match (
            known,
            result.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner),
        ) {
            (Some(known), _) => Some(known),
            (None, Some(result)) => result?,
            (None, None) => None,
        };
        match hashed {
            Some((sha256, _)) => cache.put(file, sha256, began),
            None => unreadable += 1,
        }
        out.push(hashed);
    }
    if unreadable > 0 {
        warnings.push(Warning::new(
            "INPUT_UNREADABLE",
            format!(
                "{}: {unreadable} of {} inputs could not be read, or changed meanwhile: the next refresh looks for them again",
                source.name(),
                files.len()
            ),
        ));
    }
    Ok(out)
}

fn hash(path: &std::path::Path) -> Result<Hashed, VaultError> {
    use sha2::Digest as _;
    let read = || -> std::io::Result<(Digest, u64)> {
        let mut file = File::open(path)?;
        let mut hasher = sha2::Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut size = 0;
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                return Ok((Digest::from_bytes(hasher.finalize().into()), size));
            }
            hasher.update(&buffer[..n]);
            size += n as u64;
        }
    };
    Ok(read().ok())
}
