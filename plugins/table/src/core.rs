//! Rows of text fields to record batches: all formats meet here.

use crate::{
    date::{self, DateFormat},
    error,
    maker::Maker,
    plan::{Place, Resolved, ResolvedRecord},
    rows::{Rows, View},
    zone::Zone,
};
use clinmill_sdk::{
    IdentityLink, Locator, PluginError, RecordBatchOf, RecordMetaBuilder, RecordSink, Rejection, SubjectId,
    arrow::{array::BooleanArray, compute::filter},
};
use std::collections::HashMap;

/// Bytes of text at which a batch of cells is pushed whatever its rows: each cell repeats the other columns of its row.
const MOST_BYTES: usize = 32 << 20;

/// Records of one row or one cell.
#[derive(Clone, Copy)]
pub struct Record {
    /// The row.
    pub row: u32,
    /// The cell, among those that become records.
    pub cell: u32,
}

/// Turns rows into batches; keeps what must be known from one lot of rows to the next.
pub struct Core<'a> {
    plan: Resolved<'a>,
    batch_rows: usize,
    /// Date cells may come as ISO text whatever the column's format says (XLSX, Parquet).
    typed_cells: bool,
    /// Per fill-down column: the value above.
    above: Vec<Above>,
    /// Further identifiers that were told, by their option, and whom they name.
    linked: HashMap<(usize, String), String>,
    zone: &'a Zone,
    /// The versions of the rows, where they have a format.
    versions: Vec<Stamp>,
    /// The rows that can be used, and the records of one kind among them; kept for their memory.
    usable: Vec<u32>,
    records: Vec<Record>,
    meta: RecordMetaBuilder,
    /// Repetitions of the header since the last push.
    headers: u64,
    /// Rejections since the last push: they are told in the order of their rows, however the rows are batched.
    rejections: Vec<Rejection>,
}

/// The version of a row, as a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    None,
    At(i64),
    Unfit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Above {
    Value(String),
    Unknown,
}

impl<'a> Core<'a> {
    /// A core for one input.
    pub fn new(plan: Resolved<'a>, zone: &'a Zone, batch_rows: usize, typed_cells: bool) -> Self {
        let above = vec![Above::Value(String::new()); plan.fill_down.len()];
        Self {
            plan,
            batch_rows: batch_rows.max(1),
            typed_cells,
            above,
            linked: HashMap::new(),
            zone,
            versions: Vec::new(),
            usable: Vec::new(),
            records: Vec::new(),
            meta: RecordMetaBuilder::default(),
            headers: 0,
            rejections: Vec::new(),
        }
    }

    /// Fields that a row must have.
    pub const fn width(&self) -> usize {
        self.plan.width
    }

    /// Pushes all rows and empties them.
    ///
    /// # Errors
    /// Of the sink.
    pub fn push(&mut self, text: &str, rows: &mut Rows, out: &mut dyn RecordSink) -> Result<(), PluginError> {
        if !rows.is_empty() {
            let unfilled = self.fill_down(text, rows);
            let view = rows.view(text);
            self.select(&view, &unfilled);
            self.stamp(&view);
            self.push_links(&view, out)?;
            for kind in 0..self.plan.records.len() {
                self.push_kind(kind, &view, out)?;
            }
        }
        rows.clear();
        if self.headers > 0 {
            out.filtered("repeated_header", std::mem::take(&mut self.headers));
        }
        self.rejections.sort_by_key(|rejection| rejection.at.row);
        self.rejections
            .drain(..)
            .try_for_each(|rejection| out.reject(rejection))
    }

    /// Drops the row in the making where it is the header once more, as in exports that were joined.
    #[inline]
    pub fn drop_header(&mut self, text: &str, rows: &mut Rows) -> bool {
        let header = &self.plan.header;
        let same = |(field, name): (&str, &String)| trimmed(field.trim_start_matches('\u{feff}')) == name;
        let is_header = rows.open(text).zip(header).all(same) && !header.iter().all(String::is_empty);
        if is_header {
            rows.drop_row();
            self.headers += 1;
            // What follows is another export: its empty cells take nothing from this one.
            if !self.plan.fill_down.is_empty() {
                rows.gap();
            }
        }
        is_header
    }

    /// Rejects a row that has no fields to look at. Cells below it that are empty have no value to take.
    pub fn reject(&mut self, rows: &mut Rows, at: RowAt, code: &str, message: String) {
        if !self.plan.fill_down.is_empty() {
            rows.gap();
        }
        self.rejections.push(Rejection {
            kind: None,
            code: code.to_owned(),
            message,
            at: at.locator(rows.part(), None),
        });
    }

    /// Lets empty cells take the value above. Returns the rows whose value above is not known, because it stands in a
    /// row that was rejected.
    fn fill_down(&mut self, text: &str, rows: &mut Rows) -> Vec<u32> {
        let mut unfilled = Vec::new();
        for (i, field) in self.plan.fill_down.iter().enumerate() {
            let Some(above) = self.above.get_mut(i) else { continue };
            unfilled.extend(rows.fill_down(
                *field,
                match above {
                    Above::Value(value) => Some(value.as_str()),
                    Above::Unknown => None,
                },
            ));
            *above = rows
                .last_value(text, *field)
                .map_or(Above::Unknown, |value| Above::Value(value.to_owned()));
        }
        unfilled.sort_unstable();
        unfilled.dedup();
        unfilled
    }

    /// Finds the rows that can be used and rejects the others.
    fn select(&mut self, view: &View<'_>, unfilled: &[u32]) {
        self.usable.clear();
        let mut unfilled = unfilled.iter().peekable();
        for row in 0..view.len() {
            let at = |code: &str, message: &str| Rejection {
                kind: None,
                code: code.to_owned(),
                message: message.to_owned(),
                at: view.locator(row, None),
            };
            let row = row as u32;
            if unfilled.next_if(|r| **r == row).is_some() {
                self.rejections.push(at(
                    error::FILL_UNKNOWN,
                    "the row whose value an empty cell takes was rejected",
                ));
                continue;
            }
            let subject = self.plan.subject.as_ref().map(|(_, place)| place);
            if let Some(field) = unfit(view, row, subject) {
                self.rejections.push(at(error::CELL, &self.cell_message(field)));
                continue;
            }
            if let Some((_, place)) = &self.plan.subject
                && self.id(view, place, row).is_none()
            {
                self.rejections.push(at(error::NO_SUBJECT, "the row names no subject"));
                continue;
            }
            self.usable.push(row);
        }
    }

    /// Says which further identifiers name the subjects of the usable rows, each pair once.
    fn push_links(&mut self, view: &View<'_>, out: &mut dyn RecordSink) -> Result<(), PluginError> {
        let Some((issuer, place)) = self.plan.subject.as_ref().filter(|_| !self.plan.also.is_empty()) else {
            return Ok(());
        };
        let mut linked = std::mem::take(&mut self.linked);
        let mut version = String::new();
        for &row in &self.usable {
            let stands = self.plan.version.as_ref().map(|(place, _)| place);
            if self.versions.get(row as usize) == Some(&Stamp::Unfit) || unfit(view, row, stands).is_some() {
                continue;
            }
            let Some(subject) = self.id(view, place, row) else {
                continue;
            };
            for (i, (other, place)) in self.plan.also.iter().enumerate() {
                let Some(id) = self.id(view, place, row) else {
                    continue;
                };
                if linked.get(&(i, id.to_owned())).is_some_and(|known| known == subject) {
                    continue;
                }
                linked.insert((i, id.to_owned()), subject.to_owned());
                let named = |issuer: &str, id: &str| SubjectId {
                    issuer: issuer.to_owned(),
                    id: id.to_owned(),
                };
                out.link(IdentityLink {
                    survivor: named(issuer, subject),
                    retired: named(other, id),
                    version: self.version(view, row, &mut version).map(str::to_owned),
                    at: view.locator(row as usize, None),
                })?;
            }
        }
        self.linked = linked;
        Ok(())
    }

    /// A value of a row; `None` where it means nothing.
    fn value<'v>(&'v self, view: &View<'v>, place: &'v Place, row: u32) -> Option<&'v str> {
        let text = match place {
            Place::Field(field) => view.get(row as usize, *field),
            Place::Constant(value) => value,
            Place::Cell | Place::CellName | Place::Absent => return None,
        };
        (!is_null(text, self.plan.nulls)).then_some(text)
    }

    /// An identifier of a row; `None` where there is none.
    fn id<'v>(&'v self, view: &View<'v>, place: &'v Place, row: u32) -> Option<&'v str> {
        let id = trimmed(self.value(view, place, row)?);
        (!is_null(id, self.plan.nulls)).then_some(id)
    }

    fn push_kind(&mut self, kind: usize, view: &View<'_>, out: &mut dyn RecordSink) -> Result<(), PluginError> {
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        let (mut filtered, mut bytes) = (0, 0);
        let nulls = self.plan.nulls;
        for i in 0..self.usable.len() {
            let (Some(row), Some(plan)) = (self.usable.get(i).copied(), self.plan.records.get(kind)) else {
                break;
            };
            let only = plan.only.iter().map(|(place, _)| place);
            if !plan.only.is_empty() && !self.wanted(plan, view, row) && unfit(view, row, only).is_none() {
                filtered += 1;
                continue;
            }
            let cells = plan.cells.as_ref().map_or(0, Vec::len);
            if plan.cells.is_none() {
                records.push(Record { row, cell: 0 });
            }
            let repeated: usize = match cells {
                0 => 0,
                _ => plan
                    .places
                    .iter()
                    .map(|place| self.value(view, place, row).map_or(0, str::len))
                    .sum(),
            };
            for cell in 0..cells {
                let field = self.cell(kind, cell).map(|(field, _)| *field);
                let value = field.map_or("", |field| view.get(row as usize, field));
                if !is_null(value, nulls) || field.is_some_and(|field| view.is_unfit(row as usize, field)) {
                    records.push(Record { row, cell: cell as u32 });
                    bytes += repeated + value.len();
                }
                if records.len() >= self.batch_rows || bytes >= MOST_BYTES {
                    self.push_records(kind, view, &records, out)?;
                    records.clear();
                    bytes = 0;
                }
            }
        }
        if filtered > 0 {
            out.filtered("where", filtered);
        }
        self.push_records(kind, view, &records, out)?;
        self.records = records;
        Ok(())
    }

    fn cell(&self, kind: usize, cell: usize) -> Option<&(usize, String)> {
        self.plan.records.get(kind)?.cells.as_ref()?.get(cell)
    }

    fn wanted(&self, plan: &ResolvedRecord<'_>, view: &View<'_>, row: u32) -> bool {
        plan.only.iter().all(|(place, values)| {
            let value = self.value(view, place, row).unwrap_or("");
            values.iter().any(|v| v == value)
        })
    }

    fn push_records(
        &mut self,
        kind: usize,
        view: &View<'_>,
        records: &[Record],
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        let Some(plan) = self.plan.records.get(kind) else {
            return Ok(());
        };
        if records.is_empty() {
            return Ok(());
        }
        let maker = Maker {
            plan,
            view,
            records,
            nulls: self.plan.nulls,
            typed_cells: self.typed_cells,
            zone: self.zone,
        };
        let mut bad: Vec<(u32, Fault)> = Vec::new();
        if !plan.plan.key.is_empty() {
            maker.keyless(&mut bad);
        }
        self.cell_faults(plan, view, records, &mut bad);
        let mut columns = Vec::with_capacity(plan.places.len());
        for (i, (place, column)) in plan.places.iter().zip(&plan.plan.columns).enumerate() {
            columns.push(maker.array(place, &column.kind, |record| bad.push((record, Fault::Type(i)))));
        }
        if self.versions.contains(&Stamp::Unfit) {
            let unfit = |record: &Record| self.versions.get(record.row as usize) == Some(&Stamp::Unfit);
            let records = records.iter().enumerate().filter(|(_, record)| unfit(record));
            bad.extend(records.map(|(i, _)| (i as u32, Fault::Version)));
        }
        let (keep, rejected) = self.reject_bad(kind, view, records, bad);
        if let Some(keep) = &keep {
            for column in &mut columns {
                *column = filter(column, keep)?;
            }
        }
        let issuer = self.plan.subject.as_ref().map_or("", |(issuer, _)| issuer);
        let mut version_text = String::new();
        let mut meta = std::mem::take(&mut self.meta);
        for (i, record) in records.iter().enumerate() {
            if keep.as_ref().is_some_and(|keep| !keep.value(i)) {
                continue;
            }
            let subject = self
                .plan
                .subject
                .as_ref()
                .and_then(|(_, place)| self.id(view, place, record.row));
            let version = self.version(view, record.row, &mut version_text);
            let at = view.locator(record.row as usize, maker.cell_number(*record));
            meta.push(issuer, subject, version, false, at);
        }
        let schema = plan.plan.schema.clone();
        self.rejections.extend(rejected);
        if meta.is_empty() {
            return Ok(());
        }
        let batch = RecordBatchOf::new(kind, schema, columns, meta.finish())?;
        self.meta = meta;
        out.rows(batch)
    }

    /// Finds the records that have no value where they need one, or no name.
    fn cell_faults(&self, plan: &ResolvedRecord<'_>, view: &View<'_>, records: &[Record], bad: &mut Vec<(u32, Fault)>) {
        let cells = plan.cells.as_deref().unwrap_or_default();
        let is_nameless = cells.iter().any(|(_, name)| name.is_empty());
        if !view.has_unfit() && !is_nameless {
            return;
        }
        for (i, record) in records.iter().enumerate() {
            let only = plan.only.iter().map(|(place, _)| place);
            let also = self.plan.also.iter().map(|(_, place)| place);
            let version = self.plan.version.iter().map(|(place, _)| place);
            let places = plan.places.iter().chain(only).chain(also).chain(version);
            let cell = cells.get(record.cell as usize);
            let of_cell = cell
                .map(|(field, _)| *field)
                .filter(|field| view.is_unfit(record.row as usize, *field));
            if let Some(field) = unfit(view, record.row, places).or(of_cell) {
                bad.push((i as u32, Fault::Cell(field)));
            }
            if cell.is_some_and(|(_, name)| name.is_empty()) {
                bad.push((i as u32, Fault::NoName));
            }
        }
    }

    fn cell_message(&self, field: usize) -> String {
        let header = self.plan.header.get(field).map_or("", String::as_str);
        format!(
            "the cell of column {header:?} holds an error, a formula without its result, or a value that the format does not \
             have there: calculate and save the workbook; an error that means nothing can be named in `null_values`"
        )
    }

    /// The version of a row; `text` holds one that has to be written anew.
    fn version<'v>(&'v self, view: &View<'v>, row: u32, text: &'v mut String) -> Option<&'v str> {
        let (place, format) = self.plan.version.as_ref()?;
        if format.is_none() {
            return self.value(view, place, row).filter(|said| !trimmed(said).is_empty());
        }
        let Some(Stamp::At(micros)) = self.versions.get(row as usize) else {
            return None;
        };
        text.clear();
        date::iso_text(*micros, text);
        Some(text)
    }

    /// Reads the versions that have a format.
    fn stamp(&mut self, view: &View<'_>) {
        let mut versions = std::mem::take(&mut self.versions);
        versions.clear();
        if let Some((place, Some(format))) = &self.plan.version {
            versions.extend((0..view.len()).map(|row| match self.id(view, place, row as u32) {
                None => Stamp::None,
                Some(said) => self.time(format, said).map_or(Stamp::Unfit, Stamp::At),
            }));
        }
        self.versions = versions;
    }

    fn time(&self, format: &DateFormat, text: &str) -> Option<i64> {
        let typed = || self.typed_cells.then(|| DateFormat::Iso.timestamp(text)).flatten();
        let zoned = || (self.typed_cells || *format == DateFormat::Iso).then(|| self.zone.read(text));
        format.timestamp(text).or_else(typed).or_else(|| zoned().flatten())
    }

    /// Which records to keep, if not all, and the rejections of the others, each with its first fault.
    fn reject_bad(
        &self,
        kind: usize,
        view: &View<'_>,
        records: &[Record],
        mut bad: Vec<(u32, Fault)>,
    ) -> (Option<BooleanArray>, Vec<Rejection>) {
        let mut rejected = Vec::new();
        let Some(plan) = self.plan.records.get(kind).filter(|_| !bad.is_empty()) else {
            return (None, rejected);
        };
        bad.sort_by_key(|(record, fault)| (*record, *fault));
        bad.dedup_by_key(|(record, _)| *record);
        let mut keep = vec![true; records.len()];
        for (i, fault) in bad {
            let (Some(flag), Some(record)) = (keep.get_mut(i as usize), records.get(i as usize)) else {
                continue;
            };
            *flag = false;
            let cell = plan.cells.as_ref().and_then(|cells| cells.get(record.cell as usize));
            let (code, message) = match fault {
                Fault::Cell(field) => (error::CELL, self.cell_message(field)),
                Fault::NoName => (
                    error::NO_NAME,
                    "a filled cell stands under an empty header: name the column, or leave it out with `except: [\"\"]`".to_owned(),
                ),
                Fault::NoKey => (error::NO_KEY, "all key columns are empty".to_owned()),
                Fault::Version => (error::TYPE, self.version_message()),
                Fault::Type(column) => (
                    error::TYPE,
                    self.type_message(plan, column, cell.map(|(field, _)| *field)),
                ),
            };
            rejected.push(Rejection {
                kind: Some(kind),
                code: code.to_owned(),
                message,
                at: view.locator(record.row as usize, cell.map(|(field, _)| *field as u32 + 1)),
            });
        }
        (Some(BooleanArray::from(keep)), rejected)
    }

    fn version_message(&self) -> String {
        let field = match &self.plan.version {
            Some((Place::Field(field), _)) => self.plan.header.get(*field),
            _ => None,
        };
        match field {
            Some(header) => format!("the version in column {header:?} does not have the version's format"),
            None => "the version does not have its format".to_owned(),
        }
    }

    fn type_message(&self, plan: &ResolvedRecord<'_>, column: usize, cell: Option<usize>) -> String {
        let field = match plan.places.get(column) {
            Some(Place::Field(field)) => Some(*field),
            Some(Place::Cell) => cell,
            _ => None,
        };
        let output = plan.plan.columns.get(column);
        let word = output.map_or("string", |c| c.kind.word());
        match field.and_then(|field| self.plan.header.get(field)) {
            Some(header) => format!("the value of column {header:?} is not of type {word}"),
            None => format!(
                "the value of {:?} is not of type {word}",
                output.map_or("", |c| c.name.as_str())
            ),
        }
    }
}

/// What is wrong with a record; the order says which is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No value can be had of this field.
    Cell(usize),
    /// Its cell has no header.
    NoName,
    /// Its key is empty.
    NoKey,
    /// The value of this column is not of its type.
    Type(usize),
    /// Its version is none of the version's format.
    Version,
}

/// The first of these places of a row of which no value can be had.
fn unfit<'p>(view: &View<'_>, row: u32, places: impl IntoIterator<Item = &'p Place>) -> Option<usize> {
    if !view.has_unfit() {
        return None;
    }
    places.into_iter().find_map(|place| match place {
        Place::Field(field) => view.is_unfit(row as usize, *field).then_some(*field),
        _ => None,
    })
}

/// An identifier without the white space round it, which is none of it.
#[inline]
pub fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [b'!'..=b'~'] | [b'!'..=b'~', .., b'!'..=b'~'] => text,
        _ => text.trim(),
    }
}

/// True for a text that means nothing.
#[inline]
pub fn is_null(text: &str, nulls: &[String]) -> bool {
    text.is_empty() || (!nulls.is_empty() && nulls.iter().any(|null| null == text))
}

/// Where a row stands in its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowAt {
    /// Byte offset.
    pub offset: u64,
    /// Length in bytes, without the line end.
    pub length: u64,
    /// Row number from 1, as a spreadsheet or editor shows it.
    pub row: u64,
}

impl RowAt {
    /// As a locator in this sheet.
    pub const fn locator(self, part: u32, cell: Option<u32>) -> Locator {
        Locator {
            offset: self.offset,
            length: self.length,
            row: self.row,
            part,
            cell,
        }
    }
}
