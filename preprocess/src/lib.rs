//! Clean, resample, scale, reduce and window multichannel sensor series.
#![doc = include_str!("../README.md")]

mod align;
mod cap;
mod chain;
mod clock;
mod config;
mod dispatch;
mod each_value;
mod error;
mod known;
mod on_channels;
mod pipeline;
mod polyphase;
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

pub use align::{AlignClock, AlignSource, Aligner, align};
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
    Between, ClipQuantile, Decimate, Difference, FittedClipQuantile, FittedImpute, FittedKind,
    FittedMinMax, FittedRobustScale, FittedZScore, FrameRate, Grid, Impute, ImputeMethod, Log1p,
    MinMax, Resample, RobustScale, STEP_NAMES, StepKind, WindowMethod, WindowNormalize, ZScore,
};
pub use streamer::Streamer;
pub use tensors::Tensor;
pub use window::{Tail, Windowing};
