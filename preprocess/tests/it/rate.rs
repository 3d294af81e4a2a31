//! Laws of the steps that change the rate, and of sources on one clock.

use preprocess::{
    AlignClock, AlignSource, Aligner, Between, Difference, Log1p, Pipeline, Resample, Rows,
    RowsRef, Stage, StepConfig, ZScore, align,
};
use proptest::prelude::*;
use testkit::{assert_close, assert_same_bits};

fn apply(step: impl Into<StepConfig>, rate_hz: f64, series: &Rows) -> Rows {
    let stage = Stage::unnamed(series.channels()).at(rate_hz);
    let pipeline = Pipeline::fit(&[step.into()], &stage, vec![series.clone()]).expect("a fit");
    pipeline.apply(series.view()).expect("finite")
}

proptest! {
    /// Amplitude and phase, as every value is where the wave is at its own time: to 1 in 1,000 far below
    /// the edge, and to the ripple that the window has (scipy's default), 2.5 in 1,000, up to half of it.
    #[test]
    fn resampling_keeps_the_amplitude_and_phase_of_a_sine(
        up in 1_usize..=40,
        down in 1_usize..=40,
        share in 0.002_f64..0.5,
        phase in 0.0_f64..6.0,
        start in -1e3_f64..1e3,
    ) {
        let rate_hz = 50.0;
        let ratio = up as f64 / down as f64;
        let edge_hz = rate_hz / 2.0 * ratio.min(1.0);
        let wave = |time: f64| (std::f64::consts::TAU * share * edge_hz * (time - start) + phase).sin();
        // Some 40 rows of the slower rate after the ends no longer count.
        let n_rows = (100.0 / ratio.min(1.0)) as usize;
        let times: Vec<f64> = (0..n_rows).map(|row| start + row as f64 / rate_hz).collect();
        let values = times.iter().map(|&time| wave(time)).collect();
        let out = apply(Resample::by(up, down), rate_hz, &Rows::from_parts(1, times, values));
        prop_assert_eq!(out.len(), (n_rows * up).div_ceil(down));
        let margin = (11.0 * ratio.max(1.0)).ceil() as usize;
        let inner = margin..out.len() - margin;
        prop_assert!(inner.len() > 20);
        let expected: Vec<f64> = out.times()[inner.clone()].iter().map(|&time| wave(time)).collect();
        let tolerance = if share < 0.05 { 1e-3 } else { 2.5e-3 };
        assert_close("wave", &out.values()[inner], &expected, 0.0, tolerance);
        let step = 1.0 / (rate_hz * ratio);
        let grid: Vec<f64> = (0..out.len()).map(|row| start + row as f64 * step).collect();
        assert_close("times", out.times(), &grid, 0.0, 1e-9);
    }

    #[test]
    fn there_and_back_is_the_same_wave(up in 1_usize..=12, down in 1_usize..=12) {
        let ratio = (up as f64 / down as f64).min(1.0);
        let n_rows = (200.0 / ratio) as usize;
        let wave = |row: usize| 7.0 + (row as f64 * 0.2 * ratio).sin();
        let series = Rows::of_series(1, Some(1.0), (0..n_rows).map(wave).collect());
        let there = apply(Resample::by(up, down), 1.0, &series);
        let back = apply(Resample::by(down, up), 1.0, &there);
        let margin = (25.0 / ratio) as usize;
        let inner = margin..n_rows - margin;
        assert_close("back", &back.values()[inner.clone()], &series.values()[inner], 5e-3, 0.0);
    }

    #[test]
    fn sources_in_any_pieces_and_order_give_the_same_rows(
        times in prop::collection::vec(prop::collection::vec(0_u32..100, 0..30), 1..4),
        methods in prop::collection::vec((any::<bool>(), prop::option::of(0.0_f64..5.0)), 3),
        rate_hz in prop::option::of(0.3_f64..4.0),
        order in prop::collection::vec(0_usize..3, 0..90),
    ) {
        let sources: Vec<(AlignSource, Rows)> = times
            .into_iter()
            .zip(methods)
            .enumerate()
            .map(|(source, (mut times, (hold, max_age_s)))| {
                times.sort_unstable();
                let method = if hold { Between::Hold } else { Between::Linear };
                let channels = 1 + source % 2;
                let times: Vec<f64> = times.into_iter().map(|t| f64::from(t) * 0.25).collect();
                let values = (0..times.len() * channels).map(|v| v as f64 + 1.0).collect();
                let spec = AlignSource { channels, method, max_age_s };
                (spec, Rows::from_parts(channels, times, values))
            })
            .collect();
        let clock = rate_hz.map_or(AlignClock::First, AlignClock::Rate);
        let views: Vec<_> = sources.iter().map(|(spec, rows)| (*spec, rows.view())).collect();
        let whole = align(&views, clock).expect("options are good");
        let specs: Vec<AlignSource> = sources.iter().map(|(spec, _)| *spec).collect();
        let mut aligner = Aligner::new(&specs, clock).expect("options are good");
        let mut out = Rows::new(whole.channels());
        let mut given = vec![0; sources.len()];
        for source in order {
            let Some((_, rows)) = sources.get(source) else { continue };
            let at = given[source];
            if at < rows.len() {
                aligner.push(source, rows.view().slice(at..at + 1), &mut out);
                given[source] += 1;
            }
        }
        for (source, (_, rows)) in sources.iter().enumerate().rev() {
            aligner.push(source, rows.view().slice(given[source]..rows.len()), &mut out);
            aligner.end(source, &mut out);
        }
        assert_same_bits("times", out.times(), whole.times());
        assert_same_bits("values", out.values(), whole.values());
        check_against_definition(&views, clock, &whole);
    }

    #[test]
    fn log1p_is_undone(values in prop::collection::vec(-1e9_f64..1e9, 2..20)) {
        let configs = [Log1p {}.into(), StepConfig::from(ZScore {}).on(["dim_0"])];
        let rows = Rows::of_series(1, None, values.clone());
        let pipeline = Pipeline::fit(&configs, &Stage::unnamed(1), vec![rows.clone()]).expect("fit");
        let mut back = pipeline.apply(rows.view()).expect("finite").values().to_vec();
        pipeline.invert(&mut back).expect("lines and curves");
        assert_close("back", &back, &values, 1e-11, 1e-11);
    }
}

/// Every value by a search over all rows.
fn check_against_definition(
    sources: &[(AlignSource, RowsRef<'_>)],
    clock: AlignClock,
    found: &Rows,
) {
    let slack = if let AlignClock::Rate(rate_hz) = clock { 1e-6 / rate_hz } else { 0.0 };
    for (time, row) in found.view().iter() {
        let mut expected = Vec::new();
        for (i, (spec, rows)) in sources.iter().enumerate() {
            let n_before = rows.times().iter().filter(|&&row| row <= time + slack).count();
            let fresh = |distance: f64| spec.max_age_s.is_none_or(|most| distance <= most + slack);
            let before = n_before.checked_sub(1).filter(|&at| fresh(time - rows.times()[at]));
            let after = (n_before < rows.len()).then_some(n_before);
            let after = after.filter(|&at| fresh(rows.times()[at] - time));
            let is_clock = i == 0 && clock == AlignClock::First;
            for channel in 0..spec.channels {
                let value = |at: usize| rows.row(at)[channel];
                let exact = before.is_some_and(|at| rows.times()[at] + slack >= time);
                expected.push(match (before, after) {
                    _ if is_clock => f64::NAN,
                    (Some(at), _) if exact || spec.method == Between::Hold => value(at),
                    (Some(a), Some(b)) => {
                        let share = (time - rows.times()[a]) / (rows.times()[b] - rows.times()[a]);
                        value(a) + (value(b) - value(a)) * share
                    }
                    _ => f64::NAN,
                });
            }
        }
        // The clock's own rows are as they are.
        let skip = if clock == AlignClock::First { sources[0].0.channels } else { 0 };
        assert_same_bits("by definition", &row[skip..], &expected[skip..]);
    }
    let (_, first) = sources[0];
    match clock {
        AlignClock::First => {
            assert_same_bits("the clock", found.times(), first.times());
            let own: Vec<f64> =
                found.view().iter().flat_map(|(_, row)| row[..first.channels()].to_vec()).collect();
            assert_same_bits("its rows", &own, first.values());
        }
        AlignClock::Rate(rate_hz) => {
            let span = first.times().last().map(|last| (last - first.times()[0]) * rate_hz + 1e-6);
            assert_eq!(found.len(), span.map_or(0, |span| span as usize + 1));
        }
    }
}

#[test]
fn a_released_time_ends_the_wait() {
    let spec = AlignSource { channels: 1, method: Between::Hold, max_age_s: Some(1.0) };
    let mut aligner = Aligner::new(&[spec, spec], AlignClock::Rate(2.0)).expect("options are good");
    let mut out = Rows::new(2);
    aligner.push(0, RowsRef::new(1, &[0.0, 0.6], &[1.0, 2.0]), &mut out);
    assert!(out.is_empty());
    aligner.release(0.5, &mut out);
    assert_eq!(out.times(), [0.0, 0.5]);
    assert!((out.values()[0] - 1.0).abs() < 1e-15 && out.values()[1].is_nan());
    aligner.push(1, RowsRef::new(1, &[0.9], &[5.0]), &mut out);
    aligner.release(2.0, &mut out);
    assert_eq!(out.times(), [0.0, 0.5, 1.0, 1.5, 2.0]);
    assert_eq!(out.values()[4..8], [2.0, 5.0, 2.0, 5.0]);
    assert!(out.values()[8..].iter().all(|v| v.is_nan()));
}

#[test]
fn a_wrong_time_makes_no_endless_rows_of_a_clock() {
    let spec = AlignSource { channels: 1, method: Between::Linear, max_age_s: None };
    for wrong in [1e12, 1e17, 1e300, f64::INFINITY, f64::NAN] {
        let times = [0.0, 0.001, wrong];
        let rows = RowsRef::new(1, &times, &[1.0; 3]);
        let out = align(&[(spec, rows), (spec, rows)], AlignClock::Rate(1000.0)).expect("options");
        assert!((2..=4).contains(&out.len()), "{wrong}: {} rows", out.len());
        let mut aligner = Aligner::new(&[spec], AlignClock::Rate(1000.0)).expect("options");
        let mut out = Rows::new(1);
        aligner.push(0, rows.slice(0..2), &mut out);
        aligner.release(wrong, &mut out);
        assert!(out.len() <= 4, "{wrong}: {} rows", out.len());
    }
}

#[test]
fn options_of_sources_are_checked() {
    let spec = AlignSource { channels: 1, method: Between::Hold, max_age_s: None };
    assert!(Aligner::new(&[], AlignClock::First).is_err());
    assert!(Aligner::new(&[spec], AlignClock::Rate(0.0)).is_err());
    let aged = AlignSource { max_age_s: Some(f64::NAN), ..spec };
    assert!(Aligner::new(&[spec, aged], AlignClock::First).is_err());
}

#[test]
fn differences_cannot_be_undone() {
    let rows = Rows::of_series(1, None, vec![1.0, 2.0]);
    let configs = [Difference { order: 1 }.into()];
    let pipeline = Pipeline::fit(&configs, &Stage::unnamed(1), vec![rows]).expect("a fit");
    let message = pipeline.invert(&mut [0.0]).expect_err("no way back").to_string();
    assert!(message.contains("difference"), "{message}");
}
