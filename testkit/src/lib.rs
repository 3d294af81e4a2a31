//! Helpers for the tests of this workspace: comparisons that fail on NaN and name the worst
//! index, golden safetensors files, and finite differences.

use std::collections::BTreeMap;
use std::path::Path;

/// Asserts `|actual - expected| <= abs_tol + rel_tol * |expected|` for every element.
///
/// # Panics
/// If the lengths differ, or if any element is out of tolerance or either side is NaN there; the
/// message names the worst index. A NaN never passes, since only `diff <= tolerance` counts as good.
#[track_caller]
pub fn assert_close<T: Copy + Into<f64>>(
    name: &str,
    actual: &[T],
    expected: &[T],
    rel_tol: f64,
    abs_tol: f64,
) {
    assert_eq!(actual.len(), expected.len(), "{name}: lengths differ");
    let mut worst: Option<(usize, f64)> = None;
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let (a, e): (f64, f64) = (a.into(), e.into());
        let diff = (a - e).abs();
        let tolerance = abs_tol + rel_tol * e.abs();
        let same = a.to_bits() == e.to_bits() && !a.is_nan();
        if same || diff <= tolerance {
            continue;
        }
        let excess = if diff.is_nan() { f64::INFINITY } else { diff / tolerance };
        if worst.is_none_or(|(_, w)| excess > w) {
            worst = Some((i, excess));
        }
    }
    if let Some((i, excess)) = worst {
        panic!(
            "{name}: element {i} of {} is {:e}, expected {:e} ({excess:.2} x the tolerance)",
            actual.len(),
            actual[i].into(),
            expected[i].into(),
        );
    }
}

/// Asserts that two slices hold the same bits.
///
/// # Panics
/// If the lengths or any bits differ; the message names the first index.
#[track_caller]
pub fn assert_same_bits<T: Copy + Into<f64>>(name: &str, a: &[T], b: &[T]) {
    assert_eq!(a.len(), b.len(), "{name}: lengths differ");
    // Every f32 is a f64 of its own, so that their bits differ where those of the f32 do.
    let bits = |v: &T| Into::<f64>::into(*v).to_bits();
    if let Some(i) = a.iter().zip(b).position(|(x, y)| bits(x) != bits(y)) {
        let (a, b): (f64, f64) = (a[i].into(), b[i].into());
        panic!("{name}: bits differ at element {i}: {a:e} and {b:e}");
    }
}

/// One tensor of a golden file, as f32.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// Reads a golden safetensors file: F32 and I64 tensors by name, the integers as f32.
///
/// # Panics
/// If the file cannot be read or holds another dtype.
pub fn golden(path: impl AsRef<Path>) -> BTreeMap<String, Tensor> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = safetensors::SafeTensors::deserialize(&bytes)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let data = view.data();
        let values = match view.dtype() {
            safetensors::Dtype::F32 => {
                data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            safetensors::Dtype::I64 => data
                .chunks_exact(8)
                .map(|b| {
                    i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32
                })
                .collect(),
            other => panic!("{}: tensor {name} has dtype {other:?}", path.display()),
        };
        tensors.insert(name, Tensor { shape: view.shape().to_vec(), values });
    }
    tensors
}

/// Central difference `(f(x + h·e_i) − f(x − h·e_i)) / 2h` at each of `indices`.
///
/// `f` returns f64, so that the difference of two near-equal losses keeps its digits.
pub fn finite_difference(
    x: &mut [f32],
    indices: &[usize],
    h: f32,
    mut f: impl FnMut(&[f32]) -> f64,
) -> Vec<f32> {
    indices
        .iter()
        .map(|&i| {
            let kept = x[i];
            x[i] = kept + h;
            let (up, step_up) = (f(x), f64::from(x[i]));
            x[i] = kept - h;
            let (down, step_down) = (f(x), f64::from(x[i]));
            x[i] = kept;
            ((up - down) / (step_up - step_down)) as f32
        })
        .collect()
}

/// Numbers in [-1, 1) that repeat for a seed: test data, not a random generator to rely on.
pub fn sequence(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    (0..n)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let mixed = (state ^ (state >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
            ((mixed >> 40) as f32) / 8_388_608.0 - 1.0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_accepts_what_is_within_tolerance() {
        assert_close("x", &[1.0, 2.0, f32::INFINITY], &[1.000_001, 2.0, f32::INFINITY], 1e-5, 0.0);
    }

    #[test]
    #[should_panic(expected = "element 1 of 2")]
    fn close_fails_on_nan() {
        assert_close("x", &[1.0, f32::NAN], &[1.0, f32::NAN], 1e3, 1e3);
    }

    #[test]
    #[should_panic(expected = "element 2 of 3")]
    fn close_names_the_worst_index() {
        assert_close("x", &[1.0, 2.1, 9.0], &[1.0, 2.0, 3.0], 1e-5, 0.0);
    }

    #[test]
    fn difference_of_a_square() {
        let d = finite_difference(&mut [3.0, -2.0], &[0, 1], 1e-3, |x| {
            x.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
        });
        assert_close("d", &d, &[6.0, -4.0], 1e-4, 0.0);
    }
}
