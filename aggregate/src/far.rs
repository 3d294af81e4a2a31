//! Updates that moved much further than the others.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::blocks::{pass, workers};
use crate::dtype::{decode_floats, element_width, encode_floats};
use crate::median::median;
use crate::plan::{Linear, Plan};
use crate::reduce::{Outcome, Scratch, reduce_block};
use crate::run::Run;
use crate::{Error, Reason};

/// The least deviation of norms, in medians: one node may well train many times as long as others.
const LEAST_DEVIATION: f64 = 0.5;

/// With fewer updates, a norm cannot be told from the others'.
const LEAST_FOR_NORMS: usize = 4;

impl Run<'_> {
    /// The updates that moved much further than the others, found in a pass of its own; or those
    /// that moved so far that the square is no number, of however few.
    pub(crate) fn far_updates(&self) -> Result<Option<Vec<(PathBuf, Reason)>>, Error> {
        let order: Vec<usize> =
            (0..self.cohort.tensors.len()).filter(|&i| self.is_reduced(i)).collect();
        let blocks = self.blocks(&order);
        let mean = Plan::Linear(Linear::mean(self.cohort.weights()));
        let mut squares = vec![0.0; self.cohort.len()];
        pass(
            blocks.len(),
            &mut workers(Scratch::default),
            |scratch, i| {
                let block = blocks.get(i);
                let Scratch { bytes, narrow, wide, result } = scratch;
                let outcome = if self.cohort.is_wide(block.tensor) {
                    reduce_block(self.cohort, &mean, block, true, bytes, wide, result)?
                } else {
                    reduce_block(self.cohort, &mean, block, true, bytes, narrow, result)?
                };
                let known = outcome == Outcome::Reduced;
                Ok(if known { std::mem::take(&mut result.moments) } else { Vec::new() })
            },
            |_, moments| {
                for (member, [square, _]) in moments {
                    squares[member] += square;
                }
                Ok(())
            },
        )?;
        let norms: Vec<f64> = squares.into_iter().map(f64::sqrt).collect();
        Ok(self.far_norms(&norms).or_else(|| self.endless(&norms)))
    }

    /// The updates whose own value at an element is beyond the range of the result's dtype, or whose
    /// scale takes it there, and which are to blame that the result is; unless that is so of all.
    pub(crate) fn beyond_range(
        &self,
        error: &Error,
    ) -> Result<Option<Vec<(PathBuf, Reason)>>, Error> {
        let Error::OutOfRange { tensor, dtype, index } = error else { return Ok(None) };
        let cohort = self.cohort;
        let Some(at) = cohort.tensors.iter().position(|t| t.name == *tensor) else {
            return Ok(None);
        };
        let mut refused = Vec::new();
        let mut refuse = |member: usize, reason| {
            refused.push((cohort.members[member].input.update.path.clone(), reason));
        };
        let range = format!("out of the range of {dtype}");
        if let Some(stack) = self.stack.filter(|stack| stack.holds(at)) {
            let problem = format!("its values or its scale take tensor {tensor:?} {range}");
            stack.owner(at, *index).into_iter().for_each(|member| {
                refuse(member, Reason::Adapter { problem: problem.clone() });
            });
        } else if self.options.dtype.is_some() {
            let (mut bytes, mut values) = (Vec::new(), Vec::new());
            for member in cohort.holders(at) {
                let Some((file, own)) = cohort.info(member, at) else { continue };
                bytes.resize(element_width(own.dtype), 0);
                file.read_at(own, *index, &mut bytes)?;
                decode_floats(own.dtype, &bytes, &mut values);
                bytes.clear();
                if !encode_floats(*dtype, &values, &mut bytes) {
                    let found = format!("{:e}, {range},", values[0]);
                    let (tensor, index) = (tensor.clone(), *index);
                    refuse(member, Reason::Value { tensor, index, found });
                }
            }
        }
        let some = !refused.is_empty() && refused.len() < cohort.len();
        Ok(some.then_some(refused))
    }

    /// The updates whose norm is no number, unless all are such.
    fn endless(&self, norms: &[f64]) -> Option<Vec<(PathBuf, Reason)>> {
        let (finite, endless): (Vec<usize>, Vec<usize>) =
            (0..norms.len()).partition(|&i| norms[i].is_finite());
        let finite: Vec<f64> = finite.into_iter().map(|i| norms[i]).collect();
        if finite.is_empty() || endless.is_empty() {
            return None;
        }
        let median = median(&finite);
        let refuse = |i: usize| {
            let reason = Reason::Norm { norm: norms[i], median, limit: f64::MAX };
            (self.cohort.members[i].input.update.path.clone(), reason)
        };
        Some(endless.into_iter().map(refuse).collect())
    }

    /// The updates that moved much further than the others, if there are some.
    ///
    /// Those that hold the same tensors are compared with each other. Of too few of a kind each is
    /// compared with all, by what it moved per value: parts of different size move differently far.
    pub(crate) fn far_norms(&self, norms: &[f64]) -> Option<Vec<(PathBuf, Reason)>> {
        let max_deviation =
            self.options.rules.max_deviation.get().filter(|_| self.private.is_none())?;
        self.cohort.base?;
        let tensors = self.cohort.tensors;
        let mut kinds: BTreeMap<Vec<bool>, Vec<usize>> = BTreeMap::new();
        for i in 0..norms.len() {
            let held = (0..tensors.len()).map(|t| self.cohort.info(i, t).is_some()).collect();
            kinds.entry(held).or_default().push(i);
        }
        let mut per_value = norms.to_vec();
        for (held, alike) in &kinds {
            let sizes = tensors.iter().zip(held).filter(|(_, held)| **held);
            let n: usize = sizes.map(|(tensor, _)| tensor.n_elements()).sum();
            for &i in alike {
                per_value[i] /= (n.max(1) as f64).sqrt();
            }
        }
        // Of each, how far is too far: where half of them did not move at all, moving is no reason.
        let limit = |of: &[f64]| {
            let middle = median(of);
            let distances: Vec<f64> = of.iter().map(|norm| (norm - middle).abs()).collect();
            let deviation = (1.4826 * median(&distances)).max(LEAST_DEVIATION * middle);
            let known = of.len() >= LEAST_FOR_NORMS && middle > 0.0;
            known.then_some((middle, middle + max_deviation * deviation))
        };
        let of_all = if norms.is_empty() { None } else { limit(&per_value) };
        let mut refused = Vec::new();
        for alike in kinds.values() {
            let few = alike.len() < LEAST_FOR_NORMS;
            let moved = if few { &per_value } else { norms };
            let own: Vec<f64> = alike.iter().map(|&i| norms[i]).collect();
            let Some((median, limit)) = (if few { of_all } else { limit(&own) }) else { continue };
            for &i in alike.iter().filter(|&&i| moved[i] > limit) {
                let reason = Reason::Norm { norm: moved[i], median, limit };
                refused.push((self.cohort.members[i].input.update.path.clone(), reason));
            }
        }
        (!refused.is_empty()).then_some(refused)
    }
}
