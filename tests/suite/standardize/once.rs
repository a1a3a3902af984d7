//! The chain of three steps gives the number that was measured: powers of ten once, units of their own.

use super::{LABS, site};
use clinmill_tests::state::text;

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
    let site = site(&pipeline, ROWS);
    site.refresh();
    let rows = site.rows(1, "measurement");
    for (order, code, value, unit) in [
        ("1", "26464-8", Some(5.6), "10*9/L"),
        ("2", "26464-8", Some(5.6), "10*9/L"),
        ("3", "26464-8", Some(5.6), "10*9/L"),
        // Powers that differ, and no count of white cells has that unit.
        ("4", "", None, ""),
        ("5", "59261-8", Some(48.0), "mmol/mol"),
        ("6", "4548-4", Some(6.5), "%"),
        ("7", "1742-6", Some(31.0), "U/L"),
        ("8", "3016-3", Some(2.1), "m[IU]/L"),
        ("9", "33037-3", Some(12.0), "mmol/L"),
    ] {
        let row = rows.values().find(|row| text(row, "order_no") == order).unwrap();
        let number: Option<f64> = text(row, "standard_value").parse().ok();
        assert_eq!(
            (text(row, "loinc_code"), number, text(row, "standard_unit")),
            (code, value, unit),
            "{order}: {row:?}"
        );
    }
}
