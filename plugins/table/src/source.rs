//! What the engine calls.

use crate::{
    config::{self, Config, Format},
    csv, layout, parquet,
    plan::{self, RecordPlan},
    xlsx,
    zone::Zone,
};
use clinmill_sdk::{
    BindContext, Caps, Findings, Input, PluginError, RecordKind, RecordSink, Source, Split, TaskContext,
};

/// A configured table source.
#[derive(Debug)]
pub struct Table {
    config: Config,
    plans: Vec<RecordPlan>,
    kinds: Vec<RecordKind>,
    zone: Zone,
}

impl Source for Table {
    const NAME: &'static str = "table";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Reads CSV, TSV, XLSX and Parquet tables";
    const CAPS: Caps = Caps::SPLITS.and(Caps::REJECTS).and(Caps::DETERMINISTIC);
    type Config = Config;

    fn check(config: &Config, findings: &mut Findings) {
        config::check(config, findings);
    }

    fn bind(config: Config, context: &BindContext) -> Result<Self, PluginError> {
        let mut findings = Findings::default();
        config::check(&config, &mut findings);
        if let Some(first) = findings.into_vec().into_iter().next() {
            return Err(PluginError::config(first.pointer, first.code, first.message));
        }
        let (plans, kinds) = plan::plan(&config)?;
        Ok(Self {
            config,
            plans,
            kinds,
            zone: Zone::named(context.timezone.as_deref())?,
        })
    }

    fn records(&self) -> &[RecordKind] {
        &self.kinds
    }

    fn splits(&self, input: &dyn Input) -> Result<Vec<Split>, PluginError> {
        match self.format(input)? {
            Format::Csv => csv::splits(&self.config, input),
            _ => Ok(vec![Split::whole(input)]),
        }
    }

    fn read(
        &self,
        input: &dyn Input,
        split: &Split,
        task: &TaskContext<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        task.check()?;
        match self.format(input)? {
            Format::Xlsx => xlsx::read(&self.config, &self.plans, &self.zone, input, task, out),
            Format::Parquet => parquet::read(&self.config, &self.plans, &self.zone, input, task, out),
            Format::Csv | Format::Auto => csv::read(&self.config, &self.plans, &self.zone, input, split, task, out),
        }
    }
}

impl Table {
    /// The format given, or found by the first bytes. A zip archive is never CSV, nor is an old
    /// workbook: it is read as a workbook and named as none if it is none.
    fn format(&self, input: &dyn Input) -> Result<Format, PluginError> {
        if self.config.format != Format::Auto {
            return Ok(self.config.format);
        }
        Ok(match layout::read(input, 0, 4)?.as_slice() {
            b"PK\x03\x04" | b"PK\x05\x06" | xlsx::OLE => Format::Xlsx,
            b"PAR1" => Format::Parquet,
            _ => Format::Csv,
        })
    }
}
