//! Versions of records that are compared as text and are not in order as text: told once for each source.

use super::{Warning, read::Ingested};
use crate::{
    bound::Bound,
    ingest::{Disorder, Versions},
    notices::UNCOMPARABLE_VERSIONS,
};
use clinmill_spec::SourceFile;

impl Ingested {
    /// Says of which sources the versions do not compare as text, with the place where the source names them.
    pub(super) fn uncomparable(&self, bound: &Bound) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for source in &bound.sources {
            let mut seen = Versions::default();
            for (_, report) in self.inputs().filter(|(entry, _)| entry.source == source.name()) {
                seen.merge(&report.versions);
            }
            let what = match seen.disorder() {
                None => continue,
                Some(Disorder::Number) => {
                    "are numbers of different lengths, and 9 would count as later than 10: let the export write leading \
                     zeros, or name a time"
                }
                Some(Disorder::Date) => {
                    "are dates whose text is not in the order of time (no leading zeros, or the day first): say how they \
                     are written, such as `version: { column: reported_at, format: \"d/m/yyyy\" }` of a table"
                }
            };
            let file = SourceFile::new(bound.file.display().to_string(), bound.text.as_str());
            let place = file.place(source.spec.options.locate("/version"));
            let (line, column) = (place.line, place.column);
            let message = format!(
                "source {}: its versions are compared as text, but {what}\n  --> {}:{line}:{column}",
                source.name(),
                file.name()
            );
            warnings.push(Warning::new(UNCOMPARABLE_VERSIONS, message));
        }
        warnings
    }
}
