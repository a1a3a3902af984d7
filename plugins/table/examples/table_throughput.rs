//! Measures bytes to Arrow on one core: `cargo run --release -p clinmill-plugin-table --example table_throughput [MIB]`.
#![allow(
    clippy::expect_used,
    reason = "a measurement that cannot run has nothing else to say"
)]

use clinmill_plugin_table::{Config, Table};
use clinmill_sdk::{
    BindContext, IdentityLink, Input, MemoryInput, PluginError, RecordBatchOf, RecordSink, Rejection, Source, Split,
    TaskContext, decode::Encoding,
};
use serde_json::json;
use std::{io::Write, sync::atomic::AtomicBool, time::Instant};

/// Counts and forgets.
#[derive(Default)]
struct Count {
    rows: usize,
    rejected: usize,
    first: Option<String>,
}

impl RecordSink for Count {
    fn rows(&mut self, batch: RecordBatchOf) -> Result<(), PluginError> {
        self.rows += batch.rows.num_rows();
        Ok(())
    }
    fn reject(&mut self, rejection: Rejection) -> Result<(), PluginError> {
        self.rejected += 1;
        self.first.get_or_insert(rejection.message);
        Ok(())
    }
    fn filtered(&mut self, _: &str, _: u64) {}
    fn link(&mut self, _: IdentityLink) -> Result<(), PluginError> {
        Ok(())
    }
    fn progress(&mut self, _: u64) {}
}

/// Time of this thread on its core, where the system tells it; else time on the wall.
struct Clock(Option<u64>, Instant);

impl Clock {
    fn start() -> Self {
        Self(Self::on_core(), Instant::now())
    }
    fn seconds(&self) -> f64 {
        match (self.0, Self::on_core()) {
            (Some(from), Some(to)) => (to - from) as f64 / 1e9,
            _ => self.1.elapsed().as_secs_f64(),
        }
    }
    fn on_core() -> Option<u64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split(' ').next()?.parse().ok()
    }
}

const ENGLISH: [&str; 13] = [
    "patient_id",
    "visit_id",
    "order_id",
    "test_code",
    "test_name",
    "value",
    "unit",
    "low",
    "high",
    "flag",
    "ordered_at",
    "resulted_at",
    "department",
];
const CHINESE: [&str; 13] = [
    "病案号",
    "就诊号",
    "医嘱号",
    "项目代码",
    "项目名称",
    "结果",
    "单位",
    "参考下限",
    "参考上限",
    "标志",
    "申请时间",
    "报告时间",
    "科室",
];

fn options(header: &[&str; 13], strings: bool) -> serde_json::Value {
    let mut columns = serde_json::Map::new();
    for (i, name) in header.iter().enumerate() {
        let kind = match i {
            1 | 2 => "integer",
            5 | 7 | 8 => "number",
            10 | 11 => "timestamp",
            _ => "string",
        };
        let kind = if strings { "string" } else { kind };
        columns.insert((*name).to_owned(), json!({ "name": ENGLISH[i], "type": kind }));
    }
    json!({ "subject": { "id": header[0], "issuer": "MRN" }, "key": [header[2], header[3]], "columns": columns })
}

fn csv(header: &[&str; 13], chinese: bool, bytes: usize) -> String {
    let tests = [
        ("GLU", "Glucose in serum", "葡萄糖", "mmol/L"),
        ("NA", "Sodium", "钠", "mmol/L"),
        ("WBC", "White blood cells", "白细胞计数", "10^9/L"),
    ];
    let departments = if chinese {
        ["神经内科", "心血管外科"]
    } else {
        ["Department of neurology", "Cardiovascular surgery"]
    };
    let mut text = header.join(",") + "\n";
    let mut seed = 1u64;
    while text.len() < bytes {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let r = seed >> 20;
        let (code, english, zh, unit) = tests[(r % 3) as usize];
        text.push_str(&format!(
            "P{:08},{},{},{code},{},{}.{},{unit},{}.5,{}.5,{},2026-0{}-1{}T08:{:02}:00,2026-0{}-1{}T1{}:{:02}:30,{}\n",
            r % 1_000_000,
            10_000_000 + r % 89_999_999,
            1_000_000_000 + r % 8_999_999_999,
            if chinese { zh } else { english },
            r % 200,
            r % 100,
            r % 7,
            10 + r % 9,
            ["N", "H", "L"][(r % 3) as usize],
            1 + r % 9,
            r % 10,
            r % 60,
            1 + r % 9,
            r % 10,
            r % 10,
            (r / 7) % 60,
            departments[(r % 2) as usize]
        ));
    }
    text
}

fn measure(name: &str, options: serde_json::Value, input: &MemoryInput) {
    let config: Config = serde_json::from_value(options).expect("options");
    let source = Table::bind(config, &BindContext::default()).expect("a source");
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 16_384,
    };
    let mut best = f64::MAX;
    let mut count = Count::default();
    for _ in 0..5 {
        count = Count::default();
        let start = Clock::start();
        source
            .read(input, &Split::whole(input), &task, &mut count)
            .expect("a readable input");
        best = best.min(start.seconds());
    }
    let (bytes, rows) = (input.size() as f64, count.rows as f64);
    println!(
        "{name:24} {:7.1} MB {:9} rows {:3.0} B/row {:7.1} MB/s {:9.0} rows/s, {} rejected {}",
        bytes / 1e6,
        count.rows,
        bytes / rows,
        bytes / best / 1e6,
        rows / best,
        count.rejected,
        count.first.unwrap_or_default()
    );
}

fn xlsx(rows: usize) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_level(Some(6));
    let mut part = |name: &str, text: &str| {
        archive.start_file(name, options).expect("an entry");
        archive.write_all(text.as_bytes()).expect("a written entry");
    };
    part(
        "[Content_Types].xml",
        r#"<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>"#,
    );
    part(
        "_rels/.rels",
        r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#,
    );
    part(
        "xl/workbook.xml",
        r#"<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>"#,
    );
    part(
        "xl/_rels/workbook.xml.rels",
        r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" Target="sharedStrings.xml"/><Relationship Id="rId3" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>"#,
    );
    part(
        "xl/styles.xml",
        r#"<?xml version="1.0"?><styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs></styleSheet>"#,
    );
    let mut strings =
        String::from(r#"<?xml version="1.0"?><sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">"#);
    for word in CHINESE.iter().chain(&["GLU", "葡萄糖", "mmol/L", "N", "神经内科"]) {
        strings.push_str(&format!("<si><t>{word}</t></si>"));
    }
    for i in 0..1000 {
        strings.push_str(&format!("<si><t>P{i:08}</t></si>"));
    }
    part("xl/sharedStrings.xml", &(strings + "</sst>"));
    let mut sheet = String::from(
        r#"<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1">"#,
    );
    for i in 0..13 {
        sheet.push_str(&format!(
            r#"<c r="{}1" t="s"><v>{i}</v></c>"#,
            char::from(b'A' + i as u8)
        ));
    }
    sheet.push_str("</row>");
    for row in 2..rows + 2 {
        sheet.push_str(&format!(r#"<row r="{row}">"#));
        let cell =
            |column: char, style: &str, value: String| format!(r#"<c r="{column}{row}"{style}><v>{value}</v></c>"#);
        for (column, shared) in [
            ('A', 18 + row % 1000),
            ('D', 13),
            ('E', 14),
            ('G', 15),
            ('J', 16),
            ('M', 17),
        ] {
            sheet.push_str(&cell(column, r#" t="s""#, shared.to_string()));
        }
        for (column, value) in [
            ('B', row.to_string()),
            ('C', (row * 7).to_string()),
            ('F', format!("{}.{}", row % 200, row % 10)),
            ('H', "3.5".into()),
            ('I', "10.5".into()),
        ] {
            sheet.push_str(&cell(column, "", value));
        }
        for (column, value) in [
            ('K', 43_861.5 + row as f64 / 1440.0),
            ('L', 43_862.25 + row as f64 / 1440.0),
        ] {
            sheet.push_str(&cell(column, r#" s="1""#, value.to_string()));
        }
        sheet.push_str("</row>");
    }
    part("xl/worksheets/sheet1.xml", &(sheet + "</sheetData></worksheet>"));
    archive.finish().expect("an archive").into_inner()
}

fn main() {
    let mib: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(256);
    let english = csv(&ENGLISH, false, mib << 20);
    measure(
        "typed CSV, UTF-8",
        options(&ENGLISH, false),
        &MemoryInput::new("a.csv", english.clone()),
    );
    measure(
        "string CSV, UTF-8",
        options(&ENGLISH, true),
        &MemoryInput::new("a.csv", english),
    );
    let chinese = csv(&CHINESE, true, mib << 20);
    let gbk = Encoding::Gb18030.encoding_rs().encode(&chinese).0.into_owned();
    measure(
        "typed CSV, GB18030",
        options(&CHINESE, false),
        &MemoryInput::new("a.csv", gbk),
    );
    measure(
        "typed CSV, Chinese UTF-8",
        options(&CHINESE, false),
        &MemoryInput::new("a.csv", chinese),
    );
    measure(
        "typed XLSX",
        options(&CHINESE, false),
        &MemoryInput::new("a.xlsx", xlsx(200_000)),
    );
}
