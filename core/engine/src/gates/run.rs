//! Running gates: the queries, the counts, the verdicts, the six scores.

use super::{
    GateSpec, TableState,
    counts::{failed_query, integer, query, reading, row_counts},
    drift,
    query::{Plan, at, group_name, micros},
    state,
};
use crate::{bound::Bound, error::EngineError, refresh::Session};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use clinmill_catalog::dataset::{Dimension, GateResult, Measured, Score};
use clinmill_model::columns::ROW_ID;
use datafusion::prelude::SessionContext;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Rows that a refresh rejected on their way into each table, by code.
pub type Rejected = BTreeMap<String, BTreeMap<String, u64>>;

/// What did not come into the tables.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    /// What this refresh rejected.
    pub rejected: Rejected,
    /// Rows that its contract keeps out, by table that has one.
    pub broken: BTreeMap<String, u64>,
}

/// What the gates found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    /// Each gate, in the pipeline's order, the contracts' own after them.
    pub gates: Vec<GateResult>,
    /// By dimension.
    pub scores: BTreeMap<Dimension, Score>,
}

impl Audit {
    /// The gates that stand in the way of a release.
    pub fn blocking(&self) -> Vec<&GateResult> {
        self.gates.iter().filter(|g| g.blocks()).collect()
    }

    /// Why nothing was published; none when nothing stands in the way.
    pub fn refusal(&self) -> Option<String> {
        let blocking = self.blocking();
        if blocking.is_empty() {
            return None;
        }
        let lines: Vec<String> = blocking.iter().map(|g| format!("  {}: {}", g.name, g.detail)).collect();
        let what = match blocking.len() {
            1 => "a gate does not hold".to_owned(),
            n => format!("{n} gates do not hold"),
        };
        Some(format!("{what}; nothing was published\n{}", lines.join("\n")))
    }
}

/// A look at the gates without a refresh.
#[derive(Clone, Debug, Serialize)]
pub struct Looked {
    /// `staged`: what a refresh left that a gate stopped; `release`: the last release.
    pub of: &'static str,
    /// The release, or the one that it would have been.
    pub release: u64,
    /// The folder of the staged change files, within the vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staging: Option<std::path::PathBuf>,
    /// What was found.
    #[serde(flatten)]
    pub audit: Audit,
}

/// Groups that a verdict names.
const NAMED: usize = 3;

/// What a gate counted, before the verdict.
struct Counted {
    rows: u64,
    failed: u64,
    row_ids: Vec<String>,
    index: Option<f64>,
    /// What to say beside the counts.
    detail: Option<String>,
}

/// Runs gates over tables. `previous` are those of the release before, empty at the first; `lost` is what is in
/// neither; `now` is the local time of the pipeline; at most `listed` failing rows of each gate are named.
///
/// # Errors
/// When a file cannot be read or a query fails on these rows.
pub async fn run(
    gates: &[GateSpec],
    tables: &[TableState],
    previous: &[TableState],
    lost: &Lost,
    now: jiff::civil::DateTime,
    listed: usize,
) -> Result<Audit, EngineError> {
    let context = state::session(tables, previous)?;
    let mut counts = row_counts(&context, gates, tables, now).await?;
    let mut audit = Audit::default();
    for dimension in Dimension::ALL {
        audit.scores.insert(dimension, Score::default());
    }
    let mut score = |dimension, rows: u64, failed: u64| {
        let score = audit.scores.entry(dimension).or_default();
        score.numerator += rows - failed.min(rows);
        score.denominator += rows;
    };
    let mut results = Vec::new();
    for (i, gate) in gates.iter().enumerate() {
        let counted = match counts.rows.remove(&i) {
            Some((rows, failed)) => {
                let row_ids = match failed {
                    0 => Ok(Vec::new()),
                    _ => failing_rows(&context, gate, now, listed).await,
                };
                row_ids.map(|row_ids| Counted {
                    rows,
                    failed,
                    row_ids,
                    index: None,
                    detail: None,
                })
            }
            None => measure(&context, gate, &counts.tables, previous, now, listed).await,
        };
        let counted = counted.map_err(|e| e.of_gate(&gate.name))?;
        score(gate.dimension, counted.rows, counted.failed);
        results.push(judged(gate, counted, &lost.rejected));
    }
    // A row that does not hold its contract is in no table, and in the way of no other score.
    for (table, broken) in &lost.broken {
        let kept = counts.tables.get(table).copied().unwrap_or(0);
        score(Dimension::Normative, kept + broken, *broken);
    }
    // What is stated must be what is read.
    for table in tables {
        let read = counts.tables.get(&table.name).copied().unwrap_or(0);
        score(Dimension::Accessible, table.rows.max(read), table.rows.abs_diff(read));
    }
    audit.gates = results;
    Ok(audit)
}

/// Plans the queries of a gate over tables of the right columns.
///
/// # Errors
/// What DataFusion says of them.
pub(super) async fn check(gate: &GateSpec, empty: &[TableState]) -> Result<(), String> {
    let context = state::session(empty, empty).map_err(|e| e.to_string())?;
    let texts: Vec<String> = match &gate.plan {
        Plan::Rows { table, applies, fails } => vec![format!(
            "select 1 from {} where {applies} and {fails}",
            super::query::name(table)
        )],
        Plan::Query { rows, failing } => vec![rows.clone(), failing.clone()],
        Plan::Drift { values, groups, .. } => values.iter().chain(groups).cloned().collect(),
        Plan::Fresh { newest, .. } => vec![newest.clone()],
        Plan::RowCount { .. } => Vec::new(),
        Plan::Sql { sql, .. } => vec![format!("select count(*) from ({sql}\n) as failing")],
    };
    for text in texts {
        let frame = context.sql_with_options(&text, reading()).await;
        let frame = frame.map_err(|e| crate::sql::plain(&e))?;
        // Types are checked by the analyzer.
        context
            .state()
            .optimize(frame.logical_plan())
            .map_err(|e| crate::sql::plain(&e))?;
    }
    Ok(())
}

/// Runs the gates of a pipeline over what a stopped refresh left, or over the last release.
///
/// # Errors
/// When there is neither.
pub async fn look(
    bound: &Bound,
    session: &Session,
    now: jiff::civil::DateTime,
    listed: usize,
) -> Result<Looked, EngineError> {
    let Some(found) = crate::refresh::look_at(bound, session).await? else {
        return Err(EngineError::NotFound(
            "there is no release yet, and nothing staged: run the pipeline first".to_owned(),
        ));
    };
    let audit = run(&bound.gates, &found.tables, &found.previous, &found.lost, now, listed).await?;
    Ok(Looked {
        of: if found.staging.is_some() { "staged" } else { "release" },
        release: found.release,
        staging: found.staging,
        audit,
    })
}

async fn failing_rows(
    context: &SessionContext,
    gate: &GateSpec,
    now: jiff::civil::DateTime,
    listed: usize,
) -> Result<Vec<String>, EngineError> {
    // A gate of which nothing must hold only measures.
    if gate.at_least <= 0.0 {
        return Ok(Vec::new());
    }
    let text = match &gate.plan {
        Plan::Rows { table, applies, fails } => format!(
            "select {ROW_ID} from {} where {applies} and {fails}",
            super::query::name(table)
        ),
        Plan::Query { failing, .. } => failing.clone(),
        Plan::Sql { sql, .. } => {
            format!("select distinct {ROW_ID} from ({sql}\n) as failing where {ROW_ID} is not null")
        }
        _ => return Ok(Vec::new()),
    };
    let text = format!("select {ROW_ID} from ({text}) as rows order by 1 limit {listed}");
    let mut ids = Vec::new();
    for batch in query(context, &at(&text, now)).await? {
        let column = arrow::compute::cast(batch.column(0), &DataType::Utf8)?;
        ids.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(ids)
}

async fn measure(
    context: &SessionContext,
    gate: &GateSpec,
    tables: &BTreeMap<String, u64>,
    previous: &[TableState],
    now: jiff::civil::DateTime,
    listed: usize,
) -> Result<Counted, EngineError> {
    let yes_or_no = |holds: bool, detail: String| Counted {
        rows: 1,
        failed: u64::from(!holds),
        row_ids: Vec::new(),
        index: None,
        detail: Some(detail),
    };
    // What had nothing to compare passes, and has no part in a score.
    let not_applicable = |why: &str| Counted {
        rows: 0,
        ..yes_or_no(true, format!("not applicable: {why}"))
    };
    let before = |table: &str| previous.iter().find(|t| t.name == table);
    let count = |table: &str| tables.get(table).copied().unwrap_or(0);
    Ok(match &gate.plan {
        Plan::Rows { .. } => return Err(EngineError::internal("a gate was not counted".to_owned())),
        Plan::Query { rows, failing } => {
            let rows = query(context, rows).await?.first().map_or(0, |b| integer(b, 0));
            let all = format!("select count(*) from ({failing}) as failing");
            let failed = query(context, &all).await?.first().map_or(0, |b| integer(b, 0));
            Counted {
                rows,
                failed,
                row_ids: match failed {
                    0 => Vec::new(),
                    _ => failing_rows(context, gate, now, listed).await?,
                },
                index: None,
                detail: None,
            }
        }
        Plan::Sql { sql, table } => {
            let frame = context.sql_with_options(sql, reading()).await.map_err(failed_query)?;
            let named = frame.schema().fields().iter().filter(|f| f.name() == ROW_ID).count() == 1;
            // A row that a join gives twice is one. A query without `_row_id` counts, but names no rows.
            let failing = match named {
                true => format!("count(distinct {ROW_ID}) + count(*) filter (where {ROW_ID} is null)"),
                false => "count(*)".to_owned(),
            };
            let all = format!("select {failing} from ({sql}\n) as failing");
            let failed = query(context, &all).await?.first().map_or(0, |b| integer(b, 0));
            let row_ids = match named && failed > 0 {
                true => failing_rows(context, gate, now, listed).await?,
                false => Vec::new(),
            };
            match table {
                Some(table) => Counted {
                    rows: count(table).max(failed),
                    failed,
                    row_ids,
                    index: None,
                    detail: None,
                },
                None => Counted {
                    row_ids,
                    ..yes_or_no(
                        failed == 0,
                        format!("the query returns {failed} rows, none are allowed"),
                    )
                },
            }
        }
        Plan::Drift {
            table,
            values,
            groups,
            told,
            numeric,
            at_most,
            ..
        } => {
            if before(table).is_none() {
                return Ok(not_applicable("there is no earlier release to compare with"));
            }
            let [old, new] = values;
            let (old, new) = (query(context, old).await?, query(context, new).await?);
            if let Some(groups) = groups {
                let apart = drift::by_group(&old, &new, *numeric)?;
                return far_apart(context, &apart, *at_most, (groups, *told), listed).await;
            }
            let index = match numeric {
                true => drift::of_numbers(numbers(&old), &numbers(&new)),
                false => drift::of_words(words(&old, &new)?),
            };
            match index {
                None => not_applicable("one of the two releases has no value to compare"),
                Some(index) => {
                    let detail = format!("population stability index {index:.4}, at most {at_most} is allowed");
                    Counted {
                        index: Some(index),
                        ..yes_or_no(index <= *at_most, detail)
                    }
                }
            }
        }
        Plan::Fresh { newest, within } => {
            let batches = query(context, &at(newest, now)).await?;
            let newest = batches.first().and_then(|b| {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                let times = arrow::compute::cast(b.column(0), &micros).ok()?;
                let times = times.as_primitive::<TimestampMicrosecondType>();
                (!times.is_empty() && times.is_valid(0)).then(|| times.value(0))
            });
            let now = micros(now);
            match newest {
                None => yes_or_no(false, "there is no time".to_owned()),
                Some(newest) => {
                    let age = now.saturating_sub(newest);
                    let days = |micros: i64| micros / 86_400_000_000;
                    let allowed = days(*within);
                    let detail = format!(
                        "the newest time is {} days old, {allowed} are allowed",
                        days(age).max(0)
                    );
                    yes_or_no(age <= *within, detail)
                }
            }
        }
        Plan::RowCount { table, rows, change } => {
            let now = count(table);
            let mut holds = rows.0.is_none_or(|least| now >= least) && rows.1.is_none_or(|most| now <= most);
            let mut detail = format!("{now} rows");
            if let Some(old) = before(table).map(|t| t.rows).filter(|n| *n > 0) {
                let growth = (now as f64 - old as f64) / old as f64;
                holds &= change.0.is_none_or(|least| growth >= least) && change.1.is_none_or(|most| growth <= most);
                detail = format!("{now} rows after {old} ({:+.1} %)", growth * 100.0);
            }
            if *rows == (None, None) && before(table).is_none_or(|t| t.rows == 0) {
                return Ok(not_applicable("there are no earlier rows to compare with"));
            }
            yes_or_no(holds, detail)
        }
    })
}

/// The verdict on the groups of a drift: what fails is a group, named by one of its rows, and by its values where they may
/// be told.
async fn far_apart(
    context: &SessionContext,
    apart: &drift::Groups,
    at_most: f64,
    (groups, told): (&str, bool),
    listed: usize,
) -> Result<Counted, EngineError> {
    let far = apart.far(at_most);
    let mut rows: HashMap<String, String> = HashMap::new();
    if !far.is_empty() {
        for batch in query(context, groups).await? {
            let text = |column: usize| arrow::compute::cast(batch.column(column), &DataType::Utf8);
            let (ids, names) = (text(0)?, text(1)?);
            let pairs = ids.as_string::<i32>().iter().zip(names.as_string::<i32>().iter());
            rows.extend(pairs.filter_map(|(id, name)| Some((name?.to_owned(), id?.to_owned()))));
        }
    }
    let row_of = |(group, _): &(&str, f64)| rows.get(*group).cloned();
    let row_ids = far.iter().filter_map(row_of).take(listed).collect();
    let worst = far.iter().take(NAMED).filter_map(|of| {
        let name = if told {
            group_name(of.0)
        } else {
            format!("that of row {}", row_of(of)?)
        };
        Some(format!("{name} ({:.4})", of.1))
    });
    let worst = worst.collect::<Vec<_>>().join(", ");
    let worst = match (far.is_empty(), told) {
        (true, _) => String::new(),
        (false, true) => format!("; the furthest first: {worst}"),
        (false, false) => format!("; the furthest first: {worst}; `clinmill trace` shows a row"),
    };
    let compared = apart.compared() as u64;
    let few = match apart.few {
        0 => String::new(),
        n => format!("; {n} with fewer than {} values are not compared", drift::FEW),
    };
    let detail = match apart.largest() {
        None => format!("there is no group to compare{few}"),
        Some(index) => format!(
            "{} of {compared} groups are further away than {at_most}, the furthest has the population stability index \
             {index:.4}{few}{worst}",
            far.len()
        ),
    };
    Ok(Counted {
        rows: compared,
        failed: far.len() as u64,
        row_ids,
        index: apart.largest(),
        detail: Some(detail),
    })
}

fn judged(gate: &GateSpec, counted: Counted, rejected: &Rejected) -> GateResult {
    let Counted {
        rows,
        failed,
        row_ids,
        index,
        detail,
    } = counted;
    // 95 % of 20 rows are 19: the share is compared without the error of its own rounding.
    let passed = (rows.saturating_sub(failed)) as f64 >= gate.at_least * rows as f64 - 1e-9;
    let share = |n: u64| format!("{:.1}", 100.0 * n as f64 / rows.max(1) as f64);
    let wanted = format!("{} %", (gate.at_least * 1e6).round() / 1e4);
    let detail = detail.unwrap_or_else(|| match failed {
        0 => format!("all {rows} rows of {} hold", gate.target),
        _ => format!(
            "{failed} of {rows} rows of {} fail ({} %); {wanted} must hold{}",
            gate.target,
            share(failed),
            blamed(gate, rejected)
        ),
    });
    GateResult {
        name: gate.name.clone(),
        passed,
        detail,
        measured: Some(Measured {
            check: gate.check.to_owned(),
            dqd: gate.dqd.map(str::to_owned),
            category: gate.category.to_owned(),
            dimension: gate.dimension,
            target: gate.target.clone(),
            on_fail: gate.on_fail,
            rows,
            failed,
            at_least: gate.at_least,
            index,
            row_ids,
        }),
    }
}

/// Where rows may have gone that others refer to: a person without a date of birth is rejected, and all that is theirs stays.
fn blamed(gate: &GateSpec, rejected: &Rejected) -> String {
    let Some((parent, codes)) = gate.parent.as_ref().and_then(|p| rejected.get_key_value(p)) else {
        return String::new();
    };
    let codes: Vec<String> = codes.iter().map(|(code, n)| format!("{code} {n}")).collect();
    format!(
        "; rows were rejected that {parent} would have ({}): see `clinmill quarantine list`",
        codes.join(", ")
    )
}

fn numbers(batches: &[RecordBatch]) -> Vec<f64> {
    let columns = batches
        .iter()
        .filter_map(|b| b.column(0).as_primitive_opt::<Float64Type>());
    columns.flat_map(|c| c.iter().flatten().collect::<Vec<_>>()).collect()
}

/// How often each word was there before and is now.
fn words(before: &[RecordBatch], now: &[RecordBatch]) -> Result<Vec<(u64, u64)>, EngineError> {
    let mut counts: HashMap<String, (u64, u64)> = HashMap::new();
    for (batches, is_now) in [(before, false), (now, true)] {
        for batch in batches {
            let words = arrow::compute::cast(batch.column(0), &DataType::Utf8)?;
            let n = arrow::compute::cast(batch.column(1), &DataType::Int64)?;
            let n = n.as_primitive::<Int64Type>();
            for (row, word) in words.as_string::<i32>().iter().enumerate() {
                let entry = counts.entry(word.unwrap_or_default().to_owned()).or_default();
                let count = u64::try_from(n.value(row)).unwrap_or(0);
                match is_now {
                    true => entry.1 += count,
                    false => entry.0 += count,
                }
            }
        }
    }
    Ok(counts.into_values().collect())
}

/// The warnings of gates that do not hold and only warn.
pub(crate) fn warnings(audit: &Audit) -> Vec<(String, String)> {
    let warned = audit.gates.iter().filter(|g| !g.passed && !g.blocks());
    warned.map(|g| (g.name.clone(), g.detail.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinmill_catalog::dataset::Severity;

    fn gate(at_least: f64) -> GateSpec {
        GateSpec {
            name: "g".into(),
            check: "not_null",
            dqd: None,
            category: "Completeness",
            dimension: Dimension::Complete,
            target: "t.c".into(),
            at_least,
            on_fail: Severity::Block,
            parent: None,
            plan: Plan::RowCount {
                table: "t".into(),
                rows: (None, None),
                change: (None, None),
            },
        }
    }

    fn judge(at_least: f64, rows: u64, failed: u64) -> GateResult {
        let counted = Counted {
            rows,
            failed,
            row_ids: Vec::new(),
            index: None,
            detail: None,
        };
        judged(&gate(at_least), counted, &Rejected::new())
    }

    #[test]
    fn shares_are_compared_exactly() {
        for (at_least, rows, failed, passed) in [
            (0.95, 20, 1, true),
            (0.95, 20, 2, false),
            (1.0, 1_000_000_000, 1, false),
            (1.0, 0, 0, true),
            (0.0, 3, 3, true),
            (0.07, 100, 93, true),
        ] {
            assert_eq!(
                judge(at_least, rows, failed).passed,
                passed,
                "{at_least} {rows} {failed}"
            );
        }
        let told = judge(0.95, 20, 2);
        assert_eq!(told.detail, "2 of 20 rows of t.c fail (10.0 %); 95 % must hold");
        assert!(told.blocks());
    }
}
