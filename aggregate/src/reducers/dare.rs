//! DARE: entries are dropped at random, and the others scaled up.

use serde::{Deserialize, Serialize};

use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::plan::Plan;
#[cfg(feature = "random")]
use crate::sparse::Sparse;

/// `base + scale·Σ p_i Δ_i·mask_i/density`, of masks that keep each entry with probability `density`.
///
/// Yu et al., <https://arxiv.org/abs/2311.03099>.
///
/// The mask is a function of seed, tensor, update and place, and of nothing else. Entry `k` of tensor
/// number `t` (in order of names) of update number `i` (by node, then content) is kept if word
/// `t·2^36 + k` of stream `i` of `ChaCha8`, with the key that `rand`'s `seed_from_u64(seed)` makes, is
/// at most `round(density·(2^32 − 1))`. `tests/golden/make_golden.py` has it in plain Python.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dare {
    /// Share of entries that stay, above 0 and at most 1.
    pub density: f64,
    /// Factor of the merged change.
    pub scale: f64,
    /// Seed of what is dropped.
    pub seed: u64,
}

impl Default for Dare {
    fn default() -> Self {
        Self { density: 0.5, scale: 1.0, seed: 0 }
    }
}

impl Rule for Dare {
    fn name(&self) -> &'static str {
        "dare"
    }

    fn needs(&self) -> Needs {
        Needs { weights: true, base: true, offline: true, ..Needs::default() }
    }

    fn check(&self) -> Result<(), Error> {
        if !cfg!(feature = "random") {
            return Err(Error::Feature { option: "the reducer dare", feature: "random" });
        }
        self.share("density", self.density)?;
        self.finite("scale", self.scale)
    }

    fn plan(&self, _: &Basis<'_>) -> Result<Plan, Error> {
        #[cfg(not(feature = "random"))]
        return Err(Error::Feature { option: "the reducer dare", feature: "random" });
        #[cfg(feature = "random")]
        {
            let Self { density, scale, seed } = *self;
            Ok(Plan::Sparse(Sparse::Dare { density, scale, seed }))
        }
    }
}
