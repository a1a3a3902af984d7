//! Batch envelopes: `FHS BHS … BTS FTS` (HL7 v2.5, section 2.10.3). Counts in trailers are checked against what was
//! read; a wrong one means that messages got lost on the way here.

use crate::frame::{FrameKind, Frames};
use clinmill_sdk::PluginError;

/// What was read of the batch and the file at hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Envelope {
    batch: Option<u64>,
    file: Option<File>,
    /// An envelope line was read.
    known: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct File {
    batches: u64,
    messages: u64,
}

impl Envelope {
    /// A message was read, be it good or bad.
    pub fn message(&mut self) {
        if let Some(messages) = &mut self.batch {
            *messages += 1;
        }
        if let Some(file) = &mut self.file {
            file.messages += 1;
        }
    }

    /// A batch or file has begun and not ended.
    pub fn is_open(&self) -> bool {
        self.batch.is_some() || self.file.is_some()
    }

    /// False where no envelope line has been read: one may stand in an earlier split.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// True where this line ends a batch or file whose beginning was not seen: it may stand in an earlier split.
    pub fn lacks_header(&self, line: &[u8]) -> bool {
        line.starts_with(b"BTS") && self.batch.is_none() || line.starts_with(b"FTS") && self.file.is_none()
    }

    /// An envelope line was read. Returns what is wrong with it.
    pub fn line(&mut self, line: &[u8]) -> Option<&'static str> {
        self.known = true;
        match line.get(..3) {
            Some(b"FHS") => {
                *self = Self {
                    file: Some(File::default()),
                    known: true,
                    ..Self::default()
                };
                None
            }
            Some(b"BHS") => {
                self.batch = Some(0);
                if let Some(file) = &mut self.file {
                    file.batches += 1;
                }
                None
            }
            Some(b"BTS") => match (stated(line), self.batch.take()) {
                (_, None) => Some("a batch ends that did not begin"),
                (Stated::Nothing, _) => None,
                (Stated::Count(n), Some(messages)) if n == messages => None,
                (Stated::Count(_), _) => Some("the batch holds another number of messages than BTS-1 says"),
                (Stated::Garbage, _) => Some("BTS-1 is not a number"),
            },
            Some(b"FTS") => match (stated(line), self.file.take()) {
                (_, None) => Some("a file ends that did not begin"),
                (Stated::Nothing, _) => None,
                (Stated::Count(n), Some(file)) if n == file.batches => None,
                // Without a batch header, some count the file as one batch, some count its messages.
                (Stated::Count(n), Some(file)) if file.batches == 0 && (n == 1 || n == file.messages) => None,
                (Stated::Count(_), _) => Some("the file holds another number of batches than FTS-1 says"),
                (Stated::Garbage, _) => Some("FTS-1 is not a number"),
            },
            _ => None,
        }
    }

    /// The envelope after all of `frames`.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn after(frames: &mut Frames<'_>) -> Result<Self, PluginError> {
        let mut envelope = Self::default();
        let mut lines = Vec::new();
        while let Some(frame) = frames.next(&mut lines)? {
            match frame.kind {
                FrameKind::Message | FrameKind::TooLong => envelope.message(),
                FrameKind::Envelope => {
                    envelope.line(frames.text(&frame));
                }
                FrameKind::Outside => {}
            }
        }
        Ok(envelope)
    }
}

enum Stated {
    Nothing,
    Count(u64),
    Garbage,
}

/// Field 1 of a trailer.
fn stated(line: &[u8]) -> Stated {
    let separator = line.get(3).copied().unwrap_or(b'|');
    let field = line.split(|&b| b == separator).nth(1).unwrap_or_default().trim_ascii();
    if field.is_empty() {
        return Stated::Nothing;
    }
    match std::str::from_utf8(field).ok().and_then(|text| text.parse().ok()) {
        Some(n) => Stated::Count(n),
        None => Stated::Garbage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: &[&str]) -> Vec<&'static str> {
        let mut envelope = Envelope::default();
        lines
            .iter()
            .filter_map(|line| {
                if *line == "MSH" {
                    envelope.message();
                    return None;
                }
                envelope.line(line.as_bytes())
            })
            .collect()
    }

    #[test]
    fn counts() {
        assert!(run(&["FHS|", "BHS|", "MSH", "MSH", "BTS|2", "BHS|", "BTS|0", "FTS|2"]).is_empty());
        assert!(run(&["FHS|", "MSH", "MSH", "FTS|2"]).is_empty());
        assert!(run(&["FHS|", "BHS|", "MSH", "BTS", "FTS||"]).is_empty());
        assert_eq!(run(&["BHS|", "MSH", "BTS|3"]).len(), 1);
        assert_eq!(run(&["FHS|", "BHS|", "MSH", "BTS|1", "FTS|2"]).len(), 1);
        assert_eq!(run(&["BTS|0", "FTS|0"]).len(), 2);
        assert_eq!(run(&["BHS|", "BTS|x"]), ["BTS-1 is not a number"]);
    }
}
