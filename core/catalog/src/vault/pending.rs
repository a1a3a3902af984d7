//! Which inputs a refresh has to read: a pure function of what lies in the inbox and of the ledger.

use super::{
    glob::Captures,
    ledger::{Generation, Identity, Ledger, Sighting, SourceLedger},
};
use clinmill_model::{Digest, Sensitive};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::PathBuf,
};

/// How a source tells one input from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By content, captures and `as_of`: the order in which they arrive means nothing.
    Content,
    /// By the order in which the vault first saw a content at its path: A, then B, then A again are three inputs.
    Arrival,
}

/// A file in the inbox, hashed.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where to read it.
    pub path: Sensitive<PathBuf>,
    /// Its path from the searched folder.
    pub relative: Sensitive<String>,
    /// What the source's pattern captured.
    pub captures: Sensitive<Captures>,
    /// What time it speaks of, if its path says so.
    pub as_of: Option<String>,
    /// SHA-256 of its content.
    pub sha256: Digest,
    /// Size in bytes.
    pub size: u64,
    /// True when the vault holds only a reference to it.
    pub referenced: bool,
}

/// An input to be read. Its bytes are in the vault, under its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// SHA-256 of its content.
    pub sha256: Digest,
    /// Its path from the searched folder.
    pub path: Sensitive<String>,
    /// What the source's pattern captured.
    pub captures: Sensitive<Captures>,
    /// What time it speaks of.
    pub as_of: Option<String>,
    /// Its place in the order of arrival.
    pub arrival: Option<u64>,
    /// Size in bytes.
    pub size: u64,
    /// True when the vault holds only a reference to it.
    pub referenced: bool,
    /// True when it was read before, under another parse generation.
    pub again: bool,
}

/// What a refresh has to do for one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Inputs to read, in the order in which they enter the ledger.
    pub pending: Vec<Pending>,
    /// To be written to the ledger with them (not worth a release of their own).
    pub sightings: Vec<Sighting>,
}

/// What a source's pattern now reads from a path: captures and `as_of`; none where the path does not fit.
pub type Reads<'a> = &'a dyn Fn(&str) -> Option<(Sensitive<Captures>, Option<String>)>;

/// Compares the inbox with the ledger.
///
/// - An input of an earlier parse generation is pending again, in ledger order, with the arrival it had, also when its file
///   is gone. Captures and `as_of` are what the source's pattern now reads from its path, else those it had.
/// - [`Order::Content`]: a file is pending when no input of this source has its content, captures and `as_of`. The same
///   under two paths counts once.
/// - [`Order::Arrival`]: a file is pending when its content differs from what was last seen at its path. A path that
///   is new counts as a copy when content and captures are those of the source's latest input. Arrival numbers go on
///   from the greatest so far, files of one refresh by path.
pub fn pending(
    source: &str,
    order: Order,
    parse_id: &Digest,
    discovered: &[Found],
    ledger: &Ledger,
    reads: Reads<'_>,
) -> Plan {
    let empty = SourceLedger::default();
    let known = ledger.source(source).unwrap_or(&empty);
    let mut found: Vec<&Found> = discovered.iter().collect();
    found.sort_by(|a, b| (&a.relative, &a.sha256, &a.as_of).cmp(&(&b.relative, &b.sha256, &b.as_of)));
    match order {
        Order::Content => by_content(parse_id, &found, known, reads),
        Order::Arrival => by_arrival(source, parse_id, &found, known, reads),
    }
}

/// The inputs of earlier generations as they are read now, each once, but for those that this generation has read; with the
/// identities of both.
fn past(
    parse_id: &Digest,
    known: &SourceLedger,
    identity: impl Fn(&Generation) -> Identity,
) -> (Vec<Pending>, HashSet<Identity>) {
    let (parsed, past): (Vec<&Generation>, Vec<&Generation>) =
        known.generations.iter().partition(|g| known.is_parsed(g, parse_id));
    let mut taken: HashSet<Identity> = parsed.iter().map(|g| g.identity.clone()).collect();
    let now = past.into_iter().map(|g| (g, identity(g)));
    let pending = now
        .filter_map(|(g, now)| taken.insert(now.clone()).then(|| again(g, now)))
        .collect();
    (pending, taken)
}

fn by_content(parse_id: &Digest, found: &[&Found], known: &SourceLedger, reads: Reads<'_>) -> Plan {
    let identity = |sha256: Digest, captures: Sensitive<Captures>, as_of: Option<String>| Identity {
        sha256,
        captures,
        as_of,
        arrival: None,
    };
    let of = |f: &Found| identity(f.sha256, f.captures.clone(), f.as_of.clone());
    // What this parse generation reads, or read, from a content at a path.
    let mut readings: HashMap<(&str, Digest), Identity> = HashMap::new();
    for g in known.generations.iter().filter(|g| known.is_parsed(g, parse_id)) {
        readings.insert((g.path.expose(), g.identity.sha256), g.identity.clone());
    }
    for f in found {
        readings.insert((f.relative.expose(), f.sha256), of(f));
    }
    let (mut pending, mut taken) = past(parse_id, known, |g| {
        let (path, sha256) = (g.path.expose().as_str(), g.identity.sha256);
        let here = readings.get(&(path, sha256)).cloned();
        let read = || reads(path).map(|(captures, as_of)| identity(sha256, captures, as_of));
        here.or_else(read).unwrap_or_else(|| g.identity.clone())
    });
    for f in found {
        if taken.insert(of(f)) {
            pending.push(new(f, None));
        }
    }
    Plan {
        pending,
        sightings: Vec::new(),
    }
}

fn by_arrival(source: &str, parse_id: &Digest, found: &[&Found], known: &SourceLedger, reads: Reads<'_>) -> Plan {
    let (pending, _) = past(parse_id, known, |g| match reads(g.path.expose()) {
        Some((captures, _)) => Identity {
            captures,
            ..g.identity.clone()
        },
        None => g.identity.clone(),
    });
    let mut plan = Plan {
        pending,
        sightings: Vec::new(),
    };
    let mut arrival = known.last_arrival;
    // A copy is one of what was the latest before this refresh, or has just become it.
    let mut latest = BTreeSet::new();
    let before = known.latest.and_then(|i| known.generations.get(i));
    latest.extend(before.map(|g| (g.identity.sha256, &g.identity.captures)));
    let mut just_taken = None;
    for f in found {
        match known.at_path.get(&f.relative) {
            Some(sha256) if *sha256 == f.sha256 => continue,
            None if latest.contains(&(f.sha256, &f.captures)) || just_taken == Some((f.sha256, &f.captures)) => {
                plan.sightings.push(Sighting {
                    source: source.to_owned(),
                    path: f.relative.clone(),
                    sha256: f.sha256,
                });
                continue;
            }
            _ => {}
        }
        arrival += 1;
        just_taken = Some((f.sha256, &f.captures));
        plan.pending.push(new(f, Some(arrival)));
    }
    plan
}

fn again(g: &Generation, now: Identity) -> Pending {
    Pending {
        sha256: now.sha256,
        path: g.path.clone(),
        captures: now.captures,
        as_of: now.as_of,
        arrival: now.arrival,
        size: g.size,
        referenced: g.referenced,
        again: true,
    }
}

fn new(f: &Found, arrival: Option<u64>) -> Pending {
    Pending {
        sha256: f.sha256,
        path: f.relative.clone(),
        captures: f.captures.clone(),
        as_of: f.as_of.clone(),
        arrival,
        size: f.size,
        referenced: f.referenced,
        again: false,
    }
}

#[cfg(test)]
mod tests;
