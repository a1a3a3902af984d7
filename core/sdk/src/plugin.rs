//! What all plugins share: how they describe themselves, and what the host hands them.

use crate::{PluginError, Status};
use clinmill_abi::Cap;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

/// The options of a plugin: the only place where they are described.
pub trait Config: DeserializeOwned + JsonSchema + Send + 'static {}
impl<T: DeserializeOwned + JsonSchema + Send + 'static> Config for T {}

/// The plugin kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Turns inputs into events.
    Source,
    /// Turns rows into rows.
    Transform,
    /// Takes a release's changes elsewhere.
    Sink,
}

/// What a plugin can do, and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Caps(u64);

impl Caps {
    /// Each output row comes from exactly one input row of the same batch.
    pub const ROW_WISE: Self = Self::one(Cap::RowWise);
    /// The plugin needs all rows of a subject together. Transforms are handed one batch at a time: the host refuses to load
    /// one that says so.
    pub const SUBJECT_WISE: Self = Self::one(Cap::SubjectWise);
    /// The plugin needs all rows of all subjects. As [`SUBJECT_WISE`](Self::SUBJECT_WISE).
    pub const DATASET_WISE: Self = Self::one(Cap::DatasetWise);
    /// One input can be read in several splits. Of a process plugin, *splits* is asked only where it says so.
    pub const SPLITS: Self = Self::one(Cap::Splits);
    /// Records may say that an earlier one is void.
    pub const DELETES: Self = Self::one(Cap::Deletes);
    /// Rows may be rejected.
    pub const REJECTS: Self = Self::one(Cap::Rejects);
    /// The same input gives the same output.
    pub const DETERMINISTIC: Self = Self::one(Cap::Deterministic);

    const fn one(cap: Cap) -> Self {
        Self(cap.code() as u64)
    }

    /// Both sets together.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set as the bits of `clinmill_plugin.h`.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of these bits of `clinmill_plugin.h`. Bits that this version does not know stay.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// True for one that no batch of rows is enough for.
    pub const fn needs_whole(self) -> bool {
        self.0 & Self::SUBJECT_WISE.and(Self::DATASET_WISE).0 != 0
    }

    /// True when all of `other` is in this set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// How a plugin describes itself.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// The name pipelines use.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// What its code is known by, where it was loaded: rows that went through other code are made anew. `None`: built in.
    pub build: Option<String>,
    /// One line.
    pub summary: String,
    /// Source, transform or sink.
    pub kind: Kind,
    /// What it can do.
    pub caps: Caps,
    /// JSON Schema 2020-12 of its options.
    pub schema: serde_json::Value,
}

/// Mapping files that an option names, read by the host: by file name within the folder, or one file.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    /// File name to content.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// What *bind* may look at. It is pure: everything from outside is already here.
#[derive(Clone, Debug, Default)]
pub struct BindContext {
    /// The pipeline's time zone (an IANA name), of every time that does not carry its own.
    pub timezone: Option<String>,
    /// The source's or step's name in the pipeline.
    pub name: String,
    /// Mapping files by the reference that options hold, such as `maps:lab-zh__loinc`: those of the step itself, and
    /// where a pipeline is bound those of its other steps too.
    pub resources: BTreeMap<String, Resource>,
}

impl BindContext {
    /// The mapping files behind a reference.
    ///
    /// # Errors
    /// When the host did not provide it.
    pub fn resource(&self, reference: &str) -> Result<&Resource, PluginError> {
        self.resources.get(reference).ok_or_else(|| {
            PluginError::new(
                Status::NotFound,
                "MAPPING_NOT_FOUND",
                format!("the mapping {reference:?} is not there"),
            )
        })
    }
}

/// The schema of an option that refers to mapping files: use it with `#[schemars(schema_with = "mapping_ref")]`.
/// The host finds these options by the format and reads the files before *bind*.
pub fn mapping_ref(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "format": "clinmill-mapping" })
}

/// What a running task is told.
#[derive(Clone, Copy)]
pub struct TaskContext<'a> {
    /// Set by the host to stop the task; poll it between batches, and in a large one every 100 ms or so.
    pub cancelled: &'a AtomicBool,
    /// Rows a batch should have, about.
    pub batch_rows: usize,
}

impl TaskContext<'_> {
    /// Returns an error once the host has asked to stop.
    ///
    /// # Errors
    /// [`Status::Cancelled`].
    pub fn check(&self) -> Result<(), PluginError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(PluginError::cancelled());
        }
        Ok(())
    }

    /// [`check`](Self::check) once in some thousand rows: for the loop over the rows of a batch.
    ///
    /// # Errors
    /// As `check`.
    #[inline]
    pub fn check_row(&self, row: usize) -> Result<(), PluginError> {
        match row.is_multiple_of(8192) {
            true => self.check(),
            false => Ok(()),
        }
    }
}
