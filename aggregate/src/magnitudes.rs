//! The least magnitude that counts, of every change and tensor.

use crate::Error;
use crate::base::Base;
use crate::blocks::{Blocks, pass, workers};
use crate::cohort::Cohort;
use crate::rows::Element;

/// Tensors up to this size are sorted in memory; of larger ones magnitudes are counted, twice.
const SORTED: usize = 1 << 16;
/// Bytes of a row that is read at once while magnitudes are counted.
const ROW_BYTES: usize = 1 << 16;

/// Of each tensor of the merge and each member, the magnitude from which on `⌈density·n⌉` entries of
/// the change count, as the bits of an f32; in one pass over small tensors, in two over large ones.
pub(crate) fn thresholds(
    cohort: &Cohort<'_>,
    order: &[usize],
    density: f64,
) -> Result<Vec<Vec<u32>>, Error> {
    let n = cohort.len();
    let mut thresholds = vec![vec![0; n]; cohort.tensors.len()];
    let Some(base) = cohort.base else { return Ok(thresholds) };
    pass(
        order.len() * n,
        &mut workers(Counter::default),
        |counter, i| {
            let (tensor, member) = (order[i / n], i % n);
            match cohort.info(member, tensor) {
                None => Ok(0),
                Some(_) if cohort.is_wide(tensor) => {
                    counter.threshold::<f64>(cohort, base, tensor, member, density)
                }
                Some(_) => counter.threshold::<f32>(cohort, base, tensor, member, density),
            }
        },
        |i, threshold| {
            thresholds[order[i / n]][i % n] = threshold;
            Ok(())
        },
    )?;
    Ok(thresholds)
}

/// The bits of the magnitude, as an f32: their order is that of magnitudes.
pub(crate) fn magnitude(change: f64) -> u32 {
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
