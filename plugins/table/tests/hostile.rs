//! Hostile inputs: bounded, named, and never at the cost of their neighbours.

mod common;

use clinmill_sdk::{
    IdentityLink, Input, MemoryInput, PluginError, RecordBatchOf, RecordSink, Rejection, Source, Split, TaskContext,
};
use common::{cells, read, table};
use serde_json::json;
use std::{collections::BTreeMap, io};

fn plain() -> serde_json::Value {
    json!({ "subject": { "id": "id", "issuer": "X" }, "columns": { "a": "a" } })
}

fn codes(collected: &clinmill_sdk::testing::CollectedRecords) -> BTreeMap<&str, usize> {
    let mut codes = BTreeMap::new();
    for rejection in &collected.rejections {
        *codes.entry(rejection.code.as_str()).or_default() += 1;
    }
    codes
}

#[test]
fn a_stray_quote_costs_one_line_of_a_large_file() {
    let mut text = String::from("id,a\nP0,\"stray\n");
    for i in 1..300_000 {
        text.push_str(&format!("P{i},{i}\n"));
    }
    let collected = read(&table(plain()), &MemoryInput::new("x", text)).unwrap();
    assert_eq!(codes(&collected), BTreeMap::from([("TABLE_UNCLOSED_QUOTE", 1)]));
    assert_eq!(collected.rows_of(0), 299_999);
    assert_eq!(cells(&collected, 0).at[299_998].2, 300_001);
}

/// Seen from its own start each of these lines begins a row that goes on to the end of the input and does not end there:
/// beginning again and again must have an end.
#[test]
fn quotes_that_never_close_end_in_bounded_time() {
    let mut text = String::from("id,a\n");
    text.push_str(&"x\",\"y\n".repeat(1_000_000));
    let error = read(&table(plain()), &MemoryInput::new("x", text))
        .err()
        .expect("a limit");
    assert_eq!(error.code, "TABLE_QUOTES");
    assert!(error.offset.is_some());
}

#[test]
fn a_hundred_thousand_columns() {
    let header: Vec<String> = (0..100_000).map(|i| format!("c{i}")).collect();
    let mut text = format!("id,{}\n", header.join(","));
    for row in 0..5 {
        text.push_str(&format!("P{row}{}\n", ",1".repeat(100_000)));
    }
    let source = table(json!({ "subject": { "id": "id", "issuer": "X" },
        "unpivot": { "columns": "*", "name": "name", "value": { "name": "value", "type": "integer" } } }));
    let collected = read(&source, &MemoryInput::new("x", text)).unwrap();
    assert_eq!(collected.rows_of(0), 500_000);
    assert!(collected.batches.iter().all(|b| b.rows.num_rows() <= 8192));
}

/// Each cell repeats the other columns of its row: a long text beside many cells must not become one batch.
#[test]
fn a_long_text_beside_many_cells() {
    let header: Vec<String> = (0..2000).map(|i| format!("c{i}")).collect();
    let text = format!(
        "id,text,{}\nP,{}{}\n",
        header.join(","),
        "x".repeat(1 << 20),
        ",1".repeat(2000)
    );
    let source = table(
        json!({ "subject": { "id": "id", "issuer": "X" }, "columns": { "text": "text" },
        "unpivot": { "columns": "*", "name": "name", "value": "value" } }),
    );
    let mut most = Most::default();
    let cancelled = std::sync::atomic::AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 8192,
    };
    let input = MemoryInput::new("x", text);
    source.read(&input, &Split::whole(&input), &task, &mut most).unwrap();
    assert_eq!((most.rows, most.rejected), (2000, 0));
    assert!(most.bytes < 64 << 20, "{}", most.bytes);
}

/// Forgets the batches and keeps the size of the largest.
#[derive(Default)]
struct Most {
    rows: usize,
    rejected: usize,
    bytes: usize,
}

impl RecordSink for Most {
    fn rows(&mut self, batch: RecordBatchOf) -> Result<(), PluginError> {
        self.rows += batch.rows.num_rows();
        self.bytes = self.bytes.max(batch.rows.get_array_memory_size());
        Ok(())
    }
    fn reject(&mut self, _: Rejection) -> Result<(), PluginError> {
        self.rejected += 1;
        Ok(())
    }
    fn filtered(&mut self, _: &str, _: u64) {}
    fn link(&mut self, _: IdentityLink) -> Result<(), PluginError> {
        Ok(())
    }
    fn progress(&mut self, _: u64) {}
}

/// 100 MB without a line end, made as it is read.
#[test]
fn one_endless_row() {
    struct Endless {
        captures: BTreeMap<String, String>,
    }
    const HEAD: &[u8] = b"id,a\nP1,";
    const TAIL: &[u8] = b"\nP2,ok\n";
    const SIZE: u64 = 100 << 20;
    impl Input for Endless {
        fn name(&self) -> &str {
            "x"
        }
        fn captures(&self) -> &BTreeMap<String, String> {
            &self.captures
        }
        fn size(&self) -> u64 {
            SIZE
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
            let n = buf.len().min((SIZE - offset.min(SIZE)) as usize);
            buf[..n].fill(b'x');
            for (i, byte) in buf[..n].iter_mut().enumerate() {
                let at = offset + i as u64;
                if at < HEAD.len() as u64 {
                    *byte = HEAD[at as usize];
                } else if at >= SIZE - TAIL.len() as u64 {
                    *byte = TAIL[(at + TAIL.len() as u64 - SIZE) as usize];
                }
            }
            Ok(n)
        }
    }
    let input = Endless {
        captures: BTreeMap::new(),
    };
    let collected = read(&table(plain()), &input).unwrap();
    assert_eq!(codes(&collected), BTreeMap::from([("TABLE_LONG_ROW", 1)]));
    let cells = cells(&collected, 0);
    assert_eq!(cells.rows, [[Some("ok".to_owned())]]);
    assert_eq!(cells.at[0].2, 3);
    assert_eq!(collected.rejections[0].at.length, SIZE - 5 - TAIL.len() as u64);
}

#[test]
fn empty_and_almost_empty() {
    for (bytes, code) in [
        (&b""[..], "TABLE_NO_HEADER"),
        (b"\n\n", "TABLE_NO_HEADER"),
        (b"\xff\xfe", "TABLE_NO_HEADER"),
        (b"\"id", "TABLE_UNCLOSED_QUOTE"),
        (b"id", "TABLE_MISSING_COLUMN"),
        (b"PK\x03\x04", "TABLE_XLSX_DAMAGED"),
        (b"PAR1", "TABLE_PARQUET_DAMAGED"),
        (b"PAR1\xff\xff\xff\x7fPAR1", "TABLE_PARQUET_DAMAGED"),
    ] {
        let error = read(&table(plain()), &MemoryInput::new("x", bytes))
            .err()
            .expect("an error");
        assert_eq!(error.code, code, "{bytes:?}");
        assert!(error.offset.is_some(), "{code} is located");
    }
    let named_xlsx = table(json!({ "format": "xlsx", "subject": "none", "columns": { "a": "a" } }));
    let error = read(&named_xlsx, &MemoryInput::new("x", *b"id,a\n"))
        .err()
        .expect("an error");
    assert_eq!(error.code, "TABLE_NOT_XLSX");
}

/// Rejections and errors never hold a value of a row.
#[test]
fn nothing_of_a_row_is_told() {
    let options =
        json!({ "subject": { "id": "id", "issuer": "X" }, "columns": { "a": { "name": "a", "type": "integer" } } });
    let text = b"id,a\nSECRET,SECRET\nSECRET\nSECRET,\"SECRET\n\xffSECRET,1\n".to_vec();
    let collected = read(&table(options), &MemoryInput::new("x", text)).unwrap();
    assert_eq!(collected.rejections.len(), 4);
    assert!(
        collected.rejections.iter().all(|r| !r.message.contains("SECRET")),
        "{:?}",
        collected.rejections
    );
    // A table without a header: its first row is taken for one.
    let error = read(&table(plain()), &MemoryInput::new("x", *b"SECRET,SECRET1\n"))
        .err()
        .expect("an error");
    assert!(!error.to_string().contains("SECRET"), "{error}");
}

#[test]
fn a_bomb_is_not_unpacked() {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    archive.start_file("xl/workbook.xml", options).unwrap();
    archive.start_file("xl/sharedStrings.xml", options).unwrap();
    let block = vec![b' '; 1 << 20];
    for _ in 0..100 {
        archive.write_all(&block).unwrap();
    }
    let bytes = archive.finish().unwrap().into_inner();
    assert!(bytes.len() < 1 << 20);
    let error = read(&table(plain()), &MemoryInput::new("x", bytes))
        .err()
        .expect("an error");
    assert_eq!(error.code, "TABLE_XLSX_TOO_LARGE");
}
