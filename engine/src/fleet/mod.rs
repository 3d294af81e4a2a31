//! Rounds between machines: a center and nodes that meet in a store.

mod bases;
mod center;
mod clock;
mod collect;
mod deploy;
mod doubt;
mod flight;
mod member;
mod node;
mod sound;
mod standing;
mod turn;

pub use center::{CenterOptions, CenterProgress, Measure, check_roster, run_center};
pub use clock::{now_ms, pause};
pub use member::{Member, NodeOptions, NodeProgress, Reader};
pub use node::{NodeReport, run_nodes};
