//! How fast detectors are: `cargo run --release -p monitor --example speed`; `bench/monitor.py` runs it beside river.
//!
//! Prints one JSON object: millions of updates a second on one core, the best of five passes, and seconds of a
//! calibration of six detectors on 40 series of 50 windows.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use monitor::{
    Adwin, AdwinConfig, CalibrateOptions, Cusum, Ddm, Detector, DetectorConfig, Error, KsWindow,
    PageHinkley, PageHinkleyConfig, Reference, Series, Side, WatchConfig, calibrate,
};

const VALUES: usize = 2_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut state = 1_u64;
    let mut uniform = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let values: Vec<f64> = (0..VALUES).map(|_| uniform()).collect();
    let errors: Vec<f64> = values.iter().map(|&x| f64::from(u8::from(x < 0.1))).collect();

    let cusum = Cusum::new(0.5, 0.29, Side::Both, 0.5, 5.0)?;
    let ks = KsWindow::new(&values[..1000], 30, 0.5)?;
    let found = [
        ("adwin", best(Adwin::new(AdwinConfig::default())?, &errors)),
        ("page_hinkley", best(PageHinkley::new(PageHinkleyConfig::default())?, &errors)),
        ("ddm", best(Ddm::new(30, 2.0, 3.0)?, &errors)),
        ("cusum", best(cusum, &values)),
        ("ks30", best(ks, &values)),
        ("calibrate_s", calibration(&values, &errors)?),
    ];
    let fields: Vec<String> = found.iter().map(|(name, x)| format!("\"{name}\":{x:.3}")).collect();
    writeln!(std::io::stdout(), "{{{}}}", fields.join(","))?;
    Ok(())
}

/// Millions of updates a second.
fn best<D: Detector>(mut detector: D, values: &[f64]) -> f64 {
    let once = |_| {
        let start = Instant::now();
        let alarms = values.iter().filter(|x| detector.update(**x).is_alarm()).count();
        black_box(alarms);
        values.len() as f64 / start.elapsed().as_secs_f64() / 1e6
    };
    (0..5).map(once).fold(0.0, f64::max)
}

/// Seconds of a calibration of five detectors on three signals.
fn calibration(values: &[f64], errors: &[f64]) -> Result<f64, Error> {
    let each = values.iter().zip(&values[5000..]).zip(errors);
    let windows: Vec<f64> = each.take(2000).flat_map(|((a, b), c)| [*a, *b, *c]).collect();
    let of = |(i, values)| Series { values, kinds: &[], place: i / 4 };
    let series: Vec<Series<'_>> = windows.chunks_exact(150).enumerate().map(of).collect();
    let ks = DetectorConfig::Ks { window: 30 };
    let cusum = |side, reference| DetectorConfig::Cusum { side, allowance: 0.5, reference };
    let watches = [
        (0, cusum(Side::Up, Reference::Scores)),
        (0, ks),
        (1, cusum(Side::Down, Reference::Scores)),
        (1, ks),
        (2, cusum(Side::Up, Reference::Errors)),
    ]
    .map(|(signal, detector)| WatchConfig { signal, share: 1.0, detector });
    let options = CalibrateOptions { arl0: 1000.0, first: 200, longest_block: 50, seed: 1 };
    let start = Instant::now();
    black_box(calibrate(&watches, 3, &series, &options)?);
    Ok(start.elapsed().as_secs_f64())
}
