//! How unusual a window is, whatever the model says of it: its distance from windows of the same kind.
//!
//! Of each channel of a window, as the model sees it, three features: the mean, `ln(deviation + ε)` and `ln(deviation
//! of the differences from step to step + ε)`, with `ε` a hundredth of the channel's usual deviation. The distance is
//! that of Mahalanobis to the nearest centre of a class: `d = min_c √((f − m_c)ᵀ S⁻¹ (f − m_c))`, with `S` the
//! covariance within classes plus a hundredth of its diagonal; with more than 64 features its diagonal alone. The
//! signal is `(ln d − mean_c)/deviation_c`, where mean and deviation are those of windows of people that the centres
//! were not made of, near the same centre.
//!
//! Of the distances that were tried on ten people's watches (all windows in one cloud, nearest neighbours, with and
//! without the differences) this one tells turned, mirrored and noisy sensors best from another person.

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// With more features their covariance is taken to be diagonal.
const MOST_FULL: usize = 64;

/// A class with fewer windows has no centre; if all have, they are one.
const FEWEST: usize = 5;

/// Windows by which a centre's mean and deviation are drawn to those of all.
const PRIOR: f64 = 10.0;

/// Of each channel of a window mean, deviation and deviation of differences, one after the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statistics(Vec<f64>);

impl Statistics {
    /// Takes the statistics of a window, `[steps, channels]`.
    pub fn take(&mut self, values: &[f32], channels: usize) {
        self.0.clear();
        for channel in 0..channels {
            let of = || values.iter().skip(channel).step_by(channels).map(|&v| f64::from(v));
            let (mean, deviation) = moments(of());
            let (_, of_differences) = moments(of().skip(1).zip(of()).map(|(b, a)| b - a));
            self.0.extend([mean, deviation, of_differences]);
        }
    }
}

fn moments(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut n, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        n += 1.0;
        let off = value - mean;
        mean += off / n;
        squares += off * (value - mean);
    }
    (mean, (squares / f64::max(n, 1.0)).sqrt())
}

/// What windows usually are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputReference {
    /// Of each channel, what is added to deviations.
    floors: Vec<f64>,
    /// `L` with `L·Lᵀ = S`, row by row up to the diagonal; or the diagonal alone.
    factor: Vec<f64>,
    /// `L⁻¹·m_c` for each class that has a centre.
    centres: Vec<Vec<f64>>,
    /// Of each centre, mean and deviation of `ln d`.
    usual: Vec<(f64, f64)>,
}

impl InputReference {
    /// Of windows with their statistics, classes and groups, such as people: the centre that is nearest to a window
    /// is sought among those of the other groups, to find what is usual of a new one. Gives the signal of each window
    /// too.
    ///
    /// # Errors
    /// If there are too few windows, or only one group.
    pub fn fit(
        windows: &[Statistics],
        classes: &[u32],
        groups: &[usize],
    ) -> anyhow::Result<(Self, Vec<f64>)> {
        let n_groups = groups.iter().max().map_or(0, |most| most + 1);
        ensure!(n_groups >= 2, "all windows are of one group");
        let all: Vec<usize> = (0..windows.len()).collect();
        let mut reference = Self::centred(windows, classes, &all)?;
        let mut found = vec![(0, 0.0); windows.len()];
        for group in 0..n_groups {
            let (own, others): (Vec<usize>, Vec<usize>) =
                all.iter().partition(|&&i| groups[i] == group);
            let of_others = Self::centred(windows, classes, &others)?;
            for i in own {
                let (_, distance) = of_others.nearest(&windows[i]);
                // Which centre it is must be one of all.
                found[i] = (reference.nearest(&windows[i]).0, distance);
            }
        }
        let (mean, deviation) = moments(found.iter().map(|&(_, distance)| distance));
        reference.usual = (0..reference.centres.len())
            .map(|centre| {
                let of = found.iter().filter(|(nearest, _)| *nearest == centre).map(|&(_, d)| d);
                let n = of.clone().count() as f64;
                let (own, spread) = moments(of);
                let drawn = |own: f64, all: f64| (n * own + PRIOR * all) / (n + PRIOR);
                let variance = drawn(spread * spread, deviation * deviation);
                (drawn(own, mean), variance.sqrt().max(1e-6))
            })
            .collect();
        let signal = |&(centre, distance): &(usize, f64)| reference.standard(centre, distance);
        let signals = found.iter().map(signal).collect();
        Ok((reference, signals))
    }

    /// Centres and covariance of some windows.
    fn centred(windows: &[Statistics], classes: &[u32], of: &[usize]) -> anyhow::Result<Self> {
        let width = windows.first().map_or(0, |window| window.0.len());
        ensure!(of.len() >= 2 * FEWEST, "{} windows are too few to say what is usual", of.len());
        let floors = (0..width / 3)
            .map(|channel| {
                let squares = of.iter().map(|&i| windows[i].0[3 * channel + 1].powi(2));
                (0.01 * (squares.sum::<f64>() / of.len() as f64).sqrt()).max(1e-9)
            })
            .collect::<Vec<_>>();
        let features: Vec<Vec<f64>> = of.iter().map(|&i| features(&windows[i], &floors)).collect();
        let n_classes = of.iter().map(|&i| classes[i] as usize + 1).max().unwrap_or(0);
        let mut counts = vec![0; n_classes];
        for &i in of {
            counts[classes[i] as usize] += 1;
        }
        // Where all classes have few windows they are one.
        let is_one = counts.iter().all(|&n| n < FEWEST);
        let class_of = |i: usize| if is_one { 0 } else { classes[i] as usize };
        let mut sums = vec![(0_usize, vec![0.0; width]); n_classes];
        for (&i, features) in of.iter().zip(&features) {
            let (n, sum) = &mut sums[class_of(i)];
            *n += 1;
            sum.iter_mut().zip(features).for_each(|(sum, x)| *sum += x);
        }
        for (n, sum) in &mut sums {
            for sum in sum {
                *sum /= (*n).max(1) as f64;
            }
        }
        let is_full = width <= MOST_FULL;
        let mut covariance = vec![0.0; if is_full { width * (width + 1) / 2 } else { width }];
        for (&i, features) in of.iter().zip(&features) {
            let mean = &sums[class_of(i)].1;
            let off: Vec<f64> = features.iter().zip(mean).map(|(x, mean)| x - mean).collect();
            let mut at = 0;
            for row in 0..width {
                for column in if is_full { 0..row + 1 } else { row..row + 1 } {
                    covariance[at] += off[row] * off[column] / of.len() as f64;
                    at += 1;
                }
            }
        }
        let factor = factor(covariance, width, is_full).context("windows that are all alike")?;
        let mut reference = Self { floors, factor, centres: Vec::new(), usual: Vec::new() };
        let mut centres = sums.into_iter().filter(|(n, _)| *n >= FEWEST);
        reference.centres = centres.by_ref().map(|(_, mean)| reference.whiten(mean)).collect();
        Ok(reference)
    }

    /// `L⁻¹·x`.
    fn whiten(&self, mut x: Vec<f64>) -> Vec<f64> {
        if self.factor.len() == x.len() && x.len() > MOST_FULL {
            x.iter_mut().zip(&self.factor).for_each(|(x, l)| *x /= l);
            return x;
        }
        let mut at = 0;
        for row in 0..x.len() {
            let (before, rest) = x.split_at_mut(row);
            let known: f64 =
                self.factor[at..at + row].iter().zip(before).map(|(l, y)| l * *y).sum();
            rest[0] = (rest[0] - known) / self.factor[at + row];
            at += row + 1;
        }
        x
    }

    /// The nearest centre and the logarithm of the distance from it.
    fn nearest(&self, window: &Statistics) -> (usize, f64) {
        let x = self.whiten(features(window, &self.floors));
        let of = |centre: &Vec<f64>| -> f64 {
            centre.iter().zip(&x).map(|(m, x)| (x - m) * (x - m)).sum()
        };
        let distances = self.centres.iter().map(of).enumerate();
        let (centre, square) = distances.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0));
        (centre, 0.5 * (square + 1e-12).ln())
    }

    fn standard(&self, centre: usize, distance: f64) -> f64 {
        let (mean, deviation) = self.usual[centre];
        // What is beyond is as far away as can be.
        ((distance - mean) / deviation).clamp(-1e6, 1e6)
    }

    /// How unusual a window is: about 0 ± 1 on windows of new people.
    pub fn signal(&self, window: &Statistics) -> f64 {
        let (centre, distance) = self.nearest(window);
        self.standard(centre, distance)
    }

    /// Channels of the windows.
    pub fn channels(&self) -> usize {
        self.floors.len()
    }

    /// Whether a file may claim this, for windows of so many channels.
    pub fn is_valid(&self, channels: usize) -> bool {
        let width = 3 * channels;
        let full = if width <= MOST_FULL { width * (width + 1) / 2 } else { width };
        // Beyond this squares overflow.
        let is_finite = |values: &[f64]| values.iter().all(|value| value.abs() < 1e100);
        self.floors.len() == channels
            && self.factor.len() == full
            && !self.centres.is_empty()
            && self.centres.len() == self.usual.len()
            && self.centres.iter().all(|centre| centre.len() == width && is_finite(centre))
            && (0..width).all(|row| {
                let at = if width <= MOST_FULL { row * (row + 3) / 2 } else { row };
                self.factor[at] > 0.0
            })
            && is_finite(&self.factor)
            && self.floors.iter().all(|floor| floor.is_finite() && *floor > 0.0)
            && self.usual.iter().all(|(mean, spread)| mean.is_finite() && *spread > 0.0)
    }
}

fn features(window: &Statistics, floors: &[f64]) -> Vec<f64> {
    let each = window.0.chunks_exact(3).zip(floors);
    each.flat_map(|(of, floor)| [of[0], (of[1] + floor).ln(), (of[2] + floor).ln()]).collect()
}

/// The factor of Cholesky of a covariance plus a hundredth of its diagonal, in place; nothing where that is 0.
fn factor(mut covariance: Vec<f64>, width: usize, is_full: bool) -> Option<Vec<f64>> {
    let start = |row: usize| if is_full { row * (row + 1) / 2 } else { row };
    let diagonal = |row: usize| if is_full { start(row) + row } else { row };
    let largest = (0..width).map(|row| covariance[diagonal(row)]).fold(0.0, f64::max);
    if !(largest > 0.0 && largest.is_finite()) {
        return None;
    }
    for row in 0..width {
        let at = diagonal(row);
        // A feature that never varies, as of a channel that is always 0, still has some room.
        covariance[at] = 1.01 * covariance[at] + 1e-6 * largest;
    }
    if !is_full {
        return Some(covariance.into_iter().map(f64::sqrt).collect());
    }
    for row in 0..width {
        for column in 0..=row {
            let known: f64 = (0..column)
                .map(|k| covariance[start(row) + k] * covariance[start(column) + k])
                .sum();
            let left = covariance[start(row) + column] - known;
            covariance[start(row) + column] = if row > column {
                left / covariance[diagonal(column)]
            } else if left > 0.0 {
                left.sqrt()
            } else {
                return None;
            };
        }
    }
    Some(covariance)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of two channels and 20 steps, of two classes and four groups.
    fn windows(gain: f32) -> (Vec<Statistics>, Vec<u32>, Vec<usize>) {
        let noise = testkit::sequence(3, 80 * 40);
        let (mut windows, mut classes, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for (i, noise) in noise.chunks_exact(40).enumerate() {
            let class = i % 2;
            let values: Vec<f32> = noise
                .iter()
                .enumerate()
                .map(|(k, x)| gain * x + (class * (k % 2)) as f32)
                .collect();
            let mut window = Statistics::default();
            window.take(&values, 2);
            windows.push(window);
            classes.push(class as u32);
            groups.push(i / 20);
        }
        (windows, classes, groups)
    }

    #[test]
    fn statistics_by_hand() {
        let mut found = Statistics::default();
        found.take(&[1.0, 5.0, 3.0, 5.0, 8.0, 5.0], 2);
        let root = (26.0_f64 / 3.0).sqrt();
        testkit::assert_close("found", &found.0, &[4.0, root, 1.5, 5.0, 0.0, 0.0], 1e-12, 1e-12);
    }

    #[test]
    fn new_windows_are_usual_and_changed_ones_are_not() {
        let (all, classes, groups) = windows(1.0);
        let (reference, signals) = InputReference::fit(&all, &classes, &groups).expect("fitted");
        let (mean, deviation) = moments(signals.iter().copied());
        assert!(mean.abs() < 0.1 && (deviation - 1.0).abs() < 0.2, "{mean} {deviation}");
        assert!(reference.is_valid(2) && !reference.is_valid(3));
        let (louder, ..) = windows(1.6);
        let of_louder = louder.iter().map(|window| reference.signal(window));
        assert!(moments(of_louder).0 > 2.0);
        let json = serde_json::to_string(&reference).expect("JSON");
        let read: InputReference = serde_json::from_str(&json).expect("read");
        assert!(read == reference);
    }

    #[test]
    fn the_factor_times_itself_is_the_covariance() {
        let found = factor(vec![4.0, 2.0, 3.0], 2, true).expect("positive");
        let product =
            [found[0] * found[0], found[1] * found[0], found[1].powi(2) + found[2].powi(2)];
        testkit::assert_close("product", &product, &[4.04, 2.0, 3.03], 1e-5, 0.0);
        assert!(factor(vec![0.0; 3], 2, true).is_none());
    }

    #[test]
    fn many_channels_have_a_diagonal_and_too_few_windows_are_refused() {
        let noise = testkit::sequence(4, 40 * 300);
        let windows: Vec<Statistics> = noise
            .chunks_exact(300)
            .map(|values| {
                let mut window = Statistics::default();
                window.take(values, 30);
                window
            })
            .collect();
        let groups: Vec<usize> = (0..40).map(|i| i / 10).collect();
        let (reference, signals) =
            InputReference::fit(&windows, &[0; 40], &groups).expect("fitted");
        assert!(reference.is_valid(30) && reference.factor.len() == 90);
        assert!(signals.iter().all(|signal| signal.is_finite()));
        assert!(InputReference::fit(&windows, &[0; 40], &[0; 40]).is_err());
        assert!(InputReference::fit(&windows[..9], &[0; 9], &[0, 0, 0, 0, 1, 1, 1, 1, 1]).is_err());
    }
}
