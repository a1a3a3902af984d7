//! Binding a pipeline's transforms to plugins and schemas: all that is wrong is found here, before any input is read.

use crate::{
    columns,
    sql::{self, NotLocal, SqlScope, SqlStep},
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use clinmill_model::Diagnostic;
use clinmill_sdk::{BindContext, BoundTransform, Caps, PluginError, Registry};
use clinmill_spec::{
    SourceFile, codes, did_you_mean,
    pipeline::{Options, Pipeline, Scope, Span, Step, Transform, TransformInput},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A finding and where in the pipeline file it points.
pub type Located = (Diagnostic, Span);

/// The transforms of a pipeline, bound, in dependency order.
#[derive(Clone, Default)]
pub struct Graph {
    pub(super) nodes: Vec<Node>,
    schemas: BTreeMap<String, SchemaRef>,
    /// Relations whose rows are about no subject.
    references: BTreeSet<String>,
}

/// One transform.
#[derive(Clone)]
pub enum Node {
    /// `from` or `union`.
    Union {
        /// Its name.
        name: String,
        /// What it reads.
        inputs: Vec<String>,
        /// The columns of the union.
        schema: SchemaRef,
        /// Its steps.
        steps: Vec<BoundStep>,
    },
    /// `sql`.
    Sql {
        /// Its name.
        name: String,
        /// The query.
        step: SqlStep,
        /// Subject by subject, or over the whole dataset.
        scope: Scope,
        /// Its further steps.
        steps: Vec<BoundStep>,
    },
}

/// A plugin step with its options.
#[derive(Clone)]
pub struct BoundStep {
    /// `transform/plugin`, with a number where a plugin occurs twice.
    pub name: String,
    /// The plugin.
    pub plugin: String,
    /// The plugin's version and, where it was loaded, what its code is known by.
    pub version: (String, Option<String>),
    /// What it can do.
    pub caps: Caps,
    /// The step.
    pub bound: Arc<dyn BoundTransform>,
    /// The mappings it looks up.
    pub mappings: Vec<String>,
    /// Makes the step anew with other mapping tables.
    pub remake: Remake,
    /// What the step was with other mapping tables, where the two are to be compared: see [`Graph::beside`].
    pub former: Option<Arc<dyn BoundTransform>>,
}

/// Makes a step from the context of its plugin: options and input stay.
pub type Remake = Arc<dyn Fn(&BindContext) -> Result<Arc<dyn BoundTransform>, PluginError> + Send + Sync>;

impl Node {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Union { name, .. } | Self::Sql { name, .. } => name,
        }
    }

    /// `union` or `sql`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Union { .. } => "union",
            Self::Sql { .. } => "sql",
        }
    }

    /// The relations it reads.
    pub fn reads(&self) -> Vec<&str> {
        match self {
            Self::Union { inputs, .. } => inputs.iter().map(String::as_str).collect(),
            Self::Sql { step, .. } => step.reads().collect(),
        }
    }

    /// Its steps.
    pub fn steps(&self) -> &[BoundStep] {
        match self {
            Self::Union { steps, .. } | Self::Sql { steps, .. } => steps,
        }
    }
}

impl Graph {
    /// The plugin steps of all transforms.
    pub fn steps(&self) -> impl Iterator<Item = &BoundStep> {
        self.nodes.iter().flat_map(Node::steps)
    }

    /// Binds all transforms. `sources` are the columns of `source` and `source.kind`, `references` those among them
    /// whose rows are about no subject.
    pub async fn bind(
        pipeline: &Pipeline,
        registry: &Registry,
        sources: &BTreeMap<String, SchemaRef>,
        references: BTreeSet<String>,
        context: &BindContext,
        source: &SourceFile,
    ) -> (Self, Vec<Located>) {
        let mut graph = Self {
            nodes: Vec::new(),
            schemas: sources.clone(),
            references,
        };
        let mut findings = Vec::new();
        let mut failed: BTreeSet<&str> = BTreeSet::new();
        for transform in &pipeline.transforms {
            // What reads a transform that failed is wrong for that reason alone, as far as can be told.
            if let TransformInput::Sql(text) = &transform.input
                && sql::tables(&text.value).is_ok_and(|names| names.iter().any(|name| failed.contains(name.as_str())))
            {
                failed.insert(&transform.name.value);
                continue;
            }
            match graph.bind_transform(transform, registry, context, source).await {
                Ok((node, schema)) => {
                    let over_all = matches!(
                        node,
                        Node::Sql {
                            scope: Scope::Dataset,
                            ..
                        }
                    );
                    if over_all || node.reads().iter().any(|name| graph.references.contains(*name)) {
                        graph.references.insert(transform.name.value.clone());
                    }
                    graph.schemas.insert(transform.name.value.clone(), schema);
                    graph.nodes.push(node);
                }
                Err(found) => {
                    failed.insert(&transform.name.value);
                    findings.extend(found);
                }
            }
        }
        (graph, findings)
    }

    /// The columns of a relation, without the engine's.
    pub fn schema(&self, name: &str) -> Option<&SchemaRef> {
        self.schemas.get(name)
    }

    /// True for a relation whose rows are about subjects.
    pub fn is_about_subjects(&self, name: &str) -> bool {
        !self.references.contains(name)
    }

    /// The transform of this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|n| n.name() == name)
    }

    /// The graph up to a step (`transform/plugin`, with a number where a plugin occurs twice), and the transform that
    /// then ends with it; `None` for a step that is not there.
    pub fn until(&self, step: &str) -> Option<(Self, String)> {
        let (name, _) = step.split_once('/')?;
        let mut graph = self.clone();
        let node = graph.nodes.iter_mut().find(|n| n.name() == name)?;
        let (Node::Union { steps, .. } | Node::Sql { steps, .. }) = node;
        let at = steps.iter().position(|s| s.name == step)?;
        steps.truncate(at + 1);
        let schema = steps.last()?.bound.output();
        graph.schemas.insert(name.to_owned(), schema);
        Some((graph, name.to_owned()))
    }

    /// The graph with former selves of these steps beside them, ending with the last of them, and the transforms to run:
    /// the report then holds the subjects for which the two differ.
    pub fn beside(&self, former: &BTreeMap<String, Arc<dyn BoundTransform>>) -> (Self, Vec<String>) {
        let mut graph = self.clone();
        let mut wanted = Vec::new();
        for node in &mut graph.nodes {
            let name = node.name().to_owned();
            let (Node::Union { steps, .. } | Node::Sql { steps, .. }) = node;
            for step in steps.iter_mut() {
                step.former = former.get(&step.name).cloned();
            }
            if steps.iter().any(|s| s.former.is_some()) {
                wanted.push(name);
            }
        }
        let is_read: BTreeSet<String> = wanted
            .iter()
            .filter_map(|name| self.node(name))
            .flat_map(|node| self.needed(&node.reads().into_iter().map(str::to_owned).collect::<Vec<_>>()))
            .collect();
        for node in graph.nodes.iter_mut().filter(|n| !is_read.contains(n.name())) {
            let (Node::Union { steps, .. } | Node::Sql { steps, .. }) = node;
            let last = steps.iter().rposition(|s| s.former.is_some());
            steps.truncate(last.map_or(0, |at| at + 1));
        }
        (graph, wanted)
    }

    /// `wanted` and everything they read, transitively.
    pub fn needed(&self, wanted: &[String]) -> BTreeSet<String> {
        let mut needed: BTreeSet<String> = BTreeSet::new();
        let mut open: Vec<&str> = wanted.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            if needed.insert(name.to_owned())
                && let Some(node) = self.node(name)
            {
                open.extend(node.reads());
            }
        }
        needed
    }

    async fn bind_transform(
        &self,
        transform: &Transform,
        registry: &Registry,
        context: &BindContext,
        source: &SourceFile,
    ) -> Result<(Node, SchemaRef), Vec<Located>> {
        let name = transform.name.value.clone();
        let (mut node, mut schema) = match &transform.input {
            TransformInput::From(input) => self.bind_union(&name, std::slice::from_ref(input))?,
            TransformInput::Union(inputs) => self.bind_union(&name, inputs)?,
            // What cannot be parsed was reported with the references.
            TransformInput::Sql(text) if sql::tables(&text.value).is_err() => return Err(Vec::new()),
            TransformInput::Sql(text) => {
                let step = self.bind_sql(&text.value, transform.scope).await.map_err(|found| {
                    let (offset, length) = sql::culprit(&text.value, &found.message).unwrap_or((0, 0));
                    let span = match length {
                        0 => text.span,
                        _ => source.within(text.span, &text.value, offset, length),
                    };
                    vec![(found, span)]
                })?;
                let schema = step.output().clone();
                let (scope, steps) = (transform.scope, Vec::new());
                (
                    Node::Sql {
                        name,
                        step,
                        scope,
                        steps,
                    },
                    schema,
                )
            }
        };
        let mut bound: Vec<BoundStep> = Vec::new();
        for step in &transform.steps {
            let mut next = bind_step(step, &schema, registry, context)?;
            let twins = bound.iter().filter(|s| s.plugin == next.plugin).count();
            let suffix = if twins == 0 {
                String::new()
            } else {
                format!("#{}", twins + 1)
            };
            next.name = format!("{}/{}{suffix}", transform.name.value, next.plugin);
            schema = next.bound.output();
            bound.push(next);
        }
        match &mut node {
            Node::Union { steps, .. } | Node::Sql { steps, .. } => *steps = bound,
        }
        Ok((node, schema))
    }

    fn bind_union(
        &self,
        name: &str,
        inputs: &[clinmill_spec::pipeline::Spanned<String>],
    ) -> Result<(Node, SchemaRef), Vec<Located>> {
        let mut fields: Vec<Field> = Vec::new();
        let mut findings = Vec::new();
        for input in inputs {
            // An input that is not there was reported with the references.
            let Some(schema) = self.schemas.get(&input.value) else {
                return Err(findings);
            };
            for field in schema.fields() {
                match fields.iter_mut().find(|f| f.name() == field.name()) {
                    None => fields.push(field.as_ref().clone().with_nullable(true)),
                    Some(known) if known.data_type() == field.data_type() => {}
                    Some(known) if known.data_type() == &DataType::Null => {
                        *known = field.as_ref().clone().with_nullable(true);
                    }
                    Some(known) => findings.push((
                        Diagnostic::error(
                            codes::UNION_TYPES,
                            format!(
                                "the column {:?} is {} here and {} in another part of the union",
                                field.name(),
                                field.data_type(),
                                known.data_type()
                            ),
                        )
                        .hint("cast it with a map step before the union"),
                        input.span,
                    )),
                }
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let node = Node::Union {
            name: name.to_owned(),
            inputs: inputs.iter().map(|i| i.value.clone()).collect(),
            schema: schema.clone(),
            steps: Vec::new(),
        };
        Ok((node, schema))
    }

    async fn bind_sql(&self, text: &str, scope: Scope) -> Result<SqlStep, Diagnostic> {
        let names = sql::tables(text).map_err(|(_, message)| Diagnostic::error(codes::SQL_PLAN, message))?;
        let mut relations = BTreeMap::new();
        for name in names {
            match self.schemas.get(&name) {
                Some(schema) => {
                    let subject = self.is_about_subjects(&name);
                    relations.insert(name, (schema.clone(), subject))
                }
                None => {
                    return Err(Diagnostic::error(
                        codes::SQL_UNKNOWN,
                        format!("the query reads {name:?}, which does not exist"),
                    )
                    .hint("name a source, a `source.kind` or a transform"));
                }
            };
        }
        let scope = match scope {
            Scope::Subject => SqlScope::Subject,
            Scope::Dataset => SqlScope::Dataset,
        };
        SqlStep::plan(text, scope, &relations)
            .await
            .map_err(|error| match error {
                NotLocal::Refused(code, what, instead) => Diagnostic::error(code, what).hint(instead),
                NotLocal::Plan(error) => {
                    let columns: Vec<String> = relations
                        .iter()
                        .map(|(name, (schema, _))| {
                            let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                            format!("{name} has {}", names.join(", "))
                        })
                        .collect();
                    Diagnostic::error(
                        codes::SQL_PLAN,
                        format!("the query does not fit: {}", sql::plain(&error)),
                    )
                    .hint(columns.join("; "))
                }
            })
    }
}

fn bind_step(
    step: &Step,
    input: &SchemaRef,
    registry: &Registry,
    context: &BindContext,
) -> Result<BoundStep, Vec<Located>> {
    // An unknown plugin was reported with the options.
    let Some(plugin) = registry.get_transform(&step.plugin.value) else {
        return Err(Vec::new());
    };
    let descriptor = plugin.descriptor();
    let remake: Remake = {
        let (plugin, options, input) = (plugin.clone(), step.options.value.clone(), input.clone());
        Arc::new(move |context| plugin.bind(&options, &input, context))
    };
    let bound = remake(context).map_err(|error| {
        let (found, span) = plugin_finding(&error, &step.options, step.plugin.span);
        vec![(with_columns(found, input), span)]
    })?;
    if let Some(what) = columns::misnamed(&bound.output()) {
        let found =
            Diagnostic::error(codes::COLUMN_NAME, format!("what the step yields: {what}")).hint("give it another name");
        return Err(vec![(found, step.plugin.span)]);
    }
    Ok(BoundStep {
        name: String::new(),
        plugin: descriptor.name,
        version: (descriptor.version, descriptor.build),
        caps: descriptor.caps,
        bound,
        mappings: step
            .options
            .mappings
            .iter()
            .map(|(_, reference)| reference.clone())
            .collect(),
        remake,
        former: None,
    })
}

/// A step's finding about a column that there is not, with the one that was probably meant or those that there are.
fn with_columns(found: Diagnostic, input: &SchemaRef) -> Diagnostic {
    let name = found
        .message
        .split_once("there is no column \"")
        .and_then(|(_, rest)| rest.split('"').next());
    // A plugin that knows what is meant has said so.
    let is_said = found.hint.is_some() || found.message.contains("did you mean");
    let Some(name) = name.filter(|_| !is_said) else {
        return found;
    };
    let known = || input.fields().iter().map(|f| f.name().as_str());
    let hint = did_you_mean(name, known()).unwrap_or_else(|| {
        let more = if known().count() > COLUMNS_SHOWN { ", …" } else { "" };
        let shown: Vec<&str> = known().take(COLUMNS_SHOWN).collect();
        format!("the columns here are {}{more}", shown.join(", "))
    });
    found.hint(hint)
}

/// Columns that a hint lists at most.
const COLUMNS_SHOWN: usize = 20;

/// A plugin's error as a finding in the pipeline file.
pub fn plugin_finding(error: &clinmill_sdk::PluginError, options: &Options, fallback: Span) -> Located {
    let span = error.pointer.as_deref().map_or(fallback, |p| options.locate(p));
    (Diagnostic::error(error.code.clone(), error.message.clone()), span)
}
