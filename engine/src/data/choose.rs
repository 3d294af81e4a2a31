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
    let source = of.first().map(|&i| &dataset.segments[i].source);
    let by = |source| {
        let of_file = dataset.readings.iter().find(|file| &file.path == source)?;
        let by = of_file.reading.selection.split_by.as_ref()?;
        Some(format!(" (by {by})"))
    };
    ensure!(
        !chosen.is_empty(),
        "{}: every row is marked for the test{}, none is left to train on",
        source.map(|path| path.display().to_string()).unwrap_or_default(),
        source.and_then(by).unwrap_or_default()
    );
    Ok(chosen)
}

/// Said where rows are tested on that nobody has marked.
pub const NOTHING_MARKED: &str = "no row is marked for the test: these are all rows, which may be those that \
                                  were trained on";

/// Whether one of the segments says what its rows are for.
pub fn is_marked(dataset: &Dataset, of: &[usize]) -> bool {
    of.iter().any(|&i| dataset.segments[i].split != Split::Unmarked)
}

/// Held-out segments: those marked for the test; if no segment is marked at all, every one.
pub fn test_segments(dataset: &Dataset, of: &[usize]) -> Vec<usize> {
    let split = |i: &&usize| dataset.segments[**i].split;
    if !is_marked(dataset, of) {
        return of.to_vec();
    }
    of.iter().filter(|i| split(i) == Split::Test).copied().collect()
}
