//! `clinmill validate`: the pure check of pipeline files.

use crate::{
    args,
    context::{Context, environment},
    failure::{Failure, INVALID, OK},
    output::{coloured, counted, rendered},
    plugins::Named,
};
use clinmill_engine::bound;
use clinmill_model::Diagnostic;
use clinmill_spec::codes;
use serde::Serialize;

#[derive(Serialize)]
struct Checked {
    file: String,
    valid: bool,
    diagnostics: Vec<Diagnostic>,
}

/// Checks all files and shows all findings: exit code 2 when one of them is an error.
///
/// # Errors
/// When the result cannot be printed.
pub async fn run(context: &Context, args: &args::Validate) -> Result<u8, Failure> {
    let mut files = Vec::new();
    let mut text = String::new();
    for file in &args.files {
        let name = file.display().to_string();
        let named = Named::read(file);
        let (registry, refused) = match named.load(&context.registry) {
            Ok(registry) => (registry, Vec::new()),
            Err(refused) => (context.registry.clone(), refused),
        };
        let (summary, source, mut diagnostics) = match bound::bind(file, &registry, &environment).await {
            Ok(bound) => {
                let summary = format!(
                    "{name}: valid ({}, {}, {})\n",
                    counted(bound.sources.len() as u64, "source", "sources"),
                    counted(bound.pipeline.transforms.len() as u64, "transform", "transforms"),
                    counted(bound.tables.len() as u64, "table", "tables"),
                );
                (Some(summary), bound.text, bound.warnings)
            }
            Err(refused) => (None, refused.text, refused.diagnostics),
        };
        // A plugin that is not known is then one of those that were refused.
        if !refused.is_empty() {
            diagnostics.retain(|d| d.code != codes::UNKNOWN_PLUGIN);
        }
        diagnostics.extend(refused);
        diagnostics.sort_by_key(|d| d.place.as_ref().map_or(0, |p| p.start));
        let summary = summary.filter(|_| !diagnostics.iter().any(Diagnostic::is_error));
        text.push_str(&rendered(
            &diagnostics,
            &name,
            &source,
            coloured(clinmill_host::streams::out()),
        ));
        let errors = diagnostics.iter().filter(|d| d.is_error()).count() as u64;
        let invalid = || format!("{name}: not valid ({})\n", counted(errors, "error", "errors"));
        text.push_str(&summary.unwrap_or_else(invalid));
        files.push(Checked {
            file: name,
            valid: errors == 0,
            diagnostics,
        });
    }
    let valid = files.iter().all(|f| f.valid);
    context
        .console
        .result(&serde_json::json!({ "files": files }), || text)?;
    Ok(if valid { OK } else { INVALID })
}
