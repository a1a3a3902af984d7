//! From a check to the queries that count: which rows it is about, and which of them fail.

use crate::sql;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use clinmill_model::{
    Diagnostic,
    columns::{ROW_ID, SUBJECT_ID},
};
use clinmill_spec::{
    codes,
    pipeline::{Check, ColumnRef},
};
use std::collections::BTreeMap;

/// How a gate is measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Row by row of one table: SQL conditions.
    Rows {
        /// The table.
        table: String,
        /// The rows it is about.
        applies: String,
        /// Those that fail.
        fails: String,
    },
    /// By queries.
    Query {
        /// One number: the rows it is about.
        rows: String,
        /// The failing rows, with the column `_row_id`.
        failing: String,
    },
    /// The distribution of a column against that of the last release.
    Drift {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Queries for the values, of the release before and of now: `v`, of words also how often, `n`; last the group, `g`,
        /// where there are groups.
        values: [String; 2],
        /// A query for one row of each group, `_row_id` and `g`; none without groups.
        groups: Option<String>,
        /// What a group is called may be told: it is of codes alone that are no patient's.
        told: bool,
        /// Numbers or words.
        numeric: bool,
        /// The largest index.
        at_most: f64,
    },
    /// The newest time in a column.
    Fresh {
        /// One time.
        newest: String,
        /// Its largest age in microseconds.
        within: i64,
    },
    /// The number of rows.
    RowCount {
        /// The table.
        table: String,
        /// Bounds.
        rows: (Option<u64>, Option<u64>),
        /// Bounds of growth as a share.
        change: (Option<f64>, Option<f64>),
    },
    /// A query of the pipeline's.
    Sql {
        /// The query.
        sql: String,
        /// The table whose rows it is about.
        table: Option<String>,
    },
}

/// Stands in a query for a day from now in microseconds, as [`at`] puts it: what is dated later is a mistake.
const UNTIL: &str = "7258118400000001";

/// A query of now, a local time.
pub fn at(query: &str, now: jiff::civil::DateTime) -> String {
    let until = now.saturating_add(jiff::Span::new().days(1));
    query.replace(UNTIL, &micros(until).to_string())
}

/// Microseconds since 1970 of a local time.
pub fn micros(time: jiff::civil::DateTime) -> i64 {
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC);
    zoned.map_or(0, |z| z.timestamp().as_microsecond())
}

/// A column as a day. Here and below what has no counterpart is null: DataFusion counts in nanoseconds wherever it may, which
/// are of the years from 1677 to 2262 only, and a query that meets another year fails as a whole.
fn day(column: &str, data_type: &DataType) -> String {
    match data_type {
        DataType::Date32 => column.to_owned(),
        _ => format!("try_cast({column} as date)"),
    }
}

/// A column as a number of days.
fn days(column: &str, data_type: &DataType) -> String {
    format!("cast({} as int)", day(column, data_type))
}

/// A condition: at a day, who was born on another is younger or older than the bounds. A bound in whole years is about
/// completed years, as people count: 80 until the day before the 81st birthday.
fn of_age((at, birth): (String, String), (low, high): (Option<f64>, Option<f64>)) -> String {
    let part = |part: &str, of: &str| format!("date_part('{part}', {of})");
    let in_year = |of: &str| format!("{} * 100 + {}", part("month", of), part("day", of));
    let completed = format!(
        "({} - {} - case when {} < {} then 1 else 0 end)",
        part("year", &at),
        part("year", &birth),
        in_year(&at),
        in_year(&birth)
    );
    let exact = format!("((cast({at} as int) - cast({birth} as int)) / 365.25)");
    let of = |bound: f64| if bound.fract() == 0.0 { &completed } else { &exact };
    let low = low.map(|low| format!("{} < {}", of(low), number(low)));
    let high = high.map(|high| format!("{} > {}", of(high), number(high)));
    let parts: Vec<String> = low.into_iter().chain(high).collect();
    format!("({})", parts.join(" or "))
}

/// A column as a time in microseconds.
fn time_of(column: &str, data_type: &DataType) -> String {
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, None) => column.to_owned(),
        _ => format!("try_cast({column} as timestamp(6))"),
    }
}

/// A condition: the column is dated later than a day from now.
pub fn late(column: &str, data_type: &DataType) -> String {
    match data_type {
        DataType::Date32 => format!("{} > {UNTIL} / 86400000000", days(column, data_type)),
        _ => format!("cast({} as bigint) > {UNTIL}", time_of(column, data_type)),
    }
}

/// A condition: a date is further than so many days before the first or behind the second.
pub fn apart(column: &str, (first, last): (&str, &str), most: u32) -> String {
    let days = |column: &str| days(column, &DataType::Date32);
    let (at, first, last) = (days(column), days(first), days(last));
    format!("{at} < {first} - {most} or {at} > {last} + {most}")
}

/// The columns of the tables.
pub type Schemas = BTreeMap<String, SchemaRef>;

/// What is wrong with a check, and with which column.
pub type Wrong = Box<(Diagnostic, clinmill_spec::pipeline::Span)>;

/// A name as SQL wants it.
pub fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A number as SQL reads it; never with an exponent that it would not know.
fn number(value: f64) -> String {
    let text = format!("{value}");
    match text.contains(['.', 'e', 'E']) {
        true => text,
        false => format!("{text}.0"),
    }
}

/// Between the values of a group's columns: see [`group_name`].
const BETWEEN: char = '\u{1f}';

/// A group as people read it: of the text that a drift's query makes of its columns' values.
pub fn group_name(group: &str) -> String {
    let values = group
        .split(BETWEEN)
        .map(|value| value.strip_prefix('=').unwrap_or("null"));
    values.collect::<Vec<_>>().join(" / ")
}

/// The plan of a check. `filter` is the condition of `where`; `unmapped` are concept ids, for which 0 is no value; `listed`
/// are columns whose contract lists their values.
///
/// # Errors
/// A column that is not there or has a type that the check cannot look at.
pub fn plan(
    check: &Check,
    filter: Option<&str>,
    schemas: &Schemas,
    unmapped: &dyn Fn(&ColumnRef) -> bool,
    listed: &dyn Fn(&ColumnRef) -> bool,
) -> Result<Plan, Wrong> {
    let mut types = Vec::new();
    for column in check.columns() {
        types.push(data_type(column, schemas)?);
    }
    let about = filter.map_or_else(|| "true".to_owned(), |f| format!("({f}\n)"));
    let rows = |table: &str, applies: String, fails: String| Plan::Rows {
        table: table.to_owned(),
        applies: format!("{about} and {applies}"),
        fails,
    };
    Ok(match check {
        Check::NotNull(c) => {
            let column = name(&c.column);
            let fails = match unmapped(c) {
                true => format!("({column} is null or {column} = 0)"),
                false => format!("{column} is null"),
            };
            rows(&c.table, "true".to_owned(), fails)
        }
        Check::Values(c, values) => {
            let column = name(&c.column);
            let list = one_of(&column, c, &types[0], values)?;
            rows(&c.table, format!("{column} is not null"), format!("not ({list})"))
        }
        Check::Range(c, bounds) => {
            numeric(c, &types[0])?;
            let column = name(&c.column);
            rows(&c.table, format!("{column} is not null"), outside(&column, *bounds))
        }
        Check::Model(c, fails) => rows(&c.table, format!("{} is not null", name(&c.column)), fails.clone()),
        Check::After(a, b) => order(a, b, &types, ("<", "min"), &about, schemas)?,
        Check::Before(a, b) => order(a, b, &types, (">", "max"), &about, schemas)?,
        Check::Age(a, b, bounds) => {
            time(a, &types[0])?;
            time(b, &types[1])?;
            joined(a, b, "min", &about, schemas, &|at, birth| {
                of_age((day(at, &types[0]), day(birth, &types[1])), *bounds)
            })?
        }
        Check::Sex(a, b, values) => {
            one_of("x", b, &types[1], values)?;
            joined(a, b, "min", &about, schemas, &|_, sex| {
                let list = one_of(sex, b, &types[1], values).unwrap_or_default();
                format!("not ({list})")
            })?
        }
        Check::Unique(columns) => unique(columns, &about),
        Check::ForeignKey(from, to) => {
            let (key, other) = (name(&from.column), name(&to.column));
            let table = name(&from.table);
            Plan::Query {
                rows: format!("select count(*) from {table} where {about} and {key} is not null"),
                failing: format!(
                    "select c.{ROW_ID} from (select {other} as k from {} where {other} is not null) p right anti join \
                     (select {ROW_ID}, {key} as k from {table} where {about} and {key} is not null) c on p.k = c.k",
                    name(&to.table)
                ),
            }
        }
        Check::Unit(unit, per) => {
            let (u, p, table) = (name(&unit.column), name(&per.column), name(&unit.table));
            let rows = format!("{about} and {u} is not null and {p} is not null");
            Plan::Query {
                rows: format!("select count(*) from {table} where {rows}"),
                failing: format!(
                    "select t.{ROW_ID} from (select {ROW_ID}, {p} as p, {u} as u from {table} where {rows}) t join \
                     (select p, u, row_number() over (partition by p order by n desc, u) as r from (select {p} as p, {u} \
                     as u, count(*) as n from {table} where {rows} group by {p}, {u})) m on t.p = m.p where m.r = 1 and \
                     t.u <> m.u"
                ),
            }
        }
        Check::Drift(c, by, at_most) => {
            let column = name(&c.column);
            // One text of all: what is null stands apart from what is empty.
            let group = by
                .iter()
                .map(|c| format!("coalesce('=' || try_cast({} as varchar), '')", name(&c.column)));
            let group = group.collect::<Vec<_>>().join(&format!(" || '{BETWEEN}' || "));
            let group = (!by.is_empty()).then_some(group);
            let (g, grouped) = match &group {
                Some(group) => (format!(", {group} as g"), ", 3"),
                None => (String::new(), ""),
            };
            let is_number = types[0].is_numeric() || types[0].is_temporal();
            let values = |table: String| {
                let from = format!("from {table} where {about} and {column} is not null");
                match (is_number, types[0].is_numeric()) {
                    (true, true) => format!("select cast({column} as double) as v{g} {from}"),
                    (true, false) => format!("select cast({} as double) as v{g} {from}", days(&column, &types[0])),
                    _ => format!(
                        "select try_cast({column} as varchar) as v, count(*) as n{g} {from} group by 1{grouped}"
                    ),
                }
            };
            Plan::Drift {
                table: c.table.clone(),
                column: c.column.clone(),
                values: [values(format!("previous.{}", name(&c.table))), values(name(&c.table))],
                groups: group.map(|group| {
                    format!(
                        "select min({ROW_ID}) as {ROW_ID}, {group} as g from {} where {about} and {column} is not null group by 2",
                        name(&c.table)
                    )
                }),
                told: by.iter().all(|c| unmapped(c) || listed(c)),
                numeric: is_number,
                at_most: *at_most,
            }
        }
        Check::Fresh(c, within) => {
            time(c, &types[0])?;
            let (column, table) = (name(&c.column), name(&c.table));
            Plan::Fresh {
                newest: format!(
                    "select max({column}) from {table} where {about} and not ({})",
                    late(&column, &types[0])
                ),
                within: i64::try_from(within.as_micros()).unwrap_or(i64::MAX),
            }
        }
        Check::RowCount { table, rows, change } => Plan::RowCount {
            table: table.value.clone(),
            rows: *rows,
            change: *change,
        },
        Check::Sql { sql, table } => Plan::Sql {
            sql: sql::query(&sql.value).unwrap_or(&sql.value).to_owned(),
            table: table.as_ref().map(|t| t.value.clone()),
        },
    })
}

fn unique(columns: &[ColumnRef], about: &str) -> Plan {
    let table = columns.first().map(|c| name(&c.table)).unwrap_or_default();
    let keys: Vec<String> = columns.iter().map(|c| name(&c.column)).collect();
    let there = keys.iter().map(|k| format!(" and {k} is not null")).collect::<String>();
    let listed = keys
        .iter()
        .enumerate()
        .map(|(i, k)| format!("{k} as k{i}"))
        .collect::<Vec<_>>()
        .join(", ");
    let same = (0..keys.len())
        .map(|i| format!("a.k{i} = b.k{i}"))
        .collect::<Vec<_>>()
        .join(" and ");
    let names = (0..keys.len()).map(|i| format!("k{i}")).collect::<Vec<_>>().join(", ");
    let from = format!("from {table} where {about}{there}");
    Plan::Query {
        rows: format!("select count(*) {from}"),
        failing: format!(
            "select b.{ROW_ID} from (select {names} from (select {listed} {from}) group by {names} having count(*) > 1) \
             a join (select {ROW_ID}, {listed} {from}) b on {same}"
        ),
    }
}

/// One time before or after another, in one row or at one subject.
fn order(
    a: &ColumnRef,
    b: &ColumnRef,
    types: &[DataType],
    (sign, fold): (&str, &str),
    about: &str,
    schemas: &Schemas,
) -> Result<Plan, Wrong> {
    time(a, &types[0])?;
    time(b, &types[1])?;
    // Where one of them is a day, the days are compared.
    let of = match types.contains(&DataType::Date32) {
        true => day,
        false => time_of,
    };
    joined(a, b, fold, about, schemas, &|x, y| {
        format!("{} {sign} {}", of(x, &types[0]), of(y, &types[1]))
    })
}

/// A condition on a column and another one of the same row, or of the same subject's rows in another table: their
/// least or greatest value.
fn joined(
    a: &ColumnRef,
    b: &ColumnRef,
    fold: &str,
    about: &str,
    schemas: &Schemas,
    fails: &dyn Fn(&str, &str) -> String,
) -> Result<Plan, Wrong> {
    let (x, y) = (name(&a.column), name(&b.column));
    if a.table == b.table {
        return Ok(Plan::Rows {
            table: a.table.clone(),
            applies: format!("{about} and {x} is not null and {y} is not null"),
            fails: fails(&x, &y),
        });
    }
    for column in [a, b] {
        if schemas
            .get(&column.table)
            .is_none_or(|s| s.field_with_name(SUBJECT_ID).is_err())
        {
            let message = format!("the rows of {} are about no subject", column.table);
            let hint = "rows of two tables are compared at the same subject";
            return Err(Box::new((
                Diagnostic::error(codes::GATE_SUBJECT, message).hint(hint),
                column.span,
            )));
        }
    }
    let from = format!(
        "from (select {ROW_ID}, {SUBJECT_ID}, {x} as x from {} where {about} and {x} is not null) a join (select \
         {SUBJECT_ID}, {fold}({y}) as y from {} where {y} is not null group by {SUBJECT_ID}) b on a.{SUBJECT_ID} = \
         b.{SUBJECT_ID}",
        name(&a.table),
        name(&b.table)
    );
    Ok(Plan::Query {
        rows: format!("select count(*) {from}"),
        failing: format!("select a.{ROW_ID} {from} where {}", fails("a.x", "b.y")),
    })
}

fn outside(value: &str, (low, high): (Option<f64>, Option<f64>)) -> String {
    let low = low.map(|l| format!("{value} < {}", number(l)));
    let high = high.map(|h| format!("{value} > {}", number(h)));
    let parts: Vec<String> = low.into_iter().chain(high).collect();
    format!("({})", parts.join(" or "))
}

/// A column that holds one of these values, by the column's type.
fn one_of(own: &str, column: &ColumnRef, data_type: &DataType, values: &[String]) -> Result<String, Wrong> {
    if data_type.is_numeric() {
        let mut numbers = Vec::new();
        for value in values {
            let Ok(value) = value.parse::<f64>() else {
                let message = format!("the column {}.{} holds numbers", column.table, column.column);
                let found =
                    Diagnostic::error(codes::GATE_TYPE, message).hint("write the values of this gate as numbers");
                return Err(Box::new((found, column.span)));
            };
            numbers.push(number(value));
        }
        return Ok(format!("cast({own} as double) in ({})", numbers.join(", ")));
    }
    let texts: Vec<String> = values.iter().map(|v| literal(v)).collect();
    Ok(format!("try_cast({own} as varchar) in ({})", texts.join(", ")))
}

fn data_type(column: &ColumnRef, schemas: &Schemas) -> Result<DataType, Wrong> {
    // An unknown table was reported with the references.
    let schema = schemas
        .get(&column.table)
        .ok_or_else(|| Box::new((Diagnostic::error(codes::GATE_COLUMN, "no such table"), column.span)))?;
    if let Ok(field) = schema.field_with_name(&column.column) {
        return Ok(field.data_type().clone());
    }
    let message = format!("the table `{}` has no column `{}`", column.table, column.column);
    let known = schema.fields().iter().map(|f| f.name().as_str());
    let mut found = Diagnostic::error(codes::GATE_COLUMN, message);
    found.hint = clinmill_spec::did_you_mean(&column.column, known);
    Err(Box::new((found, column.span)))
}

fn numeric(column: &ColumnRef, data_type: &DataType) -> Result<(), Wrong> {
    if data_type.is_numeric() {
        return Ok(());
    }
    Err(wrong_type(
        column,
        data_type,
        "numbers",
        "give it the type `number` or `decimal` in `columns`",
    ))
}

fn time(column: &ColumnRef, data_type: &DataType) -> Result<(), Wrong> {
    let hint = match data_type {
        DataType::Date32 | DataType::Timestamp(_, None) => return Ok(()),
        // Beside local times it would be hours off.
        DataType::Timestamp(_, Some(_)) => "give it the type `timestamp` in `columns`: the pipeline's local time",
        _ => "read it with the step `datetime`",
    };
    Err(wrong_type(column, data_type, "dates or local times", hint))
}

fn wrong_type(column: &ColumnRef, data_type: &DataType, wanted: &str, hint: &str) -> Wrong {
    let message = format!(
        "the check needs {wanted}, but the column {}.{} is {data_type}",
        column.table, column.column
    );
    Box::new((Diagnostic::error(codes::GATE_TYPE, message).hint(hint), column.span))
}
