//! Clean, resample, scale, reduce and window multichannel sensor series.
#![doc = include_str!("../README.md")]

mod around;
mod cap;
mod chain;
mod config;
mod dispatch;
mod error;
mod known;
mod on_channels;
mod order;
mod order_filter;
mod pipeline;
mod polynomial;
mod quantiles;
mod rounds;
mod rows;
mod scale;
mod sos;
mod spec;
mod stage;
mod statistics;
mod stats;
mod step;
mod steps;
mod streamer;
mod tensors;
mod window;

pub use config::{FittedStep, StepConfig};
pub use error::Error;
pub use pipeline::{Pipeline, WindowScale};
pub use rounds::Rounds;
pub use rows::{Rows, RowsRef};
pub use sos::{Band, Section, Sos, SosFilter};
pub use stage::Stage;
pub use statistics::{Capped, MAX_WEIGHT, Scope, Statistics};
pub use step::{Latency, Step};
pub use steps::{
    Butterworth, Exponential, FittedImpute, FittedKind, FittedMinMax, FittedRobustScale,
    FittedZScore, Hampel, Impute, ImputeMethod, Median, MinMax, MovingAverage, Notch, RobustScale,
    STEP_NAMES, SavitzkyGolay, StepKind, Threshold, Wavelet, WaveletKind, WindowMethod,
    WindowNormalize, ZScore,
};
pub use streamer::Streamer;
pub use tensors::Tensor;
pub use window::{Tail, Windowing};
