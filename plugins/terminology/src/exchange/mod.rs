//! Mapping tables as other tools write them: Usagi, OMOP `source_to_concept_map`, FHIR ConceptMap, SSSOM.
//!
//! What a format has no place for goes into columns or extensions of our own, so that a table comes back as it was; only
//! `source_to_concept_map` has no such place.

mod fhir;
mod sssom;
mod tables;

use crate::sheet::Sheet;
use std::fmt;

/// The system of OMOP concept identifiers.
pub const OMOP: &str = "https://fhir-terminology.ohdsi.org";

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Save files of Usagi 1.4 (OHDSI/Usagi, `WriteCodeMappingsToFile`).
    Usagi,
    /// OMOP CDM 5.4, table `source_to_concept_map`.
    SourceToConceptMap,
    /// HL7 FHIR R4 ConceptMap, JSON.
    FhirR4,
    /// HL7 FHIR R5 ConceptMap, JSON.
    FhirR5,
    /// SSSOM 1.0, TSV with its metadata in comments.
    Sssom,
}

/// Why a file cannot be read: where, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// 1-based line, or 0 where the file has no lines to speak of.
    pub line: u32,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

impl std::error::Error for Broken {}

/// A file in another format, and how many rows it has no place for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The file.
    pub text: String,
    /// Rows that the format cannot hold.
    pub left_out: usize,
    /// Columns of the rows it holds that it has no place for.
    pub lost: Vec<String>,
}

/// Reads a file. `name` is the table's title, for formats that carry one.
///
/// # Errors
/// What is broken, with its line.
pub fn import(text: &str, format: Format) -> Result<Sheet, Broken> {
    let text = text.trim_start_matches('\u{feff}');
    match format {
        Format::Usagi => tables::from_usagi(text),
        Format::SourceToConceptMap => tables::from_stcm(text),
        Format::FhirR4 | Format::FhirR5 => fhir::from_json(text),
        Format::Sssom => sssom::from_tsv(text),
    }
}

/// Writes a file. `name` is the table's folder, for identifiers.
pub fn export(sheet: &Sheet, name: &str, format: Format) -> Exported {
    match format {
        Format::Usagi => tables::to_usagi(sheet),
        Format::SourceToConceptMap => tables::to_stcm(sheet, name),
        Format::FhirR4 => fhir::to_json(sheet, name, false),
        Format::FhirR5 => fhir::to_json(sheet, name, true),
        Format::Sssom => sssom::to_tsv(sheet, name),
    }
}

/// Columns that a format of this module has a place of its own for.
const PLACED: [&str; 7] = [
    "source_code",
    "source_name",
    "target_code",
    "target_name",
    "target_system",
    "equivalence",
    "note",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sheet::Line;

    fn sheet() -> Sheet {
        let line = |cells: &[(&str, &str)]| {
            let mut line = Line::default();
            for (column, text) in cells {
                line.set(column, *text);
            }
            line
        };
        Sheet {
            lines: vec![
                line(&[
                    ("source_name", "葡萄糖, \"血\""),
                    ("target_system", "http://loinc.org"),
                    ("target_code", "14749-6"),
                    ("target_name", "Glucose [Moles/volume]"),
                    ("equivalence", "equivalent"),
                    ("status", "accepted"),
                    ("unit", "mmol/L"),
                    ("when_unit", "*|mmol/L"),
                    ("origin", "manual"),
                    ("note", "two\nlines\tand a tab"),
                ]),
                line(&[
                    ("source_code", "K 1"),
                    ("source_name", "Kalium"),
                    ("target_system", OMOP),
                    ("target_code", "3023103"),
                    ("equivalence", "source-is-narrower-than-target"),
                    ("status", "accepted"),
                    ("valid_from", "2020-01-01"),
                    ("origin", "manual"),
                ]),
                line(&[
                    ("source_name", "c"),
                    ("target_system", "http://loinc.org"),
                    ("target_code", "2345-7"),
                    ("status", "proposed"),
                    ("score", "0.71"),
                ]),
                line(&[
                    ("source_name", "d"),
                    ("target_system", "http://loinc.org"),
                    ("target_code", "2345-7"),
                    ("equivalence", "not-related-to"),
                    ("status", "rejected"),
                ]),
                line(&[("source_code", "E"), ("status", "unmapped"), ("note", "why")]),
            ],
        }
    }

    fn sorted(sheet: &Sheet) -> Vec<String> {
        let mut lines: Vec<String> = sheet.lines.iter().map(|line| format!("{line:?}")).collect();
        lines.sort();
        lines
    }

    #[test]
    fn tables_come_back_as_they_were() {
        let sheet = sheet();
        for format in [Format::Usagi, Format::FhirR4, Format::FhirR5, Format::Sssom] {
            let file = export(&sheet, "x__y", format);
            assert_eq!((file.left_out, file.lost.len()), (0, 0), "{format:?}");
            let back = import(&file.text, format).unwrap();
            assert_eq!(sorted(&back), sorted(&sheet), "{format:?}\n{}", file.text);
        }
    }

    #[test]
    fn omop_gets_what_it_can_hold() {
        let file = export(&sheet(), "x__y", Format::SourceToConceptMap);
        assert_eq!(file.left_out, 3, "{}", file.text);
        assert_eq!(file.lost, ["equivalence", "note"], "what it cannot hold is named");
        let mut narrowed = sheet();
        narrowed.lines[1].set("when_unit", "mmol/L");
        let narrower = export(&narrowed, "x__y", Format::SourceToConceptMap);
        assert_eq!(narrower.left_out, 4, "a row with a condition would count everywhere");
        let back = import(&file.text, Format::SourceToConceptMap).unwrap();
        let cells: Vec<_> = back
            .lines
            .iter()
            .map(|line| ["source_code", "source_name", "target_code", "status"].map(|column| line.get(column)))
            .collect();
        assert_eq!(
            cells,
            [["K 1", "Kalium", "3023103", "accepted"], ["E", "", "", "unmapped"]]
        );
        assert_eq!(back.lines[0].get("valid_from"), "2020-01-01");
    }

    #[test]
    fn files_of_the_tools_themselves_are_read() {
        let usagi = "sourceCode,sourceName,sourceFrequency,sourceAutoAssignedConceptIds,matchScore,mappingStatus,equivalence,\
                     statusSetBy,statusSetOn,conceptId,conceptName,domainId,mappingType,comment,createdBy,createdOn,assignedReviewer\n\
                     K,Potassium,12,,0.93,APPROVED,EQUAL,me,1700000000000,3023103,Potassium,Measurement,MAPS_TO,ok,me,1700000000000,\n\
                     X,Unknown,1,,0.0,UNCHECKED,UNREVIEWED,,0,0,,,,,,0,\n";
        let sheet = import(usagi, Format::Usagi).unwrap();
        let cells = |line: usize, columns: [&str; 4]| columns.map(|column| sheet.lines[line].get(column).to_owned());
        assert_eq!(
            cells(0, ["target_system", "target_code", "status", "equivalence"]),
            [OMOP, "3023103", "accepted", "equivalent"]
        );
        assert_eq!(
            cells(1, ["target_system", "target_code", "status", "score"]),
            ["", "", "unmapped", "0.0"]
        );
        let r4 = r#"{"resourceType":"ConceptMap","group":[{"source":"urn:a","target":"http://loinc.org","element":[
            {"code":"GLU","display":"Glucose","target":[{"code":"2345-7","equivalence":"wider"}]},
            {"code":"ZZZ","target":[{"equivalence":"unmatched","comment":"no idea"}]},
            {"code":"HHH","target":[{"code":"2160-0","equivalence":"disjoint"}]}]}]}"#;
        let sheet = import(r4, Format::FhirR4).unwrap();
        assert_eq!(sheet.lines[0].get("equivalence"), "source-is-narrower-than-target");
        assert_eq!(
            [sheet.lines[1].get("status"), sheet.lines[1].get("note")],
            ["unmapped", "no idea"]
        );
        assert_eq!(sheet.lines[2].get("status"), "rejected", "not related is no mapping");
    }

    #[test]
    fn broken_files_say_where() {
        let stcm = "source_code,source_code_description,target_concept_id\nx,y,many\n";
        for (text, format, said) in [
            ("a,b\n1,2\n", Format::Usagi, "line 1: the column sourceCode is missing"),
            (
                "source_code,target_concept_id\nx,1\n",
                Format::SourceToConceptMap,
                "line 1: the column source_code_description is missing",
            ),
            (
                stcm,
                Format::SourceToConceptMap,
                "line 2: target_concept_id is no number",
            ),
            (
                "{\"resourceType\":\"Patient\"}",
                Format::FhirR5,
                "the resource is no ConceptMap",
            ),
            ("{", Format::FhirR4, "line 1: the file is no JSON"),
            (
                "#x: y\nsubject_id\tobject_id\na\tb\n",
                Format::Sssom,
                "line 2: the column predicate_id is missing",
            ),
            (
                "subject_label\tpredicate_id\tobject_id\na\tskos:exactMatch\tZZ:1\n",
                Format::Sssom,
                "line 2: the prefix \"ZZ\" is not in the curie_map",
            ),
        ] {
            assert_eq!(import(text, format).unwrap_err().to_string(), said);
        }
    }
}
