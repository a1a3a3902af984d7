//! What a refresh rejected that published nothing: its quarantine is named in its staging folder until the next refresh.

use super::session::Session;
use crate::error::EngineError;
use clinmill_model::Digest;
use std::path::Path;

/// The file that names the segments.
const REJECTED: &str = "rejected.json";

/// Names the segments of what a refresh rejected in its staging folder.
pub(super) fn tell(staging: &Path, segments: &[Digest]) -> Result<(), EngineError> {
    let text = serde_json::to_vec(segments).map_err(|e| EngineError::internal(e.to_string()))?;
    let path = staging.join(REJECTED);
    std::fs::write(&path, text).map_err(|e| EngineError::io("write", &path, e))
}

/// Removes everything else that a refresh staged: the disk may be full of it.
pub(super) fn clear(staging: &Path) {
    for entry in std::fs::read_dir(staging).into_iter().flatten().flatten() {
        let path = entry.path();
        if !path.ends_with(REJECTED) {
            // The next refresh removes what stays now.
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
        }
    }
}

impl Session {
    /// The segments of the quarantine, oldest first; last those of a refresh that published nothing, if it was the last.
    ///
    /// # Errors
    /// When the staging area cannot be read.
    pub fn quarantine(&self) -> Result<Vec<Digest>, EngineError> {
        let mut segments = self.state.quarantine.clone();
        let root = self.vault.staging();
        for run in std::fs::read_dir(&root)
            .map_err(|e| EngineError::io("read", &root, e))?
            .flatten()
        {
            // One that is written at this moment is told when it is there.
            let text = std::fs::read(run.path().join(REJECTED)).unwrap_or_default();
            let named: Vec<Digest> = serde_json::from_slice(&text).unwrap_or_default();
            segments.extend(named.into_iter().filter(|s| !self.state.quarantine.contains(s)));
        }
        Ok(segments)
    }
}
