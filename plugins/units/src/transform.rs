//! The transform: a unit per row in, a value in the target unit out, with what was done beside it.

mod columns;
mod numbers;
mod plan;

use crate::{
    OnError, UnitsConfig,
    bridge::Bridges,
    core::Lost,
    error,
    rule::names,
    targets,
    ucum::{self, Unit},
};
use clinmill_sdk::{
    Applied, BindContext, Caps, Emit, Findings, MappingTable, Origin, PluginError, RejectedRow, TaskContext, Transform,
    TransformRun,
    arrow::{
        array::{Array, AsArray, RecordBatch, StringArray, UInt32Array},
        compute::take_record_batch,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    near::same,
    sparse::Decimals,
    units::Spellings,
};
use columns::Columns;
use numbers::Numbers;
use plan::Plan;
pub(crate) use plan::as_meant;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A configured `units` step.
pub struct Units {
    /// The columns to convert, the value's first, with the digits after the point that decimals have.
    values: Vec<(usize, u8)>,
    /// How many of the last ones are of reference ranges.
    ranges: usize,
    unit: usize,
    unit_in_value: Option<usize>,
    unit_in_range: Option<usize>,
    target: Target,
    analyte: Option<usize>,
    local: Spellings,
    bridges: Bridges,
    /// The tables behind the two, by reference.
    tables: (String, String),
    /// What their rows are called in a rule, by line.
    names: (HashMap<u32, String>, HashMap<u32, String>),
    scale: u8,
    on_error: OnError,
    output: SchemaRef,
}

/// Where the unit to convert to stands.
enum Target {
    Fixed(String),
    Column(usize),
}

impl Transform for Units {
    const NAME: &'static str = "units";
    const VERSION: &'static str = "0.1.0";
    const SUMMARY: &'static str =
        "Converts values between units by UCUM, exactly, and keeps the source's value and unit";
    const CAPS: Caps = Caps::ROW_WISE.and(Caps::REJECTS).and(Caps::DETERMINISTIC);
    type Config = UnitsConfig;

    fn check(config: &UnitsConfig, findings: &mut Findings) {
        if config.scale > 18 {
            findings.add(
                "/scale",
                error::OPTIONS,
                "a number has 18 digits after the point at most",
            );
        }
        if config.to.is_some() == config.to_column.is_some() {
            findings.add(
                "",
                error::OPTIONS,
                "one of to and to_column says which unit to convert to",
            );
        }
        if let Some(to) = &config.to
            && let Err(invalid) = checked(to)
        {
            findings.add("/to", error::OPTIONS, format!("{to:?} is no UCUM code: {invalid}"));
        }
        if config.unit_in_range.is_some() && config.ranges.is_empty() {
            findings.add(
                "/unit_in_range",
                error::OPTIONS,
                "it is for reference ranges: name their columns with ranges",
            );
        }
        if config.analytes.is_some() != config.analyte.is_some() {
            findings.add(
                "/analytes",
                error::OPTIONS,
                "a table of analytes and the column analyte need each other",
            );
        }
    }

    fn bind(config: UnitsConfig, input: &Schema, context: &BindContext) -> Result<Self, PluginError> {
        let wrong = |pointer: &str, message: String| PluginError::config(pointer, error::COLUMN, message);
        let find = |pointer: &str, name: &str| {
            input
                .column_with_name(name)
                .ok_or_else(|| wrong(pointer, format!("there is no column {name:?}")))
        };
        let text = |pointer: &str, name: &str| {
            let (index, field) = find(pointer, name)?;
            match field.data_type() {
                DataType::Utf8 => Ok(index),
                _ => Err(wrong(pointer, format!("the column {name:?} does not hold text"))),
            }
        };
        let optional =
            |pointer: &str, name: &Option<String>| name.as_deref().map(|name| text(pointer, name)).transpose();
        let number = |pointer: &str, name: &str| {
            let (index, field) = find(pointer, name)?;
            let scale = match field.data_type() {
                DataType::Decimal128(_, scale) => u8::try_from(*scale).ok(),
                kind if kind.is_integer() => Some(0),
                kind if kind.is_floating() => Some(0),
                _ => None,
            };
            let scale = scale.ok_or_else(|| wrong(pointer, format!("the column {name:?} does not hold numbers")))?;
            Ok::<_, PluginError>((index, scale))
        };
        let mut values = vec![number("/value", &config.value)?];
        for (index, name) in config.also.iter().enumerate() {
            values.push(number(&format!("/also/{index}"), name)?);
        }
        for (index, name) in config.ranges.iter().enumerate() {
            values.push(number(&format!("/ranges/{index}"), name)?);
        }
        let table = |pointer: &str, reference: &str| {
            let at = |error: PluginError| PluginError {
                pointer: Some(pointer.into()),
                ..error
            };
            MappingTable::read(reference, context.resource(reference).map_err(at)?).map_err(at)
        };
        let at = |pointer: &'static str| {
            move |error: PluginError| PluginError {
                pointer: Some(pointer.into()),
                ..error
            }
        };
        let (local, spellings) = match &config.map {
            Some(reference) => {
                let table = table("/map", reference)?;
                let local = Spellings::new(&table).map_err(error::of_table).map_err(at("/map"))?;
                (local, names(&table, &["source_name"]))
            }
            None => Default::default(),
        };
        let (bridges, factors) = match &config.analytes {
            Some(reference) => {
                let table = table("/analytes", reference)?;
                let bridges = Bridges::new(&table).map_err(at("/analytes"))?;
                (bridges, names(&table, &["source_code", "source_name"]))
            }
            None => Default::default(),
        };
        let target = match (&config.to, &config.to_column) {
            (Some(code), _) => Target::Fixed(code.clone()),
            (None, Some(name)) => {
                targets::check_all(context).map_err(at("/to_column"))?;
                Target::Column(text("/to_column", name)?)
            }
            (None, None) => {
                return Err(PluginError::config(
                    "",
                    error::OPTIONS,
                    "no unit to convert to is named",
                ));
            }
        };
        let decimal = DataType::Decimal128(38, config.scale.cast_signed());
        let mut added = vec![("value".to_owned(), decimal.clone())];
        added.extend(
            config
                .also
                .iter()
                .chain(&config.ranges)
                .map(|name| (name.clone(), decimal.clone())),
        );
        added.extend(["unit", "factor", "rule", "status"].map(|name| (name.to_owned(), DataType::Utf8)));
        let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
        for (suffix, data_type) in added {
            let name = format!("{}_{suffix}", config.prefix);
            if fields.iter().any(|field| field.name() == &name) {
                return Err(wrong("/as", format!("there is a column {name:?} already")));
            }
            fields.push(Arc::new(Field::new(name, data_type, true)));
        }
        Ok(Self {
            values,
            ranges: config.ranges.len(),
            unit: text("/unit", &config.unit)?,
            unit_in_value: optional("/unit_in_value", &config.unit_in_value)?,
            unit_in_range: optional("/unit_in_range", &config.unit_in_range)?,
            target,
            analyte: optional("/analyte", &config.analyte)?,
            local,
            bridges,
            tables: (config.map.unwrap_or_default(), config.analytes.unwrap_or_default()),
            names: (spellings, factors),
            scale: config.scale,
            on_error: config.on_error,
            output: Arc::new(Schema::new(fields)),
        })
    }

    fn output(&self) -> SchemaRef {
        self.output.clone()
    }

    fn open<'a>(&'a self, task: &TaskContext<'a>) -> Result<Box<dyn TransformRun + 'a>, PluginError> {
        Ok(Box::new(Run {
            step: self,
            task: *task,
            plans: Vec::new(),
            known: HashMap::new(),
            near: vec![None; NEAR],
        }))
    }

    fn explain(&self, rows: &RecordBatch) -> Result<Option<Vec<Applied>>, PluginError> {
        let told = Told::of(self, rows)?;
        let schema = rows.schema();
        let mut all = Vec::new();
        for row in (0..rows.num_rows()).filter(|row| !told.is_empty(*row)) {
            let (unit, target, analyte) = told.at(row);
            let plan = self.plan(unit, target, analyte);
            let conversion = plan.conversion.as_ref();
            all.push(Applied {
                row: row as u32,
                column: schema.field(told.column(row)).name().clone(),
                from: unit.to_owned(),
                to: plan.unit.clone(),
                status: plan.status.to_owned(),
                lines: plan.lines.clone(),
                factor: conversion.map(|conversion| conversion.factor.clone()),
                by: conversion.map(|_| format!("UCUM {}", ucum::version())),
            });
        }
        Ok(Some(all))
    }
}

/// What the rows of a batch say.
struct Told<'a> {
    step: &'a Units,
    numbers: Vec<Numbers>,
    units: &'a StringArray,
    written: Option<&'a StringArray>,
    in_range: Option<&'a StringArray>,
    targets: Option<&'a StringArray>,
    analytes: Option<&'a StringArray>,
}

impl<'a> Told<'a> {
    fn of(step: &'a Units, batch: &'a RecordBatch) -> Result<Self, PluginError> {
        let text = |index: usize| batch.column(index).as_string::<i32>();
        let numbers = step
            .values
            .iter()
            .map(|(index, scale)| Numbers::of(batch.column(*index), *scale));
        Ok(Self {
            step,
            numbers: numbers.collect::<Result<_, PluginError>>()?,
            units: text(step.unit),
            written: step.unit_in_value.map(text),
            in_range: step.unit_in_range.map(text),
            targets: match &step.target {
                Target::Fixed(_) => None,
                Target::Column(index) => Some(text(*index)),
            },
            analytes: step.analyte.map(text),
        })
    }

    /// True where there is nothing to convert.
    #[inline]
    fn is_empty(&self, row: usize) -> bool {
        !self.numbers.iter().any(|column| column.is_valid(row))
    }

    /// The columns of the value, and those of reference ranges.
    #[inline]
    fn split(&self) -> (&[Numbers], &[Numbers]) {
        let (values, ranges) = self.numbers.split_at(self.numbers.len() - self.step.ranges);
        (values, ranges)
    }

    /// The unit that the reference range of a row is written in; empty without one.
    #[inline]
    fn range_unit(&self, row: usize) -> &str {
        match at(self.in_range, row) {
            "" => at(Some(self.units), row),
            unit => unit,
        }
    }

    /// The column that the unit stands in.
    fn column(&self, row: usize) -> usize {
        let written = self.step.unit_in_value.filter(|_| !at(self.written, row).is_empty());
        written.unwrap_or(self.step.unit)
    }

    /// Unit, unit to convert to and analyte; empty where there is none.
    #[inline]
    fn at(&self, row: usize) -> (&str, &str, &str) {
        let unit = match at(self.written, row) {
            "" => at(Some(self.units), row),
            unit => unit,
        };
        let target = match &self.step.target {
            Target::Fixed(code) => code,
            Target::Column(_) => at(self.targets, row),
        };
        (unit, target, at(self.analytes, row))
    }
}

/// A code to convert with.
fn checked(code: &str) -> Result<Unit, ucum::Invalid> {
    ucum::validate(code)?;
    ucum::unit(code)
}

/// Why a row of `no-result` has none.
const NO_RESULT: &str = "the value has no result in the unit to convert to";
/// Why a row of `too-small` has none.
const TOO_SMALL: &str = "the result is not 0, and smaller than the digits of scale hold";
/// Plans that are kept, at most.
const REMEMBERED: usize = 1 << 15;
/// Places of the small table before the large one; a power of two.
const NEAR: usize = 1 << 12;

/// A unit, a target and an analyte.
type Key = (Box<str>, Box<str>, Box<str>);

struct Run<'a> {
    step: &'a Units,
    task: TaskContext<'a>,
    plans: Vec<Plan>,
    known: HashMap<Key, usize>,
    /// By a hash of the three: the plan last used there.
    near: Vec<Option<Box<(Key, usize)>>>,
}

impl Run<'_> {
    /// Makes room for the plans of one more row: all before are forgotten where there is none.
    #[inline]
    fn make_room(&mut self) {
        if self.plans.len() + 2 > REMEMBERED {
            self.plans.clear();
            self.known.clear();
            self.near.fill(None);
        }
    }

    /// Converts the reference range of a row to the unit of its result; what it is counted as where that is not done.
    fn range(
        &mut self,
        told: &Told<'_>,
        (row, index): (usize, usize),
        plan: usize,
        to: &mut [Decimals],
    ) -> Option<&'static str> {
        let (_, numbers) = told.split();
        let (value_unit, target, analyte) = told.at(row);
        let unit = told.range_unit(row);
        let plan = match same(unit, value_unit) {
            true => plan,
            false => {
                let code = self.plans.get(plan).map(|plan| plan.unit.clone());
                match target.trim().is_empty() {
                    true => self.plan(unit, &code?, analyte),
                    false => self.plan(unit, target, analyte),
                }
            }
        };
        let plan = self.plans.get(plan)?;
        let Some(conversion) = &plan.conversion else {
            return Some(match plan.status {
                "no-unit" => "range no-unit",
                "unknown-unit" => "range unknown-unit",
                _ => "range mismatch",
            });
        };
        for (column, result) in numbers.iter().zip(to.iter_mut()) {
            if column.is_valid(row) {
                match column.convert(row, conversion, self.step.scale) {
                    Ok(value) => result.set(index, value),
                    Err(lost) => {
                        to.iter_mut().for_each(|column| column.clear(index));
                        return Some(match lost {
                            Lost::NoResult => "range no-result",
                            Lost::TooSmall => "range too-small",
                        });
                    }
                }
            }
        }
        None
    }

    #[inline]
    fn plan(&mut self, unit: &str, target: &str, analyte: &str) -> usize {
        let (unit, target, analyte) = (bounded(unit), bounded(target), bounded(analyte));
        let seed = xxh3_64_with_seed(unit.as_bytes(), xxh3_64_with_seed(target.as_bytes(), unit.len() as u64));
        let hash = match analyte {
            "" => seed,
            analyte => xxh3_64_with_seed(analyte.as_bytes(), seed),
        };
        let place = (hash % NEAR as u64) as usize;
        if let Some(Some(entry)) = self.near.get(place) {
            let ((a, b, c), plan) = entry.as_ref();
            if same(a, unit) && same(b, target) && same(c, analyte) {
                return *plan;
            }
        }
        self.far(place, (unit.into(), target.into(), analyte.into()))
    }

    #[cold]
    fn far(&mut self, place: usize, key: Key) -> usize {
        let index = match self.known.get(&key) {
            Some(index) => *index,
            None => {
                self.plans.push(self.step.plan(&key.0, &key.1, &key.2));
                self.known.insert(key.clone(), self.plans.len() - 1);
                self.plans.len() - 1
            }
        };
        if let Some(entry) = self.near.get_mut(place) {
            *entry = Some(Box::new((key, index)));
        }
        index
    }
}

/// Longer texts are neither units nor names.
const MAX_BYTES: usize = 200;

/// A text to remember: one that is too long becomes one that nothing is called.
#[inline]
fn bounded(text: &str) -> &str {
    if text.len() > MAX_BYTES { "\u{1}" } else { text }
}

/// A text of a row; empty where it is null.
#[inline]
fn at(column: Option<&StringArray>, row: usize) -> &str {
    match column {
        Some(column) if column.is_valid(row) => column.value(row),
        _ => "",
    }
}

impl TransformRun for Run<'_> {
    fn process(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<(), PluginError> {
        let step = self.step;
        let rows = batch.num_rows();
        let told = Told::of(step, batch)?;
        let (values, ranges) = told.split();
        let mut columns = Columns::new(rows, told.numbers.len());
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut kept: Vec<u32> = Vec::with_capacity(rows);
        let (mut same_status, mut status) = (0, "");
        for (row, index) in (0u32..).zip(0..rows) {
            self.task.check_row(index)?;
            let (unit, target, analyte) = told.at(index);
            if unit.is_empty() && told.is_empty(index) {
                kept.push(row);
                continue;
            }
            self.make_room();
            let place = self.plan(unit, target, analyte);
            let Some(plan) = self.plans.get(place) else {
                continue;
            };
            if told.is_empty(index) {
                // A word beside a unit: nothing was converted, and the unit is known all the same.
                if plan.conversion.is_some() {
                    columns.unit.set(kept.len(), &plan.unit);
                }
                kept.push(row);
                continue;
            }
            let (name, code, reason) = match plan.rejected {
                ("", _) => match columns.add(kept.len(), index, plan, values, step) {
                    Ok(()) => (plan.status, "", ""),
                    Err(Lost::NoResult) => ("no-result", error::RANGE, NO_RESULT),
                    Err(Lost::TooSmall) => ("too-small", error::RANGE, TOO_SMALL),
                },
                (code, reason) => (plan.status, code, reason),
            };
            let done = code.is_empty();
            let ranged = done && plan.conversion.is_some() && ranges.iter().any(|column| column.is_valid(index));
            if name != status {
                if same_status > 0 {
                    *counts.entry(status).or_default() += same_status;
                }
                (status, same_status) = (name, 0);
            }
            same_status += 1;
            if !done {
                // Some of the row's values may have had a result.
                columns.values.iter_mut().for_each(|column| column.clear(kept.len()));
                if step.on_error == OnError::Reject {
                    let (code, message) = (code.into(), reason.into());
                    out.reject(RejectedRow { row, code, message })?;
                    continue;
                }
                columns.status.set(kept.len(), name);
            }
            if ranged
                && let Some(to) = columns.values.get_mut(values.len()..)
                && let Some(name) = self.range(&told, (index, kept.len()), place, to)
            {
                *counts.entry(name).or_default() += 1;
            }
            kept.push(row);
        }
        if same_status > 0 {
            *counts.entry(status).or_default() += same_status;
        }
        for (name, count) in counts {
            out.count(name, count);
        }
        let (old, origin) = match kept.len() == rows {
            true => (batch.clone(), Origin::Same),
            false => (
                take_record_batch(batch, &UInt32Array::from(kept.clone()))?,
                Origin::Rows(kept.clone()),
            ),
        };
        let mut all = old.columns().to_vec();
        all.extend(columns.finish(kept.len(), step.scale)?);
        out.rows(RecordBatch::try_new(step.output.clone(), all)?, origin)
    }
}
