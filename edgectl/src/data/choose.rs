//! Which segments to train on, and which to test on.

use anyhow::ensure;

use super::dataset::Dataset;
use super::split::Split;

/// Segments to train on: marked so, or else not marked for the test.
///
/// # Errors
/// If there is none.
pub fn train_segments(dataset: &Dataset, of: &[usize]) -> anyhow::Result<Vec<usize>> {
    let chosen: Vec<usize> =
        of.iter().copied().filter(|&i| dataset.segments[i].split != Split::Test).collect();
    let source = || of.first().map(|&i| dataset.segments[i].source.display().to_string());
    ensure!(
        !chosen.is_empty(),
        "{}: every row is marked for the test, none is left to train on",
        source().unwrap_or_default()
    );
    Ok(chosen)
}

/// Held-out segments: those marked for the test; if no segment is marked at all, every one.
pub fn test_segments(dataset: &Dataset, of: &[usize]) -> Vec<usize> {
    let split = |i: &&usize| dataset.segments[**i].split;
    if of.iter().all(|i| split(&i) == Split::Unmarked) {
        return of.to_vec();
    }
    of.iter().filter(|i| split(i) == Split::Test).copied().collect()
}
