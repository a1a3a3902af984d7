//! What the transplant service has measured, and by whom: one laboratory writes SI units, the other one of the eastern
//! campus conventional ones.

use super::super::{clock::Minute, rng::Rng};

/// A test, as each of the two laboratories writes it.
pub struct Lab {
    /// Name, in 项目名称.
    pub name: &'static str,
    /// The column of the truth that it stands in.
    pub column: &'static str,
    /// As the main laboratory writes it.
    pub si: Written,
    /// As the laboratory of the eastern campus writes it.
    pub conventional: Written,
}

/// How values are written, and what they are in the unit of the truth.
pub struct Written {
    /// Unit.
    pub unit: &'static str,
    /// Digits after the point.
    pub decimals: usize,
    /// Reference range.
    pub range: &'static str,
    /// One of this unit in the unit of the truth.
    pub factor: f64,
}

const fn written(unit: &'static str, decimals: usize, range: &'static str, factor: f64) -> Written {
    Written {
        unit,
        decimals,
        range,
        factor,
    }
}

const fn same(
    name: &'static str,
    column: &'static str,
    unit: &'static str,
    decimals: usize,
    range: &'static str,
) -> Lab {
    Lab {
        name,
        column,
        si: written(unit, decimals, range, 1.0),
        conventional: written(unit, decimals, range, 1.0),
    }
}

/// Before and after the operation. Units of the truth: mg/dL for bilirubin and creatinine (molar masses 584.67 and
/// 113.12 g/mol), g/L for albumin, mmol/L for sodium.
pub static PANEL: [Lab; 7] = [
    Lab {
        name: "总胆红素",
        column: "bilirubin",
        si: written("μmol/L", 1, "3.4-20.5", 584.67e-4),
        conventional: written("mg/dL", 2, "0.2-1.2", 1.0),
    },
    same("国际标准化比值", "inr", "", 2, "0.80-1.20"),
    Lab {
        name: "肌酐",
        column: "creatinine",
        si: written("µmol/L", 1, "57.0-111.0", 113.12e-4),
        conventional: written("mg/dl", 2, "0.64-1.26", 1.0),
    },
    same("钠", "sodium", "mmol/L", 1, "137.0-147.0"),
    Lab {
        name: "白蛋白",
        column: "albumin",
        si: written("g/L", 1, "40.0-55.0", 1.0),
        conventional: written("g/dL", 2, "4.00-5.50", 10.0),
    },
    same("丙氨酸氨基转移酶", "", "U/L", 0, "9-50"),
    same("血小板计数", "", "×10^9/L", 0, "125-350"),
];

/// After the operation.
pub static TACROLIMUS: Lab = same("他克莫司血药浓度", "tacrolimus", "ng/mL", 1, "5.0-15.0");

/// One result as it was said.
pub struct Result {
    /// The test.
    pub lab: &'static Lab,
    /// The value as written.
    pub text: String,
    /// The unit as written.
    pub unit: &'static str,
    /// The reference range as written.
    pub range: &'static str,
    /// The value in the unit of the truth; None where the laboratory gave no number, or only a bound.
    pub value: Option<f64>,
}

impl Lab {
    /// A result near this value (in the unit of the truth), as the laboratory writes it.
    pub fn result(&'static self, value: f64, conventional: bool) -> Result {
        let written = if conventional { &self.conventional } else { &self.si };
        let decimals = written.decimals;
        let text = format!("{:.decimals$}", value / written.factor);
        Result {
            lab: self,
            // What counts is what the laboratory said.
            value: text.parse().ok().map(|said: f64| said * written.factor),
            text,
            unit: written.unit,
            range: written.range,
        }
    }
}

/// A blood sample with all that was said about it.
pub struct Sample {
    /// 报告号.
    pub no: String,
    /// When it was taken.
    pub taken: Minute,
    /// What was said, by time said.
    pub reports: Vec<Report>,
}

/// Results said at one time.
pub struct Report {
    /// 报告时间.
    pub said: Minute,
    /// The day on which it reaches the data centre.
    pub arrives: i64,
    /// The results.
    pub results: Vec<Result>,
}

impl Sample {
    /// What holds of a test at the end of a day: what was said last among all that has arrived.
    pub fn known(&self, name: &str, day: i64) -> Option<&Result> {
        self.reports
            .iter()
            .filter(|report| report.arrives <= day)
            .flat_map(|report| report.results.iter().map(move |result| (report.said, result)))
            .filter(|(_, result)| result.lab.name == name)
            .max_by_key(|(said, _)| *said)
            .map(|(_, result)| result)
    }
}

/// How ill a patient is: what the tests move around, in the units of the truth.
pub struct Illness {
    values: [f64; 7],
}

impl Illness {
    /// Somebody's.
    pub fn new(rng: &mut Rng) -> Self {
        // From compensated cirrhosis to failing liver and kidneys.
        let grade = rng.range(0, 101) as f64 / 100.0;
        let mut about = |mean: f64, spread: f64| rng.around(mean, spread);
        Self {
            values: [
                (0.7 + 22.0 * grade * grade + about(0.0, 0.5)).max(0.3),
                (1.0 + 1.6 * grade + about(0.1, 0.25)).max(0.9),
                (0.7 + 1.6 * grade * grade + about(0.0, 0.3)).max(0.45),
                141.0 - 12.0 * grade + about(0.0, 3.0),
                40.0 - 13.0 * grade + about(0.0, 3.0),
                60.0 + about(0.0, 30.0),
                150.0 - 100.0 * grade + about(0.0, 15.0),
            ],
        }
    }

    /// Results of a sample; after the operation they are on their way to normal.
    pub fn results(&self, rng: &mut Rng, conventional: bool, operated: bool) -> Vec<Result> {
        const NORMAL: [f64; 7] = [0.8, 1.05, 0.9, 140.0, 38.0, 40.0, 180.0];
        let mut results: Vec<Result> = PANEL
            .iter()
            .zip(self.values.iter().zip(NORMAL))
            .map(|(lab, (value, normal))| {
                let value = if operated { (value + 2.0 * normal) / 3.0 } else { *value };
                // Sodium is kept within narrow bounds, everything else moves.
                let share = if lab.column == "sodium" { 0.006 } else { 0.06 };
                lab.result(rng.around(value, value * share), conventional)
            })
            .collect();
        if operated {
            results.push(TACROLIMUS.result(rng.around(8.0, 3.0), conventional));
        }
        results
    }
}
