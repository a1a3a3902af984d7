//! What changed since the last release: in the schemas of published tables, and in pipeline, mappings and plugins.

use crate::{bound::Bound, bound::PluginsOf, bound::canonical, error::EngineError, refresh::plugins_of};
use clinmill_catalog::{
    dataset::{ColumnSpec, Manifest, base_schema, to_specs},
    vault::{ArchiveKind, Vault},
};
use clinmill_model::Digest;
use clinmill_sdk::{Registry, units::Code};
use clinmill_spec::pipeline::{Gate, Options, Pipeline, Source, Step, Table, Transform, TransformInput};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// How a change of a schema meets those who read the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Impact {
    /// Readers go on: a table or column more, a column that is never null any more.
    Additive,
    /// A query that worked may fail or mean something else: a table or column less, another type or unit, nulls where
    /// there were none.
    Breaking,
}

/// One change of a published table's schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SchemaChange {
    /// The table.
    pub table: String,
    /// The column; none for a table as a whole.
    pub column: Option<String>,
    /// Its type at the last release; none where it was not there.
    pub was: Option<String>,
    /// Its type now; none where it is gone.
    pub now: Option<String>,
    /// How it meets readers.
    pub impact: Impact,
}

impl SchemaChange {
    /// What to do instead, where readers are to go on.
    pub fn advice(&self) -> &'static str {
        match (&self.column, &self.now) {
            (None, Some(_)) => "keep the key, or publish the rows as a table of another name",
            (None, None) => "keep the table that is gone, if only with the rows it has",
            (Some(_), Some(_)) => "give the changed columns new names",
            (Some(_), None) => "keep the columns that are gone, if only with nulls",
        }
    }
}

/// `table measurement: column value was string, now decimal(38,6)`.
impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}: ", self.table)?;
        match (&self.column, &self.was, &self.now) {
            (None, Some(was), Some(now)) => write!(f, "it was {was}, now {now}: its rows get other identities"),
            (None, Some(_), None) => write!(f, "it is gone"),
            (None, None, _) => write!(f, "it is new"),
            (Some(column), None, now) => {
                write!(f, "column {column} is new ({})", now.as_deref().unwrap_or_default())
            }
            (Some(column), Some(was), None) => write!(f, "column {column} (was {was}) is gone"),
            (Some(column), Some(was), Some(now)) => write!(f, "column {column} was {was}, now {now}"),
        }
    }
}

/// What changed between the tables of a release and those of the pipeline. The keys of a release stand in the pipeline that
/// made it, which the vault keeps.
///
/// # Errors
/// For a type that no table may have.
pub fn schema_changes(bound: &Bound, vault: &Vault, last: &Manifest) -> Result<Vec<SchemaChange>, EngineError> {
    let keys = match vault.archive().get(&last.pipeline_sha256) {
        Ok((ArchiveKind::Pipeline, bytes)) => clinmill_spec::table_keys(&String::from_utf8_lossy(&bytes)),
        _ => BTreeMap::new(),
    };
    let mut changes = Vec::new();
    let whole = |table: &str, was: bool| SchemaChange {
        table: table.to_owned(),
        column: None,
        was: was.then(|| "table".to_owned()),
        now: (!was).then(|| "table".to_owned()),
        impact: if was { Impact::Breaking } else { Impact::Additive },
    };
    for table in &bound.tables {
        let mut specs = to_specs(&base_schema(&table.schema))?;
        for spec in &mut specs {
            spec.unit = table.units.get(&spec.name).cloned();
        }
        match last.tables.get(&table.name) {
            None => changes.push(whole(&table.name, false)),
            Some(entry) => {
                column_changes(&table.name, &entry.schema, &specs, &mut changes);
                let said = bound.pipeline.tables.iter().find(|t| t.name.value == table.name);
                let now = said.and_then(|t| t.key.as_ref());
                let now: Option<Vec<String>> = now.map(|key| key.iter().map(|c| c.value.clone()).collect());
                changes.extend(keys.get(&table.name).and_then(|was| key_change(&table.name, was, &now)));
            }
        }
    }
    let is_gone = |name: &&String| !bound.tables.iter().any(|t| t.name == **name);
    changes.extend(last.tables.keys().filter(is_gone).map(|name| whole(name, true)));
    Ok(changes)
}

/// Another key gives every row another identity: whoever applies changes by it loses track.
fn key_change(table: &str, was: &Option<Vec<String>>, now: &Option<Vec<String>>) -> Option<SchemaChange> {
    let shown = |key: &Option<Vec<String>>| match key {
        Some(columns) => format!("keyed by {}", columns.join(", ")),
        None => "keyed by its records".to_owned(),
    };
    (was != now).then(|| SchemaChange {
        table: table.to_owned(),
        column: None,
        was: Some(shown(was)),
        now: Some(shown(now)),
        impact: Impact::Breaking,
    })
}

fn column_changes(table: &str, was: &[ColumnSpec], now: &[ColumnSpec], changes: &mut Vec<SchemaChange>) {
    let shown = |c: &ColumnSpec| {
        let unit = c.unit.as_ref().map_or_else(String::new, |unit| format!(" in {unit}"));
        let never = if c.nullable { "" } else { ", never null" };
        format!("{}{unit}{never}", c.kind)
    };
    let mut change = |name: &str, was: Option<&ColumnSpec>, now: Option<&ColumnSpec>, impact| {
        changes.push(SchemaChange {
            table: table.to_owned(),
            column: Some(name.to_owned()),
            was: was.map(shown),
            now: now.map(shown),
            impact,
        });
    };
    for column in was {
        match now.iter().find(|c| c.name == column.name) {
            None => change(&column.name, Some(column), None, Impact::Breaking),
            Some(new)
                if new.kind != column.kind || (new.nullable && !column.nullable) || is_other_unit(column, new) =>
            {
                change(&column.name, Some(column), Some(new), Impact::Breaking);
            }
            Some(new) if new.nullable != column.nullable || (column.unit.is_none() && new.unit.is_some()) => {
                change(&column.name, Some(column), Some(new), Impact::Additive);
            }
            Some(_) => {}
        }
    }
    for column in now.iter().filter(|c| !was.iter().any(|w| w.name == c.name)) {
        change(&column.name, None, Some(column), Impact::Additive);
    }
}

/// Whether the numbers of a column mean something else than before. A unit that is no longer told is as another one; the same
/// unit may be written in another way.
fn is_other_unit(was: &ColumnSpec, now: &ColumnSpec) -> bool {
    match (&was.unit, &now.unit) {
        (Some(was), Some(now)) => !Code::new(was.as_str()).same(&Code::new(now.as_str())),
        (was, None) => was.is_some(),
        (None, Some(_)) => false,
    }
}

/// The breaking ones among the changes, or nothing.
///
/// # Errors
/// [`EngineError::Breaking`] when there are any.
pub fn refuse_breaking(changes: Vec<SchemaChange>) -> Result<(), EngineError> {
    let breaking: Vec<SchemaChange> = changes.into_iter().filter(|c| c.impact == Impact::Breaking).collect();
    match breaking.is_empty() {
        true => Ok(()),
        false => Err(EngineError::Breaking(breaking)),
    }
}

/// One thing that made the last release and is another now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `pipeline`, `source`, `transform`, `table`, `gate`, `mapping` or `plugin`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// What about it: `added`, `removed`, or what changed.
    pub how: String,
}

fn change(what: &'static str, name: &str, how: impl Into<String>) -> Change {
    Change {
        what,
        name: name.to_owned(),
        how: how.into(),
    }
}

/// What changed in pipeline, mappings and plugins since a release.
pub fn since(
    bound: &Bound,
    vault: &Vault,
    last: &Manifest,
    registry: &Registry,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Vec<Change> {
    let mut changes = Vec::new();
    if Digest::of(bound.text.as_bytes()) != last.pipeline_sha256 {
        let text = match vault.archive().get(&last.pipeline_sha256) {
            Ok((ArchiveKind::Pipeline, bytes)) => String::from_utf8(bytes).ok(),
            _ => None,
        };
        let was = text.and_then(|text| {
            clinmill_spec::load(&bound.file.display().to_string(), &text, env, &PluginsOf(registry)).pipeline
        });
        match was {
            Some(was) => pipeline(&was, &bound.pipeline, &mut changes),
            None => changes.push(change("pipeline", &bound.pipeline.name.value, "its text changed")),
        }
    }
    let was: BTreeMap<&str, Digest> = last.mappings.iter().map(|m| (m.name.as_str(), m.sha256)).collect();
    let now = bound
        .mappings
        .iter()
        .map(|(name, m)| (name.as_str(), m.sha256))
        .collect();
    parts(
        "mapping",
        &was,
        &now,
        |_, _| "its content changed".to_owned(),
        &mut changes,
    );
    let was: BTreeMap<&str, _> = last
        .plugins
        .iter()
        .map(|p| (p.name.as_str(), (p.version.as_str(), p.sha256)))
        .collect();
    let plugins = plugins_of(bound);
    let now = plugins
        .iter()
        .map(|p| (p.name.as_str(), (p.version.as_str(), p.sha256)))
        .collect();
    let how = |was: &(&str, Digest), now: &(&str, Digest)| match was.0 == now.0 {
        true => "another build".to_owned(),
        false => format!("version {}, was {}", now.0, was.0),
    };
    parts("plugin", &was, &now, how, &mut changes);
    changes
}

/// Added, removed and changed entries of a named set.
fn parts<T: PartialEq>(
    what: &'static str,
    was: &BTreeMap<&str, T>,
    now: &BTreeMap<&str, T>,
    how: impl Fn(&T, &T) -> String,
    changes: &mut Vec<Change>,
) {
    let names: BTreeSet<&str> = was.keys().chain(now.keys()).copied().collect();
    for name in names {
        match (was.get(name), now.get(name)) {
            (None, Some(_)) => changes.push(change(what, name, "added")),
            (Some(_), None) => changes.push(change(what, name, "removed")),
            (Some(a), Some(b)) if a != b => changes.push(change(what, name, how(a, b))),
            _ => {}
        }
    }
}

/// A part of the pipeline by its keys, each as comparable text.
type Keys = BTreeMap<String, String>;

fn pipeline(was: &Pipeline, now: &Pipeline, changes: &mut Vec<Change>) {
    let before = changes.len();
    let head = |p: &Pipeline| -> Keys {
        let zone = p.timezone.as_ref().map(|t| t.value.clone()).unwrap_or_default();
        let roots: Vec<(&String, &String)> = p.roots.iter().map(|(k, v)| (k, &v.value)).collect();
        Keys::from([
            ("name".to_owned(), p.name.value.clone()),
            ("title".to_owned(), p.title.clone().unwrap_or_default()),
            ("timezone".to_owned(), zone),
            ("roots".to_owned(), format!("{roots:?}")),
        ])
    };
    let keys = differing(&head(was), &head(now));
    if !keys.is_empty() {
        changes.push(change(
            "pipeline",
            &now.name.value,
            format!("{} changed", keys.join(", ")),
        ));
    }
    let by_name = |list: Vec<(String, Keys)>| -> BTreeMap<String, Keys> { list.into_iter().collect() };
    let sources = |p: &Pipeline| by_name(p.sources.iter().map(|s| (s.name.value.clone(), source(s))).collect());
    let transforms = |p: &Pipeline| {
        by_name(
            p.transforms
                .iter()
                .map(|t| (t.name.value.clone(), transform(t)))
                .collect(),
        )
    };
    let tables = |p: &Pipeline| by_name(p.tables.iter().map(|t| (t.name.value.clone(), table(t))).collect());
    let gates = |p: &Pipeline| by_name(p.gates.iter().map(|g| (g.name.value.clone(), gate(g))).collect());
    let sections = [
        ("source", sources(was), sources(now)),
        ("transform", transforms(was), transforms(now)),
        ("table", tables(was), tables(now)),
        ("gate", gates(was), gates(now)),
    ];
    for (what, was, now) in &sections {
        parts(what, &by_ref(was), &by_ref(now), |a, b| how(a, b), changes);
    }
    if changes.len() == before {
        changes.push(change("pipeline", &now.name.value, "comments or order changed"));
    }
}

fn by_ref(named: &BTreeMap<String, Keys>) -> BTreeMap<&str, &Keys> {
    named.iter().map(|(name, keys)| (name.as_str(), keys)).collect()
}

fn differing(was: &Keys, now: &Keys) -> Vec<String> {
    let keys: BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    keys.into_iter()
        .filter(|k| was.get(*k) != now.get(*k))
        .cloned()
        .collect()
}

fn options(options: &Options, prefix: &str, keys: &mut Keys) {
    if let Some(object) = options.value.as_object() {
        keys.extend(
            object
                .iter()
                .map(|(key, value)| (format!("{prefix}{key}"), canonical(value))),
        );
    }
}

fn source(source: &Source) -> Keys {
    let inputs = &source.inputs;
    let as_of = inputs.as_of.as_ref().map(|a| &a.value);
    let mut keys = Keys::from([
        ("plugin".to_owned(), source.plugin.value.clone()),
        (
            "inputs".to_owned(),
            format!("{} {:?} {as_of:?}", inputs.glob.value, inputs.settle),
        ),
        ("mode".to_owned(), crate::bound::mode_text(&source.mode)),
        ("keep".to_owned(), format!("{:?}", source.keep)),
        (
            "expect".to_owned(),
            format!("{:?}", source.expect.as_ref().map(|e| (e.every, e.rows, e.rejected))),
        ),
    ]);
    options(&source.options, "", &mut keys);
    keys
}

fn transform(transform: &Transform) -> Keys {
    let (key, text) = match &transform.input {
        TransformInput::From(name) => ("from", name.value.clone()),
        TransformInput::Union(names) => (
            "union",
            format!("{:?}", names.iter().map(|n| &n.value).collect::<Vec<_>>()),
        ),
        TransformInput::Sql(text) => ("sql", text.value.clone()),
    };
    let mut keys = Keys::from([
        (key.to_owned(), text),
        ("scope".to_owned(), format!("{:?}", transform.scope)),
    ]);
    // One line for each: canonical JSON has none of its own.
    let step = |step: &Step| format!("{} {}", step.plugin.value, canonical(&step.options.value));
    keys.insert(
        STEPS.to_owned(),
        transform.steps.iter().map(step).collect::<Vec<_>>().join("\n"),
    );
    keys
}

/// The key of a transform's steps.
const STEPS: &str = "steps";

/// What changed in a part of the pipeline; of the steps, which of them.
fn how(was: &Keys, now: &Keys) -> String {
    let (steps, keys): (Vec<_>, Vec<_>) = differing(was, now).into_iter().partition(|key| key == STEPS);
    let mut told = Vec::new();
    if !keys.is_empty() {
        told.push(format!("{} changed", keys.join(", ")));
    }
    if !steps.is_empty() {
        let of = |keys: &Keys| -> Vec<String> {
            let text = keys.get(STEPS).map_or("", String::as_str);
            text.lines().map(str::to_owned).collect()
        };
        told.extend(step_changes(&of(was), &of(now)));
    }
    told.join(", ")
}

/// Which steps are not what they were, by their place now, or before if they are gone. A step that stands elsewhere because
/// another came before it is the same; one that was put elsewhere is gone and added.
fn step_changes(was: &[String], now: &[String]) -> Vec<String> {
    // How many steps are the same from there on: the longest common subsequence.
    let mut same = vec![vec![0_usize; now.len() + 1]; was.len() + 1];
    for i in (0..was.len()).rev() {
        for j in (0..now.len()).rev() {
            same[i][j] = match was[i] == now[j] {
                true => same[i + 1][j + 1] + 1,
                false => same[i + 1][j].max(same[i][j + 1]),
            };
        }
    }
    let name = |place: usize, step: &str| format!("step {} ({})", place + 1, step.split(' ').next().unwrap_or(step));
    let (mut i, mut j, mut told) = (0, 0, Vec::new());
    while i < was.len() || j < now.len() {
        let plugin = |step: Option<&String>| step.and_then(|s| s.split(' ').next()).map(str::to_owned);
        match (was.get(i), now.get(j)) {
            (Some(a), Some(b)) if a == b => (i, j) = (i + 1, j + 1),
            (Some(_), Some(b)) if plugin(was.get(i)) == plugin(now.get(j)) && same[i][j] == same[i + 1][j + 1] => {
                told.push(format!("{} changed", name(j, b)));
                (i, j) = (i + 1, j + 1);
            }
            (a, Some(b)) if a.is_none() || same[i][j] == same[i][j + 1] => {
                told.push(format!("{} added", name(j, b)));
                j += 1;
            }
            (Some(a), _) => {
                told.push(format!("{} removed", name(i, a)));
                i += 1;
            }
            (None, _) => break,
        }
    }
    told
}

fn table(table: &Table) -> Keys {
    let columns: Vec<_> = table
        .columns
        .iter()
        .map(|c| (&c.name.value, c.kind.as_ref().map(|k| &k.value)))
        .collect();
    let described: Vec<_> = table.columns.iter().map(|c| (&c.name.value, &c.description)).collect();
    let model = table.model.as_ref().map(|m| m.value);
    let mut keys = Keys::from([
        ("model".to_owned(), format!("{model:?}")),
        ("from".to_owned(), table.from.value.clone()),
        (
            "key".to_owned(),
            format!(
                "{:?}",
                table
                    .key
                    .as_ref()
                    .map(|k| k.iter().map(|c| &c.value).collect::<Vec<_>>())
            ),
        ),
        ("columns".to_owned(), format!("{columns:?}")),
        ("descriptions".to_owned(), format!("{described:?}")),
    ]);
    keys.extend(table.columns.iter().filter_map(|c| {
        let (range, unit) = (c.range.as_ref().map(|r| r.value), c.unit.as_ref().map(|u| &u.value));
        let values = c.values.as_ref();
        let values = values.map(|values| values.iter().map(|v| &v.value).collect::<Vec<_>>());
        let promised = values.is_some() || range.is_some() || unit.is_some() || c.required.is_some();
        let terms = format!("{values:?} {range:?} {unit:?} {:?}", c.required);
        promised.then(|| (format!("contract of column {}", c.name.value), terms))
    }));
    keys
}

fn gate(gate: &Gate) -> Keys {
    let filter = gate.filter.as_ref().map(|f| &f.value);
    Keys::from([
        ("check".to_owned(), without_places(&format!("{:?}", gate.check))),
        ("where".to_owned(), format!("{filter:?}")),
        ("at_least".to_owned(), gate.at_least.to_string()),
        ("on_fail".to_owned(), format!("{:?}", gate.on_fail)),
    ])
}

/// A check as text without the places where its parts stand in the file.
fn without_places(check: &str) -> String {
    let mut parts = check.split("span: Span {");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('}').map_or(part, |(_, rest)| rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: &str, nullable: bool) -> ColumnSpec {
        ColumnSpec {
            name: name.into(),
            kind: kind.into(),
            nullable,
            unit: None,
        }
    }

    #[test]
    fn steps_are_told_by_what_happened_to_them() {
        let told = |was: &str, now: &str| {
            let list = |text: &str| text.split_whitespace().map(|s| s.replace(':', " ")).collect::<Vec<_>>();
            step_changes(&list(was), &list(now)).join(", ")
        };
        assert_eq!(told("a:1 b:1 c:1", "a:1 b:1 c:1"), "");
        assert_eq!(told("a:1 b:1 c:1", "d:1 a:1 b:1 c:1"), "step 1 (d) added");
        assert_eq!(told("a:1 b:1 c:1", "a:1 a:2 b:1 c:1"), "step 2 (a) added");
        assert_eq!(told("a:1 b:1 c:1", "b:1 c:1"), "step 1 (a) removed");
        assert_eq!(told("a:1 b:1 c:1", "a:1 b:2 c:1"), "step 2 (b) changed");
        assert_eq!(told("a:1 b:1", "d:1 a:2 b:1"), "step 1 (d) added, step 2 (a) changed");
        assert_eq!(told("a:1", "b:1"), "step 1 (b) added, step 1 (a) removed");
        assert_eq!(told("", "a:1"), "step 1 (a) added");
    }

    #[test]
    fn what_readers_rely_on_is_breaking() {
        let was = [
            column("same", "string", true),
            column("gone", "date", true),
            column("typed", "string", true),
            column("loose", "string", false),
            column("strict", "string", true),
        ];
        let now = [
            column("new", "date", true),
            column("same", "string", true),
            column("typed", "decimal(38,6)", true),
            column("loose", "string", true),
            column("strict", "string", false),
        ];
        let mut changes = Vec::new();
        column_changes("t", &was, &now, &mut changes);
        let told: Vec<(String, Impact)> = changes.iter().map(|c| (c.to_string(), c.impact)).collect();
        let expected = [
            ("table t: column gone (was date) is gone", Impact::Breaking),
            ("table t: column typed was string, now decimal(38,6)", Impact::Breaking),
            (
                "table t: column loose was string, never null, now string",
                Impact::Breaking,
            ),
            (
                "table t: column strict was string, now string, never null",
                Impact::Additive,
            ),
            ("table t: column new is new (date)", Impact::Additive),
        ];
        assert_eq!(told, expected.map(|(text, impact)| (text.to_owned(), impact)));
        let in_unit = |unit: Option<&str>| ColumnSpec {
            unit: unit.map(str::to_owned),
            ..column("p", "float64", true)
        };
        let of_units = |was, now| {
            let mut changes = Vec::new();
            column_changes("t", &[in_unit(was)], &[in_unit(now)], &mut changes);
            changes.first().map(|c| (c.to_string(), c.impact))
        };
        let told = "table t: column p was float64 in kPa, now float64 in Pa".to_owned();
        assert_eq!(of_units(Some("kPa"), Some("Pa")), Some((told, Impact::Breaking)));
        assert_eq!(of_units(Some("10*9/L"), Some("/nL")), None);
        assert_eq!(of_units(Some("kPa"), None).unwrap().1, Impact::Breaking);
        assert_eq!(of_units(None, Some("kPa")).unwrap().1, Impact::Additive);
        let key = |columns: &[&str]| Some(columns.iter().map(|c| (*c).to_owned()).collect());
        assert_eq!(key_change("t", &key(&["a"]), &key(&["a"])), None);
        let change = key_change("t", &key(&["a", "b"]), &key(&["a"])).unwrap();
        assert_eq!(
            change.to_string(),
            "table t: it was keyed by a, b, now keyed by a: its rows get other identities"
        );
        assert_eq!(key_change("t", &None, &key(&["a"])).unwrap().impact, Impact::Breaking);
        let gone = |column: Option<&str>| SchemaChange {
            column: column.map(str::to_owned),
            now: None,
            ..change.clone()
        };
        let told = |changes: &[&SchemaChange]| {
            let changes: Vec<SchemaChange> = changes.iter().map(|change| (*change).clone()).collect();
            EngineError::Breaking(changes).to_string()
        };
        let said = told(&[&change, &gone(Some("a")), &gone(Some("b"))]);
        assert!(said.contains("keep the key") && !said.contains("new names"), "{said}");
        assert_eq!(said.matches("keep the columns that are gone").count(), 1, "{said}");
        assert!(told(&[&gone(None)]).contains("keep the table that is gone"));
        assert!(matches!(refuse_breaking(changes), Err(EngineError::Breaking(b)) if b.len() == 3));
    }
}
