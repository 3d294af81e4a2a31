//! How often detectors give an alarm though nothing changes.

use monitor::{
    CalibrateOptions, Calibration, Cusum, Detector, DetectorConfig, Error, Reference, Scores,
    Series, Side, Watch, WatchConfig, calibrate, settle,
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

/// People: three signals, of which two go together, with offsets and scales of each person and values that depend on
/// those before.
struct People {
    words: Words,
    /// How much of a value is left in the next.
    memory: f64,
    /// How much people differ.
    offsets: f64,
}

/// What is a person's own: of each of two values an offset and a scale.
#[derive(Clone, Copy)]
struct Person([(f64, f64); 2]);

impl People {
    fn person(&mut self) -> Person {
        Person([(); 2].map(|()| {
            let (offset, scale) = (self.words.normal(), self.words.normal());
            (self.offsets * offset, (0.5 * self.offsets * scale).exp())
        }))
    }

    fn series(&mut self, Person(own): Person, windows: usize) -> Vec<f64> {
        let fresh = (1.0 - self.memory * self.memory).sqrt();
        let mut state = [(); 2].map(|()| self.words.normal());
        let mut series = Vec::with_capacity(3 * windows);
        for _ in 0..windows {
            for value in &mut state {
                *value = self.memory * *value + fresh * self.words.normal();
            }
            let [a, b] = [0, 1].map(|i| own[i].1 * state[i] + own[i].0);
            let confidence = 1.0 / (1.0 + (-2.0 - 0.7 * b - 0.3 * a).exp());
            let error = f64::from(u8::from(self.words.uniform() > confidence));
            series.extend([a, confidence, error]);
        }
        series
    }

    /// Series of so many people, and whose each is.
    fn drawn(&mut self, people: usize, n: usize, windows: usize) -> Drawn {
        let mut drawn = Vec::new();
        for place in 0..people {
            let person = self.person();
            drawn.extend((0..n).map(|_| (place, self.series(person, windows))));
        }
        drawn
    }
}

/// Series, and whose each is.
type Drawn = Vec<(usize, Vec<f64>)>;

fn of(drawn: &[(usize, Vec<f64>)]) -> Vec<Series<'_>> {
    drawn.iter().map(|(place, values)| Series { values, kinds: &[], place: *place }).collect()
}

/// CUSUM and KS of a distance and of confidence, and CUSUM of errors, that are rare.
fn five() -> Vec<WatchConfig> {
    let cusum = |side, reference| DetectorConfig::Cusum { side, allowance: 0.5, reference };
    let ks = DetectorConfig::Ks { window: 30 };
    [
        (0, 1.0, cusum(Side::Up, Reference::Scores)),
        (0, 1.0, ks),
        (1, 0.5, cusum(Side::Down, Reference::Scores)),
        (1, 0.5, ks),
        (2, 0.1, cusum(Side::Up, Reference::Errors)),
    ]
    .map(|(signal, share, detector)| WatchConfig { signal, share, detector })
    .to_vec()
}

const FIRST: usize = 200;

/// Detectors of each signal at a place, with the scores that they see.
type Settled = Vec<(Option<Scores>, Vec<Watch>)>;

fn settled(found: &Calibration, first: &[f64]) -> Settled {
    let of = |signal: usize| {
        let watches: Vec<Watch> =
            found.watches.iter().filter(|watch| watch.signal == signal).cloned().collect();
        let values: Vec<f64> = first.iter().skip(signal).step_by(3).copied().collect();
        if signal == 2 {
            return (None, watches);
        }
        let (scores, watches) = settle(&watches, &values, &[]).unwrap();
        (Some(scores), watches)
    };
    (0..3).map(of).collect()
}

/// Windows from what is usual to the first alarm of any detector, at new places. Behind an alarm a place begins anew.
fn at_new_places(found: &Calibration, people: &mut People, windows: usize, alarms: usize) -> f64 {
    let (mut n, mut rung) = (0, 0);
    while rung < alarms {
        let person = people.person();
        let mut series = Vec::new();
        while series.len() < 3 * (FIRST + 5000) {
            series.extend(people.series(person, windows));
        }
        let mut rest = &series[..];
        while rest.len() > 3 * FIRST {
            let (first, then) = rest.split_at(3 * FIRST);
            let mut settled = settled(found, first);
            let mut rings = |window: &[f64]| {
                let mut any = false;
                for (signal, (scores, watches)) in settled.iter_mut().enumerate() {
                    let x = window[signal];
                    let x = scores.as_ref().map_or(x, |scores| scores.score(x, 0));
                    for watch in watches {
                        any |= watch.detector.update(x).is_alarm();
                    }
                }
                any
            };
            let quiet = then.chunks_exact(3).take_while(|window| !rings(window)).count();
            let rang = 3 * quiet < then.len();
            n += quiet + usize::from(rang);
            rung += usize::from(rang);
            rest = &then[(3 * (quiet + 1)).min(then.len())..];
        }
    }
    n as f64 / rung as f64
}

/// Also where a value hardly differs from that before. One calibration on ten people reaches more or less than was
/// asked for, by chance. Errors are watched where people are equally often wrong.
#[test]
fn detectors_together_have_the_run_length_that_was_asked_for_at_new_places() {
    for (memory, offsets, windows, n) in [(0.5, 0.5, 25, 4), (0.5, 0.0, 25, 5), (0.95, 0.0, 100, 5)]
    {
        let mut sum = 0.0;
        for seed in 0..4 {
            let mut people = People { words: Words(7919 * seed + 1), memory, offsets };
            let drawn = people.drawn(10, 40, windows);
            let options =
                CalibrateOptions { arl0: 1000.0, first: FIRST, longest_block: windows, seed: 5 };
            let found = calibrate(&five()[..n], 3, &of(&drawn), &options).unwrap();
            let reached = at_new_places(&found, &mut people, windows, 60);
            let (arl0, lower) = (found.arl0, found.arl0_lower);
            assert!(arl0 >= 1000.0 && lower > 300.0, "{arl0}, at least {lower}");
            sum += reached;
        }
        assert!(sum / 4.0 > 1000.0, "memory {memory}: {} reached", sum / 4.0);
    }
}

/// The same seed gives the same thresholds, another gives others that do about the same.
#[test]
fn calibration_is_a_function_of_its_seed() {
    let mut people = People { words: Words(3), memory: 0.5, offsets: 0.2 };
    let drawn = people.drawn(4, 6, 40);
    let with = |seed| {
        let options = CalibrateOptions { arl0: 100.0, first: 100, longest_block: 40, seed };
        calibrate(&five(), 3, &of(&drawn), &options).unwrap()
    };
    assert_eq!(with(1), with(1));
    let (one, two) = (with(1), with(2));
    assert_ne!(one, two);
    assert!((0.7..1.4).contains(&(one.arl0 / two.arl0)), "{} and {}", one.arl0, two.arl0);
}

#[test]
fn what_cannot_be_calibrated_is_refused_with_its_place() {
    let mut people = People { words: Words(3), memory: 0.5, offsets: 0.2 };
    let drawn = people.drawn(2, 2, 20);
    let options = CalibrateOptions { arl0: 100.0, first: 40, longest_block: 20, seed: 1 };
    let with = |change: &dyn Fn(&mut Drawn), options: CalibrateOptions| {
        let mut drawn = drawn.clone();
        change(&mut drawn);
        calibrate(&five(), 3, &of(&drawn), &options)
    };
    assert!(with(&|_| (), options).is_ok());
    let short = CalibrateOptions { arl0: 1.0, ..options };
    let none = CalibrateOptions { first: 0, ..options };
    let message = |result: Result<Calibration, Error>| result.unwrap_err().to_string();
    for (result, part) in [
        (
            with(&|drawn| drawn[2].1[7] = f64::NAN, options),
            "signal 1 of series 2 is NaN at window 2",
        ),
        (with(&|drawn| drawn.truncate(3), options), "3 blocks of windows"),
        (with(&|drawn| drawn[1].1.truncate(7), options), "series 1 has 7 values"),
        (with(&|drawn| drawn[0].1[2] = 0.5, options), "signal 2 is 0.5"),
        (
            with(
                &|drawn| {
                    for (_, values) in drawn {
                        values.iter_mut().step_by(3).for_each(|x| *x = 1.0);
                    }
                },
                options,
            ),
            "vary",
        ),
        (with(&|_| (), short), "arl0 is 1"),
        (with(&|_| (), none), "first is 0"),
    ] {
        let message = message(result);
        assert!(message.contains(part), "{message} without {part}");
    }
    let one = Series { values: &drawn[0].1, kinds: &[], place: 0 };
    let none = [WatchConfig { signal: 3, ..five()[0] }];
    let error = calibrate(&none, 3, &[one], &options).unwrap_err();
    assert_eq!(error, Error::NoSignal { detector: 0, found: 3, signals: 3 });
    let kinds = [Series { kinds: &[0, 1], ..one }];
    assert!(calibrate(&five(), 3, &kinds, &options).unwrap_err().to_string().contains("kinds"));
    // One long series is cut.
    let long: Vec<f64> = drawn.iter().flat_map(|(_, values)| values.clone()).collect();
    let long = Series { values: &long, kinds: &[], place: 0 };
    let short_blocks = CalibrateOptions { longest_block: 10, ..options };
    assert!(calibrate(&five()[..1], 3, &[long], &short_blocks).is_ok());
}

/// A person whose windows differ from one another twice as much, and whose values are elsewhere, has no more alarms.
#[test]
fn a_place_unlike_all_others_has_no_more_alarms() {
    let mut people = People { words: Words(11), memory: 0.5, offsets: 0.0 };
    let drawn = people.drawn(6, 10, 30);
    let options = CalibrateOptions { arl0: 500.0, first: FIRST, longest_block: 30, seed: 1 };
    let found = calibrate(&five()[..4], 3, &of(&drawn), &options).unwrap();
    let mut usual = People { words: Words(5), memory: 0.5, offsets: 0.0 };
    let mut unlike = People { words: Words(5), memory: 0.5, offsets: 3.0 };
    let usual = at_new_places(&found, &mut usual, 30, 40);
    let unlike = at_new_places(&found, &mut unlike, 30, 40);
    assert!(unlike > 0.7 * usual, "{unlike} beside {usual}");
}
