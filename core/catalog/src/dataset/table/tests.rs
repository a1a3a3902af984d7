//! Folding: changes over a base give the state, whatever the history.

use super::*;
use crate::CatalogError;
use crate::dataset::ReleaseKind;
use crate::dataset::testing::{Change, World, columns, rows};
use crate::dataset::{StagedFile, base_schema, change_schema};
use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

fn paths(files: &[StagedFile]) -> Vec<PathBuf> {
    files.iter().map(|f| f.path.clone()).collect()
}

fn change() -> impl Strategy<Value = Change> {
    let set = (0u8..4, 0i64..6);
    (0u8..24, prop::option::weighted(0.75, set))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// L2: folding all changes since the beginning, or since any base, gives the state; in sorted order; each row
    /// once. Rows move between subjects, leave and come back.
    #[test]
    fn replay(history in prop::collection::vec(prop::collection::vec(change(), 0..16), 1..7), merge_at in 0usize..7) {
        let (mut world, _dir) = World::local();
        let mut levels: Vec<Vec<PathBuf>> = Vec::new();
        let mut merged: (Vec<PathBuf>, usize) = (Vec::new(), 0);
        for (n, changes) in history.iter().enumerate() {
            // Numbers of releases are not needed here: all rows say release 1.
            let batch = world.change(changes);
            let staged = world.write(change_schema(&columns()), [batch]);
            levels.push(paths(&staged));
            if n == merge_at {
                let state: Vec<RecordBatch> =
                    fold(Vec::new(), levels.clone(), base_schema(&columns())).unwrap().map(|b| b.unwrap()).collect();
                let staged = world.write(base_schema(&columns()), state);
                merged = (paths(&staged), n + 1);
            }
        }
        let mut expected: Vec<_> = world.state.clone().into_iter().collect();
        expected.sort_by(|a, b| (&a.1.0, &a.0).cmp(&(&b.1.0, &b.0)));
        let all: Vec<_> = fold(Vec::new(), levels.clone(), base_schema(&columns())).unwrap().map(|b| b.unwrap()).collect();
        prop_assert_eq!(rows(&all), expected.clone());
        let rest = levels.split_off(merged.1);
        let since: Vec<_> = fold(merged.0, rest, base_schema(&columns())).unwrap().map(|b| b.unwrap()).collect();
        prop_assert_eq!(rows(&since), expected);
    }
}

#[test]
fn long_runs_of_the_base_are_kept_whole() {
    let (mut world, _dir) = World::local();
    let ids: Vec<String> = (0..50_000).map(|i| format!("r{i:06}")).collect();
    let n = ids.len();
    let columns_of = |ids: &[String]| -> Vec<(&str, ArrayRef)> {
        vec![
            ("_row_id", Arc::new(StringArray::from_iter_values(ids))),
            (
                "subject_id",
                Arc::new(StringArray::from_iter_values(ids.iter().map(|_| "s"))),
            ),
            ("value", Arc::new(Int64Array::from_iter_values(0..ids.len() as i64))),
            (
                "_release",
                Arc::new(Int64Array::from_iter_values(ids.iter().map(|_| 1))),
            ),
        ]
    };
    let target = |name: &str| FileTarget {
        dir: world.staging.path().join(name),
        run_id: "r".into(),
    };
    let batch = RecordBatch::try_from_iter(columns_of(&ids)).unwrap();
    let mut writer = TableWriter::new(target("base"), base_schema(&columns()), WriterOptions::default()).unwrap();
    writer.write(&batch).unwrap();
    let base = paths(&writer.finish().unwrap());

    let changed: Vec<String> = [0, 8191, 8192, 20_000, 49_999].map(|i| format!("r{i:06}")).into();
    let mut change = columns_of(&changed);
    change.push(("_op", Arc::new(StringArray::from(vec!["D", "U", "D", "U", "D"]))));
    let change = RecordBatch::try_from_iter(change).unwrap();
    let staged = world.write(change_schema(&columns()), [change]);
    let state: Vec<_> = fold(base, vec![paths(&staged)], base_schema(&columns()))
        .unwrap()
        .map(|b| b.unwrap())
        .collect();
    let state = rows(&state);
    assert_eq!(state.len(), n - 3);
    assert!(state.windows(2).all(|w| w[0].0 < w[1].0));
    let value = |id: &str| state.iter().find(|r| r.0 == id).map(|r| r.1.1);
    assert_eq!(value("r008191"), Some(1));
    assert_eq!(value("r020000"), Some(3));
    assert_eq!(value("r020001"), Some(20_001));
    assert_eq!(value("r049999"), None);
}

/// Parquet would cut it to the bytes of its column, and another number would stand in the file.
#[test]
fn a_decimal_beyond_its_column_is_not_written() {
    let (world, _dir) = World::local();
    let of = |value: i128| {
        let amounts = Decimal128Array::from(vec![value])
            .with_precision_and_scale(9, 2)
            .unwrap();
        let columns: [(&str, ArrayRef); 2] = [
            ("_row_id", Arc::new(StringArray::from(vec!["r"]))),
            ("amount", Arc::new(amounts)),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let write = |value: i128| {
        let target = FileTarget {
            dir: world.staging.path().join("decimals"),
            run_id: "r".into(),
        };
        let batch = of(value);
        let mut writer = TableWriter::new(target, batch.schema(), WriterOptions::default()).unwrap();
        writer.write(&batch).map_err(|error| error.to_string())
    };
    assert_eq!(write(999_999_999), Ok(()));
    let error = write(5_000_000_000).unwrap_err();
    assert!(error.contains("\"amount\": a decimal has more digits"), "{error}");
}

/// Rows that carry documents are folded a few at a time, also where all carry the same one.
#[test]
fn documents_come_in_small_batches() {
    let (world, _dir) = World::local();
    let schema = Arc::new(Schema::new(vec![
        Field::new("_row_id", DataType::Utf8, false),
        Field::new("text", DataType::Utf8, true),
    ]));
    let write = |name: &str, texts: Vec<String>| {
        let ids = (0..texts.len()).map(|i| format!("r{i:06}"));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(ids)),
            Arc::new(StringArray::from(texts)),
        ];
        let target = FileTarget {
            dir: world.staging.path().join(name),
            run_id: "r".into(),
        };
        let mut writer = TableWriter::new(target, schema.clone(), WriterOptions::default()).unwrap();
        writer
            .write(&RecordBatch::try_new(schema.clone(), columns).unwrap())
            .unwrap();
        paths(&writer.finish().unwrap())
    };
    let same = write("same", vec!["a".repeat(1 << 18); 200]);
    let unlike = write(
        "unlike",
        (0..200u32).map(|i| format!("{i:08}").repeat(1 << 15)).collect(),
    );
    for base in [same, unlike] {
        let batches: Vec<_> = fold(base, Vec::new(), schema.clone())
            .unwrap()
            .map(|b| b.unwrap())
            .collect();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 200);
        let longest = batches.iter().map(RecordBatch::num_rows).max();
        assert!(longest <= Some(2 * 64), "{longest:?} rows of 256 KiB at once");
    }
}

#[test]
fn a_writer_refuses_disorder_and_doubles() {
    let (world, _dir) = World::local();
    let target = FileTarget {
        dir: world.staging.path().join("x"),
        run_id: "r".into(),
    };
    let row = |subject: &str, id: &str| {
        RecordBatch::try_from_iter(vec![
            ("_row_id", Arc::new(StringArray::from(vec![id])) as ArrayRef),
            ("subject_id", Arc::new(StringArray::from(vec![subject]))),
            ("_release", Arc::new(Int64Array::from(vec![1]))),
        ])
        .unwrap()
    };
    let mut writer = TableWriter::new(target, base_schema(&columns()), WriterOptions::default()).unwrap();
    writer.write(&row("b", "1")).unwrap();
    assert!(
        writer
            .write(&row("a", "2"))
            .unwrap_err()
            .to_string()
            .contains("not sorted")
    );
    assert!(writer.write(&row("b", "1")).is_err());
    writer.write(&row("b", "2")).unwrap();
    let staged = writer.finish().unwrap();
    assert_eq!(staged[0].rows, 2);
    let bytes = std::fs::read(&staged[0].path).unwrap();
    assert_eq!(
        (staged[0].size, staged[0].sha256),
        (bytes.len() as u64, clinmill_model::Digest::of(&bytes))
    );
}

#[test]
fn schemas_may_grow_but_values_must_fit() {
    let old = RecordBatch::try_from_iter(vec![(
        "a",
        Arc::new(StringArray::from(vec!["12", "Zhang"])) as ArrayRef,
    )])
    .unwrap();
    let grown = Arc::new(Schema::new(vec![
        Field::new("b", DataType::Int64, true),
        Field::new("a", DataType::LargeUtf8, true),
    ]));
    let new = adapt(&old, &grown).unwrap();
    assert_eq!(new.schema(), grown);
    assert_eq!(new.column(0).null_count(), 2);
    let number = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let e = adapt(&old, &number).unwrap_err();
    assert!(matches!(e, CatalogError::Invalid { .. }));
    assert!(!e.to_string().contains("Zhang"), "{e}");
    let strict = Arc::new(Schema::new(vec![Field::new("c", DataType::Int64, false)]));
    assert!(adapt(&old, &strict).is_err());
}

/// A row without a value keeps its hash, and its place in the old base, beside values that the new type cannot hold.
#[test]
fn a_new_type_fits_the_rows_that_stay() {
    let (mut world, _dir) = World::local();
    let of = |kind| {
        Schema::new(vec![
            Field::new("value", kind, true),
            Field::new("unit", DataType::Utf8, false),
        ])
    };
    let (old, new) = (of(DataType::Utf8), of(DataType::Int64));
    let batch = |ids: [&str; 3], value: ArrayRef, unit: [Option<&str>; 3]| {
        vec![
            ("_row_id", Arc::new(StringArray::from(ids.to_vec())) as ArrayRef, true),
            ("value", value, true),
            ("unit", Arc::new(StringArray::from(unit.to_vec())), true),
            ("_release", Arc::new(Int64Array::from(vec![1, 1, 1])), true),
        ]
    };
    let values = Arc::new(StringArray::from(vec![Some("1"), Some("x"), None]));
    let base = batch(["a", "b", "c"], values, [Some("g"); 3]);
    let base = world.write(
        base_schema(&old),
        [RecordBatch::try_from_iter_with_nullable(base).unwrap()],
    );
    let values = Arc::new(Int64Array::from(vec![Some(1), None, Some(4)]));
    let mut change = batch(["a", "b", "d"], values, [Some("g"), None, Some("g")]);
    change.push(("_op", Arc::new(StringArray::from(vec!["U", "D", "U"])), true));
    let change = RecordBatch::try_from_iter_with_nullable(change).unwrap();
    let change = world.write(change_schema(&new), [change]);

    let of_new = |base: &[StagedFile], changes: Vec<Vec<PathBuf>>| {
        let rows = fold(paths(base), changes, base_schema(&new)).unwrap();
        rows.collect::<crate::Result<Vec<_>>>()
    };
    let state = of_new(&base, vec![paths(&change)]).unwrap();
    let state = concat_batches(&base_schema(&new), &state).unwrap();
    let ids = state.column_by_name("_row_id").unwrap().as_string::<i32>();
    let values = state.column_by_name("value").unwrap().as_primitive::<Int64Type>();
    assert_eq!(ids.iter().flatten().collect::<Vec<_>>(), ["a", "c", "d"]);
    assert_eq!(values.iter().collect::<Vec<_>>(), [Some(1), None, Some(4)]);
    // A row that stays must fit.
    let e = of_new(&base, Vec::new()).unwrap_err();
    assert!(e.to_string().contains("column value"), "{e}");
}

#[tokio::test]
async fn files_of_two_refreshes_differ_though_their_rows_do_not() {
    let (mut world, _dir) = World::local();
    let batch = world.change(&[(1, Some((1, 1)))]);
    let one = world.write(change_schema(&columns()), [batch.clone()]);
    let two = world.write(change_schema(&columns()), [batch]);
    assert_ne!(one[0].sha256, two[0].sha256);
    // And a refresh that changes nothing in a table writes no file at all.
    let release = world.release(&[], false, ReleaseKind::Full).await;
    assert!(release.manifest.tables["t"].base.is_empty());
}
