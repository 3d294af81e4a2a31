//! What an optimizer remembers between steps.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::slot::{MAX_SLOTS, Slot};
use crate::{Error, State};

/// Step number, single numbers and one slice for each slot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Memory {
    owner: &'static str,
    n_params: usize,
    pub(crate) step: u64,
    names: &'static [(&'static str, f64)],
    pub(crate) scalars: Vec<f64>,
    slots: Vec<Slot>,
    tensors: Vec<Vec<f32>>,
}

impl Memory {
    /// The memory before the first step.
    pub(crate) fn new(
        owner: &'static str,
        n_params: usize,
        slots: Vec<Slot>,
        names: &'static [(&'static str, f64)],
    ) -> Self {
        for (i, slot) in slots.iter().enumerate() {
            let twice = slots[..i].iter().any(|other| other.name == slot.name);
            assert!(!twice, "{owner} has two slots {:?}", slot.name);
        }
        let tensors = slots.iter().map(|slot| vec![slot.first; n_params]).collect();
        let scalars = names.iter().map(|(_, value)| *value).collect();
        Self { owner, n_params, step: 0, names, scalars, slots, tensors }
    }

    /// The slots of a range of parameters; those that there are not are empty.
    pub(crate) fn slices(&mut self, range: &Range<usize>) -> [&mut [f32]; MAX_SLOTS] {
        let mut tensors = self.tensors.iter_mut();
        std::array::from_fn(|_| match tensors.next() {
            Some(tensor) => &mut tensor[range.clone()],
            None => &mut [],
        })
    }

    /// The slots of a range of parameters, to read.
    pub(crate) fn kept(&self, range: &Range<usize>) -> Vec<&[f32]> {
        self.tensors.iter().map(|tensor| &tensor[range.clone()]).collect()
    }

    /// How many numbers are remembered of a parameter.
    pub(crate) fn n_slots(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn state(&self) -> State {
        let mut state = State {
            version: State::VERSION,
            optimizer: self.owner.to_owned(),
            step: self.step,
            scalars: BTreeMap::new(),
            tensors: BTreeMap::new(),
        };
        for (slot, tensor) in self.slots.iter().zip(&self.tensors) {
            state.tensors.insert(slot.name.to_owned(), tensor.clone());
        }
        for ((name, _), value) in self.names.iter().zip(&self.scalars) {
            state.scalars.insert((*name).to_owned(), *value);
        }
        state
    }

    /// Takes over a state if it fits; else nothing changes.
    ///
    /// An infinity passes: the square of a gradient above 1e20 may overflow in an honest run.
    pub(crate) fn load(&mut self, state: &State) -> Result<(), Error> {
        let optimizer = self.owner;
        if state.version != State::VERSION {
            let (expected, found) = (State::VERSION, state.version);
            return Err(Error::StateVersion { optimizer, expected, found });
        }
        if state.optimizer != optimizer {
            let found = state.optimizer.clone();
            return Err(Error::StateOptimizer { expected: optimizer, found });
        }
        let is_slot = |key: &str| self.slots.iter().any(|slot| slot.name == key);
        let is_scalar = |key: &str| self.names.iter().any(|(name, _)| *name == key);
        let extra = state.tensors.keys().find(|key| !is_slot(key));
        if let Some(tensor) = extra.or_else(|| state.scalars.keys().find(|key| !is_scalar(key))) {
            return Err(Error::StateExtra { optimizer, tensor: tensor.clone() });
        }
        for slot in &self.slots {
            let tensor = slot.name;
            let values =
                state.tensors.get(tensor).ok_or(Error::StateMissing { optimizer, tensor })?;
            if values.len() != self.n_params {
                let (expected, found) = (self.n_params, values.len());
                return Err(Error::StateLength { optimizer, tensor, expected, found });
            }
            let possible = |v: f32| if slot.squared { v >= 0.0 } else { !v.is_nan() };
            if let Some(index) = values.iter().position(|&v| !possible(v)) {
                let expected = if slot.squared { "at least 0" } else { "a number" };
                let found = values[index];
                return Err(Error::StateValue { optimizer, tensor, index, found, expected });
            }
        }
        let mut scalars = Vec::with_capacity(self.names.len());
        for &(tensor, _) in self.names {
            let value =
                *state.scalars.get(tensor).ok_or(Error::StateMissing { optimizer, tensor })?;
            // Products of momenta, largest rates and sums of weights: none is ever negative.
            if !(value.is_finite() && value >= 0.0) {
                let (found, expected) = (value as f32, "a finite number of at least 0");
                return Err(Error::StateValue { optimizer, tensor, index: 0, found, expected });
            }
            scalars.push(value);
        }
        for (slot, tensor) in self.slots.iter().zip(&mut self.tensors) {
            tensor.copy_from_slice(&state.tensors[slot.name]);
        }
        self.scalars = scalars;
        self.step = state.step;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        let slots = vec![Slot::signed("exp_avg"), Slot::squared("exp_avg_sq")];
        Memory::new("adam", 2, slots, &[("product", 1.0)])
    }

    fn saved() -> State {
        let mut state = memory().state();
        state.step = 3;
        state.tensors.insert("exp_avg".into(), vec![1.0, -2.0]);
        state.tensors.insert("exp_avg_sq".into(), vec![f32::INFINITY, 4.0]);
        state.scalars.insert("product".into(), 0.1);
        state
    }

    /// What is said of a state, after which nothing may have changed.
    fn message(state: &State) -> String {
        let mut loaded = memory();
        let message = loaded.load(state).unwrap_err().to_string();
        assert_eq!(loaded, memory());
        message
    }

    #[test]
    #[should_panic(expected = "sgd has two slots \"buffer\"")]
    fn slots_have_distinct_names() {
        Memory::new("sgd", 1, vec![Slot::signed("buffer"), Slot::squared("buffer")], &[]);
    }

    #[test]
    fn a_state_that_fits_is_taken_over() {
        let mut loaded = memory();
        loaded.load(&saved()).unwrap();
        assert_eq!(loaded.state(), saved());
    }

    #[test]
    fn every_misfit_is_named_and_changes_nothing() {
        let other = State { optimizer: "sgd".into(), ..saved() };
        assert_eq!(message(&other), "the state belongs to optimizer \"sgd\", expected \"adam\"");

        let newer = State { version: State::VERSION + 1, ..saved() };
        assert!(message(&newer).contains("version 3, this program reads version 2"));

        let mut missing = saved();
        missing.tensors.remove("exp_avg_sq");
        assert!(message(&missing).contains("has no tensor \"exp_avg_sq\""));
        let mut missing = saved();
        missing.scalars.clear();
        assert!(message(&missing).contains("has no tensor \"product\""));

        let mut extra = saved();
        extra.tensors.insert("momentum_buffer".into(), vec![0.0; 2]);
        assert!(message(&extra).contains("unexpected tensor \"momentum_buffer\""));
        let mut extra = saved();
        extra.scalars.insert("sum".into(), 0.0);
        assert!(message(&extra).contains("unexpected tensor \"sum\""));

        let mut long = saved();
        long.tensors.insert("exp_avg".into(), vec![0.0; 3]);
        assert_eq!(
            message(&long),
            "tensor \"exp_avg\" of the adam state has 3 elements, expected 2"
        );

        let mut nan = saved();
        nan.tensors.insert("exp_avg".into(), vec![0.0, f32::NAN]);
        assert!(message(&nan).contains("is NaN at element 1, expected a number"));
        let mut negative = saved();
        negative.tensors.insert("exp_avg_sq".into(), vec![0.0, -1.0]);
        assert!(message(&negative).contains("is -1 at element 1, expected at least 0"));
        let mut nan = saved();
        nan.scalars.insert("product".into(), f64::NAN);
        assert!(message(&nan).contains("expected a finite number of at least 0"));
    }
}
