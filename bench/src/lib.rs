//! The sample hospital and the workloads that measure clinmill.

pub mod hospital;
