//! Usagi's save files and OMOP's `source_to_concept_map`: comma-separated, with a header.

use super::{Broken, Exported, Imported, OMOP, PLACED};
use crate::{
    sheet::{Line, Sheet, delimited},
    table::iso,
};
use clinmill_sdk::mapping::{MappingRow, records};

/// Prefix of the columns that Usagi carries along without knowing them.
const ADDED: &str = "ADD_INFO:";

/// A delimited file with a header: cells by the names of their columns.
pub(super) struct Grid {
    columns: Vec<String>,
    /// The records below the header.
    pub rows: Vec<MappingRow>,
}

impl Grid {
    /// Reads a file whose first record is the header; `skipped` lines came before it.
    pub(super) fn read(text: &str, delimiter: char, skipped: u32, needed: &[&str]) -> Result<Self, Broken> {
        let mut rows = records(text, delimiter).map_err(|(line, what)| Broken {
            line: line + skipped,
            what: what.to_owned(),
        })?;
        for row in &mut rows {
            row.line += skipped;
        }
        let mut rows = rows.into_iter();
        let columns = rows.next().map(|row| row.cells().to_vec()).unwrap_or_default();
        if let Some(name) = needed.iter().find(|name| !columns.iter().any(|column| column == *name)) {
            return Err(Broken {
                line: 1 + skipped,
                what: format!("the column {name} is missing"),
            });
        }
        let rows: Vec<MappingRow> = rows.collect();
        if let Some(row) = rows.iter().find(|row| row.cells().len() != columns.len()) {
            return Err(Broken {
                line: row.line,
                what: format!("{} cells where the header has {}", row.cells().len(), columns.len()),
            });
        }
        Ok(Self { columns, rows })
    }

    /// A cell; empty where the file has no such column.
    pub(super) fn cell<'a>(&self, row: &'a MappingRow, name: &str) -> &'a str {
        let index = self.columns.iter().position(|column| column == name);
        index.map_or("", |index| row.cell(index))
    }

    /// The columns that hold something and are none of these.
    pub(super) fn others(&self, known: &[&str], prefix: &str) -> Vec<String> {
        let columns = self.columns.iter().enumerate();
        let others = columns.filter(|(_, column)| !known.contains(&column.as_str()) && !column.starts_with(prefix));
        let filled = others.filter(|(at, _)| self.rows.iter().any(|row| !row.cell(*at).is_empty()));
        filled.map(|(_, column)| column.clone()).collect()
    }

    /// Cells of columns whose names begin so, by the rest of the name.
    pub(super) fn prefixed<'a>(
        &'a self,
        row: &'a MappingRow,
        prefix: &str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let prefix = prefix.to_owned();
        self.columns
            .iter()
            .enumerate()
            .filter_map(move |(index, column)| Some((column.strip_prefix(&prefix)?, row.cell(index))))
    }
}

const USAGI: [&str; 16] = [
    "sourceCode",
    "sourceName",
    "sourceFrequency",
    "sourceAutoAssignedConceptIds",
    "matchScore",
    "mappingStatus",
    "equivalence",
    "statusSetBy",
    "statusSetOn",
    "conceptId",
    "conceptName",
    "domainId",
    "mappingType",
    "comment",
    "createdBy",
    "createdOn",
];

/// Columns of Usagi that a table has a place for; one that says MAPS_TO says nothing.
const USAGI_HOLDS: [&str; 9] = [
    "sourceCode",
    "sourceName",
    "matchScore",
    "mappingStatus",
    "equivalence",
    "conceptId",
    "conceptName",
    "mappingType",
    "comment",
];

/// Columns that Usagi reads as numbers, and what stands in them where there is nothing to say: it gives up on a file with an
/// empty one (OHDSI/Usagi, `ReadCodeMappingsFromFile`).
const NUMBERS: [&str; 4] = ["sourceFrequency", "matchScore", "statusSetOn", "createdOn"];
const UNSAID: &str = "0";

/// Words of Usagi for what is not decided, beside UNCHECKED (OHDSI/Usagi, `CodeMapping.MappingStatus`); they come back.
const UNDECIDED: [&str; 3] = ["FLAGGED", "AUTO_MAPPED", "AUTO_MAPPED_TO_1"];

/// Usagi's name for an equivalence, the source's side first (OHDSI/Usagi, `MappingTarget.Equivalence`): WIDER says that
/// the target is wider.
const EQUIVALENCE: [(&str, &str); 6] = [
    ("equivalent", "EQUAL"),
    ("equivalent", "EQUIVALENT"),
    ("source-is-narrower-than-target", "WIDER"),
    ("source-is-broader-than-target", "NARROWER"),
    ("related-to", "INEXACT"),
    ("not-related-to", "UNMATCHED"),
];

pub(super) fn from_usagi(text: &str) -> Result<Imported, Broken> {
    let grid = Grid::read(
        text,
        ',',
        0,
        &["sourceCode", "sourceName", "mappingStatus", "conceptId"],
    )?;
    let mut imported = Imported::default();
    for row in &grid.rows {
        let cell = |name: &str| grid.cell(row, name);
        // Usagi maps a code to a unit, a value or an operator beside the concept: no targets of the code itself.
        if let kind @ ("MAPS_TO_VALUE" | "MAPS_TO_UNIT" | "MAPS_TO_OPERATOR" | "MAPS_TO_TYPE" | "MAPS_TO_NUMBER") =
            cell("mappingType")
        {
            imported.put_aside(row.line, format!("{kind} is no mapping of the name"));
            continue;
        }
        let mut line = Line::default();
        line.set("source_code", cell("sourceCode"))
            .set("source_name", cell("sourceName"));
        let concept = cell("conceptId");
        if !concept.is_empty() && concept != "0" {
            if concept.parse::<u64>().is_err() {
                return Err(Broken {
                    line: row.line,
                    what: "conceptId is no number".into(),
                });
            }
            line.set("target_system", OMOP).set("target_code", concept);
        }
        line.set("target_name", cell("conceptName"))
            .set("note", cell("comment"));
        let equivalence = EQUIVALENCE.iter().find(|(_, theirs)| *theirs == cell("equivalence"));
        line.set("equivalence", equivalence.map_or("", |(ours, _)| ours));
        line.set(
            "score",
            Some(cell("matchScore"))
                .filter(|score| !is_unsaid(score))
                .unwrap_or_default(),
        );
        let status = match cell("mappingStatus") {
            "IGNORED" => "unmapped",
            "INVALID_TARGET" => "rejected",
            _ if line.get("target_code").is_empty() => "unmapped",
            "APPROVED" => "accepted",
            _ => "proposed",
        };
        line.set("status", status);
        if UNDECIDED.contains(&cell("mappingStatus")) {
            line.set("usagi_status", cell("mappingStatus"));
        }
        for (column, text) in grid.prefixed(row, ADDED) {
            if !text.is_empty() {
                line.set(column, text);
            }
        }
        if line.get("status") == "unmapped" && !line.get("target_code").is_empty() {
            line.set("target_code", "")
                .set("target_system", "")
                .set("target_name", "");
        }
        imported.sheet.lines.push(line);
    }
    let said = |column: &str| match NUMBERS.contains(&column) {
        true => grid.rows.iter().any(|row| !is_unsaid(grid.cell(row, column))),
        false => true,
    };
    imported.lost = grid.others(&USAGI_HOLDS, ADDED);
    imported.lost.retain(|column| said(column));
    Ok(imported)
}

/// Whether a number of Usagi says nothing.
fn is_unsaid(number: &str) -> bool {
    number.is_empty() || number.parse() == Ok(0.0)
}

pub(super) fn to_usagi(sheet: &Sheet) -> Exported {
    let mut added: Vec<&str> = vec!["status", "target_system", "target_code"];
    for line in &sheet.lines {
        for (column, _) in line.cells() {
            if !PLACED.contains(&column) && !matches!(column, "score" | "usagi_status") && !added.contains(&column) {
                added.push(column);
            }
        }
    }
    let added_names: Vec<String> = added.iter().map(|column| format!("{ADDED}{column}")).collect();
    let header = USAGI
        .iter()
        .copied()
        .chain(["assignedReviewer"])
        .chain(added_names.iter().map(String::as_str));
    let mut text = delimited(header, ',');
    for line in &sheet.lines {
        let omop = line.get("target_system") == OMOP;
        let equivalence = EQUIVALENCE.iter().find(|(ours, _)| *ours == line.get("equivalence"));
        let status = match line.get("status") {
            "accepted" => "APPROVED",
            "rejected" => "INVALID_TARGET",
            "unmapped" => "IGNORED",
            _ => match line.get("usagi_status") {
                "" => "UNCHECKED",
                word => word,
            },
        };
        let cells = [
            line.get("source_code"),
            line.get("source_name"),
            UNSAID,
            "",
            match line.get("score") {
                "" => UNSAID,
                score => score,
            },
            status,
            equivalence.map_or("UNREVIEWED", |(_, theirs)| theirs),
            "",
            UNSAID,
            if omop { line.get("target_code") } else { "0" },
            line.get("target_name"),
            "",
            "MAPS_TO",
            line.get("note"),
            "",
            UNSAID,
            "",
        ];
        text.push_str(&delimited(
            cells.into_iter().chain(added.iter().map(|column| line.get(column))),
            ',',
        ));
    }
    Exported {
        text,
        ..Exported::default()
    }
}

/// The days of `source_to_concept_map` that stand for none.
const FIRST: &str = "1970-01-01";
const LAST: &str = "2099-12-31";

const STCM: [&str; 9] = [
    "source_code",
    "source_concept_id",
    "source_vocabulary_id",
    "source_code_description",
    "target_concept_id",
    "target_vocabulary_id",
    "valid_start_date",
    "valid_end_date",
    "invalid_reason",
];

/// Columns of ours that this table holds; a name of its target stands in the vocabulary, an origin is another table's.
const STCM_HOLDS: [&str; 12] = [
    "source_code",
    "source_name",
    "target_system",
    "target_code",
    "target_name",
    "target_vocabulary",
    "status",
    "valid_from",
    "valid_to",
    "origin",
    "source_concept_id",
    "invalid_reason",
];

pub(super) fn from_stcm(text: &str) -> Result<Imported, Broken> {
    let grid = Grid::read(
        text,
        ',',
        0,
        &["source_code", "source_code_description", "target_concept_id"],
    )?;
    let mut imported = Imported::default();
    for row in &grid.rows {
        let cell = |name: &str| grid.cell(row, name);
        let concept = cell("target_concept_id");
        if concept.parse::<u64>().is_err() {
            return Err(Broken {
                line: row.line,
                what: "target_concept_id is no number".into(),
            });
        }
        let mut line = Line::default();
        line.set("source_code", cell("source_code"));
        line.set("source_name", cell("source_code_description"));
        if concept == "0" {
            line.set("status", "unmapped").set("note", "target_concept_id 0");
        } else {
            line.set("target_system", OMOP).set("target_code", concept);
            line.set("equivalence", "equivalent").set("status", "accepted");
            let vocabulary = Some(cell("target_vocabulary_id")).filter(|of| *of != "OMOP");
            line.set("target_vocabulary", vocabulary.unwrap_or_default());
        }
        // D: deleted, U: replaced by an update.
        let invalid = cell("invalid_reason");
        if !invalid.is_empty() {
            line.set("status", "rejected").set("invalid_reason", invalid);
        }
        // The table's own words for no first and no last day.
        let day = |name: &str, without: &str| Some(iso(cell(name))).filter(|day| day != without).unwrap_or_default();
        line.set("valid_from", day("valid_start_date", FIRST));
        line.set("valid_to", day("valid_end_date", LAST));
        line.set("origin", cell("source_vocabulary_id"));
        if cell("source_concept_id") != "0" {
            line.set("source_concept_id", cell("source_concept_id"));
        }
        imported.sheet.lines.push(line);
    }
    imported.lost = grid.others(&STCM, "");
    Ok(imported)
}

pub(super) fn to_stcm(sheet: &Sheet, name: &str) -> Exported {
    let mut text = delimited(STCM.into_iter(), ',');
    let (mut left_out, mut lost) = (0, Vec::new());
    // varchar(20) in the model.
    let vocabulary: String = name.chars().take(20).collect();
    for line in &sheet.lines {
        // A row that counts for one unit or specimen only would count for all.
        let narrowed = ["when_unit", "when_specimen"].iter().any(|of| !line.get(of).is_empty());
        let concept = match line.get("status") {
            _ if narrowed => {
                left_out += 1;
                continue;
            }
            "accepted" if line.get("target_system") == OMOP => line.get("target_code"),
            "unmapped" => "0",
            "rejected" if !line.get("invalid_reason").is_empty() => match line.get("target_code") {
                "" => "0",
                code if line.get("target_system") == OMOP => code,
                _ => {
                    left_out += 1;
                    continue;
                }
            },
            _ => {
                left_out += 1;
                continue;
            }
        };
        for (column, text) in line.cells() {
            let held = STCM_HOLDS.contains(&column) || (column == "equivalence" && text == "equivalent");
            if !held && !text.is_empty() && !lost.iter().any(|known| known == column) {
                lost.push(column.to_owned());
            }
        }
        let code = match line.get("source_code") {
            "" => line.get("source_name"),
            code => code,
        };
        let or = |column: &str, without: &'static str| match line.get(column) {
            "" => without.to_owned(),
            text => iso(text),
        };
        // Concept 0 is of the vocabulary None; of other concepts the table may say none.
        let target = match concept {
            "0" => "None".to_owned(),
            _ => or("target_vocabulary", "OMOP"),
        };
        let (from, to) = (or("valid_from", FIRST), or("valid_to", LAST));
        let invalid = match line.get("status") {
            "rejected" => line.get("invalid_reason"),
            _ => "",
        };
        let cells = [
            code,
            &or("source_concept_id", "0"),
            &vocabulary,
            line.get("source_name"),
            concept,
            &target,
            &from,
            &to,
            invalid,
        ];
        text.push_str(&delimited(cells.into_iter(), ','));
    }
    Exported {
        text,
        left_out,
        lost,
        cut: (name.chars().count() > 20).then_some("source_vocabulary_id"),
        licence: None,
    }
}
