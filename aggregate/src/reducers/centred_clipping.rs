//! Centred clipping: steps from the base on that nobody can make long.

use serde::{Deserialize, Serialize};

use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::gram::{Gram, clip_scale};
use crate::median::median;
use crate::plan::Plan;

/// `v ← v + (1/n) Σ (x_i − v)·min(1, radius/‖x_i − v‖)`, from the base on, which is where the last
/// round ended.
///
/// Karimireddy et al., <https://arxiv.org/abs/2012.10333>.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CentredClipping {
    /// The greatest distance that counts in full; without it, the median distance of each step.
    pub radius: Option<f64>,
    /// Steps.
    pub steps: u32,
}

impl Default for CentredClipping {
    fn default() -> Self {
        Self { radius: None, steps: 5 }
    }
}

impl Rule for CentredClipping {
    fn name(&self) -> &'static str {
        "centred-clipping"
    }

    fn needs(&self) -> Needs {
        Needs { base: true, ..Needs::DISTANCES }
    }

    fn check(&self) -> Result<(), Error> {
        self.some_steps(self.steps)?;
        self.radius.map_or(Ok(()), |radius| self.above_0("radius", radius))
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        Ok(basis.linear(self.coefficients(&basis.gram), 1.0))
    }
}

impl CentredClipping {
    /// All steps run on the products: a vector of coefficients stands for a model.
    fn coefficients(&self, gram: &Gram) -> Vec<f64> {
        let n = gram.len() as f64;
        let mut coefficients = vec![0.0; gram.len()];
        for _ in 0..self.steps {
            let distances = gram.distances_from(&coefficients);
            let radius = self.radius.unwrap_or_else(|| median(&distances));
            let scales: Vec<f64> = distances.iter().map(|&d| clip_scale(radius, d)).collect();
            let moved: f64 = scales.iter().sum::<f64>() / n;
            for (c, scale) in coefficients.iter_mut().zip(&scales) {
                *c = *c * (1.0 - moved) + scale / n;
            }
        }
        coefficients
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(points: &[f64; 3], radius: Option<f64>, steps: u32) -> f64 {
        let rule = CentredClipping { radius, steps };
        let coefficients = rule.coefficients(&Gram::on_a_line(points));
        points.iter().zip(coefficients).map(|(p, c)| p * c).sum()
    }

    #[test]
    fn it_moves_by_the_radius_at_most() {
        let points = [1.0, 1.0, 1e9];
        assert!((place(&points, Some(0.5), 1) - 0.5).abs() < 1e-9);
        assert!((place(&[1.0, 2.0, 6.0], Some(1e9), 1) - 3.0).abs() < 1e-12);
        // With the median distance as radius the far one does not matter much.
        assert!(place(&points, None, 5) < 3.0);
    }
}
