//! The source: one record for each line, with its subject and where it stands.

use crate::{NewpluginConfig, core::parse, error};
use clinmill_sdk::{
    BindContext, Caps, Fold, Input, InputReader, Locator, PluginError, RecordBatchOf, RecordKey, RecordKind,
    RecordMetaBuilder, RecordSink, Rejection, Source, Split, Status, TaskContext,
    arrow::{
        array::StringBuilder,
        datatypes::{DataType, Field, Schema},
    },
};
use std::{
    io::{BufRead, BufReader, Read},
    sync::Arc,
};

/// How many bytes a line may have: what one hostile input can make us keep.
const LONGEST: u64 = 1 << 20;

/// A configured `newplugin` source.
pub struct NewpluginPlugin {
    issuer: String,
    kinds: [RecordKind; 1],
}

impl Source for NewpluginPlugin {
    const NAME: &'static str = "newplugin";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Reads lines of an identifier, a tab and a text";
    const CAPS: Caps = Caps::DETERMINISTIC;
    type Config = NewpluginConfig;

    fn bind(config: NewpluginConfig, _: &BindContext) -> Result<Self, PluginError> {
        let schema = Schema::new(vec![Field::new("text", DataType::Utf8, true)]);
        Ok(Self {
            issuer: config.issuer,
            kinds: [RecordKind {
                name: String::new(),
                schema: Arc::new(schema),
                key: RecordKey::Content,
                fold: Fold::Replace,
                subject: true,
            }],
        })
    }

    fn records(&self) -> &[RecordKind] {
        &self.kinds
    }

    fn read(
        &self,
        input: &dyn Input,
        split: &Split,
        task: &TaskContext<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        let mut reader = BufReader::new(InputReader::new(input, split.start..split.end));
        let mut texts = StringBuilder::new();
        let mut meta = RecordMetaBuilder::default();
        let mut line = Vec::new();
        let (mut offset, mut row) = (split.start, 0);
        loop {
            task.check()?;
            line.clear();
            let failed = |_| PluginError::new(Status::Io, error::READ, "the input cannot be read");
            let length = (&mut reader)
                .take(LONGEST)
                .read_until(b'\n', &mut line)
                .map_err(failed)? as u64;
            if length == 0 {
                break;
            }
            if length == LONGEST && !line.ends_with(b"\n") {
                let message = "a line is longer than a line may be";
                return Err(PluginError::new(Status::InvalidData, error::LONG, message));
            }
            row += 1;
            let at = Locator {
                offset,
                length,
                row,
                ..Locator::default()
            };
            offset += length;
            out.progress(length);
            let content = line.trim_ascii_end();
            match parse(content) {
                _ if content.is_empty() => {}
                Ok((id, text)) => {
                    texts.append_value(text);
                    meta.push(&self.issuer, Some(id), None, false, at);
                }
                Err((code, message)) => out.reject(Rejection {
                    kind: Some(0),
                    code: code.into(),
                    message: message.into(),
                    at,
                })?,
            }
            if meta.len() >= task.batch_rows {
                self.push(&mut texts, &mut meta, out)?;
            }
        }
        self.push(&mut texts, &mut meta, out)
    }
}

impl NewpluginPlugin {
    fn push(
        &self,
        texts: &mut StringBuilder,
        meta: &mut RecordMetaBuilder,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        if meta.is_empty() {
            return Ok(());
        }
        let [kind] = &self.kinds;
        let columns = vec![Arc::new(texts.finish()) as _];
        out.rows(RecordBatchOf::new(0, kind.schema.clone(), columns, meta.finish())?)
    }
}
