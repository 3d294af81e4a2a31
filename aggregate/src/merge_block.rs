//! One block of the output: reduced, moved by the server step, and encoded.

use std::time::Instant;

use crate::blocks::Block;
use crate::carry::Carry;
use crate::dtype::{
    Kind, byte_len, decode_integers, element_width, encode_floats, first_invalid, kind,
};
use crate::kernels::{square_distance, square_sum};
use crate::lost::{LostOfBlock, lost};
use crate::mover::out_of_range;
use crate::plan::{Linear, Plan};
use crate::reduce::{Outcome, Reduced, Scratch, reduce_block};
use crate::run::Run;
use crate::spent::lap;
use crate::stack::{Stack, Values};
use crate::{Error, TensorInfo};

/// One block of the output, and what was found out on the way.
pub(crate) struct Merged {
    pub(crate) outcome: Outcome,
    pub(crate) bytes: Vec<u8>,
    pub(crate) memory: Vec<Vec<f32>>,
    pub(crate) moments: Vec<(usize, [f64; 2])>,
    pub(crate) square: f64,
    /// `‖new − base‖²` and `‖base‖²`
    pub(crate) change: [f64; 2],
    /// What its dtype lost of stacked adapters.
    pub(crate) lost: LostOfBlock,
}

impl Run<'_> {
    pub(crate) fn merge_block(
        &self,
        plan: &Plan,
        block: Block,
        scratch: &mut Scratch,
        mut bytes: Vec<u8>,
    ) -> Result<Merged, Error> {
        bytes.clear();
        let cohort = self.cohort;
        let tensor = &cohort.tensors[block.tensor];
        let mut merged = Merged {
            outcome: Outcome::Unmoved,
            bytes,
            memory: Vec::new(),
            moments: Vec::new(),
            square: 0.0,
            change: [0.0; 2],
            lost: Vec::new(),
        };
        if let Some(stack) = self.stack.filter(|stack| stack.holds(block.tensor)) {
            return self.stacked(stack, block, merged);
        }
        let is_float = kind(tensor.dtype) == Kind::Float;
        if is_float && !self.kept[block.tensor] {
            let control = self.is_control(tensor).then(|| self.control_plan());
            let plan = control.as_ref().unwrap_or(plan);
            let with_moments = self.private.is_none();
            let Scratch { bytes, narrow, wide, result } = scratch;
            merged.outcome = if cohort.is_wide(block.tensor) {
                reduce_block(cohort, plan, block, with_moments, bytes, wide, result)?
            } else {
                reduce_block(cohort, plan, block, with_moments, bytes, narrow, result)?
            };
        }
        match merged.outcome {
            Outcome::NotFinite => return Ok(merged),
            Outcome::Unmoved => return self.carry(block, merged),
            Outcome::Reduced => {}
        }

        let mut clock = Instant::now();
        let Reduced { values, base, moments, squares, spent, .. } = &mut scratch.result;
        (merged.moments, merged.square, merged.change) =
            (std::mem::take(moments), squares[0], *squares);
        if let Some(mover) = self.mover.filter(|_| !self.is_control(tensor)) {
            if let Some(index) = base.iter().position(|v| !v.is_finite()) {
                return Err(mover.base.value_error(tensor, block.start + index));
            }
            // The optimizer moves a copy, as the base is needed for the size of the change.
            let mut moved = base.clone();
            merged.memory = mover.step(block, cohort.len(), values, &mut moved)?;
            merged.change[0] = square_distance(&moved[..], &base[..]);
            *values = moved;
        } else if let Some(mover) = self.mover {
            merged.memory = mover.memory(block)?;
        }
        encode(tensor, block, values, &mut merged.bytes)?;
        spent.write_s += lap(&mut clock);
        Ok(merged)
    }

    /// A block of an adapter's tensor, for which the members' factors are put beside each other.
    fn stacked(&self, stack: &Stack, block: Block, mut merged: Merged) -> Result<Merged, Error> {
        let Some(Values { values, runs }) = stack.values(self.cohort, block)? else {
            merged.outcome = Outcome::NotFinite;
            return Ok(merged);
        };
        merged.change[0] = square_sum(&values);
        let tensor = &self.cohort.tensors[block.tensor];
        encode(tensor, block, &values, &mut merged.bytes)?;
        merged.lost = lost(tensor.dtype, &values, &runs, &merged.bytes);
        Ok(merged)
    }

    /// A block that no rule moves: of integers and bytes what their rule says, all else is the base's.
    fn carry(&self, block: Block, mut merged: Merged) -> Result<Merged, Error> {
        let cohort = self.cohort;
        let tensor = &cohort.tensors[block.tensor];
        let is_float = kind(tensor.dtype) == Kind::Float;
        let rule = self.carries.rule(tensor);
        let of_base = is_float || self.kept[block.tensor] || rule == Carry::Base;
        let first = cohort.holders(block.tensor).next().filter(|_| !of_base);
        match (first.and_then(|first| cohort.info(first, block.tensor)), cohort.base) {
            (Some(_), _) if rule == Carry::Max => self.largest(block, &mut merged.bytes)?,
            (Some((file, own)), _) => {
                merged.bytes.resize(byte_len(own.dtype, block.n_elements), 0);
                file.read_at(own, block.start, &mut merged.bytes)?;
            }
            (None, Some(base)) => {
                base.read_block(block, tensor.dtype, &mut merged.bytes)?;
                if let Some(mover) = self.mover.filter(|_| is_float) {
                    merged.memory = mover.memory(block)?;
                }
            }
            (None, None) => return Err(out_of_range(tensor, block.start)),
        }
        Ok(merged)
    }

    /// The largest of each integer in all members that hold the tensor.
    fn largest(&self, block: Block, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let (mut most, mut values, mut piece) = (Vec::new(), Vec::new(), Vec::new());
        for holder in self.cohort.holders(block.tensor) {
            let Some((file, own)) = self.cohort.info(holder, block.tensor) else { continue };
            piece.resize(byte_len(own.dtype, block.n_elements), 0);
            file.read_at(own, block.start, &mut piece)?;
            decode_integers(own.dtype, &piece, &mut values);
            if most.is_empty() {
                most.clone_from(&values);
                bytes.clone_from(&piece);
            }
            let width = element_width(own.dtype);
            let elements = bytes.chunks_exact_mut(width).zip(piece.chunks_exact(width));
            for ((most, value), (kept, own)) in most.iter_mut().zip(&values).zip(elements) {
                if value > most {
                    *most = *value;
                    kept.copy_from_slice(own);
                }
            }
        }
        Ok(())
    }

    /// Control variates: the center's moves by the mean change, as far as nodes took part.
    fn control_plan(&self) -> Plan {
        let n = self.cohort.len();
        let all = self.options.rules.population.map_or(n, |all| (all as usize).max(n));
        Plan::Linear(Linear::new(vec![1.0; n], all as f64))
    }
}

/// Appends the values in the dtype of their tensor, whose range they must not leave.
fn encode(
    tensor: &TensorInfo,
    block: Block,
    values: &[f64],
    bytes: &mut Vec<u8>,
) -> Result<(), Error> {
    if encode_floats(tensor.dtype, values, bytes) {
        return Ok(());
    }
    let index = first_invalid(tensor.dtype, bytes).map_or(0, |(index, _)| index);
    Err(out_of_range(tensor, block.start + index))
}
