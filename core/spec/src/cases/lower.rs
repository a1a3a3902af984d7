//! The tree of a test file to [`Case`]s.

use super::{Case, Expected, FileContent, Given, GivenData, GivenFile, Row, Slot, Value};
use crate::{
    codes,
    keys::{CASE, CASES, EXPECTED, GIVEN, GIVEN_FILE},
    lower::{Fields, entries, loose_text, text, wrong_type},
    pipeline::{Span, Spanned},
    report::{Report, quoted},
    text::line_start,
    tree::{Entry, Kind, Node},
};
use clinmill_model::columns::SUBJECT_ID;
use std::collections::BTreeMap;

/// What a given row may say beside its columns.
const META: [&str; 3] = [SUBJECT_ID, "_version", "_void"];

pub(super) fn file(root: &Node, name: &str, report: &mut Report<'_>) -> Vec<Case> {
    let several = matches!(&root.kind, Kind::Mapping(entries) if entries.iter().any(|e| e.key == "tests"));
    if !several {
        let name = Spanned {
            value: name.to_owned(),
            span: root.span,
        };
        return case(name, root, report).into_iter().collect();
    }
    let Some(fields) = Fields::open(root, "the test file", root.span, CASES, report) else {
        return Vec::new();
    };
    let tests = fields
        .entry("tests")
        .and_then(|e| entries(&e.value, "`tests`", report))
        .unwrap_or_default();
    tests
        .iter()
        .filter_map(|entry| case(key(entry), &entry.value, report))
        .collect()
}

fn key(entry: &Entry) -> Spanned<String> {
    Spanned {
        value: entry.key.clone(),
        span: entry.key_span,
    }
}

fn case(name: Spanned<String>, node: &Node, report: &mut Report<'_>) -> Option<Case> {
    let what = format!("the test {}", quoted(&name.value));
    let fields = Fields::open(node, &what, name.span, CASE, report)?;
    let now = fields.text("now", report).and_then(|now| match now.value.parse() {
        Ok(now) => Some(now),
        Err(_) => {
            let hint = Some("write it with its offset, such as 2026-03-16T08:00:00+08:00".to_owned());
            let message = format!("{} is not a time", quoted(&now.value));
            report.hinted(codes::CASE_TIME, now.span, message, hint);
            None
        }
    });
    let listed = |key: &str, report: &mut Report<'_>| {
        let entry = fields.entry(key).filter(|e| !e.value.is_null())?;
        entries(&entry.value, &format!("`{key}`"), report)
    };
    let given = listed("given", report).unwrap_or_default();
    let given = given.iter().filter_map(|entry| one_given(entry, report)).collect();
    let expect = listed("expect", report).unwrap_or_default();
    if expect.is_empty()
        && let Some(entry) = fields.entry("expect")
    {
        let hint = Some("name a step and what it is to give: `labs: { count: 3 }`".to_owned());
        let message = format!("{what} expects nothing");
        report.hinted(codes::CASE_EMPTY, entry.key_span, message, hint);
    }
    let expect = expect.iter().filter_map(|entry| expected(entry, report)).collect();
    Some(Case {
        name,
        now,
        given,
        expect,
    })
}

fn one_given(entry: &Entry, report: &mut Report<'_>) -> Option<Given> {
    let name = key(entry);
    let data = match &entry.value.kind {
        Kind::Sequence(items) => GivenData::Rows(rows(items, report)),
        Kind::Mapping(_) => {
            let what = format!("what is given to {}", quoted(&name.value));
            let fields = Fields::open(&entry.value, &what, name.span, GIVEN, report)?;
            let files = fields.entry("files")?;
            let files = entries(&files.value, "`files`", report)?;
            GivenData::Files(files.iter().filter_map(|f| file_of(f, report)).collect())
        }
        Kind::Invalid => return None,
        Kind::Scalar(_) => {
            let hint = Some("write a list of rows, or `files:` with their contents".to_owned());
            let message = format!("{} is given neither rows nor files", quoted(&name.value));
            report.hinted(codes::CASE_GIVEN, entry.value.span, message, hint);
            return None;
        }
    };
    Some(Given { name, data })
}

fn file_of(entry: &Entry, report: &mut Report<'_>) -> Option<GivenFile> {
    let path = key(entry);
    let what = format!("the file {}", quoted(&path.value));
    let content = match &entry.value.kind {
        Kind::Mapping(_) => {
            let fields = Fields::open(&entry.value, &what, path.span, GIVEN_FILE, report)?;
            let encoding = fields.text("encoding", report);
            match (fields.text("from", report), fields.text("text", report)) {
                (Some(from), None) => FileContent::Copy(from),
                (None, Some(text)) => FileContent::Text(text.value, encoding),
                _ => {
                    let message = format!("{what} needs exactly one of `text`, `from`");
                    let hint = "write the file's `text`, or `from` and a path that it is copied from".to_owned();
                    report.hinted(codes::EXACTLY_ONE, path.span, message, Some(hint));
                    return None;
                }
            }
        }
        _ => FileContent::Text(loose_text(&entry.value, &what, report)?.value, None),
    };
    Some(GivenFile { path, content })
}

fn rows(items: &[Node], report: &mut Report<'_>) -> Vec<Row> {
    items.iter().filter_map(|item| row(item, report)).collect()
}

fn row(node: &Node, report: &mut Report<'_>) -> Option<Row> {
    let listed = entries(node, "a row", report)?;
    let mut values = Vec::new();
    for entry in listed {
        let text = match entry.value.is_null() {
            true => None,
            false => match loose_text(&entry.value, &format!("the column {}", quoted(&entry.key)), report) {
                Some(text) => Some(text.value),
                None => continue,
            },
        };
        values.push(Value {
            column: key(entry),
            text,
            span: entry.value.span,
        });
    }
    Some(Row {
        span: listed.first().map_or(node.span, |e| e.key_span),
        values,
    })
}

/// True for what a given row may say that is no column of its record.
pub fn is_meta(column: &str) -> bool {
    META.contains(&column)
}

fn expected(entry: &Entry, report: &mut Report<'_>) -> Option<Expected> {
    let step = key(entry);
    let what = format!("what is expected of {}", quoted(&step.value));
    let fields = Fields::open(&entry.value, &what, step.span, EXPECTED, report)?;
    let flow = report.source.slice(entry.value.span).starts_with('{');
    let rows = fields.entry("rows").and_then(|e| {
        let value = match &e.value.kind {
            Kind::Sequence(items) => Some(rows(items, report)),
            _ if e.value.is_null() => None,
            _ => {
                wrong_type(&e.value, "`rows`", "a list of rows", report);
                return None;
            }
        };
        Some(slot(e, value, flow, report))
    });
    let count = fields.entry("count").and_then(|e| {
        let value = number(&e.value, "`count`", report)?;
        Some(slot(e, value, flow, report))
    });
    let numbers = |key: &str, report: &mut Report<'_>| {
        let e = fields.entry(key)?;
        let mut value = BTreeMap::new();
        if !e.value.is_null() {
            for n in entries(&e.value, &format!("`{key}`"), report)? {
                value.insert(n.key.clone(), number(&n.value, &quoted(&n.key), report)?);
            }
        }
        Some(slot(e, value, flow, report))
    };
    let counts = numbers("counts", report);
    let rejects = numbers("rejects", report);
    let schema = fields.entry("schema").and_then(|e| {
        let mut value = Vec::new();
        if !e.value.is_null() {
            for column in entries(&e.value, "`schema`", report)? {
                let kind = text(&column.value, &format!("the type of {}", quoted(&column.key)), report)?;
                value.push((column.key.clone(), kind.value));
            }
        }
        Some(slot(e, value, flow, report))
    });
    if fields.entries().is_empty() {
        let hint = Some("say `rows`, `count`, `counts`, `rejects` or `schema`".to_owned());
        report.hinted(codes::CASE_EMPTY, step.span, format!("{what} is nothing"), hint);
    }
    Some(Expected {
        step,
        rows,
        count,
        counts,
        rejects,
        schema,
    })
}

fn number(node: &Node, what: &str, report: &mut Report<'_>) -> Option<u64> {
    match node.json().as_u64() {
        Some(n) => Some(n),
        None => {
            if !matches!(node.kind, Kind::Invalid) {
                wrong_type(node, what, "a number from 0", report);
            }
            None
        }
    }
}

fn slot<T>(entry: &Entry, value: T, flow: bool, report: &Report<'_>) -> Slot<T> {
    let text = report.source.text();
    let from_key = text.get(entry.key_span.end..).unwrap_or_default();
    // The key may be quoted: what counts is the colon after it.
    let start = entry.key_span.end + from_key.find(':').map_or(0, |at| at + 1);
    let line = line_start(text.get(..entry.key_span.start).unwrap_or_default());
    Slot {
        value,
        key: entry.key_span,
        written: Span {
            start,
            end: end_of(&entry.value, report).max(start),
        },
        indent: (!flow).then(|| entry.key_span.start - line),
    }
}

/// Where a value ends as it is written: the library counts what follows a block, up to the next token, to it.
fn end_of(node: &Node, report: &Report<'_>) -> usize {
    let written = report.source.slice(node.span);
    let last = match &node.kind {
        Kind::Sequence(items) if !written.starts_with('[') => items.last(),
        Kind::Mapping(listed) if !written.starts_with('{') => listed.last().map(|e| &e.value),
        _ => None,
    };
    last.map_or(node.span.end, |last| end_of(last, report))
}
