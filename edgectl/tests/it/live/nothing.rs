//! Inputs of which nothing of use comes: no command takes that for success, and each says what to do.

use std::fs;

use super::{answered, start, with_model};
use crate::support::{JOB, edgectl, fails};

const ALL: [&str; 4] = ["--model", "m.safetensors", "--queue", "all"];
const LIVE: [&str; 4] = ["--model", "m.safetensors", "--priority", "normal"];

#[test]
fn a_run_without_a_due_window_says_why_and_ends_with_1() {
    let folder = with_model(JOB);
    let at = folder.path();
    let row = |t: u32| format!("{{\"t\":{t},\"x\":0.{t},\"y\":1}}\n");
    let few: String = (0..19).map(row).collect();
    let table = "series,t,x,y\n";
    let backwards: String = (1..=40).rev().map(row).collect();
    let label = "{\"label\":\"slow\",\"id\":0}\n";
    for (text, parts) in [
        ("", &["stdin: no row came", "a table with its header"][..]),
        ("\n \r\n\n", &["stdin: no row came"]),
        (table, &["stdin: no row came"]),
        (label, &["stdin: no row came"]),
        ("{}\n{\"t\":1}\n", &["none of 2 lines", "the first: ", "none of the channels"]),
        (&few, &["19 rows of 1 series", "a window takes 20 rows of one series"]),
    ] {
        for args in [&ALL, &LIVE] {
            let ended = answered(at, args, text);
            let said = ended.error.as_ref().expect("it is said");
            assert!(parts.iter().all(|part| said.contains(part)), "{text:?}: {said}");
            assert!(ended.status.code() == Some(1) && ended.answers.is_empty());
        }
    }
    let said = answered(at, &LIVE, &backwards).error.expect("it is said");
    assert!(said.contains("39 times a series began again") && said.contains("--gap"), "{said}");
}

#[test]
fn windows_of_which_none_is_answered_are_no_success() {
    let folder = with_model(JOB);
    let row = |t: u32| {
        format!(
            "{{\"t\":{t},\"x\":null,\"y\":1}}
"
        )
    };
    let text: String = (0..60).map(row).collect();
    let ended = answered(folder.path(), &ALL, &text);
    let n = ended.answers.len() as u64;
    assert!(n > 0 && ended.counts().get("bad-input") == Some(&n), "{:?}", ended.counts());
    let said = ended.error.expect("it is said");
    assert!(said.contains("none was answered") && said.contains("bad-input"), "{said}");
}

#[test]
fn more_series_than_run_at_once_are_told() {
    let folder = with_model(JOB);
    let mut text = String::new();
    for t in 0..20 {
        for series in 0..2000 {
            text += &format!("{{\"series\":{series},\"t\":{t},\"x\":0.5,\"y\":{t}}}\n");
        }
    }
    let ended = answered(folder.path(), &ALL, &text);
    let said = ended.error.as_ref().expect("it is said");
    assert!(said.contains("series ended to make room"), "{said}");
    let told = ended.events("series");
    assert!(told[0]["reason"].as_str().is_some_and(|why| why.contains("more than 1024")));
    assert!(told.len() < 30, "{}", told.len());
}

#[test]
fn a_signal_before_the_first_row_is_no_failure() {
    let folder = with_model(JOB);
    let mut running = start(folder.path(), &ALL);
    running.event("start");
    let id = running.child.id().to_string();
    let kill = std::process::Command::new("kill").args(["-TERM", &id]).status();
    assert!(kill.expect("kill runs").success());
    let input = running.input.take();
    let ended = running.read();
    drop(input);
    assert_eq!((ended.status.code(), ended.error), (Some(0), None));
}

#[test]
fn a_folder_that_ends_without_rows_is_told_with_its_files() {
    let folder = with_model(JOB);
    let at = folder.path();
    fs::create_dir(at.join("in")).expect("a folder");
    fs::write(at.join("in/a.csv"), "series,t,x,y\n").expect("written");
    let mut running = start(at, &[&ALL[..], &["--folder", "in", "--stdin"]].concat());
    let event = running.event("file");
    assert_eq!(
        (&event["result"], &event["reason"]),
        (&"failed".into(), &"there is no row in it".into())
    );
    // Another of the same name does not take its place.
    fs::write(at.join("in/new.tmp"), "series,t,x,y\n\n").expect("written");
    fs::rename(at.join("in/new.tmp"), at.join("in/a.csv")).expect("renamed");
    assert_eq!(running.event("file")["result"], "failed");
    // A folder that is away for a while ends nothing.
    fs::rename(at.join("in"), at.join("away")).expect("renamed");
    assert_eq!(running.event("source")["result"], "lost");
    fs::rename(at.join("away"), at.join("in")).expect("renamed");
    assert_eq!(running.event("source")["result"], "connected");
    let ended = running.end();
    assert!(
        ended.ended_well()
            && ended.error.is_some_and(|why| why.contains("folder in, stdin: no row"))
    );
    let kept = fs::read_dir(at.join("in/failed")).expect("there").count();
    assert_eq!((kept, fs::read_dir(at.join("in")).expect("there").count()), (2, 1));
}

/// Whatever command gets data of which it cannot make anything says so, and fails.
#[test]
fn no_command_takes_nothing_for_success() {
    let folder = with_model(JOB);
    let at = folder.path();
    let header = "series,t,label,split,x,y\n";
    let few = format!("{header}0,0,slow,test,1,2\n0,1,slow,test,2,1\n");
    let unlabelled: String = crate::support::table(1).replace("slow", "").replace("fast", "");
    for (name, text) in [("empty", ""), ("header", header), ("few", &few), ("plain", &unlabelled)] {
        fs::write(at.join(format!("{name}.csv")), text).expect("written");
    }
    let on = |command: &str, file: &str| -> Vec<String> {
        let words: &[&str] = match command {
            "replay" => &["replay", "--speed", "max"],
            "labels" => &["replay", "--speed", "max", "--labels", "1s"],
            "shift" => &["replay", "--speed", "max", "--shift", "gain:2@10000"],
            "calibrate" => &["calibrate", "--model", "m.safetensors", "--out", "o", "--all"],
            "adapt" => &["adapt", "--model", "m.safetensors", "--out", "o"],
            "predict" => &["predict", "--model", "m.safetensors", "--out", "o"],
            other => &[other, "--model", "m.safetensors"],
        };
        [words, &["--data", file]].concat().into_iter().map(str::to_owned).collect()
    };
    for (command, file, part) in [
        ("replay", "empty.csv", "empty.csv"),
        ("replay", "header.csv", "header.csv"),
        ("labels", "plain.csv", "no row has a class"),
        ("shift", "data/node_1.csv", "row 10000"),
        ("calibrate", "empty.csv", "empty.csv"),
        ("calibrate", "header.csv", "header.csv"),
        ("calibrate", "few.csv", "few.csv"),
        ("adapt", "header.csv", "header.csv"),
        ("adapt", "plain.csv", "label"),
        ("predict", "empty.csv", "empty.csv"),
        ("predict", "header.csv", "header.csv"),
        ("predict", "few.csv", "few.csv"),
        ("eval", "header.csv", "header.csv"),
        ("eval", "plain.csv", "label"),
    ] {
        let args = on(command, file);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        fails(at, &args, &[part]);
    }
}

/// Wherever a model or a folder of models is named that is not there, the same words say what to do.
#[test]
fn a_model_that_is_not_there_is_told_alike_by_all_commands() {
    let folder = with_model(JOB);
    let at = folder.path();
    let hint =
        "there is no such model; name a file that `edgectl init`, `train` or `aggregate` wrote";
    for path in ["nothing", "none/nothing", "job.toml/nothing"] {
        let said = format!("{path}: {hint}");
        for args in [
            &["run", "--model", path][..],
            &["calibrate", "--model", path, "--data", "data", "--out", "o"],
            &["adapt", "--model", path, "--data", "data", "--out", "o"],
            &["predict", "--model", path, "--data", "data", "--out", "o"],
            &["eval", "--model", path, "--data", "data"],
            &["inspect", path],
            &["train", "--init", path, "--data", "data/node_1.csv", "--out", "o"],
            &["aggregate", "m.safetensors", "--base", path, "--out", "o"],
            &["aggregate", "m.safetensors", "--strategy", "job", "--base", path, "--out", "o"],
            &["preprocess", "fit", "--model", path, "--data", "data", "--out", "o"],
            &["preprocess", "apply", "--model", path, "--data", "data", "--out", "o"],
        ] {
            fails(at, args, &[&said]);
        }
    }
    let hint =
        "name one that `edgectl run --state` or `edgectl node` keeps, with a deploy.json in it";
    for command in ["status", "promote", "rollback"] {
        fails(at, &[command, "none"], &["none: there is no such folder: ", hint]);
        fails(at, &[command, "data"], &["data: no folder of models: ", hint]);
        fails(at, &[command, "job.toml"], &["job.toml: ", hint]);
    }
    fails(at, &["run", "--model", "data"], &["data: there is no current.safetensors in it"]);
    fails(
        at,
        &["run", "--model", "m.safetensors", "--state", "job.toml"],
        &["job.toml: a file, and no folder"],
    );
}

#[test]
fn folders_of_state_that_are_damaged_say_what_to_do() {
    let folder = with_model(JOB);
    let at = folder.path();
    fs::create_dir(at.join("state")).expect("a folder");
    for text in
        ["", "{\"live\":", "[]", "{\"live\":{\"hash\":\"../m\",\"round\":1},\"previous\":null}"]
    {
        fs::write(at.join("state/deploy.json"), text).expect("written");
        let args = ["run", "--model", "m.safetensors", "--state", "state"];
        let output = edgectl(at, &args).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}: {stderr}");
        assert!(stderr.contains("deploy.json") && !stderr.contains("panicked"), "{text}: {stderr}");
        fails(at, &["status", "state"], &["deploy.json"]);
    }
}

#[test]
fn values_that_do_not_go_are_refused_whether_by_flag_or_by_file() {
    let folder = with_model(JOB);
    let at = folder.path();
    for (key, value) in [
        ("deadline", "0s"),
        ("deadline", "-1s"),
        ("queue", "0"),
        ("watch", "0s"),
        ("gap", "0"),
        ("silence", "nan"),
        ("priority", "fifo:100"),
        ("abstain", "nan"),
        ("abstain", "1.0"),
        ("agreement", "1.5"),
        ("refit", "1"),
        ("refit", "1000000000000"),
        ("stale", "0s"),
    ] {
        fails(at, &["run", "--model", "m.safetensors", &format!("--{key}={value}")], &[key]);
        let is_number = value.parse::<f64>().is_ok();
        let text = if is_number { value.to_owned() } else { format!("\"{value}\"") };
        fs::write(
            at.join("live.toml"),
            format!("[run]\nmodel = \"m.safetensors\"\n{key} = {text}\n"),
        )
        .expect("written");
        // The value is named; of a flag that the parser refuses, its name, too.
        fails(at, &["run", "--config", "live.toml", "--state", "none"], &[]);
    }
    fs::write(at.join("live.toml"), "[adapt]\nlabels = \"confident\"\n").expect("written");
    fails(
        at,
        &["run", "--config", "live.toml", "--model", "m.safetensors"],
        &["labels", "gets worse"],
    );
}
