//! Small random changes of windows for training, which leave what a window stands for as it is.
//!
//! A window is a row-major slice `[n_rows, channels]`, of f32 or f64. Randomness comes from a function
//! that gives uniform numbers in `[0, 1)`: [`uniforms`] makes one of a seed; one of one's own will do.
//! With strength 0 no bit changes. Nothing but arithmetic and square roots is used, so that a seed
//! gives the same bits on every machine.
//!
//! ```
//! use preprocess::augment;
//!
//! // Two channels of three rows, scaled to mean 0 and deviation 1 beforehand.
//! let mut window = [0.1_f32, 1.0, 0.2, -1.0, 0.3, 1.0];
//! let mut uniform = augment::uniforms(7);
//! augment::scale(&mut window, 2, 0.1, &mut uniform);
//! augment::time_warp(&mut window, 2, 0.2, &mut uniform);
//! augment::jitter(&mut window, 0.03, &mut uniform);
//! ```

use crate::random::{Random, normal_pair};

/// A number that windows are made of: f32 or f64.
pub trait Sample: Copy {
    /// As f64, exactly.
    fn to_f64(self) -> f64;
    /// From f64, rounded.
    fn from_f64(value: f64) -> Self;
}

impl Sample for f32 {
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    fn from_f64(value: f64) -> Self {
        value as Self
    }
}

impl Sample for f64 {
    fn to_f64(self) -> f64 {
        self
    }

    fn from_f64(value: f64) -> Self {
        value
    }
}

/// Uniform numbers in `[0, 1)` that are a function of a seed (`SplitMix64`).
pub fn uniforms(seed: u64) -> impl FnMut() -> f64 {
    let mut random = Random::new(seed);
    move || random.uniform()
}

/// Adds noise: `x + strength·n` with `n ~ N(0, 1)` for each value.
///
/// Um et al. (2017) take 0.05 on normalized windows of motion.
///
/// # Panics
/// If the strength is negative or not finite.
pub fn jitter<T: Sample>(window: &mut [T], strength: f64, uniform: &mut impl FnMut() -> f64) {
    check("jitter", strength, f64::MAX);
    if strength == 0.0 {
        return;
    }
    for pair in window.chunks_mut(2) {
        for (v, normal) in pair.iter_mut().zip(normal_pair(uniform)) {
            *v = T::from_f64(v.to_f64() + strength * normal);
        }
    }
}

/// Scales each channel: `x·(1 + strength·n_c)` with one `n_c ~ N(0, 1)` for all rows of channel c.
///
/// # Panics
/// If the strength is negative or not finite, or the window is no whole number of rows.
pub fn scale<T: Sample>(
    window: &mut [T],
    channels: usize,
    strength: f64,
    uniform: &mut impl FnMut() -> f64,
) {
    check("scale", strength, f64::MAX);
    n_rows(window, channels);
    if strength == 0.0 {
        return;
    }
    for channel in (0..channels).step_by(2) {
        let factors = normal_pair(uniform).map(|normal| 1.0 + strength * normal);
        for row in window.chunks_exact_mut(channels) {
            for (v, factor) in row[channel..].iter_mut().zip(factors) {
                *v = T::from_f64(v.to_f64() * factor);
            }
        }
    }
}

/// Runs through the window at a speed that changes smoothly, from its first row to its last.
///
/// Row i of n is read at `(n−1)·τ(u)` with `u = i/(n−1)`, on the line between its neighbours. The speed is
/// `τ'(u) = 1 + a₁P₁ + a₂P₂ + a₃P₃` with the shifted Legendre polynomials P of u and each a uniform in
/// `±strength/3`. They stay within ±1, so that the speed stays within `1 ± strength` and time never runs
/// back; and they have mean 0, so that `τ(0) = 0` and `τ(1) = 1`. All channels keep step. A row that is
/// read between a missing value and another is missing.
///
/// # Panics
/// If the strength is not in 0 to 1, or the window is no whole number of rows.
pub fn time_warp<T: Sample>(
    window: &mut [T],
    channels: usize,
    strength: f64,
    uniform: &mut impl FnMut() -> f64,
) {
    check("time_warp", strength, 1.0);
    let n = n_rows(window, channels);
    if strength == 0.0 || n < 3 {
        return;
    }
    let [a, b, c] = [(); 3].map(|()| strength / 3.0 * (2.0 * uniform() - 1.0));
    let last = (n - 1) as f64;
    retime(window, channels, |row| {
        let u = row as f64 / last;
        // The integrals of P₁ = 2u − 1, P₂ = 6u² − 6u + 1 and P₃ = 20u³ − 30u² + 12u − 1.
        let ends = u * (u - 1.0);
        let moved = ends * (a + b * (2.0 * u - 1.0) + c * (5.0 * u * (u - 1.0) + 1.0));
        row as f64 + last * moved
    });
}

/// Cuts a stretch out of the window and draws it out to the whole length.
///
/// The stretch takes the share `1 − strength·u` of the time, with u uniform in `[0, 1)`, and begins
/// anywhere; rows are read on the line between their neighbours. All channels keep step.
///
/// # Panics
/// If the strength is not in 0 to 1, or the window is no whole number of rows.
pub fn crop_and_resize<T: Sample>(
    window: &mut [T],
    channels: usize,
    strength: f64,
    uniform: &mut impl FnMut() -> f64,
) {
    check("crop_and_resize", strength, 1.0);
    let n = n_rows(window, channels);
    if strength == 0.0 || n < 2 {
        return;
    }
    let share = 1.0 - strength * uniform();
    let start = (n - 1) as f64 * (1.0 - share) * uniform();
    retime(window, channels, |row| start + share * row as f64);
}

/// Sets each channel to 0 with a probability, which is its mean where windows are normalized; where that
/// would take all channels, it takes none.
///
/// # Panics
/// If the probability is not in 0 to 1, or the window is no whole number of rows.
pub fn drop_channels<T: Sample>(
    window: &mut [T],
    channels: usize,
    probability: f64,
    uniform: &mut impl FnMut() -> f64,
) {
    check("drop_channels", probability, 1.0);
    n_rows(window, channels);
    let dropped: Vec<bool> = (0..channels).map(|_| uniform() < probability).collect();
    if dropped.iter().all(|&is_dropped| is_dropped) {
        return;
    }
    for row in window.chunks_exact_mut(channels) {
        let dropped = row.iter_mut().zip(&dropped).filter(|(_, is_dropped)| **is_dropped);
        dropped.for_each(|(v, _)| *v = T::from_f64(0.0));
    }
}

/// Reads each row at a place between others; a place that is a whole number is that row, to the bit.
fn retime<T: Sample>(window: &mut [T], channels: usize, place: impl Fn(usize) -> f64) {
    let from = window.to_vec();
    let last = from.len() / channels - 1;
    for (row, to) in window.chunks_exact_mut(channels).enumerate() {
        let place = place(row).clamp(0.0, last as f64);
        let (below, share) = (place as usize, place.fract());
        let low = &from[below * channels..(below + 1) * channels];
        if share == 0.0 {
            to.copy_from_slice(low);
            continue;
        }
        for ((to, low), high) in to.iter_mut().zip(low).zip(&from[(below + 1) * channels..]) {
            let low = low.to_f64();
            *to = T::from_f64(low + (high.to_f64() - low) * share);
        }
    }
}

fn check(name: &str, strength: f64, most: f64) {
    assert!((0.0..=most).contains(&strength), "{name}: {strength} is not in 0 to {most}");
}

fn n_rows<T>(window: &[T], channels: usize) -> usize {
    assert!(
        channels > 0 && window.len().is_multiple_of(channels),
        "{} values are no rows of {channels} channels",
        window.len()
    );
    window.len() / channels
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{assert_close, assert_same_bits};

    const CHANNELS: usize = 3;

    type Change = fn(&mut [f64], f64, u64);

    /// Every augmentation with its name.
    const ALL: [(&str, Change); 5] = [
        ("jitter", |w, strength, seed| jitter(w, strength, &mut uniforms(seed))),
        ("scale", |w, strength, seed| scale(w, CHANNELS, strength, &mut uniforms(seed))),
        ("time_warp", |w, strength, seed| time_warp(w, CHANNELS, strength, &mut uniforms(seed))),
        ("crop", |w, strength, seed| crop_and_resize(w, CHANNELS, strength, &mut uniforms(seed))),
        ("drop", |w, strength, seed| drop_channels(w, CHANNELS, strength, &mut uniforms(seed))),
    ];

    fn window(n_rows: usize) -> Vec<f64> {
        testkit::sequence(8, n_rows * CHANNELS).iter().map(|&v| f64::from(v)).collect()
    }

    /// A window whose values are the numbers of its rows.
    fn ramp(n_rows: usize) -> Vec<f64> {
        (0..n_rows * CHANNELS).map(|i| (i / CHANNELS) as f64).collect()
    }

    #[test]
    fn strength_0_changes_no_bit_and_a_seed_gives_the_same_again() {
        for (name, change) in ALL {
            for n_rows in [0, 1, 2, 3, 40] {
                let mut same = window(n_rows);
                change(&mut same, 0.0, 1);
                assert_same_bits(name, &same, &window(n_rows));
            }
            let [mut a, mut b, mut c] = [window(40), window(40), window(40)];
            change(&mut a, 0.5, 4);
            change(&mut b, 0.5, 4);
            assert_same_bits(name, &a, &b);
            assert_ne!(a, window(40), "{name}");
            change(&mut c, 0.5, 5);
            assert_ne!(a, c, "{name}");
        }
    }

    #[test]
    fn noise_and_scales_have_the_strength_they_say() {
        let mut values = vec![1.0_f32; 30_000];
        jitter(&mut values, 0.25, &mut uniforms(1));
        let (mean, std) = moments(values.iter().map(|&v| f64::from(v)));
        assert_close("jitter", &[mean, std], &[1.0, 0.25], 0.02, 0.0);
        let mut values = vec![2.0; 2 * 15_001];
        scale(&mut values, 15_001, 0.1, &mut uniforms(2));
        assert_same_bits("rows", &values[..15_001], &values[15_001..]);
        let (mean, std) = moments(values.iter().copied());
        assert_close("scale", &[mean, std], &[2.0, 0.2], 0.02, 0.0);
    }

    fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        (mean, (values.map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn warped_time_runs_forward_within_its_speed_and_keeps_its_ends() {
        for seed in 0..200 {
            let strength = 0.9;
            let mut times = ramp(50);
            time_warp(&mut times, CHANNELS, strength, &mut uniforms(seed));
            let column: Vec<f64> = times.iter().step_by(CHANNELS).copied().collect();
            assert_close("ends", &[column[0], column[49]], &[0.0, 49.0], 1e-12, 1e-12);
            for pair in column.windows(2) {
                let speed = pair[1] - pair[0];
                assert!((1.0 - strength..=1.0 + strength).contains(&speed), "seed {seed}: {speed}");
            }
        }
    }

    #[test]
    fn a_crop_is_a_stretch_of_the_window() {
        for seed in 0..200 {
            let mut times = ramp(20);
            crop_and_resize(&mut times, CHANNELS, 0.5, &mut uniforms(seed));
            let column: Vec<f64> = times.iter().step_by(CHANNELS).copied().collect();
            let speed = (column[19] - column[0]) / 19.0;
            assert!((0.5..=1.0).contains(&speed) && column[0] >= 0.0 && column[19] <= 19.0);
            let steps: Vec<f64> = column.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert_close("speed", &steps, &[speed; 19], 1e-9, 0.0);
        }
    }

    #[test]
    fn channels_drop_as_often_as_told_and_never_all() {
        let mut n_dropped = 0;
        for seed in 0..3000 {
            let mut all = vec![1.0; 2 * CHANNELS];
            drop_channels(&mut all, CHANNELS, 0.3, &mut uniforms(seed));
            assert_same_bits("rows", &all[..CHANNELS], &all[CHANNELS..]);
            let n = all[..CHANNELS].iter().filter(|&&v| v == 0.0).count();
            assert!(n < CHANNELS);
            n_dropped += n;
        }
        // 3·0.3 of 3, less the 0.3³ of all three.
        let share = n_dropped as f64 / 3000.0;
        assert_close("share", &[share], &[0.9 - 3.0 * 0.027], 0.05, 0.0);
    }

    #[test]
    #[should_panic(expected = "is not in 0 to 1")]
    fn more_than_all_of_time_is_refused() {
        time_warp(&mut ramp(4), CHANNELS, 1.5, &mut uniforms(0));
    }
}
