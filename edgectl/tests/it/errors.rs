//! Every wrong input ends in one clear error, and harms no file.

use std::path::Path;

use crate::support::{JOB, bytes, edgectl, fails, federation, json, ok, table, trained, weights};

#[test]
fn bad_tables_name_the_file_the_line_and_the_column() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let good = table(1);
    let line = |n: usize| good.lines().nth(n - 1).expect("a line").to_owned();
    let cases: [(&str, String, &[&str]); 9] = [
        ("empty.csv", String::new(), &["empty.csv", "empty"]),
        ("header.csv", "series,t,label,split,x,y\n".to_owned(), &["header.csv", "no rows"]),
        ("ragged.csv", good.replacen(&line(5), "0,3,slow,train,1.0", 1), &["ragged.csv", "line 5"]),
        (
            "text.csv",
            good.replacen(&line(7), "0,5,slow,train,oops,1.0", 1),
            &["text.csv", "line 7", "\"x\"", "oops"],
        ),
        (
            "infinite.csv",
            good.replacen(&line(7), "0,5,slow,train,inf,1.0", 1),
            &["infinite.csv", "line 7", "\"x\""],
        ),
        (
            "label.csv",
            good.replacen(",slow,", ",slowly,", 1),
            &["label.csv", "slowly", "fast", "slow"],
        ),
        ("channel.csv", good.replacen(",y\n", ",yy\n", 1), &["channel.csv", "\"y\"", "yy"]),
        (
            "missing.csv",
            good.replacen(&line(7), "0,5,slow,train,,1.0", 1),
            &["missing.csv", "missing", "impute"],
        ),
        (
            "short.csv",
            good.lines().take(1 + 12).collect::<Vec<_>>().join("\n"),
            &["short.csv", "window of 20 steps", "12 rows"],
        ),
    ];
    for (name, text, parts) in &cases {
        std::fs::write(at.join(name), text).expect("written");
        let model = ["--model", "global.safetensors", "--data", name];
        fails(at, &[&["eval", "--all"], &model[..]].concat(), parts);
        fails(at, &[&["predict", "--out", "p.csv"], &model[..]].concat(), parts);
        let train = ["train", "--init", "global.safetensors", "--out", "new.safetensors", "--data"];
        fails(at, &[&train[..], &[name]].concat(), parts);
    }
    std::fs::write(at.join("binary.csv"), [0xFF, 0xFE, 0x00, 0x80]).expect("written");
    fails(at, &["eval", "--model", "global.safetensors", "--data", "binary.csv"], &["binary.csv"]);
    fails(at, &["eval", "--model", "global.safetensors", "--data", "none.csv"], &["none.csv"]);
}

#[test]
fn bad_jobs_and_flags_say_what_to_write() {
    let folder = federation();
    let at = folder.path();
    let job = |text: String| std::fs::write(at.join("bad.toml"), text).expect("written");
    let init = ["init", "--config", "bad.toml", "--data", "data", "--out", "m.safetensors"];
    fails(at, &init, &["bad.toml"]);
    job(JOB.replace("epochs", "epoch"));
    fails(at, &init, &["bad.toml", "`epoch`", "did you mean `epochs`"]);
    job(JOB.replace("z-score", "zscore"));
    fails(at, &init, &["bad.toml", "did you mean `z-score`"]);
    job(JOB.replace("len = 20", "len = 500"));
    let train = ["train", "--config", "bad.toml", "--data", "data", "--out", "m.safetensors"];
    fails(at, &train, &["500 steps", "60 rows"]);
    job(JOB.replace("batch = 8", "batch = 0"));
    fails(at, &train, &["batch"]);
    fails(at, &["train", "--data", "data", "--out", "m.safetensors"], &["--config"]);
    fails(
        at,
        &["train", "--config", "job.toml", "--out", "no/such/m.safetensors"],
        &["no/such", "does not exist"],
    );
    fails(
        at,
        &["simulate", "--config", "job.toml", "--out", "no/such/run"],
        &["no/such/run", "does not exist"],
    );
    fails(
        at,
        &["simulate", "--config", "job.toml", "--out", "run", "--holdout", "node_9"],
        &["node_9", "node_1"],
    );
    fails(
        at,
        &["train", "--config", "job.toml", "--out", "m.safetensors", "--resume"],
        &["m.safetensors.state", "resume"],
    );
    fails(
        at,
        &["train", "--config", "job.toml", "--out", "m.safetensors", "--optimizer", "adamv"],
        &["adamw"],
    );
    fails(at, &["bench", "train", "--d-model", "10", "--heads", "3"], &["n_heads must divide"]);
    fails(at, &["frobnicate"], &["frobnicate"]);
}

#[test]
#[cfg(unix)]
fn a_folder_that_cannot_be_written_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let folder = federation();
    let at = folder.path();
    let locked = at.join("locked");
    std::fs::create_dir(&locked).expect("a folder");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).expect("set");
    // The superuser writes everywhere, except where there is no file system to write to.
    let target = if std::fs::write(locked.join("probe"), "").is_ok() {
        "/proc/m.safetensors"
    } else {
        "locked/m.safetensors"
    };
    let _ = std::fs::remove_file(locked.join("probe"));
    fails(at, &["train", "--config", "job.toml", "--out", target], &[target, "cannot"]);
}

#[test]
fn damaged_weight_files_are_refused_by_every_command() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let good = bytes(at, "n1.safetensors");
    let header_len = u64::from_le_bytes(good[..8].try_into().expect("8 bytes")) as usize;
    let header = String::from_utf8(good[8..8 + header_len].to_vec()).expect("text");
    let with_header = |header: &str| {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend(&good[8 + header_len..]);
        file
    };
    let first = header.find("\"data_offsets\":[").expect("offsets") + "\"data_offsets\":[".len();
    let end = first + header[first..].find(']').expect("closed");
    let offsets =
        |text: &str| with_header(&format!("{}{text}{}", &header[..first], &header[end..]));
    let cases = [
        ("empty", Vec::new()),
        ("short", good[..5].to_vec()),
        ("truncated", good[..good.len() - 9].to_vec()),
        ("claims", [&(u64::MAX / 2).to_le_bytes()[..], &good[8..]].concat()),
        ("overlap", offsets("4,68")),
        ("overflow", offsets("0,18446744073709551615")),
        ("beyond", offsets("0,999999999")),
        ("text", b"not a weight file at all, but long enough".to_vec()),
    ];
    for (name, content) in &cases {
        let file = format!("{name}.safetensors");
        std::fs::write(at.join(&file), content).expect("written");
        fails(at, &["inspect", &file], &[&file]);
        fails(at, &["eval", "--model", &file, "--data", "data"], &[&file]);
        fails(
            at,
            &["train", "--init", &file, "--data", "data", "--out", "x.safetensors"],
            &[&file],
        );
        let merge = ["aggregate", "n2.safetensors", &file, "--out", "x.safetensors"];
        fails(at, &merge, &[&file]);
        // Left out where so few will do, with the others merged.
        let report = json(at, &[&merge[..], &["--quorum", "1"]].concat());
        assert_eq!(report["rejected"].as_array().map(Vec::len), Some(1), "{name}: {report}");
        std::fs::remove_file(at.join("x.safetensors")).expect("written");
    }
    fails(at, &["inspect", "none.safetensors"], &["none.safetensors"]);
    fails(at, &["aggregate", "none.safetensors", "--out", "x.safetensors"], &["none.safetensors"]);
}

/// Writes `from` again as `to`, changed by editing its bytes at the start of the data.
fn poisoned(folder: &Path, from: &str, to: &str, value: f32) {
    let mut file = bytes(folder, from);
    let header_len = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    file[8 + header_len..8 + header_len + 4].copy_from_slice(&value.to_le_bytes());
    std::fs::write(folder.join(to), file).expect("written");
}

#[test]
fn updates_with_nan_or_infinity_are_left_out_or_with_strict_end_the_merge() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    ok(
        at,
        &[
            "aggregate",
            "n2.safetensors",
            "n3.safetensors",
            "--base",
            "global.safetensors",
            "--out",
            "good.safetensors",
        ],
    );
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        poisoned(at, "n1.safetensors", "bad.safetensors", value);
        let merge = [
            "aggregate",
            "bad.safetensors",
            "n2.safetensors",
            "n3.safetensors",
            "--base",
            "global.safetensors",
            "--out",
            "merged.safetensors",
        ];
        fails(at, &[&merge[..], &["--strict"]].concat(), &["bad.safetensors"]);
        let report = json(at, &merge);
        let rejected = report["rejected"].as_array().expect("a list");
        assert_eq!(rejected.len(), 1, "{report}");
        assert_eq!(rejected[0]["path"], "bad.safetensors");
        assert_eq!(weights(at, "merged.safetensors"), weights(at, "good.safetensors"));
        std::fs::remove_file(at.join("merged.safetensors")).expect("written");
        fails(
            at,
            &["aggregate", "bad.safetensors", "--out", "merged.safetensors"],
            &["bad.safetensors"],
        );
        fails(
            at,
            &["eval", "--model", "bad.safetensors", "--data", "data"],
            &["bad.safetensors", "NaN or infinity"],
        );
    }
}

#[test]
fn updates_that_do_not_belong_together_are_refused() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let merge = |files: &[&str], rest: &[&str], parts: &[&str]| {
        let out = ["--out", "x.safetensors", "--strict"];
        fails(at, &[&["aggregate"], files, &out[..], rest].concat(), parts);
    };
    let with_base = ["--base", "global.safetensors"];
    // the same node twice
    std::fs::copy(at.join("n1.safetensors"), at.join("again.safetensors")).expect("copied");
    merge(
        &["n1.safetensors", "again.safetensors", "n2.safetensors"],
        &with_base,
        &["again.safetensors", "n1.safetensors", "node_1"],
    );
    merge(&["n1.safetensors", "n1.safetensors"], &[], &["n1.safetensors"]);
    // another base
    ok(at, &["init", "--config", "job.toml", "--out", "other.safetensors", "--seed", "5"]);
    merge(&["n1.safetensors", "n2.safetensors"], &["--base", "other.safetensors"], &["base"]);
    ok(
        at,
        &[
            "train",
            "--init",
            "other.safetensors",
            "--data",
            "data/node_3.csv",
            "--out",
            "stray.safetensors",
        ],
    );
    merge(
        &["n1.safetensors", "n2.safetensors", "stray.safetensors"],
        &with_base,
        &["stray.safetensors", "base"],
    );
    // other shapes
    std::fs::write(at.join("wide.toml"), JOB.replace("d_ff = 32", "d_ff = 40")).expect("written");
    ok(
        at,
        &[
            "train",
            "--config",
            "wide.toml",
            "--out",
            "wide.safetensors",
            "--data",
            "data/node_3.csv",
        ],
    );
    merge(
        &["n1.safetensors", "n2.safetensors", "wide.safetensors"],
        &[],
        &["wide.safetensors", "another model"],
    );
    // weights
    let two = ["n1.safetensors", "n2.safetensors"];
    merge(&two, &["--weights", "1,-1"], &["n2.safetensors", "-1"]);
    merge(&two, &["--weights", "1,nan"], &["n2.safetensors", "NaN"]);
    merge(&two, &["--weights", "0,0"], &["0"]);
    merge(&two, &["--weights", "1"], &["--weights", "2 files"]);
    merge(&two, &["--strategy", "sgd"], &["--base"]);
    merge(&two, &["--strategy", "weighted"], &["--weights"]);
    merge(
        &two,
        &["--strategy", "sgd", "--momentum", "1.5", "--base", "global.safetensors"],
        &["momentum"],
    );
    merge(&two, &["--base", "none.safetensors"], &["none.safetensors"]);
}

#[test]
fn a_failed_command_leaves_an_existing_output_as_it_was() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    std::fs::write(at.join("bad.csv"), "series,t,label,split,x,y\n0,0,slow,train,a,b\n")
        .expect("written");
    // `fails` compares every file before and after.
    fails(
        at,
        &["train", "--init", "global.safetensors", "--data", "bad.csv", "--out", "n1.safetensors"],
        &["bad.csv"],
    );
    fails(
        at,
        &["aggregate", "n1.safetensors", "job.toml", "--out", "global.safetensors"],
        &["job.toml"],
    );
}

/// Rewrites the header of a weight file.
fn edited(folder: &Path, from: &str, to: &str, edit: impl Fn(&str) -> String) {
    let file = bytes(folder, from);
    let header_len = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    let header = edit(std::str::from_utf8(&file[8..8 + header_len]).expect("text"));
    let mut new = (header.len() as u64).to_le_bytes().to_vec();
    new.extend(header.as_bytes());
    new.extend(&file[8 + header_len..]);
    std::fs::write(folder.join(to), new).expect("written");
}

#[test]
fn updates_of_another_schema_or_with_damaged_metadata_are_refused() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let escaped = |text: &str| text.replace('"', "\\\"");
    let classes = |h: &str| h.replace(&escaped(r#""fast","slow""#), &escaped(r#""left","slow""#));
    let version = |h: &str| h.replace(&escaped(r#""format":1"#), &escaped(r#""format":2"#));
    edited(at, "n3.safetensors", "classes.safetensors", classes);
    edited(at, "n3.safetensors", "version.safetensors", version);
    for (bad, reason) in [("classes.safetensors", "classes"), ("version.safetensors", "format 2")] {
        assert_ne!(bytes(at, bad), bytes(at, "n3.safetensors"), "{bad} was not edited");
        for base in [&["--base", "global.safetensors"][..], &[]] {
            for weights in [&["--uniform"][..], &[]] {
                let files = [
                    "aggregate",
                    bad,
                    "n1.safetensors",
                    "n2.safetensors",
                    "--out",
                    "x.safetensors",
                ];
                let args = [&files[..], base, weights].concat();
                let strict = [&args[..], &["--strict"]].concat();
                fails(at, &strict, &[bad, reason, "nothing was merged", "--keep-going"]);
                let report = json(at, &args);
                assert_eq!(report["rejected"].as_array().map(Vec::len), Some(1), "{report}");
                std::fs::remove_file(at.join("x.safetensors")).expect("written");
            }
        }
    }
}

#[test]
fn a_run_that_diverges_is_an_error_and_keeps_the_old_output() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let train = [
        "train",
        "--init",
        "global.safetensors",
        "--data",
        "data/node_1.csv",
        "--out",
        "n1.safetensors",
    ];
    for lr in ["1e38", "1e20"] {
        fails(at, &[&train[..], &["--epochs", "1", "--lr", lr]].concat(), &["diverged", "lr"]);
    }
    // A budget beyond the clock's range is no limit, and no panic.
    ok(at, &[&train[..], &["--time-budget", "500000000000y"]].concat());
}

#[test]
fn data_that_can_never_train_or_test_is_refused_at_the_start() {
    let folder = federation();
    let at = folder.path();
    let init = ["init", "--config", "job.toml", "--out", "m.safetensors", "--data"];
    let short = table(1).lines().take(6).collect::<Vec<_>>().join("\n");
    std::fs::write(at.join("short.csv"), short).expect("written");
    fails(at, &[&init[..], &["short.csv"]].concat(), &["short.csv", "window of 20 steps"]);
    let text = table(1);
    let fourth = text.lines().nth(4).expect("a line");
    let gap = text.replacen(fourth, "0,3,slow,train,,1.0", 1);
    std::fs::write(at.join("gap.csv"), gap).expect("written");
    fails(at, &[&init[..], &["gap.csv"]].concat(), &["gap.csv", "missing", "impute"]);
    let unmarked: String = table(1)
        .lines()
        .map(|l| l.replace(",split", "").replace(",train", "").replace(",test", "") + "\n")
        .collect();
    std::fs::write(at.join("unmarked.csv"), unmarked).expect("written");
    let args = ["simulate", "--config", "job.toml", "--data", "unmarked.csv", "--out", "run"];
    let output = edgectl(at, &args).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("add a split column"));
}
