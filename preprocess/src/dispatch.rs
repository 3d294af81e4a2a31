//! Loops compiled for the processor that runs them.

use pulp::Arch;

/// Calls a closure that is compiled for the processor at hand: `vectorized(#[inline(always)] || …)`.
///
/// Without the attribute a closure of any size is not inlined here, and so compiled for the oldest
/// processor. No operation is fused or reordered, so that all processors compute the same bits.
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}
