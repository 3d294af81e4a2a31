//! Softmax of one tile, forward and backward. Every query is a lane, so that nothing is summed
//! across a vector.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `with_simd` is compiled for the oldest processor"
)]

use pulp::{Simd, WithSimd};

use super::panel::PANEL;
use super::tile::Start;
use crate::simd::exp2_lanes;

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
        let vectors = S::as_mut_simd_f32s(max).0.iter_mut().zip(S::as_mut_simd_f32s(sum).0);
        let none = simd.splat_f32s(f32::NEG_INFINITY);
        let factor = simd.splat_f32s(*factor);
        for (column, (max, sum)) in vectors.take(row).enumerate() {
            // Where one of two is NaN, the maximum may be either; NaN shows in the exponential.
            let mut top = *max;
            for s in scores.chunks_exact(row) {
                top = simd.max_f32s(s[column], top);
            }
            // −∞ − 0 stays −∞, whose exponential is 0, where −∞ − −∞ would be NaN.
            let seen = simd.greater_than_f32s(top, none);
            let base = simd.select_f32s(seen, top, simd.splat_f32s(0.0));
            if start == Start::Add {
                let shrink = exp2_lanes(simd, simd.mul_f32s(simd.sub_f32s(*max, base), factor));
                *sum = simd.mul_f32s(*sum, shrink);
                for o in out.chunks_exact_mut(row) {
                    o[column] = simd.mul_f32s(o[column], shrink);
                }
            }
            *max = top;
            let mut total = *sum;
            for s in scores.chunks_exact_mut(row) {
                let exponent = simd.mul_f32s(simd.sub_f32s(s[column], base), factor);
                s[column] = exp2_lanes(simd, exponent);
                total = simd.add_f32s(total, s[column]);
            }
            *sum = total;
        }
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
        for column in 0..row {
            let (max, inverse_sum, delta) = (max[column], inverse_sum[column], delta[column]);
            let probs = probs.iter_mut().skip(column).step_by(row);
            let d = d.iter_mut().skip(column).step_by(row);
            let mut keep = keep.iter().skip(column).step_by(row);
            for (p, d) in probs.zip(d) {
                let exponent = simd.mul_f32s(simd.sub_f32s(*p, max), factor);
                let prob = simd.mul_f32s(exp2_lanes(simd, exponent), inverse_sum);
                let (kept, d_prob) = match keep.next() {
                    Some(&keep) if DROPOUT => (simd.mul_f32s(prob, keep), simd.mul_f32s(*d, keep)),
                    _ => (prob, *d),
                };
                *p = kept;
                *d = simd.mul_f32s(prob, simd.sub_f32s(d_prob, delta));
            }
        }
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
