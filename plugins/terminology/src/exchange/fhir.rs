//! FHIR ConceptMap, R4 and R5 (HL7 FHIR, resource ConceptMap).

use super::{Broken, Declared, Exported, Imported, PLACED};
use crate::sheet::{Line, Sheet};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Before the name of a column in an extension of our own.
const OURS: &str = "urn:clinmill:mapping:";

/// Columns that say when a row counts: FHIR's `dependsOn`, so that no reader takes the mapping without its condition.
const CONDITIONS: [&str; 2] = ["when_unit", "when_specimen"];

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
    // R5 names what a mapping depends on by a code that the file explains.
    let attributes: HashMap<&str, &str> = list(&map, "additionalAttribute")
        .map(|attribute| (text(attribute, "code"), text(attribute, "uri")))
        .collect();
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
                let beyond = match (conditions(target, &attributes), list(target, "product").next()) {
                    (None, _) => "a mapping that depends on something else (dependsOn)",
                    (_, Some(_)) => "a mapping to more than one thing (product)",
                    (Some(conditions), None) => {
                        let mut line = line(element, target, system);
                        for (column, value) in conditions {
                            line.set(column, value);
                        }
                        imported.sheet.lines.push(line);
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

/// What a mapping depends on, by column; none where that is something that a table cannot say.
fn conditions<'a>(target: &'a Value, attributes: &HashMap<&str, &'a str>) -> Option<Vec<(&'a str, &'a str)>> {
    let of = |dependency: &'a Value| {
        let attribute = attributes.get(text(dependency, "attribute")).copied();
        let uri = attribute.unwrap_or_else(|| text(dependency, "property"));
        let column = uri.strip_prefix(OURS).filter(|column| CONDITIONS.contains(column))?;
        let value = ["value", "valueString"]
            .into_iter()
            .map(|key| text(dependency, key))
            .find(|value| !value.is_empty())?;
        Some((column, value))
    };
    list(target, "dependsOn").map(of).collect()
}

/// Keys of a ConceptMap that are taken over, or that say nothing where there is a table.
const HELD: [&str; 9] = [
    "additionalAttribute",
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
    let used = |column: &&str| sheet.lines.iter().any(|line| !line.get(column).is_empty());
    let attributes: Vec<Value> = CONDITIONS
        .iter()
        .filter(|column| r5 && used(column))
        .map(|column| json!({ "code": column, "uri": format!("{OURS}{column}"), "type": "string" }))
        .collect();
    if let (Some(map), false) = (map.as_object_mut(), attributes.is_empty()) {
        map.insert("additionalAttribute".into(), attributes.into());
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
    // R5 has no target where there is no code, and nothing that could depend.
    let depends = !r5 || !line.get("target_code").is_empty();
    let is_placed = |column: &str| PLACED.contains(&column) || (depends && CONDITIONS.contains(&column));
    for (column, text) in line.cells().filter(|(column, _)| !is_placed(column)) {
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
    let conditions = CONDITIONS
        .iter()
        .filter(|column| depends && !line.get(column).is_empty());
    let conditions: Vec<Value> = conditions
        .map(|column| match r5 {
            true => json!({ "attribute": column, "valueString": line.get(column) }),
            false => json!({ "property": format!("{OURS}{column}"), "value": line.get(column) }),
        })
        .collect();
    if !conditions.is_empty() {
        target.insert("dependsOn".into(), conditions.into());
    }
    if !extensions.is_empty() {
        element.insert("extension".into(), extensions.into());
    }
    if !target.is_empty() {
        element.insert("target".into(), json!([target]));
    }
    Value::Object(element)
}
