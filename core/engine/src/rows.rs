//! Rows of a table: its columns, the identity and the hash of each row.

use crate::{
    contract::{Term, broken},
    error::EngineError,
    exact::exactly,
    fold::{Folded, Id, id_at},
    graph::{Lineage, Relation, StepRejection, StepReport, contract_of, record_at, subject_column},
    model::{self, Fill},
    tables::{Identity, TableSpec, type_word},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array},
    buffer::NullBuffer,
    compute::{take, take_record_batch},
    datatypes::{DataType, Schema},
};
use clinmill_catalog::{index::IndexEntry, rowhash::row_hashes, vault::VaultKey};
use clinmill_model::columns::SUBJECT_ID;
use clinmill_spec::pipeline::Model;
use std::{collections::HashMap, sync::Arc};

/// What rows are identified with.
pub struct RowContext<'a> {
    /// The vault's key.
    pub key: &'a VaultKey,
    /// The records of the range, by relation.
    pub inputs: &'a [(String, Folded)],
}

/// The rows of one table in one range, sorted by subject and row id.
pub struct TableRows {
    /// The published columns without the engine's own, `subject_id` first.
    pub rows: RecordBatch,
    /// Identity and hash of each row.
    pub entries: Vec<IndexEntry>,
    /// The record that each row comes from, where a row comes from one.
    pub records: Lineage,
}

impl TableRows {
    /// The source behind a row, if its table has several and the row comes from one record.
    pub fn record_of(&self, row: usize) -> Option<u64> {
        match &self.records {
            Lineage::One(names) => Some(names.value(row)),
            _ => None,
        }
    }
}

/// Makes the rows of a table.
///
/// # Errors
/// When a value does not fit its column, or two rows have the same identity.
pub fn table_rows(
    table: &TableSpec,
    relation: &Relation,
    context: &RowContext<'_>,
    report: &mut StepReport,
) -> Result<TableRows, EngineError> {
    let (fitted, kept) = without_misfits(table, relation, report)?;
    let relation = kept.as_ref().unwrap_or(relation);
    let subjects = relation.subject.as_ref().filter(|_| table.subject);
    let fitted = model::complete(table, fitted, &relation.rows, subjects, context.key)?;
    let (fitted, kept) = without_breaches(table, fitted, relation, report)?;
    let relation = kept.as_ref().unwrap_or(relation);
    let n = fitted.num_rows();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(fitted.num_columns() + 1);
    if table.subject {
        let subjects = relation.subject.as_ref();
        let subjects =
            subjects.ok_or_else(|| EngineError::internal(format!("the rows of {} have no subject", table.name)))?;
        columns.push(Arc::new(subject_column(subjects)));
    }
    columns.extend(fitted.columns().iter().cloned());
    let options = RecordBatchOptions::new().with_row_count(Some(n));
    let rows = RecordBatch::try_new_with_options(table.schema.clone(), columns, &options)?;
    let ids = row_ids(table, &rows, relation, context)?;
    let rows = model::number_rows(table, rows, &ids)?;
    let hashes = row_hashes(&rows)?;
    let subject = |i: usize| match (&relation.subject, table.subject) {
        (Some(subjects), true) => id_at(subjects, i),
        _ => [0; 16],
    };
    let mut order: Vec<(IndexEntry, u32)> = ids
        .into_iter()
        .zip(hashes)
        .enumerate()
        .map(|(i, (row_id, hash))| {
            let entry = IndexEntry {
                subject: subject(i),
                row_id,
                hash,
            };
            (entry, i as u32)
        })
        .collect();
    order.sort_unstable();
    check_unique(table, &order)?;
    let sorted: UInt32Array = order.iter().map(|o| Some(o.1)).collect();
    Ok(TableRows {
        rows: take_record_batch(&rows, &sorted)?,
        entries: order.into_iter().map(|o| o.0).collect(),
        records: relation.from.take(&sorted)?,
    })
}

/// The table's columns, without the rows that its types cannot hold exactly, which are rejected; no relation: all fit.
fn without_misfits(
    table: &TableSpec,
    relation: &Relation,
    report: &mut StepReport,
) -> Result<(RecordBatch, Option<Relation>), EngineError> {
    let rows = &relation.rows;
    let mut misfits: Vec<Option<&str>> = vec![None; rows.num_rows()];
    let mut any = false;
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for field in table.schema.fields().iter().filter(|f| f.name() != SUBJECT_ID) {
        fields.push(field.clone());
        let Some(column) = rows.column_by_name(field.name()) else {
            columns.push(new_null_array(field.data_type(), rows.num_rows()));
            continue;
        };
        let fitted = exactly(column, field.data_type(), table.clock.as_ref())?;
        let given = column.logical_nulls();
        if fitted.null_count() > given.as_ref().map_or(0, NullBuffer::null_count) {
            any = true;
            for (i, misfit) in misfits.iter_mut().enumerate() {
                if fitted.is_null(i) && given.as_ref().is_none_or(|g| g.is_valid(i)) {
                    misfit.get_or_insert(field.name());
                }
            }
        }
        columns.push(fitted);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let fitted = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
    if !any {
        return Ok((fitted, None));
    }
    let mut kept: Vec<u32> = Vec::new();
    for (i, misfit) in misfits.iter().enumerate() {
        match misfit {
            None => kept.push(i as u32),
            Some(column) => report.rejections.push(StepRejection {
                step: contract_of(&table.name),
                code: "TABLE_CONTRACT".to_owned(),
                message: misfit_message(table, column),
                records: relation.from.at(i),
            }),
        }
    }
    let kept = UInt32Array::from(kept);
    Ok((take_record_batch(&fitted, &kept)?, Some(only(relation, &kept)?)))
}

/// Which type a column of a table has, and that its model says so.
fn misfit_message(table: &TableSpec, column: &str) -> String {
    let field = table.schema.field_with_name(column);
    let data_type = field.ok().map(|f| f.data_type());
    let wanted = data_type.and_then(type_word).unwrap_or("another type");
    let digits = match data_type {
        Some(DataType::Decimal128(precision, scale)) => {
            let before = i16::from(*precision) - i16::from(*scale);
            format!(" (at most {before} digits before the point and {scale} behind it: round what a query computes)")
        }
        _ => String::new(),
    };
    let model = match table.model {
        Some(Model::Omop54) if column.ends_with("_id") => {
            "; ids of omop-5.4 are its own integers: let the query have another name for the source's number"
        }
        _ => "",
    };
    format!("column {column} does not hold a value of the type that the table promises, {wanted}{digits}{model}")
}

fn only(relation: &Relation, kept: &UInt32Array) -> Result<Relation, EngineError> {
    Ok(Relation {
        rows: take_record_batch(&relation.rows, kept)?,
        subject: match &relation.subject {
            Some(subject) => Some(take(subject, kept, None)?.as_fixed_size_binary().clone()),
            None => None,
        },
        from: relation.from.take(kept)?,
    })
}

/// The rows without those that break the table's contract, which are rejected; no relation: all keep it.
fn without_breaches(
    table: &TableSpec,
    rows: RecordBatch,
    relation: &Relation,
    report: &mut StepReport,
) -> Result<(RecordBatch, Option<Relation>), EngineError> {
    if table.terms.is_empty() {
        return Ok((rows, None));
    }
    // A primary key that the rows get from their own ids is there in the end.
    let numbered = |term: &Term| table.fills.iter().any(|(c, f)| *c == term.column && *f == Fill::RowId);
    let terms: Vec<Term> = table.terms.iter().filter(|t| !numbered(t)).cloned().collect();
    let mut kept: Vec<u32> = Vec::new();
    for (i, term) in broken(&terms, &rows, &relation.rows)?.into_iter().enumerate() {
        match term {
            None => kept.push(i as u32),
            Some(term) => report.rejections.push(StepRejection {
                step: contract_of(&table.name),
                code: term.rule.code().to_owned(),
                message: term.rule.says(&term.column),
                records: relation.from.at(i),
            }),
        }
    }
    if kept.len() == rows.num_rows() {
        return Ok((rows, None));
    }
    let kept = UInt32Array::from(kept);
    Ok((take_record_batch(&rows, &kept)?, Some(only(relation, &kept)?)))
}

fn check_unique(table: &TableSpec, order: &[(IndexEntry, u32)]) -> Result<(), EngineError> {
    let mut ids: Vec<&Id> = order.iter().map(|(e, _)| &e.row_id).collect();
    ids.sort_unstable();
    let twice = ids.windows(2).filter(|w| w[0] == w[1]).count();
    if twice == 0 {
        return Ok(());
    }
    Err(EngineError::QualityGate(not_unique(table, twice)))
}

/// What to say when rows have the same identity.
pub fn not_unique(table: &TableSpec, rows: usize) -> String {
    let key = match &table.identity {
        Identity::Key(names) => format!("its key [{}]", names.join(", ")),
        Identity::Record => "its records' identity".to_owned(),
    };
    format!(
        "table {}: {rows} rows have the same identity as another one; {key} does not tell them apart (add subject_id to \
         the key if it is unique within a subject only). Nothing was published",
        table.name
    )
}

/// `_row_id` as 128 bits: HMAC over table, source and record key and output number, or over the table's key columns.
fn row_ids(
    table: &TableSpec,
    rows: &RecordBatch,
    relation: &Relation,
    context: &RowContext<'_>,
) -> Result<Vec<Id>, EngineError> {
    let name = table.name.as_bytes();
    match (&table.identity, &relation.from) {
        (Identity::Key(columns), _) => {
            let schema = rows.schema();
            let indices = columns
                .iter()
                .map(|c| schema.index_of(c))
                .collect::<Result<Vec<_>, _>>()?;
            let hashes = row_hashes(&rows.project(&indices)?)?;
            Ok(hashes
                .iter()
                .map(|h| context.key.hmac128("row-key", &[name, &h.to_be_bytes()]))
                .collect())
        }
        (Identity::Record, Lineage::One(records)) => {
            let mut outputs: HashMap<u64, u32> = HashMap::new();
            records
                .values()
                .iter()
                .map(|&record| {
                    let (kind, index) = record_at(record);
                    let of = context
                        .inputs
                        .get(kind)
                        .and_then(|(n, f)| Some((n, f.entity.get(index)?)));
                    let (relation, (entity, ordinal)) =
                        of.ok_or_else(|| EngineError::internal("a row names no record".to_owned()))?;
                    let output = outputs.entry(record).and_modify(|n| *n += 1).or_insert(0);
                    Ok(context.key.hmac128(
                        "row",
                        &[
                            name,
                            relation.as_bytes(),
                            entity,
                            &ordinal.to_be_bytes(),
                            &output.to_be_bytes(),
                        ],
                    ))
                })
                .collect()
        }
        (Identity::Record, Lineage::Many(_)) if rows.num_rows() > 0 => Err(EngineError::internal(format!(
            "the rows of {} come from several records each",
            table.name
        ))),
        _ => Ok(Vec::new()),
    }
}
