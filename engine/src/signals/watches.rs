//! Which detectors watch which signal, and how many of all false alarms may be theirs.

use monitor::{DetectorConfig, Reference, Side, WatchConfig};

use super::profile::{CONFIDENCE, ERROR, INPUT};

/// Half the change that matters, in deviations. Confidence also changes with what is harmless, by less.
const INPUT_ALLOWANCE: f64 = 0.75;
const ALLOWANCE: f64 = 0.5;

/// The shares of false alarms: nearly all are notices, as on alarms something is done. Labels are worth more of them.
const NOTICES: f64 = 0.44;
const ALARMS: f64 = 0.002;
const ERRORS: f64 = 0.1;

/// The detectors that are put on the signals, with a window of so many values; on errors only where there are labels.
pub fn watches(window: usize, labelled: bool) -> Vec<WatchConfig> {
    let cusum = |side, allowance, reference| DetectorConfig::Cusum { side, allowance, reference };
    let ks = DetectorConfig::Ks { window };
    let mut watches = vec![
        (INPUT, NOTICES, cusum(Side::Up, INPUT_ALLOWANCE, Reference::Scores)),
        (INPUT, NOTICES, ks),
        (CONFIDENCE, ALARMS, cusum(Side::Down, ALLOWANCE, Reference::Scores)),
        (CONFIDENCE, ALARMS, ks),
    ];
    if labelled {
        watches.push((ERROR, ERRORS, cusum(Side::Up, ALLOWANCE, Reference::Errors)));
    }
    let of = |(signal, share, detector)| WatchConfig { signal, share, detector };
    watches.into_iter().map(of).collect()
}
