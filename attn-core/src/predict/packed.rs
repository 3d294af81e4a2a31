//! Linear layers made ready for answers: weights in the order the product reads them, the gain and
//! shift of the norm before them folded in, in the precision asked for.

use std::ops::Range;

use crate::attention::{Scalars, Start, Strided, multiply};
use crate::simd::{LANES, vectorize};

/// How a [`Predictor`](crate::Predictor) keeps its weight matrices. Arithmetic is in f32 in any
/// case: smaller weights save memory, not time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Precision {
    /// 4 bytes a weight, exact.
    #[default]
    F32,
    /// 2 bytes a weight, 8 bits of mantissa, rounded to nearest even.
    Bf16,
    /// 1 byte a weight and one scale for each output: `weight ≈ scale · q`, `|q| ≤ 127`.
    Int8,
}

/// Outputs of one panel of weights: 4 AVX-512 registers.
const PANEL: usize = 64;

/// Terms of a product that are summed before the next part: a panel's weights then take 32 KiB and
/// stay in a first-level cache while rows pass by.
const TERMS: usize = 128;

#[derive(Debug, Clone)]
enum Weights {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
    Int8 { values: Vec<i8>, scales: Vec<f32> },
}

/// `x · weightᵀ + bias` with packed weights.
#[derive(Debug, Clone)]
pub(super) struct PackedLinear {
    /// `[inputs, 64]` for each 64 outputs, the last panel narrower: what a product reads next lies
    /// next, and no two rows fall on the same cache lines.
    weights: Weights,
    /// `[stride]`
    pub(super) bias: Vec<f32>,
    inputs: usize,
    /// Outputs, padded to whole vectors.
    pub(super) stride: usize,
}

impl PackedLinear {
    /// Packs `weight` (`[outputs, inputs]`); with a norm's `(gain, shift)` in front the layer
    /// becomes `(weight·diag(gain))·x̂ + (bias + weight·shift)`.
    pub(super) fn new(
        weight: &[f32],
        bias: &[f32],
        norm: Option<(&[f32], &[f32])>,
        precision: Precision,
    ) -> Self {
        let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
        let stride = outputs.next_multiple_of(LANES);
        let mut packed = vec![0.0; inputs * stride];
        let mut biases = vec![0.0; stride];
        for (o, row) in weight.chunks_exact(inputs).enumerate() {
            let mut sum = f64::from(bias[o]);
            for (i, &w) in row.iter().enumerate() {
                let (gain, shift) = norm.map_or((1.0, 0.0), |(gain, shift)| (gain[i], shift[i]));
                packed[place(i, o, inputs, stride)] = w * gain;
                sum += f64::from(w) * f64::from(shift);
            }
            biases[o] = sum as f32;
        }
        let weights = match precision {
            Precision::F32 => Weights::F32(packed),
            Precision::Bf16 => Weights::Bf16(packed.iter().map(|&w| to_bf16(w)).collect()),
            Precision::Int8 => quantize(&packed, inputs, stride),
        };
        Self { weights, bias: biases, inputs, stride }
    }

    /// f32 values of workspace for the products.
    pub(super) fn scratch(&self) -> usize {
        match self.weights {
            Weights::F32(_) => 0,
            Weights::Bf16(_) | Weights::Int8 { .. } => self.inputs * self.stride,
        }
    }

    /// Bytes of the weights and the bias.
    pub(super) fn bytes(&self) -> usize {
        let weights = match &self.weights {
            Weights::F32(values) => 4 * values.len(),
            Weights::Bf16(values) => 2 * values.len(),
            Weights::Int8 { values, scales } => values.len() + 4 * scales.len(),
        };
        weights + 4 * self.bias.len()
    }

    /// `out = bias + x · weightᵀ`, `rows` rows of [`stride`](Self::stride).
    pub(super) fn forward(
        &self,
        out: &mut [f32],
        x: Strided<'_>,
        rows: usize,
        scratch: &mut [f32],
    ) {
        self.each_bias(
            out,
            rows,
            #[inline(always)]
            |o, b| *o = b,
        );
        self.multiply(out, x, rows, scratch);
    }

    /// `out += bias + x · weightᵀ`.
    pub(super) fn add(&self, out: &mut [f32], x: Strided<'_>, rows: usize, scratch: &mut [f32]) {
        self.each_bias(
            out,
            rows,
            #[inline(always)]
            |o, b| *o += b,
        );
        self.multiply(out, x, rows, scratch);
    }

    /// Applies `op` to every output and its bias.
    fn each_bias(&self, out: &mut [f32], rows: usize, op: impl Fn(&mut f32, f32)) {
        vectorize(
            #[inline(always)]
            || {
                for row in out[..rows * self.stride].chunks_exact_mut(self.stride) {
                    for (o, &b) in row.iter_mut().zip(&self.bias) {
                        op(o, b);
                    }
                }
            },
        );
    }

    /// `out += x · weightᵀ`.
    pub(super) fn multiply(
        &self,
        out: &mut [f32],
        x: Strided<'_>,
        rows: usize,
        scratch: &mut [f32],
    ) {
        let weights = self.widened(scratch);
        for (column, panel) in panels(self.inputs, self.stride) {
            let width = panel.len() / self.inputs;
            let panel = &weights[panel];
            for first in (0..self.inputs).step_by(TERMS) {
                let terms = TERMS.min(self.inputs - first);
                multiply(
                    &mut out[column..],
                    self.stride,
                    Start::Add,
                    Strided { values: &panel[first * width..], stride: width },
                    Strided { values: &x.values[first..], stride: x.stride },
                    Scalars::RowPerOutput,
                    [rows, terms, width],
                );
            }
        }
    }

    /// The weights in f32.
    fn widened<'a>(&'a self, scratch: &'a mut [f32]) -> &'a [f32] {
        match &self.weights {
            Weights::F32(values) => values,
            Weights::Bf16(values) => {
                let wide = &mut scratch[..values.len()];
                vectorize(
                    #[inline(always)]
                    || {
                        for (w, &v) in wide.iter_mut().zip(values) {
                            *w = f32::from_bits(u32::from(v) << 16);
                        }
                    },
                );
                wide
            }
            Weights::Int8 { values, scales } => {
                let wide = &mut scratch[..values.len()];
                vectorize(
                    #[inline(always)]
                    || {
                        for (column, panel) in panels(self.inputs, self.stride) {
                            let width = panel.len() / self.inputs;
                            let scales = &scales[column..column + width];
                            let rows = wide[panel.clone()].chunks_exact_mut(width);
                            for (wide, values) in rows.zip(values[panel].chunks_exact(width)) {
                                for ((w, &v), &scale) in wide.iter_mut().zip(values).zip(scales) {
                                    *w = f32::from(v) * scale;
                                }
                            }
                        }
                    },
                );
                wide
            }
        }
    }
}

/// The upper half of an f32, rounded to nearest even; NaN stays NaN.
fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    (bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16) as u16
}

/// First output of each panel, and where its weights lie.
fn panels(inputs: usize, stride: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    (0..stride).step_by(PANEL).map(move |column| {
        let end = (column + PANEL).min(stride);
        (column, column * inputs..end * inputs)
    })
}

/// Place of one weight.
fn place(input: usize, output: usize, inputs: usize, stride: usize) -> usize {
    let column = output / PANEL * PANEL;
    let width = PANEL.min(stride - column);
    column * inputs + input * width + (output - column)
}

/// Symmetric, each output with its own scale; NaN where a weight is, so that it shows.
fn quantize(packed: &[f32], inputs: usize, stride: usize) -> Weights {
    let mut scales = vec![0.0_f32; stride];
    let mut values = vec![0_i8; packed.len()];
    for (output, scale) in scales.iter_mut().enumerate() {
        let places = (0..inputs).map(|input| place(input, output, inputs, stride));
        let top = |top: f32, w: f32| if w > top || w.is_nan() { w } else { top };
        *scale = places.clone().map(|p| packed[p].abs()).fold(0.0, top) / 127.0;
        for p in places {
            values[p] = if *scale > 0.0 { (packed[p] / *scale).round() as i8 } else { 0 };
        }
    }
    Weights::Int8 { values, scales }
}

#[cfg(test)]
mod tests {
    use testkit::{assert_close, sequence};

    use super::*;
    use crate::reference;

    #[test]
    fn equals_the_layer_behind_a_norm() {
        for (rows, inputs, outputs) in
            [(1, 1, 1), (3, 7, 5), (9, 300, 33), (17, 16, 64), (5, 20, 150)]
        {
            let x = sequence(1, rows * inputs);
            let (weight, bias) = (sequence(2, outputs * inputs), sequence(3, outputs));
            let (gain, shift) = (sequence(4, inputs), sequence(5, inputs));
            let normed: Vec<f32> = x
                .chunks(inputs)
                .flat_map(|row| row.iter().zip(&gain).zip(&shift).map(|((x, g), s)| x * g + s))
                .collect();
            let expected = reference::linear(&normed, &weight, &bias);
            for (precision, tolerance) in
                [(Precision::F32, 1e-5), (Precision::Bf16, 5e-3), (Precision::Int8, 1e-2)]
            {
                let layer = PackedLinear::new(&weight, &bias, Some((&gain, &shift)), precision);
                let mut out = vec![f32::NAN; rows * layer.stride];
                let mut scratch = vec![f32::NAN; layer.scratch()];
                let input = Strided { values: &x, stride: inputs };
                layer.forward(&mut out, input, rows, &mut scratch);
                let found: Vec<f32> =
                    out.chunks(layer.stride).flat_map(|row| row[..outputs].to_vec()).collect();
                let scale = tolerance * (inputs as f64).sqrt();
                assert_close("out", &found, &expected, tolerance, scale);
            }
        }
    }

    #[test]
    fn bf16_rounds_to_nearest_even() {
        let wide = |bits: u16| f32::from_bits(u32::from(bits) << 16);
        assert_eq!(to_bf16(1.0), 0x3F80);
        assert!(wide(to_bf16(f32::NAN)).is_nan());
        assert!((wide(to_bf16(1.0 + 1.0 / 256.0)) - 1.0).abs() <= 0.0, "a tie goes to even");
        assert!((wide(to_bf16(1.0 + 3.0 / 256.0)) - 1.015_625).abs() <= 0.0);
        assert!(wide(to_bf16(f32::INFINITY)).is_infinite());
    }
}
