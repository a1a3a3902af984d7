//! L5: every row leads to bytes of kept inputs in which an independent reader finds what the row says.

use super::weekly;
use clinmill_engine::trace::TraceReport;
use clinmill_model::Digest;
use clinmill_provenance::Origin;
use clinmill_tests::{
    hospital::WEEKS,
    readers::{self, Line, Message, Segment},
    site::Site,
};
use encoding_rs::{GB18030, UTF_8};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Record column, and the field and component of the record's own segment that it is read from.
type OwnFields = &'static [(&'static str, usize, usize)];

const PERSON: OwnFields = &[("birth", 7, 1), ("sex", 8, 1), ("region", 11, 4)];
const VISIT: OwnFields = &[
    ("visit_no", 19, 1),
    ("class", 2, 1),
    ("service", 10, 1),
    ("admitted_at", 44, 1),
    ("discharged_at", 45, 1),
];
const RESULT: OwnFields = &[
    ("test_code", 3, 1),
    ("test_name", 3, 2),
    ("value", 5, 1),
    ("unit", 6, 1),
    ("range", 7, 1),
    ("status", 11, 1),
];

/// Column, header.
type Headers = &'static [(&'static str, &'static str)];

const LIS: Headers = &[
    ("order_no", "报告号"),
    ("visit_no", "住院号"),
    ("test_name", "项目名称"),
    ("value", "结果"),
    ("unit", "单位"),
    ("range", "参考范围"),
    ("sampled_at", "采样时间"),
];
const REGISTRY: Headers = &[
    ("visit_no", "住院号"),
    ("operated_on", "手术日期"),
    ("side", "手术侧别"),
    ("stenosis_percent", "狭窄率"),
    ("stent_model", "支架型号"),
    ("stent_size", "支架规格"),
    ("protection", "保护装置"),
    ("outcome_30d", "30天结局"),
];

/// The kept inputs, decompressed with zstd alone and checked by their digest.
#[derive(Default)]
struct Kept {
    bytes: BTreeMap<String, Vec<u8>>,
    messages: BTreeMap<String, Vec<Message>>,
    lines: BTreeMap<String, Vec<Line>>,
}

impl Kept {
    fn load(&mut self, vault: &Path, input: Digest) -> String {
        let name = input.to_string();
        self.bytes.entry(name.clone()).or_insert_with(|| {
            let file = std::fs::File::open(vault.join(format!("inputs/{name}"))).unwrap();
            let bytes = zstd::decode_all(file).unwrap();
            assert_eq!(Digest::of(&bytes), input, "the kept input is what was read");
            bytes
        });
        name
    }

    fn segment(&mut self, input: &str, origin: &Origin) -> (Message, usize) {
        let bytes = &self.bytes[input];
        let messages = self
            .messages
            .entry(input.to_owned())
            .or_insert_with(|| readers::hl7(bytes, GB18030));
        let at = |s: &Segment| (s.offset, s.length) == (origin.offset, origin.length);
        let message = messages
            .iter()
            .find(|m| m.iter().any(at))
            .expect("the locator names a segment");
        (message.clone(), message.iter().position(at).unwrap())
    }

    fn line(&mut self, input: &str, origin: &Origin) -> BTreeMap<String, String> {
        let encoding = if origin.relation == "lis" { GB18030 } else { UTF_8 };
        let bytes = &self.bytes[input];
        let lines = self
            .lines
            .entry(input.to_owned())
            .or_insert_with(|| readers::csv(bytes, encoding));
        let line = lines
            .iter()
            .find(|l| (l.offset, l.length) == (origin.offset, origin.length));
        line.expect("the locator names a line")
            .fields
            .clone()
            .expect("a whole line")
    }

    fn slice(&self, input: &str, origin: &Origin) -> &[u8] {
        &self.bytes[input][origin.offset as usize..(origin.offset + origin.length) as usize]
    }
}

fn value<'a>(columns: &'a BTreeMap<String, Option<String>>, name: &str) -> &'a str {
    columns.get(name).and_then(Option::as_deref).unwrap_or_default()
}

/// Checks an origin's record against its bytes; returns the patient that the bytes name.
fn check_origin(kept: &mut Kept, vault: &Path, origin: &Origin) -> String {
    let input = kept.load(vault, origin.input);
    let record = &origin.record;
    let own = match origin.relation.as_str() {
        "adt.person" => ("PID", PERSON),
        "adt.visit" => ("PV1", VISIT),
        "adt.result" => ("OBX", RESULT),
        "lis" | "registry" => {
            let headers = if origin.relation == "lis" { LIS } else { REGISTRY };
            let fields = kept.line(&input, origin);
            for (column, header) in headers {
                assert_eq!(
                    value(record, column),
                    fields[*header],
                    "{column} of {}",
                    origin.relation
                );
            }
            return fields["病案号"].clone();
        }
        "notes" => {
            assert_eq!(
                (origin.offset, origin.length),
                (0, origin.size),
                "a note is its whole file"
            );
            let text = readers::chinese(kept.slice(&input, origin)).expect("a text");
            assert_eq!(value(record, "text"), text);
            let mut path = origin.path.rsplit('/');
            let name = format!("{}_{}.txt", value(record, "visit_no"), value(record, "kind"));
            assert_eq!(path.next(), Some(name.as_str()));
            return path.next().unwrap_or_default().to_owned();
        }
        "dialogue" => {
            let call: Value = serde_json::from_slice(kept.slice(&input, origin)).expect("a line of JSON");
            for column in ["call_no", "visit_no", "called_at", "text"] {
                assert_eq!(value(record, column), call[column].as_str().unwrap_or_default());
            }
            return call["mrn"].as_str().unwrap_or_default().to_owned();
        }
        other => panic!("nothing is read by {other}"),
    };
    let (message, at) = kept.segment(&input, origin);
    assert_eq!(message[at].name(), own.0);
    for (column, field, component) in own.1 {
        assert_eq!(
            value(record, column),
            message[at].component(*field, *component),
            "{column} of {}",
            origin.relation
        );
    }
    if own.0 == "OBX" {
        let before = |name: &str| {
            message[..at]
                .iter()
                .rev()
                .find(|s| s.name() == name)
                .expect("its group")
        };
        assert_eq!(value(record, "order_no"), before("OBR").component(3, 1));
        assert_eq!(value(record, "panel"), before("OBR").component(4, 2));
        assert_eq!(value(record, "sampled_at"), before("OBR").component(7, 1));
        assert_eq!(value(record, "visit_no"), before("PV1").component(19, 1));
    }
    message
        .iter()
        .find(|s| s.name() == "PID")
        .expect("a PID")
        .component(3, 1)
}

/// Digits alone: the same time in two notations, to the minute.
fn minute(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).take(12).collect()
}

/// Every column of the row is what one of its origins says.
fn check_row(trace: &TraceReport) {
    let said = |column: &str| -> Vec<&str> { trace.origins.iter().map(|o| value(&o.record, column)).collect() };
    for (column, is) in &trace.row {
        let Some(is) = is else { continue };
        let found = match column.as_str() {
            "subject_id" | "loinc" | "loinc_name" => continue,
            name if name.starts_with("loinc") || name.ends_with("_precision") => continue,
            "birth" => said("birth").iter().any(|v| *v == is.replace('-', "")),
            "sampled_at" if said("sampled_at").iter().any(|v| v.contains('/')) => {
                said("sampled_at").iter().any(|v| same_time(v, is))
            }
            "admitted_at" | "discharged_at" | "sampled_at" | "called_at" => {
                said(column).iter().any(|v| minute(v) == minute(is))
            }
            _ => said(column).contains(&is.as_str()),
        };
        assert!(
            found,
            "{}: {column} is {is:?}, the origins say {:?}",
            trace.table,
            said(column)
        );
    }
}

/// `2026/3/3 6:43` and `2026-03-03T06:43:00`.
fn same_time(said: &str, is: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        text.split(|c: char| !c.is_ascii_digit())
            .filter_map(|n| n.parse().ok())
            .take(5)
            .collect()
    };
    numbers(said) == numbers(is)
}

#[test]
fn every_row_leads_to_its_bytes() {
    let weekly = weekly();
    let site: &Site = &weekly.site;
    let vault = site.vault();
    let mut kept = Kept::default();
    let mut patients: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for table in site.tables(WEEKS as u64) {
        let rows = site.rows(WEEKS as u64, &table);
        let traces = site.trace_all(&table);
        assert_eq!(traces.len(), rows.len(), "{table}");
        for trace in &traces {
            for (column, value) in &trace.row {
                assert_eq!(
                    rows[&trace.row_id][column], *value,
                    "{table}.{column}: the trace tells of the published row"
                );
            }
            assert!(!trace.origins.is_empty(), "{table}: a row comes from something");
            for origin in &trace.origins {
                let patient = check_origin(&mut kept, &vault, origin);
                patients
                    .entry(value(&trace.row, "subject_id").to_owned())
                    .or_default()
                    .insert(patient);
            }
            check_row(trace);
        }
        println!(
            "{table}: {} rows traced to {} origins",
            traces.len(),
            traces.iter().map(|t| t.origins.len()).sum::<usize>()
        );
    }
    // A subject is one patient under all numbers it was ever given.
    let known = clinmill_tests::hospital::patients();
    assert_eq!(patients.len(), known.len());
    for numbers in patients.values() {
        assert!(
            known.iter().any(|of| numbers.is_subset(of)),
            "{numbers:?} are not one patient"
        );
    }
}

#[test]
fn the_trace_of_one_row_shows_its_bytes() {
    let weekly = weekly();
    for table in weekly.site.tables(WEEKS as u64) {
        let all = weekly.site.trace_all(&table);
        for wanted in all.iter().step_by(all.len() / 3) {
            let one = weekly.site.trace(&table, &wanted.row_id);
            assert_eq!(one.row, wanted.row);
            assert_eq!(one.origins.len(), wanted.origins.len());
            for origin in &one.origins {
                let mut kept = Kept::default();
                let input = kept.load(&weekly.site.vault(), origin.input);
                let bytes = origin.bytes.as_deref().map(unbase64).expect("bytes");
                assert_eq!(bytes, kept.slice(&input, origin));
            }
        }
    }
}

/// RFC 4648, section 4.
fn unbase64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut out) = (0u32, 0, Vec::new());
    for byte in text.bytes().filter(|b| *b != b'=') {
        let value = ALPHABET.iter().position(|a| *a == byte).expect("base64") as u32;
        (bits, held) = ((bits << 6 | value) & 0xffff, held + 6);
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}
