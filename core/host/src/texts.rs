//! Texts that plugins say, as the host repeats them: in reports, logs and on terminals.

use crate::limits::Limits;
use clinmill_sdk::{Finding, PluginError, Status};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// How long a text of a plugin may be, in bytes.
pub const LONGEST_TEXT: usize = 4096;
/// How long the name of a rule or of a count may be, in bytes.
pub const LONGEST_NAME: usize = 64;
/// How many digits a code or a name may hold: fewer than the identifier of a patient, a date or a number of a visit has.
const MOST_DIGITS: usize = 4;
/// How long the path of a source may be where a panic is told, in bytes.
const LONGEST_PATH: usize = 200;
/// How many codes of rejections, and how many names of rules and counts, one plugin may have in a run of the command.
pub const MOST_NAMES: usize = 256;

/// The phases that see no rows: what a plugin says in them is of its options, and is shown.
const WITHOUT_ROWS: [&str; 8] = ["load", "init", "start", "describe", "check", "bind", "probe", "open"];

/// The phases in which a plugin is handed rows or the bytes that they are read from.
const WITH_ROWS: [&str; 4] = ["splits", "read", "process", "write"];

fn has_few_digits(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() <= MOST_DIGITS
}

/// Whether a text is a code: stable, and to be searched for. It begins with a letter and has four digits at most, so that
/// what stands in a row is hardly one.
pub fn is_code(text: &str) -> bool {
    let is_of_code = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(is_of_code)
        && has_few_digits(text)
}

/// The signs of shapes beside those of ASCII: what numbers in reports of laboratories have.
const SIGNS: &str = "↑↓±×～—，（）：；、。…";

/// Whether a text is the name of a rule or of a count: words in small letters, with digits and `_`, `-`, `.` in them; after
/// the first, a word may also be a shape, which has signs, and one of `a`, `9`, `字` and `?` for what stands between them.
pub fn is_name(text: &str) -> bool {
    let is_of_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.,".contains(&b);
    let is_word = |word: &str| word.starts_with(|c: char| c.is_ascii_lowercase()) && word.bytes().all(is_of_word);
    let is_of_shape = |c: char| "a9字".contains(c) || c.is_ascii_punctuation() || SIGNS.contains(c);
    let is_shape = |word: &str| !word.contains("99") && word.chars().all(is_of_shape);
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let of_words = rest.split(' ').filter(|word| !is_shape(word));
    text.len() <= LONGEST_NAME
        && is_word(first)
        && of_words.clone().all(is_word)
        && has_few_digits(&[first].into_iter().chain(of_words).collect::<String>())
}

/// What a plugin says while it sees rows: the codes and names that it has said, and whether its texts are shown.
pub struct Known {
    said: Mutex<[BTreeSet<String>; 2]>,
    shows_texts: bool,
    /// Rows were handed to the plugin: from then on what it says in any phase may be of them.
    has_seen_rows: AtomicBool,
}

impl Known {
    /// Nothing yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            said: Mutex::default(),
            shows_texts: limits.shows_texts,
            has_seen_rows: AtomicBool::new(false),
        }
    }

    /// A call in this phase begins.
    pub fn enter(&self, phase: &str) {
        if WITH_ROWS.contains(&phase) {
            self.has_seen_rows.store(true, Ordering::Relaxed);
        }
    }

    /// What a plugin says in a phase, as it may be shown. In a phase that sees rows its text may hold a value, and is left
    /// out: its options' schema says under `x-codes` what a code means. A place in the options is kept for who resolves it.
    pub fn shown(&self, schema: &Value, plugin: &str, phase: &str, error: PluginError) -> PluginError {
        let sees_rows =
            !self.shows_texts && (self.has_seen_rows.load(Ordering::Relaxed) || !WITHOUT_ROWS.contains(&phase));
        let is_silent = error.message.trim().is_empty();
        if !sees_rows && !is_silent && error.status != Status::Panic {
            return error;
        }
        let what = match meaning(schema, &error.code) {
            Some(meaning) => meaning,
            None if is_silent => format!(
                "{} with the code {} and does not say why",
                how(error.status),
                error.code
            ),
            None if !sees_rows || is_place_of_panic(&error) => error.message.clone(),
            None => format!(
                "{}; what it says of that is not shown, for it may hold values of rows",
                how(error.status)
            ),
        };
        PluginError {
            message: format!("the plugin {plugin:?} in {phase}: {what}"),
            ..error
        }
    }

    /// The text of a rejection with this code, as it may be kept and shown: what the schema says of its code, or none.
    ///
    /// # Errors
    /// As [`code`](Self::code).
    pub fn rejection(&self, schema: &Value, plugin: &str, code: &str, text: &str) -> Result<String, PluginError> {
        self.code(code)?;
        let text = said(text, LONGEST_TEXT);
        Ok(match self.shows_texts && !text.trim().is_empty() {
            true => text,
            false => meaning(schema, code).unwrap_or_else(|| format!("rejected by the plugin {plugin:?}")),
        })
    }

    fn learn(&self, which: usize, text: &str, what: &str) -> Result<(), PluginError> {
        let mut all = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = all.get_mut(which) else { return Ok(()) };
        if known.contains(text) {
            return Ok(());
        }
        if known.len() >= MOST_NAMES {
            let what = format!("it has more than {MOST_NAMES} different {what}: they may hold values of rows");
            return Err(PluginError::new(Status::Internal, "ABI_NAMES", what));
        }
        known.insert(text.to_owned());
        Ok(())
    }

    /// The code of a rejected row or record.
    ///
    /// # Errors
    /// `ABI_CODE` when it is none, `ABI_NAMES` when there are too many.
    fn code(&self, code: &str) -> Result<(), PluginError> {
        if !is_code(code) {
            let what = "it rejects with a code that is none: capital letters, _ and at most four digits";
            return Err(PluginError::new(Status::Internal, "ABI_CODE", what));
        }
        self.learn(0, code, "codes of what it rejects")
    }

    /// The name of a count, or of a rule to filter by.
    ///
    /// # Errors
    /// `ABI_NAME` when it is none, `ABI_NAMES` when there are too many.
    pub fn name(&self, name: &str) -> Result<(), PluginError> {
        if !is_name(name) {
            let what = "the name of a count or rule is none: small letters, _ - . and at most four digits";
            return Err(PluginError::new(Status::Internal, "ABI_NAME", what));
        }
        self.learn(1, name, "names of counts and rules")
    }

    /// As [`name`](Self::name), of a rule that may begin with the name of a kind of records and a full stop.
    ///
    /// # Errors
    /// As [`name`](Self::name).
    pub fn rule<'k>(&self, rule: &str, kinds: impl IntoIterator<Item = &'k str>) -> Result<(), PluginError> {
        let after = |kind: &'k str| rule.strip_prefix(kind)?.strip_prefix('.').filter(|_| !kind.is_empty());
        match kinds.into_iter().find_map(after) {
            Some(rest) if is_name(rest) => self.learn(1, rule, "names of counts and rules"),
            _ => self.name(rule),
        }
    }
}

/// What a status says of a failure.
fn how(status: Status) -> &'static str {
    match status {
        Status::Panic => "it panicked",
        Status::ResourceExhausted => "it has less memory, or less of something else, than it needs: it failed",
        Status::Timeout => "it waited too long: it failed",
        Status::Io => "it could not read or write: it failed",
        _ => "it failed",
    }
}

/// What the schema of a plugin's options says of a code: it was said before any row was seen.
fn meaning(schema: &Value, code: &str) -> Option<String> {
    let text = schema.get("x-codes")?.get(code)?.as_str()?;
    Some(said(text, LONGEST_TEXT)).filter(|text| !text.trim().is_empty())
}

/// `the plugin panicked`, and where: as the SDK says it, with the end of the path of a source.
fn is_place_of_panic(error: &PluginError) -> bool {
    // Fewer digits than what stands in a row has: a version, a year.
    let is_short = |digits: &str| digits.len() <= MOST_DIGITS;
    let is_path = |text: &str| {
        let mut runs = text.split(|c: char| !c.is_ascii_digit());
        text.len() <= LONGEST_PATH
            && text.starts_with(|c: char| c.is_ascii_alphabetic() || "_./".contains(c))
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b))
            && runs.all(is_short)
    };
    let is_number = |text: &str| (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let is_place = |text: &str| {
        let (line, column) = text.split_once(':').unwrap_or((text, "1"));
        is_number(line) && is_number(column) && is_short(column)
    };
    let rest = match error.status {
        Status::Panic => error.message.strip_prefix("the plugin panicked"),
        _ => None,
    };
    match rest.map(|rest| rest.strip_prefix(" at ").and_then(|at| at.rsplit_once(".rs:"))) {
        Some(Some((path, place))) => is_path(path) && is_place(place),
        Some(None) => rest == Some(""),
        None => false,
    }
}

/// Characters that are not seen, or change how others are: the general category Cf of the Unicode Character Database 16.
const UNSEEN: [(char, char); 21] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{2064}'),
    ('\u{2066}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
];

/// A text without control characters and those that are not seen, and cut; what separates words still does.
pub fn said(text: &str, longest: usize) -> String {
    let cut = text.get(..text.floor_char_boundary(longest)).unwrap_or_default();
    let is_unseen = |c: char| UNSEEN.iter().any(|(first, last)| (*first..=*last).contains(&c));
    let kept = cut.chars().filter_map(|c| match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        c if c.is_ascii() => (!c.is_control()).then_some(c),
        c => (!c.is_control() && !is_unseen(c)).then_some(c),
    });
    kept.collect()
}

/// What is said of a transform that no batch of rows is enough for.
pub const ROW_WISE_ALONE: &str =
    "it needs all rows of a subject or of the dataset at once, and this host hands a transform one batch at a time";

/// What is said of a schema with a keyword that is not read.
pub fn of_options(what: &str) -> String {
    format!("the schema of its options: {what}; PLUGINS.md has those that are, and `check` can say the rest")
}

/// How many findings of one *check* are shown.
const MOST_FINDINGS: usize = 100;

/// The findings of the *check* of this plugin, and how many more there are; `None` when one is none.
pub fn findings(plugin: &str, all: &[Value]) -> Option<Vec<Finding>> {
    let mut shown: Vec<Finding> = all
        .iter()
        .take(MOST_FINDINGS)
        .map(|one| finding(plugin, one))
        .collect::<Option<_>>()?;
    if let Some(last) = shown.last()
        && all.len() > MOST_FINDINGS
    {
        let more = Finding {
            code: last.code.clone(),
            pointer: String::new(),
            message: format!(
                "the plugin {plugin:?} in check: it has {} more findings",
                all.len() - MOST_FINDINGS
            ),
            hint: None,
        };
        shown.push(more);
    }
    Some(shown)
}

/// A finding of the *check* of this plugin; `None` when it is none.
fn finding(plugin: &str, value: &Value) -> Option<Finding> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(|t| said(t, LONGEST_TEXT));
    let code = text("code").filter(|code| is_code(code))?;
    let message = match text("message")? {
        silent if silent.trim().is_empty() => {
            format!("the plugin {plugin:?} in check: it finds {code} and does not say why")
        }
        message => message,
    };
    Some(Finding {
        code,
        pointer: text("pointer").unwrap_or_default(),
        message,
        hint: text("hint"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_hold_no_control_characters() {
        assert_eq!(said("a\u{1b}[2J\nb\0\u{9b}c", 100), "a[2J bc");
        assert_eq!(said("éé", 3), "é");
        assert_eq!(
            said("a\u{2029}b\u{2028}c\u{202e}d\u{200b}\u{feff}\u{e0041}王", 100),
            "a b cd王"
        );
        assert!(is_code("HL7_2") && is_code(&"A".repeat(64)));
        for text in ["", "a", "A B", "É", "A\u{1b}", &"A".repeat(65), "12", "_A", "MRN_20391"] {
            assert!(!is_code(text), "{text:?}");
        }
        for text in [
            "mapped",
            "icd-10.where",
            "range mismatch",
            "unparsed 字 9/a…",
            "unparsed >=",
            "unparsed ↑字（a）",
        ] {
            assert!(is_name(text), "{text:?}");
        }
        for text in [
            "",
            "王小明",
            "Smith",
            "visit 王",
            "unparsed 7/a",
            "no12345",
            "9",
            "a\u{1b}",
            "unparsed ⠋⠕",
            "unparsed \u{202e}a",
            "unparsed a\u{2029}",
            "unparsed 😀",
            &"a".repeat(65),
        ] {
            assert!(!is_name(text), "{text:?}");
        }
    }

    #[test]
    fn codes_and_names_are_few() {
        let known = Known::new(&Limits::default());
        let code = |n: usize| format!("A{n}");
        (0..MOST_NAMES).for_each(|n| known.code(&code(n)).unwrap());
        known.code(&code(0)).unwrap();
        assert_eq!(known.code("ONE_MORE").unwrap_err().code, "ABI_NAMES");
        assert_eq!(known.code("王").unwrap_err().code, "ABI_CODE");
        known.name("other").unwrap();
        assert_eq!(known.name("Smith").unwrap_err().code, "ABI_NAME");
        known.rule("检验.where", ["", "检验"]).unwrap();
        for rule in ["检验.王", "王.where", ".where"] {
            assert_eq!(known.rule(rule, ["", "检验"]).unwrap_err().code, "ABI_NAME", "{rule}");
        }
    }

    #[test]
    fn what_is_said_of_rows_is_not_shown() {
        let schema = serde_json::json!({ "x-codes": { "OWN_LATE": "the time lies in the future" } });
        let known = Known::new(&Limits::default());
        let of = |phase: &str, status, code: &str, text: &str| {
            let error = PluginError::new(status, code, text);
            known.shown(&schema, "own", phase, error).message
        };
        let data = Status::InvalidData;
        assert_eq!(of("bind", data, "OWN_X", "no column 王"), "no column 王");
        assert!(!of("process", data, "OWN_X", "王小明 is no name").contains('王'));
        let later = Known::new(&Limits::default());
        let of_open = |known: &Known| {
            let error = PluginError::new(data, "OWN_X", "it was 王小明");
            known.shown(&schema, "own", "open", error).message
        };
        for phase in ["bind", "release"] {
            later.enter(phase);
        }
        assert!(of_open(&later).contains('王'), "no row yet");
        later.enter("process");
        assert!(!of_open(&later).contains('王'), "it has kept one");
        assert!(!of("commit", data, "OWN_X", "王小明 is no name").contains('王'));
        let late = of("process", data, "OWN_LATE", "2070-01-01");
        assert_eq!(late, "the plugin \"own\" in process: the time lies in the future");
        let panic = |text: &str| of("process", Status::Panic, "PANIC", text);
        assert!(panic("the plugin panicked at own/src/lib.rs:7").ends_with("at own/src/lib.rs:7"));
        assert!(panic("the plugin panicked at own-1.2.30/src/lib.rs:70:9").ends_with("lib.rs:70:9"));
        assert!(panic("the plugin panicked").ends_with(": the plugin panicked"));
        for text in [
            "the plugin panicked at 11010519491231002X.rs:7",
            "the plugin panicked at src/19491231.rs:7",
            "the plugin panicked at lib.rs:110105",
            "the plugin panicked at lib.rs:7:19491",
            "the plugin panicked at lib.rs:7:",
            "the plugin panicked at lib.rs:",
            "the plugin panicked at .rs:7",
        ] {
            assert!(panic(text).contains("not shown"), "{text}");
        }
        for text in [
            "the plugin panicked at 王.rs:7",
            "the plugin panicked: 王",
            "panicked at a.rs:7 王",
        ] {
            assert!(
                !panic(text).contains('王') && panic(text).contains("not shown"),
                "{text}"
            );
        }
        // What is not said is told with plugin, phase and code.
        for phase in ["bind", "open", "process"] {
            let silent = format!("the plugin \"own\" in {phase}: it failed with the code OWN_X and does not say why");
            assert_eq!(of(phase, data, "OWN_X", " "), silent);
        }
        let found = finding("own", &serde_json::json!({ "code": "OWN_X", "message": "\u{200b}" })).unwrap();
        assert_eq!(
            found.message,
            "the plugin \"own\" in check: it finds OWN_X and does not say why"
        );
        let rejection = |known: &Known, code: &str| known.rejection(&schema, "own", code, "王小明").unwrap();
        assert_eq!(rejection(&known, "OWN_LATE"), "the time lies in the future");
        assert_eq!(rejection(&known, "OWN_X"), "rejected by the plugin \"own\"");
        // Where the rows are nobody's.
        let open = Known::new(&Limits {
            shows_texts: true,
            ..Limits::default()
        });
        assert_eq!(rejection(&open, "OWN_X"), "王小明");
        let error = PluginError::new(data, "OWN_X", "王小明");
        assert_eq!(open.shown(&schema, "own", "process", error.clone()), error);
    }
}
