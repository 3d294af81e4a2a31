//! The arguments of `edgectl bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::precision::PrecisionArg;

/// `edgectl bench`
#[derive(Debug, Clone, Subcommand)]
pub enum BenchCommand {
    /// A training step: forward, backward, AdamW
    Train(TrainShape),
    /// The forward pass of a batch
    Infer(InferShape),
    /// Attention alone
    Attention(AttentionShape),
    /// A matrix product
    Gemm(GemmShape),
    /// A step of an optimizer alone, as a share of what a copy reaches
    Optimizer(OptimizerShape),
    /// Reading data into memory
    Read(ReadShape),
}

/// Shape of a model and its batch.
#[derive(Debug, Clone, Copy, Args)]
pub struct ModelShape {
    /// Windows in a step
    #[arg(long, default_value_t = 32)]
    pub batch: usize,
    /// Time steps of a window
    #[arg(long, default_value_t = 128)]
    pub seq: usize,
    /// Values per time step
    #[arg(long, default_value_t = 6)]
    pub channels: usize,
    /// Width of a token
    #[arg(long, default_value_t = 64)]
    pub d_model: usize,
    /// Attention heads
    #[arg(long, default_value_t = 4)]
    pub heads: usize,
    /// Blocks
    #[arg(long, default_value_t = 2)]
    pub layers: usize,
    /// Width of each block's MLP
    #[arg(long, default_value_t = 128)]
    pub d_ff: usize,
    /// Time steps that form one token
    #[arg(long, default_value_t = 1)]
    pub patch: usize,
    /// Seconds to measure
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
}

/// A training step.
#[derive(Debug, Clone, Copy, Args)]
pub struct TrainShape {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take them for a heading")]
    pub model: ModelShape,
    /// Compute blocks again in the backward pass: less memory, more time
    #[arg(long)]
    pub recompute: bool,
}

/// Answers.
#[derive(Debug, Clone, Copy, Args)]
pub struct InferShape {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would take them for a heading")]
    pub model: ModelShape,
    /// How weights are kept, with --batch 1
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    pub precision: PrecisionArg,
}

/// Shape of an attention.
#[derive(Debug, Clone, Copy, Args)]
pub struct AttentionShape {
    /// Sequences
    #[arg(long, default_value_t = 8)]
    pub batch: usize,
    /// Heads of each
    #[arg(long, default_value_t = 8)]
    pub heads: usize,
    /// Tokens of each
    #[arg(long, default_value_t = 512)]
    pub seq: usize,
    /// Width of a head
    #[arg(long, default_value_t = 64)]
    pub head_dim: usize,
    /// Forward and backward instead of forward alone
    #[arg(long)]
    pub backward: bool,
    /// Seconds to measure
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
}

/// Shape of a matrix product, `[m, k] · [k, n]`.
#[derive(Debug, Clone, Copy, Args)]
pub struct GemmShape {
    /// Rows of the left matrix
    #[arg(long, default_value_t = 1024)]
    pub m: usize,
    /// Columns of the right matrix
    #[arg(long, default_value_t = 1024)]
    pub n: usize,
    /// Columns of the left matrix
    #[arg(long, default_value_t = 1024)]
    pub k: usize,
    /// Seconds to measure
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
}

/// An optimizer and how much it moves.
#[derive(Debug, Clone, Copy, Args)]
pub struct OptimizerShape {
    /// Which one
    #[arg(long, default_value = "adamw")]
    pub name: optim::OptimizerConfig,
    /// Parameters
    #[arg(long, default_value_t = 1_000_000)]
    pub params: usize,
    /// Seconds to measure
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
}

/// Data to read.
#[derive(Debug, Clone, Args)]
pub struct ReadShape {
    /// Files or folders
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub data: Vec<PathBuf>,
    /// Seconds to measure; three times at least
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
}
