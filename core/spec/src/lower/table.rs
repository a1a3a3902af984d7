//! One entry of `tables`.

use super::{
    Context,
    fields::{Fields, entries},
};
use crate::{
    codes,
    keys::{COLUMN, TABLE, TYPES},
    pipeline::{Column, Spanned, Table},
    report::quoted,
    tree::{Entry, Node},
};
use clinmill_model::columns::is_reserved;

pub(super) fn lower(name: Spanned<String>, node: &Node, context: &mut Context<'_, '_>) -> Option<Table> {
    let what = format!("the table {}", quoted(&name.value));
    let fields = Fields::open(node, &what, name.span, TABLE, context.report)?;
    let from = fields.text("from", context.report);
    let key = fields.texts("key", context.report);
    let listed = fields
        .entry("columns")
        .and_then(|e| entries(&e.value, "`columns`", context.report));
    let columns: Vec<Column> = listed
        .unwrap_or_default()
        .iter()
        .map(|entry| column(entry, context))
        .collect();
    for name in key.iter().flatten() {
        if is_reserved(&name.value) {
            reserved(name, context);
        }
    }
    Some(Table {
        name,
        from: from?,
        key,
        columns,
    })
}

fn column(entry: &Entry, context: &mut Context<'_, '_>) -> Column {
    let name = Spanned {
        value: entry.key.clone(),
        span: entry.key_span,
    };
    if is_reserved(&name.value) {
        reserved(&name, context);
    } else if name.value.is_empty() {
        context
            .report
            .error(codes::BAD_NAME, name.span, "a column needs a name");
    }
    let what = format!("the column {}", quoted(&name.value));
    let fields = match entry.value.is_null() {
        true => None,
        false => Fields::open(&entry.value, &what, name.span, COLUMN, context.report),
    };
    let kind = fields.as_ref().and_then(|f| f.choice("type", TYPES, context.report));
    let description = fields.as_ref().and_then(|f| f.text("description", context.report));
    Column {
        name,
        kind: kind.map(|k| Spanned {
            value: k.value.to_owned(),
            span: k.span,
        }),
        description: description.map(|d| d.value),
    }
}

fn reserved(name: &Spanned<String>, context: &mut Context<'_, '_>) {
    let message = format!("the column name {} belongs to the engine", quoted(&name.value));
    let hint = Some("names that begin with `_` are given by the engine".to_owned());
    context.report.hinted(codes::RESERVED_NAME, name.span, message, hint);
}
