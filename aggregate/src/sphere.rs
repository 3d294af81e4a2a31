//! Spherical interpolation of two models, tensor by tensor.

use crate::Error;
use crate::blocks::{Blocks, pass, workers};
use crate::cohort::Cohort;

/// Cosines from which on the straight line is taken: the sphere is flat there, and the sine of the
/// angle, by which is divided, has lost its digits.
const PARALLEL: f64 = 0.9995;

/// Two members' coefficients for every tensor of the merge.
#[derive(Debug)]
pub(crate) struct Sphere {
    pub(crate) coefficients: Vec<[f64; 2]>,
}

impl Sphere {
    /// Finds the angle of every tensor of two members, in one pass.
    pub(crate) fn new(cohort: &Cohort<'_>, order: &[usize], t: f64) -> Result<Self, Error> {
        let blocks = Blocks::new(cohort.tensors, order.iter().copied(), 2);
        let mut products = vec![[0.0; 3]; cohort.tensors.len()];
        pass(
            blocks.len(),
            &mut workers(|| (Vec::new(), [Vec::<f64>::new(), Vec::new()])),
            |(bytes, rows), i| {
                let block = blocks.get(i);
                for (member, row) in rows.iter_mut().enumerate() {
                    row.resize(block.n_elements, 0.0);
                    cohort.read::<f64>(member, block, bytes, row)?;
                }
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let [a, b] = &rows;
                Ok([dot(a, a), dot(a, b), dot(b, b)])
            },
            |i, more: [f64; 3]| {
                let sums = &mut products[blocks.get(i).tensor];
                sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                Ok(())
            },
        )?;
        // Members are in an order of their own; what counts here is the order of the list.
        let swapped = match &cohort.members[..] {
            [first, second] => first.input.position > second.input.position,
            _ => false,
        };
        let coefficients = products
            .into_iter()
            .map(|[aa, ab, bb]| {
                let [first, second] = interpolation(ab / (aa.sqrt() * bb.sqrt()), t);
                if swapped { [second, first] } else { [first, second] }
            })
            .collect();
        Ok(Self { coefficients })
    }

    /// What the two have in the mean over the tensors.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let n = self.coefficients.len().max(1) as f64;
        (0..2).map(|i| self.coefficients.iter().map(|c| c[i]).sum::<f64>() / n).collect()
    }
}

/// What the first and the second weigh: `sin((1 − t)ω)/sin ω` and `sin(tω)/sin ω`.
fn interpolation(cosine: f64, t: f64) -> [f64; 2] {
    // The angle of a zero vector is none: NaN, which takes the straight line too.
    if cosine.abs() <= PARALLEL {
        let omega = cosine.acos();
        [((1.0 - t) * omega).sin() / omega.sin(), (t * omega).sin() / omega.sin()]
    } else {
        [1.0 - t, t]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: [f64; 2], expected: [f64; 2]) {
        let near = found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-15);
        assert!(near, "{found:?} is not {expected:?}");
    }

    #[test]
    fn the_ends_are_the_models_and_the_middle_of_a_right_angle_is_on_the_circle() {
        close(interpolation(0.3, 0.0), [1.0, 0.0]);
        close(interpolation(0.3, 1.0), [0.0, 1.0]);
        let [a, b] = interpolation(0.0, 0.5);
        assert!((a * a + b * b - 1.0).abs() < 1e-15 && (a - b).abs() < 1e-15);
        close(interpolation(f64::NAN, 0.25), [0.75, 0.25]);
        close(interpolation(-1.0, 0.25), [0.75, 0.25]);
    }
}
