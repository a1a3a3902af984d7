//! The laws of the ledger: each input counts once, in any order, under any path.

use super::*;
use crate::vault::{LedgerEntry, LedgerLine, RecordCounts};
use proptest::prelude::*;

const SOURCE: &str = "lis";

fn parse(n: u8) -> Digest {
    Digest::of(&[n])
}

/// A file whose captures are a function of its path: its first part.
fn file(path: &str, content: &str) -> Found {
    let who = path.split('/').next().unwrap_or_default().to_owned();
    Found {
        path: Sensitive::new(path.into()),
        relative: Sensitive::new(path.to_owned()),
        captures: Sensitive::new(Captures::from([("who".to_owned(), who)])),
        as_of: None,
        sha256: Digest::of(content.as_bytes()),
        size: content.len() as u64,
        referenced: false,
    }
}

/// What [`file`] reads from a path.
fn as_file(path: &str) -> Option<(Sensitive<Captures>, Option<String>)> {
    Some((file(path, "").captures, None))
}

fn record(ledger: &mut Ledger, parse_id: Digest, plan: &Plan) {
    for p in &plan.pending {
        ledger.push(LedgerLine::Input(LedgerEntry {
            number: ledger.next_number(),
            source: SOURCE.into(),
            parse_id,
            sha256: p.sha256,
            path: p.path.clone(),
            captures: p.captures.clone(),
            as_of: p.as_of.clone(),
            arrival: p.arrival,
            size: p.size,
            referenced: p.referenced,
            counts: RecordCounts::default(),
            error: None,
        }));
    }
    plan.sightings
        .iter()
        .cloned()
        .for_each(|s| ledger.push(LedgerLine::Sighting(s)));
}

/// One refresh; a plan without inputs commits nothing.
fn refresh(ledger: &mut Ledger, order: Order, parse_id: Digest, files: &[Found]) -> Vec<(Digest, Option<u64>)> {
    let plan = pending(SOURCE, order, &parse_id, files, ledger, &as_file);
    if !plan.pending.is_empty() {
        record(ledger, parse_id, &plan);
    }
    plan.pending.iter().map(|p| (p.sha256, p.arrival)).collect()
}

fn contents(ledger: &mut Ledger, order: Order, parse_id: u8, files: &[Found]) -> Vec<Digest> {
    refresh(ledger, order, parse(parse_id), files)
        .into_iter()
        .map(|(sha256, _)| sha256)
        .collect()
}

fn d(content: &str) -> Digest {
    Digest::of(content.as_bytes())
}

#[test]
fn the_same_content_counts_once_per_meaning() {
    use Order::Content;
    let ledger = &mut Ledger::default();
    let two = [file("a/1", "A"), file("a/2", "A")];
    assert_eq!(contents(ledger, Content, 1, &two), [d("A")], "two paths, one input");
    assert!(contents(ledger, Content, 1, &two).is_empty());
    assert!(
        contents(ledger, Content, 1, &[file("a/3", "A")]).is_empty(),
        "a renamed file is no news"
    );
    assert_eq!(
        contents(ledger, Content, 1, &[file("b/1", "A")]),
        [d("A")],
        "another patient's identical note is"
    );
    let dated = Found {
        as_of: Some("2026-04-20T00:00:00".into()),
        ..file("a/1", "A")
    };
    assert_eq!(
        contents(ledger, Content, 1, &[dated]),
        [d("A")],
        "so is the same export of another day"
    );
}

#[test]
fn a_changed_source_reads_its_past_again() {
    use Order::Content;
    let ledger = &mut Ledger::default();
    assert_eq!(contents(ledger, Content, 1, &[file("a/1", "A")]), [d("A")]);
    assert_eq!(contents(ledger, Content, 1, &[file("a/1", "B")]), [d("B")]);
    assert_eq!(
        contents(ledger, Content, 2, &[file("a/9", "C")]),
        [d("A"), d("B"), d("C")],
        "also what is gone"
    );
    assert!(contents(ledger, Content, 2, &[file("a/9", "C")]).is_empty());
    assert_eq!(
        contents(ledger, Content, 1, &[]),
        [d("A"), d("B"), d("C")],
        "going back reads all of it: only the events of the latest reading are kept"
    );
}

#[test]
fn a_changed_pattern_replaces_the_old_reading() {
    use Order::Content;
    let ledger = &mut Ledger::default();
    assert_eq!(contents(ledger, Content, 1, &[file("a/1", "A")]).len(), 1);
    let dated = Found {
        as_of: Some("2026-04-20T00:00:00".into()),
        ..file("a/1", "A")
    };
    assert_eq!(
        contents(ledger, Content, 2, &[dated]),
        [d("A")],
        "once, not with and without a date"
    );
    assert!(
        contents(ledger, Content, 2, &[]).is_empty(),
        "also after the file has left"
    );
}

#[test]
fn going_back_reads_again_what_another_identity_had_replaced() {
    use Order::{Arrival, Content};
    let dated = |path: &str, content: &str| Found {
        as_of: Some("2026-04-20T00:00:00".into()),
        ..file(path, content)
    };
    for (between, files) in [
        (Content, [dated("a/1", "A"), dated("b/2", "B")]),
        (Arrival, [file("a/1", "A"), file("b/2", "B")]),
    ] {
        let ledger = &mut Ledger::default();
        let first = [file("a/1", "A")];
        let both = [file("a/1", "A"), file("b/2", "B")];
        assert_eq!(contents(ledger, Content, 1, &first), [d("A")]);
        assert_eq!(contents(ledger, between, 2, &files).len(), 2);
        assert_eq!(
            contents(ledger, Content, 1, &both).len(),
            2,
            "{between:?}: none is left out"
        );
        assert!(contents(ledger, Content, 1, &both).is_empty());
        // The same when the files have left.
        assert_eq!(contents(ledger, Content, 3, &[]).len(), 2, "{between:?}");
        assert!(contents(ledger, Content, 3, &[]).is_empty());
    }
}

#[test]
fn arrival_counts_every_state_of_a_path() {
    use Order::Arrival;
    let ledger = &mut Ledger::default();
    let run = |ledger: &mut Ledger, content| refresh(ledger, Arrival, parse(1), &[file("full.csv", content)]);
    assert_eq!(run(ledger, "A"), [(d("A"), Some(1))]);
    assert!(run(ledger, "A").is_empty());
    assert_eq!(run(ledger, "B"), [(d("B"), Some(2))]);
    assert_eq!(run(ledger, "A"), [(d("A"), Some(3))]);
    assert!(run(ledger, "A").is_empty());
    assert_eq!(
        refresh(ledger, Arrival, parse(2), &[file("full.csv", "C")]),
        [
            (d("A"), Some(1)),
            (d("B"), Some(2)),
            (d("A"), Some(3)),
            (d("C"), Some(4))
        ],
        "read again with the numbers they had"
    );
    assert!(refresh(ledger, Arrival, parse(2), &[file("full.csv", "C")]).is_empty());
    assert!(refresh(ledger, Arrival, parse(2), &[]).is_empty());
}

#[test]
fn arrival_does_not_take_a_copy_for_news() {
    use Order::Arrival;
    let ledger = &mut Ledger::default();
    let all = [file("x/1.csv", "A"), file("x/1_copy.csv", "A"), file("x/2.csv", "C")];
    assert_eq!(
        refresh(ledger, Arrival, parse(1), &all),
        [(d("A"), Some(1)), (d("C"), Some(2))]
    );
    assert!(
        refresh(ledger, Arrival, parse(1), &all).is_empty(),
        "the copy is not news after C either"
    );
    let copy = [file("x/2_copy.csv", "C"), file("x/0.csv", "D")];
    assert_eq!(
        refresh(ledger, Arrival, parse(1), &copy),
        [(d("D"), Some(3))],
        "the order of paths does not matter"
    );
    assert!(refresh(ledger, Arrival, parse(1), &copy).is_empty());
    let other = [file("y/0.csv", "D")];
    assert_eq!(
        refresh(ledger, Arrival, parse(1), &other),
        [(d("D"), Some(4))],
        "another scope is another input"
    );
}

fn files() -> impl Strategy<Value = Vec<Found>> {
    proptest::collection::vec(("[ab]/[0-3]", "[A-D]", proptest::option::of("[12]")), 0..8).prop_map(|files| {
        files
            .into_iter()
            .map(|(path, content, as_of)| Found {
                as_of,
                ..file(&path, &content)
            })
            .collect()
    })
}

/// What counts, whatever order it came in.
fn counted(ledger: &Ledger) -> BTreeSet<(Digest, Sensitive<Captures>, Option<String>)> {
    ledger
        .entries()
        .iter()
        .map(|e| (e.sha256, e.captures.clone(), e.as_of.clone()))
        .collect()
}

proptest! {
    #[test]
    fn any_split_and_order_counts_the_same_once(all in files(), cut in 0usize..8, seed in any::<u64>()) {
        let mut whole = Ledger::default();
        contents(&mut whole, Order::Content, 1, &all);
        prop_assert_eq!(whole.entries().len(), counted(&whole).len(), "nothing twice");

        let mut shuffled = all.clone();
        shuffled.sort_by_key(|f| Digest::of(format!("{seed}{:?}{}", f.as_of, f.relative.expose()).as_bytes()));
        let (first, second) = shuffled.split_at(cut.min(all.len()));
        let mut parts = Ledger::default();
        contents(&mut parts, Order::Content, 1, first);
        contents(&mut parts, Order::Content, 1, second);
        prop_assert_eq!(counted(&parts), counted(&whole));
        prop_assert_eq!(parts.entries().len(), whole.entries().len());
        prop_assert!(contents(&mut parts, Order::Content, 1, &all).is_empty(), "nothing is pending twice");
    }

    #[test]
    fn a_plan_does_not_depend_on_the_order_of_listing(all in files(), known in files()) {
        // One file per path, as in an inbox.
        let by_path = |files: Vec<Found>| -> Vec<Found> {
            files.into_iter().map(|f| (f.relative.expose().clone(), f)).collect::<HashMap<_, _>>().into_values().collect()
        };
        let (all, known) = (by_path(all), by_path(known));
        for order in [Order::Content, Order::Arrival] {
            let mut ledger = Ledger::default();
            refresh(&mut ledger, order, parse(1), &known);
            let backwards: Vec<Found> = all.iter().rev().cloned().collect();
            let plan = pending(SOURCE, order, &parse(2), &all, &ledger, &as_file);
            prop_assert_eq!(&plan, &pending(SOURCE, order, &parse(2), &backwards, &ledger, &as_file));
            record(&mut ledger, parse(2), &plan);
            let rest = pending(SOURCE, order, &parse(2), &all, &ledger, &as_file);
            prop_assert!(rest.pending.is_empty(), "a rerun without news reads nothing");
        }
    }

    #[test]
    fn arrival_numbers_are_unique_and_increase(weeks in proptest::collection::vec(files(), 1..5)) {
        let mut ledger = Ledger::default();
        for week in &weeks {
            let by_path: HashMap<_, _> = week.iter().map(|f| (f.relative.expose().clone(), f.clone())).collect();
            refresh(&mut ledger, Order::Arrival, parse(1), &by_path.into_values().collect::<Vec<_>>());
        }
        let numbers: Vec<u64> = ledger.entries().iter().filter_map(|e| e.arrival).collect();
        prop_assert_eq!(numbers, (1..=ledger.entries().len() as u64).collect::<Vec<_>>());
    }
}
