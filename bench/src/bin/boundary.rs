//! What the C boundary costs: the same transform called directly, through its own C table, and through the table on a
//! thread of its own, for a one-row batch and for batches of 65,536 rows. One run, taken in turns, as JSON.
//!
//! The figures are differences to the direct call of the same turn: their median, and the interval that holds the true
//! median with 95 % (by order statistics). `control` is a second direct call in each turn: what it shows is noise.

use clinmill_host::{Limits, Loaded};
use clinmill_sdk::{
    BindContext, BoundTransform, Emit, Origin, PluginError, Registry, RejectedRow, TaskContext,
    arrow::{
        array::{RecordBatch, StringArray},
        datatypes::{DataType, Field, Schema},
    },
};
use serde_json::{Value, json};
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

/// The four that take turns.
const WHO: [&str; 4] = ["direct", "control", "table", "own_thread"];

/// Nanoseconds of a call, by turn, of each of the four.
fn turns(
    bound: &[Arc<dyn BoundTransform>],
    batch: &RecordBatch,
    calls: u32,
    turns: usize,
) -> Result<[Vec<f64>; 4], Box<dyn Error>> {
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 65_536,
    };
    let mut runs = bound.iter().map(|b| b.open(&task)).collect::<Result<Vec<_>, _>>()?;
    let mut took: [Vec<f64>; 4] = Default::default();
    let mut sink = Sink::default();
    // The first turns warm up.
    for turn in 0..turns + turns / 10 {
        for step in 0..runs.len() {
            // Each stands at every place of a turn, before and behind each other one.
            let who = match turn / 4 % 2 {
                0 => (turn + step) % 4,
                _ => (turn + 4 - step) % 4,
            };
            let began = Instant::now();
            for _ in 0..calls {
                runs[who].process(batch, &mut sink)?;
            }
            let took_now = began.elapsed().as_secs_f64() * 1e9 / f64::from(calls);
            if turn >= turns / 10 {
                took[who].push(took_now);
            }
        }
    }
    black_box(sink.0);
    Ok(took)
}

/// The value below which this share of the values lies.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * share.clamp(0.0, 1.0)).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

/// How the turns of one compare with the direct ones.
fn figures(direct: &[f64], other: &[f64]) -> Value {
    let more: Vec<f64> = direct.iter().zip(other).map(|(d, o)| o - d).collect();
    // The order statistics between which the median lies: n/2 -+ 0.98 sqrt(n).
    let beside = 0.98 / (more.len() as f64).sqrt();
    let percent = |ns: f64| (ns / quantile(direct, 0.5) * 1e4).round() / 1e2;
    let [median, low, high] = [0.5, 0.5 - beside, 0.5 + beside].map(|share| quantile(&more, share));
    json!({
        "median_ns": quantile(other, 0.5).round(), "fastest_ns": quantile(other, 0.0).round(),
        "quarter_ns": quantile(other, 0.25).round(), "three_quarters_ns": quantile(other, 0.75).round(),
        "more_ns": [median.round(), low.round(), high.round()],
        "more_percent": [percent(median), percent(low), percent(high)],
        "fastest_more_percent": percent(quantile(other, 0.0) - quantile(direct, 0.0)),
    })
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
    for (name, rows, calls, rounds) in [("one_row", 1, 2_000, 400), ("rows_65536", 65_536, 1, 2_000)] {
        let batch = batch(rows)?;
        let mut bound = Vec::new();
        for registry in [&direct, &direct, &table, &guarded] {
            let plugin = registry.get_transform("datetime").ok_or("datetime is missing")?;
            bound.push(plugin.bind(&options, &batch.schema(), &BindContext::default())?);
        }
        let took = turns(&bound, &batch, calls, rounds)?;
        let each = WHO
            .iter()
            .zip(&took)
            .map(|(who, other)| ((*who).to_owned(), figures(&took[0], other)));
        out.insert(name.to_owned(), Value::Object(each.collect()));
    }
    println!("{:#}", Value::Object(out));
    Ok(())
}
