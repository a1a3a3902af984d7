//! The stable codes of diagnostics: once published, a code keeps its meaning and is never used for another.

/// One line of the table of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Such as `E0104`.
    pub code: &'static str,
    /// What it means, in one line.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: &str = $code;)*
        /// Every code this crate gives, in order.
        pub const ALL: &[Code] = &[$(Code { code: $code, meaning: $meaning }),*];
    };
}

codes! {
    UNREADABLE = "E0100", "The file cannot be read.";
    TOO_LARGE = "E0101", "The file is larger than 1 MiB.";
    SYNTAX = "E0102", "The text is not YAML.";
    TAB = "E0103", "A tab stands where YAML allows only spaces.";
    DUPLICATE_KEY = "E0104", "A mapping holds the same key twice.";
    TOO_COMPLEX = "E0105", "The YAML is nested deeper than 64 levels or has more than 100,000 nodes.";
    ALIAS = "E0106", "The YAML uses an alias (`*name`).";
    DOCUMENT = "E0107", "The file is not one YAML document with a mapping at its top.";
    TAG = "E0108", "The YAML uses a tag (`!name`).";
    COMPLEX_KEY = "E0109", "A key is not a plain name.";
    CHARACTER = "E0110", "The text holds a character that YAML forbids.";
    TOO_MANY = "E0111", "There are more problems than are shown.";

    UNKNOWN_KEY = "E0201", "A key is not known here.";
    MISSING_KEY = "E0202", "A required key is missing.";
    WRONG_TYPE = "E0203", "A value has the wrong type.";
    BAD_CHOICE = "E0204", "A value is not one of the known ones.";
    BAD_NAME = "E0205", "A name does not follow the rule for names.";
    BAD_DURATION = "E0206", "A duration is not written like `10m`, `36h` or `7d`.";
    BAD_RANGE = "E0207", "A percentage or range cannot be read or is out of bounds.";
    BAD_SUBSTITUTION = "E0208", "`${...}` is not written like `${NAME}` or `${NAME:-default}`.";
    VARIABLE_UNSET = "E0209", "An environment variable is not set and has no default.";
    BAD_SECRET = "E0210", "A secret is not written as `{ $secret: name }`.";
    BAD_TIMEZONE = "E0211", "A time zone is not an IANA name.";
    BAD_VERSION = "E0212", "The version of the pipeline format is not known.";
    EXACTLY_ONE = "E0213", "Exactly one of several keys is needed.";
    BAD_PATTERN = "E0214", "A path pattern or its `{captures}` cannot be read.";
    RESERVED_NAME = "E0215", "A name belongs to the engine.";
    REPEATED = "E0216", "A list holds the same entry twice.";
    NOT_FOR_CHECK = "E0217", "A gate has a key that its check does not take.";

    UNKNOWN_NAME = "E0301", "No source or transform has this name.";
    UNKNOWN_KIND = "E0302", "The source has no such record kind.";
    KIND_NEEDED = "E0303", "The source has several record kinds and none is chosen.";
    CYCLE = "E0304", "Transforms read each other in a circle.";
    NAME_TAKEN = "E0305", "A source and a transform have the same name.";
    BAD_SQL = "E0306", "The SQL cannot be read.";
    UNKNOWN_CAPTURE = "E0307", "A `{capture}` is not in the glob of the source.";
    SCOPE_ORDER = "E0308", "A transform over one subject reads one over the whole dataset.";
    UNKNOWN_TABLE = "E0309", "No table of the pipeline has this name.";
    UNKNOWN_MODEL_TABLE = "E0310", "The standard model has no table of this name.";
    TWO_TABLES = "E0311", "The columns of a gate belong to several tables.";

    UNKNOWN_PLUGIN = "E0401", "No plugin of this kind has this name.";
    UNKNOWN_OPTION = "E0402", "The plugin has no such option.";
    MISSING_OPTION = "E0403", "A required option of the plugin is missing.";
    OPTION_TYPE = "E0404", "An option has the wrong type.";
    OPTION_CHOICE = "E0405", "An option is not one of the known values.";
    OPTION_BOUNDS = "E0406", "An option is too small, too large, too short or too long.";
    OPTION_SHAPE = "E0407", "An option has none of the forms the plugin knows.";
    OPTION_CHECK = "E0408", "The plugin's own check refuses an option.";
    PLUGIN_REFUSED = "E0409", "A plugin of the pipeline is not loaded.";
    COLUMN_NAME = "E0410", "A plugin yields a column without a name, or with one that is taken or cannot be used.";
    OPTION_SCHEMA = "E0411", "The plugin's schema refers to itself or asks for more than options are checked by.";

    PATH_ESCAPES = "E0501", "A path leaves the pipeline's folder or its root.";
    UNKNOWN_ROOT = "E0502", "A path begins with a root that is not declared.";
    PATH_IS_URL = "E0503", "A URL stands where a path is needed.";
    SCHEME = "E0504", "The store is not on `file:`: releases without a de-identification policy live on `file:` only.";
    OVERLAP = "E0505", "Vault and dataset lie one inside the other.";
    BAD_PATH = "E0506", "A path is empty or holds a character that no path may hold.";
    MAPPING = "E0510", "A mapping table cannot be found, read or used.";
    NO_TESTS = "E0511", "`tests` names what is not there.";

    SECTION_LATER = "E0601", "This section is not available in this version.";
    MODEL_LATER = "E0602", "Standard models of tables are not available in this version.";
    CONSTRAINT_LATER = "E0603", "This column constraint is not available in this version.";

    SQL_REFERENCE = "E0701", "A query over one subject reads a table that has no subjects.";
    SQL_DISTINCT_ON = "E0702", "`DISTINCT ON` keeps an arbitrary row.";
    SQL_LIMIT = "E0703", "`LIMIT` would cut across subjects, or keep other rows at every run.";
    SQL_NO_INPUT = "E0704", "A query gives rows that come from no input.";
    SQL_NOT_LOCAL = "E0705", "A part of a query cannot be computed for one subject at a time.";
    SQL_VOLATILE = "E0706", "A function gives another result at every run.";
    SQL_ORDER = "E0707", "A function depends on the order of the rows, and no order is given.";
    SQL_SUBQUERY = "E0708", "A subquery stands inside an expression.";
    SQL_NO_SELECT = "E0709", "A query is no `SELECT`.";
    UNION_TYPES = "E0710", "The parts of a union give a column different types.";
    SQL_PLAN = "E0711", "A query cannot be read or does not fit the columns there are.";
    SQL_UNKNOWN = "E0712", "A query reads what does not exist.";
    SQL_IGNORED = "E0713", "A clause of a query would have no effect.";
    SQL_COLUMN = "E0714", "A column of a query's result would be dropped, replaced or doubled.";
    NO_KEY = "E0720", "A table that comes from a query needs a `key`.";
    KEY_COLUMN = "E0721", "A key column is not a column of the table.";
    COLUMN_TYPE = "E0722", "A column cannot have the type that the table promises.";
    NO_COLUMN = "E0723", "A table lists a column that its relation does not have.";
    GATE_COLUMN = "E0724", "A gate names a table or column that there is not.";
    GATE_TYPE = "E0725", "A gate does not fit the type of its column.";
    GATE_SUBJECT = "E0726", "A gate compares tables whose rows are about no subject.";
    GATE_QUERY = "E0727", "A gate cannot be planned.";
    MODEL_COLUMNS = "E0728", "A table lacks columns that its model requires.";
    COLUMN_UNIT = "E0729", "The unit of a column is no UCUM code.";
    MODEL_UNTAKEN = "E0730", "A warning: a column that the model of a table does not take has almost the name of one that it does.";
    COLUMN_VALUES = "E0731", "A column of this type never holds one of the values that the table promises.";

    CASE_EMPTY = "E0801", "A test expects nothing.";
    CASE_GIVEN = "E0802", "What a test gives is neither rows nor files, or both.";
    CASE_STEP = "E0803", "A test names a step that the pipeline does not have.";
    CASE_COLUMN = "E0804", "A test names a column that the step does not have.";
    CASE_FILE = "E0805", "A file that a test gives cannot be made, or no source would read it.";
    CASE_VALUE = "E0806", "A value that a test gives does not fit its column.";
    CASE_TIME = "E0807", "A time is not written with its offset.";
    CASE_ASKED = "E0808", "A test asks for something that this step does not have.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        assert!(ALL.windows(2).all(|w| w[0].code < w[1].code));
        assert!(ALL.iter().all(|c| c.code.len() == 5 && c.meaning.ends_with('.')));
    }
}
