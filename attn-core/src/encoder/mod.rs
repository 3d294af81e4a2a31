//! The encoder: patch embedding, pre-norm blocks, pooling, head; forward and backward.

mod answers;
mod backward;
mod batch;
mod drops;
mod embed;
mod forward;
mod gradient;
mod head;
mod init;
mod lanes;
mod layers;
mod looked_at;
mod model;
mod relevance;
mod sinusoid;
mod workspace;

pub(crate) use sinusoid::sinusoid;
pub(crate) use workspace::attn_dims;

pub use answers::Outputs;
pub use batch::Batch;
pub use model::Encoder;
pub use workspace::Workspace;
