//! What a plugin's file says of itself, read from its bytes: before any code of it runs, also before its constructors do.
//!
//! ELF, 64 bit, little endian (System V ABI, "Object Files"): the symbol is looked up in the section of dynamic symbols,
//! and its bytes through the program header that loads them.

use clinmill_abi::{ABI_MAJOR, MAGIC, SYMBOL, TARGET_TRIPLE};
use std::{fmt, mem::offset_of};

use clinmill_abi::tables::Plugin;

/// The fields of a plugin's symbol that are there before it is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The major version it was built against.
    pub abi_major: u32,
    /// The minor version it was built against.
    pub abi_minor: u32,
    /// Size of its table.
    pub struct_size: u32,
    /// What it was built for.
    pub target_triple: String,
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
}

/// Why a file is no plugin of this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is no shared library at all.
    #[error("it is not a shared library of this kind of machine")]
    NotALibrary,
    /// It is cut off or damaged.
    #[error("it is a shared library that is cut off or damaged")]
    Damaged,
    /// It does not export the symbol.
    #[error("it does not export {SYMBOL}")]
    NoSymbol,
    /// The symbol begins with something else.
    #[error("{SYMBOL} does not begin with the plugin magic")]
    Magic,
    /// Another major version.
    #[error("it was built for plugin ABI {0}, this host has {ABI_MAJOR}")]
    Major(u32),
    /// Another target.
    #[error("it was built for {0:?}, this host is {TARGET_TRIPLE:?}")]
    Triple(String),
    /// Name or version cannot be read.
    #[error("its name or version is not text")]
    Text,
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn slice(&self, at: u64, len: u64) -> Result<&'a [u8], FileError> {
        let from = usize::try_from(at).map_err(|_| FileError::Damaged)?;
        let len = usize::try_from(len).map_err(|_| FileError::Damaged)?;
        let to = from.checked_add(len).ok_or(FileError::Damaged)?;
        self.0.get(from..to).ok_or(FileError::Damaged)
    }
    fn array<const N: usize>(&self, at: u64) -> Result<[u8; N], FileError> {
        self.slice(at, N as u64)?.try_into().map_err(|_| FileError::Damaged)
    }
    fn u16(&self, at: u64) -> Result<u64, FileError> {
        Ok(u64::from(u16::from_le_bytes(self.array(at)?)))
    }
    fn u32(&self, at: u64) -> Result<u32, FileError> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }
    fn u64(&self, at: u64) -> Result<u64, FileError> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }
    /// The entries of a table: where each begins.
    fn table(&self, at: u64, size: u64, count: u64, smallest: u64) -> Result<impl Iterator<Item = u64>, FileError> {
        if count > 0 && size < smallest {
            return Err(FileError::Damaged);
        }
        self.slice(at, size.checked_mul(count).ok_or(FileError::Damaged)?)?;
        Ok((0..count).map(move |n| at + n * size))
    }
}

const SHARED: u64 = 3;
const LOADED: u32 = 1;
const DYNAMIC_SYMBOLS: u32 = 11;
const DATA_OBJECT: u8 = 1;

/// The machine of this host as ELF numbers it; 0 where there are no plugins.
const MACHINE: u64 = if cfg!(target_arch = "x86_64") {
    62
} else if cfg!(target_arch = "aarch64") {
    183
} else {
    0
};

/// Reads what a library says of itself, and refuses what this host cannot load.
///
/// # Errors
/// When it is not a plugin of this ABI's major version for this machine.
pub fn header(file: &[u8]) -> Result<Header, FileError> {
    let bytes = Bytes(file);
    if file.get(..6) != Some(b"\x7fELF\x02\x01") || TARGET_TRIPLE.is_empty() {
        return Err(FileError::NotALibrary);
    }
    if bytes.u16(16)? != SHARED || bytes.u16(18)? != MACHINE {
        return Err(FileError::NotALibrary);
    }
    let (address, size) = symbol(&bytes)?.ok_or(FileError::NoSymbol)?;
    let at = offset(&bytes, address, size)?;
    let field = |offset: usize| bytes.u32(at + offset as u64);
    if size < offset_of!(Plugin, target_triple) as u64 || field(offset_of!(Plugin, magic))? != MAGIC {
        return Err(FileError::Magic);
    }
    let abi_major = field(offset_of!(Plugin, abi_major))?;
    if abi_major != ABI_MAJOR {
        return Err(FileError::Major(abi_major));
    }
    if size < size_of::<Plugin>() as u64 {
        return Err(FileError::Damaged);
    }
    let text = |offset: usize, len: u64| -> Result<String, FileError> {
        let field = bytes.slice(at + offset as u64, len)?;
        let text = field.split(|b| *b == 0).next().unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|_| FileError::Text)?;
        match text.is_empty() || text.chars().any(char::is_control) {
            true => Err(FileError::Text),
            false => Ok(text.to_owned()),
        }
    };
    let target_triple = text(offset_of!(Plugin, target_triple), 64)?;
    if target_triple != TARGET_TRIPLE {
        return Err(FileError::Triple(target_triple));
    }
    Ok(Header {
        abi_major,
        abi_minor: field(offset_of!(Plugin, abi_minor))?,
        struct_size: field(offset_of!(Plugin, struct_size))?,
        target_triple,
        name: text(offset_of!(Plugin, name), 64)?,
        version: text(offset_of!(Plugin, version), 32)?,
    })
}

/// Address and size of the plugin's symbol.
fn symbol(bytes: &Bytes<'_>) -> Result<Option<(u64, u64)>, FileError> {
    let (at, size, count) = (bytes.u64(40)?, bytes.u16(58)?, bytes.u16(60)?);
    for section in bytes.table(at, size, count, 64)? {
        if bytes.u32(section + 4)? != DYNAMIC_SYMBOLS {
            continue;
        }
        let (symbols, len, each) = (
            bytes.u64(section + 24)?,
            bytes.u64(section + 32)?,
            bytes.u64(section + 56)?,
        );
        let strings = u64::from(bytes.u32(section + 40)?);
        if strings >= count || each == 0 {
            return Err(FileError::Damaged);
        }
        let strings = at + strings * size;
        let (names, names_len) = (bytes.u64(strings + 24)?, bytes.u64(strings + 32)?);
        let names = bytes.slice(names, names_len)?;
        for entry in bytes.table(symbols, each, len / each, 24)? {
            let name = names.get(bytes.u32(entry)? as usize..).unwrap_or_default();
            let Some(rest) = name.strip_prefix(SYMBOL.as_bytes()) else {
                continue;
            };
            let [info, _] = bytes.array(entry + 4)?;
            let defined = bytes.u16(entry + 6)? != 0;
            if rest.first() == Some(&0) && defined && info & 0xf == DATA_OBJECT {
                return Ok(Some((bytes.u64(entry + 8)?, bytes.u64(entry + 16)?)));
            }
        }
    }
    Ok(None)
}

/// Where in the file the bytes at an address stand.
fn offset(bytes: &Bytes<'_>, address: u64, size: u64) -> Result<u64, FileError> {
    let (at, each, count) = (bytes.u64(32)?, bytes.u16(54)?, bytes.u16(56)?);
    for segment in bytes.table(at, each, count, 56)? {
        let (file, start, len) = (
            bytes.u64(segment + 8)?,
            bytes.u64(segment + 16)?,
            bytes.u64(segment + 32)?,
        );
        let end = address.checked_add(size).ok_or(FileError::Damaged)?;
        if bytes.u32(segment)? == LOADED && address >= start && end <= start.saturating_add(len) {
            let at = file.checked_add(address - start).ok_or(FileError::Damaged)?;
            bytes.slice(at, size)?;
            return Ok(at);
        }
    }
    Err(FileError::Damaged)
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} (plugin ABI {}.{}, {})",
            self.name, self.version, self.abi_major, self.abi_minor, self.target_triple
        )
    }
}
