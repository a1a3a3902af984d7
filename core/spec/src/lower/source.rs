//! One entry of `sources`.

use super::{
    Context,
    fields::{Fields, entries, loose_text, wrong_type},
};
use crate::{
    codes,
    keys::{COMPLETE, EXPECT, INPUTS, KEEP, MODES, SOURCE},
    options::{self, PluginKind},
    pipeline::{AsOf, Expect, Inputs, Keep, Mode, Source, Span, Spanned},
    report::{Report, hint, quoted},
    tree::{Entry, Kind, Node},
    values,
};
use std::{collections::BTreeMap, time::Duration};

/// At most this share of the live records in scope is deleted by one input unless the pipeline says otherwise.
const MAX_DELETES: f64 = 0.05;

pub(super) fn lower(name: Spanned<String>, node: &Node, context: &mut Context<'_, '_>) -> Option<Source> {
    let what = format!("the source {}", quoted(&name.value));
    let fields = Fields::open_any(node, &what, name.span, SOURCE, context.report)?;
    let plugin = fields.text("plugin", context.report);
    let inputs = fields.entry("inputs").and_then(|entry| inputs(entry, context));
    let glob = inputs.as_ref().map_or("", |i| i.glob.value.as_str());
    let mode = fields.entry("mode").and_then(|entry| mode(entry, glob, context.report));
    if let (Some(Inputs { as_of: Some(as_of), .. }), Some(Mode::Complete { .. })) = (&inputs, &mode) {
        let hint = Some("a complete source says it under `mode: { complete: { as_of: … } }`".to_owned());
        context
            .report
            .hinted(codes::EXACTLY_ONE, as_of.span, "`as_of` is given twice", hint);
    }
    let keep = fields.choice("keep", KEEP, context.report);
    let expect = fields.entry("expect").and_then(|entry| expect(entry, context.report));
    let own: Vec<Entry> = fields
        .entries()
        .iter()
        .filter(|e| !SOURCE.iter().any(|k| k.name == e.key))
        .cloned()
        .collect();
    let plugin = plugin?;
    let options = options::lower(PluginKind::Source, &plugin, &own, context);
    Some(Source {
        inputs: inputs?,
        mode: match fields.entry("mode") {
            None => Mode::Partial,
            Some(_) => mode?,
        },
        keep: match keep.map(|k| k.value) {
            Some("reference") => Keep::Reference,
            _ => Keep::Copy,
        },
        expect,
        options,
        name,
        plugin,
    })
}

const CAPTURES: &str = "a part of the path that is kept is written like `{site}`: lower-case letters, digits and `_`";
const DIVIDED: &str = "write the character that divides the two, such as the `_` of `{date}_*.csv`; `?` is any one \
                       character, and divides nothing";
const PARTS: &str = "`**` stands alone between two `/` for any number of folders, and a name follows it: \
                     `inbox/**/*.csv`; within a name write `*`";

fn inputs(entry: &Entry, context: &mut Context<'_, '_>) -> Option<Inputs> {
    let fields = Fields::open(&entry.value, "`inputs`", entry.key_span, INPUTS, context.report)?;
    let glob = fields.text("glob", context.report);
    if let Some(glob) = &glob
        && context.path(&glob.value, glob.span)
    {
        let wrong = match values::captures(&glob.value) {
            Ok(_) => unreadable(&glob.value),
            Err(wrong) => Some((wrong, CAPTURES)),
        };
        if let Some((wrong, hint)) = wrong {
            bad_pattern(glob, wrong, hint, context.report);
        }
    }
    let settle = duration(&fields, "settle", context.report).unwrap_or(Duration::ZERO);
    let as_of = fields
        .text("as_of", context.report)
        .and_then(|text| as_of(text, context.report));
    Some(Inputs {
        glob: glob?,
        settle,
        as_of,
    })
}

/// What else is wrong with a path pattern, where its captures can be read.
fn unreadable(pattern: &str) -> Option<((usize, String), &'static str)> {
    let parts = values::unmatched(pattern).map(|wrong| (wrong, PARTS));
    parts.or_else(|| values::unmarked(pattern).map(|wrong| (wrong, DIVIDED)))
}

fn bad_pattern(written: &Spanned<String>, (at, message): (usize, String), hint: &str, report: &mut Report<'_>) {
    let span = report.source.within(written.span, &written.value, at, 1);
    report.hinted(codes::BAD_PATTERN, span, message, Some(hint.to_owned()));
}

fn duration(fields: &Fields<'_>, key: &str, report: &mut Report<'_>) -> Option<Duration> {
    let node = &fields.entry(key)?.value;
    let written = loose_text(node, &format!("`{key}`"), report)?;
    let duration = values::duration(&written.value);
    if duration.is_none() {
        let message = format!("{} is not a duration", quoted(&written.value));
        let hint = Some("write a number and a unit (s, m, h, d, w), such as `10m` or `7d`".to_owned());
        report.hinted(codes::BAD_DURATION, written.span, message, hint);
    }
    duration
}

fn as_of(written: Spanned<String>, report: &mut Report<'_>) -> Option<Spanned<AsOf>> {
    if written.value == "arrival" {
        return Some(Spanned {
            value: AsOf::Arrival,
            span: written.span,
        });
    }
    let found = values::captures(&written.value);
    if found.is_ok()
        && let Some((wrong, hint)) = unreadable(&written.value)
    {
        bad_pattern(&written, wrong, hint, report);
        return None;
    }
    let message = match found {
        Ok(found) if found.len() == 1 || found.iter().any(|(_, name)| *name == "date") => {
            return Some(Spanned {
                value: AsOf::Pattern(written.value),
                span: written.span,
            });
        }
        Ok(found) if found.is_empty() => format!(
            "{} must hold one `{{capture}}` of a date or time",
            quoted(&written.value)
        ),
        Ok(_) => format!(
            "{} holds several captures, and none of them is called `{{date}}`",
            quoted(&written.value)
        ),
        Err((_, message)) => message,
    };
    let hint = Some(
        "write a pattern on the file's name such as `lis_{date}.csv` or `lis_*_{date}.csv`, or `arrival`; of several \
         captures, `{date}` is the time"
            .to_owned(),
    );
    report.hinted(codes::BAD_PATTERN, written.span, message, hint);
    None
}

fn mode(entry: &Entry, glob: &str, report: &mut Report<'_>) -> Option<Mode> {
    let advice = "write `partial` or `{ complete: { as_of: \"lis_{date}.csv\" } }`";
    match &entry.value.kind {
        Kind::Invalid => None,
        Kind::Scalar(scalar) if scalar.text == "partial" => Some(Mode::Partial),
        Kind::Scalar(scalar) => {
            let (message, hint) = if scalar.text == "complete" {
                (
                    "`complete` needs to know what time an input speaks of".to_owned(),
                    Some(advice.to_owned()),
                )
            } else {
                let message = format!("`mode` cannot be {}", quoted(scalar.shown()));
                (message, hint(&scalar.text, MODES.iter().copied()))
            };
            report.hinted(codes::BAD_CHOICE, entry.value.span, message, hint);
            None
        }
        Kind::Mapping(entries) => match entries.as_slice() {
            [entry] if entry.key == "complete" => complete(entry, glob, report),
            [entry, ..] if entry.key != "complete" => {
                let message = format!("`mode` has no key {}", quoted(&entry.key));
                report.hinted(
                    codes::UNKNOWN_KEY,
                    entry.key_span,
                    message,
                    hint(&entry.key, ["complete"]),
                );
                None
            }
            [_, other, ..] => {
                let message = format!("`mode` has no key {}", quoted(&other.key));
                let hint = Some("what belongs to `complete` is indented below it".to_owned());
                report.hinted(codes::UNKNOWN_KEY, other.key_span, message, hint);
                None
            }
            _ => {
                report.hinted(
                    codes::BAD_CHOICE,
                    entry.value.span,
                    "`mode` is empty",
                    Some(advice.to_owned()),
                );
                None
            }
        },
        Kind::Sequence(_) => {
            wrong_type(&entry.value, "`mode`", "`partial` or a mapping", report);
            None
        }
    }
}

fn complete(entry: &Entry, glob: &str, report: &mut Report<'_>) -> Option<Mode> {
    let fields = Fields::open(&entry.value, "`complete`", entry.key_span, COMPLETE, report)?;
    let as_of = fields.text("as_of", report).and_then(|text| as_of(text, report));
    let mut scope = BTreeMap::new();
    let listed = fields.entry("scope").and_then(|e| entries(&e.value, "`scope`", report));
    for entry in listed.unwrap_or_default() {
        if let Some(value) = loose_text(&entry.value, &format!("the scope's {}", quoted(&entry.key)), report) {
            scope_captures(&value, glob, report);
            scope.insert(entry.key.clone(), value.value);
        }
    }
    let max_deletes = fields
        .entry("max_deletes")
        .and_then(|e| share(&e.value, "`max_deletes`", report));
    Some(Mode::Complete {
        scope,
        as_of: as_of?,
        max_deletes: max_deletes.unwrap_or(MAX_DELETES),
    })
}

fn scope_captures(value: &Spanned<String>, glob: &str, report: &mut Report<'_>) {
    let known: Vec<&str> = values::captures(glob)
        .unwrap_or_default()
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    match values::captures(&value.value) {
        Err((_, message)) => report.hinted(codes::BAD_PATTERN, value.span, message, Some(CAPTURES.to_owned())),
        Ok(found) => {
            for (_, name) in found.into_iter().filter(|(_, name)| !known.contains(name)) {
                let message = format!("the glob has no capture `{{{name}}}`");
                report.hinted(
                    codes::UNKNOWN_CAPTURE,
                    value.span,
                    message,
                    hint(name, known.iter().copied()),
                );
            }
        }
    }
}

fn share(node: &Node, what: &str, report: &mut Report<'_>) -> Option<f64> {
    let written = loose_text(node, what, report)?;
    let share = values::share(&written.value);
    if share.is_none() {
        bad_range(&written, "a share between 0 and 1", "write `5%` or `0.05`", report);
    }
    share
}

fn expect(entry: &Entry, report: &mut Report<'_>) -> Option<Expect> {
    let fields = Fields::open(&entry.value, "`expect`", entry.key_span, EXPECT, report)?;
    let every = duration(&fields, "every", report);
    let mut rows = (None, None);
    if let Some(written) = fields
        .entry("rows")
        .and_then(|e| loose_text(&e.value, "`rows`", report))
    {
        match values::range(&written.value) {
            Some(range) => rows = range,
            None => bad_range(
                &written,
                "a range of row counts",
                "write `500..`, `..900` or `500..900`",
                report,
            ),
        }
    }
    let mut rejected = None;
    if let Some(written) = fields
        .entry("rejected")
        .and_then(|e| loose_text(&e.value, "`rejected`", report))
    {
        rejected = written.value.strip_prefix("..").and_then(values::share);
        if rejected.is_none() {
            bad_range(
                &written,
                "an upper bound for the share of rejected records",
                "write `..1%`",
                report,
            );
        }
    }
    let span = Span {
        start: entry.key_span.start,
        end: entry.value.span.end,
    };
    Some(Expect {
        every,
        rows,
        rejected,
        span,
    })
}

fn bad_range(written: &Spanned<String>, what: &str, hint: &str, report: &mut Report<'_>) {
    let message = format!("{} is not {what}", quoted(&written.value));
    report.hinted(codes::BAD_RANGE, written.span, message, Some(hint.to_owned()));
}
