//! Arithmetic over a vector of lanes, written like arithmetic over numbers.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched loop is compiled for the oldest processor"
)]

use std::ops::{Add, Div, Mul, Sub};

use pulp::Simd;

/// As many numbers as one vector register holds, of the processor that pulp found at run time.
///
/// Vectors are added, subtracted, multiplied and divided lane by lane, multiplied by an `f32` from
/// the left, and an `f32` is added from the right: `0.9 * m + 1.0`. Only operations that IEEE 754
/// rounds one by one are here, no fused multiply-add and no approximate roots: a
/// [`Rule`](crate::Rule) gives the same bits whatever the width of the vectors, and on every
/// processor.
#[derive(Debug, Clone, Copy)]
pub struct Lanes<S: Simd> {
    simd: S,
    values: S::f32s,
}

impl<S: Simd> Lanes<S> {
    #[inline(always)]
    pub(crate) fn new(simd: S, values: S::f32s) -> Self {
        Self { simd, values }
    }

    #[inline(always)]
    pub(crate) fn values(self) -> S::f32s {
        self.values
    }

    /// `number` in every lane.
    #[inline(always)]
    pub(crate) fn splat(simd: S, number: f32) -> Self {
        Self::new(simd, simd.splat_f32s(number))
    }

    /// The square root of every lane, rounded as IEEE 754 asks; NaN below 0.
    #[inline(always)]
    #[must_use]
    pub fn sqrt(self) -> Self {
        Self::new(self.simd, self.simd.sqrt_f32s(self.values))
    }

    /// The larger of both, lane by lane; `other` where either is NaN.
    #[inline(always)]
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        let larger = self.simd.greater_than_f32s(self.values, other.values);
        Self::new(self.simd, self.simd.select_f32s(larger, self.values, other.values))
    }

    /// The size of every lane.
    #[inline(always)]
    #[must_use]
    pub fn abs(self) -> Self {
        Self::new(self.simd, self.simd.abs_f32s(self.values))
    }

    /// 0 where a lane is below 0 or NaN.
    #[inline(always)]
    #[must_use]
    pub fn positive(self) -> Self {
        self.max(Self::splat(self.simd, 0.0))
    }

    /// 1, −1, or 0 where a lane is 0 or NaN.
    #[inline(always)]
    #[must_use]
    pub fn sign(self) -> Self {
        let [zero, one, minus] = [0.0, 1.0, -1.0].map(|v| self.simd.splat_f32s(v));
        let positive = self.simd.greater_than_f32s(self.values, zero);
        let negative = self.simd.less_than_f32s(self.values, zero);
        let sign = self.simd.select_f32s(positive, one, zero);
        Self::new(self.simd, self.simd.select_f32s(negative, minus, sign))
    }
}

impl<S: Simd> Add for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self::new(self.simd, self.simd.add_f32s(self.values, other.values))
    }
}

impl<S: Simd> Sub for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self::new(self.simd, self.simd.sub_f32s(self.values, other.values))
    }
}

impl<S: Simd> Mul for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self::new(self.simd, self.simd.mul_f32s(self.values, other.values))
    }
}

impl<S: Simd> Div for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self::new(self.simd, self.simd.div_f32s(self.values, other.values))
    }
}

impl<S: Simd> Mul<Lanes<S>> for f32 {
    type Output = Lanes<S>;
    #[inline(always)]
    fn mul(self, lanes: Lanes<S>) -> Lanes<S> {
        Lanes::splat(lanes.simd, self) * lanes
    }
}

impl<S: Simd> Add<f32> for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn add(self, number: f32) -> Self {
        self + Self::splat(self.simd, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies `f` to every lane of one register filled with `x`.
    fn apply(x: f32, f: impl FnOnce(Lanes<pulp::Scalar>) -> Lanes<pulp::Scalar>) -> f32 {
        f(Lanes::splat(pulp::Scalar, x)).values()
    }

    #[test]
    fn signs_and_maxima() {
        for (x, sign) in [(3.0, 1.0), (-1e-30, -1.0), (0.0, 0.0), (-0.0, 0.0), (f32::NAN, 0.0)] {
            assert!((apply(x, Lanes::sign) - sign).abs() <= 0.0, "{x}");
        }
        let other = Lanes::splat(pulp::Scalar, 2.0);
        assert!((apply(1.0, |x| x.max(other)) - 2.0).abs() <= 0.0);
        assert!((apply(3.0, |x| x.max(other)) - 3.0).abs() <= 0.0);
    }
}
