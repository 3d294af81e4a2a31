//! How often detectors give an alarm though nothing changes.

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
                for watch in &mut watches {
                    watch.detector.reset();
                }
            }
        }
    }
    n / rung as f64
}

/// Also where a value hardly differs from that before. One calibration on 40 series reaches more or less than was
/// asked for, by chance; the bound says how much.
#[test]
fn six_detectors_together_have_the_run_length_that_was_asked_for_on_new_people() {
    for (memory, offsets, windows) in [(0.5, 0.3, 50), (0.95, 0.0, 250)] {
        let mut sum = 0.0;
        for seed in 0..4 {
            let mut people = People { words: Words(7919 * seed + 1), memory, offsets };
            let found = calibrated(&mut people, 40, windows, 1000.0);
            let reached = on_new_people(&found, &mut people, windows, 60);
            let (arl0, lower) = (found.arl0, found.arl0_lower);
            assert!(arl0 >= 1000.0 && lower > 100.0, "{arl0}, at least {lower}");
            assert!(
                reached > lower,
                "memory {memory}: {reached} reached, {arl0}, at least {lower}"
            );
            sum += reached;
        }
        assert!(sum / 4.0 > 700.0, "memory {memory}: {} reached", sum / 4.0);
    }
}

/// The same seed gives the same thresholds, another gives others that are close.
#[test]
fn calibration_is_a_function_of_its_seed() {
    let mut people = People { words: Words(3), memory: 0.5, offsets: 0.2 };
    let series: Vec<Vec<f64>> = (0..12).map(|_| people.series(40)).collect();
    let series: Vec<&[f64]> = series.iter().map(Vec::as_slice).collect();
    let with = |seed| {
        let options = CalibrateOptions { arl0: 100.0, longest_block: 40, seed };
        calibrate(&six(), 3, &series, &options).unwrap()
    };
    assert_eq!(with(1), with(1));
    let (one, two) = (with(1), with(2));
    assert_ne!(one, two);
    for (a, b) in one.watches.iter().zip(&two.watches) {
        let ratio = a.detector.threshold() / b.detector.threshold();
        assert!((0.7..1.4).contains(&ratio), "{a:?} and {b:?}");
    }
}

#[test]
fn what_cannot_be_calibrated_is_refused_with_its_place() {
    let mut people = People { words: Words(3), memory: 0.5, offsets: 0.2 };
    let series: Vec<Vec<f64>> = (0..4).map(|_| people.series(20)).collect();
    let options = CalibrateOptions { arl0: 100.0, longest_block: 20, seed: 1 };
    let with = |change: &dyn Fn(&mut Vec<Vec<f64>>), options: CalibrateOptions| {
        let mut series = series.clone();
        change(&mut series);
        let series: Vec<&[f64]> = series.iter().map(Vec::as_slice).collect();
        calibrate(&six(), 3, &series, &options)
    };
    assert!(with(&|_| (), options).is_ok());
    let short = CalibrateOptions { arl0: 1.0, ..options };
    let message = |result: Result<Calibration, Error>| result.unwrap_err().to_string();
    for (result, part) in [
        (
            with(&|series| series[2][7] = f64::NAN, options),
            "signal 1 of series 2 is NaN at window 2",
        ),
        (with(&|series| series.truncate(3), options), "3 blocks of windows"),
        (with(&|series| series[1].truncate(7), options), "series 1 has 7 values"),
        (with(&|series| series[0][2] = 0.5, options), "signal 2 is 0.5"),
        (
            with(&|series| series.iter_mut().flatten().step_by(3).for_each(|x| *x = 1.0), options),
            "vary",
        ),
        (with(&|_| (), short), "arl0 is 1"),
    ] {
        let message = message(result);
        assert!(message.contains(part), "{message} without {part}");
    }
    let none = [WatchConfig { signal: 3, ..six()[0] }];
    let error = calibrate(&none, 3, &[&series[0][..]], &options).unwrap_err();
    assert_eq!(error, Error::NoSignal { detector: 0, found: 3, signals: 3 });
    // One long series is cut.
    let long = CalibrateOptions { longest_block: 10, ..options };
    assert!(calibrate(&six()[..1], 3, &[&series.concat()[..]], &long).is_ok());
}
