//! `clinmill map`: mapping tables to and from other tools, coverage, suggestions and their review.

mod accept;
mod exchange;
mod units;

use super::preview::Told;
use crate::{
    args,
    context::Context,
    failure::{FAILED, Failure, OK},
    output::{Grid, counted},
};
use arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::DataType,
};
use clinmill_engine::{
    bound::{Bound, SourceSpec},
    inspect::{self, Extent},
};
use clinmill_plugin_terminology::{
    By, Kind, Lookup, Terminology, TerminologyConfig,
    merge::{MAP, not_commas},
    review::{self, Asked, Coverage, Values},
    search::Index,
    sheet::Sheet,
    table::{Target, entries},
};
use clinmill_plugin_units::{Units, targets};
use clinmill_sdk::{MappingTable, PluginError, Resource, Transform, athena::Athena, mapping::records, regular};
use clinmill_spec::{did_you_mean, pipeline::Transform as PipelineTransform};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{fmt::Write, fs, path::Path};

/// Runs what was asked for.
///
/// # Errors
/// When a file or table cannot be read or written, or the table is not sound.
pub async fn run(context: &Context, command: &args::MapCommand) -> Result<u8, Failure> {
    match command {
        args::MapCommand::Import(args) => exchange::imported(context, args),
        args::MapCommand::Export(args) => exchange::exported(context, args),
        args::MapCommand::Coverage(args) => coverage(context, args).await,
        args::MapCommand::Suggest(args) => suggest(context, args).await,
        args::MapCommand::Accept(args) => accept::run(context, args),
    }
}

pub(super) fn broken(error: &PluginError) -> Failure {
    Failure {
        code: Some("MAPPING"),
        ..Failure::new(FAILED, error.message.clone())
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = regular::read(path).map_err(|error| Failure::argument(path, &error))?;
    String::from_utf8(bytes).map_err(|_| {
        let how = "in Excel, save it as \"CSV UTF-8\"; elsewhere, iconv -f GB18030 -t UTF-8 makes it so";
        Failure::new(FAILED, format!("{} is not UTF-8: {how}", path.display()))
    })
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    crate::files::replace(path, text)
}

/// The table in a folder.
pub(super) fn table(dir: &Path) -> Result<MappingTable, Failure> {
    let mut resource = Resource::default();
    for file in ["map.csv", "mapping.yaml"] {
        let path = dir.join(file);
        let bytes = regular::read(&path).map_err(|error| Failure::argument(&path, &error))?;
        resource.files.insert(file.into(), bytes);
    }
    MappingTable::read(&dir.display().to_string(), &resource).map_err(|error| broken(&error))
}

/// Refuses a table that the step would refuse.
fn check(table: &MappingTable) -> Result<(), Failure> {
    for by in [By::Name, By::Code] {
        entries(table, by).map_err(|error| broken(&error))?;
    }
    targets::check(table).map_err(|error| broken(&error))
}

fn name(dir: &Path) -> String {
    let name = dir
        .components()
        .next_back()
        .map(|part| part.as_os_str().to_string_lossy());
    name.unwrap_or_default().into_owned()
}

/// A column that is looked up somewhere.
struct Looked {
    place: String,
    column: String,
    map: String,
    table: MappingTable,
    by: By,
    values: Values,
    /// True when there is more than was counted.
    is_cut: bool,
}

/// `value` names the column of results.
async fn looked_up(context: &Context, args: &args::MapColumns, value: Option<&String>) -> Result<Vec<Looked>, Failure> {
    match args.file.extension().and_then(|e| e.to_str()) {
        Some("yaml" | "yml") => {
            let bound = context.bind(&args.file).await?;
            let all = in_pipeline(context, &bound, value, &mut Told::default()).await?;
            if all.is_empty() {
                return Err(nothing_in(&args.file));
            }
            Ok(all)
        }
        _ => Ok(vec![in_file(args, value)?]),
    }
}

fn nothing_in(file: &Path) -> Failure {
    Failure::usage(format!(
        "{} has no terminology step to count: name a CSV or TSV file with --map and --column",
        file.display()
    ))
}

/// A column as texts, empty where it is null; none where there is no such column.
fn texts(rows: &RecordBatch, name: &str) -> Result<Option<Vec<String>>, Failure> {
    let Some(column) = rows.column_by_name(name) else {
        return Ok(None);
    };
    let text = cast(column, &DataType::Utf8)
        .map_err(|_| Failure::new(FAILED, format!("the column {name:?} cannot be shown")))?;
    let text = text.as_string::<i32>().iter();
    Ok(Some(text.map(|text| text.unwrap_or_default().to_owned()).collect()))
}

/// A transform, and what it reads.
/// Which sources a transform reads, and its name.
fn place(bound: &Bound, transform: &PipelineTransform) -> String {
    let needed = bound.graph.needed(std::slice::from_ref(&transform.name.value));
    let kinds = |s: &SourceSpec| (0..s.bound.records().len()).map(|k| s.relation(k)).collect::<Vec<_>>();
    let sources = bound
        .sources
        .iter()
        .flat_map(kinds)
        .filter(|name| needed.contains(name));
    format!("{} > {}", sources.collect::<Vec<_>>().join("+"), transform.name.value)
}

fn in_file(args: &args::MapColumns, result: Option<&String>) -> Result<Looked, Failure> {
    let (Some(map), Some(column)) = (&args.map, &args.column) else {
        return Err(Failure::usage("a file needs --map DIR and --column NAME"));
    };
    let table = table(map)?;
    let text = read(&args.file)?;
    let tabs = args.file.extension().is_some_and(|e| e == "tsv" || e == "tab");
    let text = text.trim_start_matches('\u{feff}');
    let rows = records(text, if tabs { '\t' } else { ',' });
    let rows = rows.map_err(|(line, what)| Failure::new(FAILED, format!("{}:{line}: {what}", args.file.display())))?;
    let Some((header, rows)) = rows.split_first() else {
        return Err(Failure::new(FAILED, format!("{} is empty", args.file.display())));
    };
    let find = |wanted: &str| {
        header
            .cells()
            .iter()
            .position(|cell| cell.trim() == wanted)
            .ok_or_else(|| {
                let known = header.cells().iter().map(|cell| cell.trim());
                let hint = not_commas(header).filter(|_| !tabs).map(str::to_owned);
                let hint = hint.or_else(|| did_you_mean(wanted, known));
                let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
                Failure::usage(format!("{} has no column {wanted:?}{hint}", args.file.display()))
            })
    };
    let (value, optional) = (find(column)?, |name: &Option<String>| {
        name.as_deref().map(find).transpose()
    });
    let (unit, specimen) = (optional(&args.unit)?, optional(&args.specimen)?);
    let result = result.map(|name| find(name)).transpose()?;
    let mut values = Values::new();
    for row in rows {
        let cell = |index: Option<usize>| index.map_or("", |index| row.cell(index)).to_owned();
        let asked = Asked {
            value: cell(Some(value)),
            unit: cell(unit),
            specimen: cell(specimen),
            kind: Kind::Any,
        };
        values.entry(asked).or_default().add(cell(result).trim().parse().ok());
    }
    Ok(Looked {
        place: args.file.display().to_string(),
        column: column.clone(),
        map: map.display().to_string(),
        table,
        by: if args.codes { By::Code } else { By::Name },
        values,
        is_cut: false,
    })
}

/// Records of one kind that are counted: as many as memory has room for.
const COUNTED: Extent = Extent {
    rows: usize::MAX,
    records: 4_000_000,
};

/// Every `terminology` step of a pipeline, over the records of its inbox.
async fn in_pipeline(
    context: &Context,
    bound: &Bound,
    result: Option<&String>,
    told: &mut Told,
) -> Result<Vec<Looked>, Failure> {
    let mut all = Vec::new();
    for transform in &bound.pipeline.transforms {
        let steps = || {
            transform
                .steps
                .iter()
                .filter(|step| step.plugin.value == Terminology::NAME)
        };
        if steps().next().is_none() {
            continue;
        }
        let preview = inspect::preview(bound, &transform.name.value, COUNTED, None).await?;
        told.tell(context, &preview, COUNTED.records);
        for step in steps() {
            let Ok(config) = TerminologyConfig::deserialize(&step.options.value) else {
                continue;
            };
            let Some(mapping) = bound.mappings.get(&config.map) else {
                continue;
            };
            let column = |name: &str| texts(&preview.rows, name);
            let Some(names) = column(&config.column)? else {
                let name = (&transform.name.value, &config.column);
                context.console.warn(
                    None,
                    &format!(
                        "{}: the column {:?} is gone at the end of its steps: not counted",
                        name.0, name.1
                    ),
                );
                continue;
            };
            let optional = |name: &Option<String>| name.as_deref().map_or(Ok(None), column);
            let (units, specimens) = (optional(&config.unit)?, optional(&config.specimen)?);
            let (written, kinds) = (optional(&config.unit_in_value)?, optional(&config.kind)?);
            // Without a word about it: what the same transform converts.
            let converted = transform.steps.iter().find_map(|step| {
                let value = step
                    .options
                    .value
                    .get("value")
                    .filter(|_| step.plugin.value == Units::NAME)?;
                value.as_str().map(str::to_owned)
            });
            let results = optional(&result.cloned().or(converted))?;
            let mut values = Values::new();
            for (row, text) in names.into_iter().enumerate() {
                let cell = |texts: &Option<Vec<String>>| texts.as_ref().and_then(|t| t.get(row)).cloned();
                let unit = cell(&written).filter(|unit| !unit.is_empty()).or_else(|| cell(&units));
                let asked = Asked {
                    value: text,
                    unit: unit.unwrap_or_default(),
                    specimen: cell(&specimens).unwrap_or_default(),
                    kind: cell(&kinds).map_or(Kind::Any, |kind| Kind::of(&kind)),
                };
                let number = cell(&results).and_then(|text| text.trim().parse().ok());
                values.entry(asked).or_default().add(number);
            }
            all.push(Looked {
                place: place(bound, transform),
                column: config.column,
                map: config.map.clone(),
                table: MappingTable::read(&config.map, &mapping.resource).map_err(|error| broken(&error))?,
                by: config.by,
                values,
                is_cut: preview.is_cut,
            });
        }
    }
    Ok(all)
}

fn covered(looked: &Looked) -> Result<Coverage, Failure> {
    let lookup = Lookup::new(&looked.table, looked.by).map_err(|error| broken(&error))?;
    Ok(review::coverage(&looked.values, &lookup))
}

/// A part of a whole in percent; nothing has no parts.
fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        whole => format!("{:.1}", part as f64 * 100.0 / whole as f64),
    }
}

async fn coverage(context: &Context, args: &args::MapCoverage) -> Result<u8, Failure> {
    let (looked_up, units) = match args.columns.file.extension().and_then(|e| e.to_str()) {
        Some("yaml" | "yml") => {
            let bound = context.bind(&args.columns.file).await?;
            let mut told = Told::default();
            let looked = in_pipeline(context, &bound, None, &mut told).await?;
            (looked, units::met(context, &bound, &mut told).await?)
        }
        _ => (vec![in_file(&args.columns, None)?], Vec::new()),
    };
    if looked_up.is_empty() && units.is_empty() {
        return Err(nothing_in(&args.columns.file));
    }
    let mut all = Vec::new();
    for looked in looked_up {
        all.push((covered(&looked)?, looked));
    }
    all.sort_by(|(a, x), (b, y)| {
        share(a.rows_mapped, a.rows)
            .total_cmp(&share(b.rows_mapped, b.rows))
            .then_with(|| x.place.cmp(&y.place))
    });
    let mut lines: Vec<Line<'_>> = all
        .iter()
        .map(|(coverage, looked)| Line::of(coverage, looked))
        .collect();
    lines.extend(units.iter().map(units::Met::line));
    lines.sort_by(|a, b| a.share().total_cmp(&b.share()).then_with(|| a.place.cmp(b.place)));
    let columns: Vec<Value> = all
        .iter()
        .map(|(c, looked)| {
            let open: Vec<Value> = c
                .open
                .iter()
                .take(args.open)
                .map(|o| {
                    let (asked, state, rows) = (&o.asked, o.state, o.rows);
                    json!({ "value": asked.value, "unit": asked.unit, "specimen": asked.specimen, "state": state, "rows": rows })
                })
                .collect();
            json!({ "place": looked.place, "column": looked.column, "map": looked.map, "rows": c.rows,
                "rows_mapped": c.rows_mapped, "values": c.values, "values_mapped": c.values_mapped, "is_cut": looked.is_cut, "open": open })
        })
        .collect();
    context
        .console
        .result(&json!({ "columns": columns, "units": units }), || {
            let mut grid = Grid::new(["place", "column", "map", ">rows", ">mapped %", ">values", ">mapped %"]);
            let mut open = Grid::new([">rows", "value", "unit", "state", "place"]);
            for line in &lines {
                grid.row([
                    line.place,
                    line.column,
                    line.map,
                    line.rows.1.to_string().as_str(),
                    percent(line.rows.0, line.rows.1).as_str(),
                    line.values.1.to_string().as_str(),
                    percent(line.values.0, line.values.1).as_str(),
                ]);
                for (rows, value, unit, state) in line.open.iter().take(args.open) {
                    open.row([rows.to_string().as_str(), value, unit, state, line.place]);
                }
            }
            let mut text = grid.to_string();
            if !open.is_empty() {
                let _ = write!(text, "\n{open}");
            }
            for note in units.iter().filter_map(units::Met::note) {
                let _ = writeln!(text, "\n{note}");
            }
            text
        })?;
    Ok(OK)
}

/// What a column says, and how much of it is mapped.
struct Line<'a> {
    place: &'a str,
    column: &'a str,
    map: &'a str,
    /// Mapped, of all.
    rows: (u64, u64),
    /// Distinct ones: mapped, of all.
    values: (u64, u64),
    /// Rows, value, unit and state of what is not mapped, the most frequent first.
    open: Vec<(u64, &'a str, &'a str, &'a str)>,
}

impl<'a> Line<'a> {
    fn of(coverage: &'a Coverage, looked: &'a Looked) -> Self {
        let open = coverage.open.iter();
        Self {
            place: &looked.place,
            column: &looked.column,
            map: &looked.map,
            rows: (coverage.rows_mapped, coverage.rows),
            values: (coverage.values_mapped, coverage.values),
            open: open
                .map(|o| (o.rows, o.asked.value.as_str(), o.asked.unit.as_str(), o.state))
                .collect(),
        }
    }

    fn share(&self) -> f64 {
        share(self.rows.0, self.rows.1)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

async fn suggest(context: &Context, args: &args::MapSuggest) -> Result<u8, Failure> {
    let mut sheet = Sheet::default();
    let (mut open, mut targets, mut without) = (0, 0, Vec::new());
    for looked in looked_up(context, &args.columns, args.value.as_ref()).await? {
        let mut index = Index::default();
        let mut add = |table: &MappingTable| index.add_table(table).map_err(|error| broken(&error));
        add(&looked.table)?;
        for dir in &args.targets {
            add(&table(dir)?)?;
        }
        if let Some(dir) = &args.athena {
            let bad = |error: clinmill_sdk::athena::AthenaError| Failure::new(FAILED, error.to_string());
            let athena = Athena::open(dir).map_err(bad)?;
            let loinc = |concept: clinmill_sdk::athena::Concept| {
                let target = Target {
                    system: "http://loinc.org".into(),
                    code: concept.code,
                    name: concept.name.clone(),
                    unit: String::new(),
                };
                index.add(&concept.name, &target);
            };
            athena.each("LOINC", loinc).map_err(bad)?;
        }
        let coverage = covered(&looked)?;
        open += coverage.open.len() as u64;
        targets = targets.max(index.len() as u64);
        let mut suggested = review::suggest(&coverage, &index, &Sheet::of(&looked.table), args.each, args.least);
        // Rows for several tables stand in one file.
        let map = looked.map.trim_end_matches('/');
        let map = map.rsplit([':', '/']).next().unwrap_or(map);
        for line in &mut suggested.sheet.lines {
            line.set(MAP, map);
        }
        sheet.lines.extend(suggested.sheet.lines);
        without.extend(suggested.without);
    }
    // Excel takes a file for UTF-8 only by its byte order mark.
    fs::write(&args.out, format!("\u{feff}{}", sheet.to_csv()))
        .map_err(|error| Failure::io("write", &args.out, &error))?;
    // A row without a target says why there is none.
    let candidates = sheet.lines.iter().filter(|line| !line.get("target_code").is_empty());
    let rows = candidates.count() as u64;
    let none: Vec<_> = without
        .iter()
        .map(|asked| json!({ "value": asked.value, "unit": asked.unit, "specimen": asked.specimen }))
        .collect();
    let result = json!({ "open": open, "targets": targets, "rows": rows, "without": none, "to": args.out });
    context.console.result(&result, || {
        let mut text = format!(
            "{} for {} of {} from {}, to {}\n",
            counted(rows, "candidate", "candidates"),
            open - without.len() as u64,
            counted(open, "value", "values"),
            counted(targets, "target", "targets"),
            args.out.display()
        );
        if !without.is_empty() {
            let named: Vec<&str> = without.iter().take(20).map(|asked| asked.value.trim()).collect();
            let more = match without.len() - named.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let _ = writeln!(text, "none for {}: {}{more}", without.len(), named.join(", "));
        }
        text
    })?;
    Ok(OK)
}
