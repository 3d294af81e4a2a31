//! Layer normalisation over the last axis, forward and backward.

use crate::simd::{sum_by, vectorize};

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
    vectorize(
        #[inline(always)]
        || {
            let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(stats);
            for ((out, x), stats) in rows {
                let mean = sum_by(width, |j| x[j]) / width as f32;
                let variance = sum_by(width, |j| (x[j] - mean) * (x[j] - mean)) / width as f32;
                let rstd = 1.0 / (variance + LAYER_NORM_EPS).sqrt();
                *stats = (mean, rstd);
                for (((o, &x), &w), &b) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                    *o = ((x - mean) * rstd).mul_add(w, b);
                }
            }
        },
    );
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
    vectorize(
        #[inline(always)]
        || {
            let d_bias = &mut d_bias[..width];
            let d_weight = &mut d_weight[..width];
            let inputs = d_out.chunks_exact(width).zip(x.chunks_exact(width)).zip(stats);
            for (d_x, ((d_out, x), &(mean, rstd))) in d_x.chunks_exact_mut(width).zip(inputs) {
                let mean_g = sum_by(width, |j| d_out[j] * weight[j]) / width as f32;
                let mean_gx =
                    sum_by(width, |j| d_out[j] * weight[j] * ((x[j] - mean) * rstd)) / width as f32;
                for j in 0..width {
                    let normal = (x[j] - mean) * rstd;
                    d_x[j] += rstd * (d_out[j] * weight[j] - mean_g - normal * mean_gx);
                    d_weight[j] += d_out[j] * normal;
                    d_bias[j] += d_out[j];
                }
            }
        },
    );
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
