//! The running moments of the gradient that Adam and `AdamW` share, and their one fused update.

use crate::error::check_option;
use crate::optimizer::check_lengths;
use crate::{Error, State};

const NAMES: [&str; 2] = ["exp_avg", "exp_avg_sq"];

/// How weight decay enters the update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Decay {
    /// As an L2 penalty: `g ← g + weight_decay·p` before the moments see it.
    InGradient(f32),
    /// Apart from the gradient: `p ← p·(1 − lr·weight_decay)`.
    Decoupled(f32),
}

/// First and second moment per parameter, with their rates.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    owner: &'static str,
    beta1: f64,
    beta2: f64,
    eps: f32,
    decay: Decay,
    step: u64,
    exp_avg: Vec<f32>,
    exp_avg_sq: Vec<f32>,
}

impl Moments {
    /// Zero moments for `n_params` parameters; fails if an option of `owner` is out of range.
    pub(crate) fn new(
        owner: &'static str,
        [beta1, beta2]: [f32; 2],
        eps: f32,
        decay: Decay,
        n_params: usize,
    ) -> Result<Self, Error> {
        for (option, beta) in [("beta1", beta1), ("beta2", beta2)] {
            let in_range = |v| (0.0..1.0).contains(&v);
            check_option(owner, option, beta, in_range, "at least 0 and below 1")?;
        }
        check_option(owner, "eps", eps, |v| v >= 0.0, "at least 0")?;
        let (Decay::InGradient(weight_decay) | Decay::Decoupled(weight_decay)) = decay;
        check_option(owner, "weight_decay", weight_decay, |v| v >= 0.0, "at least 0")?;
        Ok(Self {
            owner,
            beta1: beta1.into(),
            beta2: beta2.into(),
            eps,
            decay,
            step: 0,
            exp_avg: vec![0.0; n_params],
            exp_avg_sq: vec![0.0; n_params],
        })
    }

    /// One step over all parameters, in a single pass.
    ///
    /// What depends on the step number alone is computed once, in f64: for beta2 = 0.999 and few
    /// steps, `1 − beta2^t` in f32 would lose three digits to cancellation.
    ///
    /// The products are in the order of `torch`. `((1 − beta2)·g)·g` stays finite for g = 1e20,
    /// where `g·g` would already overflow.
    pub(crate) fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f32) {
        check_lengths(self.exp_avg.len(), params, grads);
        self.step = self.step.saturating_add(1);
        let t = self.step as f64;
        let lr = f64::from(lr);
        let step_size = (lr / (1.0 - self.beta1.powf(t))) as f32;
        let root_scale = (1.0 / (1.0 - self.beta2.powf(t)).sqrt()) as f32;
        let weight1 = (1.0 - self.beta1) as f32;
        let weight2 = (1.0 - self.beta2) as f32;
        let beta2 = self.beta2 as f32;
        let eps = self.eps;
        // Both kinds of decay fit one loop: g + 0·p is g, and p·1 is p.
        let (l2, keep) = match self.decay {
            Decay::InGradient(weight_decay) => (weight_decay, 1.0),
            Decay::Decoupled(weight_decay) => (0.0, (1.0 - lr * f64::from(weight_decay)) as f32),
        };
        let moments = self.exp_avg.iter_mut().zip(&mut self.exp_avg_sq);
        for ((p, &g), (m, v)) in params.iter_mut().zip(grads).zip(moments) {
            let d = g + l2 * *p;
            *m += weight1 * (d - *m);
            *v = beta2 * *v + weight2 * d * d;
            *p = keep * *p - step_size * *m / (v.sqrt() * root_scale + eps);
        }
    }

    pub(crate) fn state(&self) -> State {
        let [exp_avg, exp_avg_sq] = NAMES;
        let tensors = [(exp_avg, &self.exp_avg[..]), (exp_avg_sq, &self.exp_avg_sq[..])];
        State::of(self.owner, self.step, &tensors)
    }

    pub(crate) fn load_state(&mut self, state: &State) -> Result<(), Error> {
        let optimizer = self.owner;
        let [exp_avg, exp_avg_sq] = state.expect(optimizer, NAMES, self.exp_avg.len())?;
        if let Some(index) = exp_avg_sq.iter().position(|&v| v < 0.0) {
            let [_, tensor] = NAMES;
            let (found, expected) = (exp_avg_sq[index], "at least 0");
            return Err(Error::StateValue { optimizer, tensor, index, found, expected });
        }
        self.exp_avg.copy_from_slice(exp_avg);
        self.exp_avg_sq.copy_from_slice(exp_avg_sq);
        self.step = state.step;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments() -> Moments {
        Moments::new("adam", [0.9, 0.999], 1e-8, Decay::InGradient(0.0), 2).unwrap()
    }

    #[test]
    fn the_first_step_is_lr_times_the_sign() {
        let mut params = [0.0; 2];
        moments().step(&mut params, &[3e-4, -70.0], 0.01);
        testkit::assert_close("params", &params, &[-0.01, 0.01], 1e-4, 0.0);
    }

    #[test]
    fn a_gradient_of_1e20_does_not_overflow() {
        let mut m = moments();
        m.step(&mut [0.0; 2], &[1e20, -1e20], 0.01);
        assert!(m.exp_avg_sq.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn bad_second_moments_and_endless_steps_are_handled() {
        let mut m = moments();
        let mut state = m.state();
        state.step = u64::MAX;
        m.load_state(&state).unwrap();
        let mut params = [0.0; 2];
        m.step(&mut params, &[1.0, 1.0], 0.01);
        assert!(params.iter().all(|p| p.is_finite()));

        state.tensors.insert("exp_avg_sq".into(), vec![0.0, -1.0]);
        let before = m.clone();
        let message = m.load_state(&state).unwrap_err().to_string();
        assert!(message.contains("is -1 at element 1, expected at least 0"), "{message}");
        assert_eq!(m, before);
    }
}
