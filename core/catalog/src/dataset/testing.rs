//! Small values for the tests of this folder.

use super::table::{FileTarget, TableWriter, WriterOptions, fold};
use super::*;
use crate::rowhash::Fingerprint;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

pub(crate) fn file(path: &str, size: u64) -> DataFile {
    DataFile {
        path: path.into(),
        size,
        sha256: Digest::of(path.as_bytes()),
        rows: 1,
    }
}

pub(crate) fn entry(base: &[u64], overlay: &[u64]) -> TableEntry {
    let columns = Schema::new(vec![Field::new("v", DataType::Int64, true)]);
    let schema = to_specs(&base_schema(&columns)).unwrap();
    TableEntry {
        schema_sha256: schema_digest(&schema),
        schema,
        key: vec!["_row_id".into()],
        row_count: 2,
        fingerprint: Fingerprint { count: 2, sum: 5 },
        base: base.iter().map(|size| file("tables/t/base/x", *size)).collect(),
        overlay: overlay.iter().map(|size| file("tables/t/changes/y", *size)).collect(),
        changes: Vec::new(),
    }
}

pub(crate) fn draft(parent: Option<Parent>, tables: BTreeMap<String, TableEntry>) -> Draft {
    Draft {
        dataset: "d".into(),
        run_id: "run".into(),
        kind: if parent.is_none() {
            ReleaseKind::Full
        } else {
            ReleaseKind::Delta
        },
        parent,
        deidentified: false,
        vault: VaultRef {
            id: "v".into(),
            state: "s".into(),
            key_check: "k".into(),
        },
        pipeline_sha256: Digest::of(b"pipeline"),
        engine_version: "0.1.0".into(),
        plugins: Vec::new(),
        mappings: Vec::new(),
        tables,
        counts: Counts::default(),
        gates: Vec::new(),
        scores: BTreeMap::new(),
    }
}

pub(crate) fn manifest(release: u64) -> Manifest {
    Manifest {
        format_version: FORMAT_VERSION,
        dataset: "d".into(),
        release,
        commit_id: "c".into(),
        run_id: "r".into(),
        parent: Some(Parent {
            release: release - 1,
            sha256: Digest::of(b"parent"),
        }),
        kind: ReleaseKind::Delta,
        transaction_time: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_767_225_600),
        deidentified: false,
        vault: VaultRef {
            id: "v".into(),
            state: "s".into(),
            key_check: "k".into(),
        },
        pipeline_sha256: Digest::of(b"p"),
        engine_version: "0.1.0".into(),
        plugins: Vec::new(),
        mappings: Vec::new(),
        tables: BTreeMap::from([("t".to_owned(), entry(&[10], &[]))]),
        counts: Counts::default(),
        gates: vec![GateResult {
            name: "rows".into(),
            passed: true,
            detail: "ok".into(),
            measured: None,
        }],
        scores: BTreeMap::new(),
    }
}

/// The columns of the test table.
pub(crate) fn columns() -> Schema {
    Schema::new(vec![
        Field::new("subject_id", DataType::Utf8, false),
        Field::new("value", DataType::Int64, true),
    ])
}

/// One change of a test: a row number, and its subject and value, or none to delete it.
pub(crate) type Change = (u8, Option<(u8, i64)>);

/// A row of a change file: subject, value, operation, the subject it moved from.
type ChangeRow = (String, Option<i64>, &'static str, Option<String>);

/// A row of the model: subject, value, release.
pub(crate) type Row = (String, i64, i64);

/// A dataset of one table beside a model of what it must hold.
pub(crate) struct World {
    pub dataset: Dataset,
    pub staging: tempfile::TempDir,
    pub state: BTreeMap<String, Row>,
    pub latest: Option<Release>,
    runs: u64,
}

impl World {
    pub(crate) fn new(env: Env, store: Arc<dyn Store>) -> Self {
        Self {
            dataset: Dataset::on(env, store),
            staging: tempfile::tempdir().unwrap(),
            state: BTreeMap::new(),
            latest: None,
            runs: 0,
        }
    }

    /// In a folder of its own.
    pub(crate) fn local() -> (Self, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let store = crate::store::open(&format!("file:{}", dir.path().join("dataset").display())).unwrap();
        (Self::new(Env::system(), store), dir)
    }

    /// The changes of a release as rows of a change file, sorted; and the model after it.
    pub(crate) fn change(&mut self, changes: &[Change]) -> RecordBatch {
        let release = self.latest.as_ref().map_or(1, |r| r.manifest.release + 1) as i64;
        let mut rows: BTreeMap<String, ChangeRow> = BTreeMap::new();
        let before = self.state.clone();
        for (id, change) in changes {
            let id = format!("r{id:03}");
            match change {
                None => {
                    self.state.remove(&id);
                }
                Some((subject, value)) => {
                    self.state.insert(id.clone(), (format!("s{subject}"), *value, release));
                }
            }
            rows.remove(&id);
            match (before.get(&id), self.state.get(&id)) {
                (None, None) => {}
                (Some(old), None) => {
                    rows.insert(id, (old.0.clone(), None, "D", None));
                }
                (Some(old), Some(new)) if (&old.0, old.1) == (&new.0, new.1) => {
                    let old = old.clone();
                    self.state.insert(id, old);
                }
                (old, Some(new)) => {
                    let moved = old.filter(|old| old.0 != new.0).map(|old| old.0.clone());
                    rows.insert(id, (new.0.clone(), Some(new.1), "U", moved));
                }
            }
        }
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by(|a, b| (&a.1.0, &a.0).cmp(&(&b.1.0, &b.0)));
        let cause = |id: &str, op: &str| {
            let known = before.contains_key(id);
            (op == "U").then_some(if known { "corrected" } else { "new" })
        };
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "_op",
                Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1.2))),
            ),
            (
                "_row_id",
                Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.0))),
            ),
            (
                "subject_id",
                Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.1.0))),
            ),
            ("value", Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.1.1)))),
            (
                "_release",
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|_| release))),
            ),
            (
                "_cause",
                Arc::new(StringArray::from_iter(rows.iter().map(|r| cause(&r.0, r.1.2)))),
            ),
            (
                "_moved_from",
                Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1.3.as_deref()))),
            ),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
    }

    fn target(&mut self) -> FileTarget {
        self.runs += 1;
        FileTarget {
            dir: self.staging.path().join(self.runs.to_string()),
            run_id: self.runs.to_string(),
        }
    }

    pub(crate) fn write(&mut self, schema: SchemaRef, rows: impl IntoIterator<Item = RecordBatch>) -> Vec<StagedFile> {
        // Small groups and files, so that every boundary occurs.
        let options = WriterOptions {
            group_rows: 4,
            group_bytes: 1 << 20,
            file_bytes: 1,
        };
        let mut writer = TableWriter::new(self.target(), schema, options).unwrap();
        for batch in rows {
            for at in (0..batch.num_rows()).step_by(3) {
                writer.write(&batch.slice(at, 3.min(batch.num_rows() - at))).unwrap();
            }
        }
        writer.finish().unwrap()
    }

    async fn put(&self, staged: &[StagedFile], kind: FileKind) -> Result<Vec<DataFile>> {
        let mut files = Vec::new();
        for file in staged {
            files.push(self.dataset.put_file(file, "t", kind).await?);
        }
        Ok(files)
    }

    /// Makes a release of these changes in which the table is rewritten or overlaid.
    pub(crate) async fn release(&mut self, changes: &[Change], overlay: bool, kind: ReleaseKind) -> Release {
        let draft = self.draft(changes, overlay, kind).await.unwrap();
        let CommitOutcome::Committed(release) = self.dataset.commit(draft).await.unwrap() else {
            panic!("lost without a rival");
        };
        self.latest = Some((*release).clone());
        *release
    }

    pub(crate) async fn draft(&mut self, changes: &[Change], overlay: bool, kind: ReleaseKind) -> Result<Draft> {
        let old = self.latest.as_ref().and_then(|r| r.manifest.tables.get("t").cloned());
        let parent = self.latest.as_ref().map(Release::as_parent);
        let number = parent.map_or(1, |p| p.release + 1);
        let rows = self.change(changes);
        let staged = self.write(change_schema(&columns()), [rows]);
        let changes = self.put(&staged, FileKind::Changes(number)).await?;
        let schema = base_schema(&columns());
        let specs = to_specs(&schema).unwrap();
        let (mut base, mut levels) = old.map(|o| (o.base, o.overlay)).unwrap_or_default();
        levels.extend(changes.clone());
        if !overlay {
            let state = self.read(&base, &levels).await;
            let staged = self.write(schema, state);
            base = self.put(&staged, FileKind::Base).await?;
            levels.clear();
        }
        let fingerprint = self.fingerprint();
        let table = TableEntry {
            schema_sha256: schema_digest(&specs),
            schema: specs,
            key: vec!["_row_id".into()],
            row_count: fingerprint.count,
            fingerprint,
            base,
            overlay: levels,
            changes,
        };
        let mut draft = draft(parent, BTreeMap::from([("t".to_owned(), table)]));
        if parent.is_some() {
            draft.kind = kind;
        }
        draft.run_id = format!("run {}", self.runs);
        Ok(draft)
    }

    pub(crate) async fn read(&self, base: &[DataFile], overlay: &[DataFile]) -> Vec<RecordBatch> {
        let base = self.dataset.fetch_all(base, self.staging.path()).await.unwrap();
        let overlay = self.dataset.fetch_all(overlay, self.staging.path()).await.unwrap();
        let levels = overlay.into_iter().map(|f| vec![f]).collect();
        fold(base, levels, base_schema(&columns()))
            .unwrap()
            .map(|b| b.unwrap())
            .collect()
    }

    /// The fingerprint of the model, worked out from its rows.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let rows = || self.state.values();
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "subject_id",
                Arc::new(StringArray::from_iter_values(rows().map(|r| &r.0))),
            ),
            ("value", Arc::new(Int64Array::from_iter_values(rows().map(|r| r.1)))),
        ];
        Fingerprint::of(&RecordBatch::try_from_iter(columns).unwrap()).unwrap()
    }
}

/// The rows of batches as the model has them, in their order.
pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<(String, Row)> {
    let mut all = Vec::new();
    for batch in batches {
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let number = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let (id, subject) = (text("_row_id"), text("subject_id"));
        let (value, release) = (number("value"), number("_release"));
        for row in 0..batch.num_rows() {
            let content = (subject.value(row).to_owned(), value.value(row), release.value(row));
            all.push((id.value(row).to_owned(), content));
        }
    }
    all
}
