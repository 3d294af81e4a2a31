//! Merge safetensors weight files: streamed, checked, order-independent.
#![doc = include_str!("../README.md")]

mod accountant;
mod admit;
mod atomic;
mod dtype;
mod error;
mod header;
mod mean;
mod merge;
mod options;
mod problem;
mod read;
mod reducer;
mod reject;
mod report;
mod server_step;
mod source;
mod state;
mod tensor;
mod write;

pub use accountant::{Accountant, AccountantError, adaptive_noise_multiplier, next_clip};
pub use admit::Update;
pub use atomic::atomic_write;
pub use error::Error;
pub use merge::aggregate;
pub use options::{OnRejection, Options};
pub use problem::FormatProblem;
pub use read::{WeightFile, hash_file};
pub use reducer::Reducer;
pub use reject::{Reason, Rejected};
pub use report::{Admitted, Report, Summary};
pub use safetensors::Dtype;
pub use server_step::ServerStep;
pub use tensor::TensorInfo;
pub use write::{TensorData, TensorRef, write_file};
