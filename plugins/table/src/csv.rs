//! Delimited text: header, splits and rows.

use crate::{
    config::Config,
    core::{Core, RowAt},
    error,
    header::Header,
    layout::{self, Layout},
    plan::{self, RecordPlan},
    rows::Rows,
    walk::{Next, Visit, walk},
    zone::Zone,
};
use clinmill_sdk::{Input, PluginError, RecordSink, Split, TaskContext};

/// Inputs above this size are cut.
const SPLIT: u64 = 64 << 20;
/// The most splits of one input: each counts the lines before it.
const MOST_SPLITS: u64 = 8;
/// The most columns of a header.
const MOST_COLUMNS: usize = 1 << 20;
/// Bytes of fields at which rows are pushed whatever their number.
const HEAVY: usize = 16 << 20;

/// Cuts an input where a row ends.
///
/// # Errors
/// When it cannot be read.
pub fn splits(config: &Config, input: &dyn Input) -> Result<Vec<Split>, PluginError> {
    if input.size() <= SPLIT || !config.fill_down.is_empty() {
        return Ok(vec![Split::whole(input)]);
    }
    let layout = Layout::detect(input, config)?;
    let step = SPLIT.max(input.size().div_ceil(MOST_SPLITS));
    cut(input, &layout, config.header_row, step)
}

fn cut(input: &dyn Input, layout: &Layout, header_row: u32, step: u64) -> Result<Vec<Split>, PluginError> {
    let Some((_, start)) = read_header(input, layout, header_row)? else {
        return Ok(vec![Split::whole(input)]);
    };
    let mut cuts = Vec::new();
    if has_quotes(input, layout, start.offset)? {
        let mut seeker = Seeker {
            step,
            target: start.offset + step,
            cuts: &mut cuts,
        };
        walk(input, layout, start, input.size(), &mut Rows::default(), &mut seeker)?;
    } else {
        let mut target = start.offset + step;
        while target < input.size() {
            let Some(row) = row_after(input, layout, target)? else {
                break;
            };
            cuts.push(row);
            target = row + step;
        }
    }
    let mut splits = Vec::new();
    let mut from = 0;
    for end in cuts.into_iter().filter(|cut| *cut < input.size()).chain([input.size()]) {
        splits.push(Split { start: from, end });
        from = end;
    }
    Ok(splits)
}

/// Notes where rows begin that lie far enough apart.
struct Seeker<'s> {
    step: u64,
    target: u64,
    cuts: &'s mut Vec<u64>,
}

impl Visit for Seeker<'_> {
    fn row(&mut self, rows: &mut Rows, _: &str, _: RowAt, next: Next) -> Result<bool, PluginError> {
        rows.clear();
        if next.offset >= self.target {
            self.cuts.push(next.offset);
            self.target = next.offset + self.step;
        }
        Ok(true)
    }
    fn broken(&mut self, _: &mut Rows, _: RowAt, _: &'static str, _: String) -> Result<bool, PluginError> {
        Ok(true)
    }
    fn flush(&mut self, _: &mut Rows, _: &str, _: u64) -> Result<(), PluginError> {
        Ok(())
    }
}

fn has_quotes(input: &dyn Input, layout: &Layout, from: u64) -> Result<bool, PluginError> {
    let Some(quote) = layout.quote else { return Ok(false) };
    let mut offset = from;
    // One small buffer for all of a large file: it stays in the cache.
    let mut bytes = vec![0; 1 << 17];
    loop {
        let got = input.read_at(offset, &mut bytes)?;
        match bytes.get(..got).filter(|got| !got.is_empty()) {
            None => return Ok(false),
            Some(got) if memchr::memchr(quote, got).is_some() => return Ok(true),
            Some(_) => offset += got as u64,
        }
    }
}

/// Where the first row after an offset begins, in an input without quotes.
fn row_after(input: &dyn Input, layout: &Layout, offset: u64) -> Result<Option<u64>, PluginError> {
    let unit = layout.unit() as u64;
    // Code units are counted from behind the byte order mark.
    let mut offset = layout.bom + (offset - layout.bom) / unit * unit;
    loop {
        let bytes = layout::read(input, offset, 1 << 20)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if let Some(newline) = layout.find_newline(&bytes, 0) {
            return Ok(Some(offset + newline as u64 + unit));
        }
        offset += bytes.len() as u64;
    }
}

/// Reads one split.
///
/// # Errors
/// When the input as a whole cannot be read.
pub fn read(
    config: &Config,
    plans: &[RecordPlan],
    zone: &Zone,
    input: &dyn Input,
    split: &Split,
    task: &TaskContext<'_>,
    out: &mut dyn RecordSink,
) -> Result<(), PluginError> {
    let layout = Layout::detect(input, config)?;
    let Some((header, data)) = read_header(input, &layout, config.header_row)? else {
        return Err(plan::no_header(input.size()));
    };
    let header = Header {
        names: &header,
        offset: layout.bom,
    };
    let resolved = plan::resolve(config, plans, header, input.captures())?;
    let core = Core::new(resolved, zone, task.batch_rows, false);
    let start = if split.start > data.offset {
        Next {
            offset: split.start,
            line: data.line + count_lines(input, &layout, data.offset, split.start)?,
        }
    } else {
        out.progress(data.offset.min(split.end));
        data
    };
    let mut rows = Rows::new(core.width(), 0);
    let mut reader = Reader { core, task, out };
    if start.offset >= split.end {
        return Ok(());
    }
    walk(input, &layout, start, split.end, &mut rows, &mut reader)
}

/// Pushes rows as they come.
struct Reader<'r, 'p> {
    core: Core<'p>,
    task: &'r TaskContext<'r>,
    out: &'r mut dyn RecordSink,
}

impl Visit for Reader<'_, '_> {
    #[inline]
    fn row(&mut self, rows: &mut Rows, text: &str, at: RowAt, _: Next) -> Result<bool, PluginError> {
        let fields = rows.open_fields();
        if fields != rows.width() {
            rows.drop_row();
            let message = format!("the row has {fields} fields, the header has {}", rows.width());
            return self.broken(rows, at, error::RAGGED_ROW, message);
        }
        if self.core.drop_header(text, rows) {
            return Ok(true);
        }
        rows.end_row(at);
        if rows.len() >= self.task.batch_rows.max(1) || rows.weight() > HEAVY {
            self.task.check()?;
            self.core.push(text, rows, self.out)?;
        }
        Ok(true)
    }

    fn broken(&mut self, rows: &mut Rows, at: RowAt, code: &'static str, message: String) -> Result<bool, PluginError> {
        self.core.reject(rows, at, code, message);
        Ok(true)
    }

    fn flush(&mut self, rows: &mut Rows, text: &str, bytes: u64) -> Result<(), PluginError> {
        self.task.check()?;
        self.out.progress(bytes);
        self.core.push(text, rows, self.out)
    }
}

fn count_lines(input: &dyn Input, layout: &Layout, from: u64, to: u64) -> Result<u64, PluginError> {
    let mut offset = from;
    let mut lines = 0;
    while offset < to {
        let most = usize::try_from(to - offset).unwrap_or(usize::MAX).min(1 << 20);
        let bytes = layout::read(input, offset, most)?;
        if bytes.is_empty() {
            break;
        }
        lines += layout.count_newlines(&bytes);
        offset += bytes.len() as u64;
    }
    Ok(lines)
}

/// The names of the columns and where the rows begin; `None` where the input ends before.
fn read_header(input: &dyn Input, layout: &Layout, row: u32) -> Result<Option<(Vec<String>, Next)>, PluginError> {
    let mut seen = HeaderReader {
        layout,
        row: u64::from(row),
        found: None,
    };
    let from = Next {
        offset: layout.bom,
        line: 1,
    };
    walk(input, layout, from, input.size(), &mut Rows::default(), &mut seen)?;
    Ok(seen.found)
}

struct HeaderReader<'h> {
    layout: &'h Layout,
    row: u64,
    found: Option<(Vec<String>, Next)>,
}

impl Visit for HeaderReader<'_> {
    fn row(&mut self, rows: &mut Rows, text: &str, at: RowAt, next: Next) -> Result<bool, PluginError> {
        if at.row < self.row {
            rows.clear();
            return Ok(true);
        }
        if rows.open_fields() > MOST_COLUMNS {
            return Err(error::limit(
                at.offset,
                "TABLE_TOO_WIDE",
                format!("the header has more than {MOST_COLUMNS} columns"),
            ));
        }
        let names = rows.open(text).map(|name| name.trim().to_owned()).collect();
        self.found = Some((names, next));
        Ok(false)
    }

    fn broken(&mut self, rows: &mut Rows, at: RowAt, code: &'static str, _: String) -> Result<bool, PluginError> {
        rows.clear();
        if at.row < self.row {
            return Ok(true);
        }
        Err(match code {
            error::ENCODING => {
                let message = format!("the header is not {}", self.layout.encoding.name());
                PluginError::data(at.offset, error::HEADER_ENCODING, message)
            }
            _ => PluginError::data(at.offset, code, "the header row cannot be read"),
        })
    }

    fn flush(&mut self, _: &mut Rows, _: &str, _: u64) -> Result<(), PluginError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinmill_sdk::{MemoryInput, testing::CollectedRecords};
    use std::sync::atomic::AtomicBool;

    fn config(more: serde_json::Value) -> Config {
        let mut options = serde_json::json!({ "subject": { "id": "id", "issuer": "X" }, "columns": { "a": "a" } });
        if let (Some(options), Some(more)) = (options.as_object_mut(), more.as_object()) {
            options.extend(more.clone());
        }
        serde_json::from_value(options).expect("options")
    }

    type Places = Vec<(u64, u64, u64)>;

    /// Where the rows and the rejections stand.
    fn places(config: &Config, input: &MemoryInput, splits: &[Split]) -> (Places, Places, u64) {
        let (plans, _) = plan::plan(config).expect("a plan");
        let mut collected = CollectedRecords::default();
        let cancelled = AtomicBool::new(false);
        let task = TaskContext {
            cancelled: &cancelled,
            batch_rows: 7,
        };
        for split in splits {
            read(config, &plans, &Zone::default(), input, split, &task, &mut collected).expect("a readable input");
        }
        let rows = collected.batches.iter().flat_map(|b| {
            let meta = &b.meta;
            (0..b.rows.num_rows()).map(|i| (meta.offset.value(i), meta.length.value(i), meta.row.value(i)))
        });
        let rejected = collected
            .rejections
            .iter()
            .map(|r| (r.at.offset, r.at.length, r.at.row));
        (rows.collect(), rejected.collect(), collected.bytes)
    }

    #[test]
    fn splits_give_the_same_rows() {
        let mut plain = String::from("id,a\r\n");
        let mut quoted = String::from("id,a\n");
        for i in 0..500 {
            plain.push_str(&format!("P{i},乕{i}\r\n"));
            quoted.push_str(&match i % 7 {
                0 => format!("P{i},\"two\nlines {i}\"\n"),
                1 => format!("P{i},\"open {i}\n"),
                2 => format!("P{i},x,ragged\n\n"),
                3 => format!("P{i},5\" {i}\n"),
                _ => format!("P{i},\"\"\"{i}\"\"\"\n"),
            });
        }
        for (text, encoding) in [
            (&plain, "utf-8"),
            (&plain, "gb18030"),
            (&plain, "utf-16"),
            (&quoted, "utf-8"),
            (&quoted, "utf-16"),
        ] {
            let config = config(serde_json::json!({ "encoding": encoding, "max_field": 1024 }));
            let bytes = match encoding {
                "utf-16" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                _ => config.encoding.encoding_rs().encode(text).0.into_owned(),
            };
            let input = MemoryInput::new("x", bytes);
            let layout = Layout::detect(&input, &config).expect("a layout");
            let whole = places(&config, &input, &[Split::whole(&input)]);
            assert!(whole.0.len() > 200, "{encoding}");
            for step in [61, 1000, 5000] {
                let splits = cut(&input, &layout, 1, step).expect("splits");
                assert!(step == 5000 || splits.len() > 2);
                assert_eq!(places(&config, &input, &splits), whole, "{encoding} {step}");
            }
        }
    }
}
