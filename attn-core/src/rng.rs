//! Random numbers that are a pure function of a key and a counter: dropout masks come again in
//! the backward pass without being stored, and no number depends on threads or chunks.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `vectorize` is compiled for the oldest processor"
)]

/// Mixes 64 bits (the finaliser of `SplitMix64`).
#[inline(always)]
pub(crate) fn mix(key: u64, counter: u64) -> u64 {
    let mut z = key.wrapping_add(counter.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Mixes 32 bits; short enough to run in vectors.
#[inline(always)]
pub(crate) fn mix32(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x7FEB_352D);
    h ^= h >> 15;
    h = h.wrapping_mul(0x846C_A68B);
    h ^ (h >> 16)
}

/// Uniform in [0, 1) from the counter-th draw of a key.
pub(crate) fn uniform(key: u64, counter: u64) -> f64 {
    (mix(key, counter) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Standard normal from the counter-th draw of a key (Box and Muller).
pub(crate) fn normal(key: u64, counter: u64) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(key, 2 * counter)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(key, 2 * counter + 1)).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let n = 100_000_u64;
        let mean = |f: &dyn Fn(u64) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        assert!((mean(&|i| uniform(1, i)) - 0.5).abs() < 0.005);
        assert!(mean(&|i| normal(2, i)).abs() < 0.015);
        assert!((mean(&|i| normal(3, i).powi(2)) - 1.0).abs() < 0.02);
        assert!(mean(&|i| normal(4, i) * normal(5, i)).abs() < 0.015);
    }
}
