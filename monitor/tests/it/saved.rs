//! States come back from JSON and go on, and what nothing here has written is refused.

use monitor::{
    AdaptiveLevel, Adwin, AdwinConfig, AnyDetector, CalibrateOptions, Calibration, Conformal,
    Cusum, Ddm, Detector, DetectorConfig, KsWindow, PageHinkley, PageHinkleyConfig, Part,
    Reference, Reservoir, ReservoirConfig, Scores, Series, Side, WatchConfig, calibrate, settle,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::support::Words;

fn through_json<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

/// Alarms on a stream that changes, stored and restored before every value or never.
fn alarms<D: Detector + Serialize + DeserializeOwned>(mut detector: D, saves: bool) -> Vec<u64> {
    let mut words = Words(9);
    let mut found = Vec::new();
    for i in 0..600_i64 {
        let error = words.ten() < if i / 150 % 2 == 0 { 150 } else { 700 };
        if saves {
            detector = through_json(&detector);
        }
        let alarm = detector.update(f64::from(u8::from(error))).is_alarm();
        found.push(detector.statistic().to_bits());
        found.push(u64::from(alarm));
    }
    let n = found.iter().filter(|&&bits| bits == 1).count();
    assert!(n > 0, "no alarm");
    found
}

fn goes_on<D: Detector + Clone + Serialize + DeserializeOwned>(detector: &D) {
    assert_eq!(alarms(detector.clone(), false), alarms(detector.clone(), true));
}

#[test]
fn detectors_go_on_from_json_to_the_same_bits() {
    let config = AdwinConfig { clock: 8, ..AdwinConfig::default() };
    goes_on(&Adwin::new(config).unwrap());
    goes_on(&Adwin::new(AdwinConfig { reset_after: true, ..config }).unwrap());
    let test = PageHinkleyConfig { threshold: 5.0, ..PageHinkleyConfig::default() };
    goes_on(&PageHinkley::new(test).unwrap());
    goes_on(&Cusum::new(0.15, 0.36, Side::Both, 0.5, 5.0).unwrap());
    goes_on(&KsWindow::new(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0], 20, 0.4).unwrap());
    goes_on(&Ddm::new(30, 2.0, 3.0).unwrap());
    goes_on(&AnyDetector::Cusum(Cusum::new(0.15, 0.36, Side::Up, 0.5, 4.0).unwrap()));
}

#[test]
fn reservoirs_go_on_from_json_to_the_same_items() {
    let config = ReservoirConfig { classes: 3, capacity: 30, probe: 0.3, seed: 4 };
    let mut whole: Reservoir<u64> = Reservoir::new(config).unwrap();
    let mut stored = whole.clone();
    for i in 0..500 {
        stored = through_json(&stored);
        let (class, group) = ((i % 7 % 3) as usize, i / 4);
        assert_eq!(whole.offer(class, group, i), stored.offer(class, group, i));
    }
    assert_eq!(whole, stored);
    assert!(whole.len(Part::Probe) > 0);
}

#[test]
fn calibrations_and_levels_come_back_as_they_were() {
    let mut words = Words(3);
    let values: Vec<Vec<f64>> = (0..6).map(|_| (0..50).map(|_| words.normal()).collect()).collect();
    let of = |(i, values): (usize, &'_ Vec<f64>)| (i / 2, values.clone());
    let drawn: Vec<(usize, Vec<f64>)> = values.iter().enumerate().map(of).collect();
    let series: Vec<Series<'_>> =
        drawn.iter().map(|(place, values)| Series { values, kinds: &[], place: *place }).collect();
    let reference = Reference::Scores;
    let detectors = [
        DetectorConfig::Cusum { side: Side::Both, allowance: 0.5, reference },
        DetectorConfig::Ks { window: 10 },
    ];
    let watches = detectors.map(|detector| WatchConfig { signal: 0, share: 1.0, detector });
    assert_eq!(through_json(&watches.to_vec()), watches);
    let options = CalibrateOptions { arl0: 50.0, first: 50, longest_block: 50, seed: 2 };
    let found: Calibration = calibrate(&watches, 1, &series, &options).unwrap();
    assert_eq!(through_json(&found), found);
    let settled = settle(&found.watches, &values[0], &[]).unwrap();
    assert_eq!(through_json(&settled), settled);

    let mut level = AdaptiveLevel::new(0.1, 0.05).unwrap();
    level.update(true);
    assert_eq!(through_json(&level), level);
    let conformal = Conformal::new(&[0.3, 0.1]).unwrap();
    assert_eq!(through_json(&conformal), conformal);
}

/// The error of a JSON in which one text stands for another.
fn refused<T: Serialize + DeserializeOwned>(value: &T, from: &str, to: &str) -> String {
    let json = serde_json::to_string(value).unwrap();
    assert!(json.contains(from), "{json} has no {from}");
    match serde_json::from_str::<T>(&json.replacen(from, to, 1)) {
        Ok(_) => panic!("{to} was taken in {json}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn states_that_nothing_has_written_are_refused() {
    let mut adwin = Adwin::new(AdwinConfig::default()).unwrap();
    let mut ks = KsWindow::new(&[1.0, 2.0], 3, 0.9).unwrap();
    let mut cusum = Cusum::new(1.0, 2.0, Side::Up, 0.5, 5.0).unwrap();
    let mut ddm = Ddm::new(2, 2.0, 3.0).unwrap();
    let scores = Scores::fit(&[1.0, 2.0, 3.0], &[]).unwrap();
    let config = ReservoirConfig { classes: 1, capacity: 4, probe: 0.0, seed: 4 };
    let mut reservoir = Reservoir::new(config).unwrap();
    for i in 0..5 {
        let _ = (adwin.update(1.0), ks.update(1.0), cusum.update(4.0), ddm.update(1.0));
        reservoir.offer(0, 0, i);
    }
    let level = AdaptiveLevel::new(0.1, 0.05).unwrap();
    let test = PageHinkley::new(PageHinkleyConfig::default()).unwrap();
    for (message, part) in [
        (refused(&adwin, "\"wait\":27", "\"wait\":0"), "clock"),
        (refused(&adwin, "\"wait\":27", "\"wait\":33"), "clock"),
        (refused(&adwin, "\"delta\":0.002", "\"delta\":2"), "delta is 2"),
        (refused(&adwin, "]],\"sum\"", "],[]],\"sum\""), "last row is empty"),
        (refused(&adwin, "\"max_buckets\":5", "\"max_buckets\":4"), "too many"),
        (refused(&ks, "\"window\":3", "\"window\":2"), "window"),
        (refused(&ks, "\"window\":3", "\"window\":99999999"), "window"),
        (refused(&ks, "[1,1,1]", "[1,1,5]"), "window"),
        (refused(&cusum, "\"up\":", "\"up\":-"), "below 0"),
        (refused(&cusum, "\"deviation\":2.0", "\"deviation\":0.0"), "deviation"),
        (refused(&scores, "[-1.0,", "[3.0,"), "rising"),
        (refused(&ddm, "\"p\":1.0", "\"p\":1.5"), "share"),
        (refused(&reservoir, "\"capacity\":4", "\"capacity\":2"), "items"),
        (refused(&reservoir, "\"seen\":5", "\"seen\":3"), "items"),
        (refused(&reservoir, "\"classes\":1", "\"classes\":99999999"), "classes"),
        (refused(&level, "\"level\":0.1", "\"level\":9"), "level"),
        (refused(&test, "\"alpha\":0.9999", "\"alpha\":0"), "alpha"),
    ] {
        assert!(message.contains(part), "{message} without {part}");
    }
    assert!(serde_json::from_str::<Conformal>("[0.5, 1.5]").is_err());
}
