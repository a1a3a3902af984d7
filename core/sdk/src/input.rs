//! The bytes a source reads: one object of the vault, by offset.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    ops::Range,
};

/// One input: a name for people, metadata captured from its path, and its bytes by offset.
pub trait Input: Send + Sync {
    /// The path as the pipeline sees it, for messages. Paths may hold identifiers: never log it outside the vault.
    fn name(&self) -> &str;
    /// What the `{name}` patterns of the source's glob captured from the path.
    fn captures(&self) -> &BTreeMap<String, String>;
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Reads at an offset into `buf`; returns how many bytes, 0 only at the end.
    ///
    /// # Errors
    /// When the bytes cannot be read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
}

/// A sequential reader over a byte range of an input.
pub struct InputReader<'a> {
    input: &'a dyn Input,
    range: Range<u64>,
}

impl<'a> InputReader<'a> {
    /// Reads `range` of the input, cut at its end.
    pub fn new(input: &'a dyn Input, range: Range<u64>) -> Self {
        let end = range.end.min(input.size());
        Self {
            input,
            range: range.start..end,
        }
    }

    /// The offset of the next byte.
    pub fn position(&self) -> u64 {
        self.range.start
    }
}

impl Read for InputReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.range.end.saturating_sub(self.range.start);
        let want = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let got = self.input.read_at(self.range.start, &mut buf[..want])?;
        self.range.start += got as u64;
        Ok(got)
    }
}

/// An input held in memory, for tests and small contents.
#[derive(Clone, Debug, Default)]
pub struct MemoryInput {
    name: String,
    captures: BTreeMap<String, String>,
    bytes: Vec<u8>,
}

impl MemoryInput {
    /// An input of these bytes.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            captures: BTreeMap::new(),
            bytes: bytes.into(),
        }
    }

    /// The same input with one more captured value.
    pub fn capture(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.captures.insert(name.into(), value.into());
        self
    }
}

impl Input for MemoryInput {
    fn name(&self) -> &str {
        &self.name
    }
    fn captures(&self) -> &BTreeMap<String, String> {
        &self.captures
    }
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let n = buf.len().min(self.bytes.len() - start);
        buf[..n].copy_from_slice(&self.bytes[start..start + n]);
        Ok(n)
    }
}
