//! What can end a refresh, with the exit code it has.

use crate::{
    changes::SchemaChange,
    sql::{NotLocal, of_rows, plain},
};
use clinmill_catalog::CatalogError;
use clinmill_model::Diagnostic;
use clinmill_sdk::PluginError;
use clinmill_spec::did_you_mean;
use std::path::{Path, PathBuf};

/// Why the engine gave up. No message holds a row's values.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The pipeline is not valid.
    #[error("the pipeline is not valid: {} errors", .0.iter().filter(|d| d.is_error()).count())]
    Invalid(Vec<Diagnostic>),
    /// Published tables would lose or change what their readers rely on.
    #[error("{}\n  nothing was read or published: {}, or run with --allow-breaking", listed(.0), advice(.0))]
    Breaking(Vec<SchemaChange>),
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
    /// A source plugin was lost or broke the rules: what it says of its inputs is not to be relied on.
    #[error("source {source_name}, input {input}: {error}; nothing was published")]
    Source {
        /// The source's name in the pipeline.
        source_name: String,
        /// How the SHA-256 of the input begins at which it happened.
        input: String,
        /// What is said of it.
        error: Box<PluginError>,
    },
    /// A query failed.
    #[error("{}{message}", transform.as_ref().map_or_else(String::new, |t| format!("transform {t}: ")))]
    Sql {
        /// The transform that it belongs to, where it belongs to one.
        transform: Option<String>,
        /// What is wrong.
        message: String,
    },
    /// A gate's query failed.
    #[error("gate {gate}: {message}")]
    Gate {
        /// Its name.
        gate: String,
        /// What is wrong.
        message: String,
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
    /// Nothing is there yet, or no longer.
    #[error("{0}")]
    NotFound(String),
    /// An argument names what there is not, or cannot be used: another argument is needed, not another state.
    #[error("{0}")]
    Argument(String),
    /// A defect of the engine.
    #[error("internal error: {0}")]
    Internal(String),
}

impl EngineError {
    /// The process's exit code, as the command line promises it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid(_) | Self::Breaking(_) | Self::Argument(_) => 2,
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

    /// A name in an argument that nothing has, with the one that was probably meant or all that there are.
    pub fn unknown<'k>(what: &str, name: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        let hint = did_you_mean(name, known).map_or_else(String::new, |hint| format!("; {hint}"));
        Self::Argument(format!("there is no {what} {name:?}{hint}"))
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

    /// A query's failure. Only plans may be quoted.
    pub fn sql(error: &NotLocal) -> Self {
        use datafusion::error::DataFusionError as D;
        let message = match error {
            NotLocal::Refused(code, what, instead) => format!("{code}: {what} ({instead})"),
            NotLocal::Plan(error @ (D::Plan(_) | D::SchemaError(..) | D::SQL(..) | D::NotImplemented(_))) => {
                plain(error)
            }
            NotLocal::Plan(error) => of_rows(error),
        };
        Self::Sql {
            transform: None,
            message,
        }
    }

    /// The same failure, of this transform's query.
    pub fn of_transform(self, name: &str) -> Self {
        match self {
            Self::Sql { message, .. } => Self::Sql {
                transform: Some(name.to_owned()),
                message,
            },
            other => other,
        }
    }

    /// The same failure, of this gate's query.
    pub fn of_gate(self, name: &str) -> Self {
        match self {
            Self::Sql { message, .. } => Self::Gate {
                gate: name.to_owned(),
                message,
            },
            other => other,
        }
    }
}

fn listed(changes: &[SchemaChange]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What keeps the readers of each of them, said once.
fn advice(changes: &[SchemaChange]) -> String {
    let mut said: Vec<&str> = Vec::new();
    for change in changes {
        let advice = change.advice();
        if !said.contains(&advice) {
            said.push(advice);
        }
    }
    said.join("; ")
}

impl From<arrow::error::ArrowError> for EngineError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Catalog(error.into())
    }
}
