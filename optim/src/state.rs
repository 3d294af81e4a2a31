//! Optimizer state as named flat tensors, so that a checkpoint need not know the optimizer.

use std::collections::BTreeMap;

use crate::Error;

/// Everything an optimizer remembers between steps.
///
/// The tensor names are those of `torch.optim` (`momentum_buffer`, `exp_avg`, `exp_avg_sq`); each
/// tensor has as many elements as there are parameters. Options and learning rate are not part of
/// it.
///
/// ```
/// use optim::{Optimizer, SgdConfig};
///
/// let config = SgdConfig { momentum: 0.9, ..SgdConfig::default() };
/// let mut sgd = config.build(2)?;
/// sgd.step(&mut [1.0, 2.0], &[0.5, -0.5], 0.1);
///
/// let state = sgd.state();
/// assert_eq!(state.optimizer, "sgd");
/// assert_eq!(state.step, 1);
/// assert_eq!(state.tensors["momentum_buffer"], [0.5, -0.5]);
///
/// let mut resumed = config.build(2)?;
/// resumed.load_state(&state)?;
/// assert_eq!(resumed.state(), state);
/// # Ok::<(), optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The name of the optimizer that made it, as in [`Optimizer::name`](crate::Optimizer::name).
    pub optimizer: String,
    /// How many steps were taken.
    pub step: u64,
    /// The tensors by name.
    pub tensors: BTreeMap<String, Vec<f32>>,
}

impl State {
    /// A state of `optimizer` after `step` steps with these tensors.
    pub(crate) fn of(optimizer: &str, step: u64, tensors: &[(&str, &[f32])]) -> Self {
        let tensors =
            tensors.iter().map(|&(name, values)| (name.to_owned(), values.to_vec())).collect();
        Self { optimizer: optimizer.to_owned(), step, tensors }
    }

    /// The tensors called `names`, in that order, if the state is one of `optimizer` for `n_params`
    /// parameters, holds exactly these tensors, and none holds a NaN.
    ///
    /// An infinity passes: the square of a gradient above 1e20 may overflow in an honest run.
    pub(crate) fn expect<const N: usize>(
        &self,
        optimizer: &'static str,
        names: [&'static str; N],
        n_params: usize,
    ) -> Result<[&[f32]; N], Error> {
        if self.optimizer != optimizer {
            let found = self.optimizer.clone();
            return Err(Error::StateOptimizer { expected: optimizer, found });
        }
        if let Some(tensor) = self.tensors.keys().find(|key| !names.contains(&key.as_str())) {
            return Err(Error::StateExtra { optimizer, tensor: tensor.clone() });
        }
        let mut found: [&[f32]; N] = [&[]; N];
        for (slot, tensor) in found.iter_mut().zip(names) {
            let values =
                self.tensors.get(tensor).ok_or(Error::StateMissing { optimizer, tensor })?;
            if values.len() != n_params {
                let (expected, found) = (n_params, values.len());
                return Err(Error::StateLength { optimizer, tensor, expected, found });
            }
            if let Some(index) = values.iter().position(|v| v.is_nan()) {
                let (found, expected) = (f32::NAN, "a number");
                return Err(Error::StateValue { optimizer, tensor, index, found, expected });
            }
            *slot = values;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(state: &State) -> String {
        state.expect("adam", ["exp_avg", "exp_avg_sq"], 2).unwrap_err().to_string()
    }

    #[test]
    fn the_right_state_gives_its_tensors_in_the_order_asked_for() {
        let state = State::of("adam", 3, &[("exp_avg_sq", &[3.0, 4.0]), ("exp_avg", &[1.0, 2.0])]);
        let tensors = state.expect("adam", ["exp_avg", "exp_avg_sq"], 2).unwrap();
        assert_eq!(tensors, [[1.0, 2.0], [3.0, 4.0]]);
    }

    #[test]
    fn every_misfit_is_named() {
        let good = State::of("adam", 3, &[("exp_avg", &[1.0, 2.0]), ("exp_avg_sq", &[3.0, 4.0])]);

        let other = State { optimizer: "sgd".into(), ..good.clone() };
        assert_eq!(message(&other), "the state belongs to optimizer \"sgd\", expected \"adam\"");

        let mut missing = good.clone();
        missing.tensors.remove("exp_avg_sq");
        assert!(message(&missing).contains("has no tensor \"exp_avg_sq\""));

        let mut extra = good.clone();
        extra.tensors.insert("momentum_buffer".into(), vec![0.0; 2]);
        assert!(message(&extra).contains("unexpected tensor \"momentum_buffer\""));

        let mut long = good.clone();
        long.tensors.insert("exp_avg".into(), vec![0.0; 3]);
        assert_eq!(
            message(&long),
            "tensor \"exp_avg\" of the adam state has 3 elements, expected 2"
        );

        let mut nan = good;
        nan.tensors.insert("exp_avg".into(), vec![0.0, f32::NAN]);
        assert!(message(&nan).contains("is NaN at element 1"));
    }
}
