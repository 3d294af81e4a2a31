//! Softmax of one tile, forward and backward. Every query is a lane, so that nothing is summed
//! across a vector.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `with_simd` is compiled for the oldest processor"
)]

use pulp::{Simd, WithSimd};

use super::panel::PANEL;
use super::tile::Start;
use crate::simd::{exp2_all, exp2_lanes};

/// Running maximum and sum of each query of a panel (the online softmax of
/// [arXiv 1805.02867](https://arxiv.org/abs/1805.02867)).
pub(crate) struct OnlineSoftmax {
    /// Largest score so far, not scaled.
    pub(crate) max: [f32; PANEL],
    /// `Σ exp(scale·(score − max))`; its inverse after [`OnlineSoftmax::finish`].
    pub(crate) sum: [f32; PANEL],
    width: usize,
    /// Scale times log2 e.
    factor: f32,
}

impl OnlineSoftmax {
    pub(crate) fn new(width: usize, factor: f32) -> Self {
        Self { max: [f32::NEG_INFINITY; PANEL], sum: [0.0; PANEL], width, factor }
    }

    /// Turns a tile of scores (`[keys, width]`) into `exp(scale·(score − max))`, and scales `out`
    /// (`[head_dim, width]`), what was summed before, to the new maximum.
    pub(crate) fn add(&mut self, scores: &mut [f32], out: &mut [f32], start: Start) {
        pulp::Arch::new().dispatch(Add { softmax: self, scores, out, start });
    }

    /// Divides `out` by the sums, which then hold their inverse. A query that saw no key gets
    /// zeros, maximum 0 and inverse 0.
    pub(crate) fn finish(&mut self, out: &mut [f32]) {
        for (max, sum) in self.max.iter_mut().zip(&mut self.sum) {
            let seen = *max > f32::NEG_INFINITY || max.is_nan() || sum.is_nan();
            *sum = if seen { 1.0 / *sum } else { 0.0 };
            *max = if *max > f32::NEG_INFINITY { *max } else { 0.0 };
        }
        pulp::Arch::new().dispatch(Scale { rows: out, factors: &self.sum[..self.width] });
    }
}

struct Add<'a> {
    softmax: &'a mut OnlineSoftmax,
    scores: &'a mut [f32],
    out: &'a mut [f32],
    start: Start,
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { softmax, scores, out, start } = self;
        let OnlineSoftmax { max, sum, width, factor } = softmax;
        let row = *width / S::F32_LANES;
        let scores = S::as_mut_simd_f32s(scores).0;
        let out = S::as_mut_simd_f32s(out).0;
        let (max, sum) = (S::as_mut_simd_f32s(max).0, S::as_mut_simd_f32s(sum).0);
        let factor = simd.splat_f32s(*factor);
        let mut tile = AddTile { scores, out, start, row, max, sum, factor };
        let mut column = 0;
        // Several vectors of a row together, so that their chains of operations overlap.
        while column < row {
            column += match row - column {
                4.. if S::REGISTER_COUNT >= 32 => tile.columns::<4>(simd, column),
                2.. => tile.columns::<2>(simd, column),
                _ => tile.columns::<1>(simd, column),
            };
        }
    }
}

const LANES_OF_ALL: &str = "a value for each lane";

/// A tile of the forward pass as vectors.
struct AddTile<'a, S: Simd> {
    scores: &'a mut [S::f32s],
    out: &'a mut [S::f32s],
    start: Start,
    /// Vectors of a row.
    row: usize,
    max: &'a mut [S::f32s],
    sum: &'a mut [S::f32s],
    factor: S::f32s,
}

impl<S: Simd> AddTile<'_, S> {
    /// `N` columns of vectors, from `column` on; `N`.
    #[inline(always)]
    fn columns<const N: usize>(&mut self, simd: S, column: usize) -> usize {
        let (row, factor) = (self.row, self.factor);
        let none = simd.splat_f32s(f32::NEG_INFINITY);
        let max: &mut [S::f32s; N] = self.max[column..].first_chunk_mut().expect(LANES_OF_ALL);
        let sum: &mut [S::f32s; N] = self.sum[column..].first_chunk_mut().expect(LANES_OF_ALL);
        // Where one of two is NaN, the maximum may be either; NaN shows in the exponential.
        let mut top = *max;
        for s in self.scores.chunks_exact(row) {
            let s: &[S::f32s; N] = s[column..].first_chunk().expect("whole rows");
            for (top, &s) in top.iter_mut().zip(s) {
                *top = simd.max_f32s(s, *top);
            }
        }
        // −∞ − 0 stays −∞, whose exponential is 0, where −∞ − −∞ would be NaN.
        let mut base = top;
        for base in &mut base {
            let seen = simd.greater_than_f32s(*base, none);
            *base = simd.select_f32s(seen, *base, simd.splat_f32s(0.0));
        }
        if self.start == Start::Add {
            for i in 0..N {
                let shrink =
                    exp2_lanes(simd, simd.mul_f32s(simd.sub_f32s(max[i], base[i]), factor));
                sum[i] = simd.mul_f32s(sum[i], shrink);
                for o in self.out.chunks_exact_mut(row) {
                    o[column + i] = simd.mul_f32s(o[column + i], shrink);
                }
            }
        }
        *max = top;
        let mut total = *sum;
        for s in self.scores.chunks_exact_mut(row) {
            let s: &mut [S::f32s; N] = s[column..].first_chunk_mut().expect("whole rows");
            let mut powers = *s;
            for (p, base) in powers.iter_mut().zip(base) {
                *p = simd.mul_f32s(simd.sub_f32s(*p, base), factor);
            }
            *s = exp2_all(simd, powers);
            for (total, &s) in total.iter_mut().zip(&*s) {
                *total = simd.add_f32s(*total, s);
            }
        }
        *sum = total;
        N
    }
}

/// Multiplies each lane of every row with its factor.
struct Scale<'a> {
    rows: &'a mut [f32],
    factors: &'a [f32],
}

impl WithSimd for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let factors = S::as_simd_f32s(self.factors).0;
        for row in S::as_mut_simd_f32s(self.rows).0.chunks_exact_mut(factors.len()) {
            for (r, f) in row.iter_mut().zip(factors) {
                *r = simd.mul_f32s(*r, *f);
            }
        }
    }
}

/// What the backward pass needs of each query of a panel.
pub(crate) struct PerQuery {
    pub(crate) max: [f32; PANEL],
    pub(crate) inverse_sum: [f32; PANEL],
    /// `Σ d_out·out`
    pub(crate) delta: [f32; PANEL],
}

/// `probs ← exp(scale·(score − max))/sum` and `d ← probs·(d − δ)`; `factor` is the scale times
/// log2 e. Where `keep` is given, the probabilities were multiplied with it (a dropout), and
/// `probs` become those products.
pub(crate) fn softmax_backward(
    probs: &mut [f32],
    d: &mut [f32],
    keep: Option<&[f32]>,
    per_query: &PerQuery,
    width: usize,
    factor: f32,
) {
    let arch = pulp::Arch::new();
    match keep {
        None => arch.dispatch(Backward::<false> { probs, d, keep: &[], per_query, width, factor }),
        Some(keep) => arch.dispatch(Backward::<true> { probs, d, keep, per_query, width, factor }),
    }
}

struct Backward<'a, const DROPOUT: bool> {
    probs: &'a mut [f32],
    d: &'a mut [f32],
    keep: &'a [f32],
    per_query: &'a PerQuery,
    width: usize,
    factor: f32,
}

impl<const DROPOUT: bool> WithSimd for Backward<'_, DROPOUT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let row = self.width / S::F32_LANES;
        let factor = simd.splat_f32s(self.factor);
        let probs = S::as_mut_simd_f32s(self.probs).0;
        let d = S::as_mut_simd_f32s(self.d).0;
        let keep = S::as_simd_f32s(self.keep).0;
        let PerQuery { max, inverse_sum, delta } = self.per_query;
        let max = S::as_simd_f32s(max).0;
        let inverse_sum = S::as_simd_f32s(inverse_sum).0;
        let delta = S::as_simd_f32s(delta).0;
        let mut tile = BackwardTile { probs, d, keep, row, max, inverse_sum, delta, factor };
        let mut column = 0;
        // Several vectors of a row together, so that their chains of operations overlap.
        while column < row {
            column += match row - column {
                4.. if S::REGISTER_COUNT >= 32 => tile.columns::<DROPOUT, 4>(simd, column),
                2.. => tile.columns::<DROPOUT, 2>(simd, column),
                _ => tile.columns::<DROPOUT, 1>(simd, column),
            };
        }
    }
}

/// A tile of the backward pass as vectors.
struct BackwardTile<'a, S: Simd> {
    probs: &'a mut [S::f32s],
    d: &'a mut [S::f32s],
    keep: &'a [S::f32s],
    /// Vectors of a row.
    row: usize,
    max: &'a [S::f32s],
    inverse_sum: &'a [S::f32s],
    delta: &'a [S::f32s],
    factor: S::f32s,
}

impl<S: Simd> BackwardTile<'_, S> {
    /// `N` columns of vectors, from `column` on; `N`.
    #[inline(always)]
    fn columns<const DROPOUT: bool, const N: usize>(&mut self, simd: S, column: usize) -> usize {
        let max: &[S::f32s; N] = self.max[column..].first_chunk().expect(LANES_OF_ALL);
        let inverse_sum: &[S::f32s; N] =
            self.inverse_sum[column..].first_chunk().expect(LANES_OF_ALL);
        let delta: &[S::f32s; N] = self.delta[column..].first_chunk().expect(LANES_OF_ALL);
        let probs = self.probs.chunks_exact_mut(self.row);
        let d = self.d.chunks_exact_mut(self.row);
        let mut keep = self.keep.chunks_exact(self.row);
        for (probs, d) in probs.zip(d) {
            let probs: &mut [S::f32s; N] = probs[column..].first_chunk_mut().expect("whole rows");
            let d: &mut [S::f32s; N] = d[column..].first_chunk_mut().expect("whole rows");
            let keep: Option<&[S::f32s; N]> = if DROPOUT {
                keep.next().and_then(|keep| keep[column..].first_chunk())
            } else {
                None
            };
            let mut powers = *probs;
            for (p, max) in powers.iter_mut().zip(max) {
                *p = simd.mul_f32s(simd.sub_f32s(*p, *max), self.factor);
            }
            let powers = exp2_all(simd, powers);
            for i in 0..N {
                let prob = simd.mul_f32s(powers[i], inverse_sum[i]);
                let (kept, d_prob) = match keep {
                    Some(keep) => (simd.mul_f32s(prob, keep[i]), simd.mul_f32s(d[i], keep[i])),
                    None => (prob, d[i]),
                };
                probs[i] = kept;
                d[i] = simd.mul_f32s(prob, simd.sub_f32s(d_prob, delta[i]));
            }
        }
        N
    }
}

#[cfg(test)]
mod tests {
    use testkit::{assert_close, sequence};

    use super::*;

    /// The narrower vectors of other processors, which this one would not pick.
    #[test]
    fn every_vector_width_gives_the_same_softmax() {
        fn run<S: Simd>(simd: S, width: usize) -> Vec<f32> {
            let mut softmax = OnlineSoftmax::new(width, 1.3);
            let mut out = sequence(1, 3 * width);
            let mut all = Vec::new();
            for (seed, start) in [(2, Start::Zero), (3, Start::Add)] {
                let mut scores = sequence(seed, 5 * width);
                scores[3] = f32::NEG_INFINITY;
                let add = Add { softmax: &mut softmax, scores: &mut scores, out: &mut out, start };
                simd.vectorize(add);
                all.extend(scores);
            }
            let per_query =
                PerQuery { max: softmax.max, inverse_sum: softmax.sum, delta: [0.25; PANEL] };
            let (mut probs, mut d) = (sequence(4, 2 * width), sequence(5, 2 * width));
            for p in &mut probs {
                *p -= 2.0;
            }
            simd.vectorize(Backward::<false> {
                probs: &mut probs,
                d: &mut d,
                keep: &[],
                per_query: &per_query,
                width,
                factor: 0.7,
            });
            all.extend(out.into_iter().chain(probs).chain(d));
            all.extend(&softmax.sum[..width]);
            all
        }
        for width in [16, 48, 64] {
            let expected = run(pulp::Scalar::new(), width);
            #[cfg(target_arch = "x86_64")]
            {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    assert_close("AVX2", &run(simd, width), &expected, 1e-5, 1e-6);
                }
                if let Some(simd) = pulp::x86::V4::try_new() {
                    assert_close("AVX-512", &run(simd, width), &expected, 1e-5, 1e-6);
                }
            }
            #[cfg(target_arch = "aarch64")]
            if let Some(simd) = pulp::aarch64::Neon::try_new() {
                assert_close("NEON", &run(simd, width), &expected, 1e-5, 1e-6);
            }
        }
    }
}
