//! One entry of `gates`, and the small values that gates and columns share.

use super::{
    Context,
    fields::{Fields, loose_text, lower_first, wrong_type},
};
use crate::{
    codes,
    keys::{CHECKS, GATE, ON_FAIL, check_keys},
    pipeline::{Check, ColumnRef, Gate, OnFail, Spanned},
    report::{Report, hint, quoted},
    tree::{Kind, Node},
    values,
};

type Bounds = (Option<f64>, Option<f64>);

pub(super) fn lower(name: Spanned<String>, node: &Node, context: &mut Context<'_, '_>) -> Option<Gate> {
    let what = format!("the gate {}", quoted(&name.value));
    let report = &mut *context.report;
    let fields = Fields::open(node, &what, name.span, GATE, report)?;
    let on_fail = match fields.choice("on_fail", ON_FAIL, report) {
        Some(word) if word.value == "warn" => OnFail::Warn,
        _ => OnFail::Block,
    };
    let check = fields.choice("check", CHECKS, report)?;
    let (taken, needed) = check_keys(check.value);
    let mut whole = true;
    for entry in fields.entries() {
        let key = entry.key.as_str();
        let known = GATE.iter().any(|k| k.name == key);
        if known && !matches!(key, "check" | "on_fail") && !taken.contains(&key) {
            let message = format!("the check `{}` takes no `{key}`", check.value);
            let hint = hint(key, taken.iter().copied());
            report.hinted(codes::NOT_FOR_CHECK, entry.key_span, message, hint);
            whole = false;
        }
    }
    for key in needed.iter().filter(|key| fields.entry(key).is_none()) {
        let doc = GATE.iter().find(|k| k.name == *key).map(|k| k.doc.to_owned());
        let message = format!("the check `{}` needs `{key}`", check.value);
        report.hinted(codes::MISSING_KEY, check.span, message, doc);
        whole = false;
    }
    let at_least = match fields.entry("at_least") {
        None => 1.0,
        Some(_) => share(&fields, "at_least", report)?,
    };
    let filter = fields.text("where", report);
    if !whole {
        return None;
    }
    let check = self::check(check, &fields, report)?;
    Some(Gate {
        name,
        check,
        filter,
        at_least,
        on_fail,
    })
}

fn check(word: Spanned<&'static str>, fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Check> {
    Some(match word.value {
        "not_null" => Check::NotNull(column(fields, "column", report)?),
        "unique" => Check::Unique(columns(word, fields, report)?),
        "foreign_key" => Check::ForeignKey(column(fields, "column", report)?, column(fields, "to", report)?),
        "values" => Check::Values(column(fields, "column", report)?, texts(fields, "values", report)?),
        "range" => Check::Range(
            column(fields, "column", report)?,
            bounds(fields, "range", report)?.value,
        ),
        "plausible" => plausible(word, fields, report)?,
        "unit" => {
            let (unit, per) = (column(fields, "column", report)?, column(fields, "per", report)?);
            same_table(&[unit.clone(), per.clone()], report)?;
            Check::Unit(unit, per)
        }
        "drift" => {
            let of = column(fields, "column", report)?;
            let mut by = Vec::new();
            if fields.entry("by").is_some() {
                for text in fields.texts("by", report)? {
                    by.push(column_ref(text, report)?);
                }
                let all: Vec<ColumnRef> = std::iter::once(&of).chain(&by).cloned().collect();
                same_table(&all, report)?;
            }
            Check::Drift(of, by, number(fields, "at_most", report)?)
        }
        "fresh" => {
            let within = fields.text("within", report)?;
            let Some(duration) = values::duration(&within.value) else {
                let message = format!("{} is not a duration", quoted(&within.value));
                let hint = Some("write it like `12h`, `14d` or `2w`".to_owned());
                report.hinted(codes::BAD_DURATION, within.span, message, hint);
                return None;
            };
            Check::Fresh(column(fields, "column", report)?, duration)
        }
        "row_count" => row_count(word, fields, report)?,
        _ => Check::Sql {
            sql: fields.text("sql", report)?,
            table: fields.text("table", report),
        },
    })
}

/// Exactly one of the four things that can be plausible.
fn plausible(word: Spanned<&'static str>, fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Check> {
    const KINDS: [&str; 4] = ["after", "before", "age", "sex"];
    let of = column(fields, "column", report)?;
    let given: Vec<&str> = KINDS.into_iter().filter(|k| fields.entry(k).is_some()).collect();
    let [kind] = given.as_slice() else {
        let message = "the check `plausible` needs exactly one of `after`, `before`, `age` and `sex`";
        let hint = "add what it is compared with, such as `after: person.born`".to_owned();
        report.hinted(codes::EXACTLY_ONE, word.span, message, Some(hint));
        return None;
    };
    // What goes with one of them does not go with the others.
    let partner = match *kind {
        "age" => Some("birth"),
        "sex" => Some("values"),
        _ => None,
    };
    for other in ["birth", "values"] {
        match fields.entry(other) {
            Some(entry) if partner != Some(other) => {
                let message = format!("`{kind}` takes no `{other}`");
                let hint = Some(format!("remove `{other}`"));
                report.hinted(codes::NOT_FOR_CHECK, entry.key_span, message, hint);
                return None;
            }
            None if partner == Some(other) => {
                let message = format!("`{kind}` needs `{other}`");
                let doc = GATE.iter().find(|k| k.name == other).map(|k| lower_first(k.doc));
                let hint = doc.map(|doc| format!("add `{other}`: {doc}"));
                report.hinted(codes::MISSING_KEY, word.span, message, hint);
                return None;
            }
            _ => {}
        }
    }
    Some(match *kind {
        "after" => Check::After(of, column(fields, "after", report)?),
        "before" => Check::Before(of, column(fields, "before", report)?),
        "age" => Check::Age(
            of,
            column(fields, "birth", report)?,
            bounds(fields, "age", report)?.value,
        ),
        _ => Check::Sex(of, column(fields, "sex", report)?, texts(fields, "values", report)?),
    })
}

fn row_count(word: Spanned<&'static str>, fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Check> {
    let table = fields.text("table", report)?;
    if fields.entry("rows").is_none() && fields.entry("change").is_none() {
        let message = "the check `row_count` needs `rows` or `change`";
        let hint = "add `rows: 500..` or `change: -10%..50%`".to_owned();
        report.hinted(codes::EXACTLY_ONE, word.span, message, Some(hint));
        return None;
    }
    let mut rows = (None, None);
    if fields.entry("rows").is_some() {
        let text = loose(fields, "rows", report)?;
        let Some(found) = values::range(&text.value) else {
            let message = format!("{} is not a range of numbers of rows", quoted(&text.value));
            let hint = Some("write it like `500..` or `500..2000`".to_owned());
            report.hinted(codes::BAD_RANGE, text.span, message, hint);
            return None;
        };
        rows = found;
    }
    let mut change = (None, None);
    if fields.entry("change").is_some() {
        let text = loose(fields, "change", report)?;
        let Some(found) = values::change(&text.value) else {
            let message = format!("{} is not a range of changes", quoted(&text.value));
            let hint = Some("write it like `-10%..50%` or `-5%..`".to_owned());
            report.hinted(codes::BAD_RANGE, text.span, message, hint);
            return None;
        };
        change = found;
    }
    Some(Check::RowCount { table, rows, change })
}

/// `column` or `columns` of `unique`, all of one table.
fn columns(word: Spanned<&'static str>, fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Vec<ColumnRef>> {
    let found = match (fields.entry("column"), fields.entry("columns")) {
        (Some(_), None) => vec![column(fields, "column", report)?],
        (None, Some(_)) => {
            let texts = fields.texts("columns", report)?;
            let found: Vec<_> = texts.into_iter().filter_map(|t| column_ref(t, report)).collect();
            (!found.is_empty()).then_some(found)?
        }
        _ => {
            let message = "the check `unique` needs exactly one of `column` and `columns`";
            let hint = "write `column: person.id`, or `columns: [visit.person, visit.start]`".to_owned();
            report.hinted(codes::EXACTLY_ONE, word.span, message, Some(hint));
            return None;
        }
    };
    same_table(&found, report)?;
    Some(found)
}

fn same_table(columns: &[ColumnRef], report: &mut Report<'_>) -> Option<()> {
    let first = columns.first()?;
    if let Some(other) = columns.iter().find(|c| c.table != first.table) {
        let message = format!("this column is not of the table {}", quoted(&first.table));
        let hint = format!("name columns of {} only", quoted(&first.table));
        report.hinted(codes::TWO_TABLES, other.span, message, Some(hint));
        return None;
    }
    Some(())
}

fn column(fields: &Fields<'_>, key: &str, report: &mut Report<'_>) -> Option<ColumnRef> {
    let text = fields.text(key, report)?;
    column_ref(text, report)
}

/// `table.column`.
fn column_ref(text: Spanned<String>, report: &mut Report<'_>) -> Option<ColumnRef> {
    match text.value.split_once('.') {
        Some((table, column)) if !table.is_empty() && !column.is_empty() => Some(ColumnRef {
            table: table.to_owned(),
            column: column.to_owned(),
            span: text.span,
        }),
        _ => {
            let message = format!("{} does not name a column of a table", quoted(&text.value));
            let hint = Some("write it like `measurement.value`".to_owned());
            report.hinted(codes::BAD_NAME, text.span, message, hint);
            None
        }
    }
}

fn loose(fields: &Fields<'_>, key: &str, report: &mut Report<'_>) -> Option<Spanned<String>> {
    let entry = fields.entry(key)?;
    loose_text(&entry.value, &format!("`{key}`"), report)
}

fn number(fields: &Fields<'_>, key: &str, report: &mut Report<'_>) -> Option<f64> {
    let entry = fields.entry(key)?;
    let found = entry.value.json().as_f64().filter(|n| n.is_finite() && *n >= 0.0);
    if found.is_none() && !matches!(entry.value.kind, Kind::Invalid) {
        wrong_type(
            &entry.value,
            &format!("`{key}`"),
            "a number that is not negative",
            report,
        );
    }
    found
}

/// A share such as `95%`.
pub(super) fn share(fields: &Fields<'_>, key: &str, report: &mut Report<'_>) -> Option<f64> {
    let text = loose(fields, key, report)?;
    // `1` is all, as `100%` is.
    let found = values::share(&text.value);
    if found.is_none() {
        let message = format!("`{key}` cannot be {}", quoted(&text.value));
        let hint = Some("write a share like `95%` or `0.95`".to_owned());
        report.hinted(codes::BAD_RANGE, text.span, message, hint);
    }
    found
}

fn texts(fields: &Fields<'_>, key: &str, report: &mut Report<'_>) -> Option<Vec<String>> {
    let values = scalars(fields, key, report)?;
    Some(values.into_iter().map(|v| v.value).collect())
}

/// A list of values, as text.
pub(super) fn scalars(fields: &Fields<'_>, key: &str, report: &mut Report<'_>) -> Option<Vec<Spanned<String>>> {
    let entry = fields.entry(key)?;
    let items = match &entry.value.kind {
        Kind::Sequence(items) if !items.is_empty() => items,
        Kind::Invalid => return None,
        Kind::Sequence(_) => {
            let hint = Some("write what it may be, such as `[M, F]`, or leave the key out".to_owned());
            report.hinted(
                codes::WRONG_TYPE,
                entry.value.span,
                format!("`{key}` names no value"),
                hint,
            );
            return None;
        }
        _ => {
            wrong_type(&entry.value, &format!("`{key}`"), "a list of values", report);
            return None;
        }
    };
    let texts = items
        .iter()
        .filter_map(|item| loose_text(item, &format!("an entry of `{key}`"), report));
    let texts: Vec<Spanned<String>> = texts.collect();
    (texts.len() == items.len()).then_some(texts)
}

/// `[low, high]`; null for no bound.
pub(super) fn bounds(fields: &Fields<'_>, key: &str, report: &mut Report<'_>) -> Option<Spanned<Bounds>> {
    let entry = fields.entry(key)?;
    if matches!(entry.value.kind, Kind::Invalid) {
        return None;
    }
    let pair = match &entry.value.kind {
        Kind::Sequence(items) => match items.as_slice() {
            [low, high] => Some((low, high)),
            _ => None,
        },
        _ => None,
    };
    let bound = |node: &Node| -> Option<Option<f64>> {
        match node.is_null() {
            true => Some(None),
            false => node.json().as_f64().filter(|n| n.is_finite()).map(Some),
        }
    };
    let found = pair.and_then(|(low, high)| Some((bound(low)?, bound(high)?)));
    let fits = |b: &Bounds| !matches!(b, (None, None)) && !matches!(b, (Some(l), Some(h)) if l > h);
    match found.filter(fits) {
        Some(value) => Some(Spanned {
            value,
            span: entry.value.span,
        }),
        None => {
            let message = format!("`{key}` must be two numbers, the least and the largest");
            let hint = "write it like `[0, 100]`; `[0, null]` has no upper bound".to_owned();
            report.hinted(codes::BAD_RANGE, entry.value.span, message, Some(hint));
            None
        }
    }
}
