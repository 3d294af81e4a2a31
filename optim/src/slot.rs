//! What describes a number that an optimizer remembers of every parameter.

/// Most numbers that a rule remembers of a parameter.
pub(crate) const MAX_SLOTS: usize = 3;

/// A number that is remembered of every parameter: its name in a [`State`](crate::State), its first
/// value, and which values a saved state may hold.
///
/// ```
/// use optim::Slot;
///
/// let slots = [Slot::signed("exp_avg"), Slot::squared("exp_avg_sq").starting_at(0.1)];
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    pub(crate) name: &'static str,
    pub(crate) first: f32,
    pub(crate) squared: bool,
}

impl Slot {
    /// A mean of gradients, or something else of any sign; 0 before the first step.
    pub const fn signed(name: &'static str) -> Self {
        Self { name, first: 0.0, squared: false }
    }

    /// A mean or sum of squares, which no run makes negative; 0 before the first step.
    pub const fn squared(name: &'static str) -> Self {
        Self { name, first: 0.0, squared: true }
    }

    /// The same with another first value.
    #[must_use]
    pub const fn starting_at(self, first: f32) -> Self {
        Self { first, ..self }
    }
}
