//! Laws of steps that each node fits for itself: by its rows alone, by statistics of them, and behind
//! what nodes share.

use preprocess::{
    Difference, Error, FitBy, Impute, ImputeMethod, Log1p, Median, MinMax, Pipeline, Rounds, Rows,
    Stage, Statistics, StepConfig, Streamer, ZScore,
};
use proptest::prelude::*;
use testkit::assert_close;

use crate::support::{causal_steps, nodes, scalings};

const NAMES: [&str; 4] = ["north", "south", "east", "west"];

fn named(nodes: &[Vec<Rows>]) -> Vec<(&'static str, Vec<Rows>)> {
    NAMES.into_iter().zip(nodes.iter().cloned()).collect()
}

/// Steps that are fitted, some by each node.
fn mixed() -> impl Strategy<Value = Vec<StepConfig>> {
    let fitted = |step: &StepConfig| {
        let mut zero = step.clone();
        zero.fit = FitBy::Node;
        Pipeline::fit(&[zero], &Stage::unnamed(1), vec![Rows::of_series(1, None, vec![1.0, 2.0])])
            .is_ok()
    };
    let step = prop_oneof![1 => causal_steps(), 2 => scalings()];
    let step = (step, any::<bool>()).prop_map(move |(step, by_node)| {
        if by_node && fitted(&step) { step.by_node() } else { step }
    });
    prop::collection::vec(step, 1..5)
}

/// All numbers of the steps, in their order.
fn numbers(pipeline: &Pipeline) -> Vec<f64> {
    fn collect(value: &serde_json::Value, all: &mut Vec<f64>) {
        match value {
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, all)),
            serde_json::Value::Object(items) => items.values().for_each(|item| collect(item, all)),
            serde_json::Value::Number(number) => all.extend(number.as_f64()),
            _ => {}
        }
    }
    let mut all = Vec::new();
    collect(&serde_json::to_value(pipeline.steps()).expect("numbers"), &mut all);
    all
}

fn series(values: &[f64]) -> Vec<Rows> {
    vec![Rows::of_series(2, None, values.to_vec())]
}

proptest! {
    #[test]
    fn the_values_of_a_node_are_those_of_its_rows_alone(
        configs in prop::collection::vec(scalings().prop_map(StepConfig::by_node), 1..4),
        nodes in nodes(2, 14),
    ) {
        let stage = Stage::unnamed(2);
        let Ok(shared) = Pipeline::fit_shared(&configs, &stage, named(&nodes)) else {
            prop_assert!(nodes.iter().any(|rows| Pipeline::fit(&configs, &stage, rows.clone()).is_err()));
            return Ok(());
        };
        prop_assert!(!shared.is_fitted());
        for rows in &nodes {
            let own = shared.fit_node(rows).unwrap();
            prop_assert_eq!(&own, &Pipeline::fit(&configs, &stage, rows.clone()).unwrap());
            prop_assert_eq!(&own.shared(), &shared);
            // Also for one that starts with another node's values.
            prop_assert_eq!(&own, &shared.fit_node(&nodes[0]).unwrap().fit_node(rows).unwrap());
        }
    }

    #[test]
    fn each_step_is_fitted_on_what_those_before_leave_of_the_node_or_of_all(
        configs in mixed(),
        nodes in nodes(2, 14),
    ) {
        let stage = Stage::unnamed(2);
        let Ok(shared) = Pipeline::fit_shared(&configs, &stage, named(&nodes)) else {
            return Ok(());
        };
        prop_assert_eq!(&shared.configs(), &configs);
        let stored = serde_json::to_string(&shared).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Pipeline>(&stored).unwrap(), &shared);
        let mut passed = nodes.clone();
        let mut stage = stage;
        for (at, config) in configs.iter().enumerate() {
            let one = [config.clone()];
            let of_all = Pipeline::fit(&one, &stage, passed.concat()).unwrap();
            for (rows, own) in passed.iter_mut().zip(&nodes) {
                let own = shared.fit_node(own).unwrap();
                let alone = match config.fit {
                    FitBy::Node => Pipeline::fit(&one, &stage, rows.clone()).unwrap(),
                    FitBy::Shared => of_all.clone(),
                };
                prop_assert_eq!(&own.steps()[at], &alone.steps()[0]);
                *rows = rows.iter().map(|rows| alone.apply(rows.view()).unwrap()).collect();
            }
            stage = of_all.output().clone();
        }
    }

    #[test]
    fn without_such_steps_nothing_is_different(
        configs in prop::collection::vec(causal_steps(), 1..4),
        nodes in nodes(2, 14),
    ) {
        let stage = Stage::unnamed(2);
        let Ok(whole) = Pipeline::fit(&configs, &stage, nodes.concat()) else { return Ok(()) };
        prop_assert_eq!(&whole.fit_node(&nodes[0]).unwrap(), &whole);
        prop_assert_eq!(&whole.shared(), &whole);
        prop_assert_eq!(&Pipeline::fit_shared(&configs, &stage, named(&nodes)).unwrap(), &whole);
        prop_assert!(!serde_json::to_string(&whole).unwrap().contains("fit\""));
    }

    #[test]
    fn rounds_across_nodes_fit_what_all_rows_would(
        scale in scalings(),
        nodes in prop::collection::vec(prop::collection::vec(-9.0_f64..9.0, 8..20), 1..4),
    ) {
        let stage = Stage::unnamed(2);
        let nodes: Vec<Vec<Rows>> =
            nodes.iter().map(|values| series(&values[..values.len() / 2 * 2])).collect();
        let configs = [
            ZScore {}.into(),
            scale.by_node(),
            MinMax { low: -1.0, high: 2.0 }.into(),
            StepConfig::from(MinMax::default()).by_node(),
        ];
        let Ok(whole) = Pipeline::fit_shared(&configs, &stage, named(&nodes)) else { return Ok(()) };
        let mut rounds = Rounds::new(&configs, &stage).unwrap();
        while rounds.finished().is_none() {
            let parts: Vec<_> = nodes.iter().map(|rows| rounds.statistics(rows).unwrap()).collect();
            let parts: Vec<_> = parts.iter().map(|part| ("node", part)).collect();
            let (merged, _) = Statistics::merge(&parts, None).unwrap();
            // What a node hands out goes by a file.
            let merged = Statistics::from_tensors(merged.scope().clone(), &merged.to_tensors());
            rounds.fit(&merged.unwrap()).unwrap();
        }
        let found = rounds.finished().unwrap();
        prop_assert!(!found.is_fitted());
        assert_close("rounds", &numbers(found), &numbers(&whole), 1e-9, 1e-9);
        for rows in &nodes {
            let (own, alone) = (found.fit_node(rows).unwrap(), whole.fit_node(rows).unwrap());
            assert_close("a node", &numbers(&own), &numbers(&alone), 1e-9, 1e-9);
        }
    }

    #[test]
    fn statistics_give_the_values_that_rows_do(
        nodes in prop::collection::vec(prop::collection::vec(-9.0_f64..9.0, 8..20), 1..4),
    ) {
        let stage = Stage::unnamed(2);
        let nodes: Vec<Vec<Rows>> =
            nodes.iter().map(|values| series(&values[..values.len() / 2 * 2])).collect();
        let configs = [
            StepConfig::from(MinMax::default()),
            StepConfig::from(ZScore {}).by_node(),
            StepConfig::from(MinMax { low: -1.0, high: 2.0 }).by_node(),
            ZScore {}.into(),
            StepConfig::from(ZScore {}).by_node(),
        ];
        let shared = Pipeline::fit_shared(&configs, &stage, named(&nodes)).unwrap();
        // A node's own, whose rows are elsewhere; and all of them merged, for one without rows.
        for rows in [nodes[0].as_slice(), &nodes.concat()] {
            let first = shared.node_rounds(None).unwrap().statistics(rows).unwrap();
            let early = shared.fit_node_on(&first).unwrap_err().to_string();
            prop_assert!(early.contains("step 4 (z-score) needs those of another round"), "{}", early);
            let second = shared.node_rounds(Some(&first)).unwrap().statistics(rows).unwrap();
            let found = shared.fit_node_on(&second).unwrap();
            prop_assert!(shared.node_rounds(Some(&second)).unwrap().finished().is_some());
            prop_assert_eq!(&found.shared(), &shared);
            let expected = shared.fit_node(rows).unwrap();
            assert_close("values", &numbers(&found), &numbers(&expected), 1e-11, 1e-11);
        }
    }
}

#[test]
fn a_step_that_fits_nothing_is_no_nodes_own() {
    for (step, name) in [
        (StepConfig::from(Median { len: 3 }), "median"),
        (Log1p {}.into(), "log1p"),
        (Difference { order: 1 }.into(), "difference"),
        (Impute::by(ImputeMethod::Zero).into(), "impute"),
    ] {
        let rows = series(&[1.0, 2.0]);
        let stage = Stage::unnamed(2);
        let step = [step.by_node()];
        for error in [
            Pipeline::fit(&step, &stage, rows.clone()).unwrap_err(),
            Pipeline::fit_shared(&step, &stage, vec![("a", rows)]).unwrap_err(),
            Rounds::new(&step, &stage).unwrap_err(),
        ] {
            let expected = format!("step 0: {name}: fit = \"node\" has no effect");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }
}

#[test]
fn without_values_a_pipeline_does_not_run() {
    let configs = [ZScore {}.into(), StepConfig::from(ZScore {}).by_node()];
    let rows = series(&[1.0, 2.0, 3.0, 4.0]);
    let shared =
        Pipeline::fit_shared(&configs, &Stage::unnamed(2), vec![("a", rows.clone())]).unwrap();
    let stored = serde_json::to_value(&shared).unwrap();
    assert_eq!(
        stored["steps"][1],
        serde_json::json!({ "step": "unfitted", "of": { "step": "z-score" }, "fit": "node" })
    );
    for error in [
        shared.apply(rows[0].view()).unwrap_err(),
        shared.invert(&mut [0.0, 0.0]).unwrap_err(),
        Streamer::new(&shared).unwrap_err(),
    ] {
        let Error::Step { position: 1, source } = &error else { panic!("{error}") };
        assert_eq!(**source, Error::Unfitted { step: "z-score" });
    }
    // None is without values that all share.
    let text = serde_json::to_string(&shared).unwrap().replace(",\"fit\":\"node\"", "");
    assert!(serde_json::from_str::<Pipeline>(&text).is_err(), "{text}");
    // A node without a value is named.
    let empty = vec![("a", rows), ("b", series(&[f64::NAN, 1.0]))];
    let error = Pipeline::fit_shared(&configs, &Stage::unnamed(2), empty).unwrap_err();
    assert!(error.to_string().starts_with("b: step 1: channel \"dim_0\""), "{error}");
}

#[test]
fn statistics_of_other_steps_give_no_values() {
    let own = StepConfig::from(ZScore {}).by_node();
    let rows = series(&[1.0, 2.0, 3.0, 5.0]);
    let shared = |configs: &[StepConfig], rows: &[Rows]| {
        Pipeline::fit_shared(configs, &Stage::unnamed(2), vec![("a", rows.to_vec())]).unwrap()
    };
    let pipeline = shared(&[MinMax::default().into(), own.clone()], &rows);
    let refused = |of: &Pipeline| {
        let statistics = of.node_rounds(None).unwrap().statistics(&rows).unwrap();
        pipeline.fit_node_on(&statistics).unwrap_err().to_string()
    };
    let other = shared(&[MinMax::default().into(), own.clone()], &series(&[0.0, 0.0, 9.0, 9.0]));
    assert!(refused(&other).contains("the steps before were fitted otherwise"));
    let other = shared(&[own.clone(), own.clone()], &rows);
    assert!(refused(&other).contains("not of the steps that each node fits for itself"));
    let other = Pipeline::fit_shared(
        std::slice::from_ref(&own),
        &Stage::unnamed(2).at(5.0),
        vec![("a", rows.clone())],
    );
    assert!(refused(&other.unwrap()).contains("of another sample rate"));
    let across = Rounds::new(&[ZScore {}.into(), own], &Stage::unnamed(2)).unwrap();
    let statistics = across.statistics(&rows).unwrap();
    assert!(pipeline.fit_node_on(&statistics).is_err());
}
