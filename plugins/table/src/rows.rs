//! A lot of rows: where each field stands in a text, without copying it.

use crate::core::RowAt;
use clinmill_sdk::Locator;

/// Bit of [`Span::start`] that says the field stands in the arena.
const ARENA: u32 = 1 << 31;

/// Bit of [`Span::end`] that says the cell holds something of which no value can be had.
const UNFIT: u32 = 1 << 31;

/// Where a field stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// A field of the text.
    #[inline]
    pub const fn of(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    const fn is_empty(self) -> bool {
        self.start & !ARENA == self.end
    }
}

/// Rows of equal width. Fields that had to be changed (unescaped, filled in, rendered) stand in an arena.
#[derive(Debug, Default)]
pub struct Rows {
    width: usize,
    part: u32,
    spans: Vec<Span>,
    places: Vec<RowAt>,
    arena: String,
    /// Before these rows others were rejected.
    gaps: Vec<u32>,
    has_unfit: bool,
}

impl Rows {
    /// No rows of a width.
    pub fn new(width: usize, part: u32) -> Self {
        Self {
            width,
            part,
            ..Self::default()
        }
    }

    /// How many rows.
    pub const fn len(&self) -> usize {
        self.places.len()
    }

    /// True when there is none.
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Fields per row.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// The sheet.
    pub const fn part(&self) -> u32 {
        self.part
    }

    /// Bytes in the arena and fields, to know when to empty it.
    pub fn weight(&self) -> usize {
        self.arena.len() + self.spans.len() * size_of::<Span>()
    }

    /// Forgets all rows; a gap after the last one stays.
    pub fn clear(&mut self) {
        let open = self.gaps.last().is_some_and(|gap| *gap as usize >= self.places.len());
        self.gaps.clear();
        if open {
            self.gaps.push(0);
        }
        self.spans.clear();
        self.places.clear();
        self.arena.clear();
        self.has_unfit = false;
    }

    /// Adds a field to the row in the making.
    #[inline]
    pub fn field(&mut self, span: Span) {
        self.spans.push(span);
    }

    /// Adds a field that stands nowhere: `write` appends it.
    pub fn written(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.arena.len();
        write(&mut self.arena);
        self.spans.push(Span {
            start: start as u32 | ARENA,
            end: self.arena.len() as u32,
        });
    }

    /// Adds a field of which no value can be had. It reads as empty, and is no empty one.
    pub fn unfit(&mut self) {
        let at = self.arena.len() as u32;
        self.has_unfit = true;
        self.spans.push(Span {
            start: at | ARENA,
            end: at | UNFIT,
        });
    }

    /// Fields of the row in the making.
    #[inline]
    pub const fn open_fields(&self) -> usize {
        self.spans.len() - self.places.len() * self.width
    }

    /// The fields of the row in the making.
    pub fn open<'v>(&'v self, text: &'v str) -> impl Iterator<Item = &'v str> {
        let from = self.places.len() * self.width;
        self.spans
            .get(from..)
            .unwrap_or_default()
            .iter()
            .map(move |span| self.text(text, *span))
    }

    /// Ends the row in the making; it must have the right number of fields.
    #[inline]
    pub fn end_row(&mut self, at: RowAt) {
        self.places.push(at);
    }

    /// Forgets the row in the making.
    pub fn drop_row(&mut self) {
        self.spans.truncate(self.places.len() * self.width);
    }

    /// Notes that a row was rejected here.
    pub fn gap(&mut self) {
        self.gaps.push(self.places.len() as u32);
    }

    /// The rows, to read.
    pub const fn view<'v>(&'v self, text: &'v str) -> View<'v> {
        View { rows: self, text }
    }

    /// Lets empty fields take the one above, the first the value given. Returns the rows with no known value above.
    pub fn fill_down(&mut self, field: usize, above: Option<&str>) -> Vec<u32> {
        let mut unfilled = Vec::new();
        let mut current = above.map(|value| {
            let start = self.arena.len();
            self.arena.push_str(value);
            Span {
                start: start as u32 | ARENA,
                end: self.arena.len() as u32,
            }
        });
        let mut gaps = std::mem::take(&mut self.gaps).into_iter().peekable();
        let mut passed = Vec::new();
        for row in 0..self.places.len() {
            while let Some(gap) = gaps.next_if(|gap| *gap as usize <= row) {
                passed.push(gap);
                current = None;
            }
            let Some(span) = self.spans.get_mut(row * self.width + field) else {
                break;
            };
            if !span.is_empty() {
                current = Some(*span);
            } else if let Some(above) = current {
                *span = above;
            } else {
                unfilled.push(row as u32);
            }
        }
        passed.extend(gaps);
        self.gaps = passed;
        unfilled
    }

    /// The value of a field in the last row, if known: not when rows were rejected after it.
    pub fn last_value<'v>(&'v self, text: &'v str, field: usize) -> Option<&'v str> {
        let row = self.places.len().checked_sub(1)?;
        let span = *self.spans.get(row * self.width + field)?;
        if span.end & UNFIT != 0 {
            return None;
        }
        if span.is_empty() && self.gaps.iter().any(|gap| *gap as usize <= row) {
            return None;
        }
        Some(self.text(text, span))
    }

    #[inline]
    fn text<'v>(&'v self, text: &'v str, span: Span) -> &'v str {
        let (from, start) = if span.start & ARENA == 0 {
            (text, span.start)
        } else {
            (self.arena.as_str(), span.start & !ARENA)
        };
        from.get(start as usize..span.end as usize).unwrap_or_default()
    }
}

/// Rows with the text that their fields stand in.
#[derive(Clone, Copy)]
pub struct View<'v> {
    rows: &'v Rows,
    text: &'v str,
}

impl<'v> View<'v> {
    /// How many rows.
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// A field; empty where there is none.
    #[inline]
    pub fn get(&self, row: usize, field: usize) -> &'v str {
        match self.rows.spans.get(row * self.rows.width + field) {
            Some(span) => self.rows.text(self.text, *span),
            None => "",
        }
    }

    /// True for a field of which no value can be had.
    pub fn is_unfit(&self, row: usize, field: usize) -> bool {
        let span = self.rows.spans.get(row * self.rows.width + field);
        self.rows.has_unfit && span.is_some_and(|span| span.end & UNFIT != 0)
    }

    /// True when one of the fields is such.
    pub const fn has_unfit(&self) -> bool {
        self.rows.has_unfit
    }

    /// Where a row or one of its cells stands.
    pub fn locator(&self, row: usize, cell: Option<u32>) -> Locator {
        self.rows
            .places
            .get(row)
            .map_or_else(Locator::default, |at| at.locator(self.rows.part, cell))
    }
}
