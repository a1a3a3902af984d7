//! The sink: what partitions prepared becomes one file, by one rename.

use crate::{
    NewpluginConfig,
    core::{cell, is_plain},
    error,
};
use clinmill_sdk::{
    BindContext, Caps, PluginError, Sink, SinkRun, SinkWriter, Status, TaskContext,
    arrow::{
        array::{Array, RecordBatch},
        datatypes::Schema,
        util::display::{ArrayFormatter, FormatOptions},
    },
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// A configured `newplugin` sink.
pub struct NewpluginPlugin {
    folder: PathBuf,
    header: Option<String>,
}

impl Sink for NewpluginPlugin {
    const NAME: &'static str = "newplugin";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Writes rows as lines of text, one file for each release";
    const CAPS: Caps = Caps::DETERMINISTIC;
    type Config = NewpluginConfig;

    fn bind(config: NewpluginConfig, input: &Schema, _: &BindContext) -> Result<Self, PluginError> {
        let names = input.fields().iter().map(|field| {
            let mut name = String::new();
            cell(field.name(), &mut name);
            name
        });
        let header = names.collect::<Vec<_>>().join("\t") + "\n";
        Ok(Self {
            folder: PathBuf::from(config.folder),
            header: config.header.then_some(header),
        })
    }

    fn probe(&self, _: &TaskContext<'_>) -> Result<Value, PluginError> {
        match self.folder.is_dir() {
            true => Ok(Value::Null),
            false => Err(PluginError::new(
                Status::NotFound,
                error::FOLDER,
                "the folder is not there",
            )),
        }
    }

    fn open(&self, run: &SinkRun<'_>) -> Result<Box<dyn SinkWriter + '_>, PluginError> {
        // Two writers of one run, in this process or another, never share a file.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let token = format!(".{}.{}.{number}.part", named(run)?, std::process::id());
        let path = self.folder.join(&token);
        let file = File::create_new(&path).map_err(failed)?;
        Ok(Box::new(Part {
            file: BufWriter::new(file),
            path: Some(path),
            token,
        }))
    }

    fn commit(&self, run: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Result<Value, PluginError> {
        if let Some(receipt) = self.resolve(run)? {
            self.abort(run, tokens)?;
            return Ok(receipt);
        }
        let whole = self.folder.join(format!(".{}.whole", named(run)?));
        let mut out = BufWriter::new(File::create(&whole).map_err(failed)?);
        out.write_all(self.header.as_deref().unwrap_or_default().as_bytes())
            .map_err(failed)?;
        for token in tokens {
            io::copy(&mut File::open(self.part(token)?).map_err(failed)?, &mut out).map_err(failed)?;
        }
        let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().map_err(failed)?;
        fs::rename(&whole, self.file(run)?).map_err(failed)?;
        // The release is there when the folder's entry is on the disk.
        File::open(&self.folder)
            .and_then(|dir| dir.sync_all())
            .map_err(failed)?;
        self.abort(run, tokens)?;
        Ok(self.resolve(run)?.unwrap_or_default())
    }

    fn resolve(&self, run: &SinkRun<'_>) -> Result<Option<Value>, PluginError> {
        match fs::metadata(self.file(run)?) {
            Ok(file) => Ok(Some(json!({ "bytes": file.len() }))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(e)),
        }
    }

    fn abort(&self, _: &SinkRun<'_>, tokens: &[Vec<u8>]) -> Result<(), PluginError> {
        for token in tokens {
            remove(&self.part(token)?)?;
        }
        Ok(())
    }
}

impl NewpluginPlugin {
    fn file(&self, run: &SinkRun<'_>) -> Result<PathBuf, PluginError> {
        Ok(self.folder.join(format!("{}.txt", named(run)?)))
    }

    /// The file of a token; one that leads elsewhere is refused.
    fn part(&self, token: &[u8]) -> Result<PathBuf, PluginError> {
        let token = std::str::from_utf8(token).ok().filter(|token| is_plain(token));
        let refused = || PluginError::new(Status::InvalidState, error::TOKEN, "the token is not of this sink");
        Ok(self.folder.join(token.ok_or_else(refused)?))
    }
}

fn named<'a>(run: &SinkRun<'a>) -> Result<&'a str, PluginError> {
    match is_plain(run.run_id) && !run.run_id.starts_with('.') {
        true => Ok(run.run_id),
        false => Err(PluginError::new(
            Status::InvalidState,
            error::TOKEN,
            "the run has no plain name",
        )),
    }
}

fn remove(path: &Path) -> Result<(), PluginError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(e)),
        _ => Ok(()),
    }
}

fn failed(reason: io::Error) -> PluginError {
    let message = format!("a file of the sink cannot be read or written: {}", reason.kind());
    PluginError::new(Status::Io, error::IO, message)
}

struct Part {
    file: BufWriter<File>,
    /// Taken once it is prepared: then it is no longer this writer's to remove.
    path: Option<PathBuf>,
    token: String,
}

impl SinkWriter for Part {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), PluginError> {
        let options = FormatOptions::default();
        let columns = batch.columns().iter();
        let formatters: Vec<ArrayFormatter<'_>> = columns
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let mut line = String::new();
            for (index, formatter) in formatters.iter().enumerate() {
                if index > 0 {
                    line.push('\t');
                }
                if batch.column(index).is_valid(row) {
                    cell(&formatter.value(row).try_to_string()?, &mut line);
                }
            }
            line.push('\n');
            self.file.write_all(line.as_bytes()).map_err(failed)?;
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<Vec<u8>, PluginError> {
        self.file.flush().map_err(failed)?;
        self.file.get_ref().sync_all().map_err(failed)?;
        self.path = None;
        Ok(self.token.clone().into_bytes())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}
