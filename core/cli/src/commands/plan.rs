//! `clinmill plan`: what a refresh would read, change and write.

use crate::{
    args,
    context::{Context, environment},
    failure::{Failure, OK},
    output::{Grid, bytes, thousands},
};
use clinmill_engine::{
    changes::Impact,
    inspect::{self, PlanReport},
    refresh::MOST_LOST,
};
use std::fmt::Write;

/// Plans a refresh; nothing is made or changed.
///
/// # Errors
/// When vault and dataset cannot be read or do not belong together.
pub async fn run(context: &Context, args: &args::Plan) -> Result<u8, Failure> {
    let bound = context.bind(&args.file).await?;
    let plan = inspect::plan(
        &bound,
        &context.env,
        &context.secrets(),
        &context.registry_of(&args.file)?,
        &environment,
        args.count,
    )
    .await?;
    for warning in &plan.warnings {
        context.console.warn(Some(&warning.code), &warning.message);
    }
    context.console.result(&plan, || text(&plan))?;
    Ok(OK)
}

fn text(plan: &PlanReport) -> String {
    let now = match plan.release {
        0 => "no release yet".to_owned(),
        n => format!("release {n} is current"),
    };
    let next = match plan.no_op {
        true => "a refresh would do nothing".to_owned(),
        false => format!("a refresh would make release {}", plan.release + 1),
    };
    let mut sources = Grid::new(["source", ">files", ">to read", ">read again", ">bytes"]);
    for (name, s) in &plan.sources {
        sources.row([
            name.clone(),
            thousands(s.files),
            thousands(s.pending),
            thousands(s.again),
            bytes(s.bytes),
        ]);
    }
    let mut tables = Grid::new(["table", ">rows now", "to be computed for", ">subjects"]);
    for (name, t) in &plan.tables {
        let why = t.why.as_deref().unwrap_or("its making changed");
        let scope = match t.scope {
            "new" => "all subjects (new)".to_owned(),
            "changed" => format!("all subjects ({why})"),
            "mapping" => "subjects that a changed mapping concerns".to_owned(),
            "removed" => "nobody (it is removed)".to_owned(),
            "unchanged" => "nobody".to_owned(),
            other => other.to_owned(),
        };
        let subjects = t.subjects.map_or_else(|| "?".to_owned(), thousands);
        tables.row([name.clone(), thousands(t.rows), scope, subjects]);
    }
    let mut text = format!("{}: {now}; {next}\n\n{sources}\n{tables}", plan.pipeline);
    // Before the first release there is nothing to delete.
    let exports = plan.sources.iter().filter(|(_, s)| plan.release > 0 && s.pending > 0);
    for (name, most) in exports.filter_map(|(name, s)| Some((name, s.max_deletes?))) {
        let _ = write!(
            text,
            "\n  {name}: complete exports delete the records that they lack: how many is known on `run` only, which \
             refuses more than {:.1} % of a scope without --approve-deletes\n",
            most * 100.0
        );
    }
    let again: Vec<&str> = plan
        .sources
        .iter()
        .filter(|(_, s)| s.again > 0)
        .map(|(name, _)| name.as_str())
        .collect();
    if plan.release > 0 && !again.is_empty() {
        let _ = write!(
            text,
            "\n  {}: what was read before is read again; `run` refuses to lose more than {:.0} % of its records, or of the rows \
             of a table, without --approve-deletes\n",
            again.join(", "),
            MOST_LOST * 100.0
        );
    }
    if plan.news.is_none() {
        text.push_str("\nthe new inputs are large and were not read: --count reads them to count subjects\n");
    }
    if !plan.changes.is_empty() {
        let mut grid = Grid::new(["since the last release", "name", "change"]);
        for c in &plan.changes {
            grid.row([c.what.to_owned(), c.name.clone(), c.how.clone()]);
        }
        let _ = write!(text, "\n{grid}");
    }
    let of = |impact: Impact| plan.schemas.iter().filter(move |c| c.impact == impact);
    for (title, impact) in [("additive", Impact::Additive), ("breaking", Impact::Breaking)] {
        for change in of(impact) {
            let _ = write!(text, "\n  {title}: {change}");
        }
    }
    if !plan.schemas.is_empty() {
        text.push('\n');
    }
    if of(Impact::Breaking).next().is_some() {
        text.push_str("  `run` refuses the breaking ones without --allow-breaking\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinmill_engine::{
        changes::SchemaChange,
        inspect::{PlannedSource, PlannedTable},
    };
    use std::collections::BTreeMap;

    #[test]
    fn a_plan_names_what_is_read_and_made() {
        let source = PlannedSource {
            files: 1200,
            pending: 2,
            again: 0,
            bytes: 4096,
            max_deletes: Some(0.05),
        };
        let table = PlannedTable {
            why: None,
            scope: "new",
            rows: 0,
            subjects: Some(12),
        };
        let plan = PlanReport {
            pipeline: "labs".into(),
            release: 0,
            no_op: false,
            sources: BTreeMap::from([("lis".to_owned(), source)]),
            tables: BTreeMap::from([("person".to_owned(), table)]),
            changes: Vec::new(),
            schemas: vec![SchemaChange {
                table: "person".into(),
                column: Some("sex".into()),
                was: Some("string".into()),
                now: None,
                impact: Impact::Breaking,
            }],
            news: None,
            warnings: Vec::new(),
        };
        let first = text(&plan);
        assert!(!first.contains("complete exports"), "nothing to delete yet: {first}");
        let plan = PlanReport { release: 1, ..plan };
        let later = text(&plan);
        assert!(
            later.contains("\n  lis: complete exports delete") && later.contains("more than 5.0 % of a scope"),
            "{later}"
        );
        let mut plan = plan;
        plan.sources.values_mut().for_each(|s| s.again = 1);
        let changed = text(&plan);
        assert!(
            !later.contains("read again; `run`")
                && changed.contains("\n  lis: what was read before is read again; `run`"),
            "{changed}"
        );
        plan.sources.values_mut().for_each(|s| s.again = 0);
        let plan = PlanReport { release: 0, ..plan };
        let text = text(&plan);
        assert!(
            text.starts_with("labs: no release yet; a refresh would make release 1\n"),
            "{text}"
        );
        assert!(
            text.contains("  lis     1,200        2           0  4.1 kB\n"),
            "{text}"
        );
        assert!(text.contains("all subjects (new)        12"), "{text}");
        assert!(
            text.contains("\n  breaking: table person: column sex (was string) is gone\n"),
            "{text}"
        );
        assert!(text.contains("--count") && text.contains("--allow-breaking"), "{text}");
    }
}
