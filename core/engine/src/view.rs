//! What a vault holds now, to look at: the session, who is who, what complete exports cover.

use crate::{
    bound::Bound,
    error::EngineError,
    refresh::{Access, Covered, Identity, Secrets, Session, read_links, scopes_of},
};
use clinmill_catalog::{env::Env, index, shards::ShardFilter};
use clinmill_model::Ids;
use std::collections::{BTreeMap, HashMap};

/// Everything that a range needs beside the pipeline, as of the last release.
pub struct View {
    /// Vault and dataset.
    pub session: Session,
    /// Who is who.
    pub identity: Identity,
    /// Complete exports by source.
    pub covered: BTreeMap<String, Covered>,
}

impl View {
    /// Opens vault and dataset of a pipeline; nothing is made.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together.
    pub async fn open(bound: &Bound, env: &Env, secrets: Secrets<'_>) -> Result<Self, EngineError> {
        let session = Session::open(bound, env, secrets, Access::Read).await?;
        let identity = Identity::new(&read_links(&session.vault, &session.state.identity)?);
        let scopes: HashMap<u32, String> = scopes_of(bound, session.ledger.entries().iter());
        let covered = bound
            .sources
            .iter()
            .filter(|s| s.is_complete())
            .map(|s| {
                let mine = session.state.coverage.iter().filter(|c| c.source == s.name());
                (s.name().to_owned(), Covered::new(mine, &scopes))
            })
            .collect();
        Ok(Self {
            session,
            identity,
            covered,
        })
    }

    /// The subjects of all rows of all tables.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn subjects(&self) -> Result<Ids, EngineError> {
        let everything = ShardFilter {
            lo: 0,
            hi: u16::MAX,
            subjects: None,
        };
        let entries = index::read(self.session.vault.root(), &self.session.state.index, &everything)?;
        // Rows without a subject stand under zero.
        Ok(entries
            .into_iter()
            .map(|e| e.subject)
            .filter(|id| *id != [0; 16])
            .collect())
    }
}
