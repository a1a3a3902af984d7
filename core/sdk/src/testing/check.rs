//! What `clinmill plugin check` asks of a plugin that it knows by its library alone, and with its folder its cases too.

use super::{
    CollectedRecords, CollectedRows,
    cancelled::{self, MIDWAY, Midway, SOON, is_lost},
    cases::{self, Step},
    conformance, files,
    fits::fits,
    odd::{naming, odd},
    rows, sinks,
};
use crate::{
    BindContext, BoundSource, BoundTransform, Descriptor, Finding, Kind, MemoryInput, PluginError, SinkPlugin,
    SourcePlugin, Split, TaskContext, TransformPlugin, export::guard,
};
use arrow::array::RecordBatch;
use serde_json::Value;
use std::{path::Path, sync::atomic::AtomicBool, time::Instant};

/// One thing that was checked, and what was found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What must hold.
    pub name: &'static str,
    /// What does not. `None`: there was nothing to check it on.
    pub wrong: Option<Vec<String>>,
    /// Why there was nothing, and what to do.
    pub why: String,
}

impl Checked {
    /// A check that was made.
    pub fn new(name: &'static str, wrong: Vec<String>) -> Self {
        Self::or(name, Some(wrong), "")
    }

    /// A check that was made, or why it was not.
    pub fn or(name: &'static str, wrong: Option<Vec<String>>, why: impl Into<String>) -> Self {
        let why = if wrong.is_none() { why.into() } else { String::new() };
        Self { name, wrong, why }
    }
}

fn schema(descriptor: &Descriptor) -> Checked {
    let mut wrong = Vec::new();
    conformance::options_schema(descriptor, &mut wrong);
    Checked::new("options: the schema names and describes all of them", wrong)
}

/// *check* is pure, says codes, and survives odd options that fit the schema.
fn options(schema: &Value, check: &dyn Fn(&Value) -> Vec<Finding>) -> [Checked; 2] {
    let (mut pure, mut wrong) = (Vec::new(), Vec::new());
    let odd = odd(schema);
    let any = !odd.is_empty();
    for options in odd {
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
    let made = |wrong| any.then_some(wrong);
    [
        Checked::or("check: the same options, the same findings", made(pure), NOT_MADE_UP),
        Checked::or("check: odd options are refused with a code", made(wrong), NOT_MADE_UP),
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
    Checked::or(
        "cases: the folder's own give what is expected",
        wrong,
        "give --folder with the plugin's folder",
    )
}

const NOT_MADE_UP: &str = "no options that fit its schema could be made up; a case in --folder may have some";

/// What stands before *bind* in a host: the schema, and *check*. What they refuse, is not bound.
fn good(schema: &Value, options: &Value, check: impl FnOnce() -> Vec<Finding>) -> Result<(), PluginError> {
    if !fits(schema, options) {
        return Err(PluginError::config("", "OPTIONS", "the options do not fit the schema"));
    }
    let first = check().into_iter().next();
    first.map_or(Ok(()), |found| {
        Err(PluginError::config(found.pointer, found.code, found.message))
    })
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
    /// What *bind* said last of options that it did not take.
    refused: Option<PluginError>,
}

impl Runs {
    /// What *bind* gave, where it took the options; an error ends the check.
    fn bound<T>(&mut self, bound: Result<T, PluginError>) -> Result<T, PluginError> {
        bound.inspect_err(|error| match is_lost(error) {
            true => self.bind.push(error.message.clone()),
            false => self.refused = Some(error.clone()),
        })
    }

    /// Why nothing ran.
    fn unbound(&self) -> String {
        match &self.refused {
            Some(error) => format!(
                "none of the options that were made up was taken, the last one for {error}; give --folder with a case"
            ),
            None => NOT_MADE_UP.to_owned(),
        }
    }

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
            // It may say the same of each of the options that are tried.
            Err(error) if is_lost(&error) && !self.bind.contains(&error.message) => self.bind.push(error.message),
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

    /// Reads an input, whole, cancelled before and midway.
    fn source(&mut self, bound: &dyn BoundSource, input: &MemoryInput) {
        let cancelled = AtomicBool::new(true);
        let task = TaskContext {
            cancelled: &cancelled,
            batch_rows: 1,
        };
        let mut out = CollectedRecords::default();
        let began = Instant::now();
        let split = Split::whole(input);
        // One that does not end in time is enough.
        if self.cancel.is_empty() {
            self.cancelled(bound.read(input, &split, &task, &mut out), began);
        }
        let mut whole = CollectedRecords::default();
        let task = TaskContext {
            cancelled: &AtomicBool::new(false),
            batch_rows: 1024,
        };
        self.of_boundary(bound.read(input, &split, &task, &mut whole));
        let mut rejections = out.rejections.iter().chain(&whole.rejections);
        if rejections.any(|rejection| rejection.code.is_empty()) {
            self.codes.push("a rejection has no code".into());
        }
        self.midway(|| cancelled::source(bound, input));
        if let Some(wrong) = cancelled::goes_forward(bound, input) {
            self.forward.get_or_insert_default().extend(wrong);
        }
    }

    /// Runs a step over a batch, whole, cancelled before and midway.
    fn transform(&mut self, bound: &dyn BoundTransform, batch: &RecordBatch) {
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
                run.process(batch, &mut out)?;
                match stop {
                    true => Ok(()),
                    false => run.finish(&mut last),
                }
            });
            match stop {
                true => self.cancelled(outcome, began),
                false => self.of_boundary(outcome),
            }
            if last.batches.iter().any(|(batch, _)| batch.num_rows() > 0) {
                self.bind
                    .push("it yields rows in finish: there is no batch that they could come from".into());
            }
            if out.rejected.iter().any(|row| row.code.is_empty()) {
                self.codes.push("a rejected row has no code".into());
            }
        }
        self.midway(|| cancelled::transform(bound, batch));
    }

    fn checks(self) -> [Checked; 4] {
        let why = self.unbound();
        let quick = format!("no call lasted {} ms, after which it is cancelled", MIDWAY.as_millis());
        let ran = |wrong: Vec<String>| self.ran.then_some(wrong);
        let bind = (self.ran || self.refused.is_some() || !self.bind.is_empty()).then_some(self.bind);
        [
            Checked::or(
                "bind: options are refused or taken, and runs keep the rules",
                bind,
                NOT_MADE_UP,
            ),
            Checked::or("cancel: a cancelled call ends in time", ran(self.cancel), &why),
            Checked::or(
                "cancel: a call that is cancelled midway ends in time",
                self.midway,
                if self.ran { &quick } else { &why },
            ),
            Checked::or("rejects: each carries a code", ran(self.codes), &why),
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
    let made_up = || MemoryInput::new("input", "a,b\n1,2\n".repeat(1000));
    let odd = odd(&descriptor.schema).into_iter();
    let odd = odd.map(|options| (options, BindContext::default(), made_up()));
    let mut run = |options: &Value, context: &BindContext, input: &MemoryInput| {
        let bound = good(&descriptor.schema, options, || plugin.check(options));
        let bound = runs.bound(bound.and_then(|()| plugin.bind(options, context)))?;
        if splits.is_none() {
            splits = cancelled::cuts(bound.as_ref(), input);
        }
        runs.source(bound.as_ref(), input);
        Ok(())
    };
    let mut all = own.chain(odd);
    let lost = all.any(|(options, context, input)| run(&options, &context, &input).is_err_and(|e| is_lost(&e)));
    if !lost {
        let one = |options: &Value| run(options, &BindContext::default(), &made_up());
        // What is lost was noted.
        let _ = naming(&descriptor.schema, &["a", "b", "MRN"], one);
    }
    let why = match runs.ran {
        true => "it takes none of what is in the inputs that were tried: give --folder with a case".to_owned(),
        false => runs.unbound(),
    };
    checks.push(Checked::or(
        "splits: a large input is cut into all of its parts, in order",
        splits,
        &why,
    ));
    let forward = runs.forward.take();
    checks.push(Checked::or(
        "progress: forward alone, and not beyond the input",
        forward,
        why,
    ));
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
    let made_up = rows::made_up();
    let mut runs = Runs::default();
    let own = cases_of(folder, &descriptor.name, Kind::Transform, rows::read);
    let own = own
        .into_iter()
        .map(|(step, context, batch)| (step.options, context, batch));
    let odd = odd(&descriptor.schema).into_iter();
    let odd = odd.map(|options| (options, BindContext::default(), made_up.clone()));
    let mut run = |options: &Value, context: &BindContext, batch: &RecordBatch| {
        let bound = good(&descriptor.schema, options, || plugin.check(options));
        let bound = runs.bound(bound.and_then(|()| plugin.bind(options, batch.schema().as_ref(), context)))?;
        runs.transform(bound.as_ref(), batch);
        Ok(())
    };
    let mut all = own.chain(odd);
    let lost = all.any(|(options, context, batch)| run(&options, &context, &batch).is_err_and(|e| is_lost(&e)));
    if !lost {
        let schema = made_up.schema();
        let columns = schema.fields().iter().map(|field| field.name().as_str());
        let names: Vec<&str> = columns.chain(["new"]).collect();
        let one = |options: &Value| run(options, &BindContext::default(), &made_up);
        // What is lost was noted.
        let _ = naming(&descriptor.schema, &names, one);
    }
    checks.extend(runs.checks());
    checks.push(with_cases(folder, |folder| cases::transform_cases_of(plugin, folder)));
    checks
}

#[cfg(test)]
mod tests;
