//! Runs published UCUM tests: files of the format of `UcumFunctionalTests.xml`.

use crate::ucum::{
    self,
    number::{Digits, Ratio, Rounding},
};
use clinmill_sdk::units::xml::{self, Element};
use std::collections::BTreeMap;

/// The outcome of a file of tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuiteReport {
    /// Every case that was run, in file order.
    pub cases: Vec<CaseReport>,
    /// Cases that the file says are not to be run.
    pub inactive: u64,
}

/// The outcome of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseReport {
    /// The name of the section it stands in: `validation`, `conversion`, …
    pub kind: String,
    /// Its `id`; ids are not unique in the published files.
    pub id: String,
    /// What is asked, in words.
    pub asked: String,
    /// What the file expects.
    pub expected: String,
    /// What came out, or why nothing did.
    pub got: String,
    /// Whether that is right.
    pub pass: bool,
}

impl SuiteReport {
    /// By kind: how many cases passed, of how many.
    pub fn by_kind(&self) -> BTreeMap<&str, (u64, u64)> {
        let mut kinds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for case in &self.cases {
            let (passed, all) = kinds.entry(&case.kind).or_default();
            *passed += u64::from(case.pass);
            *all += 1;
        }
        kinds
    }

    /// The cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(|case| !case.pass)
    }
}

/// Runs a file of tests. A case of a kind that is unknown, or without an attribute that its kind needs, fails.
///
/// A number is right when it is the expected one after rounding to as many significant digits as the expected one has,
/// or as the least precise value of the case has: the files state values no more precisely than they were given.
/// Values without a decimal point count as exact. Of an expected fraction with more than 15 digits the first 15 count: more
/// than that says how its author reckoned.
///
/// # Errors
/// What is wrong with the file, when it is no such file at all.
pub fn run_suite(xml: &[u8]) -> Result<SuiteReport, String> {
    let root = xml::parse(xml)?;
    let mut report = SuiteReport::default();
    section(&root, &root.name, &mut report);
    if report.cases.is_empty() && report.inactive == 0 {
        return Err("the file holds no cases".to_owned());
    }
    Ok(report)
}

fn section(element: &Element, kind: &str, report: &mut SuiteReport) {
    for child in &element.children {
        if child.name != "case" {
            section(child, &child.name, report);
        } else if inactive(child) {
            report.inactive += 1;
        } else {
            report.cases.push(run(child, kind));
        }
    }
}

fn inactive(case: &Element) -> bool {
    let is = |name, values: &[&str]| case.attribute(name).is_some_and(|value| values.contains(&value));
    is("inactive", &["true", "yes", "1"])
        || is("active", &["false", "no", "0"])
        || is("status", &["inactive", "disabled"])
        || is("skip", &["true", "yes", "1"])
}

fn run(case: &Element, kind: &str) -> CaseReport {
    let outcome = match kind {
        "validation" => validation(case),
        "displayNameGeneration" => display_name(case),
        "conversion" => conversion(case),
        "multiplication" => product(case, true),
        "division" => product(case, false),
        _ => Err("the kind of the case is unknown".to_owned()),
    };
    let (asked, expected, got, pass) = outcome.unwrap_or_else(|why| (String::new(), String::new(), why, false));
    CaseReport {
        kind: kind.to_owned(),
        id: case.attribute("id").unwrap_or_default().to_owned(),
        asked,
        expected,
        got,
        pass,
    }
}

/// What was asked, what was expected, what came out, whether it is right; or what the case lacks.
type Outcome = Result<(String, String, String, bool), String>;

fn need<'a>(case: &'a Element, name: &str) -> Result<&'a str, String> {
    case.attribute(name)
        .ok_or_else(|| format!("the case has no attribute {name:?}"))
}

fn validation(case: &Element) -> Outcome {
    let (code, valid) = (need(case, "unit")?, need(case, "valid")?);
    let found = ucum::validate(code);
    let pass = match valid {
        "true" => found.is_ok(),
        "false" => found.is_err(),
        _ => return Err("valid is neither true nor false".to_owned()),
    };
    let got = match found {
        Ok(()) => "true".to_owned(),
        Err(invalid) => format!("false: {invalid}"),
    };
    Ok((code.to_owned(), valid.to_owned(), got, pass))
}

fn display_name(case: &Element) -> Outcome {
    let (code, expected) = (need(case, "unit")?, need(case, "display")?);
    let got = ucum::display_name(code).unwrap_or_else(|invalid| invalid.to_string());
    let pass = got.trim() == expected.trim();
    Ok((code.to_owned(), expected.to_owned(), got, pass))
}

fn conversion(case: &Element) -> Outcome {
    let (value, from, to) = (need(case, "value")?, need(case, "srcUnit")?, need(case, "dstUnit")?);
    let expected = need(case, "outcome")?;
    let asked = format!("{value} {from} in {to}");
    let number = Ratio::parse(value).ok_or("value is no decimal")?;
    Ok(match ucum::convert(&number, from, to) {
        Ok(got) => {
            let pass = agrees(&got, expected, &[value])?;
            (asked, expected.to_owned(), got.to_string(), pass)
        }
        Err(why) => (asked, expected.to_owned(), why.to_string(), false),
    })
}

fn product(case: &Element, times: bool) -> Outcome {
    let (v1, u1, v2, u2) = (
        need(case, "v1")?,
        need(case, "u1")?,
        need(case, "v2")?,
        need(case, "u2")?,
    );
    let (expected, unit) = (need(case, "vRes")?, need(case, "uRes")?);
    let sign = if times { '*' } else { '/' };
    let asked = format!("{v1} {u1} {sign} {v2} {u2} in {unit}");
    let (a, b) = (Ratio::parse(v1), Ratio::parse(v2));
    let (a, b) = (a.ok_or("v1 is no decimal")?, b.ok_or("v2 is no decimal")?);
    let number = match times {
        true => Some(a.times(&b)),
        false => a.over(&b),
    };
    let got = number.map(|number| ucum::convert(&number, &combined(u1, u2, times), unit));
    Ok(match got {
        None => (asked, expected.to_owned(), "a division by zero".to_owned(), false),
        Some(Ok(got)) => {
            let pass = agrees(&got, expected, &[v1, v2])?;
            (asked, expected.to_owned(), got.to_string(), pass)
        }
        Some(Err(why)) => (asked, expected.to_owned(), why.to_string(), false),
    })
}

/// Two codes as one. A leading solidus may not stand in parentheses: `/m` becomes `1/m`.
fn combined(u1: &str, u2: &str, times: bool) -> String {
    let grouped = |code: &str| match code {
        "" => "1".to_owned(),
        code if code.starts_with('/') => format!("(1{code})"),
        code => format!("({code})"),
    };
    format!("{}{}{}", grouped(u1), if times { '.' } else { '/' }, grouped(u2))
}

/// Digits that floating-point numbers keep.
const DOUBLE: u32 = 15;

/// See [`run_suite`].
fn agrees(got: &Ratio, expected: &str, given: &[&str]) -> Result<bool, String> {
    let wrong = "the expected result is no decimal";
    let (digits, number) = (
        Digits::read(expected).ok_or(wrong)?,
        Ratio::parse(expected).ok_or(wrong)?,
    );
    if *got == number {
        return Ok(true);
    }
    let precisions = given
        .iter()
        .filter_map(|text| Digits::read(text))
        .filter(|digits| digits.pointed)
        .map(|digits| digits.significant);
    if digits.pointed && digits.significant > DOUBLE {
        let round = |number: &Ratio| number.rounded(DOUBLE, Rounding::HalfEven);
        return Ok(round(got) == round(&number));
    }
    let precise = [Some(digits.significant), precisions.min()];
    Ok(precise.into_iter().flatten().any(|significant| {
        [Rounding::HalfUp, Rounding::HalfEven]
            .into_iter()
            .any(|rounding| got.rounded(significant, rounding) == number)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(cases: &str) -> Vec<(bool, String)> {
        let report = run_suite(format!("<ucumTests>{cases}</ucumTests>").as_bytes()).unwrap();
        report.cases.into_iter().map(|case| (case.pass, case.got)).collect()
    }

    fn passes(cases: &str) -> Vec<bool> {
        outcomes(cases).into_iter().map(|(pass, _)| pass).collect()
    }

    #[test]
    fn a_wrong_expectation_fails() {
        let cases = r#"<validation><case id="1" unit="mg" valid="false"/><case id="2" unit="mgg" valid="true"/></validation>
            <displayNameGeneration><case id="3" unit="m" display="(metre)"/></displayNameGeneration>
            <conversion>
              <case id="4" value="6.3" srcUnit="mm" dstUnit="m" outcome="0.0064"/>
              <case id="5" value="1" srcUnit="m" dstUnit="s" outcome="1"/>
              <case id="6" value="1" srcUnit="[ly]" dstUnit="cm" outcome="946073047258080001"/>
              <case id="6" value="1" srcUnit="1/[ly]" dstUnit="cm-1" outcome="1.05700083402471546370946e-18"/>
              <case id="7" value="6.3" srcUnit="4.s/m" dstUnit="s/m" outcome="25.1"/>
            </conversion>
            <multiplication><case id="8" v1="1.5" u1="g" v2="2" u2="m" vRes="3.1" uRes="g.m"/></multiplication>
            <division><case id="9" v1="1" u1="g" v2="0" u2="m" vRes="0" uRes="g/m"/></division>"#;
        assert_eq!(passes(cases), [false; 10]);
    }

    #[test]
    fn precision_is_that_of_the_values() {
        let cases = r#"<conversion>
              <case id="1" value="6.3" srcUnit="4.s/m" dstUnit="s/m" outcome="25"/>
              <case id="2" value="6.30" srcUnit="4.s/m" dstUnit="s/m" outcome="25.2"/>
              <case id="3" value="6.3" srcUnit="[in_i]" dstUnit="cm" outcome="16.0"/>
              <case id="3" value="0.1" srcUnit="[in_i]" dstUnit="cm" outcome="0.25400000000000001"/>
              <case id="4" value="37.0" srcUnit="Cel" dstUnit="[degF]" outcome="98.6"/>
            </conversion>
            <division><case id="5" v1="2" u1="/m" v2="1.5" u2="" vRes="1.3" uRes="/m"/></division>"#;
        assert_eq!(passes(cases), [true; 6]);
    }

    #[test]
    fn what_is_not_to_be_run_is_counted_and_what_is_unknown_fails() {
        let text = r#"<ucumTests><!-- <case/> --><validation><case id="1" unit="xx" valid="true" inactive="true"/></validation>
            <conversion><case id="2" value="1" srcUnit="m"/></conversion><other><case id="3"/></other></ucumTests>"#;
        let report = run_suite(text.as_bytes()).unwrap();
        assert_eq!((report.inactive, report.failed().count()), (1, 2));
        assert_eq!(report.by_kind()["conversion"], (0, 1));
        assert_eq!(report.cases[0].got, "the case has no attribute \"dstUnit\"");
        assert!(run_suite(b"<ucumTests/>").is_err() && run_suite(b"x").is_err());
    }
}
