//! MEDS 0.4 (Medical-Event-Data-Standard/meds, `src/meds/schema.py`): a subject in one file, contiguous, sorted by time,
//! what has no time first; every code in `codes.parquet`; splits by a hash of the subject alone, so that a new subject
//! moves no other. The tables are sorted by subject, so that one subject's events are held at a time.

use super::events::{Event, Rows, has_events, written};
use crate::{bound::Bound, error::EngineError, model::number, tables::TableSpec};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float32Array, Float64Array, Int64Array, LargeStringArray, ListBuilder, RecordBatch,
        StringArray, StringBuilder, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use clinmill_catalog::{
    dataset::{Dataset, Release, from_specs, table::fold},
    vault::base32_decode,
};
use clinmill_model::columns::{ROW_ID, SUBJECT_ID};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};
use xxhash_rust::xxh3::xxh3_64;

/// Events of a file, about: a subject is not cut.
const FILE_EVENTS: usize = 1_000_000;
/// Events that are held before they are written.
const HELD: usize = 65_536;
/// The splits of MEDS, and which of ten subjects each gets.
const SPLITS: [(&str, u64); 3] = [("train", 8), ("tuning", 9), ("held_out", 10)];

/// What was exported.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exported {
    /// The release.
    pub release: u64,
    /// Whether a locked de-identification policy was in force.
    pub deidentified: bool,
    /// Events by table.
    pub events: BTreeMap<String, u64>,
    /// Subjects by split.
    pub subjects: BTreeMap<&'static str, u64>,
    /// Distinct codes.
    pub codes: u64,
    /// Tables that have no events of this model.
    pub left_out: Vec<String>,
}

/// Writes a release as a MEDS dataset into a new or empty folder.
///
/// # Errors
/// When the folder holds something, no table has events, or a file cannot be read or written. A folder that was begun
/// is never left under its name.
pub async fn meds(bound: &Bound, dataset: &Dataset, release: &Release, dir: &Path) -> Result<Exported, EngineError> {
    let inside = std::fs::read_dir(dir).map(|mut d| d.next().is_some());
    if inside.unwrap_or(dir.exists()) {
        return Err(EngineError::Refused {
            reason: format!("{} is not empty", dir.display()),
            advice: "name a new folder: an export replaces nothing".to_owned(),
        });
    }
    let tables: Vec<&TableSpec> = bound.tables.iter().filter(|t| has_events(t)).collect();
    if tables.is_empty() {
        return Err(EngineError::Refused {
            reason: "no table of the pipeline has events".to_owned(),
            advice: "give tables `model: omop-5.4` or `model: meds-0.4`".to_owned(),
        });
    }
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let partial = dir.with_file_name(format!(".{name}.partial"));
    if partial.exists() {
        std::fs::remove_dir_all(&partial).map_err(|e| EngineError::io("delete", &partial, e))?;
    }
    let written = write(bound, dataset, release, &tables, &partial).await;
    let exported = match written {
        Ok(exported) => exported,
        Err(error) => {
            let _ = std::fs::remove_dir_all(&partial);
            return Err(error);
        }
    };
    if dir.exists() {
        std::fs::remove_dir(dir).map_err(|e| EngineError::io("replace", dir, e))?;
    }
    std::fs::rename(&partial, dir).map_err(|e| EngineError::io("rename", &partial, e))?;
    Ok(exported)
}

async fn write(
    bound: &Bound,
    dataset: &Dataset,
    release: &Release,
    tables: &[&TableSpec],
    dir: &Path,
) -> Result<Exported, EngineError> {
    let manifest = &release.manifest;
    let scratch = dir.join("fetched");
    make(&scratch)?;
    let mut cursors = Vec::new();
    for table in tables {
        let Some(entry) = manifest.tables.get(&table.name) else {
            continue;
        };
        let mut levels = Vec::new();
        for file in &entry.overlay {
            levels.push(vec![dataset.fetch(file, &scratch).await?]);
        }
        let base = dataset.fetch_all(&entry.base, &scratch).await?;
        let rows = fold(base, levels, from_specs(&entry.schema)?)?;
        cursors.push(Cursor::new(table, written(&bound.graph, table), rows)?);
    }
    let mut out = Output::new(dir)?;
    let mut held: Vec<(usize, String, Event)> = Vec::new();
    while let Some(subject) = cursors.iter().filter_map(Cursor::subject).min().map(str::to_owned) {
        held.clear();
        for (at, cursor) in cursors.iter_mut().enumerate() {
            while cursor.subject() == Some(subject.as_str()) {
                held.extend(cursor.take()?.into_iter().map(|(id, event)| (at, id, event)));
            }
        }
        // None comes before every time.
        held.sort_by(|a, b| (a.2.time, a.0, &a.1).cmp(&(b.2.time, b.0, &b.1)));
        out.subject(&subject, &held, tables)?;
    }
    let mut exported = out.finish(dir)?;
    exported.release = manifest.release;
    exported.deidentified = manifest.deidentified;
    let others = bound.tables.iter().filter(|t| !tables.iter().any(|e| e.name == t.name));
    exported.left_out = others.map(|t| t.name.clone()).collect();
    let about = serde_json::json!({
        "dataset_name": manifest.dataset,
        "dataset_version": manifest.release.to_string(),
        "etl_name": "clinmill",
        "etl_version": env!("CARGO_PKG_VERSION"),
        "meds_version": "0.4.1",
        "created_at": manifest.transaction_time.to_string(),
        "raw_source_id_columns": ["row_id"],
        "code_modifier_columns": ["unit"],
        "other_extension_columns": ["numeric_value_exact", "table"],
    });
    let path = dir.join("metadata/dataset.json");
    let text = serde_json::to_vec_pretty(&about).map_err(|e| EngineError::internal(e.to_string()))?;
    std::fs::write(&path, text).map_err(|e| EngineError::io("write", &path, e))?;
    std::fs::remove_dir_all(&scratch).map_err(|e| EngineError::io("delete", &scratch, e))?;
    Ok(exported)
}

/// The rows of one table, one after the other.
struct Cursor<'t> {
    table: &'t TableSpec,
    /// The columns with units that conversions write.
    units: Vec<String>,
    rows: clinmill_catalog::dataset::table::Fold,
    now: Option<Batch>,
}

struct Batch {
    subjects: StringArray,
    ids: StringArray,
    rows: Rows,
    at: usize,
}

impl<'t> Cursor<'t> {
    fn new(
        table: &'t TableSpec,
        units: Vec<String>,
        rows: clinmill_catalog::dataset::table::Fold,
    ) -> Result<Self, EngineError> {
        let mut cursor = Self {
            table,
            units,
            rows,
            now: None,
        };
        cursor.load()?;
        Ok(cursor)
    }

    fn load(&mut self) -> Result<(), EngineError> {
        self.now = match self.rows.next() {
            None => None,
            Some(batch) => {
                let batch = batch?;
                let text = |name: &str| -> Result<StringArray, EngineError> {
                    let column = batch.column_by_name(name);
                    let column = column.ok_or_else(|| EngineError::internal(format!("{name} is missing")))?;
                    Ok(arrow::compute::cast(column, &DataType::Utf8)?
                        .as_string::<i32>()
                        .clone())
                };
                Some(Batch {
                    subjects: text(SUBJECT_ID)?,
                    ids: text(ROW_ID)?,
                    rows: Rows::of(self.table, &self.units, &batch)?,
                    at: 0,
                })
            }
        };
        Ok(())
    }

    fn subject(&self) -> Option<&str> {
        self.now.as_ref().map(|now| now.subjects.value(now.at))
    }

    /// The events of the present row; then the next one.
    fn take(&mut self) -> Result<Vec<(String, Event)>, EngineError> {
        let Some(now) = &mut self.now else {
            return Ok(Vec::new());
        };
        let id = now.ids.value(now.at).to_owned();
        let events = now.rows.events(now.at);
        now.at += 1;
        if now.at == now.subjects.len() {
            self.load()?;
        }
        Ok(events.into_iter().map(|e| (id.clone(), e)).collect())
    }
}

/// The files of a dataset while they are written.
struct Output {
    splits: Vec<Split>,
    codes: BTreeMap<String, BTreeSet<i64>>,
    subjects: Vec<(i64, &'static str)>,
    events: BTreeMap<String, u64>,
}

struct Split {
    name: &'static str,
    dir: PathBuf,
    writer: Option<ArrowWriter<File>>,
    files: usize,
    /// Events of the open file.
    in_file: usize,
    held: Vec<Row>,
    subjects: u64,
}

struct Row {
    subject: i64,
    table: String,
    id: String,
    event: Event,
}

impl Output {
    fn new(dir: &Path) -> Result<Self, EngineError> {
        let mut splits = Vec::new();
        for (name, _) in SPLITS {
            let dir = dir.join("data").join(name);
            make(&dir)?;
            splits.push(Split {
                name,
                dir,
                writer: None,
                files: 0,
                in_file: 0,
                held: Vec::new(),
                subjects: 0,
            });
        }
        make(&dir.join("metadata"))?;
        Ok(Self {
            splits,
            codes: BTreeMap::new(),
            subjects: Vec::new(),
            events: BTreeMap::new(),
        })
    }

    fn subject(
        &mut self,
        subject: &str,
        events: &[(usize, String, Event)],
        tables: &[&TableSpec],
    ) -> Result<(), EngineError> {
        let id = base32_decode(subject).ok_or_else(|| EngineError::internal("a subject_id is none".to_owned()))?;
        let part = xxh3_64(format!("meds split {subject}").as_bytes()) % 10;
        let at = SPLITS.iter().position(|(_, below)| part < *below).unwrap_or(0);
        let Some(split) = self.splits.get_mut(at) else {
            return Ok(());
        };
        let id = number(&id);
        self.subjects.push((id, split.name));
        split.subjects += 1;
        for (table, row, event) in events {
            let name = tables.get(*table).map_or("", |t| t.name.as_str());
            *self.events.entry(name.to_owned()).or_default() += 1;
            let parents = self.codes.entry(event.code.clone()).or_default();
            parents.extend(event.concept);
            split.held.push(Row {
                subject: id,
                table: name.to_owned(),
                id: row.clone(),
                event: event.clone(),
            });
        }
        split.in_file += events.len();
        if split.held.len() >= HELD {
            split.flush()?;
        }
        if split.in_file >= FILE_EVENTS {
            split.close()?;
        }
        Ok(())
    }

    fn finish(mut self, dir: &Path) -> Result<Exported, EngineError> {
        let mut exported = Exported::default();
        for split in &mut self.splits {
            split.close()?;
            exported.subjects.insert(split.name, split.subjects);
        }
        exported.codes = self.codes.len() as u64;
        exported.events = self.events;
        let mut parents = ListBuilder::new(StringBuilder::new());
        for concepts in self.codes.values() {
            concepts
                .iter()
                .for_each(|c| parents.values().append_value(format!("OMOP/{c}")));
            parents.append(!concepts.is_empty());
        }
        let parents = parents.finish();
        let fields = vec![
            Field::new("code", DataType::Utf8, false),
            Field::new("description", DataType::Utf8, true),
            Field::new("parent_codes", parents.data_type().clone(), true),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(self.codes.keys())),
            Arc::new(StringArray::new_null(self.codes.len())),
            Arc::new(parents),
        ];
        write_file(&dir.join("metadata/codes.parquet"), fields, columns)?;
        self.subjects.sort_unstable();
        let fields = vec![
            Field::new("subject_id", DataType::Int64, false),
            Field::new("split", DataType::Utf8, false),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(self.subjects.iter().map(|s| s.0))),
            Arc::new(StringArray::from_iter_values(self.subjects.iter().map(|s| s.1))),
        ];
        write_file(&dir.join("metadata/subject_splits.parquet"), fields, columns)?;
        Ok(exported)
    }
}

impl Split {
    fn flush(&mut self) -> Result<(), EngineError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let schema = data_schema();
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let path = self.dir.join(format!("{}.parquet", self.files));
                self.files += 1;
                none.insert(open(&path, schema.clone())?)
            }
        };
        let rows = std::mem::take(&mut self.held);
        let event = || rows.iter().map(|r| &r.event);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.subject))),
            Arc::new(event().map(|e| e.time).collect::<TimestampMicrosecondArray>()),
            Arc::new(StringArray::from_iter_values(event().map(|e| &e.code))),
            Arc::new(event().map(|e| e.number.map(|n| n as f32)).collect::<Float32Array>()),
            Arc::new(event().map(|e| e.text.as_deref()).collect::<LargeStringArray>()),
            Arc::new(event().map(|e| e.number).collect::<Float64Array>()),
            Arc::new(event().map(|e| e.unit.as_deref()).collect::<StringArray>()),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.table))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.id))),
        ];
        writer.write(&RecordBatch::try_new(schema, columns)?).map_err(parquet)
    }

    fn close(&mut self) -> Result<(), EngineError> {
        self.flush()?;
        self.in_file = 0;
        match self.writer.take() {
            None => Ok(()),
            Some(writer) => writer.close().map(|_| ()).map_err(parquet),
        }
    }
}

fn data_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("subject_id", DataType::Int64, false),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("code", DataType::Utf8, false),
        Field::new("numeric_value", DataType::Float32, true),
        Field::new("text_value", DataType::LargeUtf8, true),
        Field::new("numeric_value_exact", DataType::Float64, true),
        Field::new("unit", DataType::Utf8, true),
        Field::new("table", DataType::Utf8, false),
        Field::new("row_id", DataType::Utf8, false),
    ]))
}

fn write_file(path: &Path, fields: Vec<Field>, columns: Vec<ArrayRef>) -> Result<(), EngineError> {
    let schema = Arc::new(Schema::new(fields));
    let mut writer = open(path, schema.clone())?;
    writer.write(&RecordBatch::try_new(schema, columns)?).map_err(parquet)?;
    writer.close().map(|_| ()).map_err(parquet)
}

fn open(path: &Path, schema: SchemaRef) -> Result<ArrowWriter<File>, EngineError> {
    let file = File::create(path).map_err(|e| EngineError::io("create", path, e))?;
    let level = ZstdLevel::try_new(3).map_err(parquet)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .build();
    ArrowWriter::try_new(file, schema, Some(properties)).map_err(parquet)
}

fn parquet(error: parquet::errors::ParquetError) -> EngineError {
    EngineError::Catalog(arrow::error::ArrowError::ExternalError(Box::new(error)).into())
}

fn make(dir: &Path) -> Result<(), EngineError> {
    std::fs::create_dir_all(dir).map_err(|e| EngineError::io("create", dir, e))
}
