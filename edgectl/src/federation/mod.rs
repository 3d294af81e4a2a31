//! Rounds: nodes that train, a center that merges.

mod attack;
mod merge;
mod merged_meta;
mod schema;
mod simulate;
mod strategy;
mod update_file;

pub use attack::Attack;
pub use merge::{Merge, Merged, Refused, merge};
pub use simulate::{Arm, ArmReport, Attackers, Round, RoundProgress, simulate_arm};
pub use strategy::Strategy;
