//! Watch a model at work: drift detectors, thresholds, probabilities, prediction sets, replay.
#![doc = include_str!("../README.md")]

mod error;
mod random;

mod detector;

mod adwin;
mod buckets;
mod cusum;
mod ddm;
mod ks_window;
mod page_hinkley;

mod calibrate;
mod passages;
mod scores;
mod settle;
mod watch;

mod conformal;
mod probabilities;
pub mod temperature;

mod attribution;
mod ks;
mod reservoir;
mod sureness;

pub use adwin::{Adwin, AdwinConfig};
pub use attribution::{Cause, Paired};
pub use calibrate::{CalibrateOptions, Calibration, Series, calibrate};
pub use conformal::{AdaptiveLevel, Conformal};
pub use cusum::{Cusum, Side};
pub use ddm::Ddm;
pub use detector::{Detector, LARGEST, Verdict};
pub use error::Error;
pub use ks::{ks_asymptotic_p, ks_exact_p};
pub use ks_window::KsWindow;
pub use page_hinkley::{PageHinkley, PageHinkleyConfig};
pub use probabilities::{argmax, ece, log_softmax, softmax_in_place};
pub use reservoir::{Part, Place, Reservoir, ReservoirConfig};
pub use scores::Scores;
pub use settle::settle;
pub use sureness::{Sureness, Usual};
pub use watch::{AnyDetector, DetectorConfig, Reference, Watch, WatchConfig};
