//! Errors and findings of plugins. Neither may hold a row's values or a secret.

use std::fmt;

/// What kind of failure it is; the numbers are those of `clinmill_plugin.h` and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// The host asked to stop.
    Cancelled = 1,
    /// The options are wrong: the author of the pipeline must act.
    InvalidConfig = 2,
    /// The input is wrong as a whole: the sender must act.
    InvalidData = 3,
    /// A call came when it may not.
    InvalidState = 4,
    /// The plugin cannot do this.
    Unsupported = 5,
    /// Something named is not there.
    NotFound = 6,
    /// The other side does not know who asks.
    Unauthenticated = 7,
    /// The other side refuses.
    Unauthorized = 8,
    /// Reading or writing failed.
    Io = 9,
    /// It took too long.
    Timeout = 10,
    /// A limit of memory, size or depth was met.
    ResourceExhausted = 11,
    /// Somebody else was first.
    Conflict = 12,
    /// Nobody knows whether the commit happened: ask `resolve`.
    CommitUnknown = 13,
    /// A defect of the plugin.
    Internal = 14,
    /// The plugin panicked and cannot be used again.
    Panic = 15,
}

/// Whether trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Retry {
    /// It will fail again.
    Never = 0,
    /// It may pass later.
    Later = 1,
    /// It may pass at once.
    Now = 2,
}

/// Why a plugin's call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginError {
    /// The kind of failure.
    pub status: Status,
    /// Whether to try again.
    pub retry: Retry,
    /// A stable code, upper case with the plugin's prefix: `HL7_NO_MSH`.
    pub code: String,
    /// For people; never a row's value.
    pub message: String,
    /// RFC 6901 pointer into the options, where they are at fault.
    pub pointer: Option<String>,
    /// Byte offset in the input, where the input is at fault.
    pub offset: Option<u64>,
}

/// The code of a plugin made with this crate that is called after it panicked.
pub const POISONED: &str = "POISONED";

impl PluginError {
    /// A failure that trying again does not mend.
    pub fn new(status: Status, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            retry: Retry::Never,
            code: code.into(),
            message: message.into(),
            pointer: None,
            offset: None,
        }
    }

    /// The options at `pointer` are wrong.
    pub fn config(pointer: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: Some(pointer.into()),
            ..Self::new(Status::InvalidConfig, code, message)
        }
    }

    /// The input as a whole cannot be read, from this byte on.
    pub fn data(offset: u64, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            offset: Some(offset),
            ..Self::new(Status::InvalidData, code, message)
        }
    }

    /// The same error of another kind.
    pub fn with_status(self, status: Status) -> Self {
        Self { status, ..self }
    }

    /// Whether it is of the plugin and not of its input: it was lost, it panicked and takes no further call, or it broke the
    /// boundary's rules. What the engine itself caught of a source that is linked in (`PLUGIN_PANIC`) is of the input: the
    /// source goes on.
    pub fn is_of_boundary(&self) -> bool {
        let of = |prefix| self.code.starts_with(prefix);
        (of("PLUGIN_") || of("ABI_") || self.status == Status::Panic || self.code == POISONED)
            && self.code != "PLUGIN_PANIC"
    }

    /// The host asked to stop.
    pub fn cancelled() -> Self {
        Self::new(Status::Cancelled, "CANCELLED", "cancelled")
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if let Some(offset) = self.offset {
            write!(f, " (at byte {offset})")?;
        }
        Ok(())
    }
}

impl std::error::Error for PluginError {}

impl From<std::io::Error> for PluginError {
    fn from(error: std::io::Error) -> Self {
        Self {
            retry: Retry::Later,
            ..Self::new(Status::Io, "IO", error.kind().to_string())
        }
    }
}

impl From<arrow::error::ArrowError> for PluginError {
    fn from(error: arrow::error::ArrowError) -> Self {
        // Arrow's messages quote values: only the kind may leave.
        let kind = match error {
            arrow::error::ArrowError::CastError(_) => "a cast failed",
            arrow::error::ArrowError::ParseError(_) => "a value does not parse",
            arrow::error::ArrowError::SchemaError(_) => "the schema does not fit",
            arrow::error::ArrowError::MemoryError(_) => "out of memory",
            _ => "a column operation failed",
        };
        Self::new(Status::Internal, "ARROW", kind)
    }
}

/// One remark of a plugin's *check* about its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A stable code, upper case.
    pub code: String,
    /// RFC 6901 pointer into the options.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// The remarks of one check, all of them.
#[derive(Clone, Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a remark about the option at `pointer`.
    pub fn add(&mut self, pointer: impl Into<String>, code: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding {
            code: code.into(),
            pointer: pointer.into(),
            message: message.into(),
            hint: None,
        });
    }

    /// Adds a remark with advice.
    pub fn add_with_hint(
        &mut self,
        pointer: impl Into<String>,
        code: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.0.push(Finding {
            code: code.into(),
            pointer: pointer.into(),
            message: message.into(),
            hint: Some(hint.into()),
        });
    }

    /// The remarks in the order they were made.
    pub fn into_vec(self) -> Vec<Finding> {
        self.0
    }
}
