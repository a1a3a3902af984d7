//! The archive that a workbook is.

use super::MOST_HELD;
use clinmill_sdk::{Input, MemoryInput};
use std::{
    cell::Cell,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    rc::Rc,
};

pub(super) fn seekable(input: &dyn Input) -> BufReader<InputCursor<'_>> {
    BufReader::with_capacity(1 << 16, InputCursor::new(input))
}

/// An input as the archive reader wants it.
pub(super) struct InputCursor<'i> {
    input: &'i dyn Input,
    at: u64,
    /// The last place that was sought: where the entry begins that was opened last.
    pub(super) place: Rc<Cell<u64>>,
}

impl<'i> InputCursor<'i> {
    pub(super) fn new(input: &'i dyn Input) -> Self {
        Self {
            input,
            at: 0,
            place: Rc::default(),
        }
    }
}

impl Read for InputCursor<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.input.read_at(self.at, buf)?;
        self.at += got as u64;
        Ok(got)
    }
}

impl Seek for InputCursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.input.size().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        if let SeekFrom::Start(at) = to {
            self.place.set(at);
        }
        Ok(self.at)
    }
}

/// The entry of an archive whose bytes begin here.
pub(super) fn entry_at(archive: &mut zip::ZipArchive<BufReader<InputCursor<'_>>>, place: u64) -> Option<usize> {
    (0..archive.len()).find(|i| {
        let entry = archive.by_index_raw(*i);
        entry.is_ok_and(|entry| entry.data_start() == Some(place))
    })
}

/// The archive with `./worksheets/sheet1.xml` as `worksheets/sheet1.xml` in its relations, where it has such names (RFC
/// 3986, 5.2.4).
pub(super) fn without_dots(
    archive: &mut zip::ZipArchive<BufReader<InputCursor<'_>>>,
    relations: usize,
    size: u64,
) -> zip::result::ZipResult<Option<MemoryInput>> {
    let mut xml = Vec::new();
    archive.by_index(relations)?.read_to_end(&mut xml)?;
    let xml = String::from_utf8(xml).unwrap_or_default();
    let plain = undotted(&xml);
    if plain == xml || size > MOST_HELD {
        return Ok(None);
    }
    replaced(archive, relations, plain.as_bytes()).map(Some)
}

/// The archive with another text as one of its entries.
pub(super) fn replaced(
    archive: &mut zip::ZipArchive<BufReader<InputCursor<'_>>>,
    index: usize,
    text: &[u8],
) -> zip::result::ZipResult<MemoryInput> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i)?;
        if i != index {
            writer.raw_copy_file(entry)?;
            continue;
        }
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        writer.start_file(entry.name()?.into_owned(), stored)?;
        writer.write_all(text)?;
    }
    Ok(MemoryInput::new("repaired", writer.finish()?.into_inner()))
}

/// An XML text whose attributes do not begin with `./`.
fn undotted(xml: &str) -> String {
    let mut plain = String::with_capacity(xml.len());
    let mut rest = xml;
    while let Some((before, after)) = rest.split_once("./") {
        plain.push_str(before);
        let value = before.strip_suffix(['"', '\'']).map(str::trim_ascii_end);
        if !value.is_some_and(|key| key.ends_with('=')) {
            plain.push_str("./");
        }
        rest = after;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_without_dots() {
        for (written, plain) in [
            ("<R T=\"./a.xml\"/>", "<R T=\"a.xml\"/>"),
            ("<R T = './a.xml'/>", "<R T = 'a.xml'/>"),
            ("<R\nT=\n\"./a/./b\" I='x./y'/>", "<R\nT=\n\"a/./b\" I='x./y'/>"),
            ("<R T=\"../a.xml\"/>", "<R T=\"../a.xml\"/>"),
        ] {
            assert_eq!(undotted(written), plain);
        }
    }
}
