//! The transform: one column of text in, one of local timestamps or dates out.

use crate::{
    DatetimeConfig, Format, OnError,
    core::{DAY, Parsed, Precision, Unfit, parse},
    error,
};
use clinmill_sdk::{
    BindContext, Caps, Emit, Findings, Origin, PluginError, RejectedRow, TaskContext, Transform, TransformRun,
    arrow::{
        array::{
            ArrayRef, AsArray, BooleanBuilder, Date32Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
            UInt32Array,
        },
        compute::{cast, take_record_batch},
        datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    },
    zone,
};
use jiff::{Timestamp, civil, tz::AmbiguousOffset, tz::TimeZone};
use std::sync::Arc;

/// A configured `datetime` step.
pub struct Datetime {
    column: usize,
    formats: Vec<Format>,
    date: bool,
    on_error: OnError,
    zone: Option<TimeZone>,
    /// Where the result goes: in the place of an old column, or after the last.
    replaced: Option<usize>,
    precision: bool,
    ambiguous: bool,
    output: SchemaRef,
}

impl Transform for Datetime {
    const NAME: &'static str = "datetime";
    const VERSION: &'static str = "0.1.0";
    const SUMMARY: &'static str = "Parses text into local timestamps or dates, by named formats tried in order";
    const CAPS: Caps = Caps::ROW_WISE.and(Caps::REJECTS).and(Caps::DETERMINISTIC);
    type Config = DatetimeConfig;

    fn check(config: &DatetimeConfig, findings: &mut Findings) {
        if config.formats.is_empty() {
            findings.add("/formats", error::OPTIONS, "no format is named");
        }
        if let Err(unknown) = zone::named(config.timezone.as_deref(), "/timezone", error::ZONE) {
            findings.add("/timezone", error::ZONE, unknown.message);
        }
    }

    fn bind(config: DatetimeConfig, input: &Schema, context: &BindContext) -> Result<Self, PluginError> {
        let Some((column, field)) = input.column_with_name(&config.column) else {
            let message = format!("there is no column {:?}", config.column);
            return Err(PluginError::config("/column", error::COLUMN, message));
        };
        if !(field.data_type() == &DataType::Utf8 || field.data_type().is_integer()) {
            let message = format!("the column {:?} holds neither text nor integers", config.column);
            return Err(PluginError::config("/column", error::COLUMN, message));
        }
        let zone = config.timezone.as_deref().or(context.timezone.as_deref());
        let zone = zone::named(zone, "/timezone", error::ZONE)?;
        let data_type = match config.date {
            true => DataType::Date32,
            false => DataType::Timestamp(TimeUnit::Microsecond, None),
        };
        let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
        let replaced = match &config.output {
            Some(name) if name != &config.column => None,
            _ => Some(column),
        };
        let result = Arc::new(Field::new(
            config.output.as_ref().unwrap_or(&config.column),
            data_type,
            true,
        ));
        match replaced.and_then(|index| fields.get_mut(index)) {
            Some(place) => *place = result,
            None => add(&mut fields, result, "/as")?,
        }
        if let Some(name) = &config.precision {
            add(
                &mut fields,
                Arc::new(Field::new(name, DataType::Utf8, true)),
                "/precision",
            )?;
        }
        if let Some(name) = &config.ambiguous {
            add(
                &mut fields,
                Arc::new(Field::new(name, DataType::Boolean, true)),
                "/ambiguous",
            )?;
        }
        Ok(Self {
            column,
            formats: config.formats,
            date: config.date,
            on_error: config.on_error,
            zone,
            replaced,
            precision: config.precision.is_some(),
            ambiguous: config.ambiguous.is_some(),
            output: Arc::new(Schema::new(fields)),
        })
    }

    fn output(&self) -> SchemaRef {
        self.output.clone()
    }

    fn open<'a>(&'a self, task: &TaskContext<'a>) -> Result<Box<dyn TransformRun + 'a>, PluginError> {
        Ok(Box::new(Run(self, *task)))
    }
}

fn add(fields: &mut Vec<Arc<Field>>, field: Arc<Field>, pointer: &str) -> Result<(), PluginError> {
    if fields.iter().any(|known| known.name() == field.name()) {
        let message = format!("there is a column {:?} already", field.name());
        return Err(PluginError::config(pointer, error::COLUMN, message));
    }
    fields.push(field);
    Ok(())
}

/// A result: local microseconds since 1970-01-01T00:00, and whether that local time is certain.
struct Local {
    micros: i64,
    precision: Precision,
    ambiguous: bool,
}

impl Datetime {
    fn local(&self, text: &str) -> Result<Local, (&'static str, &'static str)> {
        let parsed = parse(text, &self.formats).map_err(|unfit| match unfit {
            Unfit::Format => (error::FORMAT, "the text fits none of the formats"),
            Unfit::Range => (error::RANGE, "there is no such day or time"),
        })?;
        let written = i64::from(parsed.days) * DAY + parsed.micros;
        let (micros, ambiguous) = match parsed.offset {
            // An offset says nothing about a date without a time of day.
            Some(minutes) if parsed.precision >= Precision::Hour => {
                let zone = self.zone.as_ref().ok_or((
                    error::NO_ZONE,
                    "the text has an offset and no time zone is named to convert it to",
                ))?;
                let utc = written - i64::from(minutes) * 60_000_000;
                let local = zone::local(zone, utc).ok_or((error::RANGE, "there is no such day or time"))?;
                (local, false)
            }
            _ => (written, self.ambiguous && self.is_ambiguous(&parsed)),
        };
        Ok(Local {
            micros,
            precision: parsed.precision,
            ambiguous,
        })
    }

    fn is_ambiguous(&self, parsed: &Parsed) -> bool {
        let (Some(zone), true) = (&self.zone, parsed.precision >= Precision::Hour) else {
            return false;
        };
        let micros = i64::from(parsed.days) * DAY + parsed.micros;
        let Ok(utc) = Timestamp::from_microsecond(micros) else {
            return false;
        };
        let local: civil::DateTime = TimeZone::UTC.to_datetime(utc);
        !matches!(
            zone.to_ambiguous_timestamp(local).offset(),
            AmbiguousOffset::Unambiguous { .. }
        )
    }
}

struct Run<'a>(&'a Datetime, TaskContext<'a>);

impl TransformRun for Run<'_> {
    fn process(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<(), PluginError> {
        let step = self.0;
        let text = cast(batch.column(step.column), &DataType::Utf8)?;
        let mut times = TimestampMicrosecondBuilder::new();
        let mut dates = Date32Builder::new();
        let mut precisions = StringBuilder::new();
        let mut ambiguous = BooleanBuilder::new();
        let mut kept: Vec<u32> = Vec::with_capacity(batch.num_rows());
        let mut unparsed = 0;
        for (row, value) in (0u32..).zip(text.as_string::<i32>().iter()) {
            self.1.check_row(row as usize)?;
            let local = match value
                .filter(|text| !text.trim().is_empty())
                .map(|text| step.local(text))
            {
                None => None,
                Some(Ok(local)) => Some(local),
                Some(Err((code, message))) if step.on_error == OnError::Reject => {
                    out.reject(RejectedRow {
                        row,
                        code: code.into(),
                        message: message.into(),
                    })?;
                    continue;
                }
                Some(Err(_)) => {
                    unparsed += 1;
                    None
                }
            };
            kept.push(row);
            match step.date {
                true => {
                    dates.append_option(
                        local
                            .as_ref()
                            .and_then(|l| i32::try_from(l.micros.div_euclid(DAY)).ok()),
                    );
                }
                false => times.append_option(local.as_ref().map(|l| l.micros)),
            }
            precisions.append_option(local.as_ref().map(|l| l.precision.name()));
            ambiguous.append_option(local.as_ref().map(|l| l.ambiguous));
        }
        if unparsed > 0 {
            out.count("unparsed", unparsed);
        }
        let whole = kept.len() == batch.num_rows();
        let (old, origin) = match whole {
            true => (batch.clone(), Origin::Same),
            false => (
                take_record_batch(batch, &UInt32Array::from(kept.clone()))?,
                Origin::Rows(kept),
            ),
        };
        let mut columns = old.columns().to_vec();
        let result: ArrayRef = match step.date {
            true => Arc::new(dates.finish()),
            false => Arc::new(times.finish()),
        };
        match step.replaced.and_then(|index| columns.get_mut(index)) {
            Some(place) => *place = result,
            None => columns.push(result),
        }
        if step.precision {
            columns.push(Arc::new(precisions.finish()));
        }
        if step.ambiguous {
            columns.push(Arc::new(ambiguous.finish()));
        }
        out.rows(RecordBatch::try_new(step.output.clone(), columns)?, origin)
    }
}
