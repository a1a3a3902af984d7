//! `clinmill map accept`: reviewed rows into their table.

use super::{broken, check, name, read, table, write};
use crate::{
    args,
    context::Context,
    failure::{FAILED, Failure, OK},
    output::counted,
};
use clinmill_plugin_terminology::{
    By, Lookup,
    merge::{self, Merged, Place, Reviewed},
    table::twice,
};
use clinmill_sdk::{MappingTable, Resource, mapping::records};
use serde_json::{Value, json};
use std::{collections::HashSet, fs, path::Path};

/// What the table is called that reviewed rows would make.
const MERGED: &str = "the merged table";

/// Merges the decided rows that are for the table.
///
/// # Errors
/// When a file cannot be read, a row is for another table, or the merged table is not sound: nothing is written then.
pub fn run(context: &Context, args: &args::MapAccept) -> Result<u8, Failure> {
    let known = table(&args.into)?;
    let path = args.into.join("map.csv");
    let located = |(line, what): (u32, &str)| Failure::new(FAILED, format!("{}:{line}: {what}", args.file.display()));
    let reviewed = Reviewed::read(&read(&args.file)?).map_err(located)?;
    let own = name(&args.into);
    if let Some((line, system)) = reviewed.stranger(&own, &known) {
        let own: Vec<String> = merge::systems(&known).into_iter().collect();
        let what = format!(
            "{}:{line}: its target is of {system}, and those of {} are of {}: it is for another table{}",
            args.file.display(),
            args.into.display(),
            own.join(", "),
            beside(&args.into, system)
        );
        return Err(Failure {
            code: Some("MAPPING"),
            ..Failure::new(FAILED, what)
        });
    }
    let merged = merge::merge(&read(&path)?, &known, &own, &reviewed).map_err(|error| broken(&error))?;
    sound(args, &merged)?;
    write(&path, &merged.text)?;
    let elsewhere = reviewed.elsewhere(&own);
    if !elsewhere.is_empty() {
        let tables: Vec<String> = elsewhere.iter().map(|(map, rows)| format!("{map} ({rows})")).collect();
        let what = format!(
            "rows for other tables were left: {}; accept them into those",
            tables.join(", ")
        );
        context.console.warn(None, &what);
    }
    if !merged.columns.is_empty() {
        let columns = merged.columns.join(", ");
        let what = format!("{} had no {columns}: each line ends in it now", path.display());
        context.console.warn(None, &what);
    }
    let for_others: Vec<Value> = elsewhere
        .iter()
        .map(|(map, rows)| json!({ "map": map, "rows": rows }))
        .collect();
    let value = json!({ "added": merged.added, "replaced": merged.replaced, "left": reviewed.left(),
        "for_others": for_others, "to": path });
    context.console.result(&value, || {
        format!(
            "{} added, {} replaced, {} still proposed\n",
            counted(merged.added, "row", "rows"),
            merged.replaced,
            reviewed.left()
        )
    })?;
    Ok(OK)
}

/// The tables in the same folder that have targets of a system, in words.
fn beside(into: &Path, system: &str) -> String {
    let folder = into.parent().filter(|parent| !parent.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new(".")));
    let mut tables: Vec<String> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| table(&entry.path()).is_ok_and(|table| merge::systems(&table).contains(system)))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    tables.sort();
    match tables.is_empty() {
        true => String::new(),
        false => format!("; of those beside it, {} could take it", tables.join(", ")),
    }
}

/// Whether rows of a table have a key of this kind.
fn has_keys(table: &MappingTable, by: By) -> bool {
    let column = table.column(match by {
        By::Name => "source_name",
        By::Code => "source_code",
    });
    column.is_some_and(|column| table.rows.iter().any(|row| !row.cell(column).is_empty()))
}

/// Refuses what the step would refuse of the merged table, and reviewed rows that leave values with two targets. What is
/// wrong is said where it was written.
fn sound(args: &args::MapAccept, merged: &Merged) -> Result<(), Failure> {
    let yaml = read(&args.into.join("mapping.yaml"))?;
    let resource = Resource {
        files: [
            ("map.csv".to_owned(), merged.text.clone().into_bytes()),
            ("mapping.yaml".to_owned(), yaml.into_bytes()),
        ]
        .into(),
    };
    let written = records(merged.text.trim_start_matches('\u{feff}'), ',')
        .map_err(|(line, what)| Failure::new(FAILED, format!("{MERGED}/map.csv:{line}: {what}")))?;
    let rows = written.get(1..).unwrap_or_default();
    let place = |line: u32| {
        let row = rows.iter().position(|row| row.line == line)?;
        Some(match merged.places.get(row)? {
            Place::Table(line) => format!("{}:{line}", args.into.join("map.csv").display()),
            Place::Reviewed(line) => format!("{}:{line}", args.file.display()),
        })
    };
    let source = |failure: Failure| Failure {
        message: merge::located(&failure.message, MERGED, place),
        ..failure
    };
    let table = MappingTable::read(MERGED, &resource).map_err(|error| source(broken(&error)))?;
    let mut wrong: Vec<String> = Vec::new();
    for by in [By::Name, By::Code] {
        let twice = twice(&table, by).map_err(|error| source(broken(&error)))?;
        wrong.extend(twice.iter().map(|error| merge::located(&error.message, MERGED, place)));
    }
    refused(wrong)?;
    check(&table).map_err(source)?;
    // A row that leaves values with two targets decides nothing.
    let reviewed = rows.iter().zip(&merged.places);
    let reviewed: Vec<u32> = reviewed
        .filter(|(_, place)| matches!(place, Place::Reviewed(_)))
        .map(|(row, _)| row.line)
        .collect();
    let (mut wrong, mut told) = (Vec::new(), HashSet::new());
    for by in [By::Name, By::Code].into_iter().filter(|by| has_keys(&table, *by)) {
        let lookup = Lookup::new(&table, by).map_err(|error| source(broken(&error)))?;
        for line in &reviewed {
            // Of two reviewed rows each contradicts the other.
            let other = lookup.clash(*line);
            let Some(other) = other.filter(|other| told.insert((*line.min(other), *line.max(other)))) else {
                continue;
            };
            let [here, there] = [*line, other].map(|line| place(line).unwrap_or_default());
            wrong.push(format!(
                "{here}: it has another target than {there} for the same name, unit and specimen: neither would count"
            ));
        }
    }
    refused(wrong)
}

/// Fails with all that is wrong, if anything is.
fn refused(mut wrong: Vec<String>) -> Result<(), Failure> {
    // A row with a code and a name is looked at by both.
    let mut told = HashSet::new();
    wrong.retain(|what| told.insert(what.clone()));
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure {
            code: Some("MAPPING"),
            ..Failure::new(FAILED, wrong.join("\n"))
        }),
    }
}
