//! `clinmill gates`: the gates of a pipeline, without a refresh.

use crate::{
    args,
    context::Context,
    failure::{Failure, OK, QUALITY_GATE},
    output::{Grid, thousands},
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
    let looked = gates::look(&bound, &session, now, args.rows).await?;
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
    for gate in &looked.audit.gates {
        let Some(m) = &gate.measured else { continue };
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
    let mut text = format!("{of}\n\n{grid}\n{scores}");
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
