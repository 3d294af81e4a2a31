//! Plain versions of the kernels in f64 loops: the oracle of the tests, never optimized.

pub use crate::attention::reference::{attention, attention_backward};
use crate::layer_norm::LAYER_NORM_EPS;

fn round(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// `x · weightᵀ + bias`; shapes as in [`linear_forward`](crate::linear_forward).
pub fn linear(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
    let mut out = Vec::new();
    for row in x.chunks(inputs) {
        for o in 0..outputs {
            let mut sum = f64::from(bias[o]);
            for i in 0..inputs {
                sum += f64::from(row[i]) * f64::from(weight[o * inputs + i]);
            }
            out.push(sum as f32);
        }
    }
    out
}

/// `(d_x, d_weight, d_bias)` of [`linear`].
pub fn linear_backward(
    d_out: &[f32],
    x: &[f32],
    weight: &[f32],
    outputs: usize,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let inputs = weight.len() / outputs;
    let (mut d_x, mut d_w, mut d_b) =
        (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; outputs]);
    for r in 0..d_out.len() / outputs {
        for o in 0..outputs {
            let g = f64::from(d_out[r * outputs + o]);
            d_b[o] += g;
            for i in 0..inputs {
                d_x[r * inputs + i] += g * f64::from(weight[o * inputs + i]);
                d_w[o * inputs + i] += g * f64::from(x[r * inputs + i]);
            }
        }
    }
    (round(&d_x), round(&d_w), round(&d_b))
}

/// Mean and 1/√(var + eps) of a row.
fn moments(row: &[f32]) -> (f64, f64) {
    let n = row.len() as f64;
    let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    (mean, 1.0 / (variance + f64::from(LAYER_NORM_EPS)).sqrt())
}

/// Shapes as in [`layer_norm_forward`](crate::layer_norm_forward).
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut out = Vec::new();
    for row in x.chunks(weight.len()) {
        let (mean, rstd) = moments(row);
        for j in 0..row.len() {
            let normal = (f64::from(row[j]) - mean) * rstd;
            out.push((normal * f64::from(weight[j]) + f64::from(bias[j])) as f32);
        }
    }
    out
}

/// `(d_x, d_weight, d_bias)` of [`layer_norm`], by the chain rule through mean and variance.
pub fn layer_norm_backward(
    d_out: &[f32],
    x: &[f32],
    weight: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let width = weight.len();
    let n = width as f64;
    let (mut d_x, mut d_w, mut d_b) = (Vec::new(), vec![0.0; width], vec![0.0; width]);
    for (row, d_row) in x.chunks(width).zip(d_out.chunks(width)) {
        let (mean, rstd) = moments(row);
        let (mut d_variance, mut d_mean) = (0.0, 0.0);
        for j in 0..width {
            let (centred, d) = (f64::from(row[j]) - mean, f64::from(d_row[j]));
            d_w[j] += d * centred * rstd;
            d_b[j] += d;
            let d_normal = d * f64::from(weight[j]);
            d_variance += d_normal * centred * -0.5 * rstd.powi(3);
            d_mean -= d_normal * rstd;
        }
        for j in 0..width {
            let (centred, d) = (f64::from(row[j]) - mean, f64::from(d_row[j]));
            let direct = d * f64::from(weight[j]) * rstd;
            d_x.push((direct + d_variance * 2.0 * centred / n + d_mean / n) as f32);
        }
    }
    (d_x, round(&d_w), round(&d_b))
}
