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
