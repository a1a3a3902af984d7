//! Texts that are numbers in all but form: the same letters, then as many digits. Identifiers of hospitals are such.

use arrow::{
    array::{Array, StringArray, UInt32Array},
    buffer::{Buffer, OffsetBuffer},
    error::ArrowError,
};
use serde::{Deserialize, Serialize};

/// What the texts of one column share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digits {
    prefix: String,
    digits: usize,
}

/// Digits that are read at once.
const EIGHT: usize = 8;
/// Digits at the most: a number below 2^32 may have more of them, of which the first are 0.
const MOST: usize = 18;
/// Bytes before them at the most: identifiers are short.
const MOST_BEFORE: usize = 46;

impl Digits {
    /// The form of a text: its digits are those after the last other character. `None` where it has none, or they are too
    /// large a number.
    pub fn of(text: &str) -> Option<Self> {
        let prefix = text.trim_end_matches(|c: char| c.is_ascii_digit());
        if prefix.len() > MOST_BEFORE {
            return None;
        }
        let form = Self {
            prefix: prefix.to_owned(),
            digits: text.len() - prefix.len(),
        };
        form.number(text.as_bytes()).map(|_| form)
    }

    /// The number of a text of this form; `None` for another text.
    pub fn number(&self, text: &[u8]) -> Option<u32> {
        let digits = text.strip_prefix(self.prefix.as_bytes())?;
        if digits.len() != self.digits || !(1..=MOST).contains(&digits.len()) {
            return None;
        }
        let (first, eights) = digits.as_rchunks::<EIGHT>();
        let mut number = 0;
        for digit in first {
            number = number * 10 + u64::from(digit.is_ascii_digit().then_some(digit & 0x0f)?);
        }
        for eight in eights {
            number = number * 100_000_000 + of_eight(u64::from_le_bytes(*eight))?;
        }
        u32::try_from(number).ok()
    }

    /// The numbers of texts that are all of this form; `None` where one is not.
    pub fn numbers(&self, texts: &StringArray) -> Option<UInt32Array> {
        let (bytes, offsets) = (texts.value_data(), texts.value_offsets());
        let nulls = texts.nulls().filter(|nulls| nulls.null_count() > 0);
        let short = Short::of(self);
        let number = |(i, bounds): (usize, &[i32])| {
            if nulls.is_some_and(|nulls| nulls.is_null(i)) {
                return Some(0);
            }
            let (start, end) = (bounds[0] as usize, bounds[1] as usize);
            match (&short, bytes.get(start..)?.first_chunk()) {
                (Some(short), Some(text)) => short.number(*text, end - start),
                _ => self.number(bytes.get(start..end)?),
            }
        };
        let numbers: Option<Vec<u32>> = offsets.windows(2).enumerate().map(number).collect();
        Some(UInt32Array::new(numbers?.into(), texts.nulls().cloned()))
    }

    /// The texts of numbers.
    ///
    /// # Errors
    /// When they are too many for one column, or a number has more digits.
    pub fn texts(&self, numbers: &UInt32Array) -> Result<StringArray, ArrowError> {
        let width = self.prefix.len() + self.digits;
        let mut bytes = Vec::with_capacity(width * (numbers.len() - numbers.null_count()));
        let mut lengths = Vec::with_capacity(numbers.len());
        for number in numbers {
            lengths.push(number.map_or(0, |_| width));
            let Some(mut number) = number else { continue };
            bytes.extend_from_slice(self.prefix.as_bytes());
            let first = bytes.len();
            bytes.resize(first + self.digits, b'0');
            for digit in bytes[first..].iter_mut().rev() {
                *digit += (number % 10) as u8;
                number /= 10;
            }
            if number > 0 {
                return Err(ArrowError::InvalidArgumentError("a number has more digits".to_owned()));
            }
        }
        if i32::try_from(bytes.len()).is_err() {
            return Err(ArrowError::OffsetOverflowError(bytes.len()));
        }
        let offsets = OffsetBuffer::from_lengths(lengths);
        StringArray::try_new(offsets, Buffer::from_vec(bytes), numbers.nulls().cloned())
    }
}

/// A form of texts that fit in a register.
struct Short {
    length: usize,
    prefix: u128,
    /// The bits of the prefix in a text.
    is_prefix: u128,
    /// How far up the last digit is moved, and what stands below the first one then.
    up: u32,
    zeros: u128,
    is_zeros: u128,
}

impl Short {
    const BYTES: usize = size_of::<u128>();

    fn of(form: &Digits) -> Option<Self> {
        let (before, length) = (form.prefix.len(), form.prefix.len() + form.digits);
        let mut prefix = [0; Self::BYTES];
        prefix.get_mut(..before)?.copy_from_slice(form.prefix.as_bytes());
        let up = Self::BYTES.checked_sub(length)?;
        let lowest = |bytes: usize| u128::MAX.checked_shr(8 * (Self::BYTES - bytes) as u32).unwrap_or(0);
        let is_zeros = lowest(Self::BYTES - form.digits);
        Some(Self {
            length,
            prefix: u128::from_le_bytes(prefix),
            is_prefix: lowest(before),
            up: 8 * up as u32,
            zeros: u128::from_le_bytes([b'0'; Self::BYTES]) & is_zeros,
            is_zeros,
        })
    }

    /// The number of a text of so many bytes, whatever follows it.
    fn number(&self, text: [u8; Self::BYTES], length: usize) -> Option<u32> {
        let text = u128::from_le_bytes(text);
        if length != self.length || text & self.is_prefix != self.prefix {
            return None;
        }
        let digits = (text << self.up) & !self.is_zeros | self.zeros;
        let number = of_eight(digits as u64)? * 100_000_000 + of_eight((digits >> 64) as u64)?;
        u32::try_from(number).ok()
    }
}

/// The number of eight digits: neighbours are put together, then pairs, then fours.
fn of_eight(all: u64) -> Option<u64> {
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    // A digit is 0x30 to 0x39: six more leave its first half as it is.
    if all & HIGH != 0x3030_3030_3030_3030 || all.wrapping_add(0x0606_0606_0606_0606) & HIGH != 0x3030_3030_3030_3030 {
        return None;
    }
    let ones = all & !HIGH;
    let pairs = (ones.wrapping_mul(10 << 8 | 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(10_000 << 32 | 1) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_tells_its_form() {
        let form = |text: &str| Digits::of(text).map(|form| (form.prefix.clone(), form.digits));
        assert_eq!(form("S0000012345"), Some(("S".to_owned(), 10)));
        assert_eq!(form("2026-住院00017"), Some(("2026-住院".to_owned(), 5)));
        assert_eq!(form("4294967295"), Some((String::new(), 10)));
        for other in [
            "",
            "S",
            "12a",
            "4294967296",
            "0000000000000000001",
            "１２",
            "-",
            &format!("{}1", "p".repeat(47)),
        ] {
            assert_eq!(form(other), None, "{other}");
        }
        let form = Digits::of("S007").unwrap();
        for other in ["S07", "S0007", "T007", "S00a", "S0/7", "S0:7", "s007", ""] {
            assert_eq!(form.number(other.as_bytes()), None, "{other}");
        }
        let eights = Digits::of("00000000").unwrap();
        for other in [
            "0000000/",
            "0000000:",
            ":0000000",
            "0000 000",
            "0000\u{f0}0",
            "00000000 ",
        ] {
            assert_eq!(eights.number(other.as_bytes()), None, "{other}");
        }
        assert!(form.texts(&UInt32Array::from(vec![1000])).is_err());
    }

    proptest! {
        #[test]
        fn texts_come_back(
            prefix in "[A-Z中0-9-]{0,4}[A-Z-]|",
            numbers in prop::collection::vec(prop::option::of(any::<u32>()), 1..20),
            short in 0u32..32,
            digits in 10usize..19,
        ) {
            let numbers: UInt32Array = numbers.iter().map(|n| n.map(|n| n >> short)).collect();
            let texts: StringArray = numbers.iter().map(|n| n.map(|n| format!("{prefix}{n:0digits$}"))).collect();
            for form in texts.iter().flatten().map(|text| Digits::of(text).unwrap()) {
                let of = |text: Option<&str>| text.map(|text| form.number(text.as_bytes()).unwrap());
                prop_assert_eq!(&texts.iter().map(of).collect::<UInt32Array>(), &numbers);
                prop_assert_eq!(&form.numbers(&texts), &Some(numbers.clone()));
                for other in ["1", "A1", "１", "0000000000"] {
                    let others: StringArray = texts.iter().chain([Some(other)]).collect();
                    let is_alike = form.number(other.as_bytes()).is_some();
                    prop_assert_eq!(form.numbers(&others).is_some(), is_alike);
                }
                prop_assert_eq!(&form.texts(&numbers).unwrap(), &texts);
            }
        }
    }
}
