//! Low-rank adapters of every spelling: stacked right, or refused, but never averaged without a word.

use aggregate::{
    AdapterKind, Adapters, AdaptersFound, Dtype, Error, FloatDtype, Options, TensorRef, Update,
    WeightFile,
};
use half::{bf16, f16};

use crate::support::{Folder, f32_tensor, from_node, keep_going, raw_tensor, reasons, values};

fn with_word(adapters: Adapters) -> Options {
    Options { adapters: Some(adapters), ..keep_going() }
}

/// Names and shapes of what cannot be stacked, and what is said of it.
type Kind = (&'static [(&'static str, &'static [usize])], &'static str);

const UNSTACKABLE: [Kind; 27] = [
    (&[("m.lora_A.weight", &[4, 3, 5]), ("m.lora_B.weight", &[8, 4, 1])], "no two factors"),
    (
        &[("m.lora_A.weight", &[4, 3, 2, 2, 2]), ("m.lora_B.weight", &[8, 4, 1, 1, 1])],
        "no two factors",
    ),
    (&[("m.lora_A.weight", &[9, 4]), ("m.lora_B.weight", &[4, 7])], "no two factors"),
    (&[("m.lora_A.x.weight", &[9, 4]), ("m.lora_B.x.weight", &[4, 7])], "no two factors"),
    (&[("m.lora_down.weight", &[9, 4]), ("m.lora_up.weight", &[4, 7])], "no two factors"),
    (&[("m.lora_A", &[8, 9]), ("m.lora_B", &[7, 4])], "no two factors"),
    (&[("m.lora_a", &[3, 4, 9]), ("m.lora_b", &[3, 7, 4])], "no two factors"),
    (&[("m.lora_a", &[4, 4]), ("m.lora_b", &[4, 4])], "no doubt which"),
    (&[("m.lora_a", &[4, 9]), ("m.lora_b", &[9, 4])], "no doubt which"),
    (&[("m.lora_a.weight", &[9, 4]), ("m.lora_b.weight", &[4, 9])], "no doubt which"),
    (&[("lora_A.weight", &[4, 9]), ("lora_B.weight", &[7, 4])], "called like a low-rank factor"),
    (&[("lora_down.weight", &[4, 9]), ("lora_up.weight", &[7, 4])], "called like"),
    (&[("lora_a", &[9, 4]), ("lora_b", &[4, 7])], "called like"),
    (&[("m.lora.linear_in.weight", &[4, 9]), ("m.lora.linear_out.weight", &[7, 4])], "called like"),
    (&[("m.lora_A.default", &[4, 9]), ("m.lora_B.default", &[7, 4])], "called like"),
    (&[("m.q_lora_A", &[4, 9]), ("m.q_lora_B", &[7, 4])], "called like"),
    (&[("m.lora_A.x.weight", &[4, 9]), ("m.lora_B.y.weight", &[7, 4])], "beside it"),
    (&[("m.lora_A", &[4, 9]), ("m.lora_B0", &[7, 4]), ("m.lora_B1", &[7, 4])], "beside it"),
    (&[("m.hada_w1_a", &[7, 4]), ("m.hada_w1_b", &[4, 9]), ("m.hada_w2_a", &[7, 4])], "LoHa"),
    (&[("m.lokr_w1", &[2, 2]), ("m.lokr_w2", &[4, 5])], "LoKr"),
    (&[("m.lokr_w1_a", &[2, 1]), ("m.lokr_w1_b", &[1, 2])], "LoKr"),
    (&[("m.vera_lambda_b", &[7]), ("m.vera_lambda_d", &[4])], "VeRA"),
    (
        &[
            ("m.lora_A.weight", &[4, 3, 5]),
            ("m.lora_B.weight", &[8, 4, 1]),
            ("m.lora_magnitude_vector.weight", &[8]),
        ],
        "no two factors",
    ),
    (
        &[
            ("m.lora_A.weight", &[4, 9]),
            ("m.lora_B.weight", &[7, 4]),
            ("m.lora_magnitude_vector", &[7]),
        ],
        "more than the product",
    ),
    (
        &[("m.lora_A", &[4, 9]), ("m.lora_B", &[7, 4]), ("m.lora_E", &[4, 1])],
        "more than the product",
    ),
    (&[("m.lora_a", &[9, 4]), ("m.lora_b", &[4, 7]), ("m.m", &[7])], "more than the product"),
    (&[("m.lora_B.weight", &[7, 4]), ("n.dora_scale", &[7])], "beside it"),
];

fn save(folder: &Folder, name: &str, tensors: &[(&str, &[usize])], seed: u64) -> Update {
    let values: Vec<Vec<f32>> = tensors
        .iter()
        .enumerate()
        .map(|(i, (_, shape))| testkit::sequence(seed + i as u64, shape.iter().product()))
        .collect();
    let tensors: Vec<TensorRef<'_>> = tensors
        .iter()
        .zip(&values)
        .map(|((name, shape), values)| f32_tensor(name, shape, values))
        .collect();
    from_node(name, &folder.save(name, &tensors), 1.0)
}

#[test]
fn what_cannot_be_stacked_is_averaged_only_on_request() {
    let folder = Folder::new();
    for (tensors, says) in UNSTACKABLE {
        let updates = [save(&folder, "a", tensors, 1), save(&folder, "b", tensors, 9)];
        let based = Options { base: Some(updates[0].path.clone()), ..keep_going() };
        for (options, updates) in [(keep_going(), &updates[..]), (based, &updates[1..])] {
            let error = folder.merge(updates, &options).unwrap_err().to_string();
            let parts = ["mean of", says, "cannot be stacked", "--adapters factors"];
            // That it is more than a product says that, too.
            let parts = parts.iter().filter(|part| !error.contains(**part));
            let missing: Vec<_> = parts.filter(|part| !part.contains("cannot")).collect();
            assert!(missing.is_empty(), "{tensors:?}: {missing:?} in {error}");
        }
        let error = folder.merge(&updates, &with_word(Adapters::Stack)).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("--adapters factors"), "{error}");
        folder.merge(&updates, &with_word(Adapters::Factors)).unwrap();
        let (name, _) = tensors[0];
        let [x, y] = [&updates[0], &updates[1]].map(|u| values(&u.path, name));
        let mean = |(x, y): (&f64, &f64)| f64::from(((x + y) / 2.0) as f32);
        let mean: Vec<f64> = x.iter().zip(&y).map(mean).collect();
        assert_eq!(values(&folder.path("out"), name), mean, "{name}");

        // One node's does not end the merge of others' models.
        let plain =
            ["p", "q", "r"].map(|name| from_node(name, &folder.save_f32(name, &[1.0]), 1.0));
        let report = folder.merge(&[&plain[..], &updates[..1]].concat(), &keep_going()).unwrap();
        assert_eq!(reasons(&report.summary.rejected).len(), 1, "{tensors:?}");

        let file = WeightFile::open(&updates[0].path).unwrap();
        let found = AdaptersFound::of(file.tensors()).unwrap();
        assert!(found.to_string().contains(says), "{found}");
    }
}

/// Names, and whether `A` is `[in, rank]` and `B` `[rank, out]`.
const STACKED: [(&str, &str, AdapterKind, bool); 5] = [
    ("m.lora_A", "m.lora_B", AdapterKind::Loralib, false),
    ("m.lora_a", "m.lora_b", AdapterKind::Mlx, true),
    ("m.lora_a.weight", "m.lora_b.weight", AdapterKind::Mlx, false),
    ("m.lora_a", "m.lora_b", AdapterKind::Mlx, false),
    ("m.lora_A.weight", "m.lora_B.weight", AdapterKind::Peft, false),
];

/// `B·A` for `B` `[out, r]` and `A` `[r, in]`, or `A·B` the other way round, transposed: `[out, in]`.
fn product(
    update: &std::path::Path,
    down: &str,
    up: &str,
    (out, width): (usize, usize),
    is_t: bool,
) -> Vec<f64> {
    let (a, b) = (values(update, down), values(update, up));
    let rank = a.len() / width;
    let a_at = |r: usize, i: usize| if is_t { a[i * rank + r] } else { a[r * width + i] };
    let b_at = |o: usize, r: usize| if is_t { b[r * out + o] } else { b[o * rank + r] };
    let element = |o: usize, i: usize| (0..rank).map(|r| b_at(o, r) * a_at(r, i)).sum();
    (0..out * width).map(|at| element(at / width, at % width)).collect()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

#[test]
fn every_spelling_is_stacked_to_the_mean_of_the_products() {
    let folder = Folder::new();
    for (down, up, kind, is_t) in STACKED {
        // Square matrices, too, where the smaller size is the rank.
        for (out, width) in [(70, 50), (60, 60), (11, 301)] {
            // Where both ways would do, the end of the name says which.
            let is_doubtful = out == width && kind == AdapterKind::Mlx;
            if is_doubtful && is_t == down.ends_with("weight") {
                continue;
            }
            let ranks = [3, 1, 9];
            let updates: Vec<Update> = ranks
                .iter()
                .enumerate()
                .map(|(i, &rank)| {
                    let shapes = if is_t {
                        [[width, rank], [rank, out]]
                    } else {
                        [[rank, width], [out, rank]]
                    };
                    let tensors = [(down, &shapes[0][..]), (up, &shapes[1][..])];
                    let update = save(&folder, &format!("n{i}"), &tensors, 5 * i as u64);
                    let config = if kind == AdapterKind::Mlx {
                        format!(r#"{{"lora_parameters": {{"rank": {rank}, "scale": 2.5}}, "model": "x"}}"#)
                    } else {
                        format!(r#"{{"r": {rank}, "lora_alpha": {}}}"#, 2.5 * rank as f64)
                    };
                    Update { adapter_config: Some(config), ..update }
                })
                .collect();
            let report = folder.merge(&updates, &with_word(Adapters::Stack)).unwrap();
            assert!(report.summary.rejected.is_empty(), "{down}: {:?}", report.summary.rejected);
            let stacked = report.summary.adapters.unwrap();
            assert_eq!((stacked.kind, stacked.rank), (kind, 13));
            let config = stacked.config.unwrap();
            assert!(kind != AdapterKind::Mlx || config.contains(r#""scale": 1.0"#), "{config}");
            let mut expected = vec![0.0; out * width];
            for update in &updates {
                let own = product(&update.path, down, up, (out, width), is_t);
                expected.iter_mut().zip(own).for_each(|(sum, own)| *sum += 2.5 * own / 3.0);
            }
            let found = product(&folder.path("out"), down, up, (out, width), is_t);
            let error = norm(found.iter().zip(&expected).map(|(f, e)| f - e));
            assert!(error <= 1e-6 * norm(expected.iter().copied()), "{down} {out}: {error}");

            // The result is stacked again, with its configuration.
            let again = folder.path("again");
            std::fs::rename(folder.path("out"), &again).unwrap();
            let again = Update { adapter_config: Some(config), ..from_node("again", &again, 1.0) };
            let report = folder.merge(&[again, updates[0].clone()], &with_word(Adapters::Stack));
            assert_eq!(report.unwrap().summary.adapters.unwrap().rank, 16);
        }
    }
}

fn encode(dtype: FloatDtype, values: &[f32], size: f32) -> Vec<u8> {
    let one = |&v: &f32| match dtype {
        FloatDtype::F16 => f16::from_f32(size * v).to_le_bytes(),
        _ => bf16::from_f32(size * v).to_le_bytes(),
    };
    values.iter().flat_map(one).collect()
}

#[test]
fn small_scales_end_in_the_right_product_or_in_an_error() {
    let folder = Folder::new();
    let (out, width) = (24, 16);
    let (mut n_lost, mut n_kept) = (0, 0);
    for dtype in [FloatDtype::F16, FloatDtype::Bf16] {
        for n_files in [2, 7, 200] {
            for rank in [1, 4, 128] {
                // Two hundred files take their time.
                let alphas: &[f64] = match (n_files, rank) {
                    (200, 4) => &[16.0, 1e-6],
                    (200, _) => &[],
                    _ => &[16.0, 1.0, 0.03, 1e-3, 1e-6],
                };
                for &alpha in alphas {
                    for is_kohya in [false, true] {
                        let names = if is_kohya {
                            ["m.lora_down.weight", "m.lora_up.weight"]
                        } else {
                            ["m.lora_A.weight", "m.lora_B.weight"]
                        };
                        let scale = if is_kohya { f64::from(alpha as f32) } else { alpha };
                        let scale = scale / rank as f64;
                        let mut expected = vec![0.0; out * width];
                        let updates: Vec<Update> = (0..n_files)
                            .map(|i| {
                                let a = testkit::sequence(2 * i as u64, rank * width);
                                let b = testkit::sequence(2 * i as u64 + 1, out * rank);
                                let (a, b) = (encode(dtype, &a, 1.0), encode(dtype, &b, 1e-3));
                                let (down, up) = ([rank, width], [out, rank]);
                                let mut tensors = vec![
                                    raw_tensor(names[0], &down, dtype.into(), &a),
                                    raw_tensor(names[1], &up, dtype.into(), &b),
                                ];
                                let value = (alpha as f32).to_le_bytes();
                                if is_kohya {
                                    tensors.push(raw_tensor("m.alpha", &[], Dtype::F32, &value));
                                }
                                let name = format!("n{i}");
                                let update = from_node(&name, &folder.save(&name, &tensors), 1.0);
                                let own =
                                    product(&update.path, names[0], names[1], (out, width), false);
                                for (sum, own) in expected.iter_mut().zip(own) {
                                    *sum += scale / f64::from(n_files) * own;
                                }
                                let config = format!(r#"{{"r": {rank}, "lora_alpha": {alpha}}}"#);
                                let config = (!is_kohya).then_some(config);
                                Update { adapter_config: config, ..update }
                            })
                            .collect();
                        let case = format!("{dtype} {n_files} {rank} {alpha} {is_kohya}");
                        let stack = with_word(Adapters::Stack);
                        let single = Options { dtype: Some(FloatDtype::F32), ..stack.clone() };
                        let check = |tolerance: f64| {
                            let merged = folder.path("out");
                            let found = product(&merged, names[0], names[1], (out, width), false);
                            let error = norm(found.iter().zip(&expected).map(|(f, e)| f - e));
                            let size = norm(expected.iter().copied());
                            assert!(error <= tolerance * size, "{case}: {error} of {size}");
                        };
                        folder.merge(&updates, &single).unwrap();
                        check(1e-6);
                        match folder.merge(&updates, &stack) {
                            Ok(_) => {
                                let of_f16 = 2_f64.powi(-8);
                                check(if dtype == FloatDtype::F16 { of_f16 } else { 2.0 * of_f16 });
                                n_kept += 1;
                            }
                            Err(error) => {
                                assert!(matches!(error, Error::Tensor { .. }), "{case}: {error}");
                                assert!(error.to_string().contains("--dtype f32"), "{error}");
                                assert_eq!(dtype, FloatDtype::F16, "{case}");
                                n_lost += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(n_lost > 10 && n_kept > 10, "{n_lost} {n_kept}");
}

#[test]
fn one_node_that_vanishes_in_half_precision_does_not_end_the_merge() {
    let folder = Folder::new();
    let save = |name: &str, a: f32, b: f32| {
        let (down, up) =
            (encode(FloatDtype::F16, &[a; 8], 1.0), encode(FloatDtype::F16, &[b; 6], 1.0));
        let tensors = [
            raw_tensor("m.lora_A.weight", &[2, 4], Dtype::F16, &down),
            raw_tensor("m.lora_B.weight", &[3, 2], Dtype::F16, &up),
        ];
        let config = r#"{"r": 2, "lora_alpha": 2}"#.to_owned();
        let update = from_node(name, &folder.save(name, &tensors), 1.0);
        Update { adapter_config: Some(config), ..update }
    };
    let all = [
        save("a", 1.0, 1.0),
        save("b", 1.0, 2.0),
        save("c", 1.0, 3.0),
        save("d", 6e4, 2_f32.powi(-14)),
    ];
    // A quarter of it is below the normal numbers, and exact all the same.
    let report = folder.merge(&all, &with_word(Adapters::Stack)).unwrap();
    assert!(report.summary.rejected.is_empty());
    let config = r#"{"r": 2, "lora_alpha": 0.001}"#.to_owned();
    let loud = Update { adapter_config: Some(config), ..save("d", 6e4, 1e-2) };
    let quiet = all[..3].iter().map(|u| Update {
        adapter_config: Some(r#"{"r": 2, "lora_alpha": 0.002}"#.to_owned()),
        ..u.clone()
    });
    let quiet: Vec<Update> = quiet.collect();
    let report =
        folder.merge(&[&quiet[..], &[loud]].concat(), &with_word(Adapters::Stack)).unwrap();
    let found = reasons(&report.summary.rejected);
    assert!(found.len() == 1 && found[0].1.contains("--dtype f32"), "{found:?}");
}

fn of_base(folder: &Folder, name: &str, rank: usize, config: &str) -> Update {
    let shapes = [[rank, 4], [3, rank]];
    let tensors = [("m.lora_A.weight", &shapes[0][..]), ("m.lora_B.weight", &shapes[1][..])];
    Update { adapter_config: Some(config.to_owned()), ..save(folder, name, &tensors, 3) }
}

#[test]
fn adapters_of_other_base_models_are_refused() {
    let folder = Folder::new();
    let of = |name: &str, base: &str| {
        let config = format!(r#"{{"r": 2, "lora_alpha": 2, "base_model_name_or_path": {base}}}"#);
        of_base(&folder, name, 2, &config)
    };
    let (a, b) = (r#""base-a""#, r#""base-b""#);
    for word in [Adapters::Stack, Adapters::Factors] {
        let merge = |updates: &[Update]| folder.merge(updates, &with_word(word));
        let report =
            merge(&[of("1", a), of("2", a), of("3", b), of("4", "null"), of("5", r#""""#)]);
        let found = reasons(&report.unwrap().summary.rejected);
        assert_eq!(found.len(), 1, "{found:?}");
        let says =
            |text: &str| ["base-a", "base-b", "most others"].iter().all(|p| text.contains(p));
        assert!(says(&found[0].1), "{found:?}");
        // Nobody knows which is meant.
        let error = merge(&[of("1", a), of("2", b)]).unwrap_err().to_string();
        assert!(error.contains("as many others"), "{error}");
        let report =
            merge(&[of("1", a), of("2", b), of("4", "null"), of("5", "null"), of("6", "null")]);
        assert_eq!(report.unwrap().summary.rejected.len(), 2);
        merge(&[of("1", a), of("2", "null")]).unwrap();
    }
}

#[test]
fn several_adapters_of_a_module_share_a_scale_only_at_one_rank() {
    let folder = Folder::new();
    let save_two = |name: &str, ranks: [usize; 2], config: Option<&str>| {
        let shapes = ranks.map(|rank| ([rank, 4], [3, rank]));
        let tensors = [
            ("m.lora_A.x.weight", &shapes[0].0[..]),
            ("m.lora_B.x.weight", &shapes[0].1[..]),
            ("m.lora_A.y.weight", &shapes[1].0[..]),
            ("m.lora_B.y.weight", &shapes[1].1[..]),
        ];
        Update { adapter_config: config.map(str::to_owned), ..save(&folder, name, &tensors, 3) }
    };
    let merge = |updates: &[Update]| folder.merge(updates, &with_word(Adapters::Stack));
    let config = Some(r#"{"r": 2, "lora_alpha": 2}"#);
    let report = merge(&[save_two("a", [2, 2], config), save_two("b", [2, 2], config)]).unwrap();
    let stacked = report.summary.adapters.unwrap();
    assert_eq!((stacked.pairs, stacked.rank), (2, 4));
    let error = merge(&[save_two("a", [2, 3], config), save_two("b", [2, 3], config)]).unwrap_err();
    assert!(error.to_string().contains("several adapters, of ranks 2 and 3"), "{error}");
    merge(&[save_two("a", [2, 3], None), save_two("b", [2, 3], None)]).unwrap();
}

/// Ranks of modules whose names end like each other's, in one configuration of the result.
#[test]
fn what_is_written_is_read_again() {
    let folder = Folder::new();
    let modules = ["a", "x.a", "y.x.a", "b", "c", "d", "a+(b)"];
    let file = |name: &str, ranks: &[usize]| {
        let named: Vec<[String; 2]> = modules
            .iter()
            .map(|m| ["A", "B"].map(|f| format!("base_model.model.{m}.lora_{f}.weight")))
            .collect();
        let shapes: Vec<[[usize; 2]; 2]> = ranks.iter().map(|&r| [[r, 4], [3, r]]).collect();
        let tensors: Vec<(&str, &[usize])> = named
            .iter()
            .zip(&shapes)
            .flat_map(|(n, s)| [(&*n[0], &s[0][..]), (&*n[1], &s[1][..])])
            .collect();
        let patterns = modules.iter().zip(ranks).map(|(module, rank)| {
            let module: String = module
                .chars()
                .flat_map(|c| if ".+()".contains(c) { vec!['\\', c] } else { vec![c] })
                .collect();
            (format!("^{module}"), serde_json::Value::from(*rank))
        });
        let patterns: serde_json::Map<_, _> = patterns.collect();
        let config = serde_json::json!({"rank_pattern": patterns, "lora_alpha": 2});
        Update { adapter_config: Some(config.to_string()), ..save(&folder, name, &tensors, 3) }
    };
    let updates = [file("1", &[4, 1, 2, 3, 3, 3, 5]), file("2", &[4, 2, 2, 3, 3, 3, 1])];
    let report = folder.merge(&updates, &with_word(Adapters::Stack)).unwrap();
    assert!(report.summary.rejected.is_empty(), "{:?}", report.summary.rejected);
    let config = report.summary.adapters.unwrap().config;
    let again = folder.path("again");
    std::fs::rename(folder.path("out"), &again).unwrap();
    let again = Update { adapter_config: config, ..from_node("again", &again, 1.0) };
    let report = folder.merge(&[again, updates[0].clone()], &with_word(Adapters::Stack)).unwrap();
    assert!(report.summary.rejected.is_empty(), "{:?}", report.summary.rejected);
    let merged = WeightFile::open(folder.path("out")).unwrap();
    let a = merged.tensor("base_model.model.a.lora_A.weight").unwrap();
    assert_eq!(a.shape, [12, 4]);
}

/// More files than may be open, of factors that fill several pages.
#[test]
fn many_files_give_what_few_do() {
    let folder = Folder::new();
    let save_all = |n: usize| -> Vec<Update> {
        (0..n)
            .map(|i| {
                let rank = 1 + i % 3;
                let shapes = [[rank, 700], [500, rank]];
                let tensors =
                    [("m.lora_down.weight", &shapes[0][..]), ("m.lora_up.weight", &shapes[1][..])];
                save(&folder, &format!("n{i}"), &tensors, 2 * i as u64)
            })
            .collect()
    };
    let updates = save_all(150);
    let report = folder.merge(&updates, &with_word(Adapters::Stack)).unwrap();
    assert_eq!(report.summary.adapters.unwrap().rank, 300);
    let out = folder.path("out");
    let (a, b) = (values(&out, "m.lora_down.weight"), values(&out, "m.lora_up.weight"));
    let mut at = 0;
    let mut sorted = updates;
    sorted.sort_by(|x, y| x.node.cmp(&y.node));
    for update in &sorted {
        let own_a = values(&update.path, "m.lora_down.weight");
        let own_b = values(&update.path, "m.lora_up.weight");
        let rank = own_a.len() / 700;
        assert_eq!(a[at * 700..(at + rank) * 700], own_a);
        for row in 0..500 {
            for r in 0..rank {
                let expected = f64::from((own_b[row * rank + r] / 150.0) as f32);
                let found = b[row * 300 + at + r];
                assert!((found - expected).abs() <= 1e-7 * expected.abs(), "{found} {expected}");
            }
        }
        at += rank;
    }
}
