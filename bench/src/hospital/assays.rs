//! The tests that the sample hospital does, in the words of its own systems.

use super::rng::Rng;

/// One test.
pub struct Assay {
    /// Local code, in OBX-3.1.
    pub code: &'static str,
    /// Name, in OBX-3.2 and in 项目名称.
    pub name: &'static str,
    /// Unit as the systems write it.
    pub unit: &'static str,
    /// How its values look.
    pub values: Values,
}

/// How the values of a test look.
pub enum Values {
    /// A number: lower and upper bound of the reference range, decimals.
    Number(f64, f64, usize),
    /// One of these words, the first of which is the normal one.
    Words(&'static [&'static str]),
}

/// A group of tests that is ordered together.
pub struct Panel {
    /// Local code, in OBR-4.1.
    pub code: &'static str,
    /// Name.
    pub name: &'static str,
    /// Its tests.
    pub assays: &'static [Assay],
}

const fn number(code: &'static str, name: &'static str, unit: &'static str, low: f64, high: f64, d: usize) -> Assay {
    Assay {
        code,
        name,
        unit,
        values: Values::Number(low, high, d),
    }
}

const fn words(code: &'static str, name: &'static str, values: &'static [&'static str]) -> Assay {
    Assay {
        code,
        name,
        unit: "",
        values: Values::Words(values),
    }
}

const ANTIBODY: &[&str] = &["阴性", "阴性(-)", "阳性(+)", "弱阳性(±)", "阴性", "阴性(-)", "阴性"];

/// 血常规, by HL7.
pub const BLOOD_COUNT: Panel = Panel {
    code: "XCG",
    name: "血常规",
    assays: &[
        number("WBC", "白细胞计数", "10^9/L", 3.5, 9.5, 2),
        number("RBC", "红细胞计数", "10^12/L", 4.3, 5.8, 2),
        number("HGB", "血红蛋白", "g/L", 130.0, 175.0, 0),
        number("HCT", "红细胞压积", "%", 40.0, 50.0, 1),
        number("PLT", "血小板计数", "10^9/L", 125.0, 350.0, 0),
        number("NEUT", "中性粒细胞百分比", "%", 40.0, 75.0, 1),
    ],
};

/// 凝血四项, by HL7.
pub const COAGULATION: Panel = Panel {
    code: "NXSX",
    name: "凝血四项",
    assays: &[
        number("PT", "凝血酶原时间", "s", 9.4, 12.5, 1),
        number("INR", "国际标准化比值", "", 0.8, 1.2, 2),
        number("APTT", "活化部分凝血活酶时间", "s", 25.1, 36.5, 1),
        number("FIB", "纤维蛋白原", "g/L", 2.0, 4.0, 2),
        number("DD", "D-二聚体", "mg/L FEU", 0.0, 0.5, 2),
    ],
};

/// 床旁检测, by HL7.
pub const BEDSIDE: Panel = Panel {
    code: "POCT",
    name: "床旁检测",
    assays: &[
        number("GLU-P", "指尖血糖", "mmol/L", 3.9, 11.1, 1),
        number("ACT", "活化凝血时间", "s", 70.0, 320.0, 0),
    ],
};

/// 颈动脉超声, by HL7.
pub const ULTRASOUND: Panel = Panel {
    code: "US-CA",
    name: "颈动脉彩色多普勒超声",
    assays: &[
        number("PSV", "颈内动脉收缩期峰值流速", "cm/s", 40.0, 380.0, 0),
        number("EDV", "颈内动脉舒张末期流速", "cm/s", 10.0, 140.0, 0),
        words("PLQ", "斑块性质", &["低回声", "等回声", "强回声", "混合回声"]),
    ],
};

/// 生化全套, by CSV.
pub const CHEMISTRY: Panel = Panel {
    code: "SHQT",
    name: "生化全套",
    assays: &[
        number("ALT", "丙氨酸氨基转移酶", "U/L", 9.0, 50.0, 0),
        number("AST", "天门冬氨酸氨基转移酶", "U/L", 15.0, 40.0, 0),
        number("CR", "肌酐", "μmol/L", 57.0, 111.0, 1),
        number("UREA", "尿素", "mmol/L", 3.1, 9.5, 2),
        number("UA", "尿酸", "μmol/L", 208.0, 428.0, 0),
        number("K", "钾", "mmol/L", 3.5, 5.3, 2),
        number("NA", "钠", "mmol/L", 137.0, 147.0, 1),
        number("GLU", "葡萄糖", "mmol/L", 3.9, 6.1, 2),
        number("ALB", "白蛋白", "g/L", 40.0, 55.0, 1),
    ],
};

/// 血脂, by CSV.
pub const LIPIDS: Panel = Panel {
    code: "XZ",
    name: "血脂",
    assays: &[
        number("TC", "总胆固醇", "mmol/L", 2.8, 5.2, 2),
        number("TG", "甘油三酯", "mmol/L", 0.56, 1.7, 2),
        number("HDL", "高密度脂蛋白胆固醇", "mmol/L", 1.04, 1.55, 2),
        number("LDL", "低密度脂蛋白胆固醇", "mmol/L", 1.3, 3.4, 2),
    ],
};

/// 心脑血管风险, by CSV.
pub const RISK: Panel = Panel {
    code: "XNXG",
    name: "心脑血管风险",
    assays: &[
        number("HCRP", "超敏C反应蛋白", "mg/L", 0.0, 3.0, 2),
        number("TNI", "肌钙蛋白I", "ng/mL", 0.0, 0.04, 3),
        number("HCY", "同型半胱氨酸", "μmol/L", 0.0, 15.0, 1),
        number("HBA1C", "糖化血红蛋白", "%", 4.0, 6.0, 1),
    ],
};

/// 术前免疫, by CSV.
pub const ANTIBODIES: Panel = Panel {
    code: "SQMY",
    name: "术前免疫",
    assays: &[
        words("HBSAG", "乙肝表面抗原", ANTIBODY),
        words("HCV", "丙肝抗体", ANTIBODY),
        words("TPAB", "梅毒螺旋体抗体", ANTIBODY),
    ],
};

/// 血小板功能, by CSV; no common code system has a fitting code for what this laboratory does.
pub const PLATELETS: Panel = Panel {
    code: "XXBGN",
    name: "血小板功能",
    assays: &[
        number("AA", "血小板抑制率(AA)", "%", 50.0, 95.0, 1),
        number("ADP", "血小板抑制率(ADP)", "%", 30.0, 90.0, 1),
    ],
};

/// CYP2C19, by CSV.
pub const GENE: Panel = Panel {
    code: "CYP2C19",
    name: "氯吡格雷代谢基因",
    assays: &[words(
        "CYP2C19",
        "CYP2C19基因型",
        &["*1/*1", "*1/*2", "*2/*2", "*1/*3", "*1/*17"],
    )],
};

impl Assay {
    /// A value as the systems write it: mostly inside the reference range, now and then with what real exports hold.
    pub fn value(&self, rng: &mut Rng, dirty: bool) -> String {
        match &self.values {
            Values::Words(words) => (*rng.pick::<&str>(words)).to_owned(),
            Values::Number(low, high, decimals) => {
                let value = rng.around((low + high) / 2.0, (high - low) * 0.45).max(0.0);
                let text = format!("{value:.decimals$}");
                if !dirty {
                    return text;
                }
                match rng.range(0, 40) {
                    0 if *low == 0.0 => format!("<{:.decimals$}", high / 10.0),
                    1 => format!(">{:.decimals$}", high * 4.0),
                    2 => "溶血".to_owned(),
                    3 => format!(" {text}"),
                    _ if value > *high => format!("{text}↑"),
                    _ if value < *low => format!("{text}↓"),
                    _ => text,
                }
            }
        }
    }

    /// The reference range as the systems write it.
    pub fn range(&self) -> String {
        match &self.values {
            Values::Words(words) if words.first() == Some(&"阴性") => "阴性".to_owned(),
            Values::Words(_) => String::new(),
            Values::Number(low, high, decimals) if *low == 0.0 => format!("<{high:.decimals$}"),
            Values::Number(low, high, decimals) => format!("{low:.decimals$}-{high:.decimals$}"),
        }
    }

    /// `H`, `L` or nothing, from a value as written.
    pub fn flag(&self, value: &str) -> &'static str {
        let Values::Number(low, high, _) = &self.values else {
            return "";
        };
        match value.parse::<f64>() {
            Ok(value) if value > *high => "H",
            Ok(value) if value < *low => "L",
            _ => "",
        }
    }
}
