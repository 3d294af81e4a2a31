//! A segment after the row steps of a pipeline: what windows are cut from, and `preprocess` writes.

use anyhow::Context;
use preprocess::Pipeline;

use super::dataset::{Dataset, Segment};
use super::labels::Labels;

/// Rows that come out stand for the last row that was not later; so much earlier still counts, in
/// seconds or rows, as times that were computed in two ways differ in their last digits.
const ROUNDING: f64 = 1e-6;

/// A segment after the row steps.
#[derive(Debug, Clone)]
pub struct Scaled {
    /// `[n_rows, channels]`, the channels that the pipeline hands on.
    pub values: Vec<f64>,
    /// The rows' labels.
    pub labels: Labels,
    /// The row of the segment that each row stands for, where they are not the same.
    origins: Option<Vec<usize>>,
}

impl Scaled {
    /// Runs the row steps over a segment; of data that has them behind it, the segment itself.
    ///
    /// # Errors
    /// If a value is infinite.
    pub fn of(segment: &Segment, dataset: &Dataset, pipeline: &Pipeline) -> anyhow::Result<Self> {
        if dataset.preprocessed {
            return Ok(Self::plain(segment));
        }
        let rows = segment.rows(dataset.channels.len(), pipeline.input().rate_hz);
        let scaled = pipeline.apply(rows.view()).with_context(|| segment.place())?;
        let origins = (!pipeline.keeps_rows()).then(|| origins(rows.times(), scaled.times()));
        let labels = match (&segment.labels, &origins) {
            (Labels::PerRow(of_row), Some(origins)) => Labels::PerRow(labels_at(of_row, origins)),
            (labels, _) => labels.clone(),
        };
        Ok(Self { values: scaled.into_values(), labels, origins })
    }

    /// The segment itself.
    pub fn plain(segment: &Segment) -> Self {
        let (values, labels) = (segment.values.clone(), segment.labels.clone());
        Self { values, labels, origins: None }
    }

    /// The row of the segment that a row stands for.
    pub fn origin(&self, row: usize) -> usize {
        self.origins.as_ref().map_or(row, |origins| origins[row])
    }
}

/// For each time that comes out the last row that went in and was not later, else the first.
fn origins(of_rows: &[f64], out: &[f64]) -> Vec<usize> {
    let row = |&time: &f64| {
        let n_not_later = of_rows.partition_point(|&of_row| of_row <= time + ROUNDING);
        n_not_later.saturating_sub(1)
    };
    out.iter().map(row).collect()
}

/// The label of the row that each stands for; where that has none, the last one of the rows since the
/// one before, so that a label of a single row is not lost where the rate falls.
fn labels_at(of_row: &[Option<u32>], origins: &[usize]) -> Vec<Option<u32>> {
    let mut next = 0;
    let label = |&row: &usize| {
        let since = &of_row[next.min(row)..=row];
        next = row + 1;
        since.iter().rev().find_map(|label| *label)
    };
    origins.iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_single_rows_are_kept_where_the_rate_falls() {
        let of_row = [None, Some(1), None, None, Some(2), Some(3), None];
        assert_eq!(labels_at(&of_row, &[0, 2, 4, 6]), [None, Some(1), Some(2), Some(3)]);
        assert_eq!(labels_at(&of_row, &[1, 1, 1, 5]), [Some(1), Some(1), Some(1), Some(3)]);
    }

    #[test]
    fn a_row_stands_for_the_last_one_that_was_not_later() {
        let in_rows = [0.0, 0.1, 0.2, 0.2, 0.3];
        assert_eq!(
            origins(&in_rows, &[-1.0, 0.0, 0.15, 0.199_999_999_9, 0.3, 9.0]),
            [0, 0, 1, 3, 4, 4]
        );
    }
}
