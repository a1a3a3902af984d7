//! Mapping tables as other tools write them: Usagi, OMOP `source_to_concept_map`, FHIR ConceptMap, SSSOM.
//!
//! What a format has no place for goes into columns or extensions of our own, so that a table comes back as it was; only
//! `source_to_concept_map` has no such place.

mod fhir;
mod sssom;
mod tables;

use crate::sheet::Sheet;
use saphyr::{LoadableYamlNode, Yaml};
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

/// A file of another format as a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The rows.
    pub sheet: Sheet,
    /// What a table of mappings cannot say, and was left out: a unit or value of the target, a mapping under a condition.
    pub aside: Vec<Broken>,
    /// What the file says of itself.
    pub declared: Declared,
    /// Columns and keys of the file that hold something and have no place in a table.
    pub lost: Vec<String>,
}

/// What a file says of itself, for `mapping.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// The licence or the notice of copyright.
    pub licence: Option<String>,
    /// The systems or value sets of the source.
    pub from: Vec<String>,
    /// What the file calls itself, its version, its publisher.
    pub origin: Vec<String>,
}

impl Declared {
    /// Adds a text once, unless it is one of our own files that says it.
    fn add(list: &mut Vec<String>, text: &str) {
        let ours = text.is_empty() || text.starts_with("urn:clinmill:");
        if !ours && !list.iter().any(|known| known == text) {
            list.push(text.to_owned());
        }
    }
}

impl Imported {
    /// Leaves something out.
    fn put_aside(&mut self, line: u32, what: impl Into<String>) {
        self.aside.push(Broken {
            line,
            what: what.into(),
        });
    }
}

/// A file in another format, and how many rows it has no place for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// The file.
    pub text: String,
    /// Rows that the format cannot hold.
    pub left_out: usize,
    /// Columns of the rows it holds that it has no place for.
    pub lost: Vec<String>,
    /// A text that was cut, by the column that it stands in.
    pub cut: Option<&'static str>,
    /// The licence of the table, where the file has no place for it: it has to go along by other means.
    pub licence: Option<String>,
}

/// Reads a file. `name` is the table's title, for formats that carry one.
///
/// # Errors
/// What is broken, with its line.
pub fn import(text: &str, format: Format) -> Result<Imported, Broken> {
    let text = text.trim_start_matches('\u{feff}');
    match format {
        Format::Usagi => tables::from_usagi(text),
        Format::SourceToConceptMap => tables::from_stcm(text),
        Format::FhirR4 | Format::FhirR5 => fhir::from_json(text),
        Format::Sssom => sssom::from_tsv(text),
    }
}

/// Writes a file. `name` is the table's folder, for identifiers; `licence` is the table's, with its notices, and stands in
/// the file where that has a place.
pub fn export(sheet: &Sheet, name: &str, licence: &str, format: Format) -> Exported {
    let placeless = Some(licence.to_owned()).filter(|text| !text.is_empty());
    match format {
        Format::Usagi => Exported {
            licence: placeless,
            ..tables::to_usagi(sheet)
        },
        Format::SourceToConceptMap => Exported {
            licence: placeless,
            ..tables::to_stcm(sheet, name)
        },
        Format::FhirR4 => fhir::to_json(sheet, name, licence, false),
        Format::FhirR5 => fhir::to_json(sheet, name, licence, true),
        Format::Sssom => sssom::to_tsv(sheet, name, licence),
    }
}

/// What a `mapping.yaml` says of the licence; nothing where it is no YAML or says none.
pub fn licence(declared: &str) -> String {
    let documents = Yaml::load_from_str(declared).unwrap_or_default();
    let licence = documents.first().and_then(|of| of.as_mapping_get("licence"));
    licence.and_then(Yaml::as_str).unwrap_or_default().trim().to_owned()
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
mod tests;
