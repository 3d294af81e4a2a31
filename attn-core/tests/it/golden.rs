//! Logits, loss and every gradient against `PyTorch`'s; `golden/make_golden.py` made the files.

use attn_core::{
    AttentionConfig, Batch, CrossEntropy, Encoder, EncoderConfig, Mask, Pooling, Positions, Task,
    Workspace,
};
use testkit::{assert_close, golden};

fn check(file: &str) {
    let tensors = golden(format!("tests/golden/{file}"));
    let size = |i: usize| tensors["config"].values[i] as usize;
    let mut attention = AttentionConfig::default();
    if tensors["config"].values.len() > 10 {
        let window = Mask::SlidingWindow { left: size(11), right: size(12) };
        attention.mask = [Mask::None, Mask::Causal, window][size(10)];
        attention.n_kv_heads = Some(size(13));
    }
    let encoder = Encoder::new(EncoderConfig {
        channels: size(0),
        seq_len: size(1),
        patch_len: size(2),
        d_model: size(3),
        n_heads: size(4),
        n_layers: size(5),
        d_ff: size(6),
        dropout: 0.0,
        positions: [Positions::Learned, Positions::Sinusoidal, Positions::Rotary, Positions::Alibi]
            [size(8)],
        pooling: [Pooling::Mean, Pooling::ClassToken, Pooling::Last][size(9)],
        attention,
        task: Task::Classification { n_classes: size(7) },
    })
    .expect("valid");
    let mut params = vec![f32::NAN; encoder.n_params()];
    for tensor in encoder.layout().tensors() {
        let expected = &tensors[&format!("param/{}", tensor.name)];
        assert_eq!(expected.shape, tensor.shape, "shape of {}", tensor.name);
        params[tensor.range.clone()].copy_from_slice(&expected.values);
    }
    let n_params = tensors.keys().filter(|name| name.starts_with("param/")).count();
    assert_eq!(n_params, encoder.layout().tensors().len(), "PyTorch has other tensors");

    let lengths: Vec<usize> = tensors["lengths"].values.iter().map(|&l| l as usize).collect();
    let targets: Vec<u32> = tensors["targets"].values.iter().map(|&t| t as u32).collect();
    let batch = Batch::new(encoder.config(), &tensors["x_packed"].values, &lengths).expect("valid");
    let mut workspace = Workspace::new(1);
    let mut logits = vec![f32::NAN; tensors["logits"].values.len()];
    encoder.forward(&params, &batch, &mut workspace, &mut logits);
    assert_close("logits", &logits, &tensors["logits"].values, 1e-5, 2e-5);

    let loss = CrossEntropy {
        class_weights: Some(tensors["class_weights"].values.clone()),
        label_smoothing: tensors["label_smoothing"].values[0],
    };
    let mut grad = vec![f32::NAN; encoder.n_params()];
    let stats = loss.gradient(&encoder, &params, &batch, &targets, None, &mut workspace, &mut grad);
    assert_close("loss", &[stats.loss as f32], &tensors["loss"].values, 1e-5, 0.0);
    for tensor in encoder.layout().tensors() {
        let expected = &tensors[&format!("grad/{}", tensor.name)].values;
        let scale = expected.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
        let abs_tol = 1e-5 * f64::from(scale) + 1e-7;
        assert_close(&tensor.name, &grad[tensor.range.clone()], expected, 1e-4, abs_tol);
    }
}

#[test]
fn every_case_equals_pytorch() {
    let mut cases: Vec<String> = std::fs::read_dir("tests/golden")
        .expect("the golden folder")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("encoder_") && name.ends_with(".safetensors"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 4, "golden files are missing: {cases:?}");
    for case in &cases {
        check(case);
    }
}
