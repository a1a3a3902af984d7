//! The committed laboratory tables: a code is given only where specimen and unit of the report are those of the code.

#![allow(clippy::unwrap_used)]

use clinmill_plugin_terminology::{By, Found, Kind, Lookup, Told};
use clinmill_plugin_units::ucum;
use clinmill_sdk::{MappingTable, Resource};
use std::{fs, path::Path};

const ZH: &str = "lab-zh__loinc";
const EN: &str = "lab-en__loinc";

fn table(name: &str) -> MappingTable {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings").join(name);
    let mut resource = Resource::default();
    for file in ["map.csv", "mapping.yaml"] {
        resource.files.insert(file.into(), fs::read(folder.join(file)).unwrap());
    }
    MappingTable::read(name, &resource).unwrap()
}

fn lookup(name: &str) -> Lookup {
    Lookup::new(&table(name), By::Name).unwrap()
}

/// A name, a unit, a specimen, and the code they lead to; empty: none.
type Asked = (&'static str, &'static str, &'static str, &'static str);

/// Looks rows up in the Chinese and in the English table.
fn all(zh: &[Asked], en: &[Asked]) {
    for (table, rows) in [(ZH, zh), (EN, en)] {
        let lookup = lookup(table);
        for (name, unit, specimen, want) in rows {
            let code = match lookup.find(name, &Told::of(unit, specimen, None)) {
                Found::Mapped(index) => lookup.target(index).unwrap().code.clone(),
                _ => String::new(),
            };
            assert_eq!(code, *want, "{table}: {name} | {unit} | {specimen}");
        }
    }
}

#[test]
fn a_code_in_blood_is_for_blood() {
    all(
        &[
            ("免疫球蛋白G", "", "脑脊液", ""),
            ("免疫球蛋白G", "", "血清", "2465-3"),
            ("免疫球蛋白G", "", "", "2465-3"),
            ("中性粒细胞百分比", "%", "脑脊液", ""),
            ("中性粒细胞百分比", "%", "EDTA抗凝全血", "26511-6"),
            ("癌胚抗原", "", "胸水", ""),
            ("转铁蛋白", "", "尿", ""),
            ("转铁蛋白", "", "静脉血", "3034-6"),
            ("凝血酶原时间", "s", "枸橼酸钠抗凝血浆", "5902-2"),
            ("平均红细胞体积", "", "腹水", ""),
            ("动脉血碳酸氢根", "", "血清", ""),
            ("动脉血碳酸氢根", "", "动脉血", "1960-4"),
        ],
        &[
            ("HCO3", "mmol/L", "serum", "1963-8"),
            ("HCO3", "mmol/L", "", "1963-8"),
            ("HCO3", "mmol/L", "arterial blood", "1960-4"),
            ("HCO3", "", "urine", ""),
            ("Ferritin", "", "CSF", ""),
        ],
    );
}

#[test]
fn capillary_blood_is_neither_serum_nor_plasma() {
    all(
        &[
            ("葡萄糖", "mmol/L", "末梢血", "14743-9"),
            ("血糖", "mmol/L", "指血", "14743-9"),
            ("GLU", "", "指尖血", "14743-9"),
            ("葡萄糖", "mg/dL", "末梢血", "41653-7"),
            ("葡萄糖", "mmol/L", "静脉血", "14749-6"),
            ("血清葡萄糖", "mmol/L", "末梢血", ""),
            ("肌酐", "umol/L", "末梢血", ""),
            ("肌酐", "umol/L", "指尖血", ""),
            ("白细胞计数", "10^9/L", "末梢血", "26464-8"),
        ],
        &[
            ("Glucose", "mg/dL", "Capillary blood", "41653-7"),
            ("Glucose", "mmol/L", "capillary blood", "14743-9"),
            ("Glucose", "mmol/L", "blood", "14749-6"),
            ("Creatinine", "mg/dL", "Capillary blood", ""),
        ],
    );
}

/// Their names in LOINC do not tell that the one is in plasma and the other in cells.
#[test]
fn clotting_is_in_plasma_and_cells_are_in_blood() {
    all(
        &[
            ("凝血酶原时间", "s", "血浆", "5902-2"),
            ("凝血酶原时间", "s", "血", "5902-2"),
            ("凝血酶原时间", "s", "全血", ""),
            ("凝血酶原时间", "s", "血清", ""),
            ("凝血酶时间", "s", "全血", ""),
            ("平均红细胞血红蛋白含量", "pg", "全血", "28539-5"),
            ("平均红细胞血红蛋白含量", "pg", "血清", ""),
            ("平均红细胞血红蛋白浓度", "g/L", "血浆", ""),
            ("红细胞分布宽度CV", "%", "血清", ""),
        ],
        &[],
    );
    for name in [ZH, EN] {
        let table = table(name);
        let column = |name| table.require(name).unwrap();
        for row in &table.rows {
            let list: Vec<_> = row.cell(column("when_specimen")).split('|').collect();
            let any = row.cell(column("target_name")).contains("Serum, Plasma or Blood");
            assert!(
                any || !(list.contains(&"全血") && list.contains(&"血清")),
                "{name}/map.csv:{}",
                row.line
            );
        }
    }
}

/// No other specimen than blood gets a code of blood, whatever the name.
#[test]
fn what_is_known_to_be_no_blood_gets_no_code_of_blood() {
    for table_name in [ZH, EN] {
        let rows = table(table_name);
        let (name, lookup) = (rows.require("source_name").unwrap(), lookup(table_name));
        for row in &rows.rows {
            for specimen in [
                "尿",
                "脑脊液",
                "胸水",
                "腹水",
                "粪便",
                "痰",
                "精液",
                "唾液",
                "透析液",
                "urine",
                "CSF",
                "stool",
            ] {
                for unit in ["", "%", "g/L", "ng/mL", "10^9/L"] {
                    if let Found::Mapped(index) = lookup.find(row.cell(name), &Told::of(unit, specimen, None)) {
                        let target = lookup.target(index).unwrap();
                        let blood = ["in Blood", "in Serum", "Plasma", "plasma"];
                        assert!(
                            !blood.iter().any(|of| target.name.contains(of)),
                            "{table_name}/map.csv:{}: {specimen} to {}",
                            row.line,
                            target.name
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_unit_tells_which_code_it_is() {
    all(
        &[
            ("肌酸激酶同工酶", "ng/mL", "", "13969-1"),
            ("肌酸激酶同工酶", "U/L", "", "32673-6"),
            ("肌酸激酶同工酶", "", "", "32673-6"),
            ("CK-MB", "μg/L", "血清", "13969-1"),
            ("CK-MB", "IU/L", "血清", "32673-6"),
            ("CK-MB", "", "", ""),
            ("CK-MB质量", "U/L", "", ""),
            ("乙肝表面抗体", "mIU/mL", "", "16935-9"),
            ("乙肝表面抗体", "", "", "22322-2"),
            ("乙肝表面抗体", "S/CO", "", ""),
            ("乙肝表面抗体", "COI", "", ""),
            ("乙肝表面抗体", "定性", "", "22322-2"),
            ("乙肝表面抗原", "IU/mL", "", "63557-3"),
            ("乙肝表面抗原", "", "", "5195-3"),
            ("中性粒细胞百分比", "%", "", "26511-6"),
            ("中性粒细胞百分比", "10^9/L", "", ""),
            ("中性粒细胞计数", "×10^9/L", "", "26499-4"),
            ("中性粒细胞计数", "%", "", ""),
            ("中性粒细胞", "%", "", "26511-6"),
            ("中性粒细胞", "10⁹/L", "血", "26499-4"),
            ("淋巴细胞", "％", "", "26478-8"),
            ("淋巴细胞", "*10^9/L", "", "26474-7"),
            ("单核细胞", "%", "", "26485-3"),
            ("嗜酸性粒细胞", "G/L", "", "26449-9"),
            ("嗜碱性粒细胞", "%", "", "30180-4"),
            ("淋巴细胞", "", "", ""),
            ("PCT", "%", "", "51637-7"),
            ("PCT", "ng/ml", "", "33959-8"),
            ("降钙素原", "%", "", ""),
            ("PT", "%", "", "5894-1"),
            ("凝血酶原时间", "%", "", "5894-1"),
            ("凝血酶原时间", "秒", "", "5902-2"),
            ("尿蛋白", "g/L", "", "2888-6"),
            ("尿蛋白", "g/24h", "", "2889-4"),
            ("尿蛋白", "", "", "2887-8"),
            ("尿蛋白定性", "g/L", "", ""),
            ("白细胞", "/HP", "", "5821-4"),
            ("红细胞", "/HP", "", "13945-1"),
            ("红细胞", "个/HPF", "", "13945-1"),
            ("白细胞", "10^9/L", "", "26464-8"),
            ("白细胞", "10*3/uL", "", "26464-8"),
            ("红细胞", "x10^12/L", "", "26453-1"),
            ("国际标准化比值", "%", "", ""),
            ("国际标准化比值", "INR", "", "6301-6"),
            ("国际标准化比值", "", "", "6301-6"),
            ("eGFR(CKD-EPI)", "mL/min", "", ""),
            ("eGFR(CKD-EPI)", "ml/min/1.73m²", "", "62238-1"),
            ("eGFR(CKD-EPI)", "ml/(min*1.73m2)", "", "62238-1"),
        ],
        &[
            ("CPK-MB", "U/L", "", "32673-6"),
            ("CPK-MB", "ng/mL", "", "13969-1"),
            ("HBsAb", "mIU/mL", "", "16935-9"),
            ("HBsAg", "IU/mL", "", "63557-3"),
            ("Neutrophils", "K/uL", "", "26499-4"),
            ("Neutrophils", "%", "", "26511-6"),
            ("Lymphocytes %", "10^9/L", "", ""),
            ("WBC", "/HPF", "", "5821-4"),
            ("WBC", "K/uL", "", "26464-8"),
            ("RBC", "m/uL", "", "26453-1"),
            ("PCT", "%", "", "51637-7"),
            ("PCT", "ng/mL", "", "33959-8"),
            ("PT", "%", "", "5894-1"),
            ("PT", "sec", "", "5902-2"),
            ("INR", "%", "", ""),
            ("INR", "ratio", "", "6301-6"),
            ("eGFR (MDRD)", "mL/min", "", ""),
            ("eGFR (MDRD)", "mL/min/1.73 m2", "", "33914-3"),
            ("Urine protein (dipstick)", "mg/dL", "", "5804-0"),
        ],
    );
}

/// A name of two tests gets a code where unit or specimen tell which, and else none.
#[test]
fn names_of_two_tests_are_told_apart() {
    all(
        &[
            ("白细胞", "", "", ""),
            ("白细胞", "10^9/L", "", "26464-8"),
            ("白细胞", "", "全血", "26464-8"),
            ("白细胞", "/HP", "", "5821-4"),
            ("白细胞", "个/HP", "尿", "5821-4"),
            ("白细胞", "/uL", "", "30405-5"),
            ("WBC", "个/μL", "尿", "30405-5"),
            ("WBC", "/uL", "全血", "26464-8"),
            ("WBC", "cells/mm3", "", "26464-8"),
            ("WBC", "10^6/L", "", ""),
            ("WBC", "10^6/L", "尿", "30405-5"),
            ("WBC", "万/uL", "全血", "26464-8"),
            ("WBC", "", "", ""),
            ("RBC", "", "", ""),
            ("RBC", "万/uL", "", "26453-1"),
            ("RBC", "万/uL", "全血", "26453-1"),
            ("RBC", "/HP", "", "13945-1"),
            ("RBC", "/uL", "", ""),
            ("红细胞", "", "血", "26453-1"),
            ("白细胞计数", "", "", "26464-8"),
            ("白细胞计数", "/uL", "尿", "30405-5"),
            ("白细胞计数", "/uL", "", ""),
            ("Ca2+", "mmol/L", "", ""),
            ("Ca2+", "mmol/L", "血清", "2000-8"),
            ("Ca2+", "mmol/L", "动脉血", "1994-3"),
            ("Ca2+", "", "尿", "2004-0"),
            ("Ca2+", "mg/dL", "", "17861-6"),
            ("LPS", "U/L", "", "3040-3"),
            ("LPS", "", "", ""),
            ("LPS", "EU/mL", "", ""),
            ("PRO", "ng/mL", "", ""),
            ("PRO", "", "", ""),
            ("PRO", "", "尿", "2887-8"),
            ("蛋白质", "g/L", "", ""),
            ("蛋白质", "g/L", "尿", "2888-6"),
            ("Cr", "nmol/L", "血清", ""),
            ("Cr", "mmol/L", "尿", "14683-7"),
            ("LPS", "pg/mL", "血浆", ""),
            ("TT", "s", "", "3243-3"),
            ("TT", "nmol/L", "", "14913-8"),
            ("TT", "ng/dL", "血清", "2986-8"),
            ("TT", "", "", ""),
            ("TT", "", "枸橼酸钠抗凝血浆", "3243-3"),
            ("pH", "", "", ""),
            ("pH", "", "尿", "2756-5"),
            ("pH", "", "动脉血", "2744-1"),
        ],
        &[
            ("WBC", "", "", ""),
            ("WBC", "K/uL", "", "26464-8"),
            ("WBC", "/HPF", "", "5821-4"),
            ("WBC", "/uL", "", ""),
            ("WBC", "/uL", "urine", "30405-5"),
            ("RBC", "", "", ""),
            ("RBC", "M/uL", "", "26453-1"),
            ("White Blood Cells", "", "", "26464-8"),
            ("Ca++", "mmol/L", "", ""),
            ("Ca++", "mmol/L", "serum", "2000-8"),
            ("Ca++", "mmol/L", "arterial blood", "1994-3"),
            ("TT", "sec", "", "3243-3"),
            ("TT", "", "", ""),
            ("LPS", "U/L", "", "3040-3"),
            ("Protein", "g/dL", "", ""),
        ],
    );
}

/// Any unit of the property will do, and arterial blood is no serum.
#[test]
fn urine_and_arterial_blood_have_codes_of_their_own() {
    all(
        &[
            ("尿肌酐", "mmol/L", "", "14683-7"),
            ("尿肌酐", "umol/L", "尿", "14683-7"),
            ("肌酐", "mmol/L", "尿", "14683-7"),
            ("肌酐", "mg/dL", "尿", "2161-8"),
            ("肌酐", "mmol/L", "血清", "14682-9"),
            ("葡萄糖", "g/L", "血清", "2345-7"),
            ("TG", "ng/mL", "血清", ""),
            ("钠", "mmol/L", "尿", "2955-3"),
            ("PCO2", "mmHg", "动脉血", "2019-8"),
            ("PCO2", "kPa", "动脉血", "2019-8"),
            ("PCO2", "mmHg", "静脉血", "11557-6"),
            ("二氧化碳分压", "mmHg", "动脉血", "2019-8"),
            ("PO2", "mmHg", "动脉血", "2703-7"),
            ("K+", "mmol/L", "动脉血", "6298-4"),
            ("K+", "mmol/L", "全血", "6298-4"),
            ("K+", "mmol/L", "血清", "2823-3"),
            ("K+", "mmol/L", "血", "2823-3"),
            ("Na", "mmol/L", "动脉血", "2947-0"),
            ("氯", "mmol/L", "动脉血", "2069-3"),
            ("Lac", "mmol/L", "动脉血", "2518-9"),
            ("乳酸", "mmol/L", "", "32693-4"),
            ("HCO3-", "mmol/L", "动脉血", "1960-4"),
            ("BE", "mmol/L", "动脉血", "1925-7"),
            ("血糖", "mmol/L", "动脉血", "15074-8"),
            ("血红蛋白", "g/L", "动脉血", "718-7"),
            ("iCa", "mmol/L", "动脉血", "1994-3"),
        ],
        &[
            ("Creatinine", "mmol/L", "urine", "14683-7"),
            ("Creatinine", "mg/dL", "urine", "2161-8"),
            ("Creatinine", "umol/L", "serum", "14682-9"),
            ("Sodium", "mmol/L", "Urine", "2955-3"),
            ("Protein", "mg/dL", "urine", "2888-6"),
            ("Protein", "", "urine", "2887-8"),
            ("pCO2", "mmHg", "arterial blood", "2019-8"),
            ("pCO2", "mmHg", "", "11557-6"),
            ("Potassium", "mmol/L", "arterial", "6298-4"),
            ("Lactate", "mmol/L", "arterial blood", "2518-9"),
            ("TBIL", "umol/L", "", "14631-6"),
            ("TBIL", "", "", "1975-2"),
            ("Cr", "mg/dL", "serum", "2160-0"),
            ("Cr", "ug/L", "serum", ""),
            ("CO2", "mmol/L", "", "2028-9"),
            ("iCa", "mmol/L", "", "1994-3"),
            ("ALB", "g/dL", "", "1751-7"),
            ("CREA", "umol/L", "", "14682-9"),
            ("TG", "", "", "2571-8"),
        ],
    );
}

/// Signals in proportion to a cut-off, indices and titres say how much: no code of presence.
#[test]
fn numbers_are_no_presence() {
    for table_name in [ZH, EN] {
        let rows = table(table_name);
        let (name, lookup) = (rows.require("source_name").unwrap(), lookup(table_name));
        let told = |kind, unit| Told {
            kind,
            ..Told::of(unit, "", None)
        };
        for row in &rows.rows {
            for told in [
                told(Kind::Any, "S/CO"),
                told(Kind::Any, "COI"),
                told(Kind::Number, "index"),
                told(Kind::Number, "ratio"),
                told(Kind::Number, ""),
                told(Kind::Any, "copies/mL"),
                told(Kind::Titre, ""),
                told(Kind::Titre, "IU/mL"),
            ] {
                if let Found::Mapped(index) = lookup.find(row.cell(name), &told) {
                    let target = &lookup.target(index).unwrap().name;
                    let wrong = target.contains("[Presence]")
                        || told.kind == Kind::Titre && target.contains('[') && !target.contains("[Titer]");
                    assert!(!wrong, "{table_name}/map.csv:{}: {told:?} to {target}", row.line);
                }
            }
        }
        let found = |name, kind, unit| match lookup.find(name, &told(kind, unit)) {
            Found::Mapped(index) => lookup.target(index).unwrap().code.clone(),
            _ => String::new(),
        };
        assert_eq!(found("ANA", Kind::Titre, ""), "5048-4");
        assert_eq!(found("ANA", Kind::Any, ""), "8061-4");
        for unit in ["copies/mL", "拷贝/mL", "log IU/mL", "lg copies/mL"] {
            assert_eq!(found("HBV-DNA", Kind::Number, unit), "", "{unit}");
        }
        for unit in ["IU/mL", "10^3 IU/mL", "KIU/L"] {
            assert_eq!(found("HBV-DNA", Kind::Number, unit), "42595-9", "{unit}");
        }
    }
}

/// What a unit measures by UCUM, with moles and grams, and units and international units, as one.
fn measure(code: &str) -> Option<String> {
    let unit = ucum::unit(code).ok()?;
    let code = code.split('{').next().filter(|code| !code.is_empty()).unwrap_or("1");
    let volume = ["/L", "/dL", "/mL"].iter().any(|end| code.ends_with(end));
    let mass = volume && (code.contains("g/") || code.contains("mol/"));
    Some(match (mass, code.contains("U/") || code.contains("U]/")) {
        (true, _) => "mass".to_owned(),
        (_, true) => "activity".to_owned(),
        _ => format!("{:?} {:?}", unit.dimension(), unit.kinds()),
    })
}

/// Of the rows that ask for no unit too: a number in a unit gets no code whose values are in units of another measure.
#[test]
fn a_unit_of_another_measure_gets_no_code() {
    let units = [
        "%",
        "10*9/L",
        "/[HPF]",
        "mg/(24.h)",
        "s",
        "fL",
        "U/L",
        "g/L",
        "mmol/L",
        "mm[Hg]",
        "mL/min",
        "mm/h",
    ];
    let mut wrong = Vec::new();
    for table_name in [ZH, EN] {
        let rows = table(table_name);
        let (name, lookup) = (rows.require("source_name").unwrap(), lookup(table_name));
        for row in &rows.rows {
            for unit in units {
                if let Found::Mapped(index) = lookup.find(row.cell(name), &Told::of(unit, "", None)) {
                    let target = lookup.target(index).unwrap();
                    // Compared without case it is G/L, 10^9 per litre; `units` refuses it.
                    let capital = unit == "g/L" && target.unit == "10*9/L";
                    if !target.unit.is_empty() && measure(&target.unit) != measure(unit) && !capital {
                        wrong.push(format!(
                            "{table_name}/map.csv:{}: {unit} to {} in {}",
                            row.line, target.name, target.unit
                        ));
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(60)]
    );
}

/// Of the rows that ask for no specimen too: another specimen than the code's gets none.
#[test]
fn a_code_in_urine_or_spinal_fluid_is_for_that() {
    for table_name in [ZH, EN] {
        let rows = table(table_name);
        let (name, lookup) = (rows.require("source_name").unwrap(), lookup(table_name));
        for row in &rows.rows {
            for (told, other) in [
                ("血清", "in Urine"),
                ("CSF", "in Urine"),
                ("尿", "Cerebral spinal fluid"),
                ("serum", "in Stool"),
            ] {
                if let Found::Mapped(index) = lookup.find(row.cell(name), &Told::of("", told, None)) {
                    let target = &lookup.target(index).unwrap().name;
                    let both = target.contains("Serum") || target.contains("Plasma");
                    assert!(
                        both || !target.contains(other),
                        "{table_name}/map.csv:{}: {told} to {target}",
                        row.line
                    );
                }
            }
        }
    }
}
