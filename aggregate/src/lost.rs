//! What stacked adapters lose where their dtype has no such small numbers.
//!
//! `w_i·s_i·B_i` may be far smaller than `B_i`: of half precision it is then rounded to zero, or to one of
//! the few numbers below the normal ones. The first factor could take the scale, or the alpha, but then
//! it were no copy, and not every program reads alphas that are no whole numbers, nor has every file one.

use std::path::{Path, PathBuf};

use crate::cohort::Cohort;
use crate::dtype::decode_floats;
use crate::reject::Reason;
use crate::stack::{Run, Stack};
use crate::{Dtype, Error, TensorInfo};

/// What may be lost of the norm of a product, squared: about as much as rounding to half precision takes.
const MOST: f64 = 1.0 / (1 << 20) as f64;

/// Sums of squares of a factor: of what was lost, and of all.
type Sums = [f64; 2];

/// What was lost of the factors of each pair and member.
#[derive(Debug)]
pub(crate) struct Lost(Vec<Vec<[Sums; 2]>>);

/// What was lost of a block, by member.
pub(crate) type LostOfBlock = Vec<(usize, Sums)>;

/// The least number of a dtype that has all of its digits.
fn least_normal(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F16 => f64::from(half::f16::MIN_POSITIVE),
        Dtype::BF16 | Dtype::F32 => f64::from(f32::MIN_POSITIVE),
        _ => f64::MIN_POSITIVE,
    }
}

/// What was lost of values whose encoded form is `bytes`, whose runs belong to members.
pub(crate) fn lost(dtype: Dtype, values: &[f64], runs: &[Run], bytes: &[u8]) -> LostOfBlock {
    let least = least_normal(dtype);
    let is_small = |v: f64| v.abs() < least && v != 0.0;
    let mut rounded = Vec::new();
    if values.iter().any(|&v| is_small(v)) {
        decode_floats(dtype, bytes, &mut rounded);
    }
    let mut all: LostOfBlock = Vec::new();
    for &Run { member, at, n } in runs {
        let values = &values[at..at + n];
        let total: f64 = values.iter().map(|v| v * v).sum();
        let mut lost = 0.0;
        if let Some(rounded) = rounded.get(at..at + n) {
            let small = values.iter().zip(rounded).filter(|&(&v, _)| is_small(v));
            lost = small.map(|(v, r)| (v - r) * (v - r)).sum();
        }
        all.push((member, [lost, total]));
    }
    // A block has many short runs of a few members.
    all.sort_by_key(|&(member, _)| member);
    all.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            kept.1[0] += next.1[0];
            kept.1[1] += next.1[1];
        }
        is_same
    });
    all
}

impl Lost {
    pub(crate) fn new(n_pairs: usize, n_members: usize) -> Self {
        Self(vec![vec![[[0.0; 2]; 2]; n_members]; n_pairs])
    }

    /// Adds what was lost of a block of a pair's first or second factor.
    pub(crate) fn add(&mut self, pair: usize, is_up: bool, block: &LostOfBlock) {
        for &(member, [lost, total]) in block {
            let sums = &mut self.0[pair][member][usize::from(is_up)];
            sums[0] += lost;
            sums[1] += total;
        }
    }

    /// The updates to blame for what was lost, if it is more than rounding takes and these are fewer than
    /// half of all.
    ///
    /// # Errors
    /// If it is more, and that of no few.
    pub(crate) fn check(
        &self,
        stack: &Stack,
        cohort: &Cohort<'_>,
        out: &Path,
    ) -> Result<Option<Vec<(PathBuf, Reason)>>, Error> {
        for (pair, members) in self.0.iter().enumerate() {
            // ‖ΔB‖²·‖A‖² + ‖B‖²·‖ΔA‖², and ‖B‖²·‖A‖²
            let of_products = members
                .iter()
                .map(|[down, up]| [up[0] * down[1] + up[1] * down[0], up[1] * down[1]]);
            let of_products: Vec<Sums> = of_products.collect();
            let add = |a: Sums, b: &Sums| [a[0] + b[0], a[1] + b[1]];
            let is_much = |[lost, total]: Sums| lost > MOST * total;
            if !is_much(of_products.iter().fold([0.0; 2], add)) {
                continue;
            }
            let TensorInfo { name, dtype, .. } = stack.second_factor(pair);
            let problem = format!(
                "weights and scales make the adapter so small that {dtype} loses more than a \
                 thousandth of it; write floats in another dtype (--dtype f32)"
            );
            let faulty: Vec<usize> =
                (0..members.len()).filter(|&member| is_much(of_products[member])).collect();
            if 2 * faulty.len() < cohort.len() {
                let problem = format!("tensor {name:?}: {problem}");
                let path = |member: usize| cohort.members[member].input.update.path.clone();
                let reason = |_| Reason::Adapter { problem: problem.clone() };
                return Ok(Some(faulty.into_iter().map(|m| (path(m), reason(m))).collect()));
            }
            return Err(Error::Tensor { path: out.to_owned(), tensor: name.clone(), problem });
        }
        Ok(None)
    }
}
