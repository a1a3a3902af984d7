//! L1: any split of the inputs into refreshes, any order, any duplication gives the tables of one refresh over all.

use super::weekly;
use clinmill_catalog::env::SeededRandom;
use clinmill_engine::{
    EngineError,
    refresh::{Outcome, RefreshOptions},
};
use clinmill_tests::{
    hospital::{self, DropFile},
    site::Site,
    state::Rows,
};
use std::collections::BTreeMap;

type Content = BTreeMap<String, Rows>;

/// One refresh over all weeks.
fn at_once() -> (Content, BTreeMap<String, String>) {
    let site = hospital::site();
    (1..=hospital::WEEKS).for_each(|week| hospital::put_week(&site, week));
    assert_eq!(site.refresh().release, 1);
    (site.content(1), site.fingerprints(1))
}

fn check(site: &Site, (content, fingerprints): &(Content, BTreeMap<String, String>), how: &str) {
    let last = site.releases().last().copied().unwrap_or_default();
    for (table, rows) in site.content(last) {
        let wanted = &content[&table];
        let differ = |a: &Rows, b: &Rows| -> Vec<String> {
            a.iter()
                .filter(|(id, row)| b.get(*id) != Some(row))
                .map(|(_, row)| format!("{row:?}"))
                .take(5)
                .collect()
        };
        let (is, should) = (differ(&rows, wanted), differ(wanted, &rows));
        assert!(
            is.is_empty() && should.is_empty(),
            "{how}, {table}:\nis {is:#?}\nshould be {should:#?}"
        );
    }
    assert_eq!(&site.fingerprints(last), fingerprints, "{how}");
}

fn is_merge(file: &DropFile) -> bool {
    file.bytes.windows(7).any(|w| w == b"ADT^A40")
}

#[test]
fn week_by_week_is_as_all_at_once() {
    check(&weekly().site, &at_once(), "week by week");
}

#[test]
fn weeks_in_any_order_are_as_all_at_once() {
    let wanted = at_once();
    for order in [[3, 2, 1], [2, 3, 1], [3, 1, 2]] {
        let site = hospital::site();
        for week in order {
            hospital::put_week(&site, week);
            assert_eq!(site.refresh().outcome, Outcome::Released);
        }
        check(&site, &wanted, &format!("weeks in the order {order:?}"));
    }
}

/// Files fall into one to five refreshes at random, week or no week; every fifth comes again, in the same refresh or
/// in another one, under another path. `CLINMILL_SEED` repeats one case, `CLINMILL_CASES` makes more.
///
/// As long as the message that merges two numbers has not come, the visit that stands under both is told by the gate on
/// the key of `visit`, and nothing is published; the inputs stay pending, and the end is the same.
#[test]
fn files_in_any_order_and_twice_are_as_all_at_once() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("CLINMILL_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("CLINMILL_CASES").unwrap_or(6)).collect(),
    };
    let wanted = at_once();
    for seed in seeds {
        println!("CLINMILL_SEED={seed}");
        let random = SeededRandom::new(seed);
        let refreshes = 1 + random.below(5);
        let mut drops: Vec<Vec<(&DropFile, String)>> = vec![Vec::new(); refreshes as usize];
        for (i, file) in hospital::files().iter().enumerate() {
            drops[random.below(refreshes) as usize].push((file, format!("folder{}", random.below(3))));
            if random.below(5) == 0 {
                drops[random.below(refreshes) as usize].push((file, format!("again{i}")));
            }
        }
        let site = hospital::site();
        let mut merged = false;
        for drop in drops {
            drop.iter().for_each(|(file, folder)| file.put(&site, folder));
            merged |= drop.iter().any(|(file, _)| is_merge(file));
            match site.try_refresh(&RefreshOptions::default()) {
                Ok(_) => {}
                Err(EngineError::QualityGate(why)) if !merged && why.starts_with("table visit:") => {}
                Err(error) => panic!("CLINMILL_SEED={seed}: {error}"),
            }
        }
        check(&site, &wanted, &format!("CLINMILL_SEED={seed}, {refreshes} refreshes"));
    }
}
