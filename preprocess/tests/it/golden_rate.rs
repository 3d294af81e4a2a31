//! The steps that change the rate give scipy's and numpy's numbers; `make_rate.py` made them.

use preprocess::{
    Between, ClipQuantile, Decimate, Difference, Grid, Log1p, Pipeline, Resample, Rows, Stage,
    StepConfig,
};
use serde_json::Value;
use testkit::{assert_close, assert_same_bits};

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/rate.json");
    let text = std::fs::read_to_string(path).expect(path);
    serde_json::from_str(&text).expect("JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().expect("a list");
    list.iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn run(step: impl Into<StepConfig>, training: &Rows, series: &Rows) -> Rows {
    let stage = Stage::unnamed(2).at(50.0);
    let pipeline = Pipeline::fit(&[step.into()], &stage, vec![training.clone()]).expect("a fit");
    pipeline.apply(series.view()).expect("finite")
}

fn at_50_hz(values: Vec<f64>) -> Rows {
    Rows::of_series(2, Some(50.0), values)
}

#[test]
fn decimate_is_scipys_from_the_steady_state() {
    let golden = golden();
    let series = at_50_hz(numbers(&golden["x"]));
    let cases = golden["decimate"].as_object().expect("cases");
    assert_eq!(cases.len(), 5);
    for (factor, expected) in cases {
        let step = Decimate { factor: factor.parse().expect("a number") };
        let out = run(step, &series, &series);
        assert_close(factor, out.values(), &numbers(expected), 1e-11, 0.0);
        let times: Vec<f64> = series.times().iter().step_by(step.factor).copied().collect();
        assert_same_bits(factor, out.times(), &times);
    }
}

#[test]
fn resample_is_scipys_with_held_ends() {
    let golden = golden();
    let x = numbers(&golden["x"]);
    for (name, series) in
        [("resample", at_50_hz(x.clone())), ("resample_short", at_50_hz(x[..6].to_vec()))]
    {
        let cases = golden[name].as_object().expect("cases");
        assert_eq!(cases.len(), 8);
        for (ratio, expected) in cases {
            let (up, down) = ratio.split_once('/').expect("a ratio");
            let step = Resample::by(up.parse().expect(up), down.parse().expect(down));
            let out = run(step, &series, &series);
            assert_close(ratio, out.values(), &numbers(expected), 1e-12, 0.0);
        }
    }
}

#[test]
fn grid_is_numpys_interp() {
    let golden = golden();
    let series = Rows::from_parts(2, numbers(&golden["times"]), numbers(&golden["x"]));
    let rate_hz = golden["grid_rate_hz"].as_f64().expect("a rate");
    for (method, name) in [(Between::Linear, "grid_linear"), (Between::Hold, "grid_hold")] {
        let out = run(Grid { rate_hz, max_gap_s: None, method }, &series, &series);
        assert_close(name, out.times(), &numbers(&golden["grid_times"]), 1e-15, 0.0);
        assert_close(name, out.values(), &numbers(&golden[name]), 1e-12, 0.0);
    }
}

#[test]
fn values_are_mapped_as_by_numpy() {
    let golden = golden();
    let series = at_50_hz(numbers(&golden["x"]));
    for (order, expected) in golden["difference"].as_object().expect("cases") {
        let step = Difference { order: order.parse().expect("a number") };
        let out = run(step, &series, &series);
        let (start, rest) = out.values().split_at(2 * step.order);
        assert_same_bits(order, start, &vec![0.0; 2 * step.order]);
        assert_close(order, rest, &numbers(expected), 1e-12, 0.0);
    }
    let centred = at_50_hz(numbers(&golden["centred"]));
    let out = run(Log1p {}, &centred, &centred);
    assert_close("log1p", out.values(), &numbers(&golden["log1p"]), 1e-14, 0.0);
    let training = at_50_hz(series.values()[..300].to_vec());
    let out = run(ClipQuantile { low: 0.05, high: 0.9 }, &training, &series);
    assert_close("clip", out.values(), &numbers(&golden["clip"]), 1e-14, 0.0);
}
