//! One entry of `transforms`.

use super::{Context, fields::Fields, fields::wrong_type};
use crate::{
    codes,
    keys::{SCOPES, TRANSFORM, TRANSFORM_INPUTS},
    options::{self, PluginKind},
    pipeline::{Scope, Spanned, Step, Transform, TransformInput},
    report::{list, quoted},
    tree::{Entry, Kind, Node},
};

pub(super) fn lower(name: Spanned<String>, node: &Node, context: &mut Context<'_, '_>) -> Option<Transform> {
    let what = format!("the transform {}", quoted(&name.value));
    let fields = Fields::open(node, &what, name.span, TRANSFORM, context.report)?;
    let given: Vec<&Entry> = TRANSFORM_INPUTS.iter().filter_map(|key| fields.entry(key)).collect();
    let message = format!("{what} needs exactly one of {}", list(TRANSFORM_INPUTS));
    match given.as_slice() {
        [] => {
            let hint = "add `from: SOURCE`, `union: [A, B]` or `sql: select … from SOURCE`".to_owned();
            context
                .report
                .hinted(codes::EXACTLY_ONE, name.span, message, Some(hint));
        }
        [_] => {}
        [_, other, ..] => {
            let hint = "keep one of them: a query names what it reads itself".to_owned();
            context
                .report
                .hinted(codes::EXACTLY_ONE, other.key_span, message, Some(hint));
        }
    }
    let from = match fields.entry("from") {
        Some(Entry { value, .. }) if matches!(&value.kind, Kind::Sequence(items) if items.len() > 1) => {
            let hint = "several are put together by `union` in the place of `from`".to_owned();
            let message = "`from` must be text, not a list";
            context
                .report
                .hinted(codes::WRONG_TYPE, value.span, message, Some(hint));
            None
        }
        _ => fields.text("from", context.report).map(TransformInput::From),
    };
    let union = fields.texts("union", context.report);
    if union.as_ref().is_some_and(Vec::is_empty)
        && let Some(entry) = fields.entry("union")
    {
        let hint = Some("name what is put together: `union: [a, b]`".to_owned());
        context
            .report
            .hinted(codes::MISSING_KEY, entry.key_span, "`union` lists nothing", hint);
    }
    let union = union.filter(|u| !u.is_empty()).map(TransformInput::Union);
    let sql = fields.text("sql", context.report).map(TransformInput::Sql);
    let steps = fields
        .entry("steps")
        .map_or(Some(Vec::new()), |entry| steps(entry, context));
    let scope = match fields.choice("scope", SCOPES, context.report).map(|s| s.value) {
        Some("dataset") => Scope::Dataset,
        _ => Scope::Subject,
    };
    Some(Transform {
        name,
        input: from.or(union).or(sql)?,
        steps: steps?,
        scope,
    })
}

fn steps(entry: &Entry, context: &mut Context<'_, '_>) -> Option<Vec<Step>> {
    match &entry.value.kind {
        Kind::Sequence(items) => {
            let steps: Vec<Step> = items.iter().filter_map(|item| step(item, context)).collect();
            (steps.len() == items.len()).then_some(steps)
        }
        Kind::Invalid => None,
        Kind::Scalar(_) if entry.value.is_null() => Some(Vec::new()),
        _ => {
            wrong_type(
                &entry.value,
                "`steps`",
                "a list of `- plugin: { options }`",
                context.report,
            );
            None
        }
    }
}

fn step(item: &Node, context: &mut Context<'_, '_>) -> Option<Step> {
    let shape = || Some("a step is one plugin and its options: `- plugin: { options }`".to_owned());
    let (plugin, options) = match &item.kind {
        Kind::Invalid => return None,
        // `- plugin`, without options.
        Kind::Scalar(scalar) if !item.is_null() => (
            Spanned {
                value: scalar.text.clone(),
                span: item.span,
            },
            None,
        ),
        Kind::Mapping(entries) => match entries.as_slice() {
            [entry] => (
                Spanned {
                    value: entry.key.clone(),
                    span: entry.key_span,
                },
                Some(&entry.value),
            ),
            [_, other, ..] => {
                let message = format!("a step has one key, and {} is a second one", quoted(&other.key));
                context
                    .report
                    .hinted(codes::EXACTLY_ONE, other.key_span, message, shape());
                return None;
            }
            [] => {
                context
                    .report
                    .hinted(codes::MISSING_KEY, item.span, "the step is empty", shape());
                return None;
            }
        },
        _ => {
            context
                .report
                .hinted(codes::WRONG_TYPE, item.span, "this is not a step", shape());
            return None;
        }
    };
    let own: &[Entry] = match options {
        None => &[],
        Some(node) if node.is_null() => &[],
        Some(Node {
            kind: Kind::Mapping(entries),
            ..
        }) => entries,
        Some(node) => {
            no_options(node, &plugin, context);
            return None;
        }
    };
    let options = options::lower(PluginKind::Transform, &plugin, own, context);
    Some(Step { plugin, options })
}

/// Something else than options stands behind a plugin's name; where there is no such plugin, that is the mistake.
fn no_options(node: &Node, plugin: &Spanned<String>, context: &mut Context<'_, '_>) {
    let Some(schema) = context.plugins.transform_schema(&plugin.value) else {
        return options::unknown(PluginKind::Transform, plugin, context);
    };
    if matches!(node.kind, Kind::Invalid) {
        return;
    }
    let name = &plugin.value;
    let message = format!(
        "the options of {} must be a mapping, not {}",
        quoted(name),
        node.described()
    );
    let needed: Vec<&str> = match schema.get("required").and_then(|r| r.as_array()) {
        Some(required) => required.iter().filter_map(|key| key.as_str()).collect(),
        None => Vec::new(),
    };
    let shape = match needed.as_slice() {
        [] => "option: …".to_owned(),
        needed => needed
            .iter()
            .map(|key| format!("{key}: …"))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let hint = format!("write `- {name}: {{ {shape} }}`; `clinmill plugin info {name}` lists the options");
    context.report.hinted(codes::WRONG_TYPE, node.span, message, Some(hint));
}
