//! The committed laboratory tables: a code is given only where specimen and unit of the report are those of the code.

#![allow(clippy::unwrap_used)]

use clinmill_plugin_terminology::{By, Found, Lookup, Told};
use clinmill_sdk::{MappingTable, Resource};
use std::{fs, path::Path};

const ZH: &str = "lab-zh__loinc";
const EN: &str = "lab-en__loinc";

fn lookup(name: &str) -> Lookup {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings").join(name);
    let mut resource = Resource::default();
    for file in ["map.csv", "mapping.yaml"] {
        resource.files.insert(file.into(), fs::read(folder.join(file)).unwrap());
    }
    Lookup::new(&MappingTable::read(name, &resource).unwrap(), By::Name).unwrap()
}

/// Looks `name`, `unit` and `specimen` up and compares with the code; empty: none.
fn all(table: &str, rows: &[(&str, &str, &str, &str)]) {
    let lookup = lookup(table);
    for (name, unit, specimen, want) in rows {
        let code = match lookup.find(name, &Told::of(unit, specimen, None)) {
            Found::Mapped(index) => lookup.target(index).unwrap().code.clone(),
            _ => String::new(),
        };
        assert_eq!(code, *want, "{table}: {name} | {unit} | {specimen}");
    }
}

#[test]
fn a_code_in_blood_is_for_blood() {
    all(
        ZH,
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
    );
    all(
        EN,
        &[
            ("HCO3", "mmol/L", "serum", "1963-8"),
            ("HCO3", "mmol/L", "", "1963-8"),
            ("HCO3", "mmol/L", "arterial blood", "1960-4"),
            ("HCO3", "", "urine", ""),
            ("Ferritin", "", "CSF", ""),
        ],
    );
}

/// Glycated haemoglobin and thyrotropin: nothing but blood is ever sent for them, and their rows ask for no specimen.
const ONLY_BLOOD: [&str; 4] = ["4548-4", "59261-8", "3016-3", "11579-0"];

/// No other specimen than blood gets a code of blood, whatever the name.
#[test]
fn what_is_known_to_be_no_blood_gets_no_code_of_blood() {
    for table in [ZH, EN] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings").join(table);
        let mut resource = Resource::default();
        for file in ["map.csv", "mapping.yaml"] {
            resource.files.insert(file.into(), fs::read(folder.join(file)).unwrap());
        }
        let rows = MappingTable::read(table, &resource).unwrap();
        let (name, lookup) = (rows.require("source_name").unwrap(), lookup(table));
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
                            ONLY_BLOOD.contains(&target.code.as_str())
                                || !blood.iter().any(|of| target.name.contains(of)),
                            "{table}/map.csv:{}: {specimen} to {}",
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
        ZH,
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
            ("乙肝表面抗体", "S/CO", "", "22322-2"),
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
            ("白细胞", "/HP", "", ""),
            ("红细胞", "/HP", "", ""),
            ("红细胞", "个/HPF", "", ""),
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
    );
    all(
        EN,
        &[
            ("CPK-MB", "U/L", "", "32673-6"),
            ("CPK-MB", "ng/mL", "", "13969-1"),
            ("HBsAb", "mIU/mL", "", "16935-9"),
            ("HBsAg", "IU/mL", "", "63557-3"),
            ("Neutrophils", "K/uL", "", "26499-4"),
            ("Neutrophils", "%", "", "26511-6"),
            ("Lymphocytes %", "10^9/L", "", ""),
            ("WBC", "/HPF", "", ""),
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
