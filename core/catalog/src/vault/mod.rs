//! The vault: the folder that never leaves the hospital. Inputs, the ledger of what was read, states, quarantine, the
//! key, and what made every release. It lives on local files; whatever a commit relies on is synchronized before.

mod archive;
mod as_of;
mod discover;
mod error;
pub mod fs;
mod gc;
mod glob;
mod hash_cache;
mod inputs;
mod key;
mod lease;
mod ledger;
mod pending;
mod quarantine;
mod seekable;
mod segment;
mod state;
#[cfg(test)]
mod testing;

pub use archive::{Archive, ArchiveKind, Runs};
pub use as_of::{AsOfPattern, TimeKind, normalize as normalize_as_of};
pub use discover::{Discovered, Finding, FindingReason, FoundFile, Stamp, glob};
pub use error::{KeyError, PUT_BACK, RESTORE, VaultError};
pub use fs::atomic_write;
pub use gc::Removed;
pub use glob::{Captures, Pattern};
pub use hash_cache::HashCache;
pub use inputs::{Inputs, Kept, KeptInput};
pub use key::{VaultKey, base32, base32_ascii, base32_decode};
pub use lease::Lease;
pub use ledger::{Ledger, LedgerEntry, LedgerLine, LedgerStore, RecordCounts, Sighting};
pub use pending::{Found, Order, Pending, Plan, Reads, pending};
pub use quarantine::{INGEST, Quarantine, QuarantineFilter, QuarantineRecord};
pub use seekable::{FRAME_BYTES, SeekableReader, SeekableWriter};
pub use segment::SegmentWriter;
pub use state::{Coverage, PipelineUse, States, VaultState};

use crate::env::Env;
use clinmill_sdk::regular;
use error::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The layout of a vault that this clinmill reads and makes. 2: ids of shards are two columns.
const FORMAT_VERSION: u32 = 2;

/// What a new vault holds beside `vault.json`.
const FOLDERS: [&str; 12] = [
    "inputs",
    "inputs/.new",
    "events",
    "ledger",
    "index",
    "staging",
    "quarantine",
    "identity",
    "pipelines",
    "runs",
    "state",
    "cache",
];

/// A vault on local files.
#[derive(Clone, Debug)]
pub struct Vault {
    root: PathBuf,
    about: About,
    inputs: Inputs,
}

/// `vault.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    id: String,
    created: String,
    format_version: u32,
}

impl Vault {
    /// Opens a vault.
    ///
    /// # Errors
    /// [`VaultError::NoVault`], [`VaultError::Damaged`], [`VaultError::Version`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let text = match regular::read(&root.join("vault.json")) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(VaultError::NoVault);
            }
            other => other.vault("read", "vault.json")?,
        };
        let about: About = serde_json::from_slice(&text).map_err(|e| VaultError::Damaged {
            what: "vault.json".into(),
            reason: format!("line {}, column {}", e.line(), e.column()),
        })?;
        if about.format_version != FORMAT_VERSION {
            let what = "vault.json".to_owned();
            return Err(VaultError::Version {
                what,
                found: about.format_version,
                known: FORMAT_VERSION,
            });
        }
        // A copy of a vault may have lost its empty folders.
        make_folders(&root)?;
        let inputs = Inputs::new(&root);
        Ok(Self { root, about, inputs })
    }

    /// Makes a new vault in a folder that holds none; only its owner may enter it.
    ///
    /// # Errors
    /// [`VaultError::VaultExists`]; [`VaultError::LeaseHeld`] when another process makes it just now; what the system
    /// says.
    pub fn create(root: impl Into<PathBuf>, env: &Env) -> Result<Self> {
        let root = root.into();
        make_folders(&root)?;
        // Of two that begin at once only one may give the vault its id: the other would go on under one that is lost.
        let _lease = Lease::take(&root.join("lease"), env.clock.now())?;
        if root.join("vault.json").exists() {
            return Err(VaultError::VaultExists);
        }
        let about = About {
            id: env.uuid(),
            created: env.clock.now().to_string(),
            format_version: FORMAT_VERSION,
        };
        let text = serde_json::to_vec_pretty(&about)
            .map_err(io::Error::from)
            .vault("write", "vault.json")?;
        atomic_write(&root.join("vault.json"), &text).vault("write", "vault.json")?;
        fs::sync_parent(&root).vault("synchronize", ".")?;
        let inputs = Inputs::new(&root);
        Ok(Self { root, about, inputs })
    }

    /// The vault's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The vault's id, a UUID; release manifests name it.
    pub fn id(&self) -> &str {
        &self.about.id
    }

    /// When it was made, RFC 3339.
    pub fn created(&self) -> &str {
        &self.about.created
    }

    /// Where files are made before they get their names.
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// The vault's own key file.
    ///
    /// # Errors
    /// [`KeyError`]s within [`VaultError::Key`].
    pub fn key(&self) -> Result<VaultKey> {
        VaultKey::read(&self.root.join("key"))
    }

    /// The vault's own key, made if it is missing and `may_make` says that neither the vault nor its dataset ever had
    /// one: the vault has no states and the dataset no releases. The flag beside it is true when it was made.
    ///
    /// # Errors
    /// [`KeyError::NotNew`] when it is missing and may not be made.
    pub fn key_auto(&self, may_make: bool) -> Result<(VaultKey, bool)> {
        match self.key() {
            Err(VaultError::Key(KeyError::Missing)) if may_make && self.is_new()? => {
                Ok((VaultKey::create(&self.root.join("key"))?, true))
            }
            Err(VaultError::Key(KeyError::Missing)) => Err(KeyError::NotNew.into()),
            other => other.map(|key| (key, false)),
        }
    }

    /// Takes the vault for this process alone, and clears what one that died left half done.
    ///
    /// # Errors
    /// [`VaultError::LeaseHeld`].
    pub fn lease(&self, now: jiff::Timestamp) -> Result<Lease> {
        let lease = Lease::take(&self.root.join("lease"), now)?;
        self.inputs().clear_waiting()?;
        Ok(lease)
    }

    /// Kept inputs.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// Hashes of files in the inboxes.
    pub fn hash_cache(&self) -> HashCache {
        HashCache::load(&self.root)
    }

    /// The ledger.
    pub fn ledger(&self) -> LedgerStore {
        LedgerStore::new(&self.root)
    }

    /// Rejected records.
    pub fn quarantine(&self) -> Quarantine {
        Quarantine::new(&self.root)
    }

    /// The vault's states.
    pub fn states(&self) -> States {
        States::new(&self.root)
    }

    /// Pipelines, mappings and plugins that made releases.
    pub fn archive(&self) -> Archive {
        Archive::new(&self.root)
    }

    /// Reports of runs.
    pub fn runs(&self) -> Runs {
        Runs::new(&self.root)
    }

    /// True before the first state was stored.
    fn is_new(&self) -> Result<bool> {
        let mut states = std::fs::read_dir(self.root.join("state")).vault("list", "state")?;
        Ok(states.next().is_none())
    }
}

fn make_folders(root: &Path) -> Result<()> {
    for folder in FOLDERS {
        let path = root.join(folder);
        if !path.is_dir() {
            fs::create_private_dir(&path).vault("create", folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn makes_and_opens() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("vaults/carotid");
        assert!(matches!(Vault::open(&root), Err(VaultError::NoVault)));
        let made = Vault::create(&root, &Env::seeded(1)).unwrap();
        let opened = Vault::open(&root).unwrap();
        assert_eq!((opened.id(), opened.created()), (made.id(), made.created()));
        assert!(matches!(
            Vault::create(&root, &Env::seeded(2)),
            Err(VaultError::VaultExists)
        ));
        let held = opened.lease(Env::seeded(3).clock.now()).unwrap();
        let second = Vault::create(&root, &Env::seeded(4));
        assert!(
            matches!(second, Err(VaultError::LeaseHeld { .. })),
            "two may not make it at once"
        );
        drop(held);
        assert_eq!(
            std::fs::metadata(root.join("inputs")).unwrap().permissions().mode() & 0o777,
            0o700
        );

        let text = std::fs::read_to_string(root.join("vault.json")).unwrap();
        std::fs::write(
            root.join("vault.json"),
            text.replace("\"format_version\": 2", "\"format_version\": 3"),
        )
        .unwrap();
        assert!(matches!(
            Vault::open(&root),
            Err(VaultError::Version { found: 3, known: 2, .. })
        ));
        std::fs::write(
            root.join("vault.json"),
            text.replace("\"format_version\": 2", "\"format_version\": 1"),
        )
        .unwrap();
        let older = Vault::open(&root).unwrap_err().to_string();
        assert!(older.contains("begin with a new vault and dataset"), "{older}");
        std::fs::write(root.join("vault.json"), "{").unwrap();
        assert!(matches!(Vault::open(&root), Err(VaultError::Damaged { .. })));
    }

    #[test]
    fn a_key_is_made_for_what_is_new_only() {
        let (_dir, vault) = testing::vault();
        let not_new = |vault: &Vault, may| matches!(vault.key_auto(may), Err(VaultError::Key(KeyError::NotNew)));
        assert!(not_new(&vault, false));
        let (key, made) = vault.key_auto(true).unwrap();
        assert!(made);
        let (again, made) = vault.key_auto(false).unwrap();
        assert_eq!((again.key_check(), made), (key.key_check(), false));
        vault.states().store(&VaultState::new(key.key_check())).unwrap();
        std::fs::remove_file(vault.root().join("key")).unwrap();
        assert!(not_new(&vault, true), "a vault with a state had a key");
    }
}
