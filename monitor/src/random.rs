//! Random numbers that are a function of a seed, with the same bits on every machine.

/// The generator `SplitMix64` of Steele, Lea and Flood (2014). Its state is one number, so that what uses
/// it can be stored and goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The generator number `stream` of a seed, unlike those of other numbers and seeds.
    pub(crate) fn stream(seed: u64, stream: u64) -> Self {
        Self(mix(mix(seed).wrapping_add(stream)))
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in `0..n`, by the product with 64 random bits: off by less than `n/2⁶⁴`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Puts the items into a random order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// Mixes 64 bits (the finaliser of `SplitMix64`).
pub(crate) fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers for seed 1234567, as the reference implementation gives them.
    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = Random(1_234_567);
        let expected = [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973];
        assert_eq!(expected, [random.bits(), random.bits()]);
    }

    #[test]
    fn numbers_below_a_bound_are_evenly_spread() {
        let mut random = Random::stream(3, 1);
        let mut counts = [0; 7];
        for _ in 0..70_000 {
            counts[random.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|n| (9_600..10_400).contains(n)), "{counts:?}");
        let mut items = [0, 1, 2, 3, 4, 5];
        random.shuffle(&mut items);
        items.sort_unstable();
        assert_eq!(items, [0, 1, 2, 3, 4, 5]);
    }
}
