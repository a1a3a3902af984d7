//! Texts as numbers: a column that says few things goes from the source's batches to its event file as the numbers of its
//! texts in a dictionary, one of texts that are digits in one form as those. Numbers are copied and written in less time.

use super::shuffle::KindOf;
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt16Array},
    compute::take,
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, UInt16Type},
    error::ArrowError,
};
use clinmill_catalog::{
    events,
    shards::{self, Digits},
};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use xxhash_rust::xxh3::xxh3_64;

/// Texts of a dictionary at the most; a column that says more is one of digits or stays one of texts.
const MOST_TEXTS: usize = 1024;
/// Bytes of one of its texts at the most.
const MOST_BYTES: usize = 64;
/// An event file has a dictionary where each of its texts is said in so many rows, in the mean.
const WORTH_A_NUMBER: usize = 4;

/// Tells a column of numbers of texts from one that the record has.
const MARK: &str = "clinmill.numbers";
/// The same of a column of texts that are digits.
const DIGITS_MARK: &str = "clinmill.digits";

/// The dictionaries of all columns, for all readers. Which columns have one depends on what they say alone, and not on who
/// reads what first.
#[derive(Default)]
pub struct Dictionaries(Mutex<BTreeMap<(KindOf, usize), Dictionary>>);

#[derive(Default)]
struct Dictionary {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u16>,
    full: bool,
    /// Of a full one: the form of all texts of the column until then.
    form: Option<Digits>,
    /// Texts of another form have come since.
    has_others: bool,
}

/// What a dictionary holds at one time.
#[derive(Clone)]
pub struct Texts {
    texts: StringArray,
    /// The column says too much.
    full: bool,
    /// The form that texts of a full one have, or had until others came.
    form: Option<Digits>,
    has_others: bool,
}

impl Dictionaries {
    /// The number of a text; `None` where the column says too much for a dictionary.
    fn number(&self, of: KindOf, column: usize, text: &str) -> Option<u16> {
        let mut all = self.lock();
        let dictionary = all.entry((of, column)).or_default();
        if let Some(number) = dictionary.numbers.get(text) {
            return Some(*number);
        }
        if dictionary.full {
            return None;
        }
        if text.len() > MOST_BYTES || dictionary.texts.len() >= MOST_TEXTS {
            let first = dictionary.texts.first().map_or(text, AsRef::as_ref);
            let mut texts = dictionary.texts.iter().map(AsRef::as_ref).chain([text]);
            let form = Digits::of(first);
            dictionary.form = form.filter(|form| texts.all(|text| form.number(text.as_bytes()).is_some()));
            dictionary.full = true;
            return None;
        }
        let number = dictionary.texts.len() as u16;
        let text: Arc<str> = text.into();
        dictionary.texts.push(text.clone());
        dictionary.numbers.insert(text, number);
        Some(number)
    }

    /// The form of the texts of a column that says too much for a dictionary.
    fn form(&self, of: KindOf, column: usize) -> Option<Digits> {
        let all = self.lock();
        let dictionary = all.get(&(of, column)).filter(|dictionary| !dictionary.has_others)?;
        dictionary.form.clone()
    }

    /// Notes that a column has texts of another form.
    fn saw_others(&self, of: KindOf, column: usize) {
        if let Some(dictionary) = self.lock().get_mut(&(of, column)) {
            dictionary.has_others = true;
        }
    }

    /// What the dictionaries of a kind's columns hold now.
    pub fn texts(&self, of: KindOf) -> BTreeMap<usize, Texts> {
        let all = self.lock();
        let own = all.range((of, 0)..=(of, usize::MAX));
        own.map(|((_, column), dictionary)| {
            let texts = StringArray::from_iter_values(&dictionary.texts);
            let held = Texts {
                texts,
                full: dictionary.full,
                form: dictionary.form.clone(),
                has_others: dictionary.has_others,
            };
            (*column, held)
        })
        .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(KindOf, usize), Dictionary>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts numbers in the place of texts; one for each reading thread.
pub struct Encoder<'a> {
    dictionaries: &'a Dictionaries,
    /// By column.
    kinds: BTreeMap<KindOf, Vec<Known>>,
}

/// What one reader knows of a column's dictionary.
#[derive(Default)]
struct Known {
    /// Places in `texts`, counted from 1, by hash.
    slots: Vec<u16>,
    texts: Vec<KnownText>,
    full: bool,
    /// Full, and its texts have no form.
    is_plain: bool,
}

struct KnownText {
    /// The first bytes.
    head: u128,
    text: Box<[u8]>,
    number: u16,
}

const SLOT_BITS: u32 = 12;
const HEAD_BYTES: usize = size_of::<u128>();

impl<'a> Encoder<'a> {
    /// One that knows nothing yet.
    pub fn new(dictionaries: &'a Dictionaries) -> Self {
        Self {
            dictionaries,
            kinds: BTreeMap::new(),
        }
    }

    /// The texts of events with numbers in the place of columns that say few things.
    ///
    /// # Errors
    /// Never for the texts of events.
    pub fn encode(&mut self, of: KindOf, texts: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let dictionaries = self.dictionaries;
        let known = self.kinds.entry(of).or_default();
        known.resize_with(texts.num_columns(), Known::default);
        let encoded = |(i, (field, column)): (usize, (&FieldRef, &ArrayRef))| -> (FieldRef, ArrayRef) {
            // The engine looks at single versions.
            let is_own = field.name() == events::VERSION;
            let Some(texts) = column.as_string_opt().filter(|_| !is_own && !known[i].is_plain) else {
                return (field.clone(), column.clone());
            };
            if let Some(numbers) = known[i].numbers(texts, |text| dictionaries.number(of, i, text)) {
                return (marked(field, DataType::UInt16, MARK), Arc::new(numbers));
            }
            let form = dictionaries.form(of, i);
            match form.and_then(|form| form.numbers(texts)) {
                Some(numbers) => (marked(field, DataType::UInt32, DIGITS_MARK), Arc::new(numbers)),
                None => {
                    dictionaries.saw_others(of, i);
                    known[i].is_plain = true;
                    (field.clone(), column.clone())
                }
            }
        };
        let fields = texts.schema_ref().fields().iter();
        let (fields, columns): (Vec<FieldRef>, _) = fields.zip(texts.columns()).enumerate().map(encoded).unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}

impl Known {
    /// The numbers of the texts; `None` where they are too many, of which `ask` knows.
    fn numbers(&mut self, texts: &StringArray, ask: impl Fn(&str) -> Option<u16>) -> Option<UInt16Array> {
        if self.full {
            return None;
        }
        if self.slots.is_empty() {
            self.slots = vec![0; 1 << SLOT_BITS];
        }
        let (bytes, offsets) = (texts.value_data(), texts.value_offsets());
        let nulls = texts.nulls().filter(|nulls| nulls.null_count() > 0);
        let mut numbers = Vec::with_capacity(texts.len());
        for (i, bounds) in offsets.windows(2).enumerate() {
            if nulls.is_some_and(|nulls| nulls.is_null(i)) {
                numbers.push(0);
                continue;
            }
            let text = bounds[0] as usize..bounds[1] as usize;
            let number = match self.find(bytes, text) {
                Ok(number) => Some(number),
                Err(slot) => ask(texts.value(i)).inspect(|number| self.learn(slot, texts.value(i), *number)),
            };
            let Some(number) = number else {
                self.full = true;
                return None;
            };
            numbers.push(number);
        }
        Some(UInt16Array::new(numbers.into(), texts.nulls().cloned()))
    }

    /// The number of a text, or the slot where it belongs.
    fn find(&self, bytes: &[u8], text: Range<usize>) -> Result<u16, usize> {
        let (head, len) = (head(bytes, &text), text.len());
        let hash = match len <= HEAD_BYTES {
            true => {
                let folded = head as u64 ^ ((head >> 64) as u64).rotate_left(32) ^ len as u64;
                folded.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            }
            false => xxh3_64(&bytes[text.clone()]),
        };
        let mut slot = (hash >> (u64::BITS - SLOT_BITS)) as usize;
        loop {
            let Some(known) = self.slots[slot].checked_sub(1) else {
                return Err(slot);
            };
            let known = &self.texts[usize::from(known)];
            if known.head == head
                && known.text.len() == len
                && (len <= HEAD_BYTES || *known.text == bytes[text.clone()])
            {
                return Ok(known.number);
            }
            slot = (slot + 1) % self.slots.len();
        }
    }

    fn learn(&mut self, slot: usize, text: &str, number: u16) {
        let text: Box<[u8]> = text.as_bytes().into();
        self.texts.push(KnownText {
            head: head(&text, &(0..text.len())),
            text,
            number,
        });
        self.slots[slot] = self.texts.len() as u16;
    }
}

/// The first bytes of a text as a number, which with its length is all of a short one.
fn head(bytes: &[u8], text: &Range<usize>) -> u128 {
    let rest = &bytes[text.start..];
    let len = text.len().min(HEAD_BYTES);
    match rest.first_chunk() {
        Some(_) if len == 0 => 0,
        Some(head) => u128::from_le_bytes(*head) & (u128::MAX >> (8 * (HEAD_BYTES - len))),
        None => {
            let mut head = [0; HEAD_BYTES];
            head[..len].copy_from_slice(&rest[..len]);
            u128::from_le_bytes(head)
        }
    }
}

fn marked(field: &Field, kind: DataType, mark: &str) -> FieldRef {
    let marked = Field::new(field.name(), kind, true);
    Arc::new(marked.with_metadata(HashMap::from([(mark.to_owned(), String::new())])))
}

fn is_marked(field: &Field) -> bool {
    field.metadata().contains_key(MARK)
}

/// True for a column of texts that are digits.
pub fn is_of_digits(field: &Field) -> bool {
    field.metadata().contains_key(DIGITS_MARK)
}

/// The texts of events with each column in one form in all batches.
///
/// # Errors
/// Never for batches of one kind.
pub fn alike(
    dictionaries: &Dictionaries,
    of: KindOf,
    batches: Vec<RecordBatch>,
) -> Result<Vec<RecordBatch>, ArrowError> {
    let Some(first) = batches.first().map(RecordBatch::schema) else {
        return Ok(batches);
    };
    if batches.iter().all(|batch| batch.schema_ref() == &first) {
        return Ok(batches);
    }
    // A column that is in another form anywhere says too much for the one it had.
    let held = dictionaries.texts(of);
    batches.iter().map(|batch| without_full(batch, &held)).collect()
}

/// The texts of events with those columns in another form that say too much for the one they have.
///
/// # Errors
/// Never for a batch of this kind.
pub fn without_full(batch: &RecordBatch, held: &BTreeMap<usize, Texts>) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema_ref();
    let outgrown = |i: usize| {
        let held = held.get(&i).filter(|held| held.full)?;
        let field = schema.field(i);
        (is_marked(field) || (is_of_digits(field) && held.form().is_none())).then_some(held)
    };
    if (0..batch.num_columns()).all(|i| outgrown(i).is_none()) {
        return Ok(batch.clone());
    }
    let other = |(i, (field, column)): (usize, (&FieldRef, &ArrayRef))| -> Result<(FieldRef, ArrayRef), ArrowError> {
        let Some(held) = outgrown(i) else {
            return Ok((field.clone(), column.clone()));
        };
        let texts: ArrayRef = match &held.form {
            Some(form) if is_of_digits(field) => Arc::new(form.texts(column.as_primitive())?),
            _ => held.of(column)?,
        };
        let Some(form) = held.form() else {
            return Ok((plain_field(field), texts));
        };
        let numbers = form.numbers(texts.as_string());
        let numbers = numbers.ok_or_else(|| ArrowError::ComputeError("texts of another form".to_owned()))?;
        Ok((marked(field, DataType::UInt32, DIGITS_MARK), Arc::new(numbers)))
    };
    let columns = schema.fields().iter().zip(batch.columns()).enumerate().map(other);
    let (fields, columns): (Vec<_>, _) = columns.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn plain_field(field: &Field) -> FieldRef {
    Arc::new(Field::new(field.name(), DataType::Utf8, true))
}

impl Texts {
    /// The form that all texts have of a column that says too much for a dictionary.
    pub fn form(&self) -> Option<&Digits> {
        self.form.as_ref().filter(|_| !self.has_others)
    }

    fn of(&self, numbers: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        take(&self.texts, numbers.as_primitive::<UInt16Type>(), None)
    }
}

/// How the columns of numbers of one event file are written.
#[derive(Default)]
pub struct Written {
    /// The texts of its dictionaries.
    pub dictionaries: shards::Dictionaries,
    /// What columns say that say one thing.
    pub constants: BTreeMap<String, String>,
    columns: HashMap<String, Form>,
}

enum Form {
    /// As numbers of the file's own, by those of the refresh.
    Numbers(Vec<u16>),
    /// As texts again.
    Texts(Texts),
    /// As the digits that they are.
    Digits,
}

impl Written {
    /// For the events of these rows of the batches.
    pub fn of(batches: &[&RecordBatch], rows: &[(usize, Range<usize>)], held: &BTreeMap<usize, Texts>) -> Self {
        let mut out = Self::default();
        let schema = batches
            .first()
            .map_or_else(|| SchemaRef::new(Schema::empty()), |batch| batch.schema());
        let events: usize = rows.iter().map(|(_, rows)| rows.len()).sum();
        let of_digits = schema.fields().iter().filter(|field| is_of_digits(field));
        out.columns = of_digits.map(|field| (field.name().clone(), Form::Digits)).collect();
        for (i, field) in schema.fields().iter().enumerate().filter(|(_, field)| is_marked(field)) {
            let Some(held) = held.get(&i) else { continue };
            let (used, has_nulls) = used(i, batches, rows, held.texts.len());
            let mut said: Vec<(&str, usize)> = (0..used.len())
                .filter(|number| used[*number])
                .map(|number| (held.texts.value(number), number))
                .collect();
            said.sort_unstable();
            let name = field.name().clone();
            match said.as_slice() {
                [(text, _)] if !has_nulls => {
                    out.constants.insert(name, (*text).to_owned());
                }
                said if said.len() * WORTH_A_NUMBER <= events => {
                    let mut numbers = vec![0; used.len()];
                    (0..).zip(said).for_each(|(own, (_, number))| numbers[*number] = own);
                    out.columns.insert(name.clone(), Form::Numbers(numbers));
                    let texts = said.iter().map(|(text, _)| (*text).to_owned());
                    out.dictionaries.insert(name, texts.collect());
                }
                _ => {
                    out.columns.insert(name, Form::Texts(held.clone()));
                }
            }
        }
        out
    }

    /// A column of the file.
    pub fn field(&self, field: &FieldRef) -> FieldRef {
        match self.columns.get(field.name()) {
            Some(Form::Numbers(_)) => Arc::new(field.as_ref().clone().with_data_type(DataType::UInt16)),
            Some(Form::Digits) => Arc::new(field.as_ref().clone().with_data_type(DataType::UInt32)),
            Some(Form::Texts(_)) | None => field.clone(),
        }
    }

    /// Events as the file has them.
    ///
    /// # Errors
    /// Never for events of these rows.
    pub fn batch(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let column = |(field, column): (&FieldRef, &ArrayRef)| -> Result<(FieldRef, ArrayRef), ArrowError> {
            Ok(match self.columns.get(field.name()) {
                Some(Form::Numbers(own)) => {
                    let numbers = column.as_primitive::<UInt16Type>();
                    let numbers: UInt16Array = numbers.unary(|number| own[usize::from(number)]);
                    (
                        Arc::new(Field::new(field.name(), DataType::UInt16, true)),
                        Arc::new(numbers),
                    )
                }
                Some(Form::Texts(texts)) => (plain_field(field), texts.of(column)?),
                Some(Form::Digits) | None => (field.clone(), column.clone()),
            })
        };
        let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(column);
        let (fields, columns): (Vec<_>, _) = columns.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        RecordBatch::try_new_with_options(
            Arc::new(Schema::new(fields)),
            columns,
            &arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
        )
    }
}

/// Which numbers below `most` a column has in these rows, and whether it says nothing in one of them.
fn used(column: usize, batches: &[&RecordBatch], rows: &[(usize, Range<usize>)], most: usize) -> (Vec<bool>, bool) {
    let columns: Vec<&UInt16Array> = batches
        .iter()
        .map(|batch| batch.column(column).as_primitive())
        .collect();
    let (mut used, mut has_nulls) = (vec![false; most], false);
    for (batch, rows) in rows {
        let numbers = columns[*batch];
        for row in rows.clone() {
            match numbers.is_null(row) {
                true => has_nulls = true,
                false => used[usize::from(numbers.value(row))] = true,
            }
        }
    }
    (used, has_nulls)
}
