//! A transform that is a process. *check* and *bind* have a process each; a run has one of its own.

use super::child::{Message, Running, Until};
use crate::limits::Limits;
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use clinmill_abi::Status as AbiStatus;
use clinmill_model::Digest;
use clinmill_sdk::{
    BindContext, BoundTransform, Caps, Descriptor, Emit, Finding, Kind, Origin, PluginError, RejectedRow, Status,
    TaskContext, TransformPlugin, TransformRun,
    arrow::{
        array::{Array, AsArray, RecordBatch},
        datatypes::{DataType, Schema, SchemaRef, UInt32Type, UInt64Type},
    },
    export::abi_status,
};
use serde_json::{Value, json};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

/// The version of the protocol.
const PROTOCOL: u64 = 1;

/// A transform plugin that is a program.
pub struct ProcessTransform {
    program: Arc<Program>,
    descriptor: Descriptor,
}

struct Program {
    name: String,
    command: Vec<PathBuf>,
    limits: Limits,
}

/// The names of what a plugin can do, as its description has them.
const CAPABILITIES: [(&str, Caps); 5] = [
    ("row-wise", Caps::ROW_WISE),
    ("subject-wise", Caps::SUBJECT_WISE),
    ("dataset-wise", Caps::DATASET_WISE),
    ("rejects", Caps::REJECTS),
    ("deterministic", Caps::DETERMINISTIC),
];

impl ProcessTransform {
    /// Starts the program once and asks it to describe itself. `build` is what the program is known by.
    ///
    /// # Errors
    /// When it does not start, does not answer in time or is no transform of this protocol.
    pub fn new(name: &str, command: Vec<PathBuf>, build: Digest, limits: Limits) -> Result<Self, PluginError> {
        let program = Arc::new(Program {
            name: name.to_owned(),
            command,
            limits,
        });
        let mut running = program.start()?;
        let said = program.call(&mut running, "describe", json!({ "protocol": PROTOCOL }), &[], None)?;
        let text = |key: &str| said.text(key).to_owned();
        if said.head.get("protocol").and_then(Value::as_u64) != Some(PROTOCOL) {
            return Err(running.protocol("describe", "it speaks another version of the protocol"));
        }
        if said.text("kind") != "transform" || said.text("name") != name {
            return Err(running.protocol("describe", "it is no transform, or has another name"));
        }
        let mut caps = Caps::default();
        for named in said
            .head
            .get("capabilities")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            match CAPABILITIES.iter().find(|(known, _)| named == known) {
                Some((_, cap)) => caps = caps.and(*cap),
                None => return Err(running.protocol("describe", "it names a capability that is not known")),
            }
        }
        let schema = said.head.get("schema").cloned().unwrap_or_default();
        if !schema.is_object() {
            return Err(running.protocol("describe", "the schema of its options is no object"));
        }
        Ok(Self {
            descriptor: Descriptor {
                name: text("name"),
                version: text("version"),
                build: Some(build.to_string()),
                summary: text("summary"),
                kind: Kind::Transform,
                caps,
                schema,
            },
            program,
        })
    }
}

impl Program {
    fn start(&self) -> Result<Running, PluginError> {
        Running::start(&self.name, &self.command, self.limits)
    }

    /// A call that is answered by `done` alone.
    fn call(
        &self,
        running: &mut Running,
        call: &str,
        head: Value,
        body: &[u8],
        cancelled: Option<&AtomicBool>,
    ) -> Result<Message, PluginError> {
        self.call_with(running, call, head, body, cancelled, &mut |_| {
            Err("a reply that does not belong to this call")
        })
    }

    fn call_with(
        &self,
        running: &mut Running,
        call: &str,
        mut head: Value,
        body: &[u8],
        cancelled: Option<&AtomicBool>,
        reply: &mut dyn FnMut(Message) -> Result<(), &'static str>,
    ) -> Result<Message, PluginError> {
        let until = Until::of(&self.limits, cancelled);
        if let Value::Object(head) = &mut head {
            head.insert("call".into(), call.into());
        }
        running.send(call, head, body, &until)?;
        loop {
            let message = running.receive(call, &until)?;
            match message.text("reply") {
                "done" => return Ok(message),
                "error" => return Err(error_of(&message)),
                _ => {
                    if let Err(what) = reply(message) {
                        return Err(running.protocol(call, what));
                    }
                }
            }
        }
    }

    fn bind(
        &self,
        running: &mut Running,
        options: &Value,
        input: &Schema,
        context: &BindContext,
    ) -> Result<SchemaRef, PluginError> {
        let until = Until::of(&self.limits, None);
        for (reference, resource) in &context.resources {
            for (file, bytes) in &resource.files {
                let head = json!({ "call": "resource", "reference": reference, "file": file });
                running.send("bind", head, bytes, &until)?;
            }
        }
        let head = json!({ "options": options, "name": context.name, "timezone": context.timezone });
        let said = self.call(running, "bind", head, &stream(input, None)?, None)?;
        match read_stream(&said.body) {
            Some((schema, batches)) if batches.is_empty() => Ok(schema),
            _ => Err(running.protocol("bind", "the output's schema is no Arrow IPC stream without batches")),
        }
    }
}

fn error_of(message: &Message) -> PluginError {
    let named = message.text("status").to_ascii_uppercase();
    let status = AbiStatus::ALL
        .iter()
        .find(|(_, c)| c.strip_prefix("CLINMILL_") == Some(&named))
        .and_then(|(status, _)| abi_status(status.code()));
    let code = match message.text("code") {
        "" => "PLUGIN_FAILED",
        code => code,
    };
    PluginError {
        pointer: message.head.get("pointer").and_then(Value::as_str).map(str::to_owned),
        ..PluginError::new(status.unwrap_or(Status::Internal), code, message.text("message"))
    }
}

/// A schema, and maybe one batch, as an Arrow IPC stream.
fn stream(schema: &Schema, batch: Option<&RecordBatch>) -> Result<Vec<u8>, PluginError> {
    let mut out = Vec::new();
    let mut writer = StreamWriter::try_new(&mut out, schema)?;
    if let Some(batch) = batch {
        writer.write(batch)?;
    }
    writer.finish()?;
    drop(writer);
    Ok(out)
}

/// Reads a stream; `None` when it is not one. The reader checks what it reads; that it may also panic on what is
/// malformed enough, costs the call.
fn read_stream(bytes: &[u8]) -> Option<(SchemaRef, Vec<RecordBatch>)> {
    let read = || {
        let reader = StreamReader::try_new(bytes, None).ok()?;
        let schema = reader.schema();
        Some((schema, reader.collect::<Result<Vec<_>, _>>().ok()?))
    };
    catch_unwind(AssertUnwindSafe(read)).ok().flatten()
}

impl TransformPlugin for ProcessTransform {
    fn descriptor(&self) -> Descriptor {
        self.descriptor.clone()
    }

    fn check(&self, options: &Value) -> Vec<Finding> {
        let said = self.program.start().and_then(|mut running| {
            let said = self
                .program
                .call(&mut running, "check", json!({ "options": options }), &[], None)?;
            let all = said.head.get("findings").and_then(Value::as_array);
            let read = |f: &Value| {
                let text = |key: &str| f.get(key).and_then(Value::as_str).map(str::to_owned);
                Some(Finding {
                    code: text("code")?,
                    pointer: text("pointer").unwrap_or_default(),
                    message: text("message")?,
                    hint: text("hint"),
                })
            };
            all.and_then(|all| all.iter().map(read).collect::<Option<Vec<_>>>())
                .ok_or_else(|| running.protocol("check", "its findings are not a list of findings"))
        });
        said.unwrap_or_else(|error| {
            vec![Finding {
                code: error.code,
                pointer: error.pointer.unwrap_or_default(),
                message: error.message,
                hint: None,
            }]
        })
    }

    fn bind(
        &self,
        options: &Value,
        input: &Schema,
        context: &BindContext,
    ) -> Result<Arc<dyn BoundTransform>, PluginError> {
        let mut running = self.program.start()?;
        let output = self.program.bind(&mut running, options, input, context)?;
        Ok(Arc::new(Bound {
            program: self.program.clone(),
            options: options.clone(),
            input: Arc::new(input.clone()),
            context: context.clone(),
            output,
        }))
    }
}

struct Bound {
    program: Arc<Program>,
    options: Value,
    input: SchemaRef,
    context: BindContext,
    output: SchemaRef,
}

impl BoundTransform for Bound {
    fn output(&self) -> SchemaRef {
        self.output.clone()
    }

    fn open<'a>(&'a self, task: &TaskContext<'a>) -> Result<Box<dyn TransformRun + 'a>, PluginError> {
        let mut running = self.program.start()?;
        let output = self
            .program
            .bind(&mut running, &self.options, &self.input, &self.context)?;
        if output.fields() != self.output.fields() {
            return Err(running.protocol("bind", "the same options gave another schema"));
        }
        let head = json!({ "batch_rows": task.batch_rows });
        self.program
            .call(&mut running, "open", head, &[], Some(task.cancelled))?;
        Ok(Box::new(Run {
            bound: self,
            running,
            cancelled: task.cancelled,
        }))
    }
}

struct Run<'a> {
    bound: &'a Bound,
    running: Running,
    cancelled: &'a AtomicBool,
}

impl TransformRun for Run<'_> {
    fn process(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<(), PluginError> {
        let body = stream(&self.bound.input, Some(batch))?;
        self.call("process", &body, batch.num_rows(), out)
    }

    fn finish(&mut self, out: &mut dyn Emit) -> Result<(), PluginError> {
        self.call("finish", &[], 0, out)
    }
}

impl Run<'_> {
    fn call(&mut self, call: &str, body: &[u8], rows: usize, out: &mut dyn Emit) -> Result<(), PluginError> {
        // A host that cannot take more is the reason, and not the plugin.
        let mut refused = None;
        let bound = self.bound;
        let mut reply = |message: Message| -> Result<(), &'static str> {
            let outcome = match message.text("reply") {
                "rows" => {
                    for (batch, origin) in bound.rows(&message, call, rows)? {
                        if let Err(error) = out.rows(batch, origin) {
                            refused.get_or_insert(error);
                        }
                    }
                    Ok(())
                }
                "rejected" => rejected(&message, rows)?
                    .into_iter()
                    .try_for_each(|row| out.reject(row)),
                "count" => {
                    out.count(
                        message.text("name"),
                        message.head.get("n").and_then(Value::as_u64).unwrap_or(0),
                    );
                    Ok(())
                }
                _ => return Err("a reply that does not belong to this call"),
            };
            if let Err(error) = outcome {
                refused.get_or_insert(error);
            }
            Ok(())
        };
        let program = &self.bound.program;
        let done = program.call_with(
            &mut self.running,
            call,
            json!({}),
            body,
            Some(self.cancelled),
            &mut reply,
        );
        match refused {
            Some(error) => Err(error),
            None => done.map(drop),
        }
    }
}

impl Bound {
    fn rows(&self, message: &Message, phase: &str, rows: usize) -> Result<Vec<(RecordBatch, Origin)>, &'static str> {
        let (schema, batches) = read_stream(&message.body).ok_or("rows that are no Arrow IPC stream")?;
        let columns = self.output.fields().len();
        let promised = |said: &Schema| said.fields().iter().zip(self.output.fields()).all(|(a, b)| a == b);
        let lineage = match schema.fields().len() {
            n if n == columns => false,
            n if n == columns + 1 && schema.field(columns).name() == "_in" => true,
            _ => return Err("a batch has another schema than the one it promised"),
        };
        if !promised(&schema) {
            return Err("a batch has another schema than the one it promised");
        }
        let each = batches.into_iter().map(|batch| {
            if batch.num_rows() > self.program.limits.batch_rows {
                return Err("a batch has more rows than a batch may have");
            }
            let origin = match lineage {
                true => origin(&batch, columns, rows)?,
                false => Origin::Same,
            };
            if origin == Origin::Same && phase == "process" && batch.num_rows() != rows {
                return Err(
                    "a batch has another number of rows than its input, and they do not say where they come from",
                );
            }
            let kept: Vec<usize> = (0..columns).collect();
            let batch = batch.project(&kept).and_then(|b| b.with_schema(self.output.clone()));
            batch
                .map(|batch| (batch, origin))
                .map_err(|_| "a batch does not fit its schema")
        });
        each.collect()
    }
}

fn origin(batch: &RecordBatch, column: usize, rows: usize) -> Result<Origin, &'static str> {
    let lists = batch
        .column(column)
        .as_list_opt::<i32>()
        .ok_or("the column _in is no list")?;
    let mut origins = Vec::with_capacity(batch.num_rows());
    for row in 0..lists.len() {
        let list = lists.value(row);
        let values = list
            .as_primitive_opt::<UInt64Type>()
            .ok_or("the column _in holds no uint64")?;
        match values.len() {
            0 => {}
            1 if values.value(0) < rows as u64 => origins.push(u32::try_from(values.value(0)).unwrap_or(u32::MAX)),
            1 => return Err("a row comes from a row that is not in the batch"),
            _ => return Err("a row comes from several rows, which this host does not take yet"),
        }
    }
    match origins.len() {
        0 if batch.num_rows() > 0 => Ok(Origin::Same),
        n if n == batch.num_rows() => Ok(Origin::Rows(origins)),
        _ => Err("some rows say where they come from, and others do not"),
    }
}

fn rejected(message: &Message, rows: usize) -> Result<Vec<RejectedRow>, &'static str> {
    let (schema, batches) = read_stream(&message.body).ok_or("rejections that are no Arrow IPC stream")?;
    let types: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
    if types != [&DataType::UInt32, &DataType::Utf8, &DataType::Utf8] {
        return Err("rejections are not row, code and message");
    }
    let mut all = Vec::new();
    for batch in batches {
        if batch.columns().iter().any(|column| column.null_count() > 0) {
            return Err("a rejection holds a null");
        }
        let row = batch.column(0).as_primitive::<UInt32Type>();
        let (code, message) = (batch.column(1).as_string::<i32>(), batch.column(2).as_string::<i32>());
        for index in 0..batch.num_rows() {
            if row.value(index) as usize >= rows {
                return Err("it rejects a row that is not in the batch");
            }
            if code.value(index).is_empty() {
                return Err("it rejects a row without a code");
            }
            all.push(RejectedRow {
                row: row.value(index),
                code: code.value(index).to_owned(),
                message: message.value(index).to_owned(),
            });
        }
    }
    Ok(all)
}
