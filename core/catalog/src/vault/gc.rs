//! Removes what a refresh that did not commit left behind.

use super::{
    Lease, Vault,
    error::{Context, Result},
};
use clinmill_model::Digest;
use std::{collections::HashSet, fs, io, path::Path};

/// The folders whose files count only when a state names them.
const NAMED: [&str; 3] = ["events", "index", "identity"];

/// What garbage collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Vault {
    /// Removes everything in `staging`, and the files of `events`, `index` and `identity` that none of these states
    /// names. The lease proves that no refresh is at work.
    ///
    /// # Errors
    /// A state that cannot be read: then nothing is removed. What the system says.
    pub fn gc(&self, _lease: &Lease, keep: &[Digest]) -> Result<Removed> {
        let mut named = HashSet::new();
        for digest in keep {
            named.extend(self.states().load(digest)?.files());
        }
        let mut removed = Removed::default();
        sweep(self.root(), "staging", &HashSet::new(), &mut removed)?;
        for folder in NAMED {
            sweep(self.root(), folder, &named, &mut removed)?;
        }
        Ok(removed)
    }
}

/// Removes the files below `root/relative` that are not named, and the folders that become empty below it.
fn sweep(root: &Path, relative: &str, named: &HashSet<String>, removed: &mut Removed) -> Result<()> {
    let entries = match fs::read_dir(root.join(relative)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.vault("list", relative)?,
    };
    for entry in entries {
        let entry = entry.vault("list", relative)?;
        // A name that is not UTF-8 is not one that a state could name.
        let name = format!("{relative}/{}", entry.file_name().to_string_lossy());
        let metadata = entry.metadata().vault("read", &name)?;
        if metadata.is_dir() {
            sweep(root, &name, named, removed)?;
            // Fails when something is left in it, which is what should be.
            let _ = fs::remove_dir(entry.path());
        } else if !named.contains(&name) {
            fs::remove_file(entry.path()).vault("remove", &name)?;
            removed.files += 1;
            removed.bytes += metadata.len();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{VaultError, VaultState, testing::vault};

    #[test]
    fn keeps_what_a_state_names() {
        let (_dir, vault) = vault();
        let put = |name: &str| {
            let path = vault.root().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"12345").unwrap();
        };
        let all = [
            "events/lis/a.parquet",
            "events/adt/b.parquet",
            "identity/m",
            "identity/n",
            "staging/t/x",
            "inputs/i",
        ];
        all.into_iter().for_each(put);
        let mut state = VaultState::new("");
        state.identity = vec!["identity/m".into(), "events/lis/a.parquet".into()];
        let digest = vault.states().store(&state).unwrap();
        let lease = vault.lease(jiff::Timestamp::UNIX_EPOCH).unwrap();
        let missing = Digest::of(b"missing");
        assert!(matches!(
            vault.gc(&lease, &[digest, missing]),
            Err(VaultError::Missing { .. })
        ));
        assert!(
            vault.root().join("staging/t/x").exists(),
            "nothing goes while a state cannot be read"
        );
        assert_eq!(vault.gc(&lease, &[digest]).unwrap(), Removed { files: 3, bytes: 15 });
        let left: Vec<_> = all.into_iter().filter(|n| vault.root().join(n).exists()).collect();
        assert_eq!(left, ["events/lis/a.parquet", "identity/m", "inputs/i"]);
        assert!(!vault.root().join("events/adt").exists() && vault.root().join("staging").exists());
    }
}
