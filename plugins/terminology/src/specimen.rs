//! What a specimen is, in the source's words and in the name of a LOINC code.

use crate::fold::condition;

/// Groups of specimens, and words that name them: parts of a text.
const PARTS: [(&str, &[&str]); 14] = [
    ("blood", &["血", "blood", "serum", "plasma"]),
    ("urine", &["尿", "urine"]),
    (
        "spinal fluid",
        &["脑脊液", "csf", "cerebrospinal", "cerebralspinal", "spinalfluid"],
    ),
    ("stool", &["粪", "大便", "stool", "feces", "faeces"]),
    ("pleural fluid", &["胸水", "胸腔", "pleural"]),
    ("peritoneal fluid", &["腹水", "腹腔", "ascit", "peritoneal"]),
    ("synovial fluid", &["关节", "滑液", "synovial", "joint"]),
    ("amniotic fluid", &["羊水", "amniotic"]),
    ("dialysate", &["透析", "dialys"]),
    ("sputum", &["痰", "sputum"]),
    ("saliva", &["唾液", "saliva"]),
    ("semen", &["精液", "精浆", "semen", "seminal"]),
    ("marrow", &["骨髓", "marrow"]),
    ("body fluid", &["体液", "bodyfluid"]),
];

/// Words that name them alone: those of HL7 table 0487 and of LOINC's parts.
const WHOLE: [(&str, &[&str]); 5] = [
    (
        "blood",
        &[
            "bld", "blda", "bldv", "bldc", "bldco", "ser", "plas", "ser/plas", "wb", "ppp", "rbc",
        ],
    ),
    ("urine", &["ur", "urn"]),
    ("stool", &["stl"]),
    ("sputum", &["spt"]),
    ("semen", &["smn"]),
];

/// Words of what is left of blood when the cells are taken out of it, and of blood that nothing was taken out of: a drop
/// from a finger, a heel or an ear is not spun.
const WITHOUT_CELLS: [&str; 7] = ["血清", "血浆", "serum", "plasma", "ser", "plas", "ppp"];
const WITH_CELLS: [&str; 15] = [
    "全血",
    "wholeblood",
    "wb",
    "rbc",
    "末梢血",
    "指血",
    "指尖血",
    "足跟血",
    "耳垂血",
    "毛细血管血",
    "毛细血管全血",
    "capillary",
    "fingerstick",
    "heelstick",
    "bldc",
];

/// The group that a source's words name; nothing where they name none or several. Blood of which they do not say whether its
/// cells are in it (`血`, `静脉血`, `抗凝血`, `BLD`) is `blood`.
pub fn told(text: &str) -> Option<&'static str> {
    let text = condition(text);
    match group(&text)? {
        "blood" => Some(blood(&text)),
        group => Some(group),
    }
}

/// The group of a folded text, blood as one.
fn group(text: &str) -> Option<&'static str> {
    let whole = WHOLE.iter().find(|(_, words)| words.contains(&text));
    if let Some((group, _)) = whole {
        return Some(group);
    }
    let mut named = PARTS
        .iter()
        .filter(|(_, words)| words.iter().any(|word| text.contains(word)))
        .map(|(group, _)| *group);
    match (named.next(), named.next()) {
        (Some(group), None) => Some(group),
        _ => None,
    }
}

/// Which blood a folded text names.
fn blood(text: &str) -> &'static str {
    // Short codes are words by themselves.
    let names = |words: &[&str]| {
        let parts = || text.split(['/', '-', '_', ',']);
        words.iter().any(|word| match word.is_ascii() && word.len() <= 4 {
            true => parts().any(|part| part == *word),
            false => text.contains(word),
        })
    };
    match (names(&WITHOUT_CELLS), names(&WITH_CELLS)) {
        (true, false) => "serum or plasma",
        (false, true) => "whole blood",
        _ => "blood",
    }
}

/// The group that the system in a LOINC name belongs to, such as `Urine` of `Glucose [Mass/volume] in Urine by Test strip`.
pub fn of_name(name: &str) -> Option<&'static str> {
    let (_, system) = name.rsplit_once(" in ").or_else(|| name.rsplit_once(" of "))?;
    let system = system.split(" by ").next().unwrap_or(system);
    let system = system.split(" --").next().unwrap_or(system);
    if system.contains("Tissue") {
        return None;
    }
    match told(system)? {
        // LOINC's Blood has its cells; "Serum, Plasma or Blood" is any.
        "blood" if system.contains("Serum") || system.contains("Plasma") => Some("blood"),
        "blood" => Some("whole blood"),
        "serum or plasma" if system.contains("Blood") && !system.contains("Cord") => Some("blood"),
        group => Some(group),
    }
}

/// Whether one group is not the other, as far as both are known: a body fluid may be of any cavity, blood with its cells or
/// without.
pub fn contradict(one: Option<&'static str>, other: Option<&'static str>) -> bool {
    let cavity = |group: &str| {
        !matches!(
            group,
            "blood" | "whole blood" | "serum or plasma" | "urine" | "stool" | "spinal fluid"
        )
    };
    match (one, other) {
        (Some("body fluid"), Some(group)) | (Some(group), Some("body fluid")) => !cavity(group),
        (Some("blood"), Some("whole blood" | "serum or plasma"))
        | (Some("whole blood" | "serum or plasma"), Some("blood")) => false,
        (Some(one), Some(other)) => one != other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_names_meet() {
        for (text, group) in [
            ("静脉血", Some("blood")),
            ("ＥＤＴＡ抗凝全血", Some("whole blood")),
            ("WB", Some("whole blood")),
            ("EDTA抗凝血", Some("blood")),
            ("BLD", Some("blood")),
            ("指血", Some("whole blood")),
            ("末梢血", Some("whole blood")),
            ("Capillary blood", Some("whole blood")),
            ("末梢静脉血", Some("blood")),
            ("末梢血清", Some("blood")),
            ("外周血", Some("blood")),
            ("EDTA血浆", Some("serum or plasma")),
            ("SER/PLAS", Some("serum or plasma")),
            ("Serum", Some("serum or plasma")),
            ("血清/全血", Some("blood")),
            ("24小时尿", Some("urine")),
            ("腦脊液", Some("spinal fluid")),
            ("Cerebrospinal Fluid (CSF)", Some("spinal fluid")),
            ("血性胸水", None),
            ("swab", None),
            ("", None),
        ] {
            assert_eq!(told(text), group, "{text}");
        }
        for (name, group) in [
            ("Glucose [Mass/volume] in Urine by Test strip", Some("urine")),
            (
                "Leukocytes [#/area] in Urine sediment by Microscopy high power field",
                Some("urine"),
            ),
            ("Glucose [Mass/volume] in Cerebral spinal fluid", Some("spinal fluid")),
            ("pH of Urine", Some("urine")),
            (
                "Prothrombin time (PT) in Platelet poor plasma by Coagulation assay",
                Some("serum or plasma"),
            ),
            ("Hemoglobin A1c/Hemoglobin.total in Blood", Some("whole blood")),
            (
                "Glucose [Moles/volume] in Capillary blood by Glucometer",
                Some("whole blood"),
            ),
            ("Glucose [Moles/volume] in Serum, Plasma or Blood", Some("blood")),
            (
                "Bilirubin.total [Mass/volume] in Serum or Plasma from Cord blood",
                Some("serum or plasma"),
            ),
            ("Creatinine renal clearance in 24 hour Urine and Serum or Plasma", None),
            ("Bacteria identified in Specimen by Culture", None),
            ("Lead [Mass/mass] in Blood or Tissue", None),
        ] {
            assert_eq!(of_name(name), group, "{name}");
        }
    }

    #[test]
    fn a_body_fluid_is_of_any_cavity() {
        let unlike = |one, other| contradict(told(one), told(other));
        for (one, other) in [
            ("尿", "血清"),
            ("CSF", "urine"),
            ("body fluid", "blood"),
            ("胸水", "腹水"),
            ("全血", "血清"),
            ("指尖血", "血浆"),
            ("EDTA血浆", "WB"),
            ("全血", "尿"),
            ("体液", "血浆"),
        ] {
            assert!(unlike(one, other) && unlike(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("全血", "血"),
            ("BLD", "血清"),
            ("胸水", "体液"),
            ("", "血"),
            ("拭子", "血"),
        ] {
            assert!(!unlike(one, other) && !unlike(other, one), "{one} {other}");
        }
    }
}
