//! Laws of fitting across nodes: rounds give the pipeline of all rows together.

use preprocess::{
    Error, FittedKind, Impute, ImputeMethod, MinMax, Pca, Pipeline, RobustScale, Rounds, Rows,
    Stage, Statistics, StepConfig, ZScore,
};
use proptest::prelude::*;
use testkit::assert_close;

use crate::support::{exact_quantile, nodes, noisy};

/// Steps whose statistics have no bound but rounding.
fn exact_steps() -> impl Strategy<Value = StepConfig> {
    let methods =
        [ImputeMethod::Mean, ImputeMethod::Zero, ImputeMethod::Previous, ImputeMethod::Linear];
    let impute = (prop::sample::select(methods.to_vec()), any::<bool>())
        .prop_map(|(method, mask)| Impute { method, mask }.into());
    let kind = prop_oneof![
        2 => impute,
        1 => Just(ZScore {}.into()),
        1 => (-2.0_f64..2.0).prop_map(|low| MinMax { low, high: low + 1.5 }.into()),
    ];
    let channels =
        prop::sample::select(vec![None, Some(vec!["dim_1"]), Some(vec!["dim_1", "dim_0"])]);
    (kind, channels).prop_map(|(kind, channels): (StepConfig, _)| match channels {
        None => kind,
        Some(names) => kind.on(names),
    })
}

/// All rounds, and how many there were.
fn by_rounds(
    configs: &[StepConfig],
    stage: &Stage,
    nodes: &[Vec<Rows>],
) -> Result<(Pipeline, usize), Error> {
    let mut rounds = Rounds::new(configs, stage)?;
    let mut n_rounds = 0;
    while rounds.finished().is_none() {
        let statistics: Vec<Statistics> =
            nodes.iter().map(|series| rounds.statistics(series)).collect::<Result<_, _>>()?;
        let parts: Vec<_> = statistics.iter().map(|part| ("a node", part)).collect();
        let before = rounds.position();
        rounds.fit(&Statistics::merge(&parts, None)?.0)?;
        assert!(rounds.position() > before, "a round fits at least one step");
        n_rounds += 1;
    }
    Ok((rounds.finished().expect("the loop ended").clone(), n_rounds))
}

/// The numbers of a fitted step: what it has one of for each channel.
fn parameters(kind: &FittedKind) -> Vec<Vec<f64>> {
    let stored = serde_json::to_value(kind).expect("numbers");
    let fields = stored.as_object().expect("a table").values();
    fields.filter_map(|field| serde_json::from_value(field.clone()).ok()).collect()
}

/// The largest present number of each channel.
fn magnitudes(series: &[Rows], places: &[usize]) -> Vec<f64> {
    let present = |place: usize| {
        let values = series.iter().flat_map(move |rows| {
            rows.values().iter().skip(place).step_by(rows.channels()).copied()
        });
        values.filter(|v| !v.is_nan()).fold(1e-30, |most: f64, v| most.max(v.abs()))
    };
    places.iter().map(|&place| present(place)).collect()
}

proptest! {
    #[test]
    fn rounds_fit_what_all_rows_together_fit(
        configs in prop::collection::vec(exact_steps(), 1..6),
        nodes in nodes(2, 14),
    ) {
        let stage = Stage::unnamed(2);
        let all: Vec<Rows> = nodes.concat();
        let whole = Pipeline::fit(&configs, &stage, all.clone());
        let whole = match (whole, by_rounds(&configs, &stage, &nodes)) {
            (Ok(whole), Ok((pipeline, _))) => (whole, pipeline),
            (Err(whole), Err(error)) => {
                prop_assert_eq!(whole, error);
                return Ok(());
            }
            (whole, rounds) => panic!("{whole:?} and {rounds:?}"),
        };
        let (whole, pipeline) = whole;
        prop_assert_eq!(&pipeline.configs(), &configs);
        prop_assert_eq!(pipeline.output(), whole.output());
        let mut rows = all;
        for (at, (found, expected)) in pipeline.steps().iter().zip(whole.steps()).enumerate() {
            let channels = rows.first().map_or(0, Rows::channels);
            let everywhere: Vec<usize> = (0..channels).collect();
            let places = expected.channels.as_ref().unwrap_or(&everywhere);
            let largest = magnitudes(&rows, places);
            let expected = parameters(&expected.kind);
            assert!(!expected.is_empty(), "{configs:?}");
            let pairs = parameters(&found.kind).into_iter().zip(expected);
            for (found, expected) in pairs {
                for ((found, expected), largest) in found.iter().zip(&expected).zip(&largest) {
                    let name = format!("step {at} of {configs:?}");
                    assert_close(&name, &[*found], &[*expected], 1e-12, 1e-12 * largest);
                }
            }
            let before = Pipeline::from_steps(stage.clone(), whole.steps()[..=at].to_vec()).unwrap();
            rows = nodes.concat().iter().map(|rows| before.apply(rows.view()).unwrap()).collect();
        }
    }

    #[test]
    fn quantiles_are_within_the_stated_bound(
        sizes in prop::collection::vec(1_usize..3000, 1..4),
        first in prop::sample::select(vec![
            None,
            Some(StepConfig::from(Impute::by(ImputeMethod::Median))),
            Some(Impute::by(ImputeMethod::Zero).into()),
            Some(Impute::by(ImputeMethod::Linear).into()),
            Some(ZScore {}.into()),
            Some(MinMax::default().into()),
        ]),
        seed in 0_u64..1000,
    ) {
        let configs: Vec<StepConfig> = first.into_iter().chain([RobustScale {}.into()]).collect();
        let stage = Stage::unnamed(1);
        let nodes: Vec<Vec<Rows>> = (seed..).zip(&sizes).map(|(s, &n)| vec![noisy(s, n)]).collect();
        let (pipeline, n_rounds) = by_rounds(&configs, &stage, &nodes).unwrap();
        prop_assert_eq!(n_rounds, 1);

        let present = |rows: &Rows| {
            rows.values().iter().copied().filter(|v| !v.is_nan()).collect::<Vec<_>>()
        };
        let counts: Vec<usize> = nodes.concat().iter().map(|rows| present(rows).len()).collect();
        let n: usize = counts.iter().sum();
        let of_node = |&count: &usize| {
            let points = (count / 4).clamp(2, 1025);
            count as f64 / (points - 1) as f64
        };
        // One summary of all was made of several.
        let again = if counts.iter().filter(|&&count| count > 0).count() > 1 { 1.0 / 1024.0 } else { 0.0 };
        let within = again
            + counts.iter().map(of_node).sum::<f64>() / n as f64
            + (counts.len() + 2) as f64 / n as f64;
        // What the last step got by the first one's own numbers.
        let before = pipeline.steps()[..configs.len() - 1].to_vec();
        let before = Pipeline::from_steps(stage, before).unwrap();
        let passed: Vec<f64> = nodes
            .concat()
            .iter()
            .flat_map(|rows| present(&before.apply(rows.view()).unwrap()))
            .collect();
        let at = |q: f64| exact_quantile(&passed, q);
        let near = |found: f64, low: f64, high: f64| {
            low - 1e-9 * low.abs() <= found && found <= high + 1e-9 * high.abs()
        };
        let FittedKind::RobustScale(step) = &pipeline.steps()[configs.len() - 1].kind else {
            panic!("the last step scales");
        };
        prop_assert!(near(step.median[0], at(0.5 - within), at(0.5 + within)), "{step:?}");
        let least = at(0.75 - within) - at(0.25 + within);
        let most = at(0.75 + within) - at(0.25 - within);
        let no_spread = (step.iqr[0] - 1.0).abs() < 1e-12 && least <= 0.0;
        prop_assert!(no_spread || near(step.iqr[0], least, most), "{step:?} {least} {most}");
    }
}

#[test]
fn gaps_filled_from_neighbours_by_two_methods_take_two_rounds() {
    let gap = f64::NAN;
    let configs = [
        ZScore {}.into(),
        StepConfig::from(Impute::by(ImputeMethod::Linear)).on(["dim_0"]),
        StepConfig::from(Impute::by(ImputeMethod::Previous)).on(["dim_1"]),
        MinMax::default().into(),
    ];
    let stage = Stage::unnamed(2);
    let node = |values: &[f64]| vec![Rows::of_series(2, None, values.to_vec())];
    let nodes = [node(&[1.0, 4.0, gap, gap, 4.0, 8.0]), node(&[2.0, gap, gap, 9.0])];
    let (pipeline, n_rounds) = by_rounds(&configs, &stage, &nodes).unwrap();
    assert_eq!(n_rounds, 2);
    let whole = Pipeline::fit(&configs, &stage, nodes.concat()).unwrap();
    for (found, expected) in pipeline.steps().iter().zip(whole.steps()) {
        let [found, expected] = [found, expected].map(|step| parameters(&step.kind).concat());
        assert_close("parameters", &found, &expected, 1e-12, 1e-15);
    }
    // Without a gap there is nothing to fill, and one round is enough.
    let full = [node(&[1.0, 4.0, 4.0, 8.0]), node(&[2.0, 9.0])];
    assert_eq!(by_rounds(&configs, &stage, &full).unwrap().1, 1);
}

/// Three channels that share a part, far from zero, with gaps in the last two.
fn related(seed: u64, n_rows: usize, gaps: bool) -> Rows {
    let noise = testkit::sequence(seed, 3 * n_rows);
    let value = |(at, &own): (usize, &f32)| {
        let (row, channel) = (at / 3, at % 3);
        if gaps && channel > 0 && (row + channel) % 17 == 5 {
            return f64::NAN;
        }
        let shared = f64::from(noise[3 * row]);
        1e5 + (1.0 + channel as f64) * (f64::from(own) - 0.8 * shared) + 0.01 * row as f64
    };
    Rows::of_series(3, None, noise.iter().enumerate().map(value).collect())
}

#[test]
fn components_are_those_of_all_rows_together() {
    let pca: StepConfig = Pca { components: 2, whiten: true }.into();
    let some = |config: &StepConfig| config.clone().on(["dim_2", "dim_0"]);
    let impute = |mask| StepConfig::from(Impute { method: ImputeMethod::Previous, mask });
    let scale: StepConfig = ZScore {}.into();
    let stage = Stage::unnamed(3);
    // With as many rounds as they take without gaps, and with some.
    for (configs, n_rounds) in [
        (vec![pca.clone()], [1, 1]),
        (vec![some(&pca)], [1, 1]),
        (vec![scale.clone(), pca.clone()], [1, 1]),
        (vec![scale.clone(), some(&pca)], [1, 2]),
        (vec![impute(false), scale.clone(), pca.clone()], [1, 2]),
        (vec![impute(false), MinMax::default().into(), some(&pca)], [1, 2]),
        (vec![scale.clone(), impute(true).on(["dim_1"]), some(&pca)], [1, 2]),
        (vec![scale.clone(), pca.clone(), scale.clone(), MinMax::default().into()], [2, 2]),
    ] {
        for (gaps, n_rounds) in [false, true].into_iter().zip(n_rounds) {
            let nodes = [(1, 90), (2, 1), (3, 250)].map(|(seed, n)| vec![related(seed, n, gaps)]);
            let (pipeline, found) = by_rounds(&configs, &stage, &nodes).unwrap();
            let name = format!("gaps {gaps}: {configs:?}");
            assert_eq!(found, n_rounds, "{name}");
            let whole = Pipeline::fit(&configs, &stage, nodes.concat()).unwrap();
            assert_eq!(pipeline.output(), whole.output(), "{name}");
            let rows = related(4, 40, false);
            let [found, expected] =
                [&pipeline, &whole].map(|pipeline| pipeline.apply(rows.view()).unwrap());
            assert_close(&name, found.values(), expected.values(), 1e-8, 1e-8);
        }
    }
}

#[test]
fn many_channels_do_not_leave_a_matrix_for_a_few() {
    let pca = StepConfig::from(Pca { components: 1, whiten: false }).on(["dim_7", "dim_0"]);
    let stage = Stage::unnamed(300);
    let noise = testkit::sequence(9, 300 * 12);
    let series = Rows::of_series(300, None, noise.into_iter().map(f64::from).collect());
    let configs = [ZScore {}.into(), pca];
    let first = Rounds::new(&configs, &stage).unwrap();
    let statistics = first.statistics(std::slice::from_ref(&series)).unwrap();
    assert!(statistics.to_tensors().iter().all(|tensor| tensor.values.len() <= 300));
    assert_eq!(by_rounds(&configs, &stage, &[vec![series]]).unwrap().1, 2);
}

#[test]
fn rounds_go_on_where_others_stopped() {
    let configs = [Impute::by(ImputeMethod::Zero).into(), ZScore {}.into()];
    let stage = Stage::unnamed(1);
    let rounds = Rounds::new(&configs, &stage).unwrap();
    // What needs no statistics is there at once.
    assert_eq!(rounds.position(), 1);
    assert_eq!(rounds.finished(), None);
    let scope = rounds.scope();
    assert_eq!(Rounds::resume(&scope.configs, &scope.fitted).unwrap(), rounds);
    let other = Rounds::resume(&configs[1..], &scope.fitted).unwrap_err().to_string();
    assert!(other.contains("are not the first of the steps"), "{other}");

    let mut done = Rounds::new(&configs[..1], &stage).unwrap();
    assert!(done.finished().is_some());
    let series = [Rows::of_series(1, None, vec![1.0])];
    assert_eq!(done.statistics(&series), Err(Error::NothingToFit));
    let late = rounds.statistics(&series).unwrap();
    assert_eq!(done.fit(&late), Err(Error::NothingToFit));
}

#[test]
fn what_a_round_cannot_use_leaves_it_as_it_was() {
    let configs = [ZScore {}.into(), MinMax::default().into()];
    let stage = Stage { names: vec!["ax".into(), "ay".into()], rate_hz: None };
    let mut rounds = Rounds::new(&configs, &stage).unwrap();
    let before = rounds.clone();
    let gaps = [Rows::of_series(2, None, vec![1.0, f64::NAN, 2.0, f64::NAN])];
    let error = rounds.fit(&rounds.clone().statistics(&gaps).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("step 0: channel \"ay\" has no value"), "{error}");
    assert_eq!(rounds, before);
    let unknown = [StepConfig::from(Pca { components: 1, whiten: false }).on(["az"])];
    let error = Rounds::new(&unknown, &stage).unwrap_err().to_string();
    assert!(error.starts_with("step 0: pca: there is no channel \"az\""), "{error}");
    let infinite = [Rows::of_series(2, None, vec![1.0, f64::INFINITY])];
    let error = rounds.statistics(&infinite).unwrap_err().to_string();
    assert!(error.starts_with("training series 0: row 0, channel \"ay\" is inf"), "{error}");
}
