//! Low-rank adapters and mixed dtypes through `aggregate`: what is told, written and refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aggregate::{Dtype, TensorData, TensorRef, WeightFile, write_file};
use serde_json::{Value, json as object};

use crate::support::{fails, json, ok};

/// A PEFT folder: one pair `m.q` of that rank, with a configuration.
fn peft(at: &Path, name: &str, rank: usize, alpha: f64) {
    fs::create_dir_all(at.join(name)).expect("a folder");
    let values: Vec<f32> = (0..4 * rank).map(|i| 0.25 * (i as f32 + alpha as f32)).collect();
    let (down, up) = ([rank, 4], [4, rank]);
    let tensors = [("m.q.lora_A.weight", &down), ("m.q.lora_B.weight", &up)];
    let tensors =
        tensors.map(|(name, shape)| TensorRef { name, shape, data: TensorData::F32(&values) });
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let path = at.join(name).join("adapter_model.safetensors");
    write_file(path, &tensors, &metadata).expect("written");
    let config = object!({
        "peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": ["q"],
        "base_model_name_or_path": "base",
    });
    let path = at.join(name).join("adapter_config.json");
    fs::write(path, config.to_string()).expect("written");
}

/// A file of kohya's kind.
fn kohya(at: &Path, name: &str, rank: usize, alpha: f32) {
    let values = vec![0.5; 4 * rank];
    let (down, up) = ([rank, 4], [4, rank]);
    let alpha = [alpha];
    let tensors = [
        TensorRef { name: "q.lora_down.weight", shape: &down, data: TensorData::F32(&values) },
        TensorRef { name: "q.lora_up.weight", shape: &up, data: TensorData::F32(&values) },
        TensorRef { name: "q.alpha", shape: &[], data: TensorData::F32(&alpha) },
    ];
    let metadata = [("ss_network_dim", "4"), ("ss_network_alpha", "1"), ("ss_v2", "False")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    write_file(at.join(name), &tensors, &metadata).expect("written");
}

/// `s·B·A` of a file's pair, with the scale of the configuration beside it.
fn change(folder: &Path) -> Vec<f64> {
    let file = WeightFile::open(folder.join("adapter_model.safetensors")).expect("valid");
    let text = fs::read_to_string(folder.join("adapter_config.json")).expect("there");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    let rank = file.tensor("m.q.lora_A.weight").expect("there").shape[0];
    assert_eq!(config["r"], rank);
    let scale = config["lora_alpha"].as_f64().expect("a number") / rank as f64;
    let a = file.read_f32("m.q.lora_A.weight").expect("read");
    let b = file.read_f32("m.q.lora_B.weight").expect("read");
    let element = |(o, i): (usize, usize)| -> f64 {
        (0..rank).map(|r| scale * f64::from(b[o * rank + r]) * f64::from(a[4 * r + i])).sum()
    };
    (0..16).map(|at| element((at / 4, at % 4))).collect()
}

const FILES: [&str; 2] = ["x/adapter_model.safetensors", "y/adapter_model.safetensors"];

fn args<'a>(files: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [&["aggregate"], files, more].concat()
}

#[test]
fn folders_of_peft_become_one_that_loads_as_their_mean() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    peft(at, "x", 2, 4.0);
    peft(at, "y", 3, 1.0);
    fs::create_dir(at.join("z")).expect("a folder");
    let out = ["--weights", "3,1", "--out", "z/adapter_model.safetensors"];
    let stack = args(&FILES, &[&["--adapters", "stack"][..], &out].concat());

    fails(
        at,
        &args(&FILES, &out),
        &["low-rank adapters", "adapter_model.safetensors", "--adapters stack"],
    );
    let report = json(at, &stack);
    let expected = object!({
        "kind": "peft", "pairs": 1, "rank": 5, "alpha": 5, "config": "z/adapter_config.json"
    });
    assert_eq!(report["adapters"], expected);
    let mean: Vec<f64> = change(&at.join("x"))
        .iter()
        .zip(change(&at.join("y")))
        .map(|(x, y)| 0.75 * x + 0.25 * y)
        .collect();
    for (found, expected) in change(&at.join("z")).iter().zip(mean) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    let text = fs::read_to_string(at.join("z/adapter_config.json")).expect("there");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&config["base_model_name_or_path"], &config["use_rslora"]),
        (&"base".into(), &false.into())
    );

    // What came with the output is replaced with it, what did not stays.
    peft(at, "y", 1, 1.0);
    assert!(ok(at, &stack).contains("stacked to rank 3; load with z/adapter_config.json"));
    fs::write(at.join("z/adapter_config.json"), "{\"mine\": 1}").expect("written");
    fails(at, &stack, &["z/adapter_config.json", "folder of its own"]);
    let beside =
        args(&FILES, &["--weights", "3,1", "--adapters", "stack", "--out", "x/o.safetensors"]);
    fails(at, &beside, &["x/adapter_config.json"]);
}

#[test]
fn files_of_kohya_hold_their_scale_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    kohya(at, "a", 2, 1.0);
    kohya(at, "b", 4, 4.0);
    let report = json(at, &args(&["a", "b"], &["--uniform", "--adapters", "stack", "--out", "o"]));
    assert_eq!(report["adapters"]["kind"], "kohya");
    assert_eq!(report["adapters"]["config"], Value::Null);
    let file = WeightFile::open(at.join("o")).expect("valid");
    assert_eq!(file.read_f32("q.alpha").expect("read"), [6.0]);
    let up = file.read_f32("q.lora_up.weight").expect("read");
    assert_eq!(up[..6], [0.125, 0.125, 0.25, 0.25, 0.25, 0.25]);
    let metadata = file.metadata();
    assert_eq!((&*metadata["ss_network_dim"], &*metadata["ss_network_alpha"]), ("6", "6"));
    assert_eq!(metadata["ss_v2"], "False");
    // A configuration of something else beside them is none of theirs.
    for config in ["{\"mine\": 1}", "{\"peft_type\": \"IA3\"}", "{"] {
        fs::write(at.join("adapter_config.json"), config).expect("written");
        ok(at, &args(&["a", "b"], &["--uniform", "--adapters", "stack", "--out", "o"]));
        let kept = fs::read_to_string(at.join("adapter_config.json")).expect("there");
        assert_eq!(kept, config);
    }
    let line = "low-rank adapters: 1 pairs (kohya) of rank 6\n";
    assert!(ok(at, &["inspect", "o"]).contains(line));
    assert_eq!(json(at, &["inspect", "o"])["adapters"]["ranks"], object!([6, 6]));
    // A stack is stacked again.
    let text = ok(at, &args(&["o", "a"], &["--uniform", "--adapters", "stack", "--out", "p"]));
    assert!(text.contains("1 pairs (kohya), stacked to rank 8; alpha 8"), "{text}");
    // Factor by factor ranks must be the same.
    kohya(at, "b", 2, 1.0);
    ok(at, &args(&["a", "b"], &["--uniform", "--adapters", "factors", "--out", "q"]));
    let file = WeightFile::open(at.join("q")).expect("valid");
    assert_eq!(file.read_f32("q.alpha").expect("read"), [1.0]);
}

#[test]
fn what_cannot_be_stacked_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    kohya(at, "a", 2, 1.0);
    kohya(at, "b", 3, 1.0);
    kohya(at, "base", 2, 1.0);
    for (more, says) in [
        (&["--reduce", "median"][..], "median"),
        (&["--strategy", "ties", "--base", "base"], "ties"),
        (&["--strategy", "fedavgm", "--base", "base"], "sgd"),
        (&["--base", "base"], "base"),
        (&["--keep-local", "x", "--base", "base"], "local"),
        (&["--carry", "x=max"], "carried"),
        (&["--bucket", "2", "--reduce", "median"], "median"),
        (&["--bucket", "2"], "bucket"),
        (&["--clip-norm", "1", "--noise-multiplier", "1", "--base", "base"], "private"),
        (&["--shard-size", "1KB"], "no effect on one file"),
        (&["--adapters", "mean"], "stack or factors"),
    ] {
        let mut all = args(&["a", "b"], &["--uniform", "--out", "o"]);
        if more[0] != "--adapters" {
            all.extend(["--adapters", "stack"]);
        }
        all.extend(more);
        fails(at, &all, &[says]);
    }
    let w = TensorRef { name: "w", shape: &[1], data: TensorData::F32(&[1.0]) };
    for name in ["p", "q"] {
        write_file(at.join(name), &[w], &BTreeMap::new()).expect("written");
    }
    for word in ["stack", "factors"] {
        let all = args(&["p", "q"], &["--uniform", "--adapters", word, "--out", "o"]);
        fails(at, &all, &["has no effect", word]);
    }
}

#[test]
fn what_is_named_like_an_adapter_is_not_averaged_without_a_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for name in ["a", "b"] {
        let (down, up) = ([2, 1, 3], [4, 2, 1]);
        let tensors = [("m.lora_A.weight", &down, 6), ("m.lora_B.weight", &up, 8)];
        let tensors = tensors.map(|(name, shape, n)| TensorRef {
            name,
            shape,
            data: TensorData::F32(&[0.5; 8][..n]),
        });
        write_file(at.join(name), &tensors, &BTreeMap::new()).expect("written");
    }
    let merge =
        |more: &[&'static str]| args(&["a", "b"], &[&["--uniform", "--out", "o"], more].concat());
    let says = ["m.lora_A.weight", "[2, 1, 3]", "cannot be stacked", "--adapters factors"];
    fails(at, &merge(&[]), &says);
    fails(at, &merge(&["--adapters", "stack"]), &says);
    ok(at, &merge(&["--adapters", "factors"]));
    let text = ok(at, &["inspect", "a"]);
    assert!(text.contains("low-rank adapters: no pair that can be stacked; "), "{text}");
    let none = json(at, &["inspect", "o"]);
    assert_eq!(none["adapters"]["pairs"], 0);
}

#[test]
fn files_of_two_dtypes_become_one_on_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let halves = [0x3c00_u16, 0x4000].map(u16::to_le_bytes).concat();
    let half = TensorData::Raw { dtype: Dtype::F16, bytes: &halves };
    let doubles = [2.0, 1e6];
    let all = [("h", half), ("s", TensorData::F32(&[3.0, 4.0])), ("d", TensorData::F64(&doubles))];
    for (name, data) in all {
        let w = TensorRef { name: "w", shape: &[2], data };
        write_file(at.join(name), &[w], &BTreeMap::new()).expect("written");
    }
    let merge = |files: &[&'static str], more: &[&'static str]| {
        args(files, &[&["--strict", "--uniform", "--out", "o"][..], more].concat())
    };
    fails(at, &merge(&["h", "s"], &[]), &["dtype", "f16, bf16, f32 or f64"]);
    ok(at, &merge(&["h", "s"], &["--dtype", "f32"]));
    let file = WeightFile::open(at.join("o")).expect("valid");
    assert_eq!(file.tensor("w").expect("there").dtype, Dtype::F32);
    assert_eq!(file.read_f32("w").expect("read"), [2.0, 3.0]);
    ok(at, &merge(&["h", "s"], &["--dtype", "bf16", "--base", "d"]));
    fails(at, &merge(&["h", "d"], &["--dtype", "f16"]), &["out of the range of F16"]);
    fails(at, &merge(&["h", "s"], &["--dtype", "i8"]), &["f16, bf16, f32 or f64"]);
}

/// Models of this program, too: an update in half the bytes, and a global model of another dtype.
#[test]
fn an_edgectl_model_may_have_another_dtype() {
    let folder = crate::support::federation();
    let at = folder.path();
    crate::support::trained(at);
    let merge = ["aggregate", "n1.safetensors", "n2.safetensors", "n3.safetensors", "--base"];
    ok(
        at,
        &[&merge[..], &["global.safetensors", "--dtype", "f16", "--out", "half.safetensors"]]
            .concat(),
    );
    let file = WeightFile::open(at.join("half.safetensors")).expect("valid");
    assert!(file.tensors().iter().all(|t| t.dtype == Dtype::F16));
    let report =
        json(at, &["eval", "--model", "half.safetensors", "--data", "data/node_1.csv", "--all"]);
    assert!(report["accuracy"].is_number());
}
