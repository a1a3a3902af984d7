//! The boundary between clinmill and native plugins: [`include/clinmill_plugin.h`](../include/clinmill_plugin.h) is its
//! source of truth, and this crate holds the numbers of it that Rust code needs. A test compares them with the header.
//!
//! The header is frozen: structs grow at their end only, under a new minor. [`tables`] holds the `repr(C)` twins of its
//! structs, which `sdk::export` fills on the plugin's side and `host` reads on the other.

#![allow(unsafe_code, reason = "twins of C structs that threads share")]

pub mod tables;

/// The first four bytes of a plugin's data symbol, `CML1` in memory on a little-endian machine: readable before any of
/// its code runs.
pub const MAGIC: u32 = 0x314C_4D43;
/// The major version of the boundary; it is also in [`SYMBOL`].
pub const ABI_MAJOR: u32 = 1;
/// The minor version: what was appended since the major one.
pub const ABI_MINOR: u32 = 1;
/// The target that this build speaks to plugins of; empty where plugins are not supported.
pub const TARGET_TRIPLE: &str = if cfg!(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")) {
    "x86_64-unknown-linux-gnu"
} else if cfg!(all(target_os = "linux", target_env = "gnu", target_arch = "aarch64")) {
    "aarch64-unknown-linux-gnu"
} else {
    ""
};
/// The one symbol that a plugin exports, a data symbol.
pub const SYMBOL: &str = "CLINMILL_PLUGIN_V1";
/// The extension by which a plugin tells of a panic in a slot that returns no error.
pub const PANICKED: &str = "clinmill.panicked/1";

macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident: $($(#[$item_doc:meta])* $variant:ident = $value:literal, $c:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum $name {
            $($(#[$item_doc])* $variant = $value,)*
        }

        impl $name {
            /// Every one, in order, with its name in the header.
            pub const ALL: &[(Self, &str)] = &[$((Self::$variant, $c)),*];

            /// The one with this number; `None` for a number that this version does not know.
            pub fn from_code(code: i32) -> Option<Self> {
                Self::ALL.iter().map(|(known, _)| *known).find(|known| known.code() == code)
            }

            /// Its number.
            pub const fn code(self) -> i32 {
                self as i32
            }
        }
    };
}

numbers! {
    /// How a call across the boundary ended. A closed set; a number never changes its meaning.
    Status:
    /// It worked.
    Ok = 0, "CLINMILL_OK";
    /// Stopped because the host asked for it.
    Cancelled = 1, "CLINMILL_CANCELLED";
    /// The options are wrong: `config_pointer` says where.
    InvalidConfig = 2, "CLINMILL_INVALID_CONFIG";
    /// The data is wrong.
    InvalidData = 3, "CLINMILL_INVALID_DATA";
    /// The call is not allowed now.
    InvalidState = 4, "CLINMILL_INVALID_STATE";
    /// The plugin cannot do this.
    Unsupported = 5, "CLINMILL_UNSUPPORTED";
    /// Something named is not there.
    NotFound = 6, "CLINMILL_NOT_FOUND";
    /// The other side does not know who asks.
    Unauthenticated = 7, "CLINMILL_UNAUTHENTICATED";
    /// The other side refuses.
    Unauthorized = 8, "CLINMILL_UNAUTHORIZED";
    /// A read or write failed.
    Io = 9, "CLINMILL_IO";
    /// It took too long.
    Timeout = 10, "CLINMILL_TIMEOUT";
    /// A limit of memory, size or time was met.
    ResourceExhausted = 11, "CLINMILL_RESOURCE_EXHAUSTED";
    /// Somebody else was first.
    Conflict = 12, "CLINMILL_CONFLICT";
    /// Nobody knows whether the commit happened: ask `resolve`.
    CommitUnknown = 13, "CLINMILL_COMMIT_UNKNOWN";
    /// A defect of the plugin.
    Internal = 14, "CLINMILL_INTERNAL";
    /// A panic was caught inside the plugin; the handle is of no use any more.
    Panic = 15, "CLINMILL_PANIC";
}

numbers! {
    /// Whether trying again can help.
    Retry:
    /// It cannot.
    Never = 0, "CLINMILL_RETRY_NEVER";
    /// After a while.
    Later = 1, "CLINMILL_RETRY_LATER";
    /// At once.
    Now = 2, "CLINMILL_RETRY_NOW";
}

numbers! {
    /// What a component is.
    Kind:
    /// It reads inputs.
    Source = 1, "CLINMILL_KIND_SOURCE";
    /// It turns rows into rows.
    Transform = 2, "CLINMILL_KIND_TRANSFORM";
    /// It takes a release's changes.
    Sink = 3, "CLINMILL_KIND_SINK";
}

numbers! {
    /// Where a component emits rows to.
    Port:
    /// Rows that go on.
    Main = 0, "CLINMILL_PORT_MAIN";
    /// Rows that go to quarantine.
    Rejected = 1, "CLINMILL_PORT_REJECTED";
}

numbers! {
    /// What makes a record the same record when it comes again.
    Key:
    /// Its content.
    Content = 0, "CLINMILL_KEY_CONTENT";
    /// Some of its columns.
    Columns = 1, "CLINMILL_KEY_COLUMNS";
}

numbers! {
    /// How versions of one record combine.
    Fold:
    /// The latest replaces all earlier ones.
    Replace = 0, "CLINMILL_FOLD_REPLACE";
    /// A null leaves the earlier value.
    Patch = 1, "CLINMILL_FOLD_PATCH";
}

numbers! {
    /// What a component can do, or needs: bits of one number.
    Cap:
    /// A transform yields or rejects each row once.
    RowWise = 1, "CLINMILL_CAP_ROW_WISE";
    /// It needs all rows of a subject.
    SubjectWise = 2, "CLINMILL_CAP_SUBJECT_WISE";
    /// It needs all rows.
    DatasetWise = 4, "CLINMILL_CAP_DATASET_WISE";
    /// An input can be read in parts.
    Splits = 8, "CLINMILL_CAP_SPLITS";
    /// It can leave out columns.
    Projection = 16, "CLINMILL_CAP_PROJECTION";
    /// It can go on where it stopped.
    Incremental = 32, "CLINMILL_CAP_INCREMENTAL";
    /// Records may say that an earlier one is void.
    Deletes = 64, "CLINMILL_CAP_DELETES";
    /// A sink takes changes of rows.
    Upsert = 128, "CLINMILL_CAP_UPSERT";
    /// Rows or records may be rejected.
    Rejects = 256, "CLINMILL_CAP_REJECTS";
    /// The same input gives the same output.
    Deterministic = 512, "CLINMILL_CAP_DETERMINISTIC";
}
