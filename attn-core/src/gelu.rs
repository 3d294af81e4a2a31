//! The Gaussian error linear unit, exact (not the tanh approximation), forward and backward.

use crate::simd::{normal_cdf_pdf, vectorize};

/// `out = x · Φ(x)` ([arXiv 1606.08415](https://arxiv.org/abs/1606.08415)); overwrites `out`.
///
/// # Panics
/// If the lengths differ.
///
/// ```
/// let mut out = [0.0; 3];
/// attn_core::gelu_forward(&mut out, &[-1.0, 0.0, 1.0]);
/// assert!((out[2] - 0.841_344_7).abs() < 1e-6 && out[1] == 0.0);
/// ```
pub fn gelu_forward(out: &mut [f32], x: &[f32]) {
    assert_eq!(out.len(), x.len(), "gelu: out and x differ in length");
    vectorize(
        #[inline(always)]
        || {
            for (o, &x) in out.iter_mut().zip(x) {
                *o = x * normal_cdf_pdf(x).0;
            }
        },
    );
}

/// [`gelu_forward`] in place.
pub(crate) fn gelu_in_place(x: &mut [f32]) {
    vectorize(
        #[inline(always)]
        || {
            for x in x {
                *x *= normal_cdf_pdf(*x).0;
            }
        },
    );
}

/// `d ← d · (Φ(x) + x·φ(x))`: turns the gradient at the output into the one at the input, in place.
///
/// # Panics
/// If the lengths differ.
pub fn gelu_backward(d: &mut [f32], x: &[f32]) {
    assert_eq!(d.len(), x.len(), "gelu: d and x differ in length");
    vectorize(
        #[inline(always)]
        || {
            for (d, &x) in d.iter_mut().zip(x) {
                let (cdf, pdf) = normal_cdf_pdf(x);
                *d *= x.mul_add(pdf, cdf);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use testkit::{assert_close, golden};

    use super::*;

    #[test]
    fn equals_pytorch_over_the_whole_range() {
        let file = golden("tests/golden/gelu.safetensors");
        let x = &file["x"].values;
        let mut y = vec![f32::NAN; x.len()];
        gelu_forward(&mut y, x);
        assert_close("gelu", &y, &file["y"].values, 1e-6, 1e-37);
        let mut d = vec![1.0; x.len()];
        gelu_backward(&mut d, x);
        // The derivative crosses zero near -0.75, where only the absolute error means anything.
        assert_close("derivative", &d, &file["dy_dx"].values, 2e-6, 1e-7);
    }

    #[test]
    fn extremes_stay_defined() {
        let mut y = [0.0; 4];
        gelu_forward(&mut y, &[-1e30, 1e30, -0.0, f32::NAN]);
        assert!(y[0].abs() <= 0.0 && y[1] >= 1e30 && y[2].abs() <= 0.0 && y[3].is_nan());
    }
}
