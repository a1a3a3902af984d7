//! Columns that say the same in every row of a shard: kept once, in the file's metadata, instead of in its rows.

use crate::CatalogError;
use arrow::{
    array::{ArrayRef, StringArray, UInt8Array, UInt32Array, new_null_array},
    datatypes::DataType,
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Where a file keeps them: a JSON object of column name to value.
pub const METADATA_KEY: &str = "clinmill.constants";

/// Column name to the value that all its rows have: null, a text, or a number.
pub type Constants = BTreeMap<String, Value>;

/// A column of `rows` rows that all say `value`.
///
/// # Errors
/// When a column of this type cannot hold the value.
pub fn column(value: &Value, data_type: &DataType, rows: usize) -> Result<ArrayRef, CatalogError> {
    let misfit = || CatalogError::damaged("a shard's constants", "a value does not fit its column");
    let number = || value.as_u64().ok_or_else(misfit);
    Ok(match data_type {
        _ if value.is_null() => new_null_array(data_type, rows),
        DataType::Utf8 => {
            let text = value.as_str().ok_or_else(misfit)?;
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)))
        }
        DataType::UInt32 => {
            let number = u32::try_from(number()?).map_err(|_| misfit())?;
            Arc::new(UInt32Array::from_value(number, rows))
        }
        DataType::UInt8 => {
            let number = u8::try_from(number()?).map_err(|_| misfit())?;
            Arc::new(UInt8Array::from_value(number, rows))
        }
        _ => return Err(misfit()),
    })
}
