//! FHIR ConceptMap, R4 and R5 (HL7 FHIR, resource ConceptMap).

use super::{Broken, Declared, Exported, Imported, PLACED};
use crate::sheet::{Line, Sheet};
use serde_json::{Map, Value, json};

/// Before the name of a column in an extension of our own.
const OURS: &str = "urn:clinmill:mapping:";

/// R5's relationship and R4's equivalence, which is said of the target: `wider` is a target that is wider, and one that
/// `subsumes` the source is wider too (FHIR R4, code system `concept-map-equivalence`).
const RELATION: [(&str, &str); 9] = [
    ("equivalent", "equivalent"),
    ("equivalent", "equal"),
    ("source-is-narrower-than-target", "wider"),
    ("source-is-narrower-than-target", "subsumes"),
    ("source-is-broader-than-target", "narrower"),
    ("source-is-broader-than-target", "specializes"),
    ("related-to", "relatedto"),
    ("related-to", "inexact"),
    ("not-related-to", "disjoint"),
];

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn from_json(file: &str) -> Result<Imported, Broken> {
    let map: Value = serde_json::from_str(file).map_err(|error| Broken {
        line: u32::try_from(error.line()).unwrap_or_default(),
        what: "the file is no JSON".into(),
    })?;
    if text(&map, "resourceType") != "ConceptMap" {
        return Err(Broken {
            line: 0,
            what: "the resource is no ConceptMap".into(),
        });
    }
    let mut imported = Imported::default();
    declare(&mut imported, &map);
    for (at, group) in list(&map, "group").enumerate() {
        // A canonical URL may carry the version of the system.
        let system = text(group, "target").split('|').next().unwrap_or_default();
        for (of, element) in list(group, "element").enumerate() {
            let mut targets: Vec<&Value> = list(element, "target").collect();
            let none = Value::Null;
            if targets.is_empty() {
                targets.push(&none);
            }
            for (to, target) in targets.into_iter().enumerate() {
                let more = |key: &str| list(target, key).next().is_some();
                let beyond = match (more("dependsOn"), more("product")) {
                    (true, _) => "a mapping that depends on something else (dependsOn)",
                    (_, true) => "a mapping to more than one thing (product)",
                    _ => {
                        imported.sheet.lines.push(line(element, target, system));
                        continue;
                    }
                };
                imported.put_aside(0, format!("group[{at}].element[{of}].target[{to}]: {beyond}"));
            }
        }
        if group.get("unmapped").is_some_and(Value::is_object) {
            imported.put_aside(
                0,
                format!("group[{at}].unmapped: what is to be done with all other codes"),
            );
        }
    }
    Ok(imported)
}

/// Keys of a ConceptMap that are taken over, or that say nothing where there is a table.
const HELD: [&str; 8] = [
    "resourceType",
    "id",
    "name",
    "status",
    "group",
    "meta",
    "text",
    "copyright",
];
/// Those that say what it maps from, in R4 and R5.
const FROM: [&str; 4] = ["sourceUri", "sourceCanonical", "sourceScopeUri", "sourceScopeCanonical"];
/// Those that say what the file is.
const ORIGIN: [&str; 3] = ["url", "version", "publisher"];

/// Takes over what a file says of itself.
fn declare(imported: &mut Imported, map: &Value) {
    let declared = &mut imported.declared;
    declared.licence = Some(text(map, "copyright").to_owned()).filter(|text| !text.is_empty());
    for group in list(map, "group") {
        Declared::add(&mut declared.from, text(group, "source"));
    }
    for key in FROM {
        Declared::add(&mut declared.from, text(map, key));
    }
    for key in ORIGIN {
        Declared::add(&mut declared.origin, text(map, key));
    }
    let keys = map.as_object().into_iter().flat_map(Map::keys);
    let others = keys.filter(|key| {
        ![&HELD[..], &FROM, &ORIGIN]
            .iter()
            .any(|held| held.contains(&key.as_str()))
    });
    imported.lost.extend(others.cloned());
}

fn line(element: &Value, target: &Value, system: &str) -> Line {
    let mut line = Line::default();
    line.set("source_code", text(element, "code"))
        .set("source_name", text(element, "display"));
    let code = text(target, "code");
    if code.is_empty() || text(target, "equivalence") == "unmatched" {
        line.set("status", "unmapped");
    } else {
        line.set("target_system", system)
            .set("target_code", code)
            .set("target_name", text(target, "display"));
        line.set("status", "accepted");
        let relation = match text(target, "relationship") {
            "" => RELATION
                .iter()
                .find(|(_, theirs)| *theirs == text(target, "equivalence"))
                .map_or("", |(ours, _)| ours),
            relation => relation,
        };
        line.set("equivalence", relation);
        if relation == "not-related-to" {
            line.set("status", "rejected");
        }
    }
    line.set("note", text(target, "comment"));
    for one in list(element, "extension").chain(list(target, "extension")) {
        let Some(column) = text(one, "url").strip_prefix(OURS) else {
            continue;
        };
        match column {
            "no-code" => line.set("source_code", ""),
            "no-equivalence" => line.set("equivalence", ""),
            column => line.set(column, text(one, "valueString")),
        };
    }
    line
}

pub(super) fn to_json(sheet: &Sheet, name: &str, licence: &str, r5: bool) -> Exported {
    let mut groups: Vec<(String, Vec<Value>)> = Vec::new();
    for line in &sheet.lines {
        let system = line.get("target_system").to_owned();
        let element = element(line, r5);
        match groups.iter_mut().find(|(known, _)| *known == system) {
            Some((_, elements)) => elements.push(element),
            None => groups.push((system, vec![element])),
        }
    }
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|(system, elements)| {
            let mut group = Map::new();
            group.insert("source".into(), format!("urn:clinmill:source:{name}").into());
            if !system.is_empty() {
                group.insert("target".into(), system.into());
            }
            group.insert("element".into(), elements.into());
            Value::Object(group)
        })
        .collect();
    let mut map = json!({ "resourceType": "ConceptMap", "url": format!("urn:clinmill:mapping:{name}"), "name": name,
        "status": "active", "group": groups });
    if let (Some(map), false) = (map.as_object_mut(), licence.is_empty()) {
        map.insert("copyright".into(), licence.into());
    }
    Exported {
        text: format!("{map:#}\n"),
        ..Exported::default()
    }
}

fn element(line: &Line, r5: bool) -> Value {
    let mut element = Map::new();
    let mut extensions: Vec<Value> = Vec::new();
    let mut extend = |column: &str, text: &str| {
        extensions.push(json!({ "url": format!("{OURS}{column}"), "valueString": text }));
    };
    let (code, name) = (line.get("source_code"), line.get("source_name"));
    // An element without a code could not be looked up by $translate: the name stands in for it.
    let shown = if code.is_empty() { name } else { code };
    element.insert("code".into(), shown.into());
    if code.is_empty() {
        extend("no-code", "true");
    }
    if !name.is_empty() {
        element.insert("display".into(), name.into());
    }
    for (column, text) in line.cells().filter(|(column, _)| !PLACED.contains(column)) {
        extend(column, text);
    }
    let mut target = Map::new();
    if line.get("target_code").is_empty() {
        if r5 {
            element.insert("noMap".into(), true.into());
            if !line.get("note").is_empty() {
                extend("note", line.get("note"));
            }
        } else {
            target.insert("equivalence".into(), "unmatched".into());
        }
        if !line.get("equivalence").is_empty() {
            extend("equivalence", line.get("equivalence"));
        }
    } else {
        target.insert("code".into(), line.get("target_code").into());
        if !line.get("target_name").is_empty() {
            target.insert("display".into(), line.get("target_name").into());
        }
        let relation = match line.get("equivalence") {
            "" => {
                extend("no-equivalence", "true");
                "related-to"
            }
            relation => relation,
        };
        if r5 {
            target.insert("relationship".into(), relation.into());
        } else {
            let theirs = RELATION.iter().find(|(ours, _)| *ours == relation);
            target.insert(
                "equivalence".into(),
                theirs.map_or("relatedto", |(_, theirs)| theirs).into(),
            );
        }
    }
    if !line.get("note").is_empty() && !target.is_empty() {
        target.insert("comment".into(), line.get("note").into());
    }
    if !extensions.is_empty() {
        element.insert("extension".into(), extensions.into());
    }
    if !target.is_empty() {
        element.insert("target".into(), json!([target]));
    }
    Value::Object(element)
}
