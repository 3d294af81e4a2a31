//! What almost every optimizer shares: memory, parameter groups, and one pass over all slices.

use crate::group::Group;
use crate::memory::Memory;
use crate::optimizer::check_lengths;
use crate::parts::in_parts;
use crate::pass::{Slices, run};
use crate::rule::Rule;
use crate::slot::MAX_SLOTS;
use crate::step::Step;
use crate::{Error, Optimizer, ParamGroups, State};

/// An optimizer whose update treats every parameter alone: a step of a [`Rule`] is one pass over
/// memory, group by group, cut into parts for the threads where there are enough parameters.
///
/// The optimizers of this crate are made by `build` of their options, those of other rules by
/// [`new`](Self::new). A step gives the same bits on any number of threads and on every processor.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused<R> {
    rule: R,
    n_params: usize,
    groups: Vec<Group>,
    memory: Memory,
    threads: Option<usize>,
}

impl<R: Rule> Fused<R> {
    /// An optimizer by a rule that has not taken a step; all parameters are alike in
    /// [`ParamGroups::whole`].
    ///
    /// # Errors
    /// If the rule's options do not pass its own check.
    ///
    /// # Panics
    /// If the rule has more than three slots, or two of one name.
    pub fn new(rule: R, groups: &ParamGroups) -> Result<Self, Error> {
        rule.check()?;
        let (n_params, slots) = (groups.n_params(), rule.slots());
        assert!(slots.len() <= MAX_SLOTS, "{} has more than {MAX_SLOTS} slots", R::NAME);
        let memory = Memory::new(R::NAME, n_params, slots, rule.scalars());
        Ok(Self { rule, n_params, groups: groups.runs(), memory, threads: None })
    }
}

impl<R: Rule> Optimizer for Fused<R> {
    fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f32) {
        check_lengths(self.n_params, params, grads);
        let Self { rule, groups, memory, threads, .. } = self;
        memory.step = memory.step.saturating_add(1);
        let step = Step { number: memory.step, lr: lr.into(), group_decay: None };
        rule.advance(&mut memory.scalars, step);
        for group in &*groups {
            let factors = rule.factors(&memory.scalars, group.of(step));
            let n_slots = memory.n_slots();
            let range = group.range.clone();
            let slots = memory.slices(&range);
            let slices = Slices { params: &mut params[range.clone()], grads: &grads[range], slots };
            in_parts(slices, *threads, &|slices| run::<R>(n_slots, factors, slices));
        }
    }

    fn average(&self, params: &mut [f32]) {
        check_lengths(self.n_params, params, params);
        if self.memory.step == 0 {
            return;
        }
        for group in &self.groups {
            let slots = self.memory.kept(&group.range);
            self.rule.average(&mut params[group.range.clone()], &slots);
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
                crate::Fused::new(*self, groups)
            }
        }
    };
}
pub(crate) use builds;
