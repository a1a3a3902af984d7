//! SSSOM (Simple Standard for Sharing Ontological Mappings, 1.0): tab-separated, metadata in comments before the header.

use super::{Broken, Declared, Exported, Imported, OMOP, PLACED, tables::Grid};
use crate::sheet::{Line, Sheet, delimited};
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

/// Columns that SSSOM has a place for beside those of all formats.
const MORE: [&str; 3] = ["score", "licence", "origin"];

/// Characters that a CURIE cannot hold, as `%` and two hexadecimal digits.
fn escaped(code: &str) -> String {
    let mut out = String::new();
    for byte in code.bytes() {
        match byte {
            b'%' | b' ' | b'\t' | b'\n' | b'"' => {
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(char::from(byte)),
        }
    }
    // Bytes of other scripts were taken one by one: they stay as they were.
    if code.is_ascii() {
        out
    } else {
        code.replace('%', "%25").replace(' ', "%20").replace('\t', "%09")
    }
}

fn unescaped(code: &str) -> String {
    ["%20", "%09", "%0A", "%22"]
        .iter()
        .zip([" ", "\t", "\n", "\""])
        .fold(code.to_owned(), |code, (from, to)| code.replace(from, to))
        .replace("%25", "%")
}

pub(super) fn to_tsv(sheet: &Sheet, name: &str) -> Exported {
    let mut systems: Vec<(String, String)> = Vec::new();
    let mut own: Vec<&str> = Vec::new();
    for line in &sheet.lines {
        let system = line.get("target_system");
        if !system.is_empty() && !systems.iter().any(|(_, known)| known == system) {
            let known = PREFIXES.iter().find(|(_, known)| *known == system);
            let prefix = known.map_or_else(|| format!("T{}", systems.len()), |(prefix, _)| (*prefix).to_owned());
            systems.push((prefix, system.to_owned()));
        }
        for (column, _) in line.cells() {
            if !PLACED.contains(&column) && !MORE.contains(&column) && !own.contains(&column) {
                own.push(column);
            }
        }
    }
    let mut text = format!("#mapping_set_id: urn:clinmill:mapping:{name}\n#license: {ELSEWHERE}\n#curie_map:\n");
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
            line.get("licence"),
            line.get("origin"),
            line.get("note"),
        ];
        text.push_str(&delimited(
            cells.into_iter().chain(own.iter().map(|column| line.get(column))),
            '\t',
        ));
    }
    Exported {
        text,
        left_out: 0,
        lost: Vec::new(),
        cut: None,
    }
}

/// The licence of a file of ours, whose table says it.
const ELSEWHERE: &str = "see mapping.yaml";

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
        "license" if text != ELSEWHERE && !text.is_empty() => declared.licence = Some(text.to_owned()),
        "subject_source" => Declared::add(&mut declared.from, text),
        "mapping_set_id" | "mapping_set_title" | "mapping_set_version" => Declared::add(&mut declared.origin, text),
        "license" | "curie_map" | "sssom_version" => {}
        key => Declared::add(&mut imported.lost, key),
    }
}

pub(super) fn from_tsv(file: &str) -> Result<Imported, Broken> {
    let mut systems: Vec<(String, String)> = PREFIXES
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect();
    let mut skipped = 0;
    let mut rest = file;
    let mut imported = Imported::default();
    while rest.starts_with('#') {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        // The entries of the prefix map are indented; nothing else in the metadata names a system.
        if let Some((prefix, system)) = line
            .strip_prefix("#  ")
            .or(line.strip_prefix("# "))
            .and_then(|l| l.split_once(':'))
        {
            let system = system.trim().trim_matches(['"', '\'']).trim_end_matches('/');
            systems.insert(0, (prefix.trim().to_owned(), system.to_owned()));
        } else if let Some((key, text)) = line.strip_prefix('#').and_then(|line| line.split_once(':'))
            && !key.starts_with([' ', '\t'])
        {
            declare(&mut imported, key.trim(), text.trim().trim_matches(['"', '\'']));
        }
        skipped += 1;
        rest = after;
    }
    let grid = Grid::read(rest, '\t', skipped, &["subject_label", "predicate_id", "object_id"])
        .or_else(|_| Grid::read(rest, '\t', skipped, &["subject_id", "predicate_id", "object_id"]))?;
    imported.lost.extend(grid.others(&HELD, OURS));
    for row in &grid.rows {
        let cell = |name: &str| grid.cell(row, name);
        let mut line = Line::default();
        let subject = cell("subject_id");
        line.set(
            "source_code",
            unescaped(subject.split_once(':').map_or(subject, |(_, code)| code)),
        );
        line.set("source_name", cell("subject_label"));
        match cell("object_id") {
            "" | NONE => line.set("status", "unmapped"),
            object => {
                let (prefix, code) = object.split_once(':').ok_or_else(|| Broken {
                    line: row.line,
                    what: "object_id is no CURIE".into(),
                })?;
                let system = systems
                    .iter()
                    .find(|(known, _)| known == prefix)
                    .ok_or_else(|| Broken {
                        line: row.line,
                        what: format!("the prefix {prefix:?} is not in the curie_map"),
                    })?;
                line.set("target_system", system.1.as_str())
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
