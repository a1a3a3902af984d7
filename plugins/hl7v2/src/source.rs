//! The plugin as the engine sees it.

use crate::{
    bytes::Bytes,
    charset::{self, Declared},
    config::Hl7Config,
    context::Message,
    core::{Origin, Reader},
    envelope::Envelope,
    error,
    frame::{BEFORE, End, Frame, FrameKind, Frames, Line},
    plan::Plan,
    text::Delimiters,
};
use clinmill_sdk::{
    BindContext, Caps, Findings, Input, InputReader, Locator, PluginError, RecordKind, RecordSink, Rejection, Source,
    Split, TaskContext, decode, zone,
};
use encoding_rs::{Encoding, GB18030, UTF_8};
use jiff::tz::TimeZone;
use memchr::memchr;
use std::{borrow::Cow, io::Read};

/// Inputs longer than this are read in several parts, about this long.
const SPLIT: u64 = 64 << 20;
/// How much of an input is looked at to tell UTF-16 from the rest.
const HEAD: usize = 64 << 10;

const NO_END: &str = "the batch or file does not end (no BTS or FTS): what stood after this may be missing";

/// HL7 v2 messages.
pub struct Hl7v2 {
    plan: Plan,
    kinds: Vec<RecordKind>,
    encoding: decode::Encoding,
    zone: Option<TimeZone>,
    max_message: usize,
    split: u64,
}

impl Source for Hl7v2 {
    const NAME: &'static str = "hl7v2";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "HL7 v2 messages, in files, batches and MLLP streams, as one record per segment";
    const CAPS: Caps = Caps::SPLITS
        .and(Caps::DELETES)
        .and(Caps::REJECTS)
        .and(Caps::DETERMINISTIC);
    type Config = Hl7Config;

    fn check(config: &Hl7Config, findings: &mut Findings) {
        config.check(findings);
    }

    fn bind(config: Hl7Config, context: &BindContext) -> Result<Self, PluginError> {
        let (plan, kinds) = Plan::new(&config)?;
        let zone = zone::named(context.timezone.as_deref(), "", error::ZONE)?;
        let max_message = usize::try_from(config.max_message.min(1 << 30)).unwrap_or(1 << 30);
        Ok(Self {
            plan,
            kinds,
            encoding: config.encoding,
            zone,
            max_message,
            split: SPLIT,
        })
    }

    fn records(&self) -> &[RecordKind] {
        &self.kinds
    }

    /// Cuts before a message or an envelope line, so that each part can be read by itself.
    fn splits(&self, input: &dyn Input) -> Result<Vec<Split>, PluginError> {
        let size = input.size();
        if size <= self.split || self.wide(input)?.is_some() {
            return Ok(vec![Split::whole(input)]);
        }
        let mut splits = Vec::new();
        let mut start = 0;
        while start < size {
            let mut end = size;
            if size - start > self.split {
                // From the byte before: a message may begin right at the cut.
                let rest = Split {
                    start: start + self.split - 1,
                    end: size,
                };
                let mut frames = Frames::new(Bytes::new(input, &rest, None), self.max_message);
                frames.skip_to_header()?;
                end = frames.offset();
            }
            splits.push(Split { start, end });
            start = end;
        }
        Ok(splits)
    }

    fn read(
        &self,
        input: &dyn Input,
        split: &Split,
        task: &TaskContext<'_>,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        task.check()?;
        let wide = self.wide(input)?;
        let skip = if split.start == 0 {
            wide.map_or(0, |(_, bom)| bom)
        } else {
            0
        };
        let range = Split {
            start: split.start + skip,
            end: split.end,
        };
        let wide = wide.map(|(encoding, _)| encoding);
        let mut before = Vec::new();
        InputReader::new(input, split.start.saturating_sub(BEFORE as u64)..split.start).read_to_end(&mut before)?;
        let mut frames = Frames::new(Bytes::new(input, &range, wide), self.max_message).after(before);
        let mut reader = Reader::new(&self.plan, &self.kinds, task.batch_rows, self.zone.clone());
        let mut envelope = Envelope::default();
        let mut lines = Vec::new();
        let mut decoded = Decoded::default();
        let mut number = 0;
        let mut reported = split.start;
        let is_last = split.end == input.size();
        // Where the last frame stands, unless it has been told already that the input ends too early.
        let mut last = None;
        while let Some(frame) = frames.next(&mut lines)? {
            task.check()?;
            if frame.offset > reported + (1 << 20) {
                out.progress(frame.offset - reported);
                reported = frame.offset;
            }
            // An odd last byte of UTF-16 counts for two.
            let length = frame.length.min(split.end.saturating_sub(frame.offset));
            let at = Locator {
                offset: frame.offset,
                length,
                ..Locator::default()
            };
            let mut refuse = |code: &str, message: &str, at: Locator| {
                out.reject(Rejection {
                    kind: None,
                    code: code.to_owned(),
                    message: message.to_owned(),
                    at,
                })
            };
            last = Some(at);
            match frame.kind {
                FrameKind::Outside => refuse(error::NO_MSH, "no message begins before this", at)?,
                FrameKind::Envelope => {
                    let line = frames.text(&frame);
                    if envelope.lacks_header(line) && split.start > 0 {
                        envelope = self.envelope_before(input, wide, frame.offset)?;
                    }
                    if let Some(wrong) = envelope.line(line) {
                        refuse(error::BATCH_COUNT, wrong, at)?;
                    }
                }
                FrameKind::TooLong => {
                    envelope.message();
                    number += 1;
                    refuse(
                        error::TOO_LONG,
                        "the message is longer than max_message",
                        Locator { row: number, ..at },
                    )?;
                }
                FrameKind::Message => {
                    if frame.end == End::InLine && split.start > 0 && !envelope.is_open() {
                        envelope = self.envelope_before(input, wide, frame.offset)?;
                    }
                    envelope.message();
                    number += 1;
                    let is_cut = match frame.end {
                        // What a sender frames it ends.
                        End::InBlock => true,
                        End::InLine => envelope.is_open(),
                        End::Told => false,
                    };
                    if is_cut && is_last {
                        refuse(
                            error::CUT,
                            "the input ends within the message",
                            Locator { row: number, ..at },
                        )?;
                        last = None;
                        continue;
                    }
                    match decoded.message(&frames, &frame, &lines, self.encoding) {
                        Ok((message, lines, origins)) => reader.message(&message, lines, origins, number, out)?,
                        Err(Refused { code, message }) => refuse(code, &message, Locator { row: number, ..at })?,
                    }
                }
            }
        }
        if let Some(at) = last.filter(|_| is_last)
            && (split.start > 0 || envelope.is_open())
            && self.begins_with_envelope(input, wide)?
        {
            if split.start > 0 && !envelope.is_known() {
                envelope = self.envelope_before(input, wide, split.end)?;
            }
            if envelope.is_open() {
                out.reject(Rejection {
                    kind: None,
                    code: error::BATCH_COUNT.to_owned(),
                    message: NO_END.to_owned(),
                    at,
                })?;
            }
        }
        out.progress(split.end.saturating_sub(reported));
        reader.finish(out)
    }
}

impl Hl7v2 {
    /// The same source with smaller parts, for tests.
    #[doc(hidden)]
    pub fn with_split(self, split: u64) -> Self {
        Self {
            split: split.max(1),
            ..self
        }
    }

    /// The envelope at a place of the input.
    fn envelope_before(
        &self,
        input: &dyn Input,
        wide: Option<&'static Encoding>,
        end: u64,
    ) -> Result<Envelope, PluginError> {
        let before = Split { start: 0, end };
        Envelope::after(&mut Frames::new(Bytes::new(input, &before, wide), self.max_message))
    }

    /// True where a file or batch begins with the input.
    fn begins_with_envelope(&self, input: &dyn Input, wide: Option<&'static Encoding>) -> Result<bool, PluginError> {
        let head = Split {
            start: 0,
            end: input.size().min(HEAD as u64),
        };
        let mut frames = Frames::new(Bytes::new(input, &head, wide), self.max_message);
        let first = frames.next(&mut Vec::new())?;
        Ok(first.is_some_and(|frame| matches!(frame.kind, FrameKind::Envelope)))
    }

    /// The kind of UTF-16 that the input is in and the length of its byte order mark, if it is in UTF-16.
    fn wide(&self, input: &dyn Input) -> Result<Option<(&'static Encoding, u64)>, PluginError> {
        use decode::Encoding::{Auto, Utf16, Utf16Be};
        if !matches!(self.encoding, Auto | Utf16 | Utf16Be) {
            return Ok(None);
        }
        let mut head = Vec::new();
        InputReader::new(input, 0..HEAD as u64).read_to_end(&mut head)?;
        let resolved = self.encoding.resolve(&head, head.len() as u64 == input.size());
        Ok(match resolved.encoding {
            Utf16 | Utf16Be => Some((resolved.encoding.encoding_rs(), resolved.bom as u64)),
            _ => None,
        })
    }
}

/// Why a message cannot be read.
struct Refused {
    code: &'static str,
    message: Cow<'static, str>,
}

/// Room for decoded messages, used again for each.
#[derive(Default)]
struct Decoded {
    text: String,
    lines: Vec<Line>,
    origins: Vec<Origin>,
}

impl Decoded {
    /// Decodes a message; its lines are then those of the text.
    fn message<'t>(
        &'t mut self,
        frames: &'t Frames<'_>,
        frame: &Frame,
        lines: &'t [Line],
        option: decode::Encoding,
    ) -> Result<(Message<'t>, &'t [Line], &'t [Origin]), Refused> {
        let bytes = frames.text(frame);
        let part = |line: &Line| bytes.get(line.start as usize..line.end as usize).unwrap_or_default();
        let msh = lines.first().map(part).unwrap_or_default();
        let delimiters = Delimiters::of(msh).map_err(|(code, message)| Refused {
            code,
            message: message.into(),
        })?;
        self.origins.clear();
        let wide = frames.transcoded();
        if wide {
            self.widen(bytes, lines, frame.offset);
        } else {
            let origin = |line: &Line| Origin {
                offset: frame.offset + u64::from(line.start),
                length: u64::from(line.end - line.start),
            };
            self.origins.extend(lines.iter().map(origin));
        }
        let encoding = if wide || charset::is_ascii(bytes) {
            UTF_8
        } else {
            choose(bytes, charset::declared(msh, &delimiters), option, frame.offset)?
        };
        let bad = |at: usize| Refused {
            code: error::ENCODING,
            message: format!(
                "byte {} is not in the character set {}",
                frame.offset + at as u64,
                encoding.name()
            )
            .into(),
        };
        if wide && frames.malformed() && memchr::memmem::find(bytes, "\u{fffd}".as_bytes()).is_some() {
            return Err(Refused {
                code: error::ENCODING,
                message: "a part of it is not UTF-16".into(),
            });
        }
        let (text, lines) = if encoding == UTF_8 {
            (charset::utf8(bytes).map_err(bad)?, lines)
        } else {
            self.text.clear();
            self.lines.clear();
            for line in lines {
                let start = self.text.len() as u32;
                charset::decode_into(encoding, part(line), &mut self.text).map_err(|i| bad(line.start as usize + i))?;
                self.lines.push(Line {
                    start,
                    end: self.text.len() as u32,
                    segment: line.segment,
                });
            }
            (self.text.as_str(), self.lines.as_slice())
        };
        // The escape character itself is the third of MSH-2.
        let escapes = text
            .as_bytes()
            .get(7..)
            .is_some_and(|rest| memchr(delimiters.escape, rest).is_some());
        Ok((
            Message {
                text,
                delimiters,
                encoding,
                escapes,
            },
            lines,
            &self.origins,
        ))
    }

    /// Where the lines of a message stand in an input of UTF-16.
    fn widen(&mut self, bytes: &[u8], lines: &[Line], offset: u64) {
        let units = |from: u32, to: u32| {
            let text = bytes.get(from as usize..to as usize).unwrap_or_default();
            text.iter()
                .map(|&b| u64::from(b & 0xc0 != 0x80) + u64::from(b >= 0xf0))
                .sum::<u64>()
                * 2
        };
        let (mut at, mut from) = (offset, 0);
        for line in lines {
            at += units(from, line.start);
            let length = units(line.start, line.end);
            self.origins.push(Origin { offset: at, length });
            at += length;
            from = line.end;
        }
    }
}

/// The character set of a message that is not ASCII alone.
fn choose(
    bytes: &[u8],
    declared: Declared,
    option: decode::Encoding,
    offset: u64,
) -> Result<&'static Encoding, Refused> {
    if option != decode::Encoding::Auto {
        return Ok(option.encoding_rs());
    }
    let beyond = bytes.iter().position(|byte| !byte.is_ascii());
    match (declared, beyond) {
        (Declared::Known(encoding), _) => Ok(encoding),
        (Declared::Unknown, _) => Err(Refused {
            code: error::CHARSET,
            message: "MSH-18 names a character set that is not known here: set the option `encoding`".into(),
        }),
        (Declared::Ascii, Some(at)) => Err(Refused {
            code: error::ENCODING,
            message: format!(
                "byte {} is not in the character set ASCII, which MSH-18 names: set the option `encoding`",
                offset + at as u64
            )
            .into(),
        }),
        (_, None) => Ok(UTF_8),
        (Declared::Nothing, _) if decode::is_utf8(bytes, true) => Ok(UTF_8),
        (Declared::Nothing, _) => Ok(GB18030),
    }
}
