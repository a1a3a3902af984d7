//! A converted value leads to the mapping rows and the factor that made it.

use super::{LABS, ROWS, site};
use clinmill_provenance::{Applied, MappingRow};
use clinmill_tests::{root, site::Site, state::text};
use std::fs;

/// What the second step and the third one did to the row of an order.
fn applied(site: &Site, order: &str) -> Vec<Applied> {
    let rows = site.rows(1, "measurement");
    let (id, _) = rows.iter().find(|(_, row)| text(row, "order_no") == order).unwrap();
    let report = site.trace("measurement", id);
    assert_eq!(report.silent, [] as [&str; 0]);
    report.applied
}

/// The row is the one that stands in the repository's table, and its cells are that line's.
fn check(row: &MappingRow, table: &str, starts: &str) {
    assert_eq!(row.mapping, format!("maps:{table}"));
    let file = fs::read_to_string(root().join("mappings").join(table).join("map.csv")).unwrap();
    let line = file.lines().nth(row.line as usize - 1).unwrap();
    assert!(line.starts_with(starts), "{line}");
    for cell in row.cells.values() {
        assert!(line.replace("\"\"", "\"").contains(cell.as_str()), "{cell}: {line}");
    }
}

#[test]
fn a_converted_value_leads_to_its_mapping_rows_and_its_factor() {
    let site = site(LABS, ROWS);
    site.refresh();
    let all = applied(&site, "1");
    let [code, unit] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert_eq!(
        [&code.step, &code.column, &code.from, &code.to, &code.status].map(String::as_str),
        ["labs/terminology", "test", "肌酐", "14682-9", "mapped"]
    );
    assert_eq!((code.rows.len(), &code.factor), (1, &None));
    check(&code.rows[0], "lab-zh__loinc", ",肌酐,http://loinc.org,14682-9,");
    for column in ["source_name", "target_code", "target_name", "origin", "note"] {
        assert!(code.rows[0].cells.contains_key(column), "{column}: {:?}", code.rows[0]);
    }
    assert_eq!(
        [&unit.step, &unit.column, &unit.from, &unit.to, &unit.status].map(String::as_str),
        ["labs/units", "unit", "mg/dl", "umol/L", "converted"]
    );
    // 1 mg/dL of 113.12 g/mol is 10 mg/L, and 10000 / 113.12 umol/L.
    assert_eq!(unit.factor.as_deref(), Some("62500/707"));
    assert_eq!(unit.by.as_deref(), Some("UCUM 2.2"));
    assert_eq!(unit.rows.len(), 2);
    check(&unit.rows[0], "units-local__ucum", ",mg/dl,");
    check(&unit.rows[1], "molar-mass__ucum", "14682-9,");
    let cells = &unit.rows[1].cells;
    assert_eq!((cells["factor"].as_str(), cells["is"].as_str()), ("113.12", "g"));
    assert!(cells["origin"].contains("C4H7N3O"), "the source of the factor");
    // Both values stand in the dataset.
    let rows = site.rows(1, "measurement");
    let row = rows.values().find(|row| text(row, "order_no") == "1").unwrap();
    assert_eq!(
        ["result", "unit", "standard_value", "standard_unit", "standard_factor"].map(|column| text(row, column)),
        [
            "0.9",
            "mg/dl",
            "79.5615275813",
            "umol/L",
            unit.factor.as_deref().unwrap()
        ]
    );
    // What is not mapped says so, and what stays as it is has the factor one.
    let all = applied(&site, "4");
    assert_eq!((all[0].status.as_str(), all[0].rows.len()), ("unmapped", 0));
    let all = applied(&site, "2");
    assert_eq!((all[1].status.as_str(), all[1].factor.as_deref()), ("same", Some("1")));
}

#[test]
fn behind_a_query_a_row_has_what_was_done_to_its_own_records() {
    let pipeline = LABS.replace(
        "tables:\n",
        "  latest:\n    sql: |\n      select order_no, standard_value from labs where order_no <> '2'\ntables:\n",
    );
    let site = site(&pipeline.replace("from: labs, key", "from: latest, key"), ROWS);
    site.refresh();
    let from: Vec<String> = applied(&site, "1").into_iter().map(|a| a.from).collect();
    assert_eq!(from, ["肌酐", "mg/dl"]);
}

#[test]
fn the_command_shows_rows_and_factor_as_text_and_as_json() {
    let site = site(LABS, ROWS);
    site.refresh();
    let rows = site.rows(1, "measurement");
    let (id, _) = rows.iter().find(|(_, row)| text(row, "order_no") == "1").unwrap();
    let project = site.project();
    let trace = ["trace", "pipeline.yaml", "measurement", id];
    let shown = project.run(trace).expect_code(0).stdout;
    for part in [
        "\nmapped and converted\n  labs/terminology: test \"肌酐\" to 14682-9, mapped\n    maps:lab-zh__loinc/map.csv:",
        "  labs/units: unit \"mg/dl\" to umol/L, converted, factor 62500/707 (UCUM 2.2)\n    maps:units-local__ucum/map.csv:",
        "computed from the formula C4H7N3O",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let json = project
        .run(trace.into_iter().chain(["--format", "json"]))
        .expect_code(0)
        .json();
    let unit = &json["applied"][1];
    assert_eq!(unit["factor"], "62500/707");
    assert_eq!(unit["rows"][1]["mapping"], "maps:molar-mass__ucum");
    assert_eq!(unit["rows"][1]["cells"]["source_code"], "14682-9");
}
