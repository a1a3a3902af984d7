//! Laws: an independent splitter finds the same values, any bytes are survived, what is rendered is read back.

mod common;

use clinmill_sdk::{MemoryInput, Source};
use common::{codes, column, ranges, read, read_bytes, source};
use encoding_rs::GB18030;
use proptest::prelude::*;
use serde_json::json;
use std::{fs, path::Path};

fn results() -> serde_json::Value {
    json!({ "result": { "per": "OBX", "fields": { "value": "OBX-5", "code": "OBX-3" } } })
}

/// Cuts text naively: lines, then fields. Only for usual delimiters, and without escapes.
fn naive(text: &str) -> (usize, Vec<String>) {
    let mut subjects = 0;
    let mut values = Vec::new();
    let mut subject = false;
    for line in text.split(['\r', '\n']) {
        let fields: Vec<&str> = line.trim_start_matches(['\u{feff}', '\u{b}', ' ']).split('|').collect();
        let field = |n: usize| fields.get(n).copied().unwrap_or("");
        match field(0) {
            "MSH" => subject = false,
            "PID" => {
                let id = field(3)
                    .split('~')
                    .next()
                    .unwrap_or("")
                    .split('^')
                    .next()
                    .unwrap_or("")
                    .trim();
                subject = !id.is_empty() && id != "\"\"";
            }
            "OBX" if !matches!(field(11).split(['^', '~']).next(), Some("I" | "O" | "N")) => {
                if field(11) == "U" && field(5).is_empty() {
                    continue;
                }
                if subject {
                    values.push(field(5).to_owned());
                } else {
                    subjects += 1;
                }
            }
            _ => {}
        }
    }
    (subjects, values)
}

#[test]
fn an_independent_splitter_finds_the_same_values_in_public_messages() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let mut folders: Vec<_> = fs::read_dir(&data)
        .map(|entries| entries.filter_map(|e| Some(e.ok()?.path())).collect())
        .unwrap_or_default();
    folders.retain(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("hl7v2-"))
    });
    if folders.is_empty() {
        println!("skipped: no public messages at ../../../shared/data");
        return;
    }
    let source = source(results());
    let (mut files, mut values) = (0, 0);
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            folders.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let extension = path
            .extension()
            .map(|e| e.to_string_lossy().into_owned())
            .unwrap_or_default();
        if !matches!(extension.as_str(), "hl7" | "txt") || path.ends_with("PROVENANCE.txt") {
            continue;
        }
        let Ok(text) = std::str::from_utf8(&bytes) else {
            continue;
        };
        // Only the usual delimiters, and no message that is refused as a whole: the naive splitter sees neither.
        let headers = text
            .split(['\r', '\n'])
            .filter_map(|line| line.trim_start_matches('\u{feff}').strip_prefix("MSH"));
        if !headers
            .clone()
            .all(|rest| rest.starts_with("|^~\\&|") || rest.starts_with("|^~\\&#|"))
        {
            continue;
        }
        let collected = read_bytes(&source, bytes.as_slice());
        let (nobody, mut expected) = naive(text);
        let escaped = |value: &String| value.contains('\\');
        let mut found: Vec<String> = column(&collected, 0, 0)
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect();
        assert_eq!(found.len(), expected.len(), "{}", path.display());
        let no_subject = codes(&collected)
            .iter()
            .filter(|code| **code == "HL7_NO_SUBJECT")
            .count();
        assert_eq!(no_subject, nobody, "{}", path.display());
        for (range, value) in ranges(&collected, 0).into_iter().zip(&expected) {
            let segment = text.get(range.0..range.0 + range.1).unwrap();
            assert!(segment.starts_with("OBX|"), "{}", path.display());
            assert_eq!(segment.split('|').nth(5).unwrap_or(""), value);
        }
        let keep: Vec<bool> = expected.iter().map(|value| !escaped(value)).collect();
        let mut keeps = keep.iter();
        found.retain(|_| *keeps.next().unwrap());
        let mut keeps = keep.iter();
        expected.retain(|_| *keeps.next().unwrap());
        assert_eq!(found, expected, "{}", path.display());
        files += 1;
        values += found.len();
    }
    println!("{files} files, {values} values");
    assert!(files > 300 && values > 1000, "{files} files, {values} values");
}

#[test]
fn splits_give_what_the_whole_gives() {
    let mut text = String::from("FHS|^~\\&|A\rBHS|^~\\&|A\r");
    for i in 0..200 {
        text += &format!("MSH|^~\\&|A\rPID|||P{i}^^^H\rOBX|1|ST|A||value {i}\r");
        if i % 50 == 7 {
            text += "stray line\r";
        }
    }
    text += "BTS|200\rFTS|1\r";
    let whole = read_bytes(&source(results()), text.as_bytes());
    assert_eq!(codes(&whole), ["HL7_GARBAGE"; 4]);
    for size in [1, 7, 100, 1000, 5000] {
        let parts = source(results()).with_split(size);
        let input = MemoryInput::new("x", text.as_bytes());
        assert!(parts.splits(&input).unwrap().len() > 1);
        let parts = read(&parts, &input);
        assert_eq!(column(&parts, 0, 0), column(&whole, 0, 0), "{size}");
        assert_eq!(ranges(&parts, 0), ranges(&whole, 0));
        assert_eq!(codes(&parts), codes(&whole));
        assert_eq!(parts.bytes, text.len() as u64);
    }
}

/// What may stand between two messages, the first of which ends within its last line or behind its end.
const BETWEEN: [&str; 9] = [
    "",
    "\0",
    "\u{c}",
    "10:01 ",
    "\r\0",
    "\r10:01 ",
    "\rnoise \u{b}",
    "\u{1c}\r\0\0\u{b}",
    "\r\n2026-01-05 < \u{b}",
];

#[test]
fn no_message_gets_what_belongs_to_its_neighbour() {
    let parts = || {
        source(json!({ "r": { "per": "OBX",
            "fields": { "of": "MSH-10", "order": "OBR-3", "patient": "PID-3.1", "value": "OBX-5" } } }))
    };
    let source = parts();
    for between in BETWEEN {
        for (first, second) in [
            (r"MSH|^~\&|", r"MSH|^~\&#|"),
            (r"MSH|^~\&|", r"MSH|^~\&|"),
            (r"MSH@^~\&@", r"MSH@^~\&@"),
        ] {
            // Longer than what is searched at once, and shorter.
            for results in [1, 400] {
                let mut text = String::new();
                for n in 0..7 {
                    let head = if n % 2 == 0 { first } else { second };
                    let lines =
                        format!("{head}A||||||ORU^R01|{n}|P|2.5\rPID|||{n}^^^H\rOBR|1||{n}").replace('|', &head[3..4]);
                    text += if n == 0 { "" } else { between };
                    text += &lines;
                    for i in 0..results {
                        text += &format!("\rOBX|{i}|ST|A||{n}||||||F").replace('|', &head[3..4]);
                    }
                }
                text += if between.contains('\u{b}') { "\u{1c}\r" } else { "" };
                let collected = read_bytes(&source, text.as_bytes());
                let expected: Vec<_> = (0..7 * results).map(|i| Some((i / results).to_string())).collect();
                for of in 0..4 {
                    assert_eq!(column(&collected, 0, of), expected, "{between:?} {first} {of}");
                }
                let garbage = if between.starts_with(['\r', '\u{1c}']) { 6 } else { 0 };
                assert_eq!(collected.rejections.len(), garbage, "{between:?}");
                for split in [1, 100, 5000] {
                    let part = parts().with_split(split);
                    let parts = read(&part, &MemoryInput::new("x", text.as_bytes()));
                    assert_eq!(codes(&parts), codes(&collected));
                    assert_eq!(ranges(&parts, 0), ranges(&collected, 0));
                }
            }
        }
    }
}

#[test]
fn a_test_named_like_a_header_is_data() {
    let text = "MSH|^~\\&|A\rPID|||P1^^^H\rOBX|1|ST|MSH|(-)|MSH|[+-]|\rOBX|2|ST|MSH||see MSH\\F\\^~\\E\\\\T\\|\r";
    let collected = read_bytes(&source(results()), text);
    assert_eq!(
        column(&collected, 0, 1),
        [Some("MSH".to_owned()), Some("MSH".to_owned())]
    );
}

#[test]
fn headers_without_end_are_read_in_time() {
    let text = r"MSH|^~\&|A".repeat(100_000);
    let collected = read_bytes(&source(results()), text);
    assert_eq!(
        codes(&collected).len() + collected.filtered.values().sum::<u64>() as usize,
        100_000
    );
}

#[test]
fn every_gbk_character_with_a_delimiter_in_it_stays_whole() {
    let mut characters = Vec::new();
    for first in 0x81..=0xfeu8 {
        for second in *b"|^~\\&" {
            if let Some(text) = GB18030.decode_without_bom_handling_and_without_replacement(&[first, second]) {
                characters.push(text.into_owned());
            }
        }
    }
    assert!(characters.len() > 4 * 100);
    let mut text = String::new();
    for c in &characters {
        text +=
            &format!("MSH|^~\\&|{c}|{c}|||2026||ORU^R01|1|P|2.4||||||GBK\rPID|||{c}^^^H\rOBX|1|ST|{c}^{c}||{c}{c}\r");
    }
    let (bytes, _, lossy) = GB18030.encode(&text);
    assert!(!lossy);
    let source = source(json!({ "r": { "per": "OBX", "fields": { "v": "OBX-5", "c": "OBX-3.2" } } }));
    let collected = read_bytes(&source, bytes.as_ref());
    assert_eq!(codes(&collected), [""; 0]);
    let doubled: Vec<_> = characters.iter().map(|c| Some(c.repeat(2))).collect();
    assert_eq!(column(&collected, 0, 0), doubled);
    assert_eq!(
        column(&collected, 0, 1),
        characters.iter().cloned().map(Some).collect::<Vec<_>>()
    );
    for ((start, length), c) in ranges(&collected, 0).into_iter().zip(&characters) {
        let segment = GB18030
            .decode_without_bom_handling_and_without_replacement(&bytes[start..start + length])
            .unwrap();
        assert_eq!(segment, format!("OBX|1|ST|{c}^{c}||{c}{c}"));
    }
}

fn part() -> impl Strategy<Value = String> {
    "[ -~病億\u{20bb7}]{0,12}".prop_map(|text| text.replace('"', "'"))
}

fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '|' => "\\F\\".to_owned(),
            '^' => "\\S\\".to_owned(),
            '&' => "\\T\\".to_owned(),
            '~' => "\\R\\".to_owned(),
            '\\' => "\\E\\".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_rendered_is_read_back(
        rows in prop::collection::vec((part(), part(), part()), 1..6),
        end in prop::sample::select(vec!["\r", "\n", "\r\n"]),
        gbk in any::<bool>(),
    ) {
        let charset = if gbk { "GB18030" } else { "UNICODE UTF-8" };
        let mut text = format!("MSH|^~\\&|A||||2026||ORU^R01|1|P|2.5||||||{charset}{end}PID|||P^^^H{end}");
        for (a, b, c) in &rows {
            text += &format!("OBX|1|ST|{}^{}||{}{end}", escape(a), escape(b), escape(c));
        }
        let bytes = if gbk { GB18030.encode(&text).0.into_owned() } else { text.into_bytes() };
        let source = source(json!({ "r": { "per": "OBX",
            "fields": { "a": "OBX-3.1", "b": "OBX-3.2", "c": "OBX-5" } } }));
        let collected = read_bytes(&source, bytes);
        let full = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        prop_assert_eq!(column(&collected, 0, 0), rows.iter().map(|row| full(&row.0)).collect::<Vec<_>>());
        prop_assert_eq!(column(&collected, 0, 1), rows.iter().map(|row| full(&row.1)).collect::<Vec<_>>());
        prop_assert_eq!(column(&collected, 0, 2), rows.iter().map(|row| full(&row.2)).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_survived_and_every_result_is_counted_once(
        pieces in prop::collection::vec(prop_oneof![
            Just(b"MSH|^~\\&|A\r".to_vec()), Just(b"\nMSH".to_vec()), Just(b"PID|||P1^^^H\r".to_vec()),
            Just(b"OBX|1|ST|A||v\r".to_vec()), Just(b"OBX|1|ST|A||v||||||I\r".to_vec()), Just(b"\x1c\r\x0b".to_vec()),
            Just(b"BHS|^~\\&\r".to_vec()), Just(b"BTS|1\r".to_vec()), Just(b"\xef\xbb\xbf".to_vec()), Just(b"OBR|1\n".to_vec()),
            Just(b"OBX|1|ST|A||vMSH|^~\\&|A\r".to_vec()), Just(b"\0 \x0bMSH|^~\\&|A\r".to_vec()), Just(b"FTS|1FHS|^~\\&\r".to_vec()),
            Just(b"MSH@^~\\&@A\r".to_vec()), Just(b"10:01 MSH@^~\\&@A\n".to_vec()), Just(b"MSH|^~\\&|A".to_vec()),
            prop::collection::vec(any::<u8>(), 0..20),
        ], 0..40),
        size in 1u64..200,
    ) {
        let bytes = pieces.concat();
        let whole = read_bytes(&source(results()), bytes.as_slice());
        let rows = whole.rows_of(0);
        let refused = whole.rejections.iter().filter(|r| r.kind.is_some()).count();
        let filtered = whole.filtered.get("obx_11_no_result").copied().unwrap_or(0) as usize;
        prop_assert!(rows + refused + filtered <= bytes.windows(3).filter(|w| w == b"OBX").count() + 1);
        for rejection in &whole.rejections {
            prop_assert!(rejection.at.offset + rejection.at.length <= bytes.len() as u64);
        }
        let parts = read(&source(results()).with_split(size), &MemoryInput::new("x", bytes.as_slice()));
        prop_assert_eq!(parts.rows_of(0), rows);
        prop_assert_eq!(codes(&parts), codes(&whole));
        prop_assert_eq!(&parts.filtered, &whole.filtered);
        prop_assert_eq!(ranges(&parts, 0), ranges(&whole, 0));
    }
}
