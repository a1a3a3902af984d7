//! What the workloads share: files as inputs, and sums over what a source yields, to be compared with other readers.

use clinmill_sdk::{
    IdentityLink, Input, PluginError, RecordBatchOf, RecordKind, RecordSink, Rejection,
    arrow::{
        array::{Array, AsArray, RecordBatch},
        compute::{cast, sum},
        datatypes::{DataType, Float64Type},
    },
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fs::File, io, os::unix::fs::FileExt, path::Path};

/// A file as an input.
pub struct FileInput {
    file: File,
    name: String,
    captures: BTreeMap<String, String>,
    size: u64,
}

impl FileInput {
    /// Opens a file, with what a glob would have captured from its path.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, captures: BTreeMap<String, String>) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            file,
            name: path.display().to_string(),
            captures,
            size,
        })
    }
}

impl Input for FileInput {
    fn name(&self) -> &str {
        &self.name
    }
    fn captures(&self) -> &BTreeMap<String, String> {
        &self.captures
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
}

/// Rows, non-null values and sums per record kind and column. Costs next to nothing beside the reading.
pub struct Sums {
    kinds: Vec<(String, u64, BTreeMap<String, Column>)>,
    rejected: u64,
    filtered: u64,
    links: u64,
}

#[derive(Default)]
struct Column {
    values: u64,
    sum: Option<f64>,
}

impl Sums {
    /// Sums over these kinds.
    pub fn new(kinds: &[RecordKind]) -> Self {
        let kinds = kinds
            .iter()
            .map(|kind| (kind.name.clone(), 0, BTreeMap::new()))
            .collect();
        Self {
            kinds,
            rejected: 0,
            filtered: 0,
            links: 0,
        }
    }

    fn add(&mut self, kind: usize, rows: &RecordBatch) {
        let Some((_, count, columns)) = self.kinds.get_mut(kind) else {
            return;
        };
        *count += rows.num_rows() as u64;
        for (field, array) in rows.schema().fields().iter().zip(rows.columns()) {
            let column = columns.entry(field.name().clone()).or_default();
            column.values += (array.len() - array.null_count()) as u64;
            if matches!(
                field.data_type(),
                DataType::Float64 | DataType::Int64 | DataType::Decimal128(_, _)
            ) {
                let numbers = cast(array, &DataType::Float64).ok();
                let part = numbers.and_then(|numbers| sum(numbers.as_primitive::<Float64Type>()));
                *column.sum.get_or_insert(0.0) += part.unwrap_or(0.0);
            }
        }
    }

    /// As JSON: per kind its rows, and per column the non-null values and, of numbers, the sum.
    pub fn report(&self) -> Value {
        let mut report = Map::new();
        for (name, rows, columns) in &self.kinds {
            let columns: Map<String, Value> = columns
                .iter()
                .map(|(name, column)| (name.clone(), json!({ "values": column.values, "sum": column.sum })))
                .collect();
            report.insert(name.clone(), json!({ "rows": rows, "columns": columns }));
        }
        json!({ "kinds": report, "rejected": self.rejected, "filtered": self.filtered, "links": self.links })
    }
}

impl RecordSink for Sums {
    fn rows(&mut self, batch: RecordBatchOf) -> Result<(), PluginError> {
        self.add(batch.kind, &batch.rows);
        Ok(())
    }
    fn reject(&mut self, _: Rejection) -> Result<(), PluginError> {
        self.rejected += 1;
        Ok(())
    }
    fn filtered(&mut self, _: &str, count: u64) {
        self.filtered += count;
    }
    fn link(&mut self, _: IdentityLink) -> Result<(), PluginError> {
        self.links += 1;
        Ok(())
    }
    fn progress(&mut self, _: u64) {}
}

/// Seconds that this thread has run, where the system tells (Linux).
pub fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}
