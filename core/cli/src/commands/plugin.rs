//! `clinmill plugin`: which plugins there are, what they take, what a pipeline may load.

use crate::{
    args,
    context::Context,
    failure::{Failure, INVALID, OK},
    files,
    plugins::{ANY_TARGET, Named},
};
use clinmill_host::{LoadError, file, holder, lock::Lock};
use clinmill_model::{Diagnostic, Digest};
use clinmill_sdk::{Descriptor, Kind, Registry, reference, regular};
use clinmill_spec::pipeline::Spanned;
use serde_json::json;
use std::{collections::BTreeSet, fmt::Write as _, path::Path};

const KINDS: [(Kind, &str); 3] = [
    (Kind::Source, "source"),
    (Kind::Transform, "transform"),
    (Kind::Sink, "sink"),
];

/// All plugins of a registry, each with its kind in words.
pub fn all(registry: &Registry) -> Vec<(&'static str, Descriptor)> {
    let of = |(kind, name): (Kind, &'static str)| registry.descriptors(kind).into_iter().map(move |d| (name, d));
    KINDS.into_iter().flat_map(of).collect()
}

fn registry(context: &Context, pipeline: Option<&Path>) -> Result<Registry, Failure> {
    match pipeline {
        Some(file) => context.plugins_of(file),
        None => Ok(context.registry.clone()),
    }
}

/// Lists the built-in plugins and those of a pipeline.
///
/// # Errors
/// When a plugin of the pipeline is not loaded.
pub fn list(context: &Context, args: &args::PluginList) -> Result<u8, Failure> {
    let plugins = all(&registry(context, args.pipeline.as_deref())?);
    let each = plugins.iter().map(|(kind, d)| {
        let built_in = context.registry.holds(&d.name);
        json!({ "kind": kind, "name": d.name, "version": d.version, "summary": d.summary, "built_in": built_in })
    });
    let value = json!({ "plugins": each.collect::<Vec<_>>() });
    context.console.result(&value, || {
        let mut out = String::new();
        for (kind, d) in &plugins {
            let _ = writeln!(out, "{kind:9}  {:14}  {:8}  {}", d.name, d.version, d.summary);
        }
        out
    })?;
    Ok(OK)
}

/// Shows what a plugin takes: the table is made of its schema.
///
/// # Errors
/// When there is none of this name.
pub fn info(context: &Context, args: &args::PluginInfo) -> Result<u8, Failure> {
    let plugins = all(&registry(context, args.pipeline.as_deref())?);
    let found: Vec<_> = plugins.iter().filter(|(_, d)| d.name == args.name).collect();
    if found.is_empty() {
        let known: Vec<&str> = plugins.iter().map(|(_, d)| d.name.as_str()).collect();
        return Err(Failure {
            code: Some("NOT_FOUND"),
            ..Failure::new(
                INVALID,
                format!("there is no plugin {:?}; known: {}", args.name, known.join(", ")),
            )
        });
    }
    let each = found.iter().map(|(kind, d)| {
        json!({ "kind": kind, "name": d.name, "version": d.version, "summary": d.summary, "schema": d.schema })
    });
    let value = json!({ "plugins": each.collect::<Vec<_>>() });
    context.console.result(&value, || {
        let mut out = String::new();
        for (kind, d) in &found {
            let _ = writeln!(
                out,
                "{kind} {} {}: {}\n\n{}",
                d.name,
                d.version,
                d.summary,
                reference::options_table(&d.schema)
            );
        }
        out
    })?;
    Ok(OK)
}

/// Writes `plugins.lock` for what a pipeline names. What other pipelines of the folder need stays.
///
/// # Errors
/// When the pipeline names a plugin that could not be loaded: a path that leads outside, a file that is no plugin, a name
/// that is taken; or the lock cannot be read or written.
pub fn lock(context: &Context, args: &args::PipelineFile) -> Result<u8, Failure> {
    regular::read(&args.file).map_err(|error| Failure::io("read", &args.file, &error))?;
    let named = Named::read(&args.file);
    if named.wrong.iter().any(Diagnostic::is_error) {
        return Err(named.failure(named.wrong.clone(), NOT_LOCKED));
    }
    let before = named.lock().map_err(|wrong| named.failure(wrong, NOT_LOCKED))?;
    let (mut lock, mut found) = (Lock::default(), Vec::new());
    for (at, locked) in entries(&named) {
        let entry = match locked {
            Ok(entry) => entry,
            Err((code, message)) => {
                found.push(named.refused(at, &code, &message));
                continue;
            }
        };
        let other = lock.plugins.contains_key(&entry.name).then_some("another plugin");
        if let Some(holder) = other.or_else(|| holder(&context.registry, &entry.name)) {
            found.push(named.refused(at, "PLUGIN_NAME_TAKEN", &format!("{holder} has this name")));
            continue;
        }
        // What other machines locked of the same version stays.
        let known = before.plugins.get(&entry.name);
        if let Some(known) = known.filter(|known| known.version == entry.version) {
            lock.plugins.insert(entry.name.clone(), known.clone());
        }
        lock.note(&entry.name, &entry.version, &entry.target, entry.digest);
    }
    if !found.is_empty() {
        return Err(named.failure(found, NOT_LOCKED));
    }
    let own = lock.plugins.len();
    let others = others(&args.file, &named);
    for (name, locked) in before.plugins {
        if others.as_ref().is_none_or(|names| names.contains(&name)) {
            lock.plugins.entry(name).or_insert(locked);
        }
    }
    let path = named.lock_path();
    let text = lock.render();
    let changed = regular::text(&path).ok().as_deref() != Some(&text);
    if changed {
        files::replace(&path, &text)?;
    }
    let kept = lock.plugins.len() - own;
    let value = json!({ "lock": path, "plugins": own, "of_other_pipelines": kept, "changed": changed });
    context.console.result(&value, || {
        let what = if changed { "written" } else { "unchanged" };
        let others = match kept {
            0 => String::new(),
            n => format!(", {n} of other pipelines kept"),
        };
        let count = crate::output::counted(own as u64, "plugin", "plugins");
        format!("{}: {what}, {count}{others}\n", path.display())
    })?;
    Ok(OK)
}

const NOT_LOCKED: &str = "plugins.lock was not written";

/// A plugin that a pipeline names, as the lock holds it.
struct Entry {
    name: String,
    version: String,
    target: String,
    digest: Digest,
}

type Locked = Result<Entry, (String, String)>;

/// What a pipeline names, each with its place and what is wrong with it.
fn entries(named: &Named) -> Vec<(&Spanned<String>, Locked)> {
    let roots: Vec<_> = named
        .roots()
        .iter()
        .filter_map(|root| root.canonicalize().ok())
        .collect();
    let read = |path: &str| {
        let place = named.place(path);
        let bytes = regular::read(&place)
            .map_err(|error| ("PLUGIN_READ".to_owned(), format!("the plugin cannot be read: {error}")))?;
        let within = place
            .canonicalize()
            .is_ok_and(|place| roots.iter().any(|root| place.starts_with(root)));
        match within {
            true => Ok(bytes),
            false => Err((
                "PLUGIN_ROOT".to_owned(),
                "the plugin is outside the folders that plugins may come from".to_owned(),
            )),
        }
    };
    let library = |path: &Spanned<String>| -> Locked {
        let bytes = read(&path.value)?;
        let header = file::header(&bytes).map_err(|error| {
            let error = LoadError::File(error);
            (error.code().to_owned(), error.to_string())
        })?;
        Ok(Entry {
            name: header.name,
            version: header.version,
            target: header.target_triple,
            digest: Digest::of(&bytes),
        })
    };
    let process = |name: &str, path: &str| -> Locked {
        Ok(Entry {
            name: name.to_owned(),
            version: "process".to_owned(),
            target: ANY_TARGET.to_owned(),
            digest: Digest::of(&read(path)?),
        })
    };
    let libraries = named.files.libraries.iter().map(|path| (path, library(path)));
    let processes = named.files.processes.iter();
    let processes = processes.map(|(name, path)| (path, process(&name.value, &path.value)));
    libraries.chain(processes).collect()
}

/// The names that the other pipelines of the folder need; `None` where one of them names what cannot be read now.
fn others(file: &Path, named: &Named) -> Option<BTreeSet<String>> {
    let listed = std::fs::read_dir(&named.dir).into_iter().flatten().flatten();
    let mut names = BTreeSet::new();
    for entry in listed {
        let path = entry.path();
        let is_yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if !is_yaml || path.file_name() == file.file_name() {
            continue;
        }
        for (_, locked) in entries(&Named::read(&path)) {
            names.insert(locked.ok()?.name);
        }
    }
    Some(names)
}
