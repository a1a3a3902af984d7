//! Which inputs were read: one segment per refresh, one line per input, never changed. What is in the ledger was
//! counted; what is not is pending.

use super::{
    error::Result,
    glob::Captures,
    segment::{SegmentWriter, Segments},
};
use clinmill_model::{Digest, Sensitive};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase")]
pub enum LedgerLine {
    /// An input was read.
    Input(LedgerEntry),
    /// The content of an input already counted was seen under a new path (sources in order of arrival only).
    Sighting(Sighting),
}

/// An input that was read, also one that could not be understood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Its number, unique in the vault; event locators name it.
    pub number: u32,
    /// The source.
    pub source: String,
    /// The parse generation it was read under: digest of the plugin and its canonical options.
    pub parse_id: Digest,
    /// SHA-256 of its content.
    pub sha256: Digest,
    /// Its path from the searched folder. May hold identifiers.
    #[serde(with = "sensitive")]
    pub path: Sensitive<String>,
    /// What the source's pattern captured from the path. May hold identifiers.
    #[serde(with = "sensitive")]
    pub captures: Sensitive<Captures>,
    /// What time it speaks of, comparable as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Its place in the order of arrival, for sources that go by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<u64>,
    /// Size in bytes.
    pub size: u64,
    /// True when the vault holds only a reference to the file.
    #[serde(default)]
    pub referenced: bool,
    /// What became of its records.
    pub counts: RecordCounts,
    /// Code of the reason why it could not be read, if so; without values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of the records of an input: `read = written + duplicates + rejected + filtered`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCounts {
    /// Records read.
    pub read: u64,
    /// Events written.
    pub written: u64,
    /// Records that were there already.
    pub duplicates: u64,
    /// Records in quarantine.
    pub rejected: u64,
    /// Records a declared filter left out.
    pub filtered: u64,
}

impl RecordCounts {
    /// True when every record read is accounted for.
    pub fn balances(&self) -> bool {
        [self.written, self.duplicates, self.rejected, self.filtered]
            .iter()
            .try_fold(0u64, |sum, n| sum.checked_add(*n))
            == Some(self.read)
    }
}

impl std::ops::AddAssign for RecordCounts {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.written += other.written;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.filtered += other.filtered;
    }
}

/// A path at which the content of an input already counted lay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The source.
    pub source: String,
    /// The path from the searched folder. May hold identifiers.
    #[serde(with = "sensitive")]
    pub path: Sensitive<String>,
    /// SHA-256 of the content.
    pub sha256: Digest,
}

/// An input as a source counts it, whichever parse generation read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) sha256: Digest,
    pub(super) captures: Sensitive<Captures>,
    pub(super) as_of: Option<String>,
    pub(super) arrival: Option<u64>,
}

impl Identity {
    fn of(entry: &LedgerEntry) -> Self {
        Self {
            sha256: entry.sha256,
            captures: entry.captures.clone(),
            as_of: entry.as_of.clone(),
            arrival: entry.arrival,
        }
    }
}

/// One input of a source with all that is known of it.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) identity: Identity,
    pub(super) path: Sensitive<String>,
    pub(super) size: u64,
    pub(super) referenced: bool,
    /// It was read under the parse generation of the source's last reading.
    pub(super) parsed: bool,
    /// The number of its last reading.
    pub(super) number: u32,
}

/// All lines of the ledger, folded for lookup.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: Vec<LedgerEntry>,
    numbers: HashMap<u32, usize>,
    sources: BTreeMap<String, SourceLedger>,
    next_number: u32,
}

/// What the ledger knows of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceLedger {
    /// In the order of their first reading.
    pub(super) generations: Vec<Generation>,
    pub(super) by_identity: HashMap<Identity, usize>,
    /// The content last counted or seen at each path.
    pub(super) at_path: HashMap<Sensitive<String>, Digest>,
    /// The generation of the greatest arrival number.
    pub(super) latest: Option<usize>,
    pub(super) last_arrival: u64,
    /// The parse generation of the last reading.
    current: Option<Digest>,
}

impl Ledger {
    /// Adds a line, in the order of the segments and of the lines in them.
    pub fn push(&mut self, line: LedgerLine) {
        match line {
            LedgerLine::Sighting(s) => {
                let source = self.sources.entry(s.source).or_default();
                source.at_path.insert(s.path, s.sha256);
            }
            LedgerLine::Input(entry) => {
                self.sources.entry(entry.source.clone()).or_default().push(&entry);
                self.next_number = self.next_number.max(entry.number.saturating_add(1));
                self.numbers.insert(entry.number, self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    /// Every input ever read, in ledger order.
    pub fn entries(&self) -> &[LedgerEntry] {
        &self.entries
    }

    /// The input with this number.
    pub fn by_number(&self, number: u32) -> Option<&LedgerEntry> {
        self.numbers.get(&number).and_then(|i| self.entries.get(*i))
    }

    /// The last reading of the input that was read under this number.
    pub fn last_reading(&self, number: u32) -> Option<&LedgerEntry> {
        self.last_reading_of(self.by_number(number)?)
    }

    /// The last reading of the input that this is a reading of, which need not be in the ledger.
    pub fn last_reading_of(&self, entry: &LedgerEntry) -> Option<&LedgerEntry> {
        let source = self.sources.get(&entry.source)?;
        let generation = source.by_identity.get(&Identity::of(entry))?;
        self.by_number(source.generations.get(*generation)?.number)
    }

    /// The number for the next input; each entry takes one.
    pub fn next_number(&self) -> u32 {
        self.next_number
    }

    pub(super) fn source(&self, name: &str) -> Option<&SourceLedger> {
        self.sources.get(name)
    }
}

impl SourceLedger {
    /// True for an input whose events of this parse generation are kept.
    pub(super) fn is_parsed(&self, input: &Generation, parse_id: &Digest) -> bool {
        input.parsed && self.current.as_ref() == Some(parse_id)
    }

    fn push(&mut self, entry: &LedgerEntry) {
        // Only the events of the latest parse generation are kept: going back to an earlier one reads all inputs again.
        if self.current.replace(entry.parse_id) != Some(entry.parse_id) {
            self.generations.iter_mut().for_each(|g| g.parsed = false);
        }
        let identity = Identity::of(entry);
        let first_time = !self.by_identity.contains_key(&identity);
        let known = *self.by_identity.entry(identity.clone()).or_insert_with(|| {
            self.generations.push(Generation {
                identity,
                path: entry.path.clone(),
                size: entry.size,
                referenced: entry.referenced,
                parsed: true,
                number: entry.number,
            });
            self.generations.len() - 1
        });
        if let Some(generation) = self.generations.get_mut(known) {
            generation.parsed = true;
            generation.number = entry.number;
        }
        // Reading the past again tells nothing about what lies at a path now.
        if first_time {
            self.at_path.insert(entry.path.clone(), entry.sha256);
            if entry
                .arrival
                .is_some_and(|n| n > self.last_arrival || self.latest.is_none())
            {
                self.last_arrival = entry.arrival.unwrap_or_default();
                self.latest = Some(known);
            }
        }
    }
}

/// `<vault>/ledger`.
#[derive(Debug)]
pub struct LedgerStore(Segments<LedgerLine>);

impl LedgerStore {
    pub(super) fn new(root: &Path) -> Self {
        Self(Segments::new(root, "ledger", "ledger segment"))
    }

    /// Begins the segment of a refresh.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(&self) -> Result<SegmentWriter<LedgerLine>> {
        self.0.create()
    }

    /// Reads and folds segments, oldest first.
    ///
    /// # Errors
    /// A missing or damaged segment, by its digest.
    pub fn load(&self, segments: &[Digest]) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        for digest in segments {
            self.0.read(digest, |line| ledger.push(line))?;
        }
        Ok(ledger)
    }
}

/// Sensitive values in files that stay in the vault.
pub(super) mod sensitive {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(in super::super) fn serialize<T: Serialize, S: Serializer>(
        value: &Sensitive<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.expose().serialize(to)
    }

    pub(in super::super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Sensitive<T>, D::Error> {
        T::deserialize(from).map(Sensitive::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::testing::{entry, vault};

    #[test]
    fn folds_segments_in_order() {
        let (_dir, vault) = vault();
        let store = vault.ledger();
        let write = |lines: Vec<LedgerLine>| {
            let mut writer = store.create().unwrap();
            lines.iter().for_each(|l| writer.push(l).unwrap());
            writer.finish().unwrap().unwrap()
        };
        let first = write(vec![LedgerLine::Input(entry(0, "lis", "p1", b"a", "x/4711.csv"))]);
        let second = write(vec![
            LedgerLine::Input(entry(1, "lis", "p1", b"b", "y.csv")),
            LedgerLine::Sighting(Sighting {
                source: "lis".into(),
                path: Sensitive::new("z.csv".into()),
                sha256: Digest::of(b"b"),
            }),
        ]);
        let ledger = store.load(&[first, second]).unwrap();
        assert_eq!(ledger.entries().len(), 2);
        assert_eq!(ledger.next_number(), 2);
        assert_eq!(ledger.by_number(0).unwrap().path.expose(), "x/4711.csv");
        assert!(ledger.by_number(2).is_none());
        assert_eq!(
            ledger.source("lis").unwrap().at_path[&Sensitive::new("z.csv".to_owned())],
            Digest::of(b"b")
        );
        assert!(!format!("{ledger:?}").contains("4711"));
        assert!(store.load(&[Digest::of(b"none")]).is_err());
    }

    #[test]
    fn counts_balance() {
        let mut counts = RecordCounts {
            read: 10,
            written: 7,
            duplicates: 1,
            rejected: 1,
            filtered: 1,
        };
        assert!(counts.balances());
        counts += counts;
        assert!(counts.balances() && counts.read == 20);
        counts.rejected += 1;
        assert!(!counts.balances());
    }
}
