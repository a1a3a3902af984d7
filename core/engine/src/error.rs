//! What can end a refresh, with the exit code it has.

use crate::sql::{NotLocal, plain};
use clinmill_catalog::CatalogError;
use clinmill_model::Diagnostic;
use clinmill_sdk::PluginError;
use std::path::{Path, PathBuf};

/// Why the engine gave up. No message holds a row's values.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The pipeline is not valid.
    #[error("the pipeline is not valid: {} errors", .0.iter().filter(|d| d.is_error()).count())]
    Invalid(Vec<Diagnostic>),
    /// A gate of the quality kind does not hold.
    #[error("{0}")]
    QualityGate(String),
    /// Another refresh is running.
    #[error("{0}")]
    LeaseHeld(String),
    /// A transform step failed as a whole.
    #[error("step {step}: {error}")]
    Step {
        /// `transform/plugin`.
        step: String,
        /// What it said.
        error: PluginError,
    },
    /// A query failed.
    #[error("sql: {0}")]
    Sql(String),
    /// A stage lost or invented rows.
    #[error("{stage}: the counts do not balance; nothing was published")]
    Unbalanced {
        /// Which one.
        stage: String,
    },
    /// The vault and the dataset do not belong together, or one is behind.
    #[error("{reason}\n  {advice}")]
    Refused {
        /// Why.
        reason: String,
        /// What to do.
        advice: String,
    },
    /// A local file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The vault or the dataset.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] clinmill_catalog::vault::VaultError),
    /// Stopped from outside; nothing was published.
    #[error("cancelled; nothing was published")]
    Cancelled,
    /// Nothing under this name.
    #[error("{0}")]
    NotFound(String),
    /// A defect of the engine.
    #[error("internal error: {0}")]
    Internal(String),
}

impl EngineError {
    /// The process's exit code, as the command line promises it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid(_) => 2,
            Self::QualityGate(_) => 3,
            Self::LeaseHeld(_) => 5,
            Self::Cancelled => 130,
            _ => 1,
        }
    }

    /// A file error.
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        let path = path.to_path_buf();
        Self::Io { action, path, source }
    }

    /// A defect of the engine.
    pub fn internal(what: String) -> Self {
        Self::Internal(what)
    }

    /// A step's failure.
    pub fn step(step: &str, error: PluginError) -> Self {
        if error.status == clinmill_sdk::Status::Cancelled {
            return Self::Cancelled;
        }
        let step = step.to_owned();
        Self::Step { step, error }
    }

    /// A query's failure. DataFusion quotes values in the errors of casts and arithmetic: only plans may be quoted.
    pub fn sql(error: &NotLocal) -> Self {
        use datafusion::error::DataFusionError as D;
        Self::Sql(match error {
            NotLocal::Refused(code, what, instead) => format!("{code}: {what} ({instead})"),
            NotLocal::Plan(error @ (D::Plan(_) | D::SchemaError(..) | D::SQL(..) | D::NotImplemented(_))) => {
                plain(error)
            }
            NotLocal::Plan(D::ArrowError(..)) => "a value does not fit the type that the query wants".to_owned(),
            NotLocal::Plan(_) => "the query failed on these rows".to_owned(),
        })
    }
}

impl From<arrow::error::ArrowError> for EngineError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Catalog(error.into())
    }
}
