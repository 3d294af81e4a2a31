//! The library behind the `edgectl` command: data, jobs, checkpoints, training, rounds.
//!
//! It hands on the crate [`engine`], where everything a subcommand does is a function that returns
//! values; [`output`] alone prints.
#![doc = include_str!("../README.md")]

#[doc(inline)]
pub use engine::*;
