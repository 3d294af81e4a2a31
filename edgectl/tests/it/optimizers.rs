//! What the `[train]` section offers: optimizers, groups, accumulation, private training, `auto`.

use std::path::Path;

use crate::support::{JOB, bytes, edgectl, federation, json, ok};

/// Writes `job.toml` with more lines in its `[train]` section.
fn with_train(folder: &Path, lines: &str) {
    let job = JOB.replace("epochs = 2\n", &format!("epochs = 2\n{lines}\n"));
    std::fs::write(folder.join("job.toml"), job).expect("written");
}

const PRIVATE: &str = "private = { clip_norm = 1.0, noise_multiplier = 0.5 }";

/// The same with windows that share no rows, as private training asks for.
fn private_job(folder: &Path, lines: &str) {
    let job = JOB.replace("stride = 10", "stride = 20").replace("shift = 3", "");
    let job = job.replace("epochs = 2\n", &format!("epochs = 2\n{lines}\n"));
    std::fs::write(folder.join("job.toml"), job).expect("written");
}

/// The command's error.
fn error(folder: &Path, args: &[&str]) -> String {
    let output = edgectl(folder, args).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8(output.stderr).expect("text")
}

const TRAIN: [&str; 5] = ["train", "--config", "job.toml", "--out", "m.safetensors"];

/// Trains in one go and with many interruptions, which must give the same bytes.
fn resumes_to_the_same_bytes(folder: &Path, what: &str) {
    let epochs = ["--epochs", "30"];
    ok(folder, &[&TRAIN[..], &epochs].concat());
    let whole = bytes(folder, "m.safetensors");
    let cut = [&TRAIN[..4], &["cut.safetensors"], &epochs, &["--stop-after-steps", "17"]].concat();
    let mut report = json(folder, &cut);
    let mut parts = 1;
    while report["stopped"].is_string() {
        report = json(folder, &[&cut[..], &["--resume"]].concat());
        parts += 1;
        assert!(parts < 3000, "{what} never ends");
    }
    assert!(parts > 2, "{what} was not interrupted");
    assert!(whole == bytes(folder, "cut.safetensors"), "{what}");
}

#[test]
fn every_optimizer_trains_and_resumes() {
    let folder = federation();
    let at = folder.path();
    for name in optim::OptimizerConfig::NAMES {
        with_train(at, &format!("optimizer = {{ name = \"{name}\" }}"));
        resumes_to_the_same_bytes(at, name);
        ok(at, &["eval", "--model", "m.safetensors", "--data", "data"]);
    }
}

#[test]
fn all_that_remembers_something_resumes() {
    let folder = federation();
    let at = folder.path();
    for lines in [
        "accumulate = 3\nproximal = 0.1\nclip_value = 0.01",
        "[train.validation]\nfraction = 0.5\nby = \"time\"\n[[train.groups]]\nparams = [\"*.bias\"]\nweight_decay = 0.0\nclip_norm = 0.1",
    ] {
        with_train(at, lines);
        // TOML keys after a table belong to that table: the others go first.
        if lines.starts_with('[') {
            let job = format!("{JOB}\n{lines}\n");
            std::fs::write(at.join("job.toml"), job).expect("written");
        }
        resumes_to_the_same_bytes(at, lines);
    }
    let plateau = JOB.replace(
        "schedule = { name = \"cosine\" }",
        "schedule = { name = \"reduce-on-plateau\", patience = 0, factor = 0.5 }",
    );
    std::fs::write(at.join("job.toml"), plateau).expect("written");
    resumes_to_the_same_bytes(at, "plateau");
    let seeded = "private = { clip_norm = 1.0, noise_multiplier = 0.5, insecure_seed = 1 }";
    private_job(at, seeded);
    resumes_to_the_same_bytes(at, seeded);
    // Where the rate does not follow the number of epochs, a run may grow.
    let auto = JOB.replace("lr = 3e-3", "lr = \"auto\"").replace("cosine", "constant");
    std::fs::write(at.join("job.toml"), auto).expect("written");
    ok(at, &[&TRAIN[..], &["--epochs", "9"]].concat());
    let whole = bytes(at, "m.safetensors");
    ok(at, &[&TRAIN[..], &["--epochs", "6"]].concat());
    ok(at, &[&TRAIN[..], &["--epochs", "9", "--resume"]].concat());
    assert!(whole == bytes(at, "m.safetensors"), "lr auto");
    // One that was shorter than its test of learning rates is another run.
    ok(at, &[&TRAIN[..], &["--epochs", "2"]].concat());
    let message = error(at, &[&TRAIN[..], &["--epochs", "9", "--resume"]].concat());
    assert!(message.contains("another run"), "{message}");
    let message = error(at, &[&TRAIN[..], &["--time-budget", "0s"]].concat());
    assert!(message.contains("during the test of learning rates"), "{message}");
}

#[test]
fn a_noise_key_that_is_not_seeded_resumes_too_and_differs_from_run_to_run() {
    let folder = federation();
    let at = folder.path();
    with_train(at, PRIVATE);
    let message = error(at, &TRAIN);
    assert!(message.contains("train_stride to at least len"), "{message}");
    private_job(at, PRIVATE);
    let report = json(at, &TRAIN);
    let private = &report["private"];
    assert_eq!(private["steps"], report["steps"]);
    let rate = private["sampling_rate"].as_f64().expect("a number");
    assert!((rate - 8.0 / report["examples"].as_f64().expect("a number")).abs() < 1e-9, "{rate}");
    let first = bytes(at, "m.safetensors");
    // What was measured on private rows does not leave with the weights.
    let inspected = ok(at, &["inspect", "m.safetensors", "--json"]);
    assert!(!inspected.contains("\"accuracy\""), "{inspected}");
    ok(at, &TRAIN);
    assert_ne!(first, bytes(at, "m.safetensors"), "the noise can be guessed");
    assert!(!at.join("m.safetensors.state.key").exists(), "the key of a run that is over is kept");
    // A run that may go on keeps its key, for its owner alone.
    let report = json(at, &[&TRAIN[..], &["--stop-after-steps", "3"]].concat());
    assert!(report["stopped"].is_string());
    assert!(at.join("m.safetensors.state.key").exists());
    // Nothing may choose by rows that are not protected.
    private_job(at, &format!("{PRIVATE}\nvalidation = {{ fraction = 0.5 }}"));
    let message = error(at, &TRAIN);
    assert!(message.contains("not private"), "{message}");
    // Nodes have noise of their own, even with a seed, and do not ship the seed.
    private_job(
        at,
        "private = { clip_norm = 1.0, noise_multiplier = 50.0, insecure_seed = 77123 }",
    );
    let noise = |node: &str| {
        ok(at, &[&TRAIN[..], &["--node", node]].concat());
        assert!(!String::from_utf8_lossy(&bytes(at, "m.safetensors")).contains("77123"));
        tensors(&at.join("m.safetensors"))
    };
    assert_ne!(noise("a"), noise("b"));
    assert_eq!(noise("a"), noise("a"));
}

#[test]
fn trainable_parameters_are_trained_shipped_and_merged_alone() {
    let folder = federation();
    let at = folder.path();
    ok(at, &["init", "--config", "job.toml", "--out", "global.safetensors"]);
    let before = tensors(&at.join("global.safetensors"));
    for node in 1..=2 {
        let (data, out) = (format!("data/node_{node}.csv"), format!("n{node}.safetensors"));
        let report = json(
            at,
            &[
                "train",
                "--init",
                "global.safetensors",
                "--data",
                &data,
                "--out",
                &out,
                "--trainable",
                "blocks.*.attn.*",
            ],
        );
        assert_eq!(report["partial"], true);
        assert_eq!(report["trained_parameters"], 4 * 16 * 16 + 4 * 16);
        let names: Vec<String> = tensors(&at.join(&out)).into_keys().collect();
        let expected = ["proj.bias", "proj.weight", "qkv.bias", "qkv.weight"]
            .map(|n| format!("blocks.0.attn.{n}"));
        assert_eq!(names, expected);
    }
    // Not a model by itself, and says what to do.
    let message = error(at, &["eval", "--model", "n1.safetensors", "--data", "data"]);
    assert!(message.contains("holds only the parameters that were trained"), "{message}");
    assert!(message.contains("--base"), "{message}");

    // A node that trains everything may be merged with them.
    ok(
        at,
        &[
            "train",
            "--init",
            "global.safetensors",
            "--data",
            "data/node_3.csv",
            "--out",
            "n3.safetensors",
        ],
    );
    for strategy in ["fedavg", "sgd"] {
        let merge =
            ["--base", "global.safetensors", "--out", "merged.safetensors", "--strategy", strategy];
        ok(at, &[&["aggregate", "n1.safetensors", "n2.safetensors"], &merge[..]].concat());
        let merged = tensors(&at.join("merged.safetensors"));
        assert_eq!(merged.len(), before.len());
        for (name, values) in &merged {
            assert_eq!(values == &before[name], !name.contains(".attn."), "{name}");
        }
        ok(at, &["eval", "--model", "merged.safetensors", "--data", "data"]);
        let all = ["aggregate", "n1.safetensors", "n2.safetensors", "n3.safetensors"];
        ok(at, &[&all[..], &merge[..]].concat());
        let merged = tensors(&at.join("merged.safetensors"));
        let alone = tensors(&at.join("n3.safetensors"));
        if strategy == "fedavg" {
            assert_eq!(merged["head.weight"], alone["head.weight"], "only node 3 moved it");
        }
        assert_ne!(merged["blocks.0.attn.qkv.weight"], alone["blocks.0.attn.qkv.weight"]);
    }

    // In one process too, where the last model is whole.
    with_train(at, "trainable = [\"blocks.*.attn.*\", \"head.*\"]");
    ok(at, &["simulate", "--config", "job.toml", "--out", "run", "--rounds", "2"]);
    let last = tensors(&at.join("run/global.safetensors"));
    assert_eq!(last["norm.weight"], before["norm.weight"]);
    assert_ne!(last["head.weight"], before["head.weight"]);
    // Without a model to start from there is nothing to merge into: the file is whole.
    let report = json(at, &TRAIN);
    assert_eq!(report["partial"], false);
    ok(at, &["eval", "--model", "m.safetensors", "--data", "data"]);
}

/// The values of a file's tensors, as bytes.
fn tensors(path: &Path) -> std::collections::BTreeMap<String, Vec<f32>> {
    let file = aggregate::WeightFile::open(path).expect("a weight file");
    let names = file.tensors().iter().map(|t| t.name.clone());
    names.map(|name| (name.clone(), file.read_f32(&name).expect("floats"))).collect()
}

#[test]
fn a_full_update_that_lacks_a_tensor_is_still_refused() {
    let folder = federation();
    let at = folder.path();
    crate::support::trained(at);
    let partial = [
        "train",
        "--init",
        "global.safetensors",
        "--data",
        "data/node_1.csv",
        "--out",
        "part.safetensors",
        "--trainable",
        "head.*",
    ];
    ok(at, &partial);
    // The same file without the word that it is a part.
    let file = aggregate::WeightFile::open(at.join("part.safetensors")).expect("a weight file");
    let mut metadata = file.metadata().clone();
    let json = metadata.get_mut("edgectl").expect("metadata");
    *json = json.replace("\"partial\":true,", "");
    let values: Vec<(String, Vec<usize>, Vec<f32>)> = file
        .tensors()
        .iter()
        .map(|t| (t.name.clone(), t.shape.clone(), file.read_f32(&t.name).expect("floats")))
        .collect();
    let refs: Vec<aggregate::TensorRef<'_>> = values
        .iter()
        .map(|(name, shape, values)| aggregate::TensorRef {
            name,
            shape,
            data: aggregate::TensorData::F32(values),
        })
        .collect();
    aggregate::write_file(at.join("lie.safetensors"), &refs, &metadata).expect("written");
    let message = error(
        at,
        &[
            "aggregate",
            "lie.safetensors",
            "n2.safetensors",
            "--base",
            "global.safetensors",
            "--out",
            "x.safetensors",
        ],
    );
    assert!(message.contains("is missing"), "{message}");
}

#[test]
fn lr_auto_says_and_stores_what_it_chose() {
    let folder = federation();
    let at = folder.path();
    let report = json(at, &[&TRAIN[..], &["--lr", "auto"]].concat());
    let lr = report["lr"].as_f64().expect("a number");
    assert!((1e-5..=10.0).contains(&lr), "{report}");
    assert!(report["range_test"]["tried"].as_array().expect("a list").len() >= 3, "{report}");
    let chosen = format!("\"lr\":{}", serde_json::to_string(&(lr as f32)).expect("JSON"));
    let stored = String::from_utf8_lossy(&bytes(at, "m.safetensors")).replace('\\', "");
    assert!(stored.contains(&chosen), "{chosen}");
    let text = ok(at, &[&TRAIN[..], &["--lr", "auto"]].concat());
    assert!(text.contains("learning rate"), "{text}");
    // A center may leave the choice to its nodes.
    std::fs::write(at.join("job.toml"), JOB.replace("lr = 3e-3", "lr = \"auto\""))
        .expect("written");
    ok(at, &["simulate", "--config", "job.toml", "--out", "run", "--rounds", "2"]);
}

/// Two classes far apart: every rate of a wide range learns them within a few steps.
fn easy(folder: &Path, labels: &[&str], noise: f64) {
    let mut text = "series,t,label,split,x,y\n".to_owned();
    for series in 0..24_usize {
        let class = series % labels.len();
        for t in 0..16_usize {
            let split = if t < 12 { "train" } else { "test" };
            let draw = |k: usize| ((t * 7919 + series * 104_729 + k * 31) % 1000) as f64 / 1000.0;
            let [x, y] = [1, 2].map(|k| class as f64 * 2.0 - 1.0 + noise * (draw(k) - 0.5));
            text += &format!("s{series},{t},{},{split},{x:.4},{y:.4}\n", labels[class]);
        }
    }
    std::fs::write(folder.join("easy.csv"), text).expect("written");
    let job = "[window]\nlen = 4\n[[preprocess]]\nstep = \"z-score\"\n[model]\nd_model = 8\nn_heads = 2\nn_layers = 1\nd_ff = 16\ndropout = 0.0\n[train]\nbatch = 8\n";
    std::fs::write(folder.join("easy.toml"), job).expect("written");
}

#[test]
fn lr_auto_does_no_harm_on_easy_data() {
    let folder = federation();
    let at = folder.path();
    easy(at, &["a", "b"], 1.0);
    let train = ["train", "--config", "easy.toml", "--data", "easy.csv", "--out", "m.safetensors"];
    for epochs in ["1", "2", "5", "20"] {
        let report = json(at, &[&train[..], &["--lr", "auto", "--epochs", epochs]].concat());
        let lr = report["lr"].as_f64().expect("a number");
        assert!((1e-4..=0.11).contains(&lr), "{epochs} epochs: {report}");
        let eval = json(at, &["eval", "--model", "m.safetensors", "--data", "easy.csv"]);
        let loss = eval["loss"].as_f64().expect("a number");
        assert!(loss < 0.5, "{epochs} epochs: {eval}");
    }
}

#[test]
fn lr_auto_is_a_function_of_the_job_and_not_of_the_machine() {
    let folder = federation();
    let at = folder.path();
    let chosen = |threads: &str| {
        let report = json(at, &[&TRAIN[..], &["--lr", "auto", "--threads", threads]].concat());
        (report["lr"].clone(), report["range_test"].clone())
    };
    let first = chosen("1");
    assert_eq!(first.1["steps"], 40.min(first.1["steps"].as_u64().expect("a number")));
    for threads in ["2", "5"] {
        assert_eq!(chosen(threads), first);
    }
}

#[test]
fn the_reported_loss_does_not_depend_on_how_a_step_is_cut() {
    let folder = federation();
    let at = folder.path();
    easy(at, &["a", "b", "a", "c"], 3.0);
    let job = std::fs::read_to_string(at.join("easy.toml")).expect("written");
    let mut losses = Vec::new();
    for (batch, accumulate) in [(8, 1), (4, 2), (3, 3), (2, 4), (1, 8)] {
        let cut = format!(
            "batch = {batch}\naccumulate = {accumulate}\nepochs = 2\nlr = 0.5\noptimizer = {{ name = \"sgd\" }}\nclass_weights = \"balanced\"\nlabel_smoothing = 0.1\naugment = {{ jitter = 0.0, scale = 0.0 }}"
        );
        std::fs::write(at.join("cut.toml"), job.replace("batch = 8", &cut)).expect("written");
        let args =
            ["train", "--config", "cut.toml", "--data", "easy.csv", "--out", "m.safetensors"];
        let loss = json(at, &args)["loss"].as_f64().expect("a number");
        // Steps of nine windows are other steps.
        losses.extend((batch * accumulate == 8).then_some(loss));
    }
    for loss in &losses {
        assert!((loss - losses[0]).abs() < 1e-5, "{losses:?}");
    }
}

#[test]
fn patience_is_the_number_of_epochs_without_a_better_loss() {
    let folder = federation();
    let at = folder.path();
    let write = |patience: usize| {
        let job = JOB
            .replace("epochs = 2", &format!("epochs = 15\npatience = {patience}"))
            .replace("lr = 3e-3", "lr = 0.15");
        let job = format!("{job}\n[train.validation]\nfraction = 0.5\nby = \"time\"\n");
        std::fs::write(at.join("job.toml"), job).expect("written");
    };
    write(15);
    let output = edgectl(at, &TRAIN).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let loss = |line: &str| line.split("held out: loss ").nth(1)?.split(',').next()?.parse().ok();
    let losses: Vec<f64> = text.lines().filter_map(loss).collect();
    assert_eq!(losses.len(), 15, "{text}");
    let mut ended_early = 0;
    for patience in [0, 1, 2, 3] {
        let (mut best, mut expected) = (0, 15);
        for (epoch, loss) in losses.iter().enumerate() {
            best = if *loss < losses[best] { epoch } else { best };
            if epoch - best >= patience.max(1) {
                expected = epoch + 1;
                break;
            }
        }
        write(patience);
        let report = json(at, &TRAIN);
        assert_eq!(report["epochs"], expected, "patience {patience}: {losses:?}");
        ended_early += usize::from(expected < 15);
    }
    assert!(ended_early >= 3, "the data does not try it: {losses:?}");
}

#[test]
fn accumulation_is_a_larger_batch() {
    let folder = federation();
    let at = folder.path();
    let job = JOB
        .replace("dropout = 0.1", "dropout = 0.0")
        .replace("jitter = 0.05\nshift = 3", "jitter = 0.0\nscale = 0.0");
    // Adam would blow up rounding where the true gradient is zero, as for the biases of keys.
    let job = job.replace("batch = 8", "optimizer = { name = \"sgd\" }\nbatch = 8");
    let large = job.replace("batch = 8", "batch = 16");
    std::fs::write(at.join("job.toml"), large).expect("written");
    ok(at, &TRAIN);
    let one = tensors(&at.join("m.safetensors"));
    std::fs::write(at.join("job.toml"), job.replace("batch = 8", "batch = 8\naccumulate = 2"))
        .expect("written");
    let report = json(at, &TRAIN);
    for (name, values) in tensors(&at.join("m.safetensors")) {
        testkit::assert_close(&name, &values, &one[&name], 1e-4, 1e-6);
    }
    assert!(report["steps"].as_u64().expect("a number") > 0);
}

#[test]
fn a_strong_proximal_term_keeps_a_node_at_the_global_model() {
    let folder = federation();
    let at = folder.path();
    let distance = |lines: &str| {
        with_train(at, &format!("{lines}\noptimizer = {{ name = \"sgd\" }}"));
        ok(at, &["init", "--config", "job.toml", "--out", "global.safetensors"]);
        ok(
            at,
            &[
                "train",
                "--init",
                "global.safetensors",
                "--data",
                "data/node_1.csv",
                "--out",
                "n.safetensors",
                "--lr",
                "0.05",
                "--epochs",
                "20",
            ],
        );
        let (start, end) =
            (tensors(&at.join("global.safetensors")), tensors(&at.join("n.safetensors")));
        let squares = start
            .iter()
            .flat_map(|(name, a)| a.iter().zip(&end[name]).map(|(a, b)| (a - b).powi(2)));
        squares.sum::<f32>().sqrt()
    };
    let (free, held) = (distance(""), distance("proximal = 10.0"));
    assert!(held < 0.5 * free, "{held} and {free}");
}

#[test]
fn wrong_options_say_what_is_valid() {
    let folder = federation();
    let at = folder.path();
    for (lines, expected) in [
        (
            "optimizer = { name = \"lion\", eps = 1e-8 }",
            "unknown field `eps`, expected one of `beta1`, `beta2`, `weight_decay`",
        ),
        ("optimizer = { name = \"lamb\", beta1 = 1.0 }", "lamb: beta1 is 1"),
        ("optimizer = { name = \"adamm\" }", "schedule-free-adamw"),
        ("trainable = [\"block.*\"]", "matches no parameter; there are patch_embed.proj.weight"),
        ("groups = [{ params = [\"head.*\"], lr_scal = 2.0 }]", "did you mean `lr_scale`"),
        ("groups = [{ params = [\"*\"], frozen = true }]", "nothing is left to train"),
        ("private = { clip_norm = 0.0, noise_multiplier = 1.0 }", "clip_norm is 0"),
        ("accumulate = 0", "accumulate must be at least 1"),
        ("proximal = -1.0", "proximal must not be negative"),
    ] {
        with_train(at, lines);
        let message = error(at, &TRAIN);
        assert!(message.contains(expected), "{lines}: {message}");
    }
    std::fs::write(at.join("job.toml"), JOB.replace("lr = 3e-3", "lr = \"fast\""))
        .expect("written");
    let message = error(at, &TRAIN);
    assert!(message.contains("auto"), "{message}");
    std::fs::write(at.join("job.toml"), JOB).expect("written");
    let output =
        edgectl(at, &[&TRAIN[..], &["--optimizer", "adamm"]].concat()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("expected one of sgd, adam"), "{message}");
}

#[test]
fn an_optimizer_by_name_keeps_the_options_the_job_gives_it() {
    let folder = federation();
    let at = folder.path();
    with_train(at, "optimizer = { name = \"sgd\", momentum = 0.9 }");
    ok(at, &TRAIN);
    let job = bytes(at, "m.safetensors");
    ok(at, &[&TRAIN[..], &["--optimizer", "sgd"]].concat());
    assert_eq!(job, bytes(at, "m.safetensors"));
    ok(at, &[&TRAIN[..], &["--optimizer", "lion"]].concat());
    assert_ne!(job, bytes(at, "m.safetensors"));
}

#[test]
fn a_run_whose_gradients_are_not_finite_ends_with_advice() {
    let folder = federation();
    let at = folder.path();
    with_train(at, "optimizer = { name = \"sgd\" }\nclip_norm = inf");
    let message = error(at, &[&TRAIN[..], &["--lr", "1e30", "--epochs", "200"]].concat());
    assert!(message.contains("not finite 20 steps in a row"), "{message}");
    assert!(message.contains("smaller [train] lr (now 1e30"), "{message}");
    assert!(!at.join("m.safetensors").exists());
}

#[test]
fn a_center_hears_of_wrong_groups_before_its_nodes_do() {
    let folder = federation();
    let at = folder.path();
    let init = ["init", "--config", "job.toml", "--out", "global.safetensors"];
    with_train(at, "trainable = [\"block.*\"]");
    assert!(error(at, &init).contains("matches no parameter"));
    with_train(at, PRIVATE);
    assert!(error(at, &init).contains("train_stride to at least len"));
}

#[test]
fn passes_follow_the_number_of_windows_but_in_a_federation() {
    let folder = federation();
    let at = folder.path();
    let write = |epochs: &str| {
        std::fs::write(at.join("job.toml"), JOB.replace("epochs = 2\n", epochs)).expect("written");
    };
    let told = |report: &serde_json::Value| {
        let keys = ["epochs", "planned_epochs", "epochs_by_windows"];
        keys.iter().map(|key| report[*key].clone()).collect::<serde_json::Value>()
    };
    for auto in ["", "epochs = \"auto\"\n"] {
        write(auto);
        assert_eq!(told(&json(at, &TRAIN)), serde_json::json!([100, 100, true]), "{auto:?}");
    }
    // What was trained says with how many, and one that was not is a federation's.
    let init = ["init", "--config", "job.toml", "--out", "fresh.safetensors"];
    ok(at, &init);
    for (model, epochs) in [("m.safetensors", 100), ("fresh.safetensors", 2)] {
        let again = ["train", "--init", model, "--data", "data", "--out", "again.safetensors"];
        assert_eq!(told(&json(at, &again)), serde_json::json!([epochs, epochs, null]), "{model}");
    }
    write("epochs = \"many\"\n");
    let output = edgectl(at, &TRAIN).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("a whole number or \"auto\""), "{text}");
}
