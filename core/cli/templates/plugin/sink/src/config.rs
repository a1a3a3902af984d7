//! The options of `newplugin`.

use schemars::JsonSchema;
use serde::Deserialize;

/// Options of the `newplugin` sink.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewpluginConfig {
    /// The folder to write to. It must be there.
    pub folder: String,
    /// True: the first line holds the names of the columns.
    #[serde(default)]
    pub header: bool,
}
