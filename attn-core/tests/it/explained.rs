//! What attention looks at, and what values an answer is owed to.

use attn_core::{
    AttentionConfig, Batch, Encoder, EncoderConfig, Mask, Pooling, Positions, Workspace,
    gelu_forward, reference,
};
use testkit::{assert_close, assert_same_bits, finite_difference};

use crate::common::{config, configs, noisy, windows};

/// All of [`configs`], one whose queries in part see no key, and one of several chunks.
fn cases() -> Vec<EncoderConfig> {
    let behind = AttentionConfig {
        mask: Mask::SlidingWindow { left: 1, right: 2 },
        n_kv_heads: Some(1),
        dropout: Some(0.5),
    };
    let mut cases = configs();
    for pooling in [Pooling::Last, Pooling::Mean] {
        let positions = Positions::Rotary;
        cases.push(EncoderConfig { attention: behind, ..config(positions, pooling) });
    }
    cases.push(EncoderConfig {
        seq_len: 150,
        patch_len: 1,
        ..config(Positions::Alibi, Pooling::Last)
    });
    cases
}

fn weights_of(encoder: &Encoder, params: &[f32], batch: &Batch<'_>, threads: usize) -> Vec<f32> {
    let mut weights = vec![f32::NAN; encoder.n_attention_weights(batch)];
    encoder.attention_weights(params, batch, &mut Workspace::new(threads), &mut weights);
    weights
}

/// Logits of one window by plain loops, which take from the encoder only how much each token sees of the others.
fn logits_by(encoder: &Encoder, params: &[f32], window: &[f32], weights: &[f32]) -> Vec<f32> {
    let config = encoder.config();
    let (d, heads, head_dim) = (config.d_model, config.n_heads, config.head_dim());
    let tensor =
        |name: &str| encoder.layout().get(name).map(|tensor| &params[tensor.range.clone()]);
    let part = |name: String| tensor(&name).unwrap_or_else(|| panic!("no tensor {name}"));
    let linear = |name: &str, x: &[f32]| {
        reference::linear(x, part(format!("{name}.weight")), part(format!("{name}.bias")))
    };
    let norm = |name: &str, x: &[f32]| {
        reference::layer_norm(x, part(format!("{name}.weight")), part(format!("{name}.bias")))
    };
    let add = |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
    let mut patches = window.to_vec();
    patches.resize(window.len().next_multiple_of(config.patch_width()), 0.0);
    let mut x = tensor("cls_token").map_or(Vec::new(), <[f32]>::to_vec);
    x.extend(linear("patch_embed.proj", &patches));
    let seq = x.len() / d;
    if let Some(positions) = tensor("pos_embed") {
        x = add(&x, positions);
    } else if config.positions == Positions::Sinusoidal {
        let angle = |at: usize, c: usize| at as f64 / 1e4_f64.powf((c - c % 2) as f64 / d as f64);
        for (i, x) in x.iter_mut().enumerate() {
            let angle = angle(i / d, i % d);
            *x += (if i % 2 == 0 { angle.sin() } else { angle.cos() }) as f32;
        }
    }
    for layer in 0..config.n_layers {
        let qkv = linear(
            &format!("blocks.{layer}.attn.qkv"),
            &norm(&format!("blocks.{layer}.norm1"), &x),
        );
        let mut attended = vec![0.0; seq * d];
        for (i, out) in attended.iter_mut().enumerate() {
            let (query, head, column) = (i / d, i % d / head_dim, i % head_dim);
            let row = &weights[((layer * heads + head) * seq + query) * seq..][..seq];
            let of_value = head * config.n_kv_heads() / heads * head_dim + column;
            let value =
                |key: usize| qkv[key * config.qkv_width() + d + config.kv_width() + of_value];
            *out = row.iter().enumerate().map(|(key, p)| p * value(key)).sum();
        }
        x = add(&x, &linear(&format!("blocks.{layer}.attn.proj"), &attended));
        let hidden =
            linear(&format!("blocks.{layer}.mlp.fc1"), &norm(&format!("blocks.{layer}.norm2"), &x));
        let mut activated = hidden.clone();
        gelu_forward(&mut activated, &hidden);
        x = add(&x, &linear(&format!("blocks.{layer}.mlp.fc2"), &activated));
    }
    let x = norm("norm", &x);
    let pooled = match config.pooling {
        Pooling::ClassToken => x[..d].to_vec(),
        Pooling::Last => x[(seq - 1) * d..].to_vec(),
        _ => (0..d).map(|c| x.iter().skip(c).step_by(d).sum::<f32>() / seq as f32).collect(),
    };
    linear("head", &pooled)
}

#[test]
fn values_weighed_by_attention_give_the_logits() {
    for config in cases() {
        let encoder = Encoder::new(config).expect("valid");
        let (config, params) = (encoder.config(), noisy(&encoder));
        let (values, lengths, _) = windows(config, 5, 3);
        let batch = Batch::new(config, &values, &lengths).expect("valid");
        let weights = weights_of(&encoder, &params, &batch, 1);
        let mut logits = vec![f32::NAN; 5 * 4];
        encoder.forward(&params, &batch, &mut Workspace::new(1), &mut logits);
        let (mut rest, mut of_rest, mut expected) = (&values[..], &weights[..], Vec::new());
        for &len in &lengths {
            let (window, others) = rest.split_at(len * config.channels);
            let tokens = config.tokens(len);
            let (own, of_others) = of_rest.split_at(2 * 3 * tokens * tokens);
            expected.extend(logits_by(&encoder, &params, window, own));
            (rest, of_rest) = (others, of_others);
        }
        assert_close("logits", &logits, &expected, 1e-4, 5e-5);
    }
}

#[test]
fn what_is_hidden_has_no_weight_and_the_rest_sums_to_one() {
    let mask = Mask::SlidingWindow { left: 1, right: 0 };
    let attention = AttentionConfig { mask, ..AttentionConfig::default() };
    let config = EncoderConfig { attention, ..config(Positions::Learned, Pooling::Last) };
    let encoder = Encoder::new(config).expect("valid");
    let (values, ..) = windows(encoder.config(), 1, 3);
    let batch = Batch::new(encoder.config(), &values, &[11]).expect("valid");
    let weights = weights_of(&encoder, &noisy(&encoder), &batch, 1);
    for (i, row) in weights.chunks(6).enumerate() {
        let query = i % 6;
        let seen = |key: usize| (query.saturating_sub(1)..=query).contains(&key);
        assert!(row.iter().enumerate().all(|(key, p)| (*p > 0.0) == seen(key)), "{query}: {row:?}");
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn the_rollout_is_the_product_of_the_layers() {
    for config in cases() {
        let encoder = Encoder::new(config).expect("valid");
        let (config, params) = (encoder.config(), noisy(&encoder));
        let (values, lengths, _) = windows(config, 4, 3);
        let batch = Batch::new(config, &values, &lengths).expect("valid");
        let weights = weights_of(&encoder, &params, &batch, 1);
        let (mut rest, mut expected) = (&weights[..], Vec::new());
        for &len in &lengths {
            let n = config.tokens(len);
            let mut product: Vec<f64> =
                (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect();
            for _ in 0..config.n_layers {
                let (layer, others) = rest.split_at(3 * n * n);
                rest = others;
                // The mean over the heads, half of it beside half of the identity.
                let mixed = |i: usize, j: usize| {
                    let heads = (0..3).map(|h| f64::from(layer[(h * n + i) * n + j]));
                    0.5 * heads.sum::<f64>() / 3.0 + 0.5 * f64::from(u8::from(i == j))
                };
                let entry = |at: usize| {
                    (0..n).map(|k| mixed(at / n, k) * product[k * n + at % n]).sum::<f64>()
                };
                product = (0..n * n).map(entry).collect();
            }
            expected.extend((0..n).map(|token| match config.pooling {
                Pooling::ClassToken => product[token],
                Pooling::Last => product[(n - 1) * n + token],
                _ => (0..n).map(|query| product[query * n + token]).sum::<f64>() / n as f64,
            }));
        }
        let mut found = vec![f32::NAN; encoder.n_tokens(&batch)];
        encoder.attention_rollout(&params, &batch, &mut Workspace::new(1), &mut found);
        let found: Vec<f64> = found.into_iter().map(f64::from).collect();
        assert_close("rollout", &found, &expected, 1e-5, 1e-7);
    }
}

#[test]
fn the_gradient_of_the_values_equals_finite_differences() {
    for config in cases() {
        let encoder = Encoder::new(config).expect("valid");
        let (config, params) = (encoder.config(), noisy(&encoder));
        let (mut values, lengths, targets) = windows(config, 6, 1);
        let mut workspace = Workspace::new(1);
        let squares = |window: usize, logits: &[f32], d: &mut [f32]| {
            let target = targets[window] as usize;
            d[target] = logits[target];
            f64::from(logits[target]).powi(2) / 2.0
        };
        let mut gradient = |values: &[f32], d_values: &mut [f32]| {
            let batch = Batch::new(config, values, &lengths).expect("valid");
            encoder.input_gradient(&params, &batch, squares, &mut workspace, d_values)
        };
        let mut found = vec![f32::NAN; values.len()];
        gradient(&values, &mut found);
        let (mut unused, indices) = (found.clone(), (0..values.len()).collect::<Vec<_>>());
        let indices = if indices.len() > 300 { &indices[..300] } else { &indices[..] };
        let expected =
            finite_difference(&mut values, indices, 2e-3, |values| gradient(values, &mut unused));
        assert!(found.iter().any(|d| d.abs() > 1e-3), "the gradient is zero everywhere");
        assert_close("d_values", &found[..indices.len()], &expected, 1e-2, 3e-4);
    }
}

#[test]
fn what_all_values_are_owed_is_the_change_of_the_logit() {
    for config in cases() {
        let encoder = Encoder::new(config).expect("valid");
        let (config, params) = (encoder.config(), noisy(&encoder));
        let (values, lengths, targets) = windows(config, 6, 1);
        let mut workspace = Workspace::new(1);
        let mut logits = [vec![f32::NAN; 6 * 4], vec![f32::NAN; 6 * 4]];
        for (values, logits) in [values.clone(), vec![0.0; values.len()]].iter().zip(&mut logits) {
            let batch = Batch::new(config, values, &lengths).expect("valid");
            encoder.forward(&params, &batch, &mut workspace, logits);
        }
        let batch = Batch::new(config, &values, &lengths).expect("valid");
        let mut error = |steps: usize| {
            let mut found = vec![f32::NAN; values.len()];
            encoder.integrated_gradients(
                &params,
                &batch,
                &targets,
                steps,
                &mut workspace,
                &mut found,
            );
            let mut rest = &found[..];
            let each = lengths.iter().zip(&targets).enumerate().map(|(i, (len, &target))| {
                let (own, others) = rest.split_at(len * 3);
                rest = others;
                let at = i * 4 + target as usize;
                let owed = f64::from(logits[0][at]) - f64::from(logits[1][at]);
                (own.iter().map(|&r| f64::from(r)).sum::<f64>() - owed).abs()
            });
            each.fold(0.0, |worst: f64, e| if e <= worst { worst } else { e })
        };
        let (few, many) = (error(4), error(32));
        assert!(many < 0.01 && few.is_finite(), "{many} in 32 steps, {few} in 4: {config:?}");
    }
}

#[test]
fn neither_threads_nor_what_is_kept_changes_a_bit() {
    let encoder = Encoder::new(config(Positions::Rotary, Pooling::ClassToken)).expect("valid");
    let params = noisy(&encoder);
    let (values, lengths, targets) = windows(encoder.config(), 90, 6);
    let batch = Batch::new(encoder.config(), &values, &lengths).expect("valid");
    let run = |mut workspace: Workspace| {
        let mut weights = vec![f32::NAN; encoder.n_attention_weights(&batch)];
        encoder.attention_weights(&params, &batch, &mut workspace, &mut weights);
        let mut rollout = vec![f32::NAN; encoder.n_tokens(&batch)];
        encoder.attention_rollout(&params, &batch, &mut workspace, &mut rollout);
        let mut owed = vec![f32::NAN; values.len()];
        encoder.integrated_gradients(&params, &batch, &targets, 5, &mut workspace, &mut owed);
        [weights, rollout, owed]
    };
    let expected = run(Workspace::new(1));
    for workspace in [Workspace::new(3), Workspace::new(1).recompute()] {
        for (found, expected) in run(workspace).iter().zip(&expected) {
            assert_same_bits("found", found, expected);
        }
    }
}

#[test]
#[should_panic(expected = "output values found and expected")]
fn too_short_a_buffer_for_weights_panics() {
    let encoder = Encoder::new(config(Positions::Learned, Pooling::Mean)).expect("valid");
    let batch = Batch::new(encoder.config(), &[0.0; 9], &[3]).expect("valid");
    let mut out = vec![0.0; 2 * 3 * 2 * 2 - 1];
    encoder.attention_weights(&encoder.init(1), &batch, &mut Workspace::new(1), &mut out);
}

#[test]
#[should_panic(expected = "output 4 of 4")]
fn an_output_that_the_model_does_not_have_panics() {
    let encoder = Encoder::new(config(Positions::Learned, Pooling::Mean)).expect("valid");
    let batch = Batch::new(encoder.config(), &[0.0; 3], &[1]).expect("valid");
    let (mut workspace, params) = (Workspace::new(1), encoder.init(1));
    encoder.integrated_gradients(&params, &batch, &[4], 2, &mut workspace, &mut [0.0; 3]);
}
