//! The updates that are reduced, and where each of them holds which tensor.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::Base;
use crate::blocks::Block;
use crate::input::Input;
use crate::rows::Element;
use crate::{Dtype, Error, TensorInfo, WeightFile};

/// An input with a weight above 0.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) input: &'a Input,
    /// What it counts, times a power of two, so that the largest is in 1 to 2.
    pub(crate) weight: f64,
    /// What it counts.
    pub(crate) counted: f64,
    /// What the length of its local training counts.
    pub(crate) steps: f64,
    /// Which of the older bases it started from.
    pub(crate) origin: Option<usize>,
    /// Where it has each tensor of the merge.
    places: Arc<Vec<Option<usize>>>,
}

/// The members in the order in which they are summed, and what they moved away from.
#[derive(Debug)]
pub(crate) struct Cohort<'a> {
    pub(crate) tensors: &'a [TensorInfo],
    pub(crate) members: Vec<Member<'a>>,
    pub(crate) base: Option<&'a Base>,
    pub(crate) older: &'a [Base],
    /// Of each tensor, whether its values are held as f64: those of the result or of a file are.
    wide: Vec<bool>,
}

impl<'a> Cohort<'a> {
    /// A cohort of inputs that are sorted already, with what each of them counts, and the steps of
    /// those that count more than 0; there is at least one.
    pub(crate) fn new(
        tensors: &'a [TensorInfo],
        inputs: &[&'a Input],
        weights: &[f64],
        steps: &[f64],
        base: Option<&'a Base>,
        older: &'a [Base],
    ) -> Self {
        let mut known: BTreeMap<*const TensorInfo, Arc<Vec<Option<usize>>>> = BTreeMap::new();
        let mut wide: Vec<bool> = tensors.iter().map(|t| t.dtype == Dtype::F64).collect();
        for base in base.into_iter().chain(older) {
            for (wide, own) in wide.iter_mut().zip(base.file.tensors()) {
                *wide |= own.dtype == Dtype::F64;
            }
        }
        let mut members: Vec<Member<'a>> = inputs
            .iter()
            .zip(weights)
            .filter(|&(_, &counted)| counted > 0.0)
            .zip(steps)
            .map(|((&input, &counted), &steps)| {
                let own = input.file.tensors();
                let mut place = |(t, wide): (&TensorInfo, &mut bool)| {
                    let place = own.binary_search_by(|o| o.name.cmp(&t.name)).ok()?;
                    *wide |= own[place].dtype == Dtype::F64;
                    Some(place)
                };
                // Inputs of one layout share the list of tensors.
                let places = known.entry(own.as_ptr()).or_insert_with(|| {
                    Arc::new(tensors.iter().zip(&mut wide).map(&mut place).collect())
                });
                let is_base = base.is_some_and(|b| input.update.base.as_ref() == Some(&b.hash));
                let own_base = |o: &Base| input.update.base.as_ref() == Some(&o.hash);
                let origin = older.iter().position(own_base).filter(|_| !is_base);
                let places = Arc::clone(places);
                Member { input, weight: counted, counted, steps, origin, places }
            })
            .collect();
        normalize(members.iter_mut().map(|member| &mut member.weight));
        Self { tensors, members, base, older, wide }
    }

    /// Whether the values of a tensor are held as f64 and not as f32.
    pub(crate) fn is_wide(&self, tensor: usize) -> bool {
        self.wide[tensor]
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// What each member weighs.
    pub(crate) fn weights(&self) -> Vec<f64> {
        self.members.iter().map(|member| member.weight).collect()
    }

    /// The numbers of the members that hold a tensor.
    pub(crate) fn holders(&self, tensor: usize) -> impl Iterator<Item = usize> {
        let holds = move |&i: &usize| self.members[i].places[tensor].is_some();
        (0..self.members.len()).filter(holds)
    }

    /// The member's own description of a tensor that it holds.
    pub(crate) fn info(&self, member: usize, tensor: usize) -> Option<(&WeightFile, &TensorInfo)> {
        let member = &self.members[member];
        let file = &member.input.file;
        Some((file, &file.tensors()[member.places[tensor]?]))
    }

    /// Fills `row` with a member's values of a block; with zeros if it does not hold the tensor.
    pub(crate) fn read<E: Element>(
        &self,
        member: usize,
        block: Block,
        bytes: &mut Vec<u8>,
        row: &mut [E],
    ) -> Result<(), Error> {
        if let Some((file, tensor)) = self.info(member, block.tensor) {
            return E::read(file, tensor, block.start, bytes, row);
        }
        row.fill(E::default());
        Ok(())
    }

    /// Fails if a file changed since it was checked.
    pub(crate) fn check_unchanged(&self) -> Result<(), Error> {
        for member in &self.members {
            member.input.file.check_unchanged()?;
        }
        self.base.into_iter().chain(self.older).try_for_each(|base| base.file.check_unchanged())
    }
}

/// Multiplies weights by a power of two, so that the largest is in 1 to 2: whole numbers stay exact,
/// and no sum of weights overflows.
pub(crate) fn normalize<'w>(weights: impl Iterator<Item = &'w mut f64>) {
    let mut weights: Vec<&mut f64> = weights.collect();
    let mut largest = weights.iter().map(|weight| **weight).fold(0.0, f64::max);
    while largest > 0.0 && !(1.0..2.0).contains(&largest) {
        let factor = if largest < 1.0 { 2.0 } else { 0.5 };
        largest *= factor;
        for weight in &mut weights {
            **weight *= factor;
        }
    }
}
