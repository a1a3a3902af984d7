//! `clinmill gates`: the gates of a pipeline, without a refresh.

use crate::{
    args,
    context::Context,
    failure::{Failure, OK, QUALITY_GATE},
    output::{Grid, counted, thousands},
};
use clinmill_catalog::dataset::Dimension;
use clinmill_engine::{
    gates::{self, Looked},
    refresh::{Access, Session, civil_now},
};
use std::fmt::Write;

/// Runs the gates over what a stopped refresh left, or over the last release. Exit code 3 when one that blocks does not
/// hold.
///
/// # Errors
/// When there is neither, or something cannot be read.
pub async fn run(context: &Context, args: &args::Gates) -> Result<u8, Failure> {
    let bound = context.bind(&args.file).await?;
    let session = Session::open(&bound, &context.env, &context.secrets(), Access::Read).await?;
    let now = civil_now(&bound, &context.env);
    let looked = gates::look(&bound, &session, now, args.rows).await;
    let looked = looked.map_err(|error| Failure::located(&bound, error))?;
    context.console.result(&looked, || text(&looked, args.rows))?;
    Ok(match looked.audit.refusal() {
        None => OK,
        Some(_) => QUALITY_GATE,
    })
}

fn text(looked: &Looked, listed: usize) -> String {
    let of = match looked.of {
        "staged" => format!("staged for release {}, stopped by a gate", looked.release),
        _ => format!("release {}", looked.release),
    };
    if looked.audit.gates.is_empty() {
        return format!("{of}: the pipeline has no gates\n");
    }
    let mut grid = Grid::new(["gate", "check", "category", "holds", ">rows", ">failing", "detail"]);
    // Of the many gates that contracts bring along, those that fail somewhere.
    let mut quiet = 0;
    for gate in &looked.audit.gates {
        let Some(m) = &gate.measured else { continue };
        if gate.passed && m.failed == 0 && gate.name.contains('.') {
            quiet += 1;
            continue;
        }
        let holds = match (gate.passed, gate.blocks()) {
            (true, _) => "yes",
            (false, true) => "NO, blocks",
            (false, false) => "no, warns",
        };
        grid.row([
            gate.name.clone(),
            m.dqd.clone().unwrap_or_else(|| m.check.clone()),
            m.category.clone(),
            holds.to_owned(),
            thousands(m.rows),
            thousands(m.failed),
            gate.detail.clone(),
        ]);
    }
    let mut scores = Grid::new(["dimension", ">holds", ">of", ">share"]);
    for (dimension, score) in &looked.audit.scores {
        let share = match score.denominator {
            0 => "not measured".to_owned(),
            of => format!("{:.2} %", 100.0 * score.numerator as f64 / of as f64),
        };
        scores.row([
            word(*dimension).to_owned(),
            thousands(score.numerator),
            thousands(score.denominator),
            share,
        ]);
    }
    let mut text = format!("{of}\n\n{grid}");
    if quiet > 0 {
        let more = counted(quiet, "gate of a contract holds", "gates of contracts hold");
        let _ = writeln!(text, "  {more} for every row");
    }
    let _ = write!(text, "\n{scores}");
    let failing = looked
        .audit
        .gates
        .iter()
        .filter_map(|g| Some((g, g.measured.as_ref()?)));
    for (gate, m) in failing.filter(|(_, m)| listed > 0 && !m.row_ids.is_empty()) {
        let _ = writeln!(
            text,
            "\n{}: the first {} of {} failing rows",
            gate.name,
            m.row_ids.len(),
            m.failed
        );
        for id in &m.row_ids {
            let _ = writeln!(text, "  {id}");
        }
    }
    if let Some(staging) = &looked.staging {
        let _ = writeln!(text, "\nthe staged rows are in {}", staging.display());
    }
    text
}

fn word(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Normative => "normative",
        Dimension::Complete => "complete",
        Dimension::Accurate => "accurate",
        Dimension::Consistent => "consistent",
        Dimension::Timely => "timely",
        Dimension::Accessible => "accessible",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinmill_catalog::dataset::{GateResult, Measured, Score, Severity};
    use clinmill_engine::gates::Audit;

    fn gate(name: &str, failed: u64) -> GateResult {
        GateResult {
            name: name.into(),
            passed: failed == 0,
            detail: format!("{failed} fail"),
            measured: Some(Measured {
                check: "not_null".into(),
                dqd: Some("isRequired".into()),
                category: "Conformance".into(),
                dimension: Dimension::Complete,
                target: "t.c".into(),
                on_fail: Severity::Block,
                rows: 1200,
                failed,
                at_least: 1.0,
                index: None,
                row_ids: (0..failed).map(|i| format!("row{i}")).collect(),
            }),
        }
    }

    #[test]
    fn what_fails_is_shown_and_what_is_not_measured_is_said() {
        let score = Score {
            numerator: 3,
            denominator: 4,
        };
        let looked = Looked {
            of: "staged",
            release: 2,
            staging: None,
            audit: Audit {
                gates: vec![gate("mine", 0), gate("t.c.isRequired", 0), gate("t.d.isRequired", 1)],
                scores: [(Dimension::Complete, score), (Dimension::Timely, Score::default())].into(),
            },
        };
        let text = text(&looked, 20);
        assert!(text.starts_with("staged for release 2, stopped by a gate\n"), "{text}");
        for part in [
            "mine",
            "t.d.isRequired",
            "NO, blocks",
            "1 gate of a contract holds",
            "75.00 %",
            "not measured",
            "row0",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("t.c.isRequired"), "{text}");
    }
}
