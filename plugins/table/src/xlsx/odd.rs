//! Cells that are written as the format allows and the reader of workbooks does not know. They are few, if any: written
//! plainly, they become a sheet of their own, and that is read.

use super::{
    MOST_HELD,
    archive::{replaced, seekable},
    cell::{Content, content, render, shows_a_day},
    damaged, is_of_a_cell, of_workbook, of_xml,
};
use crate::{config::Config, error, xml::Tags};
use calamine::{Reader, Xlsx};
use clinmill_sdk::{Input, PluginError};
use std::collections::VecDeque;

/// What the odd cells of a sheet hold, in their order; `entry` is the sheet in the archive `file`.
pub(super) fn contents(
    config: &Config,
    (input, file): (&dyn Input, &dyn Input),
    entry: Option<usize>,
    name: &str,
) -> Result<VecDeque<Content<'static>>, PluginError> {
    let unreadable = || damaged(input, "a sheet");
    let mut archive = zip::ZipArchive::new(seekable(file)).map_err(|_| unreadable())?;
    let entry = entry.ok_or_else(unreadable)?;
    let mut sheet = b"<worksheet><sheetData><row r=\"1\">".to_vec();
    let mut tags = Tags::recording(archive.by_index(entry).map_err(|_| unreadable())?);
    while tags.cell().map_err(|fault| of_xml(input, fault))?.is_some() {
        if tags.is_odd() {
            sheet.extend_from_slice(tags.plain());
        }
        if sheet.len() as u64 + file.size() > MOST_HELD {
            let message = "the workbook has too many cells with comments, CDATA, references or extensions";
            return Err(error::limit(0, error::XLSX_TOO_LARGE, message));
        }
    }
    drop(tags);
    sheet.extend_from_slice(b"</row></sheetData></worksheet>");
    let plain = replaced(&mut archive, entry, &sheet).map_err(|_| unreadable())?;
    let mut workbook = Xlsx::new(seekable(&plain)).map_err(|e| of_workbook(input, &e))?;
    let is_1904 = workbook.has_1904_epoch();
    let mut cells = workbook
        .worksheet_cells_reader(name)
        .map_err(|e| of_workbook(input, &e))?;
    let mut tags = Tags::new(&sheet[..]);
    let mut contents = VecDeque::new();
    loop {
        let found = match cells.next_cell_with_style_id() {
            Ok(Some(found)) => Some(found),
            Ok(None) => return Ok(contents),
            Err(error) if is_of_a_cell(&error) => None,
            Err(error) => return Err(of_workbook(input, &error)),
        };
        tags.cell().map_err(|fault| of_xml(input, fault))?;
        let style = found.as_ref().and_then(|(_, style)| cells.styles().get(*style));
        let value = found.as_ref().map(|(cell, _)| cell.get_value());
        contents.push_back(match value.filter(|_| !tags.is_odd()) {
            None => Content::Unfit,
            Some(value) => match content(config, value, style, &tags).ok_or_else(|| damaged(input, "a number"))? {
                Content::Value => {
                    let mut text = String::new();
                    render(value, is_1904 && style.is_some_and(shows_a_day), &mut text);
                    Content::Text(text.into())
                }
                Content::Text(text) => Content::Text(text.into_owned().into()),
                Content::Nothing => Content::Nothing,
                Content::Unfit => Content::Unfit,
            },
        });
    }
}
