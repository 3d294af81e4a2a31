//! What is usual at a place is taken from its first windows.

use crate::detector::Detector;
use crate::error::Error;
use crate::ks_window::KsWindow;
use crate::scores::Scores;
use crate::watch::{AnyDetector, DetectorConfig, Watch, WatchConfig};

/// A threshold is at least so many times what the detector reached on the first windows themselves.
const ABOVE: f64 = 1.75;

/// … but of a distance, which is 1 at most, no more than this.
const MOST_DISTANCE: f64 = 0.95;

/// What no statistic exceeds.
pub(crate) const NEVER: f64 = 1e99;

/// Takes what is usual of a signal at a place from its first windows, as every person and every sensor is a little
/// different. Gives scores among these, and the detectors of the signal from the beginning: the threshold of each
/// is what was calibrated, or one and three quarters of the largest statistic that it has on these windows
/// themselves, if that is more (of a distance at most 0.95). A place whose windows differ from one another more than usual
/// has no more alarms for that.
///
/// [`calibrate`](crate::calibrate()) counts the time from such a beginning to the first alarm. What a few windows
/// say of a place may be off, and then alarms would come again and again: where one that may be false was told,
/// begin anew with the next windows.
///
/// Detectors of errors do not settle: a model that is usually wrong at a place is not what was calibrated.
///
/// # Errors
/// If a value is not finite, values do not vary, or there are kinds for another number of values.
///
/// ```
/// use monitor::{DetectorConfig, Reference, Side, WatchConfig, settle};
///
/// let detector = DetectorConfig::Cusum { side: Side::Up, allowance: 0.5, reference: Reference::Scores };
/// let watch = WatchConfig { signal: 0, share: 1.0, detector }.fit(&[], 5.0)?;
/// // Here values are about 1000, whatever they were where thresholds were found.
/// let first: Vec<f64> = (0..100).map(|i| 1000.0 + f64::from(i * 37 % 100)).collect();
/// let (scores, watches) = settle(&[watch], &first, &[])?;
/// assert!(scores.score(1050.0, 0).abs() < 0.1 && watches.len() == 1);
/// # Ok::<(), monitor::Error>(())
/// ```
pub fn settle(
    watches: &[Watch],
    first: &[f64],
    kinds: &[u32],
) -> Result<(Scores, Vec<Watch>), Error> {
    let signal = watches.first().map_or(0, |watch| watch.signal);
    let scores = Scores::fit_signal(signal, first, kinds)?;
    let values = scored(&scores, 1, 0, first, kinds);
    let of = |watch: &Watch| {
        let threshold = watch.detector.threshold();
        let detector = match &watch.detector {
            AnyDetector::Cusum(_) => watch.detector.with_threshold(NEVER)?,
            AnyDetector::Ks(ks) => AnyDetector::Ks(KsWindow::new(&values, ks.window(), NEVER)?),
        };
        let least = least_threshold(detector.clone(), &values);
        Ok(Watch { detector: detector.with_threshold(threshold.max(least))?, ..watch.clone() })
    };
    let watches = watches.iter().map(of).collect::<Result<_, Error>>()?;
    Ok((scores, watches))
}

/// What is usual of each signal that is scored.
pub(crate) fn usual(
    n_signals: usize,
    is_scored: impl Fn(usize) -> bool,
    windows: &[f64],
    kinds: &[u32],
) -> Result<Vec<Option<Scores>>, Error> {
    let of = |signal: usize| {
        let values: Vec<f64> = windows.iter().skip(signal).step_by(n_signals).copied().collect();
        Scores::fit_signal(signal, &values, kinds)
    };
    (0..n_signals).map(|signal| is_scored(signal).then(|| of(signal)).transpose()).collect()
}

/// The scores of a signal in windows.
pub(crate) fn scored(
    scores: &Scores,
    n_signals: usize,
    signal: usize,
    windows: &[f64],
    kinds: &[u32],
) -> Vec<f64> {
    let values = windows.iter().skip(signal).step_by(n_signals);
    let kind = |i: usize| kinds.get(i).copied().unwrap_or(0);
    values.enumerate().map(|(i, &x)| scores.score(x, kind(i))).collect()
}

/// The least threshold of a detector after these scores, which are what is usual.
fn least_threshold(mut detector: AnyDetector, usual: &[f64]) -> f64 {
    let mut most = 0.0_f64;
    for &x in usual {
        let _ = detector.update(x);
        most = most.max(detector.statistic());
    }
    match detector {
        AnyDetector::Cusum(_) => ABOVE * most,
        AnyDetector::Ks(_) => (ABOVE * most).min(MOST_DISTANCE),
    }
}

/// A detector that is asked for at a place: without a threshold, and what that is at least.
pub(crate) fn placed(config: &WatchConfig, usual: &[f64]) -> Result<(AnyDetector, f64), Error> {
    let Watch { detector, scored, .. } = config.fit(usual, NEVER)?;
    let least = if scored { least_threshold(detector.clone(), usual) } else { 0.0 };
    Ok((detector, least))
}

/// The longest window that has to be full before its detector can give an alarm.
pub(crate) fn filled(watches: &[WatchConfig]) -> usize {
    let of = |watch: &WatchConfig| match watch.detector {
        DetectorConfig::Ks { window } => window,
        DetectorConfig::Cusum { .. } => 0,
    };
    watches.iter().map(of).max().unwrap_or(0)
}
