//! Rules that need distances only: from the scalar products of changes to coefficients.
//!
//! A coefficient vector `c` stands for the model `origin + Σ c_i Δ_i`. All steps of an iterative
//! rule run on the products, which are read from the files once.

use crate::gram::Gram;
use crate::median::median;

/// Krum's scores: of each, the sum of squared distances to its `n_near` nearest others.
fn scores(gram: &Gram, among: &[usize], n_near: usize) -> Vec<f64> {
    let score = |&i: &usize| {
        let others = among.iter().filter(|&&j| j != i);
        let mut squares: Vec<f64> = others.map(|&j| gram.square_distance(i, j)).collect();
        squares.sort_by(f64::total_cmp);
        squares.iter().take(n_near).sum()
    };
    among.iter().map(score).collect()
}

/// The `keep` with the lowest scores of Krum, in ascending order; of equals the first.
pub(crate) fn multi_krum(gram: &Gram, byzantine: usize, keep: usize) -> Vec<usize> {
    let all: Vec<usize> = (0..gram.len()).collect();
    let scores = scores(gram, &all, gram.len() - byzantine - 2);
    let mut best = all;
    best.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    best.truncate(keep);
    best.sort_unstable();
    best
}

/// The `n − 2f` updates that Krum selects one by one, in ascending order.
pub(crate) fn bulyan(gram: &Gram, byzantine: usize) -> Vec<usize> {
    let mut rest: Vec<usize> = (0..gram.len()).collect();
    let mut selected = Vec::new();
    while selected.len() < gram.len() - 2 * byzantine {
        let n_near = rest.len().saturating_sub(byzantine + 2).max(1);
        let scores = scores(gram, &rest, n_near);
        let best = (0..rest.len()).min_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
        selected.push(rest.remove(best));
    }
    selected.sort_unstable();
    selected
}

/// The smoothed Weiszfeld algorithm from the weighted mean on: `shares` sum to 1 and stay as they
/// are, while each step divides them by the distances.
pub(crate) fn geometric_median(
    gram: &Gram,
    shares: &[f64],
    steps: u32,
    smoothing: f64,
) -> Vec<f64> {
    let mut coefficients = shares.to_vec();
    for _ in 0..steps {
        let distances = gram.distances_from(&coefficients);
        let mut next: Vec<f64> =
            shares.iter().zip(distances).map(|(a, d)| a / d.max(smoothing)).collect();
        let total: f64 = next.iter().sum();
        for c in &mut next {
            *c /= total;
        }
        let moved = next.iter().zip(&coefficients).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        coefficients = next;
        if moved < 1e-15 {
            break;
        }
    }
    coefficients
}

/// Centred clipping from the origin on; without a radius, that of the median distance of each step.
pub(crate) fn centred_clipping(gram: &Gram, radius: Option<f64>, steps: u32) -> Vec<f64> {
    let n = gram.len() as f64;
    let mut coefficients = vec![0.0; gram.len()];
    for _ in 0..steps {
        let distances = gram.distances_from(&coefficients);
        let radius = radius.unwrap_or_else(|| median(&distances));
        let scales: Vec<f64> = distances.iter().map(|&d| clip_scale(radius, d)).collect();
        let moved: f64 = scales.iter().sum::<f64>() / n;
        for (c, scale) in coefficients.iter_mut().zip(&scales) {
            *c = *c * (1.0 - moved) + scale / n;
        }
    }
    coefficients
}

/// `min(1, limit/norm)`
pub(crate) fn clip_scale(limit: f64, norm: f64) -> f64 {
    if norm <= limit { 1.0 } else { limit / norm }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The products of points on a line.
    fn on_a_line(points: &[f64]) -> Gram {
        let products = points.iter().flat_map(|a| points.iter().map(move |b| a * b)).collect();
        Gram::of_values(points.len(), products)
    }

    fn place(points: &[f64], coefficients: &[f64]) -> f64 {
        points.iter().zip(coefficients).map(|(p, c)| p * c).sum()
    }

    #[test]
    fn krum_prefers_the_crowd_and_the_lower_number() {
        let gram = on_a_line(&[9.0, 1.0, 1.5, 1.0, -20.0, 1.25, 1.1]);
        assert_eq!(multi_krum(&gram, 2, 1), [6]);
        assert_eq!(multi_krum(&gram, 2, 3), [1, 3, 6]);
        // Of the last three the pair that is nearest has equal scores.
        assert_eq!(bulyan(&gram, 1), [0, 1, 2, 5, 6]);
        // All alike: ties go to the first.
        assert_eq!(multi_krum(&on_a_line(&[2.0; 5]), 1, 2), [0, 1]);
    }

    #[test]
    fn the_geometric_median_on_a_line_is_the_median() {
        let points = [0.0, 1.0, 2.0, 3.0, 100.0];
        let median = geometric_median(&on_a_line(&points), &[0.2; 5], 1000, 1e-9);
        assert!((place(&points, &median) - 2.0).abs() < 1e-6, "{}", place(&points, &median));
        // More than half of the weight holds the median where it is.
        let held = geometric_median(&on_a_line(&points), &[0.1, 0.6, 0.1, 0.1, 0.1], 1000, 1e-9);
        assert!((place(&points, &held) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn centred_clipping_moves_by_the_radius_at_most() {
        let points = [1.0, 1.0, 1e9];
        let once = centred_clipping(&on_a_line(&points), Some(0.5), 1);
        assert!((place(&points, &once) - 0.5).abs() < 1e-9);
        let wide = centred_clipping(&on_a_line(&[1.0, 2.0, 6.0]), Some(1e9), 1);
        assert!((place(&[1.0, 2.0, 6.0], &wide) - 3.0).abs() < 1e-12);
        // With the median distance as radius the far one does not matter much.
        let auto = centred_clipping(&on_a_line(&points), None, 5);
        assert!(place(&points, &auto) < 3.0);
    }
}
