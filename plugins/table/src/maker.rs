//! Records of one lot of rows to Arrow columns.

use crate::{
    core::{Fault, Record, is_null, trimmed},
    date::DateFormat,
    plan::{Kind, Place, ResolvedRecord},
    rows::View,
    value,
    zone::Zone,
};
use clinmill_sdk::arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use std::sync::Arc;

/// Makes the columns of one batch.
pub struct Maker<'m> {
    pub plan: &'m ResolvedRecord<'m>,
    pub view: &'m View<'m>,
    pub records: &'m [Record],
    pub nulls: &'m [String],
    pub typed_cells: bool,
    pub zone: &'m Zone,
}

impl Maker<'_> {
    #[inline]
    fn text<'t>(&'t self, place: &'t Place, record: Record) -> Option<&'t str> {
        let text = match place {
            Place::Field(field) => self.view.get(record.row as usize, *field),
            Place::Constant(value) => value,
            Place::Absent => return None,
            Place::CellName => self.cell(record).map_or("", |(_, name)| name),
            Place::Cell => self
                .cell(record)
                .map_or("", |(field, _)| self.view.get(record.row as usize, *field)),
        };
        (!is_null(text, self.nulls)).then_some(text)
    }

    fn cell(&self, record: Record) -> Option<&(usize, String)> {
        self.plan.cells.as_ref()?.get(record.cell as usize)
    }

    pub fn cell_number(&self, record: Record) -> Option<u32> {
        self.cell(record).map(|(field, _)| *field as u32 + 1)
    }

    pub fn keyless(&self, bad: &mut Vec<(u32, Fault)>) {
        let places: Vec<&Place> = self
            .plan
            .plan
            .key
            .iter()
            .filter_map(|i| self.plan.places.get(*i))
            .collect();
        for (i, record) in self.records.iter().enumerate() {
            if places
                .iter()
                .all(|place| self.text(place, *record).is_none_or(|text| trimmed(text).is_empty()))
            {
                bad.push((i as u32, Fault::NoKey));
            }
        }
    }

    pub fn array(&self, place: &Place, kind: &Kind, bad: impl FnMut(u32)) -> ArrayRef {
        let n = self.records.len();
        match kind {
            Kind::String => self.strings(place),
            Kind::Integer => {
                let mut builder = Int64Builder::with_capacity(n);
                self.each(place, value::integer, |v| builder.append_option(v), bad);
                Arc::new(builder.finish())
            }
            Kind::Decimal(scale) => {
                let mut builder = Decimal128Builder::with_capacity(n).with_data_type(kind.data_type());
                self.each(
                    place,
                    |text| value::decimal(text, *scale),
                    |v| builder.append_option(v),
                    bad,
                );
                Arc::new(builder.finish())
            }
            Kind::Number => {
                let mut builder = Float64Builder::with_capacity(n);
                self.each(place, value::number, |v| builder.append_option(v), bad);
                Arc::new(builder.finish())
            }
            Kind::Boolean => {
                let mut builder = BooleanBuilder::with_capacity(n);
                self.each(place, value::boolean, |v| builder.append_option(v), bad);
                Arc::new(builder.finish())
            }
            Kind::Date(format) => {
                let mut builder = Date32Builder::with_capacity(n);
                let read = |text: &str| format.date(text).or_else(|| self.iso(|| DateFormat::Iso.date(text)));
                self.each(place, read, |v| builder.append_option(v), bad);
                Arc::new(builder.finish())
            }
            Kind::Timestamp(format) => {
                let mut builder = TimestampMicrosecondBuilder::with_capacity(n);
                let read = |text: &str| {
                    format
                        .timestamp(text)
                        .or_else(|| self.iso(|| DateFormat::Iso.timestamp(text)))
                        .or_else(|| self.zoned(format, text))
                };
                self.each(place, read, |v| builder.append_option(v), bad);
                Arc::new(builder.finish())
            }
        }
    }

    fn iso<T>(&self, read: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.typed_cells { read() } else { None }
    }

    /// A time with its offset, where one may stand.
    #[cold]
    fn zoned(&self, format: &DateFormat, text: &str) -> Option<i64> {
        (self.typed_cells || *format == DateFormat::Iso)
            .then(|| self.zone.read(text))
            .flatten()
    }

    #[inline]
    fn each<T>(
        &self,
        place: &Place,
        read: impl Fn(&str) -> Option<T>,
        mut append: impl FnMut(Option<T>),
        mut bad: impl FnMut(u32),
    ) {
        self.texts(place, |i, text| {
            let value = text.and_then(&read);
            if text.is_some() && value.is_none() {
                bad(i as u32);
            }
            append(value);
        });
    }

    /// All values of a column. Fields, the common case, are looked up without asking each time what they are.
    #[inline]
    fn texts(&self, place: &Place, mut take: impl FnMut(usize, Option<&str>)) {
        if let Place::Field(field) = place {
            for (i, record) in self.records.iter().enumerate() {
                let text = self.view.get(record.row as usize, *field);
                take(i, (!is_null(text, self.nulls)).then_some(text));
            }
        } else {
            for (i, record) in self.records.iter().enumerate() {
                take(i, self.text(place, *record));
            }
        }
    }

    fn strings(&self, place: &Place) -> ArrayRef {
        let guess = self.records.len() * 12;
        let mut builder = StringBuilder::with_capacity(self.records.len(), guess);
        self.texts(place, |_, text| builder.append_option(text));
        Arc::new(builder.finish())
    }
}
