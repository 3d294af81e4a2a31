//! Distances, probabilities, temperatures and sets as other libraries have them.

use monitor::{
    Conformal, Detector, KsWindow, Paired, argmax, ece, ks_asymptotic_p, ks_exact_p, temperature,
};
use testkit::assert_close;

use crate::support::{Words, golden, number, numbers, whole};

#[test]
fn distances_with_ties_are_those_of_scipy() {
    for case in golden("statistics.json")["ks"].as_array().unwrap() {
        let (n, window, shift) = (whole(&case["n"]), whole(&case["window"]), whole(&case["shift"]));
        let mut words = Words(whole(&case["seed"]) as u64);
        let reference: Vec<f64> = (0..n).map(|_| (words.ten() >> shift) as f64 / 8.0).collect();
        let mut ks = KsWindow::new(&reference, window, 2.0).unwrap();
        let mut found = Vec::new();
        for i in 0..i64::from(window as u32) + 150 {
            let x = ((words.ten() + 40 * i / 16) >> shift) as f64 / 8.0;
            assert!(!ks.update(x).is_alarm());
            if ks.held() == window {
                found.push(ks.statistic());
            }
        }
        assert_close("distances", &found, &numbers(&case["statistic"]), 0.0, 1e-12);
        let ps: Vec<f64> = found.iter().step_by(10).map(|&d| ks_exact_p(d, window, n)).collect();
        assert_close("probabilities", &ps, &numbers(&case["p"]), 1e-9, 1e-12);
    }
}

#[test]
fn probabilities_of_a_distance_are_those_of_scipy() {
    for case in golden("statistics.json")["ks_p"].as_array().unwrap() {
        let (n, m, d) = (whole(&case["n"]), whole(&case["m"]), number(&case["d"]));
        let found = [ks_exact_p(d, n, m), ks_exact_p(d, m, n)];
        assert_close("exact", &found, &[number(&case["exact"]); 2], 1e-10, 1e-13);
        assert_close("limit", &[ks_asymptotic_p(d, n, m)], &[number(&case["limit"])], 1e-9, 1e-13);
    }
}

/// As in `make_statistics.py`.
fn logits_of(seed: u64, n: usize, classes: usize, factor: f64) -> (Vec<f32>, Vec<u32>) {
    let mut words = Words(seed);
    let logits: Vec<f32> =
        (0..n * classes).map(|_| ((words.ten() - 512) as f64 / 512.0 * factor) as f32).collect();
    let target = |row: &[f32]| {
        if words.ten() < 700 { argmax(row) as u32 } else { (words.word() % classes as u64) as u32 }
    };
    let targets = logits.chunks_exact(classes).map(target).collect();
    (logits, targets)
}

#[test]
fn temperatures_and_calibration_errors_are_those_of_torch_and_scikit_learn() {
    for case in golden("statistics.json")["probabilities"].as_array().unwrap() {
        let (classes, seed) = (whole(&case["classes"]), whole(&case["seed"]) as u64);
        let (mut logits, targets) =
            logits_of(seed, whole(&case["n"]), classes, number(&case["factor"]));
        let before = ece(classes, &logits, &targets);
        let least = temperature::least_loss(classes, &logits, &targets);
        let fitted = temperature::fit(classes, &logits, &targets);
        assert_eq!(fitted.kept, None);
        temperature::divide(&mut logits, Some(fitted.temperature));
        let found = [fitted.temperature, least, before, ece(classes, &logits, &targets)];
        let expected =
            ["temperature", "loss", "ece", "ece_calibrated"].map(|key| number(&case[key]));
        // Half of the error that is allowed, so that two may differ by it.
        assert_close("probabilities", &found, &expected, 0.0, 5e-5);
    }
}

#[test]
fn sets_are_those_of_mapie() {
    let golden = &golden("statistics.json")["conformal"];
    let (logits, targets) = logits_of(31, 600, 4, 3.0);
    let p: Vec<Vec<f64>> = logits
        .chunks_exact(4)
        .map(|row| {
            let weights: Vec<f64> = row.iter().map(|&l| f64::from(l).exp()).collect();
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|w| w / sum).collect()
        })
        .collect();
    let scores: Vec<f64> = (0..300).map(|i| 1.0 - p[i][targets[i] as usize]).collect();
    let conformal = Conformal::new(&scores).unwrap();
    let empty = numbers(&golden["empty"]);
    let (mut sizes, mut coverage) = (Vec::new(), Vec::new());
    for &level in &numbers(&golden["levels"]) {
        let sets: Vec<Vec<usize>> =
            p[300..].iter().map(|p| conformal.set(p, level).collect()).collect();
        assert!(sets.iter().all(|set| !set.is_empty()));
        sizes.push(sets.iter().map(Vec::len).sum::<usize>() as f64);
        let held =
            sets.iter().zip(&targets[300..]).filter(|(set, t)| set.contains(&(**t as usize)));
        coverage.push(held.count() as f64 / 300.0);
    }
    // MAPIE leaves sets empty; here each of these has the likeliest class, which is the true one for some.
    let expected: Vec<f64> =
        numbers(&golden["sizes"]).iter().zip(&empty).map(|(a, b)| a + b).collect();
    assert_close("sizes", &sizes, &expected, 0.0, 0.0);
    for ((found, mapie), empty) in coverage.iter().zip(numbers(&golden["coverage"])).zip(empty) {
        assert!((mapie - 1e-12..=mapie + empty / 300.0 + 1e-12).contains(found), "{found} {mapie}");
    }
}

#[test]
fn paired_tests_are_those_of_scipy() {
    for case in golden("statistics.json")["mcnemar"].as_array().unwrap() {
        let [only_new, only_old] = ["only_new", "only_old"].map(|key| whole(&case[key]) as u32);
        let paired = Paired { only_new, only_old, ..Paired::default() };
        let expected = [number(&case["p"]), number(&case["p_worse"])];
        assert_close("mcnemar", &[paired.p(), paired.p_worse()], &expected, 1e-10, 0.0);
    }
}
