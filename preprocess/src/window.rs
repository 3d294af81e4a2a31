//! Where windows lie within one series.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::Error;

/// What becomes of rows behind the last full window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tail {
    /// They are left out: all windows have the same length.
    #[default]
    Drop,
    /// They make one shorter window, if the next start lies before the end of the series. A series
    /// shorter than a window becomes one window of its own length.
    Keep,
}

/// Windows of `window_len` rows, one every `stride` rows, within one series.
///
/// Window `i` starts at row `i·stride`. The caller asks once per series, so that no window crosses
/// from one into another. With `stride` below `window_len` windows overlap; above it, rows between
/// them are skipped.
///
/// ```
/// use preprocess::{Tail, Windowing};
///
/// let windowing = Windowing::new(4, 3, Tail::Drop)?;
/// assert_eq!(windowing.starts(9).collect::<Vec<_>>(), [0..4, 3..7]);
///
/// let windowing = Windowing::new(4, 3, Tail::Keep)?;
/// assert_eq!(windowing.starts(9).collect::<Vec<_>>(), [0..4, 3..7, 6..9]);
/// assert_eq!(windowing.starts(2).collect::<Vec<_>>(), [0..2]);
///
/// // Rows to values: multiply by the number of channels.
/// let (channels, series) = (2, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
/// let first = windowing.starts(series.len() / channels).next();
/// let window = first.map(|rows| &series[rows.start * channels..rows.end * channels]);
/// assert_eq!(window, Some(&series[..]));
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Windowing {
    window_len: usize,
    stride: usize,
    tail: Tail,
}

/// A windowing as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    window_len: usize,
    stride: usize,
    #[serde(default)]
    tail: Tail,
}

impl TryFrom<Unchecked> for Windowing {
    type Error = Error;

    fn try_from(Unchecked { window_len, stride, tail }: Unchecked) -> Result<Self, Error> {
        Self::new(window_len, stride, tail)
    }
}

impl Windowing {
    /// Windows of `window_len` rows, `stride` rows apart.
    ///
    /// # Errors
    /// If `window_len` or `stride` is 0.
    pub fn new(window_len: usize, stride: usize, tail: Tail) -> Result<Self, Error> {
        for (option, found) in [("window_len", window_len), ("stride", stride)] {
            if found == 0 {
                let (owner, expected) = ("window", "at least 1 row".to_owned());
                return Err(Error::Option { owner, option, found: 0.0, expected });
            }
        }
        Ok(Self { window_len, stride, tail })
    }

    /// Every series is one window of its own length.
    ///
    /// For data where a series is a sample. To cap the length instead, use [`new`](Self::new) with
    /// the longest length wanted, the same stride, and [`Tail::Keep`].
    pub fn whole_series() -> Self {
        Self { window_len: usize::MAX, stride: usize::MAX, tail: Tail::Keep }
    }

    /// Rows in a full window.
    pub fn window_len(&self) -> usize {
        self.window_len
    }

    /// Rows from one start to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// What becomes of the rows behind the last full window.
    pub fn tail(&self) -> Tail {
        self.tail
    }

    /// How many windows a series of `n_rows` has.
    pub fn count(&self, n_rows: usize) -> usize {
        let n_full = match n_rows.checked_sub(self.window_len) {
            Some(room) => room / self.stride + 1,
            None => 0,
        };
        // `next` lies at most one stride behind the last full window and may exceed usize, which
        // is then behind every end.
        let next = n_full.saturating_mul(self.stride);
        let covered = if n_full == 0 { 0 } else { (n_full - 1) * self.stride + self.window_len };
        let has_rest = next < n_rows && covered < n_rows;
        n_full + usize::from(self.tail == Tail::Keep && has_rest)
    }

    /// The rows of each window of a series of `n_rows`, in order.
    ///
    /// Every range is non-empty and ends at or before `n_rows`.
    pub fn starts(
        &self,
        n_rows: usize,
    ) -> impl ExactSizeIterator<Item = Range<usize>> + DoubleEndedIterator + use<> {
        let Self { window_len, stride, .. } = *self;
        (0..self.count(n_rows)).map(move |i| {
            let start = i * stride;
            start..start.saturating_add(window_len).min(n_rows)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(window_len: usize, stride: usize, tail: Tail, n_rows: usize) -> Vec<Range<usize>> {
        Windowing::new(window_len, stride, tail).unwrap().starts(n_rows).collect()
    }

    #[test]
    fn dropped_tails() {
        assert_eq!(ranges(4, 2, Tail::Drop, 8), [0..4, 2..6, 4..8]);
        assert_eq!(ranges(4, 2, Tail::Drop, 9), [0..4, 2..6, 4..8]);
        assert_eq!(ranges(4, 2, Tail::Drop, 3), []);
        assert_eq!(ranges(2, 5, Tail::Drop, 10), [0..2, 5..7]);
    }

    #[test]
    fn kept_tails() {
        assert_eq!(ranges(4, 2, Tail::Keep, 8), [0..4, 2..6, 4..8]);
        assert_eq!(ranges(4, 2, Tail::Keep, 9), [0..4, 2..6, 4..8, 6..9]);
        assert_eq!(ranges(4, 4, Tail::Keep, 3), [Range { start: 0, end: 3 }]);
        assert_eq!(ranges(4, 4, Tail::Keep, 0), []);
        // Rows that the stride skips are no tail.
        assert_eq!(ranges(2, 5, Tail::Keep, 10), [0..2, 5..7]);
        assert_eq!(ranges(2, 5, Tail::Keep, 11), [0..2, 5..7, 10..11]);
    }

    #[test]
    fn a_whole_series_is_one_window() {
        let whole = Windowing::whole_series();
        for n_rows in [1, 2, 1000, usize::MAX] {
            assert_eq!(whole.starts(n_rows).collect::<Vec<_>>(), [Range { start: 0, end: n_rows }]);
        }
        assert_eq!(whole.count(0), 0);
    }

    #[test]
    fn sizes_are_at_least_one() {
        let message =
            |len, stride| Windowing::new(len, stride, Tail::Drop).unwrap_err().to_string();
        assert_eq!(message(0, 1), "window: window_len is 0, expected at least 1 row");
        assert_eq!(message(1, 0), "window: stride is 0, expected at least 1 row");
        assert!(serde_json::from_str::<Windowing>(r#"{"window_len":8,"stride":0}"#).is_err());
        let read: Windowing = serde_json::from_str(r#"{"window_len":8,"stride":4}"#).unwrap();
        assert_eq!(read, Windowing::new(8, 4, Tail::Drop).unwrap());
    }
}
