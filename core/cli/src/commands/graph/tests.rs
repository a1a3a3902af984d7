//! Drawings of a small pipeline.

use super::*;

fn drawing() -> Drawing {
    let mut d = Drawing {
        title: "a & b".into(),
        ..Drawing::default()
    };
    d.add(Kind::Source, "adt.visit".into(), "hl7v2".into());
    d.add(Kind::Source, "lis".into(), "table".into());
    d.add(Kind::Source, "adt.person".into(), "hl7v2".into());
    let labs = d.add(Kind::Transform, "labs".into(), "map, \"x\"".into());
    let stay = d.add(Kind::Transform, "stay".into(), "sql".into());
    let table = d.add(Kind::Table, "labs".into(), String::new());
    d.connect("lis", labs);
    d.connect("labs", stay);
    d.connect("adt.visit", stay);
    d.connect("labs", table);
    let last = d.add(Kind::Table, "stay".into(), "key visit_no".into());
    d.connect("stay", last);
    d
}

#[test]
fn edges_lead_from_what_is_read() {
    let d = drawing();
    assert_eq!(d.edges, [(1, 3), (3, 4), (0, 4), (3, 5), (4, 6)]);
    assert!(d.is_alone(2) && !d.is_alone(0));
    assert_eq!(d.layers(), [0, 0, 0, 1, 2, 3, 3]);
}

#[test]
fn mermaid_and_dot() {
    let d = drawing();
    let mermaid = d.mermaid();
    assert!(
        mermaid.starts_with("flowchart LR\n  s0_adt_visit([\"adt.visit<br/><i>hl7v2</i>\"])\n"),
        "{mermaid}"
    );
    assert!(
        mermaid.contains("  t3_labs[\"labs<br/><i>map, #quot;x#quot;</i>\"]\n"),
        "{mermaid}"
    );
    assert!(mermaid.ends_with("  t4_stay --> d6_stay\n"), "{mermaid}");
    let dot = d.dot();
    assert!(
        dot.contains("  t3_labs [shape=box, label=\"labs\\nmap, \\\"x\\\"\"];\n"),
        "{dot}"
    );
    assert!(
        dot.contains("  d5_labs [shape=cylinder, label=\"labs\"];\n") && dot.ends_with("}\n"),
        "{dot}"
    );
}

#[test]
fn boxes_of_a_picture_do_not_overlap() {
    let d = drawing();
    let svg = svg::draw(&d);
    assert!(
        svg.contains("<title>a &amp; b</title>") && svg.trim_end().ends_with("</svg>"),
        "{svg}"
    );
    let number = |line: &str, name: &str| -> f64 {
        let rest = line.split(&format!(" {name}=\"")).nth(1).unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    };
    let boxes: Vec<(f64, f64, f64, f64)> = svg
        .lines()
        .filter(|l| l.contains("<rect x="))
        .map(|l| (number(l, "x"), number(l, "y"), number(l, "width"), number(l, "height")))
        .collect();
    assert_eq!(boxes.len(), d.nodes.len());
    for (i, a) in boxes.iter().enumerate() {
        for b in &boxes[i + 1..] {
            let apart = a.0 + a.2 <= b.0 || b.0 + b.2 <= a.0 || a.1 + a.3 <= b.1 || b.1 + b.3 <= a.1;
            assert!(apart, "{a:?} {b:?}");
        }
    }
    assert_eq!(svg.matches("<path d=").count(), d.edges.len());
    assert_eq!(svg.matches("stroke-dasharray").count(), 1);
}
