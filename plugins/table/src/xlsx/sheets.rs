//! The sheets of a workbook: which one is read, and what of the others nobody asked for.

use super::{MOST_COLUMNS, cell::render, is_of_a_cell};
use calamine::{DataRef, Reader, SheetType, SheetVisible, Xlsx};
use clinmill_sdk::{PluginError, TaskContext};
use std::io::{Read, Seek};

/// The first sheet that is a table and not hidden, else the first.
pub(super) fn first_visible(sheets: &[calamine::Sheet]) -> usize {
    sheets.iter().position(is_shown).unwrap_or(0)
}

fn is_shown(sheet: &calamine::Sheet) -> bool {
    sheet.visible == SheetVisible::Visible && sheet.typ == SheetType::WorkSheet
}

/// The rows of the other sheets that have the header of the one that is read: such as one sheet for each month, of which
/// nobody asked for the first alone. A sheet that cannot be read has none.
pub(super) fn rows_of_others<R: Read + Seek>(
    workbook: &mut Xlsx<R>,
    read: usize,
    header_row: u32,
    header: &[String],
    task: &TaskContext<'_>,
) -> Result<u64, PluginError> {
    let sheets = workbook.sheets_metadata().iter().enumerate();
    let others: Vec<String> = sheets
        .filter(|(i, sheet)| *i != read && is_shown(sheet))
        .map(|(_, sheet)| sheet.name.clone())
        .collect();
    let mut rows = 0;
    for name in others {
        task.check()?;
        rows += rows_below(workbook, &name, header_row, header).unwrap_or(0);
    }
    Ok(rows)
}

/// The rows of a sheet below this header; `None` where it has another.
fn rows_below<R: Read + Seek>(workbook: &mut Xlsx<R>, name: &str, header_row: u32, header: &[String]) -> Option<u64> {
    let mut cells = workbook.worksheet_cells_reader(name).ok()?;
    let (mut names, mut at, mut last, mut rows) = (Vec::new(), None, None, 0);
    loop {
        let (cell, _) = match cells.next_cell_with_style_id() {
            Ok(Some(found)) => found,
            Ok(None) => return Some(rows),
            Err(error) if is_of_a_cell(&error) => continue,
            Err(_) => return None,
        };
        let (row, column) = cell.get_position();
        if row + 1 < header_row || matches!(cell.get_value(), DataRef::Empty) {
            continue;
        }
        if *at.get_or_insert(row) == row {
            let column = (column as usize).min(MOST_COLUMNS);
            names.resize_with(names.len().max(column + 1), String::new);
            render(cell.get_value(), false, &mut names[column]);
        } else if last != Some(row) {
            if last.is_none() && !same_names(&names, header) {
                return None;
            }
            last = Some(row);
            rows += 1;
        }
    }
}

/// True for the same names, whatever empty columns follow.
fn same_names(a: &[String], b: &[String]) -> bool {
    fn name(names: &[String], i: usize) -> &str {
        names.get(i).map_or("", |name| name.trim())
    }
    (0..a.len().max(b.len())).all(|i| name(a, i) == name(b, i))
}
