//! The server step, taken block by block.

use crate::Error;
use crate::TensorInfo;
use crate::base::Base;
use crate::blocks::Block;
use crate::server_step::{Movement, MovementRule};
use crate::state::SavedState;

/// A server step that moves a base model.
#[derive(Debug)]
pub(crate) struct Mover<'a> {
    pub(crate) base: &'a Base,
    pub(crate) movement: Movement,
    pub(crate) saved: Option<SavedState>,
}

impl Mover<'_> {
    /// The number of the step to be taken, 1 for the first.
    pub(crate) fn step_number(&self) -> u64 {
        self.saved.as_ref().map_or(0, |saved| saved.step).saturating_add(1)
    }

    /// What is remembered of a block, slot by slot, in the order of their names.
    pub(crate) fn memory(&self, block: Block) -> Result<Vec<Vec<f32>>, Error> {
        let tensor = &self.base.file.tensors()[block.tensor];
        let slots = self.movement.slots.iter();
        match &self.saved {
            Some(saved) => slots.map(|slot| saved.read_block(block, tensor, slot)).collect(),
            None => Ok(slots.map(|_| vec![0.0; block.n_elements]).collect()),
        }
    }

    /// Moves the values of a block of the base, given what the updates were reduced to; returns
    /// what is remembered after it. `n_updates` were reduced.
    pub(crate) fn step(
        &self,
        block: Block,
        n_updates: usize,
        reduced: &[f64],
        values: &mut [f64],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let mut memory = self.memory(block)?;
        match &self.movement.rule {
            MovementRule::Dyn { alpha, population } => {
                let share = n_updates as f64 / f64::from(*population);
                let history = memory.iter_mut().flatten();
                for ((x, &r), h) in values.iter_mut().zip(reduced).zip(history) {
                    let change = r - *x;
                    let moved = f64::from(*h) - alpha * share * change;
                    *h = moved as f32;
                    *x += change - moved / alpha;
                }
            }
            MovementRule::Optimizer { lr, config, decay } => {
                // The optimizer works element by element, so that blocks can be stepped alone. It
                // moves zeros instead of the base, whose low bits f32 would cut off.
                let mut optimizer = config.build(block.n_elements)?;
                if let Some(saved) = &self.saved {
                    let mut state = optimizer.state();
                    state.step = saved.step;
                    state.tensors = self.movement.slots.iter().cloned().zip(memory).collect();
                    optimizer.load_state(&state)?;
                }
                let grads: Vec<f32> =
                    values.iter().zip(reduced).map(|(&x, &r)| (x - r) as f32).collect();
                let mut movement = vec![0.0; block.n_elements];
                optimizer.step(&mut movement, &grads, *lr);
                for (x, &d) in values.iter_mut().zip(&movement) {
                    *x += f64::from(d) - decay * *x;
                }
                memory = optimizer.state().tensors.into_values().collect();
            }
        }
        let tensor = &self.base.file.tensors()[block.tensor];
        let overflown = |slot: &Vec<f32>| slot.iter().position(|v| !v.is_finite());
        match memory.iter().find_map(overflown) {
            Some(index) => Err(out_of_range(tensor, block.start + index)),
            None => Ok(memory),
        }
    }
}

pub(crate) fn out_of_range(tensor: &TensorInfo, index: usize) -> Error {
    Error::OutOfRange { tensor: tensor.name.clone(), dtype: tensor.dtype, index }
}
