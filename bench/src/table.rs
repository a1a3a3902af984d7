//! A laboratory table of thirteen columns, for the workloads of the `table` source.

use crate::hospital::{Gb18030, Rng};
use std::io::{self, Write};

const HEADER: &str = "patient_id,visit_id,sample_id,sampled_at,reported_at,test_code,test_name,loinc,value,unit,low,\
    high,flag";
const CHINESE_HEADER: &str =
    "病案号,住院号,标本号,采样时间,报告时间,项目代码,项目名称,标准代码,结果,单位,下限,上限,标志";

/// Code, name, Chinese name, LOINC, unit, lower and upper bound, decimals.
type Test = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    f64,
    f64,
    usize,
);

const TESTS: [Test; 12] = [
    ("WBC", "Leukocytes", "白细胞", "26464-8", "10*9/L", 3.5, 9.5, 2),
    ("HGB", "Hemoglobin", "血红蛋白", "718-7", "g/L", 130.0, 175.0, 0),
    ("PLT", "Platelets", "血小板", "26515-7", "10*9/L", 125.0, 350.0, 0),
    (
        "ALT",
        "Alanine aminotransferase",
        "谷丙转氨酶",
        "1742-6",
        "U/L",
        9.0,
        50.0,
        0,
    ),
    (
        "AST",
        "Aspartate aminotransferase",
        "谷草转氨酶",
        "1920-8",
        "U/L",
        15.0,
        40.0,
        0,
    ),
    ("CREA", "Creatinine", "肌酐", "14682-9", "umol/L", 57.0, 111.0, 1),
    ("K", "Potassium", "血钾", "2823-3", "mmol/L", 3.5, 5.3, 2),
    ("NA", "Sodium", "血钠", "2951-2", "mmol/L", 137.0, 147.0, 1),
    ("GLU", "Glucose", "血糖", "14749-6", "mmol/L", 3.9, 6.1, 2),
    ("CHOL", "Cholesterol", "胆固醇", "14647-2", "mmol/L", 2.8, 5.2, 2),
    ("CRP", "C reactive protein", "超敏CRP", "30522-7", "mg/L", 0.0, 3.0, 2),
    ("PT", "Prothrombin time", "凝血酶原时间", "5902-2", "s", 9.4, 12.5, 1),
];

/// Writes the table; with `chinese`, headers, names and flags are Chinese and the bytes are GB18030.
///
/// # Errors
/// When it cannot be written.
pub fn write(rows: u64, seed: u64, chinese: bool, mut out: impl Write) -> io::Result<()> {
    let mut rng = Rng::of(seed, &[0x7ab1e]);
    let mut gb = Gb18030::default();
    let mut bytes = Vec::new();
    let mut line = format!("{}\r\n", if chinese { CHINESE_HEADER } else { HEADER });
    for row in 0..=rows {
        bytes.clear();
        gb.encode(&line, &mut bytes);
        out.write_all(&bytes)?;
        if row < rows {
            line.clear();
            one(&mut rng, row, chinese, &mut line);
        }
    }
    out.flush()
}

fn one(rng: &mut Rng, row: u64, chinese: bool, line: &mut String) {
    use std::fmt::Write as _;
    let patient = rng.range(0, 200_000);
    let (code, name, chinese_name, loinc, unit, low, high, decimals) = *rng.pick(&TESTS);
    let value = rng.around((low + high) / 2.0, (high - low) * 0.5).max(0.0);
    let flag = match (value < low, value > high, chinese) {
        (true, _, false) => "L",
        (_, true, false) => "H",
        (true, _, true) => "偏低",
        (_, true, true) => "偏高",
        _ => "",
    };
    let (day, hour, minute) = (rng.range(1, 29), rng.range(5, 12), rng.range(0, 60));
    let month = rng.range(1, 13);
    let _ = write!(
        line,
        "{},V{:07}{},S{:010},2026-{month:02}-{day:02} {hour:02}:{minute:02}:00,2026-{month:02}-{day:02} {:02}:{minute:02}:{:02},\
         {code},{},{loinc},{value:.decimals$},{unit},{low},{high},{flag}\r\n",
        20_000_000 + patient,
        patient,
        rng.range(1, 4),
        row,
        hour + 3,
        rng.range(0, 60),
        if chinese { chinese_name } else { name },
    );
}
