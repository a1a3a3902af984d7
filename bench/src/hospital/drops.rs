//! One week's drop: the files that the hospital's systems leave in the inbox.

use super::text::Gb18030;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::PathBuf,
};

/// The folder of one week, its files opened as they are first written.
pub struct Drop {
    dir: PathBuf,
    open: BTreeMap<String, BufWriter<File>>,
    gb: Gb18030,
    bytes: Vec<u8>,
    /// Records written, by kind of file.
    pub counts: BTreeMap<&'static str, u64>,
}

/// The header of the laboratory's CSV.
pub const LIS_HEADER: &str = "病案号,报告号,住院号,项目名称,结果,单位,参考范围,采样时间,报告时间";

/// The header of the registry's CSV.
pub const REGISTRY_HEADER: &str = "住院号,病案号,手术日期,手术侧别,狭窄率,支架型号,支架规格,保护装置,术者,30天结局";

impl Drop {
    /// An empty drop in this folder, which is made.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn create(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self {
            dir,
            open: BTreeMap::new(),
            gb: Gb18030::default(),
            bytes: Vec::new(),
            counts: BTreeMap::new(),
        })
    }

    /// Appends an HL7 message in GB18030.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn message(&mut self, file: &str, text: &str) -> io::Result<()> {
        *self.counts.entry("messages").or_default() += 1;
        self.gb18030(file, text)
    }

    /// Appends a row to the laboratory's CSV in GBK.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn lis_row(&mut self, file: &str, row: &str) -> io::Result<()> {
        if !self.begun(file) {
            self.gb18030(file, &format!("{LIS_HEADER}\r\n"))?;
        }
        *self.counts.entry("lis_rows").or_default() += 1;
        self.gb18030(file, row)
    }

    /// Appends text in GB18030, of which GBK is a subset.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn gb18030(&mut self, file: &str, text: &str) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.gb.encode(text, &mut bytes);
        let done = self.raw(file, &bytes);
        self.bytes = bytes;
        done
    }

    /// True when something was written to this file.
    pub fn begun(&self, file: &str) -> bool {
        self.open.contains_key(file)
    }

    /// Appends bytes as they are.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn raw(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        if !self.open.contains_key(file) {
            let path = self.dir.join(file);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            self.open
                .insert(file.to_owned(), BufWriter::with_capacity(1 << 16, File::create(path)?));
        }
        match self.open.get_mut(file) {
            Some(writer) => writer.write_all(bytes),
            None => Ok(()),
        }
    }

    /// Writes a file at once: a note.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn whole(&mut self, file: &str, text: &str, gb18030: bool) -> io::Result<()> {
        let path = self.dir.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        *self.counts.entry("notes").or_default() += 1;
        if !gb18030 {
            return fs::write(path, text);
        }
        self.bytes.clear();
        self.gb.encode(text, &mut self.bytes);
        fs::write(path, &self.bytes)
    }

    /// Writes everything out.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(self) -> io::Result<BTreeMap<&'static str, u64>> {
        for (_, mut writer) in self.open {
            writer.flush()?;
        }
        Ok(self.counts)
    }
}
