//! A sink that is a process. Each writer has one of its own; what the coordinator asks goes to one that waits.

use super::{
    child::Running,
    program::{Binding, Described, Idle, Program, STRANGE, stream},
};
use clinmill_sdk::{
    BindContext, BoundSink, Descriptor, Finding, PluginError, SinkPlugin, SinkRun, SinkWriter, Status, TaskContext,
    arrow::{
        array::RecordBatch,
        datatypes::{Schema, SchemaRef},
    },
};
use serde_json::{Value, json};
use std::sync::Arc;

/// A sink plugin that is a program.
pub struct ProcessSink(pub Described);

impl SinkPlugin for ProcessSink {
    fn descriptor(&self) -> Descriptor {
        self.0.descriptor.clone()
    }

    fn check(&self, options: &Value) -> Vec<Finding> {
        self.0.check(options)
    }

    fn bind(&self, options: &Value, input: &Schema, context: &BindContext) -> Result<Arc<dyn BoundSink>, PluginError> {
        let sink = Sink {
            program: self.0.program.clone(),
            binding: Binding::new(options, context),
            input: Arc::new(input.clone()),
            idle: Idle::default(),
        };
        let running = sink.running()?;
        sink.idle.keep(running);
        Ok(Arc::new(sink))
    }
}

struct Sink {
    program: Arc<Program>,
    binding: Binding,
    input: SchemaRef,
    idle: Idle,
}

impl Sink {
    fn running(&self) -> Result<Running, PluginError> {
        if let Some(running) = self.idle.take() {
            return Ok(running);
        }
        let mut running = self.program.start()?;
        let strange = &mut |_| Err(STRANGE.into());
        self.program
            .bind(&mut running, &self.binding, Some(&self.input), strange)?;
        Ok(running)
    }

    /// A call of the coordinator: its reply, and whether the process was lost over it.
    fn ask(&self, call: &str, head: Value, tokens: &[Vec<u8>]) -> Result<Value, (PluginError, bool)> {
        let mut running = self.running().map_err(|error| (error, false))?;
        let outcome = self.program.call(&mut running, call, head, &tokens.concat(), None);
        let lost = running.has_ended();
        self.idle.keep(running);
        outcome
            .map(|said| Value::Object(said.head))
            .map_err(|error| (error, lost))
    }
}

/// Which run it is, and how long each of its tokens is: they follow one another in the bytes of the message.
fn of_run(run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Value {
    let lengths: Vec<usize> = tokens.iter().map(Vec::len).collect();
    json!({ "run": run.run_id, "tokens": lengths })
}

impl BoundSink for Sink {
    fn probe(&self, task: &TaskContext<'_>) -> Result<Value, PluginError> {
        let mut running = self.running()?;
        let said = self
            .program
            .call(&mut running, "probe", json!({}), &[], Some(task.cancelled));
        self.idle.keep(running);
        said.map(|mut said| said.head.remove("report").unwrap_or_default())
    }

    fn open(&self, run: &SinkRun<'_>) -> Result<Box<dyn SinkWriter + '_>, PluginError> {
        let mut running = self.running()?;
        let head = json!({ "run": run.run_id, "batch_rows": run.task.batch_rows });
        self.program
            .call(&mut running, "open", head, &[], Some(run.task.cancelled))?;
        Ok(Box::new(Open {
            sink: self,
            running: Some(running),
            failed: false,
        }))
    }

    fn commit(&self, run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Result<Value, PluginError> {
        // A commit that is lost may have landed.
        let said = self.ask("commit", of_run(run, tokens), tokens);
        let mut said = said.map_err(|(error, lost)| match lost {
            true => PluginError {
                status: Status::CommitUnknown,
                ..error
            },
            false => error,
        })?;
        Ok(said["receipt"].take())
    }

    fn resolve(&self, run: &SinkRun<'_>) -> Result<Option<Value>, PluginError> {
        let mut said = self.ask("resolve", of_run(run, &[]), &[]).map_err(|(error, _)| error)?;
        match said["landed"].as_bool() {
            Some(landed) => Ok(landed.then(|| said["receipt"].take())),
            None => Err(self
                .program
                .blame("resolve", "it does not say whether the run has landed")),
        }
    }

    fn abort(&self, run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Result<(), PluginError> {
        self.ask("abort", of_run(run, tokens), tokens)
            .map(drop)
            .map_err(|(error, _)| error)
    }
}

struct Open<'a> {
    sink: &'a Sink,
    /// Given back when the writer is closed.
    running: Option<Running>,
    /// A failed call of a writer is its last but for `close`.
    failed: bool,
}

impl Open<'_> {
    fn call(&mut self, call: &str, body: &[u8]) -> Result<Vec<u8>, PluginError> {
        let program = &self.sink.program;
        let Some(running) = self.running.as_mut().filter(|_| !self.failed) else {
            let error = program.blame(call, "an earlier call of it failed");
            return Err(PluginError {
                status: Status::InvalidState,
                code: "PLUGIN_POISONED".into(),
                ..error
            });
        };
        let said = program.call(running, call, json!({}), body, None);
        self.failed = said.is_err();
        said.map(|said| said.body)
    }
}

impl SinkWriter for Open<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), PluginError> {
        let body = stream(&self.sink.input, Some(batch))?;
        self.call("write", &body).map(drop)
    }

    fn prepare(&mut self) -> Result<Vec<u8>, PluginError> {
        self.call("prepare", &[])
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        if !running.has_ended()
            && self
                .sink
                .program
                .call(&mut running, "close", json!({}), &[], None)
                .is_ok()
        {
            self.sink.idle.keep(running);
        }
    }
}
