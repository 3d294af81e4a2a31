//! The trait every optimizer implements.

use crate::{Error, State};

/// Moves parameters along their gradients, one step at a time.
///
/// An optimizer is built for a fixed number of parameters, laid out as one flat slice. It keeps
/// what it must remember (its [`State`]) and is told the learning rate at every step, so that a
/// [`Schedule`](crate::Schedule) stays a pure function beside it.
///
/// One of your own that treats every parameter alone is a [`Rule`](crate::Rule) of a few lines;
/// whatever else implements this trait goes wherever an optimizer does.
///
/// ```
/// use optim::{Optimizer, SgdConfig};
///
/// let mut sgd: Box<dyn Optimizer> = Box::new(SgdConfig::default().build(2)?);
/// let mut params = [1.0, 2.0];
/// sgd.step(&mut params, &[10.0, -10.0], 0.1);
/// assert_eq!(params, [0.0, 3.0]);
/// # Ok::<(), optim::Error>(())
/// ```
pub trait Optimizer: Send {
    /// Updates `params` in place from `grads`, the gradient of the loss at `params`, with learning
    /// rate `lr`.
    ///
    /// Nothing is checked for finiteness: a NaN in a gradient reaches the state, and in most
    /// optimizers the parameter; [`Guard`](crate::Guard) leaves such steps out. With the feature
    /// `rayon` a step of some 30,000 parameters or more runs on the threads of the calling pool; the
    /// bits do not depend on their number.
    ///
    /// # Panics
    /// If `params` or `grads` has another length than the optimizer was built for; the message has
    /// all three.
    fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f32);

    /// Turns a copy of the parameters that are trained into those to evaluate and ship.
    ///
    /// They are the same but for [`ScheduleFreeAdamW`](crate::ScheduleFreeAdamW).
    ///
    /// # Panics
    /// If `params` has another length than the optimizer was built for.
    fn average(&self, _params: &mut [f32]) {}

    /// Bounds the threads of a step; without it, those of the calling rayon pool. Without the
    /// feature `rayon` there is but the calling thread.
    fn set_threads(&mut self, _threads: usize) {}

    /// A copy of all that is remembered between steps.
    fn state(&self) -> State;

    /// Replaces what is remembered; the steps after it are bit for bit those of an optimizer that
    /// was never interrupted, if the options are the same.
    ///
    /// # Errors
    /// If the state is of another optimizer, lacks a tensor or has one too many, or if a tensor has
    /// the wrong length or an impossible value. The optimizer is then unchanged.
    fn load_state(&mut self, state: &State) -> Result<(), Error>;

    /// The name as spelled in a configuration.
    fn name(&self) -> &'static str;
}

/// Fails unless both slices have the length the optimizer was built for.
#[track_caller]
pub(crate) fn check_lengths(n_params: usize, params: &[f32], grads: &[f32]) {
    assert!(
        params.len() == n_params && grads.len() == n_params,
        "params has {} and grads has {} elements, the optimizer was built for {n_params}",
        params.len(),
        grads.len(),
    );
}
