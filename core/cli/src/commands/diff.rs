//! `clinmill diff`: what changed between two releases.

use crate::{
    args,
    context::{Context, scratch},
    failure::{Failure, OK},
    output::{Grid, thousands},
};
use clinmill_catalog::dataset::{self, TableDiff};
use std::collections::BTreeMap;

/// Shows the net difference of two releases.
///
/// # Errors
/// When a release is missing or a rebase lies between.
pub async fn run(context: &Context, args: &args::Diff) -> Result<u8, Failure> {
    let dataset = context.dataset(&args.target).await?;
    if args.from >= args.to {
        return Err(Failure::usage(format!(
            "release {} is not before {}: name the older one first",
            args.from, args.to
        )));
    }
    // What is asked for is looked at first, not what lies between.
    for release in [args.to, args.from].into_iter().filter(|release| *release > 0) {
        context.known_release(&dataset, release).await?;
    }
    let limit = args.rows.unwrap_or(0);
    let diff = dataset::diff(&dataset, args.from, args.to, limit, &scratch()).await?;
    context.console.result(&diff, || {
        let mut text = format!("release {} to {}\n{}", diff.from, diff.to, tables(&diff.tables));
        if args.rows.is_some() {
            text.push('\n');
            text.push_str(&rows(&diff.tables).to_string());
        }
        text
    })?;
    Ok(OK)
}

/// Upserts by cause and deletes, by table.
pub fn tables(tables: &BTreeMap<String, TableDiff>) -> Grid {
    let mut grid = Grid::new([
        "table",
        ">rows before",
        ">rows after",
        ">new",
        ">late",
        ">corrected",
        ">restandardized",
        ">deleted",
    ]);
    for (name, table) in tables {
        let cause = |cause: &str| thousands(table.upserts.get(cause).copied().unwrap_or(0));
        grid.row([
            name.clone(),
            thousands(table.rows_before),
            thousands(table.rows_after),
            cause("new"),
            cause("late"),
            cause("corrected"),
            cause("restandardized"),
            thousands(table.deletes),
        ]);
    }
    grid
}

fn rows(tables: &BTreeMap<String, TableDiff>) -> Grid {
    let mut grid = Grid::new(["table", "row", "", "cause"]);
    for (name, table) in tables {
        for row in &table.rows {
            grid.row([name, &row.row_id, row.op, row.cause.as_deref().unwrap_or("")]);
        }
    }
    grid
}
