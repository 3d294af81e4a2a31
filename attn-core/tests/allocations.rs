//! Answers allocate nothing. A binary of its own, since it counts through the global allocator.

use allocation_counter::measure;
use attn_core::{
    AttentionConfig, Encoder, EncoderConfig, Mask, Pooling, Positions, Precision, Predictor,
    StreamPredictor, Task,
};

fn encoder(mask: Mask) -> Encoder {
    Encoder::new(EncoderConfig {
        channels: 6,
        seq_len: 300,
        patch_len: 2,
        d_model: 64,
        n_heads: 4,
        n_layers: 2,
        d_ff: 128,
        dropout: 0.0,
        positions: Positions::Rotary,
        pooling: Pooling::Mean,
        attention: AttentionConfig { mask, ..AttentionConfig::default() },
        task: Task::Classification { n_classes: 4 },
    })
    .expect("valid")
}

#[test]
fn a_window_allocates_nothing() {
    let encoder = encoder(Mask::None);
    let params = encoder.init(1);
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let mut predictor = Predictor::new(&encoder, &params, precision, 1);
        for steps in [300, 1, 77] {
            let window = vec![0.25; steps * 6];
            let info = measure(|| {
                predictor.predict(&window).expect("valid");
            });
            assert_eq!(info.count_total, 0, "{precision:?}, {steps} steps");
        }
    }
    // The counter sees allocations.
    assert!(measure(|| drop(std::hint::black_box(vec![0_u8; 9]))).count_total > 0);
}

#[test]
fn a_window_shared_among_threads_allocates_nothing() {
    let encoder = encoder(Mask::None);
    let mut predictor = Predictor::new(&encoder, &encoder.init(1), Precision::F32, 2);
    let window = vec![0.25; 300 * 6];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    let counted = pool.install(|| {
        // The first call lets rayon make what it keeps for each thread.
        predictor.predict(&window).expect("valid");
        measure(|| {
            for _ in 0..20 {
                predictor.predict(&window).expect("valid");
            }
        })
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_step_of_a_stream_allocates_nothing() {
    let encoder = encoder(Mask::SlidingWindow { left: 20, right: 0 });
    let mut stream =
        StreamPredictor::new(&encoder, &encoder.init(1), Precision::Int8).expect("causal");
    let info = measure(|| {
        for _ in 0..400 {
            stream.push(&[0.5; 6]).expect("valid");
        }
    });
    assert_eq!(info.count_total, 0);
}
