//! A run of parameters that are treated alike.

use std::ops::Range;

use crate::step::Step;

/// Parameters that are treated alike.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    pub(crate) range: Range<usize>,
    pub(crate) lr_scale: f32,
    pub(crate) weight_decay: Option<f32>,
    /// The place of the group in the configuration, if it is in one.
    pub(crate) index: Option<usize>,
}

impl Group {
    /// A step as it is for this group.
    pub(crate) fn of(&self, step: Step) -> Step {
        let lr = step.lr * f64::from(self.lr_scale);
        Step { lr, group_decay: self.weight_decay, ..step }
    }
}
