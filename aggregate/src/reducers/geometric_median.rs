//! The geometric median of whole models.

use serde::{Deserialize, Serialize};

use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::gram::Gram;
use crate::plan::Plan;

/// The `z` of least `Σ p_i ‖z − x_i‖`, by the smoothed Weiszfeld algorithm from the weighted mean on.
///
/// ```text
/// b_i = p_i / max(smoothing, ‖z − x_i‖)        z ← Σ b_i x_i / Σ b_i
/// ```
/// Pillutla et al. (RFA), <https://arxiv.org/abs/1912.13445>.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeometricMedian {
    /// Most steps; fewer if it has converged.
    pub steps: u32,
    /// The least distance that is divided by, above 0.
    pub smoothing: f64,
}

impl Default for GeometricMedian {
    fn default() -> Self {
        Self { steps: 1000, smoothing: 1e-6 }
    }
}

impl Rule for GeometricMedian {
    fn name(&self) -> &'static str {
        "geometric-median"
    }

    fn needs(&self) -> Needs {
        Needs { weights: true, ..Needs::DISTANCES }
    }

    fn check(&self) -> Result<(), Error> {
        self.some_steps(self.steps)?;
        self.above_0("smoothing", self.smoothing)
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        Ok(basis.linear(self.coefficients(&basis.gram, &basis.shares), 1.0))
    }
}

impl GeometricMedian {
    /// All steps run on the products: a vector of coefficients stands for a model. `shares` sum to 1
    /// and stay as they are, while each step divides them by the distances.
    fn coefficients(&self, gram: &Gram, shares: &[f64]) -> Vec<f64> {
        let mut coefficients = shares.to_vec();
        for _ in 0..self.steps {
            let distances = gram.distances_from(&coefficients);
            let pull = |(a, d): (&f64, f64)| a / d.max(self.smoothing);
            let mut next: Vec<f64> = shares.iter().zip(distances).map(pull).collect();
            let total: f64 = next.iter().sum();
            for c in &mut next {
                *c /= total;
            }
            let moved = next.iter().zip(&coefficients).map(|(a, b)| (a - b).abs());
            let moved = moved.fold(0.0, f64::max);
            coefficients = next;
            if moved < 1e-15 {
                break;
            }
        }
        coefficients
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_line_it_is_the_median() {
        let points = [0.0, 1.0, 2.0, 3.0, 100.0];
        let rule = GeometricMedian { steps: 1000, smoothing: 1e-9 };
        let place = |shares: [f64; 5]| -> f64 {
            let coefficients = rule.coefficients(&Gram::on_a_line(&points), &shares);
            points.iter().zip(coefficients).map(|(p, c)| p * c).sum()
        };
        assert!((place([0.2; 5]) - 2.0).abs() < 1e-6);
        // More than half of the weight holds the median where it is.
        assert!((place([0.1, 0.6, 0.1, 0.1, 0.1]) - 1.0).abs() < 1e-6);
    }
}
