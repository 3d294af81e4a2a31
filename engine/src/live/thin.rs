//! Every how many-th window is due: where not all can be answered, all series are thinned alike and evenly.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counters::{add, get};

/// Every how many-th window is due; from who looks at the load to the series.
#[derive(Debug)]
pub struct Thin {
    every: AtomicU64,
    left_out: AtomicU64,
}

impl Default for Thin {
    fn default() -> Self {
        Self { every: AtomicU64::new(1), left_out: AtomicU64::new(0) }
    }
}

impl Thin {
    /// From each series' next window on, every n-th is due.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn set(&self, n: u64) {
        assert!(n > 0, "every 0th window");
        self.every.store(n, Ordering::Relaxed);
    }

    /// Every how many-th window is due.
    pub fn every(&self) -> u64 {
        get(&self.every)
    }

    /// Whether the window of this number is due; one that is not is counted.
    pub fn takes(&self, number: u64) -> bool {
        let is_due = number.is_multiple_of(self.every());
        if !is_due {
            add(&self.left_out, 1);
        }
        is_due
    }

    /// Windows that were not due.
    pub fn left_out(&self) -> u64 {
        get(&self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_left_out_evenly_and_counted() {
        let thin = Thin::default();
        let mut due = Vec::new();
        for (every, numbers) in [(1, 0..3), (4, 3..12), (2, 12..17)] {
            thin.set(every);
            due.extend(numbers.filter(|&number| thin.takes(number)));
        }
        assert_eq!(due, [0, 1, 2, 4, 8, 12, 14, 16]);
        assert_eq!(thin.left_out(), 17 - 8);
    }
}
