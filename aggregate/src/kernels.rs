//! Loops over values, compiled for the processor that the caller dispatches to.

use pulp::Arch;

use crate::rows::Element;

/// Partial sums side by side, for the vector units.
const LANES: usize = 16;

#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
pub(crate) fn to_keys<E: Element>(keys: &mut [E::Key], row: &[E]) {
    for (key, value) in keys.iter_mut().zip(row) {
        *key = value.key();
    }
}

#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
pub(crate) fn scale_to<E: Element>(out: &mut [f64], row: &[E], weight: f64) {
    for (out, &x) in out.iter_mut().zip(row) {
        let x: f64 = x.into();
        *out = weight * x;
    }
}

#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
pub(crate) fn add_scaled<E: Element>(out: &mut [f64], row: &[E], weight: f64) {
    for (out, &x) in out.iter_mut().zip(row) {
        let x: f64 = x.into();
        *out += weight * x;
    }
}

/// The same additions as of one row after the other, with half the traffic of the sums.
#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
pub(crate) fn add_two<E: Element>(out: &mut [f64], rows: [&[E]; 2], weights: [f64; 2]) {
    for ((out, &a), &b) in out.iter_mut().zip(rows[0]).zip(rows[1]) {
        let (a, b): (f64, f64) = (a.into(), b.into());
        *out = (*out + weights[0] * a) + weights[1] * b;
    }
}

#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
pub(crate) fn divide(out: &mut [f64], by: f64) {
    for out in out {
        *out /= by;
    }
}

#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
pub(crate) fn all_finite<E: Element>(values: &[E]) -> bool {
    // Without a way out, which would keep the loop from being vectorised.
    values.iter().fold(true, |all, value| all & value.is_finite())
}

#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
pub(crate) fn square_sum(values: &[f64]) -> f64 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        for (sum, v) in sums.iter_mut().zip(chunk) {
            *sum += v * v;
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|v| v * v).sum::<f64>()
}

/// `Σ (x − o)²` and `Σ (x − o)·d`
#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
pub(crate) fn moments_from<E: Element>(row: &[E], origin: &[f64], moved: &[f64]) -> [f64; 2] {
    let mut sums = [[0.0; LANES]; 2];
    let (rows, row_rest) = row.as_chunks::<LANES>();
    let (origins, origin_rest) = origin.as_chunks::<LANES>();
    let (moveds, moved_rest) = moved.as_chunks::<LANES>();
    for ((row, origin), moved) in rows.iter().zip(origins).zip(moveds) {
        for l in 0..LANES {
            let x: f64 = row[l].into();
            let change = x - origin[l];
            sums[0][l] += change * change;
            sums[1][l] += change * moved[l];
        }
    }
    for ((&x, o), d) in row_rest.iter().zip(origin_rest).zip(moved_rest) {
        let x: f64 = x.into();
        let change = x - o;
        sums[0][0] += change * change;
        sums[1][0] += change * d;
    }
    sums.map(|lanes| lanes.iter().sum())
}

/// The same from zero.
#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
pub(crate) fn moments<E: Element>(row: &[E], moved: &[f64]) -> [f64; 2] {
    let mut sums = [[0.0; LANES]; 2];
    let (rows, row_rest) = row.as_chunks::<LANES>();
    let (moveds, moved_rest) = moved.as_chunks::<LANES>();
    for (row, moved) in rows.iter().zip(moveds) {
        for l in 0..LANES {
            let x: f64 = row[l].into();
            sums[0][l] += x * x;
            sums[1][l] += x * moved[l];
        }
    }
    for (&x, d) in row_rest.iter().zip(moved_rest) {
        let x: f64 = x.into();
        sums[0][0] += x * x;
        sums[1][0] += x * d;
    }
    sums.map(|lanes| lanes.iter().sum())
}

#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
pub(crate) fn widen<E: Element>(out: &mut [f64], row: &[E]) {
    for (out, &x) in out.iter_mut().zip(row) {
        *out = x.into();
    }
}

#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
pub(crate) fn subtract(out: &mut [f64], a: &[f64], b: &[f64]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a - b;
    }
}

/// `‖a − b‖²`
pub(crate) fn square_distance(a: &[f64], b: &[f64]) -> f64 {
    Arch::new().dispatch(|| {
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
    })
}
