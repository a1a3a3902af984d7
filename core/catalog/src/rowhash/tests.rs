//! What the row hash ignores, and what it does not.

use super::*;
use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::{Field, Float64Type, Int32Type, Schema, TimeUnit};
use proptest::prelude::*;
use std::sync::Arc;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
}

fn one(array: impl Array + 'static) -> Vec<u128> {
    row_hashes(&batch(vec![("c", Arc::new(array))])).unwrap()
}

#[test]
fn encodings_do_not_matter() {
    let plain = StringArray::from(vec![Some("白细胞"), None, Some(""), Some("白细胞")]);
    let expected = one(plain.clone());
    assert_eq!(expected[0], expected[3]);
    assert_ne!(expected[1], expected[2], "null is not the empty string");
    for kind in [
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into()),
        DataType::Dictionary(DataType::UInt8.into(), DataType::Utf8.into()),
    ] {
        let other = cast(&plain, &kind).unwrap();
        assert_eq!(
            row_hashes(&batch(vec![("c", other.clone())])).unwrap(),
            expected,
            "{kind}"
        );
        let slice = row_hashes(&batch(vec![("c", other)]).slice(1, 3)).unwrap();
        assert_eq!(slice, expected[1..], "{kind}, sliced");
    }
    let coded = DictionaryArray::<Int32Type>::new(
        Int32Array::from(vec![0, 1]),
        Arc::new(StringArray::from(vec![None, Some("")])),
    );
    assert_eq!(one(coded), expected[1..3], "a null in the dictionary is a null");
}

#[test]
fn numbers_count_by_value() {
    let zeros = one(Float64Array::from(vec![0.0, -0.0]));
    assert_eq!(zeros[0], zeros[1]);
    let nans = one(Float64Array::from(vec![
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff8_0000_0000_0001),
    ]));
    assert!(nans.iter().all(|h| *h == nans[0]));
    assert_eq!(one(Float32Array::from(vec![1.5])), one(Float64Array::from(vec![1.5])));
    assert_eq!(one(Int8Array::from(vec![-5])), one(Int64Array::from(vec![-5])));
    assert_eq!(one(UInt64Array::from(vec![5])), one(Int32Array::from(vec![5])));
    assert_ne!(
        one(Int32Array::from(vec![5])),
        one(Float64Array::from(vec![5.0])),
        "another logical type"
    );
    let decimal = |v, p, s| one(Decimal128Array::from(vec![v]).with_precision_and_scale(p, s).unwrap());
    assert_eq!(decimal(150, 10, 2), decimal(15, 5, 1));
    assert_eq!(decimal(0, 10, 2), decimal(0, 5, 0));
    assert_ne!(decimal(150, 10, 2), decimal(150, 10, 1));
    assert_eq!(decimal(-1000, 10, 2), decimal(-10, 3, 0));
    // One value, wide and narrow.
    assert_eq!(decimal(100_000_000_000_000_000_000, 38, 19), decimal(10, 3, 0));
}

#[test]
fn times_count_in_microseconds() {
    let micros = TimestampMicrosecondArray::from(vec![Some(1_700_000_000_000_000), Some(-1_000_000), None]);
    let seconds = cast(&micros, &DataType::Timestamp(TimeUnit::Second, None)).unwrap();
    assert_eq!(row_hashes(&batch(vec![("c", seconds)])).unwrap(), one(micros.clone()));
    assert_ne!(one(micros.clone().with_timezone("UTC"))[0], one(micros)[0]);
    let date = Date32Array::from(vec![20_000]);
    assert_eq!(
        one(cast(&date, &DataType::Date64)
            .unwrap()
            .as_primitive::<arrow::datatypes::Date64Type>()
            .clone()),
        one(date)
    );
}

#[test]
fn names_count_order_and_engine_columns_do_not() {
    let a: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let b: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    let hash = |columns| row_hashes(&batch(columns)).unwrap();
    let ab = hash(vec![("a", a.clone()), ("b", b.clone())]);
    assert_eq!(ab, hash(vec![("b", b.clone()), ("a", a.clone())]));
    assert_eq!(
        ab,
        hash(vec![
            ("a", a.clone()),
            ("n", null),
            ("_row_id", b.clone()),
            ("b", b.clone())
        ])
    );
    assert_ne!(ab, hash(vec![("a", b), ("b", a)]));
}

#[test]
fn nested_values() {
    let list = |rows: Vec<Option<Vec<Option<f64>>>>| one(ListArray::from_iter_primitive::<Float64Type, _, _>(rows));
    let hashes = list(vec![
        Some(vec![Some(1.0), None]),
        Some(vec![None, Some(1.0)]),
        Some(vec![]),
        None,
        Some(vec![Some(1.0), None]),
    ]);
    assert_eq!(hashes[0], hashes[4]);
    let distinct: std::collections::HashSet<_> = hashes[..4].iter().collect();
    assert_eq!(distinct.len(), 4);
    let field = |n: &str| Arc::new(Field::new(n, DataType::Int64, true));
    let x: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let y: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1)]));
    let xy = StructArray::from(vec![(field("x"), x.clone()), (field("y"), y.clone())]);
    let yx = StructArray::from(vec![(field("y"), y), (field("x"), x)]);
    let hashes = one(xy);
    assert_eq!(hashes, one(yx));
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn values_do_not_run_together() {
    let hash = |a: &str, b: &str| {
        let column = |v: &str| Arc::new(StringArray::from(vec![v])) as ArrayRef;
        row_hashes(&batch(vec![("a", column(a)), ("b", column(b))])).unwrap()
    };
    assert_ne!(hash("ab", "c"), hash("a", "bc"));
}

#[test]
fn other_types_are_refused() {
    let schema = Schema::new(vec![Field::new("d", DataType::Duration(TimeUnit::Second), true)]);
    let empty = RecordBatch::new_empty(Arc::new(schema));
    assert!(row_hashes(&empty).unwrap_err().to_string().contains("column d"));
}

#[test]
fn prints_and_parses() {
    let fingerprint = Fingerprint { count: 3, sum: 0xabc };
    assert_eq!(fingerprint.to_string(), "3-00000000000000000000000000000abc");
    assert_eq!(fingerprint.to_string().parse::<Fingerprint>().unwrap(), fingerprint);
    assert!("x".parse::<Fingerprint>().is_err());
}

proptest! {
    /// A fingerprint is the same whatever the order and the cut into batches; removing undoes adding.
    #[test]
    fn sums(values in prop::collection::vec(any::<Option<i64>>(), 1..2000), cut in 0usize..2000) {
        let cut = cut % values.len();
        let whole = batch(vec![("v", Arc::new(Int64Array::from(values.clone())))]);
        let all = Fingerprint::of(&whole).unwrap();
        let mut parts = Fingerprint::of(&whole.slice(cut, values.len() - cut)).unwrap();
        let first = whole.slice(0, cut);
        parts.merge(Fingerprint::of(&first).unwrap());
        prop_assert_eq!(all, parts);
        for hash in row_hashes(&first).unwrap() {
            parts.remove(hash);
        }
        prop_assert_eq!(parts, Fingerprint::of(&whole.slice(cut, values.len() - cut)).unwrap());
    }
}
