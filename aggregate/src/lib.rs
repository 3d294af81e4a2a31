//! Merge safetensors weight files: streamed, checked, order-independent.
#![doc = include_str!("../README.md")]

mod merge;
mod slices;

mod attempt;
mod far;
mod merge_block;
mod outputs;
mod run;
mod summary;
mod totals;

mod limit;
mod options;
mod quorum;
pub mod reducers;
mod rules;
mod server_step;
mod spelling;

mod admit;
mod agree;
mod base;
mod check;
mod claims;
mod input;
mod layout;
mod layouts;
mod names;
mod patterns;
mod reject;
mod report;
mod update;

mod basis;
mod blocks;
mod cohort;
mod columns;
mod gram;
mod kernels;
mod lost;
mod magnitudes;
mod median;
mod message;
mod mover;
mod pages;
mod plan;
mod reduce;
mod rows;
mod sparse;
mod sphere;
mod stack;
mod stack_rules;
mod state;

mod decode;
mod difference;
mod encode;
mod memory_file;
mod precision;
mod quantize;
mod residual;

#[cfg(feature = "privacy")]
mod accountant;
mod privacy;
#[cfg(feature = "privacy")]
mod private_round;
#[cfg(not(feature = "privacy"))]
#[path = "no_private_round.rs"]
mod private_round;

mod adapter_config;
mod adapters;
mod advice;
mod atomic;
mod carry;
mod dispatch;
mod dtype;
mod factor_names;
mod factors;
mod float_dtype;
mod header;
mod model_writer;
mod problem;
mod read;
mod running_hash;
mod shards;
mod sidecar;
mod sink;
mod source;
mod spent;
mod spool;
mod target;
mod target_error;
mod targets;
mod tensor;
mod tensor_writer;
mod write;

mod error;
mod fault;

#[cfg(feature = "privacy")]
pub use accountant::{Accountant, adaptive_noise_multiplier, next_clip};
pub use adapters::{Adapters, AdaptersFound};
pub use atomic::{Abandoned, abandon_pending, atomic_stream, atomic_write};
pub use claims::{Claim, cap_weights};
pub use difference::{DIFFERENCE_KEY, Differences};
pub use error::Error;
pub use factor_names::AdapterKind;
pub use float_dtype::FloatDtype;
pub use layouts::Layouts;
pub use limit::Limit;
pub use merge::{Merged, aggregate, aggregate_in_memory};
pub use options::Options;
pub use patterns::Patterns;
pub use precision::Precision;
pub use privacy::{AdaptiveClip, Privacy, PrivacyReport};
pub use problem::FormatProblem;
pub use quorum::Quorum;
pub use read::{WeightFile, hash_file};
pub use reducers::{Reducer, nova_steps};
pub use reject::{Reason, Rejected};
pub use report::{Admitted, Change, Report, Summary};
pub use residual::{RESIDUAL, Residual};
pub use rules::{CONTROL_PREFIX, Correction, Rules, Tolerance, Weights};
pub use safetensors::Dtype;
pub use server_step::ServerStep;
pub use sidecar::Sidecar;
pub use slices::merge_slices;
pub use spent::Spent;
pub use spool::Spool;
pub use stack::StackedAdapters;
pub use state::SERVER_STATE;
pub use target::Target;
pub use target_error::TargetError;
pub use targets::Targets;
pub use tensor::TensorInfo;
pub use update::{MAX_OPEN_FILES, Update};
pub use write::{TensorData, TensorRef, weight_file, write_file};
