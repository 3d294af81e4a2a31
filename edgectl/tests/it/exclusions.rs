//! Nothing runs that was not checked after its last override: options that exclude each other, given
//! by file, by flag and by checkpoint.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::support::{JOB, bytes, fails, federation, ok};

/// Two halves of a job, each of which is valid alone, and what the error says of both.
struct Pair {
    first: Value,
    second: Value,
    says: [&'static str; 2],
    /// The second half as flags of `train` and of `simulate`, where there are some.
    train: &'static [&'static str],
    simulate: &'static [&'static str],
}

fn pair(first: Value, second: Value, says: [&'static str; 2]) -> Pair {
    Pair { first, second, says, train: &[], simulate: &[] }
}

/// Private training, and what would tell of its rows.
fn private_pairs() -> Vec<Pair> {
    let train = |value: Value| json!({ "train": value });
    let private = || {
        json!({
            "window": { "stride": 20 },
            "train": { "augment": { "shift": 0 }, "private": { "clip_norm": 1.0, "noise_multiplier": 1.0 } },
        })
    };
    let plateau = || json!({ "schedule": { "name": "reduce-on-plateau" } });
    let validation = || json!({ "validation": { "fraction": 0.5, "by": "time" } });
    vec![
        pair(
            private(),
            train(json!({ "class_weights": "balanced" })),
            ["train.private", "balanced"],
        ),
        Pair {
            train: &["--lr", "auto"],
            ..pair(private(), train(json!({ "lr": "auto" })), ["train.private", "a number for lr"])
        },
        pair(private(), train(plateau()), ["train.private", "reduce-on-plateau"]),
        pair(
            private(),
            json!({ "federation": { "reduce": { "name": "q-fedavg" } } }),
            ["train.private", "q-fedavg"],
        ),
        pair(private(), train(validation()), ["train.private", "train.validation"]),
        pair(
            private(),
            json!({ "window": { "train_stride": 5 } }),
            ["train.private", "train_stride"],
        ),
        pair(private(), train(json!({ "augment": { "shift": 2 } })), ["train.private", "shift"]),
    ]
}

/// SCAFFOLD, and what makes its variates say nothing.
fn scaffold_pairs() -> Vec<Pair> {
    let train = |value: Value| json!({ "train": value });
    let federation = |value: Value| json!({ "federation": value });
    let sgd = || json!({ "optimizer": { "name": "sgd" }, "schedule": { "name": "constant" } });
    let scaffold = || json!({ "train": sgd(), "federation": { "correction": "scaffold" } });
    let dyn_step = || json!({ "name": "dyn", "alpha": 0.1, "population": 3 });
    let private = || {
        json!({
            "window": { "stride": 20 },
            "train": { "augment": { "shift": 0 }, "private": { "clip_norm": 1.0, "noise_multiplier": 1.0 } },
        })
    };
    let privacy = || json!({ "privacy": { "clip_norm": 1.0, "noise_multiplier": 1.0 } });
    let median = || federation(json!({ "reduce": { "name": "median" } }));
    let plateau = || json!({ "schedule": { "name": "reduce-on-plateau" } });
    vec![
        Pair {
            train: &["--optimizer", "adamw"],
            ..pair(
                scaffold(),
                train(json!({ "optimizer": { "name": "adamw" } })),
                ["scaffold", "[train] optimizer"],
            )
        },
        pair(
            scaffold(),
            train(json!({ "optimizer": { "name": "sgd", "momentum": 0.9 } })),
            ["scaffold", "[train] optimizer"],
        ),
        Pair {
            train: &["--lr", "auto"],
            ..pair(scaffold(), train(json!({ "lr": "auto" })), ["scaffold", "[train] lr"])
        },
        pair(scaffold(), train(plateau()), ["scaffold", "reduce-on-plateau"]),
        Pair {
            train: &["--trainable", "head*"],
            ..pair(
                scaffold(),
                train(json!({ "trainable": ["head*"] })),
                ["scaffold", "[train] trainable"],
            )
        },
        pair(scaffold(), train(json!({ "proximal": 0.1 })), ["scaffold", "[train] proximal"]),
        pair(scaffold(), private(), ["scaffold", "train.private"]),
        Pair {
            simulate: &["--server", "dyn:alpha=0.1,population=3"],
            ..pair(scaffold(), federation(json!({ "server": dyn_step() })), ["scaffold", "dyn"])
        },
        Pair {
            simulate: &["--reduce", "median"],
            ..pair(scaffold(), median(), ["scaffold", "median"])
        },
        pair(scaffold(), federation(privacy()), ["scaffold", "private merging"]),
    ]
}

/// `FedDyn`, and rules of the center.
fn center_pairs() -> Vec<Pair> {
    let train = |value: Value| json!({ "train": value });
    let federation = |value: Value| json!({ "federation": value });
    let dyn_step = || json!({ "name": "dyn", "alpha": 0.1, "population": 3 });
    let private = || {
        json!({
            "window": { "stride": 20 },
            "train": { "augment": { "shift": 0 }, "private": { "clip_norm": 1.0, "noise_multiplier": 1.0 } },
        })
    };
    let privacy = || json!({ "privacy": { "clip_norm": 1.0, "noise_multiplier": 1.0 } });
    let median = || federation(json!({ "reduce": { "name": "median" } }));
    vec![
        Pair {
            simulate: &["--server", "dyn:alpha=0.1,population=3"],
            ..pair(
                train(json!({ "trainable": ["head*"] })),
                federation(json!({ "server": dyn_step() })),
                ["dyn", "[train] trainable"],
            )
        },
        Pair {
            train: &["--trainable", "head*"],
            ..pair(
                federation(json!({ "server": dyn_step() })),
                train(json!({ "trainable": ["head*"] })),
                ["dyn", "[train] trainable"],
            )
        },
        Pair {
            simulate: &["--server", "dyn:alpha=0.1,population=3"],
            ..pair(
                train(json!({ "proximal": 0.1 })),
                federation(json!({ "server": dyn_step() })),
                ["dyn", "[train] proximal"],
            )
        },
        Pair {
            simulate: &["--server", "dyn:alpha=0.1,population=3"],
            ..pair(private(), federation(json!({ "server": dyn_step() })), ["dyn", "train.private"])
        },
        Pair {
            simulate: &["--bucket", "2"],
            ..pair(json!({}), federation(json!({ "bucket": 2 })), ["bucket", "mean"])
        },
        Pair {
            simulate: &["--reduce", "median"],
            ..pair(federation(privacy()), median(), ["private merging", "median"])
        },
        Pair {
            simulate: &["--bucket", "2"],
            ..pair(
                federation(privacy()),
                federation(json!({ "bucket": 2 })),
                ["private merging", "bucket"],
            )
        },
    ]
}

fn pairs() -> Vec<Pair> {
    let all = [private_pairs(), scaffold_pairs(), center_pairs()];
    all.into_iter().flatten().collect()
}

/// Puts what `overlay` has over what `value` has, table by table; a rule is replaced as a whole.
fn overlay(value: &mut Map<String, Value>, over: &Value) {
    for (key, new) in over.as_object().expect("a table") {
        match (value.get_mut(key), new) {
            (Some(Value::Object(old)), Value::Object(table)) if !table.contains_key("name") => {
                overlay(old, &Value::Object(table.clone()));
            }
            _ => _ = value.insert(key.clone(), new.clone()),
        }
    }
}

/// The usual job with parts of another on top.
fn job(parts: &[&Value]) -> String {
    let mut job: Map<String, Value> = toml::from_str(JOB).expect("a job");
    for part in parts {
        overlay(&mut job, part);
    }
    toml::to_string(&job).expect("TOML")
}

/// Rewrites the metadata of a checkpoint.
pub(crate) fn edit(folder: &Path, from: &str, to: &str, change: impl FnOnce(&mut Value)) {
    let file = bytes(folder, from);
    let len = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    let mut header: Value = serde_json::from_slice(&file[8..8 + len]).expect("JSON");
    let text = header["__metadata__"]["edgectl"].as_str().expect("metadata");
    let mut metadata = serde_json::from_str(text).expect("JSON");
    change(&mut metadata);
    header["__metadata__"]["edgectl"] = metadata.to_string().into();
    let mut header = header.to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut new = (header.len() as u64).to_le_bytes().to_vec();
    new.extend(header.as_bytes());
    new.extend(&file[8 + len..]);
    std::fs::write(folder.join(to), new).expect("written");
}

#[test]
fn by_file() {
    let folder = federation();
    let at = folder.path();
    for Pair { first, second, says, .. } in pairs() {
        std::fs::write(at.join("job.toml"), job(&[&first, &second])).expect("written");
        let says = [&says[..], &["job.toml"]].concat();
        fails(at, &["init", "--config", "job.toml", "--out", "g"], &says);
        fails(at, &["train", "--config", "job.toml", "--out", "m"], &says);
        fails(at, &["simulate", "--config", "job.toml", "--out", "."], &says);
    }
}

#[test]
fn by_flag() {
    let folder = federation();
    let at = folder.path();
    let mut tried = 0;
    for Pair { first, says, train, simulate, .. } in pairs() {
        std::fs::write(at.join("job.toml"), job(&[&first])).expect("written");
        ok(at, &["init", "--config", "job.toml", "--out", "g"]);
        if !train.is_empty() {
            let fresh = ["train", "--config", "job.toml", "--out", "m"];
            fails(at, &[&fresh[..], train].concat(), &says);
            let init = ["train", "--init", "g", "--data", "data/node_1.csv", "--out", "m"];
            fails(at, &[&init[..], train].concat(), &says);
            tried += 1;
        }
        if !simulate.is_empty() {
            let args = ["simulate", "--config", "job.toml", "--out", "."];
            fails(at, &[&args[..], simulate].concat(), &says);
            tried += 1;
        }
    }
    assert!(tried >= 12, "{tried}");
}

#[test]
fn by_a_job_on_top_of_a_checkpoint() {
    let folder = federation();
    let at = folder.path();
    for Pair { first, second, says, .. } in pairs() {
        // With --init only the job's training counts.
        if second.as_object().is_some_and(|tables| tables.keys().any(|key| key != "train")) {
            continue;
        }
        std::fs::write(at.join("job.toml"), job(&[&first])).expect("written");
        ok(at, &["init", "--config", "job.toml", "--out", "g"]);
        std::fs::write(at.join("job.toml"), job(&[&first, &second])).expect("written");
        let args = ["train", "--init", "g", "--config", "job.toml", "--out", "m"];
        fails(at, &args, &says);
    }
}

#[test]
fn by_checkpoint() {
    let folder = federation();
    let at = folder.path();
    for Pair { first, second, says, .. } in pairs() {
        std::fs::write(at.join("job.toml"), job(&[&first])).expect("written");
        ok(at, &["init", "--config", "job.toml", "--out", "g"]);
        edit(at, "g", "bad", |metadata| {
            overlay(metadata.as_object_mut().expect("a table"), &second);
        });
        let says = [&says[..], &["bad"]].concat();
        fails(at, &["train", "--init", "bad", "--data", "data/node_1.csv", "--out", "m"], &says);
        fails(at, &["eval", "--model", "bad", "--data", "data"], &says);
        fails(at, &["aggregate", "g", "--base", "bad", "--out", "m"], &says);
    }
}

#[test]
fn what_is_out_of_range_in_a_checkpoint_is_blamed_on_it_and_not_on_the_data() {
    let folder = federation();
    let at = folder.path();
    ok(at, &["init", "--config", "job.toml", "--out", "g"]);
    for (section, key, value, says) in [
        ("window", "stride", json!(0), "[window] stride"),
        ("window", "train_stride", json!(0), "[window] train_stride"),
        ("train", "batch", json!(0), "[train] batch"),
        ("train", "lr", json!(-1.0), "[train] lr"),
        ("federation", "rounds", json!(0), "[federation] rounds"),
        ("federation", "server", json!({ "name": "sgd", "lr": 0.0 }), "[federation]"),
    ] {
        edit(at, "g", "bad", |metadata| metadata[section][key] = value.clone());
        let eval = ["eval", "--model", "bad", "--data", "data/node_1.csv"];
        fails(at, &eval, &["error: bad: ", says]);
    }
}

#[test]
fn what_a_later_version_wrote_is_carried_along_unless_it_is_needed() {
    let folder = federation();
    let at = folder.path();
    ok(at, &["init", "--config", "job.toml", "--out", "g"]);
    let later = |metadata: &mut Value| {
        metadata["format"] = json!(3);
        metadata["calibration"] = json!({ "temperature": 1.5 });
        metadata["train"]["rehearse"] = json!(0.25);
        metadata["train"]["augment"]["mixup"] = json!([1, 2]);
        metadata["federation"]["relay"] = json!("east");
        metadata["provenance"]["device"] = json!("arm");
    };
    edit(at, "g", "later", later);
    ok(at, &["eval", "--model", "later", "--data", "data"]);
    for node in 1..=3 {
        let (data, out) = (format!("data/node_{node}.csv"), format!("n{node}"));
        ok(at, &["train", "--init", "later", "--data", &data, "--out", &out]);
    }
    let merge = ["aggregate", "n1", "n2", "n3", "--base", "later", "--out", "merged"];
    ok(at, &merge);
    for file in ["n1", "merged"] {
        let text = ok(at, &["inspect", file, "--json"]);
        let report: Value = serde_json::from_str(&text).expect("JSON");
        let metadata = &report["edgectl"];
        assert_eq!(metadata["format"], 2, "{file}");
        assert_eq!(metadata["calibration"]["temperature"], 1.5, "{file}");
        assert_eq!(metadata["train"]["rehearse"], 0.25, "{file}");
        assert_eq!(metadata["train"]["augment"]["mixup"], json!([1, 2]), "{file}");
        assert_eq!(metadata["train"]["augment"]["shift"], 3, "{file}");
        assert_eq!(metadata["federation"]["relay"], "east", "{file}");
    }
    edit(at, "g", "strange", |metadata| metadata["needs"] = json!(["partial", "wings", "gills"]));
    let says = ["error: strange: ", "\"wings\", \"gills\"", "use a newer edgectl"];
    fails(at, &["eval", "--model", "strange", "--data", "data"], &says);
    fails(at, &["train", "--init", "strange", "--data", "data", "--out", "m"], &says);
    fails(at, &["aggregate", "n1", "--base", "strange", "--out", "m"], &says);
    fails(at, &["inspect", "strange"], &says);
    fails(at, &["predict", "--model", "strange", "--data", "data", "--out", "p.csv"], &says);
}
