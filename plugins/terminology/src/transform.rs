//! The transform: one lookup per distinct value, new columns beside the old ones.

use crate::{
    TerminologyConfig, Unmapped,
    core::{Found, Lookup},
    error,
};
use clinmill_sdk::{
    BindContext, Caps, Emit, MappingTable, Origin, PluginError, RejectedRow, TaskContext, Transform, TransformRun,
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder, UInt32Array},
        compute::{cast, take_record_batch},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
};
use std::{collections::HashMap, sync::Arc};

/// A configured `terminology` step.
pub struct Terminology {
    lookup: Lookup,
    column: usize,
    unmapped: Unmapped,
    output: SchemaRef,
}

impl Transform for Terminology {
    const NAME: &'static str = "terminology";
    const VERSION: &'static str = "0.1.0";
    const SUMMARY: &'static str = "Looks codes or names up in a mapping table; what is unmapped is kept and counted";
    const CAPS: Caps = Caps::ROW_WISE.and(Caps::REJECTS).and(Caps::DETERMINISTIC);
    type Config = TerminologyConfig;

    fn bind(config: TerminologyConfig, input: &Schema, context: &BindContext) -> Result<Self, PluginError> {
        let Some((column, field)) = input.column_with_name(&config.column) else {
            let message = format!("there is no column {:?}", config.column);
            return Err(PluginError::config("/column", error::COLUMN, message));
        };
        if !(field.data_type() == &DataType::Utf8 || field.data_type().is_integer()) {
            let message = format!("the column {:?} holds neither text nor integers", config.column);
            return Err(PluginError::config("/column", error::COLUMN, message));
        }
        let at_map = |error: PluginError| PluginError {
            pointer: Some("/map".into()),
            ..error
        };
        let resource = context.resource(&config.map).map_err(at_map)?;
        let table = MappingTable::read(&config.map, resource).map_err(at_map)?;
        let lookup = Lookup::new(&table, config.by).map_err(at_map)?;
        let prefix = config.prefix.as_deref().unwrap_or(&config.column);
        let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
        let units = lookup.has_units().then_some("unit");
        for suffix in ["code", "system", "name", "status"].into_iter().chain(units) {
            let name = format!("{prefix}_{suffix}");
            if input.column_with_name(&name).is_some() {
                let message = format!("there is a column {name:?} already");
                return Err(PluginError::config("/as", error::COLUMN, message));
            }
            fields.push(Arc::new(Field::new(name, DataType::Utf8, true)));
        }
        Ok(Self {
            lookup,
            column,
            unmapped: config.unmapped,
            output: Arc::new(Schema::new(fields)),
        })
    }

    fn output(&self) -> SchemaRef {
        self.output.clone()
    }

    fn open(&self, _: &TaskContext<'_>) -> Result<Box<dyn TransformRun + '_>, PluginError> {
        Ok(Box::new(Run {
            step: self,
            known: HashMap::new(),
        }))
    }
}

/// Distinct values whose lookup is remembered.
const REMEMBERED: usize = 1 << 16;

struct Run<'a> {
    step: &'a Terminology,
    known: HashMap<String, Found>,
}

impl Run<'_> {
    fn find(&mut self, value: &str) -> Found {
        if let Some(found) = self.known.get(value) {
            return *found;
        }
        let found = self.step.lookup.find(value);
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(value.to_owned(), found);
        found
    }
}

impl TransformRun for Run<'_> {
    fn process(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<(), PluginError> {
        let text = cast(batch.column(self.step.column), &DataType::Utf8)?;
        let text = text.as_string::<i32>();
        let mut new = [(); 5].map(|()| StringBuilder::new());
        let mut kept: Vec<u32> = Vec::with_capacity(batch.num_rows());
        let (mut mapped, mut unmapped, mut ambiguous, mut empty) = (0, 0, 0, 0);
        for (row, value) in (0u32..).zip(text.iter()) {
            let found = value
                .filter(|value| !value.trim().is_empty())
                .map(|value| self.find(value));
            let (status, code, message) = match found {
                None => (None, error::UNMAPPED, "the value is empty"),
                Some(Found::Mapped(_)) => (Some("mapped"), "", ""),
                Some(Found::Unmapped) => (Some("unmapped"), error::UNMAPPED, "the value has no accepted target"),
                Some(Found::Ambiguous) => (Some("ambiguous"), error::AMBIGUOUS, "the value has several targets"),
            };
            match status {
                None => empty += 1,
                Some("mapped") => mapped += 1,
                Some("ambiguous") => ambiguous += 1,
                Some(_) => unmapped += 1,
            }
            // An empty value is nothing to map: it is kept in either case.
            if self.step.unmapped == Unmapped::Reject && status.is_some() && !code.is_empty() {
                out.reject(RejectedRow {
                    row,
                    code: code.into(),
                    message: message.into(),
                })?;
                continue;
            }
            kept.push(row);
            let target = match found {
                Some(Found::Mapped(index)) => self.step.lookup.target(index),
                _ => None,
            };
            let [codes, systems, names, statuses, units] = &mut new;
            codes.append_option(target.map(|t| &t.code));
            systems.append_option(target.map(|t| &t.system));
            names.append_option(target.map(|t| &t.name).filter(|name| !name.is_empty()));
            statuses.append_option(status);
            units.append_option(target.map(|t| &t.unit).filter(|unit| !unit.is_empty()));
        }
        for (name, count) in [
            ("mapped", mapped),
            ("unmapped", unmapped),
            ("ambiguous", ambiguous),
            ("empty", empty),
        ] {
            if count > 0 {
                out.count(name, count);
            }
        }
        let whole = kept.len() == batch.num_rows();
        let (old, origin) = match whole {
            true => (batch.clone(), Origin::Same),
            false => (
                take_record_batch(batch, &UInt32Array::from(kept.clone()))?,
                Origin::Rows(kept),
            ),
        };
        let mut columns = old.columns().to_vec();
        let added = self.step.output.fields().len() - columns.len();
        columns.extend(
            new.iter_mut()
                .take(added)
                .map(|builder| Arc::new(builder.finish()) as ArrayRef),
        );
        debug_assert!(columns.iter().all(|column| column.len() == old.num_rows()));
        out.rows(RecordBatch::try_new(self.step.output.clone(), columns)?, origin)
    }
}
