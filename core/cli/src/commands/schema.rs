//! `clinmill schema`: the JSON Schema of the pipeline file.

use crate::{
    context::Context,
    failure::{Failure, OK},
};
use clinmill_engine::bound::PluginsOf;
use serde_json::Value;

/// Prints the schema; it is JSON in either format.
///
/// # Errors
/// None.
pub fn run(context: &Context) -> Result<u8, Failure> {
    context.console.print(&format!("{:#}\n", schema(context)));
    Ok(OK)
}

/// The schema with the options of every plugin of this program.
pub fn schema(context: &Context) -> Value {
    clinmill_spec::json_schema(&PluginsOf(&context.registry))
}
