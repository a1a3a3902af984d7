//! Counting the gates that look at each row: one query for all gates of a table.

use super::{
    GateSpec, TableState,
    query::{Plan, at, name},
};
use crate::{error::EngineError, sql::NotLocal};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Int64Type},
};
use datafusion::{error::DataFusionError, execution::context::SQLOptions, prelude::SessionContext};
use std::collections::{BTreeMap, HashMap};

/// What was counted row by row.
pub struct RowCounts {
    /// Rows and failing rows of the gates that are counted row by row, by number.
    pub rows: HashMap<usize, (u64, u64)>,
    /// Rows of each table.
    pub tables: BTreeMap<String, u64>,
}

/// Counts all that is counted row by row, each table read once.
///
/// # Errors
/// When a gate's query fails: [`EngineError::Gate`].
pub async fn row_counts(
    context: &SessionContext,
    gates: &[GateSpec],
    tables: &[TableState],
    now: jiff::civil::DateTime,
) -> Result<RowCounts, EngineError> {
    let mut found = RowCounts {
        rows: HashMap::new(),
        tables: BTreeMap::new(),
    };
    for state in tables {
        let mut wanted = vec!["count(*)".to_owned()];
        let mut numbers = Vec::new();
        for (i, gate) in gates.iter().enumerate() {
            if let Plan::Rows { table, applies, fails } = &gate.plan
                && *table == state.name
            {
                wanted.push(format!("count(*) filter (where {applies})"));
                wanted.push(format!("count(*) filter (where {applies} and {fails})"));
                numbers.push(i);
            }
        }
        let list: Vec<String> = wanted
            .iter()
            .enumerate()
            .map(|(i, expression)| format!("{expression} as c{i}"))
            .collect();
        let text = format!("select {} from {}", list.join(", "), name(&state.name));
        let batches = match query(context, &at(&text, now)).await {
            Ok(batches) => batches,
            Err(error) => return Err(culprit(context, gates.iter().enumerate(), &numbers, now, error).await),
        };
        let counts: Vec<u64> = (0..wanted.len())
            .map(|c| batches.first().map_or(0, |b| integer(b, c)))
            .collect();
        found
            .tables
            .insert(state.name.clone(), counts.first().copied().unwrap_or(0));
        for (gate, pair) in numbers.into_iter().zip(counts.get(1..).unwrap_or_default().chunks(2)) {
            if let [rows, failed] = pair {
                found.rows.insert(gate, (*rows, *failed));
            }
        }
    }
    Ok(found)
}

/// The failure of the gates of a table that were counted together, as that of the first that fails alone.
async fn culprit(
    context: &SessionContext,
    gates: impl Iterator<Item = (usize, &GateSpec)>,
    counted: &[usize],
    now: jiff::civil::DateTime,
    together: EngineError,
) -> EngineError {
    for (_, gate) in gates.filter(|(i, _)| counted.contains(i)) {
        if let Plan::Rows { table, applies, fails } = &gate.plan {
            let table = name(table);
            let text = format!("select count(*) from {table} where case when {applies} then {fails} else false end");
            if let Err(error) = query(context, &at(&text, now)).await {
                return error.of_gate(&gate.name);
            }
        }
    }
    together
}

/// What may stand in a gate's query.
pub fn reading() -> SQLOptions {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
}

/// Runs a query.
///
/// # Errors
/// [`EngineError::Sql`] when it fails on the rows.
pub async fn query(context: &SessionContext, text: &str) -> Result<Vec<RecordBatch>, EngineError> {
    let frame = context.sql_with_options(text, reading()).await.map_err(failed_query)?;
    frame.collect().await.map_err(failed_query)
}

/// Why a query failed.
pub fn failed_query(error: DataFusionError) -> EngineError {
    match error {
        // A file that cannot be read is told as what it is.
        DataFusionError::External(inner) => match inner.downcast::<clinmill_catalog::CatalogError>() {
            Ok(error) => EngineError::Catalog(*error),
            Err(_) => EngineError::Sql {
                transform: None,
                message: "a gate's query failed on these rows".to_owned(),
            },
        },
        e => EngineError::sql(&NotLocal::Plan(e)),
    }
}

/// A count; 0 where there is none.
pub fn integer(batch: &RecordBatch, column: usize) -> u64 {
    let cast = arrow::compute::cast(batch.column(column), &DataType::Int64);
    let value = cast.ok().and_then(|c| {
        let c = c.as_primitive::<Int64Type>();
        (!c.is_empty() && c.is_valid(0)).then(|| c.value(0))
    });
    value.and_then(|v| u64::try_from(v).ok()).unwrap_or(0)
}
