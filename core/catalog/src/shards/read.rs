//! Reading shards: whole ranges, or the rows of some subjects only.

use super::SUBJECT;
use crate::CatalogError;
use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    datatypes::SchemaRef,
};
use clinmill_model::bucket_of;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowPredicateFn, ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowFilter},
    },
    file::{metadata::RowGroupMetaData, statistics::Statistics},
};
use std::{collections::HashSet, fs::File, path::Path, sync::Arc};

/// Which rows to read.
#[derive(Clone, Debug)]
pub struct ShardFilter {
    /// Lowest bucket.
    pub lo: u16,
    /// Highest bucket, inclusive.
    pub hi: u16,
    /// Only these subject identifiers; all where `None`.
    pub subjects: Option<Arc<HashSet<[u8; 16]>>>,
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
        let Some(Statistics::FixedLenByteArray(stats)) = group.column(column).statistics() else {
            return true;
        };
        let bucket = |bytes: Option<&parquet::data_type::FixedLenByteArray>| {
            let id: [u8; 16] = bytes?.data().try_into().ok()?;
            Some(bucket_of(&id))
        };
        match (bucket(stats.min_opt()), bucket(stats.max_opt())) {
            (Some(min), Some(max)) => max >= self.lo && min <= self.hi,
            _ => true,
        }
    }
}

/// The rows of one file that the filter wants, in file order. `columns` names the columns to read; all where
/// `None`. A file that lacks a named column simply does not have it in its batches.
///
/// # Errors
/// When the file is missing or damaged.
pub fn read(path: &Path, columns: Option<&[&str]>, filter: &ShardFilter) -> Result<Vec<RecordBatch>, CatalogError> {
    let damaged = |e| CatalogError::parquet(path.display().to_string())(e);
    let file = File::open(path).map_err(CatalogError::io("read", path))?;
    let metadata = ArrowReaderMetadata::load(&file, Default::default()).map_err(damaged)?;
    let schema: SchemaRef = metadata.schema().clone();
    let parquet_schema = metadata.parquet_schema();
    let Ok(subject) = schema.index_of(SUBJECT) else {
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
            names.iter().filter_map(|name| schema.index_of(name).ok()),
        ),
    };
    let whole_range = filter.lo == 0 && filter.hi == u16::MAX && filter.subjects.is_none();
    let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
        .with_row_groups(groups)
        .with_projection(mask)
        .with_batch_size(65_536);
    if !whole_range {
        let wanted = filter.clone();
        let predicate = ArrowPredicateFn::new(ProjectionMask::roots(parquet_schema, [subject]), move |batch| {
            let ids = batch.column(0).as_fixed_size_binary();
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
        .map(|batch| batch.map_err(CatalogError::from))
        .collect()
}
