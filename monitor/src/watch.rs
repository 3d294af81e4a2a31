//! Detectors on signals: as they are written down, and fitted to what is usual.

use crate::cusum::{Cusum, Side};
use crate::detector::{Detector, Verdict};
use crate::error::Error;
use crate::ks_window::KsWindow;

/// A detector that is to be put on a signal.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct WatchConfig {
    /// The signal, from 0.
    pub signal: usize,
    /// How many of all false alarms may be this detector's, beside the shares of the others.
    pub share: f64,
    /// What looks at it.
    pub detector: DetectorConfig,
}

/// Which detector, and its options but for what is fitted: reference and threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case", deny_unknown_fields))]
pub enum DetectorConfig {
    /// A [`Cusum`].
    Cusum {
        /// Which changes count.
        side: Side,
        /// Half the change that matters, in deviations.
        allowance: f64,
        /// What it looks at.
        reference: Reference,
    },
    /// A [`KsWindow`] of so many [`Scores`](crate::Scores).
    Ks {
        /// The length of the window.
        window: usize,
    },
}

/// What a [`Cusum`] looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Reference {
    /// [`Scores`](crate::Scores) of values, which are usually `0 ± 1`.
    Scores,
    /// Errors, 0 and 1: `p = (errors + ½)/(n + 1)` and `√(p(1 − p))`, so that a model that made no error has a
    /// deviation too.
    Errors,
}

/// A detector at work on a signal.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Watch {
    /// The signal, from 0.
    pub signal: usize,
    /// Whether it looks at scores instead of values.
    pub scored: bool,
    /// What looks at it.
    pub detector: AnyDetector,
}

/// One of the detectors whose threshold can be calibrated.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum AnyDetector {
    /// A [`Cusum`].
    Cusum(Cusum),
    /// A [`KsWindow`].
    Ks(KsWindow),
}

impl AnyDetector {
    /// The same with another threshold, from the beginning.
    ///
    /// # Errors
    /// If it is not a finite number above 0.
    pub fn with_threshold(&self, threshold: f64) -> Result<Self, Error> {
        Ok(match self {
            Self::Cusum(cusum) => Self::Cusum(cusum.with_threshold(threshold)?),
            Self::Ks(ks) => Self::Ks(ks.with_threshold(threshold)?),
        })
    }
}

impl Detector for AnyDetector {
    #[inline]
    fn update(&mut self, x: f64) -> Verdict {
        match self {
            Self::Cusum(cusum) => cusum.update(x),
            Self::Ks(ks) => ks.update(x),
        }
    }

    fn statistic(&self) -> f64 {
        match self {
            Self::Cusum(cusum) => cusum.statistic(),
            Self::Ks(ks) => ks.statistic(),
        }
    }

    fn threshold(&self) -> f64 {
        match self {
            Self::Cusum(cusum) => cusum.threshold(),
            Self::Ks(ks) => ks.threshold(),
        }
    }

    fn reset(&mut self) {
        match self {
            Self::Cusum(cusum) => cusum.reset(),
            Self::Ks(ks) => ks.reset(),
        }
    }
}

impl WatchConfig {
    /// Whether it looks at scores of the signal instead of its values.
    pub fn is_scored(&self) -> bool {
        !matches!(self.detector, DetectorConfig::Cusum { reference: Reference::Errors, .. })
    }

    /// A detector whose reference are these scores of its signal, or errors.
    ///
    /// # Errors
    /// If an option is out of range, a score is not finite, an error neither 0 nor 1, or there are none.
    ///
    /// ```
    /// use monitor::{Detector, DetectorConfig, Reference, Side, WatchConfig};
    ///
    /// let detector = DetectorConfig::Cusum { side: Side::Up, allowance: 0.5, reference: Reference::Errors };
    /// let config = WatchConfig { signal: 0, share: 1.0, detector };
    /// let mut watch = config.fit(&[0.0, 1.0, 0.0, 0.0], 4.0)?;
    /// let alarm = (0..10).find(|_| watch.detector.update(1.0).is_alarm());
    /// assert_eq!(alarm, Some(3));
    /// # Ok::<(), monitor::Error>(())
    /// ```
    pub fn fit(&self, reference: &[f64], threshold: f64) -> Result<Watch, Error> {
        let signal = self.signal;
        let detector = match self.detector {
            DetectorConfig::Ks { window } => {
                AnyDetector::Ks(KsWindow::new(reference, window, threshold)?)
            }
            DetectorConfig::Cusum { side, allowance, reference: kind } => {
                let (mean, deviation) = match kind {
                    Reference::Scores => (0.0, 1.0),
                    Reference::Errors => of_errors(signal, reference)?,
                };
                AnyDetector::Cusum(Cusum::new(mean, deviation, side, allowance, threshold)?)
            }
        };
        Ok(Watch { signal, scored: self.is_scored(), detector })
    }
}

fn of_errors(signal: usize, values: &[f64]) -> Result<(f64, f64), Error> {
    #[expect(clippy::float_cmp, reason = "an error bit is exactly 0 or 1")]
    if let Some(&found) = values.iter().find(|&&x| x != 0.0 && x != 1.0) {
        return Err(Error::NotBits { signal, found });
    }
    let p = (values.iter().sum::<f64>() + 0.5) / (values.len() as f64 + 1.0);
    Ok((p, (p * (1.0 - p)).sqrt()))
}
