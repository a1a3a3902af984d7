//! The gates that a model brings of itself.

use super::*;

/// A result of long after its visit warns, and is named.
#[test]
fn events_far_from_their_visit_are_counted() {
    let site = hospital();
    site.put(
        "inbox/labs3.csv",
        "mrn,order_no,visit_no,test,value,unit,at\na,7,v1,K,4.1,mmol/L,2026-01-16 07:00:00\n\
         a,8,v1,K,4.1,mmol/L,2026-01-17 07:00:00\na,9,v1,K,4.1,mmol/L,2025-12-24 07:00:00\n",
    );
    let report = site.refresh();
    assert_eq!(report.release, 1);
    let manifest = site.manifest(1);
    let gate = gate(&manifest, "measurement.measurement_date.withinVisitDates");
    assert_eq!(
        (
            gate["passed"].as_bool(),
            gate["measured"]["failed"].as_u64(),
            gate["measured"]["dqd"].as_str()
        ),
        (Some(false), Some(2), Some("withinVisitDates")),
        "{gate}"
    );
    if let Some(failed) = dashboard(&site) {
        assert_eq!(failed, ["withinVisitDates measurement.measurement_date: 2 of 6"]);
    }
}

/// A result of the year 2199 warns, and is named.
#[test]
fn dates_of_the_future_are_counted() {
    let site = hospital();
    site.put(
        "inbox/labs4.csv",
        "mrn,order_no,visit_no,test,value,unit,at\nb,10,,K,4.1,mmol/L,2199-01-16 07:00:00\n",
    );
    site.refresh();
    let late = gate(&site.manifest(1), "measurement.measurement_date.plausibleValueHigh");
    assert_eq!(
        (late["passed"].as_bool(), late["measured"]["failed"].as_u64()),
        (Some(false), Some(1)),
        "{late}"
    );
    assert_eq!(late["measured"]["dqd"].as_str(), Some("plausibleValueHigh"), "{late}");
    assert_eq!(
        late["failing"]
            .as_array()
            .or(late["measured"]["row_ids"].as_array())
            .map(Vec::len),
        Some(1),
        "{late}"
    );
    let birth = gate(&site.manifest(1), "visit_occurrence.visit_end_date.plausibleValueHigh");
    assert_eq!(birth["passed"].as_bool(), Some(true), "{birth}");
}

/// A converted number beside the source's unit would be read in that unit.
#[test]
fn a_converted_number_without_a_concept_of_its_unit_is_not_published() {
    let with = |text: &str, concept: &str| {
        let labs = format!(
            "  labs:\n    sql: |\n      select order_no, visit_source_value, measurement_source_value, measurement_datetime, \
             {text} as value_source_value, value_as_number * 18.0156 as value_as_number, {concept} \
             as unit_concept_id, unit_source_value from lis\ntables:\n"
        );
        let pipeline = OMOP
            .replace("tables:\n", &labs)
            .replace("{ from: lis, ", "{ from: labs, key: [order_no], ");
        let site = Site::new(&format!("{HEAD}{pipeline}"));
        for (path, bytes) in clinmill_tests::site::tree(&hospital().at("inbox")) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            site.put(&format!("inbox/{name}"), bytes);
        }
        site
    };
    let (none, number) = ("cast(null as bigint)", "cast(value_as_number as varchar)");
    for text in [
        "concat('<', value_as_number)",
        "concat(value_as_number, '↑')",
        "concat('约', value_as_number, ' H')",
        "translate(cast(value_as_number as varchar), '0123456789.', '０１２３４５６７８９．')",
        "concat(value_as_number, '×10^3')",
    ] {
        let error = with(text, none)
            .try_refresh(&RefreshOptions::default())
            .unwrap_err()
            .to_string();
        // The result without a unit may be any number.
        assert!(
            error.contains("measurement.value_as_number.unitOfValue: 3 of 4 rows"),
            "{text}: {error}"
        );
    }
    assert_eq!(with(number, "8840").refresh().release, 1);
    // The power is the unit's; a dilution is no number of its own.
    for text in [
        "concat(value_as_number * 18.0156, 'E3')",
        "concat(value_as_number * 18.0156, '×10⁹/L')",
        "concat('阳性(1:', value_as_number, ')')",
    ] {
        assert_eq!(with(text, none).refresh().release, 1, "{text}");
    }
}

/// Days and times that nanoseconds do not reach, in every column of every table: they are counted, and stop nothing.
#[test]
fn a_date_of_any_year_stops_nothing() {
    let periods = "  spans:\n    sql: |\n      select min(cast(measurement_datetime as date)) as \
                 observation_period_start_date, max(cast(measurement_datetime as date)) as observation_period_end_date\n      \
                 from lis where measurement_datetime is not null group by subject_id\n";
    let tables = "  observation_period: { from: spans, key: [subject_id], model: omop-5.4 }\n  \
                  death: { from: dead, key: [subject_id], model: omop-5.4 }\n  plain: { from: lis }\ngates:\n  \
                  fresh_day: { check: fresh, column: measurement.measurement_date, within: 36500d, on_fail: warn }\n  \
                  fresh_time: { check: fresh, column: plain.measurement_datetime, within: 36500d, on_fail: warn }\n  \
                  drift_day: { check: drift, column: measurement.measurement_date, at_most: 9, on_fail: warn }\n  \
                  drift_time: { check: drift, column: plain.measurement_datetime, at_most: 9, on_fail: warn }\n  \
                  age: { check: plausible, column: measurement.measurement_date, birth: person.birth_datetime, age: [0, 120], \
                  on_fail: warn }\n  \
                  born: { check: plausible, column: plain.measurement_datetime, after: person.birth_datetime, on_fail: warn }\n  \
                  mixed: { check: plausible, column: plain.measurement_datetime, before: death.death_date, on_fail: warn }\n  \
                  listed: { check: values, column: measurement.measurement_date, values: ['2026-01-02'], on_fail: warn }\n";
    let dead = "  dead:\n    plugin: table\n    inputs: { glob: \"inbox/dead*.csv\" }\n    subject: { id: mrn, issuer: MRN }\n    \
                key: []\n    columns: { at: { name: death_datetime, type: timestamp } }\n";
    let text = format!("{HEAD}{OMOP}{tables}").replacen("transforms:\n", &format!("{dead}transforms:\n{periods}"), 1);
    let site = Site::new(&text);
    let years = ["0001-01-01", "1600-01-01", "2026-01-02", "2300-01-01", "9999-12-31"];
    let (mut visits, mut labs) = (
        "mrn,visit_no,sex,birth,in,out\n".to_owned(),
        "mrn,order_no,visit_no,test,value,unit,at\n".to_owned(),
    );
    let (mut notes, mut found, mut dead) = (
        "mrn,note_no,title,text,at\n".to_owned(),
        "mrn,finding_no,note_no,from,to,word,on\n".to_owned(),
        "mrn,at\n".to_owned(),
    );
    for (i, birth) in years.iter().enumerate() {
        for (j, date) in years.iter().enumerate() {
            let mrn = format!("p{i}{j}");
            visits += &format!("{mrn},v{i}{j},F,{birth} 00:00:00,{date} 08:00:00,{date} 23:59:59\n");
            notes += &format!("{mrn},n{i}{j},t,x,{date}\n");
            found += &format!("{mrn},f{i}{j},n{i}{j},2,4,x,{date}\n");
            dead += &format!("{mrn},{birth} 00:00:00\n");
            for (k, at) in years.iter().enumerate() {
                labs += &format!("{mrn},{i}{j}{k},v{i}{j},K,4.1,mmol/L,{at} 07:00:00\n");
            }
        }
    }
    for (name, content) in [("visits", visits), ("notes", notes), ("found", found), ("dead", dead)] {
        site.put(&format!("inbox/{name}.csv"), content);
    }
    site.put("inbox/labs.csv", &labs);
    site.refresh();
    let manifest = site.manifest(1);
    let counts = |name: &str| {
        let measured = gate(&manifest, name)["measured"].clone();
        (measured["rows"].as_u64().unwrap(), measured["failed"].as_u64().unwrap())
    };
    // Of five days each of a visit, of its patient's birth and of a result.
    for (name, expected) in [
        ("measurement.measurement_date.withinVisitDates", (125, 100)),
        ("measurement.measurement_date.plausibleValueHigh", (125, 50)),
        ("measurement.measurement_date.plausibleAfterBirth", (125, 50)),
        ("measurement.measurement_date.plausibleBeforeDeath", (125, 50)),
        ("visit_occurrence.visit_start_date.plausibleStartBeforeEnd", (25, 0)),
        ("visit_occurrence.visit_end_date.plausibleValueHigh", (25, 10)),
        (
            "observation_period.observation_period_end_date.plausibleValueHigh",
            (25, 25),
        ),
        ("age", (125, 100)),
        ("born", (125, 50)),
        ("mixed", (125, 50)),
        ("listed", (125, 100)),
        ("fresh_day", (1, 0)),
        ("fresh_time", (1, 0)),
        ("drift_day", (0, 0)),
    ] {
        assert_eq!(counts(name), expected, "{name}");
    }
    // The second release compares with the first.
    site.put(
        "inbox/labs2.csv",
        "mrn,order_no,visit_no,test,value,unit,at\np00,x,v00,K,4.1,mmol/L,9999-12-31 23:59:59\n",
    );
    site.refresh();
    for name in ["drift_day", "drift_time"] {
        let drift = gate(&site.manifest(2), name);
        assert!(
            drift["measured"]["index"].as_f64().is_some_and(|index| index < 0.1),
            "{drift}"
        );
    }
    let project = site.project();
    let out = project.run(["export", "pipeline.yaml", "--model", "meds", "meds", "--format", "json"]);
    let told = out.expect_code(0).json();
    assert_eq!(
        (&told["events"]["measurement"], &told["events"]["death"]),
        (&126.into(), &25.into()),
        "{told}"
    );
    project.run(["gates", "pipeline.yaml"]).expect_code(0);
}
