//! TIES and DARE: merges of changes of which only a part of the entries counts.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::base::Base;
use crate::blocks::{Block, Blocks, pass, workers};
use crate::cohort::Cohort;
use crate::rows::Element;
use crate::{Dtype, Error, Reducer};

/// Tensors up to this size are sorted in memory; of larger ones magnitudes are counted, twice.
const SORTED: usize = 1 << 16;
/// Bytes of a row that is read at once while magnitudes are counted.
const ROW_BYTES: usize = 1 << 16;

/// What becomes of the members' changes.
#[derive(Debug)]
pub(crate) struct Sparse {
    reducer: Reducer,
    /// Of each tensor of the merge and each member, the least magnitude that counts, as the bits of
    /// an f32.
    thresholds: Vec<Vec<u32>>,
}

impl Sparse {
    pub(crate) fn dare(reducer: Reducer) -> Self {
        Self { reducer, thresholds: Vec::new() }
    }

    /// Finds the magnitudes that count, in two passes over the members.
    pub(crate) fn ties(
        reducer: Reducer,
        density: f64,
        cohort: &Cohort<'_>,
        base: &Base,
        order: &[usize],
    ) -> Result<Self, Error> {
        let n = cohort.len();
        let mut thresholds = vec![vec![0; n]; cohort.tensors.len()];
        pass(
            order.len() * n,
            &mut workers(Counter::default),
            |counter, i| {
                let (tensor, member) = (order[i / n], i % n);
                match (cohort.info(member, tensor), cohort.tensors[tensor].dtype) {
                    (None, _) => Ok(0),
                    (_, Dtype::F64) => {
                        counter.threshold::<f64>(cohort, base, tensor, member, density)
                    }
                    _ => counter.threshold::<f32>(cohort, base, tensor, member, density),
                }
            },
            |i, threshold| {
                thresholds[order[i / n]][i % n] = threshold;
                Ok(())
            },
        )?;
        Ok(Self { reducer, thresholds })
    }

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
        match self.reducer {
            Reducer::Ties { scale, .. } => {
                let thresholds = &self.thresholds[block.tensor];
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
            Reducer::Dare { density, scale, seed } => {
                let total: f64 = members.iter().map(|&(_, weight)| weight).sum();
                for (out, &b) in out.iter_mut().zip(base) {
                    *out = b.into();
                }
                // Of 2^32 numbers those below this one keep an entry.
                let below = (density * f64::from(u32::MAX)).round() as u64;
                for (&(member, weight), row) in rows {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
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
            other => unreachable!("{} is not a sparse rule", other.name()),
        }
    }
}

/// The bits of the magnitude, as an f32: their order is that of magnitudes.
fn magnitude(change: f64) -> u32 {
    (change as f32).abs().to_bits()
}

/// Finds the k-th largest magnitude of one change.
#[derive(Debug, Default)]
struct Counter {
    bytes: Vec<u8>,
    all: Vec<u32>,
    counts: Vec<u64>,
}

impl Counter {
    fn threshold<E: Element>(
        &mut self,
        cohort: &Cohort<'_>,
        base: &Base,
        tensor: usize,
        member: usize,
        density: f64,
    ) -> Result<u32, Error> {
        let n = cohort.tensors[tensor].n_elements();
        let k = ((density * n as f64).ceil() as usize).clamp(1, n.max(1));
        if n == 0 || k == n {
            return Ok(0);
        }
        if n <= SORTED {
            let mut all = std::mem::take(&mut self.all);
            all.clear();
            self.visit::<E>(cohort, base, tensor, member, |m| all.push(m))?;
            let (_, &mut threshold, _) = all.select_nth_unstable(n - k);
            self.all = all;
            return Ok(threshold);
        }
        // First the upper half of the bits is found, then the lower.
        let mut counts = std::mem::take(&mut self.counts);
        counts.clear();
        counts.resize(1 << 16, 0);
        self.visit::<E>(cohort, base, tensor, member, |m| counts[(m >> 16) as usize] += 1)?;
        let (upper, k) = place_from_above(&counts, k as u64);
        counts.fill(0);
        self.visit::<E>(cohort, base, tensor, member, |m| {
            counts[(m & 0xFFFF) as usize] += u64::from(m >> 16 == upper);
        })?;
        let (lower, _) = place_from_above(&counts, k);
        self.counts = counts;
        Ok(upper << 16 | lower)
    }

    /// Calls `see` with the magnitude of each entry of a change.
    fn visit<E: Element>(
        &mut self,
        cohort: &Cohort<'_>,
        base: &Base,
        tensor: usize,
        member: usize,
        mut see: impl FnMut(u32),
    ) -> Result<(), Error> {
        let blocks = Blocks::of_bytes(cohort.tensors, std::iter::once(tensor), ROW_BYTES);
        let (mut row, mut start) = (Vec::new(), Vec::new());
        for block in (0..blocks.len()).map(|i| blocks.get(i)) {
            row.resize(block.n_elements, E::default());
            start.resize(block.n_elements, E::default());
            cohort.read(member, block, &mut self.bytes, &mut row)?;
            let own = &base.file.tensors()[tensor];
            E::read(&base.file, own, block.start, &mut self.bytes, &mut start)?;
            for (&x, &b) in row.iter().zip(&start) {
                let (x, b): (f64, f64) = (x.into(), b.into());
                see(magnitude(x - b));
            }
        }
        Ok(())
    }
}

/// The place of the k-th from above (1 for the highest), and its number within that place.
fn place_from_above(counts: &[u64], mut k: u64) -> (u32, u64) {
    for (place, &count) in counts.iter().enumerate().rev() {
        if k <= count {
            return (place as u32, k);
        }
        k -= count;
    }
    (0, k)
}
