//! RMSprop: the gradient divided by a running root of its mean square.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched loop is compiled for the oldest processor"
)]

use pulp::Simd;

use crate::Error;
use crate::checks::{check_beta, check_decay, check_eps};
use crate::fused::{Fused, builds};
use crate::lanes::Lanes;
use crate::moments::Mean;
use crate::rule::{Kept, Rule};
use crate::slot::Slot;
use crate::step::Step;

/// Options of [`RmsProp`]; the default is that of `torch`: alpha 0.99, eps 1e-8, all else off.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct RmsPropConfig {
    /// Decay of the mean of squared gradients, at least 0 and below 1.
    pub alpha: f64,
    /// Added to the root, at least 0.
    pub eps: f32,
    /// Share of the last direction that is kept, at least 0 and below 1.
    pub momentum: f32,
    /// Whether to divide by the deviation of the gradient instead of its root mean square.
    pub centered: bool,
    /// L2 penalty that is added to the gradient, at least 0.
    pub weight_decay: f32,
}

impl Default for RmsPropConfig {
    fn default() -> Self {
        Self { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false, weight_decay: 0.0 }
    }
}

/// RMSprop as in `torch.optim.RMSprop`.
///
/// ```text
/// d   = g + weight_decay·p
/// v   = alpha·v + (1 − alpha)·d²
/// a   = alpha·a + (1 − alpha)·d                  with centered
/// s   = √v + eps                 or with centered √(v − a²) + eps
/// buf = momentum·buf + d/s
/// p   = p − lr·buf
/// ```
/// Tieleman and Hinton, <https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf>.
/// Where rounding makes `v − a²` negative, `torch` takes the root of it and gets NaN; here it is 0.
///
/// ```
/// use optim::{Optimizer, RmsPropConfig};
///
/// let mut rmsprop = RmsPropConfig { alpha: 0.75, ..Default::default() }.build(1)?;
/// let mut params = [0.0];
/// rmsprop.step(&mut params, &[8.0], 0.25); // v = 16
/// assert!((params[0] + 0.5).abs() < 1e-6);
/// # Ok::<(), optim::Error>(())
/// ```
pub type RmsProp = Fused<RmsPropConfig>;

builds!(RmsPropConfig, RmsProp);

#[derive(Debug, Clone, Copy)]
pub struct Factors {
    lr: f32,
    weight_decay: f32,
    alpha: f32,
    weight: f32,
    mean: Mean,
    eps: f32,
    momentum: f32,
    centered: bool,
}

impl Rule for RmsPropConfig {
    const NAME: &'static str = "rmsprop";
    type Factors = Factors;

    fn check(&self) -> Result<(), Error> {
        check_beta(Self::NAME, "alpha", self.alpha)?;
        check_eps(Self::NAME, self.eps)?;
        check_beta(Self::NAME, "momentum", self.momentum)?;
        check_decay(Self::NAME, self.weight_decay)
    }

    fn slots(&self) -> Vec<Slot> {
        const SQUARE: Slot = Slot::squared("square_avg");
        const MEAN: Slot = Slot::signed("grad_avg");
        const BUFFER: Slot = Slot::signed("momentum_buffer");
        match (self.centered, self.momentum == 0.0) {
            (false, true) => vec![SQUARE],
            (false, false) => vec![SQUARE, BUFFER],
            (true, true) => vec![SQUARE, MEAN],
            (true, false) => vec![SQUARE, MEAN, BUFFER],
        }
    }

    fn factors(&self, _: &[f64], step: Step) -> Factors {
        Factors {
            lr: step.lr as f32,
            weight_decay: step.decay(self.weight_decay) as f32,
            alpha: self.alpha as f32,
            weight: (1.0 - self.alpha) as f32,
            mean: Mean::new(self.alpha),
            eps: self.eps,
            momentum: self.momentum,
            centered: self.centered,
        }
    }

    #[inline(always)]
    fn update<S: Simd>(
        f: &Factors,
        p: &mut Lanes<S>,
        g: Lanes<S>,
        [v, second, third]: &mut Kept<S>,
    ) {
        let d = g + f.weight_decay * *p;
        *v = f.alpha * *v + f.weight * d * d;
        let root = v.sqrt();
        let (root, buffer) = if f.centered {
            *second = f.mean.of(*second, d);
            // v − a² as a product: a² may overflow where v already has, and ∞ − ∞ is no number.
            let size = second.abs();
            (((root - size) * (root + size)).positive().sqrt(), third)
        } else {
            (root, second)
        };
        *buffer = f.momentum * *buffer + d / (root + f.eps);
        *p = *p - f.lr * *buffer;
    }
}
