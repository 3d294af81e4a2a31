//! Rounds: nodes that train, a center that merges.

mod arm;
mod attack;
mod file_names;
mod fit;
mod measure;
mod merge;
mod merged_meta;
mod node_fit;
mod recipe;
mod run_folder;
mod schema;
mod simulate;
mod strategy;
mod update_file;

pub use arm::{Arm, Attackers};
pub use attack::Attack;
pub use fit::fit_across;
pub use merge::{Merge, Merged, Refused, merge};
pub use node_fit::NodeFit;
pub use run_folder::RunFolder;
pub use simulate::{ArmReport, Round, RoundProgress, arm_files, simulate_arm};
pub use strategy::Strategy;
pub use update_file::merge_note;
