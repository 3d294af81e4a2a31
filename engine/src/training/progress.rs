//! Who hears how training goes.

use super::range_test::RangeTest;

/// One finished epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: u32,
    /// How many there will be.
    pub planned: u32,
    /// Mean training loss.
    pub loss: f64,
    /// Share of training windows answered right while training.
    pub accuracy: f64,
    /// Loss and accuracy on the held-out part.
    pub val: Option<(f64, f64)>,
}

/// Hears how training goes.
pub trait Progress {
    /// After a range test.
    fn chosen(&mut self, _found: &RangeTest) {}
    /// Before the first step: how many there will be, and how many a resumed run has behind it.
    fn begin(&mut self, steps: u64, done: u64);
    /// After each step.
    fn step(&mut self);
    /// After each epoch.
    fn epoch(&mut self, epoch: &Epoch);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _: u64, _: u64) {}
    fn step(&mut self) {}
    fn epoch(&mut self, _: &Epoch) {}
}
