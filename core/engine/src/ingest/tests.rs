//! Events come back from their files as they went in, whatever form their columns had on the way.

use super::{
    Counts, EventBuilder, InputReport, SettleTask, Subjects, settle,
    shuffle::{Collector, Ranges, Shuffle},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Float64Type, Schema, UInt64Type},
};
use clinmill_catalog::{
    events::{self, EventFile},
    shards::ShardFilter,
    vault::VaultKey,
};
use clinmill_model::Digest;
use clinmill_sdk::{Fold, Locator, RecordBatchOf, RecordKey, RecordKind, RecordMetaBuilder};
use proptest::prelude::*;
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

const TEXTS: [&str; 8] = ["code", "name", "ward", "note", "nothing", "one", "visit", "order"];

/// Subject and texts of one record, its value in hundredths, and where it stands: offset, length and row.
type Row = (String, [Option<String>; TEXTS.len()], [u64; 4]);

fn key() -> VaultKey {
    VaultKey::from_secret(Digest::of(b"key").to_string().as_bytes()).unwrap()
}

/// Of few texts, of more and more texts, of long ones, of none, of digits in one form, and in one that changes.
fn row(i: usize, from: usize) -> Row {
    let number = from + i;
    let some = |text: String| Some(text).filter(|_| !i.is_multiple_of(7));
    let texts = [
        some(format!("code {}", i % 12)),
        Some(format!("a name that is longer than sixteen bytes {}", number % 1500)),
        some(["", "一病区", "ward 2"][i % 3].to_owned()),
        Some("n".repeat(number % 70)),
        None,
        Some("one".to_owned()),
        some(format!("住院V{number:06}")),
        some(format!("{}{number:05}", if number < 2500 { "A" } else { "B" })),
    ];
    let places = [number as u64 * 10, 9 + number as u64 % 3, number as u64];
    let [offset, length, row] = places;
    (
        format!("p{}", number * 7919 % 211),
        texts,
        [number as u64 % 4000, offset, length, row],
    )
}

fn batch(rows: &[Row]) -> RecordBatchOf {
    let mut meta = RecordMetaBuilder::default();
    for (subject, _, [_, offset, length, row]) in rows {
        let at = Locator {
            offset: *offset,
            length: *length,
            row: *row,
            part: 0,
            cell: None,
        };
        meta.push("MRN", Some(subject), None, false, at);
    }
    let text = |c: usize| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|(_, texts, _)| texts[c].clone())
                .collect::<StringArray>(),
        )
    };
    let mut columns: Vec<ArrayRef> = (0..TEXTS.len()).map(text).collect();
    columns.push(Arc::new(Float64Array::from_iter_values(
        rows.iter().map(|(_, _, [value, ..])| *value as f64 / 100.0),
    )));
    RecordBatchOf {
        kind: 0,
        rows: RecordBatch::try_new(schema(), columns).unwrap(),
        meta: meta.finish(),
    }
}

fn schema() -> Arc<Schema> {
    let texts = TEXTS.iter().map(|name| Field::new(*name, DataType::Utf8, true));
    Arc::new(Schema::new(
        texts
            .chain([Field::new("value", DataType::Float64, true)])
            .collect::<Vec<_>>(),
    ))
}

/// The rows of the event files that batches of these sizes make, sorted, and the files' columns that are not texts in them.
fn through_files(sizes: &[usize], budget: usize, ranges: u64) -> (Vec<Row>, HashSet<String>) {
    let kind = RecordKind {
        name: String::new(),
        schema: schema(),
        key: RecordKey::Content,
        fold: Fold::Replace,
        subject: true,
    };
    let (folder, key) = (tempfile::tempdir().unwrap(), key());
    let shuffle = Shuffle::new(Ranges::new(ranges, 1, 64), budget, folder.path());
    let (mut first, mut subjects) = (0, Subjects::new(&key));
    for half in sizes.chunks(sizes.len().div_ceil(2).max(1)) {
        let mut collector = Collector::new(&shuffle);
        for size in half {
            let rows: Vec<Row> = (0..*size).map(|i| row(i, first)).collect();
            let builder = EventBuilder::new(std::slice::from_ref(&kind), 1);
            let built = builder.build(batch(&rows), &mut subjects).unwrap();
            collector.push((0, 0), built.events).unwrap();
            first += size;
        }
        collector.finish().unwrap();
    }
    let (mut rows, mut numbers) = (Vec::new(), HashSet::new());
    for range in 0..shuffle.ranges().count() {
        for (of, events) in shuffle.take(range).unwrap() {
            let settled = settle(SettleTask {
                vault: folder.path(),
                staging: folder.path(),
                source: "s",
                of,
                kind: &kind,
                parse_id: Digest::of(b"x"),
                bounds: shuffle.ranges().bounds(range),
                known: &[],
                failed: &HashSet::new(),
                times: &HashMap::from([(1, None)]),
                scopes: &HashMap::new(),
                events,
                dictionaries: shuffle.dictionaries(),
            });
            let file: EventFile = settled.unwrap().file.unwrap();
            let all = ShardFilter {
                lo: 0,
                hi: u16::MAX,
                subjects: None,
            };
            for batch in file.read(folder.path(), &events::schema(&schema()), &all).unwrap() {
                let text = |name: &str, i: usize| {
                    let texts = batch.column_by_name(name).unwrap().as_string::<i32>();
                    texts.is_valid(i).then(|| texts.value(i).to_owned())
                };
                let place = |name: &str, i: usize| {
                    let places = batch.column_by_name(name).unwrap().as_primitive::<UInt64Type>();
                    places.value(i)
                };
                let values = batch.column_by_name("value").unwrap().as_primitive::<Float64Type>();
                rows.extend((0..batch.num_rows()).map(|i| {
                    let value = (values.value(i) * 100.0).round() as u64;
                    assert_eq!(values.value(i).to_bits(), (value as f64 / 100.0).to_bits());
                    let [offset, length, row] =
                        [events::OFFSET, events::LENGTH, events::ROW].map(|name| place(name, i));
                    let texts = TEXTS.map(|name| text(name, i));
                    (text(events::ID, i).unwrap(), texts, [value, offset, length, row])
                }));
            }
            let raw = clinmill_catalog::shards::read(&folder.path().join(&file.shard.path), &all).unwrap();
            let schema = raw.first().unwrap().schema();
            let is_text = |name: &&str| {
                schema
                    .field_with_name(name)
                    .is_ok_and(|f| *f.data_type() == DataType::Utf8)
            };
            numbers.extend(
                TEXTS
                    .iter()
                    .filter(|name| !is_text(name))
                    .map(|name| (*name).to_owned()),
            );
        }
    }
    rows.sort();
    (rows, numbers)
}

fn given(sizes: &[usize]) -> Vec<Row> {
    let mut first = 0;
    let mut rows = Vec::new();
    for size in sizes {
        rows.extend((0..*size).map(|i| row(i, first)));
        first += size;
    }
    rows.sort();
    rows
}

#[test]
fn a_column_of_few_texts_has_their_numbers_until_it_says_too_much() {
    // 1,500 names: the dictionary of the first batches is full later. Notes of up to 69 bytes never have one in the end.
    // Visits are digits where the dictionary is full; orders are, until they have another letter.
    let sizes = [700, 200, 40, 700, 3000];
    for (budget, ranges) in [(1 << 30, 1), (1 << 30, 16), (1 << 10, 4)] {
        let (rows, numbers) = through_files(&sizes, budget, ranges);
        assert_eq!(rows, given(&sizes));
        assert_eq!(
            numbers,
            ["code", "ward", "nothing", "one", "visit"].map(str::to_owned).into(),
            "{budget}, {ranges}"
        );
    }
    let (rows, numbers) = through_files(&[60], 1 << 30, 1);
    assert_eq!(rows, given(&[60]));
    assert!(numbers.contains("code") && !numbers.contains("name"), "{numbers:?}");
}

/// Some events are known, some are of an input that was given up, some come twice in one input: the rest is written.
#[test]
fn what_is_known_or_given_up_is_not_written() {
    let kind = RecordKind {
        name: String::new(),
        schema: schema(),
        key: RecordKey::Columns(vec!["order".to_owned()]),
        fold: Fold::Replace,
        subject: true,
    };
    let (folder, key) = (tempfile::tempdir().unwrap(), key());
    let all = ShardFilter {
        lo: 0,
        hi: u16::MAX,
        subjects: None,
    };
    let times = HashMap::from([(1, None), (2, None), (3, None)]);
    let given = |numbers: Range<usize>| -> Vec<Row> {
        let rows = numbers.map(|number| row(number % 7, number - number % 7));
        rows.filter(|row| row.1[7].is_some()).collect()
    };
    let settled = |inputs: &[(u32, Vec<Row>)], known: &[EventFile], failed: &HashSet<u32>| {
        let shuffle = Shuffle::new(Ranges::new(1, 1, 64), 1 << 30, folder.path());
        let (mut collector, mut subjects) = (Collector::new(&shuffle), Subjects::new(&key));
        for (input, rows) in inputs {
            let builder = EventBuilder::new(std::slice::from_ref(&kind), *input);
            let built = builder.build(batch(rows), &mut subjects).unwrap();
            collector.push((0, 0), built.events).unwrap();
        }
        collector.finish().unwrap();
        let mut taken = shuffle.take(0).unwrap();
        settle(SettleTask {
            vault: folder.path(),
            staging: folder.path(),
            source: "s",
            of: (0, 0),
            kind: &kind,
            parse_id: Digest::of(b"x"),
            bounds: shuffle.ranges().bounds(0),
            known,
            failed,
            times: &times,
            scopes: &HashMap::new(),
            events: taken.remove(&(0, 0)).unwrap(),
            dictionaries: shuffle.dictionaries(),
        })
        .unwrap()
    };
    let written = |file: &Option<EventFile>| -> Vec<u64> {
        let Some(file) = file else { return Vec::new() };
        let batches = file.read(folder.path(), &events::schema(&schema()), &all).unwrap();
        let column = |batch: &RecordBatch| batch.column_by_name(events::ROW).unwrap().clone();
        let mut rows: Vec<u64> = batches
            .iter()
            .flat_map(|batch| column(batch).as_primitive::<UInt64Type>().values().to_vec())
            .collect();
        rows.sort_unstable();
        rows
    };
    let rows_of = |rows: &[Row]| -> Vec<u64> { rows.iter().map(|row| row.2[3]).collect() };
    let first = settled(&[(1, given(0..3000))], &[], &HashSet::new());
    assert_eq!(written(&first.file), rows_of(&given(0..3000)));
    let known = [first.file.unwrap()];
    let twice = [given(2900..3100), given(3000..3050)].concat();
    let second = settled(&[(2, twice), (3, given(3100..4000))], &known, &HashSet::from([3]));
    assert_eq!(written(&second.file), rows_of(&given(3000..3100)));
    let duplicates = (given(2900..3000).len() + given(3000..3050).len()) as u64;
    assert_eq!(second.duplicates, [(2, duplicates)].into());
    assert_eq!(second.written, [(2, given(3000..3100).len() as u64)].into());
    let nothing = settled(&[(2, given(0..500))], &known, &HashSet::new());
    assert!(nothing.file.is_none() && nothing.subjects.is_empty() && nothing.written.is_empty());
    let given_up = settled(&[(3, given(5000..5100))], &[], &HashSet::from([3]));
    assert!(given_up.file.is_none() && given_up.duplicates.is_empty());
}

/// Columns that become full one after the other make forms without end.
#[test]
fn no_staging_file_stays_open() {
    const COLUMNS: usize = 20;
    const ROWS: usize = 2500;
    let (folder, key) = (tempfile::tempdir().unwrap(), key());
    let schema = Arc::new(Schema::new(
        (0..COLUMNS)
            .map(|c| Field::new(format!("c{c}"), DataType::Utf8, true))
            .collect::<Vec<_>>(),
    ));
    let kind = RecordKind {
        name: String::new(),
        schema: schema.clone(),
        key: RecordKey::Content,
        fold: Fold::Replace,
        subject: true,
    };
    let shuffle = Shuffle::new(Ranges::new(1, 1, 64), 1 << 10, folder.path());
    let open = || {
        let held = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        held.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|path| path.starts_with(folder.path())))
            .count()
    };
    let mut subjects = Subjects::new(&key);
    for full in 0..COLUMNS {
        let rows: Vec<usize> = (full * ROWS..(full + 1) * ROWS).collect();
        let mut meta = RecordMetaBuilder::default();
        for row in &rows {
            let at = Locator {
                offset: *row as u64,
                length: 1,
                row: *row as u64,
                part: 0,
                cell: None,
            };
            meta.push("MRN", Some(&format!("p{}", row % 97)), None, false, at);
        }
        // Each round another column says too much.
        let column = |c: usize| -> ArrayRef {
            let text = |row: &usize| format!("{c}-{}", if c <= full { row % 2000 } else { row % 3 });
            Arc::new(rows.iter().map(text).map(Some).collect::<StringArray>())
        };
        let batch = RecordBatchOf {
            kind: 0,
            rows: RecordBatch::try_new(schema.clone(), (0..COLUMNS).map(column).collect()).unwrap(),
            meta: meta.finish(),
        };
        let builder = EventBuilder::new(std::slice::from_ref(&kind), 1);
        let mut collector = Collector::new(&shuffle);
        collector
            .push((0, 0), builder.build(batch, &mut subjects).unwrap().events)
            .unwrap();
        collector.finish().unwrap();
        assert_eq!(open(), 0);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let parts = shuffle.take(0).unwrap();
    let rows: usize = parts[&(0, 0)].iter().map(|part| part.rows.len()).sum();
    assert_eq!(rows, COLUMNS * ROWS);
    let forms: HashSet<String> = parts[&(0, 0)]
        .iter()
        .map(|part| format!("{:?}", part.events.texts.schema()))
        .collect();
    assert!(forms.len() > COLUMNS / 2, "{} forms", forms.len());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn events_come_back(sizes in prop::collection::vec(1usize..900, 1..6), small: bool, ranges in 1u64..20) {
        let budget = if small { 1 << 10 } else { 1 << 30 };
        prop_assert_eq!(through_files(&sizes, budget, ranges).0, given(&sizes));
    }
}

#[test]
fn counts_that_a_plugin_says_do_not_overflow() {
    let told = Counts {
        read: u64::MAX,
        filtered: u64::MAX,
        ..Counts::default()
    };
    let one = Counts {
        read: 1,
        written: 1,
        ..Counts::default()
    };
    let mut counts = one;
    counts.add(&told);
    counts.add(&told);
    assert_eq!((counts.read, counts.filtered), (u64::MAX, u64::MAX));
    assert!(counts.balance());
    let mut report = InputReport::default();
    report.count_filtered("rule".into(), u64::MAX);
    report.count_filtered("rule".into(), 2);
    assert_eq!(report.filtered["rule"], u64::MAX);
}
