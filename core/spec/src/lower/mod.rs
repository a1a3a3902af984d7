//! The tree to a [`Pipeline`]: every section checked, every finding kept, nothing looked up outside.

mod fields;
mod gate;
mod source;
mod table;
mod transform;

pub(crate) use fields::{Fields, entries, loose_text, lower_first, text, wrong_type};

use crate::{
    Plugins, codes,
    keys::{DATASET, PIPELINE, PLUGINS, VAULT},
    paths,
    pipeline::{KeyRef, Pipeline, PluginFiles, Span, Spanned, Vault},
    report::{Report, quoted},
    resolve,
    tree::{Entry, Kind, Node},
    values::{LABEL_RULE, NAME_RULE, is_label, is_name},
};
use clinmill_model::columns::is_reserved;
use jiff::tz::TimeZoneDatabase;
use std::collections::BTreeMap;

/// What all sections need to know.
pub(crate) struct Context<'c, 'r> {
    pub(crate) report: &'c mut Report<'r>,
    pub(crate) plugins: &'c dyn Plugins,
    /// The declared roots.
    pub(crate) roots: BTreeMap<String, Spanned<String>>,
}

impl Context<'_, '_> {
    /// Checks a path that the pipeline reads.
    pub(crate) fn path(&mut self, path: &str, span: Span) -> bool {
        match paths::check(path, self.roots.keys().map(String::as_str)) {
            Ok(()) => true,
            Err(problem) => {
                self.report.hinted(problem.code, span, problem.message, problem.hint);
                false
            }
        }
    }

    /// Checks the name of a source, transform, table or column group.
    fn name(&mut self, what: &str, entry: &Entry) -> Spanned<String> {
        if is_reserved(&entry.key) {
            let message = format!("the {what} name {} belongs to the engine", quoted(&entry.key));
            self.report.hinted(
                codes::RESERVED_NAME,
                entry.key_span,
                message,
                Some(NAME_RULE.to_owned()),
            );
        } else if !is_name(&entry.key) {
            let message = format!("{} cannot be the name of a {what}", quoted(&entry.key));
            self.report
                .hinted(codes::BAD_NAME, entry.key_span, message, Some(NAME_RULE.to_owned()));
        }
        Spanned {
            value: entry.key.clone(),
            span: entry.key_span,
        }
    }
}

/// Lowers a whole file, as far as it can be read: what is missing or unusable is reported and left out. `None` for a file
/// that is no mapping.
pub(crate) fn pipeline(root: &Node, plugins: &dyn Plugins, report: &mut Report<'_>) -> Option<Pipeline> {
    let Kind::Mapping(_) = root.kind else {
        let message = "a pipeline file is a mapping of keys such as `version`, `name`, `sources`";
        let hint = "begin with `version: 1`; `clinmill init DIR` makes a pipeline to begin with".to_owned();
        report.hinted(codes::DOCUMENT, root.span, message, Some(hint));
        return None;
    };
    let fields = Fields::open(root, "the pipeline", root.span, PIPELINE, report)?;
    version(&fields, report);
    let name = label(fields.text("name", report), "the pipeline's name", report);
    let title = fields.text("title", report).map(|t| t.value);
    let timezone = fields.text("timezone", report).and_then(|zone| timezone(zone, report));
    let roots = roots(&fields, report);
    let vault = vault(&fields, report);
    let dataset = dataset(&fields, report);
    if let (Some(vault), Some(dataset)) = (&vault, &dataset) {
        overlap(vault, dataset, report);
    }
    let mut context = Context { report, plugins, roots };
    plugin_files(&fields, &mut context);
    let sources = section(&fields, "sources", "source", &mut context, source::lower);
    let transforms = section(&fields, "transforms", "transform", &mut context, transform::lower);
    let tables = section(&fields, "tables", "table", &mut context, table::lower);
    let gates = section(&fields, "gates", "gate", &mut context, gate::lower);
    let table_names = names(&fields, "tables");
    let names = resolve::Names {
        sources: names(&fields, "sources"),
        transforms: names(&fields, "transforms"),
    };
    let Context { report, roots, .. } = context;
    let mut pipeline = Pipeline {
        name: name.clone().unwrap_or_else(|| Spanned {
            value: String::new(),
            span: root.span,
        }),
        title,
        timezone,
        roots,
        vault: vault.clone().unwrap_or_else(|| Vault {
            url: empty(root),
            key: KeyRef::Auto,
        }),
        dataset: dataset.clone().unwrap_or_else(|| empty(root)),
        sources,
        transforms,
        tables,
        tests: tests(&fields, report),
        gates,
        names,
    };
    resolve::names(&mut pipeline, report);
    resolve::tables(&pipeline.gates, &table_names, report);
    Some(pipeline)
}

fn empty(root: &Node) -> Spanned<String> {
    Spanned {
        value: String::new(),
        span: root.span,
    }
}

fn version(fields: &Fields<'_>, report: &mut Report<'_>) {
    let Some(entry) = fields.entry("version") else { return };
    if !matches!(entry.value.kind, Kind::Invalid) && entry.value.json() != 1 {
        let message = "the version of the pipeline format must be the number 1";
        report.hinted(
            codes::BAD_VERSION,
            entry.value.span,
            message,
            Some("write `version: 1`".to_owned()),
        );
    }
}

fn label(name: Option<Spanned<String>>, what: &str, report: &mut Report<'_>) -> Option<Spanned<String>> {
    let name = name?;
    if !is_label(&name.value) {
        let message = format!("{} cannot be {what}", quoted(&name.value));
        report.hinted(codes::BAD_NAME, name.span, message, Some(LABEL_RULE.to_owned()));
        return None;
    }
    Some(name)
}

fn timezone(zone: Spanned<String>, report: &mut Report<'_>) -> Option<Spanned<String>> {
    // The bundled database only: what is valid must not depend on the machine.
    let database = TimeZoneDatabase::bundled();
    match database.get(&zone.value) {
        Ok(_) => Some(zone),
        Err(_) => {
            let known: Vec<String> = database.available().map(|name| name.to_string()).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let hint = match crate::report::nearest(&zone.value, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write an IANA name such as `Asia/Shanghai`".to_owned(),
            };
            let message = format!("{} is not a time zone", quoted(&zone.value));
            report.hinted(codes::BAD_TIMEZONE, zone.span, message, Some(hint));
            None
        }
    }
}

fn roots(fields: &Fields<'_>, report: &mut Report<'_>) -> BTreeMap<String, Spanned<String>> {
    let mut roots = BTreeMap::new();
    let listed = fields
        .entry("roots")
        .and_then(|entry| entries(&entry.value, "`roots`", report));
    for entry in listed.unwrap_or_default() {
        let name = Spanned {
            value: entry.key.clone(),
            span: entry.key_span,
        };
        let name = label(Some(name), "the name of a root", report);
        if name.is_some() && matches!(entry.key.as_str(), "file" | "http" | "https" | "s3") {
            let message = format!("`{}:` begins a URL", entry.key);
            let hint = Some("give the root another name".to_owned());
            report.hinted(codes::RESERVED_NAME, entry.key_span, message, hint);
        }
        let Some(path) = text(&entry.value, &format!("the root {}", quoted(&entry.key)), report) else {
            continue;
        };
        match paths::check_root(&path.value) {
            // A root with a bad name is kept too, so that what refers to it is not reported again.
            Ok(()) => {}
            Err(problem) => report.hinted(problem.code, path.span, problem.message, problem.hint),
        }
        roots.insert(entry.key.clone(), path);
    }
    roots
}

/// The plugins that a file names, before any of them is known. What is wrong, [`pipeline`] says.
pub(crate) fn plugins(root: &Node, plugins: &dyn Plugins, report: &mut Report<'_>) -> PluginFiles {
    let Some(fields) = Fields::open(root, "the pipeline", root.span, PIPELINE, report) else {
        return PluginFiles::default();
    };
    let roots = roots(&fields, report);
    let mut context = Context { report, plugins, roots };
    plugin_files(&fields, &mut context)
}

/// The tables that a file names, with nothing known of what they are made of. What is wrong, [`pipeline`] says.
pub(crate) fn tables(root: &Node, plugins: &dyn Plugins, report: &mut Report<'_>) -> Vec<crate::pipeline::Table> {
    let Some(fields) = Fields::open(root, "the pipeline", root.span, PIPELINE, report) else {
        return Vec::new();
    };
    let roots = roots(&fields, report);
    let mut context = Context { report, plugins, roots };
    section(&fields, "tables", "table", &mut context, table::lower)
}

fn plugin_files(fields: &Fields<'_>, context: &mut Context<'_, '_>) -> PluginFiles {
    let mut files = PluginFiles {
        roots: context.roots.clone(),
        ..PluginFiles::default()
    };
    let Some(entry) = fields.entry("plugins") else {
        return files;
    };
    let report = &mut *context.report;
    if !matches!(entry.value.kind, Kind::Mapping(_)) {
        misplaced(
            &entry.value,
            "`plugins`",
            "a mapping",
            &meant(&paths_in(&entry.value)),
            report,
        );
        return files;
    }
    let Some(fields) = Fields::open(&entry.value, "`plugins`", entry.key_span, PLUGINS, report) else {
        return files;
    };
    let libraries = match fields.entry("libraries").map(|entry| &entry.value) {
        Some(node) if matches!(node.kind, Kind::Mapping(_)) => {
            let paths = paths_in(node).join(", ");
            let advice = format!("write `[{paths}]`: a library knows its name itself");
            misplaced(node, "`libraries`", "a list", &advice, report);
            None
        }
        _ => fields.texts("libraries", report),
    };
    let listed = match fields.entry("processes").map(|entry| &entry.value) {
        Some(node) if !matches!(node.kind, Kind::Mapping(_)) => {
            let named = named_paths(&paths_in(node));
            let advice = format!("write `{{ {named} }}`: a program is given its name here");
            misplaced(node, "`processes`", "a mapping", &advice, report);
            None
        }
        node => node.and_then(|node| entries(node, "`processes`", report)),
    };
    for path in libraries.unwrap_or_default() {
        if context.path(&path.value, path.span) {
            files.libraries.push(path);
        }
    }
    for entry in listed.unwrap_or_default() {
        let name = Spanned {
            value: entry.key.clone(),
            span: entry.key_span,
        };
        let name = label(Some(name), "the name of a plugin", context.report);
        let path = text(&entry.value, "the program of a plugin", context.report);
        if let (Some(name), Some(path)) = (name, path)
            && context.path(&path.value, path.span)
        {
            files.processes.push((name, path));
        }
    }
    files
}

fn misplaced(node: &Node, what: &str, wanted: &str, advice: &str, report: &mut Report<'_>) {
    if !matches!(node.kind, Kind::Invalid) {
        let message = format!("{what} must be {wanted}, not {}", node.described());
        report.hinted(codes::WRONG_TYPE, node.span, message, Some(advice.to_owned()));
    }
}

/// The texts of a value that was to name plugins, however it is written; an example where there is none.
fn paths_in(node: &Node) -> Vec<&str> {
    let texts: Vec<&str> = match &node.kind {
        Kind::Scalar(scalar) if scalar.value().is_string() => vec![scalar.text.as_str()],
        Kind::Sequence(items) => items.iter().flat_map(paths_in).collect(),
        Kind::Mapping(entries) => entries.iter().flat_map(|entry| paths_in(&entry.value)).collect(),
        _ => Vec::new(),
    };
    let is_short = |text: &&str| text.len() <= 80 && !text.contains(['\n', '`']);
    texts.into_iter().filter(is_short).take(3).collect()
}

/// Programs with names as their files have them.
fn named_paths(paths: &[&str]) -> String {
    let named = paths.iter().map(|path| {
        let file = path.rsplit('/').next().unwrap_or(path);
        let stem = file.split('.').next().unwrap_or(file).to_lowercase();
        format!("{}: {path}", stem.replace(|c: char| !c.is_alphanumeric(), "_"))
    });
    match paths {
        [] => "name: plugins/program".to_owned(),
        _ => named.collect::<Vec<_>>().join(", "),
    }
}

/// How these paths are written under `plugins`.
fn meant(paths: &[&str]) -> String {
    let is_library = |path: &&str| [".so", ".dylib", ".dll"].iter().any(|end| path.ends_with(end));
    let (libraries, programs): (Vec<&str>, Vec<&str>) = paths.iter().copied().partition(is_library);
    let mut parts = Vec::new();
    if !libraries.is_empty() {
        parts.push(format!("libraries: [{}]", libraries.join(", ")));
    }
    if !programs.is_empty() || paths.is_empty() {
        parts.push(format!("processes: {{ {} }}", named_paths(&programs)));
    }
    format!("write `{{ {} }}`", parts.join(", "))
}

fn vault(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Vault> {
    let entry = fields.entry("vault")?;
    let fields = Fields::open(&entry.value, "`vault`", entry.key_span, VAULT, report)?;
    let url = store(&fields, report);
    let key = fields.entry("key").and_then(|entry| key(&entry.value, report));
    Some(Vault { url: url?, key: key? })
}

fn dataset(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Spanned<String>> {
    let entry = fields.entry("dataset")?;
    let fields = Fields::open(&entry.value, "`dataset`", entry.key_span, DATASET, report)?;
    store(&fields, report)
}

fn store(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Spanned<String>> {
    let url = fields.text("url", report)?;
    match paths::check_store(&url.value) {
        Ok(_) => Some(url),
        Err(problem) => {
            report.hinted(problem.code, url.span, problem.message, problem.hint);
            None
        }
    }
}

fn overlap(vault: &Vault, dataset: &Spanned<String>, report: &mut Report<'_>) {
    if let (Ok(inner), Ok(outer)) = (paths::check_store(&vault.url.value), paths::check_store(&dataset.value))
        && paths::overlap(inner, outer)
    {
        let message = "the dataset and the vault lie one inside the other";
        let hint = Some("give them separate folders: the vault must never be published".to_owned());
        report.hinted(codes::OVERLAP, dataset.span, message, hint);
    }
}

fn key(node: &Node, report: &mut Report<'_>) -> Option<KeyRef> {
    let hint = || Some("write `auto` or `{ $secret: name }`".to_owned());
    match &node.kind {
        Kind::Invalid => None,
        Kind::Scalar(scalar) if scalar.text == "auto" => Some(KeyRef::Auto),
        // The text is not shown: it may be the key itself.
        Kind::Scalar(_) => {
            report.hinted(
                codes::BAD_SECRET,
                node.span,
                "the key itself must not stand in the pipeline file",
                hint(),
            );
            None
        }
        Kind::Mapping(entries) => match entries.as_slice() {
            [entry] if entry.key == "$secret" => label(
                text(&entry.value, "the name of a secret", report),
                "the name of a secret",
                report,
            )
            .map(KeyRef::Secret),
            _ => {
                report.hinted(
                    codes::BAD_SECRET,
                    node.span,
                    "this is not a reference to a secret",
                    hint(),
                );
                None
            }
        },
        Kind::Sequence(_) => {
            report.hinted(
                codes::WRONG_TYPE,
                node.span,
                "`key` must be `auto` or a reference to a secret, not a list",
                hint(),
            );
            None
        }
    }
}

/// Where the unit tests are: within the pipeline's folder.
fn tests(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Spanned<String>> {
    let path = fields.text("tests", report)?;
    match paths::check(&path.value, std::iter::empty()) {
        Ok(()) => Some(path),
        Err(problem) => {
            report.hinted(problem.code, path.span, problem.message, problem.hint);
            None
        }
    }
}

/// The entries of one section that could be lowered.
fn section<T>(
    fields: &Fields<'_>,
    key: &str,
    what: &str,
    context: &mut Context<'_, '_>,
    lower: fn(Spanned<String>, &Node, &mut Context<'_, '_>) -> Option<T>,
) -> Vec<T> {
    let Some(entry) = fields.entry(key) else {
        return Vec::new();
    };
    if entry.value.is_null() && matches!(key, "transforms" | "gates") {
        return Vec::new();
    }
    let entries = entries(&entry.value, &format!("`{key}`"), context.report);
    entries
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| {
            let name = context.name(what, entry);
            lower(name, &entry.value, context)
        })
        .collect()
}

fn names(fields: &Fields<'_>, section: &str) -> BTreeMap<String, Span> {
    match fields.entry(section).map(|e| &e.value.kind) {
        Some(Kind::Mapping(entries)) => entries.iter().map(|e| (e.key.clone(), e.key_span)).collect(),
        _ => BTreeMap::new(),
    }
}
