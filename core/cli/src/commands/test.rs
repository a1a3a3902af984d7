//! `clinmill test`: the unit tests beside a pipeline.

use crate::{
    args,
    commands::junit,
    context::{Context, environment},
    failure::{FAILED, Failure, INVALID, OK},
    files,
    output::counted,
};
use clinmill_engine::{
    bound::{self, Bound},
    cases::{self, Difference},
};
use clinmill_model::{Diagnostic, Place};
use clinmill_sdk::regular;
use clinmill_spec::cases::{CaseFile, Rewrite};
use serde::Serialize;
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

/// What became of one test, for programs.
#[derive(Debug, Serialize)]
pub struct Tested {
    /// The test file.
    pub file: String,
    /// The test.
    pub name: String,
    /// True when it gave what it expects.
    pub passed: bool,
    /// Why it gave nothing, where it could not be run to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Shown>,
    /// What is other than expected.
    pub differences: Vec<Shown>,
    /// Seconds it took.
    pub seconds: f64,
}

impl Tested {
    /// What there is to say of it.
    pub fn told(&self) -> impl Iterator<Item = &Shown> {
        self.error.iter().chain(&self.differences)
    }
}

/// A difference and where in the test file its expectation stands.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The step; `refresh` for all of them.
    pub step: String,
    /// What is expected and what came.
    pub message: String,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
}

/// Runs the tests: exit code 1 when one of them fails or cannot be run, 2 when the pipeline or a test file is not valid.
///
/// # Errors
/// When a file cannot be read or written, or there is no test to run.
pub async fn run(context: &Context, args: &args::Test) -> Result<u8, Failure> {
    let bound = context.bind(&args.file).await?;
    let mut registry = context.registry_of(&args.file)?;
    let files = test_files(&bound)?;
    let mut read = Vec::new();
    let mut invalid = 0;
    for path in &files {
        let text = regular::text(path).map_err(|e| Failure::io("read", path, &e))?;
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned());
        let file = clinmill_spec::cases::load(&path.display().to_string(), &name.unwrap_or_default(), &text);
        let mut found = file.diagnostics.clone();
        found.extend(cases::check(&bound, &file));
        found.sort_by_key(|d| d.place.as_ref().map(|p| p.start));
        invalid += found.iter().filter(|d| d.is_error()).count();
        read.push((path, file, found, text));
    }
    if invalid > 0 {
        return Ok(refused(context, &read, invalid));
    }
    let names: Vec<&str> = read
        .iter()
        .flat_map(|(_, file, ..)| file.cases.iter().map(|case| case.name.value.as_str()))
        .collect();
    let is_wanted = |name: &str| args.filter.as_ref().is_none_or(|part| name.contains(part));
    if !names.iter().any(|name| is_wanted(name)) {
        return Err(no_tests(&bound, &names, args.filter.as_deref()));
    }
    let mut tested = Vec::new();
    let mut written = 0;
    let scratch = Scratch::new(context)?;
    for (path, file, _, text) in &read {
        let mut values = Vec::new();
        for (number, case) in file.cases.iter().enumerate() {
            if !is_wanted(&case.name.value) {
                continue;
            }
            let began = Instant::now();
            let error = |message: String| Shown {
                step: "refresh".to_owned(),
                message,
                place: file.source.place(case.name.span),
            };
            let mut test = Tested {
                file: path.display().to_string(),
                name: case.name.value.clone(),
                passed: false,
                error: Some(error("the process ended in the midst of it".to_owned())),
                differences: Vec::new(),
                seconds: 0.0,
            };
            // A plugin may end the process, and after it nothing is said.
            report(args, &bound, tested.iter().chain([&test]))?;
            let dir = scratch.0.join(format!("{}", tested.len()));
            fs::create_dir_all(&dir).map_err(|e| Failure::io("create", &dir, &e))?;
            let outcome = match bound::bind(&args.file, &registry, &environment).await {
                Ok(again) => cases::run(again, number, case, &dir)
                    .await
                    .map_err(|error| Failure::located(&bound, error)),
                Err(refused) => Err(refused.into()),
            };
            let _ = fs::remove_dir_all(&dir);
            test.seconds = began.elapsed().as_secs_f64();
            test.error = None;
            match outcome {
                Ok(outcome) if outcome.differences.is_empty() => test.passed = true,
                Ok(outcome) => {
                    values.extend(outcome.actual);
                    test.differences = outcome.differences.into_iter().map(|d| shown(d, file)).collect();
                }
                Err(failure) => {
                    test.error = Some(error(in_words(&failure)));
                    // A plugin that was lost over this test is not called any more: the next one has its own.
                    registry = context.registry_of(&args.file)?;
                }
            }
            tested.push(test);
        }
        if args.update && !values.is_empty() {
            written += usize::from(update(path, file, text, &values)?);
        }
    }
    report(args, &bound, tested.iter())?;
    let failed = tested.iter().filter(|t| !t.passed).count();
    let errors = tested.iter().filter(|t| t.error.is_some()).count();
    let result = serde_json::json!({ "tests": tested, "failed": failed, "errors": errors });
    context.console.result(&result, || text(&tested))?;
    if args.update {
        context.console.note(&format!(
            "{} rewritten: look at what changed",
            counted(written as u64, "file", "files")
        ));
        // What was written down is what there is; a refresh that failed gave nothing to write down.
        return Ok(if errors == 0 { OK } else { FAILED });
    }
    Ok(if failed == 0 { OK } else { FAILED })
}

/// Writes the JUnit file, where one is asked for.
fn report<'t>(args: &args::Test, bound: &Bound, tested: impl Iterator<Item = &'t Tested>) -> Result<(), Failure> {
    let Some(path) = &args.junit else { return Ok(()) };
    let xml = junit::xml(&bound.pipeline.name.value, &tested.collect::<Vec<_>>());
    regular::write(path, xml).map_err(|e| Failure::io("write", path, &e))
}

/// Why a test could not be run, with what was found in the pipeline.
fn in_words(failure: &Failure) -> String {
    let found = failure.diagnostics.iter().filter(|d| d.is_error());
    found.fold(format!("the refresh failed: {}", failure.message), |all, d| {
        format!("{all}\n  {}: {}", d.code, d.message)
    })
}

/// Nothing was run: a script that counts on its tests must notice.
fn no_tests(bound: &Bound, names: &[&str], filter: Option<&str>) -> Failure {
    let message = match filter.filter(|_| !names.is_empty()) {
        Some(part) => format!("no test has {part:?} in its name; there are: {}", names.join(", ")),
        None => {
            let named = bound.pipeline.tests.as_ref().map_or("tests", |t| t.value.as_str());
            format!(
                "there is no test: no file {} holds one; a test says what is `given` and what to `expect`",
                bound.dir.join(named).join("*.yaml").display()
            )
        }
    };
    Failure {
        code: Some("NO_TESTS"),
        ..Failure::new(INVALID, message)
    }
}

/// The test files of a pipeline: those below the folder that `tests` names, or that one file, sorted.
fn test_files(bound: &Bound) -> Result<Vec<PathBuf>, Failure> {
    let named = bound.pipeline.tests.as_ref();
    let root = bound.dir.join(named.map_or("tests", |t| t.value.as_str()));
    let stays = |path: &PathBuf| match bound.leaves(path) {
        false => Ok(()),
        true => Err(Failure::new(
            INVALID,
            format!("{} leads out of the pipeline's folders", path.display()),
        )),
    };
    stays(&root)?;
    if root.is_file() {
        return Ok(vec![root]);
    }
    if !root.is_dir() {
        if named.is_none() {
            return Ok(Vec::new());
        }
        let message = format!("there are no tests at {}", root.display());
        return Err(Failure::new(INVALID, message));
    }
    let mut files = Vec::new();
    let mut open = vec![root];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| Failure::io("list", &folder, &e))? {
            let entry = entry.map_err(|e| Failure::io("list", &folder, &e))?;
            let path = entry.path();
            if path.is_dir() {
                // A link to a folder may lead back to where it stands.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                stays(&path)?;
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

type Read<'p> = (&'p PathBuf, CaseFile, Vec<Diagnostic>, String);

fn refused(context: &Context, read: &[Read<'_>], errors: usize) -> u8 {
    for (path, _, found, text) in read {
        context
            .console
            .diagnostics(found, Some(&(path.display().to_string(), text.clone())));
    }
    let all: Vec<Diagnostic> = read.iter().flat_map(|(_, _, found, _)| found.clone()).collect();
    let message = format!("the tests are not valid: {}", counted(errors as u64, "error", "errors"));
    if context.console.is_json() {
        let error = serde_json::json!({ "code": "INVALID", "message": message, "diagnostics": all });
        context
            .console
            .print(&format!("{:#}\n", serde_json::json!({ "error": error })));
    }
    context.console.error(Some("INVALID"), &message);
    INVALID
}

fn shown(difference: Difference, file: &CaseFile) -> Shown {
    Shown {
        step: difference.step,
        message: difference.message,
        place: file.source.place(difference.span),
    }
}

/// Writes what came into the test file; false when it stays as it is.
fn update(path: &Path, file: &CaseFile, text: &str, values: &[Rewrite]) -> Result<bool, Failure> {
    let new = clinmill_spec::cases::rewrite(text, &file.cases, values);
    if new == text {
        return Ok(false);
    }
    files::replace(path, &new)?;
    Ok(true)
}

fn text(tested: &[Tested]) -> String {
    let mut out = String::new();
    let mut file = "";
    for test in tested {
        if test.file != file {
            file = &test.file;
            let _ = writeln!(out, "{file}");
        }
        let word = match (test.passed, &test.error) {
            (true, _) => "ok",
            (_, None) => "FAILED",
            (_, Some(_)) => "ERROR",
        };
        let _ = writeln!(out, "  {word:<6}  {} ({:.1} s)", test.name, test.seconds);
        for d in test.told() {
            let message = d.message.replace('\n', "\n          ");
            let _ = writeln!(
                out,
                "          {}:{}: {}: {message}",
                d.place.line, d.place.column, d.step
            );
        }
    }
    let failed = tested.iter().filter(|t| !t.passed).count() as u64;
    let total = tested.len() as u64;
    let errors = tested.iter().filter(|t| t.error.is_some()).count();
    let rest = match errors {
        0 => String::new(),
        n => format!(", {n} of them could not be run"),
    };
    let _ = writeln!(
        out,
        "{}: {} passed, {failed} failed{rest}",
        counted(total, "test", "tests"),
        total - failed
    );
    out
}

/// A folder of this run, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(context: &Context) -> Result<Self, Failure> {
        let id = context.env.uuid();
        let dir = std::env::temp_dir().join(format!("clinmill-test-{id}"));
        fs::create_dir_all(&dir).map_err(|e| Failure::io("create", &dir, &e))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
