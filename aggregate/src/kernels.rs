//! Loops over values, each compiled for the processor at hand.

use pulp::{Arch, Simd, WithSimd};

use crate::dispatch::vectorized;
use crate::rows::Element;

/// Partial sums side by side, for the vector units.
const LANES: usize = 16;

pub(crate) fn to_keys<E: Element>(keys: &mut [E::Key], row: &[E]) {
    vectorized(
        #[inline(always)]
        || {
            for (key, value) in keys.iter_mut().zip(row) {
                *key = value.key();
            }
        },
    );
}

pub(crate) fn scale_to<E: Element>(out: &mut [f64], row: &[E], weight: f64) {
    vectorized(
        #[inline(always)]
        || {
            for (out, &x) in out.iter_mut().zip(row) {
                let x: f64 = x.into();
                *out = weight * x;
            }
        },
    );
}

pub(crate) fn add_scaled<E: Element>(out: &mut [f64], row: &[E], weight: f64) {
    vectorized(
        #[inline(always)]
        || {
            for (out, &x) in out.iter_mut().zip(row) {
                let x: f64 = x.into();
                *out += weight * x;
            }
        },
    );
}

/// The same additions as of one row after the other, with half the traffic of the sums.
pub(crate) fn add_two<E: Element>(out: &mut [f64], rows: [&[E]; 2], weights: [f64; 2]) {
    vectorized(
        #[inline(always)]
        || {
            for ((out, &a), &b) in out.iter_mut().zip(rows[0]).zip(rows[1]) {
                let (a, b): (f64, f64) = (a.into(), b.into());
                *out = (*out + weights[0] * a) + weights[1] * b;
            }
        },
    );
}

pub(crate) fn divide(out: &mut [f64], by: f64) {
    vectorized(
        #[inline(always)]
        || {
            for out in out {
                *out /= by;
            }
        },
    );
}

pub(crate) fn all_finite<E: Element>(values: &[E]) -> bool {
    vectorized(
        #[inline(always)]
        || {
            // Without a way out, which would keep the loop from being vectorised.
            values.iter().fold(true, |all, value| all & value.is_finite())
        },
    )
}

pub(crate) fn square_sum(values: &[f64]) -> f64 {
    vectorized(
        #[inline(always)]
        || {
            let (chunks, rest) = values.as_chunks::<LANES>();
            let mut sums = [0.0; LANES];
            for chunk in chunks {
                for (sum, v) in sums.iter_mut().zip(chunk) {
                    *sum += v * v;
                }
            }
            sums.iter().sum::<f64>() + rest.iter().map(|v| v * v).sum::<f64>()
        },
    )
}

/// `Σ (x − o)²` and `Σ (x − o)·d`, where `x` is a row, `o` its origin or zero, and `d` what the
/// result moved.
///
/// The sums of sixteen lanes are the same numbers however many the processor adds at once.
pub(crate) fn moments<E: Element>(row: &[E], origin: Option<&[f64]>, moved: &[f64]) -> [f64; 2] {
    Arch::new().dispatch(Moments { row, origin, moved })
}

struct Moments<'a, E> {
    row: &'a [E],
    origin: Option<&'a [f64]>,
    moved: &'a [f64],
}

impl<E: Element> WithSimd for Moments<'_, E> {
    type Output = [f64; 2];

    #[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f64; 2] {
        match S::F64_LANES {
            8 => self.sums::<S, { LANES / 8 }>(simd),
            4 => self.sums::<S, { LANES / 4 }>(simd),
            2 => self.sums::<S, { LANES / 2 }>(simd),
            _ => self.sums::<S, LANES>(simd),
        }
    }
}

impl<E: Element> Moments<'_, E> {
    /// The sums in `N` registers that together have all lanes.
    #[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
    #[inline(always)]
    fn sums<S: Simd, const N: usize>(self, simd: S) -> [f64; 2] {
        let (rows, row_rest) = self.row.as_chunks::<LANES>();
        let (moveds, moved_rest) = self.moved.as_chunks::<LANES>();
        let (origins, origin_rest) = self.origin.unwrap_or_default().as_chunks::<LANES>();
        let mut squares = [simd.splat_f64s(0.0); N];
        let mut products = squares;
        for (i, (row, moved)) in rows.iter().zip(moveds).enumerate() {
            let mut change = [0.0; LANES];
            for (change, &x) in change.iter_mut().zip(row) {
                *change = x.into();
            }
            if let Some(origin) = origins.get(i) {
                for (change, o) in change.iter_mut().zip(origin) {
                    *change -= o;
                }
            }
            let (changes, moveds) = (S::as_simd_f64s(&change).0, S::as_simd_f64s(moved).0);
            for v in 0..N {
                let (change, moved) = (changes[v], moveds[v]);
                squares[v] = simd.add_f64s(squares[v], simd.mul_f64s(change, change));
                products[v] = simd.add_f64s(products[v], simd.mul_f64s(change, moved));
            }
        }
        let mut sums = [squares, products].map(|registers| {
            let mut lanes = [0.0; LANES];
            S::as_mut_simd_f64s(&mut lanes).0.copy_from_slice(&registers);
            lanes
        });
        for (i, (&x, d)) in row_rest.iter().zip(moved_rest).enumerate() {
            let x: f64 = x.into();
            let change = x - origin_rest.get(i).unwrap_or(&0.0);
            sums[0][0] += change * change;
            sums[1][0] += change * d;
        }
        sums.map(|lanes| lanes.iter().sum())
    }
}

pub(crate) fn widen<E: Element>(out: &mut [f64], row: &[E]) {
    vectorized(
        #[inline(always)]
        || {
            for (out, &x) in out.iter_mut().zip(row) {
                *out = x.into();
            }
        },
    );
}

pub(crate) fn subtract<A: Element, B: Element>(out: &mut [f64], a: &[A], b: &[B]) {
    vectorized(
        #[inline(always)]
        || {
            for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                let (a, b): (f64, f64) = (a.into(), b.into());
                *out = a - b;
            }
        },
    );
}

/// `‖a − b‖²`
pub(crate) fn square_distance(a: &[f64], b: &[f64]) -> f64 {
    vectorized(
        #[inline(always)]
        || {
            let (chunks, rest) = a.as_chunks::<LANES>();
            let (others, other_rest) = b.as_chunks::<LANES>();
            let mut sums = [0.0; LANES];
            for (chunk, other) in chunks.iter().zip(others) {
                for l in 0..LANES {
                    let d = chunk[l] - other[l];
                    sums[l] += d * d;
                }
            }
            let rest = rest.iter().zip(other_rest).map(|(a, b)| (a - b) * (a - b));
            sums.iter().sum::<f64>() + rest.sum::<f64>()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lane by lane, as it is defined.
    fn plain(row: &[f32], origin: Option<&[f64]>, moved: &[f64]) -> [f64; 2] {
        let whole = row.len() / LANES * LANES;
        let mut sums = [[0.0; LANES]; 2];
        for (i, (&x, d)) in row.iter().zip(moved).enumerate() {
            let lane = if i < whole { i % LANES } else { 0 };
            let change = f64::from(x) - origin.map_or(0.0, |origin| origin[i]);
            sums[0][lane] += change * change;
            sums[1][lane] += change * d;
        }
        sums.map(|lanes| lanes.iter().sum())
    }

    #[test]
    fn moments_are_the_same_bits_in_registers_of_any_width() {
        for n in [0, 1, 15, 16, 17, 31, 32, 100, 1024, 1031] {
            let row = testkit::sequence(1, n);
            let wide = |seed| testkit::sequence(seed, n).into_iter().map(f64::from).collect();
            let (origin, moved): (Vec<f64>, Vec<f64>) = (wide(2), wide(3));
            for origin in [None, Some(&origin[..])] {
                let expected = plain(&row, origin, &moved).map(f64::to_bits);
                assert_eq!(moments(&row, origin, &moved).map(f64::to_bits), expected, "{n}");
                let scalar = Moments { row: &row[..], origin, moved: &moved };
                let scalar = scalar.with_simd(pulp::Scalar::new()).map(f64::to_bits);
                assert_eq!(scalar, expected, "{n} one lane at a time");
                #[cfg(target_arch = "x86_64")]
                if let Some(v3) = pulp::x86::V3::try_new() {
                    let avx2 = Moments { row: &row[..], origin, moved: &moved };
                    let avx2 = Simd::vectorize(v3, avx2).map(f64::to_bits);
                    assert_eq!(avx2, expected, "{n} four lanes at a time");
                }
            }
        }
    }
}
