//! Reading shards: whole ranges, or the rows of some subjects only.

use super::{SUBJECT, Shard, constant, dictionary, ids, packed};
use crate::{CatalogError, hashed::Hashed};
use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
};
use clinmill_model::{Ids, bucket_of};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowPredicateFn, ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowFilter},
    },
    file::metadata::RowGroupMetaData,
};
use serde::de::DeserializeOwned;
use std::{fs::File, path::Path, sync::Arc};

/// Which rows to read.
#[derive(Clone, Debug)]
pub struct ShardFilter {
    /// Lowest bucket.
    pub lo: u16,
    /// Highest bucket, inclusive.
    pub hi: u16,
    /// Only these subject identifiers; all where `None`.
    pub subjects: Option<Arc<Ids>>,
}

impl ShardFilter {
    fn keeps(&self, subject: &[u8]) -> bool {
        let Ok(id) = <&[u8; 16]>::try_from(subject) else {
            return false;
        };
        let bucket = bucket_of(id);
        (self.lo..=self.hi).contains(&bucket) && self.subjects.as_ref().is_none_or(|set| set.contains(id))
    }

    /// False only if no row of the group can be wanted.
    fn may_keep(&self, group: &RowGroupMetaData, column: usize) -> bool {
        let Some(stats) = group.column(column).statistics() else {
            return true;
        };
        // The first halves of ids.
        let bucket = |bytes: Option<&[u8]>| {
            let mut id = [0; 16];
            let half = u64::from_le_bytes(bytes?.try_into().ok()?);
            id.first_chunk_mut().map(|first| *first = half.to_be_bytes())?;
            Some(bucket_of(&id))
        };
        match (bucket(stats.min_bytes_opt()), bucket(stats.max_bytes_opt())) {
            (Some(min), Some(max)) => max >= self.lo && min <= self.hi,
            _ => true,
        }
    }
}

/// The rows of one file that the filter wants, in file order, with the columns that the file has.
///
/// # Errors
/// When the file is missing or damaged.
pub fn read(path: &Path, filter: &ShardFilter) -> Result<Vec<RecordBatch>, CatalogError> {
    let (file, metadata) = open(path)?;
    rows(path, file, &metadata, None, filter)
}

impl Shard {
    /// Reads the file below `vault` once and compares its size and digest.
    ///
    /// # Errors
    /// When it is missing, unreadable or another one.
    pub fn check(&self, vault: &Path) -> Result<(), CatalogError> {
        let path = vault.join(&self.path);
        let content = Hashed::file(&path).map_err(CatalogError::io("read", &path))?;
        if content != (self.bytes, self.sha256) {
            return Err(CatalogError::damaged(&self.path, "its content does not fit its digest"));
        }
        Ok(())
    }
}

/// The rows of one file that the filter wants, in file order, with the columns of a schema: those that the file keeps
/// once for all rows too.
///
/// # Errors
/// When the file is missing or damaged, or lacks a column.
pub fn read_as(path: &Path, schema: &SchemaRef, filter: &ShardFilter) -> Result<Vec<RecordBatch>, CatalogError> {
    let damaged = |what: &str| CatalogError::damaged(path.display().to_string(), what);
    let (file, metadata) = open(path)?;
    let constants: constant::Constants =
        kept(&metadata, constant::METADATA_KEY).ok_or_else(|| damaged("its constants cannot be read"))?;
    let dictionaries: dictionary::Dictionaries =
        kept(&metadata, dictionary::METADATA_KEY).ok_or_else(|| damaged("its dictionaries cannot be read"))?;
    let forms: packed::PackedColumns =
        kept(&metadata, packed::METADATA_KEY).ok_or_else(|| damaged("its packed columns cannot be read"))?;
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let batches = rows(path, file, &metadata, Some(&names), filter)?;
    batches
        .into_iter()
        .map(|batch| {
            let columns = schema.fields().iter().map(|field| -> Result<ArrayRef, CatalogError> {
                let name = field.name();
                let Some(column) = batch.column_by_name(name) else {
                    let value = constants.get(name).ok_or_else(|| damaged("a column is missing"))?;
                    return constant::column(value, field.data_type(), batch.num_rows());
                };
                match (dictionaries.get(name), forms.get(name)) {
                    (Some(texts), _) => dictionary::column(column, texts),
                    (None, Some(form)) => {
                        let whole = form.unpack(column, field.data_type());
                        whole.map_err(|_| damaged("a packed column does not fit its form"))
                    }
                    (None, None) => Ok(column.clone()),
                }
            });
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
        })
        .collect()
}

/// What the metadata of a file says under a key, or what is so where it says nothing; `None` where it cannot be read.
fn kept<T: Default + DeserializeOwned>(metadata: &ArrowReaderMetadata, key: &str) -> Option<T> {
    let pairs = metadata.metadata().file_metadata().key_value_metadata();
    let pair = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == key));
    match pair.and_then(|pair| pair.value.as_deref()) {
        Some(json) => serde_json::from_str(json).ok(),
        None => Some(T::default()),
    }
}

fn open(path: &Path) -> Result<(File, ArrowReaderMetadata), CatalogError> {
    let file = File::open(path).map_err(CatalogError::io("read", path))?;
    let metadata = ArrowReaderMetadata::load(&file, Default::default())
        .map_err(|e| CatalogError::parquet(path.display().to_string())(e))?;
    Ok((file, metadata))
}

fn rows(
    path: &Path,
    file: File,
    metadata: &ArrowReaderMetadata,
    columns: Option<&[&str]>,
    filter: &ShardFilter,
) -> Result<Vec<RecordBatch>, CatalogError> {
    let damaged = |e| CatalogError::parquet(path.display().to_string())(e);
    let schema: SchemaRef = metadata.schema().clone();
    let parquet_schema = metadata.parquet_schema();
    let (Ok(subject), Ok(low)) = (schema.index_of(SUBJECT), schema.index_of(&ids::low(SUBJECT))) else {
        return Err(CatalogError::damaged(
            path.display().to_string(),
            "it is not a shard of the vault",
        ));
    };
    let groups: Vec<usize> = metadata
        .metadata()
        .row_groups()
        .iter()
        .enumerate()
        .filter(|(_, group)| filter.may_keep(group, subject))
        .map(|(i, _)| i)
        .collect();
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let mask = match columns {
        None => ProjectionMask::all(),
        Some(names) => ProjectionMask::roots(
            parquet_schema,
            names
                .iter()
                .flat_map(|name| [schema.index_of(name), schema.index_of(&ids::low(name))])
                .flatten(),
        ),
    };
    let whole_range = filter.lo == 0 && filter.hi == u16::MAX && filter.subjects.is_none();
    let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
        .with_row_groups(groups)
        .with_projection(mask)
        .with_batch_size(65_536);
    if !whole_range {
        let wanted = filter.clone();
        let predicate = ArrowPredicateFn::new(ProjectionMask::roots(parquet_schema, [subject, low]), move |batch| {
            let ids = ids::ids(&batch, SUBJECT)?;
            let mut last: Option<(&[u8], bool)> = None;
            Ok((0..ids.len())
                .map(|i| {
                    let id = ids.value(i);
                    match last {
                        Some((seen, keep)) if seen == id => Some(keep),
                        _ => {
                            let keep = wanted.keeps(id);
                            last = Some((id, keep));
                            Some(keep)
                        }
                    }
                })
                .collect::<BooleanArray>())
        });
        builder = builder.with_row_filter(RowFilter::new(vec![Box::new(predicate)]));
    }
    builder
        .build()
        .map_err(damaged)?
        .map(|batch| Ok(ids::whole(batch?)?))
        .collect()
}
