//! Laws that hold for all streams.

use monitor::{
    AdaptiveLevel, Adwin, AdwinConfig, Conformal, Cusum, Ddm, Detector, KsWindow, LARGEST,
    PageHinkley, PageHinkleyConfig, Paired, Part, Reservoir, ReservoirConfig, Side, Verdict,
};
use proptest::prelude::*;

/// All detectors, with low thresholds, so that they give alarms on short streams.
pub(crate) fn detectors() -> Vec<(&'static str, Box<dyn Detector>)> {
    let adwin = AdwinConfig { clock: 4, delta: 0.3, ..AdwinConfig::default() };
    let test = PageHinkleyConfig { threshold: 3.0, min_values: 5, ..PageHinkleyConfig::default() };
    vec![
        ("adwin", Box::new(Adwin::new(adwin).unwrap())),
        ("page-hinkley", Box::new(PageHinkley::new(test).unwrap())),
        ("cusum", Box::new(Cusum::new(0.4, 0.5, Side::Both, 0.3, 2.0).unwrap())),
        ("ks", Box::new(KsWindow::new(&[0.0, 0.0, 0.0, 1.0], 5, 0.5).unwrap())),
        ("ddm", Box::new(Ddm::new(5, 1.0, 1.5).unwrap())),
    ]
}

fn bits() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![Just(0.0), Just(1.0)], 0..300)
}

/// Values of which many are equal.
fn tied(n: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-6_i32..6).prop_map(|x| f64::from(x) / 4.0), n)
}

/// By the definition: both sides of every value.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let share = |values: &[f64], is_in: &dyn Fn(f64) -> bool| {
        values.iter().filter(|x| is_in(**x)).count() as f64 / values.len() as f64
    };
    let gap = |is_in: &dyn Fn(f64) -> bool| (share(a, is_in) - share(b, is_in)).abs();
    let each = a.iter().chain(b).map(|&at| gap(&|x| x <= at).max(gap(&|x| x < at)));
    each.fold(0.0, f64::max)
}

proptest! {
    #[test]
    fn what_is_refused_changes_nothing(
        values in bits(),
        bad in prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.1 * LARGEST, -f64::MAX]),
        every in 1_usize..20,
    ) {
        for ((name, mut clean), (_, mut dirty)) in detectors().into_iter().zip(detectors()) {
            for (i, &x) in values.iter().enumerate() {
                if i % every == 0 {
                    prop_assert_eq!(dirty.update(bad), Verdict::Refused, "{}", name);
                }
                prop_assert_eq!(clean.update(x), dirty.update(x), "{} at {}", name, i);
                prop_assert_eq!(clean.statistic().to_bits(), dirty.statistic().to_bits());
            }
        }
    }

    #[test]
    fn the_largest_values_do_not_silence_a_detector(values in prop::collection::vec(-1.0..1.0, 1..60)) {
        for (name, mut detector) in detectors().into_iter().take(4) {
            for &x in &values {
                let _ = detector.update(x * LARGEST);
                prop_assert!(!detector.statistic().is_nan(), "{}", name);
            }
            detector.reset();
            let alarm = (0..400).any(|i| detector.update(if i < 200 { 0.0 } else { 9.0 }).is_alarm());
            prop_assert!(alarm, "{}", name);
        }
    }

    #[test]
    fn after_reset_a_detector_is_as_new(values in bits()) {
        for ((name, mut fresh), (_, mut used)) in detectors().into_iter().zip(detectors()) {
            for &x in &values {
                let _ = used.update(x);
            }
            used.reset();
            for &x in &values {
                prop_assert_eq!(fresh.update(x), used.update(x), "{}", name);
            }
        }
    }

    #[test]
    fn an_alarm_is_a_statistic_above_the_threshold(values in bits()) {
        // ADWIN has cut its window when the statistic can be asked for.
        for (name, mut detector) in detectors().into_iter().skip(1) {
            for &x in &values {
                let alarm = detector.update(x).is_alarm();
                prop_assert_eq!(alarm, detector.statistic() > detector.threshold(), "{}", name);
            }
        }
    }

    #[test]
    fn distances_are_those_of_the_definition(
        reference in tied(1..40),
        values in tied(0..60),
        window in 1_usize..12,
    ) {
        let mut ks = KsWindow::new(&reference, window, 2.0).unwrap();
        for end in 1..=values.len() {
            prop_assert_eq!(ks.update(values[end - 1]), Verdict::Quiet);
            if end < window {
                prop_assert_eq!(ks.statistic().to_bits(), 0);
                continue;
            }
            let expected = distance(&values[end - window..end], &reference);
            prop_assert!((ks.statistic() - expected).abs() < 1e-12, "{}", expected);
        }
    }

    /// The bound of the paper, for scores and labels that an enemy chooses.
    #[test]
    fn the_adaptive_level_keeps_its_promise_in_the_long_run(
        target in 0.02_f64..0.6,
        gamma in 0.005_f64..0.3,
        probabilities in prop::collection::vec((0.0_f64..1.0, any::<bool>()), 1..400),
        scores in prop::collection::vec(0.0_f64..=1.0, 1..30),
    ) {
        let conformal = Conformal::new(&scores).unwrap();
        let mut level = AdaptiveLevel::new(target, gamma).unwrap();
        let first = level.level();
        let mut errors = 0.0;
        for (t, &(p, truth)) in probabilities.iter().enumerate() {
            let alpha = level.level();
            prop_assert!((-gamma..=1.0 + gamma).contains(&alpha));
            let set: Vec<usize> = conformal.set(&[p, 1.0 - p], alpha).collect();
            prop_assert!(!set.is_empty() || alpha >= 1.0);
            prop_assert!(set.len() == 2 || alpha > 0.0);
            let missed = !set.contains(&usize::from(truth));
            level.update(missed);
            errors += f64::from(u8::from(missed));
            let n = (t + 1) as f64;
            let bound = (first.max(1.0 - first) + gamma) / (gamma * n);
            prop_assert!((errors / n - target).abs() <= bound + 1e-9, "{} of {}", errors, n);
        }
    }

    #[test]
    fn sets_of_a_smaller_level_have_the_classes_of_a_larger(
        p in prop::collection::vec(0.0_f32..1.0, 1..9),
        scores in prop::collection::vec(0.0_f64..=1.0, 1..50),
        a in -0.1_f64..1.1,
        b in -0.1_f64..1.1,
    ) {
        let conformal = Conformal::new(&scores).unwrap();
        let large: Vec<usize> = conformal.set(&p, a.min(b)).collect();
        let small: Vec<usize> = conformal.set(&p, a.max(b)).collect();
        prop_assert!(small.iter().all(|class| large.contains(class)));
        prop_assert_eq!(small.is_empty(), a.max(b) >= 1.0);
    }

    #[test]
    fn what_is_for_testing_is_never_for_training(
        seed in any::<u64>(),
        probe in 0.0_f64..0.9,
        classes in 1_usize..5,
        per_class in 2_usize..30,
        offered in prop::collection::vec((0_usize..5, 0_u64..40), 0..400),
    ) {
        let config = ReservoirConfig { classes, capacity: classes * per_class, probe, seed };
        let mut reservoir = Reservoir::new(config).unwrap();
        let mut copy = std::collections::BTreeMap::new();
        for (i, &(class, group)) in offered.iter().enumerate() {
            if let Some(place) = reservoir.offer(class % classes, group, (i, group)) {
                prop_assert_eq!(place.part, reservoir.part_of(group));
                copy.insert((place.part as usize, place.class, place.slot), (i, group));
            }
        }
        let mut held = 0;
        for part in [Part::Train, Part::Probe] {
            for (class, &(i, group)) in reservoir.items(part) {
                prop_assert_eq!(part, reservoir.part_of(group));
                prop_assert_eq!(class, offered[i].0 % classes);
                prop_assert!(copy.values().any(|kept| *kept == (i, group)));
            }
            held += reservoir.len(part);
        }
        prop_assert!(held == copy.len() && held <= config.capacity);
        let seen: u64 = (0..classes)
            .map(|class| reservoir.seen(class, Part::Train) + reservoir.seen(class, Part::Probe))
            .sum();
        prop_assert_eq!(seen, offered.len() as u64);
    }

    #[test]
    fn a_paired_test_has_probabilities(only_new in 0_u32..3000, only_old in 0_u32..3000) {
        let paired = Paired { only_new, only_old, ..Paired::default() };
        let turned = Paired { only_new: only_old, only_old: only_new, ..Paired::default() };
        prop_assert!((0.0..=1.0).contains(&paired.p()) && (0.0..=1.0).contains(&paired.p_worse()));
        prop_assert!((paired.p() - turned.p()).abs() < 1e-12);
        // Both tails together are everything, but for what is in both.
        prop_assert!(paired.p_worse() + turned.p_worse() >= 1.0 - 1e-9);
    }
}

#[test]
fn every_item_is_kept_with_the_same_probability() {
    const ITEMS: usize = 50;
    let mut counts = [0_u32; ITEMS];
    for seed in 0..4000 {
        let config = ReservoirConfig { classes: 1, capacity: 10, probe: 0.0, seed };
        let mut reservoir = Reservoir::new(config).unwrap();
        for item in 0..ITEMS {
            reservoir.offer(0, item as u64, item);
        }
        for (_, &item) in reservoir.items(Part::Train) {
            counts[item] += 1;
        }
    }
    // Of 4000 samples, each item is in a fifth: 800, with a deviation of 25.
    assert!(counts.iter().all(|n| (680..920).contains(n)), "{counts:?}");
}

#[test]
fn a_share_of_the_groups_is_for_testing() {
    for (probe, seed) in [(0.2, 1), (0.5, 2), (0.0, 3)] {
        let config = ReservoirConfig { classes: 1, capacity: 10, probe, seed };
        let reservoir: Reservoir<u8> = Reservoir::new(config).unwrap();
        let of = (0..20_000).filter(|&group| reservoir.part_of(group) == Part::Probe).count();
        assert!((of as f64 / 20_000.0 - probe).abs() < 0.015, "{of} at {probe}");
    }
}

/// The promise of a set: over calibration and test together, at least `1 − α`, and no more than
/// `1/(n + 1)` above it where scores are all different.
#[test]
fn sets_hold_the_true_class_as_often_as_promised() {
    let mut words = crate::support::Words(5);
    let (n, alpha) = (50, 0.1);
    let (mut held, mut all) = (0, 0);
    for _ in 0..4000 {
        let mut p_true = || words.uniform().sqrt();
        let scores: Vec<f64> = (0..n).map(|_| 1.0 - p_true()).collect();
        let conformal = Conformal::new(&scores).unwrap();
        for _ in 0..5 {
            let p = p_true();
            // Another class is likelier, so that the true one has to earn its place.
            held += usize::from(conformal.set(&[p, 2.0], alpha).any(|class| class == 0));
            all += 1;
        }
    }
    let coverage = held as f64 / f64::from(all);
    assert!((0.893..0.925).contains(&coverage), "{coverage}");
}
