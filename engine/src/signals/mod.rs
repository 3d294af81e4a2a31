//! What is watched of a model at work: signals of each window, and what is usual of them.

mod input;
mod profile;
mod watches;

pub use input::{InputReference, Statistics};
pub use profile::{CONFIDENCE, ERROR, FIRST, INPUT, NAMES, Profile};
pub use watches::watches;
