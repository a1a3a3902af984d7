//! What the options ask for, made ready: first without an input (the schema), then with the header of one.

use crate::{
    config::{Column, ColumnOptions, Config, Record, Subject, Type, Unpivot, UnpivotColumns, Version},
    date::DateFormat,
    error,
    header::Header,
};
use clinmill_sdk::{
    Fold, PluginError, RecordKey, RecordKind,
    arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};

/// The type of a column with all it needs to read a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    String,
    /// `Int64`.
    Integer,
    /// `Decimal128` of 38 digits, so many of them after the point.
    Decimal(u8),
    /// `Float64`.
    Number,
    /// `Boolean`.
    Boolean,
    /// `Date32`.
    Date(DateFormat),
    /// `Timestamp(Microsecond, None)`.
    Timestamp(DateFormat),
}

/// One output column.
#[derive(Clone, Debug)]
pub struct ColumnPlan {
    /// Where the value comes from, as the options say it.
    pub from: Origin,
    /// Output name.
    pub name: String,
    /// Output type.
    pub kind: Kind,
    /// Files may lack it.
    pub is_optional: bool,
}

/// Where the value of a column comes from, before the header is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A header or a captured path name.
    Named(String),
    /// The header of an unpivoted cell.
    CellName,
    /// The value of an unpivoted cell.
    Cell,
}

/// One kind of record.
#[derive(Clone, Debug)]
pub struct RecordPlan {
    /// The output columns, in order.
    pub columns: Vec<ColumnPlan>,
    /// Indexes of the key columns, empty where the content is the key or there is one record per subject.
    pub key: Vec<usize>,
    /// Wide to long.
    pub unpivot: Option<Unpivot>,
    /// Header and allowed values.
    pub only: Vec<(String, Vec<String>)>,
    /// The schema of the columns.
    pub schema: SchemaRef,
}

/// The single kind of a source without `records`.
pub fn only_record(config: &Config) -> Record {
    Record {
        key: config.key.clone(),
        columns: config.columns.clone(),
        unpivot: config.unpivot.clone(),
        only: config.only.clone(),
    }
}

/// The output name that a key entry means, if a column of the record already carries it.
pub fn key_column<'a>(record: &'a Record, key: &str) -> Option<&'a str> {
    if let Some((_, column)) = record.columns.0.iter().find(|(header, _)| header == key) {
        return Some(column.name());
    }
    if let Some(unpivot) = &record.unpivot {
        if unpivot.name == key {
            return Some(&unpivot.name);
        }
        if unpivot.value.name() == key {
            return Some(unpivot.value.name());
        }
    }
    record
        .columns
        .0
        .iter()
        .map(|(_, column)| column.name())
        .find(|name| *name == key)
}

/// The output names of the key.
pub fn key_columns(record: &Record) -> impl Iterator<Item = &str> {
    let key = record.key.iter().flatten();
    key.map(|key| key_column(record, key).unwrap_or(key))
}

/// The kinds of record of a source.
///
/// # Errors
/// When a format is no date format.
pub fn plan(config: &Config) -> Result<(Vec<RecordPlan>, Vec<RecordKind>), PluginError> {
    let single = [(String::new(), only_record(config))];
    let records = config.records.as_ref().map_or(&single[..], |records| &records.0);
    let mut plans = Vec::new();
    let mut kinds = Vec::new();
    for (name, record) in records {
        let plan = record_plan(record)?;
        let key = record.key.as_ref().map_or(RecordKey::Content, |_| {
            RecordKey::Columns(plan.key.iter().map(|i| plan.columns[*i].name.clone()).collect())
        });
        kinds.push(RecordKind {
            name: name.clone(),
            schema: plan.schema.clone(),
            key,
            fold: Fold::Replace,
            subject: matches!(config.subject, Subject::Of(_)),
        });
        plans.push(plan);
    }
    Ok((plans, kinds))
}

fn record_plan(record: &Record) -> Result<RecordPlan, PluginError> {
    let mut columns = Vec::new();
    for (header, column) in &record.columns.0 {
        columns.push(column_plan(Origin::Named(header.clone()), column)?);
    }
    let mut tail = Vec::new();
    if let Some(unpivot) = &record.unpivot {
        tail.push(column_plan(Origin::CellName, &Column::Name(unpivot.name.clone()))?);
        tail.push(column_plan(Origin::Cell, &unpivot.value)?);
    }
    let mut key_names = Vec::new();
    for key in record.key.iter().flatten() {
        let name = key_column(record, key).unwrap_or(key);
        if key_column(record, key).is_none() && !key_names.iter().any(|n| n == name) {
            columns.push(column_plan(Origin::Named(key.clone()), &Column::Name(key.clone()))?);
        }
        key_names.push(name.to_owned());
    }
    columns.append(&mut tail);
    let key = key_names
        .iter()
        .filter_map(|name| columns.iter().position(|c| c.name == *name))
        .collect();
    let fields: Vec<Field> = columns
        .iter()
        .map(|c| Field::new(&c.name, c.kind.data_type(), true))
        .collect();
    Ok(RecordPlan {
        columns,
        key,
        unpivot: record.unpivot.clone(),
        only: record
            .only
            .0
            .iter()
            .map(|(header, values)| (header.clone(), values.values().to_vec()))
            .collect(),
        schema: Arc::new(Schema::new(fields)),
    })
}

fn column_plan(from: Origin, column: &Column) -> Result<ColumnPlan, PluginError> {
    let kind = match column {
        Column::Name(_) => Kind::String,
        Column::Options(options) => kind(options)?,
    };
    Ok(ColumnPlan {
        from,
        name: column.name().to_owned(),
        kind,
        is_optional: column.is_optional(),
    })
}

fn kind(options: &ColumnOptions) -> Result<Kind, PluginError> {
    let format = || date_format(options.format.as_deref().unwrap_or("iso"), "/columns");
    Ok(match options.kind {
        Type::String => Kind::String,
        Type::Integer => Kind::Integer,
        Type::Decimal => Kind::Decimal(options.scale.unwrap_or(6).min(38)),
        Type::Number => Kind::Number,
        Type::Boolean => Kind::Boolean,
        Type::Date => Kind::Date(format()?),
        Type::Timestamp => Kind::Timestamp(format()?),
    })
}

fn date_format(name: &str, pointer: &str) -> Result<DateFormat, PluginError> {
    DateFormat::parse(name)
        .ok_or_else(|| PluginError::config(pointer, "TABLE_FORMAT", format!("{name:?} is no date format")))
}

impl Kind {
    /// The Arrow type.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::String => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Decimal(scale) => DataType::Decimal128(38, i8::try_from(*scale).unwrap_or(38)),
            Self::Number => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Date(_) => DataType::Date32,
            Self::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
        }
    }

    /// The word for it in messages.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Decimal(_) => "decimal",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date(_) => "date",
            Self::Timestamp(_) => "timestamp",
        }
    }
}

/// Where a value comes from in the rows of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A field of the row.
    Field(usize),
    /// A captured value: the same in every row.
    Constant(String),
    /// The name of the record's cell.
    CellName,
    /// The value of the record's cell.
    Cell,
    /// Nowhere: the input lacks the column, and may.
    Absent,
}

/// The plans of a source, resolved against the header of one input.
#[derive(Debug)]
pub struct Resolved<'a> {
    /// Fields per row.
    pub width: usize,
    /// Header names, for messages.
    pub header: Vec<String>,
    /// Who issued the subject's identifier, and where it stands.
    pub subject: Option<(&'a str, Place)>,
    /// The same of further identifiers of the subject.
    pub also: Vec<(&'a str, Place)>,
    /// Where the version stands, and its format.
    pub version: Option<(Place, Option<DateFormat>)>,
    /// Fields that take the value above.
    pub fill_down: Vec<usize>,
    /// Values that mean nothing.
    pub nulls: &'a [String],
    /// One per kind of record.
    pub records: Vec<ResolvedRecord<'a>>,
}

/// One kind of record, resolved.
#[derive(Debug)]
pub struct ResolvedRecord<'a> {
    /// The plan.
    pub plan: &'a RecordPlan,
    /// Where each output column comes from.
    pub places: Vec<Place>,
    /// Unpivoted fields and their names.
    pub cells: Option<Vec<(usize, String)>>,
    /// Fields and their allowed values.
    pub only: Vec<(Place, &'a [String])>,
}

impl Resolved<'_> {
    /// The fields that are looked at, in order.
    pub fn fields(&self) -> BTreeSet<usize> {
        let ids = self.subject.iter().chain(&self.also).map(|(_, place)| place);
        let version = self.version.iter().map(|(place, _)| place);
        let records = self.records.iter();
        let places = records.flat_map(|r| r.places.iter().chain(r.only.iter().map(|(place, _)| place)));
        let cells = self.records.iter().flat_map(|r| r.cells.iter().flatten());
        let named = ids.chain(version).chain(places).filter_map(|place| match place {
            Place::Field(field) => Some(*field),
            _ => None,
        });
        named
            .chain(cells.map(|(field, _)| *field))
            .chain(self.fill_down.iter().copied())
            .collect()
    }
}

/// Puts options and header together.
///
/// # Errors
/// `TABLE_MISSING_COLUMN` and `TABLE_DUPLICATE_COLUMN`, naming all columns at fault.
pub fn resolve<'a>(
    config: &'a Config,
    plans: &'a [RecordPlan],
    header: Header<'_>,
    captures: &BTreeMap<String, String>,
) -> Result<Resolved<'a>, PluginError> {
    let mut finder = header.finder(captures);
    let mut also = Vec::new();
    let subject = match &config.subject {
        Subject::None(_) => None,
        Subject::Of(of) => {
            also.extend(
                of.also
                    .iter()
                    .map(|other| (other.issuer.as_str(), finder.place(&other.id))),
            );
            Some((of.issuer.as_str(), finder.place(&of.id)))
        }
    };
    let version = match &config.version {
        None => None,
        Some(Version::Column(column)) => Some((finder.place(column), None)),
        Some(Version::Time(time)) => Some((
            finder.place(&time.column),
            Some(date_format(&time.format, "/version/format")?),
        )),
    };
    let fill_down = config.fill_down.iter().filter_map(|name| finder.field(name)).collect();
    let mut records: Vec<ResolvedRecord<'a>> = Vec::new();
    for plan in plans {
        let places = plan.columns.iter().enumerate().map(|(i, column)| match &column.from {
            Origin::Named(name) if plan.key.contains(&i) => finder.place(name),
            Origin::Named(name) => finder.column(name, column.is_optional),
            Origin::CellName => Place::CellName,
            Origin::Cell => Place::Cell,
        });
        let places = places.collect();
        let only = plan
            .only
            .iter()
            .map(|(name, values)| (finder.place(name), values.as_slice()))
            .collect();
        records.push(ResolvedRecord {
            plan,
            places,
            cells: None,
            only,
        });
    }
    // `"*"` is what no option names, of any kind of record: only now is that known.
    for record in &mut records {
        let Some(unpivot) = &record.plan.unpivot else { continue };
        record.cells = Some(match &unpivot.columns {
            UnpivotColumns::All(_) => {
                let except: BTreeSet<&str> = unpivot.except.iter().map(String::as_str).collect();
                finder.unnamed(&except)
            }
            UnpivotColumns::List(names) => names
                .iter()
                .filter_map(|name| Some((finder.cell(name)?, name.clone())))
                .collect(),
            UnpivotColumns::Named(names) => {
                let named = names.0.iter().filter_map(|(header, name)| {
                    Some((finder.cell(header)?, name.clone().unwrap_or_else(|| header.clone())))
                });
                named.collect()
            }
        });
    }
    finder.finish()?;
    Ok(Resolved {
        width: header.names.len(),
        header: header.names.to_vec(),
        subject,
        also,
        version,
        fill_down,
        nulls: &config.null_values,
        records,
    })
}

/// A damaged header row.
pub fn no_header(offset: u64) -> PluginError {
    PluginError::data(offset, error::NO_HEADER, "the input ends before its header row")
}
