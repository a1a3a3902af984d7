//! The options of `newplugin`.

use schemars::JsonSchema;
use serde::Deserialize;

/// Options of the `newplugin` transform.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewpluginConfig {
    /// The column of text to tidy.
    pub column: String,
    /// Name of the new column. Without it, the column itself is replaced.
    #[serde(default, rename = "as")]
    pub output: Option<String>,
}
