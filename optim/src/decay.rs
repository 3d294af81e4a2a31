//! How weight decay enters a step.

/// How weight decay enters the step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum DecayKind {
    /// As an L2 penalty: `g ← g + weight_decay·p` before anything else sees the gradient.
    #[default]
    L2,
    /// Apart from the gradient: `p ← p·(1 − lr·weight_decay)`.
    Decoupled,
}
