//! Runs: events of one subject and one input that came one after another. What a hospital sends about a patient comes
//! together, so that runs are sorted, cut by range and copied for less than single events would be.

use super::staged::{Staged, Stamp};
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use std::{ops::Range, sync::Arc};

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The part that holds the events.
    pub part: u32,
    /// The first row in it.
    pub row: u32,
    /// How many.
    pub len: u32,
}

/// A run beside what it is sorted by: read from its stamp once, where they are read one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeadedRun {
    /// The first half of the subject's id, which nearly always tells subjects apart.
    pub head: u64,
    /// The input.
    pub input: u32,
    /// Where the first event stands in it.
    pub offset: u64,
    /// The run.
    pub run: Run,
}

/// Events, and which of them are meant.
pub struct Part {
    /// The events.
    pub events: Arc<Staged>,
    /// The ones that are meant.
    pub rows: Range<usize>,
}

/// The runs of all parts, each with the number of its part.
pub fn runs_of_parts<'a>(parts: impl IntoIterator<Item = (&'a Staged, Range<usize>)>) -> Vec<HeadedRun> {
    let mut out = Vec::new();
    for (part, (events, rows)) in (0..).zip(parts) {
        let mut row = rows.start as u32;
        let stamps = events.stamps.get(rows).unwrap_or_default();
        for run in stamps.chunk_by(|a, b| a.subject == b.subject && a.input == b.input) {
            let len = run.len() as u32;
            if let Some(first) = run.first() {
                out.push(HeadedRun {
                    head: first.head(),
                    input: first.input,
                    offset: first.offset,
                    run: Run { part, row, len },
                });
            }
            row += len;
        }
    }
    out
}

/// Runs of these a place, in the mean, when they are spread by their heads.
const NEAR: usize = 4;
const MOST_PLACES: usize = 1 << 16;

/// The runs in ascending order. Heads of keyed ids are spread evenly: one pass puts each near its place.
pub fn ascending(runs: Vec<HeadedRun>) -> Vec<HeadedRun> {
    let heads = || runs.iter().map(|run| run.head);
    let (Some(least), Some(most)) = (heads().min(), heads().max()) else {
        return runs;
    };
    if runs.is_sorted() {
        return runs;
    }
    let places = (runs.len() / NEAR).clamp(2, MOST_PLACES).next_power_of_two();
    let bits = u64::BITS - (most - least).leading_zeros();
    let shift = bits.saturating_sub(places.ilog2());
    let place = |head: u64| ((head - least) >> shift) as usize;
    let mut ends = vec![0; places];
    heads().for_each(|head| ends[place(head)] += 1);
    let mut sum = 0;
    for end in &mut ends {
        (*end, sum) = (sum, sum + *end);
    }
    let mut out = runs.clone();
    for run in &runs {
        let next = &mut ends[place(run.head)];
        out[*next] = *run;
        *next += 1;
    }
    let mut start = 0;
    for end in ends {
        out[start..end].sort_unstable();
        start = end;
    }
    out
}

impl Run {
    /// Its rows in its part.
    pub fn rows(&self) -> Range<usize> {
        self.row as usize..(self.row + self.len) as usize
    }

    /// The stamp of its first event.
    pub fn first<'a>(&self, parts: &[&'a Staged]) -> &'a Stamp {
        &parts[self.part as usize].stamps[self.row as usize]
    }
}

/// Rows copied at a time: a row group's.
const CHUNK_ROWS: usize = 65_536;
/// Bytes copied at a time: no column of a batch can have 2^31 of them.
const CHUNK_BYTES: usize = 256 << 20;

/// The runs in pieces that are copied at a time; long runs are cut.
pub fn chunks(parts: &[&RecordBatch], runs: &[Run]) -> Vec<Vec<Run>> {
    let all: usize = parts.iter().map(|part| text_bytes(part, 0..part.num_rows())).sum();
    // Nearly always all parts together are small enough, and single events need not be measured.
    let measure = all > CHUNK_BYTES;
    let mut out: Vec<Vec<Run>> = Vec::new();
    let (mut rows, mut bytes) = (CHUNK_ROWS, 0);
    for run in runs {
        let mut rest = *run;
        while rest.len > 0 {
            if rows >= CHUNK_ROWS || bytes >= CHUNK_BYTES {
                out.push(Vec::new());
                (rows, bytes) = (0, 0);
            }
            let len = match measure {
                true => 1,
                false => rest.len.min((CHUNK_ROWS - rows) as u32),
            };
            if measure {
                let row = rest.row as usize;
                bytes += text_bytes(parts[rest.part as usize], row..row + 1);
            }
            rows += len as usize;
            if let Some(chunk) = out.last_mut() {
                match chunk.last_mut() {
                    Some(last) if last.part == rest.part && last.row + last.len == rest.row => last.len += len,
                    _ => chunk.push(Run { len, ..rest }),
                }
            }
            rest.row += len;
            rest.len -= len;
        }
    }
    out
}

fn text_bytes(part: &RecordBatch, rows: Range<usize>) -> usize {
    let of = |column: &ArrayRef| {
        let texts = column.as_string_opt();
        texts.map_or(16 * rows.len(), |texts| span(texts, rows.clone()))
    };
    part.columns().iter().map(of).sum()
}

/// Bytes of these texts.
pub fn span(texts: &StringArray, rows: Range<usize>) -> usize {
    let end = |row: usize| texts.value_offsets().get(row).copied().unwrap_or(0);
    (end(rows.end) - end(rows.start)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_are_sorted_whatever_their_heads_are(heads in prop::collection::vec(any::<u64>(), 0..200), mask in 0u32..64) {
            let run = |(part, head): (u32, u64)| HeadedRun {
                head: head >> mask << (mask / 2),
                input: part % 2,
                offset: u64::from(part % 3),
                run: Run { part, row: part % 7, len: 1 },
            };
            let runs: Vec<HeadedRun> = (0..).zip(heads).map(run).collect();
            let mut expected = runs.clone();
            expected.sort_unstable();
            prop_assert_eq!(ascending(runs), expected);
        }
    }
}
