//! Laws of what nodes hand out: merging, storage, refusals and caps.

use preprocess::{
    Impute, ImputeMethod, MAX_WEIGHT, Pca, RobustScale, Rounds, Rows, Scope, Stage, Statistics,
    StepConfig, Tensor, ZScore,
};
use proptest::prelude::*;
use testkit::{assert_close, assert_same_bits};

use crate::support::{nodes, noisy};

/// Steps that want all there is: quantiles, and those of filled values.
fn configs() -> Vec<StepConfig> {
    vec![ZScore {}.into(), Impute::by(ImputeMethod::Previous).into(), RobustScale {}.into()]
}

fn rounds(channels: usize) -> Rounds {
    Rounds::new(&configs(), &Stage::unnamed(channels)).unwrap()
}

fn merged(parts: &[&Statistics], max_weight: Option<f64>) -> Statistics {
    let parts: Vec<_> = parts.iter().map(|part| ("a node", *part)).collect();
    Statistics::merge(&parts, max_weight).unwrap().0
}

fn find(statistics: &Statistics, name: &str) -> Vec<f64> {
    let tensors = statistics.to_tensors();
    let found = tensors.into_iter().find(|tensor| tensor.name == name);
    found.unwrap_or_else(|| panic!("no {name}")).values
}

#[track_caller]
fn assert_same(a: &Statistics, b: &Statistics) {
    assert_eq!(a, b);
    for (a, b) in a.to_tensors().iter().zip(b.to_tensors()) {
        assert_same_bits(&a.name, &a.values, &b.values);
    }
}

/// Counts, ranges and moments to 1e-12.
#[track_caller]
fn assert_moments(found: &Statistics, expected: &Statistics) {
    for prefix in ["", "filled."] {
        let of = |all: &Statistics, name: &str| find(all, &format!("{prefix}{name}"));
        for name in ["count", "min", "max"] {
            assert_same_bits(name, &of(found, name), &of(expected, name));
        }
        let (min, max) = (of(expected, "min"), of(expected, "max"));
        let (means, squares) = (of(found, "mean"), of(found, "m2"));
        for (at, (min, max)) in min.iter().zip(&max).enumerate() {
            let largest = min.abs().max(max.abs());
            let mean = [of(expected, "mean")[at]];
            assert_close("mean", &[means[at]], &mean, 1e-12, 1e-12 * largest);
            assert_close("m2", &[squares[at]], &[of(expected, "m2")[at]], 1e-12, 1e-300);
        }
    }
}

proptest! {
    #[test]
    fn merging_is_exact_and_blind_to_order(
        (nodes, order) in nodes(2, 10).prop_flat_map(|nodes| {
            let order: Vec<usize> = (0..nodes.len()).collect();
            (Just(nodes), Just(order).prop_shuffle())
        }),
        max_weight in prop_oneof![Just(None), (0.5_f64..12.0).prop_map(Some)],
    ) {
        let rounds = rounds(2);
        let parts: Vec<Statistics> =
            nodes.iter().map(|series| rounds.statistics(series).unwrap()).collect();
        let all: Vec<&Statistics> = parts.iter().collect();
        let shuffled: Vec<&Statistics> = order.iter().map(|&i| &parts[i]).collect();
        let one_way = merged(&all, max_weight);
        assert_same(&one_way, &merged(&shuffled, max_weight));
        // Who has no rows changes nothing.
        let none = rounds.statistics(&[]).unwrap();
        let with_none: Vec<&Statistics> = std::iter::once(&none).chain(all.clone()).collect();
        assert_same(&one_way, &merged(&with_none, max_weight));
        assert_same(&parts[0], &merged(&[&none, &parts[0]], None));
        // What is merged can be stored.
        let tensors = one_way.to_tensors();
        assert_same(&one_way, &Statistics::from_tensors(rounds.scope(), &tensors).unwrap());

        let whole = rounds.statistics(&nodes.concat()).unwrap();
        let together = merged(&all, None);
        assert_moments(&together, &whole);
        let (left, right) = all.split_at(all.len() / 2);
        if !left.is_empty() {
            let pair = [merged(left, None), merged(right, None)];
            assert_moments(&merged(&[&pair[0], &pair[1]], None), &together);
        }
    }

    #[test]
    fn nothing_read_panics(
        at in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        value in prop_oneof![any::<f64>(), -3.0..3.0_f64],
        grow in any::<bool>(),
    ) {
        let rounds = rounds(2);
        let series = [Rows::of_series(2, None, vec![1.0, 2.0, f64::NAN, 4.0, 5.0, 6.0])];
        let mut tensors = rounds.statistics(&series).unwrap().to_tensors();
        let at = at.index(tensors.len());
        let place = place.index(tensors[at].values.len());
        tensors[at].values[place] = value;
        if grow {
            tensors[at].values.push(value);
            tensors[at].shape[0] += 1;
        }
        if let Ok(read) = Statistics::from_tensors(rounds.scope(), &tensors) {
            let mut next = rounds.clone();
            // It may have no value to fit on; what it gives is finite.
            let fitted = next.fit(&read).is_ok();
            prop_assert_eq!(next.finished().is_some(), fitted);
        }
    }
}

#[test]
fn a_node_hands_out_few_quantiles() {
    let rounds = rounds(1);
    for (n_rows, expected) in [(1, 2.0), (9, 2.0), (40, 9.0), (400, 91.0), (20_000, 1025.0)] {
        let statistics = rounds.statistics(&[noisy(5, n_rows)]).unwrap();
        assert_same_bits("points", &find(&statistics, "points"), &[expected]);
        assert!(expected <= 2.0 || expected <= 0.25 * find(&statistics, "count")[0]);
    }
    // Nobody asked for them: they stay.
    let moments = Rounds::new(&[ZScore {}.into()], &Stage::unnamed(1)).unwrap();
    let names = moments.statistics(&[noisy(5, 40)]).unwrap().to_tensors();
    let names: Vec<String> = names.into_iter().map(|tensor| tensor.name).collect();
    assert_eq!(names, ["rows", "count", "mean", "mean_rest", "m2", "min", "max"]);
}

#[test]
fn storage_is_exact_and_names_are_stable() {
    let rounds = rounds(2);
    let series = [Rows::of_series(2, None, vec![1.0, 5.0, f64::NAN, 5.1, 3.0, f64::NAN])];
    let statistics = rounds.statistics(&series).unwrap();
    let json = serde_json::to_string(statistics.scope()).unwrap();
    let scope: Scope = serde_json::from_str(&json).unwrap();
    let tensors = statistics.to_tensors();
    assert_same(&statistics, &Statistics::from_tensors(scope, &tensors).unwrap());
    let show = |name: &str| find(&statistics, name);
    assert_same_bits("rows", &show("rows"), &[3.0]);
    assert_same_bits("count", &show("count"), &[2.0, 2.0]);
    assert_same_bits("filled", &show("filled.count"), &[3.0, 3.0]);
    assert_close("mean", &show("filled.mean"), &[5.0 / 3.0, 15.2 / 3.0], 1e-15, 0.0);
    assert_same_bits("quantiles", &show("quantiles"), &[1.0, 3.0, 5.0, 5.1]);
}

#[test]
fn numbers_that_no_values_have_are_refused() {
    let rounds = rounds(2);
    let series = [Rows::of_series(2, None, (0..40).map(f64::from).collect())];
    let good = rounds.statistics(&series).unwrap().to_tensors();
    let refused = |change: &dyn Fn(&mut Vec<Tensor>)| {
        let mut tensors = good.clone();
        change(&mut tensors);
        let error = Statistics::from_tensors(rounds.scope(), &tensors).unwrap_err().to_string();
        error.strip_prefix("these statistics cannot be used: ").expect(&error).to_owned()
    };
    let number = |name: &str, value: f64| {
        refused(&|tensors| {
            let tensor = tensors.iter_mut().find(|tensor| tensor.name == name).expect("a tensor");
            tensor.values[1.min(tensor.shape[0] - 1)] = value;
        })
    };
    for (name, value, expected) in [
        ("rows", 1.5, "rows is 1.5 at 0, expected a whole number from 0 to 9007199254740992"),
        ("rows", 1e300, "rows is 1"),
        ("count", -1.0, "count is -1 at 1, expected a whole number from 0 to 20"),
        ("count", 21.0, "count is 21 at 1, expected a whole number from 0 to 20"),
        ("count", f64::NAN, "count is NaN at 1"),
        ("count", 0.0, "count is 0 at 1, and other numbers there are not"),
        ("mean", f64::NAN, "channel \"dim_1\": mean is NaN"),
        ("mean", 40.0, "channel \"dim_1\": the mean 40 is not between min 1 and max 39"),
        ("mean_rest", 0.5, "channel \"dim_1\": mean_rest is 5e-1, more than the last digit"),
        ("m2", -1.0, "channel \"dim_1\": m2 is -1e0, expected 0 to 7.22e3 by count and range"),
        ("m2", 7221.0, "channel \"dim_1\": m2 is 7.221e3"),
        ("min", 50.0, "channel \"dim_1\": min is 50 and max is 39"),
        ("max", f64::INFINITY, "channel \"dim_1\": max is inf, expected a number within 1e150"),
        ("points", 1026.0, "points is 1026 at 1, expected a whole number from 0 to 1025"),
        ("points", 6.0, "quantiles has the shape [10], expected [11]"),
        ("quantiles", 30.0, "channel \"dim_0\": its quantiles are not at least 2 numbers in order"),
        ("filled.mean", -5.0, "channel \"dim_1\": the mean -5 is not between"),
        ("filled.count", 3.0, "channel \"dim_1\": "),
    ] {
        let error = number(name, value);
        assert!(error.starts_with(expected), "{name}: {error}\n{expected}");
    }
    let error = refused(&|tensors| drop(tensors.remove(3)));
    assert_eq!(error, "mean_rest is missing");
    let error =
        refused(&|tensors| tensors.push(Tensor { name: "more".into(), ..tensors[0].clone() }));
    assert!(error.starts_with("expected 17 tensors, found rows, count"), "{error}");
    let error = refused(&|tensors| tensors[1].shape = vec![1, 2]);
    assert_eq!(error, "count has the shape [1, 2], expected [2]");

    let huge = [Rows::of_series(2, None, vec![1.0, -1e200])];
    let error = rounds.statistics(&huge).unwrap_err().to_string();
    assert!(error.contains("\"dim_1\": mean is -1e200, expected a number within 1e150"), "{error}");

    // A scope that no rounds have.
    let mut scope = rounds.scope();
    scope.configs.clear();
    assert!(Statistics::from_tensors(scope, &good).is_err());
    let scope =
        Scope { configs: Vec::new(), ..Rounds::new(&[], &Stage::unnamed(2)).unwrap().scope() };
    let error = Statistics::from_tensors(scope, &good).unwrap_err().to_string();
    assert!(error.contains("no step waits for them"), "{error}");
}

#[test]
fn covariances_merge_are_stored_and_refused() {
    let configs = [Pca { components: 1, whiten: false }.into()];
    let rounds = Rounds::new(&configs, &Stage::unnamed(2)).unwrap();
    let noise: Vec<f64> =
        testkit::sequence(6, 400).into_iter().map(|v| 1e4 + f64::from(v)).collect();
    let rows = |from: usize, to: usize| [Rows::of_series(2, None, noise[from..to].to_vec())];
    let whole = rounds.statistics(&rows(0, 400)).unwrap();
    let parts = [(0, 14), (14, 200), (200, 400)].map(|(from, to)| rows(from, to));
    let parts = parts.map(|rows| rounds.statistics(&rows).unwrap());
    let together = merged(&parts.iter().collect::<Vec<_>>(), None);
    assert_same(&together, &merged(&parts.iter().rev().collect::<Vec<_>>(), None));
    let comoment = |all: &Statistics| find(all, "covariance.comoment");
    assert_close("co-moment", &comoment(&together), &comoment(&whole), 1e-12, 0.0);
    let good = together.to_tensors();
    assert_same(&together, &Statistics::from_tensors(rounds.scope(), &good).unwrap());
    // As half as many rows, each counts half.
    let capped = merged(&[&whole, &parts[2]], Some(MAX_WEIGHT));
    assert_same_bits("count", &find(&capped, "covariance.count"), &[200.0]);

    for (name, value, expected) in [
        ("covariance.count", 201.0, "covariance.count is 201 at 0, expected a whole number from 0"),
        ("covariance.count", 0.0, "covariance.count is 0, and other numbers are not"),
        ("covariance.mean", 0.0, "covariance, at 0: the mean 0 is not between"),
        ("covariance.mean_rest", f64::NAN, "covariance, at 0: mean_rest is NaN"),
        ("covariance.comoment", -1.0, "covariance, at 0: m2 is -1e0"),
        ("covariance.comoment", 1e-9, "covariance.comoment at 1, 0 is"),
    ] {
        let mut tensors = good.clone();
        let tensor = tensors.iter_mut().find(|tensor| tensor.name == name).expect("a tensor");
        tensor.values[0] = value;
        let error = Statistics::from_tensors(rounds.scope(), &tensors).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    let mut tensors = good;
    let tensor = tensors.iter_mut().find(|tensor| tensor.name.ends_with("comoment")).unwrap();
    tensor.values[1] += 1e-6;
    let error = Statistics::from_tensors(rounds.scope(), &tensors).unwrap_err().to_string();
    assert!(error.contains("expected the same twice"), "{error}");
}

#[test]
fn no_number_of_rows_outweighs_the_others() {
    let rounds = Rounds::new(&[ZScore {}.into()], &Stage::unnamed(1)).unwrap();
    let node =
        |values: &[f64]| rounds.statistics(&[Rows::of_series(1, None, values.to_vec())]).unwrap();
    let honest = [node(&[0.0; 10]), node(&[0.0; 12]), node(&[0.0, f64::NAN])];
    let mut tensors = node(&[1.0, 1.0, f64::NAN, f64::NAN]).to_tensors();
    for tensor in &mut tensors {
        match tensor.name.as_str() {
            "rows" => tensor.values[0] = 4e15,
            "count" => tensor.values[0] = 2e15,
            _ => {}
        }
    }
    let loud = Statistics::from_tensors(rounds.scope(), &tensors).unwrap();
    let [a, b, c] = &honest;
    let parts = [("a", a), ("loud", &loud), ("b", b), ("c", c)];
    let (all, capped) = Statistics::merge(&parts, Some(MAX_WEIGHT)).unwrap();
    assert_eq!(capped.len(), 1);
    assert_eq!((capped[0].node.as_str(), capped[0].counted), ("loud", 24));
    assert_eq!((all.rows(), capped[0].claimed), (48, 4_000_000_000_000_000));
    assert_same_bits("count", &find(&all, "count"), &[35.0]);
    assert_close("mean", &find(&all, "mean"), &[12.0 / 35.0], 1e-15, 0.0);
    let (_, capped) = Statistics::merge(&parts, None).unwrap();
    assert!(capped.is_empty());
    // Too many rows in all to be a number of rows.
    let many = vec![("loud", &loud); 4];
    let error = Statistics::merge(&many, None).unwrap_err().to_string();
    assert!(error.contains("rows are more than 9007199254740992"), "{error}");
    assert!(Statistics::merge(&[], None).is_err());
}

#[test]
fn statistics_of_different_jobs_do_not_merge() {
    let series = [Rows::of_series(2, None, vec![1.0, 2.0, 3.0, 5.0])];
    let stage = Stage { names: vec!["ax".into(), "ay".into()], rate_hz: Some(50.0) };
    let of = |configs: &[StepConfig], stage: &Stage| {
        Rounds::new(configs, stage).unwrap().statistics(&series).unwrap()
    };
    let ours = of(&configs(), &stage);
    let turned = Stage { names: vec!["ay".into(), "ax".into()], ..stage.clone() };
    for (theirs, expected) in [
        (
            of(&configs(), &turned),
            "the channels are [\"ax\", \"ay\"] here and [\"ay\", \"ax\"] there",
        ),
        (
            of(&configs(), &stage.clone().at(49.5)),
            "the sample rate is 50 Hz here and 49.5 Hz there; give [data] sample_rate_hz",
        ),
        (of(&configs()[1..], &stage), "the steps of preprocessing differ"),
    ] {
        let error = Statistics::merge(&[("north", &ours), ("south", &theirs)], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("south: these statistics cannot be used: {expected}")
        );
        let mut rounds = Rounds::new(&configs(), &stage).unwrap();
        assert!(rounds.fit(&theirs).unwrap_err().to_string().contains(expected));
    }
}
