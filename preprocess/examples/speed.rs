//! How fast steps run: `speed STEP --data=x.f64 --seconds=2`, for `bench/run.sh preprocess`.
//!
//! The data are f64 row by row, in the order of bytes of this machine; `--channels` in a row. Prints one
//! JSON object: `p50_us` and `p99_us` of a repetition, and some of the values that come out as `check`.
//! `live` is a stream instead: microseconds of a row, and the allocations while it ran.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use preprocess::{
    Butterworth, Decimate, Hampel, Median, Pca, Pipeline, Rows, SavitzkyGolay, Stage, StepConfig,
    Streamer, WindowMethod, WindowNormalize, ZScore,
};

/// What the data are taken to have been sampled at.
const RATE_HZ: f64 = 100.0;

/// Rows of a window of the live stream, and rows from one window to the next.
const WINDOW: (usize, usize) = (128, 64);

struct Args {
    step: String,
    data: String,
    channels: usize,
    seconds: f64,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let answer = args().and_then(|args| match &args.step[..] {
        "live" => live(&args),
        _ => batch(&args),
    });
    match answer {
        Ok(json) => {
            say(&json);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answer")]
fn say(json: &str) {
    println!("{json}");
}

#[expect(clippy::print_stderr, reason = "what went wrong")]
fn complain(error: &str) {
    eprintln!("{error}");
}

fn args() -> Result<Args, Failure> {
    let mut args = Args { step: String::new(), data: String::new(), channels: 8, seconds: 1.0 };
    for word in std::env::args().skip(1) {
        match word.strip_prefix("--").and_then(|word| word.split_once('=')) {
            Some(("data", path)) => path.clone_into(&mut args.data),
            Some(("channels", n)) => args.channels = n.parse()?,
            Some(("seconds", seconds)) => args.seconds = seconds.parse()?,
            Some(_) => return Err(format!("{word}: no such option").into()),
            None => args.step = word,
        }
    }
    Ok(args)
}

/// A step over the whole series, into memory that is there; a step that is fitted is fitted too.
fn batch(args: &Args) -> Result<String, Failure> {
    let bytes = std::fs::read(&args.data)?;
    let values: Vec<f64> = bytes.as_chunks().0.iter().map(|b| f64::from_ne_bytes(*b)).collect();
    drop(bytes);
    let rows = Rows::of_series(args.channels, Some(RATE_HZ), values);
    let stage = Stage::unnamed(args.channels).at(RATE_HZ);
    let (name, is_fitted) = match args.step.strip_prefix("fitted-") {
        Some(name) => (name, true),
        None => (&args.step[..], false),
    };
    let config: StepConfig = match name {
        "butterworth" => Butterworth::low_pass(4, 5.0).into(),
        "median" => Median { len: 5 }.into(),
        "savitzky-golay" => SavitzkyGolay { len: 11, order: 3, deriv: 0 }.into(),
        "decimate" => Decimate { factor: 4 }.into(),
        "z-score" => ZScore {}.into(),
        "pca" => Pca { components: 8, whiten: false }.into(),
        other => return Err(format!("{other}: no such step").into()),
    };
    let configs = [config];
    let pipeline = Pipeline::fit(&configs, &stage, vec![rows.clone()])?;
    let mut out = Rows::new(pipeline.output().channels());
    let times = if is_fitted {
        // The rows are handed over to be fitted on; their copy is no part of it.
        let copy = || vec![rows.clone()];
        measure(args.seconds, copy, |series| {
            let pipeline = Pipeline::fit(&configs, &stage, series)?;
            pipeline.apply_to(rows.view(), &mut out)
        })?
    } else {
        measure(args.seconds, || {}, |()| pipeline.apply_to(rows.view(), &mut out))?
    };
    // Far from the start, where the first values are forgotten.
    let middle = out.len() / 2 * out.channels();
    Ok(answer(&times, &out.values()[middle..middle + 64], ""))
}

/// A row at a time through filters and a scaling into windows that are normalized.
fn live(args: &Args) -> Result<String, Failure> {
    const CHANNELS: usize = 6;
    let configs: [StepConfig; 4] = [
        Hampel { len: 7, n_sigmas: 3.0 }.into(),
        Butterworth::low_pass(4, 10.0).into(),
        ZScore {}.into(),
        WindowNormalize { method: WindowMethod::ZScore }.into(),
    ];
    let row = |t: usize| -> [f64; CHANNELS] {
        std::array::from_fn(|i| (t as f64 / 9.0 + i as f64).sin() + 0.01 * ((t * 37) % 11) as f64)
    };
    let rows: Vec<_> = (0..1 << 14).map(row).collect();
    let training = Rows::of_series(CHANNELS, Some(RATE_HZ), rows.as_flattened().to_vec());
    let stage = Stage::unnamed(CHANNELS).at(RATE_HZ);
    let pipeline = Pipeline::fit(&configs, &stage, vec![training])?;
    let mut stream = Streamer::new(&pipeline)?;

    // The last rows, twice as many as a window, so that the newest lie side by side.
    let (len, hop) = (WINDOW.0 * CHANNELS, WINDOW.1 * CHANNELS);
    let (mut held, mut window) = (Vec::with_capacity(2 * len), vec![0.0; len]);
    let mut push = |t: usize| -> Result<f64, preprocess::Error> {
        held.extend_from_slice(stream.push(t as f64 / RATE_HZ, &rows[t % rows.len()])?.values());
        if held.len() < len {
            return Ok(0.0);
        }
        window.copy_from_slice(&held[..len]);
        held.drain(..hop);
        pipeline.apply_window(&mut window);
        Ok(window[0])
    };
    let mut now = 0;
    let mut times = Vec::with_capacity(1 << 22);
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < args.seconds / 5.0 {
        black_box(push(now)?);
        now += 1;
    }
    let mut failed = None;
    let allocated = allocation_counter::measure(|| {
        let began = Instant::now();
        while began.elapsed().as_secs_f64() < args.seconds && times.len() < times.capacity() {
            let start = Instant::now();
            failed = failed.take().or(black_box(push(now)).err());
            times.push(start.elapsed().as_secs_f64());
            now += 1;
        }
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    let mean = times.iter().sum::<f64>() / times.len() as f64 * 1e6;
    times.sort_by(f64::total_cmp);
    let more = format!(",\"mean_us\":{mean},\"allocations\":{}", allocated.count_total);
    Ok(answer(&times, &[], &more))
}

/// Sorted times of repetitions, in seconds, after some that warm up; what prepares one is not timed.
fn measure<T>(
    seconds: f64,
    mut prepare: impl FnMut() -> T,
    mut once: impl FnMut(T) -> Result<(), preprocess::Error>,
) -> Result<Vec<f64>, preprocess::Error> {
    let mut times = Vec::new();
    for budget in [seconds / 5.0, seconds] {
        times.clear();
        let began = Instant::now();
        while times.len() < 3 || began.elapsed().as_secs_f64() < budget {
            let given = prepare();
            let start = Instant::now();
            black_box(once(given))?;
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn answer(times: &[f64], check: &[f64], more: &str) -> String {
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize] * 1e6;
    format!("{{\"p50_us\":{},\"p99_us\":{},\"check\":{check:?}{more}}}", at(0.5), at(0.99))
}
