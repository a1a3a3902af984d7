//! Writing a shard: to staging first, then under the digest of its content.

use super::{
    SUBJECT, Shard,
    constant::{self, Constants},
    dictionary::{self, Dictionaries},
    ids,
    packed::{self, PackedColumns},
};
use crate::{CatalogError, events, hashed::Hashed, rowhash::value_hashes};
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, SchemaRef},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
    },
    schema::types::ColumnPath,
};
use serde::Serialize;
use std::{
    collections::HashSet,
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

/// Rows of one row group: small enough that one subject's rows are found without reading a whole file.
const ROW_GROUP_ROWS: usize = 65_536;

/// Writes one shard.
pub struct ShardWriter {
    writer: Option<ArrowWriter<Hashed<BufWriter<File>>>>,
    schema: SchemaRef,
    constants: Constants,
    dictionaries: Dictionaries,
    packed: PackedColumns,
    staged: PathBuf,
    rows: u64,
}

impl ShardWriter {
    /// Begins a file in the staging folder, for rows of this schema. `constants` are columns that are not in it, since
    /// they say the same in every row.
    pub fn create(staging: &Path, name: &str, schema: SchemaRef, constants: Constants) -> Self {
        Self {
            writer: None,
            schema,
            constants,
            dictionaries: Dictionaries::new(),
            packed: PackedColumns::new(),
            staged: staging.join(name),
            rows: 0,
        }
    }

    /// The texts of columns whose rows have the numbers of texts. Before any row.
    pub fn with_dictionaries(mut self, dictionaries: Dictionaries) -> Self {
        self.dictionaries = dictionaries;
        self
    }

    /// How columns are packed whose rows are all known to fit. Before any row.
    pub fn with_packed(mut self, packed: PackedColumns) -> Self {
        self.packed = packed;
        self
    }

    /// Appends rows; they must come sorted by subject.
    ///
    /// # Errors
    /// When they do not fit the schema or cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), CatalogError> {
        CatalogError::unless_decimals_fit(batch)?;
        if self.writer.is_none() {
            // The first rows tell how the columns are best written.
            self.writer = Some(self.begin(batch)?);
        }
        let batch = packed::packed(batch, &self.packed)?;
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer
            .write(&ids::halved(&batch)?)
            .map_err(|e| CatalogError::writing(&self.staged)(e))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Makes the file durable and puts it under its digest in the vault.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, vault: &Path, place: &ShardPlace) -> Result<Shard, CatalogError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.begin(&RecordBatch::new_empty(self.schema.clone()))?,
        };
        let out = writer.into_inner().map_err(CatalogError::writing(&self.staged))?;
        let (out, bytes, sha256) = out.finish();
        let file = out
            .into_inner()
            .map_err(|e| CatalogError::io("write", &self.staged)(e.into_error()))?;
        file.sync_all().map_err(CatalogError::io("write", &self.staged))?;
        let ShardPlace { folder, lo, hi } = place;
        let folder = format!("{folder}/{lo:03x}-{hi:03x}");
        let path = format!("{folder}/{sha256}.parquet");
        let folder = vault.join(folder);
        fs::create_dir_all(&folder).map_err(CatalogError::io("write", &folder))?;
        let target = vault.join(&path);
        fs::rename(&self.staged, &target).map_err(CatalogError::io("write", &target))?;
        sync_folders(vault, &folder)?;
        Ok(Shard {
            lo: *lo,
            hi: *hi,
            path,
            sha256,
            rows: self.rows,
            bytes,
        })
    }

    fn begin(&self, sample: &RecordBatch) -> Result<ArrowWriter<Hashed<BufWriter<File>>>, CatalogError> {
        let file = File::create(&self.staged).map_err(CatalogError::io("write", &self.staged))?;
        let out = Hashed::new(BufWriter::with_capacity(1 << 18, file));
        let properties = self.properties(sample)?;
        let schema = ids::halved_schema(&packed::packed_schema(&self.schema, &self.packed));
        ArrowWriter::try_new(out, schema, Some(properties)).map_err(CatalogError::writing(&self.staged))
    }

    /// No dictionaries: rows of one subject stand together, so that compression finds what repeats in less time and no more
    /// space. Hashes and keyed ids that hardly repeat are not compressed, which would be in vain.
    fn properties(&self, sample: &RecordBatch) -> Result<WriterProperties, CatalogError> {
        let kept = vec![
            metadata(constant::METADATA_KEY, &self.constants)?,
            metadata(dictionary::METADATA_KEY, &self.dictionaries)?,
            metadata(packed::METADATA_KEY, &self.packed)?,
        ];
        let mut properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_write_batch_size(8192)
            .set_data_page_row_count_limit(ROW_GROUP_ROWS)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_column_statistics_enabled(ColumnPath::from(SUBJECT.to_owned()), EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_key_value_metadata(Some(kept));
        let rows = sample.num_rows().min(SAMPLE_ROWS);
        for (field, column) in sample.schema_ref().fields().iter().zip(sample.columns()) {
            let path = ColumnPath::from(field.name().clone());
            // The numbers of texts, and what is packed, are small: most of their first bytes are 0, which stand together in
            // this encoding. Where neighbours are mostly the same, whole numbers are what repeats.
            let packed = self.packed.get(field.name());
            let repeats = packed.is_some_and(|form| form.repeats(&column.slice(0, rows)));
            if self.dictionaries.contains_key(field.name()) || (packed.is_some() && !repeats) {
                properties = properties.set_column_encoding(path.clone(), Encoding::BYTE_STREAM_SPLIT);
            } else if packed.is_some() {
                // As it is.
            } else if is_place(field) || matches!(field.data_type(), DataType::Timestamp(..)) {
                // Times and places hardly repeat, and their differences are short; compression would take longer, for more
                // bytes.
                properties = properties
                    .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED)
                    .set_column_compression(path.clone(), Compression::UNCOMPRESSED);
            }
            let is_id = matches!(field.data_type(), DataType::FixedSizeBinary(_)) || field.name() == events::CONTENT;
            if is_id && rows > 0 {
                let distinct: HashSet<u128> = value_hashes(&column.slice(0, rows))?.into_iter().collect();
                if distinct.len() * 2 > rows {
                    let low = ColumnPath::from(ids::low(field.name()));
                    properties = properties
                        .set_column_compression(path, Compression::UNCOMPRESSED)
                        .set_column_compression(low, Compression::UNCOMPRESSED);
                }
            }
        }
        Ok(properties.build())
    }
}

/// Where a shard belongs.
#[derive(Clone, Debug)]
pub struct ShardPlace {
    /// Folder below the vault, such as `events/lis`.
    pub folder: String,
    /// Lowest bucket.
    pub lo: u16,
    /// Highest bucket, inclusive.
    pub hi: u16,
}

/// Rows that are looked at to tell how a column is best written.
const SAMPLE_ROWS: usize = 2048;

/// True for a column that tells where rows stand in their inputs.
fn is_place(field: &Field) -> bool {
    [events::OFFSET, events::LENGTH, events::ROW].contains(&field.name().as_str())
}

fn metadata(key: &str, value: &impl Serialize) -> Result<KeyValue, CatalogError> {
    let misfit = |_| CatalogError::invalid("the metadata of a shard", "not to be written as JSON");
    Ok(KeyValue::new(
        key.to_owned(),
        serde_json::to_string(value).map_err(misfit)?,
    ))
}

/// Makes the entries of a folder and of its parents up to the vault durable.
fn sync_folders(vault: &Path, folder: &Path) -> Result<(), CatalogError> {
    for dir in folder.ancestors().take_while(|d| d.starts_with(vault)) {
        File::open(dir)
            .and_then(|d| d.sync_all())
            .map_err(CatalogError::io("write", &dir))?;
    }
    Ok(())
}
