//! What a test gives: files in the places where the sources look for them, rows in the place of what a source reads.

use super::Located;
use crate::{
    bound::{Bound, SourceSpec},
    error::EngineError,
    mappings,
};
use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray},
    compute::{can_cast_types, cast},
    datatypes::DataType,
};
use clinmill_catalog::vault::Pattern;
use clinmill_model::{Diagnostic, columns::SUBJECT_ID};
use clinmill_sdk::{
    BoundSource, Input, Locator, PluginError, RecordBatchOf, RecordKind, RecordMeta, RecordMetaBuilder, RecordSink,
    Split, TaskContext, regular,
};
use clinmill_spec::{
    cases::{Case, FileContent, Given, GivenData, GivenFile, Row, is_meta},
    codes,
    pipeline::{AsOf, Mode, Spanned},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// Everything that a test gives that its pipeline cannot take.
pub fn check(bound: &Bound, case: &Case) -> Vec<Located> {
    let mut found = Vec::new();
    let mut taken: BTreeMap<&str, bool> = BTreeMap::new();
    for given in &case.given {
        let Some((source, kind)) = find(bound, &given.name.value) else {
            found.push(unknown(bound, &given.name));
            continue;
        };
        let is_files = matches!(given.data, GivenData::Files(_));
        if taken.insert(source.name(), is_files).is_some_and(|was| was != is_files) {
            let message = format!("the source `{}` is given rows and files", source.name());
            let hint = "give it one of both: files for what the source reads, rows for what comes after it";
            found.push((
                Diagnostic::error(codes::CASE_GIVEN, message).hint(hint),
                given.name.span,
            ));
        }
        match &given.data {
            GivenData::Files(files) => {
                if given.name.value != source.name() {
                    let message = format!("files are given to a source: write `{}`", source.name());
                    found.push((Diagnostic::error(codes::CASE_GIVEN, message), given.name.span));
                }
                files
                    .iter()
                    .for_each(|file| check_file(bound, source, file, &mut found));
            }
            GivenData::Rows(rows) => match kind {
                Some(kind) => check_rows(&given.name.value, kind, rows, &mut found),
                None => found.push(unknown(bound, &given.name)),
            },
        }
    }
    found
}

fn check_file(bound: &Bound, source: &SourceSpec, file: &GivenFile, found: &mut Vec<Located>) {
    let mut wrong = |message: String, hint: Option<String>, span| {
        let mut diagnostic = Diagnostic::error(codes::CASE_FILE, message);
        diagnostic.hint = hint;
        found.push((diagnostic, span));
    };
    let path = &file.path.value;
    let glob = &source.spec.inputs.glob.value;
    if local(bound, path).is_none() {
        let hint = "write a path below the pipeline's folder, or `root:path`".to_owned();
        wrong(
            format!("{path:?} leaves the pipeline's folders"),
            Some(hint),
            file.path.span,
        );
    } else if Pattern::parse(glob).is_ok_and(|p| p.matches(path).is_none()) {
        let message = format!("the source `{}` does not read {path:?}", source.name());
        wrong(message, Some(format!("its inputs are {glob:?}")), file.path.span);
    }
    match &file.content {
        FileContent::Copy(from) => {
            let there = mappings::resolve(&from.value, &bound.pipeline, &bound.dir).filter(|p| p.is_file());
            match there.filter(|_| local(bound, &from.value).is_some()) {
                None => {
                    let hint = "write a path relative to the pipeline file".to_owned();
                    wrong(format!("there is no file {:?}", from.value), Some(hint), from.span);
                }
                Some(path) if bound.leaves(&path) => {
                    let message = format!("{:?} leads out of the pipeline's folders", from.value);
                    wrong(message, Some(mappings::NO_LINK.to_owned()), from.span);
                }
                Some(_) => {}
            }
        }
        FileContent::Text(text, Some(encoding)) if encode(text, Some(&encoding.value)).is_none() => {
            let message = format!("the text cannot be written in {:?}", encoding.value);
            let hint = "write an encoding that has all its characters, such as utf-8 or gb18030".to_owned();
            wrong(message, Some(hint), encoding.span);
        }
        FileContent::Text(..) => {}
    }
}

fn check_rows(name: &str, kind: &RecordKind, rows: &[Row], found: &mut Vec<Located>) {
    let known: Vec<&str> = kind.schema.fields().iter().map(|f| f.name().as_str()).collect();
    for row in rows {
        if kind.subject && row.get(SUBJECT_ID).is_none_or(|v| v.text.is_none()) {
            let message = format!("the records of `{name}` are about subjects, and this row names none");
            let hint = "add `subject_id: ISSUER:ID`, such as MRN:1";
            found.push((Diagnostic::error(codes::CASE_VALUE, message).hint(hint), row.span));
        }
        for value in row.values.iter().filter(|v| !is_meta(&v.column.value)) {
            let column = &value.column;
            let Ok(field) = kind.schema.field_with_name(&column.value) else {
                let message = format!("`{name}` has no column {:?}", column.value);
                let hint = format!("its columns are {}", known.join(", "));
                found.push((Diagnostic::error(codes::CASE_COLUMN, message).hint(hint), column.span));
                continue;
            };
            if as_column(&[value.text.as_deref()], field.data_type()).is_none() {
                let (kind, example) = in_words(field.data_type());
                let message = format!("{:?} does not hold this value: it is {kind}", column.value);
                let hint = format!("write {example}, or `null` for none");
                found.push((Diagnostic::error(codes::CASE_VALUE, message).hint(hint), value.span));
            }
        }
    }
}

/// What a column holds, and how that is written.
fn in_words(data_type: &DataType) -> (String, String) {
    let (kind, example) = match data_type {
        DataType::Utf8 => ("text", "a text"),
        DataType::Boolean => ("`true` or `false`", "`true` or `false`"),
        DataType::Date32 => ("a date", "it like `2026-04-20`"),
        DataType::Timestamp(..) => ("a time", "it like `2026-04-20T08:30:00`"),
        DataType::Decimal128(_, scale) => {
            let kind = format!("a number with {scale} decimal places at most");
            return (kind, "a number".to_owned());
        }
        kind if kind.is_integer() => ("a whole number", "a number such as `12`"),
        kind if kind.is_numeric() => ("a number", "a number such as `7.5`"),
        _ => ("of another type", "a value of its type"),
    };
    (kind.to_owned(), example.to_owned())
}

/// The source behind `source` or `source.kind`, and the record kind where there is one of this name.
fn find<'b>(bound: &'b Bound, name: &str) -> Option<(&'b SourceSpec, Option<&'b RecordKind>)> {
    let source = bound
        .sources
        .iter()
        .find(|s| s.name() == name.split('.').next().unwrap_or(name))?;
    let kinds = source.bound.records();
    let by_name = (0..kinds.len()).find(|&k| source.relation(k) == name);
    let kind = match by_name {
        Some(k) => kinds.get(k),
        None if name == source.name() && kinds.len() == 1 => kinds.first(),
        None if name == source.name() => None,
        None => return None,
    };
    Some((source, kind))
}

fn unknown(bound: &Bound, name: &Spanned<String>) -> Located {
    let known = bound
        .sources
        .iter()
        .flat_map(|s| (0..s.bound.records().len()).map(|k| s.relation(k)))
        .collect::<Vec<_>>();
    let message = format!("{:?} is no source or record kind that rows can be given to", name.value);
    let hint = format!("there are {}", known.join(", "));
    (Diagnostic::error(codes::CASE_STEP, message).hint(hint), name.span)
}

/// Where a path of the pipeline lies in a test's folder; `None` where it leaves it.
fn local(bound: &Bound, path: &str) -> Option<PathBuf> {
    let (base, rest) = match path.split_once(':') {
        Some((root, rest)) if bound.pipeline.roots.contains_key(root) => (PathBuf::from(format!("roots/{root}")), rest),
        _ => (PathBuf::new(), path),
    };
    let rest = Path::new(rest);
    let inside = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    (!rest.as_os_str().is_empty() && rest.components().all(inside)).then(|| base.join(rest))
}

/// Puts what a test gives into its folder (`bound.dir`); `home` is the pipeline's own folder.
///
/// # Errors
/// When a file cannot be written.
pub fn place(bound: &mut Bound, case: &Case, home: &Path) -> Result<(), EngineError> {
    let wrong = |what: &str| EngineError::internal(format!("the test {:?} {what}", case.name.value));
    for given in &case.given {
        if let GivenData::Files(files) = &given.data {
            for file in files {
                let path = local(bound, &file.path.value).ok_or_else(|| wrong("leaves its folder"))?;
                let bytes = match &file.content {
                    FileContent::Text(text, encoding) => {
                        encode(text, encoding.as_ref().map(|e| e.value.as_str())).ok_or_else(|| wrong("is not text"))?
                    }
                    FileContent::Copy(from) => {
                        let from = mappings::resolve(&from.value, &bound.pipeline, home)
                            .ok_or_else(|| wrong("names an unknown root"))?;
                        regular::read(&from).map_err(|e| EngineError::io("read", &from, e))?
                    }
                };
                write(&bound.dir.join(path), &bytes)?;
            }
        }
    }
    for source in &mut bound.sources {
        let name = source.name().to_owned();
        let mine = |given: &&Given| {
            matches!(given.data, GivenData::Rows(_)) && given.name.value.split('.').next() == Some(&name)
        };
        let given: Vec<&Given> = case.given.iter().filter(mine).collect();
        if given.is_empty() {
            continue;
        }
        let mut text = String::new();
        let mut batches = Vec::new();
        for given in given {
            let GivenData::Rows(rows) = &given.data else { continue };
            let kinds = source.bound.records();
            let kind = (0..kinds.len()).find(|&k| source.relation(k) == given.name.value || kinds.len() == 1);
            let kind = kind.ok_or_else(|| wrong("names an unknown record kind"))?;
            batches.push(batch(kind, &kinds[kind], rows).ok_or_else(|| wrong("gives a value that does not fit"))?);
            text.push_str(&format!("{rows:?}"));
        }
        let kinds = source.bound.records().to_vec();
        source.bound = Arc::new(GivenRows { kinds, batches });
        source.spec.inputs.glob.value = format!("given/{name}.rows");
        source.spec.inputs.as_of = None;
        if let Mode::Complete { as_of, .. } = &mut source.spec.mode {
            as_of.value = AsOf::Arrival;
        }
        write(&bound.dir.join(format!("given/{name}.rows")), text.as_bytes())?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| EngineError::io("create", parent, e))?;
    }
    fs::write(path, bytes).map_err(|e| EngineError::io("write", path, e))
}

/// A text in an encoding; `None` for an unknown one, or one that lacks a character.
fn encode(text: &str, encoding: Option<&str>) -> Option<Vec<u8>> {
    let Some(label) = encoding else {
        return Some(text.as_bytes().to_vec());
    };
    let encoding = encoding_rs::Encoding::for_label(label.as_bytes())?;
    let (bytes, _, lossy) = encoding.encode(text);
    (!lossy).then(|| bytes.into_owned())
}

/// A column of texts in another type; `None` where one of them does not fit it.
pub fn as_column(texts: &[Option<&str>], data_type: &DataType) -> Option<ArrayRef> {
    let column = StringArray::from(texts.to_vec());
    if !can_cast_types(column.data_type(), data_type) {
        return None;
    }
    let typed = cast(&column, data_type).ok()?;
    (typed.null_count() == column.null_count()).then_some(typed)
}

fn batch(number: usize, kind: &RecordKind, rows: &[Row]) -> Option<(usize, RecordBatch, Arc<RecordMeta>)> {
    let columns: Option<Vec<ArrayRef>> = kind
        .schema
        .fields()
        .iter()
        .map(|field| {
            let texts: Vec<Option<&str>> = rows
                .iter()
                .map(|row| row.get(field.name()).and_then(|v| v.text.as_deref()))
                .collect();
            as_column(&texts, field.data_type())
        })
        .collect();
    let mut meta = RecordMetaBuilder::default();
    for (i, row) in rows.iter().enumerate() {
        let text = |column: &str| row.get(column).and_then(|v| v.text.as_deref());
        let subject = text(SUBJECT_ID).map(|s| s.rsplit_once(':').unwrap_or(("", s)));
        let at = Locator {
            row: i as u64 + 1,
            ..Locator::default()
        };
        meta.push(
            subject.map_or("", |s| s.0),
            subject.map(|s| s.1),
            text("_version"),
            text("_void") == Some("true"),
            at,
        );
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(kind.schema.clone(), columns?, &options).ok()?;
    Some((number, batch, Arc::new(meta.finish())))
}

/// A source that gives these rows, whatever its input holds.
struct GivenRows {
    kinds: Vec<RecordKind>,
    batches: Vec<(usize, RecordBatch, Arc<RecordMeta>)>,
}

impl BoundSource for GivenRows {
    fn records(&self) -> &[RecordKind] {
        &self.kinds
    }
    fn splits(&self, input: &dyn Input) -> Result<Vec<Split>, PluginError> {
        Ok(vec![Split::whole(input)])
    }
    fn read(&self, _: &dyn Input, _: &Split, _: &TaskContext<'_>, out: &mut dyn RecordSink) -> Result<(), PluginError> {
        for (kind, rows, meta) in &self.batches {
            out.rows(RecordBatchOf {
                kind: *kind,
                rows: rows.clone(),
                meta: RecordMeta {
                    issuer: meta.issuer.clone(),
                    subject: meta.subject.clone(),
                    version: meta.version.clone(),
                    void: meta.void.clone(),
                    offset: meta.offset.clone(),
                    length: meta.length.clone(),
                    row: meta.row.clone(),
                    part: meta.part.clone(),
                    cell: meta.cell.clone(),
                },
            })?;
        }
        Ok(())
    }
}
