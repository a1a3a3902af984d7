//! What is wrong with a condition or a query whatever the columns are, and where.

use super::*;

#[test]
fn conditions_are_of_one_row_and_of_no_other_query() {
    for (text, at, said) in [
        ("exists (from t)", "from t", "a query within"),
        ("exists(values(1))", "values", "a query within"),
        ("a in (values (5))", "values", "a query within"),
        ("a = (select 1)", "select 1", "a query within"),
        ("a = any (select 1)", "select 1", "a query within"),
        ("row_number() over () = 1", "row_number", "more than one row"),
        ("a = 1 and sum(b) over () > 1", "sum", "more than one row"),
        ("a = 1 and Sum(b) > 1", "Sum", "more than one row"),
        ("not (rank() = 1)", "rank", "more than one row"),
        ("a = $1", "$1", "`$1` stands for a value"),
        ("a = ?", "?", "`?` stands for a value"),
        ("b is null\nor a = :a", ":a", "`:a` stands for a value"),
        ("random() < 0.5", "random", "random() gives another result"),
        ("b is null or a < now()", "now", "now() gives another result"),
        (
            "a < current_date",
            "current_date",
            "current_date() gives another result",
        ),
        (
            "previous.t.x = 5",
            "previous",
            "there is no column \"previous.t.x\"; did you mean x?",
        ),
        ("a = 1 and select = 'a'", "select", "in quotes: \"select\""),
        ("select = 'a'", "select", "in quotes: \"select\""),
    ] {
        let Err((offset, message)) = expression(text) else {
            panic!("{text} is read");
        };
        assert!(text[offset..].starts_with(at), "{text}: {offset} {message}");
        assert!(message.contains(said), "{text}: {message}");
    }
    for text in [
        "\"select\" = 'a' and t.x = 1",
        "a in (1, 2) and b between 1 and 2",
        "coalesce(a, 1) = greatest(b, 2)",
        "substring(a from 1 for 2) = 'a'",
        "extract(year from a) > 2000",
    ] {
        assert_eq!(expression(text), Ok(()), "{text}");
    }
    for sql in ["select a from t where b = $1", "select a from t where b = ?"] {
        let (offset, message) = tables(sql).unwrap_err();
        assert_eq!(
            offset,
            sql.len() - sql.split(' ').next_back().unwrap().len(),
            "{message}"
        );
        assert!(query(sql).unwrap_err().1.contains("stands for a value"));
    }
    assert!(query("select a from t where b > (select avg(b) from t) and c < now()").is_ok());
}

/// Who looks at rows may ask for those of the last days.
#[tokio::test]
async fn rows_are_looked_at_by_the_clock() {
    let column = Arc::new(StringArray::from(vec!["a"])) as arrow::array::ArrayRef;
    let rows = RecordBatch::try_from_iter([("a", column)]).unwrap();
    assert_eq!(
        filter(rows.clone(), "now() > '2020-01-01' and a = 'a'")
            .await
            .unwrap()
            .num_rows(),
        1
    );
    for (text, said) in [
        (
            "a in (values ('a'))",
            "a query within a condition cannot be run\n    a in (values ('a'))\n          ^\n",
        ),
        (
            "a = $1",
            "`$1` stands for a value that nobody gives; write the value\n    a = $1\n        ^\n",
        ),
        (
            "u.a = 'a'",
            "there is no column \"u.a\"; did you mean a?\n    u.a = 'a'\n    ^\n",
        ),
    ] {
        let told = filter(rows.clone(), text).await.unwrap_err().to_string();
        assert!(
            told.contains(&format!("the expression cannot be used: {said}")),
            "{told}"
        );
    }
}
