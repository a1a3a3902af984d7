//! Table schemas as manifests write them, and the columns that the engine adds to them.

use crate::{CatalogError, Result};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use clinmill_model::{Digest, columns};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// In change files, the subject under which an upserted row stood before, where that changed (identities merged or
/// split); null otherwise. It lets files sorted by subject be folded without looking for the old row.
pub const MOVED_FROM: &str = "_moved_from";

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSpec {
    /// Its name.
    pub name: String,
    /// Its type: `bool`, `int8`…`int64`, `uint8`…`uint64`, `float32`, `float64`, `decimal(p,s)`, `string`, `binary`,
    /// `date`, `time`, `timestamp` (local), `timestamp_utc`, `list<T>`, `struct<name: T, …>`, `coded` (a string in a
    /// dictionary).
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// The UCUM code of its values, where the table's contract says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// The columns of a schema as a manifest lists them. Errors for a type that no table may have.
pub fn to_specs(schema: &Schema) -> Result<Vec<ColumnSpec>> {
    schema
        .fields()
        .iter()
        .map(|f| {
            Ok(ColumnSpec {
                name: f.name().clone(),
                kind: type_name(f.name(), f.data_type())?,
                nullable: f.is_nullable(),
                unit: None,
            })
        })
        .collect()
}

/// The Arrow schema of a manifest's list of columns.
pub fn from_specs(specs: &[ColumnSpec]) -> Result<SchemaRef> {
    let fields: Result<Fields> = specs
        .iter()
        .map(|c| {
            let mut rest = c.kind.as_str();
            let kind = parse_type(&mut rest, 0).filter(|_| rest.is_empty());
            let kind = kind.ok_or_else(|| CatalogError::invalid(format!("column {}", c.name), "unknown type"))?;
            Ok(Arc::new(Field::new(&c.name, kind, c.nullable)))
        })
        .collect();
    Ok(Arc::new(Schema::new(fields?)))
}

/// The digest of a schema: equal lists of columns have equal digests.
pub fn schema_digest(specs: &[ColumnSpec]) -> Digest {
    let nullable = |c: &ColumnSpec| if c.nullable { "null" } else { "not null" };
    Digest::of_parts(specs.iter().flat_map(|c| {
        [c.name.as_str(), c.kind.as_str(), nullable(c)]
            .into_iter()
            .chain(c.unit.as_deref())
    }))
}

/// The type of `_prov`: source system, method (structured, rule, model), rule or mapping id, pipeline digest.
pub fn prov_type() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("source", coded(), true),
        Field::new("method", coded(), true),
        Field::new("rule", coded(), true),
        Field::new("pipeline", coded(), true),
    ]))
}

/// A string in a dictionary.
fn coded() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The schema of a table's base files: `_row_id`, the table's own columns (with `subject_id`, if it has one), then
/// `_release` and `_prov`. Columns of the engine in `columns` are not doubled.
pub fn base_schema(columns: &Schema) -> SchemaRef {
    let mut fields: Vec<FieldRef> = vec![Arc::new(Field::new(columns::ROW_ID, DataType::Utf8, false))];
    fields.extend(own(columns));
    fields.push(Arc::new(Field::new(columns::RELEASE, DataType::Int64, false)));
    fields.push(Arc::new(Field::new(columns::PROV, prov_type(), true)));
    Arc::new(Schema::new(fields))
}

/// The schema of a table's change files: `_op`, then as [`base_schema`], with all of the table's columns nullable
/// because a `D` row carries keys only, then `_cause` and, for a table with subjects, [`MOVED_FROM`].
pub fn change_schema(columns: &Schema) -> SchemaRef {
    let mut fields: Vec<FieldRef> = vec![
        Arc::new(Field::new(columns::OP, DataType::Utf8, false)),
        Arc::new(Field::new(columns::ROW_ID, DataType::Utf8, false)),
    ];
    fields.extend(own(columns).map(|f| Arc::new(f.as_ref().clone().with_nullable(true))));
    fields.push(Arc::new(Field::new(columns::RELEASE, DataType::Int64, false)));
    fields.push(Arc::new(Field::new(columns::PROV, prov_type(), true)));
    fields.push(Arc::new(Field::new(columns::CAUSE, DataType::Utf8, true)));
    if columns.field_with_name(columns::SUBJECT_ID).is_ok() {
        fields.push(Arc::new(Field::new(MOVED_FROM, DataType::Utf8, true)));
    }
    Arc::new(Schema::new(fields))
}

fn own(columns: &Schema) -> impl Iterator<Item = FieldRef> {
    let own = columns.fields().iter().filter(|f| !columns::is_reserved(f.name()));
    own.cloned().collect::<Vec<_>>().into_iter()
}

fn type_name(column: &str, kind: &DataType) -> Result<String> {
    use DataType as T;
    Ok(match kind {
        T::Boolean => "bool".into(),
        T::Int8 => "int8".into(),
        T::Int16 => "int16".into(),
        T::Int32 => "int32".into(),
        T::Int64 => "int64".into(),
        T::UInt8 => "uint8".into(),
        T::UInt16 => "uint16".into(),
        T::UInt32 => "uint32".into(),
        T::UInt64 => "uint64".into(),
        T::Float32 => "float32".into(),
        T::Float64 => "float64".into(),
        T::Decimal128(p, s) => format!("decimal({p},{s})"),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "string".into(),
        T::Binary | T::LargeBinary | T::BinaryView => "binary".into(),
        T::Date32 => "date".into(),
        T::Time64(TimeUnit::Microsecond) => "time".into(),
        T::Timestamp(TimeUnit::Microsecond, None) => "timestamp".into(),
        T::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp_utc".into(),
        T::Dictionary(_, value) if matches!(**value, T::Utf8) => "coded".into(),
        T::List(item) => format!("list<{}>", type_name(column, item.data_type())?),
        T::Struct(fields) => {
            let parts: Result<Vec<_>> = fields
                .iter()
                .map(|f| Ok(format!("{}: {}", f.name(), type_name(column, f.data_type())?)))
                .collect();
            format!("struct<{}>", parts?.join(", "))
        }
        other => {
            return Err(CatalogError::invalid(
                format!("column {column}"),
                format!("a table may not have the type {other}"),
            ));
        }
    })
}

/// Reads one type name off the front of the text.
fn parse_type(text: &mut &str, depth: usize) -> Option<DataType> {
    use DataType as T;
    if depth > 16 {
        return None;
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    *text = rest;
    Some(match word {
        "bool" => T::Boolean,
        "int8" => T::Int8,
        "int16" => T::Int16,
        "int32" => T::Int32,
        "int64" => T::Int64,
        "uint8" => T::UInt8,
        "uint16" => T::UInt16,
        "uint32" => T::UInt32,
        "uint64" => T::UInt64,
        "float32" => T::Float32,
        "float64" => T::Float64,
        "string" => T::Utf8,
        "binary" => T::Binary,
        "date" => T::Date32,
        "time" => T::Time64(TimeUnit::Microsecond),
        "timestamp" => T::Timestamp(TimeUnit::Microsecond, None),
        "timestamp_utc" => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "coded" => coded(),
        "decimal" => {
            let (numbers, after) = text.strip_prefix('(')?.split_once(')')?;
            *text = after;
            let (p, s) = numbers.split_once(',')?;
            T::Decimal128(p.trim().parse().ok()?, s.trim().parse().ok()?)
        }
        "list" => {
            *text = text.strip_prefix('<')?;
            let item = parse_type(text, depth + 1)?;
            *text = text.strip_prefix('>')?;
            T::List(Arc::new(Field::new_list_field(item, true)))
        }
        "struct" => {
            *text = text.strip_prefix('<')?;
            let mut fields = Vec::new();
            loop {
                if let Some(rest) = text.strip_prefix('>') {
                    *text = rest;
                    break;
                }
                *text = text.strip_prefix(", ").unwrap_or(text);
                let (name, rest) = text.split_once(": ")?;
                *text = rest;
                fields.push(Field::new(name, parse_type(text, depth + 1)?, true));
            }
            T::Struct(fields.into())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_round_trip() {
        let columns = Schema::new(vec![
            Field::new("subject_id", DataType::Utf8, false),
            Field::new("value", DataType::Decimal128(18, -2), true),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Field::new(
                "names",
                DataType::List(Arc::new(Field::new_list_field(prov_type(), true))),
                true,
            ),
        ]);
        for schema in [base_schema(&columns), change_schema(&columns)] {
            let specs = to_specs(&schema).unwrap();
            assert_eq!(from_specs(&specs).unwrap(), schema);
            let json = serde_json::to_string(&specs).unwrap();
            assert_eq!(serde_json::from_str::<Vec<ColumnSpec>>(&json).unwrap(), specs);
        }
        let specs = to_specs(&base_schema(&columns)).unwrap();
        assert_eq!(specs[2].kind, "decimal(18,-2)");
        assert_eq!(base_schema(&base_schema(&columns)), base_schema(&columns));
        assert_ne!(schema_digest(&specs), schema_digest(&specs[1..]));
    }

    #[test]
    fn unknown_types_are_refused() {
        for kind in ["", "strin", "list<string", "struct<a string>", "string>", "decimal(1)"] {
            let spec = ColumnSpec {
                name: "c".into(),
                kind: kind.into(),
                nullable: true,
                unit: None,
            };
            assert!(from_specs(&[spec]).is_err(), "{kind}");
        }
    }
}
