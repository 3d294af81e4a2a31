//! Impute, scale and window multichannel sensor series.
#![doc = include_str!("../README.md")]

mod config;
mod error;
mod fitted;
mod interpolate;
mod normalize;
mod pipeline;
mod row;
mod stats;
mod streamer;
mod window;

pub use config::{ImputeMethod, StepConfig, WindowMethod};
pub use error::Error;
pub use fitted::FittedStep;
pub use pipeline::Pipeline;
pub use streamer::Streamer;
pub use window::{Tail, Windowing};
