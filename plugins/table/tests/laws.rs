//! Laws over random tables: what is rendered reads back equal, splits and batches change nothing, arbitrary bytes never
//! panic and every row counts once.

mod common;

use clinmill_sdk::{MemoryInput, decode::Encoding};
use common::{Cells, cells, read, read_in_batches, table};
use proptest::prelude::*;
use serde_json::json;

fn any_cell() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9 ]{0,6}",
        2 => "[病案号億区乕尿素，。]{0,4}",
        1 => "[,\"\n|;\tx]{0,5}",
    ]
}

fn any_table() -> impl Strategy<Value = Vec<Vec<String>>> {
    (1usize..6).prop_flat_map(|width| proptest::collection::vec(proptest::collection::vec(any_cell(), width), 0..40))
}

#[derive(Clone, Copy, Debug)]
struct Dialect {
    encoding: Encoding,
    delimiter: char,
    crlf: bool,
    last_line_end: bool,
    quote_all: bool,
}

fn any_dialect() -> impl Strategy<Value = Dialect> {
    let encoding = prop_oneof![
        Just(Encoding::Utf8),
        Just(Encoding::Gb18030),
        Just(Encoding::Utf16),
        Just(Encoding::Utf16Be)
    ];
    let delimiter = prop_oneof![Just(','), Just(';'), Just('\t'), Just('|')];
    (encoding, delimiter, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(encoding, delimiter, crlf, last_line_end, quote_all)| Dialect {
            encoding,
            delimiter,
            crlf,
            last_line_end,
            quote_all,
        },
    )
}

fn render(rows: &[Vec<String>], dialect: Dialect) -> Vec<u8> {
    let mut text = String::new();
    let width = rows.first().map_or(1, Vec::len);
    let header: Vec<String> = std::iter::once("id".to_owned())
        .chain((0..width).map(|i| format!("c{i}")))
        .collect();
    let lines = std::iter::once(header).chain(
        rows.iter()
            .enumerate()
            .map(|(i, row)| std::iter::once(format!("P{i}")).chain(row.iter().cloned()).collect()),
    );
    for line in lines {
        for (i, cell) in line.iter().enumerate() {
            if i > 0 {
                text.push(dialect.delimiter);
            }
            if dialect.quote_all || cell.contains([',', ';', '\t', '|', '"', '\n']) {
                text.push('"');
                text.push_str(&cell.replace('"', "\"\""));
                text.push('"');
            } else {
                text.push_str(cell);
            }
        }
        text.push_str(if dialect.crlf { "\r\n" } else { "\n" });
    }
    if !dialect.last_line_end {
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
    }
    match dialect.encoding {
        Encoding::Utf16 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Encoding::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        other => other.encoding_rs().encode(&text).0.into_owned(),
    }
}

fn options(width: usize, dialect: Dialect) -> serde_json::Value {
    let columns: serde_json::Map<_, _> = (0..width).map(|i| (format!("c{i}"), json!(format!("c{i}")))).collect();
    json!({ "encoding": dialect.encoding.name(), "delimiter": dialect.delimiter, "key": ["id"],
            "subject": { "id": "id", "issuer": "X" }, "columns": columns })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_rendered_reads_back(rows in any_table(), dialect in any_dialect()) {
        let width = rows.first().map_or(1, Vec::len);
        let bytes = render(&rows, dialect);
        let size = bytes.len() as u64;
        let collected = read(&table(options(width, dialect)), &MemoryInput::new("x.csv", bytes.clone())).unwrap();
        prop_assert_eq!(&collected.rejections, &vec![]);
        prop_assert_eq!(collected.bytes, size);
        let Cells { rows: found, subjects, at } = cells(&collected, 0);
        let want: Vec<Vec<Option<String>>> = rows
            .iter()
            .enumerate()
            .map(|(i, row)| row.iter().cloned().chain([format!("P{i}")]).map(|c| Some(c).filter(|c| !c.is_empty())).collect())
            .collect();
        prop_assert_eq!(found, want);
        // The bytes behind a locator, read alone, begin with the row's own identifier.
        for (subject, (offset, length, _)) in subjects.iter().zip(at) {
            let piece = &bytes[offset as usize..(offset + length) as usize];
            let text = dialect.encoding.decode(piece, 0).unwrap();
            prop_assert!(text.trim_start_matches('"').starts_with(subject.as_deref().unwrap()), "{:?}", text);
            prop_assert!(!text.ends_with('\n'));
        }
    }

    #[test]
    fn batches_change_nothing(rows in any_table(), dialect in any_dialect(), batch_rows in 1usize..5) {
        let width = rows.first().map_or(1, Vec::len);
        let input = MemoryInput::new("x.csv", render(&rows, dialect));
        let source = table(options(width, dialect));
        let whole = read(&source, &input).unwrap();
        let parts = read_in_batches(&source, &input, batch_rows).unwrap();
        prop_assert_eq!(cells(&whole, 0), cells(&parts, 0));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(prop_oneof![
            Just(b','), Just(b'"'), Just(b'\n'), Just(b'\r'), Just(0u8), Just(0xffu8), any::<u8>()], 0..400),
            encoding in prop_oneof![Just("auto"), Just("utf-8"), Just("gb18030"), Just("utf-16"), Just("utf-16be"), Just("latin1")]) {
        let mut input = match encoding {
            "utf-16" => "id,a\n".encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "utf-16be" => "id,a\n".encode_utf16().flat_map(u16::to_be_bytes).collect(),
            _ => b"id,a\n".to_vec(),
        };
        input.extend(&bytes);
        let size = input.len() as u64;
        let source = table(json!({ "encoding": encoding, "subject": { "id": "id", "issuer": "X" }, "columns": { "a": "a" } }));
        let input = MemoryInput::new("x", input);
        if let Ok(collected) = read(&source, &input) {
            prop_assert_eq!(collected.bytes, size);
            // Rows and rejections stand one after another, none twice.
            let mut places: Vec<(u64, u64)> = cells(&collected, 0).at.iter().map(|(o, l, _)| (*o, *l)).collect();
            places.extend(collected.rejections.iter().map(|r| (r.at.offset, r.at.length)));
            places.sort_unstable();
            for pair in places.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{:?}", pair);
            }
            prop_assert!(places.iter().all(|(o, l)| o + l <= size));
            let again = read_in_batches(&source, &input, 1).unwrap();
            prop_assert_eq!(collected.rejections, again.rejections);
        }
    }

    #[test]
    fn damaged_containers_never_panic(cut in 0usize..5000, flip in 0usize..5000, bit in 0u8..8, parquet in any::<bool>()) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/");
        let file = if parquet { "parquet/input.parquet" } else { "xlsx/input.xlsx" };
        let mut bytes = std::fs::read(format!("{folder}{file}")).unwrap();
        if let Some(byte) = bytes.get_mut(flip) {
            *byte ^= 1 << bit;
        }
        if cut % 3 == 0 {
            bytes.truncate(cut);
        }
        let source = table(json!({ "subject": "none", "columns": { "day": "day" }, "sheet": 2, "header_row": 2 }));
        let _ = read(&source, &MemoryInput::new("x", bytes));
    }
}
