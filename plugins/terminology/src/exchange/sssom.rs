//! SSSOM (Simple Standard for Sharing Ontological Mappings, 1.0): tab-separated, metadata in comments before the header.

use super::{Broken, Declared, Exported, Imported, OMOP, PLACED, tables::Grid};
use crate::sheet::{Line, Sheet, delimited};
use serde_json::Value;
use std::fmt::Write;

/// Prefixes of CURIEs for the systems that the tables use.
const PREFIXES: [(&str, &str); 6] = [
    ("LOINC", "http://loinc.org"),
    ("OMOP", OMOP),
    ("UCUM", "http://unitsofmeasure.org"),
    ("ATC", "http://www.whocc.no/atc"),
    ("SCT", "http://snomed.info/sct"),
    ("RXNORM", "http://www.nlm.nih.gov/research/umls/rxnorm"),
];

const PREDICATES: [(&str, &str); 5] = [
    ("equivalent", "skos:exactMatch"),
    ("source-is-narrower-than-target", "skos:broadMatch"),
    ("source-is-broader-than-target", "skos:narrowMatch"),
    ("related-to", "skos:relatedMatch"),
    ("not-related-to", "semapv:differentFrom"),
];

/// The predicate of a row that says no equivalence.
const UNSAID: &str = "skos:mappingRelation";

/// Predicates of other vocabularies that say one of these (SSSOM's list of predicates; OWL 2, RDF Schema).
const OTHERS: [(&str, &str); 6] = [
    ("equivalent", "owl:sameAs"),
    ("equivalent", "owl:equivalentClass"),
    ("equivalent", "owl:equivalentProperty"),
    ("source-is-narrower-than-target", "rdfs:subClassOf"),
    ("source-is-broader-than-target", "sssom:superClassOf"),
    ("related-to", "skos:closeMatch"),
];

/// What stands for no target (SSSOM, `sssom:NoTermFound`).
const NONE: &str = "sssom:NoTermFound";

/// Prefix of the columns of our own.
const OURS: &str = "clinmill_";

/// The licence of a file that names none by a URI (sssom-py): a set of mappings has to have one.
const UNSPECIFIED: &str = "https://w3id.org/sssom/license/unspecified";

/// Begins the comment of a file that holds the table's licence: SSSOM's own place for one takes nothing but its URI.
const LICENCE: &str = "Licence: ";

/// A column that SSSOM has a place for beside those of all formats, with this text: its places for licence and source hold
/// a URI.
fn has_place(column: &str, text: &str) -> bool {
    PLACED.contains(&column) || column == "score" || (matches!(column, "licence" | "origin") && is_uri(text))
}

/// A URI with an authority, as licences and sources on the web have one; what is left out here goes into a column of ours.
fn is_uri(text: &str) -> bool {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#@!$&'()*+,;=%".contains(c);
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain) && rest.matches('#').count() < 2)
}

/// What stands in a CURIE as it is (RFC 3987, `ipchar`, and the characters of other scripts).
fn is_plain(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/".contains(c)
}

/// Characters that a CURIE cannot hold, as `%` and two hexadecimal digits.
fn escaped(code: &str) -> String {
    code.chars().fold(String::new(), |mut out, c| {
        let _ = match is_plain(c) {
            true => write!(out, "{c}"),
            false => write!(out, "%{:02X}", u32::from(c)),
        };
        out
    })
}

/// A text that is wrongly escaped stays as it is.
fn unescaped(code: &str) -> String {
    let mut parts = code.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|two| two.bytes().all(|c| c.is_ascii_hexdigit()));
        match digits.map(|digits| u8::from_str_radix(digits, 16)) {
            Some(Ok(byte)) => bytes.push(byte),
            _ => return code.to_owned(),
        }
        bytes.extend(part.as_bytes().iter().skip(2));
    }
    String::from_utf8(bytes).unwrap_or_else(|_| code.to_owned())
}

pub(super) fn to_tsv(sheet: &Sheet, name: &str, licence: &str) -> Exported {
    let mut systems: Vec<(String, String)> = Vec::new();
    let mut own: Vec<&str> = Vec::new();
    for line in &sheet.lines {
        let system = line.get("target_system");
        if !system.is_empty() && !systems.iter().any(|(_, known)| known == system) {
            let known = PREFIXES.iter().find(|(_, known)| *known == system);
            let prefix = known.map_or_else(|| format!("T{}", systems.len()), |(prefix, _)| (*prefix).to_owned());
            systems.push((prefix, system.to_owned()));
        }
        for (column, text) in line.cells() {
            if !has_place(column, text) && !own.contains(&column) {
                own.push(column);
            }
        }
    }
    let mut text = format!("#mapping_set_id: urn:clinmill:mapping:{name}\n");
    let uri = Some(licence).filter(|licence| is_uri(licence));
    let _ = writeln!(text, "#license: {}", uri.unwrap_or(UNSPECIFIED));
    if uri.is_none() && !licence.is_empty() {
        // JSON's strings are YAML's, on one line.
        let _ = writeln!(text, "#comment: {}", Value::from(format!("{LICENCE}{licence}")));
    }
    text.push_str("#curie_map:\n");
    let _ = writeln!(text, "#  SRC: 'urn:clinmill:source:{name}:'");
    for (prefix, system) in &systems {
        let _ = writeln!(text, "#  {prefix}: '{system}/'");
    }
    let header = [
        "subject_id",
        "subject_label",
        "subject_type",
        "predicate_id",
        "object_id",
        "object_label",
        "mapping_justification",
        "confidence",
        "license",
        "mapping_source",
        "comment",
    ];
    let names: Vec<String> = own.iter().map(|column| format!("{OURS}{column}")).collect();
    text.push_str(&delimited(
        header.into_iter().chain(names.iter().map(String::as_str)),
        '\t',
    ));
    for line in &sheet.lines {
        let subject = match line.get("source_code") {
            "" => String::new(),
            code => format!("SRC:{}", escaped(code)),
        };
        let prefix = systems.iter().find(|(_, system)| system == line.get("target_system"));
        let object = match (line.get("target_code"), prefix) {
            ("", _) | (_, None) => NONE.to_owned(),
            (code, Some((prefix, _))) => format!("{prefix}:{}", escaped(code)),
        };
        let predicate = PREDICATES.iter().find(|(ours, _)| *ours == line.get("equivalence"));
        let justification = match line.get("status") {
            "proposed" => "semapv:LexicalMatching",
            _ => "semapv:ManualMappingCuration",
        };
        let cells = [
            subject.as_str(),
            line.get("source_name"),
            if subject.is_empty() { "rdfs literal" } else { "" },
            predicate.map_or(UNSAID, |(_, theirs)| theirs),
            object.as_str(),
            line.get("target_name"),
            justification,
            line.get("score"),
            Some(line.get("licence"))
                .filter(|text| is_uri(text))
                .unwrap_or_default(),
            Some(line.get("origin")).filter(|text| is_uri(text)).unwrap_or_default(),
            line.get("note"),
        ];
        let of_ours = own.iter().map(|column| match line.get(column) {
            text if has_place(column, text) => "",
            text => text,
        });
        text.push_str(&delimited(cells.into_iter().chain(of_ours), '\t'));
    }
    Exported {
        text,
        ..Exported::default()
    }
}

/// Columns of SSSOM that a table has a place for, or that say nothing beside the others.
const HELD: [&str; 12] = [
    "subject_id",
    "subject_label",
    "subject_type",
    "predicate_id",
    "predicate_modifier",
    "object_id",
    "object_label",
    "mapping_justification",
    "confidence",
    "license",
    "mapping_source",
    "comment",
];

/// Takes over one key of a file's metadata (SSSOM, class MappingSet).
fn declare(imported: &mut Imported, key: &str, text: &str) {
    let declared = &mut imported.declared;
    match key {
        "license" if !text.is_empty() && text != UNSPECIFIED => declared.licence = Some(text.to_owned()),
        "comment" if text.starts_with(LICENCE) => {
            declared.licence = text.strip_prefix(LICENCE).map(str::to_owned);
        }
        "subject_source" => Declared::add(&mut declared.from, text),
        "mapping_set_id" | "mapping_set_title" | "mapping_set_version" => Declared::add(&mut declared.origin, text),
        "license" | "curie_map" | "extension_definitions" | "sssom_version" => {}
        key => Declared::add(&mut imported.lost, key),
    }
}

/// A text of the metadata, which is YAML: between quotes, or as it is.
fn unquoted(text: &str) -> String {
    let quoted = text.strip_prefix('"').and_then(|_| serde_json::from_str(text).ok());
    quoted.unwrap_or_else(|| text.trim_matches(['"', '\'']).to_owned())
}

/// The system that a prefix stands for.
fn system<'a>(systems: &'a [(String, String)], prefix: &str, line: u32) -> Result<&'a str, Broken> {
    let known = systems.iter().find(|(known, _)| known == prefix);
    known.map(|(_, system)| system.as_str()).ok_or_else(|| Broken {
        line,
        what: format!("the prefix {prefix:?} is not in the curie_map"),
    })
}

/// Collects the systems that the subjects are of, and says whether there are several: their codes keep the prefixes then,
/// so that 5 of one and 5 of another stay two codes.
fn subjects(grid: &Grid, systems: &[(String, String)], from: &mut Vec<String>) -> Result<bool, Broken> {
    let mut prefixes: Vec<&str> = Vec::new();
    for row in &grid.rows {
        let prefix = match grid.cell(row, "subject_id") {
            "" => continue,
            subject => subject.split_once(':').map_or("", |(prefix, _)| prefix),
        };
        if !prefixes.contains(&prefix) {
            prefixes.push(prefix);
            if !prefix.is_empty() {
                Declared::add(from, system(systems, prefix, row.line)?);
            }
        }
    }
    Ok(prefixes.len() > 1)
}

pub(super) fn from_tsv(file: &str) -> Result<Imported, Broken> {
    let mut systems: Vec<(String, String)> = PREFIXES
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect();
    let mut skipped = 0;
    let mut rest = file;
    let mut imported = Imported::default();
    let mut under = String::new();
    while rest.starts_with('#') {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        if let Some((key, text)) = line.strip_prefix('#').and_then(|line| line.split_once(':')) {
            let text = unquoted(text.trim());
            // What belongs to a key is indented.
            if !key.starts_with([' ', '\t']) {
                under = key.trim().to_owned();
                declare(&mut imported, &under, &text);
            } else if under == "curie_map" {
                systems.insert(0, (key.trim().to_owned(), text.trim_end_matches('/').to_owned()));
            }
        }
        skipped += 1;
        rest = after;
    }
    let grid = Grid::read(rest, '\t', skipped, &["subject_label", "predicate_id", "object_id"])
        .or_else(|_| Grid::read(rest, '\t', skipped, &["subject_id", "predicate_id", "object_id"]))?;
    imported.lost.extend(grid.others(&HELD, OURS));
    let several = subjects(&grid, &systems, &mut imported.declared.from)?;
    for row in &grid.rows {
        let cell = |name: &str| grid.cell(row, name);
        let mut line = Line::default();
        let subject = cell("subject_id");
        let code = subject.split_once(':').filter(|_| !several);
        line.set("source_code", unescaped(code.map_or(subject, |(_, code)| code)));
        line.set("source_name", cell("subject_label"));
        match cell("object_id") {
            "" | NONE => line.set("status", "unmapped"),
            object => {
                let (prefix, code) = object.split_once(':').ok_or_else(|| Broken {
                    line: row.line,
                    what: "object_id is no CURIE".into(),
                })?;
                line.set("target_system", system(&systems, prefix, row.line)?)
                    .set("target_code", unescaped(code));
                line.set(
                    "status",
                    if cell("mapping_justification") == "semapv:LexicalMatching" {
                        "proposed"
                    } else {
                        "accepted"
                    },
                )
            }
        };
        line.set("target_name", cell("object_label"))
            .set("note", cell("comment"));
        let mut known = PREDICATES.iter().chain(&OTHERS);
        let ours = known.find(|(_, theirs)| *theirs == cell("predicate_id"));
        // skos:mappingRelation says that there is one, and not which.
        let unsaid = cell("predicate_id") == UNSAID || line.get("status") == "unmapped";
        if ours.is_none() && !unsaid {
            imported.put_aside(row.line, "the predicate says no equivalence");
            continue;
        }
        line.set("equivalence", ours.map_or("", |(ours, _)| ours));
        line.set("score", cell("confidence"))
            .set("licence", cell("license"))
            .set("origin", cell("mapping_source"));
        if cell("predicate_modifier") == "Not" {
            line.set("status", "rejected");
        }
        for (column, text) in grid.prefixed(row, OURS) {
            if !text.is_empty() {
                line.set(column, text);
            }
        }
        imported.sheet.lines.push(line);
    }
    Ok(imported)
}
