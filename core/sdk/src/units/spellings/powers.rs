//! Powers of ten, decimals and products below the line, in all forms that laboratories type: each means the one thing that it
//! is made from here, or nothing.

use super::{super::Code, super::ucum, forms::none, tests::shipped};

/// What stands between a count and what it is counted in.
const JOINS: [&str; 8] = ["·", ".", " ", "*", "⋅", "•", " · ", "・"];

/// A unit below the line, behind a solidus or with a power.
fn below(unit: &str) -> Vec<String> {
    let mut forms: Vec<String> = ["/", " / ", "／"].map(|line| format!("{line}{unit}")).into();
    for join in JOINS {
        for power in ["-1", "⁻¹", "^-1", "^{-1}", "^(-1)", "^{−1}", "**-1", "(-1)", "^{ -1 }"] {
            forms.push(format!("{join}{unit}{power}"));
        }
    }
    forms
}

/// A power of ten as it is typed.
fn tens(power: i32) -> Vec<String> {
    let superscript: String = power
        .to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            c => char::from_u32(u32::from(c) - u32::from('0') + 0x2070).unwrap(),
        })
        .collect();
    let mut forms = vec![format!("10{superscript}")];
    for op in ["^", "*", "**", "^ ", " ^", " ^ ", "* "] {
        forms.push(format!("10{op}{power}"));
    }
    for op in ["^", "*", "", "**", "^ ", " "] {
        for (open, close) in [("{", "}"), ("(", ")"), ("{ ", " }"), ("｛", "｝")] {
            forms.push(format!("10{op}{open}{power}{close}"));
        }
    }
    let all = forms
        .iter()
        .flat_map(|form| ["", "x", "×", "*"].map(|sign| format!("{sign}{form}")));
    all.collect()
}

#[test]
fn a_power_in_brackets_is_the_power() {
    let local = shipped();
    let (mut seen, mut wrong) = (0, Vec::new());
    for power in [3, 4, 6, 9, 12, -3] {
        for unit in ["L", "mL", "uL", "μL", "g", "min"] {
            let want = format!("10*{power}/{}", unit.replace('μ', "u"));
            for ten in tens(power) {
                for unit in below(unit) {
                    let form = format!("{ten}{unit}");
                    seen += 1;
                    let found = local.find(&form).map(|known| known.code);
                    if found.as_ref() != Some(&want) {
                        wrong.push(format!("{form:?} is {found:?}, not {want:?}"));
                    }
                }
            }
        }
    }
    none(&wrong, seen);
    assert!(seen > 100_000, "{seen}");
}

#[test]
fn a_number_behind_a_power_is_below_the_line_or_unknown() {
    let local = shipped();
    let (mut seen, mut known, mut wrong) = (0, 0, Vec::new());
    for power in [3, 6, 9] {
        for (number, unit) in [
            ("24", "h"),
            ("12", "h"),
            ("30", "min"),
            ("100", "mL"),
            ("2", "h"),
            ("2.5", "h"),
        ] {
            let want = match number.split_once('.') {
                None => Code::new(format!("10*{power}/({number}.{unit})")),
                Some(_) => Code::new("nothing"),
            };
            for ten in tens(power) {
                for join in JOINS.into_iter().chain(["", "/", "×", " ×"]) {
                    for sign in ["-1", "⁻¹", "^-1", "^{-1}", "^(-1)"] {
                        for gap in ["", " "] {
                            let form = format!("{ten}{join}{number}{gap}{unit}{sign}");
                            seen += 1;
                            let found = local.find(&form).map(|known| Code::new(known.code));
                            known += usize::from(found.is_some());
                            if found.as_ref().is_some_and(|found| !found.same(&want)) {
                                wrong.push(format!("{form:?} is {found:?}, not {want:?}"));
                            }
                        }
                    }
                }
            }
        }
    }
    none(&wrong, seen);
    assert!(known > 20_000, "{known} of {seen}");
}

#[test]
fn a_decimal_is_never_multiplied_out() {
    let local = shipped();
    let (mut seen, mut wrong) = (0, Vec::new());
    for number in [
        "10.9", "10.12", "10.3", "10.6", "10.10", "2.5", "0.5", "1.5", "1.8", "10.0", "100.5", "0.0", "1.73", "10.9.2",
    ] {
        for point in [".", "·", "⋅", "•", "・", "．", " . ", " · "] {
            let number = number.replace('.', point);
            let mut forms = vec![number.clone()];
            for unit in [
                "L", "mL", "uL", "ML", "MIN", "HPF", "UL", "DL", "min", "24h", "H", "[HPF]",
            ] {
                forms.extend(below(unit).into_iter().map(|unit| format!("{number}{unit}")));
                forms.push(format!("{unit}/{number}"));
                forms.push(format!("{number}{unit}"));
            }
            for above in ["U", "MG", "mg", "mmol", "x", "10^3", "IU"] {
                forms.push(format!("{above}/{number}"));
                forms.push(format!("{above}.{number}"));
                forms.push(format!("{above}·{number}/L"));
            }
            for form in forms {
                seen += 1;
                let found = local.find(&form).map(|known| known.code);
                if found.is_some() {
                    wrong.push(format!("{form:?} is {found:?}"));
                }
            }
        }
    }
    none(&wrong, seen);
    assert!(seen > 50_000, "{seen}");
}

#[test]
fn what_is_multiplied_below_the_line_is_unknown() {
    let local = shipped();
    let (mut seen, mut wrong) = (0, Vec::new());
    for above in ["ng", "μg", "mg", "L", "mL", "U", "IU", "mmol", "10^9"] {
        for per in ["ml", "mL", "kg", "min", "24", "g", "L"] {
            for join in ["·", "⋅", "•", "×", "*", " · ", " ", " ×", "."] {
                for more in ["h", "min", "m²", "m2", "d", "s", "24h", "1.7m2"] {
                    let form = format!("{above}/{per}{join}{more}");
                    let found = local.find(&form).map(|known| known.code);
                    seen += 1;
                    // 24 h below the line, and what is a code as it is written.
                    let hours = (per, join, more) == ("24", " ", "h");
                    let letters = join == " " && ucum::unit(&super::fold(&format!("{per}{more}"))).is_ok();
                    if found.is_some() && ucum::validate(&form).is_err() && !hours && !letters {
                        wrong.push(format!("{form:?} is {found:?}"));
                    }
                }
            }
        }
    }
    none(&wrong, seen);
    assert!(seen > 4_000, "{seen}");
    for (text, want) in [
        ("ng/mL.h", "ng/mL.h"),
        ("ug/kg.min", "ug/kg.min"),
        ("μg/(kg·min)", "ug/(kg.min)"),
        ("mL/min·1.73m²", "mL/min/{1.73_m2}"),
        ("dyn·s/cm5", "dyn.s/cm5"),
        ("mL·kg⁻¹·min⁻¹", "mL/kg/min"),
    ] {
        assert_eq!(
            local.find(text).map(|known| known.code).as_deref(),
            Some(want),
            "{text}"
        );
    }
}
