//! Elementwise arithmetic that compiles to the widest vectors the processor has.
//!
//! The loops are plain Rust over slices; [`vectorize`] runs them through pulp's run-time dispatch,
//! so that the compiler may use AVX-512, AVX2 or NEON in them. What they call must be
//! `#[inline(always)]`, or it would be compiled for the oldest processor.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `vectorize` is compiled for the oldest processor"
)]

/// Partial sums kept by a reduction: one AVX-512 register of f32, fixed so that the order of
/// additions is the same on every machine type.
pub(crate) const LANES: usize = 16;

/// Runs `f` compiled for the best instruction set of this processor.
///
/// The closure must be marked `#[inline(always)]` too; one that is not runs ten times slower.
#[inline(always)]
pub(crate) fn vectorize<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Below this `exp` returns zero: the result would be subnormal.
const EXP_LOW: f32 = -87.336_54;
const EXP_HIGH: f32 = 88.722_83;

/// `exp(x)` within 2 ulp; exactly 0 below -87.3 and infinite above 88.72, NaN for NaN.
///
/// `x = n·ln 2 + r` with `|r| ≤ ln 2 / 2`, and a polynomial of degree 6 in `r`, fitted for the
/// smallest relative error (1.9e-9 before rounding).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // 1.5·2^23: adding it rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has few enough bits for an exact product with n.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // A comparison, not `clamp`, so that NaN stays NaN.
    let clamped = if x > EXP_HIGH { EXP_HIGH } else { x };
    let rounded = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, clamped));
    let mut p = 0.001_383_679_5_f32;
    p = p.mul_add(r, 0.008_374_858);
    p = p.mul_add(r, 0.041_668_23);
    p = p.mul_add(r, 0.166_664_2);
    p = p.mul_add(r, 0.499_999_9);
    p = p.mul_add(r, 1.0);
    p = p.mul_add(r, 1.0);
    // Two factors, since 2^128 does not exist: n reaches 128 just below the upper end.
    let n = rounded.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    let half = n >> 1;
    let scale_1 = f32::from_bits((half.wrapping_add(127)).cast_unsigned() << 23);
    let scale_2 = f32::from_bits((n.wrapping_sub(half).wrapping_add(127)).cast_unsigned() << 23);
    let y = p * scale_1 * scale_2;
    let y = if x < EXP_LOW { 0.0 } else { y };
    if x > EXP_HIGH { f32::INFINITY } else { y }
}

/// `Φ(x)` and `φ(x)` of the standard normal distribution.
///
/// For `a = |x|`: `Φ(−a) = exp(−a²/2)·R(a)` with `R` a polynomial of degree 8 in `1/(1 + 0.3a)`,
/// fitted on `[0, 13.5]` for the smallest relative error (5.7e-8 before rounding); the rounding
/// error of `a²` is added back, so that the tail keeps its digits.
#[inline(always)]
pub(crate) fn normal_cdf_pdf(x: f32) -> (f32, f32) {
    const INV_SQRT_2PI: f32 = 0.398_942_3;
    let a = x.abs();
    let half_square = 0.5 * a * a;
    let lost = (0.5 * a).mul_add(a, -half_square);
    // Where a² overflows, so does its error; exp gives zero there without it.
    let lost = if a < 20.0 { lost } else { 0.0 };
    let e = exp(-half_square);
    let e = lost.mul_add(-e, e);
    let t = 1.0 / 0.3_f32.mul_add(a, 1.0);
    let mut p = 0.038_334_26_f32;
    p = p.mul_add(t, -0.168_951_94);
    p = p.mul_add(t, 0.228_217_28);
    p = p.mul_add(t, -0.075_999_58);
    p = p.mul_add(t, 0.142_185_05);
    p = p.mul_add(t, 0.094_832_98);
    p = p.mul_add(t, 0.121_882_06);
    p = p.mul_add(t, 0.119_493_06);
    p = p.mul_add(t, 6.852_930_4e-6);
    let tail = e * p;
    (if x > 0.0 { 1.0 - tail } else { tail }, e * INV_SQRT_2PI)
}

/// Sum with [`LANES`] partial sums in a fixed order.
#[inline(always)]
pub(crate) fn sum_by(n: usize, value: impl Fn(usize) -> f32) -> f32 {
    let mut acc = [0.0_f32; LANES];
    let whole = n - n % LANES;
    let mut i = 0;
    while i < whole {
        for (lane, a) in acc.iter_mut().enumerate() {
            *a += value(i + lane);
        }
        i += LANES;
    }
    for (lane, a) in acc.iter_mut().enumerate().take(n - whole) {
        *a += value(whole + lane);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            acc[lane] += acc[lane + width];
        }
        width /= 2;
    }
    acc[0]
}

/// Largest value; NaN if any value is NaN.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut acc = [f32::NEG_INFINITY; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (a, &v) in acc.iter_mut().zip(chunk) {
            // A NaN moves in and stays: nothing is greater than it.
            *a = if v > *a || v.is_nan() { v } else { *a };
        }
    }
    acc.iter()
        .chain(chunks.remainder())
        .fold(f32::NEG_INFINITY, |best, &v| if v > best || v.is_nan() { v } else { best })
}

/// `a += b`.
#[inline]
pub(crate) fn add_assign(a: &mut [f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "add_assign: lengths differ");
    vectorize(
        #[inline(always)]
        || {
            for (a, &b) in a.iter_mut().zip(b) {
                *a += b;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_ulp() {
        let mut worst = 0.0_f64;
        for i in 0..2_000_000 {
            let x = -87.3 + 176.0 * (i as f32) / 2_000_000.0;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            let ulp = f64::from(f32::from_bits((expected as f32).to_bits() + 1))
                - f64::from(expected as f32);
            let error = (found - expected).abs() / ulp;
            assert!(error <= 2.0, "exp({x}) = {found}, expected {expected}: {error} ulp");
            worst = worst.max(error);
        }
        assert!(worst > 0.0);
    }

    #[test]
    fn exp_at_the_ends() {
        assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0.0_f32.to_bits());
        assert_eq!(exp(-1e4).to_bits(), 0.0_f32.to_bits());
        assert!(exp(f32::INFINITY).is_infinite());
        assert!(exp(89.0).is_infinite());
        assert!(exp(88.72).is_finite());
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0).to_bits(), 1.0_f32.to_bits());
    }

    #[test]
    fn sums_and_maxima_over_odd_lengths() {
        for n in 0..70_usize {
            let values: Vec<f32> = (0..n).map(|i| ((i * 7919) % 31) as f32 - 15.0).collect();
            let expected: f32 = values.iter().sum();
            assert!((sum_by(n, |i| values[i]) - expected).abs() <= 0.0, "sum of {n}");
            let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert!(max(&values) >= top && max(&values) <= top, "max of {n}");
        }
    }

    #[test]
    fn a_nan_anywhere_makes_the_maximum_nan() {
        for at in 0..40 {
            let mut values = vec![1.0_f32; 40];
            values[at] = f32::NAN;
            assert!(max(&values).is_nan(), "NaN at {at} was lost");
        }
    }
}
