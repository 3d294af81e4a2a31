//! Thresholds of several detectors together, for a stated time between false alarms.

use std::ops::Range;

use crate::detector::{Detector, is_usable};
use crate::error::{Error, check_option};
use crate::passages::{Passages, Trace};
use crate::random::Random;
use crate::scores::Scores;
use crate::settle::{NEVER, filled, placed, scored, usual};
use crate::watch::{AnyDetector, Watch, WatchConfig};

/// A series without a change.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// `[windows, signals]`, the values of a window next to each other.
    pub values: &'a [f64],
    /// What each window is of, as for [`Scores::fit`]; or empty.
    pub kinds: &'a [u32],
    /// The place that it is of: a person, a sensor.
    pub place: usize,
}

/// What thresholds are to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrateOptions {
    /// Windows from one false alarm to the next on average, of all detectors together: 10 to 100,000.
    pub arl0: f64,
    /// Windows from which a place takes what is usual, see [`settle`](crate::settle()).
    pub first: usize,
    /// Longer series are cut into blocks of about so many windows: much longer than values depend on those
    /// before, and few enough that a place has several, better 10.
    pub longest_block: usize,
    /// What is drawn is a function of this.
    pub seed: u64,
}

/// Detectors with their thresholds, and how often they give an alarm though nothing changes.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Calibration {
    /// Of each signal that a detector sees the scores of: what is usual at all places together.
    pub scores: Vec<Option<Scores>>,
    /// In the order in which they were asked for, with all places as reference.
    pub watches: Vec<Watch>,
    /// Windows from one false alarm to the next on average, at places that thresholds were not found on.
    pub arl0: f64,
    /// The lower bound of that at 95 %, for the mean of other places like these.
    pub arl0_lower: f64,
}

/// Windows that are drawn, and at least so many runs at each place.
const WINDOWS: usize = 800_000;
const FEWEST_RUNS: usize = 10;

/// A run lasts so many times the time between alarms.
const HORIZON: f64 = 4.0;

/// Thresholds are for so many times what was asked for, as places that were not seen may have more alarms than those
/// on which thresholds were found: the first of these with which they have few enough, if one has.
const MARGINS: [f64; 6] = [1.4, 1.7, 2.0, 3.0, 4.0, 6.0];

/// The first windows are drawn from so many of a place's blocks: what comes later is not all like something that
/// came before.
const FIRST_BLOCKS: f64 = 2.0 / 3.0;

/// Values of all places that are kept.
const KEPT: usize = 256;

/// A range of windows of one series.
struct Block<'a> {
    series: Series<'a>,
    windows: Range<usize>,
}

/// Fits detectors on series without a change and finds the thresholds at which all of them together give
/// one false alarm in `arl0` windows, each of them its share.
///
/// What is done at a place is done here too. From a person's series, drawn at random and put together as runs (a
/// block bootstrap, as values of one series depend on each other and thresholds for independent ones are far too low),
/// the `first` windows say what is usual; detectors are settled on them as by [`settle`](crate::settle()), and what they
/// reach in the windows after these, up to the first alarm, says which thresholds give as few as asked for. All signals
/// of a window stay together. The first windows are of two thirds of the blocks and those after of all, as what
/// comes later is not all like something that came before.
///
/// How often there really is an alarm is counted at each place with thresholds of the others. Thresholds are for 1.4
/// times `arl0`, as series that are drawn again and again say less of the future than new ones, and where there are
/// too many alarms even so, for up to six times `arl0`. The result's `arl0` says what was reached. The bound is
/// that of Student for the mean rate of alarms over places; it is wide for fewer than 5. Where
/// series are of one place alone they are taken as of two, in turn, and what other places do is not known.
///
/// Where a detector's share is so small that alarms are too rare to be counted, the threshold goes on as it grew with the
/// logarithm of the time from the last tenth to the whole of what could be counted, which is how the threshold of a
/// CUSUM grows.
///
/// Five detectors on 2000 windows take a quarter of a second for an `arl0` of 1000; beyond 5000 the time grows with
/// `arl0`. Memory: at most 16 bytes for each detector of each window that is drawn.
///
/// # Errors
/// If an option is out of range, a value is not finite, a detector watches a signal that there is not or
/// that does not vary, or there are fewer than 4 blocks.
///
/// ```
/// use monitor::{CalibrateOptions, DetectorConfig, Reference, Series, Side, WatchConfig, calibrate};
///
/// // Ten series of five people; the signals are a distance and an error.
/// let value = |i: usize| (i * 7919 % 1000) as f64 / 1000.0;
/// let values: Vec<Vec<f64>> = (0..10)
///     .map(|s| (0..60).flat_map(|w| [value(60 * s + w), f64::from(u8::from(w % 9 == 0))]).collect())
///     .collect();
/// let of = |(i, values): (usize, &'static [f64])| Series { values, kinds: &[], place: i / 2 };
/// # let values: Vec<&'static [f64]> = values.into_iter().map(|v| &*v.leak()).collect();
/// let series: Vec<Series<'_>> = values.iter().copied().enumerate().map(of).collect();
/// let up = |reference| DetectorConfig::Cusum { side: Side::Up, allowance: 0.5, reference };
/// let watches = [
///     WatchConfig { signal: 0, share: 1.0, detector: up(Reference::Scores) },
///     WatchConfig { signal: 0, share: 1.0, detector: DetectorConfig::Ks { window: 30 } },
///     WatchConfig { signal: 1, share: 0.5, detector: up(Reference::Errors) },
/// ];
/// let options = CalibrateOptions { arl0: 200.0, first: 60, longest_block: 60, seed: 1 };
/// let found = calibrate(&watches, 2, &series, &options)?;
/// assert!(found.arl0 >= 200.0 && found.arl0_lower > 50.0);
/// # Ok::<(), monitor::Error>(())
/// ```
pub fn calibrate(
    watches: &[WatchConfig],
    n_signals: usize,
    series: &[Series<'_>],
    options: &CalibrateOptions,
) -> Result<Calibration, Error> {
    check(watches, n_signals, series, options)?;
    let places = places(n_signals, series, options.longest_block);
    let n_blocks = places.iter().map(Vec::len).sum();
    if n_blocks < 4 {
        return Err(Error::TooFew {
            owner: "calibrate",
            what: "blocks of windows",
            found: n_blocks,
            least: 4,
            hint: "take more series, or cut long ones by a smaller longest_block",
        });
    }
    let drawing = Drawing { watches, n_signals, options };
    let (scores, fitted) = drawing.all(&places)?;
    let passages = drawing.runs(&places)?;
    let shares: Vec<f64> = watches.iter().map(|watch| watch.share).collect();
    let elsewhere = |margin: f64| {
        let of = |place: usize| {
            let others = |run: usize| passages.place(run) != place;
            let thresholds = passages.thresholds(others, margin * options.arl0, &shares);
            passages.windows_and_alarms(|run| !others(run), &thresholds)
        };
        (0..places.len()).map(of).collect::<Vec<_>>()
    };
    let mut margins = MARGINS.iter().map(|&margin| (margin, elsewhere(margin)));
    let mut found = (MARGINS[0], Vec::new());
    for at in margins.by_ref() {
        found = at;
        if together(&found.1) >= options.arl0 {
            break;
        }
    }
    let (margin, counts) = found;
    let thresholds = passages.thresholds(|_| true, margin * options.arl0, &shares);
    let with = |(watch, &threshold): (&Watch, &f64)| {
        Ok(Watch { detector: watch.detector.with_threshold(threshold)?, ..watch.clone() })
    };
    let watches = fitted.iter().zip(&thresholds).map(with).collect::<Result<_, Error>>()?;
    let arl0 = together(&counts);
    Ok(Calibration { scores, watches, arl0, arl0_lower: lower(&counts).min(arl0) })
}

/// The mean time between alarms over places, of windows and alarms at each.
fn together(counts: &[(f64, f64)]) -> f64 {
    let (windows, alarms) = counts.iter().fold((0.0, 0.0), |sum, at| (sum.0 + at.0, sum.1 + at.1));
    windows / f64::max(alarms, 1.0)
}

/// The bound of Student for the mean rate of places.
fn lower(counts: &[(f64, f64)]) -> f64 {
    // Half an alarm more, so that a place without any has a rate too.
    let rates: Vec<f64> = counts.iter().map(|(windows, alarms)| (alarms + 0.5) / windows).collect();
    let n = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / n;
    let squares = rates.iter().map(|rate| (rate - mean) * (rate - mean)).sum::<f64>();
    1.0 / (mean + student(rates.len() - 1) * (squares / (n - 1.0) / n).sqrt())
}

/// What Student's distribution of so many degrees of freedom is below with 95 %.
fn student(freedom: usize) -> f64 {
    let few = [6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833];
    let many = 1.645 + 1.6 / freedom.max(1) as f64;
    freedom.checked_sub(1).and_then(|i| few.get(i)).copied().unwrap_or(many)
}

fn check(
    watches: &[WatchConfig],
    n_signals: usize,
    series: &[Series<'_>],
    options: &CalibrateOptions,
) -> Result<(), Error> {
    let check = |option, found: f64, is_good, expected| {
        check_option("calibrate", option, found, is_good, expected)
    };
    let CalibrateOptions { arl0, first, longest_block, .. } = *options;
    check("arl0", arl0, (10.0..=100_000.0).contains(&arl0), "10 to 100000 windows")?;
    check("first", first as f64, (2..=1_000_000).contains(&first), "2 to 1000000 windows")?;
    check("longest_block", longest_block as f64, longest_block > 0, "at least 1 window")?;
    check("watches", watches.len() as f64, (1..=100).contains(&watches.len()), "1 to 100")?;
    for (detector, watch) in watches.iter().enumerate() {
        if watch.signal >= n_signals {
            return Err(Error::NoSignal { detector, found: watch.signal, signals: n_signals });
        }
        let is_share = (1e-6..=1e6).contains(&watch.share);
        check("share", watch.share, is_share, "a number above 0")?;
    }
    for (series, Series { values, kinds, .. }) in series.iter().enumerate() {
        if values.len() % n_signals != 0 {
            return Err(Error::Ragged { series, signals: n_signals, found: values.len() });
        }
        let has_kinds = kinds.is_empty() || kinds.len() == values.len() / n_signals;
        check("kinds", kinds.len() as f64, has_kinds, "one of each window of a series, or none")?;
        if let Some(i) = values.iter().position(|&x| !is_usable(x)) {
            let (window, signal, found) = (i / n_signals, i % n_signals, values[i]);
            return Err(Error::Signal { series, window, signal, found });
        }
    }
    Ok(())
}

/// Series as blocks, long ones cut evenly, by place. Places with one block alone are one; if there is only one
/// place, its blocks are of two in turn.
fn places<'a>(n_signals: usize, series: &[Series<'a>], longest: usize) -> Vec<Vec<Block<'a>>> {
    let mut names: Vec<usize> = Vec::new();
    let mut places: Vec<Vec<Block<'a>>> = Vec::new();
    for &series in series {
        let n = series.values.len() / n_signals;
        let parts = n.div_ceil(longest);
        let at = names.iter().position(|&name| name == series.place).unwrap_or_else(|| {
            names.push(series.place);
            places.push(Vec::new());
            places.len() - 1
        });
        let block = |i| Block { series, windows: i * n / parts..(i + 1) * n / parts };
        places[at].extend((0..parts).map(block));
    }
    let (mut places, few): (Vec<_>, Vec<_>) =
        places.into_iter().partition(|blocks: &Vec<Block<'a>>| blocks.len() > 1);
    let mut rest: Vec<Block<'a>> = few.into_iter().flatten().collect();
    match places.last_mut() {
        Some(last) if rest.len() == 1 => last.append(&mut rest),
        _ if rest.is_empty() => {}
        _ => places.push(rest),
    }
    if places.len() == 1 {
        let mut turns = [Vec::new(), Vec::new()];
        for (i, block) in places.remove(0).into_iter().enumerate() {
            turns[i % 2].push(block);
        }
        places.extend(turns);
    }
    places
}

/// What runs are drawn with.
struct Drawing<'a> {
    watches: &'a [WatchConfig],
    n_signals: usize,
    options: &'a CalibrateOptions,
}

/// Windows of some blocks, one after the other, and their kinds.
#[derive(Default)]
struct Drawn {
    values: Vec<f64>,
    kinds: Vec<u32>,
}

impl Drawn {
    /// Adds windows of a block, so many at most.
    fn add(&mut self, Block { series, windows }: &Block<'_>, n_signals: usize, most: usize) {
        let windows = windows.start..windows.end.min(windows.start.saturating_add(most));
        self.values
            .extend_from_slice(&series.values[windows.start * n_signals..windows.end * n_signals]);
        let kinds = series.kinds.get(windows.clone()).unwrap_or(&[]);
        self.kinds.extend_from_slice(kinds);
        self.kinds.resize(self.values.len() / n_signals, 0);
    }
}

impl Drawing<'_> {
    fn is_scored(&self, signal: usize) -> bool {
        self.watches.iter().any(|watch| watch.signal == signal && watch.is_scored())
    }

    /// What detectors on a signal take as reference.
    fn reference(&self, signal: usize, scores: Option<&Scores>, of: &Drawn) -> Vec<f64> {
        match scores {
            Some(scores) => scored(scores, self.n_signals, signal, &of.values, &of.kinds),
            None => of.values.iter().skip(signal).step_by(self.n_signals).copied().collect(),
        }
    }

    /// Scores and detectors with all windows as reference, and without thresholds.
    fn all(&self, places: &[Vec<Block<'_>>]) -> Result<(Vec<Option<Scores>>, Vec<Watch>), Error> {
        let mut all = Drawn::default();
        for block in places.iter().flatten() {
            all.add(block, self.n_signals, usize::MAX);
        }
        let is_scored = |signal| self.is_scored(signal);
        let scores = usual(self.n_signals, is_scored, &all.values, &all.kinds)?;
        let kept = |scores: Option<Scores>| scores.map(|scores| scores.thinned(KEPT));
        let scores: Vec<Option<Scores>> = scores.into_iter().map(kept).collect();
        let of = |watch: &WatchConfig| {
            let own = scores[watch.signal].as_ref().filter(|_| watch.is_scored());
            let mut reference = self.reference(watch.signal, own, &all);
            if watch.is_scored() && reference.len() > KEPT {
                reference.sort_unstable_by(f64::total_cmp);
                let n = reference.len();
                reference = (0..KEPT).map(|i| reference[(2 * i + 1) * n / (2 * KEPT)]).collect();
            }
            watch.fit(&reference, NEVER)
        };
        let watches = self.watches.iter().map(of).collect::<Result<_, Error>>()?;
        Ok((scores, watches))
    }

    /// Draws runs at each place and notes what statistics they have without an alarm.
    fn runs(&self, places: &[Vec<Block<'_>>]) -> Result<Passages, Error> {
        let CalibrateOptions { arl0, first, seed, .. } = *self.options;
        let horizon = (HORIZON * arl0).ceil() as usize + filled(self.watches);
        let runs = (WINDOWS / horizon / places.len()).max(FEWEST_RUNS);
        let mut passages = Passages::new(horizon, self.watches.len());
        for (place, blocks) in places.iter().enumerate() {
            let mut random = Random::stream(seed, place as u64);
            for _ in 0..runs {
                let mut chosen: Vec<&Block<'_>> = blocks.iter().collect();
                random.shuffle(&mut chosen);
                let known = (FIRST_BLOCKS * blocks.len() as f64).round() as usize;
                let usual = self.draw(&chosen[..known.max(1)], first, &mut random);
                let windows = self.draw(&chosen, horizon, &mut random);
                passages.add(place, self.run(&usual, &windows, places)?);
            }
        }
        Ok(passages)
    }

    /// So many windows of blocks that are drawn at random.
    fn draw(&self, blocks: &[&Block<'_>], windows: usize, random: &mut Random) -> Drawn {
        let mut drawn = Drawn::default();
        while drawn.kinds.len() < windows {
            let block = blocks[random.below(blocks.len() as u64) as usize];
            drawn.add(block, self.n_signals, windows - drawn.kinds.len());
        }
        drawn
    }

    /// Settles on some windows and watches others.
    fn run(
        &self,
        first: &Drawn,
        windows: &Drawn,
        places: &[Vec<Block<'_>>],
    ) -> Result<Vec<Trace>, Error> {
        let is_scored = |signal| self.is_scored(signal);
        let own = usual(self.n_signals, is_scored, &first.values, &first.kinds);
        // The first windows may have nothing but one value, where all have more.
        let scores = match own {
            Ok(scores) => scores,
            Err(Error::Constant { .. }) => self.all(places)?.0,
            Err(error) => return Err(error),
        };
        let trace = |watch: &WatchConfig| {
            let own = scores[watch.signal].as_ref().filter(|_| watch.is_scored());
            let (detector, least) = placed(watch, &self.reference(watch.signal, own, first))?;
            let values = self.reference(watch.signal, own, windows);
            Ok(match detector {
                AnyDetector::Cusum(cusum) => trace(cusum, least, &values),
                AnyDetector::Ks(ks) => trace(ks, least, &values),
            })
        };
        self.watches.iter().map(trace).collect()
    }
}

/// Where a detector's statistic was larger than ever before, and than a threshold is at least.
fn trace<D: Detector>(mut detector: D, least: f64, values: &[f64]) -> Trace {
    let (mut trace, mut most) = (Vec::new(), least);
    for (window, &x) in values.iter().enumerate() {
        let _ = detector.update(x);
        let statistic = detector.statistic();
        if statistic > most {
            most = statistic;
            trace.push((window as u32, statistic));
        }
    }
    trace
}
