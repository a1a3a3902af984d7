//! Tables to the formats of other tools and back.

use super::*;
use crate::sheet::Line;
use serde_json::{Value, json};

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
        let file = export(&sheet, "x__y", "", format);
        assert_eq!((file.left_out, file.lost.len()), (0, 0), "{format:?}");
        let Imported { sheet: back, aside, .. } = import(&file.text, format).unwrap();
        assert_eq!(aside, [], "{format:?}");
        assert_eq!(sorted(&back), sorted(&sheet), "{format:?}\n{}", file.text);
    }
}

/// FHIR R4 and R5, `ConceptMap.group.element.target.dependsOn`: a reader who cannot tell whether it holds has no mapping.
#[test]
fn conditions_are_what_a_mapping_depends_on() {
    let mut sheet = sheet();
    sheet.lines[0].set("when_specimen", "blood|serum");
    sheet.lines[4].set("when_unit", "%");
    for (format, unit, specimen) in [
        (
            Format::FhirR4,
            json!({ "property": "urn:clinmill:mapping:when_unit", "value": "*|mmol/L" }),
            json!({ "property": "urn:clinmill:mapping:when_specimen", "value": "blood|serum" }),
        ),
        (
            Format::FhirR5,
            json!({ "attribute": "when_unit", "valueString": "*|mmol/L" }),
            json!({ "attribute": "when_specimen", "valueString": "blood|serum" }),
        ),
    ] {
        let file = export(&sheet, "x__y", "", format);
        let map: Value = serde_json::from_str(&file.text).unwrap();
        let depends = &map["group"][0]["element"][0]["target"][0]["dependsOn"];
        assert_eq!(*depends, json!([unit, specimen]), "{format:?}");
        if format == Format::FhirR5 {
            let declared = json!({ "code": "when_unit", "uri": "urn:clinmill:mapping:when_unit", "type": "string" });
            assert_eq!(map["additionalAttribute"][0], declared);
        }
        let Imported {
            sheet: back,
            aside,
            lost,
            ..
        } = import(&file.text, format).unwrap();
        assert_eq!((aside, lost), Default::default(), "{format:?}");
        assert_eq!(sorted(&back), sorted(&sheet), "{format:?}\n{}", file.text);
    }
    // As they went out before.
    let former = r#"{"resourceType":"ConceptMap","group":[{"target":"http://loinc.org","element":[{"code":"K","target":[{"code":"2823-3"}],
        "extension":[{"url":"urn:clinmill:mapping:when_unit","valueString":"mmol/L"}]}]}]}"#;
    assert_eq!(
        import(former, Format::FhirR4).unwrap().sheet.lines[0].get("when_unit"),
        "mmol/L"
    );
}

#[test]
fn omop_gets_what_it_can_hold() {
    let file = export(&sheet(), "x__y", "", Format::SourceToConceptMap);
    assert_eq!(file.left_out, 3, "{}", file.text);
    assert_eq!(file.lost, ["equivalence", "note"], "what it cannot hold is named");
    let mut narrowed = sheet();
    narrowed.lines[1].set("when_unit", "mmol/L");
    let narrower = export(&narrowed, "x__y", "", Format::SourceToConceptMap);
    assert_eq!(narrower.left_out, 4, "a row with a condition would count everywhere");
    assert_eq!(file.cut, None);
    let long = export(&sheet(), "a-name-of-more-than-20", "", Format::SourceToConceptMap);
    assert_eq!(long.cut, Some("source_vocabulary_id"), "varchar(20)");
    let back = import(&file.text, Format::SourceToConceptMap).unwrap().sheet;
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
    let mut units = sheet();
    units.lines[1].set("target_vocabulary", "UCUM");
    let file = export(&units, "x__y", "", Format::SourceToConceptMap);
    assert!(file.text.contains(",3023103,UCUM,2020-01-01,"), "{}", file.text);
    assert!(file.text.contains(",0,None,"), "{}", file.text);
    assert!(!file.lost.iter().any(|column| column == "target_vocabulary"));
    let back = import(&file.text, Format::SourceToConceptMap).unwrap().sheet;
    assert_eq!(back.lines[0].get("target_vocabulary"), "UCUM");
}

#[test]
fn files_of_the_tools_themselves_are_read() {
    let usagi = "sourceCode,sourceName,sourceFrequency,sourceAutoAssignedConceptIds,matchScore,mappingStatus,equivalence,\
                 statusSetBy,statusSetOn,conceptId,conceptName,domainId,mappingType,comment,createdBy,createdOn,assignedReviewer\n\
                 K,Potassium,12,,0.93,APPROVED,EQUAL,me,1700000000000,3023103,Potassium,Measurement,MAPS_TO,ok,me,1700000000000,\n\
                 X,Unknown,1,,0.0,UNCHECKED,UNREVIEWED,,0,0,,,,,,0,\n";
    let sheet = import(usagi, Format::Usagi).unwrap().sheet;
    let cells = |line: usize, columns: [&str; 4]| columns.map(|column| sheet.lines[line].get(column).to_owned());
    assert_eq!(
        cells(0, ["target_system", "target_code", "status", "equivalence"]),
        [OMOP, "3023103", "accepted", "equivalent"]
    );
    assert_eq!(
        cells(1, ["target_system", "target_code", "status", "score"]),
        ["", "", "unmapped", ""]
    );
    let r4 = r#"{"resourceType":"ConceptMap","group":[{"source":"urn:a","target":"http://loinc.org","element":[
        {"code":"GLU","display":"Glucose","target":[{"code":"2345-7","equivalence":"wider"}]},
        {"code":"ZZZ","target":[{"equivalence":"unmatched","comment":"no idea"}]},
        {"code":"HHH","target":[{"code":"2160-0","equivalence":"disjoint"}]}]}]}"#;
    let sheet = import(r4, Format::FhirR4).unwrap().sheet;
    assert_eq!(sheet.lines[0].get("equivalence"), "source-is-narrower-than-target");
    assert_eq!(
        [sheet.lines[1].get("status"), sheet.lines[1].get("note")],
        ["unmapped", "no idea"]
    );
    assert_eq!(sheet.lines[2].get("status"), "rejected", "not related is no mapping");
}

/// A unit is no target of a name, and a mapping under a condition none without it.
#[test]
fn what_a_table_cannot_say_is_left_out_and_located() {
    let told = |text: &str, format| {
        let Imported { sheet, aside, .. } = import(text, format).unwrap();
        let rows: Vec<String> = sheet
            .lines
            .iter()
            .map(|line| {
                ["target_code", "status", "equivalence"]
                    .map(|column| line.get(column))
                    .join(" ")
            })
            .collect();
        (
            rows.join("|"),
            aside.iter().map(ToString::to_string).collect::<Vec<_>>().join("|"),
        )
    };
    let usagi = "sourceCode,sourceName,mappingStatus,equivalence,conceptId,mappingType\n\
                 K,Potassium,APPROVED,EQUAL,3023103,MAPS_TO\n\
                 K,Potassium,APPROVED,EQUAL,8753,MAPS_TO_UNIT\n\
                 P,Positive,APPROVED,EQUAL,9191,MAPS_TO_VALUE\n";
    assert_eq!(
        told(usagi, Format::Usagi),
        (
            "3023103 accepted equivalent".to_owned(),
            "line 3: MAPS_TO_UNIT is no mapping of the name|line 4: MAPS_TO_VALUE is no mapping of the name".to_owned()
        )
    );
    let sssom = "#curie_map:\n#  a: urn:a\nsubject_id\tpredicate_id\tobject_id\n\
                 a:1\trdfs:subClassOf\tLOINC:2345-7\na:2\towl:sameAs\tLOINC:2345-7\n\
                 a:3\tskos:closeMatch\tLOINC:2345-7\na:4\toboInOwl:hasDbXref\tLOINC:2345-7\n";
    assert_eq!(
        told(sssom, Format::Sssom),
        (
            "2345-7 accepted source-is-narrower-than-target|2345-7 accepted equivalent|2345-7 accepted related-to"
                .to_owned(),
            "line 7: the predicate says no equivalence".to_owned()
        )
    );
    let r4 = r#"{"resourceType":"ConceptMap","group":[{"target":"http://loinc.org","element":[
        {"code":"GLU","target":[{"code":"2345-7","equivalence":"equivalent",
            "dependsOn":[{"property":"urn:specimen","value":"blood"}]}, {"code":"2350-7","equivalence":"equivalent"}]},
        {"code":"NA","target":[{"code":"2951-2","equivalence":"equivalent","product":[{"property":"p","value":"v"}]}]}],
        "unmapped":{"mode":"fixed","code":"0"}}]}"#;
    assert_eq!(
        told(r4, Format::FhirR4),
        (
            "2350-7 accepted equivalent".to_owned(),
            "group[0].element[0].target[0]: a mapping that depends on something else (dependsOn)|\
             group[0].element[1].target[0]: a mapping to more than one thing (product)|\
             group[0].unmapped: what is to be done with all other codes"
                .to_owned()
        )
    );
    let r5 = r#"{"resourceType":"ConceptMap","group":[{"target":"http://loinc.org","element":[{"code":"X","noMap":true}]}]}"#;
    assert_eq!(told(r5, Format::FhirR5), (" unmapped ".to_owned(), String::new()));
}

/// What a file says beside its mappings is kept where there is a place, and told where there is none.
#[test]
fn what_files_say_of_themselves() {
    let r5 = r#"{"resourceType":"ConceptMap","copyright":"CC-BY 4.0 H","sourceUri":"http://h.cn/vs","contact":[],"publisher":"H",
        "group":[{"source":"http://h.cn/lab|1","target":"http://loinc.org","element":[{"code":"A","target":[{"code":"2160-0"}]}]},
        {"source":"http://h.cn/lab2","target":"http://loinc.org","element":[]}]}"#;
    let Imported { declared, lost, .. } = import(r5, Format::FhirR5).unwrap();
    assert_eq!(declared.licence.as_deref(), Some("CC-BY 4.0 H"));
    assert_eq!(
        declared.from,
        ["http://h.cn/lab|1", "http://h.cn/lab2", "http://h.cn/vs"]
    );
    assert_eq!(
        (declared.origin, lost),
        (vec!["H".to_owned()], vec!["contact".to_owned()])
    );
    let sssom = "#license: https://creativecommons.org/licenses/by/4.0/\n#mapping_set_id: https://h.cn/m\n#subject_source: LAB:1\n\
                 #creator_id:\n#  - orcid:1\n#curie_map:\n#  a: \"http://h.cn/lab\"\nsubject_id\tpredicate_id\tobject_id\tauthor_id\tmapping_tool\n\
                 a:1\towl:sameAs\tLOINC:2345-7\torcid:1\t\n";
    let Imported { declared, lost, .. } = import(sssom, Format::Sssom).unwrap();
    let licence = "https://creativecommons.org/licenses/by/4.0/";
    assert_eq!(declared.licence.as_deref(), Some(licence));
    assert_eq!(
        (declared.from, declared.origin),
        (
            vec!["LAB:1".to_owned(), "http://h.cn/lab".to_owned()],
            vec!["https://h.cn/m".to_owned()]
        )
    );
    assert_eq!(lost, ["creator_id", "author_id"]);
    let usagi = "sourceCode,sourceName,mappingStatus,conceptId,statusSetBy,createdBy\na,A,APPROVED,1,li,\n";
    assert_eq!(import(usagi, Format::Usagi).unwrap().lost, ["statusSetBy"]);
    for format in [
        Format::Usagi,
        Format::SourceToConceptMap,
        Format::FhirR4,
        Format::FhirR5,
        Format::Sssom,
    ] {
        let Imported { declared, lost, .. } = import(&export(&sheet(), "x", "", format).text, format).unwrap();
        assert_eq!((declared, lost), Default::default(), "{format:?}");
    }
}

#[test]
fn words_of_usagi_come_back() {
    let words = ["APPROVED", "UNCHECKED", "FLAGGED", "AUTO_MAPPED", "AUTO_MAPPED_TO_1"];
    let rows: String = words.map(|word| format!("{word},x,{word},3020564\n")).concat();
    let usagi = format!("sourceCode,sourceName,mappingStatus,conceptId\n{rows}");
    let mut sheet = import(&usagi, Format::Usagi).unwrap().sheet;
    for word in words {
        let file = export(&sheet, "x", "", Format::Usagi).text;
        assert!(file.contains(&format!("\n{word},x,0,,0,{word},")), "{word}: {file}");
    }
    // A reviewer's word is the later one.
    sheet.lines[2].set("status", "accepted");
    assert!(
        export(&sheet, "x", "", Format::Usagi)
            .text
            .contains("\nFLAGGED,x,0,,0,APPROVED,")
    );
}

/// OMOP CDM 5.4, `invalid_reason`: D for deleted, U for replaced by an update; such rows are no mappings.
#[test]
fn what_was_deleted_does_not_come_back_to_life() {
    let stcm = "source_code,source_concept_id,source_vocabulary_id,source_code_description,target_concept_id,\
                target_vocabulary_id,valid_start_date,valid_end_date,invalid_reason\n\
                A1,2000000001,LIS,a,3020564,LOINC,1970-01-01,2099-12-31,\n\
                A2,0,LIS,b,3020565,LOINC,1970-01-01,2099-12-31,D\n\
                A3,0,LIS,c,3020566,LOINC,1970-01-01,2099-12-31,U\n\
                A4,0,LIS,d,3020566,LOINC,20200101,20991231,\n";
    let Imported { sheet, lost, .. } = import(stcm, Format::SourceToConceptMap).unwrap();
    let columns = [
        "status",
        "invalid_reason",
        "source_concept_id",
        "valid_from",
        "valid_to",
    ];
    let cells: Vec<_> = sheet
        .lines
        .iter()
        .map(|line| columns.map(|column| line.get(column)))
        .collect();
    assert_eq!(
        cells,
        [
            ["accepted", "", "2000000001", "", ""],
            ["rejected", "D", "", "", ""],
            ["rejected", "U", "", "", ""],
            ["accepted", "", "", "2020-01-01", ""]
        ]
    );
    let file = export(&sheet, "LIS", "", Format::SourceToConceptMap);
    assert_eq!((file.left_out, file.lost.len(), lost.len()), (0, 0, 0));
    assert_eq!(file.text, stcm.replace("20200101,20991231", "2020-01-01,2099-12-31"));
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
            "subject_id\tpredicate_id\tobject_id\nUNK:5\tskos:exactMatch\tLOINC:1\n",
            Format::Sssom,
            "line 2: the prefix \"UNK\" is not in the curie_map",
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

const NOTICE: &str = "Apache-2.0: \"LOINC is copyright\" 1995,\n# Regenstrief; it's at http://loinc.org/license";

#[test]
fn the_licence_goes_along_and_comes_back() {
    let formats = [
        (Format::Usagi, false),
        (Format::SourceToConceptMap, false),
        (Format::FhirR4, true),
        (Format::FhirR5, true),
        (Format::Sssom, true),
    ];
    for (format, has_place) in formats {
        for text in [NOTICE, "https://opendatacommons.org/licenses/odbl/1-0/"] {
            let file = export(&sheet(), "x", text, format);
            let back = import(&file.text, format).unwrap().declared.licence;
            let told = if has_place { &back } else { &file.licence };
            assert_eq!(told.as_deref(), Some(text), "{format:?}");
            assert_eq!(back.is_some(), has_place, "{format:?}");
        }
    }
    let folded = "title: t\nlicence: >-\n  The one,\n  and the other\norigin: o\n";
    assert_eq!(licence(folded), "The one, and the other");
    assert_eq!([licence("title: t\n"), licence("licence: [\n")], ["", ""]);
}

/// Slots of SSSOM for licence and source hold URIs, and a CURIE what a URI can hold: sssom-py gives up on a file, or drops
/// the row, where one does not.
#[test]
fn sssom_holds_uris_where_it_asks_for_them() {
    let mut sheet = sheet();
    sheet.lines[0]
        .set("licence", "Apache-2.0")
        .set("target_code", "[IU]/m#L %5B");
    sheet.lines[1]
        .set("licence", "https://creativecommons.org/licenses/by/4.0/")
        .set("origin", "https://h.cn/m");
    let file = export(&sheet, "x__y", NOTICE, Format::Sssom);
    let metadata: Vec<&str> = file.text.lines().take_while(|line| line.starts_with('#')).collect();
    assert_eq!(metadata[1], "#license: https://w3id.org/sssom/license/unspecified");
    assert!(
        metadata[2].starts_with("#comment: \"Licence: Apache-2.0: "),
        "{metadata:?}"
    );
    let table = file.text.split_once("subject_id").unwrap().1;
    let table = format!("subject_id{table}");
    let grid = tables::Grid::read(&table, '\t', 0, &[]).unwrap();
    let cells = |column: &str| [0, 1].map(|row: usize| grid.cell(&grid.rows[row], column).to_owned());
    assert_eq!(cells("license"), ["", "https://creativecommons.org/licenses/by/4.0/"]);
    assert_eq!(cells("mapping_source"), ["", "https://h.cn/m"]);
    assert_eq!(cells("clinmill_licence"), ["Apache-2.0", ""]);
    assert_eq!(cells("clinmill_origin"), ["manual", ""]);
    assert_eq!(cells("object_id")[0], "LOINC:%5BIU%5D/m%23L%20%255B");
    let back = import(&file.text, Format::Sssom).unwrap();
    assert_eq!(sorted(&back.sheet), sorted(&sheet));
    assert_eq!(back.declared.licence.as_deref(), Some(NOTICE));
}

/// 5 of one system and 5 of another are two codes.
#[test]
fn subjects_of_several_systems_keep_their_prefixes() {
    let file = |other: &str| {
        let map = "#curie_map:\n#  LOC: http://h.cn/lab/\n#  WARD: http://h.cn/ward/\n";
        let rows = format!("LOC:5\tskos:exactMatch\tLOINC:2345-7\n{other}:5\tskos:exactMatch\tLOINC:2160-0\n");
        let Imported { sheet, declared, .. } = import(
            &format!("{map}subject_id\tpredicate_id\tobject_id\n{rows}"),
            Format::Sssom,
        )
        .unwrap();
        let codes: Vec<String> = sheet
            .lines
            .iter()
            .map(|line| line.get("source_code").to_owned())
            .collect();
        (codes.join(" "), declared.from.join(" "))
    };
    assert_eq!(file("LOC"), ("5 5".into(), "http://h.cn/lab".into()));
    assert_eq!(
        file("WARD"),
        ("LOC:5 WARD:5".into(), "http://h.cn/lab http://h.cn/ward".into())
    );
}

/// Usagi reads these columns as numbers and gives up on an empty one.
#[test]
fn usagi_gets_a_number_wherever_it_reads_one() {
    let file = export(&sheet(), "x", "", Format::Usagi).text;
    let grid = tables::Grid::read(&file, ',', 0, &[]).unwrap();
    for row in &grid.rows {
        for column in ["sourceFrequency", "matchScore", "statusSetOn", "conceptId", "createdOn"] {
            assert!(grid.cell(row, column).parse::<f64>().is_ok(), "{column}: {file}");
        }
    }
}

/// FHIR R4, code system `concept-map-equivalence`: `subsumes` is said of a target that the source is a kind of.
#[test]
fn equivalence_of_r4_is_said_of_the_target() {
    for (theirs, ours, back) in [
        ("wider", "source-is-narrower-than-target", "wider"),
        ("subsumes", "source-is-narrower-than-target", "wider"),
        ("narrower", "source-is-broader-than-target", "narrower"),
        ("specializes", "source-is-broader-than-target", "narrower"),
        ("equal", "equivalent", "equivalent"),
        ("inexact", "related-to", "relatedto"),
    ] {
        let target = format!(r#"{{"code":"B","equivalence":"{theirs}"}}"#);
        let file = format!(
            r#"{{"resourceType":"ConceptMap","group":[{{"target":"urn:t","element":[{{"code":"A","target":[{target}]}}]}}]}}"#
        );
        let sheet = import(&file, Format::FhirR4).unwrap().sheet;
        assert_eq!(sheet.lines[0].get("equivalence"), ours, "{theirs}");
        let file = export(&sheet, "x", "", Format::FhirR4).text;
        assert!(file.contains(&format!("\"equivalence\": \"{back}\"")), "{file}");
    }
}
