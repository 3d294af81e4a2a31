//! Denoising steps against scipy, pandas, numpy and `PyWavelets`: see `tests/golden/make_denoise.py`.

use preprocess::{Band, Pipeline, Rows, Sos, Stage, StepConfig};
use serde_json::Value;
use testkit::assert_close;

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/denoise.json");
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).expect(path)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// The numbers of nested lists, in order.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().expect("a number")],
    }
}

#[test]
fn steps_give_what_their_models_give() {
    let golden = golden();
    let rate_hz = golden["rate_hz"].as_f64();
    let cases = list(&golden["cases"]);
    assert!(cases.len() > 50);
    for case in cases {
        let config: StepConfig = serde_json::from_value(case["config"].clone()).expect("a step");
        let series = numbers(&golden["series"][case["series"].as_str().expect("a name")]);
        let rows = Rows::of_series(2, rate_hz, series);
        let stage = Stage { rate_hz, ..Stage::unnamed(2) };
        let name = format!("{config:?}, {} rows", rows.len());
        let pipeline = Pipeline::fit(&[config], &stage, vec![]).expect(&name);
        let out = pipeline.apply(rows.view()).expect("finite");
        assert_close(&name, out.values(), &numbers(&case["out"]), 1e-11, 1e-11);
    }
}

fn assert_sections(name: &str, sos: &Sos, expected: &Value, zi_tolerance: f64) {
    let section = |s: &preprocess::Section| [s.b[0], s.b[1], s.b[2], 1.0, s.a[0], s.a[1]];
    let found: Vec<f64> = sos.sections().iter().flat_map(section).collect();
    assert_close(name, &found, &numbers(&expected["sos"]), 1e-9, 0.0);
    let found: Vec<f64> = sos.steady_state().into_iter().flatten().collect();
    let expected = numbers(&expected["zi"]);
    let largest = expected.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
    assert_close(name, &found, &expected, zi_tolerance, zi_tolerance * largest);
}

#[test]
fn sections_are_those_of_scipy() {
    let golden = golden();
    for expected in list(&golden["butterworth"]) {
        let band: Band = serde_json::from_value(expected["band"].clone()).expect("a band");
        let order = numbers(&expected["order"])[0] as usize;
        let cutoffs = numbers(&expected["cutoff_hz"]);
        let name = format!("{band:?}, order {order}, {cutoffs:?}");
        let sos = Sos::butterworth(band, order, &cutoffs, 1.0).expect(&name);
        // What a filter settles in is its numbers over how far its poles are from 1: at a cut-off of a
        // millionth of the rate few digits are left of that, here and there.
        let zi_tolerance = (1e-15 / (cutoffs[0] * cutoffs[0])).max(1e-9);
        assert_sections(&name, &sos, expected, zi_tolerance);
    }
    for expected in list(&golden["chebyshev"]) {
        let order = numbers(&expected["order"])[0] as usize;
        let ripple_db = numbers(&expected["ripple_db"])[0];
        let cutoff = numbers(&expected["cutoff_hz"])[0];
        let name = format!("chebyshev, order {order}, {ripple_db} dB, {cutoff}");
        let sos = Sos::chebyshev_low_pass(order, ripple_db, cutoff, 1.0).expect(&name);
        assert_sections(&name, &sos, expected, 1e-9);
    }
}
