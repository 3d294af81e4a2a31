//! Laws of every step in the list: each has a sample here, or the first test fails.

use preprocess::{
    Background, BandPower, Between, Butterworth, ClipQuantile, Crop, Decimate, Difference, Error,
    Exponential, FrameDifference, FrameRate, Grey, Grid, Hampel, Impute, ImputeMethod, Latency,
    Log1p, Median, MinMax, MovingAverage, Notch, Pca, Pipeline, RandomProjection, Resample, Resize,
    RobustScale, Rows, STEP_NAMES, SavitzkyGolay, Spectrogram, SpectrumScale, SpectrumWindow,
    Stage, StepConfig, Streamer, Threshold, Wavelet, WaveletKind, WindowNormalize, ZScore,
};
use proptest::prelude::*;
use testkit::assert_same_bits;

/// The rate of the rows that samples run on.
const RATE_HZ: f64 = 50.0;
/// Their channels: enough for two pixels of three colours.
const CHANNELS: usize = 6;

/// At least one for each step, with different options.
fn samples() -> Vec<StepConfig> {
    vec![
        Impute::by(ImputeMethod::Mean).into(),
        Impute { method: ImputeMethod::Previous, mask: true }.into(),
        Impute::by(ImputeMethod::Linear).into(),
        ZScore {}.into(),
        StepConfig::from(ZScore {}).on(["dim_1"]),
        MinMax { low: -1.0, high: 2.0 }.into(),
        RobustScale {}.into(),
        Pca { components: 3, whiten: false }.into(),
        StepConfig::from(Pca { components: 2, whiten: true }).on(["dim_1", "dim_3", "dim_0"]),
        RandomProjection { components: 6, seed: 1 }.into(),
        StepConfig::from(RandomProjection { components: 1, seed: 2 }).on(["dim_2", "dim_5"]),
        Spectrogram { len: 16, hop: 4, ..Spectrogram::default() }.into(),
        Spectrogram {
            len: 7,
            hop: 9,
            window: SpectrumWindow::Blackman,
            scale: SpectrumScale::Magnitude,
            ..Spectrogram::default()
        }
        .into(),
        BandPower { bands_hz: vec![[0.5, 4.0], [4.0, 25.0]], ..BandPower::of_frames(100, 7) }
            .into(),
        BandPower {
            bands_hz: vec![[0.0, 25.0]],
            window: SpectrumWindow::Boxcar,
            log: false,
            ..BandPower::of_frames(2, 1)
        }
        .into(),
        Grey { width: 2, height: 1 }.into(),
        StepConfig::from(Grey { width: 1, height: 1 }).on(["dim_4", "dim_0", "dim_2"]),
        Crop { width: 3, height: 2, left: 1, top: 0, to_width: 2, to_height: 2 }.into(),
        Resize { width: 3, height: 2, to_width: 2, to_height: 1 }.into(),
        Resize { width: 1, height: 3, to_width: 1, to_height: 2 }.into(),
        FrameDifference { absolute: false }.into(),
        FrameDifference { absolute: true }.into(),
        Background::default().into(),
        StepConfig::from(Background { rate: 0.7, absolute: true }).on(["dim_5"]),
        ClipQuantile::default().into(),
        StepConfig::from(ClipQuantile { low: 0.0, high: 0.7 }).on(["dim_0"]),
        Log1p {}.into(),
        Difference::default().into(),
        StepConfig::from(Difference { order: 3 }).on(["dim_1"]),
        Grid { rate_hz: 20.0, max_gap_s: None, method: Between::Linear }.into(),
        Grid { rate_hz: 70.0, max_gap_s: Some(0.01), method: Between::Hold }.into(),
        Decimate { factor: 2 }.into(),
        Decimate { factor: 7 }.into(),
        Resample::by(3, 2).into(),
        Resample::by(2, 6).into(),
        Resample::to(40.0).into(),
        Resample::by(1, 1).into(),
        FrameRate { rate_hz: 20.0 }.into(),
        FrameRate { rate_hz: 60.0 }.into(),
        MovingAverage { len: 1 }.into(),
        MovingAverage { len: 5 }.into(),
        Exponential::by_alpha(0.3).into(),
        Exponential::by_time_constant(0.1).into(),
        Median { len: 5 }.into(),
        Median { len: 21 }.into(),
        StepConfig::from(Hampel { len: 7, n_sigmas: 3.0 }).on(["dim_0"]),
        Hampel { len: 13, n_sigmas: 0.5 }.into(),
        SavitzkyGolay { len: 11, order: 3, deriv: 0 }.into(),
        SavitzkyGolay { len: 5, order: 2, deriv: 1 }.into(),
        Butterworth::low_pass(4, 5.0).into(),
        Butterworth::band_pass(3, 2.0, 9.0).into(),
        Butterworth { zero_phase: true, ..Butterworth::high_pass(5, 1.0) }.into(),
        Notch::at(12.0).into(),
        Notch { freq_hz: 3.0, q: 2.0, zero_phase: true }.into(),
        Wavelet { wavelet: WaveletKind::Db4, level: 3, threshold: Threshold::Soft }.into(),
        Wavelet { wavelet: WaveletKind::Haar, level: 9, threshold: Threshold::Hard }.into(),
        WindowNormalize::default().into(),
    ]
}

#[test]
fn every_step_has_a_sample() {
    let samples = samples();
    for name in STEP_NAMES {
        assert!(samples.iter().any(|sample| sample.name() == *name), "no sample of {name}");
    }
}

/// Channels of waves and noise with a gap or two.
fn series(seed: u64, n_rows: usize, gaps: bool) -> Rows {
    let noise = testkit::sequence(seed, CHANNELS * n_rows);
    let value = |(i, noise): (usize, f32)| {
        let time = (i / CHANNELS) as f64 / RATE_HZ;
        let wave = (time * 2.0).sin() + 0.3 * (time * 40.0).cos();
        let value = 5.0 + (1.0 + (i % 2) as f64) * (wave + 0.2 * f64::from(noise));
        if gaps && i % 111 == 11 { f64::NAN } else { value }
    };
    let values = noise.into_iter().enumerate().map(value).collect();
    Rows::of_series(CHANNELS, Some(RATE_HZ), values)
}

fn stage() -> Stage {
    Stage::unnamed(CHANNELS).at(RATE_HZ)
}

fn fit(configs: &[StepConfig]) -> Result<Pipeline, Error> {
    Pipeline::fit(configs, &stage(), vec![series(1, 400, false), series(2, 150, true)])
}

fn fitted(sample: &StepConfig) -> Pipeline {
    fit(std::slice::from_ref(sample)).unwrap_or_else(|error| panic!("{sample:?}: {error}"))
}

/// The steps at the start of a series of their own, one after the other by hand.
fn in_pieces(pipeline: &Pipeline, series: &Rows, cuts: &[usize]) -> Rows {
    let mut streamer = Streamer::over_series(pipeline);
    let mut out = Rows::new(pipeline.output().channels());
    let mut start = 0;
    for end in cuts.iter().copied().chain([series.len()]) {
        out.extend(streamer.push_rows(series.view().slice(start..end)).expect("finite"));
        start = end;
    }
    out.extend(streamer.finish());
    out
}

#[test]
fn every_step_gives_the_same_in_any_pieces_and_after_a_reset() {
    for sample in samples() {
        let pipeline = fitted(&sample);
        for n_rows in [0, 1, 2, 3, 7, 64, 300] {
            let series = series(3, n_rows, true);
            let batch = pipeline.apply(series.view()).expect("finite");
            let name = format!("{sample:?}, {n_rows} rows");
            for cuts in [(0..n_rows).collect::<Vec<_>>(), vec![n_rows / 3, n_rows / 3, n_rows / 2]]
            {
                let pieces = in_pieces(&pipeline, &series, &cuts);
                assert_same_bits(&name, pieces.values(), batch.values());
                assert_same_bits(&name, pieces.times(), batch.times());
            }
            let mut streamer = Streamer::over_series(&pipeline);
            let before = streamer.push_rows(series.view()).expect("finite").len();
            streamer.reset();
            let mut again = Rows::new(pipeline.output().channels());
            again.extend(streamer.push_rows(series.view()).expect("finite"));
            assert_eq!(again.len(), before);
            again.extend(streamer.finish());
            assert_same_bits(&name, again.values(), batch.values());
            // The end of a series is the start of the next.
            streamer.reset();
            let mut third = Rows::new(pipeline.output().channels());
            third.extend(streamer.push_rows(series.view()).expect("finite"));
            third.extend(streamer.finish());
            assert_same_bits(&name, third.values(), batch.values());
        }
    }
}

#[test]
fn every_step_does_what_it_announces() {
    for sample in samples() {
        let pipeline = fitted(&sample);
        let series = series(4, 500, false);
        let out = pipeline.apply(series.view()).expect("finite");
        assert_eq!(out.channels(), pipeline.output().channels(), "{sample:?}");
        if sample.keeps_rows() {
            assert_same_bits(sample.name(), out.times(), series.times());
            assert_eq!(pipeline.output().rate_hz, Some(RATE_HZ), "{sample:?}");
        }
        assert!(out.times().windows(2).all(|pair| pair[0] <= pair[1]), "{sample:?}");
        if let Some(rate_hz) = pipeline.output().rate_hz.filter(|_| out.len() > 20) {
            let span = out.times()[out.len() - 1] - out.times()[0];
            let found = (out.len() - 1) as f64 / span;
            assert!((found / rate_hz - 1.0).abs() < 0.02, "{sample:?}: {found} Hz of {rate_hz}");
        }
        // What is held back is no more than was announced.
        if sample.is_per_window() {
            continue;
        }
        let mut streamer = Streamer::over_series(&pipeline);
        match streamer.latency() {
            Latency::WholeSeries => {
                assert!(Streamer::new(&pipeline).is_err(), "{sample:?}");
                assert_eq!(streamer.push_rows(series.view()).expect("finite").len(), 0);
            }
            Latency::Rows(held) => {
                let n = streamer.push_rows(series.view()).expect("finite").len();
                let last = out.times()[..n].last().copied().unwrap_or(f64::NEG_INFINITY);
                let missed = series.times().iter().filter(|time| **time > last).count();
                let step = pipeline.output().rate_hz.map_or(1.0, |rate_hz| RATE_HZ / rate_hz);
                let most = held as f64 + step.max(1.0);
                assert!(missed as f64 <= most, "{sample:?}: {missed} rows held, {held} announced");
            }
        }
    }
}

#[test]
fn every_step_is_stored_exactly() {
    for sample in samples() {
        let pipeline = fitted(&sample);
        let json = serde_json::to_string(&pipeline).expect("numbers");
        let read: Pipeline = serde_json::from_str(&json).expect(&json);
        assert_eq!(read, pipeline, "{json}");
        assert_eq!(read.configs(), std::slice::from_ref(&sample));
        let config = serde_json::to_string(&sample).expect("numbers");
        assert_eq!(serde_json::from_str::<StepConfig>(&config).expect(&config), sample);
        let unknown = config.replacen('{', "{\"unheard_of\":1,", 1);
        assert!(serde_json::from_str::<StepConfig>(&unknown).is_err(), "{unknown}");
    }
}

/// What a series is like changes nothing of what another one becomes, and nothing is remembered.
#[test]
fn every_step_takes_a_series_of_nothing_but_gaps() {
    for sample in samples() {
        let pipeline = fitted(&sample);
        let gaps = Rows::of_series(CHANNELS, Some(RATE_HZ), vec![f64::NAN; 40 * CHANNELS]);
        let out = pipeline.apply(gaps.view()).expect("gaps are no infinities");
        assert!(out.values().iter().all(|v| !v.is_infinite()), "{sample:?}");
    }
}

proptest! {
    #[test]
    fn pipelines_of_up_to_five_give_the_same_in_any_pieces(
        chosen in prop::collection::vec(prop::sample::select(samples()), 0..=5),
        seed in 0_u64..1000,
        n_rows in 0_usize..200,
        gaps in any::<bool>(),
    ) {
        // What cannot follow, as a step of windows before one of rows or a channel that is gone.
        let Ok(pipeline) = fit(&chosen) else { return Ok(()) };
        let series = series(seed, n_rows, gaps);
        let batch = pipeline.apply(series.view()).expect("finite");
        let one_by_one: Vec<usize> = (0..n_rows).collect();
        let pieces = in_pieces(&pipeline, &series, &one_by_one);
        assert_same_bits("pieces", pieces.values(), batch.values());
        assert_same_bits("times", pieces.times(), batch.times());
    }
}
