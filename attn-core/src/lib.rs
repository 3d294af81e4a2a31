//! Transformer encoder for time series: forward, backward, one flat parameter vector.
#![doc = include_str!("../README.md")]

mod attention;
mod config;
mod dims;
mod dropout;
mod encoder;
mod gelu;
mod layer_norm;
mod layout;
mod linear;
mod loss;
mod predict;
pub mod reference;
mod rng;
mod simd;

pub use attention::{
    AttnDropout, AttnOptions, Mask, Rotary, Rows, RowsMut, alibi_slopes, attention_backward,
    attention_backward_scratch, attention_forward, attention_forward_scratch,
};
pub use config::{AttentionConfig, EncoderConfig, Pooling, Positions, Task};
pub use dims::{AttnDims, DimsError};
pub use encoder::{Batch, Encoder, Outputs, Workspace};
pub use gelu::{gelu_backward, gelu_forward};
pub use layer_norm::{LAYER_NORM_EPS, layer_norm_backward, layer_norm_forward};
pub use layout::{Layout, TensorSpec};
pub use linear::{linear_backward_input, linear_backward_params, linear_forward};
pub use loss::{CrossEntropy, StepStats};
pub use predict::{Precision, Predictor, StreamPredictor};
