//! Subject-local SQL: rewrites a plan so that no row of one subject can touch a row of another, and refuses what
//! cannot be made so or would not repeat.
//!
//! Every relation carries the subject of its rows along: joins get subject equality, GROUP BY, PARTITION BY and
//! DISTINCT get the subject as one more column. On request the lineage of the rows travels the same way.

use clinmill_spec::codes;
use datafusion::{
    common::{
        Column, DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    functions::expr_fn as scalar,
    functions_aggregate::string_agg::string_agg_udaf,
    logical_expr::{
        Aggregate, Distinct, Expr, Filter, Join, JoinType, LogicalPlan, Projection, Sort, SubqueryAlias, Union,
        Volatility, Window, WindowFunctionDefinition,
        expr::{AggregateFunction, WindowFunction},
        lit,
        logical_plan::builder::LogicalPlanBuilder,
    },
};
use std::sync::Arc;

/// Why a query cannot run subject by subject.
#[derive(Debug)]
pub enum NotLocal {
    /// A construct that is refused: code, what it is, what to do instead.
    Refused(&'static str, String, &'static str),
    /// The plan could not be rebuilt.
    Plan(DataFusionError),
}

impl From<DataFusionError> for NotLocal {
    fn from(error: DataFusionError) -> Self {
        Self::Plan(error)
    }
}

/// The names of the columns that carry subject and lineage in the tables a query reads and in its result.
pub struct Carried {
    /// The subject column.
    pub subject: &'static str,
    /// The lineage column, if lineage is on: text, numbers separated by commas.
    pub lineage: Option<&'static str>,
}

/// Rewrites a plan. Its result has the columns of the original plan except those that begin with `_` or are the
/// subject's, then the subject, then the lineage if it is on.
///
/// # Errors
/// [`NotLocal::Refused`] for what cannot be made subject-local or repeatable.
pub fn make_local(plan: LogicalPlan, carried: &Carried) -> Result<LogicalPlan, NotLocal> {
    let original = plan.schema().as_ref().clone();
    let mut rewriter = Rewriter { carried, next: 0 };
    let local = rewriter.rewrite(plan)?;
    let mut columns: Vec<Expr> = visible(&original, carried).into_iter().map(Expr::Column).collect();
    columns.push(Expr::Column(local.subject).alias(carried.subject));
    if let (Some(name), Some(column)) = (carried.lineage, local.lineage) {
        columns.push(Expr::Column(column).alias(name));
    }
    Ok(project(columns, local.plan)?)
}

fn visible(schema: &DFSchema, carried: &Carried) -> Vec<Column> {
    schema
        .columns()
        .into_iter()
        .filter(|c| c.name != carried.subject && !c.name.starts_with('_'))
        .collect()
}

/// A relation, and which of its columns are the subject and the lineage.
struct Local {
    plan: LogicalPlan,
    subject: Column,
    lineage: Option<Column>,
}

struct Rewriter<'a> {
    carried: &'a Carried,
    next: usize,
}

impl Rewriter<'_> {
    fn rewrite(&mut self, plan: LogicalPlan) -> Result<Local, NotLocal> {
        plan.apply_expressions(|expr| {
            check_expression(expr)
                .map(|()| TreeNodeRecursion::Continue)
                .map_err(wrap)
        })
        .map_err(unwrap)?;
        match plan {
            LogicalPlan::TableScan(scan) => {
                let of = |name: &str| Column::new(Some(scan.table_name.clone()), name);
                let (subject, lineage) = (of(self.carried.subject), self.carried.lineage.map(of));
                if !scan
                    .source
                    .schema()
                    .fields()
                    .iter()
                    .any(|f| f.name() == self.carried.subject)
                {
                    return refuse(
                        codes::SQL_REFERENCE,
                        format!("{} has no subject: it is a reference", scan.table_name),
                        "look references up with a mapping, or give the step `scope: dataset`",
                    );
                }
                Ok(Local {
                    plan: LogicalPlan::TableScan(scan),
                    subject,
                    lineage,
                })
            }
            LogicalPlan::Projection(node) => {
                let input = self.rewrite(Arc::unwrap_or_clone(node.input))?;
                self.carry(node.expr, input)
            }
            LogicalPlan::Filter(node) => {
                let input = self.rewrite(Arc::unwrap_or_clone(node.input))?;
                Ok(Local {
                    plan: LogicalPlan::Filter(Filter::try_new(node.predicate, Arc::new(input.plan))?),
                    ..input
                })
            }
            LogicalPlan::SubqueryAlias(node) => {
                let input = self.rewrite(Arc::unwrap_or_clone(node.input))?;
                let qualify = |c: Column| Column::new(Some(node.alias.clone()), c.name);
                Ok(Local {
                    subject: qualify(input.subject),
                    lineage: input.lineage.map(qualify),
                    plan: LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input.plan), node.alias.clone())?),
                })
            }
            LogicalPlan::Sort(node) => {
                if node.fetch.is_some() {
                    return refuse_limit();
                }
                let input = self.rewrite(Arc::unwrap_or_clone(node.input))?;
                let plan = LogicalPlan::Sort(Sort {
                    expr: node.expr,
                    input: Arc::new(input.plan),
                    fetch: None,
                });
                Ok(Local { plan, ..input })
            }
            LogicalPlan::Join(node) => self.join(node),
            LogicalPlan::Aggregate(node) => self.aggregate(node),
            LogicalPlan::Window(node) => self.window(node),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(Arc::unwrap_or_clone(input)),
            LogicalPlan::Distinct(Distinct::On(_)) => refuse(
                codes::SQL_DISTINCT_ON,
                "DISTINCT ON keeps an arbitrary row".to_owned(),
                "use row_number() over (partition by … order by …) and keep number 1",
            ),
            LogicalPlan::Union(node) => self.union(node),
            LogicalPlan::Limit(_) => refuse_limit(),
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => refuse(
                codes::SQL_NO_INPUT,
                "rows that come from no input belong to no subject".to_owned(),
                "read from a source or a transform",
            ),
            other => refuse(
                codes::SQL_NOT_LOCAL,
                format!(
                    "{} cannot be made subject-local",
                    other.display().to_string().split(':').next().unwrap_or("this")
                ),
                "use joins, GROUP BY, window functions and UNION ALL, or give the step `scope: dataset`",
            ),
        }
    }

    fn fresh(&mut self, what: &str) -> String {
        self.next += 1;
        format!("__{what}_{}", self.next)
    }

    /// A projection that also passes subject and lineage on.
    fn carry(&mut self, mut columns: Vec<Expr>, input: Local) -> Result<Local, NotLocal> {
        let subject = self.fresh("subject");
        columns.push(Expr::Column(input.subject).alias(&subject));
        let lineage = match input.lineage {
            Some(column) => {
                let name = self.fresh("in");
                columns.push(Expr::Column(column).alias(&name));
                Some(Column::new_unqualified(name))
            }
            None => None,
        };
        Ok(Local {
            plan: project(columns, input.plan)?,
            subject: Column::new_unqualified(subject),
            lineage,
        })
    }

    fn join(&mut self, node: Join) -> Result<Local, NotLocal> {
        let left = self.rewrite(Arc::unwrap_or_clone(node.left))?;
        let right = self.rewrite(Arc::unwrap_or_clone(node.right))?;
        let mut on = node.on;
        let same = (Expr::Column(left.subject.clone()), Expr::Column(right.subject.clone()));
        if !on.contains(&same) {
            on.push(same);
        }
        let join_type = node.join_type;
        let plan = LogicalPlan::Join(Join::try_new(
            Arc::new(left.plan),
            Arc::new(right.plan),
            on,
            node.filter,
            join_type,
            node.join_constraint,
            node.null_equality,
            node.null_aware,
        )?);
        let both = matches!(
            join_type,
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
        );
        if !both {
            let one = match join_type {
                JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (right.subject, right.lineage),
                _ => (left.subject, left.lineage),
            };
            return Ok(Local {
                plan,
                subject: one.0,
                lineage: one.1,
            });
        }
        let mut columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let subject = self.fresh("subject");
        let (l, r) = (Expr::Column(left.subject), Expr::Column(right.subject));
        columns.push(scalar::coalesce(vec![l, r]).alias(&subject));
        let lineage = match (left.lineage, right.lineage) {
            (Some(l), Some(r)) => {
                let name = self.fresh("in");
                columns.push(scalar::concat_ws(lit(","), vec![Expr::Column(l), Expr::Column(r)]).alias(&name));
                Some(Column::new_unqualified(name))
            }
            _ => None,
        };
        Ok(Local {
            plan: project(columns, plan)?,
            subject: Column::new_unqualified(subject),
            lineage,
        })
    }

    fn aggregate(&mut self, node: Aggregate) -> Result<Local, NotLocal> {
        let input = self.rewrite(Arc::unwrap_or_clone(node.input))?;
        let mut groups = node.group_expr;
        if groups.iter().any(|g| matches!(g, Expr::GroupingSet(_))) {
            return refuse(
                codes::SQL_NOT_LOCAL,
                "ROLLUP, CUBE and GROUPING SETS are not subject-local".to_owned(),
                "group once per level and combine with UNION ALL",
            );
        }
        let mut aggregates = node.aggr_expr;
        let subject = Expr::Column(input.subject.clone());
        if !groups.contains(&subject) {
            groups.push(subject);
        }
        let Some(lineage) = input.lineage else {
            return Ok(Local {
                plan: LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input.plan), groups, aggregates)?),
                subject: input.subject,
                lineage: None,
            });
        };
        let name = self.fresh("in");
        aggregates.push(gather(lineage).alias(&name));
        Ok(Local {
            plan: LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input.plan), groups, aggregates)?),
            subject: input.subject,
            lineage: Some(Column::new_unqualified(name)),
        })
    }

    fn window(&mut self, node: Window) -> Result<Local, NotLocal> {
        let input = self.rewrite(Arc::unwrap_or_clone(node.input))?;
        let windows = node
            .window_expr
            .into_iter()
            .map(|expr| {
                let name = expr.schema_name().to_string();
                let mut bare = expr.unalias();
                if let Expr::WindowFunction(function) = &mut bare {
                    function.params.partition_by.push(Expr::Column(input.subject.clone()));
                }
                bare.alias(name)
            })
            .collect();
        Ok(Local {
            plan: LogicalPlan::Window(Window::try_new(windows, Arc::new(input.plan))?),
            ..input
        })
    }

    fn distinct(&mut self, input: LogicalPlan) -> Result<Local, NotLocal> {
        let columns = input.schema().columns();
        let local = self.rewrite(input)?;
        let mut groups: Vec<Expr> = columns
            .into_iter()
            .filter(|c| Some(c.name.as_str()) != self.carried.lineage)
            .map(Expr::Column)
            .collect();
        let subject = Expr::Column(local.subject.clone());
        if !groups.contains(&subject) {
            groups.push(subject);
        }
        let mut aggregates = Vec::new();
        let lineage = local.lineage.map(|column| {
            let name = self.fresh("in");
            aggregates.push(gather(column).alias(&name));
            Column::new_unqualified(name)
        });
        Ok(Local {
            plan: LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(local.plan), groups, aggregates)?),
            subject: local.subject,
            lineage,
        })
    }

    fn union(&mut self, node: Union) -> Result<Local, NotLocal> {
        let subject = self.fresh("subject");
        let lineage = self.carried.lineage.map(|_| self.fresh("in"));
        let mut plan: Option<LogicalPlanBuilder> = None;
        for input in node.inputs {
            let columns = input.schema().columns();
            let local = self.rewrite(Arc::unwrap_or_clone(input))?;
            let mut columns: Vec<Expr> = columns
                .into_iter()
                .map(|c| Expr::Column(c.clone()).alias(c.name))
                .collect();
            columns.push(Expr::Column(local.subject).alias(&subject));
            if let (Some(name), Some(column)) = (&lineage, local.lineage) {
                columns.push(Expr::Column(column).alias(name));
            }
            let part = project(columns, local.plan)?;
            plan = Some(match plan {
                None => LogicalPlanBuilder::from(part),
                Some(all) => all.union(part)?,
            });
        }
        let Some(plan) = plan else {
            return refuse(
                codes::SQL_NO_INPUT,
                "an empty UNION".to_owned(),
                "read from a source or a transform",
            );
        };
        Ok(Local {
            plan: plan.build()?,
            subject: Column::new_unqualified(subject),
            lineage: lineage.map(Column::new_unqualified),
        })
    }
}

fn project(columns: Vec<Expr>, input: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?))
}

/// The lineage of a group: that of all its rows.
fn gather(lineage: Column) -> Expr {
    Expr::AggregateFunction(AggregateFunction::new_udf(
        string_agg_udaf(),
        vec![Expr::Column(lineage), lit(",")],
        false,
        None,
        vec![],
        None,
    ))
}

fn refuse<T>(code: &'static str, what: String, instead: &'static str) -> Result<T, NotLocal> {
    Err(NotLocal::Refused(code, what, instead))
}

fn refuse_limit<T>() -> Result<T, NotLocal> {
    refuse(
        codes::SQL_LIMIT,
        "LIMIT would cut across subjects".to_owned(),
        "use row_number() over (partition by subject_id order by …) and keep the first numbers",
    )
}

fn refuse_approximate<T>(name: &str) -> Result<T, NotLocal> {
    refuse(
        codes::SQL_ORDER,
        format!("{name}() depends on which other rows are read with a subject's"),
        "use median(x), or percentile_cont(0.9) within group (order by x)",
    )
}

/// Functions that give another result at another time, whatever their declared volatility.
pub(super) const CLOCKS: [&str; 6] = [
    "now",
    "current_date",
    "current_time",
    "current_timestamp",
    "today",
    "localtimestamp",
];
/// Aggregates whose result depends on the order of their rows.
const ORDERED: [&str; 6] = [
    "first_value",
    "last_value",
    "nth_value",
    "array_agg",
    "string_agg",
    "any_value",
];
/// Aggregates that reckon with a part of their rows, and which part depends on where batches end.
const APPROXIMATE: [&str; 3] = [
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
];

/// Refuses what makes a query over the whole dataset say something else at another run.
///
/// # Errors
/// [`NotLocal::Refused`] for the first of it.
pub(super) fn check_repeats(plan: &LogicalPlan) -> Result<(), NotLocal> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|node| {
                let checked = check_function(node).map_err(wrap);
                checked.map(|()| TreeNodeRecursion::Continue)
            })
        })?;
        match node {
            LogicalPlan::Limit(limit) if !is_ordered(&limit.input) => refuse(
                codes::SQL_LIMIT,
                "LIMIT without ORDER BY keeps arbitrary rows".to_owned(),
                "write ORDER BY before it; what it leaves equal is ordered by the other columns",
            )
            .map_err(wrap),
            _ => Ok(TreeNodeRecursion::Continue),
        }
    })
    .map(|_| ())
    .map_err(unwrap)
}

/// Whether the rows come in an order that the query says.
fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        // Columns that only ORDER BY reads are taken away behind it.
        LogicalPlan::Projection(node) => is_ordered(&node.input),
        _ => false,
    }
}

/// Refuses a call that gives another result at another run.
fn check_function(expr: &Expr) -> Result<(), NotLocal> {
    match expr {
        Expr::ScalarFunction(call)
            if call.func.signature().volatility == Volatility::Volatile || CLOCKS.contains(&call.func.name()) =>
        {
            refuse(
                codes::SQL_VOLATILE,
                format!("{}() gives another result at every run", call.func.name()),
                "take the time from a column of an input",
            )
        }
        _ => Ok(()),
    }
}

fn check_expression(expr: &Expr) -> Result<(), NotLocal> {
    let mut found = Ok(());
    expr.apply(|node| {
        let refused = match node {
            Expr::ScalarFunction(_) => check_function(node),
            Expr::AggregateFunction(call) if APPROXIMATE.contains(&call.func.name()) => {
                refuse_approximate(call.func.name())
            }
            Expr::WindowFunction(window) if APPROXIMATE.contains(&window.fun.name()) => {
                refuse_approximate(window.fun.name())
            }
            Expr::AggregateFunction(call) if ORDERED.contains(&call.func.name()) && call.params.order_by.is_empty() => {
                refuse(
                    codes::SQL_ORDER,
                    format!(
                        "{}() without ORDER BY depends on the order of the rows",
                        call.func.name()
                    ),
                    "write the order into the call: first_value(x order by t)",
                )
            }
            Expr::WindowFunction(window) if window.params.order_by.is_empty() && depends_on_order(window) => refuse(
                codes::SQL_ORDER,
                format!(
                    "{}() without ORDER BY depends on the order of the rows",
                    window.fun.name()
                ),
                "write the order into the window: over (partition by … order by …)",
            ),
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => refuse(
                codes::SQL_SUBQUERY,
                "a subquery inside an expression is not subject-local".to_owned(),
                "write it as a join",
            ),
            _ => Ok(()),
        };
        Ok(match refused {
            Ok(()) => TreeNodeRecursion::Continue,
            Err(error) => {
                found = Err(error);
                TreeNodeRecursion::Stop
            }
        })
    })?;
    found
}

/// Without ORDER BY only an ordinary aggregate over the whole partition is the same for every order of its rows.
fn depends_on_order(window: &WindowFunction) -> bool {
    let frame = &window.params.window_frame;
    match &window.fun {
        WindowFunctionDefinition::WindowUDF(_) => true,
        WindowFunctionDefinition::AggregateUDF(function) => {
            let whole = frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded();
            !whole || ORDERED.contains(&function.name())
        }
    }
}

fn wrap(error: NotLocal) -> DataFusionError {
    match error {
        NotLocal::Plan(error) => error,
        NotLocal::Refused(code, what, instead) => DataFusionError::External(Box::new(Refusal { code, what, instead })),
    }
}

fn unwrap(error: DataFusionError) -> NotLocal {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Refusal>() {
            Ok(r) => NotLocal::Refused(r.code, r.what, r.instead),
            Err(inner) => NotLocal::Plan(DataFusionError::External(inner)),
        },
        other => NotLocal::Plan(other),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{code}: {what} ({instead})")]
struct Refusal {
    code: &'static str,
    what: String,
    instead: &'static str,
}
