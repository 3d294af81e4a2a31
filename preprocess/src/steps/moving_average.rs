//! The mean of the last rows.

use serde::{Deserialize, Serialize};

use crate::error::check_option;
use crate::spec::Plain;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// The mean of a row and the `len − 1` before it, channel by channel, as
/// `scipy.signal.lfilter(ones(len)/len, 1, x)`; at the start of a series, where there are fewer rows, the
/// mean of those there are, as `pandas.Series.rolling(len, min_periods=1).mean()`.
///
/// Missing values do not count, and a missing value stays missing.
///
/// ```
/// use preprocess::{MovingAverage, Pipeline, Rows, Stage};
///
/// let pipeline = Pipeline::fit(&[MovingAverage { len: 2 }.into()], &Stage::unnamed(1), vec![])?;
/// let series = Rows::of_series(1, None, vec![1.0, 3.0, 5.0]);
/// assert_eq!(pipeline.apply(series.view())?.values(), [1.0, 2.0, 4.0]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovingAverage {
    /// Rows of the window, 1 to 1048576.
    pub len: usize,
}

/// Longest window.
const MOST_LEN: usize = 1 << 20;

impl Plain for MovingAverage {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let is_good = (1..=MOST_LEN).contains(&self.len);
        let accepted = format!("a number of rows, 1 to {MOST_LEN}");
        check_option("moving-average", "len", self.len as f64, is_good, accepted)?;
        Ok(input.clone())
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let channels = input.channels();
        Box::new(Averaging {
            len: self.len,
            before: Vec::new(),
            block: Vec::with_capacity(self.len.min(1024) * channels),
            so_far: vec![Sum::default(); channels],
            rate_hz: input.rate_hz,
        })
    }
}

/// Of the present values.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    sum: f64,
    count: f64,
}

impl Sum {
    #[inline]
    fn of(value: f64) -> Self {
        if value.is_nan() { Self::default() } else { Self { sum: value, count: 1.0 } }
    }

    #[inline]
    fn and(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum, count: self.count + other.count }
    }
}

/// Rows in blocks of `len` (van Herk 1992; Gil and Werman 1993): a window is the end of one block and the
/// start of the next, so that each mean is a sum of its own values. A running sum would carry the
/// rounding of every value that has passed.
struct Averaging {
    len: usize,
    /// For each row of the block before and channel: the sum of it and those after it in the block.
    before: Vec<Sum>,
    /// The rows of this block.
    block: Vec<Sum>,
    /// The sum of this block's rows.
    so_far: Vec<Sum>,
    rate_hz: Option<f64>,
}

impl Averaging {
    /// Adds one row.
    fn row(&mut self, row: &[f64], to: &mut [f64]) {
        let channels = self.so_far.len();
        // The rows of the block before that are still in the window begin after this row's place.
        let after = self.block.len() + channels;
        let before = self.before.get(after..after + channels);
        self.block.extend(row.iter().map(|&x| Sum::of(x)));
        for (so_far, &x) in self.so_far.iter_mut().zip(row) {
            *so_far = so_far.and(Sum::of(x));
        }
        let mean = |all: Sum, x: f64| if x.is_nan() { x } else { all.sum / all.count };
        let values = to.iter_mut().zip(row).zip(&self.so_far);
        match before {
            Some(before) => {
                for (((to, &x), so_far), before) in values.zip(before) {
                    *to = mean(before.and(*so_far), x);
                }
            }
            None => values.for_each(|((to, &x), so_far)| *to = mean(*so_far, x)),
        }
        if self.block.len() == self.len * channels {
            self.turn();
        }
    }

    /// The block is full: another begins.
    fn turn(&mut self) {
        let channels = self.so_far.len();
        std::mem::swap(&mut self.before, &mut self.block);
        self.block.clear();
        self.block.reserve(self.before.len());
        for at in (0..self.before.len() - channels).rev() {
            self.before[at] = self.before[at].and(self.before[at + channels]);
        }
        self.so_far.fill(Sum::default());
    }
}

impl Step for Averaging {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        let to = out.extend_zeroed(rows.times());
        let channels = rows.channels();
        for ((_, row), to) in rows.iter().zip(to.chunks_exact_mut(channels)) {
            self.row(row, to);
        }
    }

    fn finish(&mut self, _out: &mut Rows) {
        self.reset();
    }

    fn reset(&mut self) {
        self.before.clear();
        self.block.clear();
        self.so_far.fill(Sum::default());
    }

    fn latency(&self) -> Latency {
        Latency::Rows(0)
    }

    fn out_channels(&self) -> usize {
        self.so_far.len()
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_value_leaves_no_trace_once_it_is_gone() {
        for len in [1, 2, 3, 7] {
            let mut series = vec![1.0, 2.0, 1e17, 3.0];
            series.extend((0..30).map(f64::from));
            let rows = Rows::of_series(1, None, series.clone());
            let mut out = Rows::new(1);
            MovingAverage { len }.start(&Stage::unnamed(1)).push(rows.view(), &mut out);
            for (i, &found) in out.values().iter().enumerate().skip(2 + len) {
                let mean = series[i + 1 - len..=i].iter().sum::<f64>() / len as f64;
                assert!((found - mean).abs() < 1e-12, "len {len}, row {i}: {found} {mean}");
            }
        }
    }
}
