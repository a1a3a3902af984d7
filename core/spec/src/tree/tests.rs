//! Positions, limits and refusals of the YAML layer.

use super::*;
use crate::SourceFile;
use clinmill_model::Diagnostic;

fn read(text: &str) -> (Option<Node>, Vec<Diagnostic>) {
    let source = SourceFile::new("p.yaml", text);
    let mut report = Report::new(&source);
    let node = parse(&mut report);
    (node, report.finish())
}

/// The codes found, each with line and column.
fn found(text: &str) -> Vec<(String, u32, u32)> {
    let places = read(text).1.into_iter().map(|d| {
        let (line, column) = d.place.map_or((0, 0), |p| (p.line, p.column));
        (d.code, line, column)
    });
    places.collect()
}

fn one(code: &str, line: u32, column: u32) -> Vec<(String, u32, u32)> {
    vec![(code.to_owned(), line, column)]
}

/// Every scalar and key with what is written at its span.
fn spans(node: &Node, text: &str, out: &mut Vec<(String, String)>) {
    match &node.kind {
        Kind::Invalid => {}
        Kind::Scalar(s) => out.push((s.text.clone(), text[node.span.start..node.span.end].to_owned())),
        Kind::Sequence(items) => items.iter().for_each(|i| spans(i, text, out)),
        Kind::Mapping(entries) => {
            for e in entries {
                out.push((e.key.clone(), text[e.key_span.start..e.key_span.end].to_owned()));
                spans(&e.value, text, out);
            }
        }
    }
}

#[test]
fn spans_are_bytes() {
    for text in [
        "实验室: 结果\nb: { 甲: [乙, 丙], d: 𠮷 }\n",
        "\u{feff}# 注释\r\n病案号: 'x'\r\n列表:\r\n  - 甲\r\n  - b\r\n",
        "a: 1\r病案号: 'x'\r列表:\r  - 甲\r  - b\r",
    ] {
        let (node, diagnostics) = read(text);
        assert_eq!(diagnostics, []);
        let mut all = Vec::new();
        spans(&node.unwrap(), text, &mut all);
        assert!(all.len() >= 5);
        for (value, written) in all {
            assert_eq!(value, written.trim_matches('\''));
        }
    }
}

#[test]
fn a_lone_carriage_return_ends_a_line() {
    assert_eq!(found("a: 1\rb: 2\rb: 3\r"), one(codes::DUPLICATE_KEY, 3, 1));
    assert_eq!(found("a: 1\rb:\r\tc: 1\r"), one(codes::TAB, 3, 1));
    let hint = read("a: 1\rb:2\rc: 1\r").1[0].hint.clone();
    assert_eq!(hint.as_deref(), Some("a space is missing behind the `:` in line 2"));
}

#[test]
fn a_block_scalar_begins_with_its_header() {
    let text = "键: 1\nsql: |\n  select 甲\n  from t\nnext: 1\n";
    let (node, _) = read(text);
    let Kind::Mapping(entries) = node.unwrap().kind else {
        panic!()
    };
    let sql = &entries[1].value;
    let Kind::Scalar(scalar) = &sql.kind else { panic!() };
    let file = SourceFile::new("f", text);
    let part = file.within(sql.span, &scalar.text, scalar.text.find("from").unwrap(), 4);
    assert_eq!(file.slice(part), "from");
    assert_eq!(file.place(part).line, 4);
}

#[test]
fn an_absent_value_is_at_its_key() {
    let text = "a:\n\n\nb: 1\n";
    let Kind::Mapping(entries) = read(text).0.unwrap().kind else {
        panic!()
    };
    assert_eq!(entries[0].value.span, entries[0].key_span);
    assert!(entries[0].value.is_null());
}

#[test]
fn what_is_not_yaml_is_located() {
    assert_eq!(found("a:\n\tb: 1\n"), one(codes::TAB, 2, 1));
    assert_eq!(found("a:\n  b: 1\n c: 2\n")[0].0, codes::SYNTAX);
    assert_eq!(found("a:\n  b: 1\n c: 2\n")[0].1, 3);
    assert_eq!(found("a: [1, 2\nb: 3\n")[0].0, codes::SYNTAX);
    assert_eq!(found("甲: 1\n乙: \"x\n")[0].0, codes::SYNTAX);
    assert_eq!(found("a: 1\nb: x\u{0}y\n"), one(codes::CHARACTER, 2, 5));
    assert_eq!(found(""), one(codes::DOCUMENT, 1, 1));
    assert_eq!(found("a: 1\n---\nb: 2\n"), one(codes::DOCUMENT, 2, 1));
}

/// What a beginner writes, with where it is wrong and what is advised.
#[test]
fn what_is_not_yaml_says_what_to_do() {
    let cases = [
        ("a:\n\tb: 1\n", codes::TAB, 2, 1, "use spaces"),
        ("a:\n  b: 1\n  \tc: 1\n", codes::TAB, 3, 3, "use spaces"),
        ("a: {\n\tb: 1 }\n", codes::TAB, 2, 1, "use spaces"),
        ("a:\tb\n", codes::TAB, 1, 3, "use spaces"),
        ("a: @b\n", codes::SYNTAX, 1, 4, "begins with `@` must be in quotes"),
        ("a: `b`\n", codes::SYNTAX, 1, 4, "begins with ``` must be in quotes"),
        ("a: %b\n", codes::SYNTAX, 1, 4, "begins with `%` must be in quotes"),
        ("a: { b: *.csv }\n", codes::ALIAS, 1, 9, "in quotes"),
        ("a: 周报: 检验\n", codes::SYNTAX, 1, 6, "holds `: ` must be in quotes"),
        ("a：1\nb: 2\n", codes::SYNTAX, 2, 2, "line 1 has a full-width `：`"),
        ("a: { b: 1， c: 2 }\n", codes::SYNTAX, 1, 13, "full-width `，`"),
        ("a:\n  b:1\n  c: 2\n", codes::SYNTAX, 3, 4, "behind the `:` in line 2"),
        (
            "a:\n   b: 1\n\n    c: 2\n",
            codes::SYNTAX,
            4,
            6,
            "this line and of line 2",
        ),
        ("a:\n  b: 1\n c: 2\n", codes::SYNTAX, 3, 2, "this line and of line 2"),
        ("a: \"x\nb: 1\n", codes::SYNTAX, 1, 4, "a quote is missing"),
        ("a: { b: 1\nc: 2\n", codes::SYNTAX, 2, 2, "missing or too many"),
        ("a: { b: ${C} }\n", codes::SYNTAX, 1, 10, "in quotes"),
    ];
    let wrong = cases.into_iter().filter_map(|(text, code, line, column, advice)| {
        let said = read(text).1;
        let holds = said
            .iter()
            .any(|d| d.hint.as_ref().is_some_and(|hint| hint.contains(advice)));
        (found(text) != one(code, line, column) || !holds).then(|| format!("{text:?}: {said:?}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn duplicate_keys_are_found_at_any_depth() {
    let text = "a: 1\n结: { x: 1, y: 2, x: [3] }\na: { b: 1, b: 2 }\n";
    let places = found(text);
    assert_eq!(places.len(), 3);
    assert_eq!(places[0], (codes::DUPLICATE_KEY.into(), 2, 18));
    assert_eq!(places[1], (codes::DUPLICATE_KEY.into(), 3, 1));
    assert_eq!(places[2], (codes::DUPLICATE_KEY.into(), 3, 12));
}

#[test]
fn tags_aliases_and_complex_keys_are_refused() {
    assert_eq!(found("a: !!str 5\n")[0].0, codes::TAG);
    assert_eq!(found("a: &x 5\nb: *x\n"), one(codes::ALIAS, 2, 4));
    assert_eq!(found("? [1, 2]\n: 3\n")[0].0, codes::COMPLEX_KEY);
    assert_eq!(found("a: &x 5\n*x : 3\n")[0].0, codes::ALIAS);
}

#[test]
fn bombs_cost_little() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..40 {
        let inner = vec![format!("*a{}", i - 1); 9].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{inner}]\n"));
    }
    assert!(
        found(&bomb)
            .iter()
            .all(|f| f.0 == codes::ALIAS || f.0 == codes::TOO_MANY)
    );

    assert_eq!(found(&format!("a: {}", "[".repeat(500_000)))[0].0, codes::TOO_COMPLEX);
    let blocks: String = (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    assert_eq!(
        found(&blocks),
        one(codes::TOO_COMPLEX, MAX_DEPTH as u32 + 1, MAX_DEPTH as u32 + 1)
    );
    assert_eq!(
        found(&format!("[{}]", "1,".repeat(MAX_NODES + 1)))[0].0,
        codes::TOO_COMPLEX
    );
    assert_eq!(found(&"#".repeat(MAX_BYTES + 1)), one(codes::TOO_LARGE, 1, 1));
}

#[test]
fn deepest_accepted_nesting() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(found(&nested(MAX_DEPTH)), []);
    assert_eq!(found(&nested(MAX_DEPTH + 1))[0].0, codes::TOO_COMPLEX);
}
