//! `clinmill graph`: the pipeline as a drawing.

mod svg;

use crate::{
    args::{self, ResultFormat},
    context::Context,
    failure::{Failure, OK},
};
use clinmill_engine::bound::Bound;
use clinmill_spec::pipeline::Scope;
use serde::Serialize;
use std::{collections::BTreeSet, fmt::Write};

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// A source, or a record kind of it.
    Source,
    /// A transform.
    Transform,
    /// A table.
    Table,
}

/// A node of the drawing.
#[derive(Clone, Debug, Serialize)]
struct Node {
    /// Unique: a table may have the name of a transform.
    id: String,
    kind: Kind,
    /// Its name in the pipeline.
    name: String,
    /// What it does: the plugin of a source, the steps of a transform, the key of a table.
    note: String,
}

/// The pipeline as nodes and edges, in reading order.
#[derive(Clone, Debug, Default, Serialize)]
struct Drawing {
    title: String,
    nodes: Vec<Node>,
    /// Indices of the nodes that an edge leads from and to.
    edges: Vec<(usize, usize)>,
}

/// Draws the pipeline.
///
/// # Errors
/// When the pipeline is not valid.
pub async fn run(context: &Context, args: &args::PipelineFile, format: ResultFormat) -> Result<u8, Failure> {
    let bound = context.bind(&args.file).await?;
    let drawing = Drawing::of(&bound);
    context.console.result(&drawing, || match format {
        ResultFormat::Dot => drawing.dot(),
        ResultFormat::Svg => svg::draw(&drawing),
        ResultFormat::Mermaid | ResultFormat::Text | ResultFormat::Json => drawing.mermaid(),
    })?;
    Ok(OK)
}

impl Drawing {
    fn of(bound: &Bound) -> Self {
        let mut drawing = Self {
            title: bound.pipeline.name.value.clone(),
            ..Self::default()
        };
        for source in &bound.sources {
            for kind in 0..source.bound.records().len() {
                drawing.add(Kind::Source, source.relation(kind), source.spec.plugin.value.clone());
            }
        }
        for transform in &bound.pipeline.transforms {
            let Some(node) = bound.graph.node(&transform.name.value) else {
                continue;
            };
            let is_query = node.kind() == "sql";
            let steps = node.steps();
            let mut parts: Vec<&str> = is_query.then_some("sql").into_iter().collect();
            parts.extend(steps.iter().map(|s| s.plugin.as_str()));
            let mut note = parts.join(", ");
            if transform.scope == Scope::Dataset {
                note.push_str(" (dataset)");
            }
            let to = drawing.add(Kind::Transform, node.name().to_owned(), note);
            for read in node.reads() {
                drawing.connect(read, to);
            }
        }
        for table in &bound.pipeline.tables {
            let key: Vec<&str> = table.key.iter().flatten().map(|k| k.value.as_str()).collect();
            let note = if key.is_empty() {
                String::new()
            } else {
                format!("key {}", key.join(", "))
            };
            let to = drawing.add(Kind::Table, table.name.value.clone(), note);
            drawing.connect(&table.from.value, to);
        }
        drawing
    }

    fn add(&mut self, kind: Kind, name: String, note: String) -> usize {
        let prefix = match kind {
            Kind::Source => 's',
            Kind::Transform => 't',
            Kind::Table => 'd',
        };
        let plain: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        self.nodes.push(Node {
            id: format!("{prefix}{}_{plain}", self.nodes.len()),
            kind,
            name,
            note,
        });
        self.nodes.len() - 1
    }

    /// An edge from a source or transform; tables are read by nobody.
    fn connect(&mut self, from: &str, to: usize) {
        let is_read = |n: &Node| n.kind != Kind::Table && n.name == from;
        if let Some(from) = self.nodes.iter().position(is_read) {
            self.edges.push((from, to));
        }
    }

    /// True for a node that no edge touches: a record kind that nothing reads.
    fn is_alone(&self, node: usize) -> bool {
        !self.edges.iter().any(|(from, to)| *from == node || *to == node)
    }

    fn mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        for node in &self.nodes {
            let (open, close) = match node.kind {
                Kind::Source => ("([", "])"),
                Kind::Transform => ("[", "]"),
                Kind::Table => ("[(", ")]"),
            };
            // Mermaid writes characters that would end a text by their number.
            let text = |t: &str| t.replace('"', "#quot;");
            let note = if node.note.is_empty() {
                String::new()
            } else {
                format!("<br/><i>{}</i>", text(&node.note))
            };
            let _ = writeln!(out, "  {}{open}\"{}{note}\"{close}", node.id, text(&node.name));
        }
        for (from, to) in &self.edges {
            let _ = writeln!(out, "  {} --> {}", self.nodes[*from].id, self.nodes[*to].id);
        }
        out
    }

    fn dot(&self) -> String {
        let quoted = |t: &str| t.replace('\\', "\\\\").replace('"', "\\\"");
        let mut out = format!(
            "digraph \"{}\" {{\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n",
            quoted(&self.title)
        );
        for node in &self.nodes {
            let shape = match node.kind {
                Kind::Source => "ellipse",
                Kind::Transform => "box",
                Kind::Table => "cylinder",
            };
            let note = if node.note.is_empty() {
                String::new()
            } else {
                format!("\\n{}", quoted(&node.note))
            };
            let _ = writeln!(
                out,
                "  {} [shape={shape}, label=\"{}{note}\"];",
                node.id,
                quoted(&node.name)
            );
        }
        for (from, to) in &self.edges {
            let _ = writeln!(out, "  {} -> {};", self.nodes[*from].id, self.nodes[*to].id);
        }
        out.push_str("}\n");
        out
    }

    /// The layer of every node: sources first, each other one behind all that it reads, tables last.
    fn layers(&self) -> Vec<usize> {
        let mut layer = vec![0; self.nodes.len()];
        // Nodes stand behind what they read, so that one pass is enough.
        for (to, node) in self.nodes.iter().enumerate() {
            if node.kind != Kind::Source {
                let reads = self.edges.iter().filter(|e| e.1 == to).map(|e| layer[e.0]);
                layer[to] = reads.max().unwrap_or(0) + 1;
            }
        }
        let last = layer.iter().copied().max().unwrap_or(0);
        for (i, node) in self.nodes.iter().enumerate() {
            if node.kind == Kind::Table {
                layer[i] = last;
            }
        }
        layer
    }

    /// The nodes of each layer from top to bottom: each near what it is connected with.
    fn columns(&self) -> Vec<Vec<usize>> {
        let layer = self.layers();
        let used: BTreeSet<usize> = layer.iter().copied().collect();
        let mut columns: Vec<Vec<usize>> = used
            .into_iter()
            .map(|l| (0..self.nodes.len()).filter(|&i| layer[i] == l).collect())
            .collect();
        // Barycentre sweeps: a node goes to the mean height of its neighbours.
        for sweep in 0..8 {
            let mut height = vec![0.0; self.nodes.len()];
            for column in &columns {
                for (y, &node) in column.iter().enumerate() {
                    height[node] = y as f64 - column.len() as f64 / 2.0;
                }
            }
            for column in &mut columns {
                let mean = |node: usize| {
                    let near: Vec<f64> = self
                        .edges
                        .iter()
                        .filter_map(|&(from, to)| match (sweep % 2 == 0, from == node, to == node) {
                            (true, _, true) => Some(height[from]),
                            (false, true, _) => Some(height[to]),
                            _ => None,
                        })
                        .collect();
                    match near.is_empty() {
                        true => height[node],
                        false => near.iter().sum::<f64>() / near.len() as f64,
                    }
                };
                column.sort_by(|&a, &b| mean(a).total_cmp(&mean(b)).then(a.cmp(&b)));
            }
        }
        columns
    }
}

#[cfg(test)]
mod tests;
