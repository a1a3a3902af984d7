//! The second pass: record kinds, SQL, circles, order.

use super::*;
use crate::{codes, resolve};

fn kinds(source: &str) -> Option<Vec<String>> {
    match source {
        "lis" => Some(vec![String::new()]),
        "adt" => Some(vec!["visit".into(), "person".into()]),
        _ => None,
    }
}

/// What a test takes for SQL: the words after `from` and `join`.
fn sql_tables(sql: &str) -> Result<Vec<String>, (usize, String)> {
    if let Some(at) = sql.find("slect") {
        return Err((at, "a query was expected".into()));
    }
    let words: Vec<&str> = sql.split_whitespace().collect();
    Ok(words
        .windows(2)
        .filter(|w| w[0] == "from" || w[0] == "join")
        .map(|w| w[1].trim_matches('"').to_owned())
        .collect())
}

const ADT: &str = "  adt: { plugin: hl7v2, inputs: { glob: b } }\n";

/// The findings of both passes, and the order of transforms.
fn both(transforms: &str, tables: &str) -> (Vec<(String, String)>, Vec<String>, Vec<String>) {
    let text = small(ADT, transforms, tables);
    let mut loaded = read(&text);
    let first = loaded.diagnostics;
    let pipeline = loaded.pipeline.as_mut().unwrap();
    let second = resolve(pipeline, &loaded.source, &kinds, &sql_tables);
    let all: Vec<Diagnostic> = first.into_iter().chain(second).collect();
    let found = places(&all, &text)
        .into_iter()
        .map(|(code, _, _, text)| (code, text))
        .collect();
    let order = pipeline.transforms.iter().map(|t| t.name.value.clone()).collect();
    (found, order, all.into_iter().map(|d| d.message).collect())
}

fn is(transforms: &str, tables: &str, code: &str, text: &str) {
    assert_eq!(both(transforms, tables).0, [(code.to_owned(), text.to_owned())]);
}

#[test]
fn transforms_come_after_what_they_read() {
    let (found, order, _) = both(
        "  d: { sql: select 1 from c join lis }\n  c: { union: [a, b] }\n  b: { from: a }\n  a: { from: adt.visit }\n",
        "  r: { from: d }\n",
    );
    assert_eq!(found, []);
    assert_eq!(order, ["a", "b", "c", "d"]);
}

#[test]
fn circles_are_named_once() {
    let circle = "  a: { from: c }\n  b: { from: a }\n  c: { from: b }\n  d: { from: a }\n";
    let (found, order, messages) = both(circle, "  r: { from: lis }\n");
    assert_eq!(found, [(codes::CYCLE.to_owned(), "c".to_owned())]);
    assert_eq!(
        messages,
        ["these transforms read each other in a circle: `a` reads `c` reads `b` reads `a`"]
    );
    assert_eq!(order.len(), 4);

    let (found, _, messages) = both(
        "  a: { sql: select 1 from b }\n  b: { from: a }\n",
        "  r: { from: lis }\n",
    );
    assert_eq!(found, [(codes::CYCLE.to_owned(), "b".to_owned())]);
    assert_eq!(
        messages,
        ["these transforms read each other in a circle: `a` reads `b` reads `a`"]
    );

    let (found, _, messages) = both("  a: { from: a }\n", "  r: { from: lis }\n");
    assert_eq!(found, [(codes::CYCLE.to_owned(), "a".to_owned())]);
    assert_eq!(messages, ["the transform `a` reads itself"]);
}

#[test]
fn kinds_are_checked() {
    is("  a: { from: adt }\n", "  r: { from: a }\n", codes::KIND_NEEDED, "adt");
    is(
        "  a: { from: adt.vist }\n",
        "  r: { from: a }\n",
        codes::UNKNOWN_KIND,
        "adt.vist",
    );
    is(
        "  a: { from: lis.x }\n",
        "  r: { from: a }\n",
        codes::UNKNOWN_KIND,
        "lis.x",
    );
    is(
        "  a: { from: lis }\n",
        "  r: { from: adt.persn }\n",
        codes::UNKNOWN_KIND,
        "adt.persn",
    );
    is(
        "  a: { from: lis }\n",
        "  r: { from: a.b }\n",
        codes::UNKNOWN_KIND,
        "a.b",
    );
}

#[test]
fn sql_is_located() {
    let sql = |text: &str| format!("  a:\n    sql: |\n      select 甲 from lis\n      {text}\n");
    is(
        &sql("join missing"),
        "  r: { from: a }\n",
        codes::UNKNOWN_NAME,
        "missing",
    );
    is(
        &sql("join \"adt.vist\""),
        "  r: { from: a }\n",
        codes::UNKNOWN_KIND,
        "adt.vist",
    );
    is(&sql("slect"), "  r: { from: a }\n", codes::BAD_SQL, "s");
}

#[test]
fn subjects_do_not_read_the_whole_dataset() {
    is(
        "  a: { from: lis, scope: dataset }\n  b: { from: a }\n",
        "  r: { from: b }\n",
        codes::SCOPE_ORDER,
        "a",
    );
    assert_eq!(
        both(
            "  a: { from: lis, scope: dataset }\n  b: { from: a, scope: dataset }\n",
            "  r: { from: b }\n"
        )
        .0,
        []
    );
}

#[test]
fn names_of_broken_entries_are_known() {
    let text = small(
        "  bad: { inputs: { glob: a } }\n",
        "  t: { from: bad }\n",
        "  r: { from: t }\n",
    );
    let loaded = read(&text);
    assert_eq!(
        loaded.diagnostics.iter().map(|d| d.code.as_str()).collect::<Vec<_>>(),
        [codes::MISSING_KEY]
    );
    let mut pipeline = loaded.pipeline.unwrap();
    let found = resolve(&mut pipeline, &loaded.source, &|_| None, &|_| Ok(vec![]));
    assert_eq!(found.len(), 0, "{found:?}");
}

#[test]
fn a_long_chain_is_sorted() {
    let chain: String = (0..3000)
        .rev()
        .map(|i| format!("  t{i}: {{ from: t{} }}\n", i + 1))
        .collect();
    let (found, order, _) = both(&format!("{chain}  t3000: {{ from: lis }}\n"), "  r: { from: t0 }\n");
    assert_eq!(found, []);
    assert_eq!(order.last().unwrap(), "t0");
}
