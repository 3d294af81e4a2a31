//! The library behind the `edgectl` command: data, jobs, checkpoints, training, rounds.
//!
//! The command trains attention models on a node's own files and merges the nodes' weight files.
//! Everything a subcommand does is here as a function that returns values; [`output`] alone
//! prints.

pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod data;
pub mod federation;
pub mod interrupt;
pub mod job;
pub mod metrics;
pub mod output;
pub mod system;
pub mod training;
pub mod windows;
