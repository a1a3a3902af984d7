//! Mapping tables: the folder behind a mapping reference, with `map.csv` and `mapping.yaml`.

use crate::{PluginError, Resource, Status};
use std::fmt::Display;

/// A mapping table as read: UTF-8 CSV as of RFC 4180, comma-separated, with a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingTable {
    reference: String,
    columns: Vec<String>,
    /// The rows in file order.
    pub rows: Vec<MappingRow>,
}

/// One row of a mapping table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingRow {
    /// 1-based line in `map.csv` where it begins.
    pub line: u32,
    cells: Vec<String>,
}

/// What a reviewer made of a row: its `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowState {
    /// In use.
    Accepted,
    /// A candidate.
    Proposed,
    /// A candidate that was turned down.
    Rejected,
    /// Known to have no safe target.
    Unmapped,
}

/// What `mapping.yaml` has to say.
const DECLARED: [&str; 6] = ["title", "from", "to", "version", "origin", "licence"];

/// The columns that any table may have, in the order they are written in (`mappings/README.md`).
pub const COLUMNS: [&str; 16] = [
    "source_code",
    "source_name",
    "target_system",
    "target_code",
    "target_name",
    "equivalence",
    "status",
    "unit",
    "when_unit",
    "when_specimen",
    "valid_from",
    "valid_to",
    "origin",
    "licence",
    "score",
    "note",
];

/// Columns that tables of one kind have, or that an import brings.
const OF_SOME: [&str; 7] = [
    "target_vocabulary",
    "one",
    "is",
    "factor",
    "invalid_reason",
    "source_concept_id",
    "usagi_status",
];

/// Columns of these names are conditions: a row whose condition nothing reads would count everywhere.
const CONDITIONS: [&str; 2] = ["when_", "valid_"];

/// The column that one of another name was probably meant for. Names that are like none are the author's own.
fn misspelt(name: &str) -> Option<&'static str> {
    let known = || COLUMNS.into_iter().chain(OF_SOME);
    if known().any(|known| known == name) || name.len() > 64 {
        return None;
    }
    let plain = name.trim().to_lowercase().replace(['-', ' '], "_");
    let distance = |known: &&str| strsim::damerau_levenshtein(&plain, known);
    if let Some(condition) = CONDITIONS.iter().find(|condition| plain.starts_with(**condition)) {
        let alike = known().filter(|known| known.starts_with(condition));
        return alike.min_by_key(distance);
    }
    // `specimen` for `when_specimen`, where there is one such name only.
    let mut longer = known().filter(|known| known.strip_suffix(&plain).is_some_and(|rest| rest.ends_with('_')));
    if let (Some(only), None) = (longer.next(), longer.next()) {
        return Some(only);
    }
    let near = |known: &&str| known.len() > 3 && distance(known) <= (known.len() / 4).max(1);
    known().filter(near).min_by_key(distance)
}

/// The 1-based character of the header's line where a column is named.
fn place(map: &str, column: &str) -> usize {
    let header = map.lines().next().unwrap_or_default();
    let mut at = 1;
    for cell in header.split(',') {
        if cell.trim_matches('"') == column {
            return at;
        }
        at += cell.chars().count() + 1;
    }
    1
}

impl MappingTable {
    /// Reads the folder behind `reference`. Mapping tables hold no patient's data: messages may quote them.
    ///
    /// # Errors
    /// `MAPPING` with file and line when something is missing or does not parse.
    pub fn read(reference: &str, resource: &Resource) -> Result<Self, PluginError> {
        let declared = text(reference, resource, "mapping.yaml")?;
        for key in DECLARED {
            let begins = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'));
            if !declared.lines().any(begins) {
                return Err(error(reference, "mapping.yaml", 1, format!("{key} is missing")));
            }
        }
        let map = text(reference, resource, "map.csv")?;
        let mut records = records(map, ',')
            .map_err(|(line, what)| error(reference, "map.csv", line, what))?
            .into_iter();
        let columns = records.next().map(|header| header.cells).unwrap_or_default();
        let table = Self {
            reference: reference.to_owned(),
            columns,
            rows: records.collect(),
        };
        for (index, column) in table.columns.iter().enumerate() {
            if column.is_empty() || table.columns[..index].contains(column) {
                return Err(table.error(1, format!("the header names the column {column:?} twice or not at all")));
            }
            if let Some(meant) = misspelt(column) {
                let at = format!("1:{}", place(map, column));
                let what = format!("there is no column {column:?}: did you mean {meant:?}?");
                return Err(error(reference, "map.csv", at, what));
            }
        }
        let width = table.columns.len();
        if let Some(row) = table.rows.iter().find(|row| row.cells.len() != width) {
            return Err(table.error(
                row.line,
                format!("{} cells where the header has {width}", row.cells.len()),
            ));
        }
        Ok(table)
    }

    /// The names of the columns in file order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The index of a column, if the table has it.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// The index of a column that must be there.
    ///
    /// # Errors
    /// `MAPPING` when it is not.
    pub fn require(&self, name: &str) -> Result<usize, PluginError> {
        self.column(name)
            .ok_or_else(|| self.error(1, format!("the column {name:?} is missing")))
    }

    /// What a row's `status` in this column says.
    ///
    /// # Errors
    /// `MAPPING` with file and line when it is none of the four.
    pub fn state(&self, row: &MappingRow, column: usize) -> Result<RowState, PluginError> {
        match row.cell(column) {
            "accepted" => Ok(RowState::Accepted),
            "proposed" => Ok(RowState::Proposed),
            "rejected" => Ok(RowState::Rejected),
            "unmapped" => Ok(RowState::Unmapped),
            other => {
                let what = format!("status {other:?} is not accepted, proposed, rejected or unmapped");
                Err(self.error(row.line, what))
            }
        }
    }

    /// The reference that pipelines name the table by.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// A row with the names of its columns, in file order.
    pub fn named<'a>(&'a self, row: &'a MappingRow) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.columns
            .iter()
            .map(String::as_str)
            .zip(row.cells.iter().map(|cell| cell.trim()))
    }

    /// An error about a line of `map.csv`.
    pub fn error(&self, line: u32, what: impl Into<String>) -> PluginError {
        error(&self.reference, "map.csv", line, what)
    }
}

impl MappingRow {
    /// The cells as written.
    pub fn cells(&self) -> &[String] {
        &self.cells
    }

    /// A cell without white space around it; empty where the row has none.
    pub fn cell(&self, column: usize) -> &str {
        self.cells.get(column).map_or("", |cell| cell.trim())
    }
}

fn text<'a>(reference: &str, resource: &'a Resource, file: &str) -> Result<&'a str, PluginError> {
    let bytes = resource
        .files
        .get(file)
        .ok_or_else(|| error(reference, file, 1, "the file is missing"))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|bad| {
        let lines = bytes[..bad.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        error(
            reference,
            file,
            u32::try_from(lines + 1).unwrap_or(u32::MAX),
            "the file is not UTF-8",
        )
    })
}

/// `at` is a line, or a line and a character.
fn error(reference: &str, file: &str, at: impl Display, what: impl Into<String>) -> PluginError {
    let message = format!("{reference}/{file}:{at}: {}", what.into());
    PluginError::new(Status::InvalidConfig, "MAPPING", message)
}

/// Records of delimited text by RFC 4180, section 2; empty lines are no records.
///
/// # Errors
/// A 1-based line and what is wrong there.
pub fn records(text: &str, delimiter: char) -> Result<Vec<MappingRow>, (u32, &'static str)> {
    let mut rows = Vec::new();
    let (mut line, mut begun) = (1, 1);
    let (mut cells, mut cell) = (Vec::new(), String::new());
    let mut rest = text.chars().peekable();
    // Inside quotes; after a closing quote nothing but a delimiter may follow.
    let (mut inside, mut closed) = (false, false);
    loop {
        let next = rest.next();
        match next {
            Some('"') if inside => {
                if rest.next_if_eq(&'"').is_some() {
                    cell.push('"');
                } else {
                    (inside, closed) = (false, true);
                }
            }
            None if inside => return Err((begun, "a quote is not closed")),
            Some(c) if inside => {
                line += u32::from(c == '\n');
                cell.push(c);
            }
            Some('"') if cell.is_empty() && !closed => inside = true,
            Some('\r') if rest.peek() == Some(&'\n') => {}
            Some(c) if c == delimiter => {
                cells.push(std::mem::take(&mut cell));
                closed = false;
            }
            Some('\n') | None => {
                if !cells.is_empty() || !cell.is_empty() || closed {
                    cells.push(std::mem::take(&mut cell));
                    rows.push(MappingRow {
                        line: begun,
                        cells: std::mem::take(&mut cells),
                    });
                }
                if next.is_none() {
                    return Ok(rows);
                }
                line += 1;
                (begun, closed) = (line, false);
            }
            Some(_) if closed => return Err((line, "text after a closing quote")),
            Some(c) => cell.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(csv: &str) -> Result<MappingTable, PluginError> {
        let mut resource = Resource::default();
        let yaml = "title: t\nfrom: a\nto: b\nversion: 1\norigin: here\nlicence: x\n";
        resource.files.insert("mapping.yaml".into(), yaml.into());
        resource.files.insert("map.csv".into(), csv.into());
        MappingTable::read("maps:x", &resource)
    }

    #[test]
    fn a_misspelt_column_is_refused_where_it_stands() {
        let with = |columns: &str| {
            let mut resource = Resource::default();
            let yaml = "title: t\nfrom: a\nto: b\nversion: 1\norigin: here\nlicence: x\n";
            resource.files.insert("mapping.yaml".into(), yaml.into());
            let cells = ",".repeat(columns.matches(',').count());
            resource
                .files
                .insert("map.csv".into(), format!("{columns}\n{cells}x\n").into());
            MappingTable::read("maps:x", &resource)
                .map(drop)
                .map_err(|error| error.message)
        };
        for (name, meant) in [
            ("when_units", "when_unit"),
            ("when_specimens", "when_specimen"),
            ("When_Unit", "when_unit"),
            ("valid_until", "valid_to"),
            ("valid_form", "valid_from"),
            ("specimen", "when_specimen"),
            ("license", "licence"),
            ("stauts", "status"),
            ("traget_code", "target_code"),
        ] {
            let said = format!("maps:x/map.csv:1:13: there is no column {name:?}: did you mean {meant:?}?");
            assert_eq!(with(&format!("source_code,{name},note")), Err(said));
        }
        for own in [
            "科室",
            "department",
            "frequency",
            "rows",
            "map",
            "reviewed_by",
            "code",
            "name",
        ] {
            assert_eq!(with(&format!("source_code,{own},note")), Ok(()), "{own}");
        }
    }

    #[test]
    fn reads_quotes_and_counts_lines() {
        let table = table("a,b\r\n1,\"x, \"\"y\"\"\nz\"\r\n\r\n2,\r\n").unwrap();
        assert_eq!(table.rows.len(), 2);
        assert_eq!(table.rows[0].cell(1), "x, \"y\"\nz");
        assert_eq!((table.rows[0].line, table.rows[1].line), (2, 5));
        assert_eq!(table.column("b"), Some(1));
    }

    #[test]
    fn says_which_line_is_broken() {
        let message = |csv: &str| table(csv).unwrap_err().message;
        assert_eq!(
            message("a,b\n1,2\n3\n"),
            "maps:x/map.csv:3: 1 cells where the header has 2"
        );
        assert_eq!(message("a,b\n1,\"2\n3,4\n"), "maps:x/map.csv:2: a quote is not closed");
        assert_eq!(
            message("a,b\n\"1\"x,2\n"),
            "maps:x/map.csv:2: text after a closing quote"
        );
        assert!(message("a,a\n").contains("map.csv:1"));
        assert_eq!(table("a\n").unwrap().require("c").unwrap_err().code, "MAPPING");
    }
}
