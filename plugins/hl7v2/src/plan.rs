//! The options compiled once: which segments matter, which fields of them, and what each record kind takes from where.

use crate::{
    config::{FoldConfig, Hl7Config, RecordConfig},
    error,
    path::{self, Path, PathError},
};
use arrow::datatypes::{DataType, Field, Schema};
use clinmill_sdk::{Fold, PluginError, RecordKey, RecordKind};
use std::sync::Arc;

/// A path whose segment is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Index into [`Plan::slots`].
    pub slot: usize,
    /// See [`Path`].
    pub path: Path,
}

/// A segment that matters.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Segment id.
    pub id: [u8; 3],
    /// Slots that this segment's arrival empties.
    pub resets: Vec<usize>,
    /// The last field that anything asks for; 0: none.
    pub last_field: usize,
    /// The kinds that make a record of this segment.
    pub kinds: Vec<usize>,
    /// Slots of segments that belong to this one when they stand directly after it, where one of the kinds asks for them.
    pub followed: Vec<usize>,
}

/// Segments whose meaning decides about versions and void records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// A result.
    Obx,
    /// A panel.
    Obr,
    /// An order.
    Orc,
    /// A visit.
    Pv1,
    /// Any other.
    Other,
}

/// What a record kind takes from where.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Its segment.
    pub per: Per,
    /// Its columns.
    pub columns: Vec<Place>,
    /// By column: whether a cancelled discharge clears it.
    pub discharge: Vec<bool>,
    /// Conditions: each path must have one of its values.
    pub filter: Vec<(Place, Vec<String>)>,
    /// The name under which records that do not meet them are counted.
    pub filter_rule: String,
    /// True where versions replace each other.
    pub replace: bool,
}

/// Who issued an identifier.
#[derive(Clone, Debug)]
pub enum Issuer {
    /// Always this one.
    Literal(String),
    /// As the message says.
    At(Place),
}

/// Places that every plan has.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// MSH-7, when the message was made.
    pub message_time: Place,
    /// MSH-9, its type.
    pub message_type: Place,
    /// MSH-13, its number in a sequence.
    pub sequence: Place,
    /// EVN-1, the trigger of messages of v2.1.
    pub event: Place,
    /// EVN-2, when it was recorded.
    pub event_time: Place,
    /// ORC-1, what is done to the order.
    pub order_control: Place,
    /// OBR-22, when the results changed.
    pub panel_time: Place,
    /// OBR-25, the panel's status.
    pub panel_status: Place,
    /// OBX-5, the value.
    pub value: Place,
    /// OBX-11, the result's status.
    pub result_status: Place,
    /// OBX-14, when it was observed.
    pub result_time: Place,
    /// MRG-1 at the subject's repetition and component.
    pub retired: Place,
}

/// The compiled options.
#[derive(Debug)]
pub struct Plan {
    /// The segments that matter.
    pub slots: Vec<Slot>,
    /// The record kinds.
    pub kinds: Vec<Kind>,
    /// The subject's identifier.
    pub subject: Place,
    /// Who issued it.
    pub issuer: Issuer,
    /// The ids of the slots, close together because every segment is looked up here.
    ids: Vec<[u8; 3]>,
    /// Slots of an order's own segments, before its panel.
    pub order: Vec<usize>,
    /// The slot of `NTE`, if anything asks for it.
    pub notes: Option<usize>,
    /// Places that have a meaning of their own.
    pub known: Known,
    /// Message types to read; empty: all.
    pub messages: Vec<(String, Option<String>)>,
}

impl Plan {
    /// Compiles the options; also returns what the engine is told of each record kind.
    ///
    /// # Errors
    /// When an option is wrong; the pointer names it.
    pub fn new(config: &Hl7Config) -> Result<(Self, Vec<RecordKind>), PluginError> {
        let mut slots = Slots::default();
        let subject_path = parse("/subject/id", &config.subject.id)?;
        let subject = slots.place(subject_path);
        let issuer = if path::looks_like_path(&config.subject.issuer) {
            Issuer::At(slots.place(parse("/subject/issuer", &config.subject.issuer)?))
        } else {
            Issuer::Literal(config.subject.issuer.clone())
        };
        let mut compiled = Vec::new();
        let mut kinds = Vec::new();
        for (index, (name, record)) in config.records.0.iter().enumerate() {
            let at = format!("/records/{name}");
            let (kind, id) = compile(&at, name, record, &mut slots)?;
            let own = slots.slot(id);
            slots.entry(own, |slot| slot.kinds.push(index));
            kinds.push(RecordKind {
                name: name.clone(),
                schema: Arc::new(Schema::new(
                    record
                        .fields
                        .0
                        .iter()
                        .map(|(c, _)| Field::new(c, DataType::Utf8, true))
                        .collect::<Vec<_>>(),
                )),
                key: record.key.clone().map_or(RecordKey::Content, RecordKey::Columns),
                fold: if kind.replace { Fold::Replace } else { Fold::Patch },
                subject: true,
            });
            let asked = kind.columns.iter().chain(kind.filter.iter().map(|(place, _)| place));
            let followed: Vec<usize> = asked.filter(|p| follows(id, p.path.segment)).map(|p| p.slot).collect();
            slots.entry(own, |slot| slot.followed.extend(followed));
            compiled.push(kind);
        }
        let known = Known {
            message_time: slots.place(Path::of_component(*b"MSH", 7, 1)),
            message_type: slots.place(Path::of_field(*b"MSH", 9)),
            sequence: slots.place(Path::of_component(*b"MSH", 13, 1)),
            event: slots.place(Path::of_component(*b"EVN", 1, 1)),
            event_time: slots.place(Path::of_component(*b"EVN", 2, 1)),
            order_control: slots.place(Path::of_component(*b"ORC", 1, 1)),
            panel_time: slots.place(Path::of_component(*b"OBR", 22, 1)),
            panel_status: slots.place(Path::of_component(*b"OBR", 25, 1)),
            value: slots.place(Path::of_field(*b"OBX", 5)),
            result_status: slots.place(Path::of_component(*b"OBX", 11, 1)),
            result_time: slots.place(Path::of_component(*b"OBX", 14, 1)),
            retired: slots.place(Path {
                segment: *b"MRG",
                field: 1,
                ..subject_path
            }),
        };
        let messages = config
            .messages
            .iter()
            .map(|name| match name.split_once('^') {
                Some((code, trigger)) => (code.to_owned(), Some(trigger.to_owned())),
                None => (name.clone(), None),
            })
            .collect();
        let slots = slots.finish();
        let order = (0..slots.len()).filter(|&i| slots.get(i).is_some_and(|slot| matches!(rank(slot.id), 5 | 6)));
        let ids = slots.iter().map(|slot| slot.id).collect();
        let notes = slots.iter().position(|slot| &slot.id == b"NTE");
        Ok((
            Self {
                order: order.collect(),
                notes,
                ids,
                slots,
                kinds: compiled,
                subject,
                issuer,
                known,
                messages,
            },
            kinds,
        ))
    }

    /// The slot of a segment, if it matters.
    #[inline]
    pub fn slot_of(&self, id: [u8; 3]) -> Option<usize> {
        self.ids.iter().position(|&known| known == id)
    }
}

fn parse(pointer: &str, text: &str) -> Result<Path, PluginError> {
    text.parse()
        .map_err(|wrong: PathError| PluginError::config(pointer, error::BAD_PATH, wrong.message))
}

fn compile(at: &str, name: &str, record: &RecordConfig, slots: &mut Slots) -> Result<(Kind, [u8; 3]), PluginError> {
    let id = path::segment_id(&record.per)
        .map_err(|wrong| PluginError::config(format!("{at}/per"), error::BAD_SEGMENT, wrong.message))?;
    let mut columns = Vec::new();
    for (column, path) in &record.fields.0 {
        columns.push(slots.place(parse(&format!("{at}/fields/{column}"), path)?));
    }
    let mut filter = Vec::new();
    for (path, values) in &record.filter.0 {
        filter.push((slots.place(parse(&format!("{at}/where"), path)?), values.clone()));
    }
    let patched = matches!(&id, b"PID" | b"PD1" | b"PV1" | b"PV2");
    let kind = Kind {
        per: match &id {
            b"OBX" => Per::Obx,
            b"OBR" => Per::Obr,
            b"ORC" => Per::Orc,
            b"PV1" => Per::Pv1,
            _ => Per::Other,
        },
        // PV1-36 discharge disposition, PV1-45 discharge time.
        discharge: columns
            .iter()
            .map(|c| c.path.segment == *b"PV1" && matches!(c.path.field, 36 | 45))
            .collect(),
        columns,
        filter,
        filter_rule: format!("{name}.where"),
        replace: record.fold.map_or(!patched, |fold| fold == FoldConfig::Replace),
    };
    Ok((kind, id))
}

/// The group that a segment opens or belongs to: a segment of one rank ends what stands at the higher ranks
/// (HL7 v2.5, chapters 3, 4 and 7: ADT_A01, ORM_O01, OML_O21, ORU_R01).
fn rank(id: [u8; 3]) -> u8 {
    match &id {
        b"MSH" | b"SFT" | b"UAC" | b"MSA" | b"ERR" | b"EVN" | b"QRD" | b"QRF" | b"QAK" | b"QPD" => 0,
        b"PID" => 1,
        b"PD1" | b"MRG" | b"ARV" | b"NK1" => 2,
        b"PV1" => 3,
        b"PV2" | b"DB1" | b"DG1" | b"DRG" | b"PR1" | b"GT1" | b"IN1" | b"IN2" | b"IN3" | b"ACC" | b"AL1" | b"IAM" => 4,
        b"ORC" => 5,
        b"TQ1" | b"TQ2" => 6,
        b"OBR" => 7,
        _ => 8,
    }
}

/// Whether a segment continues the one of id `of` when it stands directly after it.
fn follows(of: [u8; 3], id: [u8; 3]) -> bool {
    match &id {
        b"NTE" => of != id,
        b"PD1" => &of == b"PID",
        b"PV2" => &of == b"PV1",
        b"IN2" | b"IN3" => &of == b"IN1",
        b"RXR" | b"RXC" => matches!(&of, b"RXO" | b"RXE" | b"RXD" | b"RXG" | b"RXA"),
        _ => false,
    }
}

#[derive(Default)]
struct Slots(Vec<Slot>);

impl Slots {
    fn slot(&mut self, id: [u8; 3]) -> usize {
        self.0.iter().position(|slot| slot.id == id).unwrap_or_else(|| {
            self.0.push(Slot {
                id,
                resets: Vec::new(),
                last_field: 0,
                kinds: Vec::new(),
                followed: Vec::new(),
            });
            self.0.len() - 1
        })
    }

    fn entry(&mut self, index: usize, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.0.get_mut(index) {
            change(slot);
        }
    }

    fn place(&mut self, path: Path) -> Place {
        let slot = self.slot(path.segment);
        self.entry(slot, |slot| {
            slot.last_field = slot.last_field.max(usize::from(path.field))
        });
        Place { slot, path }
    }

    /// Adds the segments that only end groups, and says what each ends.
    fn finish(mut self) -> Vec<Slot> {
        let openers = [*b"PID", *b"PV1", *b"ORC", *b"OBR"];
        for id in openers {
            self.slot(id);
        }
        for id in openers {
            let opener = self.slot(id);
            let ended = |slot: &Slot| rank(slot.id) > rank(id);
            let resets = self
                .0
                .iter()
                .enumerate()
                .filter(|(_, slot)| ended(slot))
                .map(|(i, _)| i)
                .collect();
            self.entry(opener, |slot| slot.resets = resets);
        }
        let ids: Vec<[u8; 3]> = self.0.iter().map(|slot| slot.id).collect();
        for slot in &mut self.0 {
            for (i, id) in ids.iter().enumerate() {
                // Notes end with any segment.
                if id != b"NTE" && follows(slot.id, *id) && !slot.resets.contains(&i) {
                    slot.resets.push(i);
                }
            }
        }
        self.0
    }
}
