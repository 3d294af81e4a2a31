//! Gradient clipping: by the norm over all parameters, and by value.

use crate::slices::{scale, square_sum};

/// Euclidean norm of all values, `√(Σ v²)`, accumulated in f64.
///
/// The sum runs over fixed chunks in a fixed order: the same values give the same bits everywhere.
/// It cannot overflow, as the square of the largest f32 is far below the largest f64. A NaN or an
/// infinity among the values makes it NaN or infinite.
///
/// ```
/// assert_eq!(optim::global_norm(&[3.0, -4.0]), 5.0);
/// assert_eq!(optim::global_norm(&[]), 0.0);
/// ```
pub fn global_norm(values: &[f32]) -> f64 {
    square_sum(values).sqrt()
}

/// Scales all gradients together so that their norm is at most `max_norm`; returns the norm before.
///
/// ```text
/// g ← g · min(1, max_norm / (‖g‖ + 1e-6))
/// ```
/// as `torch.nn.utils.clip_grad_norm_`; `max_norm` may be infinite, for no clipping. If the norm
/// that is returned is not finite (a NaN or infinite gradient, or a norm above the largest f32) the
/// gradients are left unchanged: scaling would only spread the damage. The caller should then skip
/// the step.
///
/// Pascanu et al., <https://arxiv.org/abs/1211.5063>.
///
/// # Panics
/// If `max_norm` is negative or NaN.
///
/// ```
/// let mut grads = [3.0, 4.0];
/// assert_eq!(optim::clip_by_global_norm(&mut grads, 1.0), 5.0);
/// assert!((grads[0] - 0.6).abs() < 1e-6 && (grads[1] - 0.8).abs() < 1e-6);
///
/// // Within the limit nothing changes.
/// let mut grads = [0.3, 0.4];
/// optim::clip_by_global_norm(&mut grads, 1.0);
/// assert_eq!(grads, [0.3, 0.4]);
/// ```
pub fn clip_by_global_norm(grads: &mut [f32], max_norm: f32) -> f32 {
    assert!(max_norm >= 0.0, "max_norm is {max_norm}, it must be at least 0");
    let norm = global_norm(grads);
    if let Some(factor) = shrink_factor(norm, max_norm) {
        scale(grads, factor);
    }
    norm as f32
}

/// What scales a gradient of this norm down to `max_norm`, if it is longer and finite.
pub(crate) fn shrink_factor(norm: f64, max_norm: f32) -> Option<f32> {
    let factor = f64::from(max_norm) / (norm + 1e-6);
    ((norm as f32).is_finite() && factor < 1.0).then_some(factor as f32)
}

/// Limits every gradient to `−limit … limit`, as `torch.nn.utils.clip_grad_value_`; NaN stays NaN.
///
/// # Panics
/// If `limit` is negative or NaN.
///
/// ```
/// let mut grads = [3.0, -0.5, f32::NEG_INFINITY];
/// optim::clip_by_value(&mut grads, 1.0);
/// assert_eq!(grads, [1.0, -0.5, -1.0]);
/// ```
pub fn clip_by_value(grads: &mut [f32], limit: f32) {
    assert!(limit >= 0.0, "limit is {limit}, it must be at least 0");
    for g in grads {
        *g = g.clamp(-limit, limit);
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;

    #[test]
    fn the_norm_counts_every_element_once() {
        for n in [0, 1, 7, 8, 9, 4095, 4096, 4097, 10_000] {
            let norm = global_norm(&vec![2.0; n]);
            assert!((norm * norm - 4.0 * n as f64).abs() < 1e-9 * (1.0 + n as f64), "{n}");
        }
    }

    #[test]
    fn huge_and_tiny_gradients_keep_their_norm() {
        assert!((global_norm(&[1e30, 1e30]) / 2e60_f64.sqrt() - 1.0).abs() < 1e-6);
        assert!((global_norm(&[1e-30]) / 1e-30 - 1.0).abs() < 1e-6);
        let mut grads = [1e30, -1e30];
        clip_by_global_norm(&mut grads, 1.0);
        testkit::assert_close("grads", &grads, &[0.5_f32.sqrt(), -(0.5_f32.sqrt())], 1e-6, 0.0);
    }

    #[test]
    fn a_norm_that_is_not_finite_leaves_the_gradients() {
        let mut grads = [1.0, f32::INFINITY, -2.0];
        assert!(clip_by_global_norm(&mut grads, 1.0).is_infinite());
        assert_eq!(grads, [1.0, f32::INFINITY, -2.0]);

        let mut grads = [f32::NAN, 5.0];
        assert!(clip_by_global_norm(&mut grads, 1.0).is_nan());
        assert!(grads[0].is_nan() && grads[1] == 5.0);

        let mut grads = [f32::MAX; 4];
        assert!(clip_by_global_norm(&mut grads, 1.0).is_infinite());
        assert_eq!(grads, [f32::MAX; 4]);
    }

    #[test]
    fn no_limit_and_a_limit_of_zero() {
        let mut grads = [3.0, 4.0];
        assert_eq!(clip_by_global_norm(&mut grads, f32::INFINITY), 5.0);
        assert_eq!(grads, [3.0, 4.0]);
        clip_by_global_norm(&mut grads, 0.0);
        assert_eq!(grads, [0.0, 0.0]);
    }

    #[test]
    fn values_are_limited_one_by_one() {
        let mut grads = [2.0, -2.0, 0.5, f32::NAN];
        clip_by_value(&mut grads, 1.0);
        assert_eq!(grads[..3], [1.0, -1.0, 0.5]);
        assert!(grads[3].is_nan());
    }

    #[test]
    #[should_panic(expected = "max_norm is NaN")]
    fn the_limit_must_be_a_number() {
        clip_by_global_norm(&mut [1.0], f32::NAN);
    }
}
