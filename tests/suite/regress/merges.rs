//! Rows that pass from one patient to another.

use super::*;

/// Merges, merges that are corrected, and merges that cross, over one bucket range and over several: each row is one
/// change, under the patient where it stands now.
#[test]
fn rows_move_between_patients_once() {
    for padding in [0, 90_000] {
        merges(padding);
    }
}

/// `padding` rows of others make the history long enough for several ranges.
fn merges(padding: usize) {
    const TRIPLES: usize = 12;
    let site = || {
        Site::new(&format!(
            r#"{HEAD}timezone: Asia/Shanghai
sources:
  hl7:
    plugin: hl7v2
    inputs: {{ glob: "inbox/*.hl7" }}
    subject: {{ id: PID-3.1, issuer: PID-3.4 }}
    records:
      result: {{ per: OBX, key: [no], fields: {{ no: OBR-3, code: OBX-3.1, value: OBX-5 }} }}
  lis:
    plugin: table
    inputs: {{ glob: "inbox/*.csv" }}
    subject: {{ id: mrn, issuer: OTHER }}
    key: [order]
    columns: {{ order: order, val: val }}
tables:
  measurement: {{ from: hl7.result }}
  keyed: {{ from: hl7.result, key: [no] }}
  other: {{ from: lis }}
"#
        ))
    };
    let header = |day: usize, kind: &str| format!("MSH|^~\\&|a|b|c|d|202601{day:02}080000||{kind}|{day}|P|2.5\r");
    let results: String = (0..TRIPLES * 12)
        .map(|i| {
            let (letter, number) = (["A", "B", "C", "D"][i % 4], i / 4 % TRIPLES);
            let head = header(1, "ORU^R01");
            format!("{head}PID|1||{letter}{number}^^^MRN\rOBR|1||N{i}\rOBX|1|NM|K||4.{i}||||||F\r")
        })
        .collect();
    let merge = |day: usize, pairs: &[(&str, &str)]| -> String {
        let all = (0..TRIPLES).flat_map(|n| pairs.iter().map(move |pair| (n, pair)));
        all.map(|(n, (from, into))| {
            let head = header(day, "ADT^A40^ADT_A39");
            format!("{head}PID|1||{into}{n}^^^MRN\rMRG|{from}{n}^^^MRN\r")
        })
        .collect()
    };
    let others = |week: usize, rows: usize| -> String {
        let rows: String = (0..rows.max(80))
            .map(|i| format!("{week}-{i},m{},{i}\n", i % 80))
            .collect();
        format!("order,mrn,val\n{rows}")
    };
    let weeks = [
        results,
        merge(2, &[("B", "A")]),
        // Corrected, and the survivor is merged too.
        merge(3, &[("B", "C"), ("A", "D")]),
        // Crossed, and taken back.
        merge(4, &[("C", "A"), ("D", "B")]),
        merge(5, &[("C", "B"), ("D", "A")]),
    ];
    let (weekly, at_once) = (site(), site());
    let tables = ["measurement", "keyed"];
    let mut state = tables.map(|_| Default::default());
    for (week, messages) in weeks.iter().enumerate() {
        for site in [&weekly, &at_once] {
            site.put(&format!("inbox/{week}.hl7"), messages);
            site.put(
                &format!("inbox/{week}.csv"),
                others(week, if week == 0 { padding } else { 0 }),
            );
        }
        let release = weekly.refresh().release;
        for (table, rows) in tables.iter().zip(&mut state) {
            let changes = weekly.changes(release, table);
            let ids: std::collections::BTreeSet<_> = changes.iter().map(|c| c.row_id.clone()).collect();
            assert_eq!(
                ids.len(),
                changes.len(),
                "{table}: a row id occurs once in release {release}"
            );
            changes.into_iter().for_each(|change| apply(rows, change));
            assert_eq!(
                rows,
                &weekly.rows(release, table),
                "what a buyer has of {table} after release {release}"
            );
            assert_eq!(rows.len(), TRIPLES * 12);
        }
    }
    at_once.refresh();
    assert_eq!(at_once.content(1), weekly.content(5), "padding {padding}");
    let project = weekly.project();
    project.run(["verify", "file:out/regress"]).expect_code(0);
}

/// HL7 A29 is of the number that it names: after a merge the survivor's record stays, whichever came first.
#[test]
fn a_deletion_under_a_retired_number_is_of_that_number() {
    let site = || {
        Site::new(&format!(
            r#"{HEAD}timezone: Asia/Shanghai
sources:
  hl7:
    plugin: hl7v2
    inputs: {{ glob: "inbox/*.hl7" }}
    subject: {{ id: PID-3.1, issuer: PID-3.4 }}
    records:
      person: {{ per: PID, key: [], fields: {{ name: PID-5.1 }} }}
tables:
  person: {{ from: hl7.person }}
"#
        ))
    };
    let message = |day: usize, kind: &str, id: &str, rest: &str| {
        format!("MSH|^~\\&|a|b|c|d|202601{day:02}080000||{kind}|{day}{id}|P|2.5\rPID|1||{id}^^^MRN||{rest}\r")
    };
    let known = [
        message(1, "ADT^A28", "B", "second"),
        message(2, "ADT^A28", "A", "first"),
    ];
    let merge = message(3, "ADT^A40^ADT_A39", "A", "first") + "MRG|B^^^MRN\r";
    // Deleted after the merge or before it; then the survivor, too.
    for weeks in [
        vec![known.concat(), merge.clone(), message(4, "ADT^A29", "B", "second")],
        vec![known.concat(), message(2, "ADT^A29", "B", "second"), merge.clone()],
        vec![known.concat() + &merge + &message(4, "ADT^A29", "B", "second")],
    ] {
        let site = site();
        for (week, text) in weeks.iter().enumerate() {
            site.put(&format!("inbox/{week}.hl7"), text);
            site.refresh();
        }
        let release = weeks.len() as u64;
        assert_eq!(site.rows(release, "person").len(), 1, "{weeks:?}");
        site.put("inbox/last.hl7", message(5, "ADT^A29", "A", "first"));
        site.refresh();
        assert_eq!(site.rows(release + 1, "person").len(), 0, "{weeks:?}");
    }
}

/// A preview joins what a refresh would join: records under a number that is no longer used are the survivor's.
#[test]
fn a_preview_follows_merges() {
    let site = Site::new(&format!(
        r#"{HEAD}timezone: Asia/Shanghai
sources:
  hl7:
    plugin: hl7v2
    inputs: {{ glob: "inbox/*.hl7" }}
    subject: {{ id: PID-3.1, issuer: PID-3.4 }}
    records:
      person: {{ per: PID, key: [], fields: {{ name: PID-5.1 }} }}
  lis:
    plugin: table
    inputs: {{ glob: "inbox/*.csv" }}
    subject: {{ id: mrn, issuer: MRN }}
    key: [order]
    columns: {{ order: order }}
transforms:
  labs:
    sql: select l.order, p.name from lis l join "hl7.person" p using (subject_id)
tables:
  lab: {{ from: labs, key: [order] }}
"#
    ));
    site.put(
        "inbox/1.hl7",
        "MSH|^~\\&|a|b|c|d|20260103080000||ADT^A40^ADT_A39|3|P|2.5\rPID|1||A^^^MRN||first\rMRG|B^^^MRN\r",
    );
    site.put("inbox/1.csv", "order,mrn\n1,B\n2,A\n3,C\n");
    let rows = site.refresh().tables["lab"].rows;
    let args = ["preview", "pipeline.yaml", "labs", "--format", "json"];
    let json = site.project().run(args).expect_code(0).json();
    assert_eq!((json["rows"].as_array().map(Vec::len), rows), (Some(2), 2), "{json}");
}
