//! Clean, resample, scale, reduce and window multichannel sensor series.
#![doc = include_str!("../README.md")]

mod align;
mod around;
pub mod augment;
mod cap;
mod chain;
mod channel_stats;
mod clock;
mod config;
mod covariance;
mod dispatch;
mod each_value;
mod error;
mod known;
mod moments;
mod node_rounds;
mod on_channels;
mod order;
mod order_filter;
mod per_node;
mod per_window;
mod picture;
mod pipeline;
mod polynomial;
mod polyphase;
mod projection;
mod quantiles;
mod random;
mod rounds;
mod row_map;
mod rows;
mod scale;
mod scope;
mod sos;
mod spec;
mod stage;
mod statistics;
mod stats;
mod step;
mod steps;
mod stft;
mod streamer;
mod tensors;
mod two_sum;
mod window;

pub use align::{AlignClock, AlignSource, Aligner, align};
pub use config::{FitBy, FittedStep, StepConfig};
pub use error::Error;
pub use per_window::WindowScale;
pub use pipeline::Pipeline;
pub use rounds::Rounds;
pub use rows::{Rows, RowsRef};
pub use scope::Scope;
pub use sos::{Band, Section, Sos, SosFilter};
pub use stage::Stage;
pub use statistics::{Capped, MAX_WEIGHT, Statistics};
pub use step::{Latency, Step};
pub use steps::{
    Background, BandPower, Between, Butterworth, ClipQuantile, Crop, Decimate, Difference,
    Exponential, FittedClipQuantile, FittedImpute, FittedKind, FittedMinMax, FittedPca,
    FittedRobustScale, FittedZScore, FrameDifference, FrameRate, Grey, Grid, Hampel, Impute,
    ImputeMethod, Log1p, Median, MinMax, MovingAverage, Notch, Pca, RandomProjection, Resample,
    Resize, RobustScale, STEP_NAMES, SavitzkyGolay, Spectrogram, SpectrumScale, StepKind,
    Threshold, Unfitted, Wavelet, WaveletKind, WindowMethod, WindowNormalize, ZScore,
};
pub use stft::SpectrumWindow;
pub use streamer::Streamer;
pub use tensors::Tensor;
pub use window::{Tail, Windowing};
