//! Optimizers, learning-rate schedules and gradient transforms over plain slices.
#![doc = include_str!("../README.md")]

mod error;
mod optimizer;
mod state;

mod lanes;
mod rule;
mod slot;
mod step;

mod fused;
mod memory;
mod parts;
mod pass;
mod slices;
mod threads;

mod checks;
mod decay;
mod moments;

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

mod config;

mod group;
mod group_config;
mod groups;
mod pattern;

mod plateau;
mod schedule;

mod accumulate;
mod clip;
mod federated;
mod guard;
mod private;

#[cfg(feature = "serde")]
mod bits;

pub use accumulate::Accumulator;
pub use adagrad::{Adagrad, AdagradConfig};
pub use adam::{Adam, AdamConfig};
pub use adamw::{AdamW, AdamWConfig};
pub use amsgrad::{AmsGrad, AmsGradConfig};
pub use clip::{clip_by_global_norm, clip_by_value, global_norm};
pub use config::OptimizerConfig;
pub use decay::DecayKind;
pub use error::Error;
pub use federated::{
    control_variate, control_variate_update, dynamic_regularizer, dynamic_regularizer_update,
    proximal,
};
pub use fused::Fused;
pub use group_config::GroupConfig;
pub use groups::ParamGroups;
pub use guard::Guard;
pub use lamb::{Lamb, LambConfig};
pub use lanes::Lanes;
pub use lion::{Lion, LionConfig};
pub use nadam::{NAdam, NAdamConfig};
pub use optimizer::Optimizer;
pub use pattern::Pattern;
pub use plateau::{Plateau, PlateauConfig};
pub use private::{PrivateConfig, PrivateSum};
pub use pulp::Simd;
pub use radam::{RAdam, RAdamConfig};
pub use rmsprop::{RmsProp, RmsPropConfig};
pub use rule::{Kept, Rule};
pub use schedule::{Anneal, Schedule};
pub use schedule_free::{ScheduleFreeAdamW, ScheduleFreeAdamWConfig};
pub use sgd::{Sgd, SgdConfig};
pub use slot::Slot;
pub use state::State;
pub use step::Step;
pub use yogi::{Yogi, YogiConfig};
