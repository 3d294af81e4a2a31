//! Sums and elementwise arithmetic over whole slices, vectorised and in parallel.

use pulp::Arch;

use crate::parts::{Cut, in_parts};
use crate::threads::map_chunks;

/// Elements whose squares are summed together; a constant, so that the order of additions depends
/// on nothing but the length.
const CHUNK: usize = 4096;

/// Elements from which chunks are summed on several threads.
const PARALLEL: usize = 1 << 16;

/// Independent partial sums within a chunk, so that the additions can be vectorised.
const LANES: usize = 8;

/// `Σ v²` in f64, over fixed chunks in a fixed order.
pub(crate) fn square_sum(values: &[f32]) -> f64 {
    if values.len() < PARALLEL {
        return values.chunks(CHUNK).map(chunk_square_sum).sum();
    }
    map_chunks(values, CHUNK, chunk_square_sum).iter().sum()
}

fn chunk_square_sum(chunk: &[f32]) -> f64 {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut lanes = [0.0; LANES];
            let (groups, rest) = chunk.as_chunks::<LANES>();
            for group in groups {
                for (lane, &v) in lanes.iter_mut().zip(group) {
                    *lane += f64::from(v) * f64::from(v);
                }
            }
            for (lane, &v) in lanes.iter_mut().zip(rest) {
                *lane += f64::from(v) * f64::from(v);
            }
            lanes.iter().sum()
        },
    )
}

/// `a ← a·factor`
pub(crate) fn scale(a: &mut [f32], factor: f32) {
    in_parts(a, None, &|part: &mut [f32]| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for v in part {
                    *v *= factor;
                }
            },
        );
    });
}

/// `a ← a + factor·b`
pub(crate) fn add_scaled(a: &mut [f32], b: &[f32], factor: f32, threads: Option<usize>) {
    in_parts(Two(a, b), threads, &|Two(a, b)| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (a, &b) in a.iter_mut().zip(b) {
                    *a += factor * b;
                }
            },
        );
    });
}

/// `a ← a + factor·(b − c)`
pub(crate) fn add_difference(a: &mut [f32], b: &[f32], c: &[f32], factor: f32) {
    in_parts(Three(a, b, c), None, &|Three(a, b, c)| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for ((a, &b), &c) in a.iter_mut().zip(b).zip(c) {
                    *a += factor * (b - c);
                }
            },
        );
    });
}

struct Two<'a>(&'a mut [f32], &'a [f32]);

impl Cut for Two<'_> {
    fn len(&self) -> usize {
        self.1.len()
    }

    fn split_at(self, at: usize) -> (Self, Self) {
        let ((a, other_a), (b, other_b)) = (self.0.split_at_mut(at), self.1.split_at(at));
        (Self(a, b), Self(other_a, other_b))
    }
}

struct Three<'a>(&'a mut [f32], &'a [f32], &'a [f32]);

impl Cut for Three<'_> {
    fn len(&self) -> usize {
        self.1.len()
    }

    fn split_at(self, at: usize) -> (Self, Self) {
        let (a, other_a) = self.0.split_at_mut(at);
        let ((b, other_b), (c, other_c)) = (self.1.split_at(at), self.2.split_at(at));
        (Self(a, b, c), Self(other_a, other_b, other_c))
    }
}

/// Fails unless both slices are of one length; `what` names them.
#[track_caller]
pub(crate) fn check_same_length(what: [&str; 2], a: &[f32], b: &[f32]) {
    let ([name_a, name_b], len_a, len_b) = (what, a.len(), b.len());
    assert!(len_a == len_b, "{name_a} has {len_a} and {name_b} has {len_b} elements");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elementwise_arithmetic_over_odd_lengths() {
        for n in [0, 1, 15, 17, 33_333] {
            let (b, c) = (testkit::sequence(1, n), testkit::sequence(2, n));
            let mut a = c.clone();
            add_scaled(&mut a, &b, 0.5, None);
            add_difference(&mut a, &b, &c, -2.0);
            scale(&mut a, 3.0);
            let expected: Vec<f32> =
                b.iter().zip(&c).map(|(b, c)| 3.0 * (c + 0.5 * b - 2.0 * (b - c))).collect();
            testkit::assert_close("a", &a, &expected, 1e-5, 1e-6);
        }
    }
}
