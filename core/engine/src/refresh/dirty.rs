//! Dirty: which subjects a refresh has to recompute, and why: new events, merges, absences, a changed pipeline.

use super::{
    EngineState, Former, Link, Reach, Refresh, SourcePlan, Warning,
    absent::{self, Covered, ScopeCounts, scope_label},
    as_entry,
    identity::{Identity, read_links},
    range::{Dirty, RangeContext},
    read::Ingested,
};
use crate::{
    bound::{Bound, SourceSpec},
    error::EngineError,
    fold::Id,
    tables::TableSpec,
};
use clinmill_catalog::{
    events::EventFile,
    vault::{Coverage, LedgerEntry},
};
use clinmill_model::{Digest, Ids};
use clinmill_spec::pipeline::{AsOf, Mode};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

impl Refresh<'_> {
    /// True for what is known of a source in its present generation, or of a source that the pipeline does not have now:
    /// it may come back, and its inputs are not read again then.
    fn counts(&self, source: &str, parse_id: Digest) -> bool {
        self.bound
            .sources
            .iter()
            .find(|s| s.name() == source)
            .is_none_or(|s| s.parse_id == parse_id)
    }

    /// The event files that count now: of the present generation of each source.
    pub(super) fn current_events(&self, ingested: &Ingested) -> Vec<EventFile> {
        let old = self
            .session
            .state
            .events
            .iter()
            .filter(|f| self.counts(&f.source, f.parse_id));
        old.chain(&ingested.events).cloned().collect()
    }

    /// All identity links, and who is who now.
    pub(super) fn identity(&self, ingested: &Ingested) -> Result<(Vec<Link>, Identity), EngineError> {
        let before = read_links(&self.session.vault, &self.session.state.identity)?;
        let mut links: Vec<Link> = before
            .iter()
            .filter(|l| self.counts(&l.source, l.parse_id))
            .cloned()
            .collect();
        for (entry, report) in ingested.inputs() {
            let told = report.links.iter();
            links.extend(told.map(|link| Link::of(link, &self.session.key, &entry.source, entry.parse_id)));
        }
        links.sort();
        links.dedup();
        let is = Identity::new(&links);
        Ok((links, is))
    }

    /// Subjects before and after of every identifier that now names another one.
    pub(super) fn identity_changes(&self, now: &Identity) -> Result<Vec<Id>, EngineError> {
        let before = Identity::new(&read_links(&self.session.vault, &self.session.state.identity)?);
        Ok(before
            .difference(now)
            .into_iter()
            .flat_map(|(_, old, new)| [old, new])
            .collect())
    }

    /// The coverage events of complete sources, old and new. An export with rejected records asserts nothing about
    /// what it lacks: the record may be among the rejected.
    pub(super) fn coverage(&self, ingested: &Ingested, warnings: &mut Vec<Warning>) -> Vec<Coverage> {
        let mut silent: BTreeMap<&str, u64> = BTreeMap::new();
        let old = self.session.state.coverage.iter();
        let mut coverage: Vec<Coverage> = old.filter(|c| self.counts(&c.source, c.parse_id)).cloned().collect();
        let known: HashSet<_> = coverage.iter().map(asserted).collect();
        let mut same_time: BTreeMap<&str, u64> = BTreeMap::new();
        for (entry, report) in ingested.inputs() {
            let Some(source) = self.bound.sources.iter().find(|s| s.name() == entry.source) else {
                continue;
            };
            let Mode::Complete { scope, as_of, .. } = &source.spec.mode else {
                continue;
            };
            if report.failed.is_some() || report.counts.rejected > 0 {
                *silent.entry(source.name()).or_default() += 1;
                continue;
            }
            let as_of = match (&as_of.value, &entry.as_of, entry.arrival) {
                (AsOf::Arrival, _, Some(n)) => format!("{n:020}"),
                (_, Some(as_of), _) => as_of.clone(),
                _ => continue,
            };
            let export = Coverage {
                source: entry.source.clone(),
                parse_id: entry.parse_id,
                scope: scope_of(scope, entry.captures.expose()),
                as_of,
                input: entry.number,
            };
            if known.contains(&asserted(&export)) {
                *same_time.entry(source.name()).or_default() += 1;
            }
            coverage.push(export);
        }
        for (source, inputs) in same_time {
            // Order of arrival decides nothing (L1), so of two exports of one time neither can be the correction.
            warnings.push(Warning::new(
                "SAME_AS_OF",
                format!(
                    "source {source}: {inputs} complete exports speak of the same time as an earlier one, which they \
                     complete but do not replace: give a corrected export a later `as_of`"
                ),
            ));
        }
        for (source, inputs) in silent {
            warnings.push(Warning::new(
                "NO_ABSENCE",
                format!(
                    "source {source}: of {inputs} complete exports a part was rejected, so that what they lack is not \
                     deleted: see `clinmill quarantine list`"
                ),
            ));
        }
        coverage
    }

    /// The scope of every input of the complete sources.
    pub(super) fn scopes(&self, ingested: &Ingested) -> HashMap<u32, String> {
        let new = ingested.lines.iter().filter_map(as_entry);
        scopes_of(self.bound, self.session.ledger.entries().iter().chain(new))
    }

    /// What these coverage events say of each complete source.
    pub(super) fn covered<'a>(
        &self,
        coverage: impl Iterator<Item = &'a Coverage> + Clone,
        scopes: &HashMap<u32, String>,
    ) -> BTreeMap<String, Covered> {
        let sources = self.bound.sources.iter().filter(|s| s.is_complete());
        let of = |source: &str| Covered::new(coverage.clone().filter(|c| c.source == source), scopes);
        sources.map(|s| (s.name().to_owned(), of(s.name()))).collect()
    }

    /// What complete exports cover now; deletions are counted, guarded and made dirty.
    pub(super) fn deletions(
        &self,
        events: &[EventFile],
        coverage: &[Coverage],
        scopes: &HashMap<u32, String>,
        ingested: &mut Ingested,
        dirty: &mut Ids,
        identity: &Identity,
    ) -> Result<BTreeMap<String, Covered>, EngineError> {
        let mut too_many = Vec::new();
        let (was, covered) = (
            self.covered(self.session.state.coverage.iter(), scopes),
            self.covered(coverage.iter(), scopes),
        );
        let complete = self.bound.sources.iter().filter(|s| s.is_complete());
        for (source, before, now) in complete.filter_map(|s| Some((s, was.get(s.name())?, covered.get(s.name())?))) {
            let news = coverage.len() > self.session.state.coverage.len()
                || ingested.events.iter().any(|e| e.source == source.name());
            if news {
                let found = absent::absent(
                    &self.session,
                    source,
                    (&self.session.state.events, before),
                    (events, now),
                    identity,
                )?;
                dirty.extend(&found.subjects);
                if let Some(report) = ingested.sources.get_mut(source.name()) {
                    report.deleted = found.scopes.values().map(|n| n.deleted).sum();
                }
                if !self.options.approve_deletes {
                    let lacking = &found.scopes;
                    too_many.extend(self.too_many(source, lacking, (events, now), coverage, before, identity)?);
                }
            }
        }
        if too_many.is_empty() {
            return Ok(covered);
        }
        Err(EngineError::QualityGate(format!(
            "{}. Nothing was published. If the records are really gone, run again with --approve-deletes",
            too_many.join("; ")
        )))
    }

    /// What this refresh would delete of a source beyond its `max_deletes`. `lacking` is what is absent since the last
    /// release, `now` the events and what is covered now, `before` what was covered then.
    fn too_many(
        &self,
        source: &SourceSpec,
        lacking: &BTreeMap<String, ScopeCounts>,
        now: (&[EventFile], &Covered),
        coverage: &[Coverage],
        before: &Covered,
        identity: &Identity,
    ) -> Result<Vec<String>, EngineError> {
        let Mode::Complete { max_deletes, .. } = &source.spec.mode else {
            return Ok(Vec::new());
        };
        let mut too_many = Vec::new();
        // A source whose options changed is read anew: there is no record to compare with, but their number.
        let of = |f: &&EventFile| f.source == source.name();
        let known = self.session.state.events.iter().filter(of);
        let earlier = known.filter(|f| f.parse_id != source.parse_id);
        let was = absent::live(&self.session, earlier, before, identity)?;
        if was > 0 {
            let present = now.0.iter().filter(of).filter(|f| f.parse_id == source.parse_id);
            let is = absent::live(&self.session, present, now.1, identity)?;
            if (is as f64) < was as f64 * (1.0 - max_deletes) {
                too_many.push(format!(
                    "source {}: its options changed, and of {was} records {is} would be left",
                    source.name()
                ));
            }
        }
        // Of several exports at once the last is compared with the one before it, too: what came and went between two
        // refreshes was never published.
        let mine = coverage.iter().filter(|c| c.source == source.name());
        let last = match now.1.but_last(mine, before) {
            Some(earlier) => absent::absent(&self.session, source, (now.0, &earlier), now, identity)?.scopes,
            None => BTreeMap::new(),
        };
        let mut told = HashSet::new();
        for (scope, n) in lacking.iter().chain(&last) {
            let share = n.deleted as f64 / n.live.max(1) as f64;
            if share > *max_deletes && told.insert(scope) {
                too_many.push(format!(
                    "source {}: a complete export lacks {} of the {} records of its scope ({:.1} %, allowed are {:.1} %)",
                    source.name(),
                    n.deleted,
                    n.live,
                    share * 100.0,
                    max_deletes * 100.0
                ));
            }
        }
        Ok(too_many)
    }

    /// What each table has to recompute.
    ///
    /// # Errors
    /// When the records behind a changed mapping cannot be read, or a step fails over them.
    pub(super) fn dirty_tables(
        &self,
        subjects: Ids,
        changed: &[String],
        before: &EngineState,
        ranges: &RangeContext<'_>,
    ) -> Result<BTreeMap<String, Dirty>, EngineError> {
        let (former, concerned) = match self.options.full {
            true => Default::default(),
            false => {
                let former = Former::new(self.bound, &self.session.vault, before, changed);
                let concerned = former.find(ranges, self.options.threads)?;
                (former, concerned)
            }
        };
        let news = Dirty::Some(Arc::new(subjects.clone()));
        let both = subjects.union(&concerned).copied().collect();
        let both = Dirty::Some(Arc::new(both));
        let of = |table: &TableSpec| {
            // A table without subjects is small: it is made whole when anything is new.
            if self.options.full || (!table.subject && !news.is_empty()) {
                return Dirty::All;
            }
            match (changed.contains(&table.name), former.reach.get(&table.name)) {
                (false, _) => news.clone(),
                (true, Some(Reach::Concerned)) => both.clone(),
                (true, _) => Dirty::All,
            }
        };
        Ok(self.bound.tables.iter().map(|t| (t.name.clone(), of(t))).collect())
    }

    /// Sources that promise an input every so often and whose latest one speaks of a time longer ago.
    pub(super) fn overdue(&self, latest_as_of: &BTreeMap<String, String>) -> Vec<String> {
        let before = EngineState::of(&self.session.state).latest_as_of;
        let zone = self
            .bound
            .pipeline
            .timezone
            .as_ref()
            .map_or("UTC", |t| t.value.as_str());
        let zone = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
        let now = self.env.clock.now().to_zoned(zone).datetime();
        let mut overdue = Vec::new();
        for source in &self.bound.sources {
            let Some(every) = source.spec.expect.as_ref().and_then(|e| e.every) else {
                continue;
            };
            let name = source.name();
            let latest = latest_as_of.get(name).or_else(|| before.get(name));
            let Some(latest) = latest.and_then(|text| text.parse::<jiff::civil::DateTime>().ok()) else {
                overdue.push(format!(
                    "source {name}: no input says what time it speaks of, `expect.every` cannot be checked"
                ));
                continue;
            };
            let ago = now.duration_since(latest);
            if ago > jiff::SignedDuration::try_from(every).unwrap_or(jiff::SignedDuration::MAX) {
                overdue.push(format!(
                    "source {name}: the latest input speaks of a time {} hours ago",
                    ago.as_hours()
                ));
            }
        }
        overdue
    }

    /// The `expect` of every source that had inputs.
    pub(super) fn check_expectations(&self, plans: &[SourcePlan], ingested: &Ingested) -> Result<(), EngineError> {
        let mut broken = Vec::new();
        for (source, plan) in self.bound.sources.iter().zip(plans) {
            let (Some(expect), Some(report)) = (&source.spec.expect, ingested.sources.get(source.name())) else {
                continue;
            };
            if plan.pending.is_empty() {
                continue;
            }
            let name = source.name();
            if expect.rows.0.is_some_and(|least| report.read < least)
                || expect.rows.1.is_some_and(|most| report.read > most)
            {
                broken.push(format!(
                    "source {name}: {} records were read, outside of `expect.rows`",
                    report.read
                ));
            }
            if let Some(most) = expect.rejected {
                let share = report.rejected as f64 / report.read.max(1) as f64;
                if share > most {
                    broken.push(format!(
                        "source {name}: {:.2} % of the records were rejected, `expect.rejected` allows {:.2} %: see `clinmill \
                         quarantine list`",
                        share * 100.0,
                        most * 100.0
                    ));
                }
            }
        }
        if broken.is_empty() {
            return Ok(());
        }
        Err(EngineError::QualityGate(format!(
            "{}. Nothing was published",
            broken.join("; ")
        )))
    }
}

/// What an export speaks of: source, scope and time.
fn asserted(export: &Coverage) -> (String, BTreeMap<String, String>, String) {
    (export.source.clone(), export.scope.clone(), export.as_of.clone())
}

/// A scope with the captures of an input's path put in.
fn scope_of(scope: &BTreeMap<String, String>, captures: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let fill = |text: &String| {
        captures.iter().fold(text.clone(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
    };
    scope.iter().map(|(k, v)| (k.clone(), fill(v))).collect()
}

/// The scope label of every input of the complete sources.
pub fn scopes_of<'a>(bound: &Bound, entries: impl Iterator<Item = &'a LedgerEntry>) -> HashMap<u32, String> {
    entries
        .filter_map(|entry| {
            let source = bound.sources.iter().find(|s| s.name() == entry.source)?;
            Some((
                entry.number,
                scope_of_captures(&source.spec.mode, entry.captures.expose())?,
            ))
        })
        .collect()
}

/// The scope label of an input with these captures, where its source is complete.
pub fn scope_of_captures(mode: &Mode, captures: &BTreeMap<String, String>) -> Option<String> {
    match mode {
        Mode::Complete { scope, .. } => Some(scope_label(&scope_of(scope, captures))),
        Mode::Partial => None,
    }
}
