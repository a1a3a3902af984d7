//! Source plugin `table`: CSV, XLSX and Parquet files to record batches.
//!
//! Reading order: `config` (the options), `source` (what the engine calls), `plan` (options and header put together),
//! `core` and `maker` (rows of text to Arrow columns), then one reader per format.

mod config;
mod core;
mod csv;
mod date;
mod error;
mod header;
mod hits;
mod layout;
mod maker;
mod parquet;
mod plan;
mod rows;
mod source;
mod text;
mod value;
mod walk;
mod xlsx;
mod xml;
mod zone;

pub use config::{
    Column, ColumnOptions, Columns, Condition, Config, Format, NoSubject, Record, Records, Sheet, Subject,
    SubjectOptions, Type, Unpivot, UnpivotColumns, Version, VersionOptions,
};
pub use source::Table;
