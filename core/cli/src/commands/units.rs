//! `clinmill units`: published tests of UCUM, checks of codes, conversions.

use super::map::{broken, table};
use crate::{
    args,
    context::Context,
    failure::{FAILED, Failure, OK},
    output::{Grid, counted},
};
use clinmill_plugin_units::{
    ask::Tables,
    suite::{SuiteReport, run_suite},
    ucum::{self, Unconvertible},
};
use serde_json::{Value, json};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

/// Failed cases that are shown as text, at most.
const SHOWN: usize = 50;

/// Runs what was asked for: exit code 1 when a test failed, a code is not valid or a value cannot be converted.
///
/// # Errors
/// When a file cannot be read or holds no tests.
pub fn run(context: &Context, args: &args::Units) -> Result<u8, Failure> {
    match (&args.tests, &args.command) {
        (Some(file), _) => tests(context, file),
        (None, Some(args::UnitsCommand::Validate(args))) => validate(context, &args.codes),
        (None, Some(args::UnitsCommand::Convert(args))) => convert(context, args),
        (None, None) => Err(Failure::usage(
            "name a file with --tests, or a command: validate, convert",
        )),
    }
}

fn tests(context: &Context, file: &Path) -> Result<u8, Failure> {
    let xml = clinmill_sdk::regular::read(file).map_err(|error| Failure::io("read", file, &error))?;
    let report = run_suite(&xml).map_err(|why| Failure::new(FAILED, format!("{}: {why}", file.display())))?;
    context.console.result(&report_json(&report), || report_text(&report))?;
    Ok(exit(report.failed().next().is_none()))
}

fn report_json(report: &SuiteReport) -> Value {
    let kinds: serde_json::Map<String, Value> = report
        .by_kind()
        .into_iter()
        .map(|(kind, (passed, cases))| (kind.to_owned(), json!({ "passed": passed, "cases": cases })))
        .collect();
    let cases: Vec<Value> = report
        .cases
        .iter()
        .map(|case| {
            json!({ "kind": case.kind, "id": case.id, "asked": case.asked, "expected": case.expected, "got": case.got,
                "pass": case.pass })
        })
        .collect();
    json!({
        "ucum": ucum::version(),
        "cases": report.cases.len(),
        "failed": report.failed().count(),
        "inactive": report.inactive,
        "kinds": kinds,
        "results": cases,
    })
}

fn report_text(report: &SuiteReport) -> String {
    let mut grid = Grid::new(["kind", ">passed", ">cases"]);
    for (kind, (passed, cases)) in report.by_kind() {
        grid.row([kind.to_owned(), passed.to_string(), cases.to_string()]);
    }
    let mut text = grid.to_string();
    let failed = report.failed().count();
    if failed > 0 {
        let mut grid = Grid::new(["failed", "id", "asked", "expected", "got"]);
        for case in report.failed().take(SHOWN) {
            grid.row([&case.kind, &case.id, &case.asked, &case.expected, &case.got].map(String::as_str));
        }
        let _ = write!(text, "\n{grid}");
    }
    let verdict = match failed {
        0 => "all passed".to_owned(),
        n => format!("{n} failed"),
    };
    let cases = counted(report.cases.len() as u64, "case", "cases");
    let inactive = match report.inactive {
        0 => String::new(),
        n => format!(", {n} inactive"),
    };
    let _ = writeln!(text, "{verdict}: {cases}{inactive} (UCUM {})", ucum::version());
    text
}

fn validate(context: &Context, codes: &[String]) -> Result<u8, Failure> {
    let mut text = String::new();
    let mut values = Vec::new();
    let mut valid = true;
    for code in codes {
        let found = ucum::validate(code);
        let name = ucum::display_name(code).ok();
        match &found {
            Ok(()) => {
                let _ = writeln!(text, "{code}: valid, {}", name.as_deref().unwrap_or_default());
                values.push(json!({ "code": code, "valid": true, "name": name }));
            }
            Err(invalid) => {
                let _ = writeln!(text, "{code}: not valid, {invalid}");
                values.push(json!({ "code": code, "valid": false, "reason": invalid.reason, "at": invalid.at }));
            }
        }
        valid &= found.is_ok();
    }
    context.console.result(&json!({ "codes": values }), || text)?;
    Ok(exit(valid))
}

fn convert(context: &Context, args: &args::Convert) -> Result<u8, Failure> {
    let (from, to) = (&args.from, &args.to);
    let value = ucum::Ratio::parse(&args.value)
        .ok_or_else(|| Failure::usage(format!("{:?} is no decimal number", args.value)))?;
    let asked = json!({ "value": args.value, "from": from, "to": to });
    let with = |key: &str, value: String| {
        let mut answer = asked.clone();
        if let Some(object) = answer.as_object_mut() {
            object.insert(key.to_owned(), value.into());
        }
        answer
    };
    let converted = match (&args.map, &args.analytes) {
        (None, None) => ucum::convert(&value, from, to)
            .map(|result| (result.to_string(), to.clone()))
            .map_err(|why| hinted(&why)),
        (map, analytes) => {
            let read = |dir: &Option<PathBuf>| dir.as_deref().map(table).transpose();
            let (map, analytes) = (read(map)?, read(analytes)?);
            let tables = Tables::new(map.as_ref(), analytes.as_ref()).map_err(|error| broken(&error))?;
            let answer = tables.convert(&value, from, to, args.analyte.as_deref().unwrap_or_default());
            answer.map(|answer| (answer.value, answer.unit))
        }
    };
    match converted {
        Ok((result, unit)) => {
            context
                .console
                .result(&with("result", result.clone()), || format!("{result} {unit}\n"))?;
            Ok(OK)
        }
        Err(why) => {
            context
                .console
                .result(&with("error", why.clone()), || format!("{from} to {to}: {why}\n"))?;
            Ok(FAILED)
        }
    }
}

/// Why UCUM does not convert, and what would.
fn hinted(why: &Unconvertible) -> String {
    match why {
        Unconvertible::From(_) | Unconvertible::To(_) => {
            format!("{why}; --map FOLDER reads the spellings of hospitals too")
        }
        Unconvertible::Dimension => format!(
            "{why}; --map FOLDER reads units as hospitals write them, --analytes FOLDER --analyte NAME leads from moles \
                 to grams"
        ),
        Unconvertible::Undefined => why.to_string(),
    }
}

fn exit(good: bool) -> u8 {
    if good { OK } else { FAILED }
}
