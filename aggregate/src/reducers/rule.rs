//! What a reducer says of itself.

use crate::basis::Basis;
use crate::plan::Plan;
use crate::{Error, Reason, Update};

/// A reducer: its options, what it needs, and what it makes of the updates.
pub(crate) trait Rule {
    /// The name as spelled in a configuration.
    fn name(&self) -> &'static str;

    /// What must be there, and what counts.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Checks the options.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Checks whether it can merge so many updates, or groups of them; `parts` says whether one may
    /// lack tensors.
    fn check_number(&self, n: usize, parts: bool) -> Result<(), Error> {
        let _ = (n, parts);
        Ok(())
    }

    /// What it has against what each of the updates says of itself, beside the others.
    fn doubts(&self, updates: &[&Update]) -> Vec<Option<Reason>> {
        vec![None; updates.len()]
    }

    /// What is to be done with every block.
    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error>;

    /// An option that is out of range.
    fn out_of_range(&self, option: &'static str, value: f64, expected: &'static str) -> Error {
        Error::ReducerOption { reducer: self.name(), option, value, expected }
    }

    /// Fails unless an option is finite and above 0.
    fn above_0(&self, option: &'static str, value: f64) -> Result<(), Error> {
        let holds = value.is_finite() && value > 0.0;
        holds
            .then_some(())
            .ok_or_else(|| self.out_of_range(option, value, "a finite number above 0"))
    }

    /// Fails unless an option is finite and at least 0.
    fn at_least_0(&self, option: &'static str, value: f64) -> Result<(), Error> {
        let holds = value.is_finite() && value >= 0.0;
        holds.then_some(()).ok_or_else(|| self.out_of_range(option, value, "at least 0"))
    }

    /// Fails unless an option is a share of something.
    fn share(&self, option: &'static str, value: f64) -> Result<(), Error> {
        let holds = value > 0.0 && value <= 1.0;
        holds.then_some(()).ok_or_else(|| self.out_of_range(option, value, "above 0 and at most 1"))
    }

    /// Fails unless an option is finite.
    fn finite(&self, option: &'static str, value: f64) -> Result<(), Error> {
        let holds = value.is_finite();
        holds.then_some(()).ok_or_else(|| self.out_of_range(option, value, "a finite number"))
    }

    /// Fails unless there is at least one step.
    fn some_steps(&self, steps: u32) -> Result<(), Error> {
        (steps > 0).then_some(()).ok_or_else(|| self.out_of_range("steps", 0.0, "at least 1"))
    }

    /// The rule needs another number of updates.
    fn too_few(&self, needed: String, found: usize) -> Error {
        Error::TooFew { reducer: self.name(), needed, found }
    }
}

/// What a rule needs, and what counts for it.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a need of its own")]
pub(crate) struct Needs {
    /// The updates' weights count.
    pub(crate) weights: bool,
    /// It moves a base and cannot do without.
    pub(crate) base: bool,
    /// It goes by scalar products of whole changes.
    pub(crate) products: bool,
    /// Updates may be averaged at random before.
    pub(crate) buckets: bool,
    /// Late updates are changes of their own base.
    pub(crate) own_bases: bool,
    /// Updates may have started from any model.
    pub(crate) any_base: bool,
    /// Updates must state the loss of the model that they started from.
    pub(crate) losses: bool,
    /// It merges models that somebody chose, not what nodes send in a round.
    pub(crate) offline: bool,
}

impl Needs {
    /// Of a rule by distances, which goes by scalar products and takes groups.
    pub(crate) const DISTANCES: Self = Self {
        weights: false,
        base: false,
        products: true,
        buckets: true,
        own_bases: false,
        any_base: false,
        losses: false,
        offline: false,
    };
}
