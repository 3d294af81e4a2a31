//! Helpers: configurations and batches.

use attn_core::{AttentionConfig, Encoder, EncoderConfig, Mask, Pooling, Positions, Task};
use testkit::sequence;

/// A small model; tests change what they are about.
pub(crate) fn config(positions: Positions, pooling: Pooling) -> EncoderConfig {
    EncoderConfig {
        channels: 3,
        seq_len: 11,
        patch_len: 2,
        d_model: 12,
        n_heads: 3,
        n_layers: 2,
        d_ff: 20,
        dropout: 0.0,
        positions,
        pooling,
        attention: AttentionConfig::default(),
        task: Task::Classification { n_classes: 4 },
    }
}

/// Every combination of positions and pooling.
pub(crate) fn configs() -> Vec<EncoderConfig> {
    [
        (Positions::Learned, Pooling::Mean),
        (Positions::Learned, Pooling::ClassToken),
        (Positions::Sinusoidal, Pooling::Mean),
        (Positions::Sinusoidal, Pooling::ClassToken),
    ]
    .map(|(positions, pooling)| config(positions, pooling))
    .into_iter()
    .chain(causal_configs())
    .collect()
}

/// Models whose answers never change once given: masks, rotary positions, biases, shared heads.
pub(crate) fn causal_configs() -> Vec<EncoderConfig> {
    let window = |left| Mask::SlidingWindow { left, right: 0 };
    [
        (Positions::Rotary, Pooling::Last, Mask::Causal, Some(1)),
        (Positions::Alibi, Pooling::Mean, window(2), None),
        (Positions::Learned, Pooling::Last, window(1), Some(3)),
        (Positions::Sinusoidal, Pooling::Mean, Mask::Causal, None),
    ]
    .map(|(positions, pooling, mask, n_kv_heads)| EncoderConfig {
        attention: AttentionConfig { mask, n_kv_heads, dropout: None },
        ..config(positions, pooling)
    })
    .to_vec()
}

/// Values, lengths from 1 to `seq_len`, and targets.
pub(crate) fn windows(
    config: &EncoderConfig,
    n: usize,
    seed: u64,
) -> (Vec<f32>, Vec<usize>, Vec<u32>) {
    let lengths: Vec<usize> = (0..n).map(|i| 1 + (i * 5 + 10) % config.seq_len).collect();
    let values = sequence(seed, lengths.iter().sum::<usize>() * config.channels);
    let targets = (0..n as u32).map(|i| i % config.task.n_outputs() as u32).collect();
    (values, lengths, targets)
}

/// Parameters in which every part shows: norms and biases away from one and zero.
pub(crate) fn noisy(encoder: &Encoder) -> Vec<f32> {
    let noise = sequence(8, encoder.n_params());
    encoder.init(3).iter().zip(noise).map(|(p, noise)| p + 0.2 * noise).collect()
}
