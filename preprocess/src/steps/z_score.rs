//! `(x − mean)/std` of the training rows.

use serde::{Deserialize, Serialize};

use crate::error::{check_finite, check_positive};
use crate::scale::{Line, Scaling};
use crate::spec::{Fitted, Spec};
use crate::stats::{Needs, Stats, scale_or_one};
use crate::{Error, Stage, Step};

/// `(x − mean)/std` of the training rows, the standard deviation over `n`, as scikit-learn's
/// `StandardScaler`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZScore {}

/// A fitted [`ZScore`].
///
/// A channel that did not vary in training has no scale of its own: its `std` is 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedZScore {
    /// Mean of each channel.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, above 0.
    pub std: Vec<f64>,
}

const NAME: &str = "z-score";

impl Spec for ZScore {
    type Fitted = FittedZScore;

    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        Ok(input.clone())
    }

    fn needs(&self) -> Needs {
        Needs::Moments
    }

    fn fit(&self, input: &Stage, stats: &Stats) -> Result<FittedZScore, Error> {
        let pairs = stats.per_channel(input, NAME, |s| (s.mean, scale_or_one(s.std())))?;
        let (mean, std) = pairs.into_iter().unzip();
        Ok(FittedZScore { mean, std })
    }
}

impl Fitted for FittedZScore {
    type Spec = ZScore;

    fn spec(&self) -> ZScore {
        ZScore {}
    }

    fn check(&self, input: &Stage) -> Result<(), Error> {
        check_finite(NAME, "mean", &self.mean, input)?;
        check_positive(NAME, "std", &self.std, input)
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        Scaling::boxed(&Line::plain(&self.mean, &self.std), input)
    }

    fn lines(&self) -> Option<Vec<Line>> {
        Some(Line::plain(&self.mean, &self.std))
    }
}
