//! What almost every optimizer shares: memory, parameter groups, and one pass over all slices.
//!
//! An optimizer is a [`Rule`]: how one vector of parameters moves, given its gradient and what is
//! remembered of it. [`Fused`] runs the rule over whole slices, on all threads of the calling rayon
//! pool where there are enough parameters. A rule treats every parameter alone, so that it does not
//! show where the slices were cut.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched loop is compiled for the oldest processor"
)]

use std::fmt::Debug;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::groups::Group;
use crate::lanes::Lanes;
use crate::memory::{Memory, Slot};
use crate::optimizer::check_lengths;
use crate::parts::{Cut, in_parts};
use crate::{Error, Optimizer, ParamGroups, State};

/// Most numbers that a rule remembers of a parameter.
pub(crate) const MAX_SLOTS: usize = 3;

/// What a rule computes its numbers from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Number of this step, 1 for the first.
    pub(crate) step: u64,
    /// The learning rate, in a group times its scale.
    pub(crate) lr: f64,
    /// A group's own weight decay.
    pub(crate) weight_decay: Option<f32>,
}

impl Moment {
    /// This step for a group.
    pub(crate) fn of(self, group: &Group) -> Self {
        let lr = self.lr * f64::from(group.lr_scale);
        Self { lr, weight_decay: group.weight_decay, ..self }
    }

    /// The group's weight decay, or else that of the options.
    pub(crate) fn decay(self, options: f32) -> f64 {
        self.weight_decay.unwrap_or(options).into()
    }

    /// `1 − beta^t`, in f64: for beta = 0.999 and few steps f32 would lose three digits.
    pub(crate) fn correction(self, beta: f64) -> f64 {
        1.0 - beta.powf(self.step as f64)
    }
}

/// What one optimizer does to a parameter; its options implement it.
pub(crate) trait Rule: Debug + Clone + Copy + PartialEq + Send + Sync {
    /// The name as spelled in a configuration.
    const NAME: &'static str;

    /// The numbers of a step that are the same for all parameters of a group.
    type Factors: Copy + Send + Sync;

    /// Checks the options.
    fn check(&self) -> Result<(), Error>;

    /// What is remembered of each parameter, with these options.
    fn slots(&self) -> &'static [Slot];

    /// First value of squared slots.
    fn initial(&self) -> f32 {
        0.0
    }

    /// Names and first values of numbers that are remembered once.
    fn scalars(&self) -> &'static [(&'static str, f64)] {
        &[]
    }

    /// Moves those numbers on, before the step.
    fn advance(&self, _scalars: &mut [f64], _at: Moment) {}

    /// What depends on step and learning rate alone, computed once, in f64.
    fn factors(&self, scalars: &[f64], at: Moment) -> Self::Factors;

    /// The step of one vector of parameters `p` with gradient `g`.
    fn update<S: Simd>(f: &Self::Factors, p: &mut Lanes<S>, g: Lanes<S>, slots: &mut Kept<S>);

    /// Turns a range of the parameters that are trained into those to use, where they differ.
    fn average(&self, _params: &mut [f32], _memory: &Memory, _range: Range<usize>) {}
}

/// What is remembered of one vector of parameters, in the order of [`Rule::slots`].
pub(crate) type Kept<S> = [Lanes<S>; MAX_SLOTS];

/// An optimizer whose update treats every parameter alone: a step is one pass over memory.
///
/// Made by `build` of its options; to be used as an [`Optimizer`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fused<R> {
    rule: R,
    n_params: usize,
    groups: Vec<Group>,
    memory: Memory,
    threads: Option<usize>,
}

/// An optimizer by a rule that has not taken a step.
pub(crate) fn build<R: Rule>(rule: R, groups: &ParamGroups) -> Result<Fused<R>, Error> {
    rule.check()?;
    let n_params = groups.n_params();
    let memory = Memory::new(R::NAME, n_params, rule.slots(), rule.scalars(), rule.initial());
    Ok(Fused { rule, n_params, groups: groups.runs(), memory, threads: None })
}

impl<R: Rule> Optimizer for Fused<R> {
    fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f32) {
        check_lengths(self.n_params, params, grads);
        let Self { rule, groups, memory, threads, .. } = self;
        memory.step = memory.step.saturating_add(1);
        let at = Moment { step: memory.step, lr: lr.into(), weight_decay: None };
        rule.advance(&mut memory.scalars, at);
        for group in &*groups {
            let factors = rule.factors(&memory.scalars, at.of(group));
            let n_slots = memory.n_slots();
            let range = group.range.clone();
            let slots = memory.slices(&range);
            let slices = Slices { params: &mut params[range.clone()], grads: &grads[range], slots };
            in_parts(slices, *threads, &|slices| run::<R>(n_slots, factors, slices));
        }
    }

    fn average(&self, params: &mut [f32]) {
        check_lengths(self.n_params, params, params);
        for group in &self.groups {
            self.rule.average(&mut params[group.range.clone()], &self.memory, group.range.clone());
        }
    }

    fn set_threads(&mut self, threads: usize) {
        self.threads = Some(threads);
    }

    fn state(&self) -> State {
        self.memory.state()
    }

    fn load_state(&mut self, state: &State) -> Result<(), Error> {
        self.memory.load(state)
    }

    fn name(&self) -> &'static str {
        R::NAME
    }
}

/// The slices of a step, all of one length but for slots that are not used, which are empty.
pub(crate) struct Slices<'a> {
    pub(crate) params: &'a mut [f32],
    pub(crate) grads: &'a [f32],
    pub(crate) slots: [&'a mut [f32]; MAX_SLOTS],
}

impl Cut for Slices<'_> {
    fn len(&self) -> usize {
        self.grads.len()
    }

    fn split_at(self, at: usize) -> (Self, Self) {
        let (params, other_params) = self.params.split_at_mut(at);
        let (grads, other_grads) = self.grads.split_at(at);
        let [a, b, c] = self.slots.map(|slot| slot.split_at_mut(at.min(slot.len())));
        (
            Self { params, grads, slots: [a.0, b.0, c.0] },
            Self { params: other_params, grads: other_grads, slots: [a.1, b.1, c.1] },
        )
    }
}

/// One pass on one thread, with the number of slots known to the compiler.
pub(crate) fn run<R: Rule>(n_slots: usize, factors: R::Factors, slices: Slices<'_>) {
    match n_slots {
        0 => Arch::new().dispatch(Pass::<R, 0> { factors, slices }),
        1 => Arch::new().dispatch(Pass::<R, 1> { factors, slices }),
        2 => Arch::new().dispatch(Pass::<R, 2> { factors, slices }),
        _ => Arch::new().dispatch(Pass::<R, MAX_SLOTS> { factors, slices }),
    }
}

struct Pass<'a, R: Rule, const N: usize> {
    factors: R::Factors,
    slices: Slices<'a>,
}

impl<R: Rule, const N: usize> WithSimd for Pass<'_, R, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { factors, slices: Slices { params, grads, slots } } = self;
        let n = params.len();
        let (params, last_params) = S::as_mut_simd_f32s(params);
        let (grads, last_grads) = S::as_simd_f32s(&grads[..n]);
        let mut slots = slots.into_iter();
        let mut pairs: [_; N] = std::array::from_fn(|_| {
            let slot = slots.next().unwrap_or_default();
            S::as_mut_simd_f32s(&mut slot[..n])
        });

        for (i, (p, &g)) in params.iter_mut().zip(grads).enumerate() {
            let mut new = Lanes::new(simd, *p);
            let mut kept = [Lanes::splat(simd, 0.0); MAX_SLOTS];
            for (lanes, (slot, _)) in kept.iter_mut().zip(&pairs) {
                *lanes = Lanes::new(simd, slot[i]);
            }
            R::update(&factors, &mut new, Lanes::new(simd, g), &mut kept);
            for (lanes, (slot, _)) in kept.iter().zip(&mut pairs) {
                slot[i] = lanes.values();
            }
            *p = new.values();
        }
        if !last_grads.is_empty() {
            let mut new = Lanes::new(simd, simd.partial_load_f32s(last_params));
            let mut kept = [Lanes::splat(simd, 0.0); MAX_SLOTS];
            for (lanes, (_, last)) in kept.iter_mut().zip(&pairs) {
                *lanes = Lanes::new(simd, simd.partial_load_f32s(last));
            }
            let g = Lanes::new(simd, simd.partial_load_f32s(last_grads));
            R::update(&factors, &mut new, g, &mut kept);
            for (lanes, (_, last)) in kept.iter().zip(&mut pairs) {
                simd.partial_store_f32s(last, lanes.values());
            }
            simd.partial_store_f32s(last_params, new.values());
        }
    }
}

/// Gives options their `build` and `build_for`.
macro_rules! builds {
    ($config:ident, $optimizer:ident) => {
        impl $config {
            /// An optimizer for `n_params` parameters that has not taken a step.
            ///
            /// # Errors
            /// If an option is not finite or out of range.
            pub fn build(&self, n_params: usize) -> Result<$optimizer, crate::Error> {
                self.build_for(&crate::ParamGroups::whole(n_params))
            }

            /// The same for parameters in groups, see [`ParamGroups`](crate::ParamGroups).
            ///
            /// # Errors
            /// If an option is not finite or out of range.
            pub fn build_for(
                &self,
                groups: &crate::ParamGroups,
            ) -> Result<$optimizer, crate::Error> {
                crate::fused::build(*self, groups)
            }
        }
    };
}
pub(crate) use builds;
