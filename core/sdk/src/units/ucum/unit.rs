//! Terms as a factor and a dimension.

use super::{
    essence::{BASES, Essence, Meaning},
    grammar::{Component, Invalid, Operator, Term},
    number::Ratio,
    special::Function,
};
use std::collections::BTreeMap;

/// What a unit measures: exponents of the base units and of units that can be compared with themselves only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dimension {
    bases: [i32; BASES],
    arbitrary: BTreeMap<usize, i32>,
}

/// A unit to reckon with: `factor` times the base units of its dimension, or a scale over such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    factor: Ratio,
    dimension: Dimension,
    /// A scale, and the factor of its numbers: 1/10 of a bel in `dB`.
    scale: Option<(Function, Ratio)>,
    /// Exponents of what UCUM reduces to a number and medicine does not: see [`Unit::kinds`].
    kinds: BTreeMap<&'static str, i32>,
}

/// Units that UCUM defines as plain numbers although they count different things.
const KINDS: [&str; 6] = ["mol", "eq", "osm", "[HPF]", "[LPF]", "[hnsf'U]"];
/// The sum of all exponents in a code, at most.
const MAX_POWER: u32 = 600;
/// Definitions within definitions, at most.
const MAX_DEPTH: usize = 32;

impl Unit {
    fn one() -> Self {
        Self {
            factor: Ratio::one(),
            dimension: Dimension::default(),
            scale: None,
            kinds: BTreeMap::new(),
        }
    }

    /// What it measures. Units of one dimension can be converted into each other.
    pub fn dimension(&self) -> &Dimension {
        &self.dimension
    }

    /// Exponents of mole, equivalent, osmole and fields of view, which UCUM takes for plain numbers: `mmol/L` and
    /// `10*9/L` have one dimension, and to convert one into the other is no conversion of a laboratory value.
    pub fn kinds(&self) -> &BTreeMap<&'static str, i32> {
        &self.kinds
    }

    /// True for a scale, such as Cel or \[pH\].
    pub fn is_scale(&self) -> bool {
        self.scale.is_some()
    }

    /// True for a scale whose numbers are no fractions of each other's, such as \[pH\].
    pub fn is_curved(&self) -> bool {
        self.scale.as_ref().is_some_and(|(function, _)| !function.is_linear())
    }

    /// The product of two units; nothing for scales.
    pub fn times(&self, other: &Self) -> Option<Self> {
        self.combined(other, Operator::Times)
    }

    /// The quotient of two units; nothing for scales.
    pub fn over(&self, other: &Self) -> Option<Self> {
        self.combined(other, Operator::Over)
    }

    fn combined(&self, other: &Self, operator: Operator) -> Option<Self> {
        if self.is_scale() || other.is_scale() {
            return None;
        }
        let mut product = self.clone();
        product.combine(other.clone(), operator)?;
        Some(product)
    }

    /// So many of the unit; nothing for a scale.
    pub fn scaled(&self, number: &Ratio) -> Option<Self> {
        match self.is_scale() {
            true => None,
            false => Some(Self {
                factor: self.factor.times(number),
                ..self.clone()
            }),
        }
    }

    /// A value of this unit in another of the same dimension; nothing where there is no such number.
    pub fn ratio_to(&self, other: &Self, value: &Ratio) -> Option<Ratio> {
        let number = match &self.scale {
            Some((function, factor)) => function.inverse(&value.times(factor))?.times(&self.factor),
            None => value.times(&self.factor),
        };
        let number = number.over(&other.factor)?;
        match &other.scale {
            Some((function, factor)) => function.apply(&number)?.over(factor),
            None => Some(number),
        }
    }

    fn raise(&mut self, exponent: i32) -> Option<()> {
        self.factor = self.factor.power(exponent)?;
        self.dimension.bases.iter_mut().for_each(|base| *base *= exponent);
        self.dimension
            .arbitrary
            .values_mut()
            .for_each(|power| *power *= exponent);
        self.kinds.values_mut().for_each(|power| *power *= exponent);
        self.tidy();
        Some(())
    }

    /// Multiplies by another unit or its inverse.
    fn combine(&mut self, mut other: Self, operator: Operator) -> Option<()> {
        if operator == Operator::Over {
            other.raise(-1)?;
        }
        self.factor = self.factor.times(&other.factor);
        for (base, more) in self.dimension.bases.iter_mut().zip(other.dimension.bases) {
            *base += more;
        }
        for (atom, power) in other.dimension.arbitrary {
            *self.dimension.arbitrary.entry(atom).or_default() += power;
        }
        for (kind, power) in other.kinds {
            *self.kinds.entry(kind).or_default() += power;
        }
        self.tidy();
        Some(())
    }

    fn tidy(&mut self) {
        self.dimension.arbitrary.retain(|_, power| *power != 0);
        self.kinds.retain(|_, power| *power != 0);
    }
}

/// Reckons a term.
///
/// # Errors
/// Exponents beyond all use, and scales that are multiplied with other units: UCUM section 2.3 gives them no meaning.
pub fn evaluate(term: &Term, table: &Essence) -> Result<Unit, Invalid> {
    let mut budget = MAX_POWER;
    Reckoner { table }.term(term, &mut budget, 0)
}

struct Reckoner<'a> {
    table: &'a Essence,
}

impl Reckoner<'_> {
    fn term(&self, term: &Term, budget: &mut u32, depth: usize) -> Result<Unit, Invalid> {
        let invalid = |reason: &str| Invalid::new(0, reason);
        let mut whole = Unit::one();
        for (operator, component) in &term.0 {
            let unit = self.component(component, budget, depth)?;
            // A scale takes numbers only: 2.Cel is a scale, Cel/h is nothing.
            if let Some((function, factor)) = unit.scale.clone() {
                let alone =
                    whole.scale.is_none() && whole.dimension == Dimension::default() && *operator == Operator::Times;
                if !alone {
                    return Err(invalid(
                        "a special unit such as Cel cannot be multiplied with other units",
                    ));
                }
                let factor = factor.times(&whole.factor);
                whole = Unit {
                    scale: Some((function, factor)),
                    ..unit
                };
                continue;
            }
            if let Some((_, factor)) = &mut whole.scale {
                if unit.dimension != Dimension::default() {
                    return Err(invalid(
                        "a special unit such as Cel cannot be multiplied with other units",
                    ));
                }
                let product = match operator {
                    Operator::Times => Some(factor.times(&unit.factor)),
                    Operator::Over => factor.over(&unit.factor),
                };
                *factor = product.ok_or_else(|| invalid("a division by zero"))?;
                continue;
            }
            whole
                .combine(unit, *operator)
                .ok_or_else(|| invalid("a division by zero"))?;
        }
        Ok(whole)
    }

    fn component(&self, component: &Component, budget: &mut u32, depth: usize) -> Result<Unit, Invalid> {
        let invalid = |reason: &str| Invalid::new(0, reason);
        match component {
            Component::Annotation => Ok(Unit::one()),
            Component::Factor(digits) => {
                let factor = Ratio::parse(digits).ok_or_else(|| invalid("the number is too long"))?;
                Ok(Unit { factor, ..Unit::one() })
            }
            Component::Parentheses(term) => self.term(term, budget, depth),
            Component::Simple { prefix, atom, exponent } => {
                let mut unit = self.atom(*atom, depth)?;
                if let Some(prefix) = prefix.and_then(|prefix| self.table.prefixes.get(prefix)) {
                    match &mut unit.scale {
                        Some((_, factor)) => *factor = factor.times(&prefix.value),
                        None => unit.factor = unit.factor.times(&prefix.value),
                    }
                }
                let exponent = exponent.unwrap_or(1);
                if exponent != 1 {
                    *budget = budget
                        .checked_sub(exponent.unsigned_abs())
                        .ok_or_else(|| invalid("the exponents are too large"))?;
                    if unit.scale.is_some() {
                        return Err(invalid("a special unit such as Cel cannot be raised to a power"));
                    }
                    unit.raise(exponent).ok_or_else(|| invalid("a division by zero"))?;
                }
                Ok(unit)
            }
        }
    }

    fn atom(&self, index: usize, depth: usize) -> Result<Unit, Invalid> {
        let invalid = |reason: &str| Invalid::new(0, reason);
        let atom = self
            .table
            .atoms
            .get(index)
            .ok_or_else(|| invalid("the unit is not in the table"))?;
        if depth > MAX_DEPTH {
            return Err(invalid("the table defines a unit by itself"));
        }
        let definition = |code: &str| {
            let mut budget = MAX_POWER;
            self.term(&super::grammar::parse(code, self.table)?, &mut budget, depth + 1)
        };
        let mut unit = match &atom.meaning {
            Meaning::Base(base) => {
                let mut unit = Unit::one();
                if let Some(power) = unit.dimension.bases.get_mut(*base) {
                    *power = 1;
                }
                unit
            }
            Meaning::Times(value, code) => {
                let mut unit = definition(code)?;
                unit.factor = unit.factor.times(value);
                // One that is defined by another arbitrary unit is that unit under another name.
                if atom.arbitrary && unit.dimension.arbitrary.is_empty() {
                    unit.dimension.arbitrary.insert(index, 1);
                }
                unit
            }
            Meaning::Scale(function, value, code) => {
                let mut unit = definition(code)?;
                unit.factor = unit.factor.times(value);
                unit.scale = Some((*function, Ratio::one()));
                unit
            }
        };
        if let Some(kind) = KINDS.iter().find(|kind| **kind == atom.code) {
            unit.kinds = BTreeMap::from([(*kind, 1)]);
        }
        Ok(unit)
    }
}
