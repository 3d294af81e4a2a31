//! Rounds between machines: centers, regions and nodes that meet in stores.

mod bases;
mod center;
mod clock;
mod collect;
mod composes;
mod deploy;
mod doubt;
mod ear;
mod flight;
mod member;
mod merged;
mod node;
mod parent;
mod region;
mod region_turn;
mod roster;
mod sound;
mod standing;
mod turn;

pub use center::{CenterOptions, CenterProgress, run_center};
pub use clock::{now_ms, pause};
pub use ear::RegionProgress;
pub use member::{Member, NodeOptions, NodeProgress, Reader};
pub use merged::Measure;
pub use node::{NodeReport, run_nodes};
pub use parent::Parent;
pub use region::{RegionReport, begin_region, run_region};
pub use roster::check_roster;
