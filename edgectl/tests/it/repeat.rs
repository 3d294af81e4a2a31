//! The same seed gives the same bytes: threads, resume, order of files, simulate.

use std::path::Path;

use crate::support::{bytes, federation, json, ok, trained};

#[test]
fn two_runs_and_any_number_of_threads_give_the_same_bytes() {
    let folder = federation();
    let at = folder.path();
    for (out, threads) in [("a", "1"), ("b", "2"), ("c", "3")] {
        let out = format!("{out}.safetensors");
        ok(at, &["train", "--config", "job.toml", "--out", &out, "--threads", threads]);
    }
    assert_eq!(bytes(at, "a.safetensors"), bytes(at, "b.safetensors"));
    assert_eq!(bytes(at, "a.safetensors"), bytes(at, "c.safetensors"));
    ok(at, &["train", "--config", "job.toml", "--out", "d.safetensors", "--seed", "9"]);
    assert_ne!(bytes(at, "a.safetensors"), bytes(at, "d.safetensors"));
}

#[test]
fn simulate_gives_the_same_bytes_on_any_number_of_threads() {
    let folder = federation();
    let at = folder.path();
    for (out, threads) in [("a", "1"), ("b", "2"), ("c", "5")] {
        let simulate = ["simulate", "--config", "job.toml", "--keep-updates", "--out", out];
        ok(at, &[&simulate[..], &["--threads", threads]].concat());
    }
    for file in ["global.safetensors", "nodes/node_2.safetensors"] {
        let [a, b, c] = ["a", "b", "c"].map(|out| bytes(at, &format!("{out}/{file}")));
        assert_eq!(a, b, "{file}");
        assert_eq!(a, c, "{file}");
    }
}

#[test]
fn simulate_is_the_same_as_the_commands_by_hand() {
    let folder = federation();
    let at = folder.path();
    ok(at, &["simulate", "--config", "job.toml", "--out", "run", "--rounds", "2"]);
    let job = crate::support::JOB.replace("rounds = 3", "rounds = 2");
    std::fs::write(at.join("job.toml"), job).expect("written");
    ok(at, &["init", "--config", "job.toml", "--data", "data", "--out", "global.safetensors"]);
    for _ in 0..2 {
        for node in 1..=3 {
            let (data, out) = (format!("data/node_{node}.csv"), format!("n{node}.safetensors"));
            ok(at, &["train", "--init", "global.safetensors", "--data", &data, "--out", &out]);
        }
        let updates = ["n3.safetensors", "n1.safetensors", "n2.safetensors"];
        let end =
            ["--base", "global.safetensors", "--out", "global.safetensors", "--strategy", "job"];
        ok(at, &[&["aggregate"], &updates[..], &end[..]].concat());
    }
    assert_eq!(bytes(at, "global.safetensors"), bytes(at, "run/global.safetensors"));
}

#[test]
fn a_resumed_run_gives_the_bytes_of_an_uninterrupted_one() {
    let folder = federation();
    let at = folder.path();
    let job = format!(
        "{}\n[train.validation]\nfraction = 0.5\nby = \"time\"\n",
        crate::support::JOB.replace("epochs = 2", "epochs = 40")
    );
    std::fs::write(at.join("job.toml"), job).expect("written");
    ok(at, &["train", "--config", "job.toml", "--out", "whole.safetensors"]);
    // 13 steps at a time, which is no whole number of epochs.
    let mut args =
        vec!["train", "--config", "job.toml", "--out", "parts.safetensors", "--stop-after-steps"];
    args.push("13");
    let mut report = json(at, &args);
    args.push("--resume");
    let mut parts = 1;
    while report["stopped"].is_string() {
        report = json(at, &args);
        parts += 1;
        assert!(parts < 5000, "it never ends");
    }
    assert!(parts > 2, "the run was not interrupted");
    assert_eq!(bytes(at, "whole.safetensors"), bytes(at, "parts.safetensors"));
}

/// Runs the command, sends it a signal once it has told of some epochs, and waits for its end.
#[cfg(unix)]
fn signalled(folder: &Path, args: &[&str], signal: &str) -> std::process::Output {
    use std::io::BufRead;
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("edgectl"))
        .current_dir(folder)
        .args(args)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = std::io::BufReader::new(child.stderr.take().expect("piped")).lines();
    let told = lines.by_ref().any(|line| line.is_ok_and(|line| line.starts_with("epoch ")));
    assert!(told, "it ended before an epoch");
    let id = child.id().to_string();
    let kill = std::process::Command::new("kill").args([signal, &id]).status();
    assert!(kill.expect("kill runs").success());
    // Nobody else reads what it says from now on.
    lines.for_each(drop);
    child.wait_with_output().expect("it ends")
}

#[test]
#[cfg(unix)]
fn ctrl_c_saves_what_was_learned_and_resume_goes_on() {
    let folder = federation();
    let at = folder.path();
    let job = crate::support::JOB.replace("epochs = 2", "epochs = 2000");
    std::fs::write(at.join("job.toml"), job).expect("written");
    ok(at, &["train", "--config", "job.toml", "--out", "whole.safetensors"]);
    let args = ["train", "--config", "job.toml", "--out", "cut.safetensors", "--json"];
    let output = signalled(at, &args, "-INT");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    match output.status.code() {
        Some(130) => assert_eq!(report["stopped"], "interrupted"),
        code => assert!(code == Some(0) && report["epochs"] == 2000, "{code:?} {report}"),
    }
    ok(at, &["train", "--config", "job.toml", "--out", "cut.safetensors", "--resume"]);
    assert_eq!(bytes(at, "whole.safetensors"), bytes(at, "cut.safetensors"));
}

#[test]
fn the_state_of_another_run_is_refused() {
    let folder = federation();
    let at = folder.path();
    ok(at, &["train", "--config", "job.toml", "--out", "m.safetensors"]);
    let args =
        ["train", "--config", "job.toml", "--out", "m.safetensors", "--resume", "--lr", "0.5"];
    let output = crate::support::edgectl(at, &args).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("m.safetensors.state") && stderr.contains("another run"), "{stderr}");
}

#[test]
fn the_order_of_files_does_not_matter_and_equal_files_come_back() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    for (order, out) in
        [(["n1", "n2", "n3"], "a"), (["n3", "n1", "n2"], "b"), (["n2", "n3", "n1"], "c")]
    {
        let files = order.map(|name| format!("{name}.safetensors"));
        let out = format!("{out}.safetensors");
        ok(
            at,
            &[
                "aggregate",
                &files[0],
                &files[1],
                &files[2],
                "--base",
                "global.safetensors",
                "--out",
                &out,
            ],
        );
    }
    assert_eq!(bytes(at, "a.safetensors"), bytes(at, "b.safetensors"));
    assert_eq!(bytes(at, "a.safetensors"), bytes(at, "c.safetensors"));
    // A merge of one file, and of its copies, has the weights of that file.
    ok(at, &["aggregate", "n1.safetensors", "--out", "one.safetensors"]);
    let tensors = |name: &str| {
        testkit::golden(at.join(name))
            .into_iter()
            .map(|(name, t)| (name, t.values))
            .collect::<Vec<_>>()
    };
    for (one, own) in tensors("one.safetensors").iter().zip(tensors("n1.safetensors")) {
        assert_eq!(one.0, own.0);
        testkit::assert_same_bits(&one.0, &one.1, &own.1);
    }
}

#[test]
fn without_a_base_the_order_of_different_updates_does_not_matter() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    // Other options, so that the files' metadata differ.
    let args = [
        "train",
        "--init",
        "global.safetensors",
        "--data",
        "data/node_2.csv",
        "--out",
        "n2.safetensors",
    ];
    ok(at, &[&args[..], &["--epochs", "3"]].concat());
    ok(at, &["aggregate", "n1.safetensors", "n2.safetensors", "--out", "a.safetensors"]);
    ok(at, &["aggregate", "n2.safetensors", "n1.safetensors", "--out", "b.safetensors"]);
    assert_eq!(bytes(at, "a.safetensors"), bytes(at, "b.safetensors"));
}

#[test]
#[cfg(unix)]
fn a_termination_signal_saves_what_was_learned() {
    let folder = federation();
    let at = folder.path();
    let args = ["train", "--config", "job.toml", "--out", "m.safetensors", "--epochs", "100000"];
    assert_eq!(signalled(at, &args, "-TERM").status.code(), Some(143));
    json(at, &["eval", "--model", "m.safetensors", "--data", "data"]);
}
