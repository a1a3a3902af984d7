//! The generator's own random numbers: SplitMix64, so that the same seed gives the same bytes on every machine and
//! with every version of every library.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream for one purpose: streams of different keys are independent, so that a change to one part of the
    /// generator leaves the others as they were.
    pub fn of(seed: u64, keys: &[u64]) -> Self {
        let mut rng = Self(seed ^ 0x9e37_79b9_7f4a_7c15);
        for &key in keys {
            rng.0 = rng.next_u64() ^ key.wrapping_mul(0xff51_afd7_ed55_8ccd);
        }
        rng.next_u64();
        rng
    }

    /// The next 64 bits (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `low..high`; `low` when the range is empty.
    pub fn range(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high - low).unwrap_or(0).max(1);
        low + i64::try_from(self.next_u64() % width).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.next_u64().is_multiple_of(n.max(1))
    }

    /// One of the items.
    ///
    /// # Panics
    /// When there are none: the word lists are part of the program.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.next_u64() % items.len() as u64).unwrap_or(0)]
    }

    /// A number around `mean`: the sum of four uniform numbers, spread about `spread` to either side.
    pub fn around(&mut self, mean: f64, spread: f64) -> f64 {
        let sum: f64 = (0..4).map(|_| self.range(0, 10_000) as f64 / 10_000.0).sum();
        mean + (sum - 2.0) * spread
    }
}
