//! Units that the `units` steps of a pipeline cannot read or convert, named and counted: what to add to a table of
//! spellings.

use super::{COUNTED, Line, place, texts};
use crate::{commands::preview::Told, context::Context, failure::Failure};
use clinmill_engine::{bound::Bound, inspect};
use clinmill_plugin_units::{Units, UnitsConfig};
use clinmill_sdk::Transform;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// States of a row whose unit leads to no result.
const OPEN: [&str; 3] = ["unknown-unit", "mismatch", "bad-target"];

/// The units that one step met.
#[derive(Serialize)]
pub struct Met {
    place: String,
    column: String,
    map: String,
    /// Rows with a value and a unit.
    rows: u64,
    rows_read: u64,
    /// Distinct units.
    units: u64,
    units_read: u64,
    /// Rows that the step rejected for their unit: they are not among the others.
    rejected: u64,
    is_cut: bool,
    /// The most frequent first.
    open: Vec<Open>,
}

/// A unit that leads to no result.
#[derive(Serialize)]
struct Open {
    unit: String,
    state: &'static str,
    rows: u64,
}

impl Met {
    /// Beside the columns that are looked up.
    pub fn line(&self) -> Line<'_> {
        let open = self.open.iter();
        Line {
            place: &self.place,
            column: &self.column,
            map: &self.map,
            rows: (self.rows_read, self.rows),
            values: (self.units_read, self.units),
            open: open
                .map(|unit| (unit.rows, "", unit.unit.as_str(), unit.state))
                .collect(),
        }
    }

    /// What to know of rows that were not counted.
    pub fn note(&self) -> Option<String> {
        (self.rejected > 0).then(|| {
            format!(
                "{}: {} rows were rejected for their unit, which `on_error: null` would keep and name here",
                self.place, self.rejected
            )
        })
    }
}

/// Every `units` step of a pipeline, over the records of its inbox, worst first.
pub async fn met(context: &Context, bound: &Bound, told: &mut Told) -> Result<Vec<Met>, Failure> {
    let mut all = Vec::new();
    for transform in &bound.pipeline.transforms {
        let of = |name: &'static str| transform.steps.iter().filter(move |step| step.plugin.value == name);
        if of(Units::NAME).next().is_none() {
            continue;
        }
        let preview = inspect::preview(bound, &transform.name.value, COUNTED, None).await?;
        told.tell(context, &preview, COUNTED.records);
        let step = format!("{}/{}", transform.name.value, Units::NAME);
        let codes = preview.rejected.iter().filter(|(of, _)| of.starts_with(&step));
        let mut rejected: u64 = codes.map(|(_, n)| n).sum();
        for step in of(Units::NAME) {
            let Ok(config) = UnitsConfig::deserialize(&step.options.value) else {
                continue;
            };
            let column = |name: &str| texts(&preview.rows, name);
            let written = config.unit_in_value.as_deref().map_or(Ok(None), column)?;
            let status = format!("{}_status", config.prefix);
            let (Some(states), Some(units)) = (column(&status)?, column(&config.unit)?) else {
                let gone = format!(
                    "{}: the column {status:?} or {:?} is gone at the end of its steps: its units are not counted",
                    transform.name.value, config.unit
                );
                context.console.warn(None, &gone);
                continue;
            };
            let mut met = Met {
                place: place(bound, transform),
                column: config.unit,
                map: config.map.unwrap_or_else(|| "UCUM".to_owned()),
                rows: 0,
                rows_read: 0,
                units: 0,
                units_read: 0,
                rejected: std::mem::take(&mut rejected),
                is_cut: preview.is_cut,
                open: Vec::new(),
            };
            let (mut read, mut open) = (HashSet::new(), BTreeMap::<(&str, &str), u64>::new());
            for (row, state) in states.iter().enumerate() {
                let in_value = written.as_ref().map_or("", |texts| cell(texts, row));
                let unit = if in_value.is_empty() {
                    cell(&units, row)
                } else {
                    in_value
                };
                if state.is_empty() || unit.is_empty() {
                    continue;
                }
                met.rows += 1;
                match OPEN.into_iter().find(|open| open == state) {
                    Some(state) => *open.entry((unit, state)).or_default() += 1,
                    None => {
                        met.rows_read += 1;
                        read.insert(unit);
                    }
                }
            }
            let known: HashSet<&str> = open.keys().map(|(unit, _)| *unit).chain(read.iter().copied()).collect();
            (met.units, met.units_read) = (known.len() as u64, read.len() as u64);
            met.open = open
                .into_iter()
                .map(|((unit, state), rows)| Open {
                    unit: unit.to_owned(),
                    state,
                    rows,
                })
                .collect();
            met.open.sort_by_key(|open| std::cmp::Reverse(open.rows));
            all.push(met);
        }
    }
    all.sort_by(|a: &Met, b| a.line().share().total_cmp(&b.line().share()));
    Ok(all)
}

fn cell(texts: &[String], row: usize) -> &str {
    texts.get(row).map_or("", |text| text.trim())
}
