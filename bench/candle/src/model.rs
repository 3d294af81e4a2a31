//! edgectl's encoder in candle: pre-norm, learned positions, mean pooling, exact (erf) GELU.
//!
//! The tensor names are those of an edgectl checkpoint.

use candle_core::{D, Result, Tensor};
use candle_nn::attention::{AttnMask, flash_attn};
use candle_nn::{Init, LayerNorm, Linear, Module, VarBuilder, ops};
use clap::Args;

/// Classes of the head, as in `edgectl bench`.
pub const N_CLASSES: usize = 4;
const EPS: f64 = 1e-5;

/// Sizes of a model whose token is one row.
#[derive(Args, Clone, Copy)]
pub struct Shape {
    #[arg(long)]
    pub seq: usize,
    #[arg(long)]
    pub channels: usize,
    #[arg(long)]
    pub d_model: usize,
    #[arg(long)]
    pub heads: usize,
    #[arg(long)]
    pub layers: usize,
    #[arg(long)]
    pub d_ff: usize,
}

/// How attention is computed.
#[derive(Clone, Copy, PartialEq)]
pub enum Attention {
    /// Batched matrix products and a softmax between.
    Products,
    /// `candle_nn::attention::flash_attn`.
    Flash,
}

/// Which of candle's operations a pass uses: the fused ones have no gradient.
#[derive(Clone, Copy)]
pub struct Kernels {
    attention: Attention,
    fused: bool,
}

impl Kernels {
    /// What training must use.
    pub fn with_gradient() -> Self {
        Self { attention: Attention::Products, fused: false }
    }

    /// What a forward pass alone may use.
    pub fn without_gradient(attention: Attention) -> Self {
        Self { attention, fused: true }
    }

    fn norm(self, norm: &LayerNorm, x: &Tensor) -> Result<Tensor> {
        if self.fused {
            return norm.forward(x);
        }
        let bias = norm.bias().expect("all norms here have one");
        ops::layer_norm_slow(x, norm.weight(), bias, EPS as f32)
    }

    fn softmax(self, scores: &Tensor) -> Result<Tensor> {
        if self.fused { ops::softmax_last_dim(scores) } else { ops::softmax(scores, D::Minus1) }
    }
}

/// The whole model.
pub struct Encoder {
    embed: Linear,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

impl Encoder {
    pub fn new(s: Shape, vars: VarBuilder) -> Result<Self> {
        let init = Init::Randn { mean: 0.0, stdev: 0.02 };
        Ok(Self {
            embed: candle_nn::linear(s.channels, s.d_model, vars.pp("patch_embed.proj"))?,
            positions: vars.get_with_hints((s.seq, s.d_model), "pos_embed", init)?,
            blocks: (0..s.layers)
                .map(|i| Block::new(s, &vars.pp(format!("blocks.{i}"))))
                .collect::<Result<_>>()?,
            norm: candle_nn::layer_norm(s.d_model, EPS, vars.pp("norm"))?,
            head: candle_nn::linear(s.d_model, N_CLASSES, vars.pp("head"))?,
        })
    }

    /// `[batch, seq, channels]` to logits `[batch, N_CLASSES]`.
    pub fn forward(&self, x: &Tensor, kernels: Kernels) -> Result<Tensor> {
        let mut x = self.embed.forward(x)?.broadcast_add(&self.positions)?;
        for block in &self.blocks {
            x = block.forward(&x, kernels)?;
        }
        self.head.forward(&kernels.norm(&self.norm, &x)?.mean(1)?)
    }
}

/// `x + attention(norm1(x))`, then `x + mlp(norm2(x))`.
struct Block {
    n_heads: usize,
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Block {
    fn new(s: Shape, vars: &VarBuilder) -> Result<Self> {
        Ok(Self {
            n_heads: s.heads,
            norm1: candle_nn::layer_norm(s.d_model, EPS, vars.pp("norm1"))?,
            qkv: candle_nn::linear(s.d_model, 3 * s.d_model, vars.pp("attn.qkv"))?,
            proj: candle_nn::linear(s.d_model, s.d_model, vars.pp("attn.proj"))?,
            norm2: candle_nn::layer_norm(s.d_model, EPS, vars.pp("norm2"))?,
            fc1: candle_nn::linear(s.d_model, s.d_ff, vars.pp("mlp.fc1"))?,
            fc2: candle_nn::linear(s.d_ff, s.d_model, vars.pp("mlp.fc2"))?,
        })
    }

    fn forward(&self, x: &Tensor, kernels: Kernels) -> Result<Tensor> {
        let x = (x + self.attention(&kernels.norm(&self.norm1, x)?, kernels)?)?;
        let hidden = self.fc1.forward(&kernels.norm(&self.norm2, &x)?)?.gelu_erf()?;
        &x + self.fc2.forward(&hidden)?
    }

    fn attention(&self, x: &Tensor, kernels: Kernels) -> Result<Tensor> {
        let (batch, seq, d_model) = x.dims3()?;
        let head_dim = d_model / self.n_heads;
        let scale = 1.0 / (head_dim as f64).sqrt();
        let qkv = self.qkv.forward(x)?.reshape((batch, seq, 3, self.n_heads, head_dim))?;
        let part = |i| qkv.narrow(2, i, 1)?.squeeze(2);
        let (q, k, v) = (part(0)?, part(1)?, part(2)?); // [batch, seq, n_heads, head_dim]
        let out = match kernels.attention {
            Attention::Products => {
                let by_head = |part: &Tensor| part.transpose(1, 2)?.contiguous();
                let scores = (by_head(&q)? * scale)?.matmul(&by_head(&k)?.t()?)?;
                kernels.softmax(&scores)?.matmul(&by_head(&v)?)?
            }
            Attention::Flash => {
                let [q, k, v] = [q.contiguous()?, k.contiguous()?, v.contiguous()?];
                flash_attn::<f32>(&q, &k, &v, scale as f32, AttnMask::None, None, None)?
            }
        };
        // Both leave [batch, n_heads, seq, head_dim].
        self.proj.forward(&out.transpose(1, 2)?.reshape((batch, seq, d_model))?)
    }
}
