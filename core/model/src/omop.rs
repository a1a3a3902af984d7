//! The tables of the OMOP Common Data Model 5.4, as a contract: fields, types, what must be there, what refers to what.
//!
//! The list is that of OHDSI's DataQualityDashboard, `inst/csv/OMOP_CDMv5.4_Field_Level.csv` (Apache-2.0), without the
//! vocabulary and the results schema, its integers read as 64 bits and its texts without limits (CDM issues 739 and 571).
//! `note_nlp_span` is not of the CDM: `note_nlp` has no place for the end of a span. That `note_nlp.note_id` refers to
//! `note` is said in the CDM's text only.

use std::sync::LazyLock;

/// Where the list comes from, with its licence.
pub const SOURCE: &str = "OHDSI DataQualityDashboard, OMOP_CDMv5.4_Field_Level.csv, Apache-2.0";

/// A concept that stands for "no standard concept" (CDM conventions: unmapped is 0).
pub const UNMAPPED: i64 = 0;
/// The concept of the encoding UTF-8, the only one there is for `note.encoding_concept_id`.
pub const UTF8: i64 = 32678;
/// The concept of version 5.4 of the model itself, for `cdm_source.cdm_version_concept_id`.
pub const VERSION: i64 = 756265;
/// The type concept of what comes from an electronic health record.
pub const FROM_EHR: i64 = 32817;

/// A table of the model.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its fields, in the model's order.
    pub fields: Vec<Field>,
}

/// A field of a table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The length that the model gives a text; clinmill does not cut.
    pub length: Option<u32>,
    /// NOT NULL.
    pub required: bool,
    /// The primary key.
    pub primary: bool,
    /// The table and field that it refers to.
    pub refers: Option<(&'static str, &'static str)>,
    /// The domain of the concepts that it may hold.
    pub domain: Option<&'static str>,
}

/// The types of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 64 bits.
    Integer,
    /// 64-bit floating point.
    Float,
    /// A day.
    Date,
    /// A local time.
    Datetime,
    /// Text.
    Text,
}

impl Table {
    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The primary key; `death` and `fact_relationship` have none.
    pub fn primary(&self) -> Option<&Field> {
        self.fields.iter().find(|f| f.primary)
    }
}

impl Field {
    /// True for a field that holds a concept id.
    pub fn is_concept(&self) -> bool {
        matches!(self.refers, Some(("concept", _)))
    }

    /// The text beside a concept: `unit_source_value` for `unit_concept_id` and for `unit_source_concept_id`.
    pub fn source_value(&self) -> Option<String> {
        let stem = self.name.strip_suffix("_concept_id")?;
        let stem = stem.strip_suffix("_source").unwrap_or(stem);
        Some(format!("{stem}_source_value"))
    }

    /// What a required concept holds where nothing is given.
    pub fn default_concept(&self) -> i64 {
        match self.name {
            "encoding_concept_id" => UTF8,
            "cdm_version_concept_id" => VERSION,
            name if name.ends_with("_type_concept_id") => FROM_EHR,
            _ => UNMAPPED,
        }
    }

    /// The time of which this date is the day: `measurement_datetime` for `measurement_date`.
    pub fn datetime(&self) -> Option<String> {
        (self.kind == Kind::Date).then(|| format!("{}time", self.name))
    }
}

/// All tables.
pub fn tables() -> &'static [Table] {
    &TABLES
}

/// A table by its name.
pub fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|t| t.name == name)
}

static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
    let mut tables: Vec<Table> = Vec::new();
    for line in include_str!("omop/cdm54.csv").lines().skip(1) {
        let mut cells = line.split(',');
        let mut next = || cells.next().unwrap_or_default();
        let (table, name, kind) = (next(), next(), next());
        let (required, primary, foreign_table, foreign_field, domain) = (next(), next(), next(), next(), next());
        let field = Field {
            name,
            kind: match kind {
                "integer" | "bigint" => Kind::Integer,
                "float" => Kind::Float,
                "date" => Kind::Date,
                "datetime" => Kind::Datetime,
                _ => Kind::Text,
            },
            length: kind
                .strip_prefix("varchar(")
                .and_then(|l| l.strip_suffix(')'))
                .and_then(|l| l.parse().ok()),
            required: required == "yes",
            primary: primary == "yes",
            refers: (!foreign_table.is_empty()).then_some((foreign_table, foreign_field)),
            domain: (!domain.is_empty()).then_some(domain),
        };
        match tables.last_mut().filter(|t| t.name == table) {
            Some(known) => known.fields.push(field),
            None => tables.push(Table {
                name: table,
                fields: vec![field],
            }),
        }
    }
    tables
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_refers_to_itself() {
        // Field counts of the CDM's documentation.
        for (name, fields) in [
            ("person", 18),
            ("observation_period", 5),
            ("visit_occurrence", 17),
            ("condition_occurrence", 16),
            ("drug_exposure", 23),
            ("procedure_occurrence", 16),
            ("measurement", 23),
            ("observation", 21),
            ("death", 7),
            ("note", 16),
            ("note_nlp", 14),
        ] {
            assert_eq!(table(name).unwrap().fields.len(), fields, "{name}");
        }
        for table in tables() {
            for field in &table.fields {
                assert!(!field.is_concept() || field.kind == Kind::Integer);
                if let Some((other, key)) = field.refers
                    && !matches!(other, "concept" | "vocabulary" | "domain")
                {
                    assert!(super::table(other).unwrap().field(key).is_some(), "{}", field.name);
                }
            }
        }
        assert!(table("concept").is_none());
    }

    #[test]
    fn what_stands_beside_a_field() {
        let measurement = table("measurement").unwrap();
        let unit = measurement.field("unit_concept_id").unwrap();
        assert_eq!(unit.source_value().unwrap(), "unit_source_value");
        assert!(!unit.required && unit.is_concept());
        assert_eq!(unit.domain, Some("Unit"));
        let date = measurement.field("measurement_date").unwrap();
        assert_eq!(date.datetime().unwrap(), "measurement_datetime");
        assert_eq!(
            measurement
                .field("measurement_type_concept_id")
                .unwrap()
                .default_concept(),
            FROM_EHR
        );
        let version = table("cdm_source").unwrap().field("cdm_version_concept_id").unwrap();
        assert_eq!(version.default_concept(), VERSION);
        assert_eq!(measurement.primary().unwrap().name, "measurement_id");
        assert_eq!(measurement.field("measurement_source_value").unwrap().length, Some(50));
        let note = table("note").unwrap();
        assert_eq!(note.field("encoding_concept_id").unwrap().default_concept(), UTF8);
        assert!(table("death").unwrap().primary().is_none());
    }
}
