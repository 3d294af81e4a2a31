//! A second-order section, and which frequencies pass.

use serde::{Deserialize, Serialize};

/// How near the unit circle and how near ±1 the poles of a section may come: what rounding moves them
/// by is then below a thousandth of that distance.
const LEAST_DISTANCE: f64 = 1e-12;

/// Which frequencies pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Band {
    /// Those below the cut-off.
    LowPass,
    /// Those above the cut-off.
    HighPass,
    /// Those between two cut-offs.
    BandPass,
}

/// One section: `y[t] = b0·x[t] + b1·x[t−1] + b2·x[t−2] − a1·y[t−1] − a2·y[t−2]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Section {
    /// `b0, b1, b2`.
    pub b: [f64; 3],
    /// `a1, a2`; `a0` is 1.
    pub a: [f64; 2],
}

impl Section {
    /// What a constant 1 becomes.
    pub(super) fn gain(&self) -> f64 {
        let ([b0, b1, b2], [a1, a2]) = (self.b, self.a);
        (b0 + b1 + b2) / (1.0 + a1 + a2)
    }

    /// Whether the poles lie well within the unit circle (Jury's criterion), and all is finite.
    pub(super) fn is_stable(&self) -> bool {
        let [a1, a2] = self.a;
        let least = (1.0 - a2).min(1.0 + a1 + a2).min(1.0 - a1 + a2);
        self.b.iter().all(|b| b.is_finite()) && least > LEAST_DISTANCE
    }
}
