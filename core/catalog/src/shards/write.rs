//! Writing a shard: to staging first, then under the digest of its content.

use super::{SUBJECT, Shard};
use crate::CatalogError;
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use clinmill_model::Digest;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties, WriterVersion},
    schema::types::ColumnPath,
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Rows of one row group: small enough that one subject's rows are found without reading a whole file.
const ROW_GROUP_ROWS: usize = 65_536;

/// Writes one shard.
pub struct ShardWriter {
    writer: ArrowWriter<Hashed<BufWriter<File>>>,
    staged: PathBuf,
    rows: u64,
}

impl ShardWriter {
    /// Begins a file in the staging folder. `unique` names the columns whose values hardly repeat.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(staging: &Path, name: &str, schema: SchemaRef, unique: &[&str]) -> Result<Self, CatalogError> {
        let staged = staging.join(name);
        let file = File::create(&staged).map_err(CatalogError::io("write", &staged))?;
        let out = Hashed::new(BufWriter::with_capacity(1 << 18, file));
        let writer =
            ArrowWriter::try_new(out, schema, Some(properties(unique))).map_err(CatalogError::parquet(name))?;
        Ok(Self {
            writer,
            staged,
            rows: 0,
        })
    }

    /// Appends rows; they must come sorted by subject.
    ///
    /// # Errors
    /// When they do not fit the schema or cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), CatalogError> {
        self.writer
            .write(batch)
            .map_err(|e| CatalogError::parquet(self.staged.display().to_string())(e))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Makes the file durable and puts it under its digest in the vault.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self, vault: &Path, place: &ShardPlace) -> Result<Shard, CatalogError> {
        let out = self
            .writer
            .into_inner()
            .map_err(CatalogError::parquet(self.staged.display().to_string()))?;
        let (bytes, sha256, out) = out.finish();
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

fn properties(unique: &[&str]) -> WriterProperties {
    let path = |name: &str| ColumnPath::from(name.to_owned());
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(path(SUBJECT), EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    for unique in unique {
        properties = properties.set_column_dictionary_enabled(path(unique), false);
    }
    properties.build()
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

/// Counts and hashes what passes through.
struct Hashed<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    fn finish(self) -> (u64, Digest, W) {
        (
            self.bytes,
            Digest::from_bytes(self.hasher.finalize().into()),
            self.inner,
        )
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
