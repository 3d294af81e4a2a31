//! Loops over the values of differences, each compiled for the processor at hand.

use crate::dispatch::vectorized;

/// Values that share a scale.
pub(crate) const BLOCK: usize = 256;
/// The largest whole step.
const STEPS: f32 = 127.0;
/// `1.5·2²³`: whoever adds it to less than 2²² rounds it to a whole number, ties to even, whose lowest
/// byte is that of the sum.
const TO_WHOLE: f32 = 12_582_912.0;

/// `(update − base) + residual`
#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
fn change(update: f32, base: f32, residual: f32) -> f64 {
    (f64::from(update) - f64::from(base)) + f64::from(residual)
}

/// `base + change` as a receiver computes it: without a change the very base, be it −0.
#[expect(clippy::inline_always, reason = "compiled for the dispatched processor")]
#[inline(always)]
fn moved(base: f32, change: f32) -> f32 {
    if change == 0.0 { base } else { base + change }
}

/// `(update − base) + residual` in f64, rounded to f32; whether all of it is finite.
pub(crate) fn changes(out: &mut [f32], update: &[f32], base: &[f32], residual: &[f32]) -> bool {
    vectorized(
        #[inline(always)]
        || {
            let mut finite = true;
            for (((out, &u), &b), &r) in out.iter_mut().zip(update).zip(base).zip(residual) {
                *out = change(u, b, r) as f32;
                finite &= out.is_finite();
            }
            finite
        },
    )
}

/// Rounds finite changes to BF16, to nearest, ties to even: the bytes, and the changes as a receiver
/// reads them; whether all of those are finite.
pub(crate) fn round_bf16(bytes: &mut [u8], changes: &mut [f32]) -> bool {
    vectorized(
        #[inline(always)]
        || {
            let mut finite = true;
            for (bytes, change) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(changes) {
                let bits = change.to_bits();
                let upper = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) >> 16;
                *bytes = (upper as u16).to_le_bytes();
                *change = f32::from_bits(upper << 16);
                finite &= change.is_finite();
            }
            finite
        },
    )
}

/// Rounds finite changes to whole steps, ties to even: the bytes, the scale of each block, and the
/// changes as a receiver reads them.
pub(crate) fn round_int8(bytes: &mut [u8], scales: &mut [f32], changes: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            let blocks = bytes.chunks_mut(BLOCK).zip(scales).zip(changes.chunks_mut(BLOCK));
            for ((bytes, scale), changes) in blocks {
                // Of numbers without a sign the bits have the order, and their maximum is vectorised.
                let bits = changes.iter().fold(0, |most, v| v.abs().to_bits().max(most));
                let step = f32::from_bits(bits) / STEPS;
                // Below the normal numbers 127 steps would not reach the largest change.
                *scale = if step < f32::MIN_POSITIVE { 0.0 } else { step };
                let divisor = if *scale == 0.0 { f32::INFINITY } else { *scale };
                for (byte, change) in bytes.iter_mut().zip(changes) {
                    let shifted = *change / divisor + TO_WHOLE;
                    *byte = shifted.to_bits() as u8;
                    *change = (shifted - TO_WHOLE) * *scale;
                }
            }
        },
    );
}

/// Makes of each residual `(update − base) + residual` less what a receiver of `sent` moves the base
/// by, in f64, rounded once; whether all that the receiver gets is finite.
pub(crate) fn leave_over(residual: &mut [f32], update: &[f32], base: &[f32], sent: &[f32]) -> bool {
    vectorized(
        #[inline(always)]
        || {
            let mut finite = true;
            for (((r, &u), &b), &sent) in residual.iter_mut().zip(update).zip(base).zip(sent) {
                let received = moved(b, sent);
                finite &= received.is_finite();
                *r = (change(u, b, *r) - (f64::from(received) - f64::from(b))) as f32;
            }
            finite
        },
    )
}

/// The changes that BF16 stands for; whether all are finite.
pub(crate) fn read_bf16(changes: &mut [f32], bytes: &[u8]) -> bool {
    vectorized(
        #[inline(always)]
        || {
            let mut finite = true;
            for (change, &bytes) in changes.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *change = f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16);
                finite &= change.is_finite();
            }
            finite
        },
    )
}

/// The changes that whole steps and the scales of their blocks stand for; whether no step is −128.
pub(crate) fn read_int8(changes: &mut [f32], bytes: &[u8], scales: &[f32]) -> bool {
    vectorized(
        #[inline(always)]
        || {
            let mut in_range = true;
            let blocks = changes.chunks_mut(BLOCK).zip(bytes.chunks(BLOCK)).zip(scales);
            for ((changes, bytes), &scale) in blocks {
                for (change, &byte) in changes.iter_mut().zip(bytes) {
                    *change = f32::from(byte.cast_signed()) * scale;
                    in_range &= byte != 0x80;
                }
            }
            in_range
        },
    )
}

/// Moves a base by changes; whether all is finite then.
pub(crate) fn add(base: &mut [f32], changes: &[f32]) -> bool {
    vectorized(
        #[inline(always)]
        || {
            let mut finite = true;
            for (base, &change) in base.iter_mut().zip(changes) {
                *base = moved(*base, change);
                finite &= base.is_finite();
            }
            finite
        },
    )
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use proptest::prelude::*;
    use testkit::assert_same_bits;

    use super::*;

    /// Any finite number, most of them of a usual size, some that are ties.
    fn number() -> impl Strategy<Value = f32> {
        let finite = any::<u32>().prop_map(|bits| {
            let value = f32::from_bits(bits);
            if value.is_finite() { value } else { 0.0 }
        });
        let tie = (-254..=254i16).prop_map(|halves| f32::from(halves) / 2.0);
        let edge = [0.0, -0.0, 1e-45, -1e-38, 127.0, 1.003_906_3, 1.011_718_8];
        prop_oneof![4 => -1.0..1.0f32, 2 => tie, 1 => finite, 1 => prop::sample::select(edge.to_vec())]
    }

    fn numbers() -> impl Strategy<Value = Vec<f32>> {
        prop_oneof![
            prop::collection::vec(number(), 0..40),
            prop::collection::vec(number(), 500..600)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Sixteen bits are those of the crate `half`.
        #[test]
        fn bf16_is_rounded_as_half_does(values in numbers()) {
            let expected: Vec<bf16> = values.iter().map(|&v| bf16::from_f32(v)).collect();
            let (mut bytes, mut changes) = (vec![0; 2 * values.len()], values.clone());
            let finite = round_bf16(&mut bytes, &mut changes);
            prop_assert_eq!(finite, expected.iter().all(|v| v.is_finite()));
            let back: Vec<f32> = expected.iter().map(|v| v.to_f32()).collect();
            assert_same_bits("sent", &changes, &back);
            let whole: Vec<u8> = expected.iter().flat_map(|v| v.to_le_bytes()).collect();
            prop_assert_eq!(&bytes, &whole);
            let mut read = vec![0.0; values.len()];
            prop_assert_eq!(read_bf16(&mut read, &bytes), finite);
            assert_same_bits("read", &read, &back);
        }

        /// Whole steps, one value after the other as they are defined.
        #[test]
        fn int8_is_rounded_as_it_is_defined(values in numbers()) {
            let n_blocks = values.len().div_ceil(BLOCK);
            let (mut bytes, mut scales) = (vec![0; values.len()], vec![0.0; n_blocks]);
            let mut changes = values.clone();
            round_int8(&mut bytes, &mut scales, &mut changes);
            let (mut steps, mut back, mut expected) = (Vec::new(), Vec::new(), Vec::new());
            for block in values.chunks(BLOCK) {
                let most = block.iter().fold(0.0f32, |most, v| most.max(v.abs()));
                let scale = most / 127.0;
                let scale = if scale.is_normal() { scale } else { 0.0 };
                for v in block {
                    let q = if scale == 0.0 { 0.0 } else { (v / scale).round_ties_even() };
                    prop_assert!((-127.0..=127.0).contains(&q), "{} of {}", v, scale);
                    steps.push((q as i8).cast_unsigned());
                    // Without the sign of a zero.
                    back.push((q + 0.0) * scale);
                }
                expected.push(scale);
            }
            assert_same_bits("scales", &scales, &expected);
            prop_assert_eq!(&bytes, &steps);
            assert_same_bits("sent", &changes, &back);
            let mut read = vec![0.0; values.len()];
            prop_assert!(read_int8(&mut read, &bytes, &scales));
            assert_same_bits("read", &read, &back);
        }

        /// Differences, what is left of them, and sums, one value after the other.
        #[test]
        fn sums_are_those_of_single_values(rows in prop::collection::vec([(); 4].map(|()| number()), 0..80)) {
            let column = |i: usize| -> Vec<f32> { rows.iter().map(|row| row[i]).collect() };
            let [update, base, residual, sent] = [0, 1, 2, 3].map(column);
            let d = |i: usize| {
                f64::from(update[i]) - f64::from(base[i]) + f64::from(residual[i])
            };
            let range = 0..rows.len();
            let mut out = vec![0.0; rows.len()];
            let finite = changes(&mut out, &update, &base, &residual);
            let expected: Vec<f32> = range.clone().map(|i| d(i) as f32).collect();
            prop_assert_eq!(finite, expected.iter().all(|v| v.is_finite()));
            assert_same_bits("changes", &out, &expected);

            let sum = |i: usize| if sent[i] == 0.0 { base[i] } else { base[i] + sent[i] };
            let sums: Vec<f32> = range.clone().map(sum).collect();
            let mut received = base.clone();
            let finite = add(&mut received, &sent);
            prop_assert_eq!(finite, sums.iter().all(|v| v.is_finite()));
            assert_same_bits("received", &received, &sums);

            let mut left = residual.clone();
            prop_assert_eq!(leave_over(&mut left, &update, &base, &sent), finite);
            let rest = |i: usize| (d(i) - (f64::from(sums[i]) - f64::from(base[i]))) as f32;
            assert_same_bits("left over", &left, &range.map(rest).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_no_encoder_writes_is_seen() {
        let mut changes = [0.0; 2];
        assert!(read_int8(&mut changes, &[0x7F, 0x81], &[2.0]));
        assert_same_bits("changes", &changes, &[254.0, -254.0]);
        assert!(!read_int8(&mut changes, &[0x7F, 0x80], &[2.0]));
        assert!(!read_bf16(&mut changes, &[0, 0, 0x80, 0x7F]));
        assert!(!read_bf16(&mut changes, &[0xC0, 0xFF, 0, 0]));
    }
}
