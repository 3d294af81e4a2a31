//! Layer normalisation over the last axis, forward and backward.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `with_simd` is compiled for the oldest processor"
)]

use pulp::{Simd, WithSimd};

/// Added to the variance; `PyTorch`'s default.
pub const LAYER_NORM_EPS: f32 = 1e-5;

/// `out = (x − mean) · rstd · weight + bias` per row, `rstd = 1/√(var + eps)` with the biased
/// variance ([arXiv 1607.06450](https://arxiv.org/abs/1607.06450)).
///
/// # Shapes
/// `x`, `out`: `[rows, width]`; `weight`, `bias`: `[width]`; `stats`: `[rows]`, overwritten with
/// `(mean, rstd)` for the backward pass. Overwrites `out`.
///
/// # Panics
/// If the lengths do not fit together.
pub fn layer_norm_forward(
    out: &mut [f32],
    stats: &mut [(f32, f32)],
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
) {
    let width = weight.len();
    check(width, bias.len(), x.len(), out.len(), stats.len());
    pulp::Arch::new().dispatch(Forward { out, stats, x, weight, bias });
}

struct Forward<'a> {
    out: &'a mut [f32],
    stats: &'a mut [(f32, f32)],
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, stats, x, weight, bias } = self;
        let width = weight.len();
        let (weights, weight_rest) = S::as_simd_f32s(weight);
        let (biases, bias_rest) = S::as_simd_f32s(bias);
        let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(stats);
        for ((out, x), stats) in rows {
            let (vectors, rest) = S::as_simd_f32s(x);
            let (mean, rstd) = moments(simd, x);
            *stats = (mean, rstd);
            let (means, rstds) = (simd.splat_f32s(mean), simd.splat_f32s(rstd));
            let (outs, out_rest) = S::as_mut_simd_f32s(out);
            for (((o, &v), &w), &b) in outs.iter_mut().zip(vectors).zip(weights).zip(biases) {
                let normal = simd.mul_f32s(simd.sub_f32s(v, means), rstds);
                *o = simd.mul_add_f32s(normal, w, b);
            }
            for (((o, &v), &w), &b) in out_rest.iter_mut().zip(rest).zip(weight_rest).zip(bias_rest)
            {
                *o = ((v - mean) * rstd).mul_add(w, b);
            }
        }
    }
}

/// Mean and 1/√(var + eps) of a row.
#[inline(always)]
fn moments<S: Simd>(simd: S, x: &[f32]) -> (f32, f32) {
    let (vectors, rest) = S::as_simd_f32s(x);
    let mut sum = simd.splat_f32s(0.0);
    for &v in vectors {
        sum = simd.add_f32s(sum, v);
    }
    let width = x.len() as f32;
    let mean = (simd.reduce_sum_f32s(sum) + rest.iter().sum::<f32>()) / width;
    let means = simd.splat_f32s(mean);
    let mut sum = simd.splat_f32s(0.0);
    for &v in vectors {
        let centred = simd.sub_f32s(v, means);
        sum = simd.mul_add_f32s(centred, centred, sum);
    }
    let of_rest: f32 = rest.iter().map(|v| (v - mean) * (v - mean)).sum();
    let variance = (simd.reduce_sum_f32s(sum) + of_rest) / width;
    (mean, 1.0 / (variance + LAYER_NORM_EPS).sqrt())
}

/// `out = (x − mean) · rstd` for rows of `width` values that start `stride` values apart: the norm
/// without gain and shift, where those are folded into the layer behind it.
pub(crate) fn normalize(out: &mut [f32], x: &[f32], width: usize, stride: usize) {
    assert_eq!(out.len(), x.len(), "normalize: out and x differ in length");
    pulp::Arch::new().dispatch(Normalize { out, x, width, stride });
}

struct Normalize<'a> {
    out: &'a mut [f32],
    x: &'a [f32],
    width: usize,
    stride: usize,
}

impl WithSimd for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, x, width, stride } = self;
        for (out, x) in out.chunks_exact_mut(stride).zip(x.chunks_exact(stride)) {
            let (out, x) = (&mut out[..width], &x[..width]);
            let (mean, rstd) = moments(simd, x);
            let (means, rstds) = (simd.splat_f32s(mean), simd.splat_f32s(rstd));
            let (vectors, rest) = S::as_simd_f32s(x);
            let (outs, out_rest) = S::as_mut_simd_f32s(out);
            for (o, &v) in outs.iter_mut().zip(vectors) {
                *o = simd.mul_f32s(simd.sub_f32s(v, means), rstds);
            }
            for (o, &v) in out_rest.iter_mut().zip(rest) {
                *o = (v - mean) * rstd;
            }
        }
    }
}

/// Backward of [`layer_norm_forward`]; adds to `d_x`, `d_weight` and `d_bias`.
///
/// With `x̂ = (x − mean)·rstd` and `g = d_out·weight`:
/// `d_x += rstd · (g − mean(g) − x̂ · mean(g·x̂))`, `d_weight += Σ d_out·x̂`, `d_bias += Σ d_out`.
///
/// # Shapes
/// As in the forward pass.
///
/// # Panics
/// If the lengths do not fit together.
pub fn layer_norm_backward(
    d_x: &mut [f32],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
    d_out: &[f32],
    x: &[f32],
    stats: &[(f32, f32)],
    weight: &[f32],
) {
    let width = weight.len();
    check(width, d_bias.len(), x.len(), d_out.len(), stats.len());
    assert_eq!((d_x.len(), d_weight.len()), (x.len(), width), "layer_norm: gradient lengths");
    pulp::Arch::new().dispatch(Backward { d_x, d_weight, d_bias, d_out, x, stats, weight });
}

struct Backward<'a> {
    d_x: &'a mut [f32],
    d_weight: &'a mut [f32],
    d_bias: &'a mut [f32],
    d_out: &'a [f32],
    x: &'a [f32],
    stats: &'a [(f32, f32)],
    weight: &'a [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { d_x, d_weight, d_bias, d_out, x, stats, weight } = self;
        let width = weight.len();
        let (weights, weight_rest) = S::as_simd_f32s(weight);
        let (d_weights, d_weight_rest) = S::as_mut_simd_f32s(d_weight);
        let (d_biases, d_bias_rest) = S::as_mut_simd_f32s(d_bias);
        let n = weights.len();
        let (d_weights, d_biases) = (&mut d_weights[..n], &mut d_biases[..n]);
        let inputs = d_out.chunks_exact(width).zip(x.chunks_exact(width)).zip(stats);
        for (d_x, ((d_out, x), &(mean, rstd))) in d_x.chunks_exact_mut(width).zip(inputs) {
            let (means, rstds) = (simd.splat_f32s(mean), simd.splat_f32s(rstd));
            let (xs, x_rest) = S::as_simd_f32s(x);
            let (d_outs, d_out_rest) = S::as_simd_f32s(d_out);
            let (d_xs, d_x_rest) = S::as_mut_simd_f32s(d_x);
            let (xs, d_outs, d_xs) = (&xs[..n], &d_outs[..n], &mut d_xs[..n]);
            let mut sum_g = simd.splat_f32s(0.0);
            let mut sum_gx = simd.splat_f32s(0.0);
            for i in 0..n {
                let normal = simd.mul_f32s(simd.sub_f32s(xs[i], means), rstds);
                let g = simd.mul_f32s(d_outs[i], weights[i]);
                sum_g = simd.add_f32s(sum_g, g);
                sum_gx = simd.mul_add_f32s(g, normal, sum_gx);
                d_weights[i] = simd.mul_add_f32s(d_outs[i], normal, d_weights[i]);
                d_biases[i] = simd.add_f32s(d_biases[i], d_outs[i]);
            }
            let (mut sum_g, mut sum_gx) =
                (simd.reduce_sum_f32s(sum_g), simd.reduce_sum_f32s(sum_gx));
            for i in 0..x_rest.len() {
                let normal = (x_rest[i] - mean) * rstd;
                let g = d_out_rest[i] * weight_rest[i];
                sum_g += g;
                sum_gx += g * normal;
                d_weight_rest[i] += d_out_rest[i] * normal;
                d_bias_rest[i] += d_out_rest[i];
            }
            let (mean_g, mean_gx) = (sum_g / width as f32, sum_gx / width as f32);
            let (mean_gs, mean_gxs) = (simd.splat_f32s(mean_g), simd.splat_f32s(mean_gx));
            for i in 0..n {
                let normal = simd.mul_f32s(simd.sub_f32s(xs[i], means), rstds);
                let centred = simd.sub_f32s(simd.mul_f32s(d_outs[i], weights[i]), mean_gs);
                let along = simd.sub_f32s(centred, simd.mul_f32s(normal, mean_gxs));
                d_xs[i] = simd.mul_add_f32s(rstds, along, d_xs[i]);
            }
            for i in 0..x_rest.len() {
                let normal = (x_rest[i] - mean) * rstd;
                let along = d_out_rest[i] * weight_rest[i] - mean_g - normal * mean_gx;
                d_x_rest[i] += rstd * along;
            }
        }
    }
}

fn check(width: usize, bias: usize, x: usize, out: usize, rows: usize) {
    assert!(width > 0, "layer_norm: width is zero");
    assert_eq!(bias, width, "layer_norm: bias has {bias} values, weight {width}");
    assert_eq!(x, out, "layer_norm: x has {x} values, out {out}");
    assert_eq!(x, rows * width, "layer_norm: x has {x} values for {rows} rows of {width}");
}

#[cfg(test)]
mod tests {
    use testkit::{assert_close, sequence};

    use super::*;
    use crate::reference;

    #[test]
    fn equals_the_reference_over_odd_widths() {
        for (rows, width) in [(1, 1), (3, 5), (2, 16), (4, 17), (5, 64), (2, 130)] {
            let x = sequence(1, rows * width);
            let (w, b) = (sequence(2, width), sequence(3, width));
            let mut out = vec![f32::NAN; rows * width];
            let mut stats = vec![(f32::NAN, f32::NAN); rows];
            layer_norm_forward(&mut out, &mut stats, &x, &w, &b);
            assert_close("out", &out, &reference::layer_norm(&x, &w, &b), 1e-5, 2e-6);

            let d_out = sequence(4, rows * width);
            let (mut d_x, mut d_w, mut d_b) =
                (vec![0.0; rows * width], vec![0.0; width], vec![0.0; width]);
            layer_norm_backward(&mut d_x, &mut d_w, &mut d_b, &d_out, &x, &stats, &w);
            let expected = reference::layer_norm_backward(&d_out, &x, &w);
            // A row of one or two equal values divides by eps: its gradient is large and rough.
            assert_close("d_x", &d_x, &expected.0, 1e-4, 1e-5);
            assert_close("d_weight", &d_w, &expected.1, 1e-4, 1e-5);
            assert_close("d_bias", &d_b, &expected.2, 1e-5, 1e-6);
        }
    }

    #[test]
    #[should_panic(expected = "x has 7 values for 2 rows of 4")]
    fn wrong_shapes_panic_with_both() {
        layer_norm_forward(&mut [0.0; 7], &mut [(0.0, 0.0); 2], &[0.0; 7], &[1.0; 4], &[0.0; 4]);
    }
}
