//! The transforms of a pipeline as a graph of named relations, run over the records of one bucket range.

mod bind;
mod run;
mod unlike;

pub use bind::{BoundStep, Graph, Located, Node, plugin_finding};
pub use run::{
    Lineage, Relation, StepApplied, StepRejection, StepReport, TaskInput, as_table, contract_of, record_at,
    subject_column, transform_of,
};
