//! The threads of the calling rayon pool.

use rayon::prelude::*;

/// How many threads there are.
pub(crate) fn available() -> usize {
    rayon::current_num_threads()
}

/// Runs both.
pub(crate) fn join(a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    rayon::join(a, b);
}

/// `f` of every chunk of this length, in order.
pub(crate) fn map_chunks(values: &[f32], length: usize, f: fn(&[f32]) -> f64) -> Vec<f64> {
    values.par_chunks(length).map(f).collect()
}
