//! Sources: from the bytes of an input to record batches, each row with its subject, version and locator.

use crate::{BindContext, Caps, Config, Findings, Input, PluginError, TaskContext};
use arrow::{
    array::{
        ArrayBuilder, ArrayRef, RecordBatch, StringArray, StringBuilder, UInt8Array, UInt32Array, UInt32Builder,
        UInt64Array,
    },
    datatypes::SchemaRef,
};

/// A source plugin: one value per configured source, immutable after bind, used from several threads at once.
pub trait Source: Send + Sync + Sized + 'static {
    /// The name pipelines use.
    const NAME: &'static str;
    /// The plugin's version.
    const VERSION: &'static str;
    /// One line for lists.
    const SUMMARY: &'static str;
    /// What it can do.
    const CAPS: Caps;
    /// Its options.
    type Config: Config;

    /// What JSON Schema cannot say about the options. Pure.
    fn check(config: &Self::Config, findings: &mut Findings) {
        let _ = (config, findings);
    }

    /// Makes the source from its options. Pure.
    ///
    /// # Errors
    /// When the options cannot be used; the pointer names the option.
    fn bind(config: Self::Config, context: &BindContext) -> Result<Self, PluginError>;

    /// The record kinds this source yields, in a fixed order.
    fn records(&self) -> &[RecordKind];

    /// Cuts an input into parts that can be read independently: all of it, in order, from its first byte to its end,
    /// without gap or overlap. The default is one part.
    ///
    /// # Errors
    /// When the input cannot be read.
    fn splits(&self, input: &dyn Input) -> Result<Vec<Split>, PluginError> {
        Ok(vec![Split::whole(input)])
    }

    /// Reads one split to its end, pushing batches, rejections and identity links. A bad record is a rejection; an
    /// error gives up the whole input, which is then quarantined under the error's code.
    ///
    /// # Errors
    /// When the input as a whole cannot be read, or the task was cancelled.
    fn read(
        &self,
        input: &dyn Input,
        split: &Split,
        task: &TaskContext<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError>;
}

/// A part of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// First byte that belongs to it.
    pub start: u64,
    /// End, exclusive.
    pub end: u64,
}

impl Split {
    /// All of an input.
    pub fn whole(input: &dyn Input) -> Self {
        Self {
            start: 0,
            end: input.size(),
        }
    }

    /// Whether these are all of an input of so many bytes: in order, from its first byte to its end, without gap or overlap.
    pub fn cover(splits: &[Self], size: u64) -> bool {
        let mut end = 0;
        let follows = |split: &Self| split.start == std::mem::replace(&mut end, split.end) && split.start <= split.end;
        splits.iter().all(follows) && end == size
    }
}

/// One kind of record that a source yields, such as `visit` or `result`.
#[derive(Clone, Debug)]
pub struct RecordKind {
    /// The name; empty for a source with a single, unnamed kind. The pipeline refers to it as `source.name` (or
    /// `source`).
    pub name: String,
    /// The columns of the record, without those the engine owns. All nullable.
    pub schema: SchemaRef,
    /// What makes a record the same record when it comes again.
    pub key: RecordKey,
    /// How versions of the same record combine.
    pub fold: Fold,
    /// False for a reference (wards, price lists): its records are about no subject.
    pub subject: bool,
}

/// What makes a record the same record when it comes again, within one subject identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordKey {
    /// Its content: equal records are one, counted by their ordinal within an input.
    Content,
    /// These columns of its schema. No column (an empty list): one record per subject identifier.
    Columns(Vec<String>),
}

/// How versions of the same record combine, in version order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// The latest replaces all earlier ones.
    Replace,
    /// A null leaves the earlier value, HL7's `""` clears it (HL7 v2.5, section 2.5.3).
    Patch,
}

/// A subject as its source names it: an identifier and who issued it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectId {
    /// The assigning authority, such as `MRN` or `HOSP^A`.
    pub issuer: String,
    /// The identifier.
    pub id: String,
}

/// Where in its input a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Locator {
    /// Byte offset in the input, as received (before decoding).
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// 1-based number of the row (tables: as a spreadsheet or editor shows it) or message.
    pub row: u64,
    /// Sheet index (tables), segment index within the message (HL7); 0 where there is one only.
    pub part: u32,
    /// 1-based column of the cell, for records made of one cell.
    pub cell: Option<u32>,
}

/// The rows of one record kind, with what the engine needs to know of each. All arrays have the same length.
pub struct RecordBatchOf {
    /// Index into [`Source::records`].
    pub kind: usize,
    /// The record's own columns, by its schema.
    pub rows: RecordBatch,
    /// Subject, version, operation and locator of each row.
    pub meta: RecordMeta,
}

/// What the engine needs to know of each row.
pub struct RecordMeta {
    /// Who issued the subject's identifier. Never null (an empty string where nobody is named).
    pub issuer: StringArray,
    /// The subject's identifier. Null only for references.
    pub subject: StringArray,
    /// The record's own version, comparable as text (a time, a sequence number with leading zeros). Null: none.
    pub version: StringArray,
    /// 0: the record holds; 1: the record is void (deleted, cancelled, posted for the wrong patient).
    pub void: UInt8Array,
    /// [`Locator::offset`].
    pub offset: UInt64Array,
    /// [`Locator::length`].
    pub length: UInt64Array,
    /// [`Locator::row`].
    pub row: UInt64Array,
    /// [`Locator::part`].
    pub part: UInt32Array,
    /// [`Locator::cell`].
    pub cell: UInt32Array,
}

/// Builds a [`RecordMeta`] row by row. A new batch begins with the room that the last one needed.
#[derive(Default)]
pub struct RecordMetaBuilder {
    issuer: StringBuilder,
    subject: StringBuilder,
    version: StringBuilder,
    void: Vec<u8>,
    offset: Vec<u64>,
    length: Vec<u64>,
    row: Vec<u64>,
    part: Vec<u32>,
    cell: UInt32Builder,
}

impl RecordMetaBuilder {
    /// Appends one row. `subject` is `None` for references only.
    #[inline]
    pub fn push(&mut self, issuer: &str, subject: Option<&str>, version: Option<&str>, void: bool, at: Locator) {
        self.issuer.append_value(issuer);
        self.subject.append_option(subject);
        self.version.append_option(version);
        self.void.push(u8::from(void));
        self.offset.push(at.offset);
        self.length.push(at.length);
        self.row.push(at.row);
        self.part.push(at.part);
        self.cell.append_option(at.cell);
    }

    /// How many rows were appended since the last [`finish`](Self::finish).
    pub fn len(&self) -> usize {
        self.row.len()
    }

    /// True when nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows so far; the builder is empty afterwards.
    pub fn finish(&mut self) -> RecordMeta {
        fn taken<T>(values: &mut Vec<T>) -> Vec<T> {
            let room = Vec::with_capacity(values.len());
            std::mem::replace(values, room)
        }
        fn texts(builder: &mut StringBuilder) -> StringArray {
            let room = StringBuilder::with_capacity(builder.len(), builder.values_slice().len());
            std::mem::replace(builder, room).finish()
        }
        RecordMeta {
            issuer: texts(&mut self.issuer),
            subject: texts(&mut self.subject),
            version: texts(&mut self.version),
            void: UInt8Array::from(taken(&mut self.void)),
            offset: UInt64Array::from(taken(&mut self.offset)),
            length: UInt64Array::from(taken(&mut self.length)),
            row: UInt64Array::from(taken(&mut self.row)),
            part: UInt32Array::from(taken(&mut self.part)),
            cell: self.cell.finish(),
        }
    }
}

impl RecordBatchOf {
    /// Puts columns and metadata together.
    ///
    /// # Errors
    /// When the columns do not fit the schema or the lengths differ.
    pub fn new(kind: usize, schema: SchemaRef, columns: Vec<ArrayRef>, meta: RecordMeta) -> Result<Self, PluginError> {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(meta.row.len()));
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
        Ok(Self { kind, rows, meta })
    }
}

/// One record that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Index into [`Source::records`], if the kind is known.
    pub kind: Option<usize>,
    /// A stable code, upper case with the plugin's prefix: `TABLE_RAGGED_ROW`.
    pub code: String,
    /// What is wrong, without any value of the record.
    pub message: String,
    /// Where it stands.
    pub at: Locator,
}

/// An identifier that another one replaces: HL7 A18, A34, A36, A39, A40 and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityLink {
    /// The identifier that stays.
    pub survivor: SubjectId,
    /// The identifier that is no longer used.
    pub retired: SubjectId,
    /// When it was said, comparable as text.
    pub version: Option<String>,
    /// Where it was said.
    pub at: Locator,
}

/// Where a source pushes what it reads. Every record read is pushed once: in a batch, as a rejection, as filtered or
/// as a link.
pub trait RecordSink {
    /// Rows of one kind.
    ///
    /// # Errors
    /// When the host cannot take more; stop and return it.
    fn rows(&mut self, batch: RecordBatchOf) -> Result<(), PluginError>;
    /// A record that could not be used.
    ///
    /// # Errors
    /// When the host cannot take more; stop and return it.
    fn reject(&mut self, rejection: Rejection) -> Result<(), PluginError>;
    /// `count` records that the options leave out by a named rule.
    fn filtered(&mut self, rule: &str, count: u64);
    /// Two identifiers of one subject.
    ///
    /// # Errors
    /// When the host cannot take more; stop and return it.
    fn link(&mut self, link: IdentityLink) -> Result<(), PluginError>;
    /// Bytes read since the last call, for progress.
    fn progress(&mut self, bytes: u64);
}
