//! Units as the step `units` understands them, so that a condition on a unit holds for each of its spellings.

use clinmill_sdk::{MappingTable, Resource, units::Spellings};
use std::sync::LazyLock;

/// The table of spellings that is shipped.
const TABLE: [(&str, &[u8]); 2] = [
    ("map.csv", include_bytes!("../../../mappings/units-local__ucum/map.csv")),
    (
        "mapping.yaml",
        include_bytes!("../../../mappings/units-local__ucum/mapping.yaml"),
    ),
];

/// It is read when it is first needed; a test holds that it can be.
static SPELLINGS: LazyLock<Spellings> = LazyLock::new(|| {
    let files = TABLE.map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
    let resource = Resource { files: files.into() };
    let table = MappingTable::read("maps:units-local__ucum", &resource);
    table.and_then(|table| Spellings::new(&table)).unwrap_or_default()
});

/// The UCUM code of a unit as written; nothing where it is none that is known.
pub fn code(text: &str) -> Option<String> {
    SPELLINGS.find(text).map(|known| known.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_is_read() {
        assert_eq!(code("K/uL").as_deref(), Some("10*3/uL"));
        assert_eq!(code("nonsense"), None);
    }
}
