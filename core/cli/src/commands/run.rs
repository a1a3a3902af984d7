//! `clinmill run`: one refresh.

use crate::{
    args,
    context::Context,
    failure::{Failure, OK, QUALITY_GATE},
    output::{Grid, counted, thousands},
    progress::Follow,
};
use clinmill_engine::{
    bound::Bound,
    refresh::{self, Outcome, RefreshOptions, RunReport},
};
use std::fmt::Write;

/// Runs one refresh.
///
/// # Errors
/// When nothing was published; the exit code says which kind.
pub async fn run(context: &Context, args: &args::Run) -> Result<u8, Failure> {
    if args.engine != "local" {
        return Err(Failure::usage(match args.engine.starts_with("ballista://") {
            true => "this version has the local engine only: leave `--engine` out, or say `--engine local`".to_owned(),
            false => format!("there is no engine {:?}: this version has `local` only", args.engine),
        }));
    }
    let bound = context.bind(&args.file).await?;
    let options = RefreshOptions {
        full: args.full,
        approve_deletes: args.approve_deletes,
        allow_breaking: args.allow_breaking,
        ..RefreshOptions::default()
    };
    refresh_and_print(context, &bound, &options).await
}

/// Runs one refresh with progress on stderr and the report on stdout. What a source is expected to send and did not is no
/// reason to hold back what came: it is published, and the exit code says so.
///
/// # Errors
/// When nothing was published.
pub async fn refresh_and_print(context: &Context, bound: &Bound, options: &RefreshOptions) -> Result<u8, Failure> {
    let cancelled = context.cancelled();
    let follow = Follow::new(&context.console);
    let result = refresh::refresh(bound, &context.env, &context.secrets(), options, &cancelled, &follow).await;
    follow.finish();
    let report = result.map_err(|error| Failure::located(bound, error))?;
    warn(context, &report);
    context.console.result(&report, || text(&report))?;
    Ok(match report.unmet.is_empty() {
        true => OK,
        false => QUALITY_GATE,
    })
}

/// Says on stderr what somebody should look at.
pub fn warn(context: &Context, report: &RunReport) {
    for warning in &report.warnings {
        context.console.warn(Some(&warning.code), &warning.message);
    }
    for unmet in &report.unmet {
        context.console.warn(Some("UNMET"), unmet);
    }
}

fn text(report: &RunReport) -> String {
    if report.outcome == Outcome::NoOp {
        let release = match report.release {
            0 => "there is no release yet".to_owned(),
            n => format!("release {n} is current"),
        };
        return format!("{}: nothing to do; {release}\n", report.pipeline);
    }
    let mut text = format!(
        "{}: release {} in {:.1} s\n\n",
        report.pipeline, report.release, report.seconds
    );
    let _ = writeln!(text, "{}", tables(report));
    let mut grid = Grid::new([
        "source",
        ">inputs",
        ">records",
        ">written",
        ">duplicates",
        ">rejected",
        ">filtered",
        ">deleted",
    ]);
    for (name, s) in &report.sources {
        let figures = [
            s.inputs,
            s.read,
            s.written,
            s.duplicates,
            s.rejected,
            s.filtered,
            s.deleted,
        ];
        grid.row([name.clone()].into_iter().chain(figures.map(thousands)));
    }
    let _ = write!(text, "{grid}");
    if !report.gates.is_empty() {
        let held = report.gates.iter().filter(|g| g.passed).count() as u64;
        let _ = writeln!(text, "\n{}", gates(held, report.gates.len() as u64));
    }
    for part in [steps(report), quarantined(report)] {
        if !part.is_empty() {
            let _ = write!(text, "\n{part}");
        }
    }
    text
}

/// How many gates hold, and that those that do not only warn: one that blocks lets nothing be published.
fn gates(held: u64, all: u64) -> String {
    match all - held {
        0 => counted(all, "gate holds", "gates hold"),
        1 if all == 1 => "the only gate does not hold, and warns".to_owned(),
        1 => format!(
            "{held} of {} hold, the other one only warns",
            counted(all, "gate", "gates")
        ),
        warn => format!(
            "{held} of {} hold, the other {warn} only warn",
            counted(all, "gate", "gates")
        ),
    }
}

/// Rows and changes by table.
fn tables(report: &RunReport) -> Grid {
    let mut grid = Grid::new(["table", ">rows", ">upserts", ">deletes"]);
    for (name, t) in &report.tables {
        grid.row([
            name.clone(),
            thousands(t.rows),
            thousands(t.upserts),
            thousands(t.deletes),
        ]);
    }
    grid
}

fn steps(report: &RunReport) -> Grid {
    let mut grid = Grid::new(["step", "counts"]);
    for (step, counts) in &report.steps {
        let counts: Vec<String> = counts
            .iter()
            .map(|(what, n)| format!("{} {what}", thousands(*n)))
            .collect();
        grid.row([step.clone(), counts.join(", ")]);
    }
    grid
}

/// Records in quarantine, by source and code.
pub fn quarantined(report: &RunReport) -> Grid {
    let mut grid = Grid::new(["quarantine", "code", ">records"]);
    for (name, source) in &report.sources {
        for (code, n) in &source.rejected_by {
            grid.row([name.clone(), code.clone(), thousands(*n)]);
        }
    }
    grid
}

/// `31 inputs, 1,234 records: 1,220 written, 3 duplicates, 8 rejected, 3 filtered`.
pub fn counts(report: &RunReport) -> String {
    let c = &report.counts;
    format!(
        "{}, {}: {} written, {}, {} rejected, {} filtered",
        counted(c.inputs, "input", "inputs"),
        counted(c.read, "record", "records"),
        thousands(c.written),
        counted(c.duplicates, "duplicate", "duplicates"),
        thousands(c.rejected),
        thousands(c.filtered)
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn gates_in_words() {
        let said = super::gates;
        assert_eq!([said(1, 1), said(3, 3)], ["1 gate holds", "3 gates hold"]);
        assert_eq!(said(0, 1), "the only gate does not hold, and warns");
        assert_eq!(said(2, 3), "2 of 3 gates hold, the other one only warns");
        assert_eq!(said(1, 3), "1 of 3 gates hold, the other 2 only warn");
    }

    use super::*;
    use clinmill_engine::refresh::{SourceReport, TableReport, TotalCounts};
    use std::collections::BTreeMap;

    fn report(outcome: Outcome) -> RunReport {
        let source = SourceReport {
            read: 1234,
            rejected: 2,
            rejected_by: BTreeMap::from([("TABLE_RAGGED_ROW".to_owned(), 2)]),
            ..SourceReport::default()
        };
        RunReport {
            outcome,
            release: 3,
            run_id: "r".into(),
            pipeline: "labs".into(),
            counts: TotalCounts {
                inputs: 1,
                read: 1234,
                ..TotalCounts::default()
            },
            sources: BTreeMap::from([("lis".to_owned(), source)]),
            tables: BTreeMap::from([(
                "measurement".to_owned(),
                TableReport {
                    rows: 1232,
                    ..TableReport::default()
                },
            )]),
            steps: BTreeMap::new(),
            written_bytes: 0,
            subjects: None,
            warnings: Vec::new(),
            unmet: Vec::new(),
            gates: Vec::new(),
            scores: BTreeMap::new(),
            seconds: 0.25,
        }
    }

    #[test]
    fn a_release_is_told_with_its_tables_and_rejections() {
        let text = text(&report(Outcome::Released));
        assert!(text.starts_with("labs: release 3 in 0."), "{text}");
        assert!(text.contains("  measurement  1,232        0        0\n"), "{text}");
        assert!(
            text.ends_with("  quarantine  code              records\n  lis         TABLE_RAGGED_ROW        2\n"),
            "{text}"
        );
        assert!(!text.contains("step") && !text.contains("gate"));
        assert!(counts(&report(Outcome::Released)).starts_with("1 input, 1,234 records: 0 written, 0 duplicates"));
    }

    #[test]
    fn nothing_to_do_is_one_line() {
        assert_eq!(
            text(&report(Outcome::NoOp)),
            "labs: nothing to do; release 3 is current\n"
        );
    }
}
