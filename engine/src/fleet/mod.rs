//! Rounds between machines: a center and nodes that meet in a store.

mod center;
mod clock;
mod collect;
mod node;
mod sound;
mod standing;

pub use center::{CenterOptions, CenterProgress, Measure, check_roster, run_center};
pub use clock::{now_ms, pause};
pub use node::{Member, NodeOptions, NodeProgress, NodeReport, Reader, run_nodes};
