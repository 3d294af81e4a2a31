//! What is summed over all blocks of a merge.

use crate::blocks::Block;
use crate::cohort::Cohort;
use crate::merge_block::Merged;

/// Sums over all blocks.
#[derive(Debug, Clone)]
pub(crate) struct Totals {
    pub(crate) moments: Vec<[f64; 2]>,
    /// The same of control variates.
    pub(crate) controls: Vec<[f64; 2]>,
    pub(crate) square: f64,
    pub(crate) changes: Vec<[f64; 2]>,
}

impl Totals {
    pub(crate) fn new(cohort: &Cohort<'_>) -> Self {
        let changes = vec![[0.0; 2]; cohort.tensors.len()];
        let none = vec![[0.0; 2]; cohort.len()];
        Self { moments: none.clone(), controls: none, square: 0.0, changes }
    }

    /// Adds what was found out on a block.
    pub(crate) fn add(&mut self, block: Block, merged: &Merged, is_control: bool) {
        for (member, moments) in &merged.moments {
            let all = if is_control { &mut self.controls } else { &mut self.moments };
            let sums = all[*member].iter_mut();
            sums.zip(moments).for_each(|(sum, more)| *sum += more);
        }
        self.square += if is_control { 0.0 } else { merged.square };
        let changes = self.changes[block.tensor].iter_mut();
        changes.zip(merged.change).for_each(|(sum, more)| *sum += more);
    }
}
