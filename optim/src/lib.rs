//! Optimizers, learning-rate schedules and gradient clipping over plain slices.
#![doc = include_str!("../README.md")]

mod adam;
mod adamw;
mod clip;
mod error;
mod moments;
mod optimizer;
mod schedule;
mod sgd;
mod state;

pub use adam::{Adam, AdamConfig};
pub use adamw::{AdamW, AdamWConfig};
pub use clip::{clip_by_global_norm, global_norm};
pub use error::Error;
pub use optimizer::{Optimizer, OptimizerConfig};
pub use schedule::Schedule;
pub use sgd::{Sgd, SgdConfig};
pub use state::State;
