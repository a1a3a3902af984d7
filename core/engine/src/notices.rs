//! The words of what a refresh tells somebody to look at, and of records that the engine itself rejects. Once published,
//! a word keeps its meaning. The page of the pipeline file lists them.

/// Where a word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among the `warnings` of a command.
    Warning,
    /// Among the codes of records in quarantine.
    Rejection,
}

/// One word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The word.
    pub code: &'static str,
    /// Where it stands.
    pub place: Place,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub advice: &'static str,
}

const fn warning(code: &'static str, meaning: &'static str, advice: &'static str) -> Notice {
    let place = Place::Warning;
    Notice {
        code,
        place,
        meaning,
        advice,
    }
}

const fn rejection(code: &'static str, meaning: &'static str, advice: &'static str) -> Notice {
    let place = Place::Rejection;
    Notice {
        code,
        place,
        meaning,
        advice,
    }
}

/// Versions that do not compare as text.
pub const UNCOMPARABLE_VERSIONS: &str = "UNCOMPARABLE_VERSIONS";

/// Every word that is not a plugin's, in order.
pub const ALL: &[Notice] = &[
    warning(
        "CUT",
        "A preview looked at 20,000 records of a source only, or `map` at 4 million.",
        "Run the pipeline to see all of them.",
    ),
    warning(
        "GATE",
        "A gate with `on_fail: warn` does not hold; the release was made.",
        "`clinmill gates FILE` lists the rows.",
    ),
    warning(
        "INPUT_GIVEN_UP",
        "Inputs could not be read to their end, and nothing of them counts: each is one rejected record.",
        "The message says why; mend the source's options or the file. They are read again when either changes.",
    ),
    warning(
        "INPUT_SKIPPED",
        "Files or folders were not read: `unsettled` (changed within `settle`), `unreadable`, `not-a-file`, `leaves-root` \
         and `link-loop` (links), `name-not-utf8`, `other-case` (`X.CSV` for `*.csv`).",
        "Nothing for `unsettled`: a later run reads them. Else check permissions, links and names.",
    ),
    warning(
        "INPUT_UNREADABLE",
        "Files could not be opened or read, or they changed meanwhile. Their names may be personal, and are not told.",
        "Run again where they were still being written; else look for what may not be read (`find inbox ! -readable`).",
    ),
    warning(
        "INPUT_WITHOUT_AS_OF",
        "The names of files do not fit `as_of`, or hold another kind of time than the others; they were not read.",
        "Mend the pattern, or rename the files.",
    ),
    warning(
        "KEY_MADE",
        "The first refresh made the vault's key.",
        "Keep a copy of it apart from the vault: without it no later refresh knows the subjects again.",
    ),
    warning(
        "NOTHING_SOLVED",
        "`quarantine replay` read the inputs again, and every record was rejected as before.",
        "Change the source's options or the step first.",
    ),
    warning(
        "NOT_DEIDENTIFIED",
        "What was exported names patients.",
        "It must not leave the hospital.",
    ),
    warning(
        "NO_ABSENCE",
        "A part of a complete export was rejected, so that what it lacks is not deleted.",
        "`clinmill quarantine list FILE`; send the export again.",
    ),
    warning(
        "NO_INPUT",
        "No file matches any glob, or none that of a source that never had one or whose folder is missing.",
        "Check `inputs` of the sources, and that files have arrived.",
    ),
    warning(
        "PLUGIN_STREAMS",
        "A loaded library took the command's standard output or error away; the result stands.",
        "Run it as a process, or do without it.",
    ),
    warning(
        "QUALITY_GATE",
        "A plan sees that `run` will refuse the refresh, with this code: a source of a table has another name.",
        "Give the source its old name back; where its rows are to get other identities: `run --approve-deletes`.",
    ),
    warning(
        "REFERENCE_CHANGED",
        "Files of a source with `keep: reference` have another content than when they were read.",
        "Give new contents new names, or leave `keep` out.",
    ),
    warning(
        "REJECTED",
        "Records that a preview rejected, by reason.",
        "`clinmill quarantine show` shows one after a refresh.",
    ),
    warning(
        "ROWS_REJECTED",
        "More than a twentieth of a table's rows were rejected by the steps behind it or by its contract.",
        "`clinmill quarantine list FILE`; mend the steps, the mappings or the table's `columns`.",
    ),
    warning(
        "SAME_AS_OF",
        "A complete export speaks of the same time as an earlier one: the two complete each other.",
        "Give a corrected export a later `as_of`.",
    ),
    warning(
        "SECRET",
        "A secret that the pipeline names was not found.",
        "Set the environment variable that the message names.",
    ),
    warning(
        "TABLE_EMPTY",
        "A table has no row: all that it would have were rejected.",
        "`clinmill quarantine list FILE`; mend the steps or the table's `columns`.",
    ),
    warning(
        UNCOMPARABLE_VERSIONS,
        "The versions of a source are numbers of different lengths, or dates whose text is not in the order of time.",
        "Let the export write leading zeros, or name a column with its `format`.",
    ),
    warning(
        "UNMET",
        "A source sent nothing for longer than its `expect` allows; what came is published.",
        "Ask for the export.",
    ),
    warning(
        "UNORDERED_VERSIONS",
        "Records came in more than one form, and nothing says which is the newer.",
        "Name the column that orders them (`version`), or the time of a file (`as_of`); records of two scopes are told apart by `key`.",
    ),
    rejection(
        "NO_SUBJECT",
        "The record names no subject.",
        "See `subject` of the source.",
    ),
    rejection(
        "TABLE_CONTRACT",
        "A value is not exactly one of the type that its table promises.",
        "Cast it in a `map` step, or change the column's type.",
    ),
    rejection(
        "TABLE_RANGE",
        "A number lies outside of the column's `range`.",
        "Mend the value in a step, or the range.",
    ),
    rejection(
        "TABLE_REQUIRED",
        "A column that must have a value has none.",
        "Fill it in a step, or filter the row.",
    ),
    rejection(
        "TABLE_UNIT",
        "A value is in another unit than the column promises.",
        "Convert it with `units`.",
    ),
    rejection(
        "TABLE_VALUE",
        "A value is none of the column's `values`.",
        "Map it in a step, or add it to the list.",
    ),
];

/// All of them as a Markdown table.
pub fn reference() -> String {
    let mut out = "\n| word | where | meaning | what to do |\n|---|---|---|---|\n".to_owned();
    for notice in ALL {
        let place = match notice.place {
            Place::Warning => "warning",
            Place::Rejection => "quarantine",
        };
        let (code, meaning, advice) = (notice.code, notice.meaning, notice.advice);
        out.push_str(&format!("| `{code}` | {place} | {meaning} | {advice} |\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_in_order() {
        for place in [Place::Warning, Place::Rejection] {
            let codes: Vec<&str> = ALL.iter().filter(|n| n.place == place).map(|n| n.code).collect();
            assert!(codes.windows(2).all(|w| w[0] < w[1]), "{codes:?}");
        }
        assert!(ALL.iter().all(|n| n.meaning.ends_with('.') && n.advice.ends_with('.')));
    }
}
