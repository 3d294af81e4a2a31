//! Training: windows in, better weights out; interruptible, and resumable to the same bytes.

mod fit;
mod gradient;
mod node;
mod options;
mod private;
mod progress;
mod range_test;
mod report;
mod seeds;
mod split;
mod state;
mod step;
mod variate;

pub use node::train;
pub use options::TrainOptions;
pub use progress::{Epoch, Progress, Silent};
pub use range_test::RangeTest;
pub use report::{PrivateReport, TrainReport};
pub use split::split_validation;
pub use state::state_path;
pub use variate::variate_path;
