//! Functions compiled for the processor at hand.

use pulp::{Arch, NullaryFnOnce};

/// Calls a function that is compiled for the processor at hand, if it is always inlined.
///
/// It must be a function: a closure of any size would be compiled for every processor and called.
pub(crate) fn vectorized<A, R>(function: impl FnOnce(A) -> R, args: A) -> R {
    struct Call<F, A>(F, A);
    impl<R, A, F: FnOnce(A) -> R> NullaryFnOnce for Call<F, A> {
        type Output = R;

        #[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
        #[inline(always)]
        fn call(self) -> R {
            (self.0)(self.1)
        }
    }
    Arch::new().dispatch(Call(function, args))
}
