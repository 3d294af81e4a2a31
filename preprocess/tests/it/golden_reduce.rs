//! The steps that reduce against scikit-learn, scipy and numpy: see `golden/make_reduce.py`.

use preprocess::{
    Background, BandPower, Crop, FittedKind, FrameDifference, Grey, Pca, Pipeline,
    RandomProjection, Resize, Rows, Spectrogram, SpectrumScale, SpectrumWindow, Stage, StepConfig,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use testkit::{assert_close, assert_same_bits};

const GOLDEN: &str = include_str!("../golden/reduce.json");

fn golden(part: &str) -> Value {
    let all: Value = serde_json::from_str(GOLDEN).expect("a JSON file");
    all[part].clone()
}

/// A field of an object, as whatever is wanted.
fn get<T: DeserializeOwned>(object: &Value, field: &str) -> T {
    serde_json::from_value(object[field].clone()).unwrap_or_else(|e| panic!("{field}: {e}"))
}

fn list(object: &Value, field: &str) -> Vec<Value> {
    get(object, field)
}

fn rows(part: &Value) -> Rows {
    let rate_hz = part["rate_hz"].as_f64();
    Rows::of_series(get(part, "channels"), rate_hz, get(part, "rows"))
}

/// Fits a step on rows; says what becomes of them.
fn run(config: impl Into<StepConfig>, rows: &Rows, rate_hz: Option<f64>) -> (Pipeline, Rows) {
    let stage = Stage { rate_hz, ..Stage::unnamed(rows.channels()) };
    let pipeline = Pipeline::fit(&[config.into()], &stage, vec![rows.clone()]).expect("fits");
    let out = pipeline.apply(rows.view()).expect("finite");
    (pipeline, out)
}

#[test]
fn pca_is_that_of_scikit_learn() {
    let part = golden("pca");
    let rows = rows(&part);
    for case in list(&part, "cases") {
        let pca = Pca { components: get(&case, "components"), whiten: get(&case, "whiten") };
        let (pipeline, out) = run(pca, &rows, None);
        let FittedKind::Pca(fitted) = &pipeline.steps()[0].kind else { panic!("a PCA") };
        let near = |name: &str, found: &[f64], abs_tol| {
            let expected: Vec<f64> = get(&case, name);
            assert_close(&format!("{name} of {pca:?}"), found, &expected, 1e-8, abs_tol);
        };
        near("mean", &fitted.mean, 0.0);
        near("directions", &fitted.directions.concat(), 1e-9);
        near("explained_variance", &fitted.explained_variance, 0.0);
        let ratio = fitted.explained_variance.iter().map(|v| v / fitted.total_variance);
        near("ratio", &ratio.collect::<Vec<_>>(), 1e-12);
        near("out", out.values(), 1e-7);
    }
}

#[test]
fn random_projection_is_the_documented_function_of_its_seed() {
    let part = golden("random_projection");
    let rows = rows(&part);
    for case in list(&part, "cases") {
        let components = get(&case, "components");
        let (_, out) = run(RandomProjection { components, seed: get(&case, "seed") }, &rows, None);
        let expected: Vec<f64> = get(&case, "out");
        assert_close("projected", out.values(), &expected, 1e-12, 1e-12);
    }
}

#[test]
fn spectrograms_are_those_of_scipy() {
    let part = golden("spectrum");
    let rows = rows(&part);
    let rate_hz = part["rate_hz"].as_f64();
    for case in list(&part, "spectrograms") {
        let window: SpectrumWindow = get(&case, "window");
        let scale: SpectrumScale = get(&case, "scale");
        let (len, hop) = (get(&case, "len"), get(&case, "hop"));
        let spec = Spectrogram { len, hop, window, scale, ..Spectrogram::default() };
        let (pipeline, out) = run(spec, &rows, rate_hz);
        let name = format!("{spec:?}");
        let expected: Vec<f64> = get(&case, "out");
        // A bin between peaks holds what rounding leaves of them, in dB with an error of its own.
        assert_close(&name, out.values(), &expected, 1e-9, 1e-12);
        let half_a_row = if len % 2 == 1 { 0.5 / 128.0 } else { 0.0 };
        let times: Vec<f64> = get(&case, "times");
        let times: Vec<f64> = times.iter().map(|time| time - half_a_row).collect();
        assert_close(&name, out.times(), &times, 1e-12, 0.0);
        let frequencies: Vec<f64> = get(&case, "frequencies");
        let names = &pipeline.output().names[..frequencies.len()];
        let hz = |name: &String| -> f64 {
            let of_channel = name.strip_prefix("dim_0@").and_then(|hz| hz.strip_suffix("Hz"));
            of_channel.and_then(|hz| hz.parse().ok()).unwrap_or_else(|| panic!("{name}"))
        };
        let found: Vec<f64> = names.iter().map(hz).collect();
        assert_close(&name, &found, &frequencies, 1e-6, 0.0);
    }
}

#[test]
fn band_powers_are_sums_of_scipys_spectrogram() {
    let part = golden("spectrum");
    let rows = rows(&part);
    for case in list(&part, "bands") {
        let spec = BandPower {
            bands_hz: get(&case, "bands_hz"),
            window: get(&case, "window"),
            log: get(&case, "log"),
            ..BandPower::of_frames(get(&case, "len"), get(&case, "hop"))
        };
        let (_, out) = run(spec.clone(), &rows, part["rate_hz"].as_f64());
        let expected: Vec<f64> = get(&case, "out");
        assert_close(&format!("{spec:?}"), out.values(), &expected, 1e-11, 1e-11);
    }
}

#[test]
fn pictures_are_those_of_numpy() {
    let part = golden("picture");
    let (width, height): (usize, usize) = (get(&part, "width"), get(&part, "height"));
    let frames = Rows::of_series(width * height * 3, None, get(&part, "frames"));
    for case in list(&part, "resized") {
        let (to_width, to_height) = (get(&case, "to_width"), get(&case, "to_height"));
        let spec = Resize { width, height, to_width, to_height };
        let expected: Vec<f64> = get(&case, "out");
        let (_, out) = run(spec, &frames, None);
        assert_close(&format!("{spec:?}"), out.values(), &expected, 1e-13, 0.0);
    }
    let (_, grey) = run(Grey { width, height }, &frames, None);
    assert_close("grey", grey.values(), &get::<Vec<f64>>(&part, "grey"), 1e-14, 0.0);
    let case = &part["crop"];
    let spec = Crop {
        width,
        height,
        left: get(case, "left"),
        top: get(case, "top"),
        to_width: get(case, "to_width"),
        to_height: get(case, "to_height"),
    };
    let (_, cropped) = run(spec, &frames, None);
    assert_same_bits("crop", cropped.values(), &get::<Vec<f64>>(case, "out"));
}

#[test]
fn backgrounds_and_differences_are_those_of_scipy_and_numpy() {
    let part = golden("background");
    let rows = rows(&part);
    for case in list(&part, "cases") {
        for absolute in [false, true] {
            let (_, out) = run(Background { rate: get(&case, "rate"), absolute }, &rows, None);
            let expected: Vec<f64> = get(&case, "out");
            let signed = |v: &f64| if absolute { v.abs() } else { *v };
            let expected: Vec<f64> = expected.iter().map(signed).collect();
            assert_close("background", out.values(), &expected, 1e-10, 1e-11);
        }
    }
    let (_, out) = run(FrameDifference::default(), &rows, None);
    assert_same_bits("difference", out.values(), &get::<Vec<f64>>(&part, "difference"));
}
