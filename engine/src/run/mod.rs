//! From what was asked for to what runs: overrides, then one check, then nothing changes any more.

mod baseline;
mod checked;
mod node_side;
mod sections;

pub use checked::{Run, Schema};
pub use node_side::{FromCenter, NodeSide};
