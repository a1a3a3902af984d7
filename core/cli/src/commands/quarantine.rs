//! `clinmill quarantine`: rejected records, listed without values, shown with their bytes, read again.

use crate::{
    args,
    commands::{run::refresh_and_print, trace::place},
    context::Context,
    excerpt::{Excerpt, MAX_BYTES},
    failure::{FAILED, Failure, OK},
    output::{Grid, counted, thousands},
};
use clinmill_catalog::vault::{INGEST, QuarantineFilter, QuarantineRecord, Vault};
use clinmill_engine::{
    EngineError,
    bound::SourceSpec,
    refresh::{Access, RefreshOptions, Session},
};
use clinmill_model::Digest;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write,
};

/// Lists rejected records.
///
/// # Errors
/// When the vault cannot be read.
pub async fn list(context: &Context, args: &args::QuarantineList) -> Result<u8, Failure> {
    let bound = context.bind(&args.file).await?;
    if let Some(source) = &args.source
        && !bound.sources.iter().any(|s| s.name() == source)
    {
        return Err(Failure::unknown(
            "source",
            source,
            bound.sources.iter().map(SourceSpec::name),
        ));
    }
    let session = Session::open(&bound, &context.env, &context.secrets(), Access::Read).await?;
    let filter = QuarantineFilter {
        source: args.source.clone(),
        code: args.code.clone(),
        ..QuarantineFilter::default()
    };
    let mut stages: BTreeSet<String> = bound.graph.steps().map(|step| step.name.clone()).collect();
    stages.insert(INGEST.to_owned());
    let mut counts: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    let mut records = Vec::new();
    // A row that a step rejects in every refresh has the same id.
    let mut seen = HashSet::new();
    let mut unpublished = 0;
    let is_rejected = session.still_rejected();
    session
        .vault
        .quarantine()
        .read(&session.quarantine()?, &filter, |record| {
            let is_asked = args.stage.as_ref().is_none_or(|stage| *stage == record.stage);
            if !is_asked {
                stages.insert(record.stage);
            } else if is_rejected(&record) && seen.insert(record.id.clone()) {
                let key = (record.source.clone(), record.stage.clone(), record.code.clone());
                *counts.entry(key).or_default() += record.records;
                if record.release > session.release() {
                    unpublished += record.records;
                }
                if records.len() < args.limit {
                    records.push(record);
                }
            }
        })
        .map_err(EngineError::from)?;
    if let Some(stage) = args
        .stage
        .as_ref()
        .filter(|s| counts.is_empty() && !stages.contains(*s))
    {
        return Err(Failure::unknown("stage", stage, stages.iter().map(String::as_str)));
    }
    let total: u64 = counts.values().sum();
    let by_code: Vec<_> = counts
        .iter()
        .map(|((source, stage, code), n)| json!({ "source": source, "stage": stage, "code": code, "records": n }))
        .collect();
    // The path may hold identifiers.
    let listed: Vec<_> = records
        .iter()
        .map(|r| {
            let mut value = json!(r);
            if let Some(object) = value.as_object_mut() {
                object.shift_remove("path");
            }
            value
        })
        .collect();
    let value = json!({ "total": total, "unpublished": unpublished, "by_code": by_code, "records": listed });
    context.console.result(&value, || {
        if total == 0 {
            return "nothing in quarantine\n".to_owned();
        }
        let mut by_code = Grid::new(["source", "stage", "code", ">records"]);
        for ((source, stage, code), n) in &counts {
            by_code.row([source.clone(), stage.clone(), code.clone(), thousands(*n)]);
        }
        let mut text = format!(
            "{}\n{by_code}\n{}",
            counted(total, "record", "records"),
            table(&records)
        );
        let left = total - records.iter().map(|r| r.records).sum::<u64>();
        if left > 0 {
            let _ = writeln!(text, "  … and {} more (--limit)", thousands(left));
        }
        if unpublished > 0 {
            let those = counted(unpublished, "record", "records");
            let _ = writeln!(text, "  {those} of a refresh that has published nothing");
        }
        text
    })?;
    Ok(OK)
}

fn table(records: &[QuarantineRecord]) -> Grid {
    let mut grid = Grid::new(["id", "source", "stage", "code", ">release", "why"]);
    for r in records {
        let release = r.release.to_string();
        grid.row([&r.id, &r.source, &r.stage, &r.code, &release, &r.message]);
    }
    grid
}

/// Shows one rejected record with its bytes from the kept input.
///
/// # Errors
/// When there is no such record, or its input is gone.
pub async fn show(context: &Context, args: &args::QuarantineShow) -> Result<u8, Failure> {
    let session = open(context, &args.file).await?;
    let filter = QuarantineFilter {
        id: Some(args.id.clone()),
        ..QuarantineFilter::default()
    };
    let mut found: BTreeMap<String, QuarantineRecord> = BTreeMap::new();
    let quarantine = session.vault.quarantine();
    let read = quarantine.read(&session.quarantine()?, &filter, |record| {
        // Two are enough to tell that the id is not unique.
        if found.len() < 2 || found.contains_key(&record.id) {
            found.insert(record.id.clone(), record);
        }
    });
    read.map_err(EngineError::from)?;
    let record = match (found.len(), found.into_values().next()) {
        (1, Some(record)) => record,
        (0, _) | (_, None) => {
            return Err(Failure {
                code: Some("NOT_FOUND"),
                ..Failure::new(
                    FAILED,
                    format!("no record in quarantine has an id that begins with {:?}", args.id),
                )
            });
        }
        _ => {
            return Err(Failure::usage(format!(
                "several ids begin with {:?}: give more of it",
                args.id
            )));
        }
    };
    let bytes = bytes_of(&session.vault, &record.input, record.offset, record.length)?;
    let excerpt = Excerpt::new(&bytes, record.length);
    let mut value = json!(record);
    if let Some(object) = value.as_object_mut() {
        object.insert("bytes".to_owned(), excerpt.json());
    }
    context
        .console
        .note("a patient's record, from the vault: not to leave the hospital");
    context.console.result(&value, || text(&record, &excerpt))?;
    Ok(OK)
}

fn text(record: &QuarantineRecord, excerpt: &Excerpt<'_>) -> String {
    let mut text = format!("{}: {} ({})\n", record.id, record.message, record.code);
    let path = record.path.as_ref().map_or("(unknown)", |p| p.expose());
    let place = place(record.row, record.part, record.cell);
    let mut grid = Grid::new(["source", &record.source]);
    grid.row(["stage", &record.stage]);
    if let Some(kind) = record.kind.as_ref().filter(|k| !k.is_empty()) {
        grid.row(["kind", kind]);
    }
    grid.row(["release", &record.release.to_string()]);
    grid.row(["input", path]);
    grid.row(["sha256", &record.input.to_string()]);
    let (from, to) = (thousands(record.offset), thousands(record.offset + record.length));
    let sep = if place.is_empty() { "" } else { "; " };
    grid.row(["bytes", &format!("{from} to {to}{sep}{place}")]);
    let _ = write!(
        text,
        "{grid}  the bytes ({})\n{}",
        excerpt.encoding(),
        excerpt.lines("    | ")
    );
    text
}

/// The first bytes of a record in a kept input.
fn bytes_of(vault: &Vault, input: &Digest, offset: u64, length: u64) -> Result<Vec<u8>, Failure> {
    let kept = vault.inputs().open(input).map_err(EngineError::from)?;
    // A record without a length is an input that was given up as a whole.
    let length = if length == 0 { kept.size() } else { length };
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(MAX_BYTES)];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match kept.read_at(offset + filled as u64, rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(_) => return Err(Failure::new(FAILED, format!("the kept input {input} is damaged"))),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Runs a refresh that reads the inputs with rejected records again.
///
/// # Errors
/// When nothing was published.
pub async fn replay(context: &Context, args: &args::PipelineFile) -> Result<u8, Failure> {
    let bound = context.bind(&args.file).await?;
    let options = RefreshOptions {
        replay: true,
        ..RefreshOptions::default()
    };
    refresh_and_print(context, &bound, &options).await
}

async fn open(context: &Context, file: &std::path::Path) -> Result<Session, Failure> {
    let bound = context.bind(file).await?;
    Ok(Session::open(&bound, &context.env, &context.secrets(), Access::Read).await?)
}
