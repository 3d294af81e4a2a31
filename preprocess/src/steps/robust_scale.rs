//! `(x − median)/(q75 − q25)` of the training rows.

use serde::{Deserialize, Serialize};

use crate::error::{check_finite, check_positive};
use crate::scale::{Line, Scaling};
use crate::spec::{Fitted, Spec};
use crate::stats::{Needs, Stats, scale_or_one};
use crate::{Error, Stage, Step};

/// `(x − median)/(q75 − q25)` of the training rows, quantiles linear between neighbours, as
/// scikit-learn's `RobustScaler`: like a z-score, and blind to outliers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RobustScale {}

/// A fitted [`RobustScale`].
///
/// A channel that did not vary in training has no scale of its own: its `iqr` is 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedRobustScale {
    /// Median of each channel.
    pub median: Vec<f64>,
    /// Interquartile range of each channel, above 0.
    pub iqr: Vec<f64>,
}

const NAME: &str = "robust-scale";

impl Spec for RobustScale {
    type Fitted = FittedRobustScale;

    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        Ok(input.clone())
    }

    fn needs(&self) -> Needs {
        Needs::Quantiles
    }

    fn fit(&self, input: &Stage, stats: &Stats) -> Result<FittedRobustScale, Error> {
        let pairs = stats.per_channel(input, NAME, |s| {
            (s.quantile(0.5), scale_or_one(s.quantile(0.75) - s.quantile(0.25)))
        })?;
        let (median, iqr) = pairs.into_iter().unzip();
        Ok(FittedRobustScale { median, iqr })
    }
}

impl Fitted for FittedRobustScale {
    type Spec = RobustScale;

    fn spec(&self) -> RobustScale {
        RobustScale {}
    }

    fn check(&self, input: &Stage) -> Result<(), Error> {
        check_finite(NAME, "median", &self.median, input)?;
        check_positive(NAME, "iqr", &self.iqr, input)
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        Scaling::boxed(&Line::plain(&self.median, &self.iqr), input)
    }

    fn lines(&self) -> Option<Vec<Line>> {
        Some(Line::plain(&self.median, &self.iqr))
    }
}
