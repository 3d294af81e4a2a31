//! One try to merge: what it is made of, and which tensor is what.

use crate::admit::Admission;
use crate::blocks::Blocks;
use crate::carry::Carries;
use crate::cohort::Cohort;
use crate::dtype::{Kind, kind};
use crate::mover::Mover;
use crate::private_round::PrivateRound;
use crate::rules::CONTROL_PREFIX;
use crate::stack::Stack;
use crate::write::layout_order;
use crate::{Correction, Options, TensorInfo};

/// One try to merge the updates that are admitted so far.
pub(crate) struct Run<'a> {
    pub(crate) admission: &'a Admission<'a>,
    pub(crate) cohort: &'a Cohort<'a>,
    pub(crate) options: &'a Options,
    pub(crate) carries: &'a Carries,
    pub(crate) mover: Option<&'a Mover<'a>>,
    pub(crate) private: Option<&'a PrivateRound>,
    /// Adapters that are put beside each other.
    pub(crate) stack: Option<&'a Stack>,
    /// Which tensors keep the base's values.
    pub(crate) kept: Vec<bool>,
    pub(crate) row_bytes: Option<usize>,
}

impl Run<'_> {
    /// The tensors in the order of the output.
    pub(crate) fn layout(&self) -> Vec<usize> {
        let tensors = self.cohort.tensors;
        let mut layout: Vec<usize> = (0..tensors.len()).collect();
        layout.sort_by(|&a, &b| {
            let key = |i: usize| (tensors[i].dtype, tensors[i].name.as_str());
            layout_order(key(a), key(b))
        });
        layout
    }

    /// Whether a tensor is reduced by the rule: a float that is not kept, and neither a control variate
    /// nor part of a stacked adapter.
    pub(crate) fn is_reduced(&self, tensor: usize) -> bool {
        let info = &self.cohort.tensors[tensor];
        let is_stacked = self.stack.is_some_and(|stack| stack.holds(tensor));
        let is_moved = !self.kept[tensor] && !is_stacked && !self.is_control(info);
        kind(info.dtype) == Kind::Float && is_moved
    }

    /// The blocks of some tensors, in an order of theirs.
    pub(crate) fn blocks(&self, layout: &[usize]) -> Blocks {
        let (tensors, order) = (self.cohort.tensors, layout.iter().copied());
        match self.row_bytes {
            Some(row_bytes) => Blocks::of_bytes(tensors, order, row_bytes),
            None => Blocks::new(tensors, order, self.cohort.len() + self.cohort.older.len() + 1),
        }
    }

    /// Whether a tensor is a control variate.
    pub(crate) fn is_control(&self, tensor: &TensorInfo) -> bool {
        self.options.rules.correction == Correction::Scaffold
            && tensor.name.starts_with(CONTROL_PREFIX)
    }
}
