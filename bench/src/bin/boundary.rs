//! What the C boundary costs: the same transform called directly and through its own C table, in one run.
//! Prints nanoseconds for a one-row batch, and the ratio for batches of 65,536 rows, as JSON.

use clinmill_host::{Limits, Loaded};
use clinmill_sdk::{
    BindContext, BoundTransform, Emit, Origin, PluginError, Registry, RejectedRow, TaskContext,
    arrow::{
        array::{RecordBatch, StringArray},
        datatypes::{DataType, Field, Schema},
    },
};
use serde_json::json;
use std::{
    error::Error,
    hint::black_box,
    process::Command,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

mod table {
    //! The plugin's own table, as its library exports it.
    clinmill_sdk::export_plugin! {
        name: "datetime",
        version: "0.1.0",
        transforms: [clinmill_plugin_datetime::Datetime],
    }
}

/// Takes rows and forgets them.
#[derive(Default)]
struct Sink(u64);

impl Emit for Sink {
    fn rows(&mut self, batch: RecordBatch, _: Origin) -> Result<(), PluginError> {
        self.0 += black_box(batch).num_rows() as u64;
        Ok(())
    }
    fn reject(&mut self, _: RejectedRow) -> Result<(), PluginError> {
        Ok(())
    }
    fn count(&mut self, _: &str, _: u64) {}
}

/// Three columns as a laboratory's export has them; the second is read.
fn batch(rows: usize) -> Result<RecordBatch, Box<dyn Error>> {
    let field = |name: &str| Field::new(name, DataType::Utf8, true);
    let schema = Schema::new(vec![field("name"), field("at"), field("value")]);
    let column = |f: &dyn Fn(usize) -> String| Arc::new((0..rows).map(|n| Some(f(n))).collect::<StringArray>());
    Ok(RecordBatch::try_new(
        Arc::new(schema),
        vec![
            column(&|n| format!("白细胞计数{}", n % 50)),
            column(&|n| format!("2026-03-{:02} 08:{:02}:00", n % 28 + 1, n % 60)),
            column(&|n| format!("{}.{}", n % 20, n % 10)),
        ],
    )?)
}

fn once(bound: &dyn BoundTransform, batch: &RecordBatch, calls: u32) -> Result<Duration, Box<dyn Error>> {
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 65_536,
    };
    let mut run = bound.open(&task)?;
    let mut sink = Sink::default();
    let began = Instant::now();
    for _ in 0..calls {
        run.process(batch, &mut sink)?;
    }
    let took = began.elapsed() / calls;
    black_box(sink.0);
    Ok(took)
}

/// What keeps glibc's allocator from giving memory back to the system after each batch: whether it does depends on what
/// lies above it, costs more than the boundary, and hits either side by chance.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_TRIM_THRESHOLD_", "1000000000"),
    ("MALLOC_MMAP_THRESHOLD_", "1000000000"),
    ("MALLOC_TOP_PAD_", "16777216"),
];

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::var_os(ALLOCATOR[0].0).is_none() {
        let status = Command::new(std::env::current_exe()?).envs(ALLOCATOR).status()?;
        std::process::exit(status.code().unwrap_or(1));
    }
    let mut direct = Registry::default();
    clinmill_plugin_datetime::register(&mut direct);
    let through = |call: Option<Duration>| -> Result<Registry, Box<dyn Error>> {
        let limits = Limits {
            call,
            ..Limits::default()
        };
        let mut registry = Registry::default();
        Loaded::linked(&table::CLINMILL_PLUGIN_V1, limits)?.register(&mut registry)?;
        Ok(registry)
    };
    let (table, guarded) = (through(None)?, through(Some(Duration::from_secs(60)))?);
    let options = json!({ "column": "at", "formats": ["iso"] });
    let mut out = serde_json::Map::new();
    for (name, rows, calls, rounds) in [("one_row", 1, 20_000, 15), ("rows_65536", 65_536, 8, 60)] {
        let batch = batch(rows)?;
        let mut bound = Vec::new();
        for registry in [&direct, &table, &guarded] {
            let plugin = registry.get_transform("datetime").ok_or("datetime is missing")?;
            bound.push(plugin.bind(&options, &batch.schema(), &BindContext::default())?);
        }
        // Taken in turns, and the fastest of each counts: what the machine does besides hits all alike.
        let mut best = [Duration::MAX; 3];
        for round in 0..rounds {
            for turn in 0..3 {
                let who = (round + turn) % 3;
                best[who] = best[who].min(once(bound[who].as_ref(), &batch, calls)?);
            }
        }
        let [direct, table, guarded] = best.map(|took| took.as_secs_f64() * 1e9);
        let ratio = |other: f64| ((other / direct - 1.0) * 1e4).round() / 1e2;
        let figures = json!({
            "direct_ns": direct.round(), "table_ns": table.round(), "own_thread_ns": guarded.round(),
            "boundary_ns": (table - direct).round(), "boundary_percent": ratio(table), "own_thread_percent": ratio(guarded),
        });
        out.insert(name.to_owned(), figures);
    }
    println!("{}", serde_json::Value::Object(out));
    Ok(())
}
