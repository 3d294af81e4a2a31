//! Elementwise arithmetic that compiles to the widest vectors the processor has.
//!
//! The loops are plain Rust over slices; [`vectorize`] runs them through pulp's run-time dispatch,
//! so that the compiler may use AVX-512, AVX2 or NEON in them. What they call must be
//! `#[inline(always)]`, or it would be compiled for the oldest processor.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `vectorize` is compiled for the oldest processor"
)]

use pulp::Simd;

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

/// 1.5·2^23 + 128: adding it rounds to an integer, which then stands in the low bits as the exponent
/// of twice its power of two. (The exponent of the power itself would take 127, an odd number, which
/// turns ties the other way.) So the polynomials below are of half the function.
const ROUND: f32 = 12_583_040.0;

/// `2^(n + 1)` from `n + ROUND`, for `n` from -127 to 126.
#[inline(always)]
fn twice_the_power(rounded: f32) -> f32 {
    f32::from_bits(rounded.to_bits() << 23)
}

/// Coefficients of half of [`exp2`], the highest power first.
#[expect(clippy::approx_constant, reason = "fitted, not ln 2")]
const HALF_EXP2: [f32; 6] = [
    0.5 * 0.001_326_463_9,
    0.5 * 0.009_671_533,
    0.5 * 0.055_507_343,
    0.5 * 0.240_222_42,
    0.5 * 0.693_147,
    0.5,
];

/// `2^x` for `x ≤ 0` within 2e-7 relative; exactly 0 below -126, NaN for NaN.
///
/// `x = n + r` with `|r| ≤ ½`, and a polynomial of degree 5 in `r`, fitted for the smallest
/// relative error (9.2e-8 before rounding).
#[inline(always)]
#[cfg(test)]
pub(crate) fn exp2(x: f32) -> f32 {
    let rounded = x + ROUND;
    let r = x - (rounded - ROUND);
    let mut p = HALF_EXP2[0];
    for &c in &HALF_EXP2[1..] {
        p = p.mul_add(r, c);
    }
    let y = p * twice_the_power(rounded);
    if x < -126.0 { 0.0 } else { y }
}

/// [`exp2`] of every lane, for loops whose sums must stay in registers.
#[inline(always)]
pub(crate) fn exp2_lanes<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let [y] = exp2_all(simd, [x]);
    y
}

/// [`exp2_lanes`] of several vectors, operation by operation: one vector alone would wait for each
/// of its operations before the next.
#[inline(always)]
pub(crate) fn exp2_all<S: Simd, const N: usize>(simd: S, x: [S::f32s; N]) -> [S::f32s; N] {
    let round = simd.splat_f32s(ROUND);
    let (mut rounded, mut r) = (x, x);
    for ((rounded, r), &x) in rounded.iter_mut().zip(&mut r).zip(&x) {
        *rounded = simd.add_f32s(x, round);
        *r = simd.sub_f32s(x, simd.sub_f32s(*rounded, round));
    }
    let mut p = [simd.splat_f32s(HALF_EXP2[0]); N];
    for &c in &HALF_EXP2[1..] {
        for (p, &r) in p.iter_mut().zip(&r) {
            *p = simd.mul_add_f32s(*p, r, simd.splat_f32s(c));
        }
    }
    for i in 0..N {
        let bits = simd.transmute_u32s_f32s(rounded[i]);
        let power = simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23));
        let y = simd.mul_f32s(p[i], simd.transmute_f32s_u32s(power));
        let tiny = simd.less_than_f32s(x[i], simd.splat_f32s(-126.0));
        p[i] = simd.select_f32s(tiny, simd.splat_f32s(0.0), y);
    }
    p
}

/// `exp(x)` for `x ≤ 0` within 2 ulp; exactly 0 below -87.3, NaN for NaN.
///
/// As [`exp2`], with `r = x − n·ln 2` in two steps so that it keeps its digits, and one degree
/// more (1.9e-9 before rounding).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // ln 2 in two parts; the first has few enough bits for an exact product with n.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let mut p = 0.5 * 0.001_383_679_5_f32;
    p = p.mul_add(r, 0.5 * 0.008_374_858);
    p = p.mul_add(r, 0.5 * 0.041_668_23);
    p = p.mul_add(r, 0.5 * 0.166_664_2);
    p = p.mul_add(r, 0.5 * 0.499_999_9);
    p = p.mul_add(r, 0.5);
    p = p.mul_add(r, 0.5);
    let y = p * twice_the_power(rounded);
    if x < -87.336_54 { 0.0 } else { y }
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

/// `out = a + b`.
#[inline]
pub(crate) fn add(out: &mut [f32], a: &[f32], b: &[f32]) {
    assert!(out.len() == a.len() && out.len() == b.len(), "add: lengths differ");
    vectorize(
        #[inline(always)]
        || {
            for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
                *o = a + b;
            }
        },
    );
}

/// `a *= factor`.
#[inline]
pub(crate) fn scale_by(a: &mut [f32], factor: f32) {
    vectorize(
        #[inline(always)]
        || {
            for a in a {
                *a *= factor;
            }
        },
    );
}

/// `a *= b`.
#[inline]
pub(crate) fn multiply_by(a: &mut [f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "multiply_by: lengths differ");
    vectorize(
        #[inline(always)]
        || {
            for (a, &b) in a.iter_mut().zip(b) {
                *a *= b;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks `f` over `[low, 0]`; the tolerance is relative.
    fn check_range(low: f32, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, tolerance: f64) {
        for i in 0..=2_000_000 {
            let x = low * (i as f32) / 2_000_000.0;
            let (found, expected) = (f64::from(f(x)), exact(f64::from(x)));
            let error = (found / expected - 1.0).abs();
            assert!(error <= tolerance, "f({x}) = {found}, expected {expected}: {error:e}");
        }
    }

    #[test]
    fn exponentials_are_exact_over_the_whole_range() {
        // 2 ulp of numbers between 1 and 2, where an ulp means least.
        check_range(-87.3, exp, f64::exp, 1.2e-7);
        check_range(-126.0, exp2, f64::exp2, 2e-7);
    }

    #[test]
    fn lanes_equal_the_scalar_exponential() {
        struct Lanes<'a>(&'a mut [f32]);
        impl pulp::WithSimd for Lanes<'_> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                for x in S::as_mut_simd_f32s(self.0).0 {
                    *x = exp2_lanes(simd, *x);
                }
            }
        }
        let mut values: Vec<f32> = (0..16_000).map(|i| -0.009 * i as f32).collect();
        values.extend([f32::NEG_INFINITY; 15]);
        values.push(f32::NAN);
        let expected: Vec<f32> = values.iter().map(|&x| exp2(x)).collect();
        pulp::Arch::new().dispatch(Lanes(&mut values));
        assert!(values.pop().is_some_and(f32::is_nan));
        testkit::assert_same_bits("exp2", &values, &expected[..16_015]);
    }

    #[test]
    fn exponentials_at_the_ends() {
        for f in [exp, exp2] {
            assert_eq!(f(f32::NEG_INFINITY).to_bits(), 0.0_f32.to_bits());
            assert_eq!(f(-1e4).to_bits(), 0.0_f32.to_bits());
            assert_eq!(f(f32::MIN).to_bits(), 0.0_f32.to_bits());
            assert!(f(f32::NAN).is_nan());
            assert_eq!(f(0.0).to_bits(), 1.0_f32.to_bits());
        }
    }

    #[test]
    fn sums_over_odd_lengths() {
        for n in 0..70_usize {
            let values: Vec<f32> = (0..n).map(|i| ((i * 7919) % 31) as f32 - 15.0).collect();
            let expected: f32 = values.iter().sum();
            assert!((sum_by(n, |i| values[i]) - expected).abs() <= 0.0, "sum of {n}");
        }
    }
}
