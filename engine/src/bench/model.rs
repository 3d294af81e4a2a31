//! Training steps and forward passes of whole models.

use anyhow::{Context, ensure};
use attn_core::{
    AttentionConfig, Batch, CrossEntropy, Encoder, EncoderConfig, Pooling, Positions, Precision,
    Predictor, Task, Workspace,
};
use optim::AdamWConfig;
use optim::Optimizer;

use super::case::{Case, noise};
use super::parts;
use crate::cli::{InferShape, ModelShape, TrainShape};

const N_CLASSES: usize = 4;

/// Forward, backward and a step of AdamW, over the same batch again and again.
pub(super) fn train(args: TrainShape, threads: usize) -> anyhow::Result<Case> {
    let shape = args.model;
    let Setup { encoder, values, lengths, mut params } = setup(shape)?;
    let targets: Vec<u32> = (0..shape.batch as u32).map(|i| i % N_CLASSES as u32).collect();
    let mut optimizer = AdamWConfig::default().build(params.len())?;
    let mut grad = vec![0.0; params.len()];
    let mut workspace = Workspace::new(threads);
    if args.recompute {
        workspace = workspace.recompute();
    }
    let loss = CrossEntropy::default();
    let config = encoder.config().clone();
    Ok(Case {
        what: format!("training step of {} parameters", params.len()),
        parts: Some(Box::new(move || parts::of_step(&config, shape.batch))),
        flops: 3.0 * forward_flops(shape) - patch_flops(shape),
        windows: shape.batch as f64,
        seconds: shape.seconds,
        once: Box::new(move || {
            let batch =
                Batch::new(encoder.config(), &values, &lengths).expect("the shape was checked");
            loss.gradient(&encoder, &params, &batch, &targets, None, &mut workspace, &mut grad);
            optimizer.step(&mut params, &grad, 1e-4);
        }),
    })
}

/// Answers: one window by the prepared model, or the forward pass of a batch.
pub(super) fn infer(args: InferShape, threads: usize) -> anyhow::Result<Case> {
    let shape = args.model;
    let Setup { encoder, values, lengths, params } = setup(shape)?;
    let precision = Precision::from(args.precision);
    ensure!(
        shape.batch == 1 || precision == Precision::F32,
        "--precision other than f32 is for single windows; add --batch 1"
    );
    let mut predictor = Predictor::new(&encoder, &params, precision, threads);
    let mut logits = vec![0.0; shape.batch * N_CLASSES];
    let mut workspace = Workspace::new(threads);
    let what = if shape.batch == 1 {
        format!("one window, {} bytes of weights", predictor.weight_bytes())
    } else {
        format!("forward pass of {} parameters", params.len())
    };
    Ok(Case {
        what,
        flops: forward_flops(shape),
        windows: shape.batch as f64,
        seconds: shape.seconds,
        parts: None,
        once: Box::new(move || {
            if shape.batch == 1 {
                predictor.predict(&values).expect("the shape was checked");
            } else {
                let batch =
                    Batch::new(encoder.config(), &values, &lengths).expect("the shape was checked");
                encoder.forward(&params, &batch, &mut workspace, &mut logits);
            }
        }),
    })
}

struct Setup {
    encoder: Encoder,
    values: Vec<f32>,
    lengths: Vec<usize>,
    params: Vec<f32>,
}

fn setup(shape: ModelShape) -> anyhow::Result<Setup> {
    ensure!(shape.batch >= 1, "--batch must be at least 1");
    let encoder = Encoder::new(EncoderConfig {
        channels: shape.channels,
        seq_len: shape.seq,
        patch_len: shape.patch,
        d_model: shape.d_model,
        n_heads: shape.heads,
        n_layers: shape.layers,
        d_ff: shape.d_ff,
        dropout: 0.0,
        positions: Positions::Learned,
        pooling: Pooling::Mean,
        attention: AttentionConfig::default(),
        task: Task::Classification { n_classes: N_CLASSES },
    })
    .context("the model")?;
    let n_values = shape
        .batch
        .checked_mul(shape.seq)
        .and_then(|n| n.checked_mul(shape.channels))
        .filter(|n| *n < 1 << 32)
        .context("--batch times --seq times --channels is too large")?;
    let params = encoder.init(1);
    Ok(Setup { encoder, values: noise(n_values, 1), lengths: vec![shape.seq; shape.batch], params })
}

/// Operations of the forward pass's products, two per multiplication.
fn forward_flops(shape: ModelShape) -> f64 {
    let [seq, patch, d, d_ff, layers, batch] =
        [shape.seq, shape.patch, shape.d_model, shape.d_ff, shape.layers, shape.batch]
            .map(|size| size as f64);
    let tokens = (seq / patch).ceil();
    let block = tokens * (4.0 * d * d + 2.0 * d * d_ff) + 2.0 * tokens * tokens * d;
    2.0 * batch * (layers * block + d * N_CLASSES as f64) + patch_flops(shape)
}

/// Operations of the patch embedding: the one layer whose input needs no gradient.
fn patch_flops(shape: ModelShape) -> f64 {
    let tokens = shape.seq.div_ceil(shape.patch) as f64;
    2.0 * shape.batch as f64 * tokens * (shape.patch * shape.channels * shape.d_model) as f64
}
