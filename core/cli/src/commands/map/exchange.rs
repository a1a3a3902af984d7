//! `clinmill map import` and `export`: mapping tables from other tools and to them.

use super::{broken, check, name, read, table, write};
use crate::{
    args,
    context::Context,
    failure::{FAILED, Failure, OK},
    output::counted,
};
use clinmill_plugin_terminology::{
    exchange::{Format, Imported, export, import, licence},
    sheet::Sheet,
};
use clinmill_sdk::{MappingTable, Resource};
use serde_json::{Value, json};
use std::fs;

fn format(format: args::MapFormat) -> Format {
    match format {
        args::MapFormat::Usagi => Format::Usagi,
        args::MapFormat::SourceToConceptMap => Format::SourceToConceptMap,
        args::MapFormat::FhirR4 => Format::FhirR4,
        args::MapFormat::FhirR5 => Format::FhirR5,
        args::MapFormat::Sssom => Format::Sssom,
    }
}

pub(super) fn imported(context: &Context, args: &args::MapImport) -> Result<u8, Failure> {
    let path = args.to.join("map.csv");
    if path.exists() {
        return Err(Failure::usage(format!("{} is there already", path.display())));
    }
    let text = read(&args.file)?;
    let Imported {
        sheet,
        aside,
        declared,
        lost,
    } = import(&text, format(args.from))
        .map_err(|error| Failure::new(FAILED, format!("{}: {error}", args.file.display())))?;
    if !aside.is_empty() {
        let left = counted(aside.len() as u64, "mapping", "mappings");
        let mut told: Vec<String> = aside.iter().take(10).map(|one| format!("  {one}")).collect();
        told.extend((aside.len() > 10).then(|| format!("  … and {} more", aside.len() - 10)));
        let what = format!(
            "{left} left out, which a table cannot say ({}):\n{}",
            args.file.display(),
            told.join("\n")
        );
        context.console.warn(None, &what);
    }
    if !lost.is_empty() {
        let what = format!("a table has no place for {}: left out", lost.join(", "));
        context.console.warn(None, &what);
    }
    let target = sheet
        .lines
        .iter()
        .map(|line| line.get("target_system"))
        .find(|system| !system.is_empty());
    let quoted = |text: &str| Value::from(text).to_string();
    let file = args.file.file_name().unwrap_or_default().to_string_lossy();
    let from = match declared.from.is_empty() {
        true => "see origin".to_owned(),
        false => declared.from.join(", "),
    };
    let mut origin = vec![format!("imported from {file}")];
    origin.extend(declared.origin);
    let licence = args.licence.clone().or(declared.licence);
    let licence = licence.as_deref().unwrap_or("not stated in the imported file");
    let yaml = format!(
        "title: {}\nfrom: {}\nto: {}\nversion: 1.0.0\norigin: {}\nlicence: {}\n",
        quoted(&name(&args.to)),
        quoted(&from),
        quoted(target.unwrap_or("unknown")),
        quoted(&origin.join("; ")),
        quoted(licence)
    );
    let resource = Resource {
        files: [
            ("map.csv".to_owned(), sheet.to_csv().into_bytes()),
            ("mapping.yaml".to_owned(), yaml.clone().into_bytes()),
        ]
        .into(),
    };
    let read = MappingTable::read(&args.file.display().to_string(), &resource).map_err(|error| broken(&error))?;
    // A table that the step refuses is written all the same, to be put right by hand.
    let sound = check(&read);
    fs::create_dir_all(&args.to).map_err(|error| Failure::io("make", &args.to, &error))?;
    write(&path, &sheet.to_csv())?;
    let declared = args.to.join("mapping.yaml");
    fs::write(&declared, yaml).map_err(|error| Failure::io("write", &declared, &error))?;
    let rows = sheet.lines.len() as u64;
    context.console.result(
        &json!({ "rows": rows, "left_out": aside.len(), "lost": lost, "to": path }),
        || format!("{} to {}\n", counted(rows, "row", "rows"), path.display()),
    )?;
    let put_right = |failure: Failure| Failure {
        message: format!(
            "{}: what was read is in {}, to be put right there",
            failure.message,
            path.display()
        ),
        ..failure
    };
    sound.map(|()| OK).map_err(put_right)
}

pub(super) fn exported(context: &Context, args: &args::MapExport) -> Result<u8, Failure> {
    let table = table(&args.dir)?;
    if table.column("target_code").is_none() {
        let what = "the table holds no target codes, such as one of molar masses: none of the formats has a place for its \
                    rows; pass on the folder as it is";
        return Err(Failure::new(FAILED, format!("{}: {what}", args.dir.display())));
    }
    let licence = licence(&read(&args.dir.join("mapping.yaml"))?);
    let file = export(&Sheet::of(&table), &name(&args.dir), &licence, format(args.tool));
    if file.left_out > 0 {
        let left = counted(file.left_out as u64, "row", "rows");
        context
            .console
            .warn(None, &format!("{left} left out: the format has no place for them"));
    }
    if !file.lost.is_empty() {
        let lost = file.lost.join(", ");
        context.console.warn(
            None,
            &format!("the format has no place for the columns {lost}: they are left out"),
        );
    }
    if let Some(column) = file.cut {
        let what = format!("{column} is the folder's name cut to 20 characters, as many as the format has");
        context.console.warn(None, &what);
    }
    if let Some(licence) = &file.licence {
        let what = format!("the format has no place for the table's licence: pass it on beside the file.\n  {licence}");
        context.console.warn(None, &what);
    }
    let Some(out) = &args.out else {
        let said = json!({ "text": file.text, "left_out": file.left_out, "lost": file.lost, "licence": file.licence });
        context.console.result(&said, || file.text.clone())?;
        return Ok(OK);
    };
    fs::write(out, &file.text).map_err(|error| Failure::io("write", out, &error))?;
    let rows = table.rows.len() - file.left_out;
    context.console.result(
        &json!({ "rows": rows, "left_out": file.left_out, "lost": file.lost, "licence": file.licence, "to": out }),
        || format!("{} to {}\n", counted(rows as u64, "row", "rows"), out.display()),
    )?;
    Ok(OK)
}
