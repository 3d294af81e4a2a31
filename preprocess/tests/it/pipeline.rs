//! Laws of fitted pipelines.

use preprocess::{
    Impute, ImputeMethod, MinMax, Pipeline, RobustScale, Rows, Stage, StepConfig, WindowMethod,
    WindowNormalize, ZScore,
};
use proptest::prelude::*;
use testkit::{assert_close, assert_same_bits};

use crate::support::{apply, causal_steps, fit, matrix, rows, scalings};

proptest! {
    #[test]
    fn memory_that_is_used_again_holds_nothing_of_before(
        configs in prop::collection::vec(causal_steps(), 0..4),
        first in matrix(30),
        second in matrix(30),
    ) {
        let Ok(pipeline) = fit(&configs, 1, &first) else { return Ok(()) };
        let mut out = Rows::new(pipeline.output().channels());
        for values in [&first, &second] {
            let rows = rows(1, values);
            let Ok(fresh) = pipeline.apply(rows.view()) else { return Ok(()) };
            pipeline.apply_to(rows.view(), &mut out).unwrap();
            assert_same_bits("values", out.values(), fresh.values());
            assert_same_bits("times", out.times(), fresh.times());
        }
    }

    #[test]
    fn storage_is_exact(
        mut configs in prop::collection::vec(causal_steps(), 0..4),
        values in matrix(30),
        window in any::<bool>(),
    ) {
        if window {
            configs.push(WindowNormalize { method: WindowMethod::Center }.into());
        }
        let Ok(pipeline) = fit(&configs, 1, &values) else { return Ok(()) };
        let json = serde_json::to_string(&pipeline).unwrap();
        let read: Pipeline = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&read, &pipeline);
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), json);
        prop_assert_eq!(pipeline.configs(), configs);
    }

    #[test]
    fn scale_then_unscale(
        configs in prop::collection::vec(scalings(), 1..3),
        values in prop::collection::vec((-1.0_f64..1.0, 0_i32..4), 6..40),
    ) {
        let values: Vec<f64> = values.iter().map(|&(m, e)| m * 10.0_f64.powi(e)).collect();
        let values = &values[..values.len() / 3 * 3];
        let pipeline = fit(&configs, 3, values).unwrap();
        let there = apply(&pipeline, values);
        let mut back = there.clone();
        pipeline.invert(&mut back).unwrap();
        for channel in 0..3 {
            let column = |m: &[f64]| m.iter().skip(channel).step_by(3).copied().collect::<Vec<_>>();
            // Rounding in scaled units counts against the channel's largest value.
            let largest = column(values).iter().fold(1e-30_f64, |m, v| m.max(v.abs()));
            assert_close("back", &column(&back), &column(values), 1e-12, 1e-12 * largest);
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
        values in matrix(20),
    ) {
        let configs = [Impute::by(method).into(), ZScore {}.into()];
        let Ok(pipeline) = fit(&configs, 1, &training) else { return Ok(()) };
        let filled = apply(&pipeline, &values);
        prop_assert!(filled.iter().all(|v| v.is_finite()), "{:?}", filled);
    }

    #[test]
    fn previous_is_the_last_present_value(values in matrix(20)) {
        let pipeline = fit(&[Impute::by(ImputeMethod::Previous).into()], 1, &[2.0]).unwrap();
        for (row, v) in apply(&pipeline, &values).into_iter().enumerate() {
            let last = values[..=row].iter().rev().find(|v| !v.is_nan());
            prop_assert_eq!(v.to_bits(), last.unwrap_or(&2.0).to_bits());
        }
    }

    #[test]
    fn training_rows_come_out_standardised(values in prop::collection::vec(-100.0_f64..100.0, 2..60)) {
        let scaled = apply(&fit(&[ZScore {}.into()], 1, &values).unwrap(), &values);
        let n = scaled.len() as f64;
        let mean = scaled.iter().sum::<f64>() / n;
        let variance = scaled.iter().map(|&v| (v - mean).powi(2)).sum::<f64>() / n;
        let spread = values.iter().fold(0.0_f64, |m, v| m.max((v - values[0]).abs()));
        prop_assume!(spread > 0.1);
        prop_assert!(mean.abs() < 1e-10 && (variance - 1.0).abs() < 1e-10, "{} {}", mean, variance);
    }

    /// As long as the digits of the values carry the constant.
    #[test]
    fn a_constant_changes_no_scaled_value(
        config in scalings(),
        values in prop::collection::vec(-1.0_f64..1.0, 8..60),
        offset in prop::sample::select(vec![1.0, -273.15, 101_325.0, 5_411_237.0, 1_700_000_000.0]),
    ) {
        let moved: Vec<f64> = values.iter().map(|v| v + offset).collect();
        let configs = [config];
        let here = apply(&fit(&configs, 1, &values).unwrap(), &values);
        let there = apply(&fit(&configs, 1, &moved).unwrap(), &moved);
        let spread = values.iter().fold(0.0_f64, |m, v| m.max((v - values[0]).abs()));
        prop_assume!(spread > 0.1);
        assert_close("moved", &there, &here, 0.0, 1e-5);
    }
}

#[test]
fn the_split_into_series_changes_scales_by_nothing() {
    let values: Vec<f64> = testkit::sequence(7, 3000).into_iter().map(f64::from).collect();
    let configs = [RobustScale {}.into()];
    let whole = fit(&configs, 3, &values).unwrap();
    let (a, b) = values.split_at(999);
    let parts = Pipeline::fit(&configs, &Stage::unnamed(3), vec![rows(3, a), rows(3, b)]).unwrap();
    assert_eq!(whole, parts);
}

#[test]
fn imputation_does_not_cross_series() {
    let configs = [Impute::by(ImputeMethod::Previous).into(), ZScore {}.into()];
    // The second series begins with a gap: it takes the mean 2 of the training rows, not the 3
    // before it, so that the scale is fitted on 1, 3, 2, 2.
    let series = vec![rows(1, &[1.0, 3.0]), rows(1, &[f64::NAN, 2.0])];
    let pipeline = Pipeline::fit(&configs, &Stage::unnamed(1), series).unwrap();
    assert_close("one deviation", &apply(&pipeline, &[2.0 + 0.5_f64.sqrt()]), &[1.0], 1e-12, 0.0);
}

fn error<T: std::fmt::Debug>(result: Result<T, preprocess::Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn what_cannot_be_fitted_is_named() {
    let window = || StepConfig::from(WindowNormalize::default());
    assert!(
        error(fit(&[window(), ZScore {}.into()], 1, &[1.0])).contains(
            "step 1: z-score works on rows and cannot follow a step that works on windows"
        )
    );
    assert!(fit(&[window(), window()], 1, &[1.0]).is_ok());
    assert!(
        error(fit(&[ZScore {}.into()], 2, &[1.0, f64::NAN]))
            .contains("step 0: channel \"dim_1\" has no value in the training rows, so z-score")
    );
    assert!(
        error(fit(&[MinMax { low: 1.0, high: 1.0 }.into()], 1, &[1.0]))
            .contains("step 0: min-max: high is 1, expected a finite number above low")
    );
    let on =
        |names: &[&str]| fit(&[StepConfig::from(ZScore {}).on(names.to_vec())], 2, &[1.0, 2.0]);
    assert!(error(on(&["dim_2"])).contains(
        "step 0: z-score: there is no channel \"dim_2\" here; the channels are dim_0, dim_1"
    ));
    assert!(error(on(&["dim_1", "dim_1"])).contains("channels has \"dim_1\" twice"));
    assert!(error(on(&[])).contains("channels is empty"));
    assert!(error(fit(&[], 2, &[1.0, f64::INFINITY])).contains(
        "training series 0: row 0, channel \"dim_1\" is inf; mark missing values as NaN"
    ));
    assert!(error(Pipeline::fit(&[], &Stage::unnamed(0), Vec::new())).contains("channels is 0"));
}

#[test]
fn what_a_file_holds_is_checked() {
    let read = |steps: &str| {
        serde_json::from_str::<Pipeline>(&format!(r#"{{"channels":2,"steps":[{steps}]}}"#))
            .map_err(|e| e.to_string())
    };
    assert!(read(r#"{"step":"z-score","mean":[0,1],"std":[1,2]}"#).is_ok());
    for (steps, says) in [
        (r#"{"step":"z-score","mean":[0],"std":[1,2]}"#, "z-score: mean has 1 values, expected 2"),
        (r#"{"step":"z-score","mean":[0,1],"std":[1,0]}"#, "std is 0 at channel \"dim_1\""),
        (r#"{"step":"z-score","mean":[0,1],"std":[1,2],"x":1}"#, "unknown field `x`"),
        (
            r#"{"step":"min-max","low":0,"high":1,"min":[0,2],"max":[1,1]}"#,
            "max is 1 at channel \"dim_1\", expected at least min",
        ),
        (r#"{"step":"z-score","mean":[1],"std":[1],"channels":[2]}"#, "no channel \"2\""),
    ] {
        let found = read(steps).unwrap_err();
        assert!(found.contains(says), "{found}");
    }
    let many = r#"{"channels":99999999999,"steps":[]}"#;
    assert!(serde_json::from_str::<Pipeline>(many).is_err());
}

#[test]
fn a_window_is_put_back_by_what_was_kept() {
    let configs = [
        WindowNormalize { method: WindowMethod::ZScore }.into(),
        WindowNormalize::default().into(),
    ];
    let pipeline = fit(&configs, 2, &[0.0; 4]).unwrap();
    let window = [1.0, 5.0, 3.0, 7.0, 8.0, 5.0];
    let mut normal = window;
    let kept = pipeline.apply_window_keeping(&mut normal);
    let back: Vec<f64> = normal
        .iter()
        .enumerate()
        .map(|(i, y)| kept.center[i % 2] + kept.scale[i % 2] * y)
        .collect();
    assert_close("back", &back, &window, 1e-12, 0.0);
    let mut again = window;
    pipeline.apply_window(&mut again);
    assert_same_bits("the same", &again, &normal);
}

#[test]
fn a_stored_pipeline_without_names_reads_as_before() {
    let old = r#"{"channels":1,"steps":[{"step":"impute","method":"linear","fill":[0.5]},{"step":"z-score","mean":[0.1],"std":[2.0]}]}"#;
    let pipeline: Pipeline = serde_json::from_str(old).unwrap();
    assert_eq!(serde_json::to_string(&pipeline).unwrap(), old);
    let mut named = Stage::unnamed(1);
    named.names[0] = "x".to_owned();
    let named = Pipeline::from_steps(named.at(50.0), pipeline.steps().to_vec()).unwrap();
    let json = serde_json::to_string(&named).unwrap();
    assert!(json.contains(r#""names":["x"],"rate_hz":50.0"#), "{json}");
    assert_eq!(serde_json::from_str::<Pipeline>(&json).unwrap(), named);
    let scaled = named.apply(Rows::of_series(1, None, vec![2.1]).view()).unwrap();
    assert_close("scaled", scaled.values(), &[1.0], 1e-12, 0.0);
}
