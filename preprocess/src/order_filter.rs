//! The median and the Hampel filter at work: a centred window of each channel.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched closure is compiled for the oldest processor"
)]

use crate::around::Around;
use crate::dispatch::vectorized;
use crate::order::{deviation_of_sorted, median_of_few, median_of_sorted};
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// Longest window: a value is put into a sorted window by moving half of it.
const MOST_LEN: usize = (1 << 16) - 1;

/// What a median absolute deviation is multiplied by to be a normal standard deviation.
const OF_NORMAL: f64 = 1.4826;

/// Passes if a length makes a centred window.
pub(crate) fn check_len(step: &'static str, len: usize) -> Result<(), Error> {
    let is_good = len % 2 == 1 && (3..=MOST_LEN).contains(&len);
    let accepted = format!("an odd number of rows, 3 to {MOST_LEN}");
    crate::error::check_option(step, "len", len as f64, is_good, accepted)
}

/// Every value by the median of the window around it: always, or where it is an outlier.
pub(crate) struct OrderFilter {
    around: Around,
    len: usize,
    /// How far from the median a value may be, in standard deviations; none where it always is replaced.
    n_sigmas: Option<f64>,
    /// The present values of each channel's window but for its last row, sorted; where `len` is large.
    sorted: Vec<Vec<f64>>,
    rate_hz: Option<f64>,
}

impl OrderFilter {
    pub(crate) fn boxed(len: usize, n_sigmas: Option<f64>, input: &Stage) -> Box<dyn Step> {
        let channels = input.channels();
        Box::new(Self {
            around: Around::new(channels, len / 2, true),
            len,
            n_sigmas,
            sorted: vec![Vec::with_capacity(len.min(1024)); channels],
            rate_hz: input.rate_hz,
        })
    }

    fn hand_on(&mut self, out: &mut Rows) {
        let n_ready = self.around.n_ready();
        if n_ready == 0 {
            return;
        }
        let is_first = self.around.is_at_start();
        let Self { around, n_sigmas, sorted, .. } = self;
        let (windows, channels) = (around.windows(), around.channels());
        let to = out.extend_zeroed(&around.times()[..n_ready]);
        match self.len {
            3 => few::<3>(windows, channels, *n_sigmas, to),
            5 => few::<5>(windows, channels, *n_sigmas, to),
            7 => few::<7>(windows, channels, *n_sigmas, to),
            9 => few::<9>(windows, channels, *n_sigmas, to),
            11 => few::<11>(windows, channels, *n_sigmas, to),
            len => {
                for (channel, sorted) in sorted.iter_mut().enumerate() {
                    if is_first {
                        let first = windows.iter().skip(channel).step_by(channels).take(len - 1);
                        sorted.extend(first.filter(|v| !v.is_nan()));
                        sorted.sort_unstable_by(f64::total_cmp);
                    }
                    many(&windows[channel..], channels, len, *n_sigmas, sorted, &mut to[channel..]);
                }
            }
        }
        self.around.hand_on(n_ready, false);
    }

    fn forget(&mut self) {
        self.around.clear();
        self.sorted.iter_mut().for_each(Vec::clear);
    }
}

impl Step for OrderFilter {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        self.around.extend(rows);
        self.hand_on(out);
    }

    fn finish(&mut self, out: &mut Rows) {
        self.around.end();
        self.hand_on(out);
        self.forget();
    }

    fn reset(&mut self) {
        self.forget();
    }

    fn latency(&self) -> Latency {
        Latency::Rows(self.len / 2)
    }

    fn out_channels(&self) -> usize {
        self.around.channels()
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

/// What becomes of a value in a window with this median and median deviation.
#[inline(always)]
fn replaced(value: f64, median: f64, deviation: f64, n_sigmas: f64) -> f64 {
    let is_outlier = (value - median).abs() > n_sigmas * (OF_NORMAL * deviation);
    if is_outlier { median } else { value }
}

/// Short windows, in the order in which their middles lie in memory, whatever channels they are: several
/// are done at once.
fn few<const N: usize>(windows: &[f64], channels: usize, n_sigmas: Option<f64>, to: &mut [f64]) {
    let has_gaps = vectorized(
        #[inline(always)]
        || {
            match n_sigmas {
                None => each::<N>(windows, channels, to, median_of_few),
                Some(n_sigmas) => each::<N>(
                    windows,
                    channels,
                    to,
                    #[inline(always)]
                    |window| {
                        let median = median_of_few(window);
                        let deviation = median_of_few(window.map(|v| (v - median).abs()));
                        replaced(window[N / 2], median, deviation, n_sigmas)
                    },
                ),
            }
            windows.iter().fold(false, |gaps, v| gaps | v.is_nan())
        },
    );
    if has_gaps {
        for (at, to) in to.iter_mut().enumerate() {
            let mut window: [f64; N] = std::array::from_fn(|j| windows[j * channels + at]);
            let centre = window[N / 2];
            // Gaps go behind all numbers, whatever their sign.
            window = window.map(|v| if v.is_nan() { f64::NAN } else { v });
            let n_present = window.iter().filter(|v| !v.is_nan()).count();
            if n_present < N {
                window.sort_unstable_by(f64::total_cmp);
                *to = by_sorted(centre, &window[..n_present], n_sigmas);
            }
        }
    }
}

/// `f` of every window. In a function of its own, where `to` is known to lie apart from the windows.
#[inline(always)]
fn each<const N: usize>(
    windows: &[f64],
    channels: usize,
    to: &mut [f64],
    f: impl Fn([f64; N]) -> f64,
) {
    let n = to.len();
    // The same row of all windows, for each row of a window.
    let rows: [&[f64]; N] = std::array::from_fn(|j| &windows[j * channels..][..n]);
    for (at, to) in to.iter_mut().enumerate() {
        *to = f(std::array::from_fn(|j| rows[j][at]));
    }
}

fn by_sorted(centre: f64, sorted: &[f64], n_sigmas: Option<f64>) -> f64 {
    if centre.is_nan() {
        return centre;
    }
    let median = median_of_sorted(sorted);
    match n_sigmas {
        None => median,
        Some(n) => replaced(centre, median, deviation_of_sorted(sorted, median), n),
    }
}

/// Long windows of one channel: the window stays sorted while a value comes and one goes.
fn many(
    column: &[f64],
    channels: usize,
    len: usize,
    n_sigmas: Option<f64>,
    sorted: &mut Vec<f64>,
    to: &mut [f64],
) {
    let value = |row: usize| column[row * channels];
    for (row, to) in to.iter_mut().step_by(channels).enumerate() {
        let place = |sorted: &[f64], v: f64| sorted.partition_point(|s| s.total_cmp(&v).is_lt());
        let comes = value(row + len - 1);
        if !comes.is_nan() {
            sorted.insert(place(sorted, comes), comes);
        }
        *to = by_sorted(value(row + len / 2), sorted, n_sigmas);
        let goes = value(row);
        if !goes.is_nan() {
            sorted.remove(place(sorted, goes));
        }
    }
}
