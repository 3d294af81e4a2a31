//! `low + (high − low)·(x − min)/(max − min)` of the training rows.

use serde::{Deserialize, Serialize};

use crate::error::{check_finite, check_option};
use crate::scale::{Line, Scaling};
use crate::spec::{Fitted, Spec};
use crate::stats::{Needs, Stats};
use crate::{Error, Stage, Step};

/// `low + (high − low)·(x − min)/(max − min)` of the training rows, as scikit-learn's
/// `MinMaxScaler`; later values may leave the range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinMax {
    /// Where the smallest training value goes.
    #[serde(default)]
    pub low: f64,
    /// Where the largest training value goes, above `low`.
    #[serde(default = "one")]
    pub high: f64,
}

impl Default for MinMax {
    fn default() -> Self {
        Self { low: 0.0, high: 1.0 }
    }
}

/// The largest number of a range: values are f32 at last.
const MOST: f64 = f32::MAX as f64;

/// A fitted [`MinMax`].
///
/// A channel that did not vary in training has `max` equal to `min`: its values are moved to `low` and
/// not stretched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedMinMax {
    /// Where `min` goes.
    pub low: f64,
    /// Where `max` goes.
    pub high: f64,
    /// Smallest value of each channel.
    pub min: Vec<f64>,
    /// Largest value of each channel.
    pub max: Vec<f64>,
}

const NAME: &str = "min-max";

fn one() -> f64 {
    1.0
}

impl Spec for MinMax {
    type Fitted = FittedMinMax;

    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let Self { low, high } = *self;
        check_option(NAME, "low", low, low.abs() <= MOST, "a finite number that f32 holds")?;
        let above = high <= MOST && high > low;
        check_option(NAME, "high", high, above, "a finite number above low")?;
        Ok(input.clone())
    }

    fn needs(&self) -> Needs {
        Needs::Moments
    }

    fn fit(&self, input: &Stage, stats: &Stats) -> Result<FittedMinMax, Error> {
        let (min, max) = stats.per_channel(input, NAME, |s| (s.min, s.max))?.into_iter().unzip();
        Ok(FittedMinMax { low: self.low, high: self.high, min, max })
    }
}

impl Fitted for FittedMinMax {
    type Spec = MinMax;

    fn spec(&self) -> MinMax {
        MinMax { low: self.low, high: self.high }
    }

    fn check(&self, input: &Stage) -> Result<(), Error> {
        self.spec().plan(input)?;
        check_finite(NAME, "min", &self.min, input)?;
        check_finite(NAME, "max", &self.max, input)?;
        match self.min.iter().zip(&self.max).position(|(min, max)| min > max) {
            None => Ok(()),
            Some(channel) => Err(Error::ParameterValue {
                step: NAME,
                parameter: "max",
                channel: input.names[channel].clone(),
                found: self.max[channel],
                expected: "at least min",
            }),
        }
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        Scaling::boxed(&self.to_lines(), input)
    }

    fn lines(&self) -> Option<Vec<Line>> {
        Some(self.to_lines())
    }
}

impl FittedMinMax {
    fn to_lines(&self) -> Vec<Line> {
        let (low, span) = (self.low, self.high - self.low);
        let line = |(&min, &max): (&f64, &f64)| {
            // The range of a channel that never varied divides by nothing.
            let scale = if max > min { max - min } else { 1.0 };
            Line { center: min, scale, span, low }
        };
        self.min.iter().zip(&self.max).map(line).collect()
    }
}
