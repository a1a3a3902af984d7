//! Concerned: the subjects to recompute where nothing but mapping tables changed in the making of a table.
//!
//! The steps that look the changed tables up run twice over the present records of all subjects, with the tables as they
//! were (the vault keeps them) and as they are. A subject whose rows come out of every such step as before has the same
//! rows in the tables behind them: what a step is given is the same by the same reasoning on the steps before it, and
//! the rest of the graph is the same, subject by subject. Subjects with news are recomputed in any case.

use super::{EVENT_BYTES, EngineState, parallel::in_parallel, range::RangeContext, ranges_for};
use crate::{
    bound::Bound,
    error::EngineError,
    graph::{BoundStep, Graph, Node, StepReport, TaskInput},
    mappings::Mapping,
    tables::TableSpec,
};
use clinmill_catalog::vault::Vault;
use clinmill_model::{Digest, Ids};
use clinmill_sdk::{BindContext, BoundTransform, Caps, Resource};
use clinmill_spec::pipeline::Scope;
use std::{collections::BTreeMap, sync::Arc};

/// Whom a change of a table's making concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All subjects, for this reason.
    All(String),
    /// Those whose rows its steps make otherwise.
    Concerned,
}

/// The changed tables, and the steps behind them as they were.
#[derive(Default)]
pub struct Former {
    /// By changed table.
    pub reach: BTreeMap<String, Reach>,
    steps: BTreeMap<String, Arc<dyn BoundTransform>>,
}

/// The files of every mapping by digest, as the vault's state names them.
pub(super) fn contents(mappings: &BTreeMap<String, Mapping>) -> BTreeMap<String, BTreeMap<String, Digest>> {
    let files = |m: &Mapping| {
        let files = m.resource.files.iter();
        files.map(|(name, bytes)| (name.clone(), Digest::of(bytes))).collect()
    };
    mappings.iter().map(|(name, m)| (name.clone(), files(m))).collect()
}

impl Former {
    /// Whom the change of each of these tables concerns, as far as that can be said without looking at records.
    pub fn new(bound: &Bound, vault: &Vault, state: &EngineState, changed: &[String]) -> Self {
        let now = contents(&bound.mappings);
        let mut resources = BTreeMap::new();
        for (reference, files) in &now {
            match state.mappings.get(reference) {
                Some(was) if was == files => {}
                was => {
                    resources.insert(reference.clone(), was.and_then(|files| kept(vault, files)));
                }
            }
        }
        let mut former = Self::default();
        for table in bound.tables.iter().filter(|t| changed.contains(&t.name)) {
            let reach = match former.steps_of(bound, state, table, &resources) {
                Ok(steps) => {
                    former.steps.extend(steps);
                    Reach::Concerned
                }
                Err(why) => Reach::All(why),
            };
            former.reach.insert(table.name.clone(), reach);
        }
        former
    }

    /// The steps behind a table that look up what changed, as they were, or why all its subjects are concerned.
    fn steps_of(
        &self,
        bound: &Bound,
        state: &EngineState,
        table: &TableSpec,
        resources: &BTreeMap<String, Option<Resource>>,
    ) -> Result<BTreeMap<String, Arc<dyn BoundTransform>>, String> {
        if state.makings.get(&table.name) != Some(&table.making) {
            return Err("its making changed".to_owned());
        }
        if table.scope == Scope::Dataset || !table.subject {
            return Err("a mapping changed, and it is not made subject by subject".to_owned());
        }
        let mut steps = BTreeMap::new();
        for name in bound.graph.needed(std::slice::from_ref(&table.from)) {
            let of_node = bound.graph.node(&name).map(Node::steps).unwrap_or_default();
            for step in of_node {
                if !step.mappings.iter().any(|m| resources.contains_key(m)) {
                    continue;
                }
                let was = match self.steps.get(&step.name) {
                    Some(known) => known.clone(),
                    None => as_it_was(step, bound, resources)?,
                };
                steps.insert(step.name.clone(), was);
            }
        }
        Ok(steps)
    }

    /// The canonical subjects concerned, found by a look at the records of all. `ranges` says which events there are and who is who.
    ///
    /// # Errors
    /// When an event file cannot be read or a step fails.
    pub fn find(&self, ranges: &RangeContext<'_>, threads: usize) -> Result<Ids, EngineError> {
        if self.steps.is_empty() {
            return Ok(Ids::default());
        }
        let (graph, wanted) = ranges.bound.graph.beside(&self.steps);
        let rows: u64 = ranges.events.iter().map(|f| f.shard.rows).sum();
        let bytes: u64 = ranges.session.ledger.entries().iter().map(|e| e.size).sum();
        let split = ranges_for(bytes.max(rows * EVENT_BYTES), None);
        let runtime = tokio::runtime::Handle::current();
        let found = tokio::task::block_in_place(|| {
            in_parallel(split.count(), threads, |range| {
                runtime.block_on(in_range(ranges, split.bounds(range), &graph, &wanted))
            })
        })?;
        Ok(found.into_iter().flatten().collect())
    }
}

/// The files of a mapping as the vault kept them; `None` where it did not.
fn kept(vault: &Vault, files: &BTreeMap<String, Digest>) -> Option<Resource> {
    let archive = vault.archive();
    let mut resource = Resource::default();
    for (name, digest) in files {
        let (_, bytes) = archive.get(digest).ok()?;
        resource.files.insert(name.clone(), bytes);
    }
    Some(resource)
}

/// A step with the mappings it had.
fn as_it_was(
    step: &BoundStep,
    bound: &Bound,
    changed: &BTreeMap<String, Option<Resource>>,
) -> Result<Arc<dyn BoundTransform>, String> {
    // Only of such a step each row says by itself what became of it, whenever it is asked.
    if !step.caps.has(Caps::ROW_WISE.and(Caps::DETERMINISTIC)) {
        return Err(format!(
            "a mapping changed, and {} does not go row by row or is not deterministic",
            step.name
        ));
    }
    let mut context = BindContext {
        timezone: bound.pipeline.timezone.as_ref().map(|t| t.value.clone()),
        ..BindContext::default()
    };
    for reference in &step.mappings {
        let resource = match changed.get(reference) {
            None => bound.mappings.get(reference).map(|m| &m.resource),
            Some(was) => was.as_ref(),
        };
        let Some(resource) = resource else {
            return Err(format!("the vault does not have {reference} as it was"));
        };
        context.resources.insert(reference.clone(), resource.clone());
    }
    let was = (step.remake)(&context);
    let was = was.map_err(|_| format!("{} cannot be made of its mappings as they were", step.name))?;
    match was.output() == step.bound.output() {
        true => Ok(was),
        false => Err(format!("a mapping changed, and with it the columns of {}", step.name)),
    }
}

async fn in_range(
    ranges: &RangeContext<'_>,
    bounds: (u16, u16),
    graph: &Graph,
    wanted: &[String],
) -> Result<Ids, EngineError> {
    let inputs = ranges.records_behind(bounds, None, wanted)?;
    let tasks: Vec<TaskInput<'_>> = inputs.iter().map(|(name, folded)| TaskInput { name, folded }).collect();
    let mut report = StepReport::default();
    graph.run(&tasks, wanted, false, ranges.cancelled, &mut report).await?;
    Ok(report.concerned)
}
