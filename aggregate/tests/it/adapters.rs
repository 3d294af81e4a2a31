//! Low-rank adapters: stacked, the product of the result's factors is the mean of the products.

use std::collections::BTreeMap;
use std::path::Path;

use aggregate::{
    AdapterKind, Adapters, Dtype, Error, FloatDtype, Limit, Options, Quorum, Report, TensorData,
    TensorRef, Tolerance, Update, WeightFile, weight_file,
};
use half::{bf16, f16};
use proptest::prelude::*;

use crate::support::{
    Folder, f32_tensor, from_node, keep_going, raw_tensor, reasons, values, with,
};

fn stacking() -> Options {
    Options { adapters: Some(Adapters::Stack), ..keep_going() }
}

/// `B·A` of a file's pair in f64: `up` is `[out, r]`, `down` `[r, …]`.
fn product(file: &Path, down: &str, up: &str) -> Vec<f64> {
    let shape = |name: &str| WeightFile::open(file).unwrap().tensor(name).unwrap().shape.clone();
    let (a, b, rank) = (values(file, down), values(file, up), shape(down)[0]);
    let (out, width) = (shape(up)[0], a.len() / rank.max(1));
    let mut product = vec![0.0; out * width];
    for (o, row) in product.chunks_exact_mut(width).enumerate() {
        for r in 0..rank {
            for (sum, a) in row.iter_mut().zip(&a[r * width..]) {
                *sum += b[o * rank + r] * a;
            }
        }
    }
    product
}

/// A file with one adapter `m` of PEFT and what may stand beside it; values from a seed.
fn peft(
    folder: &Folder,
    name: &str,
    (out, rank, width): (usize, usize, usize),
    seed: u64,
) -> Update {
    let (a, b) = (testkit::sequence(seed, rank * width), testkit::sequence(seed + 1, out * rank));
    let path = folder.save(
        name,
        &[
            f32_tensor("m.lora_A.weight", &[rank, width], &a),
            f32_tensor("m.lora_B.weight", &[out, rank], &b),
        ],
    );
    from_node(name, &path, 1.0)
}

fn with_config(update: Update, r: usize, alpha: f64) -> Update {
    let config =
        format!(r#"{{"peft_type": "LORA", "r": {r}, "lora_alpha": {alpha}, "task_type": "X"}}"#);
    Update { adapter_config: Some(config), ..update }
}

/// Merges copies of the golden inputs, and compares with numpy's products.
#[test]
fn stacked_adapters_are_those_of_numpy() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/adapters.safetensors");
    let golden = Path::new(golden);
    let file = WeightFile::open(golden).unwrap();
    let configs: serde_json::Value = serde_json::from_str(&file.metadata()["configs"]).unwrap();
    let all = std::fs::read(golden).unwrap();
    let all = safetensors::SafeTensors::deserialize(&all).unwrap();
    for (case, kind, tolerance) in [
        ("kohya", AdapterKind::Kohya, 1e-6),
        ("half", AdapterKind::Kohya, 2e-3),
        ("peft", AdapterKind::Peft, 1e-6),
        ("rslora", AdapterKind::Peft, 1e-6),
        ("patterns", AdapterKind::Peft, 1e-6),
    ] {
        let folder = Folder::new();
        let weights = values(golden, &format!("{case}/weights"));
        let mut updates = Vec::new();
        for (i, &weight) in weights.iter().enumerate() {
            let prefix = format!("{case}/{i}/");
            let own: Vec<_> =
                all.iter().filter_map(|(name, t)| Some((name.strip_prefix(&prefix)?, t))).collect();
            let tensors: Vec<TensorRef<'_>> = own
                .iter()
                .map(|(name, t)| raw_tensor(name, t.shape(), t.dtype(), t.data()))
                .collect();
            // Each in a folder of its own, as PEFT writes it.
            std::fs::create_dir(folder.path(&i.to_string())).unwrap();
            let path = folder.save(&format!("{i}/adapter_model.safetensors"), &tensors);
            if let Some(config) = configs.get(format!("{case}/{i}")) {
                std::fs::write(path.with_file_name("adapter_config.json"), config.to_string())
                    .unwrap();
            }
            updates.push(Update::new(path, weight));
        }
        let report = folder.merge(&updates, &stacking()).unwrap();
        assert!(report.summary.rejected.is_empty(), "{case}: {:?}", report.summary.rejected);
        let stacked = report.summary.adapters.unwrap();
        assert_eq!((stacked.kind, stacked.pairs, stacked.alpha), (kind, 2, Some(stacked.rank)));
        assert_eq!(stacked.config.is_some(), kind == AdapterKind::Peft);

        let out = folder.path("out");
        let merged = WeightFile::open(&out).unwrap();
        let prefix = format!("{case}/product/");
        let modules = all.names().into_iter().filter_map(|name| name.strip_prefix(&prefix));
        for module in modules {
            let [down, up] = match kind {
                AdapterKind::Peft => ["lora_A", "lora_B"],
                _ => ["lora_down", "lora_up"],
            }
            .map(|factor| format!("{module}.{factor}.weight"));
            let rank = merged.tensor(&down).unwrap().shape[0];
            if kind == AdapterKind::Kohya {
                // As loaders take it: alpha over rank is one.
                assert_eq!(values(&out, &format!("{module}.alpha")), [rank as f64]);
            }
            let expected = values(golden, &format!("{prefix}{module}"));
            let found = product(&out, &down, &up);
            let size = expected.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() <= tolerance * size,
                    "{case} {module}: {found} {expected}"
                );
            }
        }
    }
}

fn encode(dtype: Dtype, values: &[f64]) -> Vec<u8> {
    let one = |&v: &f64| match dtype {
        Dtype::F16 => f16::from_f64(v).to_le_bytes().to_vec(),
        Dtype::BF16 => bf16::from_f64(v).to_le_bytes().to_vec(),
        Dtype::F32 => (v as f32).to_le_bytes().to_vec(),
        _ => v.to_le_bytes().to_vec(),
    };
    values.iter().flat_map(one).collect()
}

#[derive(Debug, Clone)]
struct Case {
    /// Rank, weight and alpha of each file.
    files: Vec<(usize, f64, Option<f64>)>,
    out: usize,
    width: usize,
    dtypes: [usize; 2],
    is_peft: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let alpha = prop::option::of(0.25..32.0_f64);
    let file = (1..6_usize, 0.0..5.0_f64, alpha);
    let files = prop::collection::vec(file, 1..5);
    let sizes = (1..9_usize, 1..9_usize, [0..4_usize, 0..4_usize], any::<bool>());
    (files, sizes).prop_map(|(mut files, (out, width, dtypes, is_peft))| {
        files[0].1 += 1.0;
        // All or none say their alpha, as tensors of the same names are asked for.
        let has_alpha = files[0].2.is_some();
        for file in &mut files {
            file.2 = has_alpha.then(|| file.2.unwrap_or(1.0));
            file.2 = if is_peft { Some(file.2.unwrap_or(2.0)) } else { file.2 };
        }
        Case { files, out, width, dtypes, is_peft }
    })
}

proptest! {
    /// Factors lie beside each other bit for bit and rounded once, and their product is the mean.
    #[test]
    fn the_product_is_the_mean_of_the_products(case in cases(), seed in 0..1000_u64) {
        let Case { files, out, width, dtypes, is_peft } = case;
        let [a_dtype, b_dtype] = dtypes.map(|i| Dtype::from(FloatDtype::ALL[i]));
        let names = if is_peft {
            ["m.lora_A.x.weight", "m.lora_B.x.weight"]
        } else {
            ["m.lora_down.weight", "m.lora_up.weight"]
        };
        let folder = Folder::new();
        let total: f64 = files.iter().map(|f| f.1).sum();
        let (mut updates, mut expected) = (Vec::new(), vec![0.0; out * width]);
        let mut size = 0.0_f64;
        for (i, &(rank, weight, alpha)) in files.iter().enumerate() {
            let draw = |salt: u64, n: usize| -> Vec<f64> {
                testkit::sequence(seed + 10 * i as u64 + salt, n).iter().map(|&v| v.into()).collect()
            };
            let (a, b) = (draw(1, rank * width), draw(2, out * rank));
            let (a, b) = (encode(a_dtype, &a), encode(b_dtype, &b));
            let (a_shape, b_shape) = ([rank, width], [out, rank]);
            let alpha_bytes = encode(Dtype::F32, &[alpha.unwrap_or(0.0)]);
            let mut tensors = vec![
                raw_tensor(names[0], &a_shape, a_dtype, &a),
                raw_tensor(names[1], &b_shape, b_dtype, &b),
            ];
            if alpha.is_some() && !is_peft {
                tensors.push(raw_tensor("m.alpha", &[], Dtype::F32, &alpha_bytes));
            }
            let path = folder.save(&format!("n{i}"), &tensors);
            let update = from_node(&format!("n{i}"), &path, weight);
            let alpha = alpha.map(|alpha| if is_peft { alpha } else { f64::from(alpha as f32) });
            updates.push(match alpha.filter(|_| is_peft) {
                Some(alpha) => with_config(update, rank, alpha),
                None => update,
            });
            let scale = alpha.map_or(1.0, |alpha| alpha / rank as f64);
            for (sum, own) in expected.iter_mut().zip(product(&path, names[0], names[1])) {
                *sum += weight / total * scale * own;
                size = size.max((weight / total * scale * own).abs());
            }
        }
        let report = folder.merge(&updates, &stacking()).unwrap();
        prop_assert!(report.summary.rejected.is_empty());
        let merged = folder.path("out");
        let counted: Vec<_> = files.iter().filter(|f| f.1 > 0.0).collect();
        let rank: usize = counted.iter().map(|f| f.0).sum();
        prop_assert_eq!(report.summary.adapters.unwrap().rank, rank as u64);

        let epsilon = match b_dtype {
            Dtype::F16 => 1e-3,
            Dtype::BF16 => 1e-2,
            Dtype::F32 => 1e-6,
            _ => 1e-13,
        };
        for (found, expected) in product(&merged, names[0], names[1]).iter().zip(&expected) {
            let bound = epsilon * (size + 1.0) * rank as f64 * 8.0;
            prop_assert!((found - expected).abs() <= bound, "{} {}", found, expected);
        }
        let all: Vec<u8> = updates.iter().zip(&files).filter(|(_, f)| f.1 > 0.0).flat_map(|(u, _)| {
            let bytes = std::fs::read(&u.path).unwrap();
            let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            file.tensor(names[0]).unwrap().data().to_vec()
        }).collect();
        prop_assert_eq!(folder.merged_bytes_of(names[0]), all, "A is copied bit for bit");

        let forth = std::fs::read(&merged).unwrap();
        updates.reverse();
        folder.merge(&updates, &stacking()).unwrap();
        prop_assert_eq!(forth, std::fs::read(&merged).unwrap(), "the order does not matter");
    }
}

/// Blocks cut rows of `B` in the middle, and members' columns too.
#[test]
fn large_factors_are_stacked_block_by_block() {
    let folder = Folder::new();
    let (out, width) = (300, 200);
    let ranks = [130, 1, 77, 250];
    let updates: Vec<Update> = ranks
        .iter()
        .enumerate()
        .map(|(i, &rank)| {
            let update = peft(&folder, &format!("n{i}"), (out, rank, width), 7 * i as u64);
            with_config(update, rank, rank as f64)
        })
        .collect();
    let report = folder.merge(&updates, &stacking()).unwrap();
    let merged = folder.path("out");
    let (a, b) = (values(&merged, "m.lora_A.weight"), values(&merged, "m.lora_B.weight"));
    let rank: usize = ranks.iter().sum();
    let mut at = 0;
    for (update, own) in updates.iter().zip(ranks) {
        assert_eq!(a[at * width..(at + own) * width], values(&update.path, "m.lora_A.weight"));
        let own_b = values(&update.path, "m.lora_B.weight");
        for o in 0..out {
            for r in 0..own {
                let expected = f64::from((own_b[o * own + r] * 0.25) as f32);
                assert_eq!(b[o * rank + at + r].to_bits(), expected.to_bits(), "{o} {r}");
            }
        }
        at += own;
    }
    assert!(report.buffer_bytes < 1 << 24, "a few blocks at a time");
    for n_threads in [1, 3] {
        let forth = std::fs::read(&merged).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| folder.merge(&updates, &stacking())).unwrap();
        assert_eq!(forth, std::fs::read(&merged).unwrap());
    }
}

#[test]
fn without_a_word_adapters_are_refused_and_other_files_are_not() {
    let folder = Folder::new();
    let (a, b) = (peft(&folder, "a", (3, 2, 4), 1), peft(&folder, "b", (3, 2, 4), 5));
    let error = folder.merge(&[a.clone(), b.clone()], &keep_going()).unwrap_err();
    assert!(
        matches!(&error, Error::Adapters { tensor, .. } if tensor == "m.lora_A.weight"),
        "{error}"
    );
    let says = ["low-rank", "not the mean of their products", "stack", "factors", "base model"];
    assert!(says.iter().all(|part| error.to_string().contains(part)), "{error}");
    // Also of other ranks, and with a base.
    let other = peft(&folder, "c", (3, 5, 4), 5);
    let strict = with(&keep_going(), |rules| rules.tolerance = Tolerance::Strict);
    assert!(matches!(folder.merge(&[a.clone(), other], &strict), Err(Error::Adapters { .. })));
    let based = Options { base: Some(b.path.clone()), ..keep_going() };
    assert!(matches!(folder.merge(std::slice::from_ref(&a), &based), Err(Error::Adapters { .. })));

    // Factor by factor on request, as any tensor.
    let factors = Options { adapters: Some(Adapters::Factors), ..keep_going() };
    let report = folder.merge(&[a.clone(), b.clone()], &factors).unwrap();
    assert_eq!(report.summary.adapters, None);
    let [x, y] = [&a, &b].map(|u| values(&u.path, "m.lora_A.weight"));
    let mean: Vec<f64> = x.iter().zip(&y).map(|(x, y)| f64::from(((x + y) / 2.0) as f32)).collect();
    assert_eq!(values(&folder.path("out"), "m.lora_A.weight"), mean);

    // A word without effect, a single factor of FFA-LoRA, and one node's adapter among others' models.
    let plain =
        [folder.save_f32("p", &[1.0]), folder.save_f32("q", &[2.0]), folder.save_f32("r", &[3.0])];
    let plain = plain.map(|path| Update::new(path, 1.0));
    for options in [stacking(), factors] {
        let error = folder.merge(&plain, &options).unwrap_err().to_string();
        assert!(error.contains("has no effect"), "{error}");
    }
    let lone = folder.save("lone", &[f32_tensor("m.lora_B.weight", &[2, 1], &[1.0, 2.0])]);
    folder.merge(&[Update::new(lone, 1.0)], &keep_going()).unwrap();
    let report = folder.merge(&[&plain[..], &[a]].concat(), &keep_going()).unwrap();
    assert_eq!(
        reasons(&report.summary.rejected).len(),
        1,
        "one node does not end the merge of others"
    );
}

#[test]
fn what_is_no_pair_is_refused_by_name_and_the_rest_is_merged() {
    const CONFIG: Option<&str> = Some(r#"{"r": 2, "lora_alpha": 2}"#);
    const HUGE: usize = usize::MAX >> 8;
    let folder = Folder::new();
    let good = with_config(peft(&folder, "good", (3, 2, 4), 1), 2, 2.0);
    let more = with_config(peft(&folder, "more", (3, 3, 4), 3), 3, 6.0);
    let check = |tensors: &[TensorRef<'_>], config: Option<&str>, says: &str| {
        let update = from_node("bad", &folder.save("bad", tensors), 1.0);
        let update = Update { adapter_config: config.map(str::to_owned), ..update };
        let updates = [good.clone(), more.clone(), update];
        let report = folder.merge(&updates, &stacking()).unwrap();
        let found = reasons(&report.summary.rejected);
        assert!(found.len() == 1 && found[0].1.contains(says), "{says}: {found:?}");
        assert_eq!(report.summary.adapters.unwrap().rank, 5, "{says}");
        let strict = with(&stacking(), |rules| rules.tolerance = Tolerance::Strict);
        assert!(matches!(folder.merge(&updates, &strict), Err(Error::Rejected { .. })), "{says}");
        let all = with(&stacking(), |rules| rules.quorum = Quorum::AtLeast(3));
        assert!(matches!(folder.merge(&updates, &all), Err(Error::Quorum { .. })), "{says}");
    };
    let (a, b) = ([0.5; 8], [0.25; 6]);
    let nan = [0.5, f32::NAN, 0.5, 0.5, 0.5, 0.5];
    let t = f32_tensor;
    let (down, up) = (t("m.lora_A.weight", &[2, 4], &a), t("m.lora_B.weight", &[3, 2], &b));
    let hostile: [(&[TensorRef<'_>], &str); 12] = [
        (&[down], "has no \"m.lora_B.weight\" beside it"),
        (&[up], "has no \"m.lora_A.weight\" beside it"),
        (&[down, t("m.lora_B.weight", &[2, 3], &b)], "no two factors"),
        (&[t("m.lora_A.weight", &[2, 2, 2], &a), up], "no two factors"),
        (
            &[t("m.lora_A.weight", &[0, 4], &[]), t("m.lora_B.weight", &[3, 0], &[])],
            "no two factors",
        ),
        (
            &[t("m.lora_A.weight", &[HUGE, 0], &[]), t("m.lora_B.weight", &[0, HUGE], &[])],
            "no two factors",
        ),
        (&[down, up, t("m.dora_scale", &[1], &[1.0])], "more than the product"),
        (&[down, up, t("x", &[1], &[1.0])], "\"x\" is not expected"),
        (&[t("m.lora_A.weight", &[2, 2], &a[..4]), up], "has shape [rank, 2], expected [rank, 4]"),
        (&[down, t("m.lora_B.weight", &[3, 2], &nan)], "NaN at element 1"),
        (&[t("m.lora_A.weight", &[2, 4], &[f32::INFINITY; 8]), up], "inf at element 0"),
        (&[t("w", &[1], &[1.0])], "is missing"),
    ];
    for (tensors, says) in hostile {
        check(tensors, CONFIG, says);
    }
    check(&[down, up], Some(r#"{"r": 7}"#), "says rank 7");
    check(&[down, up], Some(r#"{"r": 2, "lora_alpha": 1e300}"#), "out of the range of F32");
    check(&[down, up], Some("{"), "adapter_config.json: ");
    check(&[down, up], None, "no adapter_config.json");
}

#[test]
fn scales_that_nobody_states_are_one_and_the_same() {
    let folder = Folder::new();
    let updates: Vec<Update> =
        (0..3).map(|i| peft(&folder, &format!("n{i}"), (3, 2, 4), 3 * i)).collect();
    let report = folder.merge(&updates, &stacking()).unwrap();
    let stacked = report.summary.adapters.unwrap();
    assert_eq!((stacked.rank, stacked.alpha, stacked.config), (6, None, None));
    // Of another rank the scale would be another one.
    let other = peft(&folder, "other", (3, 4, 4), 9);
    let report = folder.merge(&[&updates[..], &[other]].concat(), &stacking()).unwrap();
    let found = reasons(&report.summary.rejected);
    assert!(found.len() == 1 && found[0].1.contains("scales are known"), "{found:?}");
    // One that states a scale beside those that do not.
    let stated = with_config(peft(&folder, "stated", (3, 2, 4), 9), 2, 200.0);
    let report = folder.merge(&[&updates[..], &[stated]].concat(), &stacking()).unwrap();
    let found = reasons(&report.summary.rejected);
    assert!(found.len() == 1 && found[0].1.contains("most others have none"), "{found:?}");
}

#[test]
fn alphas_are_checked_and_the_rest_of_the_file_is_averaged() {
    let folder = Folder::new();
    let save = |name: &str, rank: usize, alpha: f32, bias: f32| {
        let (a, b) = (testkit::sequence(1, rank * 4), testkit::sequence(2, 3 * rank));
        let steps = (bias as i64).to_le_bytes();
        let path = folder.save(
            name,
            &[
                f32_tensor("m.lora_down.weight", &[rank, 4], &a),
                f32_tensor("m.lora_up.weight", &[3, rank], &b),
                f32_tensor("m.alpha", &[], &[alpha]),
                f32_tensor("head.bias", &[1], &[bias]),
                raw_tensor("steps", &[], Dtype::I64, &steps),
            ],
        );
        from_node(name, &path, 1.0)
    };
    let updates = [save("a", 2, 1.0, 1.0), save("b", 5, 0.0, 4.0), save("c", 1, f32::NAN, 9.0)];
    let report = folder.merge(&updates, &stacking()).unwrap();
    assert!(reasons(&report.summary.rejected)[0].1.contains("\"m.alpha\" holds NaN"));
    let out = folder.path("out");
    assert_eq!(values(&out, "m.alpha"), [7.0]);
    assert_eq!(values(&out, "head.bias"), [2.5]);
    assert_eq!(values(&out, "steps"), [4.0]);
    let up = values(&out, "m.lora_up.weight");
    // A scale of 0 takes the second out, rank and all.
    assert!(up.chunks(7).all(|row| row[2..].iter().all(|v| *v == 0.0)));
    assert!(report.summary.admitted.iter().all(|a| a.norm.is_none() && a.cosine.is_none()));
    assert_eq!(report.summary.changes.len(), 4);
}

#[test]
fn claims_and_namesakes_count_as_for_any_update() {
    let folder = Folder::new();
    let mut updates: Vec<Update> = (0..4)
        .map(|i| {
            let update = peft(&folder, &format!("n{i}"), (3, 2, 4), 3 * i);
            Update { n_nodes: Some(1), ..with_config(update, 2, 2.0) }
        })
        .collect();
    updates[0].weight = 1e9;
    let options = with(&stacking(), |rules| rules.max_weight = Limit::at(10.0));
    let report = folder.merge(&updates, &options).unwrap();
    let counted: Vec<f64> = report.summary.admitted.iter().map(|a| a.counted).collect();
    assert_eq!(counted, [3.0, 1.0, 1.0, 1.0], "no more than all others together");
    updates[1].node = updates[2].node.clone();
    let report = folder.merge(&updates, &options).unwrap();
    assert_eq!(report.summary.rejected.len(), 2, "of two of one name none counts");
    assert_eq!(report.summary.adapters.unwrap().rank, 4);
}

#[test]
fn mixtures_of_names_and_dtypes_are_stacked_in_one_dtype() {
    let folder = Folder::new();
    let save = |name: &str, dtype: Dtype, rank: usize| {
        let draw = |seed, n| -> Vec<f64> {
            testkit::sequence(seed, n).iter().map(|&v| f64::from(v)).collect()
        };
        let (a, b) = (encode(dtype, &draw(1, rank * 4)), encode(dtype, &draw(2, 3 * rank)));
        let alpha = encode(dtype, &[rank as f64]);
        let (down, up) = ([rank, 4], [3, rank]);
        let path = folder.save(
            name,
            &[
                raw_tensor("k.alpha", &[], dtype, &alpha),
                raw_tensor("k.lora_down.weight", &down, dtype, &a),
                raw_tensor("k.lora_up.weight", &up, dtype, &b),
                raw_tensor("p.lora_A.weight", &down, dtype, &a),
                raw_tensor("p.lora_B.weight", &up, dtype, &b),
            ],
        );
        with_config(from_node(name, &path, 1.0), rank, rank as f64)
    };
    let updates = [save("a", Dtype::BF16, 2), save("b", Dtype::F64, 3)];
    let report = folder.merge(&updates, &stacking()).unwrap();
    assert!(reasons(&report.summary.rejected)[0].1.contains("dtype: f16"), "advice that helps");
    let options = Options { dtype: Some(FloatDtype::F32), ..stacking() };
    let report = folder.merge(&updates, &options).unwrap();
    let stacked = report.summary.adapters.unwrap();
    assert_eq!((stacked.kind, stacked.pairs, stacked.rank), (AdapterKind::Mixed, 2, 5));
    let out = folder.path("out");
    assert!(WeightFile::open(&out).unwrap().tensors().iter().all(|t| t.dtype == Dtype::F32));
    for (down, up) in [("k.lora_down", "k.lora_up"), ("p.lora_A", "p.lora_B")] {
        let [down, up] = [down, up].map(|name| format!("{name}.weight"));
        let mut expected = vec![0.0; 12];
        for update in &updates {
            for (sum, own) in expected.iter_mut().zip(product(&update.path, &down, &up)) {
                *sum += own / 2.0;
            }
        }
        for (found, expected) in product(&out, &down, &up).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

#[test]
fn adapters_in_memory_give_the_same_bytes() {
    let folder = Folder::new();
    let updates: Vec<Update> = (0..3)
        .map(|i| with_config(peft(&folder, &format!("n{i}"), (3, 2 + i, 4), i as u64), 2 + i, 2.0))
        .collect();
    let report: Report = folder.merge(&updates, &stacking()).unwrap();
    let held: Vec<Update> = updates
        .iter()
        .map(|update| {
            let file = WeightFile::open(&update.path).unwrap();
            let read = |name: &str| file.read_f32(name).unwrap();
            let (a, b) = (read("m.lora_A.weight"), read("m.lora_B.weight"));
            let (a_shape, b_shape) = ([a.len() / 4, 4], [3, b.len() / 3]);
            let tensors = [("m.lora_A.weight", &a_shape, &a), ("m.lora_B.weight", &b_shape, &b)];
            let tensors = tensors.map(|(name, shape, data)| TensorRef {
                name,
                shape,
                data: TensorData::F32(data),
            });
            let file = weight_file(update.path.clone(), &tensors, &BTreeMap::new()).unwrap();
            Update { file: Some(file), ..update.clone() }
        })
        .collect();
    let merged = aggregate::aggregate_in_memory(&held, &stacking(), Path::new("out"), &|_| {
        Ok(BTreeMap::new())
    });
    assert_eq!(merged.unwrap().report.out_hash, report.out_hash);
}
