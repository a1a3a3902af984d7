//! How a command fails: what is said, and the exit code that scripts rely on.

use clinmill_catalog::CatalogError;
use clinmill_engine::{
    EngineError,
    bound::{Bound, Refused},
};
use clinmill_model::Diagnostic;
use clinmill_sdk::PluginError;
use clinmill_spec::{
    SourceFile,
    pipeline::{Options, Span},
};
use std::path::Path;

/// Done, or nothing to do.
pub const OK: u8 = 0;
/// It did not work.
pub const FAILED: u8 = 1;
/// The pipeline, or what was asked for, is not valid.
pub const INVALID: u8 = 2;
/// A quality gate does not hold.
pub const QUALITY_GATE: u8 = 3;

/// Why a command gave up.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: u8,
    /// A stable code, where there is one.
    pub code: Option<&'static str>,
    /// What went wrong. Never holds a row's values.
    pub message: String,
    /// Findings about the pipeline file.
    pub diagnostics: Vec<Diagnostic>,
    /// The file the findings point into: its name and text.
    pub source: Option<(String, String)>,
}

impl Failure {
    /// A failure without findings.
    pub fn new(exit: u8, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: None,
            message: message.into(),
            diagnostics: Vec::new(),
            source: None,
        }
    }

    /// What was asked for cannot be done.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            code: Some("USAGE"),
            ..Self::new(INVALID, message)
        }
    }

    /// A name in an argument that nothing has, with the one that was probably meant or all that there are.
    pub fn unknown<'k>(what: &str, name: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        EngineError::unknown(what, name, known).into()
    }

    /// A file or folder that an argument names: one that is not there is a wrong argument.
    pub fn argument(path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let failure = Self::io("read", path, error);
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => Self {
                exit: INVALID,
                code: Some("NOT_FOUND"),
                ..failure
            },
            _ => failure,
        }
    }

    /// A file or folder.
    pub fn io(action: &str, path: &Path, error: &std::io::Error) -> Self {
        Self {
            code: Some("IO"),
            ..Self::new(FAILED, format!("cannot {action} {}: {error}", path.display()))
        }
    }
}

impl Failure {
    /// What ended a refresh or a preview, with the place in the pipeline file where the plugin or query stands.
    pub fn located(bound: &Bound, error: EngineError) -> Self {
        let transform = |name: &str| bound.pipeline.transforms.iter().find(|t| t.name.value == name);
        // The option that it points at, where there is one.
        let at = |options: &Options, error: &PluginError, plugin: Span| {
            let pointer = error.pointer.as_deref().filter(|p| !p.is_empty());
            let found = pointer.filter(|pointer| options.value.pointer(pointer).is_some());
            found.map_or(plugin, |pointer| options.locate(pointer))
        };
        let span = match &error {
            EngineError::Step { step, error } => step.split_once('/').and_then(|(name, plugin)| {
                let transform = transform(name)?;
                // A plugin's second step in a transform is `transform/plugin#2`.
                let (plugin, number) = plugin.split_once('#').unwrap_or((plugin, "1"));
                let mut steps = transform.steps.iter().filter(|s| s.plugin.value == plugin);
                let step = number.parse::<usize>().ok().and_then(|n| steps.nth(n.checked_sub(1)?));
                Some(step.map_or(transform.name.span, |step| at(&step.options, error, step.plugin.span)))
            }),
            EngineError::Source { source_name, error, .. } => {
                let sources = &bound.pipeline.sources;
                let source = sources.iter().find(|s| s.name.value == *source_name);
                source.map(|s| at(&s.options, error, s.plugin.span))
            }
            EngineError::Sql {
                transform: Some(name), ..
            } => transform(name).map(|t| t.name.span),
            EngineError::Gate { gate, .. } => bound.span_of_gate(gate),
            _ => None,
        };
        let mut failure = Self::from(error);
        if let Some(span) = span {
            let source = SourceFile::new(bound.file.display().to_string(), bound.text.as_str());
            let place = source.place(span);
            let (line, column) = (place.line, place.column);
            failure.message = format!("{}\n  --> {}:{line}:{column}", failure.message, source.name());
        }
        failure
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::Invalid(_) => "INVALID",
            EngineError::Breaking(_) => "BREAKING",
            EngineError::QualityGate(_) => "QUALITY_GATE",
            EngineError::LeaseHeld(_) => "LEASE_HELD",
            EngineError::Step { .. } => "STEP",
            EngineError::Source { .. } => "SOURCE",
            EngineError::Sql { .. } | EngineError::Gate { .. } => "SQL",
            EngineError::Refused { .. } => "REFUSED",
            EngineError::Io { .. } => "IO",
            EngineError::Catalog(error) => of_catalog(error),
            EngineError::Vault(_) => "VAULT",
            EngineError::Cancelled => "CANCELLED",
            EngineError::NotFound(_) | EngineError::Argument(_) => "NOT_FOUND",
            EngineError::Internal(_) => "INTERNAL",
        };
        let mut failure = Self::new(error.exit_code(), error.to_string());
        failure.code = Some(code);
        if let EngineError::Vault(error) | EngineError::Catalog(CatalogError::Vault(error)) = &error
            && let Some(advice) = error.advice()
        {
            failure.message = format!("{}\n  {advice}", failure.message);
        }
        if let EngineError::Invalid(diagnostics) = error {
            failure.diagnostics = diagnostics;
        }
        failure
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self {
            code: Some(of_catalog(&error)),
            ..Self::new(FAILED, error.to_string())
        }
    }
}

impl From<Box<Refused>> for Failure {
    fn from(refused: Box<Refused>) -> Self {
        let errors = refused.diagnostics.iter().filter(|d| d.is_error()).count();
        let file = refused.source.name().to_owned();
        Self {
            exit: INVALID,
            code: Some("INVALID"),
            message: format!(
                "{file} is not valid: {}",
                crate::output::counted(errors as u64, "error", "errors")
            ),
            diagnostics: refused.diagnostics,
            source: Some((file, refused.text)),
        }
    }
}

fn of_catalog(error: &CatalogError) -> &'static str {
    match error {
        CatalogError::NotFound(_) => "NOT_FOUND",
        CatalogError::Damaged { .. } => "DAMAGED",
        CatalogError::Refused { .. } => "REFUSED",
        CatalogError::Invalid { .. } => "USAGE",
        CatalogError::Vault(_) => "VAULT",
        CatalogError::Io { .. } => "IO",
        _ => "DATASET",
    }
}
