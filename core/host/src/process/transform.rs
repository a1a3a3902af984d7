//! A transform that is a process. *check* and *bind* have a process each; a run has one of its own.

use super::{
    child::{Message, Running, Until},
    program::{Binding, Described, Program, Refusal, STRANGE, number, read_schema, read_stream, stream},
};
use crate::native::ROWS_IN_FINISH;
use clinmill_sdk::{
    BindContext, BoundTransform, Descriptor, Emit, Finding, Origin, PluginError, RejectedRow, TaskContext,
    TransformPlugin, TransformRun,
    arrow::{
        array::{Array, AsArray, RecordBatch},
        datatypes::{DataType, Schema, SchemaRef, UInt32Type, UInt64Type},
    },
};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    sync::{Arc, atomic::AtomicBool},
};

/// A transform plugin that is a program.
pub struct ProcessTransform(pub Described);

impl TransformPlugin for ProcessTransform {
    fn descriptor(&self) -> Descriptor {
        self.0.descriptor.clone()
    }

    fn check(&self, options: &Value) -> Vec<Finding> {
        self.0.check(options)
    }

    fn bind(
        &self,
        options: &Value,
        input: &Schema,
        context: &BindContext,
    ) -> Result<Arc<dyn BoundTransform>, PluginError> {
        let program = &self.0.program;
        let binding = Binding::new(options, context);
        let output = bind(program, &mut program.start()?, &binding, input)?;
        Ok(Arc::new(Bound {
            program: program.clone(),
            binding,
            input: Arc::new(input.clone()),
            output,
        }))
    }
}

fn bind(program: &Program, running: &mut Running, binding: &Binding, input: &Schema) -> Result<SchemaRef, PluginError> {
    let said = program.bind(running, binding, Some(input), &mut |_| Err(STRANGE.into()))?;
    read_schema(&said.body).map_err(|what| running.protocol("bind", what))
}

struct Bound {
    program: Arc<Program>,
    binding: Binding,
    input: SchemaRef,
    output: SchemaRef,
}

impl BoundTransform for Bound {
    fn output(&self) -> SchemaRef {
        self.output.clone()
    }

    fn open<'a>(&'a self, task: &TaskContext<'a>) -> Result<Box<dyn TransformRun + 'a>, PluginError> {
        let mut running = self.program.start()?;
        let output = bind(&self.program, &mut running, &self.binding, &self.input)?;
        if output.fields() != self.output.fields() {
            return Err(running.protocol("bind", "the same options gave another schema"));
        }
        let head = json!({ "batch_rows": task.batch_rows });
        self.program
            .call(&mut running, "open", head, &[], Some(task.cancelled))?;
        Ok(Box::new(Run {
            bound: self,
            running,
            cancelled: task.cancelled,
        }))
    }
}

struct Run<'a> {
    bound: &'a Bound,
    running: Running,
    cancelled: &'a AtomicBool,
}

impl TransformRun for Run<'_> {
    fn process(&mut self, batch: &RecordBatch, out: &mut dyn Emit) -> Result<(), PluginError> {
        let body = stream(&self.bound.input, Some(batch))?;
        self.call("process", &body, batch.num_rows(), out)
    }

    fn finish(&mut self, out: &mut dyn Emit) -> Result<(), PluginError> {
        self.call("finish", &[], 0, out)
    }
}

impl Run<'_> {
    fn call(&mut self, call: &str, body: &[u8], rows: usize, out: &mut dyn Emit) -> Result<(), PluginError> {
        let bound = self.bound;
        let (mut held, mut refused) = (0_u64, HashSet::new());
        let mut reply = |message: Message| -> Result<Option<Vec<u8>>, Refusal> {
            held = held.saturating_add(message.body.len() as u64);
            if held > bound.program.limits.memory {
                return Err("its batches hold more bytes than it may use".into());
            }
            match message.text("reply") {
                "rows" => {
                    for (batch, origin) in bound.rows(&message, call, rows)? {
                        out.rows(batch, origin)?;
                    }
                }
                "rejected" => {
                    for row in rejected(&message, &bound.program, call, rows)? {
                        if !refused.insert(row.row) {
                            return Err("it rejects a row twice".into());
                        }
                        out.reject(row)?;
                    }
                }
                "count" => {
                    let name = message.text("name");
                    bound.program.named(call, name, [])?;
                    let n = number(&message.head, "n").ok_or("a count that is no number from 0 on")?;
                    out.count(name, n);
                }
                _ => return Err(STRANGE.into()),
            }
            Ok(None)
        };
        let program = &bound.program;
        let mut until = Until::of(&program.limits, Some(self.cancelled));
        program
            .call_with(&mut self.running, call, json!({}), body, &mut until, &mut reply)
            .map(drop)
    }
}

impl Bound {
    fn rows(&self, message: &Message, phase: &str, rows: usize) -> Result<Vec<(RecordBatch, Origin)>, &'static str> {
        let (schema, batches) = read_stream(&message.body, "rows that are no Arrow IPC stream")?;
        let columns = self.output.fields().len();
        let promised = |said: &Schema| said.fields().iter().zip(self.output.fields()).all(|(a, b)| a == b);
        let lineage = match schema.fields().len() {
            n if n == columns => false,
            n if n == columns + 1 && schema.field(columns).name() == "_in" => true,
            _ => return Err("a batch has another schema than the one it promised"),
        };
        if !promised(&schema) {
            return Err("a batch has another schema than the one it promised");
        }
        let each = batches.into_iter().map(|batch| {
            if batch.num_rows() > self.program.limits.batch_rows {
                return Err("a batch has more rows than a batch may have");
            }
            if phase == "finish" && batch.num_rows() > 0 {
                return Err(ROWS_IN_FINISH);
            }
            let origin = match lineage {
                true => origin(&batch, columns, rows)?,
                false if phase == "finish" => Origin::Rows(Vec::new()),
                false => Origin::Same,
            };
            if origin == Origin::Same && phase == "process" && batch.num_rows() != rows {
                return Err(
                    "a batch has another number of rows than its input, and they do not say where they come from",
                );
            }
            let kept: Vec<usize> = (0..columns).collect();
            let batch = batch.project(&kept).and_then(|b| b.with_schema(self.output.clone()));
            batch
                .map(|batch| (batch, origin))
                .map_err(|_| "a batch does not fit its schema")
        });
        each.collect()
    }
}

const NULL_ORIGIN: &str = "the column _in holds a null";

fn origin(batch: &RecordBatch, column: usize, rows: usize) -> Result<Origin, &'static str> {
    let lists = batch
        .column(column)
        .as_list_opt::<i32>()
        .ok_or("the column _in is no list")?;
    let mut origins = Vec::with_capacity(batch.num_rows());
    for row in 0..lists.len() {
        if lists.is_null(row) {
            return Err(NULL_ORIGIN);
        }
        let list = lists.value(row);
        let values = list
            .as_primitive_opt::<UInt64Type>()
            .ok_or("the column _in holds no uint64")?;
        if values.null_count() > 0 {
            return Err(NULL_ORIGIN);
        }
        match values.len() {
            0 => {}
            1 if values.value(0) < rows as u64 => origins.push(u32::try_from(values.value(0)).unwrap_or(u32::MAX)),
            1 => return Err("a row comes from a row that is not in the batch"),
            _ => return Err("a row comes from several rows, which this host does not take yet"),
        }
    }
    match origins.len() {
        0 if batch.num_rows() > 0 => Ok(Origin::Same),
        n if n == batch.num_rows() => Ok(Origin::Rows(origins)),
        _ => Err("some rows say where they come from, and others do not"),
    }
}

fn rejected(message: &Message, program: &Program, call: &str, rows: usize) -> Result<Vec<RejectedRow>, Refusal> {
    let (schema, batches) = read_stream(&message.body, "rejections that are no Arrow IPC stream")?;
    let types: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
    if types != [&DataType::UInt32, &DataType::Utf8, &DataType::Utf8] {
        return Err("rejections are not row, code and message".into());
    }
    let mut all = Vec::new();
    for batch in batches {
        if batch.columns().iter().any(|column| column.null_count() > 0) {
            return Err("a rejection holds a null".into());
        }
        let row = batch.column(0).as_primitive::<UInt32Type>();
        let (code, message) = (batch.column(1).as_string::<i32>(), batch.column(2).as_string::<i32>());
        for index in 0..batch.num_rows() {
            if row.value(index) as usize >= rows {
                return Err("it rejects a row that is not in the batch".into());
            }
            all.push(RejectedRow {
                row: row.value(index),
                code: code.value(index).to_owned(),
                message: program.rejection(call, code.value(index), message.value(index))?,
            });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::ListArray,
        datatypes::{Field, Schema},
    };
    use std::sync::Arc;

    #[test]
    fn a_null_is_no_row() {
        let from = |lists: Vec<Option<Vec<Option<u64>>>>| {
            let lists = ListArray::from_iter_primitive::<UInt64Type, _, _>(lists);
            let schema = Schema::new(vec![Field::new("_in", lists.data_type().clone(), true)]);
            origin(
                &RecordBatch::try_new(Arc::new(schema), vec![Arc::new(lists)]).unwrap(),
                0,
                2,
            )
        };
        assert_eq!(
            from(vec![Some(vec![Some(1)]), Some(vec![Some(0)])]),
            Ok(Origin::Rows(vec![1, 0]))
        );
        assert_eq!(from(vec![Some(vec![Some(1)]), Some(vec![None])]), Err(NULL_ORIGIN));
        assert_eq!(from(vec![None, None]), Err(NULL_ORIGIN));
    }
}
