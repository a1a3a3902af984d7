//! Bad input and bad tables: each is told with its place, stops nothing else, and no row is lost.

use super::{LABS, edit_line, site};
use clinmill_tests::{Project, site::Site, state::text};
use std::fs;

/// Stage, code, message and row of all that stands in quarantine.
fn quarantined(site: &Site) -> Vec<(String, String, String, u64)> {
    let records = site.quarantine().into_iter();
    let mut all: Vec<_> = records
        .map(|r| (r.stage, r.code, r.message, r.row.unwrap_or_default()))
        .collect();
    all.sort_by_key(|record| record.3);
    all
}

/// The order numbers that were published.
fn published(site: &Site) -> Vec<String> {
    let rows = site.rows(1, "measurement");
    let mut all: Vec<String> = rows.values().map(|row| text(row, "order_no").to_owned()).collect();
    all.sort();
    all
}

fn rejected(stage: &str, code: &str, message: &str, row: u64) -> (String, String, String, u64) {
    (stage.to_owned(), code.to_owned(), message.to_owned(), row)
}

/// Line and column of a table's name in the pipeline file.
fn place(table: &str) -> (u64, u64) {
    let wanted = format!("\"maps:{table}\"");
    let mut lines = LABS.lines().zip(1..);
    let found = lines.find_map(|(line, number)| Some((number, line.find(&wanted)? as u64 + 1)));
    found.unwrap()
}

/// What `validate` finds: code, line, column and message of every finding. `run` refuses the same file.
fn findings(site: Site) -> Vec<(String, u64, u64, String)> {
    let project: Project = site.project();
    let found = project
        .run(["validate", "pipeline.yaml", "--format", "json"])
        .expect_code(2)
        .json();
    project.run(["run", "pipeline.yaml"]).expect_code(2);
    assert!(
        !project.at("out").exists(),
        "nothing is made of a pipeline that is not valid"
    );
    let all = found["files"][0]["diagnostics"].as_array().unwrap().iter();
    all.map(|d| {
        let text = |key: &str| d[key].as_str().unwrap().to_owned();
        (
            text("code"),
            d["line"].as_u64().unwrap(),
            d["column"].as_u64().unwrap(),
            text("message"),
        )
    })
    .collect()
}

#[test]
fn a_unit_that_is_none_of_the_analyte() {
    let pipeline = LABS.replace("          on_error: null\n", "");
    let site = site(
        &pipeline,
        "mrn,order,test,result,unit,at\n\
         a,1,肌酐,82,μmol/L,2026-01-01 07:00:00\n\
         a,2,肌酐,82,mmHg,2026-01-01 07:00:00\n\
         a,3,肌酐,82,furlong/L,2026-01-01 07:00:00\n\
         a,4,血红蛋白,7,mmol/L,2026-01-01 07:00:00\n",
    );
    let report = site.refresh();
    let mismatch = "the unit measures something else than the unit to convert to";
    assert_eq!(
        quarantined(&site),
        [
            rejected("labs/units", "UNITS_DIMENSION", mismatch, 3),
            rejected(
                "labs/units",
                "UNITS_UNKNOWN",
                "the unit is neither in the table of spellings nor a UCUM code",
                4
            ),
            rejected("labs/units", "UNITS_DIMENSION", mismatch, 5),
        ]
    );
    assert_eq!(published(&site), ["1"]);
    assert_eq!(report.steps["labs/units"]["mismatch"], 2);
    // Where such rows are wanted they stay, without a result, with their own value and unit, and counted.
    let kept = super::site(LABS, &fs::read_to_string(site.at("inbox/labs.csv")).unwrap());
    let report = kept.refresh();
    assert_eq!((published(&kept).len(), kept.quarantine().len()), (4, 0));
    assert_eq!(
        (
            report.steps["labs/units"]["mismatch"],
            report.steps["labs/units"]["unknown-unit"]
        ),
        (2, 1)
    );
    let rows = kept.rows(1, "measurement");
    let row = rows.values().find(|row| text(row, "order_no") == "2").unwrap();
    assert_eq!(
        ["result", "unit", "standard_value", "standard_unit", "standard_status"].map(|column| text(row, column)),
        ["82", "mmHg", "", "", "mismatch"]
    );
}

#[test]
fn a_date_that_does_not_exist() {
    let site = site(
        LABS,
        "mrn,order,test,result,unit,at\n\
         a,1,肌酐,82,μmol/L,2026-02-28 07:00:00\n\
         a,2,肌酐,83,μmol/L,2026-02-30 07:00:00\n\
         a,3,肌酐,84,μmol/L,2025-02-29 07:00:00\n\
         a,4,肌酐,85,μmol/L,2026-02-28 25:00:00\n",
    );
    site.refresh();
    let wrong = |row| {
        rejected(
            "read",
            "TABLE_TYPE",
            "the value of column \"at\" is not of type timestamp",
            row,
        )
    };
    let found: Vec<_> = quarantined(&site)
        .into_iter()
        .map(|(_, code, message, row)| (code, message, row))
        .collect();
    let wanted: Vec<_> = [wrong(3), wrong(4), wrong(5)]
        .into_iter()
        .map(|(_, c, m, r)| (c, m, r))
        .collect();
    assert_eq!(found, wanted);
    assert_eq!(published(&site), ["1"]);
}

#[test]
fn a_name_with_codes_in_two_systems() {
    let more = ",怪项目,http://loinc.org,1-8,x,equivalent,accepted,,,,manual,x,,,\n\
                ,怪项目,http://snomed.info/sct,1,x,equivalent,accepted,,,,manual,x,,,";
    let twice = site(
        LABS,
        "mrn,order,test,result,unit,at\na,1,怪项目,1,g/L,2026-01-01 07:00:00\n",
    );
    let line = edit_line(&twice, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
        format!("{line}\n{more}")
    }) + 2;
    assert_eq!(
        findings(twice),
        [(
            "TERMINOLOGY_MAP".to_owned(),
            place("lab-zh__loinc").0,
            place("lab-zh__loinc").1,
            format!(
                "maps:lab-zh__loinc/map.csv:{line}: \"怪项目\" stands in line {} already, with a code of http://loinc.org",
                line - 1
            )
        )]
    );
    // Rows that only their units tell apart are both meant where a row names neither: it is kept, and counted.
    let more = more
        .replacen("accepted,,,", "accepted,,g/L,", 1)
        .replacen("accepted,,,", "accepted,,mg/L,", 1);
    let apart = site(
        LABS,
        "mrn,order,test,result,unit,at\na,1,怪项目,1,,2026-01-01 07:00:00\n",
    );
    edit_line(&apart, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
        format!("{line}\n{more}")
    });
    let report = apart.refresh();
    assert_eq!(report.steps["labs/terminology"]["ambiguous"], 1);
    let rows = apart.rows(1, "measurement");
    let row = rows.values().next().unwrap();
    assert_eq!((text(row, "loinc_status"), text(row, "loinc_code")), ("ambiguous", ""));
    // The trace names both.
    let trace = apart.trace("measurement", rows.keys().next().unwrap());
    assert_eq!(
        (trace.applied[0].status.as_str(), trace.applied[0].rows.len()),
        ("ambiguous", 2)
    );
    apart.edit(|text| text.replace("as: loinc }", "as: loinc, unmapped: reject }"));
    apart.refresh();
    let found = quarantined(&apart);
    assert_eq!(
        found,
        [rejected(
            "labs/terminology",
            "TERMINOLOGY_AMBIGUOUS",
            "the value has several targets",
            2
        )]
    );
}

#[test]
fn a_mapping_table_with_a_key_that_stands_twice() {
    for (table, parts, code, what) in [
        ("lab-zh__loinc", [",肌酐,", ",14682-9,"], "TERMINOLOGY_MAP", "肌酐"),
        ("units-local__ucum", [",mg/dl,", "unitsofmeasure"], "UNITS_MAP", "mg/dl"),
        ("molar-mass__ucum", ["14682-9,", ",mol,"], "UNITS_MAP", "14682-9"),
    ] {
        let site = site(LABS, "mrn,order,test,result,unit,at\n");
        let line = edit_line(&site, table, &parts, |line| format!("{line}\n{line}"));
        let found = findings(site);
        let (at_line, at_column) = place(table);
        let wanted = format!(
            "maps:{table}/map.csv:{}: {what:?} stands in line {line} already",
            line + 1
        );
        assert_eq!(found, [(code.to_owned(), at_line, at_column, wanted)]);
    }
}

#[test]
fn a_mapping_table_with_a_broken_row() {
    for (change, wanted) in [
        (
            ("accepted,", "acepted,"),
            "status \"acepted\" is not accepted, proposed, rejected or unmapped",
        ),
        (("equivalent,", "equal,"), "equivalence \"equal\" is none of"),
        (("14682-9,", "14682-9,,"), "16 cells where the header has 15"),
        (
            (",14682-9,", ",,"),
            "an accepted row needs target_system and target_code",
        ),
        (("\"Serum", "\"\"Serum"), "text after a closing quote"),
    ] {
        let site = site(LABS, "mrn,order,test,result,unit,at\n");
        let line = edit_line(&site, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
            line.replacen(change.0, change.1, 1)
        });
        let found = findings(site);
        assert_eq!(
            (found.len(), (found[0].1, found[0].2)),
            (1, place("lab-zh__loinc")),
            "{found:?}"
        );
        let message = &found[0].3;
        assert!(
            message.starts_with(&format!("maps:lab-zh__loinc/map.csv:{line}: {wanted}")),
            "{message}"
        );
    }
}

#[test]
fn a_mapping_table_with_a_target_unit_that_is_none() {
    let site = site(LABS, "mrn,order,test,result,unit,at\n");
    let line = edit_line(&site, "lab-zh__loinc", &[",肌酐,", ",14682-9,"], |line| {
        line.replacen(",umol/L,", ",umoll/L,", 1)
    });
    let found = findings(site);
    let mut lines = LABS.lines().zip(1..);
    let to_column = lines.find_map(|(text, number)| Some((number, text.find("loinc_unit")? as u64 + 1)));
    assert_eq!(found.len(), 1, "{found:?}");
    let (code, at_line, at_column, message) = &found[0];
    assert_eq!((code.as_str(), Some((*at_line, *at_column))), ("UNITS_MAP", to_column));
    let wanted = format!("maps:lab-zh__loinc/map.csv:{line}: the unit \"umoll/L\" of the target is no UCUM code: ");
    assert!(message.starts_with(&wanted), "{message}");
}
