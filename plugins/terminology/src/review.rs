//! Coverage of a column, suggestions for what is not covered, and the merge of reviewed suggestions.

use crate::{
    Found, Lookup, Told,
    search::Index,
    sheet::{Line, Sheet},
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A distinct value of a column with its unit and specimen, and how many rows have it.
pub type Values = BTreeMap<(String, String, String), u64>;

/// Rows and distinct values, by what the lookup says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Rows with a value.
    pub rows: u64,
    /// Rows that are mapped.
    pub rows_mapped: u64,
    /// Distinct values.
    pub values: u64,
    /// Distinct values that are mapped.
    pub values_mapped: u64,
    /// Values without a single target, the most frequent first: the value, unit, specimen, what was found, and rows.
    pub open: Vec<(String, String, String, &'static str, u64)>,
}

/// How much of a column a table covers.
pub fn coverage(values: &Values, lookup: &Lookup) -> Coverage {
    let mut coverage = Coverage::default();
    for ((value, unit, specimen), rows) in values {
        if value.trim().is_empty() {
            continue;
        }
        coverage.rows += rows;
        coverage.values += 1;
        let found = lookup.find(value, &Told::of(unit, specimen, None));
        if let Found::Mapped(_) = found {
            coverage.rows_mapped += rows;
            coverage.values_mapped += 1;
            continue;
        }
        let state = found.status();
        coverage
            .open
            .push((value.clone(), unit.clone(), specimen.clone(), state, *rows));
    }
    coverage.open.sort_by(|a, b| b.4.cmp(&a.4).then_with(|| a.0.cmp(&b.0)));
    coverage
}

/// Candidates for what is not covered, as rows to review: `proposed`, the best first, with what led to them.
pub fn suggest(open: &Coverage, index: &Index, table: &Sheet, each: usize, least: f32) -> Sheet {
    // What a reviewer turned down is not offered again.
    let rejected: HashSet<(&str, &str)> = table
        .lines
        .iter()
        .filter(|line| line.get("status") == "rejected")
        .map(|line| (line.get("source_name"), line.get("target_code")))
        .collect();
    let mut sheet = Sheet::default();
    for (value, unit, specimen, _, rows) in &open.open {
        let told = Some(unit.as_str()).filter(|unit| !unit.is_empty());
        let found = index.search(value, told, each);
        for candidate in found {
            let code = candidate.target.code.as_str();
            if candidate.score < least || rejected.contains(&(value.as_str(), code)) {
                continue;
            }
            let mut line = Line::default();
            line.set("source_name", value.trim())
                .set("target_system", candidate.target.system.as_str())
                .set("target_code", code)
                .set("target_name", candidate.target.name.as_str())
                .set("equivalence", "equivalent")
                .set("status", "proposed")
                .set("unit", candidate.target.unit.as_str())
                .set("when_unit", unit.as_str())
                .set("when_specimen", specimen.as_str())
                .set("origin", "clinmill map suggest")
                .set("score", format!("{:.3}", candidate.score))
                .set("note", format!("{rows} rows; by the name {:?}", candidate.name));
            sheet.lines.push(line);
        }
    }
    sheet
}

/// What a merge did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Rows that were added.
    pub added: u64,
    /// Rows of the table that were replaced.
    pub replaced: u64,
    /// Reviewed rows that are still proposed, and were left.
    pub left: u64,
}

/// Merges reviewed rows into a table: a row for the same key and target is replaced, another one added. Rows that are
/// still `proposed` are left. Whether the result is sound is for the reader of tables to say.
pub fn merge(table: &mut Sheet, reviewed: &Sheet) -> Merged {
    let place = |line: &Line| {
        let mut key: Vec<String> = line.key().iter().map(|cell| (*cell).to_owned()).collect();
        key.push(line.get("target_code").to_owned());
        key
    };
    let mut places: HashMap<Vec<String>, usize> = HashMap::new();
    for (index, line) in table.lines.iter().enumerate() {
        places.entry(place(line)).or_insert(index);
    }
    let mut merged = Merged::default();
    for line in &reviewed.lines {
        if line.get("status") == "proposed" {
            merged.left += 1;
            continue;
        }
        match places.get(&place(line)).and_then(|index| table.lines.get_mut(*index)) {
            Some(known) => {
                *known = line.clone();
                merged.replaced += 1;
            }
            None => {
                places.insert(place(line), table.lines.len());
                table.lines.push(line.clone());
                merged.added += 1;
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{By, table::entries};
    use clinmill_sdk::{MappingTable, Resource};

    fn table(rows: &str) -> MappingTable {
        let mut resource = Resource::default();
        let yaml = "title: t\nfrom: a\nto: b\nversion: 1\norigin: here\nlicence: x\n";
        let head = "source_code,source_name,target_system,target_code,target_name,equivalence,status,origin,note\n";
        resource.files.insert("mapping.yaml".into(), yaml.into());
        resource.files.insert("map.csv".into(), format!("{head}{rows}").into());
        MappingTable::read("maps:x", &resource).unwrap()
    }

    #[test]
    fn what_is_open_is_suggested_reviewed_and_merged() {
        let known = table(
            ",总胆红素,s,1,Bilirubin,equivalent,accepted,manual,\n,总胆红素测定,s,9,x,equivalent,rejected,manual,\n",
        );
        let values: Values = [("总胆红素", 7), ("血清总胆红素", 5), ("总胆红素测定", 2), (" ", 4)]
            .map(|(value, rows)| ((value.to_owned(), String::new(), String::new()), rows))
            .into();
        let found = coverage(&values, &Lookup::new(&known, By::Name).unwrap());
        assert_eq!(
            (found.rows, found.rows_mapped, found.values, found.values_mapped),
            (14, 7, 3, 1)
        );
        assert_eq!(found.open[0].0, "血清总胆红素");
        assert_eq!(found.open[1].3, "rejected");
        let mut index = Index::default();
        index.add_entries(&entries(&known, By::Name).unwrap());
        let mut sheet = Sheet::of(&known);
        let mut offered = suggest(&found, &index, &sheet, 5, 0.1);
        assert_eq!(offered.lines.len(), 2);
        assert_eq!(offered.lines[0].get("target_code"), "1");
        offered.lines[0].set("status", "accepted");
        let merged = merge(&mut sheet, &offered);
        assert_eq!((merged.added, merged.replaced, merged.left), (1, 0, 1));
        assert_eq!(merge(&mut sheet, &offered).replaced, 1);
        assert_eq!(sheet.lines.len(), 3);
    }
}
