//! The checkpoint: one safetensors file with the weights and, as JSON under the metadata key
//! `edgectl`, all that a node needs besides its own data.

mod fresh;
mod meta;
mod model;
mod named;
mod node_values;
mod note;
mod provenance;
mod stats_file;
mod unknown;

pub use meta::{FORMAT, METADATA_KEY, Meta};
pub use model::Checkpoint;
pub use named::{no_such_model, open_model};
pub use node_values::{NodeStep, NodeValues, stand_in};
pub use note::{AdaptersNote, CappedNote, ChangeNote, MergeNote, PrivacyNote, UpdateNote};
pub use provenance::Provenance;
pub use stats_file::{STATS_KEY, StatsFile};
