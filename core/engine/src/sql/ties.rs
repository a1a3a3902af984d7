//! Total orders: what ORDER BY leaves equal is ordered by the other columns, and so are rows whose order an aggregate
//! follows, so that it says the same of a subject whatever other rows are there (L1). DataFusion's sort is not stable, and
//! which side of a join leads depends on the number of all rows.

use clinmill_model::columns::INPUTS;
use datafusion::{
    common::{
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    error::DataFusionError,
    physical_expr::{LexOrdering, PhysicalSortExpr, aggregate::AggregateFunctionExpr, expressions::Column},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions,
        aggregates::{AggregateExec, AggregateMode},
        sorts::sort::SortExec,
    },
};
use std::sync::Arc;

/// Makes every sort of a plan one of whole rows, and sorts the rows of aggregates that follow their order: to be the last rule,
/// since others take from a sort what nobody asked for.
#[derive(Debug)]
pub struct OrderTies;

impl PhysicalOptimizerRule for OrderTies {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let ordered = plan.transform_up(|node| {
            if let Some(sort) = node.downcast_ref::<SortExec>() {
                return Ok(Transformed::yes(whole(sort)));
            }
            let follows = node.downcast_ref::<AggregateExec>().filter(|node| {
                let is_first = !matches!(node.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned);
                is_first && node.aggr_expr().iter().any(|aggregate| follows_order(aggregate))
            });
            match follows.and_then(|node| sorted(node.input())) {
                Some(input) => {
                    let anew = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
                    Ok(Transformed::yes(node.replace_children(vec![input], anew)?))
                }
                None => Ok(Transformed::no(node)),
            }
        })?;
        Ok(ordered.data)
    }

    fn name(&self) -> &str {
        "order_ties"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Aggregates that say the same of rows in every order, unless their numbers are rounded.
const ORDERLESS: [&str; 12] = [
    "count", "min", "max", "sum", "avg", "median", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor", "grouping",
];

fn follows_order(aggregate: &AggregateFunctionExpr) -> bool {
    !ORDERLESS.contains(&aggregate.fun().name()) || aggregate.field().data_type().is_floating()
}

fn whole(sort: &SortExec) -> Arc<dyn ExecutionPlan> {
    let keys = sort.expr().iter().cloned().collect();
    match by_whole_rows(keys, sort.input()) {
        Some(ordering) => Arc::new(
            SortExec::new(ordering, sort.input().clone())
                .with_fetch(sort.fetch())
                .with_preserve_partitioning(sort.preserve_partitioning()),
        ),
        None => Arc::new(sort.clone()),
    }
}

/// The rows of a plan in a total order, which goes on from the one that they have.
fn sorted(input: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    if input.downcast_ref::<SortExec>().is_some() {
        return None;
    }
    let keys = input.output_ordering().into_iter().flatten().cloned().collect();
    let sort = SortExec::new(by_whole_rows(keys, input)?, input.clone());
    Some(Arc::new(sort.with_preserve_partitioning(true)))
}

/// An order of whole rows that begins with these keys.
fn by_whole_rows(mut keys: Vec<PhysicalSortExpr>, input: &Arc<dyn ExecutionPlan>) -> Option<LexOrdering> {
    for (i, field) in input.schema().fields().iter().enumerate() {
        // Lineage is there when a row is traced and not when it is made.
        if !is_lineage(field.name()) {
            keys.push(PhysicalSortExpr::new_default(Arc::new(Column::new(field.name(), i))));
        }
    }
    LexOrdering::new(keys)
}

/// A lineage column, also under the name that it has within a rewritten query.
fn is_lineage(name: &str) -> bool {
    name == INPUTS || name.starts_with("__in_")
}
