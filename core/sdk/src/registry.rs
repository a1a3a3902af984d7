//! The plugins an engine may use, as a value. Typed plugins are wrapped so that the engine sees one object per kind.

use crate::{
    Applied, BindContext, Descriptor, Finding, Findings, Input, Kind, PluginError, RecordKind, RecordSink, Sink,
    SinkRun, SinkWriter, Source, Split, Status, TaskContext, Transform, TransformRun,
};
use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use serde_json::Value;
use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

/// A source plugin as the engine sees it.
pub trait SourcePlugin: Send + Sync {
    /// How it describes itself.
    fn descriptor(&self) -> Descriptor;
    /// Checks options beyond their schema. Pure.
    fn check(&self, options: &Value) -> Vec<Finding>;
    /// Makes a source. Pure.
    ///
    /// # Errors
    /// When the options cannot be used.
    fn bind(&self, options: &Value, context: &BindContext) -> Result<Arc<dyn BoundSource>, PluginError>;
}

/// A source with its options.
pub trait BoundSource: Send + Sync {
    /// See [`Source::records`].
    fn records(&self) -> &[RecordKind];
    /// See [`Source::splits`].
    ///
    /// # Errors
    /// When the input cannot be read.
    fn splits(&self, input: &dyn Input) -> Result<Vec<Split>, PluginError>;
    /// See [`Source::read`].
    ///
    /// # Errors
    /// When the input as a whole cannot be read, or the task was cancelled.
    fn read(
        &self,
        input: &dyn Input,
        split: &Split,
        task: &TaskContext<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError>;
    /// Waits for what is still to be done with records that were pushed and dropped: asked before anything is published.
    ///
    /// # Errors
    /// When the plugin was lost over it.
    fn settle(&self) -> Result<(), PluginError> {
        Ok(())
    }
}

/// A transform plugin as the engine sees it.
pub trait TransformPlugin: Send + Sync {
    /// How it describes itself.
    fn descriptor(&self) -> Descriptor;
    /// Checks options beyond their schema. Pure.
    fn check(&self, options: &Value) -> Vec<Finding>;
    /// Makes a step. Pure.
    ///
    /// # Errors
    /// When the options do not fit the input.
    fn bind(
        &self,
        options: &Value,
        input: &Schema,
        context: &BindContext,
    ) -> Result<Arc<dyn BoundTransform>, PluginError>;
}

/// A transform with its options and input schema.
pub trait BoundTransform: Send + Sync {
    /// See [`Transform::output`].
    fn output(&self) -> SchemaRef;
    /// See [`Transform::open`].
    ///
    /// # Errors
    /// When the run cannot begin.
    fn open<'a>(&'a self, task: &TaskContext<'a>) -> Result<Box<dyn TransformRun + 'a>, PluginError>;
    /// See [`Transform::explain`]. Plugins that were loaded do not tell: the boundary has no such call.
    ///
    /// # Errors
    /// When the rows cannot be looked at.
    fn explain(&self, rows: &RecordBatch) -> Result<Option<Vec<Applied>>, PluginError> {
        let _ = rows;
        Ok(None)
    }
    /// See [`BoundSource::settle`].
    ///
    /// # Errors
    /// When the plugin was lost over it.
    fn settle(&self) -> Result<(), PluginError> {
        Ok(())
    }
}

/// A sink plugin as its caller sees it.
pub trait SinkPlugin: Send + Sync {
    /// How it describes itself.
    fn descriptor(&self) -> Descriptor;
    /// Checks options beyond their schema. Pure.
    fn check(&self, options: &Value) -> Vec<Finding>;
    /// Makes a sink. Pure.
    ///
    /// # Errors
    /// When the options cannot be used.
    fn bind(&self, options: &Value, input: &Schema, context: &BindContext) -> Result<Arc<dyn BoundSink>, PluginError>;
}

/// A sink with its options.
pub trait BoundSink: Send + Sync {
    /// See [`Sink::probe`].
    ///
    /// # Errors
    /// When a run could not write.
    fn probe(&self, task: &TaskContext<'_>) -> Result<Value, PluginError>;
    /// See [`Sink::open`].
    ///
    /// # Errors
    /// When writing cannot begin.
    fn open(&self, run: &SinkRun<'_>) -> Result<Box<dyn SinkWriter + '_>, PluginError>;
    /// See [`Sink::commit`].
    ///
    /// # Errors
    /// When it did not land, or nobody knows.
    fn commit(&self, run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Result<Value, PluginError>;
    /// See [`Sink::resolve`].
    ///
    /// # Errors
    /// When nobody can be asked.
    fn resolve(&self, run: &SinkRun<'_>) -> Result<Option<Value>, PluginError>;
    /// See [`Sink::abort`].
    ///
    /// # Errors
    /// When it cannot be dropped.
    fn abort(&self, run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Result<(), PluginError>;
}

/// The plugins an engine may use.
#[derive(Clone, Default)]
pub struct Registry {
    sources: BTreeMap<String, Arc<dyn SourcePlugin>>,
    transforms: BTreeMap<String, Arc<dyn TransformPlugin>>,
    sinks: BTreeMap<String, Arc<dyn SinkPlugin>>,
}

impl Registry {
    /// Adds a source plugin.
    pub fn source<S: Source>(&mut self) -> &mut Self {
        self.add_source(Arc::new(Typed::<S>(PhantomData)))
    }

    /// Adds a transform plugin.
    pub fn transform<T: Transform>(&mut self) -> &mut Self {
        self.add_transform(Arc::new(Typed::<T>(PhantomData)))
    }

    /// Adds a sink plugin.
    pub fn sink<S: Sink>(&mut self) -> &mut Self {
        self.add_sink(Arc::new(Typed::<S>(PhantomData)))
    }

    /// Adds a source plugin under the name it has; one that was there goes.
    pub fn add_source(&mut self, plugin: Arc<dyn SourcePlugin>) -> &mut Self {
        self.sources.insert(plugin.descriptor().name, plugin);
        self
    }

    /// Adds a transform plugin under the name it has; one that was there goes.
    pub fn add_transform(&mut self, plugin: Arc<dyn TransformPlugin>) -> &mut Self {
        self.transforms.insert(plugin.descriptor().name, plugin);
        self
    }

    /// Adds a sink plugin under the name it has; one that was there goes.
    pub fn add_sink(&mut self, plugin: Arc<dyn SinkPlugin>) -> &mut Self {
        self.sinks.insert(plugin.descriptor().name, plugin);
        self
    }

    /// The sink plugin of this name.
    pub fn get_sink(&self, name: &str) -> Option<&Arc<dyn SinkPlugin>> {
        self.sinks.get(name)
    }

    /// Whether a plugin of any kind has this name.
    pub fn holds(&self, name: &str) -> bool {
        self.sources.contains_key(name) || self.transforms.contains_key(name) || self.sinks.contains_key(name)
    }

    /// The source plugin of this name.
    pub fn get_source(&self, name: &str) -> Option<&Arc<dyn SourcePlugin>> {
        self.sources.get(name)
    }

    /// The transform plugin of this name.
    pub fn get_transform(&self, name: &str) -> Option<&Arc<dyn TransformPlugin>> {
        self.transforms.get(name)
    }

    /// All plugins of a kind, by name.
    pub fn descriptors(&self, kind: Kind) -> Vec<Descriptor> {
        match kind {
            Kind::Source => self.sources.values().map(|p| p.descriptor()).collect(),
            Kind::Transform => self.transforms.values().map(|p| p.descriptor()).collect(),
            Kind::Sink => self.sinks.values().map(|p| p.descriptor()).collect(),
        }
    }
}

/// The code of options that do not read as the plugin's [`Config`](crate::Config).
pub const UNREADABLE_OPTIONS: &str = "OPTIONS";

struct Typed<P>(PhantomData<fn() -> P>);

pub(crate) fn schema_of<C: schemars::JsonSchema>() -> Value {
    schemars::SchemaGenerator::default()
        .into_root_schema_for::<C>()
        .to_value()
}

pub(crate) fn config<C: crate::Config>(options: &Value) -> Result<C, PluginError> {
    serde_json::from_value(options.clone()).map_err(|error| {
        // The schema was checked before: what is left is a rule that only deserialization knows.
        PluginError::new(Status::InvalidConfig, UNREADABLE_OPTIONS, error.to_string())
    })
}

pub(crate) fn findings<C: crate::Config>(options: &Value, check: impl FnOnce(&C, &mut Findings)) -> Vec<Finding> {
    let mut found = Findings::default();
    match config::<C>(options) {
        Ok(config) => check(&config, &mut found),
        Err(error) => found.add("", error.code, error.message),
    }
    found.into_vec()
}

impl<S: Source> SourcePlugin for Typed<S> {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: S::NAME.to_owned(),
            version: S::VERSION.to_owned(),
            build: None,
            summary: S::SUMMARY.to_owned(),
            kind: Kind::Source,
            caps: S::CAPS,
            schema: schema_of::<S::Config>(),
        }
    }
    fn check(&self, options: &Value) -> Vec<Finding> {
        findings::<S::Config>(options, S::check)
    }
    fn bind(&self, options: &Value, context: &BindContext) -> Result<Arc<dyn BoundSource>, PluginError> {
        Ok(Arc::new(Bound(S::bind(config(options)?, context)?)))
    }
}

impl<T: Transform> TransformPlugin for Typed<T> {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: T::NAME.to_owned(),
            version: T::VERSION.to_owned(),
            build: None,
            summary: T::SUMMARY.to_owned(),
            kind: Kind::Transform,
            caps: T::CAPS,
            schema: schema_of::<T::Config>(),
        }
    }
    fn check(&self, options: &Value) -> Vec<Finding> {
        findings::<T::Config>(options, T::check)
    }
    fn bind(
        &self,
        options: &Value,
        input: &Schema,
        context: &BindContext,
    ) -> Result<Arc<dyn BoundTransform>, PluginError> {
        Ok(Arc::new(Bound(T::bind(config(options)?, input, context)?)))
    }
}

impl<S: Sink> SinkPlugin for Typed<S> {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: S::NAME.to_owned(),
            version: S::VERSION.to_owned(),
            build: None,
            summary: S::SUMMARY.to_owned(),
            kind: Kind::Sink,
            caps: S::CAPS,
            schema: schema_of::<S::Config>(),
        }
    }
    fn check(&self, options: &Value) -> Vec<Finding> {
        findings::<S::Config>(options, S::check)
    }
    fn bind(&self, options: &Value, input: &Schema, context: &BindContext) -> Result<Arc<dyn BoundSink>, PluginError> {
        Ok(Arc::new(Bound(S::bind(config(options)?, input, context)?)))
    }
}

struct Bound<P>(P);

impl<S: Sink> BoundSink for Bound<S> {
    fn probe(&self, task: &TaskContext<'_>) -> Result<Value, PluginError> {
        self.0.probe(task)
    }
    fn open(&self, run: &SinkRun<'_>) -> Result<Box<dyn SinkWriter + '_>, PluginError> {
        self.0.open(run)
    }
    fn commit(&self, run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Result<Value, PluginError> {
        self.0.commit(run, tokens)
    }
    fn resolve(&self, run: &SinkRun<'_>) -> Result<Option<Value>, PluginError> {
        self.0.resolve(run)
    }
    fn abort(&self, run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Result<(), PluginError> {
        self.0.abort(run, tokens)
    }
}

impl<S: Source> BoundSource for Bound<S> {
    fn records(&self) -> &[RecordKind] {
        self.0.records()
    }
    fn splits(&self, input: &dyn Input) -> Result<Vec<Split>, PluginError> {
        self.0.splits(input)
    }
    fn read(
        &self,
        input: &dyn Input,
        split: &Split,
        task: &TaskContext<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        self.0.read(input, split, task, out)
    }
}

impl<T: Transform> BoundTransform for Bound<T> {
    fn output(&self) -> SchemaRef {
        self.0.output()
    }
    fn open<'a>(&'a self, task: &TaskContext<'a>) -> Result<Box<dyn TransformRun + 'a>, PluginError> {
        self.0.open(task)
    }
    fn explain(&self, rows: &RecordBatch) -> Result<Option<Vec<Applied>>, PluginError> {
        self.0.explain(rows)
    }
}
