//! How a window is shared out among threads, with as little waiting as can be.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::simd::LANES;

/// Token rows of one worker.
pub(super) struct Share<'a> {
    pub(super) first: usize,
    pub(super) x: &'a mut [f32],
    pub(super) qkv: &'a mut [f32],
}

/// Lengths of the rows of a [`Share`].
#[derive(Clone, Copy)]
pub(super) struct Strides {
    pub(super) x: usize,
    pub(super) qkv: usize,
}

/// Cuts rows among the workers, in whole vectors of queries, and runs them side by side.
pub(super) fn in_parallel<W: Send>(
    workers: &mut [W],
    strides: Strides,
    share: Share<'_>,
    job: &(impl Fn(&mut W, Share<'_>) + Sync),
) {
    let rows = share.x.len() / strides.x;
    let n = workers.len();
    if n == 1 || rows <= LANES {
        return job(&mut workers[0], share);
    }
    let half = n / 2;
    let left = (rows * half / n).next_multiple_of(LANES).min(rows);
    let (workers, right_workers) = workers.split_at_mut(half);
    let Share { first, x, qkv } = share;
    let (x, right_x) = x.split_at_mut(left * strides.x);
    let (qkv, right_qkv) = qkv.split_at_mut(left * strides.qkv);
    let right = Share { first: first + left, x: right_x, qkv: right_qkv };
    if right.x.is_empty() {
        return in_parallel(workers, strides, Share { first, x, qkv }, job);
    }
    rayon::join(
        || in_parallel(workers, strides, Share { first, x, qkv }, job),
        || in_parallel(right_workers, strides, right, job),
    );
}

/// Runs `f` while so many other threads of the pool stay awake and take what it shares out: to
/// wake a sleeping thread may take longer than the work of one block.
///
/// A thread that comes late finds less to do, or nothing. What waits here takes any job of the
/// pool, so that other jobs in it delay the answer.
pub(super) fn awake(others: usize, mut f: impl FnMut() + Send) {
    /// Lets the others go, also when `f` panics.
    struct Release<'a>(&'a AtomicBool);
    impl Drop for Release<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    fn nested(others: usize, done: &AtomicBool, f: &mut (dyn FnMut() + Send)) {
        if others == 0 {
            let _release = Release(done);
            return f();
        }
        let owner = rayon::current_thread_index();
        rayon::join(
            || nested(others - 1, done, f),
            || {
                // The owner comes here only when `f` waits below on its stack: it must not wait too.
                let foreign = owner.is_none() || rayon::current_thread_index() != owner;
                while foreign && !done.load(Ordering::Acquire) {
                    if rayon::yield_now() != Some(rayon::Yield::Executed) {
                        std::hint::spin_loop();
                    }
                }
            },
        );
    }
    // To ask for the number of threads outside a pool would start one.
    let others = if others == 0 { 0 } else { others.min(rayon::current_num_threads() - 1) };
    nested(others, &AtomicBool::new(false), &mut f);
}

/// Brings what other cores wrote into this core's cache, one value a cache line: loads that do not
/// wait for each other, where the attention's would.
pub(super) fn fetch(values: &[f32]) {
    let sum: f32 = values.iter().step_by(LANES).sum();
    std::hint::black_box(sum);
}
