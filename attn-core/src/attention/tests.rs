//! The tiled kernels against the reference: odd sizes, tile edges, every mask, extremes.

use proptest::prelude::*;
use testkit::{assert_close, assert_same_bits, golden, sequence};

use super::*;

/// One fused buffer with gaps: queries, keys, values and an output gradient.
struct Case {
    dims: AttnDims,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    d_out: Vec<f32>,
}

/// Values that pad every row, which must not be read.
const GAP: usize = 3;

impl Case {
    fn new(dims: AttnDims, size: f32) -> Self {
        let dims = dims.validate().expect("valid");
        let rows = |seed, seq: usize, width: usize| -> Vec<f32> {
            let mut values = vec![f32::NAN; seq * (width + GAP)];
            for (row, noise) in
                values.chunks_mut(width + GAP).zip(sequence(seed, seq * width).chunks(width))
            {
                row[..width].copy_from_slice(noise);
            }
            values
        };
        let (q_width, kv_width) = (dims.q_width(), dims.kv_width());
        let scaled = |values: Vec<f32>| values.iter().map(|v| size * v).collect();
        Self {
            dims,
            q: scaled(rows(1, dims.seq_q, q_width)),
            k: scaled(rows(2, dims.seq_kv, kv_width)),
            v: rows(3, dims.seq_kv, kv_width),
            d_out: rows(4, dims.seq_q, q_width),
        }
    }

    fn qkv(&self) -> [Rows<'_>; 3] {
        let (q_stride, kv_stride) = (self.dims.q_width() + GAP, self.dims.kv_width() + GAP);
        [Rows::new(&self.q, q_stride), Rows::new(&self.k, kv_stride), Rows::new(&self.v, kv_stride)]
    }

    fn d_out(&self) -> Rows<'_> {
        Rows::new(&self.d_out, self.dims.q_width() + GAP)
    }

    /// Output, `[d_q, d_k, d_v]`; NaN in every buffer beforehand shows what is not overwritten.
    fn run(&self, options: &AttnOptions<'_>, threads: usize) -> (Vec<f32>, [Vec<f32>; 3]) {
        let dims = self.dims;
        let (q_width, kv_width) = (dims.q_width(), dims.kv_width());
        let mut out = vec![f32::NAN; dims.seq_q * q_width];
        let mut stats = vec![f32::NAN; 2 * dims.n_heads * dims.seq_q];
        let mut scratch = vec![f32::NAN; attention_forward_scratch(dims, threads)];
        let view = RowsMut::new(&mut out, q_width);
        attention_forward(view, &mut stats, self.qkv(), dims, options, threads, &mut scratch);
        let mut scratch = vec![f32::NAN; attention_backward_scratch(dims, threads)];
        let mut d_q = vec![f32::NAN; dims.seq_q * q_width];
        // Gradients of keys and values side by side in one buffer.
        let mut d_kv = vec![f32::NAN; dims.seq_kv * 2 * kv_width];
        let (d_k, d_v) = RowsMut::new(&mut d_kv, 2 * kv_width).split_at_column(kv_width);
        attention_backward(
            [RowsMut::new(&mut d_q, q_width), d_k, d_v],
            self.d_out(),
            Rows::new(&out, q_width),
            &stats,
            self.qkv(),
            dims,
            options,
            threads,
            &mut scratch,
        );
        let column = |first: usize| -> Vec<f32> {
            let rows = d_kv.chunks(2 * kv_width);
            rows.flat_map(|row| row[first..first + kv_width].to_vec()).collect()
        };
        (out, [d_q, column(0), column(kv_width)])
    }

    /// Compares with the reference.
    #[track_caller]
    fn check(&self, options: &AttnOptions<'_>) {
        let (out, gradients) = self.run(options, 1);
        let expected = reference::attention(self.qkv(), self.dims, options);
        close("out", &out, &expected, largest(&expected));
        let expected = reference::attention_backward(self.d_out(), self.qkv(), self.dims, options);
        // Where one key is all a query sees, gradients of scores are differences of equal terms:
        // what is left of them is small beside the terms, not beside nothing.
        let scale = expected.iter().map(|d| largest(d)).fold(0.0, f64::max);
        for (i, name) in ["d_q", "d_k", "d_v"].into_iter().enumerate() {
            close(name, &gradients[i], &expected[i], scale);
        }
        let (threaded, threaded_gradients) = self.run(options, 3);
        assert_same_bits("out on threads", &threaded, &out);
        for i in 0..3 {
            assert_same_bits("gradient on threads", &threaded_gradients[i], &gradients[i]);
        }
    }
}

/// To `1e-5`, of the value or of the scale.
#[track_caller]
fn close(name: &str, found: &[f32], expected: &[f32], scale: f64) {
    assert_close(name, found, expected, 1e-5, 1e-5 * scale);
}

fn largest(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |m, v| f64::from(v.abs()).max(m))
}

#[test]
fn equals_the_reference_over_odd_sizes_and_tile_edges() {
    let sizes = [
        (1, 1, 1),
        (2, 3, 5),
        (15, 2, 4),
        (16, 1, 8),
        (17, 2, 3),
        (33, 4, 16),
        (64, 1, 24),
        (65, 2, 8),
        (128, 1, 32),
        (130, 2, 65),
        (300, 1, 7),
    ];
    for (seq, n_heads, head_dim) in sizes {
        let dims = AttnDims::new(seq, n_heads, head_dim).expect("valid");
        Case::new(dims, 2.0).check(&AttnOptions::default());
    }
}

fn any_mask() -> impl Strategy<Value = Mask> {
    let window = || prop_oneof![Just(0_usize), Just(1), 2..80_usize, Just(usize::MAX)];
    prop_oneof![
        Just(Mask::None),
        Just(Mask::Causal),
        (window(), window()).prop_map(|(left, right)| Mask::SlidingWindow { left, right }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_reference_with_every_option(
        (seq_q, seq_kv) in (1..150_usize, 1..150_usize),
        (group, n_kv_heads, head_dim) in (1..4_usize, 1..3_usize, 1..20_usize),
        mask in any_mask(),
        seen in prop::option::of(prop::collection::vec(any::<bool>(), 150)),
        alibi in any::<bool>(),
        rate in prop::option::of(0.0..0.9_f32),
        scale in prop::option::of(0.05..2.0_f32),
    ) {
        let dims =
            AttnDims { seq_q, seq_kv, n_heads: group * n_kv_heads, n_kv_heads, head_dim };
        let slopes = alibi_slopes(dims.n_heads);
        let options = AttnOptions {
            scale,
            mask,
            key_mask: seen.as_ref().map(|seen| &seen[..seq_kv]),
            alibi: alibi.then_some(&slopes),
            dropout: rate.map(|rate| AttnDropout { rate, seed: 9 }),
        };
        Case::new(dims, 1.5).check(&options);
    }
}

#[test]
fn scores_up_to_ten_thousand_stay_exact() {
    // Small integers times a power of two: products and sums are exact, so that only the softmax
    // is tested. Scores reach 16 · 25² = 1e4 before a scale of 1.
    for head_dim in [4_usize, 16] {
        let mut case = Case::new(AttnDims::new(131, 2, head_dim).expect("valid"), 1.0);
        let top = (1e4 / head_dim as f32).sqrt().floor();
        for values in [&mut case.q, &mut case.k] {
            for v in values.iter_mut() {
                *v = (*v * 2.0 * top).round().clamp(-top, top);
            }
        }
        let largest = case.q.iter().chain(&case.k).fold(0.0_f32, |m, v| m.max(v.abs()));
        assert!(largest * largest * head_dim as f32 > 5e3, "scores are small: {largest}");
        case.check(&AttnOptions { scale: Some(1.0), ..AttnOptions::default() });
        case.check(&AttnOptions {
            scale: Some(0.125),
            mask: Mask::Causal,
            ..AttnOptions::default()
        });
    }
}

#[test]
fn a_query_that_sees_no_key_gets_zeros() {
    let dims = AttnDims { seq_q: 70, seq_kv: 5, n_heads: 2, n_kv_heads: 1, head_dim: 4 };
    let case = Case::new(dims, 1.0);
    let nothing = [false; 5];
    let options = AttnOptions { key_mask: Some(&nothing), ..AttnOptions::default() };
    let (out, gradients) = case.run(&options, 1);
    assert!(out.iter().chain(gradients.iter().flatten()).all(|v| v.abs() <= 0.0));
    // Under a causal mask only the last five queries see anything.
    let (out, _) = case.run(&AttnOptions { mask: Mask::Causal, ..AttnOptions::default() }, 1);
    assert!(out[..65 * 8].iter().all(|v| v.abs() <= 0.0));
    assert!(out[65 * 8..].chunks(8).all(|row| row.iter().any(|v| v.abs() > 0.0)));
    case.check(&AttnOptions { mask: Mask::Causal, ..AttnOptions::default() });
}

#[test]
fn what_is_not_finite_shows_where_it_is_seen_and_nowhere_else() {
    let dims = AttnDims::new(300, 1, 8).expect("valid");
    let mut hidden = [true; 300];
    hidden[200] = false;
    let window = Mask::SlidingWindow { left: 70, right: 3 };
    let cases = [(Mask::Causal, None), (window, None), (Mask::None, Some(&hidden[..]))];
    for (mask, key_mask) in cases {
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for in_value in [false, true] {
                let mut case = Case::new(dims, 1.0);
                let rows = if in_value { &mut case.v } else { &mut case.k };
                rows[200 * (8 + GAP) + 5] = poison;
                let options = AttnOptions { mask, key_mask, ..AttnOptions::default() };
                let (out, [d_q, ..]) = case.run(&options, 1);
                let sees = |i: usize| key_mask.is_none() && mask.keys(i, dims).contains(&200);
                for (i, (out, d_q)) in out.chunks(8).zip(d_q.chunks(8)).enumerate() {
                    let nan = out.iter().chain(d_q).filter(|v| v.is_nan()).count();
                    let expected = if sees(i) { 16 } else { 0 };
                    assert_eq!(nan, expected, "{poison} {mask:?} {in_value} at query {i}");
                }
                for threads in [2, 3, 8] {
                    let (threaded, _) = case.run(&options, threads);
                    assert_same_bits("on threads", &threaded, &out);
                }
            }
        }
    }
}

#[test]
fn without_a_mask_nan_reaches_every_query() {
    let mut case = Case::new(AttnDims::new(70, 2, 8).expect("valid"), 1.0);
    case.v[30 * (16 + GAP)] = f32::NAN;
    let (out, _) = case.run(&AttnOptions::default(), 1);
    assert!(out.chunks(16).all(|row| row[0].is_nan() && row[1..].iter().all(|v| v.is_finite())));
    let expected = reference::attention(case.qkv(), case.dims, &AttnOptions::default());
    assert!(expected.chunks(16).all(|row| row[0].is_nan() && row[1].is_finite()));
}

#[test]
#[should_panic(expected = "n_kv_heads must divide n_heads")]
fn sizes_that_do_not_fit_panic_with_both() {
    let dims = AttnDims { seq_q: 3, seq_kv: 3, n_heads: 3, n_kv_heads: 2, head_dim: 2 };
    let qkv = [0.0; 60];
    let mut out = [0.0; 18];
    attention_forward(
        RowsMut::new(&mut out, 6),
        &mut [0.0; 18],
        [Rows::new(&qkv, 14), Rows::new(&qkv[6..], 14), Rows::new(&qkv[10..], 14)],
        dims,
        &AttnOptions::default(),
        1,
        &mut vec![0.0; 100_000],
    );
}

#[test]
#[should_panic(expected = "stats has 3 values, expected 8")]
fn wrong_lengths_panic_with_both() {
    let dims = AttnDims::new(4, 1, 2).expect("valid");
    let qkv = [0.0; 24];
    let mut out = [0.0; 8];
    attention_forward(
        RowsMut::new(&mut out, 2),
        &mut [0.0; 3],
        [Rows::new(&qkv, 6), Rows::new(&qkv[2..], 6), Rows::new(&qkv[4..], 6)],
        dims,
        &AttnOptions::default(),
        1,
        &mut [],
    );
}

#[test]
fn equals_pytorch() {
    let file = golden("tests/golden/attention.safetensors");
    for case in ["a", "b"] {
        let tensor = |name: &str| &file[&format!("{case}/{name}")];
        let shape = &tensor("q").shape;
        let (batch, heads, seq, head_dim) = (shape[0], shape[1], shape[2], shape[3]);
        let dims = AttnDims::new(seq, heads, head_dim).expect("valid");
        let d_model = dims.q_width();
        // [batch, heads, seq, head_dim] → token rows with a gap
        let token_rows = |name: &str, b: usize, gap: usize| -> Vec<f32> {
            let values = &tensor(name).values;
            let at =
                |t: usize, h: usize, j: usize| values[((b * heads + h) * seq + t) * head_dim + j];
            let row = |t: usize| (0..d_model).map(move |i| at(t, i / head_dim, i % head_dim));
            (0..seq).flat_map(|t| row(t).chain((0..gap).map(|_| f32::NAN))).collect()
        };
        for b in 0..batch {
            let [q, k, v, d_out] = ["q", "k", "v", "d_out"].map(|n| token_rows(n, b, GAP));
            let (out, gradients) = Case { dims, q, k, v, d_out }.run(&AttnOptions::default(), 1);
            assert_close("out", &out, &token_rows("out", b, 0), 1e-5, 1e-6);
            for (name, found) in ["d_q", "d_k", "d_v"].iter().zip(&gradients) {
                assert_close(name, found, &token_rows(name, b, 0), 1e-4, 2e-6);
            }
        }
    }
}

/// Masks, padding, grouped heads, biases and large scores against `PyTorch`'s numbers.
#[test]
fn every_option_equals_pytorch() {
    let file = golden("tests/golden/attention_options.safetensors");
    let cases: Vec<&str> = file.keys().filter_map(|name| name.strip_suffix("/dims")).collect();
    assert!(cases.len() >= 8, "cases are missing: {cases:?}");
    for name in cases {
        let tensor = |part: &str| file[&format!("{name}/{part}")].values.clone();
        let sizes: Vec<usize> = tensor("dims").iter().map(|&v| v as usize).collect();
        let dims = AttnDims {
            seq_q: sizes[0],
            seq_kv: sizes[1],
            n_heads: sizes[2],
            n_kv_heads: sizes[3],
            head_dim: sizes[4],
        };
        let mask: Vec<usize> = tensor("mask").iter().map(|&v| v as usize).collect();
        let window = Mask::SlidingWindow { left: mask[1], right: mask[2] };
        let optional = |part: &str| file.get(&format!("{name}/{part}")).map(|t| t.values.clone());
        let seen: Option<Vec<bool>> =
            optional("key_mask").map(|mask| mask.iter().map(|&m| m > 0.5).collect());
        let slopes = optional("alibi");
        let options = AttnOptions {
            mask: [Mask::None, Mask::Causal, window][mask[0]],
            key_mask: seen.as_deref(),
            alibi: slopes.as_deref(),
            ..AttnOptions::default()
        };
        let with_gap = |part: &str, width: usize| -> Vec<f32> {
            let values = tensor(part);
            let rows = values.chunks(width);
            rows.flat_map(|row| row.iter().copied().chain([f32::NAN; GAP])).collect()
        };
        let (q_width, kv_width) = (dims.q_width(), dims.kv_width());
        let case = Case {
            dims,
            q: with_gap("q", q_width),
            k: with_gap("k", kv_width),
            v: with_gap("v", kv_width),
            d_out: with_gap("d_out", q_width),
        };
        let (out, gradients) = case.run(&options, 1);
        // Rounding of scores near 1000 is 5e-5, and shows in every exponential.
        let tolerance = if name == "large" { 2e-4 } else { 1e-5 };
        let check = |part: &str, found: &[f32], scale: f64| {
            let name = format!("{name}/{part}");
            assert_close(&name, found, &tensor(part), tolerance, tolerance * scale);
        };
        check("out", &out, largest(&tensor("out")));
        let scale = ["d_q", "d_k", "d_v"].map(|part| largest(&tensor(part)));
        let scale = scale.into_iter().fold(0.0, f64::max);
        for (part, found) in ["d_q", "d_k", "d_v"].iter().zip(&gradients) {
            check(part, found, scale);
        }
    }
}
