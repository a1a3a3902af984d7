//! Versions of records that are compared as text and are not in order as text: told once for each source.

use super::{EngineState, Warning, read::Ingested};
use crate::{
    bound::{Bound, SourceSpec},
    ingest::{Disorder, Versions},
    notices::UNCOMPARABLE_VERSIONS,
};
use clinmill_model::Digest;
use clinmill_spec::SourceFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the versions of a source looked like.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SeenVersions {
    /// The parse generation that gave them.
    pub parse_id: Digest,
    /// How they are written.
    pub versions: Versions,
}

impl Ingested {
    /// What the versions of each source look like, these and those of earlier refreshes.
    pub(super) fn versions(&self, bound: &Bound, before: &EngineState) -> BTreeMap<String, SeenVersions> {
        let of = |source: &SourceSpec| {
            let former = before.versions.get(source.name());
            let former = former.filter(|seen| seen.parse_id == source.parse_id);
            let mut versions = former.map(|seen| seen.versions).unwrap_or_default();
            for (_, report) in self.inputs().filter(|(entry, _)| entry.source == source.name()) {
                versions.merge(&report.versions);
            }
            SeenVersions {
                parse_id: source.parse_id,
                versions,
            }
        };
        let sources = bound.sources.iter();
        sources.map(|source| (source.name().to_owned(), of(source))).collect()
    }

    /// Says of which sources the versions do not compare as text, with the place where the source names them.
    pub(super) fn uncomparable(&self, bound: &Bound, before: &EngineState) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let seen = self.versions(bound, before);
        let has_news = |source: &&SourceSpec| self.inputs().any(|(entry, _)| entry.source == source.name());
        for source in bound.sources.iter().filter(has_news) {
            let Some(SeenVersions { versions: seen, .. }) = seen.get(source.name()) else {
                continue;
            };
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
