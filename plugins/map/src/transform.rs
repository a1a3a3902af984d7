//! The transform: options against a schema, then row by row.

use crate::{
    config::{Column, MapConfig, OnError},
    core::{Type, Unfit, Value, local},
    error,
    eval::{Expr, compile},
    parse::{Tree, Wrong, parse},
};
use clinmill_sdk::{
    BindContext, Caps, Emit, Findings, Origin, PluginError, RejectedRow, Status, TaskContext, Transform, TransformRun,
    arrow::{
        array::{
            Array, ArrayRef, AsArray, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
            RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder, UInt32Array,
        },
        compute::{cast, take_record_batch},
        datatypes::{
            DataType, Date32Type, Decimal128Type, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit,
            TimestampMicrosecondType,
        },
    },
    zone,
};
use jiff::tz::TimeZone;
use std::{borrow::Cow, sync::Arc};

/// A configured `map` step.
pub struct Map {
    /// Columns of the input that expressions read, with the Arrow type they are read as.
    read: Vec<(usize, DataType)>,
    set: Vec<Computed>,
    /// Where each output column comes from.
    pick: Vec<Pick>,
    output: SchemaRef,
    /// The pipeline's.
    zone: Option<TimeZone>,
}

impl Map {
    fn cast<'a>(&self, value: Value<'a>, to: Type) -> Result<Value<'a>, Unfit> {
        let value = match to {
            Type::Date | Type::Ts => local(value, self.zone.as_ref())?,
            _ => value,
        };
        value.cast(to)
    }
}

/// A computed column.
struct Computed {
    name: String,
    expr: Expr,
    to: Type,
    default: Value<'static>,
    on_error: OnError,
}

#[derive(Clone, Copy)]
enum Pick {
    Old(usize),
    New(usize),
}

/// Bytes of text in one computed column of one batch.
const MOST_BYTES: usize = 1 << 30;

impl Transform for Map {
    const NAME: &'static str = "map";
    const VERSION: &'static str = "0.1.0";
    const SUMMARY: &'static str = "Renames, keeps, drops, casts and computes columns, row by row";
    const CAPS: Caps = Caps::ROW_WISE.and(Caps::REJECTS).and(Caps::DETERMINISTIC);
    type Config = MapConfig;

    fn check(config: &MapConfig, findings: &mut Findings) {
        if config.keep.is_some() && !config.drop.is_empty() {
            findings.add("/drop", error::OPTIONS, "keep and drop exclude each other");
        }
        for (name, column) in &config.set.0 {
            let pointer = pointer("set", name);
            let said = [column.from.is_some(), column.value.is_some(), column.expr.is_some()];
            if said.iter().filter(|said| **said).count() > 1 {
                findings.add(&pointer, error::OPTIONS, "from, value and expr exclude each other");
            }
            if !(0..=18).contains(&column.scale) {
                findings.add(
                    format!("{pointer}/scale"),
                    error::OPTIONS,
                    "the scale is between 0 and 18",
                );
            }
            if name.is_empty() || name.starts_with('_') {
                findings.add(
                    &pointer,
                    error::COLUMN,
                    format!("{name:?} cannot be the name of a column"),
                );
            }
            if let Some(Err(wrong)) = column.expr.as_deref().map(parse) {
                findings.add(format!("{pointer}/expr"), error::EXPR, place(&wrong));
            }
        }
        for (old, new) in &config.rename {
            if new.is_empty() || new.starts_with('_') {
                findings.add(
                    pointer("rename", old),
                    error::COLUMN,
                    format!("{new:?} cannot be the name of a column"),
                );
            }
        }
    }

    fn bind(config: MapConfig, input: &Schema, context: &BindContext) -> Result<Self, PluginError> {
        let mut fields = renamed(&config, input)?;
        let mut read = Vec::new();
        let mut set = Vec::new();
        let mut picks: Vec<Pick> = (0..fields.len()).map(Pick::Old).collect();
        for (name, column) in &config.set.0 {
            set.push(computed(name, column, &fields, &mut read)?);
        }
        // Expressions read the columns as they were before any was set.
        for (index, new) in set.iter().enumerate() {
            let field = Arc::new(Field::new(&new.name, arrow_type(new.to), true));
            let old = fields.iter().position(|f| f.name() == &new.name);
            match old.and_then(|i| fields.get_mut(i).zip(picks.get_mut(i))) {
                Some((place, pick)) => {
                    *place = field;
                    *pick = Pick::New(index);
                }
                None => {
                    fields.push(field);
                    picks.push(Pick::New(index));
                }
            }
        }
        let find = |name: &String, at: String| {
            let found = fields.iter().zip(&picks).find(|(field, _)| field.name() == name);
            let missing = || PluginError::config(at, error::COLUMN, format!("there is no column {name:?}"));
            found.map(|(field, pick)| (field.clone(), *pick)).ok_or_else(missing)
        };
        let mut chosen = Vec::new();
        match &config.keep {
            Some(keep) => {
                for (index, name) in keep.iter().enumerate() {
                    if keep.iter().take(index).any(|earlier| earlier == name) {
                        let message = format!("{name:?} stands twice");
                        return Err(PluginError::config(format!("/keep/{index}"), error::COLUMN, message));
                    }
                    chosen.push(find(name, format!("/keep/{index}"))?);
                }
            }
            None => {
                for (index, name) in config.drop.iter().enumerate() {
                    find(name, format!("/drop/{index}"))?;
                }
                let all = fields.iter().cloned().zip(picks.iter().copied());
                chosen.extend(all.filter(|(field, _)| !config.drop.contains(field.name())));
            }
        }
        let (fields, pick): (Vec<Arc<Field>>, Vec<Pick>) = chosen.into_iter().unzip();
        Ok(Self {
            read,
            set,
            pick,
            output: Arc::new(Schema::new(fields)),
            zone: zone::named(context.timezone.as_deref(), "", error::OPTIONS)?,
        })
    }

    fn output(&self) -> SchemaRef {
        self.output.clone()
    }

    fn open<'a>(&'a self, task: &TaskContext<'a>) -> Result<Box<dyn TransformRun + 'a>, PluginError> {
        Ok(Box::new(Run(self, *task)))
    }
}

fn pointer(section: &str, name: &str) -> String {
    format!("/{section}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn place(wrong: &Wrong) -> String {
    let hint = wrong.hint.iter().map(|hint| format!("; {hint}"));
    format!(
        "at character {}: {}{}",
        wrong.at + 1,
        wrong.what,
        hint.collect::<String>()
    )
}

fn renamed(config: &MapConfig, input: &Schema) -> Result<Vec<Arc<Field>>, PluginError> {
    for old in config.rename.keys() {
        if input.column_with_name(old).is_none() {
            let message = format!("there is no column {old:?}");
            return Err(PluginError::config(pointer("rename", old), error::COLUMN, message));
        }
    }
    let mut fields: Vec<Arc<Field>> = Vec::new();
    for field in input.fields() {
        let new = config.rename.get(field.name());
        let field = match new {
            Some(name) => Arc::new(field.as_ref().clone().with_name(name)),
            None => field.clone(),
        };
        fields.push(field);
    }
    for (index, field) in fields.iter().enumerate() {
        if fields.iter().take(index).any(|earlier| earlier.name() == field.name()) {
            let old = config
                .rename
                .iter()
                .find(|(_, new)| *new == field.name())
                .map_or("", |(old, _)| old);
            let message = format!("two columns would be called {:?}", field.name());
            return Err(PluginError::config(pointer("rename", old), error::COLUMN, message));
        }
    }
    Ok(fields)
}

fn computed(
    name: &str,
    column: &Column,
    fields: &[Arc<Field>],
    read: &mut Vec<(usize, DataType)>,
) -> Result<Computed, PluginError> {
    let pointer = pointer("set", name);
    let mut lookup = |wanted: &str| {
        let (index, field) = fields.iter().enumerate().find(|(_, field)| field.name() == wanted)?;
        let (data_type, as_read) = readable(field.data_type())?;
        let known = read.iter().position(|(column, _)| *column == index);
        let slot = known.unwrap_or_else(|| {
            read.push((index, as_read));
            read.len() - 1
        });
        Some((slot, data_type))
    };
    let tree = match (&column.expr, &column.from) {
        (Some(text), _) => parse(text),
        (None, Some(from)) => Ok(Tree {
            at: 0,
            node: crate::parse::Node::Column(from.clone()),
        }),
        (None, None) => Ok(Tree {
            at: 0,
            node: crate::parse::Node::Column(name.to_owned()),
        }),
    };
    let expr = match &column.value {
        Some(value) => Ok(Expr::constant(Value::constant(value))),
        None => tree.and_then(|tree| compile(&tree, &mut lookup)),
    };
    let expr = expr.map_err(|wrong| match (&column.expr, &column.from) {
        (Some(_), _) => PluginError::config(format!("{pointer}/expr"), error::EXPR, place(&wrong)),
        (_, Some(_)) => PluginError::config(format!("{pointer}/from"), error::COLUMN, wrong.what),
        _ => PluginError::config(pointer.clone(), error::COLUMN, wrong.what),
    })?;
    let to = match (column.data_type, expr.data_type) {
        (Some(name), _) => Type::named(name, column.scale),
        // A column of nothing but null is a column of text.
        (None, Type::Null) => Type::Str,
        (None, data_type) => data_type,
    };
    if !expr.data_type.casts_to(to) {
        let message = format!("{} cannot become {}", expr.data_type.name(), to.name());
        return Err(PluginError::config(format!("{pointer}/type"), error::CAST, message));
    }
    let default = match &column.default {
        None => Value::Null,
        Some(scalar) => Value::constant(scalar).cast(to).map_err(|Unfit| {
            PluginError::config(
                format!("{pointer}/default"),
                error::CAST,
                format!("the default is no {}", to.name()),
            )
        })?,
    };
    Ok(Computed {
        name: name.to_owned(),
        expr,
        to,
        default,
        on_error: column.on_error,
    })
}

/// The type that expressions see, and the Arrow type a column is cast to for reading.
fn readable(data_type: &DataType) -> Option<(Type, DataType)> {
    Some(match data_type {
        DataType::Utf8 => (Type::Str, DataType::Utf8),
        DataType::Boolean => (Type::Bool, DataType::Boolean),
        DataType::UInt64 => return None,
        integer if integer.is_integer() => (Type::Int, DataType::Int64),
        DataType::Float32 | DataType::Float64 => (Type::Num, DataType::Float64),
        DataType::Decimal128(_, scale) if (0..=18).contains(scale) => (Type::Dec(*scale), data_type.clone()),
        DataType::Date32 => (Type::Date, DataType::Date32),
        DataType::Timestamp(_, None) => (Type::Ts, DataType::Timestamp(TimeUnit::Microsecond, None)),
        _ => return None,
    })
}

fn arrow_type(data_type: Type) -> DataType {
    match data_type {
        Type::Null | Type::Str => DataType::Utf8,
        Type::Bool => DataType::Boolean,
        Type::Int => DataType::Int64,
        Type::Dec(scale) => DataType::Decimal128(38, scale),
        Type::Num => DataType::Float64,
        Type::Date => DataType::Date32,
        Type::Ts => DataType::Timestamp(TimeUnit::Microsecond, None),
    }
}

/// The value of one cell.
fn cell<'a>(array: &'a ArrayRef, data_type: &DataType, row: usize) -> Value<'a> {
    if array.is_null(row) {
        return Value::Null;
    }
    match data_type {
        DataType::Utf8 => Value::Str(Cow::Borrowed(array.as_string::<i32>().value(row))),
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Value::Num(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => Value::Dec(array.as_primitive::<Decimal128Type>().value(row), *scale),
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(..) => Value::Ts(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        _ => Value::Null,
    }
}

struct Run<'a>(&'a Map, TaskContext<'a>);

impl TransformRun for Run<'_> {
    fn process(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<(), PluginError> {
        let step = self.0;
        let mut read = Vec::with_capacity(step.read.len());
        for (index, data_type) in &step.read {
            read.push((cast(batch.column(*index), data_type)?, data_type));
        }
        let mut builders: Vec<Builder> = step.set.iter().map(|new| Builder::new(new.to)).collect();
        let mut kept: Vec<u32> = Vec::with_capacity(batch.num_rows());
        let mut failed = 0;
        let mut values = Vec::with_capacity(step.set.len());
        let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        for row in 0..rows {
            self.1.check_row(row as usize)?;
            let column = |slot: usize| match read.get(slot) {
                Some((array, data_type)) => cell(array, data_type, row as usize),
                None => Value::Null,
            };
            values.clear();
            let mut rejected = None;
            for new in &step.set {
                let value = match new.expr.value(&column) {
                    Ok(value) => step.cast(value, new.to).map_err(|Unfit| error::CAST),
                    Err(Unfit) => Err(error::VALUE),
                };
                match (value, new.on_error) {
                    (Ok(Value::Null), _) => values.push(new.default.clone()),
                    (Ok(value), _) => values.push(value),
                    (Err(_), OnError::Null) => {
                        // Not the default: what could not be read is not absent.
                        failed += 1;
                        values.push(Value::Null);
                    }
                    (Err(code), OnError::Reject) => {
                        rejected = Some((code, new));
                        break;
                    }
                }
            }
            if let Some((code, new)) = rejected {
                let message = match code {
                    error::CAST => format!("{:?}: the value does not fit {}", new.name, new.to.name()),
                    _ => format!(
                        "{:?}: the expression has no value (division by zero or out of range)",
                        new.name
                    ),
                };
                out.reject(RejectedRow {
                    row,
                    code: code.into(),
                    message,
                })?;
                continue;
            }
            kept.push(row);
            for (builder, value) in builders.iter_mut().zip(values.drain(..)) {
                builder.push(value)?;
            }
        }
        if failed > 0 {
            out.count("failed", failed);
        }
        let whole = kept.len() == batch.num_rows();
        let (old, origin) = match whole {
            true => (batch.clone(), Origin::Same),
            false => (
                take_record_batch(batch, &UInt32Array::from(kept.clone()))?,
                Origin::Rows(kept),
            ),
        };
        let new: Vec<ArrayRef> = builders.into_iter().map(Builder::finish).collect::<Result<_, _>>()?;
        let pick = step.pick.iter().filter_map(|pick| match pick {
            Pick::Old(index) => old.columns().get(*index).cloned(),
            Pick::New(index) => new.get(*index).cloned(),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(old.num_rows()));
        let rows = RecordBatch::try_new_with_options(step.output.clone(), pick.collect(), &options)?;
        out.rows(rows, origin)
    }
}

/// Builds one computed column.
enum Builder {
    Str(StringBuilder, usize),
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Dec(Decimal128Builder, i8),
    Num(Float64Builder),
    Date(Date32Builder),
    Ts(TimestampMicrosecondBuilder),
}

impl Builder {
    fn new(data_type: Type) -> Self {
        match data_type {
            Type::Null | Type::Str => Self::Str(StringBuilder::new(), 0),
            Type::Bool => Self::Bool(BooleanBuilder::new()),
            Type::Int => Self::Int(Int64Builder::new()),
            Type::Dec(scale) => Self::Dec(Decimal128Builder::new(), scale),
            Type::Num => Self::Num(Float64Builder::new()),
            Type::Date => Self::Date(Date32Builder::new()),
            Type::Ts => Self::Ts(TimestampMicrosecondBuilder::new()),
        }
    }

    fn push(&mut self, value: Value<'_>) -> Result<(), PluginError> {
        match (self, value) {
            (Self::Str(builder, bytes), Value::Str(text)) => {
                *bytes += text.len();
                if *bytes > MOST_BYTES {
                    let message = "the computed texts of one batch are longer than 1 GiB";
                    return Err(PluginError::new(Status::ResourceExhausted, error::VALUE, message));
                }
                builder.append_value(text);
            }
            (Self::Str(builder, _), _) => builder.append_null(),
            (Self::Bool(builder), Value::Bool(value)) => builder.append_value(value),
            (Self::Bool(builder), _) => builder.append_null(),
            (Self::Int(builder), Value::Int(value)) => builder.append_value(value),
            (Self::Int(builder), _) => builder.append_null(),
            (Self::Dec(builder, _), Value::Dec(value, _)) => builder.append_value(value),
            (Self::Dec(builder, _), _) => builder.append_null(),
            (Self::Num(builder), Value::Num(value)) => builder.append_value(value),
            (Self::Num(builder), _) => builder.append_null(),
            (Self::Date(builder), Value::Date(value)) => builder.append_value(value),
            (Self::Date(builder), _) => builder.append_null(),
            (Self::Ts(builder), Value::Ts(value)) => builder.append_value(value),
            (Self::Ts(builder), _) => builder.append_null(),
        }
        Ok(())
    }

    fn finish(self) -> Result<ArrayRef, PluginError> {
        Ok(match self {
            Self::Str(mut builder, _) => Arc::new(builder.finish()),
            Self::Bool(mut builder) => Arc::new(builder.finish()),
            Self::Int(mut builder) => Arc::new(builder.finish()),
            Self::Dec(mut builder, scale) => Arc::new(builder.finish().with_precision_and_scale(38, scale)?),
            Self::Num(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Ts(mut builder) => Arc::new(builder.finish()),
        })
    }
}
