//! Rows that wait for those around them: what steps with a centred window hold.

use crate::RowsRef;

/// Rows in order, of which each is handed on with the `half` rows before and after it.
pub(crate) struct Around {
    channels: usize,
    half: usize,
    /// Whether the first and the last row stand for those beyond the ends.
    repeats_ends: bool,
    values: Vec<f64>,
    /// Rows of `values` that no later window reaches, but for the last of them.
    passed: usize,
    times: Vec<f64>,
    /// How many of `times` have been handed on.
    handed_on: usize,
}

impl Around {
    pub(crate) fn new(channels: usize, half: usize, repeats_ends: bool) -> Self {
        // Room for what single rows need, so that they allocate nothing; long windows grow.
        let room = (4 * half + 4).min(1024);
        Self {
            channels,
            half,
            repeats_ends,
            values: Vec::with_capacity(room * channels),
            passed: 0,
            times: Vec::with_capacity(room),
            handed_on: 0,
        }
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Adds rows behind those that wait.
    pub(crate) fn extend(&mut self, rows: RowsRef<'_>) {
        if rows.is_empty() {
            return;
        }
        if self.repeats_ends && self.times.is_empty() {
            for _ in 0..self.half {
                self.values.extend_from_slice(rows.row(0));
            }
        }
        self.values.extend_from_slice(rows.values());
        self.times.extend_from_slice(rows.times());
    }

    /// The series has ended: the last row stands for those after it, if ends are repeated.
    pub(crate) fn end(&mut self) {
        if self.repeats_ends && !self.times.is_empty() {
            let last = self.values.len() - self.channels..self.values.len();
            for _ in 0..self.half {
                self.values.extend_from_within(last.clone());
            }
        }
    }

    /// How many rows have all those around them.
    pub(crate) fn n_ready(&self) -> usize {
        (self.values.len() / self.channels - self.passed).saturating_sub(2 * self.half)
    }

    /// The rows from `half` before the first that is ready to `half` after the last.
    pub(crate) fn windows(&self) -> &[f64] {
        &self.values[self.passed * self.channels..]
    }

    /// As [`windows`](Self::windows), and the row before where one was handed on.
    pub(crate) fn windows_and_one(&self) -> &[f64] {
        &self.values[self.passed.saturating_sub(1) * self.channels..]
    }

    /// The times of rows that were not handed on yet.
    pub(crate) fn times(&self) -> &[f64] {
        &self.times[self.handed_on..]
    }

    /// Whether no window was complete so far.
    pub(crate) fn is_at_start(&self) -> bool {
        self.passed == 0
    }

    /// Rows were handed on, without a window of their own if `at_an_edge`.
    pub(crate) fn hand_on(&mut self, n_rows: usize, at_an_edge: bool) {
        self.handed_on += n_rows;
        if at_an_edge {
            return;
        }
        self.passed += n_rows;
        // Moving what stays to the front costs about one row for each that was handed on.
        if self.passed > 2 * self.half + 1 {
            self.values.drain(..(self.passed - 1) * self.channels);
            self.passed = 1;
            self.times.drain(..self.handed_on - 1);
            self.handed_on = 1;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.times.clear();
        (self.passed, self.handed_on) = (0, 0);
    }
}
