//! The options of `newplugin`.

use schemars::JsonSchema;
use serde::Deserialize;

/// Options of the `newplugin` source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewpluginConfig {
    /// Who issued the identifiers.
    pub issuer: String,
}
