//! The trait of an update that treats every parameter alone.

use pulp::Simd;

use crate::Error;
use crate::lanes::Lanes;
use crate::slot::{MAX_SLOTS, Slot};
use crate::step::Step;

/// What is remembered of one vector of parameters, in the order of [`Rule::slots`]; those that a
/// rule does not have are zeros, and what is written to them is lost.
pub type Kept<S> = [Lanes<S>; MAX_SLOTS];

/// What one optimizer does to a parameter, given its gradient and what is remembered of it: all that
/// [`Fused`](crate::Fused) needs to be an [`Optimizer`](crate::Optimizer). The options implement it.
///
/// The formula is written once, over [`Lanes`], and compiled for every kind of processor. Mark
/// [`update`](Self::update) `#[inline(always)]`: without it the bits are the same, but the formula
/// is compiled for the oldest processor, and several times slower.
///
/// # A rule of your own
///
/// Signed descent with momentum (Bernstein et al., <https://arxiv.org/abs/1802.04434>), complete:
///
/// ```text
/// m = beta·m + (1 − beta)·g
/// p = p·(1 − lr·weight_decay) − lr·sign(m)
/// ```
///
/// ```
/// use optim::{Error, Fused, Kept, Lanes, Optimizer, ParamGroups, Rule, Simd, Slot, Step};
///
/// #[derive(Clone, Copy)]
/// struct Signum {
///     beta: f32,
///     weight_decay: f32,
/// }
///
/// #[derive(Clone, Copy)]
/// struct Factors {
///     lr: f32,
///     keep: f32,
///     beta: f32,
/// }
///
/// impl Rule for Signum {
///     const NAME: &'static str = "signum";
///     type Factors = Factors;
///
///     fn check(&self) -> Result<(), Error> {
///         let (owner, option, found) = (Self::NAME, "beta", self.beta.into());
///         let in_range = (0.0..1.0).contains(&self.beta);
///         let expected = "at least 0 and below 1";
///         in_range.then_some(()).ok_or(Error::Option { owner, option, found, expected })
///     }
///
///     fn slots(&self) -> Vec<Slot> {
///         vec![Slot::signed("momentum_buffer")]
///     }
///
///     fn factors(&self, _: &[f64], step: Step) -> Factors {
///         let keep = 1.0 - step.lr * step.decay(self.weight_decay);
///         Factors { lr: step.lr as f32, keep: keep as f32, beta: self.beta }
///     }
///
///     #[inline(always)]
///     fn update<S: Simd>(f: &Factors, p: &mut Lanes<S>, g: Lanes<S>, [m, ..]: &mut Kept<S>) {
///         *m = f.beta * *m + (1.0 - f.beta) * g;
///         *p = f.keep * *p - f.lr * m.sign();
///     }
/// }
///
/// let rule = Signum { beta: 0.5, weight_decay: 0.0 };
/// let mut signum = Fused::new(rule, &ParamGroups::whole(3))?;
/// let mut params = [1.0; 3];
/// signum.step(&mut params, &[1e-20, -1e20, 0.0], 0.25);
/// assert_eq!(params, [0.75, 1.25, 1.0]);
/// assert_eq!(signum.state().tensors["momentum_buffer"][2], 0.0);
/// # Ok::<(), Error>(())
/// ```
///
/// # What is guaranteed
///
/// - **Same bits.** An update sees one parameter at a time, and every operation of [`Lanes`] is one
///   that IEEE 754 rounds: the result depends neither on the number of threads, nor on the width of
///   the processor's vectors, nor on where a parameter lies in its slice.
/// - **Resuming.** Steps after [`load_state`](crate::Optimizer::load_state) are bit for bit those of
///   an optimizer that was never interrupted, if all that the rule remembers is in its slots and
///   scalars.
/// - **Groups.** Frozen parameters and their slots are not touched, and [`Step`] has the learning
///   rate and weight decay of the group.
pub trait Rule: Send {
    /// The name as spelled in a configuration and in a [`State`](crate::State).
    const NAME: &'static str;

    /// The numbers of a step that are the same for all parameters of a group.
    type Factors: Copy + Sync;

    /// Checks the options.
    ///
    /// # Errors
    /// If one is out of range; [`Error::Option`] and [`Error::Conflict`] say so.
    fn check(&self) -> Result<(), Error>;

    /// What is remembered of each parameter with these options: at most three numbers, by distinct
    /// names.
    fn slots(&self) -> Vec<Slot>;

    /// Names and first values of numbers that are remembered once; they stay at least 0 and finite.
    fn scalars(&self) -> &'static [(&'static str, f64)] {
        &[]
    }

    /// Moves those numbers on, before the step; `step` has no group here.
    fn advance(&self, _scalars: &mut [f64], _step: Step) {}

    /// What depends on step and learning rate alone, computed once for each group, best in f64.
    fn factors(&self, scalars: &[f64], step: Step) -> Self::Factors;

    /// The step of one vector of parameters `p` with gradients `g`.
    fn update<S: Simd>(factors: &Self::Factors, p: &mut Lanes<S>, g: Lanes<S>, slots: &mut Kept<S>);

    /// Turns parameters that are trained into those to use, where they differ; `slots` are whole
    /// slices of the same parameters. Not called before the first step.
    fn average(&self, _params: &mut [f32], _slots: &[&[f32]]) {}
}
