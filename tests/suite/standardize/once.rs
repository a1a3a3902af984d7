//! The chain of three steps gives the number that was measured: powers of ten once, units of their own, and no code that
//! the unit contradicts.

use super::{LABS, site};
use clinmill_tests::state::text;

/// Number of the order, code, value and unit.
type Wanted = (&'static str, &'static str, Option<f64>, &'static str);

fn check(pipeline: &str, rows: &str, wanted: &[Wanted]) {
    let site = site(pipeline, rows);
    site.refresh();
    let rows = site.rows(1, "measurement");
    for (order, code, value, unit) in wanted {
        let row = rows.values().find(|row| text(row, "order_no") == *order).unwrap();
        let number: Option<f64> = text(row, "standard_value").parse().ok();
        assert_eq!(
            (text(row, "loinc_code"), number, text(row, "standard_unit")),
            (*code, *value, *unit),
            "{order}: {row:?}"
        );
    }
}

const ROWS: &str = "mrn,order,test,result,unit,at\n\
    a,1,白细胞,5.6×10^9,10^9/L,2026-01-01 07:00:00\n\
    a,2,白细胞,5.6E9,G/L,2026-01-01 07:00:00\n\
    a,3,白细胞,5.6×10^9/L,10^9/L,2026-01-01 07:00:00\n\
    a,4,白细胞,5.6×10^9,10^12/L,2026-01-01 07:00:00\n\
    a,5,糖化血红蛋白,48,mmol/mol,2026-01-01 07:00:00\n\
    a,6,糖化血红蛋白,6.5,%,2026-01-01 07:00:00\n\
    a,7,丙氨酸氨基转移酶,31,IU/L,2026-01-01 07:00:00\n\
    a,8,促甲状腺激素,2.1,μU/ml,2026-01-01 07:00:00\n\
    a,9,阴离子间隙,12,mEq/L,2026-01-01 07:00:00\n";

#[test]
fn the_number_is_the_one_that_was_measured() {
    let pipeline = LABS.replace("column: test, map", "column: test, unit: unit, map");
    assert_ne!(pipeline, LABS);
    check(
        &pipeline,
        ROWS,
        &[
            ("1", "26464-8", Some(5.6), "10*9/L"),
            ("2", "26464-8", Some(5.6), "10*9/L"),
            ("3", "26464-8", Some(5.6), "10*9/L"),
            // Powers that differ: it is a count of white cells, and nobody can tell which number; the unit is known.
            ("4", "26464-8", None, "10*9/L"),
            ("5", "59261-8", Some(48.0), "mmol/mol"),
            ("6", "4548-4", Some(6.5), "%"),
            ("7", "1742-6", Some(31.0), "U/L"),
            ("8", "3016-3", Some(2.1), "m[IU]/L"),
            ("9", "33037-3", Some(12.0), "mmol/L"),
        ],
    );
}

const WITHIN: &str = "mrn,order,test,result,unit,at\n\
    a,1,HBsAb,120 mIU/mL,,2026-01-01 07:00:00\n\
    a,2,HBsAb,阳性,,2026-01-01 07:00:00\n\
    a,3,HBsAb,2.8,S/CO,2026-01-01 07:00:00\n\
    a,4,HBsAb,120,,2026-01-01 07:00:00\n\
    a,5,糖化血红蛋白,48mmol/mol,,2026-01-01 07:00:00\n\
    a,6,中性粒细胞,60%,10^9/L,2026-01-01 07:00:00\n\
    a,7,ANA,1:320,,2026-01-01 07:00:00\n\
    a,8,总胆红素,1.5 mg/dL,umol/L,2026-01-01 07:00:00\n";

#[test]
fn a_unit_within_the_result_tells_the_code() {
    let told = "column: test, unit: unit, unit_in_value: value_unit, kind: value_kind, map";
    let pipeline = LABS.replace("column: test, map", told);
    assert_ne!(pipeline, LABS);
    check(
        &pipeline,
        WITHIN,
        &[
            ("1", "16935-9", Some(120.0), "m[IU]/mL"),
            ("2", "22322-2", None, ""),
            ("3", "", Some(2.8), "{S_CO}"),
            ("4", "", None, ""),
            ("5", "59261-8", Some(48.0), "mmol/mol"),
            ("6", "26511-6", Some(60.0), "%"),
            ("7", "5048-4", None, ""),
            ("8", "1975-2", Some(1.5), "mg/dL"),
        ],
    );
}

const UNLIKE: &str = "mrn,order,test,result,unit,at\n\
    a,1,淋巴细胞计数,45,%,2026-01-01 07:00:00\n\
    a,2,甲胎蛋白,3.1,ng/mL,2026-01-01 07:00:00\n\
    a,3,甲胎蛋白,3.1,%,2026-01-01 07:00:00\n\
    a,4,甲胎蛋白,3.1,umol/L,2026-01-01 07:00:00\n\
    a,5,尿蛋白,150,mg/24h,2026-01-01 07:00:00\n\
    a,6,红细胞压积,0.45,L/L,2026-01-01 07:00:00\n\
    a,7,红细胞压积,45,fL,2026-01-01 07:00:00\n";

#[test]
fn no_number_goes_out_under_a_code_of_another_measure() {
    let told = LABS.replace("column: test, map", "column: test, unit: unit, map");
    for (pipeline, wanted) in [
        (
            told.as_str(),
            [
                ("1", "", Some(45.0), "%"),
                ("2", "1834-1", Some(3.1), "ng/mL"),
                ("3", "", Some(3.1), "%"),
                // Moles may be converted, but not of this analyte.
                ("4", "1834-1", None, ""),
                ("5", "2889-4", Some(150.0), "mg/(24.h)"),
                ("6", "20570-8", Some(45.0), "%"),
                ("7", "", Some(45.0), "fL"),
            ],
        ),
        // Without the unit the name decides, and a number that cannot be in the unit of the code is none.
        (
            LABS,
            [
                ("1", "26474-7", None, ""),
                ("2", "1834-1", Some(3.1), "ng/mL"),
                ("3", "1834-1", None, ""),
                ("4", "1834-1", None, ""),
                ("5", "2887-8", Some(150.0), "mg/(24.h)"),
                ("6", "20570-8", Some(45.0), "%"),
                ("7", "20570-8", None, ""),
            ],
        ),
    ] {
        check(pipeline, UNLIKE, &wanted);
    }
}
