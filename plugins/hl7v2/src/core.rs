//! From a message's segments to records: group context, subject, version, void records, merges.

mod merge;

use crate::{
    context::{Context, Message},
    error,
    frame::Line,
    plan::{Issuer, Kind, Per, Place, Plan, Slot},
    rows::Rows,
    version::{self, Clock},
};
use clinmill_sdk::{Locator, PluginError, RecordKind, RecordSink, Rejection};
use jiff::tz::TimeZone;
use memchr::memchr;
use std::borrow::Cow;

/// Merges of patients or persons, and a number that was replaced by another (HL7 v2.5, chapter 3): MRG-1 becomes PID-3.
const MERGES: [&str; 8] = ["A18", "A30", "A34", "A36", "A39", "A40", "A41", "A47"];
/// Patients or persons linked without a merge, unlinked, or moved with their visits and accounts; accounts, visits and
/// external numbers that became others (v2.5, sections 3.3.24, 3.3.35, 3.3.37, 3.3.42 to 3.3.46, 3.3.49 and 3.3.50).
const NOT_DONE: [&str; 10] = ["A24", "A35", "A37", "A42", "A43", "A44", "A45", "A46", "A49", "A50"];
const NOT_DONE_MESSAGE: &str = "the message links or unlinks patients, or moves or renumbers accounts or visits, which is not done: its records are read";
const NO_TYPE: &str = "the message has no type (MSH-9)";
const CUT: &str = "the message ends within its MSH segment";

/// Where a line of the message stands in the input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// Byte offset.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

/// Segments that stand between one and those that continue it (PRT since v2.7; TQ1 and TQ2 in orders of drugs; ROL and ARV
/// behind a patient or visit).
const BETWEEN: [&[u8; 3]; 5] = [b"PRT", b"TQ1", b"TQ2", b"ROL", b"ARV"];

/// A segment whose records also take from those after it that continue it.
struct Waiting<'p> {
    slot: &'p Slot,
    at: Locator,
    /// A note that comes next is about it. Its records take the first.
    takes_notes: bool,
}

impl Waiting<'_> {
    /// Whether what comes next still belongs to it.
    fn goes_on(&mut self, index: Option<usize>, slot: Option<&Slot>, id: Option<&[u8; 3]>, is_note: bool) -> bool {
        if index.is_some_and(|index| self.slot.followed.contains(&index)) {
            let takes = self.takes_notes;
            // The notes of a patient stand behind the PD1 (ORU_R01).
            self.takes_notes &= id == Some(b"PD1");
            return !is_note || takes;
        }
        let is_between = id.is_some_and(|id| BETWEEN.contains(&id)) && slot.is_none_or(|slot| slot.followed.is_empty());
        self.takes_notes &= id == Some(b"PRT");
        is_between
    }
}

/// Turns messages into rows. One per split.
pub struct Reader<'p> {
    plan: &'p Plan,
    kinds: &'p [RecordKind],
    rows: Vec<Rows>,
    batch_rows: usize,
    context: Context,
    counts: Counts,
    scratch: String,
    version: String,
    clock: Clock,
}

#[derive(Default)]
struct Counts {
    messages: u64,
    no_record: u64,
    no_result: u64,
    same_identifier: u64,
    filtered: Vec<u64>,
}

/// An identifier and its issuer.
type Subject<'t> = (Cow<'t, str>, Cow<'t, str>);

/// What is found once per message or group and used by many records.
#[derive(Default)]
struct Found<'t> {
    trigger: &'t str,
    sequence: u64,
    message_time: String,
    event_time: (u32, Option<String>),
    panel_time: (u32, Option<String>),
    panel_void: (u32, u32, bool),
    subject: (u32, u32, Option<Subject<'t>>),
}

impl<'p> Reader<'p> {
    /// A reader that sends batches of about `batch_rows` rows. `zone` is that of times without an offset.
    pub fn new(plan: &'p Plan, kinds: &'p [RecordKind], batch_rows: usize, zone: Option<TimeZone>) -> Self {
        Self {
            plan,
            kinds,
            rows: kinds.iter().map(Rows::new).collect(),
            batch_rows: batch_rows.max(1),
            context: Context::default(),
            counts: Counts {
                filtered: vec![0; kinds.len()],
                ..Counts::default()
            },
            scratch: String::new(),
            version: String::new(),
            clock: Clock::new(zone),
        }
    }

    /// Reads one message: its lines, where each stands in the input, and its number.
    ///
    /// # Errors
    /// When the host cannot take more.
    pub fn message(
        &mut self,
        message: &Message<'_>,
        lines: &[Line],
        origins: &[Origin],
        number: u64,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        let plan = self.plan;
        self.context.clear(plan.slots.len());
        let mut found = Found::default();
        let mut records = 0;
        let mut part = 0;
        let mut waiting: Option<Waiting<'_>> = None;
        // Of a merge: the header, then each patient, until an identifier comes that is replaced.
        let mut unmerged: Option<Locator> = None;
        for (line, origin) in lines.iter().zip(origins) {
            let mut at = Locator {
                offset: origin.offset,
                length: origin.length,
                row: number,
                ..Locator::default()
            };
            if !line.segment {
                reject(out, None, error::GARBAGE, "a line that is no segment", at)?;
                continue;
            }
            part += 1;
            at.part = part;
            let id = message
                .text
                .as_bytes()
                .get(line.start as usize..)
                .and_then(|rest| rest.first_chunk::<3>());
            let index = id.and_then(|id| plan.slot_of(*id));
            let slot = index.and_then(|index| plan.slots.get(index));
            let is_note = index.is_some() && index == plan.notes;
            if let Some(ended) = waiting.take_if(|w| !w.goes_on(index, slot, id, is_note)) {
                records += self.records(message, &mut found, ended.slot, ended.at, out)?;
            }
            if let Some(notes) = plan.notes.filter(|_| !is_note && waiting.is_none()) {
                // A note is about the segment before it, and no other.
                self.context.forget(notes);
            }
            let (Some(index), Some(slot)) = (index, slot) else {
                continue;
            };
            if &slot.id == b"OBR" && self.context.stamp(index) > 0 {
                // The order before the last panel is not this panel's.
                plan.order.iter().for_each(|&order| self.context.forget(order));
            }
            self.context.arrive(index, slot, message, line.start, line.end);
            if part == 1 && !self.begin(message, lines, &mut found) {
                if self.lacks_type(message) {
                    return reject(out, None, error::MSH_TRUNCATED, NO_TYPE, at);
                }
                self.counts.messages += 1;
                return Ok(());
            }
            if let Some(ended) = waiting.take_if(|_| !slot.followed.is_empty()) {
                // It begins what is its own.
                records += self.records(message, &mut found, ended.slot, ended.at, out)?;
                plan.notes.into_iter().for_each(|notes| self.context.forget(notes));
            }
            if part == 1 && NOT_DONE.contains(&found.trigger) {
                records += 1;
                reject(out, None, error::NOT_DONE, NOT_DONE_MESSAGE, at)?;
            }
            if slot.followed.is_empty() {
                records += self.records(message, &mut found, slot, at, out)?;
            } else {
                waiting = Some(Waiting {
                    slot,
                    at,
                    takes_notes: true,
                });
            }
            if MERGES.contains(&found.trigger) {
                if &slot.id == b"MRG" {
                    unmerged = None;
                    records += 1;
                    self.merge(message, &mut found, at, out)?;
                } else if part == 1 {
                    unmerged = Some(at);
                } else if &slot.id == b"PID"
                    && let Some(before) = unmerged.replace(at).filter(|before| before.part > 1)
                {
                    records += 1;
                    reject(out, None, error::MERGE, merge::LACKS, before)?;
                }
            }
        }
        if let Some(ended) = waiting {
            records += self.records(message, &mut found, ended.slot, ended.at, out)?;
        }
        if records == 0 {
            if ends_within_msh(message, lines) {
                let at = lines
                    .iter()
                    .zip(origins)
                    .find(|(line, _)| line.segment)
                    .map(|(_, origin)| Locator {
                        offset: origin.offset,
                        length: origin.length,
                        row: number,
                        part: 1,
                        ..Locator::default()
                    });
                return reject(out, None, error::MSH_TRUNCATED, CUT, at.unwrap_or_default());
            }
            self.counts.no_record += u64::from(unmerged.is_none());
        }
        match unmerged {
            Some(at) => reject(out, None, error::MERGE, merge::LACKS, at),
            None => Ok(()),
        }
    }

    /// Sends what is left.
    ///
    /// # Errors
    /// When the host cannot take more.
    pub fn finish(mut self, out: &mut dyn RecordSink) -> Result<(), PluginError> {
        for (index, (rows, kind)) in self.rows.iter_mut().zip(self.kinds).enumerate() {
            rows.flush(index, kind, out)?;
        }
        let named = self
            .plan
            .kinds
            .iter()
            .map(|kind| kind.filter_rule.as_str())
            .zip(self.counts.filtered);
        let fixed = [
            (error::RULE_MESSAGES, self.counts.messages),
            (error::RULE_NO_RECORD, self.counts.no_record),
            (error::RULE_NO_RESULT, self.counts.no_result),
            (error::RULE_SAME_IDENTIFIER, self.counts.same_identifier),
        ];
        named
            .chain(fixed)
            .filter(|(_, count)| *count > 0)
            .for_each(|(rule, count)| out.filtered(rule, count));
        Ok(())
    }

    /// Reads the `MSH`. False where the message is not asked for.
    fn begin<'t>(&mut self, message: &Message<'t>, lines: &[Line], found: &mut Found<'t>) -> bool {
        let known = &self.plan.known;
        let kind = self.context.raw(message, &known.message_type);
        let code = message.delimiters.component(kind, 1);
        found.trigger = message.delimiters.component(kind, 2);
        if found.trigger.is_empty() {
            // Before v2.2 the trigger stood in EVN-1 alone.
            found.trigger = event_code(message, lines);
        }
        let (code, trigger) = (code, found.trigger);
        let asked = |(c, t): &(String, Option<String>)| c == code && t.as_ref().is_none_or(|t| t == trigger);
        if !self.plan.messages.is_empty() && !self.plan.messages.iter().any(asked) {
            return false;
        }
        self.clock
            .comparable(self.context.raw(message, &known.message_time), &mut found.message_time);
        found.sequence = self.context.raw(message, &known.sequence).trim().parse().unwrap_or(0);
        true
    }

    /// MSH-9 is required (v2.5, section 2.15.9.9): without it nobody knows whether the message was asked for.
    fn lacks_type(&self, message: &Message<'_>) -> bool {
        self.context.raw(message, &self.plan.known.message_type).is_empty()
    }

    /// Makes the records of a segment; returns how many kinds there are of it.
    #[inline]
    fn records<'t>(
        &mut self,
        message: &Message<'t>,
        found: &mut Found<'t>,
        slot: &Slot,
        at: Locator,
        out: &mut dyn RecordSink,
    ) -> Result<usize, PluginError> {
        for &kind in &slot.kinds {
            self.record(message, found, kind, at, out)?;
        }
        Ok(slot.kinds.len())
    }

    fn record<'t>(
        &mut self,
        message: &Message<'t>,
        found: &mut Found<'t>,
        index: usize,
        at: Locator,
        out: &mut dyn RecordSink,
    ) -> Result<(), PluginError> {
        let (plan, kinds) = (self.plan, self.kinds);
        let (Some(kind), Some(told)) = (plan.kinds.get(index), kinds.get(index)) else {
            return Ok(());
        };
        for (place, values) in &kind.filter {
            if !values
                .iter()
                .any(|value| value == decoded(message, self.context.raw(message, place)).as_ref())
            {
                if let Some(count) = self.counts.filtered.get_mut(index) {
                    *count += 1;
                }
                return Ok(());
            }
        }
        let status = match kind.per {
            Per::Obx => self.context.raw(message, &plan.known.result_status),
            _ => "",
        };
        if matches!(status, "I" | "O" | "N") {
            self.counts.no_result += 1;
            return Ok(());
        }
        if status == "U" && kind.replace && self.context.raw(message, &plan.known.value).is_empty() {
            let what =
                "the result became final without its value being sent again: use `fold: patch` to keep the value";
            return reject(out, Some(index), error::STATUS_ONLY, what, at);
        }
        let void = self.is_void(message, found, kind.per, status);
        self.write_version(message, found, kind.per, status);
        let cleared = kind.per == Per::Pv1 && found.trigger == "A13";
        let Some((subject, issuer)) = self.subject(message, found) else {
            return reject(
                out,
                Some(index),
                error::NO_SUBJECT,
                "the record does not say whom it is about",
                at,
            );
        };
        let Some(rows) = self.rows.get_mut(index) else {
            return Ok(());
        };
        append(&self.context, message, kind, cleared, rows, &mut self.scratch);
        let version = Some(self.version.as_str()).filter(|text| !text.is_empty());
        rows.meta.push(issuer, Some(subject), version, void, at);
        if rows.full(self.batch_rows) {
            rows.flush(index, told, out)?;
        }
        Ok(())
    }

    /// The identifier and its issuer.
    fn subject<'f, 't>(&self, message: &Message<'t>, found: &'f mut Found<'t>) -> Option<(&'f str, &'f str)> {
        let id = self.context.stamp(self.plan.subject.slot);
        let issuer = match &self.plan.issuer {
            Issuer::At(place) => self.context.stamp(place.slot),
            Issuer::Literal(_) => 0,
        };
        if id == 0 {
            return None;
        }
        if (found.subject.0, found.subject.1) != (id, issuer) {
            let id_text = self.identifier(message, &self.plan.subject);
            let issuer_text = match &self.plan.issuer {
                Issuer::At(place) => self.identifier(message, place),
                Issuer::Literal(text) => Cow::Owned(text.clone()),
            };
            found.subject = (id, issuer, Some((id_text, issuer_text)));
        }
        let (id, issuer) = found.subject.2.as_ref()?;
        (!id.is_empty()).then_some((id, issuer))
    }

    fn identifier<'t>(&self, message: &Message<'t>, place: &Place) -> Cow<'t, str> {
        identifier(message, self.context.raw(message, place))
    }

    /// Whether the record says that it does not hold (HL7 tables 0085, 0123 and 0119; ADT A11, A29). A23 asks to forget
    /// old data and is no cancellation (v2.5, section 3.3.23).
    fn is_void(&self, message: &Message<'_>, found: &mut Found<'_>, per: Per, status: &str) -> bool {
        let known = &self.plan.known;
        let cancelled = |context: &Context| matches!(context.raw(message, &known.order_control), "CA" | "OC" | "DC");
        if found.trigger == "A29" {
            return true;
        }
        match per {
            Per::Pv1 => found.trigger == "A11",
            Per::Orc => cancelled(&self.context),
            Per::Obx | Per::Obr => {
                let stamps = (
                    self.context.stamp(known.panel_status.slot),
                    self.context.stamp(known.order_control.slot),
                );
                if (found.panel_void.0, found.panel_void.1) != stamps {
                    let panel = self.context.raw(message, &known.panel_status) == "X" || cancelled(&self.context);
                    found.panel_void = (stamps.0, stamps.1, panel);
                }
                found.panel_void.2 || matches!(status, "D" | "W" | "X")
            }
            Per::Other => false,
        }
    }

    /// Writes what orders the versions of a record: a time, then MSH-13, then for results whether they are final, so
    /// that of two equally old ones a preliminary result never replaces a final one.
    fn write_version(&mut self, message: &Message<'_>, found: &mut Found<'_>, per: Per, status: &str) {
        let known = &self.plan.known;
        let (context, clock) = (&self.context, &mut self.clock);
        let mut timed = |cache: &mut (u32, Option<String>), place: &Place| {
            let stamp = context.stamp(place.slot);
            if cache.0 != stamp || stamp == 0 {
                let mut text = String::new();
                let there = stamp > 0 && clock.comparable(context.raw(message, place), &mut text);
                *cache = (stamp, there.then_some(text));
            }
        };
        self.version.clear();
        let time = match per {
            Per::Obx | Per::Obr => {
                timed(&mut found.panel_time, &known.panel_time);
                &found.panel_time.1
            }
            _ => {
                timed(&mut found.event_time, &known.event_time);
                &found.event_time.1
            }
        };
        match time {
            Some(text) => self.version.push_str(text),
            None if per == Per::Obx
                && clock.comparable(context.raw(message, &known.result_time), &mut self.version) => {}
            None => self.version.push_str(&found.message_time),
        }
        if self.version.is_empty() {
            return;
        }
        if found.sequence > 0 {
            self.version.push('#');
            version::push_digits(found.sequence, 16, &mut self.version);
        }
        if per == Per::Obx {
            self.version.push_str(match status {
                "P" | "R" | "S" => "/0",
                "C" => "/2",
                _ => "/1",
            });
        }
    }
}

/// A value used as identifier: blanks around it mean nothing (HL7 v2.5, section 2.A.75), and HL7's null is none.
fn identifier<'t>(message: &Message<'_>, raw: &'t str) -> Cow<'t, str> {
    match decoded(message, raw) {
        Cow::Borrowed("\"\"") => Cow::Borrowed(""),
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

fn decoded<'t>(message: &Message<'_>, raw: &'t str) -> Cow<'t, str> {
    if !message.escapes || memchr(message.delimiters.escape, raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut text = String::new();
    message.delimiters.unescape(raw, message.encoding, &mut text);
    Cow::Owned(text)
}

/// Appends the columns of one record.
#[inline]
fn append(context: &Context, message: &Message<'_>, kind: &Kind, cleared: bool, rows: &mut Rows, scratch: &mut String) {
    for ((builder, place), &discharge) in rows.columns.iter_mut().zip(&kind.columns).zip(&kind.discharge) {
        let raw = if cleared && discharge {
            "\"\""
        } else {
            context.raw(message, place)
        };
        rows.bytes += raw.len();
        let value = if message.escapes && memchr(message.delimiters.escape, raw.as_bytes()).is_some() {
            scratch.clear();
            message.delimiters.unescape(raw, message.encoding, scratch);
            scratch.as_str()
        } else {
            raw
        };
        builder.append(value);
    }
}

/// EVN-1 of the first `EVN`.
fn event_code<'t>(message: &Message<'t>, lines: &[Line]) -> &'t str {
    let separator = message.delimiters.field;
    let segment = lines
        .iter()
        .filter(|line| line.segment)
        .filter_map(|line| message.text.get(line.start as usize..line.end as usize))
        .find(|segment| segment.starts_with("EVN"))
        .unwrap_or_default();
    let field = segment
        .get(4..)
        .and_then(|rest| rest.split(char::from(separator)).next())
        .unwrap_or_default();
    message.delimiters.first(field)
}

/// True for a header alone that ends before MSH-12, the last field that every message must have (v2.5, section 2.15.9).
fn ends_within_msh(message: &Message<'_>, lines: &[Line]) -> bool {
    let mut segments = lines.iter().filter(|line| line.segment);
    let (Some(msh), None) = (segments.next(), segments.next()) else {
        return false;
    };
    let text = message
        .text
        .as_bytes()
        .get(msh.start as usize..msh.end as usize)
        .unwrap_or_default();
    // MSH-1 is the separator itself.
    text.iter().filter(|&&b| b == message.delimiters.field).count() < 11
}

fn reject(
    out: &mut dyn RecordSink,
    kind: Option<usize>,
    code: &str,
    message: &str,
    at: Locator,
) -> Result<(), PluginError> {
    out.reject(Rejection {
        kind,
        code: code.to_owned(),
        message: message.to_owned(),
        at,
    })
}
