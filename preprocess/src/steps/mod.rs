//! The list of all steps, one file each: it drives configuration files, storage and tests.

mod background;
mod band_power;
mod butterworth;
mod clip_quantile;
mod crop;
mod decimate;
mod difference;
mod exponential;
mod frame_difference;
mod frame_rate;
mod grey;
mod grid;
mod hampel;
mod impute;
mod log1p;
mod median;
mod min_max;
mod moving_average;
mod notch;
mod pca;
mod random_projection;
mod resample;
mod resize;
mod robust_scale;
mod savitzky_golay;
mod spectrogram;
mod wavelet;
mod window_normalize;
mod z_score;

pub use background::Background;
pub use band_power::BandPower;
pub use butterworth::Butterworth;
pub use clip_quantile::{ClipQuantile, FittedClipQuantile};
pub use crop::Crop;
pub use decimate::Decimate;
pub use difference::Difference;
pub use exponential::Exponential;
pub use frame_difference::FrameDifference;
pub use frame_rate::FrameRate;
pub use grey::Grey;
pub use grid::{Between, Grid};
pub use hampel::Hampel;
pub use impute::{FittedImpute, Impute, ImputeMethod};
pub use log1p::Log1p;
pub use median::Median;
pub use min_max::{FittedMinMax, MinMax};
pub use moving_average::MovingAverage;
pub use notch::Notch;
pub use pca::{FittedPca, Pca};
pub use random_projection::RandomProjection;
pub use resample::Resample;
pub use resize::Resize;
pub use robust_scale::{FittedRobustScale, RobustScale};
pub use savitzky_golay::SavitzkyGolay;
pub use spectrogram::{Spectrogram, SpectrumScale};
pub use wavelet::{Threshold, Wavelet, WaveletKind};
pub(crate) use window_normalize::normalize;
pub use window_normalize::{WindowMethod, WindowNormalize};
pub use z_score::{FittedZScore, ZScore};

use serde::{Deserialize, Serialize};

use crate::scale::Undo;
use crate::spec::{Fitted, Spec};
use crate::stats::{Needs, Stats};
use crate::{Error, Stage, Step};

/// A step without values, as each node fits it for itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unfitted {
    /// The step.
    pub of: StepKind,
}

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
            /// A step that each node fits for itself, where it has no node's values.
            #[serde(rename = "unfitted")]
            Unfitted(Unfitted),
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
                match self {
                    $(Self::$kind(fitted) => StepKind::$kind(fitted.spec()),)*
                    Self::Unfitted(step) => step.of.clone(),
                }
            }

            pub(crate) fn check(&self, input: &Stage) -> Result<(), Error> {
                match self {
                    $(Self::$kind(fitted) => fitted.check(input),)*
                    Self::Unfitted(step) => step.of.plan(input).map(drop),
                }
            }

            pub(crate) fn start(&self, input: &Stage) -> Box<dyn Step> {
                match self {
                    $(Self::$kind(fitted) => Fitted::start(fitted, input),)*
                    Self::Unfitted(_) => panic!("the step is not fitted: see Pipeline::is_fitted"),
                }
            }

            pub(crate) fn undo(&self, input: &Stage) -> Undo {
                match self {
                    $(Self::$kind(fitted) => Fitted::undo(fitted, input),)*
                    Self::Unfitted(_) => Undo::Impossible,
                }
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
    /// The directions in which the training rows vary most.
    "pca" => Pca, FittedPca;
    /// Random directions, a function of a seed.
    "random-projection" => RandomProjection, RandomProjection;
    /// The spectrum of one short frame after the other.
    "spectrogram" => Spectrogram, Spectrogram;
    /// Power within bands of frequency, frame by frame.
    "band-power" => BandPower, BandPower;
    /// Pictures of three colours become grey.
    "grey" => Grey, Grey;
    /// A part of a picture.
    "crop" => Crop, Crop;
    /// Smaller pictures by the mean over areas.
    "resize" => Resize, Resize;
    /// What changed since the row before.
    "frame-difference" => FrameDifference, FrameDifference;
    /// What stands out from a slowly changing background.
    "background" => Background, Background;
    /// Values beyond quantiles of the training rows are clipped.
    "clip-quantile" => ClipQuantile, FittedClipQuantile;
    /// `sign(x)·ln(1 + |x|)`.
    "log1p" => Log1p, Log1p;
    /// `x[t] − x[t−1]`.
    "difference" => Difference, Difference;
    /// Rows of irregular times are put onto a uniform grid.
    "grid" => Grid, Grid;
    /// Every n-th row is kept, after a filter.
    "decimate" => Decimate, Decimate;
    /// Rows at another rate, by a ratio of whole numbers.
    "resample" => Resample, Resample;
    /// Rows above a rate are dropped.
    "frame-rate" => FrameRate, FrameRate;
    /// Normalizes each channel of each window by the window's own values.
    "window-normalize" => WindowNormalize, WindowNormalize;
}

impl StepKind {
    /// Whether the step works on windows, not on rows.
    pub fn is_per_window(&self) -> bool {
        matches!(self, Self::WindowNormalize(_))
    }
}
