//! Clean, resample, scale, reduce and window multichannel sensor series.
#![doc = include_str!("../README.md")]

pub mod augment;
mod cap;
mod chain;
mod config;
mod covariance;
mod dispatch;
mod error;
mod known;
mod on_channels;
mod picture;
mod pipeline;
mod projection;
mod quantiles;
mod random;
mod rounds;
mod row_map;
mod rows;
mod scale;
mod spec;
mod stage;
mod statistics;
mod stats;
mod step;
mod steps;
mod stft;
mod streamer;
mod tensors;
mod window;

pub use config::{FittedStep, StepConfig};
pub use error::Error;
pub use pipeline::{Pipeline, WindowScale};
pub use rounds::Rounds;
pub use rows::{Rows, RowsRef};
pub use stage::Stage;
pub use statistics::{Capped, MAX_WEIGHT, Scope, Statistics};
pub use step::{Latency, Step};
pub use steps::{
    Background, BandPower, Crop, FittedImpute, FittedKind, FittedMinMax, FittedPca,
    FittedRobustScale, FittedZScore, FrameDifference, Grey, Impute, ImputeMethod, MinMax, Pca,
    RandomProjection, Resize, RobustScale, STEP_NAMES, Spectrogram, SpectrumScale, StepKind,
    WindowMethod, WindowNormalize, ZScore,
};
pub use stft::SpectrumWindow;
pub use streamer::Streamer;
pub use tensors::Tensor;
pub use window::{Tail, Windowing};
