//! Times a training step or a forward pass of candle; prints one JSON object.
//!
//! ```sh
//! RAYON_NUM_THREADS=2 candle-peer train --batch 32 --seq 128 --channels 6 --d-model 64 --heads 4 \
//!     --layers 2 --d-ff 128 --seconds 3
//! ```

mod model;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap, loss};
use clap::{Args, Parser};

use model::{Attention, Encoder, Kernels};

/// Times candle on the CPU. RAYON_NUM_THREADS sets the threads.
#[derive(Parser)]
enum Command {
    /// A training step: forward, cross-entropy, backward, AdamW
    Train(Options),
    /// The forward pass of a batch
    Infer(Options),
}

#[derive(Args, Clone)]
struct Options {
    #[arg(long)]
    batch: usize,
    #[command(flatten)]
    shape: model::Shape,
    /// Seconds to measure
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Safetensors file with the weights by name, `x` and `targets`; default: random ones
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Median and 99th percentile in microseconds, and what other programs must get too.
struct Report {
    p50_us: f64,
    p99_us: f64,
    check: Vec<f32>,
}

fn main() -> anyhow::Result<()> {
    let report = match Command::parse() {
        Command::Train(options) => train(&options)?,
        Command::Infer(options) => infer(&options)?,
    };
    let Report { p50_us, p99_us, check } = report;
    let threads = candle_core::utils::get_num_threads();
    println!(r#"{{"p50_us":{p50_us},"p99_us":{p99_us},"threads":{threads},"check":{check:?}}}"#);
    Ok(())
}

/// Training steps over one batch; `check` has the losses of the first three.
fn train(options: &Options) -> anyhow::Result<Report> {
    let (vars, encoder, x, targets) = setup(options)?;
    let kernels = Kernels::with_gradient();
    let mut optimizer = AdamW::new(vars.all_vars(), ParamsAdamW::default())?;
    let all_vars = vars.all_vars();
    let mut step = |checked: bool| -> anyhow::Result<f32> {
        let loss = loss::cross_entropy(&encoder.forward(&x, kernels)?, &targets)?;
        let gradients = loss.backward()?;
        // Some of candle's fused operations drop gradients silently.
        ensure!(
            !checked || all_vars.iter().all(|var| gradients.get(var).is_some()),
            "some weights got no gradient"
        );
        optimizer.step(&gradients)?;
        Ok(loss.to_scalar()?)
    };
    let check = (0..3).map(|_| step(true)).collect::<anyhow::Result<_>>()?;
    let times = measure(&mut || step(false).map(drop), options.seconds)?;
    Ok(report(&times, check))
}

/// Forward passes with the faster of candle's two attentions; `check` has the logits.
fn infer(options: &Options) -> anyhow::Result<Report> {
    let (_, encoder, x, _) = setup(options)?;
    let mut best: Option<(f64, Kernels)> = None;
    for attention in [Attention::Products, Attention::Flash] {
        let kernels = Kernels::without_gradient(attention);
        let mut pass = || Ok(drop(encoder.forward(&x, kernels)?));
        let p50 = report(&measure(&mut pass, options.seconds / 5.0)?, Vec::new()).p50_us;
        if best.is_none_or(|(least, _)| p50 < least) {
            best = Some((p50, kernels));
        }
    }
    let (_, kernels) = best.expect("there are two");
    let check = encoder.forward(&x, kernels)?.flatten_all()?.to_vec1()?;
    let times = measure(&mut || Ok(drop(encoder.forward(&x, kernels)?)), options.seconds)?;
    Ok(report(&times, check))
}

/// Weights, model, input `[batch, seq, channels]` and targets `[batch]`.
fn setup(options: &Options) -> anyhow::Result<(VarMap, Encoder, Tensor, Tensor)> {
    let mut vars = VarMap::new();
    let builder = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let encoder = Encoder::new(options.shape, builder)?;
    let dims = (options.batch, options.shape.seq, options.shape.channels);
    let (x, targets) = if let Some(path) = &options.data {
        vars.load(path)?;
        let mut file = candle_core::safetensors::load(path, &Device::Cpu)?;
        let mut take = |name: &str| file.remove(name);
        (take("x"), take("targets"))
    } else {
        let targets = (0..options.batch as u32).map(|i| i % model::N_CLASSES as u32);
        (
            Some(Tensor::randn(0.0f32, 1.0, dims, &Device::Cpu)?),
            Some(Tensor::from_iter(targets, &Device::Cpu)?),
        )
    };
    let (Some(x), Some(targets)) = (x, targets) else {
        anyhow::bail!("the file has no x or no targets");
    };
    ensure!(x.dims3()? == dims, "x must be {dims:?}, found {:?}", x.dims());
    Ok((vars, encoder, x, targets))
}

/// Sorted seconds of repetitions, after a fifth of the time as warm-up.
fn measure(once: &mut dyn FnMut() -> anyhow::Result<()>, seconds: f64) -> anyhow::Result<Vec<f64>> {
    let mut run_for = |at_least: usize, budget: f64| -> anyhow::Result<Vec<f64>> {
        let (began, budget) = (Instant::now(), Duration::from_secs_f64(budget));
        let mut times = Vec::new();
        while times.len() < at_least || began.elapsed() < budget {
            let start = Instant::now();
            once()?;
            times.push(start.elapsed().as_secs_f64());
        }
        Ok(times)
    };
    run_for(0, seconds / 5.0)?;
    let mut times = run_for(3, seconds)?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn report(times: &[f64], check: Vec<f32>) -> Report {
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize] * 1e6;
    Report { p50_us: at(0.5), p99_us: at(0.99), check }
}
