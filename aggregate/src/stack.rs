//! Adapters put beside each other, so that the product of the result's factors is the mean of the
//! updates' products.
//!
//! `A` is the rows of all `A_i`, and `B` the columns of all `w_i·s_i·B_i`, for weights `w_i` that sum to
//! one and scales `s_i`: `B·A = Σ w_i·s_i·B_i·A_i`. Every element of `B` is rounded once, none of `A` is.
//! Where programs write them the other way round, rows are columns.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::adapter_config::of_scale_one;
use crate::adapters::{kind_of, pairs};
use crate::agree::most_common;
use crate::blocks::Block;
use crate::cohort::{Cohort, normalize};
use crate::factor_names::AdapterKind;
use crate::input::Input;
use crate::pages::{Page, Pages, rows_per_page};
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
    /// `A` or `B`, and which of its axes is the rank.
    Factor {
        is_up: bool,
        axis: usize,
    },
    Alpha,
}

/// Values of a block that are one member's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Run {
    pub(crate) member: usize,
    /// The first, in the block.
    pub(crate) at: usize,
    pub(crate) n: usize,
}

/// The values of a block, and whose they are.
#[derive(Debug, Default)]
pub(crate) struct Values {
    pub(crate) values: Vec<f64>,
    pub(crate) runs: Vec<Run>,
}

/// Where the factors of one member lie in those of the result.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// Its first place in the rank.
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
    /// Of each pair its `B`.
    ups: Vec<usize>,
    pages: Pages,
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
            let factors = [(pair.down, false, pair.down_axis()), (pair.up, true, pair.up_axis())];
            for (tensor, is_up, axis) in factors {
                let info = &mut tensors[tensor];
                info.shape[axis] = rank;
                let bits = info.dtype.bitsize();
                if info.shape.iter().try_fold(bits, |n, &size| n.checked_mul(size)).is_none() {
                    let (path, tensor) = (out.to_owned(), info.name.clone());
                    let problem = format!("shape {} has too many bytes", shape_text(&info.shape));
                    return Err(Error::Tensor { path, tensor, problem });
                }
                places[tensor] = Some((number, Part::Factor { is_up, axis }));
            }
            if let Some(alpha) = pair.alpha {
                places[alpha] = Some((number, Part::Alpha));
            }
            ranks.push((pair, rank));
            all.push(segments);
        }

        let rank = ranks.iter().map(|&(_, rank)| rank as u64).max().unwrap_or(0);
        let sorted: Vec<&Input> = members.iter().map(|m| m.0).collect();
        let known =
            |has: bool| sorted[0].factors.as_ref().is_some_and(|f| f.has_config == Some(has));
        let rest = most_common(&sorted, |input| input.factors.as_ref()?.config.clone());
        // The others hold their scales themselves.
        let by_config: Vec<(&str, usize)> = ranks
            .iter()
            .filter(|(pair, _)| pair.needs_config())
            .map(|&(pair, rank)| (pair.module.as_str(), rank))
            .collect();
        let report = StackedAdapters {
            kind: kind_of(&pairs).unwrap_or(AdapterKind::Mixed),
            pairs: pairs.len() as u64,
            rank,
            alpha: (!known(false)).then_some(rank),
            config: rest.map(|rest| of_scale_one(&rest, &by_config)),
        };
        let ups = pairs.iter().map(|pair| pair.up).collect();
        let pages = Pages::default();
        Ok(Some(Self { tensors: tensors.into(), places, segments: all, ups, pages, report }))
    }

    /// Whether a tensor belongs to an adapter.
    pub(crate) fn holds(&self, tensor: usize) -> bool {
        self.places.get(tensor).is_some_and(Option::is_some)
    }

    /// How many pairs there are, and how many members each of them has.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.segments.len(), self.segments.first().map_or(0, Vec::len))
    }

    /// The `B` of a pair.
    pub(crate) fn second_factor(&self, pair: usize) -> &TensorInfo {
        &self.tensors[self.ups[pair]]
    }

    /// The pair of a factor, and whether it is its `B`.
    pub(crate) fn factor(&self, tensor: usize) -> Option<(usize, bool)> {
        match self.places.get(tensor).copied()?? {
            (pair, Part::Factor { is_up, .. }) => Some((pair, is_up)),
            (_, Part::Alpha) => None,
        }
    }

    /// The member that an element of an adapter's tensor comes from.
    pub(crate) fn owner(&self, tensor: usize, index: usize) -> Option<usize> {
        let (pair, part) = self.places[tensor]?;
        let shape = &self.tensors[tensor].shape;
        let place = match part {
            Part::Factor { axis: 0, .. } => index / shape[1..].iter().product::<usize>(),
            Part::Factor { .. } => index % shape[1],
            Part::Alpha => return None,
        };
        self.segments[pair].iter().position(|s| (s.at..s.at + s.rank).contains(&place))
    }

    /// The values of a block of an adapter's tensor; none if a member holds NaN or infinity near it.
    pub(crate) fn values(
        &self,
        cohort: &Cohort<'_>,
        block: Block,
    ) -> Result<Option<Values>, Error> {
        let Some((pair, part)) = self.places[block.tensor] else {
            return Ok(Some(Values::default()));
        };
        let segments = &self.segments[pair];
        let mut out = Values { values: vec![0.0; block.n_elements], runs: Vec::new() };
        let Part::Factor { is_up, axis } = part else {
            let rank = segments.last().map_or(0, |last| last.at + last.rank);
            out.values.fill(rank as f64);
            return Ok(Some(out));
        };
        let shape = &self.tensors[block.tensor].shape;
        let width: usize = shape[1..].iter().product();
        let per_page = rows_per_page(width);
        let end = block.start + block.n_elements;
        let (mut at, mut own) = (block.start, Vec::new());
        while at < end {
            let number = at / width / per_page;
            let rows = number * per_page..((number + 1) * per_page).min(shape[0]);
            let page = self.pages.get((block.tensor, number), rows.len() * width, |page| {
                read_rows(page, cohort, block.tensor, segments, axis, rows.clone(), width)
            })?;
            if !page.is_finite {
                return Ok(None);
            }
            let until = end.min(rows.end * width);
            while at < until {
                // Whose it is, which of the member's own elements, and how many follow.
                let (row, column) = (at / width, at % width);
                let place = if axis == 0 { row } else { column };
                let member = segments.partition_point(|s| s.at + s.rank <= place);
                let Segment { at: first, rank, factor } = segments[member];
                let (start, n) = if axis == 0 {
                    (at - first * width, (first + rank) * width - at)
                } else {
                    (row * rank + column - first, first + rank - column)
                };
                let n = n.min(until - at);
                let run = Run { member, at: at - block.start, n };
                if page.values(member, start, n, &mut own) {
                    let factor = if is_up { factor } else { 1.0 };
                    let places = &mut out.values[run.at..run.at + n];
                    places.iter_mut().zip(&own).for_each(|(place, value)| *place = factor * value);
                }
                out.runs.push(run);
                at += n;
            }
        }
        Ok(Some(out))
    }
}

/// Reads what the members have in some rows of the result's tensor, each of them at one go.
fn read_rows(
    page: &mut Page,
    cohort: &Cohort<'_>,
    tensor: usize,
    segments: &[Segment],
    axis: usize,
    rows: Range<usize>,
    width: usize,
) -> Result<(), Error> {
    for (member, &Segment { at, rank, .. }) in segments.iter().enumerate() {
        let Some(source) = cohort.info(member, tensor) else { continue };
        let (from, to, own_width) = match axis {
            0 => (rows.start.max(at), rows.end.min(at + rank), width),
            _ => (rows.start, rows.end, rank),
        };
        if from < to {
            let first = if axis == 0 { from - at } else { from };
            page.read(member, source, first * own_width, (to - from) * own_width)?;
        }
    }
    Ok(())
}
