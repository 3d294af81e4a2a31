//! Damaged files at every reader of the workspace: the loop, the mutations, the corpus.
#![doc = include_str!("../README.md")]

mod campaign;
mod edit;
mod reshape;

pub use campaign::Campaign;
