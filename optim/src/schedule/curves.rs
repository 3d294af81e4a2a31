//! The curves that schedules are made of.

use std::f64::consts::PI;

/// From 1 at 0 to 0 at 1.
pub(super) fn half_cosine(share: f64) -> f64 {
    0.5 * (1.0 + (PI * share).cos())
}

/// Half a cosine from 1 to `min_ratio`.
pub(super) fn cosine(share: f64, min_ratio: f32) -> f64 {
    let floor = f64::from(min_ratio);
    floor + (1.0 - floor) * half_cosine(share)
}

/// How far `step` is in its cycle.
pub(super) fn cycle_progress(step: f64, total: f64, cycles: u32, cycle_mult: u32) -> f64 {
    let mult = f64::from(cycle_mult.max(1));
    let lengths = (0..cycles.max(1)).map(|cycle| mult.powf(cycle.into()));
    let unit = total / lengths.clone().sum::<f64>();
    let mut begin = 0.0;
    for length in lengths {
        let end = begin + length * unit;
        // A step that rounding puts just before a border belongs behind it.
        if step < end - 1e-6 {
            return ((step - begin) / (end - begin)).max(0.0);
        }
        begin = end;
    }
    1.0
}

/// A rise over the share `warmup` of the run, then `then(step, total)` of the rest of it.
pub(super) fn after(warmup: f32, step: u64, total: u64, then: impl Fn(f64, f64) -> f64) -> f64 {
    let warmup = warmup_steps(warmup, total);
    rise(step, warmup).unwrap_or_else(|| {
        // With a warm-up as long as the run only its end is left, and 0/0 is avoided.
        if step == total {
            then(1.0, 1.0)
        } else {
            then((step - warmup) as f64, (total - warmup) as f64)
        }
    })
}

/// `round(share·total)`, at most `total`.
fn warmup_steps(share: f32, total_steps: u64) -> u64 {
    ((f64::from(share) * total_steps as f64).round() as u64).min(total_steps)
}

/// `(step + 1)/warmup_steps` while warming up.
fn rise(step: u64, warmup_steps: u64) -> Option<f64> {
    (step < warmup_steps).then(|| (step + 1) as f64 / warmup_steps as f64)
}
