//! Thresholds of several detectors together, for a stated time between false alarms.

use std::ops::Range;

use crate::detector::{Detector, is_usable};
use crate::error::{Error, check_option};
use crate::passages::{Passages, Trace};
use crate::random::Random;
use crate::watch::{AnyDetector, DetectorConfig, Watch, WatchConfig};

/// What thresholds are to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrateOptions {
    /// Windows from one false alarm to the next on average, of all detectors together: 10 to 100,000.
    pub arl0: f64,
    /// Longer series are cut into blocks of about so many windows: much longer than values depend on those
    /// before, and few enough that there are at least 4 blocks, better 10.
    pub longest_block: usize,
    /// What is drawn is a function of this.
    pub seed: u64,
}

/// Detectors with their thresholds, and how often they give an alarm though nothing changes.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Calibration {
    /// In the order in which they were asked for, fitted on all series.
    pub watches: Vec<Watch>,
    /// Windows from one false alarm to the next on average, on series that they were not fitted on.
    pub arl0: f64,
    /// The lower bound of that at 95 %: what other series of the same kind would give.
    pub arl0_lower: f64,
}

/// Halves on which detectors are calibrated, to watch the others.
const SPLITS: usize = 20;

/// Windows that are drawn for each of three purposes, and at least as many runs.
const WINDOWS: usize = 600_000;
const FEWEST_RUNS: usize = 40;

/// A run lasts so many times the time between alarms.
const HORIZON: f64 = 3.0;

/// Thresholds are raised at most by this factor.
const MOST_RAISED: f64 = 4.0;

/// What no statistic exceeds: a detector that never gives an alarm.
const NEVER: f64 = 1e99;

/// A range of windows of one series.
struct Block<'a> {
    series: &'a [f64],
    windows: Range<usize>,
}

/// Fits detectors on series without a change and finds the thresholds at which all of them together give
/// one false alarm in `arl0` windows, and each of them alone equally many.
///
/// Values of one series depend on each other, so that thresholds for independent values are far too low. Here runs
/// are put together from whole series that are drawn at random (a block bootstrap), all signals of a window
/// together, and thresholds are those at which the runs have alarms as rarely as asked for.
///
/// On the series themselves. New people are not like those on whom references were fitted and thresholds found, and
/// have more alarms, often several times as many. So 20 times the blocks are cut in random halves: all is
/// done on one, and runs drawn from the other tell how often there really is an alarm. One factor, by which
/// thresholds are raised, makes that the time that was asked for, and raises those of all series too.
///
/// The bound is the 5 % quantile of times that are distributed as those of the halves, with half the deviation of
/// their logarithms: all series are twice as many as a half, and who is watched is not
/// a sample. It is rough for fewer than 10 series. Where the bound must hold, ask for more windows. Thresholds are
/// raised fourfold at most: what `arl0` says is below what was asked for where that is not enough. A threshold of 1
/// or more silences a [`KsWindow`](crate::KsWindow): its signal depends too much on its past for a window so short.
///
/// Six detectors on 2000 windows take a third of a second for an `arl0` of 1000; beyond 5000 the time grows with
/// `arl0`. Memory: at most 16 bytes for each detector of each window that is drawn.
///
/// # Shapes
/// `series`: each `[windows, signals]`, the values of a window next to each other.
///
/// # Errors
/// If an option is out of range, a value is not finite, a detector watches a signal that there is not or
/// that does not vary, or there are fewer than 4 blocks.
///
/// ```
/// use monitor::{CalibrateOptions, DetectorConfig, Reference, Side, WatchConfig, calibrate};
///
/// // Ten series of 60 windows; the signals are a distance and an error.
/// let value = |i: usize| (i * 7919 % 1000) as f64 / 1000.0;
/// let series: Vec<Vec<f64>> = (0..10)
///     .map(|s| (0..60).flat_map(|w| [value(60 * s + w), f64::from(u8::from(w % 9 == 0))]).collect())
///     .collect();
/// let series: Vec<&[f64]> = series.iter().map(Vec::as_slice).collect();
/// let up = |reference| DetectorConfig::Cusum { side: Side::Up, allowance: 0.5, reference };
/// let watches = [
///     WatchConfig { signal: 0, detector: up(Reference::Values) },
///     WatchConfig { signal: 0, detector: DetectorConfig::Ks { window: 30 } },
///     WatchConfig { signal: 1, detector: up(Reference::Errors) },
/// ];
/// let options = CalibrateOptions { arl0: 200.0, longest_block: 60, seed: 1 };
/// let found = calibrate(&watches, 2, &series, &options)?;
/// assert!(found.arl0 >= 200.0 && found.arl0_lower > 50.0);
/// # Ok::<(), monitor::Error>(())
/// ```
pub fn calibrate(
    watches: &[WatchConfig],
    n_signals: usize,
    series: &[&[f64]],
    options: &CalibrateOptions,
) -> Result<Calibration, Error> {
    check(watches, n_signals, series, options)?;
    let blocks = cut(n_signals, series, options.longest_block);
    if blocks.len() < 4 {
        return Err(Error::TooFew {
            owner: "calibrate",
            what: "blocks of windows",
            found: blocks.len(),
            least: 4,
            hint: "take more series, or cut long ones by a smaller longest_block",
        });
    }
    let drawing = Drawing { watches, n_signals, blocks: &blocks, options };
    let all: Vec<usize> = (0..blocks.len()).collect();
    let fitted = drawing.fit(&all)?;
    let halves = drawing.halves(&fitted);
    let factor = raised(&halves, options.arl0);
    let together = over(&halves, factor);

    let mut random = Random::stream(options.seed, SPLITS as u64);
    let own = drawing.run(&mut fitted.clone(), &all, &mut random, SPLITS);
    let thresholds: Vec<f64> = own.thresholds(options.arl0).iter().map(|h| factor * h).collect();
    let with = |(watch, &threshold): (&Watch, &f64)| {
        Ok(Watch { signal: watch.signal, detector: watch.detector.with_threshold(threshold)? })
    };
    let watches = fitted.iter().zip(&thresholds).map(with).collect::<Result<_, Error>>()?;
    Ok(Calibration { watches, arl0: together, arl0_lower: lower(&halves, factor).min(together) })
}

/// What a half says: thresholds, and what the other half does.
struct Half {
    thresholds: Vec<f64>,
    others: Passages,
}

impl Half {
    /// Windows and alarms with thresholds that are raised by a factor.
    fn at(&self, factor: f64) -> (f64, f64) {
        let thresholds: Vec<f64> = self.thresholds.iter().map(|h| factor * h).collect();
        self.others.windows_and_alarms(&thresholds)
    }
}

/// The mean time between alarms over all halves.
fn over(halves: &[Half], factor: f64) -> f64 {
    let counts = halves.iter().map(|half| half.at(factor));
    let (windows, alarms) = counts.fold((0.0, 0.0), |sum, at| (sum.0 + at.0, sum.1 + at.1));
    windows / f64::max(alarms, 1.0)
}

/// The least factor with which there are as few alarms as asked for.
fn raised(halves: &[Half], arl0: f64) -> f64 {
    let (mut low, mut high) = (1.0, MOST_RAISED);
    if over(halves, low) >= arl0 {
        return low;
    }
    for _ in 0..20 {
        let middle = f64::midpoint(low, high);
        if over(halves, middle) < arl0 { low = middle } else { high = middle }
    }
    high
}

/// The 5 % quantile of the time between alarms.
fn lower(halves: &[Half], factor: f64) -> f64 {
    let logs: Vec<f64> = halves
        .iter()
        .map(|half| {
            let (windows, alarms) = half.at(factor);
            // Half an alarm more, so that a half without any has a time too.
            (windows / (alarms + 0.5)).ln()
        })
        .collect();
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let squares = logs.iter().map(|log| (log - mean) * (log - mean)).sum::<f64>();
    (mean - 1.645 * 0.5 * (squares / (n - 1.0)).sqrt()).exp()
}

fn check(
    watches: &[WatchConfig],
    n_signals: usize,
    series: &[&[f64]],
    options: &CalibrateOptions,
) -> Result<(), Error> {
    let check = |option, found: f64, is_good, expected| {
        check_option("calibrate", option, found, is_good, expected)
    };
    let CalibrateOptions { arl0, longest_block, .. } = *options;
    check("arl0", arl0, (10.0..=100_000.0).contains(&arl0), "10 to 100000 windows")?;
    check("longest_block", longest_block as f64, longest_block > 0, "at least 1 window")?;
    check("watches", watches.len() as f64, (1..=100).contains(&watches.len()), "1 to 100")?;
    for (detector, watch) in watches.iter().enumerate() {
        if watch.signal >= n_signals {
            return Err(Error::NoSignal { detector, found: watch.signal, signals: n_signals });
        }
    }
    for (series, values) in series.iter().enumerate() {
        if values.len() % n_signals != 0 {
            return Err(Error::Ragged { series, signals: n_signals, found: values.len() });
        }
        if let Some(i) = values.iter().position(|&x| !is_usable(x)) {
            let (window, signal, found) = (i / n_signals, i % n_signals, values[i]);
            return Err(Error::Signal { series, window, signal, found });
        }
    }
    Ok(())
}

/// Series as blocks, long ones cut evenly.
fn cut<'a>(n_signals: usize, series: &[&'a [f64]], longest: usize) -> Vec<Block<'a>> {
    let mut blocks = Vec::new();
    for &series in series {
        let n = series.len() / n_signals;
        let parts = n.div_ceil(longest);
        blocks.extend(
            (0..parts).map(|i| Block { series, windows: i * n / parts..(i + 1) * n / parts }),
        );
    }
    blocks
}

/// What runs are drawn from.
struct Drawing<'a> {
    watches: &'a [WatchConfig],
    n_signals: usize,
    blocks: &'a [Block<'a>],
    options: &'a CalibrateOptions,
}

impl<'a> Drawing<'a> {
    /// Detectors with the values of some blocks as reference, and without a threshold.
    fn fit(&self, chosen: &[usize]) -> Result<Vec<Watch>, Error> {
        let of = |watch: &WatchConfig| {
            let values = chosen.iter().flat_map(|&i| {
                let windows = self.windows(i);
                windows.map(move |window| window[watch.signal])
            });
            watch.fit(&values.collect::<Vec<_>>(), NEVER)
        };
        self.watches.iter().map(of).collect()
    }

    /// The windows of a block.
    fn windows(&self, block: usize) -> impl Iterator<Item = &'a [f64]> {
        let Block { series, ref windows } = self.blocks[block];
        let part = &series[windows.start * self.n_signals..windows.end * self.n_signals];
        part.chunks_exact(self.n_signals)
    }

    /// Calibrates on random halves and watches the others.
    fn halves(&self, fitted: &[Watch]) -> Vec<Half> {
        let mut order: Vec<usize> = (0..self.blocks.len()).collect();
        let half = |split| {
            let mut random = Random::stream(self.options.seed, split as u64);
            random.shuffle(&mut order);
            let (known, others) = order.split_at(self.blocks.len().div_ceil(2));
            // A half may have nothing but one value, where the whole has more.
            let mut detectors = self.fit(known).unwrap_or_else(|_| fitted.to_vec());
            let own = self.run(&mut detectors, known, &mut random, 1);
            let thresholds = own.thresholds(self.options.arl0);
            Half { thresholds, others: self.run(&mut detectors, others, &mut random, 1) }
        };
        (0..SPLITS).map(half).collect()
    }

    /// Draws runs from some blocks and notes what statistics they have without an alarm: `share` twentieths
    /// of all that are drawn.
    fn run(
        &self,
        detectors: &mut [Watch],
        from: &[usize],
        random: &mut Random,
        share: usize,
    ) -> Passages {
        // A window has to be full before it can give an alarm.
        let filled = self.watches.iter().map(|watch| match watch.detector {
            DetectorConfig::Ks { window } => window,
            DetectorConfig::Cusum { .. } => 0,
        });
        let horizon = (HORIZON * self.options.arl0).ceil() as usize + filled.max().unwrap_or(0);
        let runs = (WINDOWS / horizon).max(FEWEST_RUNS).div_ceil(SPLITS) * share;
        let mut passages = Passages::new(horizon, detectors.len());
        let mut windows = Vec::with_capacity(horizon);
        for _ in 0..runs {
            windows.clear();
            while windows.len() < horizon {
                let block = from[random.below(from.len() as u64) as usize];
                windows.extend(self.windows(block).take(horizon - windows.len()));
            }
            let traces = detectors.iter_mut().map(|watch| {
                let values = windows.iter().map(|window| window[watch.signal]);
                match &mut watch.detector {
                    AnyDetector::Cusum(cusum) => trace(cusum, values),
                    AnyDetector::Ks(ks) => trace(ks, values),
                }
            });
            passages.add(traces.collect());
        }
        passages
    }
}

/// Where a detector's statistic was larger than ever before.
fn trace<D: Detector>(detector: &mut D, values: impl Iterator<Item = f64>) -> Trace {
    detector.reset();
    let (mut trace, mut most) = (Vec::new(), 0.0);
    for (window, x) in values.enumerate() {
        let _ = detector.update(x);
        let statistic = detector.statistic();
        if statistic > most {
            most = statistic;
            trace.push((window as u32, statistic));
        }
    }
    trace
}
