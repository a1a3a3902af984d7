//! Prints how many megabytes of ORU messages become Arrow columns in a second, on one core.
//!
//! `cargo run --release -p clinmill-plugin-hl7v2 --example throughput [MEGABYTES] [gbk]`

use clinmill_plugin_hl7v2::Hl7v2;
use clinmill_sdk::{
    BindContext, IdentityLink, MemoryInput, PluginError, RecordBatchOf, RecordSink, Registry, Rejection, TaskContext,
};
use std::{error::Error, fmt::Write, sync::atomic::AtomicBool, time::Instant};

#[derive(Default)]
struct Count {
    rows: usize,
    rejected: usize,
}

impl RecordSink for Count {
    fn rows(&mut self, batch: RecordBatchOf) -> Result<(), PluginError> {
        self.rows += batch.rows.num_rows();
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

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let megabytes: usize = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let gbk = arguments.next().is_some_and(|text| text == "gbk");
    let options = serde_json::json!({
        "subject": { "id": "PID-3.1", "issuer": "PID-3.4" },
        "records": { "result": { "per": "OBX", "key": ["order_no", "test_code"], "fields": {
            "order_no": "OBR-3.1", "visit_no": "PV1-19.1", "test_code": "OBX-3.1", "test_name": "OBX-3.2",
            "value": "OBX-5", "unit": "OBX-6.1", "range": "OBX-7", "flag": "OBX-8", "status": "OBX-11",
            "sampled_at": "OBR-7" } } }
    });
    let mut registry = Registry::default();
    registry.source::<Hl7v2>();
    let plugin = registry.get_source("hl7v2").ok_or("the plugin is registered")?;
    let source = plugin.bind(&options, &BindContext::default())?;
    let mut text = String::with_capacity((megabytes << 20) + 4096);
    let mut number = 0;
    while text.len() < megabytes << 20 {
        number += 1;
        message(number, gbk, &mut text)?;
    }
    let bytes = if gbk {
        encoding_rs::GB18030.encode(&text).0.into_owned()
    } else {
        text.into_bytes()
    };
    println!("{number} messages, {} bytes each", bytes.len() / number);
    let input = MemoryInput::new("oru.hl7", bytes.clone());
    for _ in 0..5 {
        let mut count = Count::default();
        let (started, busy) = (Instant::now(), cpu_seconds());
        for split in source.splits(&input)? {
            let task = TaskContext {
                cancelled: &AtomicBool::new(false),
                batch_rows: 8192,
            };
            source.read(&input, &split, &task, &mut count)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        let busy = cpu_seconds()
            .zip(busy)
            .map_or(seconds, |(after, before)| after - before);
        let megabytes = bytes.len() as f64 / 1e6;
        println!(
            "{:.0} MB/s, {:.0} MB per second of CPU time, {:.2} M rows/s ({} rows, {} rejected)",
            megabytes / seconds,
            megabytes / busy,
            count.rows as f64 / seconds / 1e6,
            count.rows,
            count.rejected
        );
    }
    Ok(())
}

/// CPU time of this thread, where the system tells it: what counts on a machine that others use, too.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<u64>().ok()? as f64 / 1e9)
}

/// An ORU^R01 of about 2.4 kB with 20 results.
fn message(number: usize, gbk: bool, out: &mut String) -> Result<(), std::fmt::Error> {
    let (charset, family) = if gbk {
        ("GB 18030-2000", "欧阳^志远")
    } else {
        ("", "Doe^Jane")
    };
    write!(
        out,
        "MSH|^~\\&|LIS|LAB^2.16.840.1.1^ISO|CDR|HOSP|20260105{:06}||ORU^R01^ORU_R01|{number:010}|P|2.5.1|||||CHN|{charset}\r\
         PID|1||{:08}^^^HOSP^MR||{family}^^^^^L||19600{}15|F|||1 Main St^^Springfield^IL^62701^USA\r\
         PV1|1|I|W3^12^2^HOSP||||1234^Smith^John^^^Dr|||MED||||||||VN{number:09}\r\
         ORC|RE|P{number}|F{number}||CM\r\
         OBR|1|P{number}|F{number:09}^LIS|24323-8^Comprehensive metabolic panel^LN|||20260105081500||||||||||||||||20260105101500||LAB|F\r",
        number % 240_000,
        number % 20_000,
        number % 9 + 1
    )?;
    for test in 1..=20 {
        let name = if gbk {
            "血清葡萄糖测定"
        } else {
            "Glucose [Mass/volume] in Serum"
        };
        write!(
            out,
            "OBX|{test}|NM|{}-{}^{name}^LN||{}.{}|mmol/L^^UCUM|3.9-6.1|N|||F|||20260105093000\r",
            2000 + test * 37,
            test % 10,
            (number * 7 + test * 13) % 400,
            test % 10
        )?;
    }
    Ok(())
}
