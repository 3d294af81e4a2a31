//! How commands end: signals, closed readers, text that steers, runs that cannot learn.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{JOB, fails, federation, json, ok, table, trained};

fn start(folder: &Path, args: &[&str]) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin("edgectl"))
        .current_dir(folder)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

fn send(child: &Child, signal: &str) {
    let kill = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success());
}

/// Starts the command and sends it a signal once it says a line that begins so.
fn signalled(folder: &Path, args: &[&str], line: &str, signal: &str) -> Output {
    let mut child = start(folder, args);
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    assert!(lines.by_ref().any(|said| said.is_ok_and(|said| said.starts_with(line))));
    send(&child, signal);
    lines.for_each(drop);
    child.wait_with_output().expect("it ends")
}

/// Names of temporary files in a folder and those below.
fn temporary(folder: &Path) -> Vec<String> {
    let all = crate::support::snapshot(folder);
    let names = all.iter().map(|(path, _)| path.display().to_string());
    names.filter(|name| name.contains(".edgectl-incomplete-")).collect()
}

fn with_job(job: &str) -> tempfile::TempDir {
    let folder = federation();
    fs::write(folder.path().join("job.toml"), job).expect("written");
    folder
}

#[test]
fn a_simulation_that_is_stopped_says_so_by_code_and_report() {
    let folder = with_job(&JOB.replace("rounds = 3", "rounds = 5000"));
    let at = folder.path();
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        if signal == "-HUP" && edgectl::system::hangup_is_ignored() {
            continue; // These tests, and so the command, outlive their terminal.
        }
        let args = ["simulate", "--config", "job.toml", "--out", "run", "--centralised"];
        let output = signalled(at, &[&args[..], &["--json"]].concat(), "round ", signal);
        assert_eq!(output.status.code(), Some(code), "{signal}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let done = report["rounds"].as_array().expect("a list").len();
        assert!(done >= 1, "no round was kept");
        assert_eq!(report["stopped"], format!("interrupted after round {done} of 5000"));
        assert_eq!(report["planned_rounds"], 5000);
        let kept = fs::read(at.join("run/report.json")).expect("written");
        let mut kept: Value = serde_json::from_slice(&kept).expect("JSON");
        // The file also says what belongs to the run.
        let fields = kept.as_object_mut().expect("a table");
        assert!(fields.remove("files").is_some() && fields.remove("written_by").is_some());
        assert_eq!(kept, report);
        assert!(temporary(at).is_empty());
    }
    let args = ["simulate", "--config", "job.toml", "--out", "run"];
    let output = signalled(at, &args, "round ", "-INT");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("interrupted after round "), "{text}");
    let report = json(at, &[&args[..], &["--rounds", "1"]].concat());
    assert_eq!((&report["stopped"], &report["planned_rounds"]), (&Value::Null, &1.into()));
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let folder = with_job(&JOB.replace("epochs = 2", "epochs = 1000000"));
    let at = folder.path();
    let mut child = start(at, &["simulate", "--config", "job.toml", "--out", "run"]);
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    assert!(lines.next().is_some_and(|line| line.is_ok()), "it says how many nodes there are");
    std::thread::sleep(Duration::from_millis(500));
    send(&child, "-INT");
    std::thread::sleep(Duration::from_millis(600));
    assert!(child.try_wait().expect("it runs").is_none(), "the round is not waited for");
    let began = Instant::now();
    send(&child, "-TERM");
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(temporary(at).is_empty());
}

/// Sends signals at ever later moments, until one ends the command with its code.
fn ends_at_once(folder: &Path, args: &[&str]) {
    for delay in (10..400).step_by(10) {
        let mut child = start(folder, args);
        std::thread::sleep(Duration::from_millis(delay));
        if child.try_wait().expect("it runs").is_some() {
            continue;
        }
        send(&child, "-TERM");
        let output = child.wait_with_output().expect("it ends");
        assert!(temporary(folder).is_empty(), "{args:?} leaves {:?}", temporary(folder));
        if output.status.code() == Some(143) {
            return;
        }
    }
    panic!("{args:?} was never ended by a signal");
}

#[test]
fn commands_without_a_loop_end_at_once_and_leave_no_temporary_file() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    // Rows enough for some tenths of a second.
    let mut rows = "series,t,label,split,x,y\n".to_owned();
    for i in 0..300_000 {
        let label = if i < 150_000 { "slow" } else { "fast" };
        writeln!(rows, "{label},{i},{label},test,{}.5,{}.25", i % 7, i % 11).expect("written");
    }
    fs::write(at.join("big.csv"), rows).expect("written");
    let model = ["--model", "global.safetensors", "--data", "big.csv"];
    ends_at_once(at, &[&["eval"], &model[..]].concat());
    ends_at_once(at, &[&["predict", "--out", "p.csv"], &model[..]].concat());
    ends_at_once(at, &[&["preprocess", "--out", "s.csv"], &model[..]].concat());
    ends_at_once(
        at,
        &["init", "--config", "job.toml", "--data", "big.csv", "--out", "i.safetensors"],
    );
    ends_at_once(at, &["bench", "gemm"]);
}

#[test]
fn a_merge_that_is_ended_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let values = vec![0.5_f32; 1 << 23];
    let tensors = [aggregate::TensorRef {
        name: "w",
        shape: &[values.len()],
        data: aggregate::TensorData::F32(&values),
    }];
    for name in ["a.safetensors", "b.safetensors"] {
        aggregate::write_file(at.join(name), &tensors, &std::collections::BTreeMap::new())
            .expect("written");
    }
    let args =
        ["aggregate", "a.safetensors", "b.safetensors", "--uniform", "--out", "o.safetensors"];
    for _ in 0..50 {
        let mut child = start(at, &args);
        let is_there = |child: &mut Child| {
            while child.try_wait().expect("it runs").is_none() {
                let mut names = fs::read_dir(at).expect("readable").flatten();
                if names
                    .any(|e| e.file_name().to_string_lossy().starts_with(".edgectl-incomplete-"))
                {
                    return true;
                }
            }
            false
        };
        if is_there(&mut child) {
            send(&child, "-INT");
        }
        let code = child.wait().expect("it ends").code();
        assert!(matches!(code, Some(0 | 130)), "{code:?}");
        let left = fs::read_dir(at).expect("readable").flatten();
        let left =
            left.filter(|e| e.file_name().to_string_lossy().starts_with(".edgectl-incomplete-"));
        assert_eq!(left.count(), 0, "after {code:?}");
        if code == Some(130) {
            return;
        }
    }
    panic!("no merge was cut in the middle");
}

#[test]
fn a_closed_reader_is_a_quiet_end_of_every_command() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let data = ["--model", "global.safetensors", "--data", "data"];
    let merge = ["aggregate", "n1.safetensors", "n2.safetensors", "--out", "o.safetensors"];
    let commands: [Vec<&str>; 8] = [
        vec!["init", "--config", "job.toml", "--out", "i.safetensors"],
        vec!["train", "--config", "job.toml", "--out", "t.safetensors"],
        merge.to_vec(),
        [&["eval"], &data[..]].concat(),
        [&["predict", "--out", "p.csv"], &data[..]].concat(),
        [&["preprocess", "--out", "s.csv"], &data[..]].concat(),
        vec!["simulate", "--config", "job.toml", "--out", "run"],
        vec!["inspect", "global.safetensors"],
    ];
    for command in commands {
        for form in [&[][..], &["--json"]] {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            let (silent, spoken) = std::io::pipe().expect("a pipe");
            let run = |stdout: Stdio, stderr: Stdio| {
                Command::new(assert_cmd::cargo::cargo_bin("edgectl"))
                    .current_dir(at)
                    .args(command.iter().chain(form))
                    .stdout(stdout)
                    .stderr(stderr)
                    .output()
                    .expect("it runs")
            };
            let output = run(writer.into(), Stdio::piped());
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?} {form:?}: {stderr}");
            assert!(!stderr.contains("error"), "{command:?} {form:?}: {stderr}");
            drop(silent);
            let output = run(Stdio::piped(), spoken.into());
            assert!(output.status.success(), "{command:?} {form:?} without stderr");
        }
    }
}

/// Fails if a text holds what steers a terminal, or a line that a name made.
#[track_caller]
fn check_shown(args: &[&str], output: &Output) {
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        let steers = text.chars().any(|c| c.is_control() && c != '\n');
        assert!(!steers, "{args:?}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("forged")), "{args:?}: {text}");
    }
}

#[test]
fn control_characters_and_line_ends_of_names_are_shown() {
    let folder = federation();
    let at = folder.path();
    fs::remove_dir_all(at.join("data")).expect("removed");
    fs::create_dir(at.join("data")).expect("a folder");
    let bad = "\u{1b}[2J\nforged";
    let quoted = |name: &str| format!("\"{name}{bad}\"");
    for node in 1..=2 {
        let text = table(node).replace("slow", &quoted("slow")).replacen(
            ",x,",
            &format!(",{},", quoted("x")),
            1,
        );
        fs::write(at.join(format!("data/n{node}{bad}.csv")), text).expect("written");
    }
    let node = format!("data/n1{bad}.csv");
    let (good, other) = (format!("m{bad}.safetensors"), format!("o{bad}.safetensors"));
    fs::write(at.join("bad.toml"), format!("[train]\n\"epo{}\" = 1\n", "\\u001b\\nforged"))
        .expect("written");
    fs::write(at.join(format!("t{bad}.csv")), "series,t,label,split,x,y\n0,0,a,train,1,2\n")
        .expect("written");
    let wrong = format!("t{bad}.csv");
    let runs: [(bool, Vec<&str>); 14] = [
        (true, vec!["init", "--config", "job.toml", "--out", &good]),
        (true, vec!["train", "--init", &good, "--data", &node, "--out", &other]),
        (
            true,
            vec![
                "train",
                "--init",
                &good,
                "--data",
                &node,
                "--out",
                "n.safetensors",
                "--node",
                "b",
            ],
        ),
        (
            true,
            vec!["aggregate", &other, "n.safetensors", "--base", &good, "--out", "g.safetensors"],
        ),
        (true, vec!["eval", "--model", &good, "--data", "data"]),
        (true, vec!["predict", "--model", &good, "--data", "data", "--out", "p.csv"]),
        (true, vec!["preprocess", "--model", &good, "--data", "data", "--out", "s.csv"]),
        (true, vec!["inspect", &good]),
        (false, vec!["init", "--config", "bad.toml", "--data", "data", "--out", "i.safetensors"]),
        (false, vec!["eval", "--model", &good, "--data", &wrong]),
        (false, vec!["inspect", &node]),
        (false, vec!["aggregate", &node, &wrong, "--out", "x.safetensors"]),
        (false, vec!["aggregate", &node, &wrong, "--strict", "--out", "x.safetensors"]),
        (false, vec!["simulate", "--config", "job.toml", "--out", "run", "--holdout", "nobody"]),
    ];
    // Arguments that the parser quotes, and JSON.
    let named = format!("--{bad}.safetensors");
    for args in [
        vec!["aggregate", named.as_str(), "--out", "o"],
        vec!["aggregate", "a", "b", "--out", "o", "--reduce", bad],
        vec!["train", "--optimizer", bad, "--out", "o"],
        vec!["train", "--time-budget", bad, "--out", "o"],
        vec!["simulate", "--seed", bad],
        vec![bad],
    ] {
        let output = start(at, &args).wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        check_shown(&args, &output);
    }
    for (succeeds, args) in runs {
        let output = start(at, &args).wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), succeeds, "{args:?}: {stderr}");
        check_shown(&args, &output);
    }
}

#[test]
fn runs_that_cannot_learn_are_refused_before_they_start() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let zero = ["--lr", "0", "--out", "z.safetensors"];
    fails(
        at,
        &[&["train", "--config", "job.toml"], &zero[..]].concat(),
        &["lr must be a positive number"],
    );
    let base = ["--base", "global.safetensors", "--out", "global.safetensors"];
    let updates = ["n1.safetensors", "n2.safetensors", "n3.safetensors"];
    for round in 0..3 {
        if round > 0 {
            for node in 1..=3 {
                let (data, out) = (format!("data/node_{node}.csv"), format!("n{node}.safetensors"));
                ok(at, &["train", "--init", "global.safetensors", "--data", &data, "--out", &out]);
            }
        }
        ok(at, &[&["aggregate"], &updates[..], &base[..]].concat());
    }
    let train = ["train", "--init", "global.safetensors", "--data", "data/node_1.csv"];
    fails(
        at,
        &[&train[..], &["--out", "late.safetensors"]].concat(),
        &["planned rounds are over", "3 rounds behind it"],
    );
    // The rate of all parameters is 0 by their groups, there is no epoch, or no rate.
    let groups = "lr = 3e-3\ngroups = [{ params = [\"*\"], lr_scale = 0.0 }]";
    for (job, part) in [
        (JOB.replace("lr = 3e-3", groups), "rate is 0 in every step"),
        (JOB.replace("epochs = 2", "epochs = 0"), "epochs is 0"),
        (JOB.replace("lr = 3e-3", "lr = 0.0"), "lr"),
    ] {
        fs::write(at.join("zero.toml"), job).expect("written");
        let train = ["train", "--config", "zero.toml", "--data", "data/node_1.csv", "--out", "z"];
        fails(at, &train, &[part]);
        let simulate = ["simulate", "--config", "zero.toml", "--out", "run"];
        let output = start(at, &simulate).wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(part), "{stderr}");
        assert_eq!(output.status.code(), Some(1), "a simulation that learns nothing");
    }
}

#[test]
fn rates_are_told_and_a_loss_that_rose_is_a_warning() {
    let folder = with_job(
        &JOB.replace("epochs = 2", "epochs = 6")
            .replace("lr = 3e-3", "lr = 3.0")
            .replace("{ name = \"cosine\" }", "{ name = \"linear-warmup\", warmup = 1.0 }"),
    );
    let at = folder.path();
    let args = ["train", "--config", "job.toml", "--out", "m.safetensors", "--json"];
    let output = start(at, &args).wait_with_output().expect("it ends");
    assert!(output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.lines().any(|line| line.starts_with("warning: the training loss rose")),
        "{stderr}"
    );
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["warnings"].as_array().map(Vec::len), Some(1), "{report}");
    assert_eq!(report["lr_max"], 3.0);
    let least = report["lr_min"].as_f64().expect("a number");
    let first = 3.0 / report["steps"].as_f64().expect("a number");
    assert!((least - first).abs() < 1e-6, "{least} against {first}");

    fs::write(at.join("job.toml"), JOB).expect("written");
    let report = json(at, &["train", "--config", "job.toml", "--out", "m.safetensors"]);
    assert_eq!(report["warnings"], Value::Array(Vec::new()));

    let stopped =
        ["train", "--config", "job.toml", "--stop-after-steps", "1", "--out", "m.safetensors"];
    let report = json(at, &stopped);
    assert_eq!((&report["epochs"], &report["planned_epochs"]), (&0.into(), &2.into()));

    // A loss far above that of the first step, in a run of one epoch or round.
    let wild = JOB.replace("epochs = 2", "epochs = 1").replace("lr = 3e-3", "lr = 30.0");
    fs::write(at.join("wild.toml"), wild).expect("written");
    for args in [
        &["train", "--config", "wild.toml", "--out", "m.safetensors"][..],
        &["simulate", "--config", "wild.toml", "--rounds", "1", "--out", "wild"],
    ] {
        let report = json(at, args);
        let warning = report["warnings"][0].as_str().unwrap_or_default();
        assert!(warning.contains("in the first step to"), "{report}");
    }

    // The schedule spans the rounds of a simulation.
    let report = json(at, &["simulate", "--config", "job.toml", "--out", "run"]);
    let rate = |round: &Value, end| round[end].as_f64().expect("a number");
    let rounds = report["rounds"].as_array().expect("rounds");
    assert!(rounds.iter().all(|round| rate(round, "lr_min") < rate(round, "lr_max")));
    assert!(rounds.is_sorted_by(|a, b| rate(a, "lr_min") >= rate(b, "lr_max")), "{rounds:?}");
}

#[test]
fn json_holds_no_character_that_steers_and_means_the_same() {
    let folder = federation();
    let at = folder.path();
    let odd = "a\u{9b}\u{202e}\u{2028}\u{200f}\u{7f}z";
    for node in 1..=3 {
        let path = at.join(format!("data/node_{node}.csv"));
        fs::write(&path, table(node).replace("slow", odd)).expect("written");
    }
    let args = ["init", "--config", "job.toml", "--out", "g.safetensors", "--json"];
    let output = start(at, &args).wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(!text.chars().any(|c| odd[1..odd.len() - 1].contains(c)), "{text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let classes: Vec<&str> =
        report["classes"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(classes.contains(&odd), "{classes:?}");
}
