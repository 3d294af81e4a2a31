//! One pass of a rule over slices.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched loop is compiled for the oldest processor"
)]

use pulp::{Arch, Simd, WithSimd};

use crate::lanes::Lanes;
use crate::parts::Cut;
use crate::rule::Rule;
use crate::slot::MAX_SLOTS;

/// The slices of a step, all of one length but for slots that are not used, which are empty.
pub(crate) struct Slices<'a> {
    pub(crate) params: &'a mut [f32],
    pub(crate) grads: &'a [f32],
    pub(crate) slots: [&'a mut [f32]; MAX_SLOTS],
}

impl Cut for Slices<'_> {
    fn len(&self) -> usize {
        self.grads.len()
    }

    fn split_at(self, at: usize) -> (Self, Self) {
        let (params, other_params) = self.params.split_at_mut(at);
        let (grads, other_grads) = self.grads.split_at(at);
        let [a, b, c] = self.slots.map(|slot| slot.split_at_mut(at.min(slot.len())));
        (
            Self { params, grads, slots: [a.0, b.0, c.0] },
            Self { params: other_params, grads: other_grads, slots: [a.1, b.1, c.1] },
        )
    }
}

/// One pass on one thread, with the number of slots known to the compiler.
pub(crate) fn run<R: Rule>(n_slots: usize, factors: R::Factors, slices: Slices<'_>) {
    match n_slots {
        0 => Arch::new().dispatch(Pass::<R, 0> { factors, slices }),
        1 => Arch::new().dispatch(Pass::<R, 1> { factors, slices }),
        2 => Arch::new().dispatch(Pass::<R, 2> { factors, slices }),
        _ => Arch::new().dispatch(Pass::<R, MAX_SLOTS> { factors, slices }),
    }
}

struct Pass<'a, R: Rule, const N: usize> {
    factors: R::Factors,
    slices: Slices<'a>,
}

impl<R: Rule, const N: usize> WithSimd for Pass<'_, R, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { factors, slices: Slices { params, grads, slots } } = self;
        let n = params.len();
        let (params, last_params) = S::as_mut_simd_f32s(params);
        let (grads, last_grads) = S::as_simd_f32s(&grads[..n]);
        let mut slots = slots.into_iter();
        let mut pairs: [_; N] = std::array::from_fn(|_| {
            let slot = slots.next().unwrap_or_default();
            S::as_mut_simd_f32s(&mut slot[..n])
        });

        for (i, (p, &g)) in params.iter_mut().zip(grads).enumerate() {
            let mut new = Lanes::new(simd, *p);
            let mut kept = [Lanes::splat(simd, 0.0); MAX_SLOTS];
            for (lanes, (slot, _)) in kept.iter_mut().zip(&pairs) {
                *lanes = Lanes::new(simd, slot[i]);
            }
            R::update(&factors, &mut new, Lanes::new(simd, g), &mut kept);
            for (lanes, (slot, _)) in kept.iter().zip(&mut pairs) {
                slot[i] = lanes.values();
            }
            *p = new.values();
        }
        if !last_grads.is_empty() {
            let mut new = Lanes::new(simd, simd.partial_load_f32s(last_params));
            let mut kept = [Lanes::splat(simd, 0.0); MAX_SLOTS];
            for (lanes, (_, last)) in kept.iter_mut().zip(&pairs) {
                *lanes = Lanes::new(simd, simd.partial_load_f32s(last));
            }
            let g = Lanes::new(simd, simd.partial_load_f32s(last_grads));
            R::update(&factors, &mut new, g, &mut kept);
            for (lanes, (_, last)) in kept.iter().zip(&mut pairs) {
                simd.partial_store_f32s(last, lanes.values());
            }
            simd.partial_store_f32s(last_params, new.values());
        }
    }
}
