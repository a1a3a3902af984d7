//! The house rules that a test can hold: arrows between crates, the shape of plugin folders, files and their length,
//! one version of what types travel through, no unsafe code, and nothing of one machine in what is tracked.

use clinmill_tests::root;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Lines from which a file is reported, and from which it fails.
const LONG: usize = 600;
const TOO_LONG: usize = 1000;

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(root()).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Every file that is tracked, or new and not ignored; without git, every file outside dot-folders.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut files: Vec<PathBuf> = match listed {
        Ok(listed) if listed.status.success() => String::from_utf8(listed.stdout)
            .unwrap()
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .filter(|path| root().join(path).is_file())
            .collect(),
        _ => walk(&root()),
    };
    files.sort();
    files.dedup();
    assert!(files.len() > 100, "the repository's files were not found");
    files
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if !name.to_string_lossy().starts_with('.') && name != "target" {
                all.extend(walk(&path));
            }
        } else {
            all.push(path.strip_prefix(root()).unwrap().to_path_buf());
        }
    }
    all
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let all = files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"));
    all.map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap()))
        .collect()
}

/// The floor of a crate in `core`; `None` for one that is not known.
fn floor(name: &str) -> Option<u8> {
    Some(match name {
        "clinmill-model" | "clinmill-abi" => 0,
        "clinmill-spec" | "clinmill-sdk" => 1,
        "clinmill-catalog" | "clinmill-provenance" | "clinmill-host" => 2,
        "clinmill-engine" => 3,
        "clinmill-cli" => 4,
        _ => return None,
    })
}

#[test]
fn imports_point_down() {
    let metadata: Value = serde_json::from_str(&output(
        env!("CARGO"),
        &["metadata", "--format-version", "1", "--no-deps"],
    ))
    .unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() >= 17, "{} crates", packages.len());
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let is_plugin = name.starts_with("clinmill-plugin-");
        let free = ["clinmill-tests", "clinmill-tests-abi", "clinmill-bench"].contains(&name)
            || name.starts_with("clinmill-cdylib-");
        let own = floor(name);
        if own.is_none() && !is_plugin && !free {
            wrong.push(format!("{name} stands on no floor"));
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            if to == "datafusion" || to.starts_with("datafusion-") {
                if name != "clinmill-engine" {
                    wrong.push(format!("{name} -> {to}: only the engine names DataFusion"));
                }
            } else if !to.starts_with("clinmill-") || free {
                continue;
            } else if is_plugin {
                // Its tests may look at another plugin.
                if to != "clinmill-sdk" && dependency["kind"] != "dev" {
                    wrong.push(format!("{name} -> {to}: a plugin imports the SDK only"));
                }
            } else if let Some(own) = own {
                let down = match floor(to) {
                    Some(below) => below < own,
                    // The list of built-in plugins.
                    None => name == "clinmill-cli" && to.starts_with("clinmill-plugin-"),
                };
                if !down {
                    wrong.push(format!("{name} -> {to}: imports point down"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn plugin_folders_have_one_shape() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(root().join("plugins")).unwrap().flatten() {
        let folder = entry.path();
        let name = entry.file_name().into_string().unwrap();
        count += 1;
        let description = fs::read_to_string(folder.join("plugin.yaml")).unwrap_or_default();
        let kind = description
            .lines()
            .find_map(|line| line.strip_prefix("kind:"))
            .unwrap_or_default()
            .trim();
        let main = match kind {
            "source" | "transform" | "sink" => format!("src/{kind}.rs"),
            _ => {
                wrong.push(format!("{name}/plugin.yaml: its kind is {kind:?}"));
                continue;
            }
        };
        for key in ["name:", "version:", "summary:", "capabilities:"] {
            if !description.lines().any(|line| line.starts_with(key)) {
                wrong.push(format!("{name}/plugin.yaml has no {key}"));
            }
        }
        if !description.lines().any(|line| line == format!("name: {name}")) {
            wrong.push(format!("{name}/plugin.yaml has another name than its folder"));
        }
        let required = [
            "plugin.yaml",
            "Cargo.toml",
            "README.md",
            "sample.yaml",
            "tests/conformance.rs",
        ];
        let sources = ["src/lib.rs", "src/config.rs", "src/core.rs", "src/error.rs", &main];
        for file in required.into_iter().chain(sources) {
            if !folder.join(file).is_file() {
                wrong.push(format!("{name}/{file} is missing"));
            }
        }
        let contents = fs::read_to_string(folder.join("src/lib.rs")).unwrap_or_default();
        if contents.lines().count() > 60 {
            wrong.push(format!("{name}/src/lib.rs is more than a table of contents"));
        }
        let cases: Vec<PathBuf> = match fs::read_dir(folder.join("cases")) {
            Ok(cases) => cases.flatten().map(|c| c.path()).filter(|c| c.is_dir()).collect(),
            Err(_) => Vec::new(),
        };
        if cases.is_empty() {
            wrong.push(format!("{name}/cases is empty"));
        }
        for case in cases {
            let names: Vec<String> = fs::read_dir(&case)
                .unwrap()
                .flatten()
                .map(|f| f.file_name().into_string().unwrap())
                .collect();
            let judged = names.iter().any(|n| n.starts_with("expected.") || n == "error.txt");
            if !judged || !names.iter().any(|n| n == "step.yaml") {
                wrong.push(format!(
                    "{}: a case has step.yaml and expected.* or error.txt: {names:?}",
                    case.display()
                ));
            }
        }
    }
    assert!(count >= 6, "{count} plugins");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_open_with_what_they_are_for_and_stay_short() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files() {
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not open with //!", path.display()));
        }
        let lines = text.lines().count();
        if lines > TOO_LONG {
            wrong.push(format!("{} has {lines} lines: at most {TOO_LONG}", path.display()));
        } else if lines > LONG {
            println!("long: {} has {lines} lines", path.display());
        }
        // A word of this test would not be found here if it were written in one piece.
        for word in [concat!("FIX", "ME"), concat!("XX", "X:"), concat!("todo", "!(")] {
            if text.contains(word) {
                wrong.push(format!("{} holds {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where `unsafe` may stand: the C boundary.
fn is_boundary(path: &Path) -> bool {
    let path = path.to_string_lossy();
    ["core/abi/src/", "core/host/src/", "core/sdk/src/export"]
        .iter()
        .any(|allowed| path.starts_with(allowed))
}

#[test]
fn unsafe_stays_at_the_boundary() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files().iter().filter(|(path, _)| !is_boundary(path)) {
        for (n, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            // In pieces, so that this file does not hold it.
            let word = concat!("un", "safe");
            let uses = [" {", " fn", " impl", " extern", "("]
                .iter()
                .any(|next| code.contains(&format!("{word}{next}")));
            if uses || code.contains(&format!("allow({word}_code")) {
                wrong.push(format!("{}:{}", path.display(), n + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains(concat!("un", "safe_code = \"deny\"")));
    // The fuzz targets are a workspace of their own.
    for (path, text) in manifests()
        .into_iter()
        .filter(|(path, _)| !path.starts_with("tests/fuzz"))
    {
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{}: the workspace's lints are not on",
            path.display()
        );
    }
}

/// The manifests of all crates.
fn manifests() -> Vec<(PathBuf, String)> {
    let all = files()
        .into_iter()
        .filter(|path| path.ends_with("Cargo.toml") && path.components().count() > 1);
    all.map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap()))
        .collect()
}

#[test]
fn types_that_travel_have_one_version() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut name = "";
    for line in lock.lines() {
        if let Some(found) = line.strip_prefix("name = ") {
            name = found.trim_matches('"');
        } else if let Some(version) = line.strip_prefix("version = ") {
            versions.entry(name).or_default().insert(version.trim_matches('"'));
        }
    }
    for (name, start) in [
        ("arrow", "59.3."),
        ("parquet", "59.3."),
        ("object_store", "0.13."),
        ("datafusion", "55.2."),
    ] {
        let found = &versions[name];
        assert!(
            found.len() == 1 && found.iter().all(|v| v.starts_with(start)),
            "{name}: {found:?}"
        );
    }
    for (name, found) in versions
        .iter()
        .filter(|(name, _)| name.starts_with("arrow-") || name.starts_with("datafusion-"))
    {
        assert_eq!(found.len(), 1, "{name}: {found:?}");
    }
    for absent in ["ballista", "deltalake", "openssl", "serde_yaml"] {
        assert!(!versions.contains_key(absent), "{absent} is compiled");
    }
}

/// What a repository that speaks of itself alone does not hold. In pieces, so that this file does not hold them.
const FOREIGN: [(&str, &str); 12] = [
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("/Us", "ers/"),
    ("/wo", "rk/"),
    ("/tmp/", "bash_jobs"),
    ("art", "ifactory"),
    ("Clau", "de"),
    ("Anthr", "opic"),
    ("Chat", "GPT"),
    ("Co-Author", "ed-By"),
    ("sub", "agent"),
    ("the iss", "ue asks"),
];

#[test]
fn nothing_of_one_machine_is_tracked() {
    let mut wrong = Vec::new();
    for path in files() {
        // Data is what it was when it was published; only text of our own is looked at.
        let own = path.extension().and_then(|e| e.to_str());
        let text_of_ours = matches!(
            own,
            None | Some("rs" | "md" | "toml" | "yaml" | "yml" | "h" | "c" | "py" | "sh" | "json")
        );
        if !text_of_ours || path.starts_with("pipelines/hl7-elr/inbox") {
            continue;
        }
        let Ok(text) = fs::read_to_string(root().join(&path)) else {
            continue;
        };
        for (n, line) in text.lines().enumerate() {
            for (first, second) in FOREIGN {
                if line.contains(&format!("{first}{second}")) {
                    wrong.push(format!("{}:{}: {first}{second}", path.display(), n + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The YAML blocks of a Markdown document, each with its first line's number.
fn yaml_blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (n, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (Some((_, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some("yaml" | "yml")) => open = Some((n + 2, String::new())),
            // A block in another language: its lines are passed over until it closes.
            (None, Some(_)) => open = Some((0, String::new())),
            (None, None) => {}
        }
    }
    blocks.retain(|(line, _)| *line > 0);
    blocks
}

#[test]
fn every_yaml_block_of_every_document_is_good() {
    let (mut pipelines, mut parts) = (0, 0);
    let mut wrong = Vec::new();
    for path in files()
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        // Plugins that are not there until somebody makes or loads them; their own tests read their samples.
        .filter(|path| !path.starts_with("core/cli/templates/plugin") && !path.starts_with("tests/abi/python"))
    {
        let text = fs::read_to_string(root().join(path)).unwrap();
        for (line, block) in yaml_blocks(&text) {
            let at = format!("{}:{line}", path.display());
            if block.contains('…') || block.contains("...") {
                wrong.push(format!("{at}: a block leaves something out"));
            }
            if block.starts_with("version: 1\n") || block.contains("\nversion: 1\n") {
                pipelines += 1;
                let project = clinmill_tests::Project::new();
                project.write("pipeline.yaml", &block);
                clinmill_tests::copy_dir(&root().join("mappings"), &project.at("mappings"));
                fs::create_dir_all(project.at("tests")).unwrap();
                let run = project.run(["validate", "pipeline.yaml"]);
                if run.code != Some(0) {
                    wrong.push(format!("{at}: not a valid pipeline:\n{}{}", run.stdout, run.stderr));
                }
            } else {
                parts += 1;
                if let Err(error) = part(path, &block) {
                    wrong.push(format!("{at}: {error}"));
                }
            }
        }
    }
    println!("{pipelines} pipelines and {parts} parts of pipelines in documents");
    assert!(pipelines >= 1 && parts >= 6, "{pipelines} and {parts}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A part of a pipeline, as the documents of plugins show it: one source section, or one or more steps. It is put
/// into a pipeline whose other parts are good, and what the reading of the file says is looked at; names of mappings,
/// columns and relations of the reader's own pipeline are not.
fn part(path: &Path, block: &str) -> Result<(), String> {
    let indent = |text: &str, by: &str| text.lines().map(|l| format!("{by}{l}\n")).collect::<String>();
    let head = "version: 1\nname: part\ntimezone: Asia/Shanghai\nroots: { maps: mappings }\n\
                vault: { url: \"file:vault\", key: auto }\ndataset: { url: \"file:out\" }\n";
    let lis =
        "  lis: { plugin: table, inputs: { glob: \"a/*.csv\" }, subject: { id: a, issuer: b }, columns: { a: c } }\n";
    let is_test = block.contains("\n    expect:\n");
    let is_source = !is_test && block.lines().any(|l| l.starts_with("plugin:"));
    let is_step = !is_test && block.lines().any(|l| l.starts_with("- "));
    let pipeline = if is_source {
        format!(
            "{head}sources:\n  x:\n{}tables:\n  t: {{ from: x }}\n",
            indent(block, "    ")
        )
    } else if is_step {
        format!(
            "{head}sources:\n{lis}transforms:\n  x:\n    from: lis\n    steps:\n{}tables:\n  t: {{ from: x }}\n",
            indent(block, "      ")
        )
    } else if is_test {
        let file = clinmill_spec::cases::load("t.yaml", "t", block);
        return match file.diagnostics.first() {
            None => Ok(()),
            Some(found) => Err(found.to_string()),
        };
    } else if block.starts_with("name:") || block.starts_with("from:") {
        // Not a pipeline: a plugin's or a mapping's description.
        return Ok(());
    } else {
        return Err(format!(
            "neither a pipeline nor a source nor steps, in {}",
            path.display()
        ));
    };
    let project = clinmill_tests::Project::new();
    project.write("pipeline.yaml", &pipeline);
    clinmill_tests::copy_dir(&root().join("mappings"), &project.at("mappings"));
    let run = project.run(["validate", "pipeline.yaml", "--format", "json"]).json();
    // E03 and E05: names and paths of the reader's own; E04, E02 and E01: the block itself.
    let found = run["files"][0]["diagnostics"].as_array().unwrap();
    let own: Vec<String> = found
        .iter()
        .filter(|d| {
            ["E01", "E02", "E04"]
                .iter()
                .any(|start| d["code"].as_str().unwrap().starts_with(start))
        })
        .map(|d| format!("{} {}", d["code"], d["message"]))
        .collect();
    if own.is_empty() { Ok(()) } else { Err(own.join("; ")) }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in files()
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
    {
        let text = fs::read_to_string(root().join(path)).unwrap();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let folder = path.parent().unwrap_or(Path::new(""));
            if !root().join(folder).join(file).exists() {
                wrong.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(count >= 10, "{count} links");
    let architecture = fs::read_to_string(root().join("core/ARCHITECTURE.md")).unwrap();
    for decision in fs::read_dir(root().join("core/decisions")).unwrap().flatten() {
        let name = decision.file_name().into_string().unwrap();
        if !architecture.contains(&format!("](decisions/{name})")) {
            wrong.push(format!("core/ARCHITECTURE.md does not list {name}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn readme_and_ci_run_the_same_tests() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    for command in ["cargo run --release -- demo", "cargo test --workspace"] {
        assert!(
            readme.lines().any(|line| line == command),
            "README does not say `{command}`"
        );
    }
    assert!(ci.lines().any(|line| line == "step cargo test --workspace"));
}
