//! Something to measure, and how it is measured.

use std::time::{Duration, Instant};

use serde::Serialize;

/// One part of a training step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// What it is.
    pub part: &'static str,
    /// Its share of the step's time on one thread, 0 to 1.
    pub share: f64,
}

/// Something to measure.
pub(super) struct Case {
    pub(super) what: String,
    pub(super) once: Box<dyn FnMut()>,
    /// Operations of the matrix products of one repetition.
    pub(super) flops: f64,
    /// Windows of one repetition.
    pub(super) windows: f64,
    pub(super) seconds: f64,
    /// Measures the parts, after the whole.
    pub(super) parts: Option<Box<dyn FnOnce() -> Vec<Part>>>,
}

/// Sorted times of repetitions, in seconds, after some that warm up.
pub(super) fn measure(once: &mut dyn FnMut(), seconds: f64) -> Vec<f64> {
    let run_for = |once: &mut dyn FnMut(), budget: Duration| {
        let began = Instant::now();
        let mut times = Vec::new();
        while times.len() < 3 || began.elapsed() < budget {
            let start = Instant::now();
            once();
            times.push(start.elapsed().as_secs_f64());
        }
        times
    };
    let budget = Duration::from_secs_f64(seconds.clamp(0.01, 3600.0));
    run_for(once, budget / 5);
    let mut times = run_for(once, budget);
    times.sort_by(f64::total_cmp);
    times
}

/// Numbers in [-0.5, 0.5) that look random.
pub(super) fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 16_777_216.0 - 0.5
        })
        .collect()
}
