//! `clinmill trace`: a row back to the bytes of its inputs. It shows values: for use inside the hospital.

use crate::{
    args,
    context::{Context, environment},
    excerpt::Excerpt,
    failure::{Failure, OK},
    output::{Grid, counted, thousands},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clinmill_engine::{
    bound,
    trace::{self, TraceReport},
};
use clinmill_provenance::{Applied, Chain, Origin};
use std::{collections::BTreeMap, fmt::Write};

/// Traces one row.
///
/// # Errors
/// When there is no such row, or the pipeline is no longer the one that made it.
pub async fn run(context: &Context, args: &args::Trace) -> Result<u8, Failure> {
    let mut bound = context.bind(&args.file).await?;
    // An edit since the last release changes nothing about the rows of that release.
    if let Some(text) = trace::text_of_release(&bound, &context.env, &context.secrets()).await? {
        let registry = context.registry_of(&args.file)?;
        let former = bound::bind_text(&args.file, text, &registry, &environment).await;
        bound = former.map_err(|refused| {
            let failure = Failure::from(refused);
            let message = format!(
                "the pipeline was edited since the last release, and the text that made that does not fit what is there \
                 now ({}): put back the mappings, plugins or variables that it names, or run the pipeline once and trace \
                 a row of the new release",
                failure.message
            );
            Failure { message, ..failure }
        })?;
        context
            .console
            .note("the pipeline was edited since the last release: traced with the text that made it");
    }
    let report = trace::trace(&bound, &context.env, &context.secrets(), &args.table, &args.row_id).await?;
    context
        .console
        .note("a patient's record, from the vault: not to leave the hospital");
    context.console.result(&report, || text(&report))?;
    Ok(OK)
}

/// Origins printed for people.
const PRINTED: usize = 20;

/// The report for people.
pub fn text(report: &TraceReport) -> String {
    let mut text = format!("{} {} at release {}\n", report.table, report.row_id, report.release);
    text.push_str(&record(&report.row, "column", "value").to_string());
    let _ = write!(text, "\nmade by\n{}", chain(&report.chain));
    let _ = writeln!(
        text,
        "  pipeline {}, clinmill {}",
        report.chain.pipeline.short(),
        report.chain.engine
    );
    if !report.applied.is_empty() {
        let _ = write!(text, "\nmapped and converted\n{}", applied(&report.applied));
    }
    for step in &report.silent {
        let _ = writeln!(
            text,
            "  {step} was loaded: it does not tell which rows of its mappings it took"
        );
    }
    let all = report.origins.len() as u64 + report.more_origins;
    for (i, origin) in report.origins.iter().take(PRINTED).enumerate() {
        let (n, relation) = (i + 1, &origin.relation);
        let _ = write!(text, "\norigin {n} of {all}: {relation}\n{}", described(origin));
    }
    if report.origins.len() > PRINTED {
        let _ = writeln!(text, "\n… and {} more (--format json)", thousands(all - PRINTED as u64));
    }
    if report.origins.is_empty() {
        text.push_str("\nno record: the row is made of none\n");
    }
    text
}

/// Where a record lies: `row 12, sheet 1, column 3`.
pub fn place(row: Option<u64>, part: Option<u32>, cell: Option<u32>) -> String {
    let parts = [
        row.filter(|n| *n > 0)
            .map(|n| format!("row or message {}", thousands(n))),
        part.filter(|n| *n > 0).map(|n| format!("sheet or segment {n}")),
        cell.map(|n| format!("column {n}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn record(columns: &BTreeMap<String, Option<String>>, name: &str, value: &str) -> Grid {
    let mut grid = Grid::new([name, value]);
    for (name, value) in columns {
        // A note is long: its text is in the bytes below.
        let value = value.as_deref().unwrap_or("(null)");
        let mut line: String = value
            .chars()
            .take(100)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        if value.chars().nth(100).is_some() {
            line.push('…');
        }
        grid.row([name.clone(), line]);
    }
    grid
}

fn chain(chain: &Chain) -> Grid {
    let mut grid = Grid::new(["relation", "by", "reads", "mappings"]);
    for made in &chain.made {
        let mappings: Vec<String> = made
            .mappings
            .iter()
            .map(|(name, sha)| format!("{name} {}", sha.short()))
            .collect();
        grid.row([
            made.relation.clone(),
            made.by.clone(),
            made.reads.join(", "),
            mappings.join(", "),
        ]);
    }
    grid
}

/// What each step did, and under it the rows of mapping tables that decided, column by column.
fn applied(all: &[Applied]) -> String {
    let mut text = String::new();
    for one in all {
        let to = if one.to.is_empty() { "nothing" } else { &one.to };
        let _ = write!(
            text,
            "  {}: {} {:?} to {to}, {}",
            one.step, one.column, one.from, one.status
        );
        if let Some(factor) = &one.factor {
            let _ = write!(text, ", factor {factor}");
        }
        if let Some(by) = &one.by {
            let _ = write!(text, " ({by})");
        }
        text.push('\n');
        for row in &one.rows {
            let _ = writeln!(text, "    {}/map.csv:{} {}", row.mapping, row.line, row.sha256.short());
            let cells = row
                .cells
                .iter()
                .map(|(column, cell)| (column.clone(), Some(cell.clone())));
            for line in record(&cells.collect(), "column", "value").to_string().lines().skip(1) {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    text
}

fn described(origin: &Origin) -> String {
    let mut text = format!("  input {}\n", origin.path);
    let as_of = origin.as_of.as_ref().map_or(String::new(), |t| format!(", as of {t}"));
    let _ = writeln!(
        text,
        "  sha256 {}, {}{as_of}",
        origin.input,
        counted(origin.size, "byte", "bytes")
    );
    let place = place(Some(origin.row), Some(origin.part), origin.cell);
    let _ = write!(
        text,
        "  bytes {} to {}",
        thousands(origin.offset),
        thousands(origin.offset.saturating_add(origin.length))
    );
    let _ = writeln!(text, "{}{place}", if place.is_empty() { "" } else { "; " });
    text.push_str("  read as\n");
    for line in record(&origin.record, "field", "value").to_string().lines() {
        let _ = writeln!(text, "  {line}");
    }
    if let Some(bytes) = origin.bytes.as_ref().and_then(|b| STANDARD.decode(b).ok()) {
        let excerpt = Excerpt::new(&bytes, origin.length);
        let _ = write!(
            text,
            "  the bytes ({})\n{}",
            excerpt.encoding(),
            excerpt.lines("    | ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_what_it_knows() {
        assert_eq!(place(Some(1200), Some(0), None), "row or message 1,200");
        assert_eq!(
            place(Some(3), Some(2), Some(7)),
            "row or message 3, sheet or segment 2, column 7"
        );
        assert_eq!(place(Some(0), None, None), "");
    }

    #[test]
    fn values_stay_on_one_line() {
        let columns = BTreeMap::from([("text".to_owned(), Some("a\n".repeat(200))), ("unit".to_owned(), None)]);
        let text = record(&columns, "column", "value").to_string();
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("(null)") && text.contains('…'));
    }
}
