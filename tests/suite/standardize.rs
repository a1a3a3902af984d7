//! Values, units and codes, from the pipeline file to the dataset: what trace says of them, what a changed table changes,
//! and what bad input and bad tables lead to.

mod bad;
mod change;
mod concerned;
mod map;
mod once;
mod trace;

use clinmill_tests::{copy_dir, root, site::Site};
use std::fs;

/// Laboratory rows through `labvalue`, `terminology` and `units`, with the repository's tables in a folder of its own.
const LABS: &str = r#"version: 1
name: labs
timezone: Asia/Shanghai
roots: { maps: maps }
vault: { url: "file:./vault/labs", key: { $secret: vault_key } }
dataset: { url: "file:./out/labs" }
sources:
  lis:
    plugin: table
    inputs: { glob: "inbox/lab*.csv" }
    subject: { id: mrn, issuer: MRN }
    key: [order]
    columns: { order: order_no, test: test, result: result, unit: unit, at: { name: at, type: timestamp } }
transforms:
  labs:
    from: lis
    steps:
      - labvalue: { column: result, as: value, unit: unit }
      - terminology: { column: test, map: "maps:lab-zh__loinc", as: loinc }
      - units:
          value: value_number
          unit: unit
          unit_in_value: value_unit
          to_column: loinc_unit
          map: "maps:units-local__ucum"
          analytes: "maps:molar-mass__ucum"
          analyte: loinc_code
          on_error: null
tables:
  measurement: { from: labs, key: [order_no] }
"#;

const ROWS: &str = "mrn,order,test,result,unit,at\n\
    a,1,肌酐,0.9,mg/dl,2026-01-01 07:00:00\n\
    a,2,血红蛋白,130,g/L,2026-01-01 07:00:00\n\
    b,3,肌酐,82,μmol/L,2026-01-02 07:00:00\n\
    b,4,没有的项目,1,g/L,2026-01-02 07:00:00\n\
    c,5,血红蛋白,118,g/L,2026-01-03 07:00:00\n";

fn site(pipeline: &str, rows: &str) -> Site {
    let site = with_tables(Site::new(pipeline));
    site.put("inbox/labs.csv", rows);
    site
}

fn with_tables(site: Site) -> Site {
    for table in ["lab-zh__loinc", "units-local__ucum", "molar-mass__ucum"] {
        copy_dir(&root().join("mappings").join(table), &site.at(&format!("maps/{table}")));
    }
    site
}

/// Changes one line of a table that holds all of `parts`; returns its 1-based number.
fn edit_line(site: &Site, table: &str, parts: &[&str], change: impl Fn(&str) -> String) -> u32 {
    let path = format!("maps/{table}/map.csv");
    let text = fs::read_to_string(site.at(&path)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let wanted = |line: &&str| parts.iter().all(|part| line.contains(part));
    let at = lines.iter().position(wanted).unwrap();
    assert_eq!(lines.iter().filter(|l| wanted(l)).count(), 1, "{parts:?} are one row");
    let mut changed: Vec<String> = lines.iter().map(|&l| l.to_owned()).collect();
    changed[at] = change(lines[at]);
    assert_ne!(changed[at], lines[at]);
    site.put(&path, changed.join("\n") + "\n");
    at as u32 + 1
}
