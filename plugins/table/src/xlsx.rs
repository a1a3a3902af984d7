//! Excel workbooks (ECMA-376), sheet data streamed cell by cell; never the bounding box that a sheet claims.

mod archive;
mod cell;
mod odd;
mod sheets;

use crate::{
    config::{Config, Sheet},
    core::{Core, RowAt},
    error,
    header::Header,
    plan::{self, RecordPlan},
    rows::Rows,
    xml::{Fault, Tags},
    zone::Zone,
};
use archive::{InputCursor, entry_at, seekable, without_dots};
use calamine::{Reader, Xlsx, XlsxError};
use cell::{Content, content, render, shows_a_day};
use clinmill_sdk::{Input, MemoryInput, PluginError, RecordSink, TaskContext};
use sheets::{first_visible, rows_of_others};
use std::{
    io::{self, BufReader},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// The most entries of a workbook's archive.
const MOST_ENTRIES: usize = 10_000;
/// The most bytes of the parts that are held in memory (shared strings, styles): unpacked.
const MOST_HELD: u64 = 512 << 20;
/// Unpacked bytes per packed byte above which large archives count as bombs.
const MOST_RATIO: u64 = 400;
/// Archives that unpack to less are harmless at any ratio.
const HARMLESS: u64 = 64 << 20;
/// Columns of a sheet (ECMA-376 part 1, 18.3.1.13).
const MOST_COLUMNS: usize = 16_384;
/// How OLE compound files begin: workbooks before 2007, and encrypted ones (MS-CFB 2.2).
pub const OLE: &[u8] = b"\xd0\xcf\x11\xe0";
/// Bytes of fields at which rows are pushed whatever their number.
const HEAVY: usize = 8 << 20;

/// Reads a whole workbook.
///
/// # Errors
/// When the input is no workbook, is damaged, or lacks the sheet or its columns.
pub fn read(
    config: &Config,
    plans: &[RecordPlan],
    zone: &Zone,
    input: &dyn Input,
    task: &TaskContext<'_>,
    out: &mut dyn RecordSink,
) -> Result<(), PluginError> {
    let repaired = check_archive(config, input)?;
    let file: &dyn Input = repaired.as_ref().map_or(input, |repaired| repaired);
    // The XML and zip readers below are not ours and may panic on hostile input.
    catch_unwind(AssertUnwindSafe(|| {
        read_workbook(config, plans, zone, (input, file), task, out)
    }))
    .unwrap_or_else(|_| Err(damaged(input, "a part of it")))
}

fn damaged(input: &dyn Input, what: &str) -> PluginError {
    PluginError::data(
        input.size(),
        error::XLSX_DAMAGED,
        format!("the workbook is cut off or damaged: {what} cannot be read"),
    )
}

fn not_xlsx() -> PluginError {
    PluginError::data(0, error::NOT_XLSX, "the input is no XLSX workbook")
}

fn of_xml(input: &dyn Input, fault: Fault) -> PluginError {
    match fault {
        Fault::Io(e) if e.kind() == io::ErrorKind::Other => PluginError::from(io::Error::from(e.kind())),
        Fault::Io(_) => damaged(input, "an entry of the archive"),
        Fault::Tags => damaged(input, "its XML"),
        Fault::Utf16 => PluginError::data(
            0,
            error::NOT_XLSX,
            "a part of the workbook is in UTF-16, which is not read: open it in a spreadsheet program and save it again",
        ),
    }
}

/// Looks at the archive's directory before anything is unpacked. The archive reader holds each entry to the size that
/// the directory states. Returns the archive with names that the reader of workbooks finds, where it would not find them.
fn check_archive(config: &Config, input: &dyn Input) -> Result<Option<MemoryInput>, PluginError> {
    let mut magic = [0; 4];
    let length = input.read_at(0, &mut magic)?;
    if magic == OLE {
        let message = "the input is an old workbook (.xls) or an encrypted one: save it as .xlsx, without a password";
        return Err(PluginError::data(0, error::NOT_XLSX, message));
    }
    if length < 4 || !matches!(&magic, b"PK\x03\x04" | b"PK\x05\x06") {
        return Err(not_xlsx());
    }
    let mut archive = zip::ZipArchive::new(seekable(input)).map_err(|_| damaged(input, "the archive's directory"))?;
    if archive.len() > MOST_ENTRIES {
        return Err(error::limit(
            0,
            error::XLSX_TOO_LARGE,
            "the workbook has too many parts",
        ));
    }
    let (mut total, mut held, mut workbook) = (0u64, 0u64, false);
    let (mut texts, mut relations) = (Vec::new(), None);
    for i in 0..archive.len() {
        let entry = archive
            .by_index_raw(i)
            .map_err(|_| damaged(input, "an entry of the archive"))?;
        total = total.saturating_add(entry.size());
        let name = entry.name().map_err(|_| damaged(input, "the name of an entry"))?;
        let name = name.replace('\\', "/").to_ascii_lowercase();
        if !name.contains("worksheets/") && (name.ends_with(".xml") || name.ends_with(".rels")) {
            held = held.saturating_add(entry.size());
        }
        workbook |= name.ends_with("xl/workbook.xml") || name.starts_with("xl/workbook");
        if name.ends_with(".xml") && name.contains("sharedstrings") {
            texts.push(i);
        }
        if name.ends_with("_rels/workbook.xml.rels") {
            relations = Some(i);
        }
    }
    if !workbook {
        return Err(not_xlsx());
    }
    if total > config.max_unpacked || held > MOST_HELD || (total > HARMLESS && total / input.size().max(1) > MOST_RATIO)
    {
        return Err(error::limit(
            0,
            error::XLSX_TOO_LARGE,
            "the workbook unpacks to more than is allowed",
        ));
    }
    for i in texts {
        let entry = archive
            .by_index(i)
            .map_err(|_| damaged(input, "an entry of the archive"))?;
        Tags::new(entry).finish().map_err(|fault| of_xml(input, fault))?;
    }
    let repaired = relations
        .map(|i| without_dots(&mut archive, i, input.size()))
        .transpose();
    Ok(repaired
        .map_err(|_| damaged(input, "an entry of the archive"))?
        .flatten())
}

fn read_workbook(
    config: &Config,
    plans: &[RecordPlan],
    zone: &Zone,
    (input, file): (&dyn Input, &dyn Input),
    task: &TaskContext<'_>,
    out: &mut dyn RecordSink,
) -> Result<(), PluginError> {
    let cursor = InputCursor::new(file);
    let place = cursor.place.clone();
    let mut workbook = Xlsx::new(BufReader::with_capacity(1 << 16, cursor)).map_err(|e| of_workbook(input, &e))?;
    let names = workbook.sheet_names();
    let is_1904 = workbook.has_1904_epoch();
    let index = match &config.sheet {
        None => Some(first_visible(workbook.sheets_metadata())),
        Some(Sheet::Number(number)) => Some(number.saturating_sub(1) as usize),
        Some(Sheet::Name(name)) => names.iter().position(|n| n == name),
    };
    let Some((index, name)) = index.and_then(|i| Some((i, names.get(i)?))) else {
        let message = format!("the workbook has no such sheet; it has {} sheets", names.len());
        return Err(PluginError::data(0, error::NO_SHEET, message));
    };
    let cells = workbook.worksheet_cells_reader(name);
    let mut archive = zip::ZipArchive::new(seekable(file)).map_err(|_| damaged(input, "the archive's directory"))?;
    let entry = entry_at(&mut archive, place.get());
    let tags = entry.and_then(|i| archive.by_index(i).ok()).map(Tags::new);
    let (mut cells, mut tags) = match (cells, tags) {
        (Ok(cells), Some(tags)) => (cells, tags),
        (Err(error), Some(mut tags)) => {
            return Err(match tags.finish() {
                Err(Fault::Utf16) => of_xml(input, Fault::Utf16),
                _ => of_workbook(input, &error),
            });
        }
        (Err(error), None) => return Err(of_workbook(input, &error)),
        (Ok(_), None) => return Err(damaged(input, "a sheet")),
    };
    let mut sheet = SheetReader {
        config,
        plans,
        zone,
        input,
        task,
        out: &mut *out,
        part: index as u32,
        row: None,
        texts: Line::default(),
        names: Vec::new(),
        core: None,
        rows: Rows::default(),
    };
    let mut odd = None;
    // A row within which the reader of workbooks no longer counts its cells.
    let mut uncounted = None;
    loop {
        let found = match cells.next_cell_with_style_id() {
            Ok(Some((cell, style))) => Some((cell, style)),
            Ok(None) => break,
            Err(error) if is_of_a_cell(&error) => None,
            Err(error) => return Err(of_workbook(input, &error)),
        };
        let is_there = tags.cell().map_err(|fault| of_xml(input, fault))?.is_some();
        if found.is_none() {
            if !is_there || tags.has_bad_row() {
                return Err(damaged(input, "its XML"));
            }
            uncounted = Some(tags.row());
        }
        let place = match &found {
            Some((cell, _)) if uncounted != Some(tags.row()) => Some(cell.get_position()),
            _ => tags.place(),
        };
        let place = place.filter(|(row, column)| {
            (*column as usize) < MOST_COLUMNS && tags.told_row().is_none_or(|told| told == *row)
        });
        let style = found.as_ref().and_then(|(_, style)| cells.styles().get(*style));
        let content = match &found {
            _ if tags.is_odd() => {
                let odd = match &mut odd {
                    Some(odd) => odd,
                    None => odd.insert(odd::contents(config, (input, file), entry, name)?),
                };
                odd.pop_front().ok_or_else(|| damaged(input, "its XML"))?
            }
            Some((cell, _)) => {
                content(config, cell.get_value(), style, &tags).ok_or_else(|| damaged(input, "a number"))?
            }
            None if config.null_values.iter().any(|null| null.as_bytes() == tags.value()) => Content::Nothing,
            None => Content::Unfit,
        };
        let Some((row, column)) = place else {
            if tags.told_row().is_none() && tags.is_referred() {
                return Err(damaged(input, "the order of its rows"));
            }
            sheet.turn_to(tags.row())?;
            sheet.texts.is_misplaced = true;
            continue;
        };
        if matches!(content, Content::Nothing) {
            continue;
        }
        sheet.turn_to(row)?;
        let column = column as usize;
        match (content, &found) {
            (Content::Text(text), _) => sheet.texts.put(column, |into| into.push_str(&text)),
            (Content::Value, Some((cell, _))) => {
                let first_day = is_1904 && style.is_some_and(shows_a_day);
                sheet
                    .texts
                    .put(column, |into| render(cell.get_value(), first_day, into));
            }
            _ => sheet.texts.put_unfit(column),
        }
    }
    tags.finish().map_err(|fault| of_xml(input, fault))?;
    sheet.end_row()?;
    let header = sheet.finish()?;
    drop(cells);
    if config.sheet.is_none() {
        let left_out = rows_of_others(&mut workbook, index, config.header_row, &header, task)?;
        if left_out > 0 {
            out.filtered("other_sheets", left_out);
        }
    }
    Ok(())
}

/// True for an error of one cell or one row, after which the reader of workbooks can go on.
const fn is_of_a_cell(error: &XlsxError) -> bool {
    matches!(
        error,
        XlsxError::UnexpectedNode(_)
            | XlsxError::CellTAttribute(_)
            | XlsxError::CellError(_)
            | XlsxError::Unexpected(_)
            | XlsxError::Unrecognized { .. }
            | XlsxError::ParseFloat(_)
            | XlsxError::Alphanumeric(_)
            | XlsxError::NumericColumn(_)
            | XlsxError::RangeWithoutColumnComponent
            | XlsxError::RangeWithoutRowComponent
            | XlsxError::ColumnNumberOverflow
            | XlsxError::RowNumberOverflow
    )
}

fn of_workbook(input: &dyn Input, error: &XlsxError) -> PluginError {
    // The messages quote the workbook's content: only the kind of failure may leave.
    match error {
        XlsxError::Io(e) if e.kind() == io::ErrorKind::Other => PluginError::from(io::Error::from(e.kind())),
        XlsxError::FileNotFound(_) | XlsxError::RelationshipNotFound => damaged(input, "a part that it refers to"),
        XlsxError::Password => PluginError::data(0, error::NOT_XLSX, "the workbook is protected by a password"),
        XlsxError::Zip(_) => damaged(input, "an entry of the archive"),
        _ => damaged(input, "its XML"),
    }
}

/// The cells of one row as text, by column.
#[derive(Default)]
struct Line {
    text: String,
    cells: Vec<(usize, usize, usize)>,
    /// One of them stands nobody knows where.
    is_misplaced: bool,
}

impl Line {
    fn put(&mut self, column: usize, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        if column < MOST_COLUMNS && self.text.len() > start {
            self.cells.push((column, start, self.text.len()));
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.cells.clear();
        self.is_misplaced = false;
    }

    /// A cell of which no value can be had: its end is none.
    fn put_unfit(&mut self, column: usize) {
        if column < MOST_COLUMNS {
            self.cells.push((column, self.text.len(), usize::MAX));
        }
    }
}

struct SheetReader<'s, 'o> {
    config: &'s Config,
    plans: &'s [RecordPlan],
    zone: &'s Zone,
    input: &'s dyn Input,
    task: &'s TaskContext<'s>,
    out: &'o mut dyn RecordSink,
    part: u32,
    row: Option<u32>,
    texts: Line,
    names: Vec<String>,
    core: Option<Core<'s>>,
    rows: Rows,
}

impl SheetReader<'_, '_> {
    /// Goes on with the cells of a row.
    #[inline]
    fn turn_to(&mut self, row: u32) -> Result<(), PluginError> {
        if self.row != Some(row) {
            if self.row.is_some_and(|last| row < last) {
                return Err(damaged(self.input, "the order of its rows"));
            }
            self.end_row()?;
            self.row = Some(row);
        }
        Ok(())
    }

    /// Takes the row that the cells so far make up.
    fn end_row(&mut self) -> Result<(), PluginError> {
        let Some(row) = self.row.take() else { return Ok(()) };
        let number = u64::from(row) + 1;
        let Some(core) = &mut self.core else {
            if number >= u64::from(self.config.header_row) {
                self.header()?;
            }
            self.texts = Line::default();
            return Ok(());
        };
        let at = RowAt {
            offset: 0,
            length: self.input.size(),
            row: number,
        };
        if self.texts.is_misplaced {
            let message = "the reference of a cell (`r`) is missing or not of its row: nobody knows its column; open the \
                           workbook in a spreadsheet program and save it again";
            core.reject(&mut self.rows, at, error::CELL, message.to_owned());
            self.texts.clear();
            return Ok(());
        }
        if self.texts.cells.is_empty() {
            return Ok(());
        }
        self.texts.cells.sort_by_key(|(column, start, _)| (*column, *start));
        let mut cells = self.texts.cells.iter().peekable();
        for column in 0..core.width() {
            let mut found = Some("");
            if let Some((_, start, end)) = cells.next_if(|(c, _, _)| *c <= column) {
                found = self.texts.text.get(*start..*end);
            }
            // Twice the same cell: nobody knows which of its values counts.
            while cells.next_if(|(c, _, _)| *c <= column).is_some() {
                found = None;
            }
            match found {
                Some(text) => self.rows.written(|into| into.push_str(text)),
                None => self.rows.unfit(),
            }
        }
        if !core.drop_header("", &mut self.rows) {
            self.rows.end_row(at);
        }
        self.texts.clear();
        if self.rows.len() >= self.task.batch_rows.max(1) || self.rows.weight() > HEAVY {
            self.task.check()?;
            core.push("", &mut self.rows, self.out)?;
        }
        Ok(())
    }

    fn header(&mut self) -> Result<(), PluginError> {
        let width = self
            .texts
            .cells
            .iter()
            .map(|(column, _, _)| column + 1)
            .max()
            .unwrap_or(0);
        if self.texts.is_misplaced {
            return Err(damaged(self.input, "its header row"));
        }
        let mut names = vec![String::new(); width];
        self.texts.cells.sort_by_key(|(column, start, _)| (*column, *start));
        for cells in self.texts.cells.chunk_by(|a, b| a.0 == b.0) {
            // Twice the same cell: it has no name.
            if let [(column, start, end)] = cells
                && let (Some(name), Some(text)) = (names.get_mut(*column), self.texts.text.get(*start..*end))
            {
                *name = text.trim().to_owned();
            }
        }
        let header = Header {
            names: &names,
            offset: 0,
        };
        let resolved = plan::resolve(self.config, self.plans, header, self.input.captures())?;
        self.names.clone_from(&names);
        self.rows = Rows::new(width, self.part);
        self.core = Some(Core::new(resolved, self.zone, self.task.batch_rows, true));
        Ok(())
    }

    /// Passes on what is left. Returns the header.
    fn finish(mut self) -> Result<Vec<String>, PluginError> {
        let Some(core) = &mut self.core else {
            return Err(plan::no_header(0));
        };
        core.push("", &mut self.rows, self.out)?;
        self.out.progress(self.input.size());
        Ok(self.names)
    }
}
