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
        [] => context.report.error(codes::EXACTLY_ONE, name.span, message),
        [_] => {}
        [_, other, ..] => context.report.error(codes::EXACTLY_ONE, other.key_span, message),
    }
    let from = fields.text("from", context.report).map(TransformInput::From);
    let union = fields.texts("union", context.report);
    if union.as_ref().is_some_and(Vec::is_empty)
        && let Some(entry) = fields.entry("union")
    {
        context
            .report
            .error(codes::MISSING_KEY, entry.key_span, "`union` lists nothing");
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
        Some(node) => super::entries(
            node,
            &format!("the options of {}", quoted(&plugin.value)),
            context.report,
        )?,
    };
    let options = options::lower(PluginKind::Transform, &plugin, own, context);
    Some(Step { plugin, options })
}
