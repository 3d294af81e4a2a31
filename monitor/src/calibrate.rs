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
    /// The same of each detector alone.
    pub alone: Vec<f64>,
}

/// Halves on which references are fitted, to watch the others.
const SPLITS: usize = 20;

/// Windows that are drawn in all, and at least as many runs.
const WINDOWS: usize = 1_200_000;
const FEWEST_RUNS: usize = 40;

/// A run lasts so many times the time between alarms.
const HORIZON: f64 = 3.0;

/// Times that blocks are drawn for the bound.
const DRAWS: usize = 2000;

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
/// together. And new people are not like those on whom a reference was fitted: 20 times the blocks are
/// cut in random halves; references are fitted on one, and runs are drawn from the other. The
/// detectors that are returned are fitted on all blocks.
///
/// The bound draws blocks anew 2000 times, each with the alarms and windows that fell on it: it
/// says how much depends on which few series there were. It takes 4 blocks, and is rough for fewer than 10.
/// Where the bound must hold, ask for more windows.
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
    let all: Vec<usize> = (0..blocks.len()).collect();
    let fitted = fit(watches, n_signals, &blocks, &all)?;

    let passages = run(watches, n_signals, &blocks, &fitted, options);
    let thresholds = passages.thresholds(options.arl0);
    let with = |(watch, &threshold): (&Watch, &f64)| {
        Ok(Watch { signal: watch.signal, detector: watch.detector.with_threshold(threshold)? })
    };
    let watches = fitted.iter().zip(&thresholds).map(with).collect::<Result<_, Error>>()?;
    Ok(Calibration {
        watches,
        arl0: passages.together(&thresholds),
        arl0_lower: lower(&passages.by_block(&thresholds, blocks.len()), options.seed),
        alone: (0..thresholds.len()).map(|i| passages.alone(i, thresholds[i])).collect(),
    })
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

/// Detectors with the values of some blocks as reference, and without a threshold.
fn fit(
    watches: &[WatchConfig],
    n_signals: usize,
    blocks: &[Block<'_>],
    chosen: &[usize],
) -> Result<Vec<Watch>, Error> {
    let of = |watch: &WatchConfig| {
        let values = chosen.iter().flat_map(|&i| {
            let Block { series, ref windows } = blocks[i];
            windows.clone().map(move |window| series[window * n_signals + watch.signal])
        });
        watch.fit(&values.collect::<Vec<_>>(), NEVER)
    };
    watches.iter().map(of).collect()
}

/// Draws runs and notes what statistics they have without an alarm.
fn run(
    watches: &[WatchConfig],
    n_signals: usize,
    blocks: &[Block<'_>],
    fitted: &[Watch],
    options: &CalibrateOptions,
) -> Passages {
    // A window has to be full before it can give an alarm.
    let filled = watches.iter().map(|watch| match watch.detector {
        DetectorConfig::Ks { window } => window,
        DetectorConfig::Cusum { .. } => 0,
    });
    let horizon = (HORIZON * options.arl0).ceil() as usize + filled.max().unwrap_or(0);
    let runs = (WINDOWS / horizon).max(FEWEST_RUNS).div_ceil(SPLITS);

    let mut passages = Passages::new(horizon, watches.len());
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    for split in 0..SPLITS {
        let mut random = Random::stream(options.seed, split as u64);
        random.shuffle(&mut order);
        let (known, others) = order.split_at(blocks.len().div_ceil(2));
        // A half may have nothing but one value, where the whole has more.
        let half = fit(watches, n_signals, blocks, known);
        let mut detectors = half.unwrap_or_else(|_| fitted.to_vec());
        for _ in 0..runs {
            let drawn = draw(&mut random, n_signals, blocks, others, horizon);
            let traces = detectors.iter_mut().map(|watch| {
                let values = drawn.windows.iter().map(|window| window[watch.signal]);
                match &mut watch.detector {
                    AnyDetector::Cusum(cusum) => trace(cusum, values),
                    AnyDetector::Ks(ks) => trace(ks, values),
                }
            });
            let traces = traces.collect();
            passages.add(traces, drawn.starts);
        }
    }
    passages
}

/// Windows that follow each other in a run.
struct Drawn<'a> {
    windows: Vec<&'a [f64]>,
    /// Which block begins at which window.
    starts: Vec<(u32, u32)>,
}

fn draw<'a>(
    random: &mut Random,
    n_signals: usize,
    blocks: &[Block<'a>],
    others: &[usize],
    horizon: usize,
) -> Drawn<'a> {
    let mut drawn = Drawn { windows: Vec::with_capacity(horizon), starts: Vec::new() };
    while drawn.windows.len() < horizon {
        let block = others[random.below(others.len() as u64) as usize];
        drawn.starts.push((drawn.windows.len() as u32, block as u32));
        let Block { series, ref windows } = blocks[block];
        let part = &series[windows.start * n_signals..windows.end * n_signals];
        let room = horizon - drawn.windows.len();
        drawn.windows.extend(part.chunks_exact(n_signals).take(room));
    }
    drawn
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

/// The 5 % quantile of windows by alarms, over blocks that are drawn anew.
fn lower(by_block: &[(f64, f64)], seed: u64) -> f64 {
    let mut random = Random::stream(seed, SPLITS as u64);
    let alarms: f64 = by_block.iter().map(|block| block.1).sum();
    let mut ratios: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let (mut windows, mut rung) = (0.0, 0.0);
            for _ in by_block {
                let block = by_block[random.below(by_block.len() as u64) as usize];
                (windows, rung) = (windows + block.0, rung + block.1);
            }
            // The runs are a sample too: their number of alarms is off by about its root. The sum of twelve
            // uniform numbers is nearly normal.
            let noise = (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0;
            windows / f64::max(rung, 1.0) * (noise / alarms.max(1.0).sqrt()).exp()
        })
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    ratios[DRAWS / 20]
}
