//! The list of all steps, one file each: it drives configuration files, storage and tests.

mod butterworth;
mod exponential;
mod hampel;
mod impute;
mod median;
mod min_max;
mod moving_average;
mod notch;
mod robust_scale;
mod savitzky_golay;
mod wavelet;
mod window_normalize;
mod z_score;

pub use butterworth::Butterworth;
pub use exponential::Exponential;
pub use hampel::Hampel;
pub use impute::{FittedImpute, Impute, ImputeMethod};
pub use median::Median;
pub use min_max::{FittedMinMax, MinMax};
pub use moving_average::MovingAverage;
pub use notch::Notch;
pub use robust_scale::{FittedRobustScale, RobustScale};
pub use savitzky_golay::SavitzkyGolay;
pub use wavelet::{Threshold, Wavelet, WaveletKind};
pub(crate) use window_normalize::normalize;
pub use window_normalize::{WindowMethod, WindowNormalize};
pub use z_score::{FittedZScore, ZScore};

use serde::{Deserialize, Serialize};

use crate::scale::Line;
use crate::spec::{Fitted, Spec};
use crate::stats::{Needs, Stats};
use crate::{Error, Stage, Step};

/// Makes the enums of all steps and hands every question on to the step's file.
macro_rules! steps {
    ($($(#[$doc:meta])* $name:literal => $kind:ident, $fitted:ident;)*) => {
        /// A kind of step with its options: tagged by `step`, unknown keys are errors.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "step")]
        pub enum StepKind {
            $($(#[$doc])* #[serde(rename = $name)] $kind($kind),)*
        }

        /// A kind of step with its options and parameters, as it is stored.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "step")]
        pub enum FittedKind {
            $($(#[$doc])* #[serde(rename = $name)] $kind($fitted),)*
        }

        /// What all kinds of steps are called in a configuration file.
        pub const STEP_NAMES: &[&str] = &[$($name),*];

        impl StepKind {
            /// What it is called in a configuration file.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$kind(_) => $name,)* }
            }

            /// Checks the options against what comes in, and says what goes out.
            ///
            /// # Errors
            /// If an option is out of range, or needs a rate that is not known.
            pub fn plan(&self, input: &Stage) -> Result<Stage, Error> {
                match self { $(Self::$kind(spec) => Spec::plan(spec, input),)* }
            }

            pub(crate) fn keeps_rows(&self) -> bool {
                match self { $(Self::$kind(spec) => Spec::keeps_rows(spec),)* }
            }

            pub(crate) fn on_a_stream(&self) -> &'static str {
                match self { $(Self::$kind(spec) => Spec::on_a_stream(spec),)* }
            }

            pub(crate) fn needs(&self) -> Needs {
                match self { $(Self::$kind(spec) => spec.needs(),)* }
            }

            pub(crate) fn fit(&self, input: &Stage, stats: &Stats) -> Result<FittedKind, Error> {
                Ok(match self {
                    $(Self::$kind(spec) => FittedKind::$kind(spec.fit(input, stats)?),)*
                })
            }
        }

        impl FittedKind {
            /// The step without its parameters.
            pub fn kind(&self) -> StepKind {
                match self { $(Self::$kind(fitted) => StepKind::$kind(fitted.spec()),)* }
            }

            pub(crate) fn check(&self, input: &Stage) -> Result<(), Error> {
                match self { $(Self::$kind(fitted) => fitted.check(input),)* }
            }

            pub(crate) fn start(&self, input: &Stage) -> Box<dyn Step> {
                match self { $(Self::$kind(fitted) => Fitted::start(fitted, input),)* }
            }

            pub(crate) fn lines(&self) -> Option<Vec<Line>> {
                match self { $(Self::$kind(fitted) => fitted.lines(),)* }
            }
        }

        $(impl From<$kind> for StepKind {
            fn from(spec: $kind) -> Self {
                Self::$kind(spec)
            }
        })*
    };
}

steps! {
    /// Fills missing values.
    "impute" => Impute, FittedImpute;
    /// The mean of the last rows.
    "moving-average" => MovingAverage, MovingAverage;
    /// Exponential smoothing.
    "exponential" => Exponential, Exponential;
    /// The median of the rows around each.
    "median" => Median, Median;
    /// Outliers are replaced by the median of the rows around them.
    "hampel" => Hampel, Hampel;
    /// A polynomial through the rows around each.
    "savitzky-golay" => SavitzkyGolay, SavitzkyGolay;
    /// Frequencies pass or not.
    "butterworth" => Butterworth, Butterworth;
    /// One frequency is taken out.
    "notch" => Notch, Notch;
    /// Noise is taken out of wavelet coefficients.
    "wavelet" => Wavelet, Wavelet;
    /// `(x − mean)/std` of the training rows.
    "z-score" => ZScore, FittedZScore;
    /// `low + (high − low)·(x − min)/(max − min)` of the training rows.
    "min-max" => MinMax, FittedMinMax;
    /// `(x − median)/(q75 − q25)` of the training rows.
    "robust-scale" => RobustScale, FittedRobustScale;
    /// Normalizes each channel of each window by the window's own values.
    "window-normalize" => WindowNormalize, WindowNormalize;
}

impl StepKind {
    /// Whether the step works on windows, not on rows.
    pub fn is_per_window(&self) -> bool {
        matches!(self, Self::WindowNormalize(_))
    }
}
