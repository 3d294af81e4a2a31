//! Steps only along gradients that are numbers.

use crate::{Error, Optimizer, global_norm};

/// Leaves out steps whose gradient holds NaN or infinity, counts them, and gives up after too many
/// in a row.
///
/// One bad batch then costs one step, and a run that has diverged ends with an error instead of a
/// model of NaN.
///
/// ```
/// use optim::{Guard, Optimizer, SgdConfig};
///
/// let mut guard = Guard::default();
/// let mut sgd = SgdConfig { momentum: 0.9, ..SgdConfig::default() }.build(2)?;
/// let mut params = [1.0, 2.0];
/// assert!(!guard.step(&mut sgd, &mut params, &[1.0, f32::NAN], 0.1)?);
/// assert_eq!((params, sgd.state().step, guard.skipped), ([1.0, 2.0], 0, 1));
/// assert!(guard.step(&mut sgd, &mut params, &[1.0, 0.0], 0.1)?);
/// # Ok::<(), optim::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Guard {
    /// Steps left out so far.
    pub skipped: u64,
    /// Those since the last step that was taken.
    pub in_a_row: u64,
}

impl Guard {
    /// Steps left out in a row after which [`step`](Self::step) fails.
    pub const MAX_IN_A_ROW: u64 = 20;

    /// Takes a step if every gradient is finite, and says whether it did.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if this was the [`MAX_IN_A_ROW`](Self::MAX_IN_A_ROW)th step in a row
    /// that was left out. Parameters and state are unchanged, as for every such step.
    ///
    /// # Panics
    /// If the lengths do not fit the optimizer.
    pub fn step(
        &mut self,
        optimizer: &mut dyn Optimizer,
        params: &mut [f32],
        grads: &[f32],
        lr: f32,
    ) -> Result<bool, Error> {
        // Squares of f32 cannot overflow the f64 in which they are summed.
        let taken = self.admit(global_norm(grads).is_finite())?;
        if taken {
            optimizer.step(params, grads, lr);
        }
        Ok(taken)
    }

    /// Counts a step whose gradient is known to be `finite` or not; returns `finite`.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn admit(&mut self, finite: bool) -> Result<bool, Error> {
        if finite {
            self.in_a_row = 0;
            return Ok(true);
        }
        self.skipped += 1;
        self.in_a_row += 1;
        if self.in_a_row >= Self::MAX_IN_A_ROW {
            return Err(Error::NotFinite { steps: self.in_a_row });
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OptimizerConfig;

    #[test]
    fn bad_gradients_change_nothing_in_any_optimizer() {
        for name in OptimizerConfig::NAMES {
            let config: OptimizerConfig = name.parse().unwrap();
            let mut optimizer = config.build(3).unwrap();
            let mut params = [1.0, -2.0, 3.0];
            optimizer.step(&mut params, &[0.1, 0.2, -0.3], 0.01);
            let (before, state) = (params, optimizer.state());
            let mut guard = Guard::default();
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let grads = [0.1, bad, 0.1];
                assert!(!guard.step(optimizer.as_mut(), &mut params, &grads, 0.01).unwrap());
            }
            testkit::assert_same_bits(name, &params, &before);
            assert_eq!(optimizer.state(), state, "{name}");
            assert_eq!(guard, Guard { skipped: 3, in_a_row: 3 });
            // The largest finite gradient is one.
            assert!(guard.step(optimizer.as_mut(), &mut params, &[f32::MAX; 3], 0.0).unwrap());
            assert_eq!(guard, Guard { skipped: 3, in_a_row: 0 });
        }
    }

    #[test]
    fn too_many_in_a_row_are_an_error_that_says_what_to_try() {
        let mut guard = Guard::default();
        for _ in 1..Guard::MAX_IN_A_ROW {
            assert_eq!(guard.admit(false), Ok(false));
        }
        let message = guard.admit(false).unwrap_err().to_string();
        assert!(message.contains("20 steps in a row"), "{message}");
        assert!(message.contains("smaller learning rate"), "{message}");
    }
}
