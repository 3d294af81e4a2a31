//! Training: windows in, better weights out; interruptible, and resumable to the same bytes.

mod calibration;
mod cross_validation;
mod drift;
mod fit;
mod gradient;
mod node;
mod node_windows;
mod options;
mod private;
mod progress;
mod range_test;
mod rates;
mod report;
mod seeds;
mod split;
mod state;
mod step;

pub use calibration::Calibration;
pub use cross_validation::{CrossValidation, Fold, cross_validate, train_fold};
pub use drift::{Variate, variate_path};
pub use node::{train, train_together};
pub use node_windows::NodeWindows;
pub use options::TrainOptions;
pub use private::key_path;
pub use progress::{Epoch, Progress, Silent};
pub use range_test::RangeTest;
pub use report::{PrivateReport, TrainReport, loss_rose};
pub use split::{HeldOut, Split, split_validation};
pub use state::state_path;
