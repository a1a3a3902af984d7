//! What the column `_rule` calls the rows of tables: by what they say, so that a row that moves stays the same rule.

use clinmill_sdk::MappingTable;
use std::collections::HashMap;

/// The names of a table's rows by their lines: the first of the `keys` that a row has a value in, and for a factor the
/// units that it stands between. `maps:molar-mass__ucum "14682-9" mol=g`.
pub(crate) fn names(table: &MappingTable, keys: &[&str]) -> HashMap<u32, String> {
    let reference = table.reference();
    let name = |row: &clinmill_sdk::MappingRow| {
        let cell = |column: &str| table.column(column).map_or("", |at| row.cell(at));
        let key = keys.iter().map(|key| cell(key)).find(|key| !key.is_empty());
        let key = key.unwrap_or_default();
        match (cell("one"), cell("is")) {
            ("", _) => format!("{reference} {key:?}"),
            (one, is) => format!("{reference} {key:?} {one}={is}"),
        }
    };
    table.rows.iter().map(|row| (row.line, name(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinmill_sdk::Resource;

    #[test]
    fn a_row_keeps_its_name_where_it_moves() {
        let table = |before: &str| {
            let mut resource = Resource::default();
            let yaml = "title: t\nfrom: a\nto: b\nversion: 1\norigin: here\nlicence: x\n";
            resource.files.insert("mapping.yaml".into(), yaml.into());
            let csv = format!("source_code,source_name,one,is\n{before},毫克,,\n2000-8,calcium,eq,mol\n");
            resource.files.insert("map.csv".into(), csv.into());
            names(
                &MappingTable::read("maps:x", &resource).unwrap(),
                &["source_code", "source_name"],
            )
        };
        let (was, is) = (table(""), table("z,other,,\n"));
        assert_eq!((was[&2].as_str(), &was[&2]), ("maps:x \"毫克\"", &is[&3]));
        assert_eq!((was[&3].as_str(), &was[&3]), ("maps:x \"2000-8\" eq=mol", &is[&4]));
    }
}
