//! The mapping files that a pipeline names, read from its roots.

use crate::graph::Located;
use clinmill_model::{Diagnostic, Digest};
use clinmill_sdk::{Resource, regular};
use clinmill_spec::{
    codes, did_you_mean,
    pipeline::{Options, Pipeline},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A mapping as it was read.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Its files.
    pub resource: Resource,
    /// Digest of names and contents.
    pub sha256: Digest,
}

/// Mapping files larger than this are refused.
const MAX_BYTES: u64 = 512 << 20;

/// Reads every mapping that an option of the pipeline names.
pub fn read_all(pipeline: &Pipeline, dir: &Path) -> (BTreeMap<String, Mapping>, Vec<Located>) {
    let sources = pipeline.sources.iter().map(|s| &s.options);
    let steps = pipeline
        .transforms
        .iter()
        .flat_map(|t| t.steps.iter().map(|s| &s.options));
    let mut mappings = BTreeMap::new();
    let mut findings = Vec::new();
    for options in sources.chain(steps) {
        read_of(options, pipeline, dir, &mut mappings, &mut findings);
    }
    (mappings, findings)
}

fn read_of(
    options: &Options,
    pipeline: &Pipeline,
    dir: &Path,
    mappings: &mut BTreeMap<String, Mapping>,
    findings: &mut Vec<Located>,
) {
    for (pointer, reference) in &options.mappings {
        if mappings.contains_key(reference) {
            continue;
        }
        // A reference to an unknown root was reported with the paths.
        let Some(path) = resolve(reference, pipeline, dir) else {
            continue;
        };
        let wrong = match read(&path) {
            _ if leaves(&path, pipeline, dir) => ("leads out of the pipeline's folders".to_owned(), NO_LINK.to_owned()),
            Ok(mapping) => {
                mappings.insert(reference.clone(), mapping);
                continue;
            }
            Err(message) => (message, neighbours(&path)),
        };
        let found = Diagnostic::error(codes::MAPPING, format!("the mapping {reference:?} {}", wrong.0)).hint(wrong.1);
        findings.push((found, options.locate(pointer)));
    }
}

/// The path behind `root:path` or a path relative to the pipeline.
pub fn resolve(reference: &str, pipeline: &Pipeline, dir: &Path) -> Option<PathBuf> {
    match reference.split_once(':') {
        Some((root, rest)) => Some(dir.join(&pipeline.roots.get(root)?.value).join(rest)),
        None => Some(dir.join(reference)),
    }
}

/// What to do about a path that [`leaves`].
pub const NO_LINK: &str = "put the file where the link stands, or name its folder under `roots:`";

/// Whether links lead from here to what lies in no folder of the pipeline.
pub fn leaves(path: &Path, pipeline: &Pipeline, dir: &Path) -> bool {
    let Ok(real) = path.canonicalize() else { return false };
    let roots = pipeline.roots.values().map(|root| dir.join(&root.value));
    let mut folders = roots.chain([dir.to_path_buf()]);
    !folders.any(|folder| folder.canonicalize().is_ok_and(|folder| real.starts_with(folder)))
}

fn read(path: &Path) -> Result<Mapping, String> {
    let plain = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        std::io::ErrorKind::InvalidInput => "is not a regular file".to_owned(),
        kind => format!("cannot be read: {kind}"),
    };
    let metadata = fs::metadata(path).map_err(plain)?;
    let mut paths = Vec::new();
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(plain)? {
            let entry = entry.map_err(plain)?;
            if entry.file_type().map_err(plain)?.is_file() {
                paths.push(entry.path());
            }
        }
    } else {
        paths.push(path.to_path_buf());
    }
    paths.sort();
    let mut resource = Resource::default();
    let mut left = MAX_BYTES;
    for path in paths {
        let size = fs::metadata(&path).map_err(plain)?.len();
        left = left
            .checked_sub(size)
            .ok_or_else(|| "is larger than 512 MiB".to_owned())?;
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        resource.files.insert(name, regular::read(&path).map_err(plain)?);
    }
    let parts = resource
        .files
        .iter()
        .flat_map(|(name, bytes)| [name.as_bytes(), bytes.as_slice()]);
    let sha256 = Digest::of_parts(parts);
    Ok(Mapping { resource, sha256 })
}

/// Which mapping may be meant by the path of a missing one: those that lie beside it.
fn neighbours(path: &Path) -> String {
    let beside = path.parent().and_then(|parent| fs::read_dir(parent).ok());
    let mut names: Vec<String> = beside
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|e| e.path().join("mapping.yaml").is_file())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let wanted = path.file_name().map(|n| n.to_string_lossy().into_owned());
    did_you_mean(&wanted.unwrap_or_default(), names.iter().map(String::as_str)).unwrap_or_else(|| {
        "name a mapping's folder by its path from the pipeline file, or by `root:name` with its root under `roots:`"
            .into()
    })
}
