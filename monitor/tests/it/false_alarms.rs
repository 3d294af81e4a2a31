//! How often detectors give an alarm though nothing changes.

use std::time::Instant;

use monitor::{
    CalibrateOptions, Calibration, Cusum, Detector, DetectorConfig, Error, Reference, Side,
    WatchConfig, calibrate,
};

use crate::support::Words;

/// Values from one alarm to the next on average, over so many alarms.
fn run_length(detector: &mut impl Detector, alarms: usize, mut value: impl FnMut() -> f64) -> f64 {
    let (mut n, mut rung) = (0.0, 0);
    while rung < alarms {
        n += 1.0;
        rung += usize::from(detector.update(value()).is_alarm());
    }
    n / alarms as f64
}

/// Siegmund's and Montgomery's tables: 465 two-sided, 930 on one side.
#[test]
fn cusum_has_its_published_run_length() {
    for (side, expected) in [(Side::Both, 465.0), (Side::Up, 930.0), (Side::Down, 930.0)] {
        let mut words = Words(17);
        let mut cusum = Cusum::new(3.0, 2.0, side, 0.5, 5.0).unwrap();
        let found = run_length(&mut cusum, 3000, || 3.0 + 2.0 * words.normal());
        assert!((found / expected - 1.0).abs() < 0.1, "{side:?}: {found}");
    }
}

/// Series of people: three signals, of which two go together, with offsets of their own and values that
/// depend on those before.
struct People {
    words: Words,
    /// How much of a value is left in the next.
    memory: f64,
    /// Deviation of the offsets.
    offsets: f64,
}

impl People {
    fn series(&mut self, windows: usize) -> Vec<f64> {
        let offsets = [(); 2].map(|()| self.offsets * self.words.normal());
        let fresh = (1.0 - self.memory * self.memory).sqrt();
        let mut state = [(); 2].map(|()| self.words.normal());
        let mut series = Vec::with_capacity(3 * windows);
        for _ in 0..windows {
            for value in &mut state {
                *value = self.memory * *value + fresh * self.words.normal();
            }
            let [a, b] = [0, 1].map(|i| state[i] + offsets[i]);
            let confidence = 1.0 / (1.0 + (-2.0 - 0.7 * b - 0.3 * a).exp());
            let error = f64::from(u8::from(self.words.uniform() > confidence));
            series.extend([a, confidence, error]);
        }
        series
    }
}

/// Six detectors: CUSUM and KS of a distance, of confidence and of errors.
fn six() -> Vec<WatchConfig> {
    let cusum = |side, reference| DetectorConfig::Cusum { side, allowance: 0.5, reference };
    let ks = DetectorConfig::Ks { window: 30 };
    [
        (0, cusum(Side::Up, Reference::Values)),
        (0, ks),
        (1, cusum(Side::Down, Reference::Values)),
        (1, ks),
        (2, cusum(Side::Up, Reference::Errors)),
        (2, ks),
    ]
    .map(|(signal, detector)| WatchConfig { signal, detector })
    .to_vec()
}

fn calibrated(people: &mut People, n: usize, windows: usize, arl0: f64) -> Calibration {
    let series: Vec<Vec<f64>> = (0..n).map(|_| people.series(windows)).collect();
    let series: Vec<&[f64]> = series.iter().map(Vec::as_slice).collect();
    let options = CalibrateOptions { arl0, longest_block: windows, seed: 5 };
    calibrate(&six(), 3, &series, &options).unwrap()
}

/// Windows from one alarm of any detector to the next, on new people, one after the other.
fn on_new_people(found: &Calibration, people: &mut People, windows: usize, alarms: usize) -> f64 {
    let mut watches = found.watches.clone();
    let (mut n, mut rung) = (0.0, 0);
    while rung < alarms {
        for window in people.series(windows).chunks_exact(3) {
            n += 1.0;
            let mut any = false;
            for watch in &mut watches {
                any |= watch.detector.update(window[watch.signal]).is_alarm();
            }
            if any {
                rung += 1;
                watches.iter_mut().for_each(|watch| watch.detector.reset());
            }
        }
    }
    n / rung as f64
}

#[test]
fn six_detectors_together_have_the_run_length_that_was_asked_for_on_new_people() {
    for (memory, offsets, n, windows) in
        [(0.0, 0.0, 40, 50), (0.5, 0.3, 40, 50), (0.95, 0.0, 40, 250), (0.95, 0.3, 40, 250)]
    {
        let mut people = People { words: Words(23), memory, offsets };
        let start = Instant::now();
        let found = calibrated(&mut people, n, windows, 1000.0);
        let took = start.elapsed();
        let reached = on_new_people(&found, &mut people, windows, 400);
        let thresholds: Vec<f64> = found.watches.iter().map(|w| w.detector.threshold()).collect();
        eprintln!(
            "memory {memory} offsets {offsets}: {:.0} (lower {:.0}) reached {reached:.0}, alone {:.0?}, \
             thresholds {thresholds:.2?}, {took:.2?}",
            found.arl0, found.arl0_lower, found.alone
        );
    }
}
