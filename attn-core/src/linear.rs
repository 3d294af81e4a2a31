//! Linear layers on faer's matrix products; the one place where slices become matrices.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use crate::simd::vectorize;

/// Row-major slice as a `[rows, cols]` matrix.
fn mat(values: &[f32], rows: usize, cols: usize) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice(values, rows, cols)
}

/// Row-major slice as a mutable `[rows, cols]` matrix.
fn mat_mut(values: &mut [f32], rows: usize, cols: usize) -> MatMut<'_, f32> {
    MatMut::from_row_major_slice_mut(values, rows, cols)
}

/// `dst (+)= alpha · lhs · rhs`, on the calling thread.
#[inline]
fn product(
    dst: MatMut<'_, f32>,
    accum: Accum,
    lhs: MatRef<'_, f32>,
    rhs: MatRef<'_, f32>,
    alpha: f32,
) {
    matmul(dst, accum, lhs, rhs, alpha, Par::Seq);
}

/// `out = x · weightᵀ + bias`; overwrites `out`.
///
/// # Shapes
/// `x`: `[rows, inputs]`; `weight`: `[outputs, inputs]` as in `PyTorch`; `bias`: `[outputs]`;
/// `out`: `[rows, outputs]`.
///
/// # Panics
/// If the lengths do not fit together.
///
/// ```
/// let mut out = [0.0; 2];
/// attn_core::linear_forward(&mut out, &[1.0, 2.0, 3.0], &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0], &[0.5, -0.5]);
/// assert_eq!(out, [1.5, 4.5]);
/// ```
pub fn linear_forward(out: &mut [f32], x: &[f32], weight: &[f32], bias: &[f32]) {
    let (rows, inputs, outputs) = sizes(out.len(), x.len(), weight.len(), bias.len());
    vectorize(
        #[inline(always)]
        || {
            for row in out.chunks_exact_mut(outputs) {
                for (o, &b) in row.iter_mut().zip(bias) {
                    *o = b;
                }
            }
        },
    );
    product(
        mat_mut(out, rows, outputs),
        Accum::Add,
        mat(x, rows, inputs),
        mat(weight, outputs, inputs).transpose(),
        1.0,
    );
}

/// `out = residual + x · weightᵀ + bias`: the end of a branch, without a second buffer.
pub(crate) fn linear_residual(
    out: &mut [f32],
    residual: &[f32],
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
) {
    let (rows, inputs, outputs) = sizes(out.len(), x.len(), weight.len(), bias.len());
    assert_eq!(out.len(), residual.len(), "linear: out and residual differ in length");
    vectorize(
        #[inline(always)]
        || {
            let residuals = residual.chunks_exact(outputs);
            for (row, residual) in out.chunks_exact_mut(outputs).zip(residuals) {
                for ((o, &r), &b) in row.iter_mut().zip(residual).zip(bias) {
                    *o = r + b;
                }
            }
        },
    );
    product(
        mat_mut(out, rows, outputs),
        Accum::Add,
        mat(x, rows, inputs),
        mat(weight, outputs, inputs).transpose(),
        1.0,
    );
}

/// Gradients of a linear layer's parameters: `d_weight += d_outᵀ · x`, `d_bias += Σ d_out`.
///
/// # Shapes
/// As in [`linear_forward`].
///
/// # Panics
/// If the lengths do not fit together.
pub fn linear_backward_params(d_weight: &mut [f32], d_bias: &mut [f32], d_out: &[f32], x: &[f32]) {
    let (rows, inputs, outputs) = sizes(d_out.len(), x.len(), d_weight.len(), d_bias.len());
    vectorize(
        #[inline(always)]
        || {
            for row in d_out.chunks_exact(outputs) {
                for (d, &g) in d_bias.iter_mut().zip(row) {
                    *d += g;
                }
            }
        },
    );
    product(
        mat_mut(d_weight, outputs, inputs),
        Accum::Add,
        mat(d_out, rows, outputs).transpose(),
        mat(x, rows, inputs),
        1.0,
    );
}

/// Gradient of a linear layer's input: `d_x = d_out · weight`; overwrites `d_x`.
///
/// # Shapes
/// As in [`linear_forward`].
///
/// # Panics
/// If the lengths do not fit together.
pub fn linear_backward_input(d_x: &mut [f32], d_out: &[f32], weight: &[f32], outputs: usize) {
    let (rows, inputs, outputs) = sizes(d_out.len(), d_x.len(), weight.len(), outputs);
    product(
        mat_mut(d_x, rows, inputs),
        Accum::Replace,
        mat(d_out, rows, outputs),
        mat(weight, outputs, inputs),
        1.0,
    );
}

/// `(rows, inputs, outputs)` from the lengths of the four arrays of a linear layer.
fn sizes(out: usize, x: usize, weight: usize, outputs: usize) -> (usize, usize, usize) {
    assert!(outputs > 0, "linear: no outputs");
    let (rows, inputs) = (out / outputs, weight / outputs);
    assert!(
        out == rows * outputs && weight == inputs * outputs && x == rows * inputs,
        "linear: {out} outputs, {x} inputs, {weight} weights and {outputs} biases do not fit together"
    );
    (rows, inputs, outputs)
}

#[cfg(test)]
mod tests {
    use testkit::{assert_close, sequence};

    use super::*;
    use crate::reference;

    #[test]
    fn equals_the_reference_over_odd_sizes() {
        for (rows, inputs, outputs) in
            [(1, 1, 1), (3, 2, 5), (7, 16, 3), (17, 33, 31), (64, 64, 48)]
        {
            let x = sequence(1, rows * inputs);
            let (w, b) = (sequence(2, outputs * inputs), sequence(3, outputs));
            let mut out = vec![f32::NAN; rows * outputs];
            linear_forward(&mut out, &x, &w, &b);
            let expected = reference::linear(&x, &w, &b);
            assert_close("out", &out, &expected, 1e-5, 1e-5);
            linear_residual(&mut out, &expected, &x, &w, &b);
            let doubled: Vec<f32> = expected.iter().map(|v| 2.0 * v).collect();
            assert_close("added", &out, &doubled, 1e-5, 1e-5);

            let d_out = sequence(4, rows * outputs);
            let mut d_x = vec![f32::NAN; rows * inputs];
            linear_backward_input(&mut d_x, &d_out, &w, outputs);
            let (mut d_w, mut d_b) = (vec![0.0; w.len()], vec![0.0; outputs]);
            linear_backward_params(&mut d_w, &mut d_b, &d_out, &x);
            let expected = reference::linear_backward(&d_out, &x, &w, outputs);
            assert_close("d_x", &d_x, &expected.0, 1e-5, 1e-5);
            assert_close("d_weight", &d_w, &expected.1, 1e-5, 1e-5);
            assert_close("d_bias", &d_b, &expected.2, 1e-5, 1e-5);
        }
    }

    #[test]
    #[should_panic(expected = "do not fit together")]
    fn wrong_shapes_panic() {
        linear_forward(&mut [0.0; 4], &[0.0; 3], &[0.0; 4], &[0.0; 2]);
    }
}
