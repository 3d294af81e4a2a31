//! What configuration files may leave out.

use serde::{Deserialize, Deserializer};

pub(super) fn once() -> u32 {
    1
}

pub(super) fn one() -> f32 {
    1.0
}

/// The default `gamma` of `StepLR`.
pub(super) fn tenth() -> f32 {
    0.1
}

/// The default `pct_start` of `OneCycleLR`, and its divisors.
pub(super) fn third() -> f32 {
    0.3
}

pub(super) fn div_factor() -> f32 {
    25.0
}

pub(super) fn final_div_factor() -> f32 {
    1e4
}

/// A variant without options: serde alone would let any key pass here.
pub(super) fn no_options<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoOptions {}
    NoOptions::deserialize(deserializer).map(|NoOptions {}| ())
}
