//! Dropout whose mask is computed from a counter instead of being stored.

use crate::rng::{mix, mix32};
use crate::simd::vectorize;

/// One place of the model where values are dropped, in one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropout {
    key: u64,
    /// A value is dropped when its 32 random bits lie below this.
    threshold: u32,
    scale: f32,
}

impl Dropout {
    /// `site` tells the places of the model apart; `seed` the steps.
    pub(crate) fn new(rate: f32, seed: u64, site: u64) -> Self {
        let threshold = (f64::from(rate) * 4_294_967_296.0) as u32;
        Self { key: mix(seed, site), threshold, scale: 1.0 / (1.0 - rate) }
    }

    /// Drops values of `x` (`[rows, width]`) and scales the others by `1/(1 − rate)`; applied to
    /// a gradient it is its own backward pass. `first_row` numbers the rows across the batch.
    ///
    /// # Panics
    /// If `width` is zero.
    pub(crate) fn apply(self, x: &mut [f32], width: usize, first_row: u64) {
        vectorize(
            #[inline(always)]
            || {
                for (i, row) in x.chunks_mut(width).enumerate() {
                    let key = mix(self.key, first_row + i as u64) as u32;
                    for (j, v) in row.iter_mut().enumerate() {
                        let bits = mix32(key ^ (j as u32).wrapping_mul(0x9E37_79B9));
                        *v *= if bits < self.threshold { 0.0 } else { self.scale };
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_the_stated_share_and_keeps_the_mean() {
        let mut x = vec![1.0_f32; 200 * 512];
        Dropout::new(0.3, 7, 1).apply(&mut x, 512, 0);
        let dropped = x.iter().filter(|v| v.abs() <= 0.0).count() as f64 / x.len() as f64;
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / x.len() as f64;
        assert!((dropped - 0.3).abs() < 0.01 && (mean - 1.0).abs() < 0.01, "{dropped} {mean}");
    }

    #[test]
    fn the_mask_depends_on_rows_of_the_batch_not_on_chunks() {
        let dropout = Dropout::new(0.5, 3, 2);
        let mut whole = vec![1.0; 6 * 8];
        dropout.apply(&mut whole, 8, 10);
        let mut parts = vec![1.0; 6 * 8];
        let (a, b) = parts.split_at_mut(2 * 8);
        dropout.apply(b, 8, 12);
        dropout.apply(a, 8, 10);
        assert_eq!(whole, parts);
        let mut other = vec![1.0; 6 * 8];
        Dropout::new(0.5, 3, 4).apply(&mut other, 8, 10);
        assert_ne!(whole, other);
    }
}
