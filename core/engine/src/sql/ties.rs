//! Total orders: what ORDER BY leaves equal is ordered by the other columns, so that a window, or an aggregate with an
//! order, says the same of a subject whatever other rows are there (L1). DataFusion's sort is not stable.

use clinmill_model::columns::INPUTS;
use datafusion::{
    common::{
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    error::DataFusionError,
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{ExecutionPlan, sorts::sort::SortExec},
};
use std::sync::Arc;

/// Makes every sort of a plan one of whole rows: to be the last rule, since others take from a sort what nobody asked for.
#[derive(Debug)]
pub struct OrderTies;

impl PhysicalOptimizerRule for OrderTies {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let ordered = plan.transform_up(|node| match node.downcast_ref::<SortExec>() {
            Some(sort) => Ok(Transformed::yes(whole(sort))),
            None => Ok(Transformed::no(node)),
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

fn whole(sort: &SortExec) -> Arc<dyn ExecutionPlan> {
    let mut keys: Vec<PhysicalSortExpr> = sort.expr().iter().cloned().collect();
    for (i, field) in sort.input().schema().fields().iter().enumerate() {
        // Lineage is there when a row is traced and not when it is made; nested values have no order.
        if !is_lineage(field.name()) && !field.data_type().is_nested() {
            keys.push(PhysicalSortExpr::new_default(Arc::new(Column::new(field.name(), i))));
        }
    }
    let Some(ordering) = LexOrdering::new(keys) else {
        return Arc::new(sort.clone());
    };
    let whole = SortExec::new(ordering, sort.input().clone())
        .with_fetch(sort.fetch())
        .with_preserve_partitioning(sort.preserve_partitioning());
    Arc::new(whole)
}

/// A lineage column, also under the name that it has within a rewritten query.
fn is_lineage(name: &str) -> bool {
    name == INPUTS || name.starts_with("__in_")
}
