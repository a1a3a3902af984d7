//! Unit tests of a pipeline: given rows and files go through a refresh of their own, in a vault and dataset that
//! nobody else sees, and what the steps give is compared with what is expected.

mod compare;
mod given;
mod steps;

use crate::{
    bound::Bound,
    error::EngineError,
    refresh::{RefreshOptions, RunReport, Silent, refresh},
};
use clinmill_catalog::env::{Env, SeededRandom, TestClock};
use clinmill_model::Diagnostic;
use clinmill_spec::{
    cases::{Case, CaseFile, Rewrite},
    pipeline::{KeyRef, Mode, Span, Spanned},
};
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

/// What became of one test.
#[derive(Clone, Debug, Default)]
pub struct CaseOutcome {
    /// What is other than expected; empty: the test passed.
    pub differences: Vec<Difference>,
    /// What the steps gave, to be written into the file.
    pub actual: Vec<Rewrite>,
}

/// Something that is other than expected. It holds values: a test's data are its author's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The step.
    pub step: String,
    /// What is expected and what came instead.
    pub message: String,
    /// Where in the test file that is expected.
    pub span: Span,
}

/// Checks a test file against its pipeline: every step, column and path that it names is there.
pub fn check(bound: &Bound, file: &CaseFile) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for case in &file.cases {
        found.extend(given::check(bound, case));
        found.extend(steps::check(bound, case));
    }
    found
        .into_iter()
        .map(|(diagnostic, span)| diagnostic.at(file.source.place(span)))
        .collect()
}

/// Runs one test in a folder of its own. `number` is its place in its file; `bound` is the pipeline as it was bound,
/// in its own folder; the folder is left to the caller.
///
/// # Errors
/// When the refresh fails, the folder cannot be written, or the test does not fit the pipeline (see [`check`]).
pub async fn run(mut bound: Bound, number: usize, case: &Case, dir: &Path) -> Result<CaseOutcome, EngineError> {
    let home = std::mem::replace(&mut bound.dir, dir.to_path_buf());
    given::place(&mut bound, case, &home)?;
    isolate(&mut bound, case.name.span);
    let clock = match case.now {
        Some(now) => TestClock::at(now),
        None => TestClock::default(),
    };
    let env = Env {
        clock: Arc::new(clock),
        random: Arc::new(SeededRandom::new(1)),
    };
    let cancelled = AtomicBool::new(false);
    let options = RefreshOptions::default();
    let report = refresh(&bound, &env, &secret, &options, &cancelled, &Silent).await?;
    let mut outcome = CaseOutcome::default();
    let reader = steps::Reader::open(&bound, &env, &secret, &report).await?;
    for (i, expected) in case.expect.iter().enumerate() {
        let given = reader.read(&expected.step.value).await?;
        compare::compare(expected, &given, &mut outcome.differences);
        outcome.actual.push(compare::actual(expected, &given, (number, i)));
    }
    Ok(outcome)
}

/// Every test has the same key, so that it gives the same result.
const KEY: [u8; 32] = *b"the key of every test's vault...";

fn secret(_: &str) -> Option<Vec<u8>> {
    Some(KEY.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect())
}

/// Vault, dataset and roots within the test's folder; nothing of what sources promise about their weekly inputs.
fn isolate(bound: &mut Bound, span: Span) {
    let url = |url: &str| Spanned {
        value: url.to_owned(),
        span,
    };
    bound.pipeline.vault.url = url("file:vault");
    bound.pipeline.vault.key = KeyRef::Secret(url("test"));
    bound.pipeline.dataset = url("file:out");
    for (name, root) in &mut bound.pipeline.roots {
        root.value = format!("roots/{name}");
    }
    for source in &mut bound.sources {
        source.spec.expect = None;
        source.spec.inputs.settle = Duration::ZERO;
        if let Mode::Complete { max_deletes, .. } = &mut source.spec.mode {
            *max_deletes = 1.0;
        }
    }
}

/// The counts of a source by name.
fn counts_of(report: &RunReport, source: &str) -> Vec<(&'static str, u64)> {
    let Some(s) = report.sources.get(source) else {
        return Vec::new();
    };
    vec![
        ("inputs", s.inputs),
        ("read", s.read),
        ("written", s.written),
        ("duplicates", s.duplicates),
        ("rejected", s.rejected),
        ("filtered", s.filtered),
        ("deleted", s.deleted),
    ]
}

/// A finding about a test file, and where it points.
type Located = (Diagnostic, Span);
