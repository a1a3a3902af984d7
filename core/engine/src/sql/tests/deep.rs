//! Queries that are too deep are refused before anything goes down them.

use super::*;
use crate::sql::deep::{OPERATORS, RELATIONS};

fn chain(part: &str, by: &str, times: usize) -> String {
    vec![part; times + 1].join(by)
}

/// Chains so long that the process would end.
#[test]
fn a_chain_that_is_too_long_is_refused() {
    let brackets = |n: usize| format!("({}) or {}", chain("a", " + ", n), chain("b = 1", " or ", n));
    for text in [
        chain("a = 0", " or ", 20_000),
        chain("a = 0", "\nand ", 20_000),
        chain("a", " + ", 20_000),
        chain("a", "||", 20_000),
        format!("a{} = 1", "::bigint".repeat(20_000)),
        format!("a{}", "::timestamp with time zone".repeat(20_000)),
        format!("a{}", " is null".repeat(20_000)),
        format!("a{}", " is distinct from b".repeat(20_000)),
        format!("a{}", "[1]".repeat(20_000)),
        format!("a{}", " collate b".repeat(20_000)),
        format!("a{}", " at time zone 'x'".repeat(20_000)),
        format!("a{}", " between 1 and 2".repeat(20_000)),
        format!("case when a then {} end = 1", chain("a", "-", 20_000)),
        format!("f({}) = 1", chain("a", "*", 20_000)),
        brackets(OPERATORS / 2 + 1),
    ] {
        let (at, message) = expression(&text).unwrap_err();
        assert!(message.starts_with("it has more than 500 operators"), "{message}");
        assert!(at > OPERATORS && at < text.len() - 1, "{at}");
        let (_, message) = tables(&format!("select {text} as x from t")).unwrap_err();
        assert!(message.starts_with("it has more than 500 operators"), "{message}");
        assert!(query(&format!("select a from t where {text}")).is_err());
    }
    let (at, _) = expression(&format!("血 = 1 or {}", chain("a", "\n+", OPERATORS + 1))).unwrap_err();
    assert_eq!(at, "血 = 1 or ".len() + 3 * (OPERATORS - 2) + 2);
}

/// What is long without being deep, and what is as deep as may be.
#[test]
fn what_is_long_is_not_deep() {
    let cases = " when a = 1 and b <> 'x' then a + 1".repeat(2_000);
    for text in [
        format!("a in ({})", chain("-1", ", ", 5_000)),
        format!("case{cases} else 0 end = 1"),
        format!("case a{} end = 1", " when 'a' then 'b' || 'c'".repeat(2_000)),
        format!("coalesce({}) = 1", chain("a * 2", ", ", 2_000)),
        chain("a", " + ", 200),
    ] {
        assert_eq!(expression(&text), Ok(()), "{}", &text[..60]);
    }
    let columns = chain("a + 1 as b", ", ", 2_000);
    let sql = format!("select {columns} from t join u on t.a = u.a and t.b = u.b where a = 1 or b = 2");
    assert_eq!(tables(&sql), Ok(vec!["t".to_owned(), "u".to_owned()]));
}

#[test]
fn relations_that_are_too_many_are_refused() {
    let withs: Vec<String> = (0..20_000)
        .map(|i| format!("t{} as (select a from t{i})", i + 1))
        .collect();
    for text in [
        chain("select a from t", " union all ", 20_000),
        format!("select a from t{}", " join u using (a)".repeat(20_000)),
        format!("select a from {}", chain("t", ", ", 20_000)),
        format!("with {} select * from t9", withs.join(", ")),
        chain("values (1)", " except ", 20_000),
    ] {
        let (at, message) = tables(&text).unwrap_err();
        assert!(message.starts_with("it puts more than 500 relations"), "{message}");
        assert!(at >= RELATIONS && at < text.len(), "{at}");
    }
}

/// What a `with` names is planned once for each time it is read.
#[test]
fn names_of_with_stand_for_what_they_name() {
    let doubled = |n: usize, by: &str| {
        let steps: Vec<String> = (1..=n)
            .map(|i| format!("C{i} as (select * from c{0} {by} c{0})", i - 1))
            .collect();
        format!("with c0 as (select * from t), {} select * from c{n}", steps.join(", "))
    };
    for by in ["union all select * from", "join"] {
        for n in [9, 24, 70] {
            let text = doubled(n, by);
            let (at, message) = tables(&text).unwrap_err();
            assert!(message.starts_with("it puts more than 500 relations"), "{message}");
            assert!(at > 0 && at < text.len(), "{at}");
        }
    }
    assert_eq!(tables(&doubled(5, "union all select * from")), Ok(vec!["t".to_owned()]));
    let steps: Vec<String> = (1..=200)
        .map(|i| format!("c{i} as (select * from c{})", i - 1))
        .collect();
    let text = format!("with c0 as (select * from t), {} select * from c200", steps.join(", "));
    assert_eq!(tables(&text), Ok(vec!["t".to_owned()]));
    let endless = "with recursive n as (select 1 as k union all select k + 1 from n) select k from n";
    let (at, message) = tables(endless).unwrap_err();
    assert!(at == 0 && message.starts_with("`with recursive`"), "{at}: {message}");
}

/// Each step of a chain asked for the types of all before it, which took the third power of its length: a dozen times as long.
#[test]
fn whole_numbers_are_planned_in_time() {
    let planned = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sql = format!("select {} as s from labs", chain("v", " + ", OPERATORS - 20));
        let begin = std::time::Instant::now();
        let relations = relations();
        let plan = SqlStep::plan(&sql, SqlScope::Subject, &relations);
        assert_eq!(
            runtime.block_on(plan).unwrap().output().field(0).data_type(),
            &DataType::Int64
        );
        begin.elapsed()
    };
    // Without optimization the steps of DataFusion are wide.
    let thread = std::thread::Builder::new()
        .stack_size(256 << 20)
        .spawn(planned)
        .unwrap();
    let taken = thread.join().unwrap();
    assert!(taken < std::time::Duration::from_secs(8), "{taken:?}");
}
