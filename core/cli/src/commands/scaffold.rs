//! `clinmill plugin new`: a plugin's folder of the standard shape, outside any workspace, whose tests pass at once.
//!
//! The templates are a plugin called `newplugin` of each kind, with that name in all its spellings.

use crate::{
    args::{self, PluginKind},
    commands::init::write_new,
    context::Context,
    failure::{FAILED, Failure, OK},
};
use serde_json::json;
use std::path::{Path, PathBuf};

macro_rules! files {
    ($folder:literal: $($path:literal),* $(,)?) => {
        &[
            ("Cargo.toml", include_str!("../../templates/plugin/manifest.toml")),
            ("README.md", concat!(
                include_str!(concat!("../../templates/plugin/", $folder, "/README.md")),
                include_str!("../../templates/plugin/README-build.md"),
                include_str!(concat!("../../templates/plugin/", $folder, "/README-use.md")),
            )),
            (".gitignore", include_str!("../../templates/plugin/gitignore")),
            $(($path, include_str!(concat!("../../templates/plugin/", $folder, "/", $path))),)*
        ]
    };
}

type Files = &'static [(&'static str, &'static str)];

const TRANSFORM: Files = files!("transform":
    "plugin.yaml", "sample.yaml",
    "src/lib.rs", "src/config.rs", "src/transform.rs", "src/core.rs", "src/error.rs",
    "cases/names/step.yaml", "cases/names/input.csv", "cases/names/expected.json",
    "cases/no-column/step.yaml", "cases/no-column/input.csv", "cases/no-column/error.txt",
    "tests/conformance.rs",
);
const SOURCE: Files = files!("source":
    "plugin.yaml", "sample.yaml",
    "src/lib.rs", "src/config.rs", "src/source.rs", "src/core.rs", "src/error.rs",
    "cases/lines/step.yaml", "cases/lines/input.txt", "cases/lines/expected.json",
    "tests/conformance.rs",
);
const SINK: Files = files!("sink":
    "plugin.yaml", "sample.yaml",
    "src/lib.rs", "src/config.rs", "src/sink.rs", "src/core.rs", "src/error.rs",
    "cases/lines/step.yaml", "cases/lines/input.csv", "cases/lines/expected.json",
    "tests/conformance.rs",
);

/// Longest name of a plugin, in bytes.
const NAME_LENGTH: usize = 48;

/// Makes the folder of a plugin. What is there is never overwritten.
///
/// # Errors
/// When the name cannot be a plugin's, a file is there already, or one cannot be written.
pub fn run(context: &Context, args: &args::PluginNew) -> Result<u8, Failure> {
    let name = args.name.as_str();
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= NAME_LENGTH
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        // Its codes begin with it, and no code has more.
        && name.bytes().filter(u8::is_ascii_digit).count() <= 4;
    if !plain {
        return Err(Failure::usage(format!(
            "{name:?} cannot be a plugin's name: lower-case letters, four digits at most and _, a letter first, \
             {NAME_LENGTH} characters at most"
        )));
    }
    if context.registry.holds(name) {
        return Err(Failure::usage(format!(
            "a built-in plugin is called {name}: no other can be loaded under its name"
        )));
    }
    let here = args.sdk.clone().or_else(checkout);
    let sdk = match &here {
        Some(path) => sdk_at(path)?,
        None => format!("git = {:?}", env!("CARGO_PKG_REPOSITORY")),
    };
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(name));
    let files = match args.kind {
        PluginKind::Source => SOURCE,
        PluginKind::Transform => TRANSFORM,
        PluginKind::Sink => SINK,
    };
    let taken: Vec<&str> = files
        .iter()
        .map(|(path, _)| *path)
        .filter(|path| dir.join(path).symlink_metadata().is_ok())
        .collect();
    if !taken.is_empty() {
        let message = format!(
            "{} has {} already: nothing was written; choose another folder",
            dir.display(),
            taken.join(", ")
        );
        return Err(Failure::new(FAILED, message));
    }
    for (path, text) in files {
        write_new(
            &dir.join(path),
            named(text, name).replace("{ SDK }", &format!("{{ {sdk} }}")).as_bytes(),
        )?;
    }
    let written: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
    let value = json!({ "dir": dir, "name": name, "files": written, "sdk": sdk });
    context.console.result(&value, || {
        format!(
            "{name} in {0}\n  {1}\n\nnext, in {0}:\n  cargo test\n  cargo build --release\n  \
             clinmill plugin check target/release/libclinmill_plugin_{name}.so --folder .\n\
             how a pipeline loads it stands in README.md\n",
            dir.display(),
            written.join("\n  ")
        )
    })?;
    if here.is_none() {
        context.console.warn(
            Some("SDK"),
            "Cargo.toml names the SDK by clinmill's repository: where cargo cannot fetch that, `cargo test` fails. Get a \
             checkout of clinmill and say `--sdk CHECKOUT`, or write into Cargo.toml: clinmill-sdk = { path = \
             \"CHECKOUT/core/sdk\" }",
        );
    }
    Ok(OK)
}

/// A checkout of clinmill around the working folder or around this program, as with `cargo run`.
fn checkout() -> Option<PathBuf> {
    let places = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let around = |place: &PathBuf| {
        let found = place.ancestors().find(|folder| sdk_at(folder).is_ok());
        found.map(Path::to_path_buf)
    };
    places.iter().flatten().find_map(around)
}

/// The SDK as a dependency: the folder of the crate, or of the repository that holds it.
fn sdk_at(path: &Path) -> Result<String, Failure> {
    let crate_at = [path.to_path_buf(), path.join("core/sdk")]
        .into_iter()
        .find(|place| place.join("src/export").is_dir() && place.join("Cargo.toml").is_file());
    let crate_at = crate_at.ok_or_else(|| {
        Failure::usage(format!(
            "{} is neither clinmill's SDK (core/sdk) nor a checkout of clinmill",
            path.display()
        ))
    })?;
    let full = crate_at
        .canonicalize()
        .map_err(|error| Failure::io("find", &crate_at, &error))?;
    Ok(format!("path = {:?}", full.display().to_string()))
}

/// A template with the plugin's name in the place of `newplugin`, in all its spellings.
fn named(text: &str, name: &str) -> String {
    let mut camel = String::new();
    for part in name.split('_').filter(|part| !part.is_empty()) {
        let (first, rest) = part.split_at(1);
        camel.push_str(&first.to_ascii_uppercase());
        camel.push_str(rest);
    }
    text.replace("newplugin", name)
        .replace("Newplugin", &camel)
        .replace("NEWPLUGIN", &name.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_in_all_spellings() {
        let text = named("newplugin Newplugin NEWPLUGIN_EMPTY", "drug_names_2");
        assert_eq!(text, "drug_names_2 DrugNames2 DRUG_NAMES_2_EMPTY");
    }

    #[test]
    fn no_name_is_something_else_in_yaml() {
        for files in [TRANSFORM, SOURCE, SINK] {
            for (path, text) in files
                .iter()
                .filter(|(path, _)| path.ends_with(".yaml") || *path == "README.md")
            {
                // As a key it is a name whatever it looks like.
                let bare = text.lines().find(|line| line.trim_end().ends_with(": newplugin"));
                assert_eq!(bare, None, "{path}: `true` and `null` are no text");
            }
        }
    }

    #[test]
    fn no_name_makes_a_type_that_is_there_already() {
        let nasty = [
            "split",
            "input",
            "source",
            "sink",
            "transform",
            "schema",
            "origin",
            "emit",
            "run",
            "arc",
            "self",
            "config",
            "plugin",
            "field",
            "path",
            "file",
            "part",
            "value",
            "option",
            "result",
            "string",
            "vec",
            "box",
            "some",
            "ok",
            "status",
            "caps",
            "core",
            "error",
            "test",
            "a",
            "x__y_2",
        ];
        for files in [TRANSFORM, SOURCE, SINK] {
            for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".rs")) {
                let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
                for name in nasty {
                    let made: Vec<String> = words
                        .iter()
                        .filter(|word| word.contains("Newplugin"))
                        .map(|word| named(word, name))
                        .collect();
                    let taken = made
                        .iter()
                        .find(|made| words.contains(&made.as_str()) || *made == "Self");
                    assert_eq!(taken, None, "{path}: {name}");
                }
            }
        }
    }

    #[test]
    fn names_and_folders_are_checked() {
        let context = Context::new(&args::Global::default());
        let dir = tempfile::tempdir().unwrap();
        let new = |name: &str| args::PluginNew {
            name: name.to_owned(),
            kind: PluginKind::Transform,
            dir: Some(dir.path().join("p")),
            sdk: None,
        };
        for bad in ["", "icd10_2024", "Drug", "7t", "a-b", "datetime", "病"] {
            assert!(run(&context, &new(bad)).is_err(), "{bad}");
        }
        let long = run(&context, &new(&"a".repeat(NAME_LENGTH + 1))).unwrap_err();
        assert!(long.message.contains("48 characters at most"), "{}", long.message);
        assert_eq!(run(&context, &new("drug")).unwrap(), OK);
        let read = |file: &str| std::fs::read_to_string(dir.path().join("p").join(file)).unwrap();
        // The tests run in a checkout.
        assert!(read("Cargo.toml").contains("clinmill-plugin-drug") && read("Cargo.toml").contains("core/sdk"));
        let readme = read("README.md");
        for part in [
            "cargo test",
            "cargo build --release",
            "plugin check",
            "plugin lock",
            "libclinmill_plugin_drug.so",
        ] {
            assert!(readme.contains(part), "{part}");
        }
        assert!(run(&context, &new("drug")).unwrap_err().message.contains("Cargo.toml"));
    }
}
