//! Embeds the sample hospital, so that `clinmill demo` works from anywhere.

use std::{
    env,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

/// What is embedded, below the repository's root: files, and folders with everything in them.
const SAMPLE: [&str; 3] = [
    "pipelines/carotid-stenting/pipeline.yaml",
    "pipelines/carotid-stenting/inbox",
    "mappings/lab-zh__loinc",
];

fn main() -> io::Result<()> {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).ok_or(io::ErrorKind::NotFound);
    let root = variable("CARGO_MANIFEST_DIR")?.join("../..").canonicalize()?;
    println!("cargo:rerun-if-changed=build.rs");
    let mut files = Vec::new();
    for path in SAMPLE {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
        collect(&root.join(path), &mut files)?;
    }
    files.sort();
    let mut list = String::from("[\n");
    for file in &files {
        let path = file.strip_prefix(&root).map_err(io::Error::other)?;
        let name = path.to_str().ok_or(io::ErrorKind::InvalidData)?.replace('\\', "/");
        let file = file.to_str().ok_or(io::ErrorKind::InvalidData)?;
        writeln!(list, "    ({name:?}, include_bytes!({file:?})),").map_err(io::Error::other)?;
    }
    list.push(']');
    fs::write(variable("OUT_DIR")?.join("sample.rs"), list)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else {
        files.push(path.to_path_buf());
    }
    Ok(())
}
