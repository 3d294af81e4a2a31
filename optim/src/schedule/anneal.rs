//! The form of a rise or fall.

use super::curves::half_cosine;

/// The form of a rise or fall.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
}

impl Anneal {
    /// From one value to another, `share` of the way.
    pub(super) fn between(self, from: f64, to: f64, share: f64) -> f64 {
        match self {
            Self::Cosine => to + (from - to) * half_cosine(share),
            Self::Linear => from + (to - from) * share,
        }
    }
}
