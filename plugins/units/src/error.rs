//! The codes of `units`.

use clinmill_sdk::PluginError;

/// The unit is neither in the table of spellings nor a UCUM code.
pub const UNKNOWN: &str = "UNITS_UNKNOWN";
/// The unit measures something else than the target unit.
pub const DIMENSION: &str = "UNITS_DIMENSION";
/// The target unit of the row is no UCUM code.
pub const TARGET: &str = "UNITS_TARGET";
/// The result does not fit, or there is none.
pub const RANGE: &str = "UNITS_RANGE";
/// A column is not there or of the wrong type, or a new one would hide another.
pub const COLUMN: &str = "UNITS_COLUMN";
/// A row of a table contradicts another one or itself.
pub const TABLE: &str = "UNITS_MAP";
/// Option findings.
pub const OPTIONS: &str = "UNITS_OPTIONS";

/// What is wrong with a table, under the code of this plugin.
pub fn of_table(error: PluginError) -> PluginError {
    PluginError {
        code: TABLE.into(),
        ..error
    }
}
