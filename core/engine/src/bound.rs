//! A pipeline file with everything it names found: plugins bound, mappings read, relations and tables typed.
//!
//! Pure but for reading the pipeline file and the mapping files it names.

use crate::{
    columns,
    error::EngineError,
    gates::{self, GateSpec},
    graph::{Graph, Located, plugin_finding},
    mappings::{self, Mapping},
    sql,
    tables::{self, TableSpec},
    troubled::Troubled,
};
use arrow::datatypes::SchemaRef;
use clinmill_model::{Diagnostic, Digest, Place};
use clinmill_sdk::{BindContext, BoundSource, Kind, Registry, regular};
use clinmill_spec::{
    Plugins, SourceFile, codes,
    pipeline::{Check, Mode, Options, Pipeline, Source, Span},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A pipeline that is ready to run.
pub struct Bound {
    /// The pipeline file as it was named.
    pub file: PathBuf,
    /// Its folder.
    pub dir: PathBuf,
    /// What it says.
    pub pipeline: Pipeline,
    /// The sources, in file order.
    pub sources: Vec<SourceSpec>,
    /// The transforms.
    pub graph: Graph,
    /// The tables, in file order.
    pub tables: Vec<TableSpec>,
    /// The gates, its own and those of the tables' contracts.
    pub gates: Vec<GateSpec>,
    /// The mappings it names, by reference.
    pub mappings: BTreeMap<String, Mapping>,
    /// The text of the file.
    pub text: String,
    /// Digest of everything that decides what the dataset holds: pipeline, mappings, plugins.
    pub digest: Digest,
    /// Findings that are no errors.
    pub warnings: Vec<Diagnostic>,
}

impl Bound {
    /// Whether links lead from here to what lies in no folder of the pipeline.
    pub fn leaves(&self, path: &Path) -> bool {
        mappings::leaves(path, &self.pipeline, &self.dir)
    }

    /// Where a gate stands in the file: its query or condition, else its name; of a contract's own gate the table.
    pub fn span_of_gate(&self, name: &str) -> Option<Span> {
        let declared = self.pipeline.gates.iter().find(|g| g.name.value == name);
        let Some(gate) = declared else {
            let tables = self.pipeline.tables.iter().map(|t| &t.name);
            let own = |table: &str| name.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
            return tables.into_iter().find(|t| own(&t.value)).map(|t| t.span);
        };
        Some(match (&gate.check, &gate.filter) {
            (Check::Sql { sql, .. }, _) => sql.span,
            (_, Some(filter)) => filter.span,
            _ => gate.name.span,
        })
    }

    /// Waits for what plugins still have to do with what they handed over, before anything is published.
    ///
    /// # Errors
    /// When one was lost over it.
    pub fn settle(&self) -> Result<(), EngineError> {
        for source in &self.sources {
            let settled = source.bound.settle();
            settled.map_err(|error| EngineError::step(source.name(), error))?;
        }
        for step in self.graph.steps() {
            let settled = step.bound.settle();
            settled.map_err(|error| EngineError::step(&step.name, error))?;
        }
        Ok(())
    }
}

/// A source that is ready to run.
pub struct SourceSpec {
    /// What the pipeline says.
    pub spec: Source,
    /// The plugin with its options.
    pub bound: Arc<dyn BoundSource>,
    /// The parse generation: another one reads all inputs again.
    pub parse_id: Digest,
    /// The plugin's version.
    pub plugin_version: String,
    /// What its code is known by, where it was loaded.
    pub plugin_build: Option<String>,
}

impl SourceSpec {
    /// The source's name.
    pub fn name(&self) -> &str {
        &self.spec.name.value
    }

    /// The relation of record kind `i`: `source` or `source.kind`.
    pub fn relation(&self, kind: usize) -> String {
        match self.bound.records()[kind].name.as_str() {
            "" => self.name().to_owned(),
            kind => format!("{}.{kind}", self.name()),
        }
    }

    /// True for a source whose inputs say all there is.
    pub fn is_complete(&self) -> bool {
        matches!(self.spec.mode, Mode::Complete { .. })
    }
}

/// What is wrong with a pipeline file, and its text to show it in.
pub struct Refused {
    /// All findings, in file order.
    pub diagnostics: Vec<Diagnostic>,
    /// The file.
    pub source: SourceFile,
    /// Its text.
    pub text: String,
}

/// Reads and binds a pipeline file.
///
/// # Errors
/// All findings, if one of them is an error.
pub async fn bind(
    file: &Path,
    registry: &Registry,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Bound, Box<Refused>> {
    let shown = file.display().to_string();
    let text = match regular::read(file).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            let at = error.utf8_error().valid_up_to();
            let hint = "save the pipeline file as UTF-8";
            return Err(unreadable(
                &shown,
                format!("{shown} is not UTF-8 from byte {at} on"),
                hint,
            ));
        }
        Err(_) if file.is_dir() => {
            let inside = file.join("pipeline.yaml");
            let hint = match inside.is_file() {
                true => format!("name the file: {}", inside.display()),
                false => "name the pipeline's YAML file, such as pipeline.yaml".to_owned(),
            };
            let message = format!("{shown} is a folder, and a pipeline file is needed here");
            return Err(unreadable(&shown, message, &hint));
        }
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            let hint = "name the pipeline's YAML file";
            return Err(unreadable(&shown, format!("{shown} is not a regular file"), hint));
        }
        Err(error) => {
            let hint = "name the pipeline's YAML file; `clinmill init DIR` makes one";
            return Err(unreadable(&shown, format!("cannot read {shown}: {error}"), hint));
        }
    };
    let bound = bind_text(file, text, registry, env).await?;
    match bound
        .pipeline
        .tests
        .as_ref()
        .filter(|tests| !bound.dir.join(&tests.value).exists())
    {
        None => Ok(bound),
        Some(tests) => {
            let message = format!("there are no tests at {:?}", tests.value);
            let hint = "name the folder or file of the tests by its path from the pipeline file, or leave `tests` out";
            let source = SourceFile::new(shown, bound.text.as_str());
            let found = Diagnostic::error(codes::NO_TESTS, message)
                .hint(hint)
                .at(source.place(tests.span));
            let diagnostics = bound.warnings.into_iter().chain([found]).collect();
            Err(Box::new(Refused {
                diagnostics,
                source,
                text: bound.text,
            }))
        }
    }
}

/// Binds a text as if it stood in a file.
///
/// # Errors
/// All findings, if one of them is an error.
pub async fn bind_text(
    file: &Path,
    text: String,
    registry: &Registry,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Bound, Box<Refused>> {
    let shown = file.display().to_string();
    let plugins = PluginsOf(registry);
    let loaded = clinmill_spec::load(&shown, &text, env, &plugins);
    let (mut diagnostics, source) = (loaded.diagnostics, loaded.source);
    let Some(mut pipeline) = loaded.pipeline else {
        return Err(Box::new(Refused {
            diagnostics,
            source,
            text,
        }));
    };
    let dir = file
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
        .to_path_buf();
    let mut located: Vec<Located> = Vec::new();

    let (mappings, found) = mappings::read_all(&pipeline, &dir);
    located.extend(found);
    // A zone that is none was told: another one in its place, so that nothing else misses it.
    let is_bad = diagnostics.iter().any(|d| d.code == codes::BAD_TIMEZONE);
    let timezone = pipeline.timezone.as_ref().map(|t| t.value.clone());
    let timezone = timezone.or_else(|| is_bad.then(|| "UTC".to_owned()));
    let context = |name: &str| BindContext {
        timezone: timezone.clone(),
        name: name.to_owned(),
        resources: mappings
            .iter()
            .map(|(reference, m)| (reference.clone(), m.resource.clone()))
            .collect(),
    };
    let mut sources = Vec::new();
    for spec in &pipeline.sources {
        match bind_source(spec, registry, &context(&spec.name.value), &mappings) {
            Ok(source) => sources.push(source),
            Err(found) => located.extend(untold(found, &spec.options)),
        }
    }
    check_steps(&pipeline, registry, &mut located);
    let timezone_context = context("");
    let kinds = |name: &str| -> Option<Vec<String>> {
        let source = sources.iter().find(|s| s.name() == name)?;
        Some(source.bound.records().iter().map(|k| k.name.clone()).collect())
    };
    diagnostics.extend(clinmill_spec::resolve(&mut pipeline, &source, &kinds, &|text: &str| {
        sql::tables(text)
    }));

    let schemas: BTreeMap<String, SchemaRef> = sources
        .iter()
        .flat_map(|s| (0..s.bound.records().len()).map(|k| (s.relation(k), s.bound.records()[k].schema.clone())))
        .collect();
    let ready = located.is_empty() && !diagnostics.iter().any(Diagnostic::is_error);
    let places = located.iter().map(|(d, span)| (d, place_of(&source, *span)));
    let told = diagnostics.iter().map(|d| (d, d.place.clone()));
    let errors = places.chain(told).filter(|(d, _)| d.is_error()).map(|(_, place)| place);
    let troubled = Troubled::of(&pipeline, &source, &errors.collect::<Vec<_>>());
    let graph;
    let table_specs;
    let mut gates = Vec::new();
    {
        let references = sources
            .iter()
            .flat_map(|s| {
                (0..s.bound.records().len())
                    .filter(|k| !s.bound.records()[*k].subject)
                    .map(|k| s.relation(k))
            })
            .collect();
        let (bound, found) = Graph::bind(&pipeline, registry, &schemas, references, &timezone_context, &source).await;
        graph = bound;
        let mut told: Vec<Located> = found;
        let (specs, found) = tables::bind(&pipeline, &sources, &graph, &mappings);
        table_specs = specs;
        // A gate on a table that was refused would be reported for what is wrong with the table.
        if !troubled.any() && !told.iter().chain(&found).any(|(d, _)| d.is_error()) {
            let (bound, found) = gates::bind(&pipeline, &table_specs, &source).await;
            gates = bound;
            told.extend(found);
        }
        told.extend(found);
        // Of what is in trouble only what queries and tables say of themselves is new: the rest may follow from that.
        let is_own = |(d, span): &Located| {
            let is_well = place_of(&source, *span).is_some_and(|place| !troubled.at(place.start));
            ready || is_well || (d.code.starts_with("E07") && d.code != codes::SQL_UNKNOWN)
        };
        located.extend(told.into_iter().filter(is_own));
    }
    diagnostics.extend(located.into_iter().map(|(d, span)| {
        if span == Span::default() {
            d
        } else {
            d.at(source.place(span))
        }
    }));
    diagnostics.sort_by_key(|d| d.place.as_ref().map(|p| p.start));
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(Box::new(Refused {
            diagnostics,
            source,
            text,
        }));
    }
    let digest = Digest::of_parts(
        [Digest::of(text.as_bytes()).to_string(), pipeline_digest(&table_specs)]
            .into_iter()
            .chain(mappings.values().map(|m| m.sha256.to_string())),
    );
    Ok(Bound {
        file: file.to_path_buf(),
        dir,
        pipeline,
        sources,
        graph,
        tables: table_specs,
        gates,
        mappings,
        text,
        digest,
        warnings: diagnostics,
    })
}

/// Where a finding begins in the file; `None` where it is said of no place.
fn place_of(source: &SourceFile, span: Span) -> Option<Place> {
    (span != Span::default()).then(|| source.place(span))
}

fn pipeline_digest(tables: &[TableSpec]) -> String {
    Digest::of_parts(tables.iter().map(|t| t.digest.to_string())).to_string()
}

fn unreadable(shown: &str, message: String, hint: &str) -> Box<Refused> {
    Box::new(Refused {
        diagnostics: vec![Diagnostic::error(codes::UNREADABLE, message).hint(hint)],
        source: SourceFile::new(shown, ""),
        text: String::new(),
    })
}

fn bind_source(
    spec: &Source,
    registry: &Registry,
    context: &BindContext,
    mappings: &BTreeMap<String, Mapping>,
) -> Result<SourceSpec, Vec<Located>> {
    // An unknown plugin was reported with the options.
    let Some(plugin) = registry.get_source(&spec.plugin.value) else {
        return Err(Vec::new());
    };
    let found: Vec<Located> = plugin
        .check(&spec.options.value)
        .into_iter()
        .map(|f| finding(f, &spec.options))
        .collect();
    if !found.is_empty() {
        return Err(found);
    }
    let bound = plugin
        .bind(&spec.options.value, context)
        .map_err(|e| vec![plugin_finding(&e, &spec.options, spec.plugin.span)])?;
    let mut found = Vec::new();
    for kind in bound.records() {
        if let Some(message) = columns::misnamed(&kind.schema) {
            found.push((
                Diagnostic::error(codes::COLUMN_NAME, message).hint("give it another name"),
                spec.plugin.span,
            ));
        }
    }
    if !found.is_empty() {
        return Err(found);
    }
    let descriptor = plugin.descriptor();
    let used = spec
        .options
        .mappings
        .iter()
        .filter_map(|(_, reference)| mappings.get(reference));
    let mode = mode_text(&spec.mode);
    let parse_id = Digest::of_parts(
        [
            descriptor.name.clone(),
            descriptor.version.clone(),
            canonical(&spec.options.value),
            mode,
            // What is captured from a path is part of what an input is.
            spec.inputs.glob.value.clone(),
            format!("{:?}", spec.inputs.as_of.as_ref().map(|a| &a.value)),
            context.timezone.clone().unwrap_or_default(),
        ]
        .into_iter()
        .chain(used.map(|m| m.sha256.to_string()))
        .chain(descriptor.build.clone()),
    );
    Ok(SourceSpec {
        spec: spec.clone(),
        bound,
        parse_id,
        plugin_version: descriptor.version,
        plugin_build: descriptor.build,
    })
}

/// What a mode says about which records an input asserts.
pub(crate) fn mode_text(mode: &Mode) -> String {
    match mode {
        Mode::Partial => "partial".to_owned(),
        Mode::Complete { scope, as_of, .. } => format!("complete {scope:?} {:?}", as_of.value),
    }
}

/// What the transform plugins say about their options, beyond the schema.
fn check_steps(pipeline: &Pipeline, registry: &Registry, located: &mut Vec<Located>) {
    for step in pipeline.transforms.iter().flat_map(|t| &t.steps) {
        if let Some(plugin) = registry.get_transform(&step.plugin.value) {
            let found = plugin.check(&step.options.value);
            let found = found.into_iter().map(|f| finding(f, &step.options)).collect();
            located.extend(untold(found, &step.options));
        }
    }
}

/// Findings without the plugin's own word for options that do not read, where the schema has told it better.
fn untold(mut found: Vec<Located>, options: &Options) -> Vec<Located> {
    if options.refused {
        found.retain(|(d, _)| d.code != clinmill_sdk::UNREADABLE_OPTIONS);
    }
    found
}

fn finding(found: clinmill_sdk::Finding, options: &Options) -> Located {
    let span = options.locate(&found.pointer);
    let mut diagnostic = Diagnostic::error(found.code, found.message);
    diagnostic.hint = found.hint;
    (diagnostic, span)
}

/// JSON with sorted keys: equal options have equal text.
pub fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let ordered: BTreeMap<&String, Value> = map.iter().map(|(k, v)| (k, sorted(v))).collect();
                Value::Object(ordered.into_iter().map(|(k, v)| (k.clone(), v)).collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

/// The plugins of a registry, as the pipeline file sees them.
pub struct PluginsOf<'a>(pub &'a Registry);

impl Plugins for PluginsOf<'_> {
    fn source_schema(&self, name: &str) -> Option<Value> {
        Some(self.0.get_source(name)?.descriptor().schema)
    }
    fn transform_schema(&self, name: &str) -> Option<Value> {
        Some(self.0.get_transform(name)?.descriptor().schema)
    }
    fn source_names(&self) -> Vec<String> {
        self.0
            .descriptors(Kind::Source)
            .iter()
            .map(|d| d.name.clone())
            .collect()
    }
    fn transform_names(&self) -> Vec<String> {
        self.0
            .descriptors(Kind::Transform)
            .iter()
            .map(|d| d.name.clone())
            .collect()
    }
    fn source_summary(&self, name: &str) -> Option<String> {
        Some(self.0.get_source(name)?.descriptor().summary)
    }
    fn transform_summary(&self, name: &str) -> Option<String> {
        Some(self.0.get_transform(name)?.descriptor().summary)
    }
}
