//! Low-rank adapters in weight files: pairs of factors whose product is what a model is changed by.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::dtype::{Kind, kind};
use crate::factor_names::{AdapterKind, Named, Part, factor, part};
use crate::tensor::shape_text;
use crate::{Dtype, TensorInfo};

/// How files that hold low-rank adapters (`LoRA`, <https://arxiv.org/abs/2106.09685>) are merged, as
/// [`Options::adapters`](crate::Options::adapters) asks for it.
///
/// A pair of factors `A` `[r, in]` and `B` `[out, r]` with the scale `s` changes a model's weight by
/// `s·B·A`. The mean of products is not the product of means, so that such files are not merged
/// without a word. As text it is `stack` or `factors`.
///
/// ```
/// use aggregate::Adapters;
///
/// assert_eq!("stack".parse::<Adapters>()?, Adapters::Stack);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapters {
    /// Exactly: the result's `A` is the rows of all `A_i`, its `B` the columns of all `w_i·s_i·B_i`,
    /// whose product is `Σ w_i·s_i·B_i·A_i`. Its rank is the sum of theirs, which may differ, and
    /// its scale is 1. <https://arxiv.org/abs/2409.05976>
    Stack,
    /// Factor by factor like any tensor, as `FedIT` does: not the mean of the products, and ranks must be
    /// the same.
    Factors,
}

impl Adapters {
    /// Its name as text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stack => "stack",
            Self::Factors => "factors",
        }
    }
}

impl fmt::Display for Adapters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Adapters {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Stack, Self::Factors];
        let adapters = all.into_iter().find(|adapters| adapters.name() == text);
        adapters.ok_or_else(|| "expected stack or factors".to_owned())
    }
}

/// One adapter, by the numbers of its tensors in the file's list.
#[derive(Debug)]
pub(crate) struct Pair {
    /// What it belongs to: the name before that of the factor.
    pub(crate) module: String,
    pub(crate) kind: AdapterKind,
    /// `A`, `[rank, in]` or `[rank, in, height, width]`.
    pub(crate) down: usize,
    /// `B`, `[out, rank]` or `[out, rank, 1, 1]`.
    pub(crate) up: usize,
    /// One number: the scale times the rank.
    pub(crate) alpha: Option<usize>,
    pub(crate) rank: usize,
    /// Whether they are written the other way round: `A` as `[in, rank]`, `B` as `[rank, out]`.
    pub(crate) is_transposed: bool,
}

impl Pair {
    /// Which axis of `A` is the rank.
    pub(crate) fn down_axis(&self) -> usize {
        self.is_transposed.into()
    }

    /// Which axis of `B` is the rank.
    pub(crate) fn up_axis(&self) -> usize {
        (!self.is_transposed).into()
    }

    /// Whether its scale stands nowhere but in a configuration.
    pub(crate) fn needs_config(&self) -> bool {
        self.kind != AdapterKind::Kohya && self.alpha.is_none()
    }
}

/// The pairs of factors in a file, in order of the names of `A`: by their names and by their shapes,
/// which fit together. Tensors are sorted by name.
pub(crate) fn pairs(tensors: &[TensorInfo]) -> Vec<Pair> {
    find(tensors).0
}

/// By what a file is known to hold adapters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sign {
    /// A tensor that belongs to one.
    pub(crate) tensor: String,
    /// Why they cannot be stacked, if they cannot.
    pub(crate) problem: Option<String>,
}

/// By what a file is known to hold adapters, if it does: by a pair, by the names of both factors, whatever
/// their shapes, or by that of a part which nothing else has.
///
/// Factors of one side alone are none: of those which have the other one in common (as `FFA-LoRA` has it)
/// the mean is the mean of the products.
pub(crate) fn sign(tensors: &[TensorInfo]) -> Option<Sign> {
    let paired = pairs(tensors).first().map(|pair| pair.down);
    let first = paired.or_else(|| {
        let parts = || tensors.iter().enumerate().filter_map(|(i, t)| Some((i, part(&t.name)?)));
        let find = |wanted: fn(&Part) -> bool| parts().find(|(_, p)| wanted(p)).map(|(i, _)| i);
        let both = find(|p| *p == Part::Down).zip(find(|p| *p == Part::Up));
        find(|p| matches!(p, Part::Other(_))).or(both.map(|(down, _)| down))
    })?;
    let problem = only_pairs(tensors).err();
    Some(Sign { tensor: tensors[first].name.clone(), problem })
}

/// What a file holds of low-rank adapters; displays as one line.
///
/// ```
/// use aggregate::{AdapterKind, AdaptersFound, TensorData, TensorRef, weight_file};
///
/// let a = TensorRef { name: "q.lora_A.weight", shape: &[1, 2], data: TensorData::F32(&[1.0, 2.0]) };
/// let b = TensorRef { name: "q.lora_B.weight", shape: &[1, 1], data: TensorData::F32(&[3.0]) };
/// let file = weight_file("adapter", &[a, b], &Default::default())?;
/// let found = AdaptersFound::of(file.tensors()).ok_or("none")?;
/// assert_eq!((found.kind, found.pairs, found.ranks), (Some(AdapterKind::Peft), 1, (1, 1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AdaptersFound {
    /// By whose names the factors are called; none without pairs.
    pub kind: Option<AdapterKind>,
    /// How many pairs of factors there are.
    pub pairs: u64,
    /// The least and the greatest rank of a pair.
    pub ranks: (u64, u64),
    /// Whether a scale stands nowhere but in an `adapter_config.json` beside the file.
    pub needs_config: bool,
    /// Why they cannot be stacked, if they cannot.
    pub problem: Option<String>,
}

impl AdaptersFound {
    /// Looks at names and shapes of a file's tensors, which are sorted by name; none without adapters.
    pub fn of(tensors: &[TensorInfo]) -> Option<Self> {
        let Sign { problem, .. } = sign(tensors)?;
        let pairs = pairs(tensors);
        let ranks = || pairs.iter().map(|pair| pair.rank as u64);
        Some(Self {
            kind: kind_of(&pairs),
            pairs: pairs.len() as u64,
            ranks: (ranks().min().unwrap_or(0), ranks().max().unwrap_or(0)),
            needs_config: pairs.iter().any(Pair::needs_config),
            problem,
        })
    }
}

impl fmt::Display for AdaptersFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, pairs, ranks: (least, most), problem, .. } = self;
        f.write_str("low-rank adapters: ")?;
        match kind {
            Some(kind) if least == most => write!(f, "{pairs} pairs ({kind}) of rank {least}")?,
            Some(kind) => write!(f, "{pairs} pairs ({kind}) of ranks {least} to {most}")?,
            None => f.write_str("no pair that can be stacked")?,
        }
        problem.iter().try_for_each(|problem| write!(f, "; {problem}"))
    }
}

/// By whose names all of them are called, if there is one.
pub(crate) fn kind_of(pairs: &[Pair]) -> Option<AdapterKind> {
    let kinds = pairs.iter().map(|pair| pair.kind);
    kinds.reduce(|a, b| if a == b { a } else { AdapterKind::Mixed })
}

/// What else may be done.
const ELSE: &str = "merge it into its base model first, or average factor by factor all the same \
                    (--adapters factors), which is not the mean of what the factors stand for";

/// The pairs of factors of a file in which nothing belongs to an adapter but pairs.
///
/// # Errors
/// What else there is, in words.
pub(crate) fn only_pairs(tensors: &[TensorInfo]) -> Result<Vec<Pair>, String> {
    let (pairs, problem) = find(tensors);
    if let Some(problem) = problem {
        return Err(problem);
    }
    let parts: BTreeSet<usize> = pairs.iter().flat_map(|p| [p.down, p.up]).collect();
    let modules: BTreeSet<&str> = pairs.iter().map(|p| p.module.as_str()).collect();
    let has_mlx = pairs.iter().any(|pair| pair.kind == AdapterKind::Mlx);
    for (i, TensorInfo { name, .. }) in tensors.iter().enumerate() {
        if parts.contains(&i) {
            continue;
        }
        let of_module = |(at, _): (usize, &str)| modules.contains(&name[..at]).then(|| &name[at..]);
        let rest = name.match_indices('.').find_map(of_module);
        // The magnitudes of DoRA as MLX and torchtune call them.
        let is_magnitude = |rest: &str| has_mlx && [".m", ".magnitude"].contains(&rest);
        if rest.is_some_and(|r| r.contains("lora") || r.contains("dora") || is_magnitude(r)) {
            return Err(format!(
                "tensor {name:?} makes its adapter more than the product of two factors, which is all \
                 that can be stacked; {ELSE}"
            ));
        }
        match part(name) {
            Some(Part::Other(what)) => {
                return Err(format!(
                    "tensor {name:?} cannot be stacked, as {what}, and only products of two factors \
                     are; {ELSE}"
                ));
            }
            Some(Part::Down | Part::Up) => {
                return Err(format!(
                    "tensor {name:?} cannot be stacked: it is called like a low-rank factor, but not as \
                     known programs call the two of a module; {ELSE}"
                ));
            }
            None => {}
        }
    }
    for pair in &pairs {
        let Some(TensorInfo { name, dtype, shape, .. }) = pair.alpha.map(|i| &tensors[i]) else {
            continue;
        };
        let n: Option<usize> = shape.iter().try_fold(1, |n: usize, &size| n.checked_mul(size));
        if n != Some(1) || kind(*dtype) != Kind::Float {
            let shape = shape_text(shape);
            return Err(format!(
                "tensor {name:?} has shape {shape} of {dtype}, expected one float: the scale times \
                 the rank"
            ));
        }
    }
    Ok(pairs)
}

/// The pairs, and what is wrong with the first factor that is in none.
fn find(tensors: &[TensorInfo]) -> (Vec<Pair>, Option<String>) {
    let place = |name: &str| tensors.binary_search_by(|t| t.name.as_str().cmp(name)).ok();
    let (mut pairs, mut problem) = (Vec::new(), None);
    for (i, tensor) in tensors.iter().enumerate() {
        let Some(Named { module, kind, is_down, partner }) = factor(&tensor.name) else { continue };
        let found = match place(&partner) {
            None => Err(format!(
                "tensor {:?} cannot be stacked: it has no {partner:?} beside it; {ELSE}",
                tensor.name
            )),
            Some(_) if !is_down => continue,
            Some(up) => rank(tensor, &tensors[up], kind).map(|found| (up, found)),
        };
        match found {
            Ok((up, (rank, is_transposed))) => {
                let (module, alpha) = (module.to_owned(), place(&format!("{module}.alpha")));
                pairs.push(Pair { module, kind, down: i, up, alpha, rank, is_transposed });
            }
            Err(message) => problem = problem.or(Some(message)),
        }
    }
    (pairs, problem)
}

/// The rank that two factors have in common, and whether they are written the other way round.
fn rank(down: &TensorInfo, up: &TensorInfo, named: AdapterKind) -> Result<(usize, bool), String> {
    let is_float = [down, up].iter().all(|t| kind(t.dtype) == Kind::Float);
    let common = match (&down.shape[..], &up.shape[..]) {
        (&[r, width], &[height, s]) if named == AdapterKind::Mlx => {
            // Two programs write them in two ways. Of names that both may use the shapes decide; where
            // both ways would do, the program that is known by the end of the name, unless the rank
            // would be greater for it.
            let is_mlx = !down.name.ends_with(".weight");
            let is_less = if is_mlx { width < r } else { r < width };
            match (r == s, width == height) {
                (true, true) if is_less => Some((r.min(width), is_mlx)),
                (true, false) => Some((r, false)),
                (false, true) => Some((width, true)),
                (true, true) | (false, false) => None,
            }
        }
        ([r, _], [_, s]) if r == s => Some((*r, false)),
        // A convolution, and one of single pixels after it.
        ([r, _, _, _], [_, s, 1, 1]) if r == s => Some((*r, false)),
        _ => None,
    };
    let is_empty = down.shape.iter().chain(&up.shape).any(|&size| size == 0);
    common.filter(|_| is_float && !is_empty).ok_or_else(|| {
        let expected = if named == AdapterKind::Mlx {
            "[rank, in] and [out, rank], or [in, rank] and [rank, out], and no doubt which of the two"
        } else {
            "[rank, in] and [out, rank], or [rank, in, height, width] and [out, rank, 1, 1]"
        };
        format!(
            "tensors {:?} of shape {} of {} and {:?} of {} of {} cannot be stacked: they are no two \
             factors, expected floats {expected}, none of these 0; {ELSE}",
            down.name,
            shape_text(&down.shape),
            down.dtype,
            up.name,
            shape_text(&up.shape),
            up.dtype,
        )
    })
}

/// What stands for the rank in the shapes of factors that may have any.
pub(crate) const ANY_RANK: usize = 0;

/// The tensors of a file with factors of any rank, for those pairs that `is_any` chooses; their alphas
/// are alike, whatever they hold.
pub(crate) fn of_any_rank(
    tensors: &[TensorInfo],
    pairs: &[Pair],
    is_any: impl Fn(&Pair) -> bool,
) -> Vec<TensorInfo> {
    let mut tensors = tensors.to_vec();
    for pair in pairs {
        if is_any(pair) {
            tensors[pair.down].shape[pair.down_axis()] = ANY_RANK;
            tensors[pair.up].shape[pair.up_axis()] = ANY_RANK;
        }
        if let Some(alpha) = pair.alpha.map(|i| &mut tensors[i]) {
            // What loaders read into a number, at a width that holds every rank there is.
            (alpha.dtype, alpha.shape) = (Dtype::F32, Vec::new());
        }
    }
    tensors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(tensors: &[(&str, Dtype, &[usize])]) -> Vec<TensorInfo> {
        let info = |&(name, dtype, shape): &(&str, Dtype, &[usize])| TensorInfo {
            name: name.into(),
            dtype,
            shape: shape.to_vec(),
            start: 0,
            shard: 0,
        };
        let mut tensors: Vec<_> = tensors.iter().map(info).collect();
        tensors.sort();
        tensors
    }

    #[test]
    fn every_spelling_of_a_pair_is_found() {
        for (down, up, kind) in [
            ("m.q.lora_A.weight", "m.q.lora_B.weight", AdapterKind::Peft),
            ("m.q.lora_A.default.weight", "m.q.lora_B.default.weight", AdapterKind::Peft),
            ("m.e.lora_embedding_A", "m.e.lora_embedding_B", AdapterKind::Peft),
            ("m.e.lora_embedding_A.x", "m.e.lora_embedding_B.x", AdapterKind::Peft),
            ("lora_unet_q.lora_down.weight", "lora_unet_q.lora_up.weight", AdapterKind::Kohya),
            ("m.q.lora.down.weight", "m.q.lora.up.weight", AdapterKind::Kohya),
            ("m.to_q_lora.down.weight", "m.to_q_lora.up.weight", AdapterKind::Kohya),
            (
                "q.lora_linear_layer.down.weight",
                "q.lora_linear_layer.up.weight",
                AdapterKind::Kohya,
            ),
        ] {
            let tensors = list(&[(down, Dtype::F16, &[4, 9]), (up, Dtype::BF16, &[7, 4])]);
            let found = only_pairs(&tensors).unwrap();
            assert_eq!(found.len(), 1, "{down}");
            assert_eq!((found[0].kind, found[0].rank), (kind, 4), "{down}");
            assert_eq!((&*tensors[found[0].down].name, &*tensors[found[0].up].name), (down, up));
        }
        let conv = list(&[
            ("c.lora_down.weight", Dtype::F32, &[4, 3, 3, 3]),
            ("c.lora_up.weight", Dtype::F32, &[8, 4, 1, 1]),
        ]);
        assert_eq!(only_pairs(&conv).unwrap()[0].rank, 4);
    }

    #[test]
    fn names_alone_make_no_pair() {
        let f = Dtype::F32;
        for (a, b) in [
            (&[4, 9][..], &[7, 5][..]),
            (&[0, 9], &[7, 0]),
            (&[4, 0], &[7, 4]),
            (&[4], &[4]),
            (&[4, 9, 1], &[7, 4, 1]),
            (&[4, 9], &[7, 4, 1, 1]),
            (&[4, 9, 3, 3], &[7, 4, 3, 3]),
        ] {
            let tensors = list(&[("m.lora_A.weight", f, a), ("m.lora_B.weight", f, b)]);
            assert!(pairs(&tensors).is_empty(), "{a:?} {b:?}");
            assert!(only_pairs(&tensors).unwrap_err().contains("no two factors"), "{a:?} {b:?}");
        }
        let lone = list(&[("m.lora_A.weight", f, &[4, 9])]);
        assert!(pairs(&lone).is_empty());
        assert!(only_pairs(&lone).unwrap_err().contains("no \"m.lora_B.weight\" beside it"));
        let integers =
            list(&[("m.lora_A.weight", Dtype::I8, &[4, 9]), ("m.lora_B.weight", f, &[7, 4])]);
        assert!(only_pairs(&integers).unwrap_err().contains("of I8"));
        for name in
            ["lora_A.weight", "m.lora_A.a.b.weight", "m.lora_A.bias", "m.lora_down.x.weight"]
        {
            assert!(factor(name).is_none(), "{name}");
        }
    }

    #[test]
    fn what_makes_a_pair_more_than_a_product_is_named() {
        let f = Dtype::F32;
        let (a, b) = (("m.lora_A.weight", f, &[4, 9][..]), ("m.lora_B.weight", f, &[7, 4][..]));
        for extra in
            ["m.lora_B.bias", "m.lora_magnitude_vector", "m.dora_scale", "m.lora_mid.weight"]
        {
            let error = only_pairs(&list(&[a, b, (extra, f, &[7])])).unwrap_err();
            assert!(error.contains(extra) && error.contains("more than the product"), "{error}");
        }
        for (dtype, shape) in [(f, &[2][..]), (Dtype::I64, &[])] {
            let error = only_pairs(&list(&[a, b, ("m.alpha", dtype, shape)])).unwrap_err();
            assert!(error.contains("expected one float"), "{error}");
        }
        let others = [("m.bias", f, &[7][..]), ("m.alpha", f, &[1][..]), ("n.dora", f, &[1][..])];
        let found = only_pairs(&list(&[a, b, others[0], others[1], others[2]])).unwrap();
        assert!(found[0].alpha.is_some());
    }
}
