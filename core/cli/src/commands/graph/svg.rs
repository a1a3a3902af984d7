//! A drawing as SVG: layers from left to right, curves between them. No script, no external file.

use super::{Drawing, Kind, Node};
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

/// Heights and gaps in pixels.
const BOX: f64 = 44.0;
const GAP: f64 = 18.0;
const BETWEEN: f64 = 70.0;
const MARGIN: f64 = 20.0;
/// The width of a character of 13 pixels, about; wide characters count twice.
const CHARACTER: f64 = 7.6;
/// Notes longer than this many characters are cut.
const NOTE: usize = 40;

/// The drawing as an SVG document.
pub fn draw(drawing: &Drawing) -> String {
    let columns = drawing.columns();
    let tallest = columns.iter().map(Vec::len).max().unwrap_or(0);
    let height = MARGIN * 2.0 + tallest as f64 * (BOX + GAP) - if tallest > 0 { GAP } else { 0.0 };
    let mut place = vec![(0.0, 0.0, 0.0); drawing.nodes.len()];
    let mut x = MARGIN;
    for column in &columns {
        let width = column.iter().map(|&n| width(&drawing.nodes[n])).fold(0.0, f64::max);
        let used = column.len() as f64 * (BOX + GAP) - GAP;
        let top = (height - used) / 2.0;
        for (i, &node) in column.iter().enumerate() {
            place[node] = (x, top + i as f64 * (BOX + GAP), width);
        }
        x += width + BETWEEN;
    }
    let total = (x - BETWEEN + MARGIN).max(MARGIN * 2.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {total:.0} {height:.0}\" role=\"img\">\n  <title>{}</title>\n  <style>text {{ font: 13px sans-serif; fill: #1b1b1b }} .note {{ font-size: 11px; fill: #5a5a5a }} path {{ fill: none; stroke: #8a8a8a; stroke-width: 1.4 }}</style>\n  <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        escaped(&drawing.title)
    );
    for &(from, to) in &drawing.edges {
        let ((x1, y1, w1), (x2, y2, _)) = (place[from], place[to]);
        let (x1, y1, y2) = (x1 + w1, y1 + BOX / 2.0, y2 + BOX / 2.0);
        let bend = (x2 - x1) / 2.0;
        let _ = writeln!(
            out,
            "  <path d=\"M {x1:.1} {y1:.1} C {:.1} {y1:.1}, {:.1} {y2:.1}, {x2:.1} {y2:.1}\"/>",
            x1 + bend,
            x2 - bend
        );
    }
    for (i, node) in drawing.nodes.iter().enumerate() {
        let (x, y, w) = place[i];
        let (fill, stroke, radius) = match node.kind {
            Kind::Source => ("#e8f1fb", "#3b76b5", BOX / 2.0),
            Kind::Transform => ("#f6f3e7", "#a08a3a", 5.0),
            Kind::Table => ("#e9f5ea", "#3f8a4a", 5.0),
        };
        // What nothing reads is drawn with a broken line.
        let dash = if drawing.is_alone(i) {
            " stroke-dasharray=\"4 3\""
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "  <rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{BOX}\" rx=\"{radius}\" fill=\"{fill}\" stroke=\"{stroke}\"{dash}/>"
        );
        let middle = x + w / 2.0;
        let line = if node.note.is_empty() { y + 27.0 } else { y + 19.0 };
        let _ = writeln!(
            out,
            "  <text x=\"{middle:.1}\" y=\"{line:.1}\" text-anchor=\"middle\">{}</text>",
            escaped(&node.name)
        );
        if !node.note.is_empty() {
            let _ = writeln!(
                out,
                "  <text class=\"note\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                y + 35.0,
                escaped(&cut(&node.note))
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

fn width(node: &Node) -> f64 {
    let characters = node.name.width().max(cut(&node.note).width());
    characters as f64 * CHARACTER + 30.0
}

fn cut(note: &str) -> String {
    let mut short: String = note.chars().take(NOTE).collect();
    if note.chars().nth(NOTE).is_some() {
        short.push('…');
    }
    short
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
