//! Adapters put beside each other, so that the product of the result's factors is the mean of the
//! updates' products.
//!
//! `A` is the rows of all `A_i`, and `B` the columns of all `w_i·s_i·B_i`, for weights `w_i` that sum to
//! one and scales `s_i`: `B·A = Σ w_i·s_i·B_i·A_i`. Every element of `B` is rounded once, none of `A` is.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::adapter_config::of_scale_one;
use crate::adapters::{AdapterKind, pairs};
use crate::agree::most_common;
use crate::blocks::Block;
use crate::cohort::{Cohort, normalize};
use crate::dtype::{byte_len, decode_floats};
use crate::input::Input;
use crate::tensor::shape_text;
use crate::{Error, TensorInfo};

/// What came of adapters that were [stacked](crate::Adapters::Stack).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StackedAdapters {
    /// By whose names the factors are called.
    pub kind: AdapterKind,
    /// How many pairs of factors there are.
    pub pairs: u64,
    /// The largest rank of a pair: the sum of the ranks of what was merged.
    pub rank: u64,
    /// By which alpha to load a pair of that rank, as every pair by its own rank: the scale is then 1.
    /// Tensors `X.alpha` of the result hold it already. None where scales are not known, as no
    /// `adapter_config.json` stood beside the updates: they all have one and the same then, with which
    /// the result is to be loaded, too.
    pub alpha: Option<u64>,
    /// What `adapter_config.json` beside the result has to say, if one stood beside the updates: what
    /// most of them say, with rank and alpha of the result.
    #[serde(skip)]
    pub config: Option<String>,
}

/// What a tensor of the result is to its pair.
#[derive(Debug, Clone, Copy)]
enum Part {
    Down,
    Up,
    Alpha,
}

/// Where the factors of one member lie in those of the result.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// Its first row of `A` and column of `B`.
    at: usize,
    rank: usize,
    /// `w_i·s_i`
    factor: f64,
}

/// The stacked adapters of a merge.
#[derive(Debug)]
pub(crate) struct Stack {
    /// The tensors of the result.
    pub(crate) tensors: Arc<[TensorInfo]>,
    /// Of each tensor its pair, if it belongs to one.
    places: Vec<Option<(usize, Part)>>,
    /// Of each pair the segments of all members, in their order.
    segments: Vec<Vec<Segment>>,
    pub(crate) report: StackedAdapters,
}

impl Stack {
    /// The stack of updates that have `tensors` but for the ranks, with what each of them counts;
    /// those that count nothing are not in it. None if there are no adapters.
    ///
    /// # Errors
    /// If the result would be larger than a file can be.
    pub(crate) fn of(
        inputs: &[&Input],
        counted: &[f64],
        tensors: &Arc<[TensorInfo]>,
        out: &Path,
    ) -> Result<Option<Self>, Error> {
        let members: Vec<(&Input, f64)> =
            inputs.iter().copied().zip(counted.iter().copied()).filter(|m| m.1 > 0.0).collect();
        let pairs = members.first().map_or_else(Vec::new, |(first, _)| pairs(first.file.tensors()));
        if pairs.is_empty() {
            return Ok(None);
        }
        let mut weights: Vec<f64> = members.iter().map(|m| m.1).collect();
        normalize(weights.iter_mut());
        let total: f64 = weights.iter().sum();

        let mut tensors = tensors.to_vec();
        let mut places = vec![None; tensors.len()];
        let (mut all, mut ranks) = (Vec::new(), Vec::new());
        for (number, pair) in pairs.iter().enumerate() {
            let (mut segments, mut rank) = (Vec::with_capacity(members.len()), 0_usize);
            for ((input, _), weight) in members.iter().zip(&weights) {
                let own = input.factors.as_ref().and_then(|factors| factors.pairs.get(number));
                let Some(own) = own else { continue };
                let factor = own.scale * (weight / total);
                segments.push(Segment { at: rank, rank: own.rank, factor });
                rank = rank.saturating_add(own.rank);
            }
            for (tensor, part, axis) in [(pair.down, Part::Down, 0), (pair.up, Part::Up, 1)] {
                let info = &mut tensors[tensor];
                info.shape[axis] = rank;
                let bits = info.dtype.bitsize();
                if info.shape.iter().try_fold(bits, |n, &size| n.checked_mul(size)).is_none() {
                    let (path, tensor) = (out.to_owned(), info.name.clone());
                    let problem = format!("shape {} has too many bytes", shape_text(&info.shape));
                    return Err(Error::Tensor { path, tensor, problem });
                }
                places[tensor] = Some((number, part));
            }
            if let Some(alpha) = pair.alpha {
                places[alpha] = Some((number, Part::Alpha));
            }
            ranks.push((pair.module.as_str(), rank));
            all.push(segments);
        }

        let kind = pairs
            .iter()
            .map(|pair| pair.kind)
            .reduce(|a, b| if a == b { a } else { AdapterKind::Mixed });
        let rank = ranks.iter().map(|&(_, rank)| rank as u64).max().unwrap_or(0);
        let sorted: Vec<&Input> = members.iter().map(|m| m.0).collect();
        let known =
            |has: bool| sorted[0].factors.as_ref().is_some_and(|f| f.has_config == Some(has));
        let rest = most_common(&sorted, |input| input.factors.as_ref()?.config.clone());
        let report = StackedAdapters {
            kind: kind.unwrap_or(AdapterKind::Mixed),
            pairs: pairs.len() as u64,
            rank,
            alpha: (!known(false)).then_some(rank),
            config: rest.map(|rest| of_scale_one(&rest, &ranks)),
        };
        Ok(Some(Self { tensors: tensors.into(), places, segments: all, report }))
    }

    /// Whether a tensor belongs to an adapter.
    pub(crate) fn holds(&self, tensor: usize) -> bool {
        self.places.get(tensor).is_some_and(Option::is_some)
    }

    /// The member that an element of an adapter's tensor comes from.
    pub(crate) fn owner(&self, tensor: usize, index: usize) -> Option<usize> {
        let (pair, part) = self.places[tensor]?;
        let segments = &self.segments[pair];
        let shape = &self.tensors[tensor].shape;
        let place = match part {
            Part::Down => index / shape[1..].iter().product::<usize>(),
            Part::Up => index % shape[1],
            Part::Alpha => return None,
        };
        segments.iter().position(|s| (s.at..s.at + s.rank).contains(&place))
    }

    /// The values of a block of an adapter's tensor; none if a member holds NaN or infinity there.
    ///
    /// Of every member it reads what the block needs, and of `B` whole rows of the member.
    pub(crate) fn values(
        &self,
        cohort: &Cohort<'_>,
        block: Block,
    ) -> Result<Option<Vec<f64>>, Error> {
        let Some((pair, part)) = self.places[block.tensor] else { return Ok(Some(Vec::new())) };
        let segments = &self.segments[pair];
        let rank = segments.last().map_or(0, |last| last.at + last.rank);
        let (start, end) = (block.start, block.start + block.n_elements);
        let mut out = vec![0.0; block.n_elements];
        let shape = &self.tensors[block.tensor].shape;
        let mut reader = Reader::default();
        match part {
            Part::Alpha => out.fill(rank as f64),
            Part::Down => {
                let width: usize = shape[1..].iter().product();
                for (member, segment) in segments.iter().enumerate() {
                    let first = segment.at * width;
                    let own = start.max(first)..end.min(first + segment.rank * width);
                    if own.is_empty() {
                        continue;
                    }
                    let (from, n) = (own.start - first, own.len());
                    if !reader.read(cohort, (member, block.tensor), from, n)? {
                        return Ok(None);
                    }
                    out[own.start - start..own.end - start].copy_from_slice(&reader.values);
                }
            }
            Part::Up => {
                for (member, segment) in segments.iter().enumerate() {
                    // The first row of `B` whose part of this member begins or goes on in the block,
                    // and the row after the last.
                    let before = start.checked_sub(segment.at + segment.rank);
                    let from = before.map_or(0, |before| before / rank + 1);
                    let to = end.saturating_sub(segment.at).div_ceil(rank);
                    if from >= to {
                        continue;
                    }
                    let n = (to - from) * segment.rank;
                    if !reader.read(cohort, (member, block.tensor), from * segment.rank, n)? {
                        return Ok(None);
                    }
                    for (row, values) in (from..to).zip(reader.values.chunks_exact(segment.rank)) {
                        let first = row * rank + segment.at;
                        let places =
                            (first..).zip(values).filter(|&(at, _)| start <= at && at < end);
                        for (at, value) in places {
                            out[at - start] = segment.factor * value;
                        }
                    }
                }
            }
        }
        Ok(Some(out))
    }
}

/// Buffers for what is read of a member.
#[derive(Default)]
struct Reader {
    bytes: Vec<u8>,
    values: Vec<f64>,
}

impl Reader {
    /// Reads elements of a tensor from `start` on; returns whether all are finite.
    fn read(
        &mut self,
        cohort: &Cohort<'_>,
        (member, tensor): (usize, usize),
        start: usize,
        n: usize,
    ) -> Result<bool, Error> {
        self.values.clear();
        let Some((file, own)) = cohort.info(member, tensor) else {
            self.values.resize(n, 0.0);
            return Ok(true);
        };
        self.bytes.resize(byte_len(own.dtype, n), 0);
        file.read_at(own, start, &mut self.bytes)?;
        decode_floats(own.dtype, &self.bytes, &mut self.values);
        Ok(self.values.iter().all(|v| v.is_finite()))
    }
}
