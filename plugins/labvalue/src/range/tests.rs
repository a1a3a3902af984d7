//! Ranges as they are printed, and whom they are for.

use super::*;

fn chosen(text: &str, sex: &str, age: Option<f64>) -> Option<(Option<i128>, Option<i128>, Option<&'static str>)> {
    let parts = parse(text, Comma::Auto);
    let range = choose(&parts, Sex::read(sex), age)?;
    let tenths = |n: Option<Number>| n.and_then(|n| n.scaled(1)).map(|(n, _)| n);
    Some((tenths(range.low), tenths(range.high), range.qualitative))
}

#[test]
fn one_range_is_for_everybody() {
    for (text, want) in [
        ("3.5～5.5", Some((Some(35), Some(55), None))),
        ("3.5-5.5 mmol/L", Some((Some(35), Some(55), None))),
        ("3.5--5.5", Some((Some(35), Some(55), None))),
        ("3.5—5.5", Some((Some(35), Some(55), None))),
        ("<10", Some((None, Some(100), None))),
        ("≥60", Some((Some(600), None, None))),
        ("＜1:80", Some((None, Some(800), None))),
        ("阴性", Some((None, None, Some("negative")))),
        ("阴性(-)", Some((None, None, Some("negative")))),
        ("[3.5-5.5]", Some((Some(35), Some(55), None))),
        ("(3.5-5.5)", Some((Some(35), Some(55), None))),
        ("【3.5～5.5】mmol/L", Some((Some(35), Some(55), None))),
        ("3.5g/L～5.5g/L", Some((Some(35), Some(55), None))),
        ("3.5 g/L - 5.5 g/L", Some((Some(35), Some(55), None))),
        ("3.5%-5.5%", Some((Some(35), Some(55), None))),
        ("3.5g/dL～55g/L", None),
        ("3.5g/dL-55g/L", None),
        ("3.5%-5.5", None),
        ("3.5-5.5 (mmol/L)", Some((Some(35), Some(55), None))),
        ("参考值：3.5-5.5", Some((Some(35), Some(55), None))),
        ("Ref. range: 3.5 to 5.5", Some((Some(35), Some(55), None))),
        ("-3--1", Some((Some(-30), Some(-10), None))),
        ("4-10×10^3/uL", Some((Some(40), Some(100), None))),
        ("(4-10)×10⁹/L", Some((Some(40), Some(100), None))),
        ("<10×10^9/L", Some((None, Some(100), None))),
        ("1E3-5E3", Some((Some(10_000), Some(50_000), None))),
        ("1E3-5E3 mg/L", Some((Some(10_000), Some(50_000), None))),
        ("1E2-1E3/uL", Some((Some(1_000), Some(10_000), None))),
        ("4-10×10^9 10^9/L", None),
        ("(-3)-(+3)", Some((Some(-30), Some(30), None))),
        ("±3.0", Some((Some(-30), Some(30), None))),
        ("-3～+3", Some((Some(-30), Some(30), None))),
        ("阴性(<1.0)", Some((None, Some(10), Some("negative")))),
        ("(-)", Some((None, None, Some("negative")))),
        ("-", None),
        ("--", None),
        ("——", None),
        ("－", None),
        ("/", None),
        ("无", None),
        ("約5", None),
        ("约5", None),
        ("~5", None),
        ("—5", None),
        ("1e400-2e400", None),
        ("<1e400", None),
        ("5.5-3.5", None),
        ("5", None),
        ("见说明", None),
        ("", None),
    ] {
        assert_eq!(chosen(text, "", None), want, "{text}");
    }
}

#[test]
fn the_unit_of_a_range_is_kept() {
    for (text, want) in [
        ("3.5-5.5", ""),
        ("3.5-5.5 mmol/L", "mmol/L"),
        ("3.5-5.5(mmol/L)", "mmol/L"),
        ("(3.5-5.5)mmol/L", "mmol/L"),
        ("3.5mmol/L～5.5mmol/L", "mmol/L"),
        ("4×10^9/L-10×10^9/L", "10^9/L"),
        ("[3.5-5.5] mg/dL", "mg/dL"),
        ("<10 mg/L", "mg/L"),
        ("男57-111umol/L女41-81umol/L", "umol/L"),
        ("阴性", ""),
        ("4-10×10^9/L", "10^9/L"),
        ("(4-10)×10⁹/L", "10^9/L"),
        ("1E3-5E3 mg/L", "mg/L"),
        ("1E2-1E3/uL", "/uL"),
        ("1E3-5E3", ""),
    ] {
        let parts = parse(text, Comma::Auto);
        assert_eq!(&*choose(&parts, Some(Sex::Male), None).unwrap().unit, want, "{text}");
    }
}

#[test]
fn the_unit_beside_a_range_tells_whose_a_power_is() {
    let ends = |text: &str, tens| {
        let parts = parse(text, Comma::Auto);
        let range = choose(&parts, None, None).unwrap();
        assert!(range.is_open(), "{text}");
        range
            .beside(tens)
            .map(|range| [range.low, range.high].map(|end| end.unwrap().whole().unwrap()))
    };
    for text in ["1E3-5E3", "1-5×10^3"] {
        assert_eq!(ends(text, 0), Some([1_000, 5_000]), "{text}");
        assert_eq!(ends(text, 3), Some([1, 5]), "{text}");
        assert_eq!(ends(text, 9), None, "{text}");
    }
    assert_eq!(ends("1E2-1E3", 0), Some([100, 1_000]));
    assert_eq!(ends("1E2-1E3", 2), None);
    assert!(!choose(&parse("3-5", Comma::Auto), None, None).unwrap().is_open());
}

#[test]
fn long_texts_cost_nothing() {
    assert!(parse(&"1 ".repeat(1 << 20), Comma::Auto).is_empty());
}

#[test]
fn ranges_by_sex_and_age() {
    for text in [
        "男:57-111;女:41-81",
        "男 57-111 女 41-81",
        "男性：57～111，女性：41～81",
        "57-111(男) 41-81(女)",
        "57-111 (M), 41-81 (F)",
        "57-111 (Male) 41-81 (Female)",
        "M:57-111 F:41-81",
        "男57-111女41-81",
        "男：57-111/女：41-81",
        "(男)57-111 (女)41-81",
        "男(57-111)女(41-81)",
        "男57-111umol/L女41-81umol/L",
        "男性57～111 umol/L、女性41～81 umol/L",
        "Male: 57-111; Female: 41-81",
        "male 57-111, female 41-81",
        "MALE 57-111 FEMALE 41-81",
        "Men 57-111 | Women 41-81",
        "F 41-81 M 57-111",
        "(M) 57-111 (F) 41-81",
        "参考值: 男 57-111 女 41-81",
    ] {
        assert_eq!(chosen(text, "M", None), Some((Some(570), Some(1110), None)), "{text}");
        assert_eq!(chosen(text, "女", None), Some((Some(410), Some(810), None)), "{text}");
        assert_eq!(chosen(text, "", None), None, "{text}");
        assert!(is_split(&parse(text, Comma::Auto)));
    }
    let aged = "0-3岁:1-2;4-17岁:3-4;18岁以上:5-6";
    assert_eq!(chosen(aged, "", Some(3.5)), Some((Some(10), Some(20), None)));
    assert_eq!(chosen(aged, "", Some(17.9)), Some((Some(30), Some(40), None)));
    assert_eq!(chosen(aged, "", Some(40.0)), Some((Some(50), Some(60), None)));
    assert_eq!(chosen(aged, "", None), None);
    for (text, age, want) in [
        ("<=60岁:1-2;>60岁:3-4", 60.5, Some((Some(10), Some(20), None))),
        ("<=60岁:1-2;>60岁:3-4", 61.0, Some((Some(30), Some(40), None))),
        ("60岁及以上:3-4;60岁以下:1-2", 60.0, Some((Some(30), Some(40), None))),
        ("18-60 years: 3-4; >60 yrs: 5-6", 60.9, Some((Some(30), Some(40), None))),
        ("18-60 years: 3-4; >60 yrs: 5-6", 17.0, None),
        ("Adults: 3-4; Children: 5-6", 17.0, Some((Some(50), Some(60), None))),
        ("0-28天:1-2 1-12个月:3-4", 0.5, Some((Some(30), Some(40), None))),
        ("1-3岁:1-2;3-6岁:3-4", 3.5, None),
        ("0-1月:3-5;1-12月:4-6", 0.05, Some((Some(30), Some(50), None))),
        ("0-1月:3-5;1-12月:4-6", 0.5, Some((Some(40), Some(60), None))),
        // A month old, or one and a half: both may be meant.
        ("0-1月:3-5;1-12月:4-6", 0.12, None),
        // In whole years, 0 is a day as well as 11 months.
        ("0-1月:3-5;1-12月:4-6", 0.0, None),
        ("新生儿:3-5;成人:4-6", 0.0, None),
        ("新生儿:3-5;成人:4-6", 30.0, Some((Some(40), Some(60), None))),
        (
            "0-28天:3-5;29天-1岁:4-6;>1岁:5-7",
            0.05,
            Some((Some(30), Some(50), None)),
        ),
        (
            "0-28天:3-5;29天-1岁:4-6;>1岁:5-7",
            0.5,
            Some((Some(40), Some(60), None)),
        ),
        ("0-28天:3-5;29天-1岁:4-6;>1岁:5-7", 0.0, None),
        (
            "0-28天:3-5;29天-1岁:4-6;>1岁:5-7",
            1.0,
            Some((Some(40), Some(60), None)),
        ),
        (
            "0-28天:3-5;29天-1岁:4-6;>1岁:5-7",
            2.0,
            Some((Some(50), Some(70), None)),
        ),
        ("6月-2岁:3-5;3-6岁:4-6", 0.6, Some((Some(30), Some(50), None))),
        ("6月-2岁:3-5;3-6岁:4-6", 2.0, Some((Some(30), Some(50), None))),
        ("6月-2岁:3-5;3-6岁:4-6", 0.0, None),
        ("6个月～2岁 3-5 3-6岁 4-6", 5.0, Some((Some(40), Some(60), None))),
        (
            "0-1月 3-5 1-12月 4-6 1岁以上 5-7",
            0.5,
            Some((Some(40), Some(60), None)),
        ),
        (
            "0-1月 3-5 1-12月 4-6 1岁以上 5-7",
            8.0,
            Some((Some(50), Some(70), None)),
        ),
        ("<1岁:3-5;≥1岁:4-6", 0.0, Some((Some(30), Some(50), None))),
        ("2岁-6月:3-5", 1.0, None),
        ("成人(18-60岁):3-5;>60岁:4-6", 30.0, Some((Some(30), Some(50), None))),
        ("成人(18-60岁):3-5;>60岁:4-6", 70.0, Some((Some(40), Some(60), None))),
        ("成人(18-60岁):3-5", 70.0, None),
        ("新生儿 0-3天:3-5", 0.05, None),
        ("新生儿 0-3天:3-5", 0.005, Some((Some(30), Some(50), None))),
    ] {
        assert_eq!(chosen(text, "", Some(age)), want, "{text} at {age}");
    }
    for text in ["57-111 男 41-81 女", "男:57-111;女", "男:x;女:41-81"] {
        assert_eq!(chosen(text, "女", Some(30.0)), None, "{text}");
    }
    assert_eq!(chosen("男女:3-5", "女", None), Some((Some(30), Some(50), None)));
    let both = "成人男:40-50;成人女:35-45;儿童:30-40";
    assert_eq!(chosen(both, "2", Some(30.0)), Some((Some(350), Some(450), None)));
    assert_eq!(chosen(both, "1", Some(10.0)), Some((Some(300), Some(400), None)));
    for (text, sex, age, want) in [
        ("57-111;女41-81", "", None, None),
        ("57-111;女41-81", "女", None, Some((Some(410), Some(810), None))),
        ("57-111;女41-81", "男", None, Some((Some(570), Some(1110), None))),
        ("57-111;儿童:20-50", "", None, None),
        ("57-111;儿童:20-50", "男", None, None),
        ("57-111;儿童:20-50", "", Some(8.0), Some((Some(200), Some(500), None))),
        ("57-111;儿童:20-50", "", Some(40.0), Some((Some(570), Some(1110), None))),
        ("男:57-111;儿童:20-50", "男", None, None),
        ("57-111;41-81;女:20-50", "男", None, None),
    ] {
        assert_eq!(chosen(text, sex, age), want, "{text} of {sex} at {age:?}");
    }
    for (text, sex, age, want) in [
        ("成人 男 57-111 女 41-81", "男", 10.0, None),
        ("成人 男 57-111 女 41-81", "女", 10.0, None),
        (
            "成人 男 57-111 女 41-81",
            "女",
            30.0,
            Some((Some(410), Some(810), None)),
        ),
        (">=18岁 男 57-111 女 41-81", "女", 10.0, None),
        (
            ">=18岁 男 57-111 女 41-81",
            "女",
            18.0,
            Some((Some(410), Some(810), None)),
        ),
        (
            ">=18岁:男57-111,女41-81;儿童:20-40",
            "女",
            10.0,
            Some((Some(200), Some(400), None)),
        ),
        (
            ">=18岁:男57-111,女41-81;儿童:20-40",
            "女",
            30.0,
            Some((Some(410), Some(810), None)),
        ),
        (
            "成人 男 1-2 女 3-4 儿童 男 5-6 女 7-8",
            "女",
            10.0,
            Some((Some(70), Some(80), None)),
        ),
        (
            "成人 男 1-2 女 3-4 儿童 男 5-6 女 7-8",
            "女",
            30.0,
            Some((Some(30), Some(40), None)),
        ),
        (
            "男 成人 1-2 儿童 3-4 女 成人 5-6 儿童 7-8",
            "男",
            10.0,
            Some((Some(30), Some(40), None)),
        ),
        (
            "男 成人 1-2 儿童 3-4 女 成人 5-6 儿童 7-8",
            "女",
            10.0,
            Some((Some(70), Some(80), None)),
        ),
        (
            "男 18-60岁 1-2 >60岁 3-4 女 5-6",
            "女",
            70.0,
            Some((Some(50), Some(60), None)),
        ),
        (
            "0-18岁:20-40;成人男:57-111;成人女:41-81",
            "女",
            10.0,
            Some((Some(200), Some(400), None)),
        ),
    ] {
        assert_eq!(chosen(text, sex, Some(age)), want, "{text} of {sex} at {age}");
    }
    assert_eq!(
        chosen("<60岁:<5.0;>=60岁:<7.0", "", Some(61.0)),
        Some((None, Some(70), None))
    );
}
