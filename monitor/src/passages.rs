//! When detectors would have given an alarm in drawn runs, at any thresholds.

/// Windows at which a statistic was larger than ever before in its run, with its value.
pub(crate) type Trace = Vec<(u32, f64)>;

/// What happened in runs that all began afresh and had no alarm.
pub(crate) struct Passages {
    /// Windows of each run.
    horizon: usize,
    /// Of each detector, one trace a run.
    traces: Vec<Vec<Trace>>,
}

impl Passages {
    pub(crate) fn new(horizon: usize, n_detectors: usize) -> Self {
        Self { horizon, traces: vec![Vec::new(); n_detectors] }
    }

    /// Adds a run.
    pub(crate) fn add(&mut self, traces: Vec<Trace>) {
        for (all, trace) in self.traces.iter_mut().zip(traces) {
            all.push(trace);
        }
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

    /// Windows from a beginning to the alarm on average, where runs end at `first`. A run without one
    /// counts with all its windows: the estimate of the mean of waiting times without memory.
    fn mean(&self, first: impl Fn(usize) -> Option<usize>) -> f64 {
        let (windows, alarms) = self.count(first);
        if alarms > 0.0 { windows / alarms } else { f64::MAX }
    }

    fn count(&self, first: impl Fn(usize) -> Option<usize>) -> (f64, f64) {
        let (mut windows, mut alarms) = (0.0, 0.0);
        for run in 0..self.traces[0].len() {
            let found = first(run);
            windows += found.map_or(self.horizon, |window| window + 1) as f64;
            alarms += f64::from(u8::from(found.is_some()));
        }
        (windows, alarms)
    }

    /// Windows until the first alarm of any detector, and alarms, over all runs.
    pub(crate) fn windows_and_alarms(&self, thresholds: &[f64]) -> (f64, f64) {
        self.count(|run| self.first_of_all(run, thresholds))
    }

    /// The mean time to the first alarm of one detector alone.
    pub(crate) fn alone(&self, detector: usize, threshold: f64) -> f64 {
        self.mean(|run| self.first(detector, run, threshold))
    }

    /// The mean time to the first alarm of any.
    pub(crate) fn together(&self, thresholds: &[f64]) -> f64 {
        self.mean(|run| self.first_of_all(run, thresholds))
    }

    /// The lowest thresholds with which each detector alone gives equally many alarms, and all together
    /// have at least `arl0` windows from one to the next.
    pub(crate) fn thresholds(&self, arl0: f64) -> Vec<f64> {
        let candidates: Vec<Vec<f64>> = self.traces.iter().map(|runs| candidates(runs)).collect();
        let at = |alone: f64| -> Vec<f64> {
            let each = candidates.iter().enumerate();
            each.map(|(detector, values)| {
                let above = values.partition_point(|&h| self.alone(detector, h) < alone);
                values[above.min(values.len() - 1)]
            })
            .collect()
        };
        // If alarms never fall together, each detector has its share of them; a factor for chance.
        let (mut low, mut high) = (arl0.ln(), (4.0 * arl0 * self.traces.len() as f64).ln());
        for _ in 0..20 {
            let middle = f64::midpoint(low, high);
            if self.together(&at(middle.exp())) < arl0 { low = middle } else { high = middle }
        }
        at(high.exp())
    }
}

/// All values that a threshold may have, rising.
fn candidates(runs: &[Trace]) -> Vec<f64> {
    let mut values: Vec<f64> = runs.iter().flatten().map(|&(_, statistic)| statistic).collect();
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
        passages.add(vec![vec![(0, 1.0), (6, 2.0)], vec![(3, 0.5)]]);
        passages.add(vec![vec![(1, 1.5)], vec![]]);
        passages
    }

    #[test]
    fn alarms_are_counted_from_the_beginning_of_each_run() {
        let passages = passages();
        for (threshold, mean) in [(0.5, 1.5), (1.0, 4.5), (1.5, 17.0), (2.0, f64::MAX)] {
            testkit::assert_same_bits("alone", &[passages.alone(0, threshold)], &[mean]);
        }
        testkit::assert_same_bits("both", &[passages.together(&[1.5, 0.4])], &[14.0]);
    }

    #[test]
    fn thresholds_are_the_lowest_that_do() {
        let passages = passages();
        let thresholds = passages.thresholds(16.0);
        assert!(passages.together(&thresholds) >= 16.0);
        assert_eq!(thresholds, [1.5, 0.5]);
    }
}
