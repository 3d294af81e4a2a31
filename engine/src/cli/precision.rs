//! `--precision`: how weights are kept for answers.

use attn_core::Precision;
use clap::ValueEnum;

/// How weights are kept for answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    /// 4 bytes a weight, exact
    F32,
    /// 2 bytes a weight
    Bf16,
    /// 1 byte a weight
    Int8,
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Self {
        match arg {
            PrecisionArg::F32 => Self::F32,
            PrecisionArg::Bf16 => Self::Bf16,
            PrecisionArg::Int8 => Self::Int8,
        }
    }
}
