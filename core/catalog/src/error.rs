//! What can go wrong in the vault or the dataset. No message holds a row's values.

use crate::store::StoreError;
use crate::vault::VaultError;
use arrow::array::RecordBatch;
use clinmill_sdk::decimal;
use std::path::{Path, PathBuf};

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// A local file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `create`, …
        action: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// An object of the dataset's store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A Parquet file does not read.
    #[error("{file}: not readable as Parquet: {reason}")]
    Parquet {
        /// Which file.
        file: String,
        /// The reader's message, without values.
        reason: String,
    },
    /// A computation over columns failed.
    #[error("columns: {0}")]
    Arrow(String),
    /// A JSON document of the catalog has another shape.
    #[error("{what}: {reason}")]
    Json {
        /// Which document.
        what: String,
        /// What is wrong with it, with line and column.
        reason: String,
    },
    /// A stored object is not what its name or manifest says.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which object, relative to its root.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// Something the catalog does not do because it would not be safe.
    #[error("refused: {reason} ({hint})")]
    Refused {
        /// Why.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// A caller's value cannot be used.
    #[error("{what}: {reason}")]
    Invalid {
        /// Which value.
        what: String,
        /// Why not.
        reason: String,
    },
    /// Nothing under this name.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The store did not say whether the commit happened, as often as it was asked. Running again settles it.
    #[error("release {release} may or may not be committed: the store does not answer ({reason}); run again")]
    CommitUnknown {
        /// The release that was tried.
        release: u64,
        /// The last answer.
        reason: String,
    },
}

/// A result of this crate.
pub type Result<T, E = CatalogError> = std::result::Result<T, E>;

impl CatalogError {
    /// An I/O error with its path, for `map_err`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// A JSON error with the document's name, for `map_err`.
    pub fn json(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        let what = what.into();
        // serde_json quotes the offending value; where it stands is enough.
        move |e| Self::Json {
            what,
            reason: format!("{:?} error in line {}, column {}", e.classify(), e.line(), e.column()),
        }
    }

    /// An error of reading a Parquet file, with its name, for `map_err`.
    pub fn parquet(file: impl Into<String>) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let file = file.into();
        move |e| Self::Parquet {
            file,
            reason: e.to_string(),
        }
    }

    /// An error of writing a Parquet file, with its path, for `map_err`: a full disk is told as one.
    pub fn writing(path: impl AsRef<Path>) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        use parquet::errors::ParquetError;
        let path = path.as_ref().to_path_buf();
        let other = |path: PathBuf, reason: String| Self::Invalid {
            what: format!("what {} is to hold", path.display()),
            reason,
        };
        move |e| match e {
            ParquetError::External(e) => match e.downcast::<std::io::Error>() {
                Ok(source) => Self::io("write", &path)(*source),
                Err(e) => other(path, e.to_string()),
            },
            e => other(path, e.to_string()),
        }
    }

    /// A refusal with advice.
    pub fn refused(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused {
            reason: reason.into(),
            hint: hint.into(),
        }
    }

    /// A damaged object.
    pub fn damaged(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.into(),
            reason: reason.into(),
        }
    }

    /// A value that cannot be used.
    pub fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            reason: reason.into(),
        }
    }

    /// An error where a file would hold another number than the batch: Parquet cuts a decimal to its column's width.
    pub(crate) fn unless_decimals_fit(batch: &RecordBatch) -> Result<(), Self> {
        match decimal::beyond(batch) {
            None => Ok(()),
            Some(column) => Err(Self::invalid(
                format!("the column {column:?}"),
                "a decimal has more digits than its type says",
            )),
        }
    }
}

impl From<arrow::error::ArrowError> for CatalogError {
    fn from(e: arrow::error::ArrowError) -> Self {
        use arrow::error::ArrowError as E;
        // Cast, parse and compute errors quote the value they failed on.
        Self::Arrow(match e {
            E::SchemaError(m) => format!("schema error: {m}"),
            E::InvalidArgumentError(m) => format!("invalid argument: {m}"),
            E::NotYetImplemented(m) => format!("not implemented: {m}"),
            E::MemoryError(m) => format!("memory: {m}"),
            E::IoError(m, _) => format!("input or output: {m}"),
            E::CastError(_) => "a value cannot be cast".into(),
            E::ParseError(_) => "a value cannot be parsed".into(),
            _ => "a computation failed".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_no_values() {
        let cast: CatalogError = arrow::error::ArrowError::CastError("Cannot cast 'Zhang San'".into()).into();
        assert!(!cast.to_string().contains("Zhang"));
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let full = CatalogError::writing("a/b")(full.into());
        assert!(matches!(full, CatalogError::Io { action: "write", .. }), "{full}");
        let json = serde_json::from_str::<u32>("\"Zhang San\"").unwrap_err();
        assert!(!CatalogError::json("x")(json).to_string().contains("Zhang"));
    }
}
