//! A source that is a process. It asks for the bytes of its input and pushes records, as a library does. Bound processes
//! are kept for the next input: they may have read others before.

use super::{
    child::{Message, Running, Until},
    program::{Binding, Described, Idle, Program, Refusal, STRANGE, number, read_schema, read_stream},
};
use crate::{
    limits::interrupted,
    records::{LARGEST, MOST_KINDS, MOST_SPLITS, Reading, meta, misnamed, of_meta, too_many_splits},
};
use clinmill_sdk::{
    BindContext, BoundSource, Caps, Descriptor, Finding, Fold, IdentityLink, Input, Locator, PluginError,
    RecordBatchOf, RecordKey, RecordKind, RecordSink, Rejection, SourcePlugin, Split, SubjectId, TaskContext,
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions},
        datatypes::{DataType, Schema, UInt32Type, UInt64Type},
    },
};
use serde_json::{Map, Value, json};
use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A source plugin that is a program.
pub struct ProcessSource(pub Described);

impl SourcePlugin for ProcessSource {
    fn descriptor(&self) -> Descriptor {
        self.0.descriptor.clone()
    }

    fn check(&self, options: &Value) -> Vec<Finding> {
        self.0.check(options)
    }

    fn bind(&self, options: &Value, context: &BindContext) -> Result<Arc<dyn BoundSource>, PluginError> {
        let program = self.0.program.clone();
        let binding = Binding::new(options, context);
        let mut running = program.start()?;
        let kinds = kinds(&program, &mut running, &binding)?;
        let idle = Idle::default();
        idle.keep(running);
        Ok(Arc::new(Source {
            program,
            binding,
            kinds,
            splits: self.0.descriptor.caps.has(Caps::SPLITS),
            idle,
            is_lost: AtomicBool::new(false),
        }))
    }
}

struct Source {
    program: Arc<Program>,
    binding: Binding,
    kinds: Vec<RecordKind>,
    /// It cuts inputs itself.
    splits: bool,
    idle: Idle,
    /// A process of it was lost: it is not called again.
    is_lost: AtomicBool,
}

fn kinds(program: &Program, running: &mut Running, binding: &Binding) -> Result<Vec<RecordKind>, PluginError> {
    let mut kinds = Vec::new();
    program.bind(running, binding, None, &mut |message| {
        if message.text("reply") != "record" {
            return Err(STRANGE.into());
        }
        if kinds.len() >= MOST_KINDS {
            return Err("it has too many kinds of records".into());
        }
        kinds.push(kind(&message)?);
        Ok(None)
    })?;
    match (kinds.is_empty(), misnamed(&kinds)) {
        (true, _) => Err(running.protocol("bind", "it has no kinds of records")),
        (_, Some(what)) => Err(running.protocol("bind", &what)),
        _ => Ok(kinds),
    }
}

fn kind(message: &Message) -> Result<RecordKind, &'static str> {
    let schema = read_schema(&message.body)?;
    let key = match message.head.get("key") {
        Some(Value::String(key)) if key == "content" => RecordKey::Content,
        Some(Value::Array(columns)) => {
            let names = columns.iter().map(|column| column.as_str().map(str::to_owned));
            let names: Vec<String> = names
                .collect::<Option<_>>()
                .ok_or("a key column of a record is no text")?;
            if names.iter().any(|name| schema.index_of(name).is_err()) {
                return Err("a record has a key column that it does not have");
            }
            RecordKey::Columns(names)
        }
        _ => return Err("a record has a key of no known kind"),
    };
    let fold = match message.text("fold") {
        "replace" => Fold::Replace,
        "patch" => Fold::Patch,
        _ => return Err("a record folds in no known way"),
    };
    let subject = message.head.get("subject").and_then(Value::as_bool);
    Ok(RecordKind {
        name: message.text("name").to_owned(),
        schema,
        key,
        fold,
        subject: subject.ok_or("a record does not say whether it is about a subject")?,
    })
}

fn is_same(a: &RecordKind, b: &RecordKind) -> bool {
    (&a.name, &a.key, a.fold, a.subject) == (&b.name, &b.key, b.fold, b.subject)
        && a.schema.fields() == b.schema.fields()
}

impl Source {
    fn running(&self) -> Result<Running, PluginError> {
        if let Some(running) = self.idle.take() {
            return Ok(running);
        }
        let mut running = self.program.start()?;
        let again = kinds(&self.program, &mut running, &self.binding)?;
        let same = again.len() == self.kinds.len() && again.iter().zip(&self.kinds).all(|(a, b)| is_same(a, b));
        match same {
            true => Ok(running),
            false => Err(running.protocol("bind", "the same options gave other records")),
        }
    }

    /// One call about an input; `reply` takes what is not a question for its bytes.
    fn ask(
        &self,
        call: &str,
        mut head: Value,
        input: &dyn Input,
        cancelled: &AtomicBool,
        reply: &mut dyn FnMut(Message, &mut Reading) -> Result<(), Refusal>,
    ) -> Result<Message, PluginError> {
        if self.is_lost.load(Ordering::Relaxed) {
            return Err(PluginError {
                code: "PLUGIN_POISONED".into(),
                ..self.program.blame(call, "an earlier call of it was lost")
            });
        }
        head["name"] = input.name().into();
        head["captures"] = json!(input.captures());
        head["size"] = input.size().into();
        let mut running = self.running()?;
        let limits = &self.program.limits;
        let (mut reading, has_got_on) = (Reading::new(input.size(), limits), Cell::new(false));
        let mut until = Until::of_signs(limits, cancelled, &has_got_on);
        let mut answer = |message: Message| -> Result<Option<Vec<u8>>, Refusal> {
            if message.text("reply") != "bytes" {
                let taken = reply(message, &mut reading).map(|()| None);
                has_got_on.set(reading.has_got_on());
                return taken;
            }
            let asked = |key| number(&message.head, key).ok_or("it asks for bytes without saying which");
            let (offset, length) = (asked("offset")?, asked("length")?);
            let left = input.size().saturating_sub(offset).min(LARGEST as u64);
            let mut bytes = vec![0; usize::try_from(length.min(left)).unwrap_or(LARGEST)];
            let read = match bytes.is_empty() {
                true => 0,
                false => input.read_at(offset, &mut bytes).map_err(PluginError::from)?,
            };
            bytes.truncate(read);
            reading.read(offset, read);
            has_got_on.set(reading.has_got_on());
            Ok(Some(bytes))
        };
        let outcome = self
            .program
            .call_with(&mut running, call, head, &[], &mut until, &mut answer);
        if outcome.as_ref().is_err_and(PluginError::is_of_boundary) {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        self.idle.keep(running);
        outcome
    }

    fn kept(&self, outcome: Result<(), PluginError>) -> Result<(), PluginError> {
        self.program.blamed("read", outcome)
    }

    fn batch(&self, message: &Message) -> Result<Vec<RecordBatchOf>, &'static str> {
        let index = number(&message.head, "kind").and_then(|kind| usize::try_from(kind).ok());
        let Some((index, kind)) = index.and_then(|index| Some((index, self.kinds.get(index)?))) else {
            return Err("a batch of a kind that it does not have");
        };
        let (schema, batches) = read_stream(&message.body, "rows that are no Arrow IPC stream")?;
        if !has_columns(&schema, kind) {
            return Err("a batch has another schema than the one it promised");
        }
        batches.iter().map(|batch| self.records(index, kind, batch)).collect()
    }

    fn records(&self, index: usize, kind: &RecordKind, batch: &RecordBatch) -> Result<RecordBatchOf, &'static str> {
        if batch.num_rows() > self.program.limits.batch_rows {
            return Err("a batch has more rows than a batch may have");
        }
        let own = kind.schema.fields().len();
        let (columns, said) = batch.columns().split_at(own);
        if meta(kind.subject)
            .iter()
            .zip(said)
            .any(|(field, column)| !field.is_nullable() && column.null_count() > 0)
        {
            return Err("a record has no subject, or does not say where it stands");
        }
        let meta = of_meta(said).map_err(|_| "a record is neither void nor not")?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(kind.schema.clone(), columns.to_vec(), &options)
            .map_err(|_| "a batch does not fit its schema")?;
        Ok(RecordBatchOf {
            kind: index,
            rows,
            meta,
        })
    }
}

/// Whether these are the columns of a kind, and the nine, whose names begin with `_`.
fn has_columns(schema: &Schema, kind: &RecordKind) -> bool {
    let own = kind.schema.fields();
    let nine = meta(kind.subject);
    schema.fields().len() == own.len() + nine.len()
        && schema.fields().iter().zip(own).all(|(a, b)| a == b)
        && schema.fields().iter().skip(own.len()).zip(&nine).all(|(said, field)| {
            said.name().strip_prefix('_') == Some(field.name()) && said.data_type() == field.data_type()
        })
}

impl BoundSource for Source {
    fn records(&self) -> &[RecordKind] {
        &self.kinds
    }

    fn splits(&self, input: &dyn Input) -> Result<Vec<Split>, PluginError> {
        if !self.splits {
            return Ok(vec![Split::whole(input)]);
        }
        let said = self.ask("splits", json!({}), input, interrupted(), &mut |_, _| {
            Err(STRANGE.into())
        })?;
        let all = said.head.get("splits").and_then(Value::as_array);
        let split = |said: &Value| {
            let (start, end) = (said.get(0)?.as_u64()?, said.get(1)?.as_u64()?);
            (start <= end && end <= input.size()).then_some(Split { start, end })
        };
        if all.is_some_and(|all| all.len() > MOST_SPLITS) {
            return Err(self.program.blame("splits", &too_many_splits()));
        }
        let splits = all.and_then(|all| all.iter().map(split).collect());
        splits.ok_or_else(|| self.program.blame("splits", "its splits are not parts of the input"))
    }

    fn read(
        &self,
        input: &dyn Input,
        split: &Split,
        task: &TaskContext<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        let head = json!({ "start": split.start, "end": split.end, "batch_rows": task.batch_rows });
        let mut reply = |message: Message, reading: &mut Reading| -> Result<(), Refusal> {
            match message.text("reply") {
                "rows" => {
                    for batch in self.batch(&message)? {
                        self.kept(reading.rows(&batch.meta))?;
                        out.rows(batch)?;
                    }
                }
                "rejected" => {
                    for rejection in rejected(&message, &self.program, self.kinds.len())? {
                        self.kept(reading.reject(&rejection))?;
                        out.reject(rejection)?;
                    }
                }
                "link" => {
                    let link = link(&message.head)?;
                    self.kept(reading.link(&link))?;
                    out.link(link)?;
                }
                "filtered" => {
                    let rule = message.text("rule");
                    let kinds = self.kinds.iter().map(|kind| kind.name.as_str());
                    self.program.named("read", rule, kinds)?;
                    let n = number(&message.head, "n").ok_or("a count that is no number from 0 on")?;
                    out.filtered(rule, n);
                }
                "progress" => {
                    out.progress(reading.progress(number(&message.head, "n").unwrap_or(0)));
                }
                _ => return Err(STRANGE.into()),
            }
            Ok(())
        };
        self.ask("read", head, input, task.cancelled, &mut reply).map(drop)
    }
}

/// Where something stands, in a reply that is a line alone.
fn locator(head: &Map<String, Value>) -> Locator {
    let short = |key| number(head, key).and_then(|n| u32::try_from(n).ok());
    Locator {
        offset: number(head, "offset").unwrap_or(0),
        length: number(head, "length").unwrap_or(0),
        row: number(head, "row").unwrap_or(0),
        part: short("part").unwrap_or(0),
        cell: short("cell"),
    }
}

fn link(head: &Map<String, Value>) -> Result<IdentityLink, &'static str> {
    let subject = |key: &str| {
        let said = head.get(key)?;
        let text = |key: &str| said.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(SubjectId {
            issuer: text("issuer").unwrap_or_default(),
            id: text("id")?,
        })
    };
    let missing = "a link without its two identifiers";
    Ok(IdentityLink {
        survivor: subject("survivor").ok_or(missing)?,
        retired: subject("retired").ok_or(missing)?,
        version: head.get("version").and_then(Value::as_str).map(str::to_owned),
        at: locator(head),
    })
}

/// Kind, code, message and locator of each record that could not be used.
fn rejected(message: &Message, program: &Program, kinds: usize) -> Result<Vec<Rejection>, Refusal> {
    let columns = [
        DataType::UInt32,
        DataType::Utf8,
        DataType::Utf8,
        DataType::UInt64,
        DataType::UInt64,
        DataType::UInt64,
        DataType::UInt32,
        DataType::UInt32,
    ];
    let (schema, batches) = read_stream(&message.body, "rejections that are no Arrow IPC stream")?;
    if !schema.fields().iter().map(|field| field.data_type()).eq(&columns) {
        return Err("rejections are not kind, code, message, offset, length, row, part and cell".into());
    }
    let mut all = Vec::new();
    for batch in batches {
        let [kind, code, message, offset, length, row, part, cell] = batch.columns() else {
            continue;
        };
        let missing = |column: &ArrayRef| column.null_count() > 0;
        if [code, message, offset, length, row, part].into_iter().any(missing) {
            return Err("a rejection holds a null".into());
        }
        let (kind, part, cell) = (
            kind.as_primitive::<UInt32Type>(),
            part.as_primitive::<UInt32Type>(),
            cell.as_primitive::<UInt32Type>(),
        );
        let (code, message) = (code.as_string::<i32>(), message.as_string::<i32>());
        let [offset, length, row] = [offset, length, row].map(|column| column.as_primitive::<UInt64Type>());
        for index in 0..batch.num_rows() {
            let of = kind.is_valid(index).then(|| kind.value(index) as usize);
            if of.is_some_and(|of| of >= kinds) {
                return Err("it rejects a record of a kind that it does not have".into());
            }
            all.push(Rejection {
                kind: of,
                code: code.value(index).to_owned(),
                message: program.rejection("read", code.value(index), message.value(index))?,
                at: Locator {
                    offset: offset.value(index),
                    length: length.value(index),
                    row: row.value(index),
                    part: part.value(index),
                    cell: cell.is_valid(index).then(|| cell.value(index)),
                },
            });
        }
    }
    Ok(all)
}
