//! Lookups in small tables, and in the laboratory tables that are shipped.

use super::*;
use clinmill_sdk::Resource;

fn lookup(rows: &str) -> Result<Lookup, PluginError> {
    let head = "source_code,source_name,target_system,target_code,target_name,equivalence,status,unit,when_unit,\
                when_specimen,valid_from,valid_to,origin,note\n";
    let mut resource = Resource::default();
    let yaml = "title: t\nfrom: a\nto: b\nversion: 1\norigin: here\nlicence: x\n";
    resource.files.insert("mapping.yaml".into(), yaml.into());
    resource.files.insert("map.csv".into(), format!("{head}{rows}").into());
    Lookup::new(&MappingTable::read("maps:x", &resource)?, By::Name)
}

fn code(lookup: &Lookup, value: &str, told: &Told<'_>) -> String {
    match lookup.find(value, told) {
        Found::Mapped(index) => lookup.target(index).unwrap().code.clone(),
        other => format!("{other:?}"),
    }
}

#[test]
fn unit_and_specimen_tell_rows_apart() {
    let lookup = lookup(
        ",葡萄糖,s,molar,,equivalent,accepted,,*|mmol/L,*|血|血清,,,,\n\
         ,葡萄糖,s,mass,,equivalent,accepted,,mg/dL,*|血|血清,,,,\n\
         ,葡萄糖,s,urine,,equivalent,accepted,,,尿|urine,,,,\n\
         ,Lp(a),s,nmol,,equivalent,accepted,,nmol/L,,,,,\n\
         ,Lp(a),s,mg,,equivalent,accepted,,mg/L,,,,,\n",
    )
    .unwrap();
    let told = |unit, specimen| Told {
        unit,
        specimen,
        ..Told::default()
    };
    assert_eq!(code(&lookup, "葡萄糖", &Told::default()), "molar");
    assert_eq!(code(&lookup, "葡萄糖", &told(Some("MG/DL"), None)), "mass");
    assert_eq!(code(&lookup, "葡萄糖", &told(Some("mmol/L"), Some("血清"))), "molar");
    assert_eq!(code(&lookup, "葡萄糖", &told(None, Some("Urine"))), "urine");
    assert_eq!(code(&lookup, "葡萄糖", &told(Some("U/L"), None)), "Unlike");
    assert_eq!(code(&lookup, "葡萄糖", &told(Some("g/L"), None)), "mass");
    assert_eq!(code(&lookup, "葡萄糖", &told(None, Some("脑脊液"))), "Unlike");
    assert_eq!(code(&lookup, "lp（A）", &Told::default()), "Ambiguous");
    assert_eq!(code(&lookup, "Lpa", &told(Some("nmol/L"), None)), "nmol");
    assert_eq!(lookup.lines("葡萄糖", &told(Some("MG/DL"), None)), [3]);
    assert_eq!(lookup.lines("lp（A）", &Told::default()), [5, 6]);
    assert!(lookup.lines("葡萄糖", &told(Some("U/L"), None)).is_empty());
}

/// A number without a unit may be in any: a row that asks for one is not about it, unless it says so.
#[test]
fn what_says_no_unit_is_in_none() {
    let lookup = lookup(
        ",Glucose,s,mass,,equivalent,accepted,,mg/dL,,,,,\n\
         ,GLU,s,mass,,equivalent,accepted,,*|mg/dL,,,,,\n\
         ,Urea,s,mass,,equivalent,accepted,,mg/dL,血清,,,,\n\
         ,Urea,s,urine,,equivalent,accepted,,mmol/L,尿,,,,\n\
         ,Virus,s,count,,equivalent,accepted,,copies/mL,,,,,\n\
         ,尿比重,s,sg,,equivalent,accepted,,,尿,,,,\n\
         ,比重,s,sg,,equivalent,accepted,,,尿,,,,\n\
         ,比重,,,,,unmapped,,,*,,,,whose?\n",
    )
    .unwrap();
    let told = |unit, specimen, kind| Told {
        unit,
        specimen,
        kind,
        ..Told::default()
    };
    let number = |unit, specimen| told(unit, specimen, Kind::Number);
    for (name, told, want) in [
        ("Glucose", number(None, None), "Unlike"),
        ("Glucose", number(Some(" "), None), "Unlike"),
        ("Glucose", number(Some("mg/dl"), None), "mass"),
        ("GLU", number(None, None), "mass"),
        ("Urea", number(None, None), "Ambiguous"),
        ("Urea", number(None, Some("血清")), "Unlike"),
        // A word has no unit.
        ("Virus", told(None, None, Kind::Word), "count"),
        // A specimen that nobody tells may be the one that every row of the name asks for.
        ("尿比重", number(None, None), "sg"),
        ("比重", number(None, None), "Unmapped"),
        ("比重", number(None, Some("尿")), "sg"),
    ] {
        assert_eq!(code(&lookup, name, &told), want, "{name} {told:?}");
    }
    assert!(lookup.lines("Glucose", &number(None, None)).is_empty());
}

/// A committed table.
fn shipped(folder: &str) -> Lookup {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../mappings")
        .join(folder);
    let mut resource = Resource::default();
    for file in ["map.csv", "mapping.yaml"] {
        resource
            .files
            .insert(file.into(), std::fs::read(folder.join(file)).unwrap());
    }
    Lookup::new(&MappingTable::read("maps:x", &resource).unwrap(), By::Name).unwrap()
}

#[test]
fn d_dimer_follows_the_unit() {
    for (table, name) in [
        ("lab-zh__loinc", "D-二聚体"),
        ("lab-zh__loinc", "Ｄ二聚体"),
        ("lab-zh__loinc", "D-二聚体定量"),
        ("lab-en__loinc", "D-Dimer"),
    ] {
        let lookup = shipped(table);
        let with = |unit| code(&lookup, name, &Told::of(unit, "", None)).replace("Unlike", "Unmapped");
        for unit in [
            "mg/L FEU",
            "ug/mL(FEU)",
            "μg/ml FEU",
            "ng{FEU}/mL",
            "mgFEU/L",
            "FEU ng/ml",
        ] {
            assert_eq!(with(unit), "48065-7", "{name} {unit}");
        }
        for unit in ["ng/mL DDU", "ug/L{DDU}", "mg/L (DDU)", "ngDDU/mL"] {
            assert_eq!(with(unit), "48066-5", "{name} {unit}");
        }
        for unit in ["mg/L", "ug/mL", "ng/ml", "", "mmol/L"] {
            assert_eq!(with(unit), "Unmapped", "{name} {unit}");
        }
    }
    let lookup = shipped("lab-zh__loinc");
    let with = |name, unit| code(&lookup, name, &Told::of(unit, "", None));
    assert_eq!(with("D-二聚体(FEU)", "mg/L"), "48065-7");
    assert_eq!(with("D-二聚体(FEU)", ""), "48065-7");
    assert_eq!(with("D-二聚体(FEU)", "ng/mL DDU"), "Unlike", "name and unit contradict");
}

#[test]
fn names_without_a_method_get_codes_without_one() {
    let (zh, en) = (shipped("lab-zh__loinc"), shipped("lab-en__loinc"));
    for (lookup, name, want) in [
        (&zh, "对乙酰氨基酚血药浓度", "3298-7"),
        (&zh, "水杨酸血药浓度", "4024-6"),
        (&zh, "网织红细胞百分比", "4679-7"),
        (&zh, "尿葡萄糖", "2349-9"),
        (&zh, "球蛋白", "2336-6"),
        (&en, "Acetaminophen", "3298-7"),
        (&en, "Salicylate", "4024-6"),
        (&en, "Reticulocyte Count, Automated", "17849-1"),
        (&en, "Glucose, urine dipstick", "25428-4"),
    ] {
        assert_eq!(code(lookup, name, &Told::default()), want, "{name}");
    }
}

/// A row without conditions is no row for whatever the source says.
#[test]
fn a_row_without_conditions_is_for_its_target_only() {
    let (zh, en) = (shipped("lab-zh__loinc"), shipped("lab-en__loinc"));
    for (lookup, name, unit, specimen, want) in [
        (&zh, "甲胎蛋白", "", "", "1834-1"),
        (&zh, "甲胎蛋白", "ng/mL", "血清", "1834-1"),
        (&zh, "甲胎蛋白", "%", "", "Unlike"),
        (&zh, "甲胎蛋白", "10^9/L", "", "Unlike"),
        (&zh, "甲胎蛋白", "U/L", "", "Unlike"),
        (&zh, "红细胞压积", "%", "", "20570-8"),
        (&zh, "红细胞压积", "L/L", "", "20570-8"),
        (&zh, "红细胞压积", "fL", "", "Unlike"),
        (&zh, "尿葡萄糖", "", "尿", "2349-9"),
        (&zh, "尿葡萄糖", "", "血清", "Unlike"),
        (&zh, "尿葡萄糖", "", "脑脊液", "Unlike"),
        (&en, "Ferritin", "ng/mL", "", "2276-4"),
        (&en, "Ferritin", "mmol/mol", "", "Unlike"),
    ] {
        let got = code(lookup, name, &Told::of(unit, specimen, None));
        assert_eq!(got, want, "{name} | {unit} | {specimen}");
    }
}

#[test]
fn abbreviations_and_names_beside_them() {
    let zh = shipped("lab-zh__loinc");
    for (name, unit, specimen, want) in [
        ("TBIL", "umol/L", "", "14631-6"),
        ("ALB", "g/L", "", "1751-7"),
        ("CREA", "umol/L", "血清", "14682-9"),
        ("Cr", "umol/L", "血清", "14682-9"),
        ("Cr", "umol/L", "尿", "14683-7"),
        ("Cr", "", "", "Ambiguous"),
        ("Cr", "ug/L", "", "Unmapped"),
        ("Na", "mmol/L", "", "2951-2"),
        ("Na", "mmol/L", "尿", "2955-3"),
        ("K", "mmol/L", "脑脊液", "Unlike"),
        ("ALT", "U/L", "EDTA血浆", "1742-6"),
        ("PLT", "10^9·L-1", "指血", "26515-7"),
        ("PLT", "1000/uL", "末梢血", "26515-7"),
        ("INR", "", "", "6301-6"),
        ("谷丙转氨酶(ALT)", "U/L", "", "1742-6"),
        ("★谷丙转氨酶（ALT）", "U/L", "", "1742-6"),
        ("ALT谷丙转氨酶", "U/L", "", "1742-6"),
        ("谷丙转氨酶(AST)", "U/L", "", "Unmapped"),
        ("谷丙转氨酶(尿)", "U/L", "", "Unmapped"),
        ("★肌酐", "umol/L", "", "14682-9"),
        ("*肌酐", "mg/dL", "", "2160-0"),
    ] {
        let got = code(&zh, name, &Told::of(unit, specimen, None));
        assert_eq!(got, want, "{name} | {unit} | {specimen}");
    }
    assert_eq!(zh.lines("谷丙转氨酶(ALT)", &Told::default()).len(), 2);
    assert!(zh.lines("谷丙转氨酶(AST)", &Told::default()).is_empty());
}

/// What serum is told of is not told of blood with its cells, whatever the row says; 血 may be either.
#[test]
fn blood_with_its_cells_is_no_serum() {
    let (zh, en) = (shipped("lab-zh__loinc"), shipped("lab-en__loinc"));
    for (lookup, name, specimen, want) in [
        (&zh, "肌酐", "血清", "14682-9"),
        (&zh, "肌酐", "EDTA血浆", "14682-9"),
        (&zh, "肌酐", "血", "14682-9"),
        (&zh, "肌酐", "静脉血", "14682-9"),
        (&zh, "肌酐", "全血", "Unlike"),
        (&zh, "血红蛋白", "全血", "718-7"),
        (&zh, "血红蛋白", "EDTA抗凝血", "718-7"),
        (&zh, "血红蛋白", "末梢血", "718-7"),
        (&zh, "血红蛋白", "指血", "718-7"),
        (&zh, "血红蛋白", "血清", "Unlike"),
        (&en, "Creatinine", "SER/PLAS", "2160-0"),
        (&en, "Creatinine", "whole blood", "Unlike"),
        (&en, "Hemoglobin", "BLD", "718-7"),
        (&en, "Hemoglobin", "plasma", "Unlike"),
    ] {
        let got = code(lookup, name, &Told::of("", specimen, None));
        assert_eq!(got, want, "{name} | {specimen}");
    }
}

/// Words of `when_unit` that say that there is no unit, or what a result is; and units of endotoxin, which UCUM has not.
const NO_UNITS: [&str; 23] = [
    "EU/mL",
    "EU/L",
    "A",
    "+",
    "+/-",
    "±",
    ":1",
    "OD",
    "PEI",
    "R",
    "na",
    "qualitative",
    "text",
    "无单位",
    "定性",
    "阳性",
    "阴性",
    "阴性/阳性",
    "比值",
    "titer",
    "titre",
    "滴度",
    "1:",
];

/// One source of truth: what a row asks for is a unit to the step `units`, of the measure of the row's own unit.
#[test]
fn conditions_on_units_are_units() {
    use clinmill_sdk::units::{by_code, fits, told_apart, ucum};
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings");
    for name in ["lab-zh__loinc", "lab-en__loinc"] {
        let read = |file: &str| std::fs::read(folder.join(name).join(file)).unwrap();
        let files = ["map.csv", "mapping.yaml"].map(|file| (file.to_owned(), read(file)));
        let table = MappingTable::read("maps:x", &Resource { files: files.into() }).unwrap();
        let (when, unit) = (table.column("when_unit").unwrap(), table.column("unit").unwrap());
        let mut asked = 0;
        for row in &table.rows {
            let words = row.cell(when).split('|').filter(|one| !matches!(*one, "" | "*"));
            for one in words.filter(|one| !NO_UNITS.contains(one) && !unit_condition(one).is_empty()) {
                let at = format!("{name}:{} {one}", row.line);
                let code = units::code(one).unwrap_or_else(|| panic!("{at} is no unit"));
                // Units of enzymes and those of standards meet by the table of molar masses, analyte by analyte.
                let [own, told] = [row.cell(unit), &code].map(|code| code.replace("[IU]", "U"));
                let measure = |code: &str| ucum::unit(code).unwrap();
                let like = own.is_empty()
                    || told_apart(&told, &by_code(&told, &own)).is_none() && fits(&measure(&own), &measure(&told));
                assert!(like, "{at} is {code}, not {own}");
                asked += 1;
            }
        }
        assert!(asked > 1000, "{asked}");
    }
}

/// Rows of one name that their units tell apart ask for no unit twice.
#[test]
fn units_tell_rows_apart() {
    for name in ["lab-zh__loinc", "lab-en__loinc"] {
        let lookup = shipped(name);
        for (key, places) in &lookup.folded {
            let rows: Vec<&Row> = places.iter().filter_map(|at| lookup.rows.get(*at)).collect();
            for (at, one) in rows.iter().enumerate() {
                for other in rows.iter().skip(at + 1).filter(|other| other.target != one.target) {
                    let apart = !one.entry.unit.is_none()
                        && !other.entry.unit.is_none()
                        && one.entry.specimen == other.entry.specimen;
                    let both = one.entry.unit.shares(&other.entry.unit);
                    assert!(
                        !apart || !both,
                        "{name} {key}: lines {} and {}",
                        one.entry.line,
                        other.entry.line
                    );
                }
            }
        }
    }
}

/// No row asks for a specimen that its target is not in.
#[test]
fn conditions_on_specimens_fit_their_targets() {
    let lookup = lookup(",a,s,1,x in Serum or Plasma,equivalent,accepted,,,全血,,,,\n");
    for (place, lookup) in [("planted", lookup.unwrap())]
        .into_iter()
        .chain(["lab-zh__loinc", "lab-en__loinc"].map(|table| (table, shipped(table))))
    {
        let unlike: Vec<u32> = lookup
            .rows
            .iter()
            .filter(|row| {
                row.entry
                    .specimen
                    .any(|one| specimen::contradict(specimen::told(one), row.specimen))
            })
            .map(|row| row.entry.line)
            .collect();
        assert_eq!(unlike.len(), usize::from(place == "planted"), "{place}: {unlike:?}");
    }
}

#[test]
fn days_choose_between_rows_and_past_rows_are_over() {
    let lookup = lookup(
        ",x,s,old,,equivalent,accepted,,,,2010-01-01,2019-12-31,,\n\
         ,x,s,new,,equivalent,accepted,,,,2020-01-01,2099-12-31,,\n",
    )
    .unwrap();
    let on = |day: &str| Told {
        day: crate::table::days(day),
        ..Told::default()
    };
    assert_eq!(code(&lookup, "x", &on("2019-12-31")), "old");
    assert_eq!(code(&lookup, "x", &on("2020-01-01")), "new");
    assert_eq!(code(&lookup, "x", &on("2009-01-01")), "Unlike");
    assert_eq!(code(&lookup, "x", &Told::default()), "new");
}

#[test]
fn what_was_turned_down_is_said() {
    let lookup = lookup(
        ",a,s,1,,equivalent,rejected,,,,,,,\n,a,s,2,,equivalent,rejected,,,,,,,\n\
         ,b,s,1,,equivalent,proposed,,,,,,,\n,b,s,2,,equivalent,rejected,,,,,,,\n",
    )
    .unwrap();
    assert_eq!(code(&lookup, "a", &Told::default()), "Rejected");
    assert_eq!(lookup.lines("a", &Told::default()), [2, 3]);
    assert_eq!(code(&lookup, "b", &Told::default()), "Unmapped");
    assert_eq!(code(&lookup, "---", &Told::default()), "Unmapped");
}

#[test]
fn rows_that_contradict_are_refused_with_their_lines() {
    let message = |rows: &str| lookup(rows).err().unwrap().message;
    let twice = ",k,s,1,,equivalent,accepted,,,,2020-01-01,,,\n,k,s,2,,equivalent,accepted,,,,2021-01-01,,,\n";
    assert_eq!(message(twice), "maps:x/map.csv:3: \"k\" stands in line 2 already");
    assert!(message(",k,s,1,,same,accepted,,,,,,,\n").contains("map.csv:2: equivalence \"same\" is none of"));
    assert!(message(",k,s,1,,equivalent,accepted,,,,2023-02-30,,,\n").contains("map.csv:2: valid_from"));
    assert!(message(",k,s,1,,equivalent,accepted,,,,2023-02-03,2022-01-01,,\n").contains("valid_to is before"));
    assert_eq!(
        message(",k,s,1,,equivalent,accepted,,,,,,,\n,,s,2,,equivalent,accepted,,,,,,,\n"),
        "maps:x/map.csv:3: the row has neither source_code nor source_name"
    );
    assert_eq!(
        message(",k,http://loinc.org,2345-6,,equivalent,accepted,,,,,,,\n"),
        "maps:x/map.csv:2: target_code \"2345-6\" is no code of LOINC: the check digit is 7, not 6"
    );
    // A candidate that was turned down may have been turned down for that.
    assert!(lookup(",k,http://loinc.org,2345-6,,equivalent,rejected,,,,,,,\n").is_ok());
}
