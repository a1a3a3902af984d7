//! `clinmill plugin check`: whether a plugin keeps to the rules, be it a library or a program.

use super::plugin::all;
use crate::{
    args,
    context::Context,
    failure::{FAILED, Failure, OK},
    output::counted,
    plugins::seconds,
};
use clinmill_host::{
    Limits, Loaded, load_unlocked,
    process::{self, Pinned},
    take_unreleased,
};
use clinmill_model::Digest;
use clinmill_sdk::{
    Registry, regular,
    testing::{self, Checked},
};
use serde_json::json;
use std::{fmt::Write as _, path::Path, time::Duration};

/// A plugin that stands in no lock.
struct Found {
    registry: Registry,
    /// Name, version and the rest that it says of itself.
    title: String,
    name: String,
    version: String,
    digest: Digest,
    /// The library, which accounts for what it is lent.
    library: Option<Loaded>,
}

/// Loads a library, or starts a program, that stands in no lock and checks that it keeps to the rules.
///
/// # Errors
/// When it is no plugin of this host.
pub fn run(context: &Context, args: &args::PluginCheck) -> Result<u8, Failure> {
    let limits = Limits {
        call: Some(Duration::from_secs(seconds()?.unwrap_or(10))),
        // The rows are those of its own cases.
        shows_texts: true,
        ..Limits::default()
    };
    let found = match is_library(&args.file) {
        true => library(&args.file, limits)?,
        false => program(args, limits)?,
    };
    let mut checks: Vec<(String, Checked)> = Vec::new();
    let (registry, folder) = (&found.registry, args.folder.as_deref());
    for (kind, descriptor) in all(registry) {
        let name = &descriptor.name;
        let made = match kind {
            "source" => registry
                .get_source(name)
                .map(|p| testing::check_source(p.as_ref(), folder)),
            "transform" => registry
                .get_transform(name)
                .map(|p| testing::check_transform(p.as_ref(), folder)),
            _ => registry.get_sink(name).map(|p| testing::check_sink(p.as_ref(), folder)),
        };
        let made = made.into_iter().flatten();
        checks.extend(made.map(|check| (format!("{kind} {name}"), check)));
    }
    if let Some(library) = &found.library {
        checks.push((format!("plugin {}", found.name), released(library)));
    }
    for (_, check) in &mut checks {
        check.wrong.as_mut().map(bounded);
    }
    let wrong: Vec<String> = checks
        .iter()
        .flat_map(|(of, check)| {
            check
                .wrong
                .iter()
                .flatten()
                .map(move |what| format!("{of}: {}: {what}", check.name))
        })
        .collect();
    let each = checks.iter().map(|(of, check)| {
        json!({ "of": of, "check": check.name, "ok": check.wrong.as_ref().map(Vec::is_empty), "wrong": check.wrong,
            "why": (!check.why.is_empty()).then_some(&check.why) })
    });
    let value = json!({ "plugin": found.name, "version": found.version, "sha256": found.digest.to_string(),
        "components": all(registry).len(), "checks": each.collect::<Vec<_>>(), "wrong": wrong });
    context.console.result(&value, || {
        let mut out = format!("{}\nsha256 {}\n", found.title, found.digest);
        for (of, check) in &checks {
            let how = match &check.wrong {
                None => "not run",
                Some(wrong) if wrong.is_empty() => "ok",
                Some(_) => "wrong",
            };
            let _ = writeln!(out, "{how:8} {of}: {}", check.name);
            let why = (!check.why.is_empty()).then_some(&check.why);
            for what in check.wrong.iter().flatten().chain(why) {
                let _ = writeln!(out, "         {}", what.replace('\n', "\n         "));
            }
        }
        let untried = checks.iter().filter(|(_, check)| check.wrong.is_none()).count();
        out.push_str(&match (wrong.is_empty(), untried) {
            (true, 0) => "it keeps to the rules\n".to_owned(),
            (true, n) => format!(
                "it keeps to the rules that were tried; {n} of {} were not run\n",
                checks.len()
            ),
            _ => "it does not keep to the rules\n".to_owned(),
        });
        out
    })?;
    Ok(if wrong.is_empty() { OK } else { FAILED })
}

/// How many findings of one check are told.
const MOST_FINDINGS: usize = 20;

fn bounded(wrong: &mut Vec<String>) {
    let more = wrong.len().saturating_sub(MOST_FINDINGS);
    if more > 0 {
        wrong.truncate(MOST_FINDINGS);
        wrong.push(format!("and {}", counted(more as u64, "more finding", "more findings")));
    }
}

/// By its name, as the system's loader has them.
fn is_library(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".so") || name.contains(".so.") || name.ends_with(".dylib") || name.ends_with(".dll")
}

fn library(file: &Path, limits: Limits) -> Result<Found, Failure> {
    let (plugin, header, digest) = load_unlocked(file, limits)
        .map_err(|error| Failure::new(FAILED, format!("{}: {error} [{}]", file.display(), error.code())))?;
    let mut registry = Registry::default();
    plugin
        .register(&mut registry)
        .map_err(|error| Failure::new(FAILED, error.to_string()))?;
    Ok(Found {
        registry,
        title: header.to_string(),
        name: header.name,
        version: header.version,
        digest,
        library: Some(plugin),
    })
}

fn program(args: &args::PluginCheck, limits: Limits) -> Result<Found, Failure> {
    let told = |what: String| Failure::new(FAILED, format!("{}: {what}", args.file.display()));
    let path = args.file.canonicalize().map_err(|error| told(error.to_string()))?;
    let bytes = regular::read(&path).map_err(|error| told(error.to_string()))?;
    let digest = Digest::of(&bytes);
    let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = args.name.clone().unwrap_or_else(stem);
    let mut registry = Registry::default();
    let pinned = Pinned {
        path: path.clone(),
        digest,
    };
    process::register(&mut registry, &name, vec![path.clone()], pinned, limits)
        .map_err(|error| told(format!("{} [{}]", error.message, error.code)))?;
    let version = all(&registry)
        .first()
        .map(|(_, d)| d.version.clone())
        .unwrap_or_default();
    Ok(Found {
        registry,
        title: format!("{name} {version} (a program)"),
        name,
        version,
        digest,
        library: None,
    })
}

/// What the account of a library says.
fn released(library: &Loaded) -> Checked {
    let mut wrong = Vec::new();
    if let Err(error) = library.settle() {
        wrong.push(error.message);
    }
    let (lent, released, twice) = library.account.releases();
    if lent != released {
        wrong.push(format!("{lent} arrays were lent and {released} released"));
    }
    if twice > 0 {
        wrong.push(format!("{twice} arrays were released a second time"));
    }
    wrong.extend(take_unreleased().into_iter().map(|error| error.message));
    Checked::or(
        "release: each array that it is lent, exactly once, and no panic in it",
        (lent > 0 || !wrong.is_empty()).then_some(wrong),
        "it was lent none",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let of = |n: usize| {
            let mut wrong: Vec<String> = (0..n).map(|i| i.to_string()).collect();
            bounded(&mut wrong);
            (wrong.len(), wrong.pop())
        };
        assert_eq!(of(MOST_FINDINGS), (MOST_FINDINGS, Some("19".to_owned())));
        assert_eq!(of(300_000).1.as_deref(), Some("and 299,980 more findings"));
    }
}
