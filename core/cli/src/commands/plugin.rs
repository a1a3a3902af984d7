//! `clinmill plugin`: which plugins there are, what they take, whether one keeps to the rules, what a pipeline may load.

use crate::{
    args,
    context::Context,
    failure::{FAILED, Failure, INVALID, OK},
    plugins::{ANY_TARGET, LOCK, Named},
};
use clinmill_host::{Limits, file, load_unlocked, lock::Lock};
use clinmill_model::Digest;
use clinmill_sdk::{
    Descriptor, Kind, Registry, reference,
    testing::{self, Checked},
};
use serde_json::{Value, json};
use std::{fmt::Write as _, path::Path, time::Duration};

const KINDS: [(Kind, &str); 3] = [
    (Kind::Source, "source"),
    (Kind::Transform, "transform"),
    (Kind::Sink, "sink"),
];

fn all(registry: &Registry) -> Vec<(&'static str, Descriptor)> {
    let of = |(kind, name): (Kind, &'static str)| registry.descriptors(kind).into_iter().map(move |d| (name, d));
    KINDS.into_iter().flat_map(of).collect()
}

fn registry(context: &Context, pipeline: Option<&Path>) -> Result<Registry, Failure> {
    match pipeline {
        Some(file) => context.registry_of(file),
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

/// Writes `plugins.lock` for what a pipeline names.
///
/// # Errors
/// When a file is no plugin, or the lock cannot be written.
pub fn lock(context: &Context, args: &args::PipelineFile) -> Result<u8, Failure> {
    let named = Named::read(&args.file);
    let path = named.dir.join(LOCK);
    let before = std::fs::read_to_string(&path)
        .ok()
        .and_then(|text| Lock::parse(&text).ok())
        .unwrap_or_default();
    let mut lock = Lock::default();
    let read = |path: &str| {
        let place = named.place(path);
        std::fs::read(&place).map_err(|error| Failure::io("read", &place, &error))
    };
    for library in &named.files.libraries {
        let bytes = read(&library.value)?;
        let header =
            file::header(&bytes).map_err(|error| Failure::new(FAILED, format!("{}: {error}", library.value)))?;
        // What other machines locked of the same version stays.
        if let Some(known) = before
            .plugins
            .get(&header.name)
            .filter(|known| known.version == header.version)
        {
            lock.plugins.insert(header.name.clone(), known.clone());
        }
        lock.note(&header.name, &header.version, &header.target_triple, Digest::of(&bytes));
    }
    for (name, program) in &named.files.processes {
        lock.note(&name.value, "process", ANY_TARGET, Digest::of(&read(&program.value)?));
    }
    let text = lock.render();
    let changed = std::fs::read_to_string(&path).ok().as_deref() != Some(&text);
    if changed {
        std::fs::write(&path, text).map_err(|error| Failure::io("write", &path, &error))?;
    }
    let count = lock.plugins.len();
    context
        .console
        .result(&json!({ "lock": path, "plugins": count, "changed": changed }), || {
            let what = if changed { "written" } else { "unchanged" };
            format!(
                "{}: {what}, {}\n",
                path.display(),
                crate::output::counted(count as u64, "plugin", "plugins")
            )
        })?;
    Ok(OK)
}

/// Loads a library that stands in no lock and checks that it keeps to the rules.
///
/// # Errors
/// When it is no plugin of this host.
pub fn check(context: &Context, args: &args::PluginCheck) -> Result<u8, Failure> {
    let limits = Limits {
        call: Some(Duration::from_secs(10)),
        ..Limits::default()
    };
    let (plugin, header, digest) = load_unlocked(&args.file, limits)
        .map_err(|error| Failure::new(FAILED, format!("{}: {error} [{}]", args.file.display(), error.code())))?;
    let mut registry = Registry::default();
    plugin
        .register(&mut registry)
        .map_err(|error| Failure::new(FAILED, error.to_string()))?;
    let mut checks: Vec<(String, Checked)> = Vec::new();
    for (kind, descriptor) in all(&registry) {
        let name = &descriptor.name;
        let found = match kind {
            "source" => registry
                .get_source(name)
                .map(|p| testing::check_source(p.as_ref(), args.folder.as_deref())),
            "transform" => registry
                .get_transform(name)
                .map(|p| testing::check_transform(p.as_ref(), args.folder.as_deref())),
            _ => registry
                .get_sink(name)
                .map(|p| testing::check_sink(p.as_ref(), args.folder.as_deref())),
        };
        let found = found.into_iter().flatten();
        checks.extend(found.map(|check| (format!("{kind} {name}"), check)));
    }
    let (lent, released, twice) = plugin.account.releases();
    let mut wrong = Vec::new();
    if lent != released {
        wrong.push(format!("{lent} batches were lent and {released} released"));
    }
    if twice > 0 {
        wrong.push(format!("{twice} batches were released a second time"));
    }
    let released = Checked {
        name: "release: each batch that it is lent, exactly once",
        wrong: (lent > 0).then_some(wrong),
    };
    checks.push((format!("plugin {}", header.name), released));
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
        json!({ "of": of, "check": check.name, "ok": check.wrong.as_ref().map(Vec::is_empty), "wrong": check.wrong })
    });
    let value: Value = json!({ "plugin": header.name, "version": header.version, "sha256": digest.to_string(),
        "components": all(&registry).len(), "checks": each.collect::<Vec<_>>(), "wrong": wrong });
    context.console.result(&value, || {
        let mut out = format!("{header}\nsha256 {digest}\n");
        for (of, check) in &checks {
            let how = match &check.wrong {
                None => "not run",
                Some(wrong) if wrong.is_empty() => "ok",
                Some(_) => "wrong",
            };
            let _ = writeln!(out, "{how:8} {of}: {}", check.name);
            for what in check.wrong.iter().flatten() {
                let _ = writeln!(out, "         {what}");
            }
        }
        out.push_str(if wrong.is_empty() {
            "it keeps to the rules\n"
        } else {
            "it does not keep to the rules\n"
        });
        out
    })?;
    Ok(if wrong.is_empty() { OK } else { FAILED })
}
