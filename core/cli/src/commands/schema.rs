//! `clinmill schema`: the JSON Schema of the pipeline file.

use crate::{
    args,
    context::Context,
    failure::{Failure, OK},
};
use clinmill_engine::bound::PluginsOf;
use clinmill_sdk::Registry;
use serde_json::Value;

/// Prints the schema; it is JSON in either format.
///
/// # Errors
/// When a plugin of the pipeline is not loaded.
pub fn run(context: &Context, args: &args::Schema) -> Result<u8, Failure> {
    let schema = match &args.file {
        Some(file) => schema(&context.plugins_of(file)?),
        None => schema(&context.registry),
    };
    context.console.print(&format!("{schema:#}\n"));
    Ok(OK)
}

/// The schema with the options of every plugin of a registry.
pub fn schema(registry: &Registry) -> Value {
    clinmill_spec::json_schema(&PluginsOf(registry))
}
