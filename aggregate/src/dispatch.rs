//! Functions compiled for the processor at hand.

use pulp::Arch;

/// Calls a closure that is compiled for the processor at hand: `vectorized(#[inline(always)] || …)`.
///
/// Without the attribute a closure of any size is not inlined here, and so compiled for the oldest
/// processor, however much of it is always inlined into the closure.
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}
