//! References between sources, transforms and tables, and the order of transforms.

use crate::{
    codes,
    pipeline::{Check, Gate, Pipeline, Scope, Span, Spanned, Transform, TransformInput},
    report::{Report, hint, quoted},
    text::SourceFile,
};
use clinmill_model::Diagnostic;
use std::collections::{BTreeMap, BTreeSet};

/// The record kinds of a source, by its name: `None` while they are not known, one empty name for a source with a
/// single, unnamed kind.
pub type Kinds<'a> = &'a dyn Fn(&str) -> Option<Vec<String>>;

/// The names that a SQL text reads, as the pipeline writes them (`transform`, `source`, `source.kind`); or the byte
/// offset of what is wrong, and why.
pub type SqlTables<'a> = &'a dyn Fn(&str) -> Result<Vec<String>, (usize, String)>;

/// The second pass, once the plugins are bound: record kinds, what SQL reads, circles through SQL, and that nothing
/// over one subject reads from over the whole dataset. Transforms are left in an order in which every one comes after
/// what it reads. What [`load`](crate::load) reported is not reported again.
pub fn resolve(
    pipeline: &mut Pipeline,
    source: &SourceFile,
    kinds: Kinds<'_>,
    sql_tables: SqlTables<'_>,
) -> Vec<Diagnostic> {
    let mut report = Report::new(source);
    let names = pipeline.names.clone();
    let mut reads = Vec::new();
    for transform in &pipeline.transforms {
        reads.push(match &transform.input {
            TransformInput::Sql(sql) => sql_reads(sql, sql_tables, &names, kinds, &mut report),
            input => {
                let reads = written_reads(input);
                reads
                    .iter()
                    .for_each(|read| kind(&read.name, read.span, &names, kinds, &mut report));
                reads
            }
        });
    }
    for table in &pipeline.tables {
        kind(&table.from.value, table.from.span, &names, kinds, &mut report);
    }
    scopes(&pipeline.transforms, &reads, &mut report);
    sort(&mut pipeline.transforms, &reads, true, &mut report);
    report.finish()
}

/// All declared names, also of entries that could not be lowered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) sources: BTreeMap<String, Span>,
    pub(crate) transforms: BTreeMap<String, Span>,
}

impl Names {
    fn all(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().chain(self.transforms.keys()).map(String::as_str)
    }

    /// Reports a reference to nothing.
    fn check(&self, name: &str, span: Span, report: &mut Report<'_>) -> bool {
        let (head, kind) = split(name);
        if self.sources.contains_key(head) {
            return true;
        }
        if self.transforms.contains_key(head) {
            if kind.is_some() {
                let message = format!("{} is a transform and has no record kinds", quoted(head));
                report.hinted(
                    codes::UNKNOWN_KIND,
                    span,
                    message,
                    Some(format!("write {}", quoted(head))),
                );
            }
            return kind.is_none();
        }
        let message = format!("there is no source or transform {}", quoted(head));
        report.hinted(codes::UNKNOWN_NAME, span, message, hint(head, self.all()));
        false
    }
}

/// The first pass: what needs no plugin.
pub(crate) fn names(pipeline: &mut Pipeline, report: &mut Report<'_>) {
    let names = &pipeline.names;
    for (name, span) in &names.transforms {
        if names.sources.contains_key(name) {
            let message = format!("{} is the name of a source and of a transform", quoted(name));
            report.hinted(
                codes::NAME_TAKEN,
                *span,
                message,
                Some("rename one of the two".to_owned()),
            );
        }
    }
    let reads: Vec<Vec<Read>> = pipeline.transforms.iter().map(|t| written_reads(&t.input)).collect();
    for read in reads.iter().flatten() {
        names.check(&read.name, read.span, report);
    }
    for table in &pipeline.tables {
        names.check(&table.from.value, table.from.span, report);
    }
    sort(&mut pipeline.transforms, &reads, false, report);
}

/// The tables that gates name.
pub(crate) fn tables(gates: &[Gate], known: &BTreeMap<String, Span>, report: &mut Report<'_>) {
    let mut check = |name: &str, span: Span| {
        if !known.contains_key(name) {
            let message = format!("there is no table {}", quoted(name));
            let hint = hint(name, known.keys().map(String::as_str));
            report.hinted(codes::UNKNOWN_TABLE, span, message, hint);
        }
    };
    for gate in gates {
        for column in gate.check.columns() {
            check(&column.table, column.span);
        }
        match &gate.check {
            Check::RowCount { table, .. } | Check::Sql { table: Some(table), .. } => check(&table.value, table.span),
            _ => {}
        }
    }
}

/// One reference of a transform.
struct Read {
    name: String,
    span: Span,
    sql: bool,
}

fn written_reads(input: &TransformInput) -> Vec<Read> {
    let read = |name: &Spanned<String>| Read {
        name: name.value.clone(),
        span: name.span,
        sql: false,
    };
    match input {
        TransformInput::From(name) => vec![read(name)],
        TransformInput::Union(names) => names.iter().map(read).collect(),
        TransformInput::Sql(_) => Vec::new(),
    }
}

fn sql_reads(
    sql: &Spanned<String>,
    sql_tables: SqlTables<'_>,
    names: &Names,
    kinds: Kinds<'_>,
    report: &mut Report<'_>,
) -> Vec<Read> {
    let tables = match sql_tables(&sql.value) {
        Ok(tables) => tables,
        Err((offset, message)) => {
            let span = report.source.within(sql.span, &sql.value, offset, 1);
            let hint =
                Some("check the words from here on, and before it that quotes and brackets are closed".to_owned());
            report.hinted(codes::BAD_SQL, span, format!("the SQL cannot be read: {message}"), hint);
            return Vec::new();
        }
    };
    let mut reads = Vec::new();
    for name in tables {
        let span = word(&sql.value, &name).map_or(sql.span, |at| {
            report.source.within(sql.span, &sql.value, at, name.len())
        });
        if names.check(&name, span, report) {
            kind(&name, span, names, kinds, report);
        }
        reads.push(Read { name, span, sql: true });
    }
    reads
}

/// Where a name stands in a text as a word of its own.
fn word(text: &str, name: &str) -> Option<usize> {
    let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    text.match_indices(name)
        .find(|(at, _)| {
            let before = text.get(..*at).and_then(|t| t.chars().next_back());
            let after = text.get(at + name.len()..).and_then(|t| t.chars().next());
            !before.is_some_and(inside) && !after.is_some_and(inside)
        })
        .map(|(at, _)| at)
}

/// Checks the kind that a reference names, or that it need not name one.
fn kind(name: &str, span: Span, names: &Names, kinds: Kinds<'_>, report: &mut Report<'_>) {
    let (head, kind) = split(name);
    if !names.sources.contains_key(head) {
        return;
    }
    let Some(known) = kinds(head) else { return };
    let named = || known.iter().map(String::as_str).filter(|k| !k.is_empty());
    match kind {
        None if known.iter().any(String::is_empty) => {}
        None => {
            let message = format!("the source {} has record kinds, and none is chosen", quoted(head));
            let all = named().map(|k| format!("`{head}.{k}`")).collect::<Vec<_>>().join(", ");
            report.hinted(codes::KIND_NEEDED, span, message, Some(format!("write one of {all}")));
        }
        Some(kind) if named().any(|k| k == kind) => {}
        Some(kind) => {
            let message = format!("the source {} has no record kind {}", quoted(head), quoted(kind));
            let hint = hint(kind, named()).or_else(|| Some(format!("write {}", quoted(head))));
            report.hinted(codes::UNKNOWN_KIND, span, message, hint);
        }
    }
}

fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once('.')
        .map_or((name, None), |(head, kind)| (head, Some(kind)))
}

fn scopes(transforms: &[Transform], reads: &[Vec<Read>], report: &mut Report<'_>) {
    let whole: BTreeSet<&str> = transforms
        .iter()
        .filter(|t| t.scope == Scope::Dataset)
        .map(|t| t.name.value.as_str())
        .collect();
    for (transform, reads) in transforms.iter().zip(reads) {
        for read in reads
            .iter()
            .filter(|r| transform.scope == Scope::Subject && whole.contains(r.name.as_str()))
        {
            let message = format!(
                "{} is computed for each subject and cannot read {}, which is computed over the whole dataset",
                quoted(&transform.name.value),
                quoted(&read.name)
            );
            report.hinted(
                codes::SCOPE_ORDER,
                read.span,
                message,
                Some("say `scope: dataset` here too".to_owned()),
            );
        }
    }
}

/// Sorts transforms by what they read, otherwise as in the file. A circle is reported once, by its names; with
/// `sql_only`, a circle without SQL was reported before.
fn sort(transforms: &mut Vec<Transform>, reads: &[Vec<Read>], sql_only: bool, report: &mut Report<'_>) {
    let index: BTreeMap<&str, usize> = transforms
        .iter()
        .enumerate()
        .map(|(i, t)| (t.name.value.as_str(), i))
        .collect();
    // For each transform: the transforms it reads, with the reference that says so.
    let edges: Vec<Vec<(usize, &Read)>> = reads
        .iter()
        .map(|r| {
            r.iter()
                .filter_map(|r| Some((*index.get(r.name.as_str())?, r)))
                .collect()
        })
        .collect();
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); transforms.len()];
    let mut waits: Vec<usize> = vec![0; transforms.len()];
    for (reader, edges) in edges.iter().enumerate() {
        for (read, _) in edges {
            if let (Some(list), Some(count)) = (readers.get_mut(*read), waits.get_mut(reader)) {
                list.push(reader);
                *count += 1;
            }
        }
    }
    let mut ready: BTreeSet<usize> = (0..transforms.len()).filter(|i| waits.get(*i) == Some(&0)).collect();
    let mut left: BTreeSet<usize> = (0..transforms.len()).collect();
    let mut order = Vec::new();
    loop {
        while let Some(next) = ready.pop_first() {
            if !left.remove(&next) {
                continue;
            }
            order.push(next);
            for reader in readers.get(next).into_iter().flatten() {
                if let Some(count) = waits.get_mut(*reader) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        ready.insert(*reader);
                    }
                }
            }
        }
        let Some(circle) = circle(&edges, &left) else { break };
        if !sql_only || circle.iter().any(|(_, read)| read.sql) {
            let name = |i: usize| transforms.get(i).map_or("", |t| t.name.value.as_str());
            let mut path: Vec<String> = circle.iter().map(|(i, _)| quoted(name(*i))).collect();
            path.extend(path.first().cloned());
            let message = match circle.len() {
                1 => format!("the transform {} reads itself", path.first().map_or("", String::as_str)),
                _ => format!("these transforms read each other in a circle: {}", path.join(" reads ")),
            };
            if let Some((_, read)) = circle.first() {
                let hint = Some("let one of them read a source".to_owned());
                report.hinted(codes::CYCLE, read.span, message, hint);
            }
        }
        // Taken as if they were ready, so that the rest is still put in order.
        ready.extend(circle.iter().map(|(i, _)| *i));
    }
    let mut sorted: Vec<Option<Transform>> = std::mem::take(transforms).into_iter().map(Some).collect();
    transforms.extend(order.into_iter().filter_map(|i| sorted.get_mut(i)?.take()));
}

/// A circle among the transforms that are left: each with the reference by which it reads the next.
fn circle<'r>(edges: &[Vec<(usize, &'r Read)>], left: &BTreeSet<usize>) -> Option<Vec<(usize, &'r Read)>> {
    let mut at = *left.first()?;
    let mut path: Vec<(usize, &Read)> = Vec::new();
    let mut position: BTreeMap<usize, usize> = BTreeMap::new();
    loop {
        if let Some(start) = position.get(&at) {
            let circle = path.split_off(*start);
            // Begins with the one that the file names first.
            let first = circle
                .iter()
                .enumerate()
                .min_by_key(|(_, (i, _))| *i)
                .map_or(0, |(p, _)| p);
            return Some(circle.iter().cycle().skip(first).take(circle.len()).copied().collect());
        }
        let (next, read) = edges.get(at)?.iter().find(|(next, _)| left.contains(next))?;
        position.insert(at, path.len());
        path.push((at, read));
        at = *next;
    }
}
