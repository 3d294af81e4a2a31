//! When detectors would have given an alarm in drawn runs, at any thresholds.

/// Windows at which a statistic was larger than ever before in its run, with its value.
pub(crate) type Trace = Vec<(u32, f64)>;

/// What happened in runs that all began afresh and had no alarm.
pub(crate) struct Passages {
    /// Windows of each run.
    horizon: usize,
    /// The place of each run.
    places: Vec<usize>,
    /// Of each detector, one trace a run.
    traces: Vec<Vec<Trace>>,
}

/// Alarms of one detector that are enough to count them.
const ENOUGH: f64 = 20.0;

impl Passages {
    pub(crate) fn new(horizon: usize, n_detectors: usize) -> Self {
        Self { horizon, places: Vec::new(), traces: vec![Vec::new(); n_detectors] }
    }

    /// Adds a run at a place.
    pub(crate) fn add(&mut self, place: usize, traces: Vec<Trace>) {
        self.places.push(place);
        for (all, trace) in self.traces.iter_mut().zip(traces) {
            all.push(trace);
        }
    }

    /// The place of a run.
    pub(crate) fn place(&self, run: usize) -> usize {
        self.places[run]
    }

    /// The window at which a detector gives its first alarm in a run.
    fn first(&self, detector: usize, run: usize, threshold: f64) -> Option<usize> {
        let trace = &self.traces[detector][run];
        let quiet = trace.partition_point(|&(_, statistic)| statistic <= threshold);
        trace.get(quiet).map(|&(window, _)| window as usize)
    }

    /// The window at which one of all detectors gives the first alarm of a run.
    fn first_of_all(&self, run: usize, thresholds: &[f64]) -> Option<usize> {
        let each = thresholds.iter().enumerate();
        each.filter_map(|(detector, &threshold)| self.first(detector, run, threshold)).min()
    }

    /// Windows from a beginning to the alarm, and alarms, where runs end at `first`. A run without one counts
    /// with all its windows: the estimate of the mean of waiting times without memory.
    fn count(&self, runs: &[usize], first: impl Fn(usize) -> Option<usize>) -> (f64, f64) {
        let (mut windows, mut alarms) = (0.0, 0.0);
        for &run in runs {
            let found = first(run);
            windows += found.map_or(self.horizon, |window| window + 1) as f64;
            alarms += f64::from(u8::from(found.is_some()));
        }
        (windows, alarms)
    }

    fn chosen(&self, runs: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..self.places.len()).filter(|&run| runs(run)).collect()
    }

    /// Windows until the first alarm of any detector, and alarms, over some runs.
    pub(crate) fn windows_and_alarms(
        &self,
        runs: impl Fn(usize) -> bool,
        thresholds: &[f64],
    ) -> (f64, f64) {
        self.count(&self.chosen(runs), |run| self.first_of_all(run, thresholds))
    }

    /// The mean time to the first alarm of one detector alone.
    fn alone(&self, runs: &[usize], detector: usize, threshold: f64) -> f64 {
        mean(self.count(runs, |run| self.first(detector, run, threshold)))
    }

    /// The mean time to the first alarm of any.
    fn together(&self, runs: &[usize], thresholds: &[f64]) -> f64 {
        mean(self.count(runs, |run| self.first_of_all(run, thresholds)))
    }

    /// The lowest thresholds with which alarms of each detector alone are as its share, and all together have at least
    /// `arl0` windows from one to the next in some runs.
    pub(crate) fn thresholds(
        &self,
        runs: impl Fn(usize) -> bool,
        arl0: f64,
        shares: &[f64],
    ) -> Vec<f64> {
        let runs = &self.chosen(runs)[..];
        let of = |traces: &Vec<Trace>| candidates(runs.iter().map(|&run| &traces[run]));
        let candidates: Vec<Vec<f64>> = self.traces.iter().map(of).collect();
        let whole: f64 = shares.iter().sum();
        // Beyond this time there are too few alarms to count them.
        let countable = (runs.len() * self.horizon) as f64 / ENOUGH;
        let counted = |detector: usize, time: f64| {
            let values = &candidates[detector];
            let above = values.partition_point(|&h| self.alone(runs, detector, h) < time);
            values[above.min(values.len() - 1)]
        };
        let at = |all: f64| -> Vec<f64> {
            let of = |(detector, share): (usize, &f64)| {
                let time = all * whole / share;
                if time <= countable {
                    return counted(detector, time);
                }
                let most = counted(detector, countable);
                let grown = most - counted(detector, countable / 10.0);
                most + grown * (time / countable).log10()
            };
            shares.iter().enumerate().map(of).collect()
        };
        // If alarms never fall together, each detector has its share of them; a factor for chance.
        let (mut low, mut high) = ((0.5 * arl0).ln(), (4.0 * arl0).ln());
        for _ in 0..16 {
            let middle = f64::midpoint(low, high);
            if self.together(runs, &at(middle.exp())) < arl0 { low = middle } else { high = middle }
        }
        at(high.exp())
    }
}

fn mean((windows, alarms): (f64, f64)) -> f64 {
    if alarms > 0.0 { windows / alarms } else { f64::MAX }
}

/// All values that a threshold may have, rising.
fn candidates<'a>(runs: impl Iterator<Item = &'a Trace>) -> Vec<f64> {
    let mut values: Vec<f64> = runs.flatten().map(|&(_, statistic)| statistic).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    // A detector whose statistic never moved gives no alarm at any threshold.
    if values.is_empty() {
        values.push(1.0);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two runs of ten windows, two detectors.
    fn passages() -> Passages {
        let mut passages = Passages::new(10, 2);
        passages.add(0, vec![vec![(0, 1.0), (6, 2.0)], vec![(3, 0.5)]]);
        passages.add(1, vec![vec![(1, 1.5)], vec![]]);
        passages
    }

    #[test]
    fn alarms_are_counted_from_the_beginning_of_each_run() {
        let passages = passages();
        for (threshold, mean) in [(0.5, 1.5), (1.0, 4.5), (1.5, 17.0), (2.0, f64::MAX)] {
            testkit::assert_same_bits("alone", &[passages.alone(&[0, 1], 0, threshold)], &[mean]);
        }
        let all = |_| true;
        testkit::assert_same_bits("both", &[passages.together(&[0, 1], &[1.5, 0.4])], &[14.0]);
        assert_eq!(passages.windows_and_alarms(all, &[1.5, 0.4]), (14.0, 1.0));
        assert_eq!(passages.windows_and_alarms(|run| run == 1, &[1.5, 0.4]), (10.0, 0.0));
    }

    /// Half as many runs reach each next statistic.
    #[test]
    fn thresholds_are_the_lowest_that_do_and_go_on_where_none_ring() {
        let mut passages = Passages::new(1000, 2);
        for run in 0..512_u32 {
            let reached = (0..10_u32).filter(|i| run % (1 << i) == 0);
            let trace: Trace = reached.map(|i| (10 * i, f64::from(i))).collect();
            passages.add(0, vec![trace.clone(), trace]);
        }
        let all = |_| true;
        let equal = passages.thresholds(all, 3000.0, &[1.0, 1.0]);
        let (windows, alarms) = passages.windows_and_alarms(all, &equal);
        assert!((3000.0..8000.0).contains(&(windows / alarms)), "{windows} {alarms}");
        let (windows, alarms) = passages.windows_and_alarms(all, &[equal[0] - 1.0, equal[1] - 1.0]);
        assert!(windows / alarms < 3000.0);
        // Twice as long is one more, also beyond what can be counted.
        let [_, rare] = passages.thresholds(all, 3000.0, &[1.0, 1e-3])[..] else {
            panic!("two thresholds");
        };
        assert!((9.0..14.0).contains(&rare), "{rare}");
    }
}
