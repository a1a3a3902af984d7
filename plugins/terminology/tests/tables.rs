//! The committed tables of `mappings/`: what every one of them must keep.

#![allow(clippy::unwrap_used)]

use clinmill_plugin_terminology::{
    By, Found, Lookup, Told,
    fold::fold,
    table::{Entry, entries},
};
use clinmill_plugin_units::ucum;
use clinmill_sdk::{MappingTable, Resource, RowState};
use std::{collections::BTreeSet, fs, path::Path};

const LOINC: &str = "http://loinc.org";

/// Folders whose rows are not about codes.
const NO_CODES: [&str; 1] = ["molar-mass__ucum"];

fn tables() -> Vec<(String, MappingTable)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings");
    let mut tables = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        if folder.is_dir() && !NO_CODES.contains(&name.as_str()) {
            let mut resource = Resource::default();
            for file in ["map.csv", "mapping.yaml"] {
                resource.files.insert(file.into(), fs::read(folder.join(file)).unwrap());
            }
            tables.push((name.clone(), MappingTable::read(&name, &resource).unwrap()));
        }
    }
    tables
}

fn both(table: &MappingTable) -> Vec<Entry> {
    let mut all = entries(table, By::Name).unwrap();
    all.extend(entries(table, By::Code).unwrap());
    all
}

/// LOINC Users' Guide, appendix C: Mod 10.
fn check_digit(code: &str) -> bool {
    let Some((digits, check)) = code.split_once('-') else {
        return false;
    };
    let sum: u32 = digits
        .chars()
        .rev()
        .enumerate()
        .map(|(place, c)| match (c.to_digit(10).unwrap(), place % 2) {
            (digit, 0) => digit * 2 / 10 + digit * 2 % 10,
            (digit, _) => digit,
        })
        .sum();
    check == ((10 - sum % 10) % 10).to_string()
}

#[test]
fn rows_are_sound() {
    assert!(check_digit("2345-7") && !check_digit("2345-6"));
    let found = tables();
    assert!(found.len() >= 14, "{}", found.len());
    for (name, table) in found {
        let all = both(&table);
        assert!(!all.is_empty(), "{name}");
        for row in &table.rows {
            let seen = |cell: &str| !cell.contains(['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}']);
            let cells = ["source_name", "target_name", "target_code"].into_iter();
            let all = cells.filter_map(|name| table.column(name)).all(|at| seen(row.cell(at)));
            assert!(all, "{name}/map.csv:{}: a character of no width", row.line);
        }
        for entry in all {
            let place = format!("{name}/map.csv:{}", entry.line);
            if entry.target.system == LOINC && entry.state != RowState::Unmapped {
                assert!(check_digit(&entry.target.code), "{place}: {}", entry.target.code);
            }
            let unit = &entry.target.unit;
            assert!(unit.is_empty() || ucum::validate(unit).is_ok(), "{place}: {unit}");
        }
        if table.column("note").is_some() && name != "units-local__ucum" {
            let (status, note) = (table.require("status").unwrap(), table.require("note").unwrap());
            for row in table.rows.iter().filter(|row| row.cell(status) == "unmapped") {
                assert!(
                    !row.cell(note).is_empty(),
                    "{name}/map.csv:{}: unmapped without a reason",
                    row.line
                );
            }
        }
    }
}

#[test]
fn tables_with_loinc_carry_its_notice() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings");
    for (name, table) in tables() {
        if both(&table).iter().any(|entry| entry.target.system == LOINC) {
            let declared = fs::read_to_string(root.join(&name).join("mapping.yaml")).unwrap();
            assert!(
                declared.contains("Regenstrief Institute, Inc.") && declared.contains("loinc.org/license"),
                "{name}"
            );
        }
    }
}

/// A morphology (`M81700/3`) says of what cells a tumour is, and not which disease somebody has.
#[test]
fn no_diagnosis_is_a_morphology() {
    let (_, table) = tables()
        .into_iter()
        .find(|(name, _)| name == "diagnosis-zh__icd10-yb")
        .unwrap();
    let is_morphology = |code: &str| {
        let rest = code.strip_prefix('M').and_then(|rest| rest.split_once('/'));
        rest.is_some_and(|(cells, _)| cells.bytes().all(|c| c.is_ascii_digit()))
    };
    assert!(is_morphology("M81700/3") && !is_morphology("M10.900"));
    for entry in both(&table).iter().filter(|entry| entry.state == RowState::Accepted) {
        assert!(
            !is_morphology(&entry.target.code),
            "map.csv:{}: {}",
            entry.line,
            entry.target.code
        );
    }
    let lookup = Lookup::new(&table, By::Name).unwrap();
    for (name, code) in [
        ("肝细胞癌", "C22.000"),
        ("肝细胞肝癌", "C22.000"),
        ("颈动脉体瘤", "D44.601"),
        ("肝功能衰竭", "K72.900x001"),
    ] {
        let Found::Mapped(target) = lookup.find(name, &Told::default()) else {
            panic!("{name}");
        };
        assert_eq!(lookup.target(target).unwrap().code, code, "{name}");
    }
}

#[test]
fn the_most_used_tests_are_there_in_both_languages() {
    for (name, table) in tables() {
        if !["lab-zh__loinc", "lab-en__loinc"].contains(&name.as_str()) {
            continue;
        }
        let accepted: BTreeSet<_> = both(&table)
            .into_iter()
            .filter(|entry| entry.state == RowState::Accepted)
            .map(|entry| entry.target.code)
            .collect();
        assert!(accepted.len() >= 300, "{name}: {} codes", accepted.len());
    }
}

/// Names of two tests, which unit or specimen must tell apart.
const TWO_MEANINGS: [&str; 13] = [
    "白细胞",
    "红细胞",
    "WBC",
    "RBC",
    "Ca2+",
    "Ca++",
    "LPS",
    "TT",
    "pH",
    "PH",
    "酸碱度",
    "UA",
    "Cr",
];

/// Names that fold to the same must not contradict each other, or nobody can look them up.
#[test]
fn no_name_is_ambiguous_where_unit_and_specimen_are_told() {
    for (name, table) in tables() {
        let lookup = Lookup::new(&table, By::Name).unwrap();
        for entry in entries(&table, By::Name).unwrap() {
            if entry.state != RowState::Accepted || !entry.unit.untold || !entry.specimen.untold {
                continue;
            }
            for value in [entry.key.clone(), fold(&entry.key)] {
                let found = lookup.find(&value, &Told::default());
                let two = TWO_MEANINGS.contains(&entry.key.as_str()) && found == Found::Ambiguous;
                assert!(
                    two || matches!(found, Found::Mapped(_)),
                    "{name}/map.csv:{}: {found:?}",
                    entry.line
                );
            }
        }
    }
}

/// By IFCC it is moles per mole, by NGSP a percentage, and an equation lies between the two.
#[test]
fn the_unit_of_haemoglobin_a1c_tells_its_code() {
    for (table, names) in [
        ("lab-zh__loinc", ["糖化血红蛋白", "糖化血红蛋白A1c", "HbA1c"]),
        ("lab-en__loinc", ["Hemoglobin A1c", "A1c", "HbA1c"]),
    ] {
        let (_, rows) = tables().into_iter().find(|(name, _)| name == table).unwrap();
        let lookup = Lookup::new(&rows, By::Name).unwrap();
        for name in names {
            for (unit, code) in [
                (Some("%"), Some("4548-4")),
                (None, Some("4548-4")),
                (Some("mmol/mol"), Some("59261-8")),
                (Some("mmol/mol Hb"), Some("59261-8")),
                (Some("g/L"), None),
            ] {
                let told = Told {
                    unit,
                    ..Told::default()
                };
                let got = match lookup.find(name, &told) {
                    Found::Mapped(target) => Some(lookup.target(target).unwrap().code.clone()),
                    _ => None,
                };
                assert_eq!(got.as_deref(), code, "{table}: {name} in {unit:?}");
            }
        }
    }
}
