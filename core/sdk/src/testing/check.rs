//! What `clinmill plugin check` asks of a plugin that it knows by its library alone, and with its folder its cases too.

use super::{
    CollectedRecords, CollectedRows,
    cancelled::{self, Midway, SOON},
    cases::{self, Step},
    conformance, files, rows, sinks,
};
use crate::{
    BindContext, Descriptor, Finding, Kind, MemoryInput, PluginError, SinkPlugin, SourcePlugin, Split, Status,
    TaskContext, TransformPlugin, export::guard,
};
use arrow::{
    array::{RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

/// How many options are tried one at a time, where a plugin has more: some of them, from first to last.
const MOST_ALONE: usize = 100;

/// Options that no plugin takes: each is refused or found good, the same twice, and nothing panics.
fn odd_options(schema: &Value) -> Vec<Value> {
    let mut all = vec![
        json!({}),
        json!(null),
        json!([]),
        json!("x"),
        json!({ "no such option": 1 }),
    ];
    let names: Vec<&String> = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys())
        .collect();
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e308),
        json!(""),
        json!("\u{0}病案号"),
        json!("x".repeat(10_000)),
        json!([[]]),
        json!({ "": {} }),
    ];
    for value in &values {
        for name in names.iter().step_by(names.len().div_ceil(MOST_ALONE).max(1)) {
            all.push(json!({ name.as_str(): value }));
        }
        let each = names.iter().map(|name| ((*name).clone(), value.clone()));
        all.push(Value::Object(each.collect()));
    }
    all
}

/// One thing that was checked, and what was found wrong. `None`: there was nothing to check it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What must hold.
    pub name: &'static str,
    /// What does not.
    pub wrong: Option<Vec<String>>,
}

impl Checked {
    /// A check that was made.
    pub fn new(name: &'static str, wrong: Vec<String>) -> Self {
        Self {
            name,
            wrong: Some(wrong),
        }
    }
}

fn schema(descriptor: &Descriptor) -> Checked {
    let mut wrong = Vec::new();
    conformance::options_schema(descriptor, &mut wrong);
    Checked::new("options: the schema names and describes all of them", wrong)
}

/// *check* is pure, says codes, and survives options of any shape.
fn options(schema: &Value, check: &dyn Fn(&Value) -> Vec<Finding>) -> [Checked; 2] {
    let (mut pure, mut wrong) = (Vec::new(), Vec::new());
    for options in odd_options(schema) {
        let found = check(&options);
        let lost = |f: &&Finding| f.code == "PANIC" || f.code.starts_with("PLUGIN_");
        if let Some(panic) = found.iter().find(lost) {
            wrong.push(panic.message.clone());
            break;
        }
        let shouted = |code: &str| !code.is_empty() && !code.chars().any(|c| c.is_ascii_lowercase());
        if found.iter().any(|f| !shouted(&f.code)) {
            wrong.push("a finding has no upper-case code".into());
        }
        if found != check(&options) {
            pure.push("two checks of the same options differ".into());
        }
    }
    [
        Checked::new("check: the same options, the same findings", pure),
        Checked::new("check: odd options are refused with a code", wrong),
    ]
}

fn with_cases(folder: Option<&Path>, run: impl FnOnce(&Path)) -> Checked {
    // What a case says by its panic stands in the list.
    let wrong = folder.map(|folder| match guard::silent(|| run(folder)) {
        Ok(()) => Vec::new(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            vec![text.unwrap_or_else(|| "a case fails".to_owned())]
        }
    });
    Checked {
        name: "cases: the folder's own give what is expected",
        wrong,
    }
}

fn is_lost(error: &PluginError) -> bool {
    matches!(error.status, Status::Panic | Status::Timeout) || error.is_of_boundary()
}

/// How many ways to bind it a plugin is cancelled in the midst of: each takes its time.
const MOST_MIDWAY: usize = 3;

/// The cases of a folder, as far as they can be read: their own check says the rest.
fn cases_of<T>(
    folder: Option<&Path>,
    name: &str,
    kind: Kind,
    read: impl Fn(&Path) -> T,
) -> Vec<(Step, BindContext, T)> {
    let Some(folder) = folder else {
        return Vec::new();
    };
    let all = || {
        let each = files::case_folders(folder).into_iter().map(|case| {
            let step = Step::read(&case.join("step.yaml"), name, kind);
            let context = step.context(folder, &case);
            (step, context, read(&files::input_file(&case)))
        });
        each.collect()
    };
    guard::silent(all).unwrap_or_default()
}

/// Checks of *bind* with odd options, and of a call that was cancelled before it began.
#[derive(Default)]
struct Runs {
    bind: Vec<String>,
    cancel: Vec<String>,
    ran: bool,
    codes: Vec<String>,
    midway: Midway,
    tried: usize,
    forward: Midway,
}

impl Runs {
    /// What a cancelled call gave, and how long it took.
    fn cancelled(&mut self, outcome: Result<(), PluginError>, began: Instant) {
        self.ran = true;
        match outcome {
            Err(error) if is_lost(&error) => self.cancel.push(error.message),
            _ if began.elapsed() > SOON => self
                .cancel
                .push(format!("a cancelled call took {} ms", began.elapsed().as_millis())),
            _ => {}
        }
    }

    /// A run that breaks the boundary's rules.
    fn of_boundary(&mut self, outcome: Result<(), PluginError>) {
        match outcome {
            Err(error) if error.code == "ABI_CODE" => self.codes.push(error.message),
            Err(error) if is_lost(&error) => self.bind.push(error.message),
            _ => {}
        }
    }

    /// Cancels it midway, where that was not done often enough.
    fn midway(&mut self, cancel: impl FnOnce() -> Midway) {
        if self.tried < MOST_MIDWAY
            && let Some(wrong) = cancel()
        {
            self.tried += 1;
            self.midway.get_or_insert_default().extend(wrong);
        }
    }

    fn checks(self) -> [Checked; 4] {
        let ran = |wrong: Vec<String>| self.ran.then_some(wrong);
        [
            Checked::new("bind: options are refused or taken, and runs keep the rules", self.bind),
            Checked {
                name: "cancel: a cancelled call ends in time",
                wrong: ran(self.cancel),
            },
            Checked {
                name: "cancel: a call that is cancelled midway ends in time",
                wrong: self.midway,
            },
            Checked {
                name: "rejects: each carries a code",
                wrong: ran(self.codes),
            },
        ]
    }
}

/// Checks a source: its schema, its *check*, *bind* and *read* with odd options, and with its folder its cases.
pub fn check_source(plugin: &dyn SourcePlugin, folder: Option<&Path>) -> Vec<Checked> {
    let descriptor = plugin.descriptor();
    let mut checks = vec![schema(&descriptor)];
    checks.extend(options(&descriptor.schema, &|options| plugin.check(options)));
    let (mut runs, mut splits) = (Runs::default(), Midway::default());
    let read = |path: &Path| crate::regular::read(path).unwrap_or_default();
    let own = cases_of(folder, &descriptor.name, Kind::Source, read);
    let own = own.into_iter().map(|(step, context, bytes)| {
        let mut input = MemoryInput::new("input", bytes);
        for (key, value) in &step.captures {
            input = input.capture(key, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        (step.options, context, input)
    });
    let odd = odd_options(&descriptor.schema).into_iter().map(|options| {
        let input = MemoryInput::new("input", "a,b\n1,2\n".repeat(1000));
        (options, BindContext::default(), input)
    });
    for (options, context, input) in own.chain(odd) {
        let bound = match plugin.bind(&options, &context) {
            Ok(bound) => bound,
            Err(error) if is_lost(&error) => {
                runs.bind.push(error.message);
                break;
            }
            Err(_) => continue,
        };
        if splits.is_none() {
            splits = cancelled::cuts(bound.as_ref(), &input);
        }
        let cancelled = AtomicBool::new(true);
        let task = TaskContext {
            cancelled: &cancelled,
            batch_rows: 1,
        };
        let mut out = CollectedRecords::default();
        let began = Instant::now();
        let split = Split::whole(&input);
        // One that does not end in time is enough.
        if runs.cancel.is_empty() {
            runs.cancelled(bound.read(&input, &split, &task, &mut out), began);
        }
        let mut whole = CollectedRecords::default();
        let task = TaskContext {
            cancelled: &AtomicBool::new(false),
            batch_rows: 1024,
        };
        runs.of_boundary(bound.read(&input, &split, &task, &mut whole));
        let mut rejections = out.rejections.iter().chain(&whole.rejections);
        if rejections.any(|rejection| rejection.code.is_empty()) {
            runs.codes.push("a rejection has no code".into());
        }
        runs.midway(|| cancelled::source(bound.as_ref(), &input));
        if let Some(wrong) = cancelled::goes_forward(bound.as_ref(), &input) {
            runs.forward.get_or_insert_default().extend(wrong);
        }
    }
    checks.push(Checked {
        name: "splits: a large input is cut into all of its parts, in order",
        wrong: splits,
    });
    checks.push(Checked {
        name: "progress: forward alone, and not beyond the input",
        wrong: runs.forward.take(),
    });
    checks.extend(runs.checks());
    checks.push(with_cases(folder, |folder| cases::source_cases_of(plugin, folder)));
    checks
}

/// Checks a sink: its schema, its *check*, and with its folder its cases.
pub fn check_sink(plugin: &dyn SinkPlugin, folder: Option<&Path>) -> Vec<Checked> {
    let descriptor = plugin.descriptor();
    let mut checks = vec![schema(&descriptor)];
    checks.extend(options(&descriptor.schema, &|options| plugin.check(options)));
    checks.push(with_cases(folder, |folder| sinks::sink_cases_of(plugin, folder)));
    checks
}

/// Checks a transform: its schema, its *check*, *bind* and a run with odd options, and with its folder its cases.
pub fn check_transform(plugin: &dyn TransformPlugin, folder: Option<&Path>) -> Vec<Checked> {
    let descriptor = plugin.descriptor();
    let mut checks = vec![schema(&descriptor)];
    checks.extend(options(&descriptor.schema, &|options| plugin.check(options)));
    // Columns under the names that some odd options hold, so that some of them bind.
    let field = |name: &str| Field::new(name, DataType::Utf8, true);
    let schema = Arc::new(Schema::new(vec![field("a"), field("")]));
    let texts = Arc::new(StringArray::from(vec![Some("x"), None]));
    let small = RecordBatch::try_new(schema, vec![texts.clone(), texts]).expect("two columns of two rows");
    let mut runs = Runs::default();
    let own = cases_of(folder, &descriptor.name, Kind::Transform, rows::read);
    let own = own
        .into_iter()
        .map(|(step, context, batch)| (step.options, context, batch));
    let odd = odd_options(&descriptor.schema).into_iter();
    let odd = odd.map(|options| (options, BindContext::default(), small.clone()));
    for (options, context, batch) in own.chain(odd) {
        let bound = match plugin.bind(&options, batch.schema().as_ref(), &context) {
            Ok(bound) => bound,
            Err(error) if is_lost(&error) => {
                runs.bind.push(error.message);
                break;
            }
            Err(_) => continue,
        };
        for stop in [false, true] {
            let cancelled = AtomicBool::new(stop);
            let task = TaskContext {
                cancelled: &cancelled,
                batch_rows: 1,
            };
            let mut out = CollectedRows::default();
            let began = Instant::now();
            let mut last = CollectedRows::default();
            let outcome = bound.open(&task).and_then(|mut run| {
                run.process(&batch, &mut out)?;
                match stop {
                    true => Ok(()),
                    false => run.finish(&mut last),
                }
            });
            match stop {
                true => runs.cancelled(outcome, began),
                false => runs.of_boundary(outcome),
            }
            if last.batches.iter().any(|(batch, _)| batch.num_rows() > 0) {
                runs.bind
                    .push("it yields rows in finish: there is no batch that they could come from".into());
            }
            if out.rejected.iter().any(|row| row.code.is_empty()) {
                runs.codes.push("a rejected row has no code".into());
            }
        }
        runs.midway(|| cancelled::transform(bound.as_ref(), &batch));
    }
    checks.extend(runs.checks());
    checks.push(with_cases(folder, |folder| cases::transform_cases_of(plugin, folder)));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BoundSource, Caps, Fold, Input, Locator, RecordBatchOf, RecordKey, RecordKind, RecordMeta, RecordSink,
        Rejection,
    };
    use arrow::array::{UInt8Array, UInt32Array, UInt64Array};
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        thread,
        time::Duration,
    };

    #[test]
    fn of_many_options_some_are_tried_alone() {
        let of = |count: usize| {
            let options: serde_json::Map<String, Value> = (0..count).map(|i| (format!("o{i}"), json!({}))).collect();
            odd_options(&json!({ "properties": options })).len()
        };
        assert_eq!([of(0), of(3), of(3000)], [5 + 9, 5 + 9 * 4, 5 + 9 * (MOST_ALONE + 1)]);
    }

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
}
