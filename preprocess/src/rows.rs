//! Rows of channels with their times: what flows from step to step.

/// Rows that somebody else holds: `[n_rows, channels]` values, row by row, and a time for each.
///
/// Times are seconds where the data has a clock, and numbers of rows where it has none. They never
/// decrease. A missing value is NaN.
#[derive(Debug, Clone, Copy)]
pub struct RowsRef<'a> {
    channels: usize,
    times: &'a [f64],
    values: &'a [f64],
}

impl<'a> RowsRef<'a> {
    /// A view of `times.len()` rows.
    ///
    /// # Panics
    /// If there are not `channels` values for each time.
    pub fn new(channels: usize, times: &'a [f64], values: &'a [f64]) -> Self {
        assert_eq!(
            values.len(),
            times.len() * channels,
            "{} values are not {} rows of {channels} channels",
            values.len(),
            times.len()
        );
        Self { channels, times, values }
    }

    /// Values in a row.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The time of each row.
    pub fn times(&self) -> &'a [f64] {
        self.times
    }

    /// All values, row by row.
    pub fn values(&self) -> &'a [f64] {
        self.values
    }

    /// The values of one row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &'a [f64] {
        &self.values[row * self.channels..(row + 1) * self.channels]
    }

    /// Times and rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (f64, &'a [f64])> + use<'a> {
        let (channels, values) = (self.channels, self.values);
        let row = move |row: usize| &values[row * channels..(row + 1) * channels];
        self.times.iter().enumerate().map(move |(at, &time)| (time, row(at)))
    }

    /// Some of the rows.
    ///
    /// # Panics
    /// If the range leaves them.
    #[must_use]
    pub fn slice(&self, rows: std::ops::Range<usize>) -> Self {
        let values = &self.values[rows.start * self.channels..rows.end * self.channels];
        Self { channels: self.channels, times: &self.times[rows], values }
    }
}

/// Rows of one's own: a buffer that steps write to, reused without allocating once it is large
/// enough.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    channels: usize,
    times: Vec<f64>,
    values: Vec<f64>,
}

impl Rows {
    /// Rows with the times that somebody gives them.
    ///
    /// # Panics
    /// If there are not `channels` values for each time.
    pub fn from_parts(channels: usize, times: Vec<f64>, values: Vec<f64>) -> Self {
        RowsRef::new(channels, &times, &values);
        Self { channels, times, values }
    }

    /// No rows yet, of so many channels.
    pub fn new(channels: usize) -> Self {
        Self { channels, times: Vec::new(), values: Vec::new() }
    }

    /// A series without a clock: the time of a row is its number over `rate_hz`, or its number.
    ///
    /// # Panics
    /// If the values are no whole number of rows.
    pub fn of_series(channels: usize, rate_hz: Option<f64>, values: Vec<f64>) -> Self {
        assert!(
            channels > 0 && values.len().is_multiple_of(channels),
            "{} values are no rows of {channels} channels",
            values.len()
        );
        let step = rate_hz.unwrap_or(1.0);
        let times = (0..values.len() / channels).map(|row| row as f64 / step).collect();
        Self { channels, times, values }
    }

    /// Room for so many rows more.
    pub fn reserve(&mut self, n_rows: usize) {
        self.times.reserve(n_rows);
        self.values.reserve(n_rows * self.channels);
    }

    /// Takes all rows away, and keeps the memory.
    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has not as many values as there are channels.
    pub fn push(&mut self, time: f64, row: &[f64]) {
        assert_eq!(
            row.len(),
            self.channels,
            "a row of {} for {} channels",
            row.len(),
            self.channels
        );
        self.times.push(time);
        self.values.extend_from_slice(row);
    }

    /// Adds rows.
    ///
    /// # Panics
    /// If they have other channels.
    pub fn extend(&mut self, rows: RowsRef<'_>) {
        self.extend_copied(rows);
    }

    /// Adds rows, to be changed where they are: their values.
    ///
    /// # Panics
    /// If they have other channels.
    pub fn extend_copied(&mut self, rows: RowsRef<'_>) -> &mut [f64] {
        assert_eq!(rows.channels, self.channels, "rows of {} channels", rows.channels);
        let start = self.values.len();
        self.times.extend_from_slice(rows.times);
        self.values.extend_from_slice(rows.values);
        &mut self.values[start..]
    }

    /// Adds rows with these times, to be filled in: all their values are 0 so far.
    pub fn extend_zeroed(&mut self, times: &[f64]) -> &mut [f64] {
        let start = self.values.len();
        self.times.extend_from_slice(times);
        self.values.resize(start + times.len() * self.channels, 0.0);
        &mut self.values[start..]
    }

    /// Takes the first rows away.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn remove_first(&mut self, n_rows: usize) {
        self.times.drain(..n_rows);
        self.values.drain(..n_rows * self.channels);
    }

    /// A view of all rows.
    pub fn view(&self) -> RowsRef<'_> {
        RowsRef { channels: self.channels, times: &self.times, values: &self.values }
    }

    /// The same rows with some of the channels only.
    #[must_use]
    pub fn of_channels(&self, places: &[usize]) -> Self {
        let rows = self.view().iter();
        let values = rows.flat_map(|(_, row)| places.iter().map(|&place| row[place])).collect();
        Self { channels: places.len(), times: self.times.clone(), values }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Values in a row.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The values alone.
    pub fn into_values(self) -> Vec<f64> {
        self.values
    }

    /// All values, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// The time of each row.
    pub fn times(&self) -> &[f64] {
        &self.times
    }
}
