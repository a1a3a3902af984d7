//! The codes of everything this plugin can say about options and inputs.

/// A line that belongs to no message: no `MSH` stands before it.
pub const NO_MSH: &str = "HL7_NO_MSH";
/// A line between two segments that is no segment.
pub const GARBAGE: &str = "HL7_GARBAGE";
/// An `MSH` that ends before its encoding characters do, or before what the message needs of it.
pub const MSH_TRUNCATED: &str = "HL7_MSH_TRUNCATED";
/// Delimiters that are letters or digits, or the same one twice.
pub const DELIMITERS: &str = "HL7_DELIMITERS";
/// Bytes that the message's character set does not have.
pub const ENCODING: &str = "HL7_ENCODING";
/// A character set in MSH-18 that is not known here.
pub const CHARSET: &str = "HL7_CHARSET";
/// A message longer than `max_message`.
pub const TOO_LONG: &str = "HL7_TOO_LONG";
/// The last message of an MLLP stream or a batch, within which the input ends.
pub const CUT: &str = "HL7_CUT";
/// A record without the identifier of its subject.
pub const NO_SUBJECT: &str = "HL7_NO_SUBJECT";
/// A result that only says that its status changed, where versions replace each other.
pub const STATUS_ONLY: &str = "HL7_STATUS_ONLY";
/// A merge message that lacks one of the two identifiers.
pub const MERGE: &str = "HL7_MERGE";
/// A message that links, unlinks or moves identifiers otherwise than by a merge.
pub const NOT_DONE: &str = "HL7_NOT_DONE";
/// A batch or file trailer whose count differs from what was read, or a batch or file without its trailer.
pub const BATCH_COUNT: &str = "HL7_BATCH_COUNT";

/// An option that is not a path such as `PID-3.1`.
pub const BAD_PATH: &str = "HL7_PATH";
/// An option that names no segment.
pub const BAD_SEGMENT: &str = "HL7_SEGMENT";
/// A key column that is not among the fields.
pub const BAD_KEY: &str = "HL7_KEY";
/// A column name that the engine owns, or an empty one.
pub const BAD_COLUMN: &str = "HL7_COLUMN";
/// A message type that is not like `ADT` or `ORU^R01`.
pub const BAD_MESSAGE_TYPE: &str = "HL7_MESSAGE_TYPE";
/// A limit out of its range.
pub const BAD_LIMIT: &str = "HL7_LIMIT";
/// A time zone of the pipeline that the time zone database does not have.
pub const ZONE: &str = "HL7_ZONE";
/// Something that must be there is empty.
pub const EMPTY: &str = "HL7_EMPTY";

/// Rule: messages whose type the option `messages` does not list.
pub const RULE_MESSAGES: &str = "messages";
/// Rule: messages without any segment that `records` names.
pub const RULE_NO_RECORD: &str = "no_record";
/// Rule: merges of an identifier with itself.
pub const RULE_SAME_IDENTIFIER: &str = "merge_same_identifier";
/// Rule: OBX-11 I, O or N (HL7 table 0085): the segment carries no result.
pub const RULE_NO_RESULT: &str = "obx_11_no_result";
