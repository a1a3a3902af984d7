//! Expressions with types, and their evaluation for one row.
//!
//! A null operand makes the result null, except for `and`, `or` (three-valued logic as in SQL), `coalesce`, `if` (a null
//! condition counts as false), `concat` (null is skipped) and `is_null`.

use crate::{
    core::{Type, Unfit, Value, power, read_decimal, rescale, within},
    hint,
    parse::{Node, Op, Tree, Wrong},
};
use std::{borrow::Cow, cmp::Ordering};

/// An expression that fits the columns it names.
#[derive(Debug)]
pub struct Expr {
    /// The type of its values.
    pub data_type: Type,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Column(usize),
    Literal(Value<'static>),
    Negate(Box<Expr>),
    Not(Box<Expr>),
    Logic(Op, Box<Expr>, Box<Expr>),
    Compare(Op, Box<Expr>, Box<Expr>),
    Arithmetic(Op, Box<Expr>, Box<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    Round(Box<Expr>, i8),
    Call(Function, Vec<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Concat,
    Coalesce,
    Lower,
    Upper,
    Trim,
    Substr,
    Length,
    Replace,
    IsNull,
}

/// Functions with the least and most arguments.
const FUNCTIONS: [(&str, Function, usize, usize); 9] = [
    ("concat", Function::Concat, 1, 100),
    ("coalesce", Function::Coalesce, 1, 100),
    ("lower", Function::Lower, 1, 1),
    ("upper", Function::Upper, 1, 1),
    ("trim", Function::Trim, 1, 1),
    ("substr", Function::Substr, 2, 3),
    ("length", Function::Length, 1, 1),
    ("replace", Function::Replace, 3, 3),
    ("is_null", Function::IsNull, 1, 1),
];

/// Digits after the point that a quotient has at least, and a product at most.
const QUOTIENT_SCALE: i8 = 6;
const PRODUCT_SCALE: i8 = 18;
/// The longest text that an expression makes, in bytes.
const LONGEST: usize = 16 << 20;

/// Gives a tree its types. `column` finds a column by name.
///
/// # Errors
/// At the first node whose operands do not fit, or that names no column or function.
pub fn compile(tree: &Tree, column: &mut dyn FnMut(&str) -> Option<(usize, Type)>) -> Result<Expr, Wrong> {
    let hinted = |what: String, hint: Option<String>| Wrong {
        at: tree.at,
        what,
        hint,
    };
    let wrong = |what: String| hinted(what, None);
    let expr = |data_type, kind| Ok(Expr { data_type, kind });
    match &tree.node {
        Node::Null => expr(Type::Null, Kind::Literal(Value::Null)),
        Node::Bool(value) => expr(Type::Bool, Kind::Literal(Value::Bool(*value))),
        Node::Text(text) => expr(Type::Str, Kind::Literal(Value::Str(Cow::Owned(text.clone())))),
        Node::Number(digits) => {
            let value = number(digits).map_err(|Unfit| wrong("the number is too long".into()))?;
            expr(value.data_type(), Kind::Literal(value))
        }
        Node::Column(name) => {
            let (index, data_type) = column(name).ok_or_else(|| {
                let what = format!("there is no column {name:?} that an expression can use");
                hinted(what, Some(format!("a text stands in single quotes: '{name}'")))
            })?;
            expr(data_type, Kind::Column(index))
        }
        Node::Unary(op, operand) => {
            let operand = compile(operand, column)?;
            let data_type = operand.data_type;
            match op {
                Op::Not if matches!(data_type, Type::Bool | Type::Null) => {
                    expr(Type::Bool, Kind::Not(Box::new(operand)))
                }
                Op::Not => Err(wrong(format!("not needs a boolean, this is {}", data_type.name()))),
                _ if data_type.is_numeric() => expr(data_type, Kind::Negate(Box::new(operand))),
                _ => Err(wrong(format!("- needs a number, this is {}", data_type.name()))),
            }
        }
        Node::Binary(op, left, right) => {
            let (left, right) = (compile(left, column)?, compile(right, column)?);
            let types = (left.data_type, right.data_type);
            binary(*op, left, right).map_err(|what| hinted(what, hint::of_types(*op, types.0, types.1)))
        }
        Node::Call(name, arguments) => {
            let arguments = arguments
                .iter()
                .map(|a| compile(a, column))
                .collect::<Result<Vec<_>, _>>()?;
            call(name, arguments).map_err(wrong)
        }
    }
}

fn number(digits: &str) -> Result<Value<'static>, Unfit> {
    match digits.split_once('.') {
        None => digits.parse().map(Value::Int).map_err(|_| Unfit),
        Some((_, fraction)) => {
            let scale = i8::try_from(fraction.len())
                .ok()
                .filter(|s| *s <= PRODUCT_SCALE)
                .ok_or(Unfit)?;
            Ok(Value::Dec(read_decimal(digits, scale)?, scale))
        }
    }
}

fn scale_of(data_type: Type) -> i8 {
    match data_type {
        Type::Dec(scale) => scale,
        _ => 0,
    }
}

fn binary(op: Op, left: Expr, right: Expr) -> Result<Expr, String> {
    let (a, b) = (left.data_type, right.data_type);
    let unfit = || format!("{} and {} do not go together here", a.name(), b.name());
    let pair = (Box::new(left), Box::new(right));
    match op {
        Op::And | Op::Or => {
            let fits = |t| matches!(t, Type::Bool | Type::Null);
            if !(fits(a) && fits(b)) {
                return Err(unfit());
            }
            Ok(Expr {
                data_type: Type::Bool,
                kind: Kind::Logic(op, pair.0, pair.1),
            })
        }
        Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => {
            a.with(b).ok_or_else(unfit)?;
            Ok(Expr {
                data_type: Type::Bool,
                kind: Kind::Compare(op, pair.0, pair.1),
            })
        }
        _ => {
            if !(a.is_numeric() && b.is_numeric()) {
                return Err(unfit());
            }
            let (s, t) = (scale_of(a), scale_of(b));
            let data_type = match (a, b, op) {
                (Type::Num, ..) | (_, Type::Num, _) => Type::Num,
                (.., Op::Div) => Type::Dec(s.max(t).max(QUOTIENT_SCALE)),
                (Type::Int, Type::Int, _) => Type::Int,
                (.., Op::Mul) => Type::Dec(s.saturating_add(t).min(PRODUCT_SCALE)),
                _ => Type::Dec(s.max(t)),
            };
            Ok(Expr {
                data_type,
                kind: Kind::Arithmetic(op, pair.0, pair.1),
            })
        }
    }
}

fn call(name: &str, mut arguments: Vec<Expr>) -> Result<Expr, String> {
    let count = arguments.len();
    if name == "if" {
        let (Some(otherwise), Some(then), Some(condition), true) =
            (arguments.pop(), arguments.pop(), arguments.pop(), count == 3)
        else {
            return Err(format!("if takes 3 arguments, not {count}"));
        };
        if !matches!(condition.data_type, Type::Bool | Type::Null) {
            return Err(format!("the condition of if is {}", condition.data_type.name()));
        }
        let data_type = then
            .data_type
            .with(otherwise.data_type)
            .ok_or("the branches of if have different types")?;
        let kind = Kind::If(Box::new(condition), Box::new(then), Box::new(otherwise));
        return Ok(Expr { data_type, kind });
    }
    if name == "round" {
        return match (arguments.pop().map(|digits| digits.kind), arguments.pop(), count) {
            (Some(Kind::Literal(Value::Int(digits @ 0..=18))), Some(operand), 2) if operand.data_type.is_numeric() => {
                let digits = i8::try_from(digits).map_err(|_| "round takes 0 to 18 digits")?;
                Ok(Expr {
                    data_type: Type::Dec(digits),
                    kind: Kind::Round(Box::new(operand), digits),
                })
            }
            _ => Err("round takes a number and how many digits to keep, 0 to 18".into()),
        };
    }
    let Some((_, function, least, most)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
        let known: Vec<&str> = FUNCTIONS.iter().map(|(known, ..)| *known).collect();
        return Err(format!(
            "there is no function {name:?}; there are if, round, {}",
            known.join(", ")
        ));
    };
    if !(*least..=*most).contains(&count) {
        return Err(format!("{name} does not take {count} arguments"));
    }
    let needs: &[Type] = match function {
        Function::Lower | Function::Upper | Function::Trim | Function::Length => &[Type::Str],
        Function::Substr => &[Type::Str, Type::Int, Type::Int],
        Function::Replace => &[Type::Str, Type::Str, Type::Str],
        _ => &[],
    };
    for (index, (argument, need)) in arguments.iter().zip(needs).enumerate() {
        if !(argument.data_type == *need || argument.data_type == Type::Null) {
            let (is, need) = (argument.data_type.name(), need.name());
            return Err(format!("argument {} of {name} is {is}, not {need}", index + 1));
        }
    }
    let data_type = match function {
        Function::Length => Type::Int,
        Function::IsNull => Type::Bool,
        Function::Coalesce => {
            let types = arguments.iter().try_fold(Type::Null, |all, a| all.with(a.data_type));
            types.ok_or("the arguments of coalesce have different types")?
        }
        _ => Type::Str,
    };
    Ok(Expr {
        data_type,
        kind: Kind::Call(*function, arguments),
    })
}

impl Expr {
    /// A constant.
    pub fn constant(value: Value<'static>) -> Self {
        Self {
            data_type: value.data_type(),
            kind: Kind::Literal(value),
        }
    }

    /// The value for one row, whose columns `column` gives.
    ///
    /// # Errors
    /// Division by zero, and numbers and texts that are too large.
    pub fn value<'a>(&'a self, column: &dyn Fn(usize) -> Value<'a>) -> Result<Value<'a>, Unfit> {
        Ok(match &self.kind {
            Kind::Column(index) => column(*index),
            Kind::Literal(Value::Str(text)) => Value::Str(Cow::Borrowed(text)),
            Kind::Literal(value) => value.clone(),
            Kind::Negate(operand) => match operand.value(column)? {
                Value::Int(value) => Value::Int(value.checked_neg().ok_or(Unfit)?),
                Value::Dec(value, scale) => Value::Dec(-value, scale),
                Value::Num(value) => Value::Num(-value),
                _ => Value::Null,
            },
            Kind::Not(operand) => match operand.value(column)? {
                Value::Bool(value) => Value::Bool(!value),
                _ => Value::Null,
            },
            Kind::Logic(op, left, right) => {
                // What decides alone: false for `and`, true for `or`.
                let decides = *op == Op::Or;
                let left = left.value(column)?;
                if left == Value::Bool(decides) {
                    return Ok(left);
                }
                match (left, right.value(column)?) {
                    (_, Value::Bool(right)) if right == decides => Value::Bool(decides),
                    (Value::Bool(_), Value::Bool(_)) => Value::Bool(!decides),
                    _ => Value::Null,
                }
            }
            Kind::Compare(op, left, right) => match compare(left.value(column)?, right.value(column)?)? {
                None => Value::Null,
                Some(order) => Value::Bool(match op {
                    Op::Eq => order.is_eq(),
                    Op::Ne => order.is_ne(),
                    Op::Lt => order.is_lt(),
                    Op::Le => order.is_le(),
                    Op::Gt => order.is_gt(),
                    _ => order.is_ge(),
                }),
            },
            Kind::Arithmetic(op, left, right) => {
                arithmetic(*op, left.value(column)?, right.value(column)?, self.data_type)?
            }
            Kind::If(condition, then, otherwise) => {
                let branch = if condition.value(column)? == Value::Bool(true) {
                    then
                } else {
                    otherwise
                };
                branch.value(column)?.cast(self.data_type)?
            }
            Kind::Round(operand, digits) => match operand.value(column)? {
                Value::Null => Value::Null,
                Value::Num(value) => round(unscaled(decimal_of(value)?)?, *digits)?,
                value => round(unscaled(value)?, *digits)?,
            },
            Kind::Call(Function::Coalesce, arguments) => {
                for argument in arguments {
                    let value = argument.value(column)?;
                    if value != Value::Null {
                        return value.cast(self.data_type);
                    }
                }
                Value::Null
            }
            Kind::Call(function, arguments) => {
                let values = arguments
                    .iter()
                    .map(|a| a.value(column))
                    .collect::<Result<Vec<_>, _>>()?;
                apply(*function, values)?
            }
        })
    }
}

fn compare(left: Value<'_>, right: Value<'_>) -> Result<Option<Ordering>, Unfit> {
    if left == Value::Null || right == Value::Null {
        return Ok(None);
    }
    Ok(match (&left, &right) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        (Value::Ts(a), Value::Ts(b)) => Some(a.cmp(b)),
        _ => match left.data_type().with(right.data_type()) {
            Some(Type::Num) => match (left.cast(Type::Num)?, right.cast(Type::Num)?) {
                (Value::Num(a), Value::Num(b)) => a.partial_cmp(&b),
                _ => None,
            },
            Some(scale @ Type::Dec(_)) => match (left.cast(scale)?, right.cast(scale)?) {
                (Value::Dec(a, _), Value::Dec(b, _)) => Some(a.cmp(&b)),
                _ => None,
            },
            _ => None,
        },
    })
}

fn arithmetic(op: Op, left: Value<'_>, right: Value<'_>, to: Type) -> Result<Value<'static>, Unfit> {
    if left == Value::Null || right == Value::Null {
        return Ok(Value::Null);
    }
    match (to, left, right) {
        (Type::Int, Value::Int(a), Value::Int(b)) => {
            let result = match op {
                Op::Add => a.checked_add(b),
                Op::Sub => a.checked_sub(b),
                _ => a.checked_mul(b),
            };
            result.map(Value::Int).ok_or(Unfit)
        }
        (Type::Dec(scale), left, right) => decimal(op, unscaled(left)?, unscaled(right)?, scale),
        (_, left, right) => match (left.cast(Type::Num)?, right.cast(Type::Num)?) {
            (Value::Num(a), Value::Num(b)) => {
                let result = match op {
                    Op::Add => a + b,
                    Op::Sub => a - b,
                    Op::Mul => a * b,
                    _ => a / b,
                };
                if result.is_finite() {
                    Ok(Value::Num(result))
                } else {
                    Err(Unfit)
                }
            }
            _ => Err(Unfit),
        },
    }
}

fn unscaled(value: Value<'_>) -> Result<(i128, i8), Unfit> {
    match value {
        Value::Int(value) => Ok((value.into(), 0)),
        Value::Dec(value, scale) => Ok((value, scale)),
        _ => Err(Unfit),
    }
}

/// Sums and differences are exact; products and quotients are rounded half away from zero at `scale`.
fn decimal(op: Op, (a, s): (i128, i8), (b, t): (i128, i8), scale: i8) -> Result<Value<'static>, Unfit> {
    let result = match op {
        Op::Add => rescale(a, s, scale)?.checked_add(rescale(b, t, scale)?).ok_or(Unfit)?,
        Op::Sub => rescale(a, s, scale)?.checked_sub(rescale(b, t, scale)?).ok_or(Unfit)?,
        Op::Mul => {
            let product = a.checked_mul(b).ok_or(Unfit)?;
            let excess = s.checked_add(t).ok_or(Unfit)? - scale;
            if excess > 0 {
                divide(product, power(excess)?)?
            } else {
                product
            }
        }
        _ => {
            let dividend = a.checked_mul(power(scale - s + t)?).ok_or(Unfit)?;
            divide(dividend, b)?
        }
    };
    Ok(Value::Dec(within(result)?, scale))
}

/// Half away from zero.
fn round((value, scale): (i128, i8), digits: i8) -> Result<Value<'static>, Unfit> {
    let rounded = match scale > digits {
        true => divide(value, power(scale - digits)?)?,
        false => rescale(value, scale, digits)?,
    };
    Ok(Value::Dec(within(rounded)?, digits))
}

/// A floating-point number as the shortest decimal that means it, cut after 18 digits.
fn decimal_of(value: f64) -> Result<Value<'static>, Unfit> {
    let text = value.to_string();
    let length = text
        .find('.')
        .map_or(text.len(), |point| text.len().min(point + 1 + 18));
    Ok(Value::Dec(
        read_decimal(text.get(..length).ok_or(Unfit)?, PRODUCT_SCALE)?,
        PRODUCT_SCALE,
    ))
}

fn divide(a: i128, b: i128) -> Result<i128, Unfit> {
    let quotient = a.checked_div(b).ok_or(Unfit)?;
    let rest = (a % b).unsigned_abs();
    let away = rest >= b.unsigned_abs() - rest;
    let sign = if (a < 0) == (b < 0) { 1 } else { -1 };
    Ok(if away && rest > 0 { quotient + sign } else { quotient })
}

fn apply<'a>(function: Function, values: Vec<Value<'a>>) -> Result<Value<'a>, Unfit> {
    if function == Function::IsNull {
        return Ok(Value::Bool(values.first() == Some(&Value::Null)));
    }
    if function == Function::Concat {
        let mut all = String::new();
        for value in values {
            if let Value::Str(text) = value.cast(Type::Str)? {
                all.push_str(&text);
            }
            if all.len() > LONGEST {
                return Err(Unfit);
            }
        }
        return Ok(Value::Str(Cow::Owned(all)));
    }
    if values.contains(&Value::Null) {
        return Ok(Value::Null);
    }
    let text = |text: String| Ok(Value::Str(Cow::Owned(text)));
    match (function, values.as_slice()) {
        (Function::Length, [Value::Str(s)]) => Ok(Value::Int(i64::try_from(s.chars().count()).map_err(|_| Unfit)?)),
        (Function::Lower, [Value::Str(s)]) => text(s.to_lowercase()),
        (Function::Upper, [Value::Str(s)]) => text(s.to_uppercase()),
        (Function::Trim, [Value::Str(s)]) => text(s.trim().to_owned()),
        (Function::Substr, [Value::Str(s), Value::Int(from), rest @ ..]) => {
            let skip = usize::try_from(from - 1).map_err(|_| Unfit)?;
            let take = match rest {
                [Value::Int(length)] => usize::try_from(*length).map_err(|_| Unfit)?,
                _ => usize::MAX,
            };
            text(s.chars().skip(skip).take(take).collect())
        }
        (Function::Replace, [Value::Str(s), Value::Str(old), Value::Str(new)]) => {
            let count = if old.is_empty() {
                0
            } else {
                s.matches(old.as_ref()).count()
            };
            if count.saturating_mul(new.len()) > LONGEST {
                return Err(Unfit);
            }
            text(if count == 0 {
                s.to_string()
            } else {
                s.replace(old.as_ref(), new)
            })
        }
        _ => Err(Unfit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn value(text: &str) -> Result<Value<'static>, Unfit> {
        let tree = parse(text).unwrap();
        let expr: &'static Expr = Box::leak(Box::new(compile(&tree, &mut |_| None).unwrap()));
        expr.value(&|_| Value::Null)
    }

    fn refused(text: &str) -> Wrong {
        compile(&parse(text).unwrap(), &mut |_| None).unwrap_err()
    }

    #[test]
    fn decimals_stay_decimals() {
        assert_eq!(value("0.1 + 0.2"), Ok(Value::Dec(3, 1)));
        assert_eq!(value("1.5 * 2.25"), Ok(Value::Dec(3375, 3)));
        assert_eq!(value("2 / 3"), Ok(Value::Dec(666_667, 6)));
        assert_eq!(value("-1 / 3"), Ok(Value::Dec(-333_333, 6)));
        assert_eq!(value("7 - 10"), Ok(Value::Int(-3)));
        assert_eq!(value("round(2 / 3, 2)"), Ok(Value::Dec(67, 2)));
        assert_eq!(value("round(-0.125, 2)"), Ok(Value::Dec(-13, 2)));
        assert_eq!(value("1 / 0"), Err(Unfit));
        assert_eq!(value("9223372036854775807 + 1"), Err(Unfit));
    }

    #[test]
    fn nulls_follow_sql() {
        assert_eq!(value("null and false"), Ok(Value::Bool(false)));
        assert_eq!(value("null or false"), Ok(Value::Null));
        assert_eq!(value("true or null"), Ok(Value::Bool(true)));
        assert_eq!(value("null = 1"), Ok(Value::Null));
        assert_eq!(value("if(null, 1, 2.5)"), Ok(Value::Dec(25, 1)));
        assert_eq!(value("coalesce(null, 'a')"), Ok(Value::Str("a".into())));
        assert_eq!(value("is_null(null)"), Ok(Value::Bool(true)));
    }

    #[test]
    fn texts_count_characters() {
        assert_eq!(value("substr('急性心梗', 3, 2)"), Ok(Value::Str("心梗".into())));
        assert_eq!(value("length('心梗')"), Ok(Value::Int(2)));
        assert_eq!(value("concat('a', 1, null, 0.50)"), Ok(Value::Str("a10.50".into())));
        assert_eq!(value("replace(upper(' ab '), 'B', '')"), Ok(Value::Str(" A ".into())));
    }

    #[test]
    fn what_does_not_go_together_is_told_with_what_does() {
        let columns = [
            ("sex", Type::Str),
            ("born", Type::Date),
            ("alive", Type::Bool),
            ("age", Type::Int),
        ];
        for (text, hint) in [
            ("sex = 1", "'1'"),
            ("age = '1'", "`type: integer`"),
            ("sex * 2", "`type: decimal`"),
            ("sex + 'x'", "concat(a, b)"),
            ("born > '2020-01-01'", "`{ value: …, type: date }`"),
            ("alive = 'true'", "without quotes"),
            ("sex = '1' or '2'", "a = 'x' or a = 'y'"),
            ("born - 1", "`sql:`"),
            ("sex = male", "'male'"),
        ] {
            let wrong = compile(&parse(text).unwrap(), &mut |name| {
                let at = columns.iter().position(|(known, _)| *known == name)?;
                Some((at, columns[at].1))
            });
            let wrong = wrong.unwrap_err();
            assert!(
                wrong.hint.as_ref().is_some_and(|told| told.contains(hint)),
                "{text}: {wrong:?}"
            );
        }
    }

    #[test]
    fn types_are_checked_where_they_stand() {
        assert_eq!(refused("1 + 'a'").at, 0);
        assert_eq!(
            refused("1 = 1 and 'a'").what,
            "boolean and string do not go together here"
        );
        assert_eq!(refused("1 + lower(2)").at, 4);
        assert!(refused("nvl(1)").what.contains("coalesce"));
        assert!(refused("if(1, 2, 3)").what.contains("condition"));
    }
}
