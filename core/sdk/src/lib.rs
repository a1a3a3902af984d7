//! What a plugin author implements: sources that turn inputs into events, transforms that turn rows into rows, sinks
//! that take a release elsewhere. [`export_plugin!`] makes a library of them that a host can load.
//!
//! A plugin passes through the phases *check* and *bind* (pure, no I/O), then *open* and *run*. Its options are one
//! [`Config`] struct: the struct's JSON Schema is the reference manual, and the engine checks options against it
//! before the plugin sees them. The engine knows plugins only by the [`Registry`] value it is handed.

mod blank;
mod error;
mod input;
pub mod mapping;
mod plugin;
mod registry;
mod sink;
mod source;
mod transform;

pub mod athena;
pub mod calendar;
pub mod decimal;
pub mod decode;
pub mod export;
pub mod han;
pub mod near;
pub mod number;
pub mod reference;
pub mod regular;
pub mod sparse;
pub mod testing;
pub mod units;
pub mod zone;

pub use arrow;
pub use blank::says_nothing;
pub use error::{Finding, Findings, PluginError, Retry, Status};
pub use input::{Input, InputReader, MemoryInput};
pub use mapping::{MappingRow, MappingTable, RowState};
pub use plugin::{BindContext, Caps, Config, Descriptor, Kind, Resource, TaskContext, mapping_ref};
pub use registry::{
    BoundSink, BoundSource, BoundTransform, Registry, SinkPlugin, SourcePlugin, TransformPlugin, UNREADABLE_OPTIONS,
};
pub use sink::{Sink, SinkRun, SinkWriter};
pub use source::{
    Fold, IdentityLink, Locator, RecordBatchOf, RecordKey, RecordKind, RecordMeta, RecordMetaBuilder, RecordSink,
    Rejection, Source, Split, SubjectId,
};
pub use transform::{Applied, Emit, Origin, RejectedRow, Transform, TransformRun};
