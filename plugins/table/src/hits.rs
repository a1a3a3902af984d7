//! Finds three byte values in a text, 64 bytes at a time, without a call per find.

const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
const ONES: u64 = 0x0101_0101_0101_0101;
/// Gathers the lowest bit of each byte in the highest byte.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// The places of three byte values, in order.
pub struct Hits<'t> {
    bytes: &'t [u8],
    patterns: [u64; 3],
    base: usize,
    mask: u64,
}

impl<'t> Hits<'t> {
    /// From the start of the text.
    pub fn new(bytes: &'t [u8], needles: [u8; 3]) -> Self {
        let mut hits = Self {
            bytes,
            patterns: needles.map(|n| u64::from(n) * ONES),
            base: 0,
            mask: 0,
        };
        hits.seek(0);
        hits
    }

    /// Goes on at a place, forwards or backwards.
    pub fn seek(&mut self, to: usize) {
        self.base = to & !63;
        self.mask = self.load() & (u64::MAX << (to & 63));
    }

    /// The next place.
    #[inline]
    pub fn step(&mut self) -> Option<usize> {
        while self.mask == 0 {
            self.base += 64;
            if self.base >= self.bytes.len() {
                // Stays at the end when asked again.
                self.base = self.bytes.len();
                return None;
            }
            self.mask = self.load();
        }
        let bit = self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        Some(self.base + bit)
    }

    #[inline]
    fn load(&self) -> u64 {
        let rest = self.bytes.get(self.base..).unwrap_or_default();
        if let Some(chunk) = rest.first_chunk::<64>() {
            return self.find(chunk);
        }
        let mut chunk = [0; 64];
        for (to, from) in chunk.iter_mut().zip(rest) {
            *to = *from;
        }
        // The needles are never 0, but the mask must not depend on it.
        self.find(&chunk) & !(u64::MAX.checked_shl(rest.len() as u32).unwrap_or(0))
    }

    #[inline]
    fn find(&self, chunk: &[u8; 64]) -> u64 {
        let mut mask = 0;
        for (i, word) in chunk.chunks_exact(8).enumerate() {
            let word = word.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            let [a, b, c] = self.patterns;
            let found = zeros(word ^ a) | zeros(word ^ b) | zeros(word ^ c);
            mask |= ((found >> 7).wrapping_mul(GATHER) >> 56) << (i * 8);
        }
        mask
    }
}

/// 0x80 in every byte that is zero, 0 in the others; exact, unlike the shorter formula that borrows across bytes.
#[inline]
const fn zeros(word: u64) -> u64 {
    !(((word & LOW) + LOW) | word | LOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_all_from_anywhere(bytes in proptest::collection::vec(prop_oneof![Just(b','), Just(b'\n'), any::<u8>()], 0..300),
                                   from in 0usize..300) {
            let from = from.min(bytes.len());
            let mut hits = Hits::new(&bytes, [b',', b'\n', 0x80]);
            hits.seek(from);
            let found: Vec<usize> = std::iter::from_fn(|| hits.step()).collect();
            let want: Vec<usize> = (from..bytes.len()).filter(|i| matches!(bytes[*i], b',' | b'\n' | 0x80)).collect();
            prop_assert_eq!(found, want);
            prop_assert_eq!(hits.step(), None);
        }
    }
}
