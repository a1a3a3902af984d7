//! The merge of reviewed rows into a table: its other lines stay as they are, byte for byte.

use crate::{
    error,
    sheet::{Line, Sheet, delimited},
    table::When,
};
use clinmill_sdk::{
    MappingTable, PluginError,
    mapping::{MappingRow, records},
};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Rows that somebody reviewed, as their file has them.
#[derive(Clone, Debug, Default)]
pub struct Reviewed {
    columns: Vec<String>,
    sheet: Sheet,
    lines: Vec<u32>,
}

impl Reviewed {
    /// Reads a file of suggestions.
    ///
    /// # Errors
    /// A 1-based line and what is wrong there.
    pub fn read(text: &str) -> Result<Self, (u32, &'static str)> {
        let rows = records(text.trim_start_matches('\u{feff}'), ',')?;
        let Some((header, rows)) = rows.split_first() else {
            return Err((1, "the file is empty"));
        };
        let has = |column: &str| header.cells().iter().any(|cell| cell.trim() == column);
        if !has("status") || !(has("source_code") || has("source_name")) {
            return Err((header.line, not_commas(header).unwrap_or(NO_REVIEW)));
        }
        if let Some(row) = rows.iter().find(|row| row.cells().len() != header.cells().len()) {
            return Err((row.line, "the row has not as many cells as the header"));
        }
        Ok(Self {
            columns: header.cells().iter().map(|cell| cell.trim().to_owned()).collect(),
            sheet: Sheet::from_rows(header.cells(), rows),
            lines: rows.iter().map(|row| row.line).collect(),
        })
    }

    /// The rows with a decision in them, with their lines.
    fn decided(&self) -> impl Iterator<Item = (u32, &Line)> {
        let all = self.lines.iter().copied().zip(&self.sheet.lines);
        // A spreadsheet leaves rows without anything in them.
        all.filter(|(_, line)| line.get("status") != "proposed" && line.cells().next().is_some())
    }

    /// Those that are for a table: decided, and naming it or none in the column `map`.
    fn of(&self, name: &str) -> impl Iterator<Item = (u32, &Line)> {
        self.decided()
            .filter(move |(_, line)| ["", name].contains(&line.get(MAP)))
    }

    /// How many decided rows are for other tables, by the names of those.
    pub fn elsewhere(&self, name: &str) -> Vec<(String, u64)> {
        let mut counts: Vec<(String, u64)> = Vec::new();
        for (_, line) in self.decided() {
            let map = line.get(MAP);
            if ["", name].contains(&map) {
                continue;
            }
            match counts.iter_mut().find(|(known, _)| known == map) {
                Some((_, count)) => *count += 1,
                None => counts.push((map.to_owned(), 1)),
            }
        }
        counts
    }

    /// How many rows are still proposed.
    pub fn left(&self) -> u64 {
        let proposed = self.sheet.lines.iter().filter(|line| line.get("status") == "proposed");
        proposed.count() as u64
    }

    /// The first row for a table whose target is of a system that no row of the table has: its line and that system.
    /// A table without targets takes any.
    pub fn stranger(&self, name: &str, table: &MappingTable) -> Option<(u32, &str)> {
        let systems = systems(table);
        let stranger = self.of(name).find(|(_, line)| {
            let system = line.get("target_system");
            !system.is_empty() && !systems.is_empty() && !systems.contains(system)
        });
        stranger.map(|(line, row)| (line, row.get("target_system")))
    }
}

const NO_REVIEW: &str = "the header needs status, and source_code or source_name: is this a file of reviewed rows?";

/// What to do about a file whose header is one cell because its separator is not the comma, as Excel writes it in many
/// places.
pub fn not_commas(header: &MappingRow) -> Option<&'static str> {
    match header.cells() {
        [only] if only.contains(';') => Some("the file is separated by semicolons, not by commas: save it with commas"),
        [only] if only.contains('\t') => Some("the file is separated by tabs, not by commas: save it with commas"),
        _ => None,
    }
}

/// The column of a file of suggestions that says for which table a row is; no table has it.
pub const MAP: &str = "map";

/// The systems that a table's rows have their targets in.
pub fn systems(table: &MappingTable) -> BTreeSet<String> {
    let column = table.column("target_system");
    let cells = table.rows.iter().map(|row| column.map_or("", |at| row.cell(at)));
    cells.filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
}

/// What a merge makes of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The new `map.csv`.
    pub text: String,
    /// Rows that were added.
    pub added: u64,
    /// Rows of the table that were replaced.
    pub replaced: u64,
    /// Columns that the table did not have, and a reviewed row has something in.
    pub columns: Vec<String>,
    /// Where each row comes from, in the order of the rows.
    pub places: Vec<Place>,
}

/// Where a row of a merged table comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The line of the table.
    Table(u32),
    /// The line of the file of reviewed rows.
    Reviewed(u32),
}

/// What is left out of a table that has no such column: for which table a row is, and how likely a candidate was.
const OF_SUGGESTIONS: [&str; 2] = [MAP, "score"];

/// Merges the reviewed rows that are for the table `name` into the text of its `map.csv`: a row for the same key and target
/// code is replaced where it stands, as is an accepted one that says the same in other words; another one comes at the end.
/// Whether the result is sound is for the reader of tables to say.
///
/// # Errors
/// The table's text cannot be read.
pub fn merge(text: &str, table: &MappingTable, name: &str, reviewed: &Reviewed) -> Result<Merged, PluginError> {
    let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
    let all = records(bare, ',').map_err(|(line, what)| table.error(line, what))?;
    let Some((header, rows)) = all.split_first() else {
        return Err(PluginError {
            code: error::TABLE.into(),
            ..table.error(1, "the table has no header")
        });
    };
    let rows: Vec<&MappingRow> = rows.iter().collect();
    let sheet = Sheet::of(table);
    let mut merged = Merged {
        columns: new_columns(table, name, reviewed),
        places: rows.iter().map(|row| Place::Table(row.line)).collect(),
        ..Merged::default()
    };
    let columns: Vec<&str> = table
        .columns()
        .iter()
        .chain(&merged.columns)
        .map(String::as_str)
        .collect();
    let mut known: HashMap<Vec<String>, usize> = HashMap::new();
    let mut said: HashMap<Said, usize> = HashMap::new();
    for (index, line) in sheet.lines.iter().enumerate() {
        known.entry(place(line)).or_insert(index);
        if let Some(saying) = saying(line) {
            said.entry(saying).or_insert(index);
        }
    }
    // By the row's index: the reviewed row in its place; behind the table's own, those that are added.
    let mut new: HashMap<usize, String> = HashMap::new();
    for (at, line) in reviewed.of(name) {
        let saying = saying(line);
        let same = || saying.as_ref().and_then(|saying| said.get(saying));
        let index = known.get(&place(line)).or_else(same).copied();
        let index = index.unwrap_or(merged.places.len());
        // A column that the reviewed file does not have says nothing of the row.
        let old = sheet.lines.get(index);
        let cell = |column: &&str| match reviewed.columns.iter().any(|of| of == column) {
            true => line.get(column),
            false => old.map_or("", |old| old.get(column)),
        };
        let written = delimited(columns.iter().map(cell), ',');
        match merged.places.get_mut(index) {
            Some(place) => {
                merged.replaced += u64::from(matches!(place, Place::Table(_)));
                *place = Place::Reviewed(at);
            }
            None => {
                merged.places.push(Place::Reviewed(at));
                known.insert(place(line), index);
                merged.added += 1;
            }
        }
        if let Some(saying) = saying {
            said.insert(saying, index);
        }
        new.insert(index, written);
    }
    merged.text = written(text, bare, header, &rows, &new, &merged.columns);
    Ok(merged)
}

/// What a reviewed row has to share with one of the table to stand in its place.
fn place(line: &Line) -> Vec<String> {
    let mut key: Vec<String> = line.key().iter().map(|cell| (*cell).to_owned()).collect();
    key.push(line.get("target_code").to_owned());
    key
}

/// What an accepted row says: its key, for which units and specimens, and its target.
type Said = (Vec<String>, When, When);

/// Of rows that say the same in other words, such as `ng/mL` and `ng/ml`, one is enough.
fn saying(line: &Line) -> Option<Said> {
    if line.get("status") != "accepted" {
        return None;
    }
    let cells = [
        "source_code",
        "source_name",
        "valid_from",
        "valid_to",
        "target_system",
        "target_code",
    ];
    let cells = cells.map(|column| line.get(column).to_owned()).to_vec();
    let units = When::of_unit(line.get("when_unit"));
    Some((cells, units, When::of_specimen(line.get("when_specimen"))))
}

/// Columns that reviewed rows need and the table does not have.
fn new_columns(table: &MappingTable, name: &str, reviewed: &Reviewed) -> Vec<String> {
    let needed: HashSet<&str> = reviewed
        .of(name)
        .flat_map(|(_, line)| line.cells().map(|(column, _)| column))
        .collect();
    let all = reviewed.columns.iter().filter(|column| {
        let column = column.as_str();
        needed.contains(column) && table.column(column).is_none() && !OF_SUGGESTIONS.contains(&column)
    });
    all.cloned().collect()
}

/// The text of the table with the new rows in it; with further columns, each record of it ends in as many more cells.
fn written(
    text: &str,
    bare: &str,
    header: &MappingRow,
    rows: &[&MappingRow],
    new: &HashMap<usize, String>,
    columns: &[String],
) -> String {
    let end = if bare.lines().next().is_some() && bare.split('\n').next().is_some_and(|line| line.ends_with('\r')) {
        "\r\n"
    } else {
        "\n"
    };
    let ended = |row: &str| format!("{}{end}", row.trim_end_matches('\n'));
    let mut out = text.get(..text.len() - bare.len()).unwrap_or_default().to_owned();
    // The record that a line begins, and the lines that it has.
    let lines = |row: &MappingRow| row.cells().iter().map(|cell| cell.matches('\n').count()).sum::<usize>() + 1;
    let mut begins: HashMap<u32, (Option<usize>, usize)> = HashMap::new();
    begins.insert(header.line, (None, lines(header)));
    begins.extend(
        rows.iter()
            .enumerate()
            .map(|(at, row)| (row.line, (Some(at), lines(row)))),
    );
    let mut left = bare.split_inclusive('\n');
    let mut number = 1u32;
    while let Some(first) = left.next() {
        let Some((row, count)) = begins.get(&number) else {
            out.push_str(first);
            number += 1;
            continue;
        };
        let mut record = first.to_owned();
        record.extend((1..*count).filter_map(|_| left.next()));
        number += u32::try_from(*count).unwrap_or(1);
        match row.and_then(|row| new.get(&row)) {
            Some(row) => out.push_str(&ended(row)),
            None if columns.is_empty() => out.push_str(&record),
            None => {
                let cells = record.trim_end_matches(['\r', '\n']);
                out.push_str(cells);
                for column in columns {
                    out.push(',');
                    out.push_str(if row.is_none() { column } else { "" });
                }
                out.push_str(record.get(cells.len()..).unwrap_or_default());
            }
        }
    }
    if !out.is_empty() && !out.ends_with('\n') {
        out.push_str(end);
    }
    let mut added: Vec<_> = new.iter().filter(|(at, _)| **at >= rows.len()).collect();
    added.sort();
    out.extend(added.into_iter().map(|(_, row)| ended(row)));
    out
}

/// A message about the lines of a merged table, said of where they come from: `MERGED/map.csv:7: …` and `in line 3` with
/// what `place` says of lines 7 and 3. How a row is replaced is said where two are for one key.
pub fn located(message: &str, table: &str, place: impl Fn(u32) -> Option<String>) -> String {
    let begins = message
        .split_once(&format!("{table}/map.csv:"))
        .and_then(|(before, rest)| {
            let (line, after) = rest.split_once(':')?;
            Some(format!("{before}{}:{after}", place(line.parse().ok()?)?))
        });
    let message = begins.unwrap_or_else(|| message.to_owned());
    let twice = message.split_once(" stands in line ").and_then(|(before, rest)| {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (line, after) = rest.split_at(end);
        Some(format!(
            "{before} stands in {}{after}; a reviewed row replaces the one with the same code, name, unit, specimen, days and \
             target_code: for another target, make the one there `rejected` first",
            place(line.parse().ok()?)?
        ))
    });
    twice.unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        By,
        table::{entries, twice},
    };
    use clinmill_sdk::Resource;

    fn table(text: &str) -> MappingTable {
        let mut resource = Resource::default();
        let yaml = "title: t\nfrom: a\nto: b\nversion: 1\norigin: here\nlicence: x\n";
        resource.files.insert("mapping.yaml".into(), yaml.into());
        resource.files.insert("map.csv".into(), text.into());
        MappingTable::read("maps:x", &resource).unwrap()
    }

    const HEAD: &str =
        "source_code,source_name,target_system,target_code,target_name,equivalence,status,origin,valid_from,note";

    fn merged(text: &str, reviewed: &str) -> Merged {
        merge(text, &table(text), "x", &Reviewed::read(reviewed).unwrap()).unwrap()
    }

    #[test]
    fn other_lines_stay_byte_for_byte() {
        let quoted = ",b,s,2,\"x, \"\"y\"\"\nz\",equivalent,accepted,m,,\"n\"\r\n";
        let text = format!(
            "\u{feff}{HEAD}\r\n,a,s,1,x,equivalent,accepted,m,,\r\n\r\n{quoted}, c ,s,3,x,equivalent,proposed,m,,"
        );
        let review = "\u{feff}source_name,target_system,target_code,target_name,equivalence,status,origin,score,map,note\r\n\
                      c,s,3,x,equivalent,accepted,r,0.9,x,\r\nd,s,4,x,equivalent,accepted,r,0.5,,\"p,q\"\r\n\
                      e,t,5,x,equivalent,accepted,r,,other,\r\nf,s,6,x,equivalent,proposed,r,,,\r\n";
        let found = merged(&text, review);
        let want = format!(
            "\u{feff}{HEAD}\r\n,a,s,1,x,equivalent,accepted,m,,\r\n\r\n{quoted},c,s,3,x,equivalent,accepted,r,,\r\n\
             ,d,s,4,x,equivalent,accepted,r,,\"p,q\"\r\n"
        );
        assert_eq!(found.text, want);
        assert_eq!((found.added, found.replaced, found.columns.len()), (1, 1, 0));
        let places = [Place::Table(2), Place::Table(4), Place::Reviewed(2), Place::Reviewed(3)];
        assert_eq!(found.places, places);
        let reviewed = Reviewed::read(review).unwrap();
        assert_eq!(
            (reviewed.left(), reviewed.elsewhere("x")),
            (1, vec![("other".into(), 1)])
        );
        // Once more, and nothing changes.
        assert_eq!(merged(&found.text, review).text, found.text);
    }

    #[test]
    fn a_new_column_comes_at_the_end() {
        let text = format!("{HEAD}\n,a,s,1,x,equivalent,accepted,m,,\n");
        let review = "source_name,target_system,target_code,target_name,equivalence,status,when_unit,origin,note\n\
                      a,s,2,x,equivalent,accepted,mg/L,r,\n";
        let found = merged(&text, review);
        assert_eq!(
            found.text,
            format!("{HEAD},when_unit\n,a,s,1,x,equivalent,accepted,m,,,\n,a,s,2,x,equivalent,accepted,r,,,mg/L\n")
        );
        assert_eq!(found.columns, ["when_unit"]);
    }

    /// Suggestions keep the spellings of the source, and two of one unit are one condition.
    #[test]
    fn rows_that_say_the_same_are_one() {
        let text = format!("{HEAD},when_unit\n,b,s,2,y,equivalent,accepted,m,,,mg/L\n");
        let row = |name: &str, code: &str, status: &str, unit: &str| {
            format!("{name},s,{code},x,equivalent,{status},{unit},r,\n")
        };
        let head = "source_name,target_system,target_code,target_name,equivalence,status,when_unit,origin,note\n";
        let review = [
            head.to_owned(),
            row("a", "1", "accepted", "ng/mL"),
            row("a", "1", "accepted", "ng/ml"),
            row("b", "2", "accepted", "MG/L"),
            row("b", "2", "rejected", "Mg/L"),
        ];
        let found = merged(&text, &review.concat());
        assert_eq!((found.added, found.replaced), (2, 1), "{}", found.text);
        assert!(!found.text.contains("ng/mL") && found.text.contains(",a,s,1,x,equivalent,accepted,r,,,ng/ml\n"));
        assert!(found.text.contains(",rejected,r,,,Mg/L\n") && found.text.contains(",accepted,r,,,MG/L\n"));
        assert!(entries(&table(&found.text), By::Name).is_ok());
        // With other targets all of them are told.
        let review = [
            head.to_owned(),
            row("a", "1", "accepted", "ng/mL"),
            row("a", "3", "accepted", "ng/ml"),
            row("b", "4", "accepted", "MG/L"),
        ];
        let found = twice(&table(&merged(&text, &review.concat()).text), By::Name).unwrap();
        let said: Vec<&str> = found.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(
            said,
            [
                "maps:x/map.csv:4: \"a\" stands in line 3 already",
                "maps:x/map.csv:5: \"b\" stands in line 2 already"
            ]
        );
    }

    #[test]
    fn a_file_of_another_kind_is_not_taken() {
        for (text, said) in [
            ("", "the file is empty"),
            (
                "source_code;source_name;status\n;a;accepted\n",
                "separated by semicolons",
            ),
            ("\u{feff}source_name\tstatus\na\taccepted\n", "separated by tabs"),
            ("test,result\n1,2\n", "the header needs status"),
            ("source_name\na\n", "the header needs status"),
        ] {
            let (line, what) = Reviewed::read(text).unwrap_err();
            assert!(line == 1 && what.contains(said), "{what}");
        }
    }

    #[test]
    fn faults_are_said_where_they_were_written() {
        let place = |line: u32| match line {
            7 => Some("reviewed.csv:2".to_owned()),
            3 => Some("labs/map.csv:4".to_owned()),
            _ => None,
        };
        let said = |message: &str| located(message, "merged", place);
        assert_eq!(said("merged/map.csv:7: why"), "reviewed.csv:2: why");
        assert_eq!(said("merged/map.csv:8: why"), "merged/map.csv:8: why");
        assert_eq!(said("why"), "why");
        let twice = said("merged/map.csv:7: \"a\" stands in line 3 already, with a code of s");
        let begins =
            "reviewed.csv:2: \"a\" stands in labs/map.csv:4 already, with a code of s; a reviewed row replaces";
        assert!(twice.starts_with(begins), "{twice}");
    }

    #[test]
    fn rows_of_another_system_are_strangers() {
        let known = table(&format!("{HEAD}\n,a,s,1,x,equivalent,accepted,m,,\n"));
        let review = |map: &str, status: &str| {
            let head = "source_name,target_system,target_code,status,map";
            Reviewed::read(&format!("{head}\na,s,1,accepted,\nb,t,2,{status},{map}\n")).unwrap()
        };
        assert_eq!(review("", "accepted").stranger("x", &known), Some((3, "t")));
        assert_eq!(review("x", "rejected").stranger("x", &known), Some((3, "t")));
        assert_eq!(review("", "proposed").stranger("x", &known), None);
        assert_eq!(review("other", "accepted").stranger("x", &known), None);
        assert_eq!(review("", "accepted").stranger("x", &table(&format!("{HEAD}\n"))), None);
    }
}
