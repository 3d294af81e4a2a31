//! Names and places of the tensors inside the flat parameter vector.

use std::ops::Range;

use crate::config::{EncoderConfig, Pooling, Positions};

/// One named tensor of the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name a `PyTorch` user knows, for example `blocks.0.attn.qkv.weight`.
    pub name: String,
    /// Sizes, outermost first; a linear layer's weight is `[outputs, inputs]`.
    pub shape: Vec<usize>,
    /// Where its values lie in the flat vector, row-major.
    pub range: Range<usize>,
}

/// The tensors of a model in the order in which they lie in the flat vector.
///
/// Names follow timm's vision transformer: `patch_embed.proj`, `cls_token`, `pos_embed`,
/// `blocks.N.{norm1,attn.qkv,attn.proj,norm2,mlp.fc1,mlp.fc2}`, `norm`, `head`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<TensorSpec>,
    n_params: usize,
}

impl Layout {
    /// The tensors, in order.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Length of the flat vector.
    pub fn n_params(&self) -> usize {
        self.n_params
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&TensorSpec> {
        self.tensors.iter().find(|t| t.name == name)
    }
}

/// Where weight and bias of a layer lie.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
}

/// Where the tensors of one block lie.
#[derive(Debug, Clone)]
pub(crate) struct BlockSlots {
    pub(crate) norm1: Affine,
    pub(crate) qkv: Affine,
    pub(crate) proj: Affine,
    pub(crate) norm2: Affine,
    pub(crate) fc1: Affine,
    pub(crate) fc2: Affine,
}

/// Where every tensor lies, for the forward and backward passes.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    pub(crate) patch: Affine,
    pub(crate) cls_token: Option<Range<usize>>,
    pub(crate) pos_embed: Option<Range<usize>>,
    pub(crate) blocks: Vec<BlockSlots>,
    pub(crate) norm: Affine,
    pub(crate) head: Affine,
}

struct Builder {
    tensors: Vec<TensorSpec>,
    end: usize,
}

impl Builder {
    fn tensor(&mut self, name: String, shape: Vec<usize>) -> Range<usize> {
        let range = self.end..self.end + shape.iter().product::<usize>();
        self.end = range.end;
        self.tensors.push(TensorSpec { name, shape, range: range.clone() });
        range
    }

    fn linear(&mut self, name: &str, outputs: usize, inputs: usize) -> Affine {
        let weight = self.tensor(format!("{name}.weight"), vec![outputs, inputs]);
        Affine { weight, bias: self.tensor(format!("{name}.bias"), vec![outputs]) }
    }

    fn norm(&mut self, name: &str, width: usize) -> Affine {
        let weight = self.tensor(format!("{name}.weight"), vec![width]);
        Affine { weight, bias: self.tensor(format!("{name}.bias"), vec![width]) }
    }
}

/// Lays out a validated configuration.
pub(crate) fn lay_out(config: &EncoderConfig) -> (Layout, Slots) {
    let d = config.d_model;
    let mut b = Builder { tensors: Vec::new(), end: 0 };
    let patch = b.linear("patch_embed.proj", d, config.patch_width());
    let cls_token =
        (config.pooling == Pooling::ClassToken).then(|| b.tensor("cls_token".to_owned(), vec![d]));
    let pos_embed = (config.positions == Positions::Learned)
        .then(|| b.tensor("pos_embed".to_owned(), vec![config.tokens(config.seq_len), d]));
    let blocks = (0..config.n_layers)
        .map(|i| BlockSlots {
            norm1: b.norm(&format!("blocks.{i}.norm1"), d),
            qkv: b.linear(&format!("blocks.{i}.attn.qkv"), config.qkv_width(), d),
            proj: b.linear(&format!("blocks.{i}.attn.proj"), d, d),
            norm2: b.norm(&format!("blocks.{i}.norm2"), d),
            fc1: b.linear(&format!("blocks.{i}.mlp.fc1"), config.d_ff, d),
            fc2: b.linear(&format!("blocks.{i}.mlp.fc2"), d, config.d_ff),
        })
        .collect();
    let norm = b.norm("norm", d);
    let head = b.linear("head", config.task.n_outputs(), d);
    let layout = Layout { n_params: b.end, tensors: b.tensors };
    (layout, Slots { patch, cls_token, pos_embed, blocks, norm, head })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::small;

    #[test]
    fn tensors_fill_the_vector_without_gaps() {
        let (layout, slots) = lay_out(&small());
        let mut end = 0;
        for t in layout.tensors() {
            assert_eq!(t.range.start, end, "{}", t.name);
            assert_eq!(t.range.len(), t.shape.iter().product::<usize>(), "{}", t.name);
            end = t.range.end;
        }
        assert_eq!(end, layout.n_params());
        let head = layout.get("head.weight").expect("head");
        assert_eq!((head.shape.as_slice(), &head.range), ([3, 8].as_slice(), &slots.head.weight));
        assert_eq!(layout.get("blocks.1.attn.qkv.weight").expect("qkv").shape, [24, 8]);
    }

    #[test]
    fn the_default_model_has_the_size_it_states() {
        let (layout, _) = lay_out(&EncoderConfig::default());
        assert!((70_000..80_000).contains(&layout.n_params()), "{}", layout.n_params());
    }
}
