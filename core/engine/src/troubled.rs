//! Trouble: which parts of a pipeline file have errors of their own, or read what has. What else is found in these may follow
//! from the errors that are there; what is found in the others is new.

use crate::sql;
use clinmill_model::Place;
use clinmill_spec::{
    SourceFile,
    pipeline::{Pipeline, Span, TransformInput},
};

/// Sources, transforms, tables and gates, each from its name to the next one's.
pub struct Troubled {
    /// Where each begins, in ascending order, and whether it is troubled.
    parts: Vec<(usize, bool)>,
    /// An error is said of no place: it may be about all.
    everywhere: bool,
}

impl Troubled {
    /// By the places of errors; `None` of an error without one.
    pub fn of(pipeline: &Pipeline, source: &SourceFile, errors: &[Option<Place>]) -> Self {
        let start = |span: Span| source.place(span).start;
        let sources = pipeline.sources.iter().map(|s| s.name.span);
        let transforms = pipeline.transforms.iter().map(|t| t.name.span);
        let tables = pipeline.tables.iter().map(|t| t.name.span);
        let gates = pipeline.gates.iter().map(|g| g.name.span);
        let all = sources.chain(transforms).chain(tables).chain(gates);
        let mut starts: Vec<usize> = all.map(start).collect();
        starts.sort_unstable();
        starts.dedup();
        let mut out = Self {
            parts: starts.into_iter().map(|start| (start, false)).collect(),
            everywhere: errors.contains(&None),
        };
        // What begins a line is a key of the file, and no part of what stands above it.
        for error in errors.iter().flatten().filter(|error| error.column > 1) {
            out.trouble(error.start);
        }
        // Relations that are known to be well, in an order in which each comes after what it reads.
        let mut well: Vec<&str> = Vec::new();
        for part in &pipeline.sources {
            if !out.at(start(part.name.span)) {
                well.push(&part.name.value);
            }
        }
        let is_well = |well: &[&str], relation: &str| {
            let part = relation.split_once('.').map_or(relation, |(source, _)| source);
            well.contains(&relation) || well.contains(&part)
        };
        for part in &pipeline.transforms {
            let reads = match &part.input {
                TransformInput::From(input) => vec![input.value.clone()],
                TransformInput::Union(inputs) => inputs.iter().map(|input| input.value.clone()).collect(),
                TransformInput::Sql(text) => sql::tables(&text.value).unwrap_or_default(),
            };
            if !reads.iter().all(|relation| is_well(&well, relation)) {
                out.trouble(start(part.name.span));
            }
            if !out.at(start(part.name.span)) {
                well.push(&part.name.value);
            }
        }
        for part in &pipeline.tables {
            if !is_well(&well, &part.from.value) {
                out.trouble(start(part.name.span));
            }
        }
        out
    }

    /// True for a place of the file that is in trouble.
    pub fn at(&self, place: usize) -> bool {
        self.everywhere || self.part(place).is_some_and(|part| self.parts[part].1)
    }

    /// True where any part is in trouble.
    pub fn any(&self) -> bool {
        self.everywhere || self.parts.iter().any(|(_, troubled)| *troubled)
    }

    fn trouble(&mut self, place: usize) {
        if let Some(part) = self.part(place) {
            self.parts[part].1 = true;
        }
    }

    fn part(&self, place: usize) -> Option<usize> {
        self.parts.partition_point(|(start, _)| *start <= place).checked_sub(1)
    }
}
