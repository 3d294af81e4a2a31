//! The calling thread alone.

/// How many threads there are.
pub(crate) fn available() -> usize {
    1
}

/// Runs both, one after the other.
pub(crate) fn join(a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    a();
    b();
}

/// `f` of every chunk of this length, in order.
pub(crate) fn map_chunks(values: &[f32], length: usize, f: fn(&[f32]) -> f64) -> Vec<f64> {
    values.chunks(length).map(f).collect()
}
