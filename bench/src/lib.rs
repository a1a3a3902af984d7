//! The sample hospital and the workloads that measure clinmill.

pub mod hospital;
pub mod measure;
pub mod table;
