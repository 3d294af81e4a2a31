//! Laws of fitted pipelines.

use preprocess::{ImputeMethod, Pipeline, StepConfig, WindowMethod};
use proptest::prelude::*;
use testkit::{assert_close, assert_same_bits};

/// Values of many magnitudes with gaps; repeated numbers, so that constant channels occur.
pub(crate) fn matrix(max_len: usize) -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        2 => Just(f32::NAN),
        2 => Just(1.5_f32),
        1 => Just(0.1_f32),
        6 => (-1.0_f32..1.0, -5_i32..6).prop_map(|(m, e)| m * 10.0_f32.powi(e)),
        1 => Just(f32::MAX),
    ];
    prop::collection::vec(value, 0..=max_len)
}

fn scalings() -> impl Strategy<Value = StepConfig> {
    prop_oneof![
        Just(StepConfig::ZScore),
        Just(StepConfig::RobustScale),
        (-2.0_f32..2.0, 0.5_f32..3.0)
            .prop_map(|(low, span)| StepConfig::MinMax { low, high: low + span }),
    ]
}

/// Row steps that need no later rows.
pub(crate) fn causal_steps() -> impl Strategy<Value = StepConfig> {
    let methods =
        [ImputeMethod::Mean, ImputeMethod::Median, ImputeMethod::Zero, ImputeMethod::Previous];
    let impute =
        prop::sample::select(methods.to_vec()).prop_map(|method| StepConfig::Impute { method });
    prop_oneof![impute, scalings()]
}

proptest! {
    #[test]
    fn storage_is_exact(
        mut configs in prop::collection::vec(causal_steps(), 0..4),
        values in matrix(30),
        window in any::<bool>(),
    ) {
        if window {
            configs.push(StepConfig::WindowNormalize { method: WindowMethod::Center });
        }
        let Ok(pipeline) = Pipeline::fit(&configs, 1, &[&values]) else { return Ok(()) };
        let json = serde_json::to_string(&pipeline).unwrap();
        let read: Pipeline = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&read, &pipeline);
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), json);
        let back: Vec<_> = pipeline.steps().iter().map(preprocess::FittedStep::config).collect();
        prop_assert_eq!(back, configs);
    }

    #[test]
    fn any_f32_is_stored_exactly(bits in any::<u32>()) {
        let value = f32::from_bits(bits);
        prop_assume!(value.is_finite());
        let json = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<f32>(&json).unwrap().to_bits(), bits);
    }

    #[test]
    fn scale_then_unscale(
        configs in prop::collection::vec(scalings(), 1..3),
        values in prop::collection::vec((-1.0_f32..1.0, 0_i32..4), 6..40),
    ) {
        let values: Vec<f32> = values.iter().map(|&(m, e)| m * 10.0_f32.powi(e)).collect();
        let values = &values[..values.len() / 3 * 3];
        let pipeline = Pipeline::fit(&configs, 3, &[values]).unwrap();
        let mut there = values.to_vec();
        pipeline.apply_series(&mut there).unwrap();
        let mut back = there.clone();
        pipeline.invert_series(&mut back).unwrap();
        for channel in 0..3 {
            let column = |m: &[f32]| m.iter().skip(channel).step_by(3).copied().collect::<Vec<_>>();
            // Rounding in scaled units counts against the channel's largest value.
            let largest = column(values).iter().fold(1e-30_f32, |m, v| m.max(v.abs()));
            let abs_tol = 1e-5 * f64::from(largest);
            assert_close("back", &column(&back), &column(values), 1e-5, abs_tol);

            let mut alone = column(&there);
            pipeline.invert_channel(channel, &mut alone).unwrap();
            assert_same_bits("one channel", &alone, &column(&back));
        }
    }

    #[test]
    fn nothing_is_missing_or_infinite_after_imputing(
        method in prop::sample::select(vec![
            ImputeMethod::Mean,
            ImputeMethod::Median,
            ImputeMethod::Linear,
            ImputeMethod::Previous,
        ]),
        training in matrix(20),
        mut values in matrix(20),
    ) {
        let configs = [StepConfig::Impute { method }, StepConfig::ZScore];
        let Ok(pipeline) = Pipeline::fit(&configs, 1, &[&training]) else { return Ok(()) };
        pipeline.apply_series(&mut values).unwrap();
        prop_assert!(values.iter().all(|v| v.is_finite()), "{:?}", values);
    }

    #[test]
    fn previous_is_the_last_present_value(values in matrix(20)) {
        let configs = [StepConfig::Impute { method: ImputeMethod::Previous }];
        let pipeline = Pipeline::fit(&configs, 1, &[&[2.0]]).unwrap();
        let mut filled = values.clone();
        pipeline.apply_series(&mut filled).unwrap();
        for (row, &v) in filled.iter().enumerate() {
            let last = values[..=row].iter().rev().find(|v| !v.is_nan());
            prop_assert_eq!(v.to_bits(), last.unwrap_or(&2.0).to_bits());
        }
    }

    #[test]
    fn training_rows_come_out_standardised(values in prop::collection::vec(-100.0_f32..100.0, 2..60)) {
        let pipeline = Pipeline::fit(&[StepConfig::ZScore], 1, &[&values]).unwrap();
        let mut scaled = values.clone();
        pipeline.apply_series(&mut scaled).unwrap();
        let n = scaled.len() as f64;
        let mean = scaled.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = scaled.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        let spread = values.iter().fold(0.0_f32, |m, v| m.max((v - values[0]).abs()));
        prop_assume!(spread > 0.1);
        prop_assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-4, "{} {}", mean, variance);
    }
}

#[test]
fn the_split_into_series_changes_scales_by_nothing() {
    let values = testkit::sequence(7, 3000);
    let whole = Pipeline::fit(&[StepConfig::RobustScale], 3, &[&values]).unwrap();
    let (a, b) = values.split_at(999);
    let parts = Pipeline::fit(&[StepConfig::RobustScale], 3, &[a, b]).unwrap();
    assert_eq!(whole, parts);
}

#[test]
fn imputation_does_not_cross_series() {
    let configs = [StepConfig::Impute { method: ImputeMethod::Previous }, StepConfig::ZScore];
    // The second series begins with a gap: it takes the mean 2 of the training rows, not the 3
    // before it, so that the scale is fitted on 1, 3, 2, 2.
    let pipeline = Pipeline::fit(&configs, 1, &[&[1.0, 3.0], &[f32::NAN, 2.0]]).unwrap();
    let mut values = [2.0 + 0.5_f32.sqrt()];
    pipeline.apply_series(&mut values).unwrap();
    assert_close("one deviation", &values, &[1.0], 1e-6, 0.0);
}
