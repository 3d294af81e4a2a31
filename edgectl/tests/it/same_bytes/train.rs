//! `train`: every optimizer, schedule, kind of model and preprocessing, and what else a job says.

use std::fs;

use super::{federation, write_job};
use crate::hashes::{Hashes, json};

const TRAIN: [&str; 7] =
    ["train", "--config", "job.toml", "--data", "data/node_1.csv", "--out", "m.safetensors"];

/// What is replaced in the job, by name. Each is one run on one node's rows.
const JOBS: &[(&str, &str)] = &[
    ("as it is", ""),
    // Optimizers with options of their own; those by name alone follow.
    (
        "sgd with all",
        r#"train.optimizer = { name = "sgd", momentum = 0.9, nesterov = true, weight_decay = 0.01 }"#,
    ),
    (
        "adamw with all",
        r#"train.optimizer = { name = "adamw", beta1 = 0.8, beta2 = 0.95, eps = 1e-6, weight_decay = 0.05 }"#,
    ),
    // Schedules.
    ("constant", r#"train.schedule = { name = "constant" }"#),
    ("linear-warmup", r#"train.schedule = { name = "linear-warmup", warmup = 0.4 }"#),
    ("cosine", r#"train.schedule = { name = "cosine", warmup = 0.2, min_ratio = 0.1 }"#),
    ("step", r#"train.schedule = { name = "step", every = 2, gamma = 0.5 }"#),
    (
        "cosine-restarts",
        r#"train.schedule = { name = "cosine-restarts", cycles = 2, cycle_mult = 2, warmup = 0.1 }"#,
    ),
    ("polynomial", r#"train.schedule = { name = "polynomial", power = 0.7, warmup = 0.1 }"#),
    ("one-cycle", r#"train.schedule = { name = "one-cycle" }"#),
    (
        "reduce-on-plateau",
        r#"
        train.schedule = { name = "reduce-on-plateau", patience = 0, factor = 0.5 }
        train.epochs = 5"#,
    ),
    ("exponential", r#"train.schedule = { name = "exponential", final_ratio = 0.1 }"#),
    // Models.
    ("sinusoidal", r#"model.positions = "sinusoidal""#),
    (
        "rotary last causal",
        r#"
        model.positions = "rotary"
        model.pooling = "last"
        model.attention = { mask = "causal" }"#,
    ),
    (
        "alibi window",
        r#"
        model.positions = "alibi"
        model.pooling = "last"
        model.attention = { mask = { sliding-window = { left = 2, right = 0 } }, n_kv_heads = 1 }"#,
    ),
    (
        "class-token dropout",
        r#"
        model.pooling = "class-token"
        model.attention = { dropout = 0.1 }"#,
    ),
    (
        "odd sizes",
        r"
        model.patch_len = 3
        model.d_model = 24
        model.n_heads = 3
        model.d_ff = 40
        model.n_layers = 3",
    ),
    ("patch of one", "model.patch_len = 1"),
    // Windows.
    ("last label", r#"window = { len = 16, stride = 8, train_stride = 5, label = "last" }"#),
    ("middle label", r#"window = { len = 16, label = "middle" }"#),
    ("whole series", "window = { max_len = 64 }"),
    // Preprocessing.
    (
        "impute and scale",
        r#"preprocess = [{ step = "impute", method = "linear" }, { step = "min-max", low = -1.0 }]"#,
    ),
    (
        "impute mean",
        r#"preprocess = [{ step = "impute", method = "mean" }, { step = "robust-scale" }]"#,
    ),
    (
        "impute median",
        r#"preprocess = [{ step = "impute", method = "median" }, { step = "window-normalize" }]"#,
    ),
    (
        "impute zero",
        r#"preprocess = [{ step = "impute", method = "zero" }, { step = "window-normalize", method = "center" }]"#,
    ),
    (
        "impute previous",
        r#"preprocess = [{ step = "impute", method = "previous" }, { step = "window-normalize", method = "min-max" }]"#,
    ),
    ("nothing to scale", r#"preprocess = [{ step = "impute", method = "zero" }]"#),
    // Steps.
    ("accumulate", "train.accumulate = 3"),
    ("clip norm", "train.clip_norm = 0.1"),
    ("clip value", "train.clip_value = 0.01"),
    ("no clipping", "train.clip_norm = inf"),
    ("label smoothing", "train.label_smoothing = 0.1"),
    ("balanced", r#"train.class_weights = "balanced""#),
    ("no augment", "train.augment = { jitter = 0.0, scale = 0.0 }"),
    ("proximal", "train.proximal = 0.1"),
    (
        "groups",
        r#"train.groups = [
        { params = ["*.bias", "*norm*"], weight_decay = 0.0 },
        { params = ["head.*"], lr_scale = 2.0, clip_norm = 0.1 },
        { params = ["patch_embed.*"], frozen = true }]"#,
    ),
    ("validation by series", r#"train.validation = { fraction = 0.5, by = "series" }"#),
    ("validation by time", r#"train.validation = { fraction = 0.5, by = "time" }"#),
    ("validation fold", r#"train.validation = { fraction = 0.5, by = "series", fold = 1 }"#),
    (
        "private",
        r"
        train.private = { clip_norm = 1.0, noise_multiplier = 0.5, insecure_seed = 1 }
        train.augment = { jitter = 0.05 }
        window = { len = 20 }",
    ),
];

#[test]
fn jobs() {
    let Some(mut hashes) = Hashes::of("train") else { return };
    let folder = federation(1);
    let at = folder.path();
    for (name, changes) in JOBS {
        write_job(at, changes);
        json(at, &TRAIN);
        hashes.model(name, &at.join("m.safetensors"));
    }
    hashes.check();
}

#[test]
fn optimizers() {
    let Some(mut hashes) = Hashes::of("optimizer") else { return };
    let folder = federation(1);
    let at = folder.path();
    // Not the program's own list: a name that is lost is to be missed.
    for name in [
        "sgd",
        "adam",
        "amsgrad",
        "adamw",
        "nadam",
        "radam",
        "adagrad",
        "rmsprop",
        "yogi",
        "lion",
        "lamb",
        "schedule-free-adamw",
    ] {
        json(at, &[&TRAIN[..], &["--optimizer", name, "--epochs", "4"]].concat());
        hashes.model(name, &at.join("m.safetensors"));
    }
    hashes.check();
}

#[test]
fn from_a_global_model() {
    let Some(mut hashes) = Hashes::of("node") else { return };
    let folder = federation(3);
    let at = folder.path();
    write_job(at, r#"train.optimizer = { name = "adamw", weight_decay = 0.05 }"#);
    json(at, &["init", "--config", "job.toml", "--data", "data", "--out", "global.safetensors"]);
    hashes.model("init", &at.join("global.safetensors"));
    json(at, &["init", "--config", "job.toml", "--out", "other.safetensors", "--seed", "7"]);
    hashes.model("init other seed", &at.join("other.safetensors"));
    let train = ["train", "--init", "global.safetensors", "--data", "data/node_2.csv"];
    for (name, more) in [
        ("as the model says", &[][..]),
        ("seed", &["--seed", "9"]),
        ("batch", &["--batch", "5"]),
        ("lr", &["--lr", "0.01", "--epochs", "3"]),
        ("node name", &["--node", "somebody"]),
        ("two files", &["--data", "data/node_2.csv", "data/node_3.csv"]),
        ("trainable attention", &["--trainable", "blocks.*.attn.*"]),
        ("trainable head", &["--trainable", "head.*,norm.*"]),
    ] {
        let train = if more.contains(&"--data") { &train[..3] } else { &train[..] };
        json(at, &[train, more, &["--out", "n.safetensors"]].concat());
        hashes.model(name, &at.join("n.safetensors"));
    }
    hashes.check();
}

/// An interrupted run ends with the bytes of one that was not, and these are in the table.
#[test]
fn interrupted_and_resumed() {
    let Some(mut hashes) = Hashes::of("resume") else { return };
    let folder = federation(1);
    let at = folder.path();
    for (name, changes) in [
        ("adamw", ""),
        ("sgd", r#"train.optimizer = { name = "sgd", momentum = 0.9 }"#),
        ("schedule-free", r#"train.optimizer = { name = "schedule-free-adamw" }"#),
        ("accumulate", "train.accumulate = 3\ntrain.proximal = 0.1"),
        ("validation", r#"train.validation = { fraction = 0.5, by = "time" }"#),
    ] {
        write_job(at, changes);
        let epochs = ["--epochs", "30"];
        json(at, &[&TRAIN[..], &epochs].concat());
        hashes.model(name, &at.join("m.safetensors"));
        let cut = [&TRAIN[..6], &["cut.safetensors"], &epochs].concat();
        let report = json(at, &[&cut[..], &["--stop-after-steps", "17"]].concat());
        assert!(report["stopped"].is_string(), "{name} was not interrupted: {report}");
        json(at, &[&cut[..], &["--resume"]].concat());
        let same = fs::read(at.join("m.safetensors")).expect("readable")
            == fs::read(at.join("cut.safetensors")).expect("readable");
        assert!(same, "{name}: the resumed run gives other bytes");
        fs::remove_file(at.join("cut.safetensors.state")).ok();
    }
    hashes.check();
}
