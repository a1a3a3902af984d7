//! The transform: one column of text in, the same or a new one out.

use crate::{NewpluginConfig, core::tidy, error};
use clinmill_sdk::{
    BindContext, Caps, Emit, Origin, PluginError, RejectedRow, TaskContext, Transform, TransformRun,
    arrow::{
        array::{AsArray, RecordBatch, StringBuilder, UInt32Array},
        compute::take_record_batch,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
};
use std::sync::Arc;

/// A configured `newplugin` step.
pub struct NewpluginPlugin {
    column: usize,
    /// The result's place; one behind the last column where it is a new one.
    place: usize,
    output: SchemaRef,
}

impl Transform for NewpluginPlugin {
    const NAME: &'static str = "newplugin";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Tidies the white space of a text";
    const CAPS: Caps = Caps::ROW_WISE.and(Caps::REJECTS).and(Caps::DETERMINISTIC);
    type Config = NewpluginConfig;

    fn bind(config: NewpluginConfig, input: &Schema, _: &BindContext) -> Result<Self, PluginError> {
        let found = input.column_with_name(&config.column);
        let Some((column, _)) = found.filter(|(_, field)| field.data_type() == &DataType::Utf8) else {
            let message = format!("there is no column of text {:?}", config.column);
            return Err(PluginError::config("/column", error::COLUMN, message));
        };
        let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
        let place = match &config.output {
            Some(name) if input.column_with_name(name).is_some() => {
                let message = format!("there is a column {name:?} already");
                return Err(PluginError::config("/as", error::COLUMN, message));
            }
            Some(name) => {
                fields.push(Arc::new(Field::new(name, DataType::Utf8, true)));
                fields.len() - 1
            }
            None => column,
        };
        Ok(Self {
            column,
            place,
            output: Arc::new(Schema::new(fields)),
        })
    }

    fn output(&self) -> SchemaRef {
        self.output.clone()
    }

    fn open<'a>(&'a self, task: &TaskContext<'a>) -> Result<Box<dyn TransformRun + 'a>, PluginError> {
        Ok(Box::new(Run { step: self, task: *task }))
    }
}

/// Rows after which is looked whether the run is to stop.
const LOOK: u32 = 8192;

struct Run<'a> {
    step: &'a NewpluginPlugin,
    task: TaskContext<'a>,
}

impl TransformRun for Run<'_> {
    fn process(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<(), PluginError> {
        let step = self.step;
        let mut texts = StringBuilder::new();
        let mut kept: Vec<u32> = Vec::with_capacity(batch.num_rows());
        for (row, text) in (0u32..).zip(batch.column(step.column).as_string::<i32>()) {
            if row.is_multiple_of(LOOK) {
                self.task.check()?;
            }
            match text.map(tidy) {
                None => texts.append_null(),
                Some(Some(text)) => texts.append_value(text),
                Some(None) => {
                    // A message never holds the value: where the row came from is known.
                    out.reject(RejectedRow {
                        row,
                        code: error::EMPTY.into(),
                        message: "the text holds nothing but white space".into(),
                    })?;
                    continue;
                }
            }
            kept.push(row);
        }
        let (old, origin) = match kept.len() == batch.num_rows() {
            true => (batch.clone(), Origin::Same),
            false => (
                take_record_batch(batch, &UInt32Array::from(kept.clone()))?,
                Origin::Rows(kept),
            ),
        };
        let mut columns = old.columns().to_vec();
        match columns.get_mut(step.place) {
            Some(column) => *column = Arc::new(texts.finish()),
            None => columns.push(Arc::new(texts.finish())),
        }
        out.rows(RecordBatch::try_new(step.output.clone(), columns)?, origin)
    }
}
