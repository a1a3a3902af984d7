//! What a query says that would be passed over in silence: clauses without effect, and result columns that are the
//! engine's.

use super::NotLocal;
use clinmill_model::columns::SUBJECT_ID;
use clinmill_spec::codes;
use datafusion::{
    common::Column,
    logical_expr::{Distinct, Expr, LogicalPlan},
    sql::{
        parser::Statement,
        sqlparser::ast::{Query, TableFactor, Visit, Visitor},
    },
};
use std::ops::ControlFlow;

/// Refuses clauses that DataFusion reads and passes over.
///
/// # Errors
/// For the first of them.
pub(super) fn check_clauses(statement: &Statement) -> Result<(), NotLocal> {
    let Statement::Statement(statement) = statement else {
        return Ok(());
    };
    match statement.visit(&mut Clauses) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break((what, instead)) => Err(NotLocal::Refused(
            codes::SQL_IGNORED,
            format!("{what} has no effect here"),
            instead,
        )),
    }
}

struct Clauses;

impl Visitor for Clauses {
    type Break = (&'static str, &'static str);

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        if !query.locks.is_empty() {
            return ControlFlow::Break(("FOR UPDATE", "leave it out: a query only reads"));
        }
        let clause = [
            (query.for_clause.is_some(), "FOR"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
        ];
        match clause.into_iter().find(|(there, _)| *there) {
            Some((_, name)) => ControlFlow::Break((name, "leave it out")),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        let (TableFactor::Table { sample, .. } | TableFactor::Derived { sample, .. }) = factor else {
            return ControlFlow::Continue(());
        };
        match sample {
            Some(_) => ControlFlow::Break((
                "TABLESAMPLE",
                "leave it out, or keep rows by what they hold: a sample would differ at every run",
            )),
            None => ControlFlow::Continue(()),
        }
    }
}

/// Refuses a result with a column that would be dropped or replaced: two of one name, one with the engine's prefix,
/// another `subject_id` than that of the rows.
///
/// # Errors
/// For the first of them.
pub(super) fn check_columns(plan: &LogicalPlan) -> Result<(), NotLocal> {
    let refused = |what: String, instead| Err(NotLocal::Refused(codes::SQL_COLUMN, what, instead));
    let columns = plan.schema().columns();
    for (at, column) in columns.iter().enumerate() {
        let name = &column.name;
        if name.starts_with('_') {
            return refused(
                format!("the column name {name:?} is the engine's: names that begin with `_` are"),
                "give it another name, without `_` before it",
            );
        }
        if name == SUBJECT_ID {
            if !is_subject(plan, column) {
                return refused(
                    format!(
                        "the column {name:?} is the engine's, and here it is something else than the subject of the row"
                    ),
                    "give the column another name: the subject of a row stays what its inputs say",
                );
            }
        } else if columns.iter().take(at).any(|c| c.name == *name) {
            return refused(
                format!("two columns of the result have the name {name:?}"),
                "name the columns that are wanted instead of `*`, and give one of the two another name with `as`",
            );
        }
    }
    Ok(())
}

/// Functions of subjects that give one of them.
const CHOOSING: [&str; 5] = ["coalesce", "min", "max", "first_value", "last_value"];

/// Whether a column of a plan's result is the subject of its rows. What cannot be told counts as the subject.
fn is_subject(plan: &LogicalPlan, column: &Column) -> bool {
    let made_by = |exprs: &[Expr], input: &LogicalPlan| {
        let is_it = |expr: &&Expr| {
            let (relation, name) = expr.qualified_name();
            name == column.name && (column.relation.is_none() || column.relation == relation)
        };
        exprs.iter().find(is_it).map(|expr| of_subject(expr, input))
    };
    match plan {
        LogicalPlan::TableScan(_) => column.name == SUBJECT_ID,
        LogicalPlan::Projection(node) => made_by(&node.expr, &node.input).unwrap_or(true),
        LogicalPlan::Aggregate(node) => made_by(&node.group_expr, &node.input)
            .or_else(|| made_by(&node.aggr_expr, &node.input))
            .unwrap_or(true),
        LogicalPlan::Window(node) => {
            made_by(&node.window_expr, &node.input).unwrap_or_else(|| is_subject(&node.input, column))
        }
        LogicalPlan::SubqueryAlias(node) => is_subject(&node.input, &Column::new_unqualified(&column.name)),
        LogicalPlan::Filter(node) => is_subject(&node.input, column),
        LogicalPlan::Sort(node) => is_subject(&node.input, column),
        LogicalPlan::Limit(node) => is_subject(&node.input, column),
        LogicalPlan::Distinct(Distinct::All(input)) => is_subject(input, column),
        LogicalPlan::Union(node) => {
            let place = plan.schema().columns().iter().position(|c| c == column);
            node.inputs.iter().all(|input| {
                let inside = place.and_then(|at| input.schema().columns().get(at).cloned());
                inside.is_none_or(|inside| is_subject(input, &inside))
            })
        }
        LogicalPlan::Join(node) => [&node.left, &node.right]
            .into_iter()
            .filter(|side| side.schema().has_column(column))
            .all(|side| is_subject(side, column)),
        _ => true,
    }
}

fn of_subject(expr: &Expr, input: &LogicalPlan) -> bool {
    let all = |args: &[Expr]| args.iter().all(|arg| of_subject(arg, input));
    match expr {
        Expr::Alias(alias) => of_subject(&alias.expr, input),
        Expr::Column(column) => is_subject(input, column),
        Expr::Cast(cast) => of_subject(&cast.expr, input),
        Expr::ScalarFunction(call) => CHOOSING.contains(&call.func.name()) && all(&call.args),
        Expr::AggregateFunction(call) => CHOOSING.contains(&call.func.name()) && all(&call.params.args),
        Expr::WindowFunction(call) => CHOOSING.contains(&call.fun.name()) && all(&call.params.args),
        _ => false,
    }
}
