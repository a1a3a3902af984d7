//! What a query says of a subject does not depend on which others are there, nor on the run (L1).

use super::{nullable, numbers};
use crate::sql::{SqlScope, SqlStep};
use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array},
    compute::take_record_batch,
};
use clinmill_model::columns::SUBJECT_ID;
use std::{collections::BTreeMap, sync::Arc};

/// Rows of some subjects whose `k` and `v` repeat, in one batch; enough of them for a sort that is not stable to show.
fn ties(subjects: &[usize], each: usize) -> BTreeMap<String, Vec<RecordBatch>> {
    let rows: Vec<(usize, usize)> = subjects.iter().flat_map(|s| (0..each).map(move |i| (*s, i))).collect();
    let mixed = |(s, i): &(usize, usize)| (i * 29 + s * 7) % 41;
    let text = |of: &dyn Fn(&(usize, usize)) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
    };
    let numbers = rows.iter().map(|row| (mixed(row) % 3) as i64);
    let floats = rows.iter().map(|row| 0.1 + 1e9 / (1.0 + mixed(row) as f64));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("k", text(&|row| format!("k{}", row.1 % 2))),
        ("v", Arc::new(Int64Array::from_iter_values(numbers))),
        ("x", text(&|row| format!("x{}", mixed(row)))),
        ("f", Arc::new(Float64Array::from_iter_values(floats))),
        (SUBJECT_ID, text(&|row| format!("s{:02}", row.0))),
    ];
    let labs = RecordBatch::try_from_iter_with_nullable(nullable(columns)).unwrap();
    // Of some subjects many rows, of others few: which side of a join is longer depends on who is there.
    let some = |i: u32| {
        subjects
            .get(i as usize / each)
            .is_some_and(|s| i as usize % each < [3, 90, 12][s % 3])
    };
    let some: UInt32Array = (0..labs.num_rows() as u32).filter(|i| some(*i)).map(Some).collect();
    let more = take_record_batch(&labs, &some).unwrap();
    BTreeMap::from([("labs".to_owned(), vec![labs]), ("more".to_owned(), vec![more])])
}

/// What a query says of some subjects, sorted.
async fn lines(sql: &str, scope: SqlScope, subjects: &[usize]) -> Vec<String> {
    lines_of(sql, scope, ties(subjects, 40)).await
}

async fn lines_of(sql: &str, scope: SqlScope, rows: BTreeMap<String, Vec<RecordBatch>>) -> Vec<String> {
    let own = rows["labs"][0].schema().project(&[0, 1, 2, 3]).unwrap();
    let own = Arc::new(own);
    let relations = BTreeMap::from(["labs", "more"].map(|name| (name.to_owned(), (own.clone(), true))));
    let step = SqlStep::plan(sql, scope, &relations).await.unwrap();
    let batch = step.run(&rows, false).await.unwrap();
    let text = arrow::util::pretty::pretty_format_batches(&[batch])
        .unwrap()
        .to_string();
    let mut lines: Vec<String> = text.lines().skip(3).map(str::to_owned).collect();
    lines.retain(|line| !line.starts_with('+'));
    lines.iter().map(|line| line.replace(' ', "")).collect()
}

const SUBJECTS: [usize; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

async fn together(sql: &str, scope: SqlScope) -> Vec<String> {
    let mut all = lines(sql, scope, &SUBJECTS).await;
    all.sort();
    all
}

async fn apart(sql: &str, scope: SqlScope) -> Vec<String> {
    let mut all = Vec::new();
    for subject in SUBJECTS {
        all.extend(lines(sql, scope, &[subject]).await);
    }
    all.sort();
    all
}

/// What a window says of rows that its ORDER BY leaves equal depends on no other subject (L1).
#[tokio::test]
async fn windows_order_ties_by_the_rows_themselves() {
    let windows = [
        "row_number() over (partition by k order by v)",
        "row_number() over (order by v desc, k)",
        "lag(x) over (partition by subject_id order by v)",
        "first_value(x) over (order by v)",
        "last_value(x) over (partition by k order by v)",
        "nth_value(x, 3) over (order by v rows between 2 preceding and 2 following)",
        "sum(f) over (order by v rows unbounded preceding)",
        "sum(f) over (partition by k)",
        "avg(f) over ()",
        "avg(f) over (partition by k order by v)",
        "rank() over (order by v)",
        "count(*) over (partition by k order by v range unbounded preceding)",
    ];
    for scope in [SqlScope::Subject, SqlScope::Dataset] {
        for window in windows {
            let sql = match scope {
                SqlScope::Subject => format!("select k, v, x, f, {window} as w from labs"),
                // What the rewriting does for the other scope.
                SqlScope::Dataset => {
                    let by = match window.contains("partition by k") {
                        true => window.replace("partition by k", "partition by subject_id, k"),
                        false if window.contains("subject_id") => window.to_owned(),
                        false => window
                            .replace("over (", "over (partition by subject_id ")
                            .replace(" )", ")"),
                    };
                    format!("select k, v, x, f, subject_id as s, {by} as w from labs")
                }
            };
            let (together, apart) = (together(&sql, scope).await, apart(&sql, scope).await);
            assert_eq!(apart.len(), 480);
            assert!(together == apart, "{sql}");
        }
    }
}

/// So do aggregates that have an order.
#[tokio::test]
async fn ordered_aggregates_order_ties_by_the_rows_themselves() {
    let sql = "select k, first_value(x order by v) as a, string_agg(x, ',' order by v desc) as b, \
               nth_value(x, 5 order by v) as c, sum(f) as d from labs group by k";
    assert_eq!(
        together(sql, SqlScope::Subject).await,
        apart(sql, SqlScope::Subject).await
    );
}

/// Nor what is read from several relations: their rows come in one order.
#[tokio::test]
async fn unions_and_joins_order_ties_by_the_rows_themselves() {
    let both = "(select k, v, x, f from labs union all select k, v, x || '+' as x, f from more)";
    let joined = "labs a join more b using (k)";
    for sql in [
        format!("select k, v, x, row_number() over (partition by k order by v) as w from {both}"),
        format!("select k, v, x, f, lag(x) over (order by v) as w, sum(f) over (partition by k) as s from {both}"),
        format!("select k, first_value(x order by v) as a, string_agg(x, ',' order by v) as b from {both} group by k"),
        format!("select k, sum(f) as a, avg(f) as b, stddev(f) as c from {both} group by k"),
        format!("select sum(f) as a from {both} union all select avg(f) as a from labs"),
        format!("select k, sum(b.f) as a, avg(a.f) as b, corr(a.f, b.f) as c from {joined} group by k"),
        format!(
            "select k, string_agg(b.x, ',' order by k) as a, first_value(a.x order by b.v) as b from {joined} group by k"
        ),
        format!("select k, a.x, row_number() over (partition by k order by b.v) as w from {joined}"),
        "select a.k, sum(a.f) as s from labs a left join more b on a.x = b.x and a.f < b.f group by a.k".to_owned(),
    ] {
        let once = together(&sql, SqlScope::Subject).await;
        assert!(once == apart(&sql, SqlScope::Subject).await, "{sql}");
        assert!(once == together(&sql, SqlScope::Subject).await, "{sql}");
    }
}

/// Nor on where batches end: of more rows than one of them holds, a subject's are in several.
#[tokio::test]
async fn aggregates_say_the_same_of_rows_in_several_batches() {
    let each = 3_000;
    let subjects: Vec<usize> = (0..5).collect();
    let calls = [
        "sum(f) as a, avg(f) as b, stddev(f) as c, var_pop(f) as d, corr(f, v) as e, covar_pop(f, v) as g",
        "regr_slope(f, v) as a, regr_intercept(v, f) as b, regr_r2(f, v) as c, regr_sxy(f, v) as d",
        "sum(distinct f) as a, avg(distinct f) as b, count(distinct f) as c, count(distinct x) as d",
        "median(f) as a, percentile_cont(0.9) within group (order by f) as b, approx_distinct(x) as c, median(distinct f) as d",
        "min(x) as a, max(f) as b, string_agg(distinct x, ',' order by x) as c, first_value(x order by v) as d",
    ];
    let mut queries: Vec<String> = calls
        .iter()
        .map(|calls| format!("select k, {calls} from labs group by k"))
        .collect();
    queries.push(
        "select k, x, sum(f) over (partition by k) as a, avg(f) over (partition by k order by v) as b from labs"
            .to_owned(),
    );
    queries.push(
        "select x, sum(f) over (order by v, x rows between 3 preceding and 3 following) as a from labs".to_owned(),
    );
    for sql in queries {
        let mut together = lines_of(&sql, SqlScope::Subject, ties(&subjects, each)).await;
        let mut apart = Vec::new();
        for subject in &subjects {
            apart.extend(lines_of(&sql, SqlScope::Subject, ties(&[*subject], each)).await);
        }
        together.sort();
        apart.sort();
        assert!(together == apart, "{sql}\n{:?}\n{:?}", together.first(), apart.first());
    }
}

/// Rows that differ only in a list are told apart by it.
#[tokio::test]
async fn lists_order_ties_too() {
    let joined =
        "(select a.k, a.x, array_agg(b.x order by b.x) as xs from labs a join more b on a.v = b.v group by a.k, a.x)";
    let structs = "(select k, named_struct('x', x, 'f', f) as xs from labs)";
    let nested = "(select k, x, array_agg(named_struct('x', x, 'f', f) order by f) as xs from labs group by k, x)";
    for (from, by) in [(joined, "k"), (joined, "xs desc"), (structs, "k"), (nested, "k")] {
        let sql = format!("select k, xs, row_number() over (order by {by}) as w from {from}");
        let once = together(&sql, SqlScope::Subject).await;
        assert!(once.len() > 12, "{once:?}");
        assert!(once == apart(&sql, SqlScope::Subject).await, "{sql}");
    }
}

/// Peers are what the query says: the order of ties does not tell them apart.
#[tokio::test]
async fn windows_keep_their_peers() {
    assert_eq!(
        numbers("select cast(rank() over (order by k) as bigint) as w from labs", "w").await,
        [1, 1, 1, 2]
    );
    let running = "select sum(v) over (order by k) as w from labs";
    assert_eq!(numbers(running, "w").await, [3, 3, 10, 30]);
}
