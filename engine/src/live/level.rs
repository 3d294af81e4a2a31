//! How often sets of classes may miss the true one, as labels that come back make it; from the thread that watches to
//! the one that answers.

use std::sync::atomic::{AtomicU64, Ordering};

/// A level; none before a label came.
#[derive(Debug)]
pub struct Level(AtomicU64);

impl Default for Level {
    fn default() -> Self {
        Self(AtomicU64::new(f64::NAN.to_bits()))
    }
}

impl Level {
    /// Sets it, or takes it away.
    pub fn set(&self, level: Option<f64>) {
        self.0.store(level.unwrap_or(f64::NAN).to_bits(), Ordering::Relaxed);
    }

    /// The level, if there is one.
    pub fn get(&self) -> Option<f64> {
        let level = f64::from_bits(self.0.load(Ordering::Relaxed));
        (!level.is_nan()).then_some(level)
    }
}
