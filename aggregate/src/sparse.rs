//! TIES and DARE: merges of changes of which only a part of the entries counts.

use crate::blocks::Block;
use crate::magnitudes::magnitude;
use crate::rows::Element;

/// What becomes of the members' changes.
#[derive(Debug)]
pub(crate) enum Sparse {
    /// See [`Ties`](crate::reducers::Ties).
    Ties {
        scale: f64,
        /// Of each tensor of the merge and each member, the least magnitude that counts, as the
        /// bits of an f32.
        thresholds: Vec<Vec<u32>>,
    },
    /// See [`Dare`](crate::reducers::Dare).
    #[cfg(feature = "random")]
    Dare { density: f64, scale: f64, seed: u64 },
}

impl Sparse {
    /// Writes the merged values of a block to `out`: of `rows`, one for each of `members` with its
    /// weight, and the base's.
    pub(crate) fn reduce<E: Element>(
        &self,
        block: Block,
        members: &[(usize, f64)],
        rows: &[E],
        base: &[E],
        out: &mut [f64],
    ) {
        let len = base.len();
        let rows = members.iter().zip(rows.chunks_exact(len));
        let change = |x: E, b: E| -> f64 {
            let (x, b): (f64, f64) = (x.into(), b.into());
            x - b
        };
        match self {
            Self::Ties { scale, thresholds } => {
                let thresholds = &thresholds[block.tensor];
                let counts = |d: f64, member: usize| magnitude(d) >= thresholds[member];
                let mut elected = vec![0.0; len];
                for (&(member, weight), row) in rows.clone() {
                    for ((e, &x), &b) in elected.iter_mut().zip(row).zip(base) {
                        let d = change(x, b);
                        *e += if counts(d, member) { weight * d } else { 0.0 };
                    }
                }
                let (mut sum, mut total) = (vec![0.0; len], vec![0.0; len]);
                for (&(member, weight), row) in rows {
                    for (k, (&x, &b)) in row.iter().zip(base).enumerate() {
                        let d = change(x, b);
                        let agrees = d * elected[k] > 0.0 && counts(d, member);
                        sum[k] += if agrees { weight * d } else { 0.0 };
                        total[k] += if agrees { weight } else { 0.0 };
                    }
                }
                for (k, (out, &b)) in out.iter_mut().zip(base).enumerate() {
                    // Not `b + 0`, which would turn −0 into 0.
                    let moves = total[k] > 0.0;
                    *out = if moves { b.into() + scale * sum[k] / total[k] } else { b.into() };
                }
            }
            #[cfg(feature = "random")]
            &Self::Dare { density, scale, seed } => {
                use rand::{Rng, SeedableRng};
                let total: f64 = members.iter().map(|&(_, weight)| weight).sum();
                for (out, &b) in out.iter_mut().zip(base) {
                    *out = b.into();
                }
                // Of 2^32 numbers those below this one keep an entry.
                let below = (density * f64::from(u32::MAX)).round() as u64;
                for (&(member, weight), row) in rows {
                    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
                    rng.set_stream(member as u64);
                    // Of each tensor and member a stretch of its own: 2^36 words for each tensor.
                    rng.set_word_pos(((block.tensor as u128) << 36) + block.start as u128);
                    let factor = scale * weight / (total * density);
                    for ((out, &x), &b) in out.iter_mut().zip(row).zip(base) {
                        let d = change(x, b);
                        if u64::from(rng.next_u32()) <= below && d.abs() > 0.0 {
                            *out += factor * d;
                        }
                    }
                }
            }
        }
    }
}
