//! The filter that resamples by a ratio of whole numbers.

use std::f64::consts::PI;

/// A low-pass of linear phase, cut into one filter for each place of a new row between two old ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Polyphase {
    up: usize,
    down: usize,
    phases: Vec<Phase>,
}

/// The filter of one place: taps over old rows in order, of which so many are before the place's row.
#[derive(Debug, Clone, PartialEq)]
struct Phase {
    taps: Vec<f64>,
    before: usize,
}

impl Polyphase {
    /// The default of `scipy.signal.resample_poly`: a sinc of 10 zero crossings to each side of the slower
    /// rate under a Kaiser window of `beta` 5, its edge at half the slower rate, with a sum of `up`.
    pub(crate) fn new(up: usize, down: usize) -> Self {
        let divisor = common_divisor(up, down);
        let (up, down) = (up / divisor, down / divisor);
        let slower = up.max(down);
        let half = if slower == 1 { 0 } else { 10 * slower };
        let tap = |n: usize| {
            let off = n as f64 - half as f64;
            let share = if half == 0 { 0.0 } else { off / half as f64 };
            sinc(off / slower as f64) * bessel_i0(5.0 * (1.0 - share * share).max(0.0).sqrt())
        };
        let taps: Vec<f64> = (0..=2 * half).map(tap).collect();
        let scale = up as f64 / taps.iter().sum::<f64>();
        let phase = |phase: usize| {
            let (before, after) = ((half - phase.min(half)) / up, (half + phase) / up);
            // Row `base + before − k` of the old ones is weighed by the tap that far from the place.
            let first = half + phase + before * up;
            let taps = (0..=before + after).map(|k| scale * taps[first - k * up]).collect();
            Phase { taps, before }
        };
        Self { up, down, phases: (0..up).map(phase).collect() }
    }

    /// Most old rows that count before a new one's place.
    pub(crate) fn most_before(&self) -> usize {
        self.phases.iter().map(|phase| phase.before).max().unwrap_or(0)
    }

    /// Most old rows that count after the one that a new row's place is at or next behind.
    pub(crate) fn most_after(&self) -> usize {
        (0..self.up).map(|phase| self.after(phase)).max().unwrap_or(0)
    }

    fn after(&self, phase: usize) -> usize {
        self.phases[phase].taps.len() - 1 - self.phases[phase].before
    }
}

/// Where a new row lies: `phase/up` of a step behind the old row `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) base: usize,
    pub(crate) phase: usize,
}

impl Polyphase {
    /// The place of the row after.
    pub(crate) fn next(&self, place: Place) -> Place {
        let phase = place.phase + self.down;
        Place { base: place.base + phase / self.up, phase: phase % self.up }
    }

    /// How far a place lies behind its old row, in steps.
    pub(crate) fn share(&self, place: Place) -> f64 {
        place.phase as f64 / self.up as f64
    }

    /// How many old rows must be there.
    pub(crate) fn needs(&self, place: Place) -> usize {
        place.base + self.after(place.phase) + 1
    }

    /// The new row at a place, from old rows `[n_rows, out.len()]`.
    #[inline(always)]
    pub(crate) fn row(&self, place: Place, rows: &[f64], out: &mut [f64]) {
        const LANES: usize = 8;
        let Phase { taps, before } = &self.phases[place.phase];
        let channels = out.len();
        let first = place.base - before;
        let rows = &rows[first * channels..(first + taps.len()) * channels];
        if channels == LANES {
            let mut sum = [0.0; LANES];
            for (row, tap) in rows.as_chunks::<LANES>().0.iter().zip(taps) {
                for (sum, value) in sum.iter_mut().zip(row) {
                    *sum += tap * value;
                }
            }
            return out.copy_from_slice(&sum);
        }
        for (group, out) in out.chunks_mut(LANES).enumerate() {
            let mut sum = [0.0; LANES];
            for (row, tap) in rows.chunks_exact(channels).zip(taps) {
                let row = &row[group * LANES..][..out.len()];
                for (sum, value) in sum.iter_mut().zip(row) {
                    *sum += tap * value;
                }
            }
            out.copy_from_slice(&sum[..out.len()]);
        }
    }
}

/// `up` and `down` of a ratio, neither above `most`, if it is one to a part in a billion: the first
/// convergent of its continued fraction that is near enough.
pub(crate) fn rational(ratio: f64, most: usize) -> Option<(usize, usize)> {
    let most = most as f64;
    let (mut up, mut down) = ((0.0, 1.0), (1.0, 0.0));
    let mut rest = ratio;
    while rest.is_finite() && up.1 <= most && down.1 <= most {
        let whole = rest.floor();
        up = (up.1, whole * up.1 + up.0);
        down = (down.1, whole * down.1 + down.0);
        let fits = (1.0..=most).contains(&up.1) && (1.0..=most).contains(&down.1);
        if fits && (up.1 / down.1 - ratio).abs() <= 1e-9 * ratio {
            return Some((up.1 as usize, down.1 as usize));
        }
        rest = 1.0 / (rest - whole);
    }
    None
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a.max(1) } else { common_divisor(b, a % b) }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The modified Bessel function of the first kind of order 0, by its power series; for arguments up to
/// 10, say.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..60 {
        term *= quarter / f64::from(k * k);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let found = [bessel_i0(0.0), bessel_i0(1.0), bessel_i0(5.0)];
        let expected = [1.0, 1.266_065_877_752_008_4, 27.239_871_823_604_442];
        testkit::assert_close("i0", &found, &expected, 1e-15, 0.0);
        assert_eq!(rational(16_000.0 / 44_100.0, 1000), Some((160, 441)));
        assert_eq!(rational(0.3, 1000), Some((3, 10)));
        assert_eq!(rational(7.0, 1000), Some((7, 1)));
        assert_eq!(rational(1000.0, 1000), Some((1000, 1)));
        for ratio in [0.0, 1001.0, 1e-4, std::f64::consts::PI, f64::NAN, f64::INFINITY, -2.0] {
            assert_eq!(rational(ratio, 1000), None, "{ratio}");
        }
    }

    #[test]
    fn every_tap_is_used_once() {
        for (up, down) in [(1, 1), (1, 7), (7, 1), (3, 2), (2, 3), (6, 4), (160, 441), (1000, 999)]
        {
            let filter = Polyphase::new(up, down);
            let n_taps: usize = filter.phases.iter().map(|phase| phase.taps.len()).sum();
            let slower = filter.up.max(filter.down);
            assert_eq!(n_taps, if slower == 1 { 1 } else { 20 * slower + 1 });
            let sum: f64 = filter.phases.iter().flat_map(|phase| &phase.taps).sum();
            testkit::assert_close("sum", &[sum], &[filter.up as f64], 1e-12, 0.0);
        }
    }
}
