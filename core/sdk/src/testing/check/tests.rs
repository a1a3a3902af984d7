//! Plugins that break one rule each, and the check that finds it.

use super::*;
use crate::{
    Caps, Emit, Fold, Input, Locator, Origin, RecordBatchOf, RecordKey, RecordKind, RecordMeta, RecordSink, Rejection,
    Status, TransformRun,
};
use arrow::{
    array::{StringArray, UInt8Array, UInt32Array, UInt64Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

/// A source that breaks one rule, or none.
struct Source(&'static str, AtomicU32);
struct Bound(&'static str, Vec<RecordKind>);

impl SourcePlugin for Source {
    fn descriptor(&self) -> Descriptor {
        let described = if self.0 == "schema" { "" } else { "An option." };
        Descriptor {
            name: "broken".into(),
            version: "1".into(),
            build: None,
            summary: "Breaks rules".into(),
            kind: Kind::Source,
            caps: Caps::default(),
            schema: json!({ "type": "object", "additionalProperties": false,
                "properties": { "a": { "type": "string", "description": described } } }),
        }
    }
    fn check(&self, _: &Value) -> Vec<Finding> {
        let n = self.1.fetch_add(1, Ordering::Relaxed);
        let finding = |code: &str, message: String| Finding {
            code: code.into(),
            pointer: String::new(),
            message,
            hint: None,
        };
        match self.0 {
            "impure" => vec![finding("BROKEN", n.to_string())],
            "finding" => vec![finding("broken", String::new())],
            _ => Vec::new(),
        }
    }
    fn bind(&self, _: &Value, _: &BindContext) -> Result<Arc<dyn BoundSource>, PluginError> {
        if self.0 == "bind" {
            return Err(PluginError::new(Status::Panic, "PANIC", "it panics"));
        }
        let kind = RecordKind {
            name: String::new(),
            schema: Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true)])),
            key: RecordKey::Content,
            fold: Fold::Replace,
            subject: true,
        };
        Ok(Arc::new(Bound(self.0, vec![kind])))
    }
}

impl BoundSource for Bound {
    fn records(&self) -> &[RecordKind] {
        &self.1
    }
    fn splits(&self, input: &dyn Input) -> Result<Vec<Split>, PluginError> {
        let whole = Split::whole(input);
        match self.0 {
            "splits" => Ok(vec![Split { start: 1, ..whole }]),
            _ => Ok(vec![whole]),
        }
    }
    fn read(
        &self,
        input: &dyn Input,
        split: &Split,
        task: &TaskContext<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        let is_cancelled = || task.cancelled.load(Ordering::Relaxed);
        if self.0 == "code" {
            out.reject(Rejection {
                kind: None,
                code: String::new(),
                message: String::new(),
                at: Locator::default(),
            })?;
        }
        if self.0 == "deaf at first" && is_cancelled() {
            thread::sleep(SOON + Duration::from_millis(200));
        }
        let mut text = "first";
        for n in 0..split.end.min(400) {
            if is_cancelled() && self.0 != "deaf" {
                return Err(PluginError::cancelled());
            }
            // An input that does not end takes its time.
            if input.size() > 1 << 20 {
                thread::sleep(Duration::from_millis(5));
            }
            out.rows(row(&self.1[0], text))?;
            out.progress(if self.0 == "progress" { input.size() } else { 1 });
            text = "other";
            if n == 0 && self.0 == "backwards" && is_cancelled() {
                out.rows(row(&self.1[0], "of a cancelled call"))?;
            }
        }
        Ok(())
    }
}

fn row(kind: &RecordKind, text: &str) -> RecordBatchOf {
    let one = |text: Option<&str>| StringArray::from(vec![text]);
    let number = || UInt64Array::from(vec![0]);
    RecordBatchOf {
        kind: 0,
        rows: RecordBatch::try_new(kind.schema.clone(), vec![Arc::new(one(Some(text)))]).unwrap(),
        meta: RecordMeta {
            issuer: one(Some("MRN")),
            subject: one(Some("1")),
            version: one(None),
            void: UInt8Array::from(vec![0]),
            offset: number(),
            length: number(),
            row: number(),
            part: UInt32Array::from(vec![0]),
            cell: UInt32Array::from(vec![None]),
        },
    }
}

#[test]
fn each_check_finds_what_it_is_for() {
    for (rule, check) in [
        ("none", ""),
        ("schema", "options: the schema"),
        ("impure", "check: the same options"),
        ("finding", "check: odd options"),
        ("bind", "bind: "),
        ("code", "rejects: "),
        ("deaf", "cancel: a call that is cancelled midway"),
        ("deaf at first", "cancel: a cancelled call"),
        ("splits", "splits: "),
        ("progress", "progress: "),
        ("backwards", "progress: "),
    ] {
        let checks = check_source(&Source(rule, AtomicU32::new(0)), None);
        let failed: Vec<&str> = checks
            .iter()
            .filter(|check| check.wrong.as_ref().is_some_and(|wrong| !wrong.is_empty()))
            .map(|check| check.name)
            .collect();
        match check {
            "" => assert!(failed.is_empty(), "{failed:?}"),
            check => assert!(failed.iter().any(|name| name.starts_with(check)), "{rule}: {failed:?}"),
        }
    }
}

/// A transform of columns of one type that fails over batches of so many rows and more.
struct Step {
    takes: DataType,
    most: usize,
}

/// Refuses what no column can be called, so that no *bind* has to.
const REFUSED: &str = "\u{0}病案号";

struct BoundStep {
    most: usize,
    output: SchemaRef,
}
struct Run(usize);

impl TransformPlugin for Step {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            kind: Kind::Transform,
            schema: json!({ "type": "object", "additionalProperties": false, "required": ["column"],
                "properties": { "column": { "type": "string", "description": "A column." } } }),
            ..Source("none", AtomicU32::new(0)).descriptor()
        }
    }
    fn check(&self, options: &Value) -> Vec<Finding> {
        assert!(
            options["column"].is_string(),
            "the host sends no other options: {options}"
        );
        let finding = Finding {
            code: "BROKEN_NAME".into(),
            pointer: "/column".into(),
            message: "no name".into(),
            hint: None,
        };
        Vec::from_iter((options["column"] == REFUSED).then_some(finding))
    }
    fn bind(&self, options: &Value, input: &Schema, _: &BindContext) -> Result<Arc<dyn BoundTransform>, PluginError> {
        let name = options["column"].as_str().expect("the host sends no other options");
        assert_ne!(name, REFUSED, "the host has called check before");
        match input.field_with_name(name) {
            Ok(field) if field.data_type() == &self.takes => Ok(Arc::new(BoundStep {
                most: self.most,
                output: Arc::new(input.clone()),
            })),
            _ => Err(PluginError::config("/column", "BROKEN_COLUMN", "no such column")),
        }
    }
}

impl BoundTransform for BoundStep {
    fn output(&self) -> SchemaRef {
        self.output.clone()
    }
    fn open<'a>(&'a self, _: &TaskContext<'a>) -> Result<Box<dyn TransformRun + 'a>, PluginError> {
        Ok(Box::new(Run(self.most)))
    }
}

impl TransformRun for Run {
    fn process(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<(), PluginError> {
        match batch.num_rows() > self.0 {
            true => Err(PluginError::new(Status::Panic, "PANIC", "it panics")),
            false => out.rows(batch.clone(), Origin::Same),
        }
    }
    fn finish(&mut self, _: &mut dyn Emit) -> Result<(), PluginError> {
        Ok(())
    }
}

fn failed(takes: DataType, most: usize) -> Vec<Checked> {
    let mut checks = check_transform(&Step { takes, most }, None);
    checks.retain(|check| check.wrong.as_ref().is_some_and(|wrong| !wrong.is_empty()));
    checks
}

#[test]
fn a_failure_over_many_rows_alone_is_found() {
    let failed = failed(DataType::Utf8, 100);
    assert_eq!(failed[0].name, "cancel: a call that is cancelled midway ends in time");
}

#[test]
fn columns_of_every_type_are_tried() {
    let types = rows::made_up();
    for field in types.schema().fields() {
        let all = failed(field.data_type().clone(), 0);
        assert!(
            all.iter().any(|check| check.name.starts_with("bind: ")),
            "{field}: {all:?}"
        );
        assert_eq!(failed(field.data_type().clone(), usize::MAX), [], "{field}");
    }
}

#[test]
fn what_was_not_tried_says_why() {
    let list = DataType::new_list(DataType::Int64, true);
    let checks = check_transform(&Step { takes: list, most: 0 }, None);
    let untried: Vec<&Checked> = checks.iter().filter(|check| check.wrong.is_none()).collect();
    assert_eq!(untried.len(), 4, "{untried:?}");
    let why = &untried[0].why;
    assert!(
        why.contains("BROKEN_COLUMN: no such column") && why.contains("--folder"),
        "{why}"
    );
    assert!(
        untried.iter().all(|check| check.why.contains("--folder")),
        "{untried:?}"
    );
}
