//! How fast times go: the usual step, gaps, first and last, in constant memory.

/// So many steps are kept to find the usual one; it is shown, nothing is computed with it.
const KEPT: usize = 10_000;

/// A longer step, counted in usual ones, is a gap.
const GAP: f64 = 1.5;

/// What is known of times that do not run backwards within a run.
#[derive(Debug, Default)]
pub(super) struct Pace {
    first: Option<f64>,
    last: Option<f64>,
    /// The first steps, until the usual one is known by them.
    kept: Vec<f64>,
    usual: Option<f64>,
    gaps: usize,
}

/// What was found of times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Paced {
    pub(super) first: f64,
    pub(super) last: f64,
    /// The median of the first steps that are no doubled times.
    pub(super) step: Option<f64>,
    pub(super) gaps: usize,
}

impl Pace {
    /// The times that follow `before` in their run.
    pub(super) fn add(&mut self, before: Option<f64>, times: &[f64]) {
        let mut before = before;
        for &time in times {
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.last = Some(self.last.map_or(time, |last| last.max(time)));
            if let Some(before) = before.replace(time)
                && time > before
            {
                self.step(time - before);
            }
        }
    }

    fn step(&mut self, step: f64) {
        if let Some(usual) = self.usual {
            self.gaps += usize::from(step > GAP * usual);
            return;
        }
        self.kept.push(step);
        if self.kept.len() == KEPT {
            self.judge();
        }
    }

    /// Finds the usual step, and the gaps by it.
    fn judge(&mut self) {
        let mut kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            return;
        }
        let middle = kept.len() / 2;
        let usual = *kept.select_nth_unstable_by(middle, f64::total_cmp).1;
        self.gaps += kept.iter().filter(|&&step| step > GAP * usual).count();
        self.usual = Some(usual);
    }

    /// What was found; nothing if there was no time.
    pub(super) fn finish(mut self) -> Option<Paced> {
        if self.usual.is_none() {
            self.judge();
        }
        let (first, last) = (self.first?, self.last?);
        Some(Paced { first, last, step: self.usual.map(cleared), gaps: self.gaps })
    }
}

/// A difference of times without the digits that rounding left in it: 0.04 and not 0.0399999999999992.
fn cleared(step: f64) -> f64 {
    format!("{step:.8e}").parse().unwrap_or(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paced(runs: &[&[f64]]) -> Option<Paced> {
        let mut pace = Pace::default();
        for times in runs {
            pace.add(None, times);
        }
        pace.finish()
    }

    #[test]
    fn the_usual_step_tells_the_gaps() {
        let found = paced(&[&[0.0, 1.0, 2.0, 2.0, 5.0, 6.0], &[100.0, 101.0, 102.4]]);
        assert_eq!(found, Some(Paced { first: 0.0, last: 102.4, step: Some(1.0), gaps: 1 }));
        assert_eq!(paced(&[]), None);
        let found = paced(&[&[3.0], &[3.0, 3.0]]);
        assert_eq!(found, Some(Paced { first: 3.0, last: 3.0, step: None, gaps: 0 }));
    }

    #[test]
    fn a_step_is_shown_as_it_was_meant() {
        let times: Vec<f64> = (0..100).map(|i| 1e3 + f64::from(i) * 0.04).collect();
        assert_eq!(paced(&[&times]).unwrap().step, Some(0.04));
    }

    #[test]
    fn gaps_are_counted_in_the_kept_steps_and_behind_them() {
        let mut time = 0.0;
        let times: Vec<f64> = (0..3 * KEPT)
            .map(|i| {
                time += if i % 1000 == 999 { 2.0 } else { 0.5 };
                time
            })
            .collect();
        let mut pace = Pace::default();
        let mut before = None;
        for piece in times.chunks(777) {
            pace.add(before, piece);
            before = piece.last().copied();
        }
        assert!(pace.kept.capacity() <= 2 * KEPT);
        let found = pace.finish().unwrap();
        assert_eq!((found.step, found.gaps), (Some(0.5), 30));
    }
}
