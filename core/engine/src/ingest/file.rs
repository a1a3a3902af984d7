//! Writing one event file: what its columns say once, in what form they say the rest, and the events themselves.

use super::{
    dictionary::{Texts, Written, is_of_digits, without_full},
    gather::gather,
    runs::{Part, Run, chunks},
    settle::SettleTask,
    staged::{Stamp, widen},
};
use crate::error::EngineError;
use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    datatypes::{FieldRef, Schema},
    error::ArrowError,
};
use clinmill_catalog::{
    events::{self, EventFile},
    shards::{Constants, Packed, PackedColumns, ShardPlace, ShardWriter},
};
use serde_json::Value;
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// The events of a task that go into its file.
pub struct ToWrite<'a> {
    /// Where they are in the parts of the task.
    pub runs: &'a [Run],
    /// One for each.
    pub stamps: &'a [Stamp],
    /// One for each.
    pub ordinals: &'a [u32],
    /// How many they are, by number of input.
    pub written: &'a BTreeMap<u32, u64>,
    /// True where they are all events of the task.
    pub are_all: bool,
}

impl ToWrite<'_> {
    /// Writes them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, task: &SettleTask<'_>) -> Result<EventFile, EngineError> {
        let whole = events::schema(&task.kind.schema);
        let held = task.dictionaries.texts(task.of);
        let of_range = |part: &Part| part.events.texts.slice(part.rows.start, part.rows.len());
        let texts = task.events.iter().map(|part| without_full(&of_range(part), &held));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<&RecordBatch> = texts.iter().collect();
        let in_range = |run: &Run| Run {
            row: run.row - task.events[run.part as usize].rows.start as u32,
            ..*run
        };
        let runs: Vec<Run> = self.runs.iter().map(in_range).collect();
        // Nearly always all are new, and are looked at in the order in which they lie.
        let rows: Vec<(usize, Range<usize>)> = match self.are_all {
            true => texts.iter().map(|part| 0..part.num_rows()).enumerate().collect(),
            false => runs.iter().map(|run| (run.part as usize, run.rows())).collect(),
        };
        let form = Written::of(&texts, &rows, &held);
        let packed = self.packed(&texts, &held);
        let constants = self.constants(task, &texts, &rows, &form);
        let varying = whole.fields().iter().filter(|f| !constants.contains_key(f.name()));
        let schema = Arc::new(Schema::new(varying.map(|f| form.field(f)).collect::<Vec<_>>()));
        let name = format!("settle-{:03x}-{}-{}.parquet", task.bounds.0, task.of.0, task.of.1);
        let texts = texts
            .into_iter()
            .map(|part| without(part, &constants))
            .collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<&RecordBatch> = texts.iter().collect();
        let mut writer = ShardWriter::create(task.staging, &name, schema.clone(), constants)
            .with_dictionaries(form.dictionaries.clone())
            .with_packed(packed);
        let mut rest = (self.stamps, self.ordinals);
        for runs in chunks(&texts, &runs) {
            let texts = form.batch(&gather(&texts, &runs)?)?;
            let (own, others) = rest.0.split_at(texts.num_rows());
            let (own_ordinals, other_ordinals) = rest.1.split_at(texts.num_rows());
            rest = (others, other_ordinals);
            writer.write(&widen(own, &texts, &schema, own_ordinals, task.times)?)?;
        }
        let (lo, hi) = task.bounds;
        let place = ShardPlace {
            folder: format!("events/{}", task.source),
            lo,
            hi,
        };
        Ok(EventFile {
            source: task.source.to_owned(),
            kind: task.kind.name.clone(),
            parse_id: task.parse_id,
            shard: writer.finish(task.vault, &place)?,
        })
    }

    /// How columns of numbers are packed: so that all events of the task fit, also those that are not written.
    fn packed(&self, texts: &[&RecordBatch], held: &BTreeMap<usize, Texts>) -> PackedColumns {
        let mut out = PackedColumns::new();
        let mut insert = |name: &str, form: Option<Packed>| out.extend(form.map(|form| (name.to_owned(), form)));
        let ends = |of: fn(&Stamp) -> u64| {
            let all = self.stamps.iter().map(of);
            Packed::between(all.clone().min()?, all.max()?)
        };
        insert(events::OFFSET, ends(|stamp| stamp.offset));
        insert(events::LENGTH, ends(|stamp| stamp.length));
        insert(events::ROW, ends(|stamp| stamp.row));
        let schema = texts.first().map(|part| part.schema());
        for (i, field) in schema.iter().flat_map(|schema| schema.fields()).enumerate() {
            let columns: Vec<ArrayRef> = texts.iter().map(|part| part.column(i).clone()).collect();
            let form = held.get(&i).and_then(Texts::form).filter(|_| is_of_digits(field));
            insert(
                field.name(),
                form.map_or_else(|| Packed::of(&columns), |form| Packed::texts(&columns, form)),
            );
        }
        out
    }

    /// The columns that say the same in every event of a file.
    fn constants(
        &self,
        task: &SettleTask<'_>,
        texts: &[&RecordBatch],
        rows: &[(usize, Range<usize>)],
        form: &Written,
    ) -> Constants {
        let said = form.constants.iter();
        let mut constants: Constants = said.map(|(name, text)| (name.clone(), text.as_str().into())).collect();
        if let Some(first) = self.stamps.first() {
            let (mut part, mut void, mut cell) = (true, true, first.cell == 0);
            for stamp in self.stamps {
                part &= stamp.part == first.part;
                void &= stamp.void == first.void;
                cell &= stamp.cell == 0;
            }
            let mut insert = |is_same, name: &str, value| {
                if is_same {
                    constants.insert(name.to_owned(), value);
                }
            };
            insert(part, events::PART, first.part.into());
            insert(void, events::VOID, first.void.into());
            insert(cell, events::CELL, Value::Null);
        }
        let time_of = |input: &u32| task.times.get(input).and_then(Option::as_deref);
        if let Some(input) = self.written.keys().next() {
            if self.written.len() == 1 {
                constants.insert(events::INPUT.to_owned(), (*input).into());
            }
            if self.written.keys().all(|other| time_of(other) == time_of(input)) {
                constants.insert(events::AS_OF.to_owned(), time_of(input).into());
            }
        }
        if self.ordinals.iter().all(|o| *o == 0) {
            constants.insert(events::ORDINAL.to_owned(), 0.into());
        }
        let schema = texts.first().map(|part| part.schema());
        for (i, field) in schema.iter().flat_map(|schema| schema.fields()).enumerate() {
            let says_nothing = |(part, rows): &(usize, Range<usize>)| {
                let column = texts[*part].column(i);
                column.is_empty() || column.slice(rows.start, rows.len()).null_count() == rows.len()
            };
            if rows.iter().all(says_nothing) {
                constants.insert(field.name().clone(), Value::Null);
            }
        }
        constants
    }
}

/// The columns that are not said once for the whole file.
fn without(texts: &RecordBatch, constants: &Constants) -> Result<RecordBatch, ArrowError> {
    let varies = |(i, field): (usize, &FieldRef)| (!constants.contains_key(field.name())).then_some(i);
    let varying: Vec<usize> = texts
        .schema_ref()
        .fields()
        .iter()
        .enumerate()
        .filter_map(varies)
        .collect();
    texts.project(&varying)
}
