//! The transform: one lookup per distinct value, new columns beside the old ones.

use crate::{
    TerminologyConfig, Unmapped,
    core::{Found, Kind, Lookup, Told},
    error,
};
use clinmill_sdk::{
    Applied, BindContext, Caps, Emit, MappingTable, Origin, PluginError, RejectedRow, TaskContext, Transform,
    TransformRun,
    arrow::{
        array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch, StringArray, UInt32Array},
        compute::{cast, take_record_batch},
        datatypes::{DataType, Date32Type, Field, Schema, SchemaRef},
    },
    near::same,
    sparse::Texts,
};
use std::{collections::HashMap, sync::Arc};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A configured `terminology` step.
pub struct Terminology {
    lookup: Lookup,
    map: String,
    column: usize,
    unit: Option<usize>,
    unit_in_value: Option<usize>,
    kind: Option<usize>,
    specimen: Option<usize>,
    date: Option<usize>,
    unmapped: Unmapped,
    output: SchemaRef,
}

impl Transform for Terminology {
    const NAME: &'static str = "terminology";
    const VERSION: &'static str = "0.1.0";
    const SUMMARY: &'static str = "Looks codes or names up in a mapping table; what is unmapped is kept and counted";
    const CAPS: Caps = Caps::ROW_WISE.and(Caps::REJECTS).and(Caps::DETERMINISTIC);
    type Config = TerminologyConfig;

    fn bind(config: TerminologyConfig, input: &Schema, context: &BindContext) -> Result<Self, PluginError> {
        let Some((column, field)) = input.column_with_name(&config.column) else {
            let message = format!("there is no column {:?}", config.column);
            return Err(PluginError::config("/column", error::COLUMN, message));
        };
        if !(field.data_type() == &DataType::Utf8 || field.data_type().is_integer()) {
            let message = format!("the column {:?} holds neither text nor integers", config.column);
            return Err(PluginError::config("/column", error::COLUMN, message));
        }
        let other = |pointer: &str, name: &Option<String>, fits: fn(&DataType) -> bool, what: &str| {
            let Some(name) = name else {
                return Ok(None);
            };
            match input.column_with_name(name) {
                Some((index, field)) if fits(field.data_type()) => Ok(Some(index)),
                Some(_) => Err(PluginError::config(
                    pointer,
                    error::COLUMN,
                    format!("the column {name:?} does not hold {what}"),
                )),
                None => Err(PluginError::config(
                    pointer,
                    error::COLUMN,
                    format!("there is no column {name:?}"),
                )),
            }
        };
        let text: fn(&DataType) -> bool = |kind| kind == &DataType::Utf8;
        let day: fn(&DataType) -> bool = |kind| matches!(kind, DataType::Date32 | DataType::Timestamp(..));
        let unit = other("/unit", &config.unit, text, "text")?;
        let unit_in_value = other("/unit_in_value", &config.unit_in_value, text, "text")?;
        let kind = other("/kind", &config.kind, text, "text")?;
        let specimen = other("/specimen", &config.specimen, text, "text")?;
        let date = other("/date", &config.date, day, "dates or timestamps")?;
        let at_map = |error: PluginError| PluginError {
            pointer: Some("/map".into()),
            ..error
        };
        let resource = context.resource(&config.map).map_err(at_map)?;
        let table = MappingTable::read(&config.map, resource).map_err(at_map)?;
        let lookup = Lookup::new(&table, config.by).map_err(at_map)?;
        let prefix = config.prefix.as_deref().unwrap_or(&config.column);
        let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
        let units = lookup.has_units().then_some("unit");
        for suffix in ["code", "system", "name", "status"].into_iter().chain(units) {
            let name = format!("{prefix}_{suffix}");
            if input.column_with_name(&name).is_some() {
                let message = format!("there is a column {name:?} already");
                return Err(PluginError::config("/as", error::COLUMN, message));
            }
            fields.push(Arc::new(Field::new(name, DataType::Utf8, true)));
        }
        Ok(Self {
            lookup,
            map: config.map,
            column,
            unit,
            unit_in_value,
            kind,
            specimen,
            date,
            unmapped: config.unmapped,
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
            known: HashMap::new(),
            near: vec![None; NEAR],
        }))
    }

    fn explain(&self, rows: &RecordBatch) -> Result<Option<Vec<Applied>>, PluginError> {
        let told = Columns::of(self, rows)?;
        let schema = rows.schema();
        let mut all = Vec::new();
        for row in 0..rows.num_rows() {
            let Asked { value, .. } = told.at(row);
            if value.trim_ascii().is_empty() {
                continue;
            }
            let told = told.at(row).told();
            let found = self.lookup.find(value, &told);
            let target = match found {
                Found::Mapped(index) => self.lookup.target(index),
                _ => None,
            };
            let lines = self.lookup.lines(value, &told);
            all.push(Applied {
                row: row as u32,
                column: schema.field(self.column).name().clone(),
                from: value.to_owned(),
                to: target.map_or_else(String::new, |target| target.code.clone()),
                status: found.status().to_owned(),
                lines: lines.into_iter().map(|line| (self.map.clone(), line)).collect(),
                ..Applied::default()
            });
        }
        Ok(Some(all))
    }
}

/// What the rows of a batch say: the column to look up and those beside it.
struct Columns<'a> {
    values: StringArray,
    units: Option<&'a StringArray>,
    written: Option<&'a StringArray>,
    kinds: Option<&'a StringArray>,
    specimens: Option<&'a StringArray>,
    days: Option<Date32Array>,
}

impl<'a> Columns<'a> {
    fn of(step: &Terminology, batch: &'a RecordBatch) -> Result<Self, PluginError> {
        let of = |index: Option<usize>| index.and_then(|index| batch.column(index).as_string_opt::<i32>());
        let days = step
            .date
            .map(|index| cast(batch.column(index), &DataType::Date32))
            .transpose()?;
        Ok(Self {
            values: cast(batch.column(step.column), &DataType::Utf8)?.as_string().clone(),
            units: of(step.unit),
            written: of(step.unit_in_value),
            kinds: of(step.kind),
            specimens: of(step.specimen),
            days: days.map(|days| days.as_primitive::<Date32Type>().clone()),
        })
    }

    #[inline]
    fn at(&self, row: usize) -> Asked<'_> {
        let day = self
            .days
            .as_ref()
            .filter(|days| days.is_valid(row))
            .map(|days| days.value(row));
        let unit = match at(self.written, row) {
            "" => at(self.units, row),
            unit => unit,
        };
        Asked {
            value: at(Some(&self.values), row),
            unit,
            specimen: at(self.specimens, row),
            kind: Kind::of(at(self.kinds, row)),
            day,
        }
    }
}

/// What one row asks for; texts are empty where there are none.
#[derive(Clone, Copy)]
struct Asked<'a> {
    value: &'a str,
    unit: &'a str,
    specimen: &'a str,
    kind: Kind,
    day: Option<i32>,
}

impl<'a> Asked<'a> {
    fn told(&self) -> Told<'a> {
        Told {
            kind: self.kind,
            ..Told::of(self.unit, self.specimen, self.day)
        }
    }
}

/// Distinct values whose lookup is remembered.
const REMEMBERED: usize = 1 << 16;

/// Places of the small table before the large one; a power of two.
const NEAR: usize = 1 << 12;

/// Longer texts are looked up each time.
const MAX_BYTES: usize = 200;

/// A value, a unit, a specimen, a kind and a day.
type Key = (Box<str>, Box<str>, Box<str>, Kind, Option<i32>);

struct Run<'a> {
    step: &'a Terminology,
    task: TaskContext<'a>,
    known: HashMap<Key, Found>,
    /// By a hash of them: what was found last there.
    near: Vec<Option<Box<(Key, Found)>>>,
}

impl Run<'_> {
    #[inline]
    fn find(&mut self, asked: &Asked<'_>) -> Found {
        let Asked {
            value,
            unit,
            specimen,
            kind,
            day,
        } = *asked;
        if value.len() + unit.len() + specimen.len() > MAX_BYTES {
            return self.step.lookup.find(value, &asked.told());
        }
        let seed = day.map_or(0, |day| u64::from(day.cast_unsigned()) + 1);
        let mut hash = xxh3_64_with_seed(value.as_bytes(), seed | (kind as u64) << 40);
        for more in [unit, specimen] {
            if !more.is_empty() {
                hash = xxh3_64_with_seed(more.as_bytes(), hash);
            }
        }
        let place = (hash % NEAR as u64) as usize;
        if let Some(Some(entry)) = self.near.get(place) {
            let ((a, b, c, d, e), found) = entry.as_ref();
            if *d == kind && *e == day && same(a, value) && same(b, unit) && same(c, specimen) {
                return *found;
            }
        }
        self.far(place, asked)
    }

    #[cold]
    fn far(&mut self, place: usize, asked: &Asked<'_>) -> Found {
        let key: Key = (
            asked.value.into(),
            asked.unit.into(),
            asked.specimen.into(),
            asked.kind,
            asked.day,
        );
        let found = match self.known.get(&key) {
            Some(found) => *found,
            None => {
                let found = self.step.lookup.find(asked.value, &asked.told());
                if self.known.len() >= REMEMBERED {
                    self.known.clear();
                }
                self.known.insert(key.clone(), found);
                found
            }
        };
        if let Some(entry) = self.near.get_mut(place) {
            *entry = Some(Box::new((key, found)));
        }
        found
    }
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
        let told = Columns::of(self.step, batch)?;
        let rows = batch.num_rows();
        let mut new = [(); 5].map(|()| Texts::new(rows));
        let mut kept: Option<Vec<u32>> = None;
        let (mut counts, mut unlike) = ([0u64; 5], 0);
        let mut place = 0;
        for row in 0..rows {
            self.task.check_row(row)?;
            let asked = told.at(row);
            let found = (!asked.value.trim_ascii().is_empty()).then(|| self.find(&asked));
            let status = found.map(Found::status);
            let (code, message) = match found {
                None => (error::UNMAPPED, "the value is empty"),
                Some(Found::Mapped(_)) => ("", ""),
                Some(Found::Unmapped) => (error::UNMAPPED, "the value has no accepted target"),
                Some(Found::Unlike) => (
                    error::UNMAPPED,
                    "the value has no accepted target for the unit, specimen or day of the row",
                ),
                Some(Found::Ambiguous) => (error::AMBIGUOUS, "the value has several targets"),
                Some(Found::Rejected) => (error::REJECTED, "all candidates for the value were turned down"),
            };
            let kind = match found {
                Some(Found::Mapped(_)) => 0,
                Some(Found::Unmapped | Found::Unlike) => 1,
                Some(Found::Ambiguous) => 2,
                Some(Found::Rejected) => 3,
                None => 4,
            };
            if let Some(count) = counts.get_mut(kind) {
                *count += 1;
            }
            unlike += u64::from(found == Some(Found::Unlike));
            // An empty value is nothing to map: it is kept in either case.
            if self.step.unmapped == Unmapped::Reject && status.is_some() && !code.is_empty() {
                let row = row as u32;
                kept.get_or_insert_with(|| (0..row).collect());
                out.reject(RejectedRow {
                    row,
                    code: code.into(),
                    message: message.into(),
                })?;
                continue;
            }
            if let Some(kept) = &mut kept {
                kept.push(row as u32);
            }
            let [codes, systems, names, statuses, units] = &mut new;
            if let Some(status) = status {
                statuses.set(place, status);
            }
            if let Some(Found::Mapped(index)) = found
                && let Some(target) = self.step.lookup.target(index)
            {
                codes.set(place, &target.code);
                systems.set(place, &target.system);
                if !target.name.is_empty() {
                    names.set(place, &target.name);
                }
                if !target.unit.is_empty() {
                    units.set(place, &target.unit);
                }
            }
            place += 1;
        }
        for (name, count) in ["mapped", "unmapped", "ambiguous", "rejected", "empty"]
            .into_iter()
            .zip(counts)
            .chain([("unmapped for unit, specimen or day", unlike)])
        {
            if count > 0 {
                out.count(name, count);
            }
        }
        let (old, origin) = match kept {
            None => (batch.clone(), Origin::Same),
            Some(kept) => (
                take_record_batch(batch, &UInt32Array::from(kept.clone()))?,
                Origin::Rows(kept),
            ),
        };
        let mut columns = old.columns().to_vec();
        let added = self.step.output.fields().len() - columns.len();
        let new: Vec<ArrayRef> = new
            .into_iter()
            .take(added)
            .map(|texts| texts.finish(place))
            .collect::<Result<_, _>>()?;
        columns.extend(new);
        debug_assert!(columns.iter().all(|column| column.len() == old.num_rows()));
        out.rows(RecordBatch::try_new(self.step.output.clone(), columns)?, origin)
    }
}
