//! Answers and kernels allocate nothing. A binary of its own, since it counts through the global allocator.

use allocation_counter::measure;
use attn_core::{
    AttentionConfig, AttnDims, AttnOptions, Encoder, EncoderConfig, Mask, Positions, Precision,
    Predictor, Rows, RowsMut, StreamPredictor, Task, attention_backward,
    attention_backward_scratch, attention_forward, attention_forward_scratch,
};

fn encoder(mask: Mask) -> Encoder {
    Encoder::new(EncoderConfig {
        channels: 6,
        seq_len: 300,
        patch_len: 2,
        positions: Positions::Rotary,
        attention: AttentionConfig { mask, ..AttentionConfig::default() },
        task: Task::Classification { n_classes: 4 },
        ..EncoderConfig::default()
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

#[test]
fn attention_allocates_nothing() {
    let dims = AttnDims::new(130, 2, 24).expect("valid");
    let (seq, width) = (dims.seq_q, dims.q_width());
    let qkv = vec![0.5; seq * 3 * width];
    let rows = [0, width, 2 * width].map(|column| Rows::new(&qkv[column..], 3 * width));
    let (mut out, d_out) = (vec![0.0; seq * width], vec![1.0; seq * width]);
    let mut d_qkv = vec![0.0; seq * 3 * width];
    let mut stats = vec![0.0; 2 * dims.n_heads * seq];
    let scratch = attention_forward_scratch(dims, 1).max(attention_backward_scratch(dims, 1));
    let mut scratch = vec![0.0; scratch];
    let options = AttnOptions { mask: Mask::Causal, ..AttnOptions::default() };
    let info = measure(|| {
        let written = RowsMut::new(&mut out, width);
        attention_forward(written, &mut stats, rows, dims, &options, 1, &mut scratch);
        let (d_q, d_kv) = RowsMut::new(&mut d_qkv, 3 * width).split_at_column(width);
        let (d_k, d_v) = d_kv.split_at_column(width);
        attention_backward(
            [d_q, d_k, d_v],
            Rows::new(&d_out, width),
            Rows::new(&out, width),
            &stats,
            rows,
            dims,
            &options,
            1,
            &mut scratch,
        );
    });
    assert_eq!(info.count_total, 0);
}
