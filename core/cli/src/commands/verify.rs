//! `clinmill verify`: every published byte against its manifest.

use crate::{
    args,
    context::{Context, scratch},
    failure::{FAILED, Failure, OK},
    output::{bytes, counted},
};
use clinmill_catalog::dataset::{self, FindingKind, Verification};
use std::fmt::Write;

/// Verifies a dataset: exit code 1 when something is damaged.
///
/// # Errors
/// When the dataset cannot be listed.
pub async fn run(context: &Context, args: &args::Target) -> Result<u8, Failure> {
    let dataset = context.dataset(&args.target).await?;
    let found = dataset::verify(&dataset, &scratch()).await?;
    let mut value = serde_json::json!(found);
    if let Some(object) = value.as_object_mut() {
        object.shift_insert(0, "damaged".to_owned(), found.is_damaged().into());
    }
    context.console.result(&value, || text(&found))?;
    Ok(if found.is_damaged() { FAILED } else { OK })
}

/// What was found, as text.
pub fn text(found: &Verification) -> String {
    let mut text = String::new();
    for finding in &found.findings {
        let kind = if finding.kind == FindingKind::Orphan {
            "orphan"
        } else {
            "damaged"
        };
        let _ = writeln!(text, "  {kind}  {finding}");
    }
    if found
        .findings
        .iter()
        .any(|f| f.kind != FindingKind::Orphan && f.path.contains("/base/"))
    {
        let _ = writeln!(
            text,
            "  `clinmill run --full` with its pipeline makes damaged bases anew; older releases keep theirs"
        );
    }
    let verdict = match found.findings.iter().filter(|f| f.kind != FindingKind::Orphan).count() {
        0 => "whole".to_owned(),
        n => counted(n as u64, "finding", "findings"),
    };
    let _ = writeln!(
        text,
        "{verdict}: {}, {} ({}), {} compared",
        counted(found.manifests, "manifest", "manifests"),
        counted(found.files, "data file", "data files"),
        bytes(found.bytes),
        counted(found.states, "table state", "table states"),
    );
    text
}
