//! From a file to plugins: digest and header first, then the library, then its table.

use crate::{
    file::{self, FileError, Header},
    limits::{Account, Limits},
    lock::Lock,
    native::{Native, NativeSink, NativeSource, NativeTransform},
};
use clinmill_abi::{
    MAGIC, SYMBOL, TARGET_TRIPLE,
    tables::{Component, Error, Host, Plugin},
};
use clinmill_model::Digest;
use clinmill_sdk::{Descriptor, Kind, PluginError, Registry, regular};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::fd::{AsRawFd as _, FromRawFd as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Why a plugin was not loaded. Its code is stable.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It stands outside the folders that plugins may come from.
    #[error("the plugin is outside the folders that plugins may come from")]
    Root,
    /// It cannot be read.
    #[error("the plugin cannot be read: {0}")]
    Read(io::Error),
    /// It is no plugin of this host.
    #[error("the file is no plugin of this host: {0}")]
    File(#[from] FileError),
    /// `plugins.lock` does not name it.
    #[error("the plugin {0:?} does not stand in plugins.lock; after a review: clinmill plugin lock")]
    NotLocked(String),
    /// `plugins.lock` names another version.
    #[error("the plugin {name:?} has version {found}, plugins.lock says {locked}")]
    Version {
        /// The plugin.
        name: String,
        /// What the file says.
        found: String,
        /// What the lock says.
        locked: String,
    },
    /// `plugins.lock` has no digest for this target.
    #[error("plugins.lock has no digest of the plugin {0:?} for {TARGET_TRIPLE}")]
    NoDigest(String),
    /// The file is not the one that was locked.
    #[error(
        "the plugin {name:?} is not the file that was locked: its SHA-256 begins with {found}, the lock's with {locked}"
    )]
    Digest {
        /// The plugin.
        name: String,
        /// Of the file.
        found: String,
        /// Of the lock.
        locked: String,
    },
    /// The system does not load it.
    #[error("the plugin {0:?} cannot be loaded: a library or symbol that it needs is missing")]
    Open(String),
    /// Its table is not what the file said.
    #[error("the plugin {name:?} has a wrong table: {what}")]
    Table {
        /// The plugin.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// It does not start or describe itself.
    #[error("{0}")]
    Plugin(#[from] PluginError),
    /// The name is taken.
    #[error("the plugin {plugin:?} has a {kind} of the name {name:?}: {holder} has it")]
    Taken {
        /// The plugin.
        plugin: String,
        /// Source, transform or sink.
        kind: &'static str,
        /// The name.
        name: String,
        /// Who has it.
        holder: &'static str,
    },
}

/// Who has a name in a registry, in words.
pub fn holder(registry: &Registry, name: &str) -> Option<&'static str> {
    let kinds = [Kind::Source, Kind::Transform, Kind::Sink];
    let mut all = kinds.into_iter().flat_map(|kind| registry.descriptors(kind));
    let found = all.find(|descriptor| descriptor.name == name)?;
    Some(match found.build {
        None => "a built-in plugin",
        Some(_) => "another plugin",
    })
}

impl LoadError {
    /// A stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Root => "PLUGIN_ROOT",
            Self::Read(_) => "PLUGIN_READ",
            Self::File(FileError::NotALibrary) => "PLUGIN_NOT_A_LIBRARY",
            Self::File(FileError::Damaged | FileError::Text) => "PLUGIN_DAMAGED",
            Self::File(FileError::NoSymbol) => "PLUGIN_SYMBOL",
            Self::File(FileError::Magic) => "PLUGIN_MAGIC",
            Self::File(FileError::Major(_)) => "PLUGIN_MAJOR",
            Self::File(FileError::Triple(_)) => "PLUGIN_TRIPLE",
            Self::NotLocked(_) => "PLUGIN_NOT_LOCKED",
            Self::Version { .. } => "PLUGIN_VERSION",
            Self::NoDigest(_) => "PLUGIN_NO_DIGEST",
            Self::Digest { .. } => "PLUGIN_DIGEST",
            Self::Open(_) => "PLUGIN_OPEN",
            Self::Table { .. } => "PLUGIN_TABLE",
            Self::Plugin(error) => &error.code,
            Self::Taken { .. } => "PLUGIN_NAME_TAKEN",
        }
    }
}

/// Loads plugins from some folders, by a lock.
pub struct Loader {
    roots: Vec<PathBuf>,
    lock: Lock,
    limits: Limits,
}

impl Loader {
    /// A loader of what stands in `lock`, from files within `roots`.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>, lock: Lock, limits: Limits) -> Self {
        Self {
            roots: roots.into_iter().collect(),
            lock,
            limits,
        }
    }

    /// Loads a plugin. It is never unloaded. A file that is loaded already is not loaded again.
    ///
    /// # Errors
    /// When the file, the lock or the plugin's table does not fit. Before the digest was compared no code of it runs.
    pub fn load(&self, path: &Path) -> Result<Loaded, LoadError> {
        let path = path.canonicalize().map_err(LoadError::Read)?;
        let within = |root: &PathBuf| root.canonicalize().is_ok_and(|root| path.starts_with(root));
        if !self.roots.iter().any(within) {
            return Err(LoadError::Root);
        }
        let bytes = regular::read(&path).map_err(LoadError::Read)?;
        let header = file::header(&bytes)?;
        let name = || header.name.clone();
        let locked = self
            .lock
            .plugins
            .get(&header.name)
            .ok_or_else(|| LoadError::NotLocked(name()))?;
        if locked.version != header.version {
            return Err(LoadError::Version {
                name: name(),
                found: header.version.clone(),
                locked: locked.version.clone(),
            });
        }
        let expected = locked
            .files
            .get(TARGET_TRIPLE)
            .ok_or_else(|| LoadError::NoDigest(name()))?;
        let digest = Digest::of(&bytes);
        if digest != *expected {
            return Err(LoadError::Digest {
                name: name(),
                found: digest.short(),
                locked: expected.short(),
            });
        }
        open(&bytes, digest, &header, self.limits)
    }
}

/// Loads a library without a lock: for the one who makes a lock, or checks a plugin of their own.
///
/// # Errors
/// As [`Loader::load`].
pub fn load_unlocked(path: &Path, limits: Limits) -> Result<(Loaded, Header, Digest), LoadError> {
    let bytes = regular::read(path).map_err(LoadError::Read)?;
    let header = file::header(&bytes)?;
    let digest = Digest::of(&bytes);
    Ok((open(&bytes, digest, &header, limits)?, header, digest))
}

/// A library that the system has loaded: it is loaded once, also where it cannot be used.
struct Mapped {
    /// Of its table: static data that stays.
    address: usize,
    /// What its *init* said.
    refused: Option<PluginError>,
}

/// The libraries that are loaded, by digest.
static LOADED: Mutex<BTreeMap<Digest, Mapped>> = Mutex::new(BTreeMap::new());

/// Opens exactly the bytes that were looked at: they go to the system as a file in memory that nobody else can change.
fn open(bytes: &[u8], digest: Digest, header: &Header, limits: Limits) -> Result<Loaded, LoadError> {
    let account = Account::new(limits);
    account.named(&header.name);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let (table, first) = match loaded.get(&digest) {
        Some(Mapped {
            refused: Some(error), ..
        }) => return Err(error.clone().into()),
        Some(mapped) => (mapped.address as *const Plugin, false),
        None => {
            let table = open_new(bytes, header, &account)?;
            let mapped = Mapped {
                address: table as usize,
                refused: None,
            };
            loaded.insert(digest, mapped);
            (table, true)
        }
    };
    let wrong = |what| LoadError::Table {
        name: header.name.clone(),
        what,
    };
    // SAFETY: static data of a library that is never unloaded.
    let table: &'static Plugin = unsafe { table.as_ref() }.ok_or_else(|| wrong("it is NULL"))?;
    if table.magic != MAGIC || table.abi_major != header.abi_major || table.struct_size != header.struct_size {
        return Err(wrong("it is not what the file says"));
    }
    if first {
        // SAFETY: a table as the header says, for the first time.
        let begun = unsafe { init(table, &header.name, &account) };
        if let (Err(LoadError::Plugin(error)), Some(mapped)) = (&begun, loaded.get_mut(&digest)) {
            mapped.refused = Some(error.clone());
        }
        begun?;
    }
    drop(loaded);
    Loaded::of(table, &header.name, &header.version, account, Some(digest))
}

fn open_new(bytes: &[u8], header: &Header, account: &Arc<Account>) -> Result<*const Plugin, LoadError> {
    let not_open = || LoadError::Open(header.name.clone());
    // SAFETY: a plain call; the name is for people who look at the process's maps.
    let fd = unsafe { libc::memfd_create(c"clinmill-plugin".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(not_open());
    }
    // SAFETY: just made, and owned by nobody else.
    let mut file = unsafe { fs::File::from_raw_fd(fd) };
    file.write_all(bytes).map_err(|_| not_open())?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let handle = crate::native::open(&path, &header.name, account)?;
    if handle.is_null() {
        return Err(not_open());
    }
    // SAFETY: just opened.
    let library = unsafe { libloading::os::unix::Library::from_raw(handle) };
    // SAFETY: a data symbol, of which the address is taken.
    let symbol = unsafe { library.get::<*const Plugin>(SYMBOL.as_bytes()) };
    let address = symbol.map_err(|_| LoadError::File(FileError::NoSymbol))?.into_raw();
    // Never unloaded; and the descriptor stays, for its number is the library's name to the system.
    std::mem::forget(library);
    std::mem::forget(file);
    Ok(address.cast_const().cast())
}

/// The plugin's `init`, on a thread of its own where there is a time limit.
///
/// # Safety
/// The table is as the header says.
unsafe fn init(table: &'static Plugin, name: &str, account: &Arc<Account>) -> Result<(), LoadError> {
    let Some(slot) = table.init else {
        return Ok(());
    };
    type Slot = unsafe extern "C-unwind" fn(*const Host, *mut Error) -> i32;
    // SAFETY: by this function's contract.
    unsafe { crate::native::init(slot as Slot, name, account) }?;
    Ok(())
}

/// A plugin that is loaded.
pub struct Loaded {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What the host knows of it while it runs.
    pub account: Arc<Account>,
    components: Vec<Arc<Native>>,
}

/// How many components a plugin may have.
const MOST_COMPONENTS: u32 = 256;

impl Loaded {
    /// The plugin behind a table that is part of this program, with its *init* called.
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn linked(table: &'static Plugin, limits: Limits) -> Result<Self, LoadError> {
        let text = |bytes: &[u8]| {
            let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
            String::from_utf8_lossy(text).into_owned()
        };
        let (name, version) = (text(&table.name), text(&table.version));
        let account = Account::new(limits);
        account.named(&name);
        // SAFETY: a table of the SDK.
        unsafe { init(table, &name, &account) }?;
        Self::of(table, &name, &version, account, None)
    }

    fn of(
        table: &'static Plugin,
        name: &str,
        version: &str,
        account: Arc<Account>,
        build: Option<Digest>,
    ) -> Result<Self, LoadError> {
        let wrong = |what| LoadError::Table {
            name: name.to_owned(),
            what,
        };
        if (table.struct_size as usize) < size_of::<Plugin>() {
            return Err(wrong("it is too small"));
        }
        if table.n_components == 0 || table.n_components > MOST_COMPONENTS || table.components.is_null() {
            return Err(wrong("it has no components, or too many"));
        }
        let mut components = Vec::new();
        for index in 0..table.n_components as usize {
            // SAFETY: static data of the library: so many pointers.
            let component: Option<&'static Component> = unsafe { (*table.components.add(index)).as_ref() };
            let component = component.ok_or_else(|| wrong("a component is NULL"))?;
            components.push(Arc::new(Native::new(name, component, account.clone(), build)?));
        }
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            account,
            components,
        })
    }

    /// Waits until what it handed over, and was dropped, is released.
    ///
    /// # Errors
    /// When it was lost over it.
    pub fn settle(&self) -> Result<(), PluginError> {
        self.components.iter().try_for_each(|native| native.settle())
    }

    /// How its components describe themselves.
    pub fn descriptors(&self) -> Vec<Descriptor> {
        self.components.iter().map(|native| native.descriptor()).collect()
    }

    /// Adds its components to a registry.
    ///
    /// # Errors
    /// When a name is taken; then nothing was added.
    pub fn register(&self, registry: &mut Registry) -> Result<(), LoadError> {
        let mut next = registry.clone();
        for native in &self.components {
            let Descriptor { name, kind, .. } = native.descriptor();
            let (taken, what) = match kind {
                Kind::Source => (next.get_source(&name).is_some(), "source"),
                Kind::Transform => (next.get_transform(&name).is_some(), "transform"),
                Kind::Sink => (next.get_sink(&name).is_some(), "sink"),
            };
            if taken {
                return Err(LoadError::Taken {
                    plugin: self.name.clone(),
                    kind: what,
                    holder: holder(&next, &name).unwrap_or("another plugin"),
                    name,
                });
            }
            match kind {
                Kind::Source => next.add_source(Arc::new(NativeSource(native.clone()))),
                Kind::Transform => next.add_transform(Arc::new(NativeTransform(native.clone()))),
                Kind::Sink => next.add_sink(Arc::new(NativeSink(native.clone()))),
            };
        }
        *registry = next;
        Ok(())
    }
}
