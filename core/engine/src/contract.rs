//! The contract of a table, row by row: what must be there, the values and numbers that it may hold, the unit they are
//! in. A row that breaks it is rejected, located and counted; the rest is published.

use crate::{error::EngineError, exact::exactly};
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type},
};
use clinmill_model::omop;
use clinmill_sdk::units::{Code, fold};
use clinmill_spec::pipeline::{Model, Table};
use std::{collections::HashSet, sync::Arc};

/// What one column promises.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The column.
    pub column: String,
    /// What it promises.
    pub rule: Rule,
}

/// A promise about the values of a column; nulls break only [`Rule::Present`].
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// There is a value.
    Present,
    /// It is one of these.
    OneOf(Vec<String>),
    /// It lies within these bounds, inclusive.
    Within(Option<f64>, Option<f64>),
    /// The column of this name beside it, where there is one, holds this unit, in whatever UCUM spelling.
    Unit(String, String),
}

impl Rule {
    /// The code of the rejection.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Present => "TABLE_REQUIRED",
            Self::OneOf(_) => "TABLE_VALUE",
            Self::Within(..) => "TABLE_RANGE",
            Self::Unit(..) => "TABLE_UNIT",
        }
    }

    /// What to say of it; never a value of the row.
    pub fn says(&self, column: &str) -> String {
        match self {
            Self::Present => format!("column {column} must have a value"),
            Self::OneOf(_) => format!("column {column} holds none of the values that the table promises"),
            Self::Within(..) => format!("column {column} lies outside of the range that the table promises"),
            Self::Unit(of, unit) => format!("column {column} is in another unit than {unit}, as {of} says"),
        }
    }
}

/// What the columns of a table promise: the standard model's NOT NULL, then what the pipeline says.
pub fn terms(table: &Table) -> Vec<Term> {
    let mut terms = Vec::new();
    let mut add = |column: &str, rule| {
        terms.push(Term {
            column: column.to_owned(),
            rule,
        });
    };
    match table.model.as_ref().map(|m| m.value) {
        Some(Model::Omop54) => {
            let fields = omop::table(&table.name.value).map_or(&[][..], |t| &t.fields);
            fields
                .iter()
                .filter(|f| f.required)
                .for_each(|f| add(f.name, Rule::Present));
        }
        Some(Model::Meds04) => add("code", Rule::Present),
        None => {}
    }
    for column in &table.columns {
        let name = &column.name.value;
        if let Some(values) = &column.values {
            add(name, Rule::OneOf(values.iter().map(|v| v.value.clone()).collect()));
        }
        // A number in another unit is no number outside of the range.
        if let Some(unit) = &column.unit {
            add(name, Rule::Unit(format!("{name}_unit"), unit.value.clone()));
        }
        if let Some(range) = &column.range {
            add(name, Rule::Within(range.value.0, range.value.1));
        }
    }
    terms
}

/// True where a column of this type can hold a value of a contract, written as [`broken`] compares it.
pub fn is_holdable(value: &str, data_type: &DataType) -> bool {
    if data_type.is_integer() {
        return whole(value).is_some();
    }
    if data_type.is_floating() || (data_type.is_numeric() && value.contains(['e', 'E'])) {
        let most = if data_type.is_floating() { f64::INFINITY } else { 1e32 };
        return value.parse::<f64>().is_ok_and(|n| n.abs() < most);
    }
    let text: ArrayRef = Arc::new(StringArray::from(vec![value]));
    let shown = exactly(&text, data_type, None).and_then(|typed| cast(&typed, &DataType::Utf8));
    let same = |shown: &ArrayRef| data_type.is_numeric() || shown.as_string::<i32>().value(0) == value;
    shown.is_ok_and(|shown| shown.is_valid(0) && same(&shown))
}

/// A whole number as a pipeline writes it: `5`, `5.0`.
fn whole(text: &str) -> Option<i64> {
    let of_double = || {
        text.parse::<f64>()
            .ok()
            .filter(|n| n.fract() == 0.0 && n.abs() < 9.0e15)
    };
    text.parse().ok().or_else(|| of_double().map(|n| n as i64))
}

/// The first term that each row breaks. `rows` have the published columns; `given` is what they were made of, where a
/// unit may stand that is not published.
///
/// # Errors
/// When a column cannot be read as its term needs it.
pub fn broken<'t>(
    terms: &'t [Term],
    rows: &RecordBatch,
    given: &RecordBatch,
) -> Result<Vec<Option<&'t Term>>, EngineError> {
    let mut broken: Vec<Option<&Term>> = vec![None; rows.num_rows()];
    for term in terms {
        let Some(column) = rows.column_by_name(&term.column) else {
            continue;
        };
        let mut mark = |breaks: &dyn Fn(usize) -> bool| {
            for (i, first) in broken.iter_mut().enumerate() {
                if first.is_none() && breaks(i) {
                    *first = Some(term);
                }
            }
        };
        match &term.rule {
            Rule::Present => mark(&|i| column.is_null(i)),
            Rule::OneOf(values) => {
                if column.data_type().is_integer() {
                    let allowed: Vec<i64> = values.iter().filter_map(|v| whole(v)).collect();
                    let column = cast(column, &DataType::Int64)?;
                    let numbers = column.as_primitive::<Int64Type>();
                    mark(&|i| numbers.is_valid(i) && !allowed.contains(&numbers.value(i)));
                } else if column.data_type().is_numeric() {
                    let allowed: Vec<f64> = values.iter().filter_map(|v| v.parse().ok()).collect();
                    let column = cast(column, &DataType::Float64)?;
                    let numbers = column.as_primitive::<Float64Type>();
                    mark(&|i| numbers.is_valid(i) && !allowed.contains(&numbers.value(i)));
                } else {
                    let column = cast(column, &DataType::Utf8)?;
                    let texts = column.as_string::<i32>();
                    mark(&|i| texts.is_valid(i) && !values.iter().any(|v| v == texts.value(i)));
                }
            }
            Rule::Within(low, high) if column.data_type().is_integer() => {
                let column = cast(column, &DataType::Int64)?;
                let numbers = column.as_primitive::<Int64Type>();
                // Whole numbers beyond 2^53 are compared as what they are: a bound is rounded inwards.
                let (low, high) = (low.map(|l| l.ceil() as i128), high.map(|h| h.floor() as i128));
                let outside = |v: i128| low.is_some_and(|l| v < l) || high.is_some_and(|h| v > h);
                mark(&|i| numbers.is_valid(i) && outside(numbers.value(i).into()));
            }
            Rule::Within(low, high) => {
                let column = cast(column, &DataType::Float64)?;
                let numbers = column.as_primitive::<Float64Type>();
                let outside = |v: f64| low.is_some_and(|l| v < l) || high.is_some_and(|h| v > h) || v.is_nan();
                mark(&|i| numbers.is_valid(i) && outside(numbers.value(i)));
            }
            Rule::Unit(of, unit) => {
                let Some(units) = rows.column_by_name(of).or_else(|| given.column_by_name(of)) else {
                    continue;
                };
                let units = cast(units, &DataType::Utf8)?;
                let units = units.as_string::<i32>();
                let promised = Code::new(unit);
                let texts: HashSet<&str> = units.iter().flatten().collect();
                let others: HashSet<&str> = texts
                    .into_iter()
                    .filter(|text| !promised.same(&Code::new(*text)) && !promised.same(&Code::new(fold(text))))
                    .collect();
                mark(&|i| column.is_valid(i) && units.is_valid(i) && others.contains(units.value(i)));
            }
        }
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{Float64Array, Int64Array},
        datatypes::{Field, Schema},
    };

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let fields: Vec<Field> = columns
            .iter()
            .map(|(n, c)| Field::new(*n, c.data_type().clone(), true))
            .collect();
        let arrays = columns.into_iter().map(|c| c.1).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
    }

    #[test]
    fn values_that_a_type_never_holds() {
        let decimal = DataType::Decimal128(38, 6);
        let long = "1".repeat(33);
        for (value, data_type, holds) in [
            ("5.600000", &decimal, true),
            ("1e3", &decimal, true),
            ("0.0000001", &decimal, false),
            ("1e32", &decimal, false),
            (&long[1..], &decimal, true),
            (&long, &decimal, false),
            (&long, &DataType::Float64, true),
            ("nan", &DataType::Float64, false),
            ("1e400", &DataType::Float64, false),
            ("5.0", &DataType::Int64, true),
            ("9223372036854775807", &DataType::Int64, true),
            ("9223372036854775808", &DataType::Int64, false),
            ("A", &DataType::Int64, false),
            ("2026-03-01", &DataType::Date32, true),
            ("20260301", &DataType::Date32, false),
        ] {
            assert_eq!(is_holdable(value, data_type), holds, "{value} {data_type}");
        }
    }

    #[test]
    fn values_are_of_the_column_s_type() {
        for (data_type, values, others) in [
            (DataType::Int64, &["1", "2.0", "-3"][..], &["A", "2.5", "", "NaN"][..]),
            (DataType::Float64, &["1", "2.5"], &["A", "inf"]),
            (DataType::Boolean, &["true", "false"], &["1", "yes"]),
            (DataType::Date32, &["2026-03-01"], &["20260301", "1"]),
            (DataType::Utf8, &["A", "", "1"], &[]),
        ] {
            assert!(values.iter().all(|v| is_holdable(v, &data_type)), "{data_type}");
            assert!(!others.iter().any(|v| is_holdable(v, &data_type)), "{data_type}");
        }
    }

    #[test]
    fn the_first_broken_term_of_each_row() {
        let rows = batch(vec![
            (
                "side",
                Arc::new(StringArray::from(vec![Some("left"), Some("up"), None, Some("left")])),
            ),
            ("n", Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), None]))),
            (
                "x",
                Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), Some(101.0), None])),
            ),
        ]);
        let given = batch(vec![(
            "x_unit",
            Arc::new(StringArray::from(vec![Some("%"), None, None, Some("g")])) as ArrayRef,
        )]);
        let term = |column: &str, rule| Term {
            column: column.to_owned(),
            rule,
        };
        let codes = |terms: &[Term]| -> Vec<Option<&'static str>> {
            let found = broken(terms, &rows, &given).unwrap();
            found.iter().map(|t| t.map(|t| t.rule.code())).collect()
        };
        let values = Rule::OneOf(vec!["left".into(), "right".into()]);
        assert_eq!(
            codes(&[term("side", values.clone())]),
            [None, Some("TABLE_VALUE"), None, None]
        );
        assert_eq!(
            codes(&[term("n", Rule::OneOf(vec!["1".into(), "2.0".into()]))]),
            [None, None, Some("TABLE_VALUE"), None]
        );
        assert_eq!(
            codes(&[
                term("n", Rule::Present),
                term("x", Rule::Within(Some(0.0), Some(100.0))),
                term("side", values)
            ]),
            [None, Some("TABLE_RANGE"), Some("TABLE_RANGE"), Some("TABLE_REQUIRED")]
        );
        // A unit counts where there is a value.
        assert_eq!(
            codes(&[term("x", Rule::Unit("x_unit".into(), "mg".into()))])[0],
            Some("TABLE_UNIT")
        );
        for same in ["%", "10*-2"] {
            assert_eq!(codes(&[term("x", Rule::Unit("x_unit".into(), same.into()))]), [None; 4]);
        }
        // As hospitals write it: the sign for micro, the power of ten.
        let given = ["μmol/L", "\u{b5}mol/l", "umol / L", "mmol/L"].map(Some).to_vec();
        let units = batch(vec![("x_unit", Arc::new(StringArray::from(given)) as ArrayRef)]);
        let numbers = batch(vec![("x", Arc::new(Float64Array::from(vec![1.0; 4])) as ArrayRef)]);
        let terms = [term("x", Rule::Unit("x_unit".into(), "umol/L".into()))];
        let found = broken(&terms, &numbers, &units).unwrap();
        assert_eq!(
            found.iter().map(Option::is_some).collect::<Vec<_>>(),
            [false, false, false, true]
        );
        assert_eq!(codes(&[term("absent", Rule::Present)]), [None; 4]);
    }
}
