//! Results of tests as JUnit XML, as continuous integration reads them.

use super::test::Tested;
use std::fmt::Write;

/// One test suite.
pub fn xml(pipeline: &str, tested: &[&Tested]) -> String {
    let errors = tested.iter().filter(|t| t.error.is_some()).count();
    let failed = tested.iter().filter(|t| !t.passed).count() - errors;
    let seconds: f64 = tested.iter().map(|t| t.seconds).sum();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let _ = writeln!(
        out,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"{errors}\" time=\"{seconds:.3}\">",
        escaped(pipeline),
        tested.len()
    );
    for test in tested {
        let _ = write!(
            out,
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
            escaped(&test.file),
            escaped(&test.name),
            test.seconds
        );
        if test.passed {
            out.push_str("/>\n");
            continue;
        }
        let lines: Vec<String> = test
            .told()
            .map(|d| {
                format!(
                    "{}:{}:{}: {}: {}",
                    test.file, d.place.line, d.place.column, d.step, d.message
                )
            })
            .collect();
        let first = test.told().next().map_or("", |d| d.message.as_str());
        let what = if test.error.is_some() { "error" } else { "failure" };
        let _ = writeln!(
            out,
            ">\n      <{what} message=\"{}\">{}</{what}>\n    </testcase>",
            escaped(first),
            escaped(&lines.join("\n"))
        );
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// A text within XML 1.0: markup escaped, and what XML cannot hold left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::test::Shown;
    use clinmill_model::Place;

    #[test]
    fn failures_are_told_with_their_places() {
        let place = Place {
            file: "tests/a.yaml".into(),
            line: 7,
            column: 3,
            start: 0,
            end: 0,
        };
        let lost = Shown {
            step: "refresh".into(),
            message: "it failed".into(),
            place: place.clone(),
        };
        let shown = Shown {
            step: "labs".into(),
            message: "value: expected \"<1\u{1}\", was null".into(),
            place,
        };
        let test = |name: &str, error: Option<Shown>, differences: Vec<Shown>| Tested {
            file: "tests/a.yaml".into(),
            name: name.into(),
            passed: differences.is_empty() && error.is_none(),
            error,
            differences,
            seconds: 0.25,
        };
        let good = test("good", None, vec![]);
        let bad = test("bad & worse", None, vec![shown]);
        let xml = xml("p", &[&good, &bad, &test("lost", Some(lost), vec![])]);
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites>
  <testsuite name=\"p\" tests=\"3\" failures=\"1\" errors=\"1\" time=\"0.750\">
    <testcase classname=\"tests/a.yaml\" name=\"good\" time=\"0.250\"/>
    <testcase classname=\"tests/a.yaml\" name=\"bad &amp; worse\" time=\"0.250\">
      <failure message=\"value: expected &quot;&lt;1\u{fffd}&quot;, was null\">tests/a.yaml:7:3: labs: value: expected &quot;&lt;1\u{fffd}&quot;, was null</failure>
    </testcase>
    <testcase classname=\"tests/a.yaml\" name=\"lost\" time=\"0.250\">
      <error message=\"it failed\">tests/a.yaml:7:3: refresh: it failed</error>
    </testcase>
  </testsuite>
</testsuites>
";
        assert_eq!(xml, expected);
    }
}
