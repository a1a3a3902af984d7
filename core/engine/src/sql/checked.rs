//! Whole numbers in queries: what goes beyond 64 bits is an error. DataFusion alone counts on from the other end.
//!
//! An analyzer rule, behind the coercion of types: `+`, `-` and `*` of whole numbers become functions that check, and
//! `sum` of whole numbers adds decimals and is made a whole number again.

use datafusion::{
    arrow::{
        array::{ArrayRef, Datum},
        compute::{CastOptions, cast_with_options, kernels::numeric},
        datatypes::{DataType, FieldRef},
        error::ArrowError,
    },
    common::{
        Column, DFSchema, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    error::DataFusionError,
    logical_expr::{
        Aggregate, BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, Projection, ReturnFieldArgs,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, Window, WindowFunctionDefinition, cast,
        expr::{AggregateFunction, ScalarFunction},
        expr_rewriter::NamePreserver,
        lit,
        utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};
use std::sync::Arc;

/// The rule.
#[derive(Debug)]
pub(super) struct CheckWholeNumbers;

impl AnalyzerRule for CheckWholeNumbers {
    fn name(&self) -> &str {
        "check_whole_numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        let checked = plan.transform_up_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            let plan = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let checked = expr.transform_up(|expr| arithmetic(expr, &schema))?;
                Ok(checked.update_data(|expr| name.restore(expr)))
            })?;
            let plan = match plan.transformed {
                true => plan.data.recompute_schema()?,
                false => plan.data,
            };
            Ok(Transformed::yes(sums(plan)?))
        })?;
        Ok(checked.data)
    }
}

fn arithmetic(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    // Of what was made here the type is known: to ask for it is to go down to the leaves, at each step of a long sum.
    let whole = |expr: &Expr| match made(expr) {
        Some(kind) => Some(kind.clone()),
        None => expr.get_type_in(schema).filter(DataType::is_integer),
    };
    let (kind, of, operands) = match &expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let kind = match op {
                Operator::Plus => Kind::Add,
                Operator::Minus => Kind::Subtract,
                Operator::Multiply => Kind::Multiply,
                _ => return Ok(Transformed::no(expr)),
            };
            // A chain is long on its left, which is asked only where its right is whole.
            match whole(right).filter(|right| whole(left).as_ref() == Some(right)) {
                Some(of) => (kind, of, vec![left.as_ref().clone(), right.as_ref().clone()]),
                None => return Ok(Transformed::no(expr)),
            }
        }
        Expr::Negative(of) => match whole(of) {
            Some(kind) => {
                let zero = lit(ScalarValue::new_zero(&kind)?);
                (Kind::Subtract, kind, vec![zero, of.as_ref().clone()])
            }
            None => return Ok(Transformed::no(expr)),
        },
        _ => return Ok(Transformed::no(expr)),
    };
    Ok(Transformed::yes(call(kind, of, operands)))
}

/// The type of a call that this rule made.
fn made(expr: &Expr) -> Option<&DataType> {
    match expr {
        Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<Checked>().map(|made| &made.of),
        _ => None,
    }
}

trait TypeIn {
    fn get_type_in(&self, schema: &DFSchema) -> Option<DataType>;
}

impl TypeIn for Expr {
    /// `None` where it cannot be told.
    fn get_type_in(&self, schema: &DFSchema) -> Option<DataType> {
        use datafusion::logical_expr::ExprSchemable as _;
        self.get_type(schema).ok()
    }
}

fn call(kind: Kind, of: DataType, operands: Vec<Expr>) -> Expr {
    let function = Arc::new(ScalarUDF::from(Checked::new(kind, of)));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, operands))
}

/// A node whose sums of whole numbers add decimals, below a projection that gives its columns back as they were.
fn sums(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let schema = plan.schema().clone();
    match plan {
        LogicalPlan::Aggregate(node) => {
            let input = node.input.schema().clone();
            let (aggr_expr, changed) = widened(node.aggr_expr, node.group_expr.len(), &schema, &input)?;
            if changed.is_empty() {
                let node = Aggregate::try_new_with_schema(node.input, node.group_expr, aggr_expr, schema)?;
                return Ok(LogicalPlan::Aggregate(node));
            }
            let node = Aggregate::try_new(node.input, node.group_expr, aggr_expr)?;
            narrowed(LogicalPlan::Aggregate(node), &schema, &changed)
        }
        LogicalPlan::Window(node) => {
            let input = node.input.schema().clone();
            let (window_expr, changed) = widened(node.window_expr, input.fields().len(), &schema, &input)?;
            let node = Window::try_new(window_expr, node.input)?;
            match changed.is_empty() {
                true => Ok(LogicalPlan::Window(node)),
                false => narrowed(LogicalPlan::Window(node), &schema, &changed),
            }
        }
        other => Ok(other),
    }
}

/// A sum: its place among the columns of its node, the name it has there now, its type before.
type Widened = (usize, String, DataType);

/// The expressions of a node, `first` being the place of the first, with sums of whole numbers as sums of decimals.
fn widened(
    exprs: Vec<Expr>,
    first: usize,
    schema: &DFSchema,
    input: &DFSchema,
) -> Result<(Vec<Expr>, Vec<Widened>), DataFusionError> {
    let mut changed = Vec::new();
    // Behind grouping sets stands one more column.
    let first = schema.fields().len().checked_sub(exprs.len()).unwrap_or(first);
    let exprs = exprs
        .into_iter()
        .enumerate()
        .map(|(at, expr)| {
            let mut bare = expr.clone().unalias();
            let (name, args) = match &mut bare {
                Expr::AggregateFunction(AggregateFunction { func, params }) => (func.name(), &mut params.args),
                Expr::WindowFunction(window) => match &window.fun {
                    WindowFunctionDefinition::AggregateUDF(func) => (func.name(), &mut window.params.args),
                    WindowFunctionDefinition::WindowUDF(_) => return expr,
                },
                _ => return expr,
            };
            let Some(of) = args.first_mut().filter(|_| name == "sum") else {
                return expr;
            };
            let Some(kind) = of.get_type_in(input).filter(DataType::is_integer) else {
                return expr;
            };
            *of = cast(of.clone(), DataType::Decimal128(20, 0));
            let name = format!("__sum_{at}");
            changed.push((first + at, name.clone(), kind));
            bare.alias(name)
        })
        .collect();
    Ok((exprs, changed))
}

fn narrowed(plan: LogicalPlan, schema: &DFSchema, changed: &[Widened]) -> Result<LogicalPlan, DataFusionError> {
    let columns = schema.iter().enumerate().map(|(at, (relation, field))| {
        match changed.iter().find(|(place, ..)| *place == at) {
            Some((_, name, kind)) => {
                let sum = Expr::Column(Column::new_unqualified(name));
                call(Kind::Whole, kind.clone(), vec![sum]).alias_qualified(relation.cloned(), field.name())
            }
            None => Expr::Column(Column::from((relation, field))),
        }
    });
    let columns = columns.collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}

/// What is computed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Add,
    Subtract,
    Multiply,
    /// A decimal as a whole number.
    Whole,
}

/// A function over whole numbers that fails where the result does not fit.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    kind: Kind,
    /// The type of what it gives.
    of: DataType,
    signature: Signature,
}

impl Checked {
    fn new(kind: Kind, of: DataType) -> Self {
        let operands = if kind == Kind::Whole { 1 } else { 2 };
        let signature = Signature::any(operands, Volatility::Immutable);
        Self { kind, of, signature }
    }

    fn compute(&self, left: &dyn Datum, right: Option<&dyn Datum>) -> Result<ArrayRef, ArrowError> {
        match (&self.kind, right) {
            (Kind::Add, Some(right)) => numeric::add(left, right),
            (Kind::Subtract, Some(right)) => numeric::sub(left, right),
            (Kind::Multiply, Some(right)) => numeric::mul(left, right),
            (Kind::Whole, _) => {
                let options = CastOptions {
                    safe: false,
                    ..CastOptions::default()
                };
                cast_with_options(left.get().0, &self.of, &options)
                    .map_err(|_| ArrowError::ArithmeticOverflow("a sum".to_owned()))
            }
            (_, None) => Err(ArrowError::InvalidArgumentError("an operand is missing".to_owned())),
        }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Add => "checked_add",
            Kind::Subtract => "checked_subtract",
            Kind::Multiply => "checked_multiply",
            Kind::Whole => "checked_sum",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.of.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        let kinds: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|f| f.is_nullable());
        let field = datafusion::arrow::datatypes::Field::new(self.name(), self.return_type(&kinds)?, nullable);
        Ok(Arc::new(field))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let one_value = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let datums = args.args.iter().map(|arg| -> Result<Box<dyn Datum>, DataFusionError> {
            Ok(match arg {
                ColumnarValue::Array(array) => Box::new(array.clone()),
                ColumnarValue::Scalar(value) => Box::new(value.to_scalar()?),
            })
        });
        let datums = datums.collect::<Result<Vec<_>, _>>()?;
        let Some(left) = datums.first() else {
            return Err(DataFusionError::Internal("an operand is missing".to_owned()));
        };
        let made = self.compute(left.as_ref(), datums.get(1).map(AsRef::as_ref));
        let made = made.map_err(|error| DataFusionError::ArrowError(Box::new(error), None))?;
        Ok(match one_value {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&made, 0)?),
            false => ColumnarValue::Array(made),
        })
    }
}
