//! What the `edgectl` command does: data, jobs, checkpoints, training, rounds.
//!
//! Everything a subcommand does is here as a function that returns values; [`output`] alone prints.
#![doc = include_str!("../README.md")]

pub mod adapting;
pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod data;
pub mod diverged;
pub mod evaluate;
pub mod explain;
pub mod federation;
#[cfg(feature = "store")]
pub mod fleet;
pub mod interrupt;
pub mod job;
pub mod lines;
pub mod live;
pub mod metrics;
pub mod models;
pub mod nearest;
pub mod outcome;
pub mod output;
pub mod padding;
mod plot;
pub mod run;
pub mod signals;
pub mod system;
pub mod training;
pub mod tuning;
mod typed;
pub mod windows;
