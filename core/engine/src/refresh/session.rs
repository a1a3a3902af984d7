//! What a refresh stands on: the vault with its key, lease and state, and the dataset with its last release. Vault and
//! dataset know each other; what does not belong together is refused here.

use super::EngineState;
use crate::{bound::Bound, error::EngineError, graph::transform_of};
use clinmill_catalog::{
    dataset::{Dataset, Release},
    env::Env,
    vault::{KeyError, Lease, Ledger, QuarantineRecord, Vault, VaultError, VaultKey, VaultState},
};
use clinmill_model::Digest;
use clinmill_spec::pipeline::KeyRef;
use std::path::{Path, PathBuf};

/// An open vault and dataset.
pub struct Session {
    /// The vault.
    pub vault: Vault,
    /// Its key.
    pub key: VaultKey,
    /// True when the key was made just now.
    pub key_is_new: bool,
    /// The dataset.
    pub dataset: Dataset,
    /// Its last release.
    pub last: Option<Release>,
    /// The vault's state at that release.
    pub state: VaultState,
    /// Digest of that state; none before the first release.
    pub state_digest: Option<Digest>,
    /// Every input ever read.
    pub ledger: Ledger,
    /// Held while this lives; none for read-only sessions.
    pub lease: Option<Lease>,
}

/// What a session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Look only: nothing is made.
    Read,
    /// Run a refresh: the vault is made if it is new, and held for this process alone.
    Refresh,
}

/// The folder behind a `file:` URL, relative to the pipeline's folder.
pub fn folder(url: &str, dir: &Path) -> PathBuf {
    let path = url.strip_prefix("file:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    dir.join(path)
}

impl Session {
    /// Opens vault and dataset of a pipeline.
    ///
    /// # Errors
    /// When they do not belong together, the lease is held, or something cannot be read.
    pub async fn open(
        bound: &Bound,
        env: &Env,
        secrets: &(dyn Fn(&str) -> Option<Vec<u8>> + Sync),
        access: Access,
    ) -> Result<Self, EngineError> {
        let dataset_dir = folder(&bound.pipeline.dataset.value, &bound.dir);
        let dataset = Dataset::open(env.clone(), &format!("file:{}", dataset_dir.display()))?;
        let last = dataset.latest().await?;
        let root = folder(&bound.pipeline.vault.url.value, &bound.dir);
        let vault = match Vault::open(&root) {
            Ok(vault) => vault,
            Err(VaultError::NoVault) => {
                if let Some(release) = &last {
                    return Err(another_vault(&root, release, "there is no vault"));
                }
                if access == Access::Read {
                    return Err(EngineError::NotFound(format!(
                        "there is no vault at {}: run the pipeline first",
                        root.display()
                    )));
                }
                match Vault::create(&root, env) {
                    // Another process made it meanwhile.
                    Err(VaultError::VaultExists) => Vault::open(&root)?,
                    made => made.map_err(lease_held)?,
                }
            }
            Err(error) => return Err(error.into()),
        };
        let lease = match access {
            Access::Read => None,
            Access::Refresh => Some(vault.lease(env.clock.now()).map_err(lease_held)?),
        };
        let last = match lease {
            // Whoever held the lease until now may have made a release.
            Some(_) => dataset.latest().await?,
            None => last,
        };
        if let Some(release) = &last
            && release.manifest.vault.id != vault.id()
        {
            return Err(another_vault(&root, release, "the vault is another one"));
        }
        if last.is_none() && !vault.runs().list()?.is_empty() {
            return Err(EngineError::Refused {
                reason: format!(
                    "the vault at {} has made releases, but there is none at {}: it belongs to another dataset",
                    root.display(),
                    dataset_dir.display()
                ),
                advice:
                    "point `dataset.url` (or DATASET_URL) at the dataset that this vault made; for another dataset \
                         use another vault (`vault.url` or CLINMILL_HOME)"
                        .to_owned(),
            });
        }
        if let (Some(release), Some(made)) = (&last, newest_made(&vault)?)
            && made > release.manifest.release
        {
            return Err(EngineError::Refused {
                reason: format!(
                    "the vault at {} has made release {made}, but the newest at {} is release {} (a backup?)",
                    root.display(),
                    dataset_dir.display(),
                    release.manifest.release
                ),
                advice: format!(
                    "restore the dataset up to release {made}: another release {} would be made, and its readers could not \
                     go on",
                    release.manifest.release + 1
                ),
            });
        }
        let (key, key_is_new) = open_key(bound, &vault, last.is_none() && access == Access::Refresh, secrets)?;
        let (state, state_digest) = match &last {
            None => (VaultState::new(key.key_check()), None),
            Some(release) => {
                if release.manifest.vault.key_check != key.key_check() {
                    return Err(EngineError::Refused {
                        reason: format!(
                            "the key of the vault at {} is not the one that made release {}",
                            root.display(),
                            release.manifest.release
                        ),
                        advice:
                            "restore the key that belongs to this vault; another key would give every subject and row \
                                 a new identity"
                                .to_owned(),
                    });
                }
                let digest: Digest = release
                    .manifest
                    .vault
                    .state
                    .parse()
                    .map_err(|_| EngineError::internal("the manifest names no vault state".to_owned()))?;
                match vault.states().load(&digest) {
                    Ok(state) => (state, Some(digest)),
                    Err(VaultError::Missing { .. }) => {
                        return Err(another_vault(
                            &root,
                            release,
                            "the vault does not know the last release (a backup?)",
                        ));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let ledger = vault.ledger().load(&state.ledger)?;
        Ok(Self {
            vault,
            key,
            key_is_new,
            dataset,
            last,
            state,
            state_digest,
            ledger,
            lease,
        })
    }

    /// The number of the last release, 0 before the first.
    pub fn release(&self) -> u64 {
        self.last.as_ref().map_or(0, |r| r.manifest.release)
    }

    /// Tells what is still rejected from what was solved since.
    pub fn still_rejected(&self) -> impl Fn(&QuarantineRecord) -> bool + '_ {
        let judged = EngineState::of(&self.state).judged;
        move |record| {
            let since = judged.get(transform_of(&record.stage));
            record.holds(&self.ledger) && since.is_none_or(|since| record.release >= *since)
        }
    }
}

/// The newest release that the vault says it made. A report that cannot be read says nothing.
fn newest_made(vault: &Vault) -> Result<Option<u64>, EngineError> {
    #[derive(serde::Deserialize)]
    struct Made {
        release: u64,
    }
    let runs = vault.runs();
    let made = |id: &String| runs.read::<Made>(id).ok().flatten().map(|made| made.release);
    Ok(runs.list()?.iter().filter_map(made).max())
}

fn lease_held(error: VaultError) -> EngineError {
    match error {
        VaultError::LeaseHeld { .. } => EngineError::LeaseHeld(error.to_string()),
        error => error.into(),
    }
}

fn another_vault(root: &Path, release: &Release, what: &str) -> EngineError {
    EngineError::Refused {
        reason: format!(
            "{what} at {}, but the dataset has release {} made by vault {}",
            root.display(),
            release.manifest.release,
            release.manifest.vault.id
        ),
        advice:
            "point `vault.url` (or CLINMILL_HOME) at the vault that made this dataset, or restore it from a backup \
                 that is not behind; to start anew, point both `vault.url` and `dataset.url` at empty folders"
                .to_owned(),
    }
}

fn open_key(
    bound: &Bound,
    vault: &Vault,
    may_make: bool,
    secrets: &(dyn Fn(&str) -> Option<Vec<u8>> + Sync),
) -> Result<(VaultKey, bool), EngineError> {
    match &bound.pipeline.vault.key {
        KeyRef::Auto => vault.key_auto(may_make).map_err(|error| match error {
            VaultError::Key(KeyError::NotNew) => EngineError::Refused {
                reason: "the vault has no key, but it or its dataset was used before".to_owned(),
                advice:
                    "restore the file `key` of the vault; a new key would give every subject and row a new identity"
                        .to_owned(),
            },
            error => error.into(),
        }),
        KeyRef::Secret(name) => {
            let Some(secret) = secrets(&name.value) else {
                return Err(EngineError::Refused {
                    reason: format!("the secret {:?} is not set", name.value),
                    advice: format!(
                        "put 32 random bytes as hex into the environment variable {}, or their file's path into {}_FILE",
                        name.value.to_uppercase(),
                        name.value.to_uppercase()
                    ),
                });
            };
            let key = VaultKey::from_secret(&secret).map_err(VaultError::from)?;
            Ok((key, false))
        }
    }
}
