//! A mapping table as a sheet that can be written: for import, export, suggestions and their review.

use crate::table::REQUIRED;
use clinmill_sdk::{
    MappingTable,
    mapping::{COLUMNS, MappingRow},
};
use std::{collections::BTreeMap, fmt::Write};

/// Whether a sheet writes a column even when it is empty.
fn is_always_there(column: &str) -> bool {
    matches!(column, "source_code" | "source_name") || REQUIRED.contains(&column)
}

/// One row: its cells by column, without empty ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(BTreeMap<String, String>);

impl Line {
    /// A cell; empty where there is none.
    pub fn get(&self, column: &str) -> &str {
        self.0.get(column).map_or("", String::as_str)
    }

    /// Sets a cell; an empty text takes it away.
    pub fn set(&mut self, column: &str, text: impl Into<String>) -> &mut Self {
        match text.into() {
            text if text.is_empty() => self.0.remove(column),
            text => self.0.insert(column.to_owned(), text),
        };
        self
    }

    /// The cells, by column.
    pub fn cells(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(column, text)| (column.as_str(), text.as_str()))
    }

    /// What one decided row may stand for: code, name, unit, specimen and days.
    pub fn key(&self) -> [&str; 6] {
        [
            "source_code",
            "source_name",
            "when_unit",
            "when_specimen",
            "valid_from",
            "valid_to",
        ]
        .map(|column| self.get(column))
    }
}

/// A sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// The rows in order.
    pub lines: Vec<Line>,
}

impl Sheet {
    /// A table as it was read.
    pub fn of(table: &MappingTable) -> Self {
        Self::from_rows(table.columns(), &table.rows)
    }

    /// Rows below a header.
    pub fn from_rows(columns: &[String], rows: &[MappingRow]) -> Self {
        let line = |row: &MappingRow| {
            let mut line = Line::default();
            for (index, column) in columns.iter().enumerate() {
                line.set(column, row.cell(index));
            }
            line
        };
        Self {
            lines: rows.iter().map(line).collect(),
        }
    }

    /// `map.csv`: the columns that are always there or used somewhere.
    pub fn to_csv(&self) -> String {
        let used = |column: &str| self.lines.iter().any(|line| !line.get(column).is_empty());
        let mut columns: Vec<&str> = COLUMNS
            .into_iter()
            .filter(|column| is_always_there(column) || used(column))
            .collect();
        for line in &self.lines {
            for (column, _) in line.cells() {
                if !COLUMNS.contains(&column) && !columns.contains(&column) {
                    columns.push(column);
                }
            }
        }
        let mut text = delimited(columns.iter().copied(), ',');
        for line in &self.lines {
            text.push_str(&delimited(columns.iter().map(|column| line.get(column)), ','));
        }
        text
    }
}

/// One record of delimited text (RFC 4180), with its line end.
pub fn delimited<'a>(cells: impl Iterator<Item = &'a str>, delimiter: char) -> String {
    let mut text = String::new();
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            text.push(delimiter);
        }
        if cell.contains([delimiter, '"', '\n', '\r']) {
            let _ = write!(text, "\"{}\"", cell.replace('"', "\"\""));
        } else {
            text.push_str(cell);
        }
    }
    text.push('\n');
    text
}
