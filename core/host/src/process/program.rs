//! A program that is a plugin: what it says of itself, and how it is called. The kinds differ in which calls they have.

use super::{
    child::{Message, Running, Until},
    executable::Executable,
};
use crate::{
    limits::Limits,
    texts::{Known, LONGEST_NAME, LONGEST_TEXT, ROW_WISE_ALONE, findings, is_code, of_options, said as told},
};
use arrow_ipc::{reader::StreamReader, root_as_message, writer::StreamWriter};
use clinmill_abi::Status as AbiStatus;
use clinmill_model::{Digest, keywords};
use clinmill_sdk::{
    BindContext, Caps, Descriptor, Finding, Kind, PluginError, Status,
    arrow::{
        array::RecordBatch,
        datatypes::{Schema, SchemaRef},
    },
    decimal,
    export::{abi_status, schema as schemas},
};
use serde_json::{Map, Value, json};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicBool},
};

/// The version of the protocol.
const PROTOCOL: u64 = 1;

/// The kinds, as a description has them.
const KINDS: [(&str, Kind); 3] = [
    ("source", Kind::Source),
    ("transform", Kind::Transform),
    ("sink", Kind::Sink),
];

/// The names of what a plugin can do, as its description has them.
const CAPABILITIES: [(&str, Caps); 7] = [
    ("row-wise", Caps::ROW_WISE),
    ("subject-wise", Caps::SUBJECT_WISE),
    ("dataset-wise", Caps::DATASET_WISE),
    ("splits", Caps::SPLITS),
    ("deletes", Caps::DELETES),
    ("rejects", Caps::REJECTS),
    ("deterministic", Caps::DETERMINISTIC),
];

/// How a program is started.
pub struct Program {
    name: String,
    executable: Executable,
    pub limits: Limits,
    /// Of its options; from when it has described itself.
    schema: OnceLock<Value>,
    /// What it has said of rows.
    known: Known,
}

/// The file of a program, and what it must be.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The file: a program, or what an interpreter runs.
    pub path: PathBuf,
    /// Its SHA-256.
    pub digest: Digest,
}

/// A program that has described itself.
#[derive(Clone)]
pub struct Described {
    pub program: Arc<Program>,
    pub descriptor: Descriptor,
}

/// Why a reply is not taken: either way the process is ended.
pub enum Refusal {
    /// It is not what the protocol says.
    Protocol(&'static str),
    /// The host cannot take more: the reason, and not the plugin's fault.
    Host(PluginError),
}

impl From<&'static str> for Refusal {
    fn from(what: &'static str) -> Self {
        Self::Protocol(what)
    }
}

impl From<PluginError> for Refusal {
    fn from(error: PluginError) -> Self {
        Self::Host(error)
    }
}

/// Takes a reply that comes before `done`. What it returns is sent as the answer to what the plugin asked.
pub type Reply<'a> = dyn FnMut(Message) -> Result<Option<Vec<u8>>, Refusal> + 'a;

impl Described {
    /// Starts the program once and asks it to describe itself.
    ///
    /// # Errors
    /// When it does not start, does not answer in time or is no plugin of this protocol.
    pub fn new(name: &str, command: Vec<PathBuf>, pinned: Pinned, limits: Limits) -> Result<Self, PluginError> {
        let build = pinned.digest;
        let blame = |code: &str, what: &str| {
            let message = format!("the plugin {name:?} in start: {what}");
            PluginError::new(Status::NotFound, code, message)
        };
        let executable = Executable::new(&pinned.path, pinned.digest, &command)
            .map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => blame("PLUGIN_START", &error.to_string()),
                _ => blame("PLUGIN_START", "its program cannot be read"),
            })?
            .ok_or_else(|| blame("PLUGIN_DIGEST", "its program is not the one that was looked at"))?;
        let program = Arc::new(Program {
            name: name.to_owned(),
            executable,
            limits,
            schema: OnceLock::new(),
            known: Known::new(&limits),
        });
        let mut running = Running::start(name, &program.executable, limits, true)?;
        let said = program.call(&mut running, "describe", json!({ "protocol": PROTOCOL }), &[], None)?;
        let text = |key: &str| told(said.text(key), LONGEST_TEXT);
        if said.head.get("protocol").and_then(Value::as_u64) != Some(PROTOCOL) {
            return Err(running.protocol("describe", "it speaks another version of the protocol"));
        }
        if said.text("name") != name {
            let what = format!("it has another name: {:?}", told(said.text("name"), LONGEST_NAME));
            return Err(running.protocol("describe", &what));
        }
        let Some((_, kind)) = KINDS.iter().find(|(known, _)| said.text("kind") == *known) else {
            return Err(running.protocol("describe", "it is of no known kind"));
        };
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
                None => return Err(running.protocol("describe", &unknown_capability(named))),
            }
        }
        if *kind == Kind::Transform && caps.needs_whole() {
            return Err(running.protocol("describe", ROW_WISE_ALONE));
        }
        let schema = said.head.get("schema").cloned().unwrap_or_default();
        if !schema.is_object() {
            return Err(running.protocol("describe", "the schema of its options is no object"));
        }
        if let Some(what) = keywords::unread(&schema) {
            return Err(running.protocol("describe", &of_options(&what)));
        }
        if said.head.get("version").is_some_and(|version| !version.is_string()) {
            return Err(running.protocol("describe", "its version is no text, such as \"1.0\""));
        }
        let _ = program.schema.set(schema.clone());
        let descriptor = Descriptor {
            name: text("name"),
            version: text("version"),
            build: Some(build.to_string()),
            summary: text("summary"),
            kind: *kind,
            caps,
            schema,
        };
        Ok(Self { program, descriptor })
    }

    /// What is wrong with the options, in a process of its own.
    pub fn check(&self, options: &Value) -> Vec<Finding> {
        let program = &self.program;
        let said = program.start().and_then(|mut running| {
            let said = program.call(&mut running, "check", json!({ "options": options }), &[], None)?;
            let all = said.head.get("findings").and_then(Value::as_array);
            all.and_then(|all| findings(&program.name, all))
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
}

impl Program {
    /// A new process, of the bytes that were looked at.
    pub fn start(&self) -> Result<Running, PluginError> {
        Running::start(&self.name, &self.executable, self.limits, false)
    }

    /// What is said of a reply that is understood and wrong.
    pub fn blame(&self, phase: &str, what: &str) -> PluginError {
        let message = format!("the plugin {:?} in {phase}: {what}", self.name);
        PluginError::new(Status::Internal, "PLUGIN_PROTOCOL", message)
    }

    fn schema(&self) -> &Value {
        self.schema.get().unwrap_or(&Value::Null)
    }

    /// The text of a rejection with this code.
    ///
    /// # Errors
    /// When it is no code, or one too many.
    pub fn rejection(&self, phase: &str, code: &str, text: &str) -> Result<String, PluginError> {
        let told = self.known.rejection(self.schema(), &self.name, code, text);
        self.blamed(phase, told)
    }

    /// Takes the name of a count, or of a rule.
    ///
    /// # Errors
    /// When it is none, or one too many.
    pub fn named<'k>(
        &self,
        phase: &str,
        name: &str,
        kinds: impl IntoIterator<Item = &'k str>,
    ) -> Result<(), PluginError> {
        self.blamed(phase, self.known.rule(name, kinds))
    }

    /// What the host has no room for, or refuses to repeat, is the plugin's fault.
    ///
    /// # Errors
    /// The given one, with plugin and phase.
    pub fn blamed<T>(&self, phase: &str, outcome: Result<T, PluginError>) -> Result<T, PluginError> {
        outcome.map_err(|error| PluginError {
            code: error.code,
            ..self.blame(phase, &error.message)
        })
    }

    /// A call that is answered by `done` alone.
    pub fn call(
        &self,
        running: &mut Running,
        call: &str,
        head: Value,
        body: &[u8],
        cancelled: Option<&AtomicBool>,
    ) -> Result<Message, PluginError> {
        let mut until = Until::of(&self.limits, cancelled);
        self.call_with(running, call, head, body, &mut until, &mut |_| Err(STRANGE.into()))
    }

    /// A call with replies before its `done`. After any failure but the plugin's own `error` the process is ended.
    pub fn call_with(
        &self,
        running: &mut Running,
        call: &str,
        mut head: Value,
        body: &[u8],
        until: &mut Until<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<Message, PluginError> {
        if let Value::Object(head) = &mut head {
            head.insert("call".into(), call.into());
        }
        self.known.enter(call);
        running.begin();
        running.send(call, head, body, until)?;
        loop {
            let message = running.receive(call, until)?;
            if !running.is_of_call(&message) {
                return Err(running.protocol(
                    call,
                    "a reply without the number of this call: it belongs to another one",
                ));
            }
            match message.text("reply") {
                "done" => return Ok(message),
                "error" => match error_of(&message) {
                    error if error.status == Status::Cancelled && !until.is_cancelled() => {
                        return Err(running.protocol(call, "it says that it was cancelled, and it was not"));
                    }
                    error if !is_code(&error.code) => {
                        return Err(running.protocol(call, "it fails with a code that is none"));
                    }
                    error => return Err(self.known.shown(self.schema(), &self.name, call, error)),
                },
                _ => match reply(message) {
                    Ok(None) => until.renew(&self.limits),
                    Ok(Some(answer)) => {
                        until.renew(&self.limits);
                        running.send(call, json!({ "call": "bytes" }), &answer, until)?;
                    }
                    Err(Refusal::Protocol(what)) => return Err(running.protocol(call, what)),
                    Err(Refusal::Host(error)) => {
                        running.kill();
                        return Err(error);
                    }
                },
            }
        }
    }

    /// The call `bind`, after the mapping files that the options name.
    pub fn bind(
        &self,
        running: &mut Running,
        binding: &Binding,
        input: Option<&Schema>,
        reply: &mut Reply<'_>,
    ) -> Result<Message, PluginError> {
        let mut until = Until::of(&self.limits, None);
        for (reference, resource) in &binding.context.resources {
            for (file, bytes) in &resource.files {
                let head = json!({ "call": "resource", "reference": reference, "file": file });
                running.send("bind", head, bytes, &until)?;
            }
        }
        let context = &binding.context;
        let head = json!({ "options": binding.options, "name": context.name, "timezone": context.timezone });
        let body = input.map(|input| stream(input, None)).transpose()?.unwrap_or_default();
        self.call_with(running, "bind", head, &body, &mut until, reply)
    }
}

/// What is said of a reply that the protocol has elsewhere, or not at all.
pub const STRANGE: &str = "a reply that does not belong to this call";

/// What *bind* gets, kept for the processes that are started later.
pub struct Binding {
    pub options: Value,
    pub context: BindContext,
}

impl Binding {
    pub fn new(options: &Value, context: &BindContext) -> Self {
        Self {
            options: options.clone(),
            context: context.clone(),
        }
    }
}

/// Bound processes that wait for their next call: starting one costs more than most inputs do.
#[derive(Default)]
pub struct Idle(Mutex<Vec<Running>>);

impl Idle {
    /// One that still runs.
    pub fn take(&self) -> Option<Running> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut running) = idle.pop() {
            if !running.has_ended() {
                return Some(running);
            }
        }
        None
    }

    /// Keeps one, unless it was ended.
    pub fn keep(&self, mut running: Running) {
        if !running.has_ended() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(running);
        }
    }
}

fn unknown_capability(named: &Value) -> String {
    let named = told(&named.to_string(), LONGEST_NAME);
    let known: Vec<&str> = CAPABILITIES.iter().map(|(name, _)| *name).collect();
    format!("the capability {named} is not known; these are: {}", known.join(", "))
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
    let pointer = message.head.get("pointer").and_then(Value::as_str);
    let text = told(message.text("message"), LONGEST_TEXT);
    PluginError {
        pointer: pointer.map(|pointer| told(pointer, LONGEST_TEXT)),
        ..PluginError::new(status.unwrap_or(Status::Internal), code, text)
    }
}

/// A number of a message.
pub fn number(head: &Map<String, Value>, key: &str) -> Option<u64> {
    head.get(key).and_then(Value::as_u64)
}

/// A schema, and maybe one batch, as an Arrow IPC stream.
pub fn stream(schema: &Schema, batch: Option<&RecordBatch>) -> Result<Vec<u8>, PluginError> {
    let mut out = Vec::new();
    let mut writer = StreamWriter::try_new(&mut out, schema)?;
    if let Some(batch) = batch {
        writer.write(batch)?;
    }
    writer.finish()?;
    drop(writer);
    Ok(out)
}

/// What is said of compressed batches: their buffers begin with a length that the reader reserves as it stands there.
const COMPRESSED: &str = "compressed batches are not taken";

/// Whether the messages of a stream are as long as they say: the reader reserves as much memory as they say. `None` when
/// they are not, else whether a batch of it is compressed.
fn framed(bytes: &[u8]) -> Option<bool> {
    let mut rest = bytes;
    let int = |rest: &mut &[u8]| {
        let (four, after) = rest.split_first_chunk::<4>()?;
        *rest = after;
        Some(i32::from_le_bytes(*four))
    };
    let message = |rest: &mut &[u8], length: i32| {
        let (head, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let said = root_as_message(head).ok()?;
        let body = usize::try_from(said.bodyLength()).ok()?;
        *rest = after.get(body..)?;
        let dictionary = said
            .header_as_dictionary_batch()
            .and_then(|dictionary| dictionary.data());
        let mut batches = said.header_as_record_batch().into_iter().chain(dictionary);
        Some(batches.any(|batch| batch.compression().is_some()))
    };
    let mut compressed = false;
    while !rest.is_empty() {
        // Before version 0.15 of the format there was no mark before the length.
        let length = match int(&mut rest) {
            Some(-1) => int(&mut rest),
            length => length,
        };
        match length {
            Some(0) => break,
            length => compressed |= message(&mut rest, length?)?,
        }
    }
    Some(compressed)
}

/// Reads a stream; `other` is said of what is not one. The reader checks what it reads; that it may also panic on what
/// is malformed enough, costs the call.
pub fn read_stream(bytes: &[u8], other: &'static str) -> Result<(SchemaRef, Vec<RecordBatch>), &'static str> {
    if framed(bytes).ok_or(other)? {
        return Err(COMPRESSED);
    }
    let read = || {
        let reader = StreamReader::try_new(bytes, None).ok()?;
        let schema = reader.schema();
        Some((schema, reader.collect::<Result<Vec<_>, _>>().ok()?))
    };
    let (schema, batches) = catch_unwind(AssertUnwindSafe(read)).ok().flatten().ok_or(other)?;
    match batches.iter().any(|batch| decimal::beyond(batch).is_some()) {
        true => Err("a decimal has more digits than its type says"),
        false => Ok((schema, batches)),
    }
}

/// The schema that a stream without batches holds.
pub fn read_schema(bytes: &[u8]) -> Result<SchemaRef, &'static str> {
    let (schema, batches) = read_stream(bytes, "a schema that is no Arrow IPC stream")?;
    if !batches.is_empty() {
        return Err("a schema with batches");
    }
    // What a library may not hand over, a process may not either.
    let carried = schemas::export(&schema).and_then(|out| {
        // SAFETY: just made, and owned by nobody else.
        unsafe { schemas::take(out) }
    });
    match carried {
        Ok(_) if schemas::promised(schema.fields()).is_err() => {
            Err("a column whose name holds a control character, or a time of an unknown zone")
        }
        Ok(_) => Ok(schema),
        Err(_) => Err(
            "a column of a type that plugins do not hand over: views, dictionaries, unions and run ends are cast before",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinmill_sdk::arrow::{
        array::{ArrayRef, Decimal128Array, StringArray},
        datatypes::{DataType, Field},
    };

    #[test]
    fn values_and_names_that_no_table_can_have_are_refused() {
        let of = |value: i128| {
            let amounts = Decimal128Array::from(vec![value])
                .with_precision_and_scale(9, 2)
                .unwrap();
            let batch = RecordBatch::try_from_iter([("amount", Arc::new(amounts) as ArrayRef)]).unwrap();
            stream(&batch.schema(), Some(&batch)).unwrap()
        };
        assert!(read_stream(&of(999_999_999), "no").is_ok());
        let told = read_stream(&of(5_000_000_000), "no").unwrap_err();
        assert!(told.contains("more digits than its type"), "{told}");
        let named = Schema::new(vec![Field::new("a\u{1b}[31m", DataType::Utf8, true)]);
        let told = read_schema(&stream(&named, None).unwrap()).unwrap_err();
        assert!(told.contains("control character"), "{told}");
    }

    #[test]
    fn lengths_that_are_not_there_are_not_believed() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true)]));
        let texts = Arc::new(StringArray::from(vec![Some("x"), None]));
        let batch = RecordBatch::try_new(schema.clone(), vec![texts]).unwrap();
        let good = stream(&schema, Some(&batch)).unwrap();
        assert_eq!(read_stream(&good, "no").unwrap().1, [batch]);
        assert!(read_schema(&stream(&schema, None).unwrap()).is_ok());
        // Two gigabytes, which the reader would fill with zeros before it reads.
        assert!(framed(&[b'x'; 300]).is_none());
        let mut long = good.clone();
        long[4..8].copy_from_slice(&i32::MAX.to_le_bytes());
        assert!(framed(&long).is_none());
        assert!(read_stream(b"", "no").is_err());
        // In the midst of a message; between two, a stream may end early.
        assert!(framed(&good[..good.len() / 2]).is_none());
    }
}
