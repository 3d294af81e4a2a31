//! Optimizers, learning-rate schedules and gradient transforms over plain slices.
#![doc = include_str!("../README.md")]

mod optimizer;

mod adagrad;
mod adam;
mod adamw;
mod amsgrad;
mod lamb;
mod lion;
mod nadam;
mod radam;
mod rmsprop;
mod schedule_free;
mod sgd;
mod yogi;

mod fused;
mod lanes;
mod memory;
mod moments;
mod parts;
mod slices;

mod groups;
mod plateau;
mod schedule;

mod accumulate;
mod clip;
mod federated;
mod guard;
mod private;

mod error;
mod state;

pub use accumulate::Accumulator;
pub use adagrad::{Adagrad, AdagradConfig};
pub use adam::{Adam, AdamConfig};
pub use adamw::{AdamW, AdamWConfig};
pub use amsgrad::{AmsGrad, AmsGradConfig};
pub use clip::{clip_by_global_norm, clip_by_value, global_norm};
pub use error::Error;
pub use federated::{
    add_weight_decay, control_variate, control_variate_update, dynamic_regularizer,
    dynamic_regularizer_update, proximal,
};
pub use fused::Fused;
pub use groups::{GroupConfig, ParamGroups};
pub use guard::Guard;
pub use lamb::{Lamb, LambConfig};
pub use lion::{Lion, LionConfig};
pub use moments::DecayKind;
pub use nadam::{NAdam, NAdamConfig};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use plateau::{Plateau, PlateauConfig};
pub use private::{PrivateConfig, PrivateSum};
pub use radam::{RAdam, RAdamConfig};
pub use rmsprop::{RmsProp, RmsPropConfig};
pub use schedule::{Anneal, Schedule};
pub use schedule_free::{ScheduleFreeAdamW, ScheduleFreeAdamWConfig};
pub use sgd::{Sgd, SgdConfig};
pub use state::State;
pub use yogi::{Yogi, YogiConfig};
