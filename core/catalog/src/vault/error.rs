//! What can go wrong with a vault. Messages never hold a row's values, a key, or a path of the inbox: a file's name
//! may be a patient's number, so such paths travel as [`Sensitive`] fields for the vault's own reports.

use clinmill_model::{Digest, Sensitive};
use std::{io, path::PathBuf};

/// A failure of the vault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// A file or folder of the vault cannot be read or written. `what` is its path inside the vault, which holds
    /// nothing but digests and fixed names.
    #[error("cannot {action} {what} in the vault: {source}")]
    Io {
        /// The verb: `read`, `write`, `create` ...
        action: &'static str,
        /// Path inside the vault.
        what: String,
        /// The reason given by the system.
        source: io::Error,
    },
    /// A file outside the vault (an input) cannot be read.
    #[error("cannot read an input: {source}")]
    Source {
        /// The input's path.
        path: Sensitive<PathBuf>,
        /// The reason given by the system.
        source: io::Error,
    },
    /// A file outside the vault changed while it was read: it is still being written.
    #[error("an input changed while it was read; it is taken once it has settled")]
    Changed {
        /// The input's path.
        path: Sensitive<PathBuf>,
    },
    /// The folder is not a vault.
    #[error("there is no vault here: vault.json is missing")]
    NoVault,
    /// The folder holds a vault already.
    #[error("there is a vault here already")]
    VaultExists,
    /// The vault was made by another clinmill.
    #[error("{what} has format version {found}; this clinmill reads {known}{}", older(*found, *known))]
    Version {
        /// Which file.
        what: String,
        /// The version it says.
        found: u32,
        /// The version known here.
        known: u32,
    },
    /// A content-addressed file is absent.
    #[error("{kind} {digest} is not in the vault")]
    Missing {
        /// What kind of thing: `input`, `state`, `ledger segment` ...
        kind: &'static str,
        /// Its name.
        digest: Digest,
    },
    /// A content-addressed file is damaged.
    #[error("{kind} {digest} in the vault is damaged: {reason}")]
    Corrupt {
        /// What kind of thing: `input`, `state`, `ledger segment` ...
        kind: &'static str,
        /// Its name.
        digest: Digest,
        /// What does not hold, without values.
        reason: String,
    },
    /// An input that is only referenced is not what it was.
    #[error("the original of input {digest}, which is only referenced, {reason}")]
    Original {
        /// Its name.
        digest: Digest,
        /// What became of the file.
        reason: &'static str,
    },
    /// A file of the vault with a fixed name is damaged.
    #[error("{what} in the vault is damaged: {reason}")]
    Damaged {
        /// Path inside the vault.
        what: String,
        /// What does not hold, without values.
        reason: String,
    },
    /// The vault's key cannot be used.
    #[error("the vault's key {0}")]
    Key(#[from] KeyError),
    /// Another refresh works on this vault.
    #[error("another refresh holds the vault's lease{}", holder(*.pid, .started))]
    LeaseHeld {
        /// Process id of the holder, if it wrote it.
        pid: Option<u32>,
        /// When the holder started, RFC 3339, if it wrote it.
        started: Option<String>,
    },
    /// A path pattern cannot be used.
    #[error("the pattern {pattern:?} {reason}")]
    Pattern {
        /// The pattern as written in the pipeline.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A name that would leave its folder in the vault.
    #[error("{0} cannot be a file's name in the vault: letters, digits, '-', '_' and '.' only")]
    Name(&'static str),
}

/// What helps where a part of the vault is damaged or gone.
pub const RESTORE: &str = "restore the vault from a backup that is not older than the last release, then run again";

/// What helps where the original of an input that is only referenced changed.
pub const PUT_BACK: &str =
    "put the file back as it was read; sources whose files change are kept with `keep: copy`, the default";

impl VaultError {
    /// What to do about it, where the message does not say so itself.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } | Self::Corrupt { .. } | Self::Damaged { .. } | Self::Key(KeyError::Damaged) => {
                Some(RESTORE)
            }
            Self::Original { .. } => Some(PUT_BACK),
            _ => None,
        }
    }
}

/// Why a key cannot be used. Never holds any part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is none.
    #[error("is missing: give it as a secret, or restore the vault's `key` file from its backup")]
    Missing,
    /// `key: auto` in a vault that is not new, or for a dataset with releases.
    #[error(
        "is missing and is not made anew, because this vault or its dataset is not new: another key would break \
         every id; restore the vault's `key` file from its backup"
    )]
    NotNew,
    /// There is one already.
    #[error("exists already")]
    Exists,
    /// Others may read the file.
    #[error("file may be read by others than its owner: chmod 600 it")]
    Readable,
    /// The file or secret is empty.
    #[error("is empty")]
    Empty,
    /// Not 32 bytes.
    #[error("is not 32 random bytes, raw or as 64 hexadecimal digits or base64")]
    Format,
    /// A passphrase, a constant, a counter.
    #[error("is not random: make one with `head -c 32 /dev/urandom | base64`")]
    LowEntropy,
    /// The check value in the file does not fit the key.
    #[error("file is damaged: its check value does not fit")]
    Damaged,
    /// The system gives no random bytes.
    #[error("cannot be made: the system gives no random bytes")]
    NoRandom,
}

/// Shorthand of this module.
pub(crate) type Result<T, E = VaultError> = std::result::Result<T, E>;

fn holder(pid: Option<u32>, started: &Option<String>) -> String {
    match (pid, started) {
        (Some(pid), Some(started)) => format!(" (process {pid}, since {started})"),
        (Some(pid), None) => format!(" (process {pid})"),
        _ => String::new(),
    }
}

/// Names the file of the vault that an operation failed on.
pub(crate) trait Context<T> {
    /// Wraps an I/O error with the verb and the path inside the vault.
    fn vault(self, action: &'static str, what: impl Into<String>) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn vault(self, action: &'static str, what: impl Into<String>) -> Result<T> {
        self.map_err(|source| VaultError::Io {
            action,
            what: what.into(),
            source,
        })
    }
}

/// What helps where a vault is older than what reads it.
fn older(found: u32, known: u32) -> &'static str {
    match found < known {
        true => {
            ": begin with a new vault and dataset; with the old vault's file `key` in the new one, ids stay the same"
        }
        false => "",
    }
}
