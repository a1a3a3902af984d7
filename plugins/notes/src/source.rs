//! The source: frames to records.

use crate::{
    Format, NotesConfig,
    core::{Content, Cut, Frames, cells},
    error::{self, rejection},
    json::{Member, Object, Wrong},
};
use clinmill_sdk::{
    BindContext, Caps, Findings, Fold, Input, Locator, PluginError, RecordBatchOf, RecordKey, RecordKind,
    RecordMetaBuilder, RecordSink, Source, Split, Status, TaskContext,
    arrow::{
        array::{ArrayRef, StringBuilder},
        datatypes::{DataType, Field, Schema},
    },
    decode::{Encoding, Resolved},
};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// A configured `notes` source.
pub struct Notes {
    config: NotesConfig,
    kinds: Vec<RecordKind>,
    /// The fields that become columns before `text`, in the schema's order.
    kept: Vec<Kept>,
}

struct Kept {
    field: String,
    pointer: String,
    is_key: bool,
}

/// The column of the text.
const TEXT: &str = "text";
/// Bytes of text after which a batch is handed over.
const BATCH_BYTES: usize = 8 << 20;

impl Source for Notes {
    const NAME: &'static str = "notes";
    const VERSION: &'static str = "0.1.0";
    const SUMMARY: &'static str = "Clinical notes, one text per file, per JSON line or per row of a CSV column";
    const CAPS: Caps = Caps::REJECTS.and(Caps::DETERMINISTIC);
    type Config = NotesConfig;

    fn check(config: &NotesConfig, findings: &mut Findings) {
        if !matches!(config.delimiter, ',' | ';' | '\t') {
            findings.add(
                "/delimiter",
                error::OPTIONS,
                "the delimiter is a comma, a semicolon or a tab",
            );
        }
        if config.max_note == 0 || config.max_note > 1 << 30 {
            findings.add(
                "/max_note",
                error::OPTIONS,
                "max_note is between 1 and 1073741824 bytes",
            );
        }
        if config.subject.id.is_empty() {
            findings.add("/subject/id", error::OPTIONS, "the field of the subject has no name");
        }
        let mut names = vec![TEXT];
        for (pointer, name) in columns(config).iter().map(|(kept, name)| (&kept.pointer, name)) {
            if names.contains(&name.as_str()) {
                findings.add(pointer, error::OPTIONS, format!("two columns are called {name:?}"));
            }
            if name.is_empty() || name.starts_with('_') {
                findings.add(
                    pointer,
                    error::OPTIONS,
                    format!("{name:?} cannot be the name of a column"),
                );
            }
            names.push(name);
        }
    }

    fn bind(config: NotesConfig, _: &BindContext) -> Result<Self, PluginError> {
        let (kept, mut names): (Vec<Kept>, Vec<String>) = columns(&config).into_iter().unzip();
        let key = match config.key.is_empty() {
            true => RecordKey::Content,
            false => RecordKey::Columns(
                kept.iter()
                    .zip(&names)
                    .filter(|(k, _)| k.is_key)
                    .map(|(_, name)| name.clone())
                    .collect(),
            ),
        };
        names.push(TEXT.into());
        let fields: Vec<Field> = names
            .into_iter()
            .map(|name| Field::new(name, DataType::Utf8, true))
            .collect();
        let kind = RecordKind {
            name: String::new(),
            schema: Arc::new(Schema::new(fields)),
            key,
            fold: Fold::Replace,
            subject: true,
        };
        Ok(Self {
            config,
            kinds: vec![kind],
            kept,
        })
    }

    fn records(&self) -> &[RecordKind] {
        &self.kinds
    }

    fn read(
        &self,
        input: &dyn Input,
        _: &Split,
        task: &TaskContext<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        task.check()?;
        let head = head(input)?;
        self.config.encoding.check_mark(&head).map_err(error::encoding)?;
        let resolved = self.config.encoding.resolve(&head, head.len() as u64 == input.size());
        let mut batch = Batch::new(self, input.captures());
        match self.config.format {
            Format::Text => self.read_text(input, resolved, &mut batch, out)?,
            Format::Jsonl | Format::Csv => self.read_frames(input, resolved, task, &mut batch, out)?,
        }
        batch.flush(out)
    }
}

/// The columns before `text`: the key's fields, then the other kept ones, each with the name of its column.
fn columns(config: &NotesConfig) -> Vec<(Kept, String)> {
    let mut all = Vec::new();
    for (index, field) in config.key.iter().enumerate() {
        let kept = Kept {
            field: field.clone(),
            pointer: format!("/key/{index}"),
            is_key: true,
        };
        all.push((kept, config.columns.get(field).unwrap_or(field).clone()));
    }
    for (field, name) in config.columns.iter().filter(|(field, _)| !config.key.contains(field)) {
        let kept = Kept {
            field: field.clone(),
            pointer: format!("/columns/{}", field.replace('~', "~0").replace('/', "~1")),
            is_key: false,
        };
        all.push((kept, name.clone()));
    }
    all
}

/// The first 64 KiB, for recognising the encoding.
fn head(input: &dyn Input) -> Result<Vec<u8>, PluginError> {
    use std::io::Read;
    let mut head = Vec::new();
    clinmill_sdk::InputReader::new(input, 0..64 << 10).read_to_end(&mut head)?;
    Ok(head)
}

impl Notes {
    fn read_text(
        &self,
        input: &dyn Input,
        resolved: Resolved,
        batch: &mut Batch<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        use std::io::Read;
        let bom = resolved.bom as u64;
        let at = Locator {
            offset: bom,
            length: input.size().saturating_sub(bom),
            row: 1,
            ..Locator::default()
        };
        for (field, pointer) in self.named() {
            if !input.captures().contains_key(field) {
                let message = format!("the path of the input captures no {{{field}}}");
                return Err(PluginError::config(pointer, error::NO_CAPTURE, message));
            }
        }
        out.progress(input.size());
        if at.length > self.config.max_note {
            return out.reject(rejection(error::TOO_LONG, self.too_long(), at));
        }
        let mut bytes = Vec::new();
        clinmill_sdk::InputReader::new(input, bom..input.size()).read_to_end(&mut bytes)?;
        let text = resolved.encoding.decode(&bytes, bom).map_err(error::encoding)?;
        batch.push(&Fields::Path, Some(&text), at, out)
    }

    fn read_frames(
        &self,
        input: &dyn Input,
        resolved: Resolved,
        task: &TaskContext<'_>,
        batch: &mut Batch<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        let csv = self.config.format == Format::Csv;
        let wide = matches!(resolved.encoding, Encoding::Utf16 | Encoding::Utf16Be);
        let cut = Cut {
            csv: csv.then_some(self.config.delimiter as u8),
            unit: if wide { 2 } else { 1 },
            big_endian: resolved.encoding == Encoding::Utf16Be,
            max: usize::try_from(self.config.max_note).unwrap_or(usize::MAX),
        };
        let mut header: Option<Vec<String>> = None;
        let mut frames = Frames::new(input, resolved.bom as u64, cut);
        let mut told = 0;
        while let Some(frame) = frames.next()? {
            let at = Locator {
                offset: frame.offset,
                length: frame.length,
                row: frame.row,
                ..Locator::default()
            };
            let whole = match frame.content {
                Content::Bytes(bytes) => match resolved.encoding.decode(bytes, frame.offset) {
                    Ok(text) => Ok(text),
                    Err(bad) => {
                        let at = bad.offset.unwrap_or(frame.offset);
                        Err((error::ENCODING, format!("{} (at byte {at})", bad.message)))
                    }
                },
                Content::TooLong => Err((error::TOO_LONG, self.too_long())),
                Content::Unclosed => Err((error::UNCLOSED_QUOTE, "a quote is opened and not closed".to_owned())),
            };
            match (whole, &header) {
                (Ok(text), _) if text.trim().is_empty() => {}
                (Ok(text), None) if csv => header = Some(self.header(&text, at, input.captures())?),
                (Err((_, message)), None) if csv => {
                    return Err(PluginError::data(
                        at.offset,
                        error::HEADER,
                        format!("the header: {message}"),
                    ));
                }
                (Ok(text), Some(header)) => self.row(&text, header, at, batch, out)?,
                (Ok(text), None) => self.line(&text, at, batch, out)?,
                (Err((code, message)), _) => out.reject(rejection(code, message, at))?,
            }
            if batch.is_full(task.batch_rows) {
                task.check()?;
                batch.flush(out)?;
            }
            let position = frames.position();
            if position - told >= 1 << 20 {
                out.progress(position - told);
                told = position;
                task.check()?;
            }
        }
        if csv && header.is_none() {
            return Err(PluginError::data(0, error::HEADER, "the table has no header"));
        }
        out.progress(frames.position() - told);
        Ok(())
    }

    /// The names of the columns; every field that the options name must be one of them or captured from the path.
    fn header(&self, text: &str, at: Locator, captures: &BTreeMap<String, String>) -> Result<Vec<String>, PluginError> {
        let names: Vec<String> = cells(text, self.config.delimiter)
            .into_iter()
            .map(|cell| cell.trim().to_owned())
            .collect();
        if names
            .iter()
            .enumerate()
            .any(|(i, name)| !name.is_empty() && names[..i].contains(name))
        {
            return Err(PluginError::data(
                at.offset,
                error::HEADER,
                "two columns have the same name",
            ));
        }
        let has = |field: &str| names.iter().any(|name| name == field);
        let text = (self.config.text.as_str(), "/text");
        let named = self.named().chain([text]);
        for (field, pointer) in named {
            if !has(field) && (field == text.0 || !captures.contains_key(field)) {
                return Err(PluginError {
                    offset: Some(at.offset),
                    status: Status::InvalidData,
                    ..PluginError::config(pointer, error::HEADER, format!("the table has no column {field:?}"))
                });
            }
        }
        Ok(names)
    }

    /// Every field that the options name beside the text, with the pointer to where they name it.
    fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        let subject = std::iter::once((self.config.subject.id.as_str(), "/subject/id"));
        let version = self.config.version.as_deref().map(|field| (field, "/version"));
        let kept = self
            .kept
            .iter()
            .map(|kept| (kept.field.as_str(), kept.pointer.as_str()));
        subject.chain(version).chain(kept)
    }

    fn row(
        &self,
        text: &str,
        header: &[String],
        at: Locator,
        batch: &mut Batch<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        let cells = cells(text, self.config.delimiter);
        if cells.len() != header.len() {
            let message = format!("the row has {} cells, the header {}", cells.len(), header.len());
            return out.reject(rejection(error::RAGGED_ROW, message, at));
        }
        let fields = Fields::Row(header, &cells);
        // The header has the column: an empty cell is an empty note.
        let note = fields.get(&self.config.text, batch.captures).unwrap_or_default();
        batch.push(&fields, Some(&note), at, out)
    }

    fn line(
        &self,
        text: &str,
        at: Locator,
        batch: &mut Batch<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        let object = match Object::read(text) {
            Ok(object) => object,
            Err(Wrong::NoObject) => return out.reject(rejection(error::JSON, "the line is not a JSON object", at)),
            Err(Wrong::Twice) => {
                return out.reject(rejection(error::JSON, "a member of the object stands twice", at));
            }
            Err(Wrong::Syntax { column, ends }) => {
                let what = if ends { "ends too early" } else { "is not JSON" };
                let message = format!("line {} {what} (column {column})", at.row);
                return out.reject(rejection(error::JSON, message, at));
            }
        };
        let note = match object.get(&self.config.text) {
            Some(Member::Text(text)) => Some(text.as_ref()),
            _ => None,
        };
        batch.push(&Fields::Object(&object), note, at, out)
    }

    fn too_long(&self) -> String {
        format!("the record is longer than {} bytes", self.config.max_note)
    }
}

/// Where the fields of a record are.
enum Fields<'a> {
    Path,
    Row(&'a [String], &'a [Cow<'a, str>]),
    Object(&'a Object<'a>),
}

impl Fields<'_> {
    /// The path speaks only of fields that the record does not have: an empty cell says that there is nothing.
    fn get<'f>(&'f self, field: &str, captures: &'f BTreeMap<String, String>) -> Option<Cow<'f, str>> {
        match self {
            Self::Row(header, cells) => {
                if let Some(index) = header.iter().position(|name| name == field) {
                    let cell = cells.get(index).filter(|cell| !cell.is_empty())?;
                    return Some(Cow::Borrowed(cell.as_ref()));
                }
            }
            Self::Object(object) => match object.get(field) {
                None => {}
                Some(Member::Null) => return None,
                Some(Member::Text(text)) => return Some(Cow::Borrowed(text)),
                Some(Member::Number(text)) => return Some(Cow::Borrowed(text)),
                Some(Member::Other(json)) => return Some(Cow::Borrowed(json)),
            },
            Self::Path => {}
        }
        captures.get(field).map(Cow::from)
    }

    /// As `get`, of an identifier: a text or a number that is more than white space, without the white space round it.
    fn id(&self, field: &str, captures: &BTreeMap<String, String>) -> Option<String> {
        if let Self::Object(object) = self
            && matches!(object.get(field), Some(Member::Other(_)))
        {
            return None;
        }
        let id = self.get(field, captures)?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty())
    }
}

/// The records of one batch.
struct Batch<'a> {
    source: &'a Notes,
    captures: &'a BTreeMap<String, String>,
    meta: RecordMetaBuilder,
    columns: Vec<StringBuilder>,
    text: StringBuilder,
    bytes: usize,
}

impl<'a> Batch<'a> {
    fn new(source: &'a Notes, captures: &'a BTreeMap<String, String>) -> Self {
        Self {
            source,
            captures,
            meta: RecordMetaBuilder::default(),
            columns: source.kept.iter().map(|_| StringBuilder::new()).collect(),
            text: StringBuilder::new(),
            bytes: 0,
        }
    }

    fn push(
        &mut self,
        fields: &Fields<'_>,
        text: Option<&str>,
        at: Locator,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        let (source, captures) = (self.source, self.captures);
        let config = &source.config;
        let get = |field: &str| fields.get(field, captures);
        let Some(text) = text else {
            return out.reject(rejection(
                error::NO_TEXT,
                format!("the field {:?} holds no text", config.text),
                at,
            ));
        };
        if text.trim().is_empty() {
            return out.reject(rejection(error::EMPTY, "the note is empty", at));
        }
        let Some(subject) = fields.id(&config.subject.id, captures) else {
            let message = format!("the field {:?} names no subject", config.subject.id);
            return out.reject(rejection(error::NO_SUBJECT, message, at));
        };
        let values: Vec<Option<Cow<'_, str>>> = source.kept.iter().map(|kept| get(&kept.field)).collect();
        for (kept, value) in source.kept.iter().zip(&values) {
            if kept.is_key && value.as_ref().is_none_or(|v| v.trim().is_empty()) {
                let message = format!("the field {:?} of the key is absent", kept.field);
                return out.reject(rejection(error::NO_KEY, message, at));
            }
        }
        let version = config.version.as_deref().and_then(get).filter(|v| !v.trim().is_empty());
        let size = text.len() + values.iter().flatten().map(|v| v.len()).sum::<usize>();
        if self.bytes + size > BATCH_BYTES {
            self.flush(out)?;
        }
        self.bytes += size;
        self.meta
            .push(&config.subject.issuer, Some(&subject), version.as_deref(), false, at);
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.append_option(value);
        }
        self.text.append_value(text);
        Ok(())
    }

    fn is_full(&self, rows: usize) -> bool {
        self.meta.len() >= rows.max(1)
    }

    fn flush(&mut self, out: &mut dyn RecordSink) -> Result<(), PluginError> {
        self.bytes = 0;
        let Some(kind) = self.source.kinds.first().filter(|_| !self.meta.is_empty()) else {
            return Ok(());
        };
        let mut arrays: Vec<ArrayRef> = self
            .columns
            .iter_mut()
            .map(|c| Arc::new(c.finish()) as ArrayRef)
            .collect();
        arrays.push(Arc::new(self.text.finish()));
        out.rows(RecordBatchOf::new(0, kind.schema.clone(), arrays, self.meta.finish())?)
    }
}
