//! The segments of a message that a record can see, each cut into fields once.

use crate::{
    plan::{Place, Slot},
    text::Delimiters,
};
use encoding_rs::Encoding;

/// A decoded message.
#[derive(Clone, Copy)]
pub struct Message<'t> {
    /// Its text.
    pub text: &'t str,
    /// Its delimiters.
    pub delimiters: Delimiters,
    /// Its character set.
    pub encoding: &'static Encoding,
    /// False where nothing needs unescaping.
    pub escapes: bool,
}

/// The nearest segment of each kind, within the group at hand.
#[derive(Default)]
pub struct Context {
    segments: Vec<Segment>,
    stamp: u32,
}

#[derive(Default)]
struct Segment {
    /// 0: none; else different for every segment of a message.
    stamp: u32,
    end: u32,
    /// Where the separators stand; the n-th field lies behind the n-th.
    separators: Vec<u32>,
    /// 1 for `MSH`, whose first field is the first separator.
    shift: u16,
}

impl Context {
    /// Forgets everything: a message begins.
    pub fn clear(&mut self, slots: usize) {
        self.segments.resize_with(slots, Segment::default);
        self.segments.iter_mut().for_each(|segment| segment.stamp = 0);
        self.stamp = 0;
    }

    /// A segment was read, from `start` to `end` in the message.
    #[inline]
    pub fn arrive(&mut self, index: usize, slot: &Slot, message: &Message<'_>, start: u32, end: u32) {
        for &other in &slot.resets {
            if let Some(segment) = self.segments.get_mut(other) {
                segment.stamp = 0;
            }
        }
        self.stamp += 1;
        let Some(segment) = self.segments.get_mut(index) else {
            return;
        };
        segment.stamp = self.stamp;
        segment.end = end;
        segment.shift = u16::from(&slot.id == b"MSH");
        segment.separators.clear();
        if slot.last_field > 0 {
            let bytes = message
                .text
                .as_bytes()
                .get(start as usize..end as usize)
                .unwrap_or_default();
            separators(
                bytes,
                message.delimiters.field,
                start,
                slot.last_field + 1,
                &mut segment.separators,
            );
        }
    }

    /// A segment no longer counts.
    pub fn forget(&mut self, index: usize) {
        if let Some(segment) = self.segments.get_mut(index) {
            segment.stamp = 0;
        }
    }

    /// 0 where there is no such segment; else a number that tells it from the others of its message.
    #[inline]
    pub fn stamp(&self, index: usize) -> u32 {
        self.segments.get(index).map_or(0, |segment| segment.stamp)
    }

    /// What stands at a place, escapes not decoded; empty where there is nothing.
    #[inline]
    pub fn raw<'t>(&self, message: &Message<'t>, place: &Place) -> &'t str {
        let path = &place.path;
        let field = self.field(message, place.slot, path.field);
        if field.is_empty() || (path.component == 0 && path.repetition == 0) {
            return field;
        }
        // HL7's null says that the whole is to be cleared, so each part of it is.
        let cleared = |text: &str| text == "\"\"";
        if cleared(field) {
            return field;
        }
        let delimiters = &message.delimiters;
        if path.component == 1 && path.repetition <= 1 && path.subcomponent == 0 {
            return delimiters.first(field);
        }
        let repetition = delimiters.repetition(field, path.repetition.max(1));
        if path.component == 0 || cleared(repetition) {
            return repetition;
        }
        let component = delimiters.component(repetition, path.component);
        if path.subcomponent == 0 || cleared(component) {
            return component;
        }
        delimiters.subcomponent(component, path.subcomponent)
    }

    #[inline]
    fn field<'t>(&self, message: &Message<'t>, index: usize, field: u16) -> &'t str {
        let Some(segment) = self.segments.get(index).filter(|segment| segment.stamp > 0) else {
            return "";
        };
        if field <= segment.shift {
            // MSH-1.
            let at = segment.separators.first().map_or(0, |&at| at as usize);
            return message.text.get(at..at + 1).unwrap_or_default();
        }
        let n = usize::from(field - segment.shift);
        let Some(&before) = segment.separators.get(n - 1) else {
            return "";
        };
        let end = segment.separators.get(n).copied().unwrap_or(segment.end);
        message.text.get(before as usize + 1..end as usize).unwrap_or_default()
    }
}

/// Appends where the first `most` separators stand in `bytes`, counted from `base`. Eight bytes at a time: fields are
/// short, and a search per field would cost more than it skips.
#[inline]
fn separators(bytes: &[u8], separator: u8, base: u32, most: usize, out: &mut Vec<u32>) {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let pattern = u64::from(separator) * 0x0101_0101_0101_0101;
    let (words, tail) = bytes.as_chunks::<8>();
    let mut at = base;
    for word in words {
        let x = u64::from_le_bytes(*word) ^ pattern;
        // The high bit of each byte of x that is zero.
        let mut hits = !(((x & LOW) + LOW) | x | LOW);
        while hits != 0 {
            out.push(at + hits.trailing_zeros() / 8);
            hits &= hits - 1;
        }
        if out.len() >= most {
            return;
        }
        at += 8;
    }
    for (i, &byte) in (at..).zip(tail) {
        if byte == separator {
            out.push(i);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_separators() {
        for text in [
            "",
            "|",
            "abc|d||ef|0123456789|\u{75c5}|x",
            "||||||||||||||||||||",
            "\u{fc}|\u{17c}|",
        ] {
            let mut found = Vec::new();
            separators(text.as_bytes(), b'|', 5, usize::MAX, &mut found);
            let naive: Vec<u32> = text
                .bytes()
                .enumerate()
                .filter(|(_, b)| *b == b'|')
                .map(|(i, _)| i as u32 + 5)
                .collect();
            assert_eq!(found, naive, "{text}");
        }
    }
}
