//! `sql:` steps, run by DataFusion over the rows of one bucket range.

mod checked;
mod deep;
mod in_turn;
mod local;
mod ties;
mod told;
mod words;
mod yields;

pub use local::NotLocal;
pub use words::{culprit, located, of_rows, plain};

use crate::error::EngineError;
use arrow::{
    array::{RecordBatch, StringArray},
    compute::concat_batches,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use checked::CheckWholeNumbers;
use clinmill_model::columns::{INPUTS, SUBJECT_ID};
use clinmill_spec::codes;
use datafusion::{
    common::{TableReference, runtime::SpawnedTask},
    datasource::MemTable,
    error::DataFusionError,
    execution::session_state::SessionStateBuilder,
    logical_expr::LogicalPlan,
    physical_optimizer::{PhysicalOptimizerRule, optimizer::PhysicalOptimizer},
    prelude::{DataFrame, SessionConfig, SessionContext},
    sql::{
        parser::Statement,
        sqlparser::{ast, tokenizer::Token},
    },
};
use in_turn::UnionsInTurn;
use local::{Carried, check_repeats, make_local};
use std::{collections::BTreeMap, sync::Arc};
use ties::OrderTies;
use told::Role;
use yields::{check_clauses, check_columns};

/// Whose rows may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlScope {
    /// Only rows of the same subject; enforced.
    Subject,
    /// All rows.
    Dataset,
}

/// A planned `sql:` step.
#[derive(Clone, Debug)]
pub struct SqlStep {
    text: String,
    scope: SqlScope,
    tables: BTreeMap<String, SchemaRef>,
    output: SchemaRef,
}

/// The names of the relations that a query reads, as the pipeline names them (`source.kind` with a dot).
///
/// # Errors
/// The byte of the text where it is wrong, and what is wrong with it.
pub fn tables(text: &str) -> Result<Vec<String>, (usize, String)> {
    let context = context();
    let state = context.state();
    let dialect = state.config().options().sql_parser.dialect;
    let tokens = words::tokens(text, &dialect)?;
    deep::check(&tokens)?;
    let statement = state
        .sql_to_statement(text, &dialect)
        .map_err(|e| located(text, plain(&e)))?;
    if let Statement::Statement(inner) = &statement {
        told::check(text, inner.as_ref(), Role::Query, &tokens, &state)?;
    }
    let references = state
        .resolve_table_references(&statement)
        .map_err(|e| located(text, plain(&e)))?;
    let mut names: Vec<String> = references.iter().map(name_of).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Reads a text that is to stand within a query, as one expression and nothing else.
///
/// # Errors
/// The byte of the text where it is wrong, and what is wrong with it.
pub fn expression(text: &str) -> Result<(), (usize, String)> {
    condition(text, Role::Condition)
}

fn condition(text: &str, role: Role) -> Result<(), (usize, String)> {
    let context = context();
    let state = context.state();
    let dialect = state.config().options().sql_parser.dialect;
    let tokens = words::tokens(text, &dialect)?;
    deep::check(&tokens)?;
    let parsed = state.sql_to_expr_with_alias(text, &dialect);
    let parsed = parsed.map_err(|e| located(text, plain(&e)))?;
    told::check(text, &parsed.expr, role, &tokens, &state)?;
    match parsed.alias {
        None => Ok(()),
        Some(name) => Err((0, format!("it is a condition, and cannot have a name: {}", name.value))),
    }
}

/// The one query of a text that is to stand within another, without the `;` behind it.
///
/// # Errors
/// The byte of the text where it is wrong, and what is wrong with it.
pub fn query(text: &str) -> Result<&str, (usize, String)> {
    let context = context();
    let state = context.state();
    let dialect = state.config().options().sql_parser.dialect;
    let tokens = words::tokens(text, &dialect)?;
    let mut behind = tokens.iter().skip_while(|(_, token)| *token != Token::SemiColon);
    let end = behind.next().map_or(text.len(), |(at, _)| *at);
    if let Some((at, _)) = behind.find(|(_, token)| !matches!(token, Token::Whitespace(_) | Token::EOF)) {
        return Err((*at, "one query may stand here, and nothing behind its `;`".to_owned()));
    }
    let query = text.get(..end).unwrap_or(text);
    deep::check(&tokens)?;
    let statement = state.sql_to_statement(query, &dialect);
    let statement = statement.map_err(|e| located(query, plain(&e)))?;
    match &statement {
        Statement::Statement(inner) if matches!(**inner, ast::Statement::Query(_)) => {
            told::check(query, inner.as_ref(), Role::Query, &tokens, &state)?;
        }
        _ => return Err((0, "only SELECT is allowed".to_owned())),
    }
    match check_clauses(&statement) {
        Ok(()) => Ok(query),
        Err(NotLocal::Refused(_, what, _)) => Err((culprit(text, &what).map_or(0, |(at, _)| at), what)),
        Err(NotLocal::Plan(error)) => Err(located(text, plain(&error))),
    }
}

/// The rows for which an expression is true.
///
/// # Errors
/// When the text is no expression over these columns, or it fails on these rows.
pub async fn filter(rows: RecordBatch, expression: &str) -> Result<RecordBatch, EngineError> {
    condition(expression, Role::Look)
        .map_err(|(at, what)| EngineError::Argument(words::of_place(expression, Some(at), &what)))?;
    // Nothing but the text and the columns can be quoted before the rows are looked at.
    let refused = |error: DataFusionError| EngineError::Argument(words::of_expression(expression, &error));
    let context = context();
    let schema = rows.schema();
    let frame = context.read_batch(rows).map_err(refused)?;
    let parsed = frame.parse_sql_expr(expression).map_err(refused)?;
    let filtered = frame.filter(parsed).map_err(refused)?;
    filtered.clone().create_physical_plan().await.map_err(refused)?;
    let batches = filtered
        .collect()
        .await
        .map_err(|e| EngineError::sql(&NotLocal::Plan(e)))?;
    Ok(concat_batches(&schema, &batches)?)
}

fn name_of(reference: &TableReference) -> String {
    match reference {
        TableReference::Bare { table } => table.to_string(),
        TableReference::Partial { schema, table } => format!("{schema}.{table}"),
        TableReference::Full { schema, table, .. } => format!("{schema}.{table}"),
    }
}

impl SqlStep {
    /// Plans a query over relations of these schemas: their own columns, and whether their rows are about subjects.
    ///
    /// # Errors
    /// When the text is not valid SQL, does not fit the relations, or cannot be made subject-local.
    pub async fn plan(
        text: &str,
        scope: SqlScope,
        relations: &BTreeMap<String, (SchemaRef, bool)>,
    ) -> Result<Self, NotLocal> {
        let tables: BTreeMap<_, _> = relations
            .iter()
            .map(|(name, (schema, subject))| (name.clone(), with_engine_columns(schema, *subject, false)))
            .collect();
        let mut step = Self {
            text: text.to_owned(),
            scope,
            tables,
            output: Arc::new(Schema::empty()),
        };
        let context = context();
        step.register(&context, &BTreeMap::new(), false)?;
        let plan = step.logical(&context, false).await?;
        let plan = context.state().optimize(&plan)?;
        step.output = Arc::new(Schema::new(
            plan.schema()
                .fields()
                .iter()
                .filter(|f| f.name() != SUBJECT_ID && !f.name().starts_with('_'))
                .map(|f| f.as_ref().clone().with_nullable(true))
                .map(|f| {
                    let kind = published(f.data_type());
                    f.with_data_type(kind)
                })
                .collect::<Vec<_>>(),
        ));
        if let Some(what) = crate::columns::misnamed(&step.output) {
            return Err(NotLocal::Refused(
                codes::SQL_COLUMN,
                what,
                "give it another name with `as`",
            ));
        }
        Ok(step)
    }

    /// The names of the relations it reads.
    pub fn reads(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// The columns it yields, without the engine's.
    pub fn output(&self) -> &SchemaRef {
        &self.output
    }

    /// Runs the query over these rows. Every relation has its own columns, then `subject_id` (for scope subject),
    /// then `_in` if lineage is on; so has the result.
    ///
    /// # Errors
    /// When the query fails on these rows.
    pub async fn run(
        &self,
        relations: &BTreeMap<String, Vec<RecordBatch>>,
        lineage: bool,
    ) -> Result<RecordBatch, NotLocal> {
        let context = context();
        self.register(&context, relations, lineage)?;
        let plan = self.logical(&context, lineage).await?;
        // A task of its own: a query may go on for hours without giving way, and whoever waits for it may give it up.
        let made = SpawnedTask::spawn(DataFrame::new(context.state(), plan).collect());
        let batches = made
            .join()
            .await
            .map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))??;
        let schema = with_engine_columns(&self.output, self.scope == SqlScope::Subject, lineage);
        let cast = batches
            .iter()
            .map(|batch| crate::columns::fit(batch, &schema))
            .collect::<Result<Vec<_>, _>>();
        let batches = cast.map_err(|e| DataFusionError::ArrowError(Box::new(e), None))?;
        concat_batches(&schema, &batches).map_err(|e| DataFusionError::ArrowError(Box::new(e), None).into())
    }

    fn register(
        &self,
        context: &SessionContext,
        relations: &BTreeMap<String, Vec<RecordBatch>>,
        lineage: bool,
    ) -> Result<(), NotLocal> {
        for (name, schema) in &self.tables {
            let schema = self.registered(schema, lineage);
            let batches = relations.get(name).into_iter().flatten();
            let batches = batches
                .map(|batch| with_all_subjects(batch, &schema))
                .collect::<Result<_, _>>()?;
            let table: Arc<MemTable> = Arc::new(MemTable::try_new(schema, vec![batches])?);
            context.register_table(TableReference::bare(name.as_str()), table.clone())?;
            // `source.kind` without quotes is a schema and a table to SQL.
            if let Some((source, kind)) = name.split_once('.') {
                let catalog = context
                    .catalog("datafusion")
                    .ok_or_else(|| missing("the default catalog"))?;
                let provider = match catalog.schema(source) {
                    Some(provider) => provider,
                    None => {
                        let provider = Arc::new(datafusion::catalog::MemorySchemaProvider::new());
                        catalog.register_schema(source, provider.clone())?;
                        provider
                    }
                };
                provider.register_table(kind.to_owned(), table)?;
            }
        }
        Ok(())
    }

    /// The columns of a relation: with lineage on, `_in`, and for scope dataset a subject that is one and the same in all
    /// rows, so that lineage travels as it does within a subject.
    fn registered(&self, schema: &SchemaRef, lineage: bool) -> SchemaRef {
        match (lineage, self.scope) {
            (false, _) => schema.clone(),
            (true, SqlScope::Subject) => with_lineage(schema),
            (true, SqlScope::Dataset) => {
                let mut fields: Vec<_> = with_lineage(schema).fields().iter().cloned().collect();
                fields.push(Arc::new(Field::new(ALL_SUBJECTS, DataType::Utf8, true)));
                Arc::new(Schema::new(fields))
            }
        }
    }

    async fn logical(&self, context: &SessionContext, lineage: bool) -> Result<LogicalPlan, NotLocal> {
        let state = context.state();
        let statement = state.sql_to_statement(&self.text, &state.config().options().sql_parser.dialect)?;
        check_clauses(&statement)?;
        let plan = state.statement_to_plan(statement).await?;
        match &plan {
            LogicalPlan::Ddl(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::DescribeTable(_) => {
                return Err(NotLocal::Refused(
                    codes::SQL_NO_SELECT,
                    "only SELECT is allowed".to_owned(),
                    "write the step as one SELECT",
                ));
            }
            _ => {}
        }
        if !lineage {
            check_columns(&plan)?;
        }
        if self.scope == SqlScope::Dataset {
            check_repeats(&plan)?;
        }
        match self.scope {
            // What cannot be rewritten runs as it is, and its rows do not know their records.
            SqlScope::Dataset if lineage => {
                let carried = Carried {
                    subject: ALL_SUBJECTS,
                    lineage: Some(INPUTS),
                };
                make_local(plan.clone(), &carried).or(Ok(plan))
            }
            SqlScope::Dataset => Ok(plan),
            SqlScope::Subject => make_local(
                plan,
                &Carried {
                    subject: SUBJECT_ID,
                    lineage: lineage.then_some(INPUTS),
                },
            ),
        }
    }
}

/// A session in which everything is deterministic: one partition, unions in turn, sorts of whole rows, no clock in the
/// options.
fn context() -> SessionContext {
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(8192)
        .with_information_schema(false)
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(UnionsInTurn)];
    rules.extend(PhysicalOptimizer::default().rules);
    rules.push(Arc::new(OrderTies));
    let state = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_physical_optimizer_rules(rules)
        .build();
    let context = SessionContext::new_with_state(state);
    context.add_analyzer_rule(Arc::new(CheckWholeNumbers));
    context
}

/// The type that a column of a query is handed on with: one kind of text, times to the microsecond, text where there is
/// only null.
fn published(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Date64 => DataType::Date32,
        other => other.clone(),
    }
}

fn with_engine_columns(schema: &Schema, subject: bool, lineage: bool) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    if subject {
        fields.push(Arc::new(Field::new(SUBJECT_ID, DataType::Utf8, true)));
    }
    let schema = Arc::new(Schema::new(fields));
    if lineage { with_lineage(&schema) } else { schema }
}

fn with_lineage(schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(INPUTS, DataType::Utf8, true)));
    Arc::new(Schema::new(fields))
}

/// The subject of all rows of a query over the whole dataset, while its lineage is kept.
const ALL_SUBJECTS: &str = "_all";

/// Adds that subject where the schema asks for it.
fn with_all_subjects(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    if schema.index_of(ALL_SUBJECTS).is_err() {
        return Ok(batch.clone());
    }
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec![""; batch.num_rows()])));
    RecordBatch::try_new(schema.clone(), columns).map_err(|e| DataFusionError::ArrowError(Box::new(e), None))
}

fn missing(what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("{what} is missing"))
}

#[cfg(test)]
mod tests;
