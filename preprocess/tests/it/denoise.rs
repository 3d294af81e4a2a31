//! Denoising steps with gaps, with options that are refused, and on a stream.

use preprocess::{
    Butterworth, Error, Exponential, Hampel, Median, MovingAverage, Notch, Pipeline, Rows,
    SavitzkyGolay, Stage, StepConfig, Streamer, Threshold, Wavelet, WaveletKind,
};
use proptest::prelude::*;
use testkit::assert_same_bits;

fn run(step: impl Into<StepConfig>, channels: usize, values: &[f64]) -> Vec<f64> {
    let stage = Stage::unnamed(channels).at(50.0);
    let pipeline = Pipeline::fit(&[step.into()], &stage, vec![]).expect("good options");
    let series = Rows::of_series(channels, Some(50.0), values.to_vec());
    pipeline.apply(series.view()).expect("finite").values().to_vec()
}

/// The present values of a channel around a row, sorted, with ends repeated.
fn window(values: &[f64], channels: usize, at: usize, len: usize) -> Vec<f64> {
    let n_rows = values.len() / channels;
    let (row, channel, half) = (at / channels, at % channels, len / 2);
    let rows = (0..len).map(|j| (row + j).saturating_sub(half).min(n_rows - 1));
    let mut window: Vec<f64> = rows.map(|row| values[row * channels + channel]).collect();
    window.retain(|v| !v.is_nan());
    window.sort_unstable_by(f64::total_cmp);
    window
}

fn median(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    0.5 * sorted[(n - 1) / 2] + 0.5 * sorted[n / 2]
}

proptest! {
    #[test]
    fn medians_of_present_values_are_those_of_sorting(
        channels in 1_usize..12,
        len in prop::sample::select(vec![3_usize, 5, 7, 9, 11, 13, 25]),
        seed in 0_u64..1000,
        n_rows in 1_usize..60,
        gaps in prop::sample::select(vec![1000_usize, 17, 3]),
    ) {
        let noise = testkit::sequence(seed, channels * n_rows);
        // Few different values, so that many are equal.
        let value = |(i, v): (usize, f32)| {
            if (i * 7 + seed as usize) % gaps == 1 { f64::NAN } else { f64::from((v * 9.0).round()) }
        };
        let values: Vec<f64> = noise.into_iter().enumerate().map(value).collect();
        let medians = run(Median { len }, channels, &values);
        let cleaned = run(Hampel { len, n_sigmas: 1.0 }, channels, &values);
        for (at, &v) in values.iter().enumerate() {
            if v.is_nan() {
                prop_assert!(medians[at].is_nan() && cleaned[at].is_nan());
                continue;
            }
            let sorted = window(&values, channels, at, len);
            let middle = median(&sorted);
            prop_assert!((medians[at] - middle).abs() <= 0.0);
            let mut away: Vec<f64> = sorted.iter().map(|v| (v - middle).abs()).collect();
            away.sort_unstable_by(f64::total_cmp);
            let is_outlier = (v - middle).abs() > 1.4826 * median(&away);
            let expected = if is_outlier { middle } else { v };
            prop_assert!((cleaned[at] - expected).abs() <= 0.0);
        }
    }
}

#[test]
fn averages_and_filters_pass_over_gaps() {
    let gap = f64::NAN;
    let averages = run(MovingAverage { len: 3 }, 1, &[1.0, 3.0, gap, 5.0, 7.0, 9.0]);
    assert!(averages[2].is_nan());
    let present = [&averages[..2], &averages[3..]].concat();
    assert_same_bits("averages", &present, &[1.0, 2.0, 4.0, 6.0, 7.0]);

    let noise: Vec<f64> = testkit::sequence(1, 90).into_iter().map(f64::from).collect();
    let holes: Vec<f64> =
        (0..120).map(|i| if i % 4 == 0 { gap } else { noise[i - i / 4 - 1] }).collect();
    let both_ways = Butterworth { zero_phase: true, ..Butterworth::band_pass(3, 2.0, 8.0) };
    for step in [
        StepConfig::from(Exponential::by_alpha(0.2)),
        Butterworth::high_pass(3, 2.0).into(),
        both_ways.into(),
        Notch { zero_phase: true, ..Notch::at(7.0) }.into(),
    ] {
        let mut filtered = run(step.clone(), 1, &holes);
        assert!(filtered.iter().step_by(4).all(|v| v.is_nan()), "{step:?}");
        filtered.retain(|v| !v.is_nan());
        assert_same_bits(step.name(), &filtered, &run(step.clone(), 1, &noise));
    }
}

#[test]
fn polynomials_and_wavelets_spread_gaps_as_far_as_they_reach() {
    let mut values: Vec<f64> = testkit::sequence(2, 100).into_iter().map(f64::from).collect();
    let whole = run(SavitzkyGolay { len: 7, order: 2, deriv: 0 }, 1, &values);
    values[40] = f64::NAN;
    let holed = run(SavitzkyGolay { len: 7, order: 2, deriv: 0 }, 1, &values);
    for at in 0..100 {
        assert_eq!(holed[at].is_nan(), (37..=43).contains(&at), "row {at}");
        let same = holed[at].to_bits() == whole[at].to_bits();
        assert!(holed[at].is_nan() || same, "row {at}");
    }
    let wavelet = Wavelet { wavelet: WaveletKind::Db4, level: 2, threshold: Threshold::Soft };
    let shrunk = run(wavelet, 1, &values);
    assert!(shrunk[40].is_nan() && shrunk[..15].iter().all(|v| v.is_finite()));
    assert!(shrunk[65..].iter().all(|v| v.is_finite()));
}

#[test]
fn what_looks_at_the_whole_series_is_refused_on_a_stream() {
    let wavelet = Wavelet { wavelet: WaveletKind::Haar, level: 1, threshold: Threshold::Hard };
    for (step, instead) in [
        (
            Butterworth { zero_phase: true, ..Butterworth::low_pass(2, 5.0) }.into(),
            "zero_phase = false",
        ),
        (Notch { zero_phase: true, ..Notch::at(5.0) }.into(), "zero_phase = false"),
        (StepConfig::from(wavelet), "use median or butterworth"),
    ] {
        let pipeline = Pipeline::fit(&[step], &Stage::unnamed(1).at(50.0), vec![]).expect("good");
        let message = Streamer::new(&pipeline).expect_err("not causal").to_string();
        assert!(message.contains("stream") && message.contains(instead), "{message}");
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let savgol = |len, order, deriv| StepConfig::from(SavitzkyGolay { len, order, deriv });
    let wavelet = |level| Wavelet { wavelet: WaveletKind::Haar, level, threshold: Threshold::Soft };
    for step in [
        MovingAverage { len: 0 }.into(),
        MovingAverage { len: usize::MAX }.into(),
        Median { len: 0 }.into(),
        Median { len: 4 }.into(),
        Median { len: usize::MAX }.into(),
        Hampel { len: 1, n_sigmas: 3.0 }.into(),
        Hampel { len: 5, n_sigmas: -1.0 }.into(),
        Hampel { len: 5, n_sigmas: f64::NAN }.into(),
        savgol(4, 2, 0),
        savgol(5, 5, 0),
        savgol(101, 13, 0),
        savgol(5, 2, 9),
        Butterworth::low_pass(13, 5.0).into(),
        Butterworth::low_pass(2, 25.0).into(),
        Butterworth::band_pass(2, 5.0, 5.0).into(),
        Notch::at(-1.0).into(),
        wavelet(0).into(),
        wavelet(31).into(),
    ] {
        let found = Pipeline::fit(std::slice::from_ref(&step), &Stage::unnamed(1).at(50.0), vec![]);
        let Err(Error::Step { source, .. }) = found else { panic!("{step:?}: {found:?}") };
        assert!(matches!(*source, Error::Option { .. }), "{step:?}: {source}");
    }
    for step in [
        Butterworth::low_pass(2, 5.0).into(),
        Notch::at(5.0).into(),
        StepConfig::from(Exponential::by_time_constant(1.0)),
    ] {
        let found = Pipeline::fit(std::slice::from_ref(&step), &Stage::unnamed(1), vec![]);
        let Err(Error::Step { source, .. }) = found else { panic!("{step:?}: {found:?}") };
        assert!(matches!(*source, Error::NoRate { .. }), "{step:?}: {source}");
    }
}
