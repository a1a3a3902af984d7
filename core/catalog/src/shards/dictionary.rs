//! Columns of few texts: the rows have the number of a text, the file's metadata has the texts.

use crate::CatalogError;
use arrow::{
    array::{ArrayRef, AsArray, StringArray},
    compute::{TakeOptions, take},
    datatypes::UInt16Type,
};
use std::collections::BTreeMap;

/// Where a file keeps them: a JSON object of column name to texts.
pub const METADATA_KEY: &str = "clinmill.dictionaries";

/// Column name to its texts, in the order of their numbers.
pub type Dictionaries = BTreeMap<String, Vec<String>>;

/// A column of texts from their numbers.
///
/// # Errors
/// When a row has a number that no text has.
pub fn column(numbers: &ArrayRef, texts: &[String]) -> Result<ArrayRef, CatalogError> {
    let damaged = || CatalogError::damaged("a shard's dictionaries", "a row has the number of no text");
    let numbers = numbers.as_primitive_opt::<UInt16Type>().ok_or_else(damaged)?;
    let texts = StringArray::from_iter_values(texts);
    take(&texts, numbers, Some(TakeOptions { check_bounds: true })).map_err(|_| damaged())
}
