//! Cutting work over slices into parts for several threads.

use crate::threads::{available, join};

/// Parameters below which work stays on one thread: another would be awake too late.
const MIN_PART: usize = 1 << 14;

/// Parts begin at multiples of this, a cache line of f32: no two threads write one line.
const ALIGN: usize = 16;

/// Slices of one length that can be cut at the same place.
pub(crate) trait Cut: Sized + Send {
    /// The length of each slice.
    fn len(&self) -> usize;
    /// Both parts, the first of length `at`.
    fn split_at(self, at: usize) -> (Self, Self);
}

impl Cut for &mut [f32] {
    fn len(&self) -> usize {
        <[f32]>::len(self)
    }

    fn split_at(self, at: usize) -> (Self, Self) {
        self.split_at_mut(at)
    }
}

/// Runs `job` on the slices, in parts on several threads if there is enough of them.
///
/// What the job does to an element must not depend on the others. `threads` bounds the parts; `None`
/// is as many as there are.
pub(crate) fn in_parts<C: Cut>(slices: C, threads: Option<usize>, job: &(impl Fn(C) + Sync)) {
    let most = slices.len() / MIN_PART;
    // A small step must not ask how many there are: rayon would start them.
    if most < 2 {
        return job(slices);
    }
    let threads = threads.unwrap_or_else(available);
    halve(slices, threads.min(most), job);
}

fn halve<C: Cut>(slices: C, n_parts: usize, job: &(impl Fn(C) + Sync)) {
    if n_parts < 2 {
        return job(slices);
    }
    let first = n_parts / 2;
    let at = (slices.len() * first / n_parts).next_multiple_of(ALIGN).min(slices.len());
    let (left, right) = slices.split_at(at);
    join(|| halve(left, first, job), || halve(right, n_parts - first, job));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_in_one_part() {
        for n in [0, 1, MIN_PART, 2 * MIN_PART - 1, 2 * MIN_PART, 100_003] {
            for threads in [None, Some(1), Some(2), Some(3), Some(64)] {
                let mut values = vec![0.0; n];
                in_parts(values.as_mut_slice(), threads, &|part: &mut [f32]| {
                    for v in part {
                        *v += 1.0;
                    }
                });
                assert!(values.iter().all(|v| (v - 1.0).abs() <= 0.0), "{n}, {threads:?}");
            }
        }
    }
}
