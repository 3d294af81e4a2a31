//! What is known of a step before parameters and gradients are looked at.

/// What a [`Rule`](crate::Rule) computes the numbers of a step from.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// Number of this step, 1 for the first.
    pub number: u64,
    /// The learning rate, in a parameter group times its scale.
    pub lr: f64,
    /// The weight decay of a parameter group, if it has one of its own.
    pub group_decay: Option<f32>,
}

impl Step {
    /// The group's weight decay, or else that of the options.
    pub fn decay(self, options: f32) -> f64 {
        self.group_decay.unwrap_or(options).into()
    }

    /// `1 − beta^t` with `t` the [`number`](Self::number) of the step, in f64: for beta = 0.999 and
    /// few steps f32 would lose three digits.
    pub fn correction(self, beta: f64) -> f64 {
        1.0 - beta.powf(self.number as f64)
    }
}
