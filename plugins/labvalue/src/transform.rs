//! The transform: one column of text in, columns of what it says beside it.

use crate::{
    LabvalueConfig, Unparsed,
    beside::{Beside, Meant, Neighbours},
    core::{Kind, MAX_BYTES, Parsed, Scratch, parse},
    error,
    number::{Number, plain},
    pattern,
    people::Sex,
    range::{self, Part},
};
use clinmill_sdk::{
    BindContext, Caps, Emit, Findings, Origin, PluginError, RejectedRow, TaskContext, Transform, TransformRun,
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array},
        compute::{cast, take_record_batch},
        datatypes::{DataType, Field, Float64Type, Schema, SchemaRef},
    },
    near::same,
    sparse::{Decimals, Integers, Texts},
};
use std::{collections::BTreeMap, sync::Arc};
use xxhash_rust::xxh3::xxh3_64;

/// A configured `labvalue` step.
pub struct Labvalue {
    config: LabvalueConfig,
    column: usize,
    unit: Option<usize>,
    range: Option<usize>,
    sex: Option<usize>,
    age: Option<usize>,
    output: SchemaRef,
}

impl Transform for Labvalue {
    const NAME: &'static str = "labvalue";
    const VERSION: &'static str = "0.1.0";
    const SUMMARY: &'static str = "Reads laboratory results: operator, number, concept, range, unit and flag";
    const CAPS: Caps = Caps::ROW_WISE.and(Caps::REJECTS).and(Caps::DETERMINISTIC);
    type Config = LabvalueConfig;

    fn check(config: &LabvalueConfig, findings: &mut Findings) {
        if config.scale > 18 {
            findings.add(
                "/scale",
                error::OPTIONS,
                "a number has 18 digits after the point at most",
            );
        }
        for (pointer, column) in [("/sex", &config.sex), ("/age", &config.age)] {
            if column.is_some() && config.range.is_none() {
                findings.add(
                    pointer,
                    error::OPTIONS,
                    "it is for reference ranges: name their column with range",
                );
            }
        }
    }

    fn bind(config: LabvalueConfig, input: &Schema, _: &BindContext) -> Result<Self, PluginError> {
        let find = |pointer: &str, name: &str| {
            let found = input.column_with_name(name);
            found.ok_or_else(|| PluginError::config(pointer, error::COLUMN, format!("there is no column {name:?}")))
        };
        let text = |pointer: &str, name: &str| {
            let (index, field) = find(pointer, name)?;
            if field.data_type() == &DataType::Utf8 {
                return Ok(index);
            }
            let message = format!("the column {name:?} does not hold text");
            Err(PluginError::config(pointer, error::COLUMN, message))
        };
        let column = text("/column", &config.column)?;
        let unit = config.unit.as_deref().map(|name| text("/unit", name)).transpose()?;
        let range = config.range.as_deref().map(|name| text("/range", name)).transpose()?;
        let sex = config.sex.as_deref().map(|name| find("/sex", name)).transpose()?;
        let age = config.age.as_deref().map(|name| find("/age", name)).transpose()?;
        if let Some((_, field)) = age
            && !field.data_type().is_numeric()
        {
            let message = format!("the column {:?} does not hold numbers", field.name());
            return Err(PluginError::config("/age", error::COLUMN, message));
        }
        let prefix = config.prefix.as_deref().unwrap_or(&config.column);
        let decimal = DataType::Decimal128(38, config.scale.cast_signed());
        let mut added = vec![
            ("kind", DataType::Utf8),
            ("operator", DataType::Utf8),
            ("number", decimal.clone()),
            ("low", decimal.clone()),
            ("high", decimal.clone()),
            ("qualitative", DataType::Utf8),
            ("grade", DataType::Int64),
            ("unit", DataType::Utf8),
            ("flag", DataType::Utf8),
        ];
        if range.is_some() {
            added.push(("range_low", decimal.clone()));
            added.push(("range_high", decimal));
            added.push(("range_qualitative", DataType::Utf8));
            added.push(("range_unit", DataType::Utf8));
        }
        let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
        for (suffix, data_type) in added {
            let name = format!("{prefix}_{suffix}");
            if input.column_with_name(&name).is_some() {
                let message = format!("there is a column {name:?} already");
                return Err(PluginError::config("/as", error::COLUMN, message));
            }
            fields.push(Arc::new(Field::new(name, data_type, true)));
        }
        Ok(Self {
            column,
            unit,
            range,
            sex: sex.map(|(index, _)| index),
            age: age.map(|(index, _)| index),
            config,
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
            scratch: Scratch::default(),
            texts: (0..REMEMBERED).map(|_| None).collect(),
            ranges: vec![None; REMEMBERED],
            patterns: BTreeMap::new(),
            meant: BTreeMap::new(),
            powers: Vec::new(),
        }))
    }
}

/// Reference ranges that are remembered, and results that are more than digits.
const REMEMBERED: usize = 1 << 10;
/// Distinct patterns that are counted by themselves.
const PATTERNS: usize = 200;

struct Run<'a> {
    step: &'a Labvalue,
    task: TaskContext<'a>,
    scratch: Scratch,
    /// By a hash of the text: the one last read there, and what it says.
    texts: Vec<Option<(Box<str>, Option<Said>)>>,
    /// By a hash of the text: the one last read there.
    ranges: Vec<Option<(String, Arc<[Part]>)>>,
    patterns: BTreeMap<String, u64>,
    /// Texts that the columns beside them say more about, by what was made of them; of one batch.
    meant: BTreeMap<&'static str, u64>,
    /// Those of one batch.
    powers: Vec<Power>,
}

/// A row whose text has a power of ten, which the range beside it may have too, unwritten.
struct Power {
    /// Where the row is kept.
    row: usize,
    /// The power; of ranges with two of them nothing.
    power: Option<i32>,
    /// Whether the text has a unit of its own.
    own: bool,
}

impl Power {
    fn of(row: usize, said: &Said) -> Option<Self> {
        said.parsed.leaves_a_power().then(|| Self {
            row,
            power: said.parsed.scaled(),
            own: !said.unit.is_empty(),
        })
    }

    /// Whether a bare range beside it is in the unit of the column, which begins with a power of ten (0: with none).
    fn is_of(&self, tens: Option<i32>) -> bool {
        tens.is_some() && (self.power == tens || (self.own && tens != Some(0)))
    }
}

/// The new columns of one batch.
struct Columns {
    scale: u8,
    rounded: u64,
    kind: Texts,
    operator: Texts,
    number: Decimals,
    low: Decimals,
    high: Decimals,
    qualitative: Texts,
    grade: Integers,
    unit: Texts,
    flag: Texts,
}

/// A number as its column holds it, and whether that is exact.
pub type Scaled = Option<(i128, bool)>;

/// Writes a number; 1 when it was rounded.
#[inline]
fn put(column: &mut Decimals, row: usize, number: Scaled) -> u64 {
    match number {
        Some((value, exact)) => {
            column.set(row, value);
            u64::from(!exact)
        }
        None => 0,
    }
}

/// What a text says, as the columns hold it.
struct Said {
    parsed: Parsed<'static>,
    unit: Box<str>,
    number: Scaled,
    range: (Scaled, Scaled),
    /// Where more than the text decides.
    beside: Option<Box<Beside>>,
}

impl Said {
    /// Nothing where the text says nothing that the columns can hold.
    fn of(text: &str, step: &Labvalue, scratch: &mut Scratch) -> Option<Self> {
        let parsed = parse(text, step.config.comma, scratch)?;
        let scale = step.config.scale;
        // What is counted in 10^9/L is told so, as a range is: number, unit and `unit_source_value` agree.
        let counted = parsed.of_the_unit();
        let scaled = |number: Option<Number>| match number {
            Some(number) if counted.is_some() => number.without_power().kept(scale).map(Some),
            Some(number) => number.kept(scale).map(Some),
            None => Some(None),
        };
        Some(Self {
            beside: Beside::of(text, &parsed, scale).map(Box::new),
            number: scaled(parsed.number)?,
            range: (scaled(parsed.range.map(|r| r.0))?, scaled(parsed.range.map(|r| r.1))?),
            unit: match counted {
                Some(power) => format!("10^{power}{}", parsed.unit).into(),
                None => parsed.unit.into(),
            },
            parsed: Parsed { unit: "", ..parsed },
        })
    }
}

impl Columns {
    fn new(rows: usize, scale: u8) -> Self {
        Self {
            scale,
            rounded: 0,
            kind: Texts::new(rows),
            operator: Texts::new(rows),
            number: Decimals::new(rows),
            low: Decimals::new(rows),
            high: Decimals::new(rows),
            qualitative: Texts::new(rows),
            grade: Integers::new(rows),
            unit: Texts::new(rows),
            flag: Texts::new(rows),
        }
    }

    #[inline]
    fn add(&mut self, row: usize, said: &Said) {
        self.add_numbers(row, said, &said.number, &said.range);
    }

    /// What a text says, with other numbers.
    #[inline]
    fn add_numbers(&mut self, row: usize, said: &Said, number: &Scaled, range: &(Scaled, Scaled)) {
        let Said { parsed, unit, .. } = said;
        self.rounded += put(&mut self.number, row, *number);
        self.rounded += put(&mut self.low, row, range.0) + put(&mut self.high, row, range.1);
        for (column, text) in [
            (&mut self.operator, parsed.operator),
            (&mut self.flag, parsed.flag),
            (&mut self.qualitative, parsed.qualitative),
        ] {
            if let Some(text) = text {
                column.set(row, text);
            }
        }
        if !unit.is_empty() {
            self.unit.set(row, unit);
        }
        if let Some(grade) = parsed.grade {
            self.grade.set(row, i64::from(grade));
        }
        self.kind.set(row, parsed.kind.name());
    }

    /// A number with nothing but a flag.
    fn add_number(&mut self, row: usize, number: Scaled, flag: Option<&str>) {
        put(&mut self.number, row, number);
        if let Some(flag) = flag {
            self.flag.set(row, flag);
        }
        self.kind.set(row, Kind::Number.name());
    }

    /// What a text says, its unit being a flag.
    fn add_flagged(&mut self, row: usize, said: &Said, flag: &str) {
        let Said {
            number, range, parsed, ..
        } = said;
        self.rounded += put(&mut self.number, row, *number);
        self.rounded += put(&mut self.low, row, range.0) + put(&mut self.high, row, range.1);
        if let Some(operator) = parsed.operator {
            self.operator.set(row, operator);
        }
        self.flag.set(row, flag);
        self.kind.set(row, parsed.kind.name());
    }

    fn finish(self, rows: usize) -> Result<Vec<ArrayRef>, PluginError> {
        let scale = self.scale.cast_signed();
        Ok(vec![
            self.kind.finish(rows)?,
            self.operator.finish(rows)?,
            self.number.finish(rows, scale)?,
            self.low.finish(rows, scale)?,
            self.high.finish(rows, scale)?,
            self.qualitative.finish(rows)?,
            self.grade.finish(rows)?,
            self.unit.finish(rows)?,
            self.flag.finish(rows)?,
        ])
    }
}

impl Run<'_> {
    fn count_pattern(&mut self, text: &str) {
        let shape = pattern::shape(text);
        let full = self.patterns.len() >= PATTERNS && !self.patterns.contains_key(&shape);
        let name = if full { "other".to_owned() } else { shape };
        *self.patterns.entry(name).or_default() += 1;
    }

    /// Writes what a text says; false where it says nothing that the columns can hold. `near` is what stands beside it.
    #[inline]
    fn read(&mut self, columns: &mut Columns, row: usize, text: &str, near: &Neighbours<'_>) -> bool {
        // Most values are digits and nothing else.
        if let Some((value, true)) = plain(text.as_bytes()).and_then(|number| number.scaled(columns.scale)) {
            columns.number.set(row, value);
            columns.kind.set(row, Kind::Number.name());
            return true;
        }
        let place = (xxh3_64(text.as_bytes()) % REMEMBERED as u64) as usize;
        let Some(entry) = self.texts.get_mut(place) else {
            return false;
        };
        if entry.as_ref().is_none_or(|(known, _)| !same(known, text)) {
            let said = Said::of(text, self.step, &mut self.scratch);
            if text.len() > MAX_BYTES {
                *entry = None;
                return said.inspect(|said| columns.add(row, said)).is_some();
            }
            *entry = Some((text.into(), said));
        }
        match entry.as_ref().and_then(|(_, said)| said.as_ref()) {
            None => false,
            Some(Said { beside: Some(_), .. }) => self.read_beside(columns, row, place, near),
            Some(said) => {
                self.powers.extend(Power::of(row, said));
                columns.add(row, said);
                true
            }
        }
    }

    /// Writes what a remembered text says together with what stands beside it.
    fn read_beside(&mut self, columns: &mut Columns, row: usize, place: usize, near: &Neighbours<'_>) -> bool {
        // A concept is expected: the signs are its grade.
        let qualitative = near.range().is_some_and(|text| {
            let parts = self.parts(text);
            !parts.is_empty() && parts.iter().all(Part::is_qualitative)
        });
        let Some(Some((_, Some(said)))) = self.texts.get(place) else {
            return false;
        };
        let Some(beside) = &said.beside else {
            return false;
        };
        self.powers.extend(Power::of(row, said));
        let meant = beside.meant(near, qualitative, &mut self.scratch);
        if let Some(count) = meant.count() {
            *self.meant.entry(count).or_default() += 1;
        }
        match meant {
            Meant::Written | Meant::Unseen | Meant::Grade => columns.add(row, said),
            Meant::Once(number, range) => columns.add_numbers(row, said, &number, &range),
            Meant::Signed(number) => columns.add_number(row, number, said.parsed.flag),
            Meant::Neither | Meant::Volume | Meant::Missing | Meant::Unknown => return false,
            Meant::Dilution => columns.add_numbers(row, said, &None, &(None, None)),
            Meant::Flag(flag) => columns.add_flagged(row, said, flag),
        }
        true
    }

    fn parts(&mut self, text: &str) -> Arc<[Part]> {
        let place = (xxh3_64(text.as_bytes()) % REMEMBERED as u64) as usize;
        if let Some(Some((known, parts))) = self.ranges.get(place)
            && same(known, text)
        {
            return parts.clone();
        }
        let parts: Arc<[Part]> = range::parse(text, self.step.config.comma).into();
        // What does not parse is read again; so a long text is not kept.
        if let (false, Some(entry)) = (parts.is_empty() && text.len() > 400, self.ranges.get_mut(place)) {
            *entry = Some((text.to_owned(), parts.clone()));
        }
        parts
    }

    /// The columns of the reference range, of the rows that are kept.
    fn ranges(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<Vec<ArrayRef>, PluginError> {
        let step = self.step;
        let Some(column) = step.range else {
            return Ok(Vec::new());
        };
        let (rows, scale) = (batch.num_rows(), step.config.scale);
        let texts = batch.column(column).as_string::<i32>();
        let sexes = step
            .sex
            .map(|index| cast(batch.column(index), &DataType::Utf8))
            .transpose()?;
        let ages = step
            .age
            .map(|index| cast(batch.column(index), &DataType::Float64))
            .transpose()?;
        let (mut low, mut high) = (Decimals::new(rows), Decimals::new(rows));
        let (mut qualitative, mut units) = (Texts::new(rows), Texts::new(rows));
        let (mut unparsed, mut unchosen, mut unlike, mut unscaled) = (0, 0, 0, 0);
        let powers = std::mem::take(&mut self.powers);
        let mut powers = powers.into_iter().peekable();
        let mut near = Neighbours::of(batch, step.unit, None);
        let mut last: Option<(&str, Arc<[Part]>)> = None;
        for (row, text) in texts.iter().enumerate() {
            let Some(text) = text.filter(|text| !range::is_none(text)) else {
                continue;
            };
            let parts = match &last {
                Some((known, parts)) if same(known, text) => parts,
                _ => &last.insert((text, self.parts(text))).1,
            };
            if parts.is_empty() {
                unparsed += 1;
                continue;
            }
            let (sex, age) = match range::is_split(parts) {
                false => (None, None),
                true => (
                    sexes
                        .as_ref()
                        .map(|column| column.as_string::<i32>())
                        .filter(|column| column.is_valid(row))
                        .and_then(|column| Sex::read(column.value(row))),
                    ages.as_ref()
                        .map(|column| column.as_primitive::<Float64Type>())
                        .filter(|column| column.is_valid(row))
                        .map(|column| column.value(row)),
                ),
            };
            let Some(range) = range::choose(parts, sex, age) else {
                unchosen += 1;
                continue;
            };
            while powers.next_if(|power| power.row < row).is_some() {}
            let power = powers.next_if(|power| power.row == row);
            let resolved;
            let range = match range.is_open() {
                // 5.6×10^3 beside 4-10: these are thousands where the unit says so, else nobody knows.
                false if range.unit.is_empty() && range.is_numeric() && !range.is_printed() => {
                    near.go(row);
                    if power.is_some_and(|power| !power.is_of(near.tens(&mut self.scratch))) {
                        unscaled += 1;
                        continue;
                    }
                    range
                }
                false => range,
                true => {
                    near.go(row);
                    let Some(tens) = near.tens(&mut self.scratch) else {
                        unparsed += 1;
                        continue;
                    };
                    let Some(beside) = range.beside(tens) else {
                        unlike += 1;
                        continue;
                    };
                    resolved = beside;
                    &resolved
                }
            };
            put(&mut low, row, range.low.and_then(|number| number.kept(scale)));
            put(&mut high, row, range.high.and_then(|number| number.kept(scale)));
            if let Some(concept) = range.qualitative {
                qualitative.set(row, concept);
            }
            if !range.unit.is_empty() {
                units.set(row, &range.unit);
            }
        }
        for (name, count) in [
            ("range unparsed", unparsed),
            ("range for other people", unchosen),
            ("range power unlike the unit", unlike),
            ("range without the power of the value", unscaled),
        ] {
            if count > 0 {
                out.count(name, count);
            }
        }
        let scale = scale.cast_signed();
        Ok(vec![
            low.finish(rows, scale)?,
            high.finish(rows, scale)?,
            qualitative.finish(rows)?,
            units.finish(rows)?,
        ])
    }
}

impl TransformRun for Run<'_> {
    fn process(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<(), PluginError> {
        let step = self.step;
        let rows = batch.num_rows();
        let texts = batch.column(step.column).as_string::<i32>();
        let mut near = Neighbours::of(batch, step.unit, step.range);
        let mut columns = Columns::new(rows, step.config.scale);
        let mut rejected: Vec<u32> = Vec::new();
        let (mut unparsed, mut kept) = (0, 0);
        for (row, text) in (0u32..).zip(texts.iter()) {
            self.task.check_row(row as usize)?;
            near.go(row as usize);
            if let Some(text) = text
                && !self.read(&mut columns, kept, text, &near)
                && !text.trim().is_empty()
            {
                self.count_pattern(text);
                unparsed += 1;
                if step.config.unparsed == Unparsed::Reject {
                    rejected.push(row);
                    out.reject(RejectedRow {
                        row,
                        code: error::UNPARSED.into(),
                        message: "the text is no value that the grammar knows".into(),
                    })?;
                    continue;
                }
            }
            kept += 1;
        }
        for (name, count) in [("unparsed", unparsed), ("rounded", columns.rounded)] {
            if count > 0 {
                out.count(name, count);
            }
        }
        for (name, count) in std::mem::take(&mut self.meant) {
            out.count(name, count);
        }
        let (old, origin) = match rejected.is_empty() {
            true => (batch.clone(), Origin::Same),
            false => {
                let mut gone = rejected.iter().peekable();
                let all = 0..u32::try_from(rows).unwrap_or(u32::MAX);
                let rest: Vec<u32> = all.filter(|row| gone.next_if_eq(&row).is_none()).collect();
                (
                    take_record_batch(batch, &UInt32Array::from(rest.clone()))?,
                    Origin::Rows(rest),
                )
            }
        };
        let mut all = old.columns().to_vec();
        all.extend(columns.finish(kept)?);
        all.extend(self.ranges(&old, out)?);
        out.rows(RecordBatch::try_new(step.output.clone(), all)?, origin)
    }

    fn finish(&mut self, out: &mut dyn Emit) -> Result<(), PluginError> {
        for (pattern, count) in &self.patterns {
            out.count(&format!("unparsed {pattern}"), *count);
        }
        Ok(())
    }
}
