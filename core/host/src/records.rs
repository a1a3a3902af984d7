//! The records of a source as columns: its own, and the nine that the host must know of each.

use crate::limits::Limits;
use clinmill_sdk::{
    IdentityLink, PluginError, RecordKind, RecordMeta, Rejection, Status, SubjectId,
    arrow::{
        array::{ArrayRef, AsArray},
        datatypes::{DataType, Field, FieldRef, UInt8Type, UInt32Type, UInt64Type},
    },
};
use std::{collections::HashSet, sync::Arc};

/// How many kinds of records a source may have, and key columns a kind.
pub const MOST_KINDS: usize = 4096;
/// The most that is read of an input at once.
pub const LARGEST: usize = 4 << 20;
/// How many splits an input may have.
pub const MOST_SPLITS: usize = 1 << 16;

/// Of how many rejections the texts are kept.
const KEPT_REJECTIONS: u64 = 100_000;

/// What is said of an input that is cut too often.
pub fn too_many_splits() -> String {
    format!("it makes too many splits of an input: {MOST_SPLITS} at most")
}

/// How long the name of a kind may be, in bytes.
const LONGEST_KIND: usize = 64;

/// What is wrong with the names of a source's kinds: what follows the source's name in a pipeline and names a file. Only
/// the one kind of a source may have none.
pub fn misnamed(kinds: &[RecordKind]) -> Option<String> {
    let is_name = |name: &str| {
        name.len() <= LONGEST_KIND
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let mut seen = HashSet::new();
    kinds.iter().map(|kind| kind.name.as_str()).find_map(|name| {
        if name.is_empty() && kinds.len() > 1 {
            Some("a kind of records among several has no name".to_owned())
        } else if !name.is_empty() && !is_name(name) {
            Some(format!("{name:?} is no name of a kind of records: letters, digits and _, a letter first, {LONGEST_KIND} at most"))
        } else if !seen.insert(name) {
            Some(format!("two kinds of records have the name {name:?}"))
        } else {
            None
        }
    })
}

/// One *read* of a source: what the host keeps of it beside rows, and whether it gets on.
pub struct Reading {
    size: u64,
    memory: u64,
    /// What it says is checked, and not shown.
    is_judged: bool,
    kept: u64,
    rejections: u64,
    /// How far the input was read, and how much of it was said to be done.
    furthest: u64,
    told: u64,
    got_on: bool,
}

fn too_large(what: &str) -> PluginError {
    PluginError::new(Status::Internal, "ABI_TOO_LARGE", what)
}

impl Reading {
    /// Of an input of so many bytes, by a plugin with these limits.
    pub fn new(size: u64, limits: &Limits) -> Self {
        Self {
            size,
            memory: limits.memory,
            is_judged: limits.shows_texts,
            kept: 0,
            rejections: 0,
            furthest: 0,
            told: 0,
            got_on: false,
        }
    }

    /// Whether it has got on since it was asked last.
    pub fn has_got_on(&mut self) -> bool {
        std::mem::take(&mut self.got_on)
    }

    /// It hands over rows.
    ///
    /// # Errors
    /// `ABI_LOCATOR` when one of them does not stand in the input.
    pub fn rows(&mut self, meta: &RecordMeta) -> Result<(), PluginError> {
        self.got_on |= !meta.row.is_empty();
        if meta.row.values().contains(&0) {
            let what = "a record stands in row 0 of the input: the first row is 1";
            return Err(PluginError::new(Status::Internal, "ABI_LOCATOR", what));
        }
        let mut places = meta.offset.values().iter().zip(meta.length.values());
        places.try_for_each(|(&offset, &length)| self.stands(offset, length))
    }

    /// Whether something stands in the input where it is said to: `trace` reads there.
    fn stands(&self, offset: u64, length: u64) -> Result<(), PluginError> {
        match offset.checked_add(length).is_some_and(|end| end <= self.size) {
            true => Ok(()),
            false => Err(PluginError::new(
                Status::Internal,
                "ABI_LOCATOR",
                "a record stands beyond the end of the input",
            )),
        }
    }

    /// It reads so many bytes of the input from there.
    pub fn read(&mut self, offset: u64, bytes: usize) {
        let end = offset.saturating_add(bytes as u64).min(self.size);
        self.got_on |= end > self.furthest;
        self.furthest = self.furthest.max(end);
    }

    /// It says that so many bytes more are done: more than there are would only spoil the display, and is wrong where it is
    /// checked.
    pub fn progress(&mut self, bytes: u64) -> u64 {
        if self.is_judged {
            return bytes;
        }
        let bytes = bytes.min(self.size.saturating_sub(self.told));
        self.told += bytes;
        bytes
    }

    fn keep(&mut self, bytes: usize) -> Result<(), PluginError> {
        self.got_on = true;
        self.kept = self.kept.saturating_add(bytes as u64);
        match self.kept > self.memory {
            true => Err(too_large("its rejections and links hold more bytes than it may use")),
            false => Ok(()),
        }
    }

    /// It rejects a record. Of those beyond the first the texts are not kept.
    ///
    /// # Errors
    /// `ABI_TOO_LARGE` when it has too much to say, `ABI_LOCATOR` as [`rows`](Self::rows).
    pub fn reject(&mut self, rejection: &Rejection) -> Result<(), PluginError> {
        self.stands(rejection.at.offset, rejection.at.length)?;
        self.rejections += 1;
        self.keep(match self.rejections > KEPT_REJECTIONS {
            true => 0,
            false => size_of::<Rejection>() + rejection.code.len() + rejection.message.len(),
        })
    }

    /// It links two subjects.
    ///
    /// # Errors
    /// `ABI_TOO_LARGE` when it links too many, `ABI_LOCATOR` as [`rows`](Self::rows).
    pub fn link(&mut self, link: &IdentityLink) -> Result<(), PluginError> {
        self.stands(link.at.offset, link.at.length)?;
        let text = |id: &SubjectId| id.issuer.len() + id.id.len();
        let version = link.version.as_ref().map_or(0, String::len);
        self.keep(size_of::<IdentityLink>() + text(&link.survivor) + text(&link.retired) + version)
    }
}

/// The nine columns, in their order, of a kind that is about subjects or not.
pub fn meta(of_subject: bool) -> [Field; 9] {
    [
        ("issuer", DataType::Utf8, false),
        ("subject", DataType::Utf8, !of_subject),
        ("version", DataType::Utf8, true),
        ("void", DataType::UInt8, false),
        ("offset", DataType::UInt64, false),
        ("length", DataType::UInt64, false),
        ("row", DataType::UInt64, false),
        ("part", DataType::UInt32, false),
        ("cell", DataType::UInt32, true),
    ]
    .map(|(name, t, nullable)| Field::new(name, t, nullable))
}

/// The columns of a kind, and the nine.
pub fn with_meta(kind: &RecordKind) -> Vec<FieldRef> {
    let meta = meta(kind.subject).map(Arc::new);
    kind.schema.fields().iter().cloned().chain(meta).collect()
}

/// The nine columns as the engine takes them. Their types were looked at before.
///
/// # Errors
/// When they are not nine, or a record is neither void nor not.
pub fn of_meta(meta: &[ArrayRef]) -> Result<RecordMeta, PluginError> {
    let bad = |code: &str, what: &str| PluginError::new(Status::Internal, code, what);
    let [issuer, subject, version, void, offset, length, row, part, cell] = meta else {
        return Err(bad(
            "ABI_SCHEMA",
            "a batch has another number of columns than its schema",
        ));
    };
    let void = void.as_primitive::<UInt8Type>().clone();
    if void.values().iter().any(|void| *void > 1) {
        return Err(bad("ABI_VOID", "a record is neither void nor not"));
    }
    Ok(RecordMeta {
        issuer: issuer.as_string::<i32>().clone(),
        subject: subject.as_string::<i32>().clone(),
        version: version.as_string::<i32>().clone(),
        void,
        offset: offset.as_primitive::<UInt64Type>().clone(),
        length: length.as_primitive::<UInt64Type>().clone(),
        row: row.as_primitive::<UInt64Type>().clone(),
        part: part.as_primitive::<UInt32Type>().clone(),
        cell: cell.as_primitive::<UInt32Type>().clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(all: &[(u64, u64)]) -> RecordMeta {
        let mut meta = clinmill_sdk::RecordMetaBuilder::default();
        for &(offset, length) in all {
            let at = clinmill_sdk::Locator {
                offset,
                length,
                row: 1,
                ..Default::default()
            };
            meta.push("MRN", Some("1"), None, false, at);
        }
        meta.finish()
    }

    #[test]
    fn a_read_gets_on_by_what_ends() {
        let mut reading = Reading::new(100, &Limits::default());
        reading.read(0, 60);
        assert!(reading.has_got_on() && !reading.has_got_on());
        reading.read(20, 40);
        reading.rows(&places(&[])).unwrap();
        assert_eq!((reading.progress(70), reading.progress(70)), (70, 30));
        assert!(!reading.has_got_on(), "none of these is getting on");
        reading.read(1 << 40, 1);
        assert!(reading.has_got_on());
        reading.read(1 << 50, 1);
        assert!(!reading.has_got_on(), "beyond the end there is nothing to read");
        reading.rows(&places(&[(90, 10)])).unwrap();
        assert!(reading.has_got_on());
    }

    #[test]
    fn what_is_checked_is_not_cut_before() {
        let limits = Limits {
            shows_texts: true,
            ..Limits::default()
        };
        assert_eq!(Reading::new(100, &limits).progress(u64::MAX), u64::MAX);
    }

    #[test]
    fn names_of_kinds_are_names() {
        let told = |names: &[&str]| {
            let kind = |name: &&str| RecordKind {
                name: (*name).to_owned(),
                schema: Arc::new(clinmill_sdk::arrow::datatypes::Schema::empty()),
                key: clinmill_sdk::RecordKey::Content,
                fold: clinmill_sdk::Fold::Replace,
                subject: true,
            };
            misnamed(&names.iter().map(kind).collect::<Vec<_>>()).unwrap_or_default()
        };
        assert_eq!(told(&[""]), "");
        assert_eq!(told(&["patient", "Lab_2"]), "");
        assert!(told(&["", "a"]).contains("no name"));
        assert!(told(&["a", "a"]).contains("two kinds of records have the name \"a\""));
        for bad in ["bad name\u{1b}[31m", "a.b", "2a", "病", &"a".repeat(65)] {
            let told = told(&[bad]);
            assert!(told.contains("is no name") && !told.contains('\u{1b}'), "{told}");
        }
    }

    #[test]
    fn records_stand_in_their_input() {
        let mut reading = Reading::new(100, &Limits::default());
        let mut first = places(&[(0, 1)]);
        first.row = vec![0].into();
        assert_eq!(reading.rows(&first).unwrap_err().code, "ABI_LOCATOR");
        for (place, stands) in [
            ((0, 100), true),
            ((100, 0), true),
            ((90, 11), false),
            ((1, u64::MAX), false),
        ] {
            let told = reading.rows(&places(&[(0, 1), place]));
            assert_eq!(
                told.map_err(|error| error.code),
                stands.then_some(()).ok_or("ABI_LOCATOR".to_owned())
            );
        }
    }

    #[test]
    fn links_are_kept_as_far_as_memory_goes() {
        let subject = |id: &str| SubjectId {
            issuer: "MRN".into(),
            id: id.into(),
        };
        let link = IdentityLink {
            survivor: subject("1"),
            retired: subject(&"2".repeat(1000)),
            version: None,
            at: clinmill_sdk::Locator::default(),
        };
        let limits = Limits {
            memory: 100_000,
            ..Limits::default()
        };
        let mut reading = Reading::new(100, &limits);
        let kept = (0..1000).take_while(|_| reading.link(&link).is_ok()).count();
        assert!((50..100).contains(&kept), "{kept}");
    }
}
