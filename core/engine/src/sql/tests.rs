//! Subject-local SQL: what is rewritten keeps subjects apart, what cannot be is refused.

mod deep;
mod ties;
mod told;

use super::*;
use arrow::{
    array::{AsArray, Int64Array, StringArray},
    datatypes::Int64Type,
};

fn relations() -> BTreeMap<String, (SchemaRef, bool)> {
    let schema = |names: &[&str]| -> SchemaRef {
        let field = |n: &&str| Field::new(*n, if *n == "v" { DataType::Int64 } else { DataType::Utf8 }, true);
        Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
    };
    BTreeMap::from([
        ("labs".to_owned(), (schema(&["k", "v"]), true)),
        ("adt.visit".to_owned(), (schema(&["k"]), true)),
    ])
}

/// Rows of subjects a and b that share their keys.
fn rows(lineage: bool) -> BTreeMap<String, Vec<RecordBatch>> {
    let text = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as arrow::array::ArrayRef;
    let mut labs: Vec<(&str, arrow::array::ArrayRef)> = vec![
        ("k", text(&["x", "x", "x", "y"])),
        ("v", Arc::new(Int64Array::from(vec![1, 2, 10, 20]))),
        (SUBJECT_ID, text(&["a", "a", "b", "b"])),
    ];
    let mut visits: Vec<(&str, arrow::array::ArrayRef)> =
        vec![("k", text(&["x", "x"])), (SUBJECT_ID, text(&["a", "b"]))];
    if lineage {
        labs.push((INPUTS, text(&["0", "1", "2", "3"])));
        visits.push((INPUTS, text(&["10", "11"])));
    }
    let batch = |columns| RecordBatch::try_from_iter_with_nullable(nullable(columns)).unwrap();
    BTreeMap::from([
        ("labs".to_owned(), vec![batch(labs)]),
        ("adt.visit".to_owned(), vec![batch(visits)]),
    ])
}

fn nullable(columns: Vec<(&str, arrow::array::ArrayRef)>) -> Vec<(&str, arrow::array::ArrayRef, bool)> {
    columns.into_iter().map(|(n, c)| (n, c, true)).collect()
}

async fn run(sql: &str, lineage: bool) -> RecordBatch {
    let step = SqlStep::plan(sql, SqlScope::Subject, &relations()).await.unwrap();
    step.run(&rows(lineage), lineage).await.unwrap()
}

async fn numbers(sql: &str, column: &str) -> Vec<i64> {
    let batch = run(sql, false).await;
    let mut values: Vec<i64> = batch
        .column_by_name(column)
        .unwrap()
        .as_primitive::<Int64Type>()
        .iter()
        .flatten()
        .collect();
    values.sort_unstable();
    values
}

async fn code(sql: &str) -> &'static str {
    match SqlStep::plan(sql, SqlScope::Subject, &relations()).await {
        Err(NotLocal::Refused(code, ..)) => code,
        Err(NotLocal::Plan(error)) => panic!("{error}"),
        Ok(_) => "accepted",
    }
}

#[tokio::test]
async fn groups_joins_windows_and_distinct_stay_within_a_subject() {
    assert_eq!(numbers("select sum(v) as s from labs", "s").await, [3, 30]);
    assert_eq!(
        numbers("select k, sum(v) as s from labs group by k", "s").await,
        [3, 10, 20]
    );
    assert_eq!(
        numbers("select l.v from labs l join \"adt.visit\" v using (k)", "v").await,
        [1, 2, 10]
    );
    assert_eq!(
        numbers("select l.v from labs l cross join adt.visit v", "v").await,
        [1, 2, 10, 20]
    );
    assert_eq!(
        numbers(
            "select cast(row_number() over (order by v) as bigint) as n from labs",
            "n"
        )
        .await
        .len(),
        4
    );
    let ranked = "select v from (select v, row_number() over (order by v desc) as n from labs) t where n = 1";
    assert_eq!(numbers(ranked, "v").await, [2, 20]);
    assert_eq!(run("select distinct k from labs", false).await.num_rows(), 3);
    assert_eq!(
        run("select k from labs union all select k from adt.visit", false)
            .await
            .num_rows(),
        6
    );
    assert_eq!(
        numbers(
            "with t as (select k, max(v) as m from labs group by k) select m from t",
            "m"
        )
        .await,
        [2, 10, 20]
    );
    let left = "select v.k, l.v from adt.visit v left join labs l on l.k = v.k and l.v > 5";
    assert_eq!(run(left, false).await.num_rows(), 2);
}

#[tokio::test]
async fn lineage_travels_through_joins_and_groups() {
    let batch = run(
        "select l.k, sum(v) as s from labs l join adt.visit v on l.k = v.k group by l.k",
        true,
    )
    .await;
    let mut lists: Vec<Vec<&str>> = batch
        .column_by_name(INPUTS)
        .unwrap()
        .as_string::<i32>()
        .iter()
        .map(|list| {
            let mut names: Vec<&str> = list.unwrap().split(',').collect();
            names.sort_unstable();
            names.dedup();
            names
        })
        .collect();
    lists.sort();
    assert_eq!(lists, [vec!["0", "1", "10"], vec!["11", "2"]]);
}

#[tokio::test]
async fn what_is_not_local_or_does_not_repeat_is_refused() {
    for (sql, expected) in [
        ("select v from labs limit 1", "E0703"),
        ("select v from (select v from labs order by v limit 1) t", "E0703"),
        ("select distinct on (k) k, v from labs", "E0702"),
        ("select v from labs where v > (select avg(v) from labs)", "E0708"),
        ("select v from labs where k in (select k from adt.visit)", "E0708"),
        ("select random() as r from labs", "E0706"),
        ("select now() as t from labs", "E0706"),
        ("select first_value(v) as f from labs", "E0707"),
        ("select approx_median(v) as m from labs group by k", "E0707"),
        ("select approx_median(v) over () as m from labs", "E0707"),
        (
            "select approx_percentile_cont(0.9) within group (order by v) as p from labs",
            "E0707",
        ),
        (
            "select approx_percentile_cont_with_weight(0.9, v) within group (order by v) as p from labs",
            "E0707",
        ),
        ("select row_number() over () as n from labs", "E0707"),
        ("select 1 as one", "E0704"),
        ("create table t as select 1", "E0709"),
    ] {
        assert_eq!(code(sql).await, expected, "{sql}");
    }
    assert_eq!(
        code("select first_value(v order by v) as f from labs group by k").await,
        "accepted"
    );
}

#[tokio::test]
async fn what_would_not_repeat_is_refused_over_the_whole_dataset_too() {
    for (sql, expected) in [
        ("select v, random() as r from labs", "E0706"),
        ("select v, cast(uuid() as text) as r from labs", "E0706"),
        ("select count(*) as n, now() as t from labs", "E0706"),
        ("select count(*) as n, current_date as t from labs", "E0706"),
        ("select v from labs where v > (select max(random()) from labs)", "E0706"),
        ("select k, v from labs limit 3", "E0703"),
        ("select k from (select k, v from labs order by v) x limit 3", "E0703"),
        ("select k from labs where v in (select v from labs limit 1)", "E0703"),
        ("select k, v from labs order by v limit 3", "accepted"),
        ("select k from labs order by v limit 3 offset 1", "accepted"),
        (
            "select k, sum(v) as s from labs group by k order by s desc limit 3",
            "accepted",
        ),
        ("select approx_median(v) as m from labs", "accepted"),
    ] {
        let found = match SqlStep::plan(sql, SqlScope::Dataset, &relations()).await {
            Err(NotLocal::Refused(code, ..)) => code,
            Err(NotLocal::Plan(error)) => panic!("{sql}: {error}"),
            Ok(_) => "accepted",
        };
        assert_eq!(found, expected, "{sql}");
    }
}

/// What a query does to rows that it cannot be run on, as it is told.
async fn fails(sql: &str, v: i64) -> String {
    let step = SqlStep::plan(sql, SqlScope::Subject, &relations()).await.unwrap();
    let text = |value: &str| Arc::new(StringArray::from(vec![value, value])) as arrow::array::ArrayRef;
    let labs = vec![
        ("k", text("x")),
        ("v", Arc::new(Int64Array::from(vec![v, v])) as arrow::array::ArrayRef),
        (SUBJECT_ID, text("a")),
    ];
    let labs = RecordBatch::try_from_iter_with_nullable(nullable(labs)).unwrap();
    let made = step
        .run(&BTreeMap::from([("labs".to_owned(), vec![labs])]), false)
        .await;
    match made {
        Err(error) => EngineError::sql(&error).to_string(),
        Ok(rows) => panic!("{sql}: {rows:?}"),
    }
}

#[tokio::test]
async fn whole_numbers_do_not_wrap_around() {
    for sql in [
        "select sum(v) as s from labs",
        "select sum(distinct v) + 1 as s from labs",
        "select max(v) + 1 as s from labs",
        "select max(v) * 2 as s from labs",
        "select 0 - v - 2 as s from labs",
        "select k from labs where v + v > 0",
        "select sum(v) over () as s from labs",
        "select k from labs group by k having sum(v) > 0",
        "select a.k from labs a join labs b on a.v + 1 = b.v",
        "select sum(v * 2) as s from labs",
    ] {
        let told = fails(sql, i64::MAX).await;
        assert!(told.contains("larger than 64 bits hold"), "{sql}: {told}");
        assert!(!told.contains("922337"), "{told}");
    }
    assert!(fails("select -v as s from labs", i64::MIN).await.contains("64 bits"));
    // What fits stays what it was, and so does its type.
    assert_eq!(
        numbers("select sum(v) as s from labs where v < 0", "s").await,
        [0_i64; 0]
    );
    assert_eq!(
        numbers("select sum(v) - 1 as s from labs group by k", "s").await,
        [2, 9, 19]
    );
    assert_eq!(
        numbers("select -v * 2 + 1 as s from labs", "s").await,
        [-39, -19, -3, -1]
    );
    assert_eq!(
        numbers("select sum(v) over (partition by k order by v) as s from labs", "s").await,
        [1, 3, 10, 20]
    );
    assert_eq!(numbers("select sum(distinct v) as s from labs", "s").await, [3, 30]);
    assert_eq!(
        run("select sum(v), k, v + 1 from labs group by k, v", true)
            .await
            .schema()
            .field(0)
            .data_type(),
        &DataType::Int64
    );
}

#[tokio::test]
async fn a_division_by_zero_is_called_so() {
    let told = fails("select 10 / v as s from labs", 0).await;
    assert!(told.contains("divides by zero") && told.contains("nullif"), "{told}");
}

#[tokio::test]
async fn what_would_pass_in_silence_is_refused() {
    for (sql, expected, word) in [
        ("select a.*, b.* from labs a join labs b on a.k = b.k", "E0714", "k"),
        ("select v, v as _x from labs", "E0714", "_x"),
        ("select v, '1' as subject_id from labs", "E0714", "subject_id"),
        (
            "select a.k as subject_id from labs a union all select subject_id from labs",
            "E0714",
            "subject_id",
        ),
        ("select v from labs tablesample (50)", "E0713", "tablesample"),
        ("select v from (select v from labs for update) x", "E0713", "for"),
    ] {
        match SqlStep::plan(sql, SqlScope::Subject, &relations()).await {
            Err(NotLocal::Refused(code, what, _)) => {
                assert_eq!(code, expected, "{sql}");
                let at = culprit(sql, &what).map_or("", |(at, length)| &sql[at..at + length]);
                assert_eq!(at, word, "{what}");
            }
            other => panic!("{sql}: {:?}", other.map(|s| s.output)),
        }
    }
    for sql in [
        "select * from labs",
        "select a.*, b.v as w from labs a join labs b using (k)",
        "select max(subject_id) as subject_id, sum(v) as v from labs",
        "select coalesce(a.subject_id, b.subject_id) as subject_id, a.v from labs a full join labs b on a.v = b.v",
        "with _t as (select v as _v, subject_id from labs) select distinct subject_id, _v as v from _t order by v",
        "select subject_id, v from labs union select subject_id, v + 1 from labs",
    ] {
        assert_eq!(code(sql).await, "accepted", "{sql}");
    }
}

#[tokio::test]
async fn times_and_nulls_are_of_types_that_a_table_has() {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let made = run("select to_timestamp(v) as t, null as n, k from labs", false).await;
    let kinds: Vec<DataType> = made.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(kinds[..3], [micros, DataType::Utf8, DataType::Utf8]);
    assert_eq!(made.column(1).null_count(), 4);
}

#[test]
fn names_are_those_of_the_pipeline() {
    let names =
        tables("with t as (select * from labs) select * from t join adt.visit v on true join \"adt.visit\" w on true");
    assert_eq!(names.unwrap(), ["adt.visit", "labs"]);
}

#[test]
fn what_does_not_parse_is_located() {
    for (text, at) in [
        ("select a from t\nwhere x = 1 gruop by a", "gruop"),
        ("select 血 from t where )", ")"),
        ("select (a from t", "from"),
    ] {
        let (offset, message) = tables(text).unwrap_err();
        assert!(text[offset..].starts_with(at), "{text}: {offset} {message}");
        assert!(
            !message.contains("ParserError") && !message.contains("Line:"),
            "{message}"
        );
    }
    let (offset, message) = tables("select a from").unwrap_err();
    assert_eq!(offset, 12, "{message}");
}

#[test]
fn what_stands_within_a_query_is_whole_by_itself() {
    for text in [
        "a = 1 or b = ')'",
        "a = 1 -- or",
        "(a /* ( */ = 1)",
        "\"select\" = 'select'",
        "\"x)\" = 'it''s'",
    ] {
        assert_eq!(expression(text), Ok(()), "{text}");
    }
    for (text, at) in [
        ("a) or (b", ") or"),
        ("a = 1; drop table t", "; drop"),
        ("a = 1 b = 2", "b = 2"),
        ("a = 1 group by a", "group"),
        ("a = 1 as c", "a = 1"),
        ("a = (1", "1"),
        ("a /* = 1", ""),
        ("-- a", "a"),
        ("a in (select b from t)", "select b"),
        ("exists (with t as (SELECT 1) SELECT * from t)", "with t"),
    ] {
        let (offset, message) = expression(text).unwrap_err();
        assert!(text[offset..].starts_with(at), "{text}: {offset} {message}");
    }
    for (text, is) in [
        ("select 1", "select 1"),
        ("select 1;", "select 1"),
        ("select ';', \"；\" from t ; -- as x;\n ; /* ; */", ""),
        ("select '血;' from t\n; -- all", "select '血;' from t\n"),
        (
            "with a as (select 1) select * from a -- ;",
            "with a as (select 1) select * from a -- ;",
        ),
    ] {
        match is {
            "" => assert!(query(text).is_err(), "{text}"),
            is => assert_eq!(query(text), Ok(is)),
        }
    }
    for (text, at) in [
        ("select 1; select 2", "select 2"),
        ("select 1; -- one\nselect 2", "select 2"),
        ("select 1 from t) as x, (select 1 from t", ")"),
        ("explain select 1", "explain"),
        ("select 1 from t settings x = 1", "settings"),
        ("select 'a", "'a"),
    ] {
        let (offset, message) = query(text).unwrap_err();
        assert!(text[offset..].starts_with(at), "{text}: {offset} {message}");
    }
}

#[test]
fn what_a_finding_is_about_is_located() {
    let text = "select Now() as n, xvaleu, max(valeu) from t LIMIT 3";
    for (message, word) in [
        ("there is no column \"valeu\"; did you mean `value`?", "valeu"),
        ("there is no function \"now\"", "Now"),
        ("now() gives another result at every run", "Now"),
        ("LIMIT would cut across subjects", "LIMIT"),
    ] {
        let (at, length) = culprit(text, message).unwrap();
        assert_eq!(&text[at..at + length], word);
    }
    assert_eq!(culprit(text, "an empty UNION"), None);
}

/// Nothing of DataFusion's own words, and the place where the text names it.
#[tokio::test]
async fn what_is_wrong_with_an_expression_is_said_and_located() {
    let column = |name: &'static str, array: arrow::array::ArrayRef| (name, array, true);
    let rows = RecordBatch::try_from_iter_with_nullable([
        column("value", Arc::new(StringArray::from(vec!["a"]))),
        column("number", Arc::new(Int64Array::from(vec![1]))),
        column("名", Arc::new(Int64Array::from(vec![1]))),
    ])
    .unwrap();
    for (text, said, at) in [
        (
            "valeu = 1",
            "there is no column \"valeu\"; did you mean `value`?",
            Some(0),
        ),
        (
            "value = 'x' and t.nubmer = 1",
            "there is no column \"nubmer\"; did you mean `number`?",
            Some(18),
        ),
        (
            "value = \"abc\"",
            "there is no column \"abc\"; known: `value`, `number`, `名`",
            Some(9),
        ),
        (
            "名 = 1 and lenght(value) = 1",
            "there is no function \"lenght\"; did you mean `length`?",
            Some(11),
        ),
        ("value = ", "an expression is expected, not the end", Some(6)),
        (
            "value = 'a' number",
            "end of expression is expected, not `number`",
            Some(12),
        ),
        ("value = 'abc", "a text has no quote at its end", Some(8)),
        ("value @ 1", "an operator is expected", Some(6)),
        ("value", "it is not true or false for a row: it is a text", None),
        (
            "number + 1",
            "it is not true or false for a row: it is a whole number",
            None,
        ),
        (
            "value = true",
            "a text and true or false cannot be compared by `=`",
            None,
        ),
        (
            "value + 1 > 2",
            "a text and a whole number cannot be put together by `+`",
            None,
        ),
        ("value like 3", "`like` compares texts", None),
        ("not value", "`not` is of what is true or false, not of a text", None),
        (
            "sum(number) > 1",
            "it needs more than one row: an aggregate or window function stands in it",
            Some(0),
        ),
        (
            "upper(value, 1) = 'a'",
            "upper() takes other arguments: another number of them, or other types",
            Some(0),
        ),
        (
            "number = 'secret'",
            "a value in it does not fit the type that it is compared with; use try_cast",
            None,
        ),
        ("substr(value) = 'a'", "it does not fit the columns", None),
    ] {
        let told = filter(rows.clone(), text).await.unwrap_err().to_string();
        let mut lines = told.lines();
        assert_eq!(
            lines.next().unwrap(),
            format!("the expression cannot be used: {said}"),
            "{text}"
        );
        if let Some(at) = at {
            assert_eq!(lines.next().unwrap(), format!("    {text}"), "{told}");
            assert_eq!(lines.next().unwrap(), format!("    {}^", " ".repeat(at)), "{told}");
        }
        assert!(
            lines.next().unwrap().starts_with("  write a SQL expression") && lines.next().is_none(),
            "{told}"
        );
    }
    assert_eq!(filter(rows, "名 = 1 and value == 'a'").await.unwrap().num_rows(), 1);
}
