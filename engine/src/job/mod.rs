//! A job as it was written, and settings of a run beside it: one file a section.

mod adapt;
mod augment;
mod epochs;
mod federation;
mod file;
mod live;
mod model;
mod private;
mod rate;
mod text;
mod train;
mod validation;
mod window;

pub use adapt::{AdaptSettings, When};
pub use augment::AugmentConfig;
pub use epochs::Epochs;
pub use federation::{FederationConfig, FitOn};
pub use file::Job;
pub use live::{Abstain, Gap, Keep, Late, Priority, RunSettings, Settings, Time};
pub use model::ModelConfig;
pub use private::PrivateTraining;
pub use rate::LearningRate;
pub(crate) use text::json as json_of;
pub use train::{ClassWeights, TrainConfig};
pub use validation::{Kept, ValidationBy, ValidationConfig};
pub use window::{WindowConfig, WindowLabel};
