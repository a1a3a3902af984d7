//! UNION in turn: the rows of its parts one part after the other. DataFusion reads parts side by side, and their rows come in
//! the order of its threads.

use datafusion::{
    common::{
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::PhysicalExpr,
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
        coalesce_partitions::CoalescePartitionsExec, stream::RecordBatchStreamAdapter, union::UnionExec,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use std::{fmt, sync::Arc};

/// Puts [`InTurn`] over every UNION: to be the first rule, before others ask how many parts there are.
#[derive(Debug)]
pub struct UnionsInTurn;

impl PhysicalOptimizerRule for UnionsInTurn {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let ordered = plan.transform_up(|node| match node.downcast_ref::<UnionExec>() {
            Some(_) => Ok(Transformed::yes(Arc::new(InTurn::new(node)) as Arc<dyn ExecutionPlan>)),
            None => Ok(Transformed::no(node)),
        })?;
        Ok(ordered.data)
    }

    fn name(&self) -> &str {
        "unions_in_turn"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The parts of its input, one after the other.
#[derive(Debug)]
struct InTurn {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl InTurn {
    fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        // As for parts side by side: one part, in no order that anybody may count on.
        let properties = CoalescePartitionsExec::new(input.clone()).properties().clone();
        Self { input, properties }
    }
}

impl DisplayAs for InTurn {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InTurn")
    }
}

impl ExecutionPlan for InTurn {
    fn name(&self) -> &'static str {
        "InTurn"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion, DataFusionError>,
    ) -> Result<TreeNodeRecursion, DataFusionError> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        match children.as_slice() {
            [input] => Ok(Arc::new(Self::new(input.clone()))),
            _ => Err(DataFusionError::Internal("InTurn has one input".to_owned())),
        }
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream, DataFusionError> {
        let input = self.input.clone();
        let parts = 0..input.output_partitioning().partition_count();
        let rows = stream::iter(parts)
            .map(move |part| input.execute(part, context.clone()))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
