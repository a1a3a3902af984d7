//! From staging to a release: new bases, the vault's next state, the gates, and the commit that makes all of it count.

use super::{session::Session, stage::StagedTable};
use crate::{bound::Bound, error::EngineError, tables::TableSpec};
use clinmill_catalog::{
    CatalogError,
    dataset::{
        DataFile, FileKind, StagedFile, TableEntry, base_schema, schema_digest,
        table::{FileTarget, StoragePlan, TableWriter, WriterOptions, fold, plan_storage},
        to_specs,
    },
    rowhash::Fingerprint,
    store::StoreErrorKind,
};
use clinmill_model::columns::ROW_ID;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A table's next state, its files already under the dataset's root but named by no manifest yet.
pub struct PublishedTable {
    /// The manifest's entry.
    pub entry: TableEntry,
    /// Upserted rows.
    pub upserts: u64,
    /// Deleted rows.
    pub deletes: u64,
    /// Bytes written for it, changes and base.
    pub written: u64,
}

/// What a table was before: files of its rows, and of changes to fold into them, oldest first.
pub struct Former {
    /// Files of its rows.
    pub base: Vec<PathBuf>,
    /// Files of changes.
    pub levels: Vec<Vec<PathBuf>>,
}

impl Former {
    /// What a table was: to be made `anew`, from whatever is whole.
    ///
    /// # Errors
    /// When a file is damaged without which it cannot be told.
    pub async fn of(
        session: &Session,
        (table, old): (&str, Option<&TableEntry>),
        anew: bool,
        scratch: &Path,
    ) -> Result<Self, EngineError> {
        match anew {
            true => Self::whatever_is_whole(session, (table, old), scratch).await,
            false => Self::of_base(session, old, scratch).await,
        }
    }

    /// The base and what lies over it.
    async fn of_base(session: &Session, old: Option<&TableEntry>, scratch: &Path) -> Result<Self, EngineError> {
        let mut former = Self {
            base: Vec::new(),
            levels: Vec::new(),
        };
        for file in old.iter().flat_map(|o| &o.base) {
            former.base.push(whole(session, file, scratch).await?);
        }
        for file in old.iter().flat_map(|o| &o.overlay) {
            former.levels.push(vec![whole(session, file, scratch).await?]);
        }
        Ok(former)
    }

    /// The base, or where it is damaged the changes of all releases.
    async fn whatever_is_whole(
        session: &Session,
        (table, old): (&str, Option<&TableEntry>),
        scratch: &Path,
    ) -> Result<Self, EngineError> {
        match Self::of_base(session, old, scratch).await {
            Err(EngineError::Refused { .. }) => Self::of_changes(session, table, scratch).await,
            former => former,
        }
    }

    /// The changes of every release since the table is there: a damaged base is not needed.
    async fn of_changes(session: &Session, table: &str, scratch: &Path) -> Result<Self, EngineError> {
        let mut levels = Vec::new();
        for release in (1..=session.release()).rev() {
            let manifest = session.dataset.manifest(release).await?;
            let Some(entry) = manifest.tables.get(table) else {
                break;
            };
            let mut level = Vec::new();
            for file in &entry.changes {
                level.push(session.dataset.fetch(file, scratch).await?);
            }
            levels.push(level);
        }
        levels.reverse();
        Ok(Self {
            base: Vec::new(),
            levels,
        })
    }
}

async fn whole(session: &Session, file: &DataFile, scratch: &Path) -> Result<PathBuf, EngineError> {
    let found = session.dataset.fetch(file, scratch).await;
    let is_damaged = |error: &CatalogError| match error {
        CatalogError::Damaged { .. } => true,
        CatalogError::Store(error) => error.kind == StoreErrorKind::NotFound,
        _ => false,
    };
    found.map_err(|error| match is_damaged(&error) {
        true => EngineError::Refused {
            reason: error.to_string(),
            advice:
                "what is damaged would be published again; `run --full` makes the bases anew from the changes of all \
                     releases"
                    .to_owned(),
        },
        false => error.into(),
    })
}

/// What publishing a table needs to know of its refresh.
pub struct Making<'a> {
    /// What is published before.
    pub session: &'a Session,
    /// The staging folder of the refresh.
    pub staging: &'a Path,
    /// The refresh.
    pub run_id: &'a str,
    /// The release that it makes.
    pub release: u64,
    /// Write every base, from the changes of all releases where it is damaged.
    pub anew: bool,
}

/// Puts the files of all tables into the dataset. `staged` holds each table's ranges in order.
///
/// # Errors
/// When a file cannot be written or does not read back.
pub async fn put_tables(
    bound: &Bound,
    staged: BTreeMap<String, Vec<StagedTable>>,
    making: &Making<'_>,
) -> Result<BTreeMap<String, PublishedTable>, EngineError> {
    let mut published = BTreeMap::new();
    for table in &bound.tables {
        let last = making.session.last.as_ref();
        let old = last.and_then(|r| r.manifest.tables.get(&table.name));
        let done = match (staged.get(&table.name), old) {
            (Some(ranges), old) => making.put_table(table, ranges, old).await?,
            (None, Some(old)) => PublishedTable::unchanged(old),
            (None, None) => continue,
        };
        published.insert(table.name.clone(), done);
    }
    Ok(published)
}

impl PublishedTable {
    /// Not recomputed: the table stays as it is, without changes in this release.
    fn unchanged(old: &TableEntry) -> Self {
        Self {
            entry: TableEntry {
                changes: Vec::new(),
                ..old.clone()
            },
            upserts: 0,
            deletes: 0,
            written: 0,
        }
    }
}

impl Making<'_> {
    async fn put_table(
        &self,
        table: &TableSpec,
        ranges: &[StagedTable],
        old: Option<&TableEntry>,
    ) -> Result<PublishedTable, EngineError> {
        let mut specs = to_specs(&base_schema(&table.schema))?;
        for spec in &mut specs {
            spec.unit = table.units.get(&spec.name).cloned();
        }
        let mut fingerprint = Fingerprint::default();
        let (mut upserts, mut deletes) = (0, 0);
        for range in ranges {
            fingerprint.merge(range.fingerprint);
            upserts += range.upserts;
            deletes += range.deletes;
        }
        let files: Vec<&StagedFile> = ranges.iter().flat_map(|r| &r.changes).collect();
        let changes = self.put(&files, table, FileKind::Changes(self.release)).await?;
        let delta: u64 = changes.iter().map(|f| f.size).sum();
        let same_schema = old.is_none_or(|o| o.schema == specs);
        let plan = match plan_storage(old, delta, upserts + deletes) {
            StoragePlan::Keep | StoragePlan::Overlay if self.anew || !same_schema => StoragePlan::Rewrite,
            plan => plan,
        };
        let old_files = |files: fn(&TableEntry) -> &Vec<DataFile>| old.map_or_else(Vec::new, |o| files(o).clone());
        let (mut base, mut overlay) = (old_files(|o| &o.base), old_files(|o| &o.overlay));
        let mut written = delta;
        match plan {
            StoragePlan::Keep => {}
            StoragePlan::Overlay => overlay.extend(changes.iter().cloned()),
            StoragePlan::Rewrite => {
                let changes = files.iter().map(|file| file.path.clone()).collect();
                let files = self.rewrite(table, old, changes, fingerprint.count).await?;
                written += files.iter().map(|f| f.size).sum::<u64>();
                base = self
                    .put(&files.iter().collect::<Vec<_>>(), table, FileKind::Base)
                    .await?;
                overlay = Vec::new();
            }
        }
        let entry = TableEntry {
            schema_sha256: schema_digest(&specs),
            schema: specs,
            key: vec![ROW_ID.to_owned()],
            row_count: fingerprint.count,
            fingerprint,
            base,
            overlay,
            changes,
        };
        Ok(PublishedTable {
            entry,
            upserts,
            deletes,
            written,
        })
    }

    /// The whole table as a new base, in staging.
    async fn rewrite(
        &self,
        table: &TableSpec,
        old: Option<&TableEntry>,
        changes: Vec<PathBuf>,
        count: u64,
    ) -> Result<Vec<StagedFile>, EngineError> {
        let scratch = self.staging.join("fetched");
        std::fs::create_dir_all(&scratch).map_err(|e| EngineError::io("create", &scratch, e))?;
        let mut former = Former::of(self.session, (&table.name, old), self.anew, &scratch).await?;
        former.levels.push(changes);
        let target = FileTarget {
            dir: self.staging.join(format!("base-{}", table.name)),
            run_id: self.run_id.to_owned(),
        };
        let schema = base_schema(&table.schema);
        let mut writer = TableWriter::new(target, schema.clone(), WriterOptions::default())?;
        for batch in fold(former.base, former.levels, schema)? {
            writer.write(&batch?)?;
        }
        let files = writer.finish()?;
        let rows: u64 = files.iter().map(|f| f.rows).sum();
        match rows == count {
            true => Ok(files),
            false => Err(EngineError::internal(format!(
                "the new base of table {} has {rows} rows, and its index {count}; nothing was published",
                table.name
            ))),
        }
    }

    async fn put(
        &self,
        files: &[&StagedFile],
        table: &TableSpec,
        kind: FileKind,
    ) -> Result<Vec<DataFile>, EngineError> {
        let mut out = Vec::with_capacity(files.len());
        for file in files {
            out.push(self.session.dataset.put_file(file, &table.name, kind).await?);
        }
        Ok(out)
    }
}
