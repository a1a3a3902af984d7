//! One entry of `tables`.

use super::{
    Context,
    fields::{Fields, entries},
    gate::{bounds, scalars, share},
};
use crate::{
    codes,
    keys::{COLUMN, MODELS, TABLE, TYPES},
    pipeline::{Column, Model, Spanned, Table},
    report::{hint, quoted},
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
    let model = model(&fields, &name, context);
    Some(Table {
        name,
        from: from?,
        key,
        columns,
        model,
    })
}

/// The standard model of a table; it must have a table of this name, but for events, which may be in any.
fn model(fields: &Fields<'_>, name: &Spanned<String>, context: &mut Context<'_, '_>) -> Option<Spanned<Model>> {
    let word = fields.choice("model", MODELS, context.report)?;
    let span = word.span;
    if word.value == "meds-0.4" {
        return Some(Spanned {
            value: Model::Meds04,
            span,
        });
    }
    if clinmill_model::omop::table(&name.value).is_none() {
        let message = format!("`{}` has no table {}", word.value, quoted(&name.value));
        let known = clinmill_model::omop::tables().iter().map(|t| t.name);
        let hint = hint(&name.value, known);
        context
            .report
            .hinted(codes::UNKNOWN_MODEL_TABLE, name.span, message, hint);
        return None;
    }
    Some(Spanned {
        value: Model::Omop54,
        span,
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
        let hint = Some("write the column's name before the `:`".to_owned());
        context
            .report
            .hinted(codes::BAD_NAME, name.span, "a column needs a name", hint);
    }
    let what = format!("the column {}", quoted(&name.value));
    let fields = match entry.value.is_null() {
        true => None,
        false => Fields::open(&entry.value, &what, name.span, COLUMN, context.report),
    };
    let kind = fields.as_ref().and_then(|f| f.choice("type", TYPES, context.report));
    let description = fields.as_ref().and_then(|f| f.text("description", context.report));
    let values = fields.as_ref().and_then(|f| scalars(f, "values", context.report));
    let range = fields.as_ref().and_then(|f| bounds(f, "range", context.report));
    let unit = fields.as_ref().and_then(|f| f.text("unit", context.report));
    let required = fields.as_ref().and_then(|f| share(f, "required", context.report));
    if let (Some(range), Some(kind)) = (&range, &kind)
        && !matches!(kind.value, "integer" | "decimal" | "number")
    {
        let message = format!("a column of the type `{}` has no range of numbers", kind.value);
        let hint = Some("remove `range`, or give the type `integer`, `decimal` or `number`".to_owned());
        context.report.hinted(codes::BAD_RANGE, range.span, message, hint);
    }
    Column {
        name,
        kind: kind.map(|k| Spanned {
            value: k.value.to_owned(),
            span: k.span,
        }),
        description: description.map(|d| d.value),
        values,
        range,
        unit,
        required,
    }
}

fn reserved(name: &Spanned<String>, context: &mut Context<'_, '_>) {
    let message = format!("the column name {} belongs to the engine", quoted(&name.value));
    let hint = Some("names that begin with `_` are given by the engine".to_owned());
    context.report.hinted(codes::RESERVED_NAME, name.span, message, hint);
}
