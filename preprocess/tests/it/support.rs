//! Series, pipelines and strategies that the tests share.

use preprocess::{
    Impute, ImputeMethod, MinMax, Pipeline, RobustScale, Rows, Stage, StepConfig, ZScore,
};
use proptest::prelude::*;

/// Values of many magnitudes with gaps; repeated numbers, so that constant channels occur.
pub(crate) fn matrix(max_len: usize) -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        2 => Just(f64::NAN),
        2 => Just(1.5_f64),
        1 => Just(0.1_f64),
        6 => (-1.0_f64..1.0, -5_i32..6).prop_map(|(m, e)| m * 10.0_f64.powi(e)),
        1 => Just(f64::from(f32::MAX)),
    ];
    prop::collection::vec(value, 0..=max_len)
}

pub(crate) fn scalings() -> impl Strategy<Value = StepConfig> {
    prop_oneof![
        Just(ZScore {}.into()),
        Just(RobustScale {}.into()),
        (-2.0_f64..2.0, 0.5_f64..3.0)
            .prop_map(|(low, span)| MinMax { low, high: low + span }.into()),
    ]
}

/// Row steps that need no later rows.
pub(crate) fn causal_steps() -> impl Strategy<Value = StepConfig> {
    let methods =
        [ImputeMethod::Mean, ImputeMethod::Median, ImputeMethod::Zero, ImputeMethod::Previous];
    let impute = (prop::sample::select(methods.to_vec()), any::<bool>())
        .prop_map(|(method, mask)| Impute { method, mask }.into());
    prop_oneof![impute, scalings()]
}

/// A series without a clock.
pub(crate) fn rows(channels: usize, values: &[f64]) -> Rows {
    Rows::of_series(channels, None, values.to_vec())
}

/// A pipeline that was fitted on one series.
pub(crate) fn fit(
    configs: &[StepConfig],
    channels: usize,
    values: &[f64],
) -> Result<Pipeline, preprocess::Error> {
    Pipeline::fit(configs, &Stage::unnamed(channels), vec![rows(channels, values)])
}

/// A whole series through the row steps.
pub(crate) fn apply(pipeline: &Pipeline, values: &[f64]) -> Vec<f64> {
    let series = rows(pipeline.input().channels(), values);
    pipeline.apply(series.view()).expect("finite values").values().to_vec()
}

/// The training series of some nodes, with gaps; a channel may miss everything somewhere.
pub(crate) fn nodes(channels: usize, max_rows: usize) -> impl Strategy<Value = Vec<Vec<Rows>>> {
    let value = prop_oneof![
        3 => Just(f64::NAN),
        2 => Just(1.5_f64),
        1 => Just(0.1_f64),
        6 => (-1.0_f64..1.0, -3_i32..5).prop_map(|(m, e)| m * 10.0_f64.powi(e)),
    ];
    let series = prop::collection::vec(prop::collection::vec(value, channels), 0..=max_rows)
        .prop_map(move |rows| Rows::of_series(channels, None, rows.concat()));
    prop::collection::vec(prop::collection::vec(series, 0..3), 1..5)
}

/// One channel of noise with ties and gaps, each 12th value missing.
pub(crate) fn noisy(seed: u64, n_rows: usize) -> Rows {
    let noise = testkit::sequence(seed, n_rows);
    let value = |(row, noise): (usize, f32)| match (row + 5) % 12 {
        0 => f64::NAN,
        1 | 2 => 0.25,
        _ => 3.0 * f64::from(noise).powi(3),
    };
    Rows::of_series(1, None, noise.into_iter().enumerate().map(value).collect())
}

/// `numpy.quantile`, where `q` may leave 0 to 1.
pub(crate) fn exact_quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}
