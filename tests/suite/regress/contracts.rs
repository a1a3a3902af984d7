//! What a table's types hold exactly, and what they reject.

use super::{HEAD, lis};
use clinmill_tests::site::Site;

/// The rejected rows, as column and number of the row's line.
fn misfits(site: &Site) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = site
        .quarantine()
        .into_iter()
        .map(|q| {
            assert_eq!(q.code, "TABLE_CONTRACT", "{q:?}");
            let column = q.message.split_whitespace().nth(1).unwrap_or_default().to_owned();
            (column, q.row.unwrap_or_default())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_type_holds_a_value_exactly_or_not_at_all() {
    let site = lis(
        "order: order, whole: { name: whole, type: number }, dec: dec, num: num, made: { name: made, type: number }, at: at",
        "tables:\n  measurement:\n    from: lis\n    columns:\n      order: { type: string }\n      \
         whole: { type: integer, range: [0, 100] }\n      dec: { type: decimal }\n      num: { type: number }\n      \
         made: { type: decimal }\n      at: { type: timestamp }\n",
    );
    site.put(
        "inbox/w1.csv",
        "order,mrn,whole,dec,num,made,at\n\
         1,a,69,0.0012,5.6,5.6,2026-03-01T08:00:00\n\
         2,a,69.9,,,,\n\
         3,a,100.9,,,,\n\
         4,a,,0.0000004,,,\n\
         5,a,,0.0123456789,,,\n\
         6,a,,,1e400,,\n\
         7,a,,,9007199254740993,,\n\
         8,a,,,nan,,\n\
         9,a,,,,0.3333333333333333,\n\
         10,a,,,,0.0000004,\n\
         11,a,,,,,2026-03-01T08:00:00Z\n\
         12,a,,,,,0001-01-01T00:00:00\n\
         13,a,,123456789012345678901234567890123,,,\n",
    );
    let report = site.refresh();
    let wanted = [
        ("at", 12),
        ("dec", 5),
        ("dec", 6),
        ("dec", 14),
        ("made", 11),
        ("num", 7),
        ("num", 8),
        ("num", 9),
        ("whole", 3),
        ("whole", 4),
    ];
    assert_eq!(misfits(&site), wanted.map(|(column, row)| (column.to_owned(), row)));
    let table = &report.tables["measurement"];
    assert_eq!(table.rows, 3);
    assert_eq!(report.steps["table measurement"]["rejected TABLE_CONTRACT"], 10);
    let told = site
        .quarantine()
        .into_iter()
        .find(|q| q.row == Some(14))
        .unwrap()
        .message;
    assert!(
        told.contains("at most 32 digits before the point and 6 behind it"),
        "{told}"
    );
    let rows = format!("{:?}", site.rows(1, "measurement"));
    for kept in ["0.001200", "5.600000", "0.333333", "0001-01-01T00:00:00"] {
        assert!(rows.contains(kept), "{kept}: {rows}");
    }
}

#[test]
fn numbers_of_omop_are_not_cut() {
    let site = Site::new(&format!(
        r#"{HEAD}sources:
  his:
    plugin: table
    inputs: {{ glob: "inbox/*.csv" }}
    subject: {{ id: mrn, issuer: MRN }}
    key: [no]
    columns:
      no: no
      drug: drug_source_value
      at: {{ name: drug_exposure_start_datetime, type: timestamp }}
      end: {{ name: drug_exposure_end_datetime, type: timestamp }}
      days: {{ name: days_supply, type: number }}
      refills: {{ name: refills, type: decimal, scale: 2 }}
tables:
  drug_exposure: {{ from: his, key: [no], model: omop-5.4 }}
"#
    ));
    site.put(
        "inbox/w1.csv",
        "no,mrn,drug,at,end,days,refills\n\
         1,a,X,2026-01-01T00:00:00,2026-01-02T00:00:00,2,1.00\n\
         2,a,X,2026-01-01T00:00:00,2026-01-02T00:00:00,2.9,\n\
         3,a,X,2026-01-01T00:00:00,2026-01-02T00:00:00,,1.99\n",
    );
    assert_eq!(site.refresh().tables["drug_exposure"].rows, 1);
    assert_eq!(
        misfits(&site),
        [("days_supply".to_owned(), 3), ("refills".to_owned(), 4)]
    );
}

const ZONED: &str = "sources:
  lis:
    plugin: table
    inputs: { glob: \"inbox/*.csv\" }
    subject: { id: mrn, issuer: MRN }
    key: [order]
    columns: { order: order, at: { name: local, type: timestamp } }
transforms:
  zoned:
    sql: |
      select \"order\", local,
        local at time zone 'Asia/Tokyo' as at, local at time zone 'Asia/Tokyo' as day
      from lis
tables:
  measurement:
    from: zoned
    key: [order]
    columns: { order: { type: string }, at: { type: timestamp }, day: { type: date } }
";

/// A time with a zone is what the pipeline's clock shows; UTC's never stands in for it.
#[test]
fn times_with_a_zone_become_local() {
    let site = Site::new(&format!("{HEAD}timezone: Asia/Shanghai\n{ZONED}"));
    site.put(
        "inbox/w1.csv",
        "order,mrn,at\n1,a,2026-03-02T00:30:00\n2,a,2026-03-02T01:00:00\n",
    );
    site.refresh();
    let rows = format!("{:?}", site.rows(1, "measurement"));
    for shown in [
        "2026-03-01T23:30:00",
        "2026-03-01\"",
        "2026-03-02T00:00:00",
        "2026-03-02\"",
    ] {
        assert!(rows.contains(shown), "{shown}: {rows}");
    }
    let project = Site::new(&format!("{HEAD}{ZONED}")).project();
    let told = project.run(["validate", "pipeline.yaml"]).expect_code(2).stdout;
    assert_eq!(told.matches("holds times with a zone").count(), 2, "{told}");
    assert!(told.contains("write `timezone:`"), "{told}");
}
