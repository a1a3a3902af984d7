//! The tables that gates look at: the state of each table as it would be published, or as it is, read from its files as
//! queries ask for it. Nothing is held but a batch at a time.

use crate::{error::EngineError, tables::TableSpec};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use clinmill_catalog::dataset::{base_schema, table::fold};
use clinmill_model::columns::{PROV, ROW_ID};
use datafusion::{
    catalog::{MemorySchemaProvider, SchemaProvider, Session, TableProvider},
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableType},
    physical_plan::{
        ExecutionPlan,
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
    },
    prelude::{SessionConfig, SessionContext},
};
use futures::StreamExt;
use std::{path::PathBuf, sync::Arc};

/// The files that make up a table.
#[derive(Clone, Debug)]
pub struct TableState {
    /// The table.
    pub name: String,
    /// Its columns with `_row_id` and `_release`.
    pub schema: SchemaRef,
    /// Base files.
    pub base: Vec<PathBuf>,
    /// Change files over them, oldest first.
    pub changes: Vec<Vec<PathBuf>>,
    /// Rows that it is stated to have.
    pub rows: u64,
}

impl TableState {
    /// A table without rows.
    pub fn empty(table: &TableSpec) -> Self {
        Self {
            name: table.name.clone(),
            schema: columns(table),
            base: Vec::new(),
            changes: Vec::new(),
            rows: 0,
        }
    }
}

/// The columns of a table that gates may name.
pub fn columns(table: &TableSpec) -> SchemaRef {
    let schema = base_schema(&table.schema);
    let fields = schema.fields().iter().filter(|f| f.name() != PROV).cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A session over tables; those of the release before are in the schema `previous`, without rows where it had none.
///
/// # Errors
/// A defect.
pub fn session(now: &[TableState], previous: &[TableState]) -> Result<SessionContext, EngineError> {
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(8192)
        .with_information_schema(false)
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
    let context = SessionContext::new_with_config(config);
    let failed = |e: DataFusionError| EngineError::internal(e.strip_backtrace());
    for table in now {
        context
            .register_table(
                datafusion::common::TableReference::bare(table.name.as_str()),
                Arc::new(Files(table.clone())),
            )
            .map_err(failed)?;
    }
    let before = Arc::new(MemorySchemaProvider::new());
    for table in now {
        let known = previous.iter().find(|t| t.name == table.name).cloned();
        let state = known.unwrap_or_else(|| TableState {
            base: Vec::new(),
            changes: Vec::new(),
            rows: 0,
            ..table.clone()
        });
        before
            .register_table(table.name.clone(), Arc::new(Files(state)))
            .map_err(failed)?;
    }
    let catalog = context
        .catalog("datafusion")
        .ok_or_else(|| EngineError::internal("no default catalog".to_owned()))?;
    catalog.register_schema("previous", before).map_err(failed)?;
    Ok(context)
}

/// A table in files, to DataFusion.
#[derive(Debug)]
struct Files(TableState);

#[async_trait]
impl TableProvider for Files {
    fn schema(&self) -> SchemaRef {
        self.0.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let mut wanted = self.0.clone();
        if let Some(columns) = projection {
            wanted.schema = Arc::new(wanted.schema.project(columns)?);
        }
        let schema = wanted.schema.clone();
        let part: Arc<dyn PartitionStream> = Arc::new(Files(wanted));
        let exec = StreamingTableExec::try_new(schema, vec![part], None, vec![], false, limit)?;
        Ok(Arc::new(exec))
    }
}

impl PartitionStream for Files {
    fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let wanted = self.0.schema.clone();
        // A query that only counts asks for no column; rows cannot be folded without one.
        let counted = wanted.fields().is_empty();
        let read = match counted {
            true => Arc::new(Schema::new(vec![arrow::datatypes::Field::new(
                ROW_ID,
                arrow::datatypes::DataType::Utf8,
                false,
            )])),
            false => wanted.clone(),
        };
        let outside = |e: clinmill_catalog::CatalogError| DataFusionError::External(Box::new(e));
        let stream = match fold(self.0.base.clone(), self.0.changes.clone(), read) {
            Err(error) => futures::stream::iter(vec![Err(outside(error))]).boxed(),
            Ok(rows) => {
                let rows = rows.map(move |batch| match batch {
                    Ok(batch) if counted => Ok(batch.project(&[])?),
                    Ok(batch) => Ok(batch),
                    Err(error) => Err(outside(error)),
                });
                futures::stream::iter(rows).boxed()
            }
        };
        Box::pin(RecordBatchStreamAdapter::new(wanted, stream))
    }
}
