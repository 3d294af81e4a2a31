//! Low-rank adapters in weight files: pairs of factors whose product is what a model is changed by.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::dtype::{Kind, kind};
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

/// By whose names the factors are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdapterKind {
    /// `X.lora_A.weight` and `X.lora_B.weight`, also with the adapter's name before `weight`, and
    /// `X.lora_embedding_A` and `X.lora_embedding_B`. Scales stand in `adapter_config.json`.
    Peft,
    /// `X.lora_down.weight` and `X.lora_up.weight`, or with `lora.down` and `lora.up`, as diffusers
    /// writes them. Scales stand in tensors `X.alpha`.
    Kohya,
    /// Some like this and some like that.
    Mixed,
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
}

/// What stands between a module and the rest of a factor's name, for `A` and for `B`.
const MARKS: [(&str, &str, AdapterKind); 6] = [
    (".lora_A", ".lora_B", AdapterKind::Peft),
    (".lora_embedding_A", ".lora_embedding_B", AdapterKind::Peft),
    (".lora_down", ".lora_up", AdapterKind::Kohya),
    (".lora.down", ".lora.up", AdapterKind::Kohya),
    ("_lora.down", "_lora.up", AdapterKind::Kohya),
    (".lora_linear_layer.down", ".lora_linear_layer.up", AdapterKind::Kohya),
];

/// What the name of a factor says.
struct Named<'a> {
    module: &'a str,
    kind: AdapterKind,
    is_down: bool,
    /// The name of the other factor.
    partner: String,
}

/// Reads the name of a factor; other names have none.
fn factor(name: &str) -> Option<Named<'_>> {
    // Nearly all names end here.
    if !name.contains("lora") {
        return None;
    }
    MARKS.iter().find_map(|&(down, up, kind)| {
        let find = |mark: &str| name.rfind(mark).map(|at| (at, &name[at + mark.len()..]));
        let (is_down, at, rest) = match (find(down), find(up)) {
            (Some((at, rest)), _) => (true, at, rest),
            (None, Some((at, rest))) => (false, at, rest),
            (None, None) => return None,
        };
        // The name of the adapter, if it is there, has no dots.
        let adapter = match (kind, down.contains("embedding")) {
            (AdapterKind::Peft, true) => rest,
            (AdapterKind::Peft, false) => rest.strip_suffix(".weight")?,
            _ => rest.strip_suffix(".weight").filter(|rest| rest.is_empty())?,
        };
        let is_name = |name: &str| !name.is_empty() && !name.contains('.');
        let is_factor =
            at > 0 && (adapter.is_empty() || adapter.strip_prefix('.').is_some_and(is_name));
        let partner = format!("{}{}{rest}", &name[..at], if is_down { up } else { down });
        is_factor.then(|| Named { module: &name[..at], kind, is_down, partner })
    })
}

/// The pairs of factors in a file, in order of the names of `A`: by their names and by their shapes,
/// which fit together. Tensors are sorted by name.
pub(crate) fn pairs(tensors: &[TensorInfo]) -> Vec<Pair> {
    find(tensors).0
}

/// The name of the first factor, if there is a pair.
pub(crate) fn first_factor(tensors: &[TensorInfo]) -> Option<&str> {
    pairs(tensors).first().map(|pair| tensors[pair.down].name.as_str())
}

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
    for (i, TensorInfo { name, .. }) in tensors.iter().enumerate() {
        let of_module = |(at, _): (usize, &str)| modules.contains(&name[..at]).then(|| &name[at..]);
        let Some(rest) = name.match_indices('.').find_map(of_module) else { continue };
        if !parts.contains(&i) && (rest.contains("lora") || rest.contains("dora")) {
            return Err(format!(
                "tensor {name:?} makes its adapter more than the product of two factors, which is all \
                 that can be stacked; merge it into its base model first"
            ));
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
            None => Err(format!("tensor {:?} has no {partner:?} beside it", tensor.name)),
            Some(_) if !is_down => continue,
            Some(up) => rank(tensor, &tensors[up]).map(|rank| (up, rank)),
        };
        match found {
            Ok((up, rank)) => {
                let (module, alpha) = (module.to_owned(), place(&format!("{module}.alpha")));
                pairs.push(Pair { module, kind, down: i, up, alpha, rank });
            }
            Err(message) => problem = problem.or(Some(message)),
        }
    }
    (pairs, problem)
}

/// The rank that two factors have in common.
fn rank(down: &TensorInfo, up: &TensorInfo) -> Result<usize, String> {
    let is_float = [down, up].iter().all(|t| kind(t.dtype) == Kind::Float);
    let common = match (&down.shape[..], &up.shape[..]) {
        ([r, _], [_, s]) if r == s => Some(*r),
        // A convolution, and one of single pixels after it.
        ([r, _, _, _], [_, s, 1, 1]) if r == s => Some(*r),
        _ => None,
    };
    let is_empty = down.shape.iter().chain(&up.shape).any(|&size| size == 0);
    common.filter(|_| is_float && !is_empty).ok_or_else(|| {
        format!(
            "tensors {:?} of shape {} of {} and {:?} of {} of {} are no two factors: expected floats \
             [rank, in] and [out, rank], or [rank, in, height, width] and [out, rank, 1, 1], none of \
             these 0",
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
            tensors[pair.down].shape[0] = ANY_RANK;
            tensors[pair.up].shape[1] = ANY_RANK;
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
