#![doc = include_str!("../README.md")]

mod campaign;
mod edit;
mod reshape;

pub use campaign::Campaign;
