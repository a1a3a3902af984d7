//! The export of Tongji Hospital: every filled cell is a measurement, and a new export changes what it changes.

use clinmill_engine::refresh::Outcome;
use clinmill_tests::{
    copy_file, readers, root,
    site::Site,
    state::{Change, Row, text},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Cursor, Read, Write},
};
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

const INPUT: &str = "inbox/time_series_375_prerpocess.xlsx";
const SHEET: &str = "xl/worksheets/sheet1.xml";
/// Columns that are no laboratory test.
const FIRST_TEST: u32 = 8;

fn original() -> Vec<u8> {
    fs::read(root().join("pipelines/tongji-covid").join(INPUT)).unwrap()
}

fn site() -> Site {
    let site = Site::of_pipeline("tongji-covid");
    site.put(INPUT, original());
    site
}

/// Time, test and value of every filled cell, by patient.
type Cells = BTreeMap<String, Vec<[String; 3]>>;

fn cells(bytes: &[u8]) -> Cells {
    let sheet = readers::xlsx(bytes);
    let at = |row: u64, column: u32| sheet.get(&(row, column)).cloned().unwrap_or_default();
    let mut patient = String::new();
    let mut cells = Cells::new();
    let last = sheet.keys().next_back().map_or(0, |(row, _)| *row);
    for row in 2..=last {
        // The cells of one patient's number are merged: only the first of them is filled.
        let number = at(row, 1);
        if !number.is_empty() {
            patient = number;
        }
        let of_row = sheet.range((row, FIRST_TEST)..(row + 1, 0));
        let of_patient = cells.entry(patient.clone()).or_default();
        of_patient.extend(of_row.map(|((_, column), value)| [at(row, 2), at(1, *column), value.clone()]));
    }
    cells.values_mut().for_each(|list| list.sort());
    cells
}

/// The same from a table, by subject.
fn measurements<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Cells {
    let mut cells = Cells::new();
    for row in rows {
        let cell = ["sampled_at", "test_name", "value"].map(|column| text(row, column).to_owned());
        cells.entry(text(row, "subject_id").to_owned()).or_default().push(cell);
    }
    cells.values_mut().for_each(|list| list.sort());
    cells
}

/// The groups without their names: patients and subjects are called differently.
fn groups(cells: Cells) -> Vec<Vec<[String; 3]>> {
    let mut groups: Vec<_> = cells.into_values().filter(|list| !list.is_empty()).collect();
    groups.sort();
    groups
}

/// Every row of the mapping says why, and none of them because a dictionary says so.
fn assert_evidence() {
    let table = fs::read_to_string(root().join("mappings/tongji-lab-zh__loinc/map.csv")).unwrap();
    let mut rows = table.lines();
    assert!(rows.next().unwrap().ends_with(",note"));
    for row in rows {
        assert!(row.contains(" values"), "{row}");
        assert!(!row.contains("dictionary"), "{row}");
    }
}

#[test]
fn every_filled_cell_is_a_measurement_and_leads_back_to_it() {
    let site = site();
    let report = site.refresh();
    assert_eq!((report.outcome, report.release), (Outcome::Released, 1));
    assert_eq!(
        (report.counts.inputs, report.counts.rejected, report.counts.filtered),
        (1, 0, 0)
    );
    let wanted = cells(&original());
    assert_eq!(
        (wanted.len(), wanted.values().map(Vec::len).sum::<usize>()),
        (375, 55_731)
    );
    let (person, measurement) = (site.rows(1, "person"), site.rows(1, "measurement"));
    assert_eq!((person.len(), measurement.len()), (375, 55_731));
    assert!(
        groups(measurements(measurement.values())) == groups(wanted),
        "every cell, under its patient"
    );
    let codes = measurement
        .values()
        .filter(|row| row.iter().any(|(c, v)| c.ends_with("_code") && v.is_some()))
        .count();
    assert!(codes > 50_000, "{codes} measurements carry a LOINC code");

    let mapped = |column: &str| -> BTreeSet<&str> {
        let rows = measurement.values().filter(|row| row[column].is_some());
        rows.map(|row| text(row, "test_name")).collect()
    };
    assert_eq!(mapped("test_name_code").len(), 66, "of 74 columns");
    assert_eq!(mapped("test_name_unit"), mapped("test_name_code"), "each with its unit");
    let mut haemoglobin = BTreeMap::<&str, Vec<f64>>::new();
    for row in measurement.values().filter(|row| text(row, "test_name") == "血红蛋白") {
        let values = haemoglobin.entry(text(row, "test_name_unit")).or_default();
        values.push(text(row, "value").parse().unwrap());
    }
    let ends = |unit: &str| {
        let values = &haemoglobin[unit];
        let (least, most) = values
            .iter()
            .fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        (values.len(), least, most)
    };
    assert_eq!(ends("g/L"), (957, 49.0, 178.0));
    assert_eq!(ends("g/dL"), (18, 6.4, 18.7));
    assert_evidence();

    // Again: nothing to do.
    let report = site.refresh();
    assert_eq!((report.outcome, report.release), (Outcome::NoOp, 1));
    assert_eq!(site.releases(), [1]);

    let sheet = readers::xlsx(&original());
    let traces = site.trace_all("measurement");
    assert_eq!(traces.len(), measurement.len());
    for trace in &traces {
        let [origin] = trace.origins.as_slice() else {
            panic!("one cell makes one row")
        };
        let cell = origin.cell.expect("a cell");
        assert_eq!(Some(&sheet[&(origin.row, cell)]), trace.row["value"].as_ref());
        assert_eq!(Some(&sheet[&(1, cell)]), trace.row["test_name"].as_ref());
        assert_eq!(Some(&sheet[&(origin.row, 2)]), trace.row["sampled_at"].as_ref());
        assert_eq!(trace.row["value"], measurement[&trace.row_id]["value"]);
    }
    for trace in site.trace_all("person") {
        for origin in &trace.origins {
            for (column, name) in [
                (3, "age"),
                (4, "sex"),
                (5, "admitted_at"),
                (6, "discharged_at"),
                (7, "outcome"),
            ] {
                let cell = sheet.get(&(origin.row, column));
                assert_eq!(cell, trace.row[name].as_ref(), "{name} of row {}", origin.row);
            }
        }
    }
}

/// The workbook with its sheet rewritten.
fn with_sheet(bytes: &[u8], edit: impl Fn(String) -> String) -> Vec<u8> {
    let mut from = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut to = ZipWriter::new(Cursor::new(Vec::new()));
    for i in 0..from.len() {
        let mut entry = from.by_index(i).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if name == SHEET {
            content = edit(String::from_utf8(content).unwrap()).into_bytes();
        }
        to.start_file(name, SimpleFileOptions::default()).unwrap();
        to.write_all(&content).unwrap();
    }
    to.finish().unwrap().into_inner()
}

/// `<row r="17" …>…</row>`.
fn row_of(sheet: &str, number: u64) -> &str {
    let from = sheet.find(&format!("<row r=\"{number}\"")).unwrap();
    &sheet[from..from + sheet[from..].find("</row>").unwrap() + "</row>".len()]
}

/// One value changed, the patient of rows 5842 to 5846 taken out, one patient added at the end.
fn next_export(sheet: String) -> String {
    let mut sheet = sheet.replacen("<c r=\"I3\"><v>136</v></c>", "<c r=\"I3\"><v>137</v></c>", 1);
    for number in 5842..=5846 {
        let row = row_of(&sheet, number).to_owned();
        sheet = sheet.replace(&row, "");
    }
    sheet = sheet.replace("<mergeCell ref=\"A5842:A5846\"/>", "");
    let added = "<row r=\"6122\"><c r=\"A6122\"><v>376</v></c><c r=\"B6122\" s=\"2\"><v>43861.5</v></c><c r=\"C6122\"><v>50</v></c>\
        <c r=\"D6122\"><v>2</v></c><c r=\"E6122\" s=\"3\"><v>43860.5</v></c><c r=\"F6122\" s=\"3\"><v>43870.5</v></c>\
        <c r=\"G6122\"><v>0</v></c><c r=\"I6122\"><v>140</v></c><c r=\"J6122\"><v>101.5</v></c></row></sheetData>";
    sheet.replace("</sheetData>", added)
}

#[test]
fn a_new_export_changes_just_what_is_other() {
    let site = site();
    site.refresh();
    let (person, measurement) = (site.rows(1, "person"), site.rows(1, "measurement"));
    let before = cells(&original());
    let export = with_sheet(&original(), next_export);
    let after = cells(&export);
    let gone: Vec<&String> = before.keys().filter(|p| !after.contains_key(*p)).collect();
    let [gone] = gone.as_slice() else {
        panic!("one patient is gone: {gone:?}")
    };

    site.put(INPUT, &export);
    let report = site.refresh();
    assert_eq!((report.outcome, report.release), (Outcome::Released, 2));
    assert!(groups(measurements(site.rows(2, "measurement").values())) == groups(after));
    assert_eq!(site.rows(2, "person").len(), 375);

    let changes = site.changes(2, "measurement");
    let upserts = |cause: &str| -> Vec<&Change> {
        changes
            .iter()
            .filter(|c| c.op == "U" && c.cause.as_deref() == Some(cause))
            .collect()
    };
    let corrected = upserts("corrected");
    let [corrected] = corrected.as_slice() else {
        panic!("one value is corrected: {corrected:?}")
    };
    let was = &measurement[&corrected.row_id];
    assert_eq!((text(was, "value"), text(&corrected.row, "value")), ("136", "137"));
    assert_eq!(text(was, "test_name"), "血红蛋白");
    let new: BTreeSet<[&str; 3]> = upserts("new")
        .iter()
        .map(|c| ["sampled_at", "test_name", "value"].map(|n| text(&c.row, n)))
        .collect();
    assert_eq!(
        new,
        BTreeSet::from([
            ["2020-01-31T12:00:00", "血红蛋白", "140"],
            ["2020-01-31T12:00:00", "氯", "101.5"]
        ])
    );
    let deleted: Vec<&Row> = changes
        .iter()
        .filter(|c| c.op == "D")
        .map(|c| &measurement[&c.row_id])
        .collect();
    let lost = measurements(deleted.iter().copied());
    assert_eq!(
        groups(lost),
        [before[*gone].clone()],
        "every cell of the patient who is gone, and no other"
    );
    assert_eq!(changes.len(), 1 + 2 + deleted.len());

    let changes = site.changes(2, "person");
    let (added, removed): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(|c| c.op == "U");
    let ([added], [removed]) = (added.as_slice(), removed.as_slice()) else {
        panic!("{changes:?}")
    };
    assert_eq!((text(&added.row, "age"), text(&added.row, "sex")), ("50", "2"));
    let subject = text(deleted[0], "subject_id");
    assert_eq!(text(&person[&removed.row_id], "subject_id"), subject);

    // The first export once more, under the same path: the state of release 1.
    copy_file(&root().join("pipelines/tongji-covid").join(INPUT), &site.at(INPUT));
    assert_eq!(site.refresh().release, 3);
    assert!(site.content(3) == site.content(1));
}
