//! `clinmill init`: a new pipeline project that runs at once.

use crate::{
    args,
    commands::schema,
    context::Context,
    failure::{FAILED, Failure, OK},
};
use serde_json::json;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// The files of a project; `{{name}}` stands for the pipeline's name.
const FILES: [(&str, &str); 4] = [
    ("pipeline.yaml", include_str!("../../templates/pipeline.yaml")),
    ("inbox/example.csv", include_str!("../../templates/example.csv")),
    ("README.md", include_str!("../../templates/README.md")),
    (".gitignore", include_str!("../../templates/gitignore")),
];

/// Makes a project. What is there is never overwritten.
///
/// # Errors
/// When one of the files is there already, or cannot be written.
pub fn run(context: &Context, args: &args::Init) -> Result<u8, Failure> {
    let name = name_of(&args.dir);
    let schema = format!("{:#}\n", schema::schema(&context.registry));
    let mut files: Vec<(&str, String)> = FILES
        .iter()
        .map(|(p, text)| (*p, text.replace("{{name}}", &name)))
        .collect();
    files.push(("pipeline.schema.json", schema));
    let taken: Vec<&str> = files
        .iter()
        .map(|(p, _)| *p)
        .filter(|p| args.dir.join(p).symlink_metadata().is_ok())
        .collect();
    if !taken.is_empty() {
        let message = format!(
            "{} has {} already: nothing was written; choose another folder",
            args.dir.display(),
            taken.join(", ")
        );
        return Err(Failure::new(FAILED, message));
    }
    for (path, text) in &files {
        write_new(&args.dir.join(path), text.as_bytes())?;
    }
    let written: Vec<&str> = files.iter().map(|(p, _)| *p).collect();
    let value = json!({ "dir": args.dir, "name": name, "files": written });
    context.console.result(&value, || {
        let pipeline = args.dir.join("pipeline.yaml");
        format!(
            "{name} in {}\n  {}\n\nnext:\n  clinmill run {}\n",
            args.dir.display(),
            written.join("\n  "),
            pipeline.display()
        )
    })?;
    Ok(OK)
}

/// Writes a file that must not be there yet, with its folders.
///
/// # Errors
/// When it is there or cannot be written.
pub fn write_new(path: &Path, content: &[u8]) -> Result<(), Failure> {
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|e| Failure::io("create", parent, &e))?;
    }
    let mut file = fs::File::create_new(path).map_err(|e| Failure::io("create", path, &e))?;
    file.write_all(content).map_err(|e| Failure::io("write", path, &e))
}

/// A pipeline's name from its folder's: lower-case letters, digits and hyphens.
fn name_of(dir: &Path) -> String {
    let full: PathBuf = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    let folder = full
        .components()
        .next_back()
        .map_or_else(String::new, |c| c.as_os_str().to_string_lossy().into_owned());
    let mut name = String::new();
    for c in folder.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_end_matches('-');
    match name.chars().next() {
        Some(c) if c.is_ascii_alphabetic() => name.to_owned(),
        _ => "my-dataset".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_folders() {
        for (dir, name) in [
            ("/x/My Labs_2", "my-labs-2"),
            ("/x/颈动脉", "my-dataset"),
            ("/", "my-dataset"),
            ("/x/7t", "my-dataset"),
        ] {
            assert_eq!(name_of(Path::new(dir)), name);
        }
    }

    #[tokio::test]
    async fn a_project_is_valid_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("labs");
        let context = Context::new(&args::Global::default());
        let init = args::Init { dir: project.clone() };
        assert_eq!(run(&context, &init).unwrap(), OK);
        let file = project.join("pipeline.yaml");
        let bound = clinmill_engine::bound::bind(&file, &context.registry, &|_| None).await;
        let bound = bound.unwrap_or_else(|refused| panic!("{:?}", refused.diagnostics));
        assert!(bound.warnings.is_empty());
        assert_eq!(bound.pipeline.name.value, "labs");
        assert_eq!(run(&context, &init).unwrap_err().exit, FAILED);
        fs::remove_file(project.join("README.md")).unwrap();
        assert!(run(&context, &init).unwrap_err().message.contains("pipeline.yaml"));
        assert!(!project.join("README.md").exists());
    }
}
