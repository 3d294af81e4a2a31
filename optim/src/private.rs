//! Private training: every example's gradient is clipped, and their sum is blurred.

use crate::Error;
use crate::checks::check_option;
use crate::slices::{add_scaled, check_same_length, scale, square_sum};

/// Options of DP-SGD.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct PrivateConfig {
    /// Longest gradient of one example, above 0.
    pub clip_norm: f32,
    /// Deviation of the noise on the sum, in units of `clip_norm`, at least 0.
    pub noise_multiplier: f32,
}

impl PrivateConfig {
    /// Checks the options.
    ///
    /// # Errors
    /// If one is not finite or out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let (clip_norm, multiplier) = (self.clip_norm, self.noise_multiplier);
        check_option("private", "clip_norm", clip_norm, |v| v > 0.0, "above 0")?;
        check_option("private", "noise_multiplier", multiplier, |v| v >= 0.0, "at least 0")?;
        // Noise that rounds to nothing would be none.
        let deviation = clip_norm * multiplier;
        if multiplier > 0.0 && !deviation.is_normal() {
            let conflict = "clip_norm times noise_multiplier leaves the range of f32";
            return Err(Error::Conflict { owner: "private", conflict });
        }
        Ok(())
    }
}

/// The blurred mean of clipped gradients, the gradient of a step of DP-SGD.
///
/// ```text
/// g = (Σ gᵢ·min(1, C/‖gᵢ‖) + N(0, (z·C)²)) / expected examples
/// ```
/// Abadi et al., <https://arxiv.org/abs/1607.00133>. What an accountant says of it holds if each
/// example is in each batch with the same probability, independently (Poisson sampling): the sum is
/// divided by the number of examples that is *expected*, not by the number that came. The normal
/// numbers must be unpredictable to whoever sees the model.
///
/// ```
/// use optim::{PrivateConfig, PrivateSum};
///
/// let config = PrivateConfig { clip_norm: 1.0, noise_multiplier: 0.5 };
/// let mut sum = PrivateSum::new(2);
/// sum.add(&[3.0, 4.0], config); // counts as (0.6, 0.8)
/// sum.add(&[0.1, 0.0], config);
/// let mut normal = [1.0, -1.0].into_iter();
/// let grads = sum.finish(config, 2.0, || normal.next().unwrap_or(0.0));
/// assert!((grads[0] - (0.7 + 0.5) / 2.0).abs() < 1e-6);
/// assert!((grads[1] - (0.8 - 0.5) / 2.0).abs() < 1e-6);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PrivateSum {
    sum: Vec<f32>,
}

impl PrivateSum {
    /// An empty sum for so many parameters.
    pub fn new(n_params: usize) -> Self {
        Self { sum: vec![0.0; n_params] }
    }

    /// Adds the gradient of one example, clipped. One that is not finite counts as zero: it must
    /// neither spread nor show itself by a step that is left out.
    ///
    /// # Panics
    /// If `grads` has another length than the sum.
    pub fn add(&mut self, grads: &[f32], config: PrivateConfig) {
        check_same_length(["the sum", "grads"], &self.sum, grads);
        let norm = square_sum(grads).sqrt();
        if norm.is_finite() {
            let limit = f64::from(config.clip_norm);
            if norm <= limit {
                add_scaled(&mut self.sum, grads, 1.0, None);
            } else {
                // Rounded products of f32 could be longer than the limit by their error; and a
                // factor below the smallest normal f32 would have hardly any digits.
                let factor = limit / norm * (1.0 - 1e-6);
                for (sum, &g) in self.sum.iter_mut().zip(grads) {
                    *sum += (f64::from(g) * factor) as f32;
                }
            }
        }
    }

    /// Adds a sum of other examples.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn merge(&mut self, other: &Self) {
        check_same_length(["the sum", "the other"], &self.sum, &other.sum);
        add_scaled(&mut self.sum, &other.sum, 1.0, None);
    }

    /// Blurs the sum with draws of the standard normal distribution, one for each parameter in
    /// order, and divides it by the expected number of examples.
    ///
    /// # Panics
    /// If `expected` is not above 0.
    pub fn finish(
        &mut self,
        config: PrivateConfig,
        expected: f64,
        mut normal: impl FnMut() -> f32,
    ) -> &mut [f32] {
        assert!(expected > 0.0, "{expected} expected examples, there must be some");
        let deviation = config.noise_multiplier * config.clip_norm;
        if deviation > 0.0 {
            for v in &mut self.sum {
                *v += deviation * normal();
            }
        }
        scale(&mut self.sum, (1.0 / expected) as f32);
        &mut self.sum
    }

    /// Begins a new sum.
    pub fn clear(&mut self) {
        self.sum.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: PrivateConfig = PrivateConfig { clip_norm: 2.0, noise_multiplier: 0.0 };

    #[test]
    fn no_example_counts_more_than_the_limit() {
        let tiny = PrivateConfig { clip_norm: 1e-7, ..CONFIG };
        let mut sum = PrivateSum::new(2);
        sum.add(&[3.4e38, 3.4e38], tiny);
        assert!(square_sum(sum.finish(tiny, 1.0, || 0.0)).sqrt() <= 1e-7);
        for size in [1e-20, 1.0, 1e3, 1e19, f32::MAX, f32::INFINITY, f32::NAN] {
            let mut sum = PrivateSum::new(3);
            sum.add(&[size, -size, 0.5 * size], CONFIG);
            let grads = sum.finish(CONFIG, 1.0, || unreachable!("no noise"));
            let norm = square_sum(grads).sqrt();
            assert!(norm <= 2.0, "{size}: {norm}");
        }
    }

    #[test]
    fn sums_merge_and_clear() {
        let (mut a, mut b) = (PrivateSum::new(1), PrivateSum::new(1));
        a.add(&[1.0], CONFIG);
        b.add(&[5.0], CONFIG);
        a.merge(&b);
        testkit::assert_close("mean", a.finish(CONFIG, 2.0, || 0.0), &[1.5], 1e-6, 0.0);
        a.clear();
        testkit::assert_close("empty", a.finish(CONFIG, 2.0, || 0.0), &[0.0], 0.0, 0.0);
    }

    #[test]
    fn options_are_checked() {
        assert!(CONFIG.validate().is_ok());
        for bad in [
            PrivateConfig { clip_norm: 0.0, ..CONFIG },
            PrivateConfig { clip_norm: f32::NAN, ..CONFIG },
            PrivateConfig { noise_multiplier: -1.0, ..CONFIG },
            PrivateConfig { clip_norm: 1e-20, noise_multiplier: 1e-30 },
            PrivateConfig { clip_norm: 1e30, noise_multiplier: 1e30 },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
