//! The index behind `clinmill map suggest`, on the held-out half of the committed tables.

#![allow(clippy::unwrap_used)]

use clinmill_plugin_terminology::{
    By, Told,
    search::Index,
    table::{Entry, entries},
};
use clinmill_sdk::{MappingTable, Resource, RowState};
use std::{collections::BTreeSet, fs, path::Path};

fn read(name: &str) -> Vec<Entry> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings").join(name);
    let mut resource = Resource::default();
    for file in ["map.csv", "mapping.yaml"] {
        resource.files.insert(file.into(), fs::read(folder.join(file)).unwrap());
    }
    let mut all = entries(&MappingTable::read(name, &resource).unwrap(), By::Name).unwrap();
    all.retain(|entry| entry.state == RowState::Accepted);
    all
}

/// Pseudo-random by the name itself, so that the halves never move.
fn known(entry: &Entry) -> bool {
    let sum = entry
        .key
        .bytes()
        .fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    (sum >> 8).is_multiple_of(2)
}

#[test]
fn held_out_names_are_found() {
    let mut index = Index::default();
    let mut held_out = Vec::new();
    for name in ["lab-zh__loinc", "lab-en__loinc"] {
        let (half, asked): (Vec<Entry>, Vec<Entry>) = read(name).into_iter().partition(known);
        index.add_entries(&half);
        held_out.extend(asked.into_iter().map(|entry| (name, entry, half.clone())));
    }
    for table in ["lab-zh__loinc", "lab-en__loinc"] {
        let (mut asked, mut first, mut five) = (0u32, 0u32, 0u32);
        for (_, entry, half) in held_out.iter().filter(|(name, ..)| *name == table) {
            // A target of which every name is held out cannot be found by any of them.
            let there: BTreeSet<&str> = half.iter().map(|entry| entry.target.code.as_str()).collect();
            if !there.contains(entry.target.code.as_str()) {
                continue;
            }
            // A row that asks for a specimen is of a source that says it.
            let specimen = match entry.specimen.untold {
                true => None,
                false => entry.specimen.named().next(),
            };
            let told = Told::of(&entry.target.unit, specimen.unwrap_or_default(), None);
            let found = index.search(&entry.key, &told, 5);
            let place = found
                .iter()
                .position(|candidate| candidate.target.code == entry.target.code);
            // The best are those that a search for all has first.
            if asked.is_multiple_of(10) {
                let all = index.search(&entry.key, &told, usize::MAX);
                assert!(
                    found.len() == all.len().min(5) && all.starts_with(&found),
                    "{}",
                    entry.key
                );
            }
            asked += 1;
            first += u32::from(place == Some(0));
            five += u32::from(place.is_some());
        }
        let (first, five) = (f64::from(first) / f64::from(asked), f64::from(five) / f64::from(asked));
        println!("{table}: {asked} asked, recall@1 {first:.3}, recall@5 {five:.3}");
        assert!(
            asked > 200 && first > 0.5 && five > 0.7,
            "{table}: {asked} {first} {five}"
        );
    }
}
