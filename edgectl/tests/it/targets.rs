//! What an output may replace: a table of all commands and all kinds of target.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process;

use crate::support::{bytes, edgectl, fails, federation, ok, snapshot, trained};

/// A command with `OUT` for the output in question, and the inputs that it must never replace.
struct Case {
    args: &'static str,
    inputs: &'static [&'static str],
    /// What is also written: another target.
    other: Option<&'static str>,
}

const DATA: &str = "data/node_1.csv";

const CASES: [Case; 8] = [
    Case { args: "init --config job.toml --out OUT", inputs: &["job.toml", DATA], other: None },
    Case {
        args: "train --config job.toml --epochs 1 --out OUT",
        inputs: &["job.toml", DATA],
        other: None,
    },
    Case {
        args: "train --init global.safetensors --data data/node_1.csv --epochs 1 --out OUT",
        inputs: &[DATA],
        other: None,
    },
    Case {
        args: "aggregate n1.safetensors n2.safetensors n3.safetensors --out OUT",
        inputs: &["n1.safetensors", "n3.safetensors"],
        other: None,
    },
    Case {
        args: "predict --model global.safetensors --data data --out OUT --tensors other",
        inputs: &["global.safetensors", DATA],
        other: Some("other"),
    },
    Case {
        args: "predict --model global.safetensors --data data --out other --tensors OUT",
        inputs: &["global.safetensors", DATA],
        other: Some("other"),
    },
    Case {
        args: "predict --model global.safetensors --data data --out other --explain OUT",
        inputs: &["global.safetensors", DATA],
        other: Some("other"),
    },
    Case {
        args: "preprocess --model global.safetensors --data data --out OUT",
        inputs: &["global.safetensors", DATA],
        other: None,
    },
];

impl Case {
    fn with(&self, out: &str) -> Vec<String> {
        self.args.split(' ').map(|arg| arg.replace("OUT", out)).collect()
    }

    #[track_caller]
    fn succeeds(&self, folder: &Path, out: &str) {
        let args = self.with(out);
        ok(folder, &args.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[track_caller]
    fn fails(&self, folder: &Path, out: &str, parts: &[&str]) {
        let args = self.with(out);
        fails(folder, &args.iter().map(String::as_str).collect::<Vec<_>>(), parts);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

fn pipe(path: &Path) {
    let made = process::Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
    assert!(made.success());
}

#[test]
fn files_are_replaced_with_their_permissions_and_links_stay() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    fs::create_dir(at.join("store")).expect("made");
    for case in &CASES {
        fs::write(at.join("old"), "old").expect("written");
        fs::set_permissions(at.join("old"), fs::Permissions::from_mode(0o640)).expect("set");
        case.succeeds(at, "old");
        assert_ne!(bytes(at, "old"), b"old", "{}", case.args);
        assert_eq!(mode(&at.join("old")), 0o640, "{}", case.args);

        let (link, file) = (at.join("link"), at.join("store/v1"));
        symlink("store/v1", &link).expect("linked");
        // First the link leads nowhere, then to a file.
        for _ in 0..2 {
            case.succeeds(at, "link");
            assert!(link.is_symlink(), "{}", case.args);
            assert_ne!(bytes(at, "store/v1"), b"old", "{}", case.args);
            fs::write(&file, "old").expect("written");
        }
        for path in [link, file, at.join("old")] {
            fs::remove_file(path).expect("removed");
        }
    }
}

#[test]
fn what_is_no_plain_file_is_never_replaced() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    fs::create_dir(at.join("folder")).expect("made");
    for case in &CASES {
        case.fails(at, "folder", &["folder: it is a folder, and only a plain file"]);
        case.fails(at, "new/", &["not the name of a file"]);
        case.fails(at, "none/new", &["none does not exist"]);
        case.fails(at, "/dev/null", &["/dev/null: it is a device"]);
    }
    // `snapshot` would wait for a writer of a pipe.
    let before = snapshot(at);
    pipe(&at.join("pipe"));
    for case in &CASES {
        let args = case.with("pipe");
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = edgectl(at, &args).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("pipe: it is a pipe"), "{}: {stderr}", case.args);
    }
    fs::remove_file(at.join("pipe")).expect("still there");
    assert_eq!(before, snapshot(at));
}

#[test]
fn inputs_and_other_targets_are_never_replaced_by_whatever_name() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    for case in &CASES {
        for input in case.inputs {
            let message = "which would be lost; name another output";
            case.fails(at, input, &[message]);
            case.fails(at, &format!("data/../{input}"), &[message]);
            symlink(input, at.join("link")).expect("linked");
            case.fails(at, "link", &[message]);
            fs::remove_file(at.join("link")).expect("removed");
            fs::hard_link(at.join(input), at.join("hard")).expect("linked");
            case.fails(at, "hard", &[message]);
            fs::remove_file(at.join("hard")).expect("removed");
        }
        if let Some(other) = case.other {
            case.fails(at, other, &["they are the same file"]);
            case.fails(at, &format!("data/../{other}"), &["they are the same file"]);
        }
    }
}

#[test]
fn sidecars_are_targets_too() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let train = ["train", "--init", "m.state", "--data", DATA, "--out", "m"];
    fs::copy(at.join("global.safetensors"), at.join("m.state")).expect("copied");
    fails(at, &train, &["m.state: it is the input m.state"]);
    let train = ["train", "--config", "job.toml", "--data", "m.variate", "--out", "m"];
    fs::copy(at.join(DATA), at.join("m.variate")).expect("copied");
    fails(at, &train, &["cannot write m.variate"]);
    for kind in ["state", "variate", "state.key"] {
        let sidecar = format!("x.{kind}");
        fs::create_dir(at.join(&sidecar)).expect("made");
        let train = ["train", "--config", "job.toml", "--data", DATA, "--out", "x"];
        fails(at, &train, &[&sidecar, "it is a folder"]);
        fs::remove_dir(at.join(&sidecar)).expect("removed");
    }
    fs::create_dir(at.join("x.server")).expect("made");
    let merge = ["aggregate", "n1.safetensors", "n2.safetensors", "--base", "global.safetensors"];
    let merge = [&merge[..], &["--strategy", "fedavgm", "--out", "x"]].concat();
    fails(at, &merge, &["x.server", "it is a folder"]);
}

#[test]
fn what_is_meant_to_be_replaced_is() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    symlink("global.safetensors", at.join("current")).expect("linked");
    let updates = ["aggregate", "n1.safetensors", "n2.safetensors"];
    ok(at, &[&updates[..], &["--base", "current", "--out", "global.safetensors"]].concat());
    ok(at, &["train", "--init", "current", "--data", DATA, "--out", "global.safetensors"]);
    assert!(at.join("current").is_symlink());
}

/// The arguments of a short simulation into `run`.
const SIMULATE: [&str; 10] = [
    "simulate",
    "--keep-updates",
    "--config",
    "job.toml",
    "--out",
    "run",
    "--rounds",
    "1",
    "--epochs",
    "1",
];

#[test]
fn simulate_replaces_only_what_its_report_lists() {
    let folder = federation();
    let at = folder.path();
    let place = |name: &str| at.join("run").join(name);
    for name in ["nodes", "rounds"] {
        fs::create_dir_all(place(name)).expect("made");
    }
    for name in ["nodes/hospital.safetensors", "rounds/mine.safetensors", "nodes/x.variate"] {
        fs::write(place(name), "mine").expect("written");
    }
    for name in ["global.safetensors", "nodes/node_2.safetensors", "rounds/round-001.safetensors"] {
        fs::write(place(name), "mine").expect("written");
        fails(at, &SIMULATE, &[name, "it is there already"]);
        fs::remove_file(place(name)).expect("removed");
        symlink("lost", place(name)).expect("linked");
        let output = edgectl(at, &SIMULATE).output().expect("it runs");
        assert!(!output.status.success() && place(name).is_symlink(), "{name}");
        fs::remove_file(place(name)).expect("removed");
    }
    fs::write(place("report.json"), "{}").expect("written");
    fails(at, &SIMULATE, &["report.json: it is not the report of a simulation"]);
    fs::remove_file(place("report.json")).expect("removed");

    let longer = ["simulate", "--config", "job.toml", "--out", "run", "--rounds", "2"];
    ok(at, &[&longer[..], &["--epochs", "1", "--centralised"]].concat());
    assert!(place("rounds/round-002.safetensors").exists());
    let global = place("global.safetensors");
    fs::set_permissions(&global, fs::Permissions::from_mode(0o640)).expect("set");
    ok(at, &SIMULATE);
    assert_eq!(mode(&global), 0o640);
    assert!(!place("rounds/round-002.safetensors").exists(), "of the earlier run");
    for name in ["nodes/hospital.safetensors", "rounds/mine.safetensors", "nodes/x.variate"] {
        assert_eq!(fs::read(place(name)).expect("still there"), b"mine", "{name}");
    }
}

#[test]
fn simulate_never_replaces_its_inputs() {
    let folder = federation();
    let at = folder.path();
    fs::create_dir(at.join("run")).expect("made");
    fs::rename(at.join("job.toml"), at.join("run/report.json")).expect("renamed");
    let text = fs::read_to_string(at.join("run/report.json")).expect("read");
    fs::write(at.join("run/report.json"), text.replace("\"data\"", "\"../data\""))
        .expect("written");
    let args = ["simulate", "--config", "run/report.json", "--out", "run"];
    fails(at, &args, &["report.json"]);
}

#[test]
fn names_of_nodes_are_no_paths() {
    let folder = federation();
    let at = folder.path();
    fs::write(at.join("victim.safetensors"), "mine").expect("written");
    let absolute = at.join("anywhere").display().to_string();
    let long = "n".repeat(300);
    let nodes = ["../../victim", &absolute, "ward/3", "../global", "..", &long, "Anna", "anna"];
    let mut text = "series,t,label,split,node,x\n".to_owned();
    for (i, node) in nodes.iter().enumerate() {
        for series in 0..2 {
            for t in 0..60 {
                let split = if t < 40 { "train" } else { "test" };
                let label = ["a", "b"][series];
                text +=
                    &format!("{i}-{series},{t},{label},{split},{node},{}\n", series * 2 + t % 7);
            }
        }
    }
    fs::create_dir(at.join("named")).expect("made");
    fs::write(at.join("named/n.csv"), text).expect("written");
    let before = fs::read_dir(at).expect("read").count();
    ok(at, &[&SIMULATE[..], &["--data", "named"]].concat());
    assert_eq!(bytes(at, "victim.safetensors"), b"mine");
    assert_eq!(fs::read_dir(at).expect("read").count(), before + 1, "run alone is new");
    let updates = fs::read_dir(at.join("run/nodes")).expect("read").flatten();
    let updates = updates.filter(|e| e.path().extension().is_some_and(|e| e == "safetensors"));
    assert_eq!(updates.count(), nodes.len());
}

#[test]
fn temporary_files_of_others_stay() {
    let folder = federation();
    let at = folder.path();
    let others = [".incomplete-my-notes.tmp", ".edgectl-notes.tmp", ".edgectl-incomplete-notes"];
    for name in others {
        fs::write(at.join(name), "mine").expect("written");
    }
    fs::write(at.join(".edgectl-incomplete-x.tmp"), "half").expect("written");
    ok(at, &["init", "--config", "job.toml", "--out", "global.safetensors"]);
    for name in others {
        assert_eq!(bytes(at, name), b"mine", "{name}");
    }
    assert!(!at.join(".edgectl-incomplete-x.tmp").exists());
}

/// What lies beside an output has a name that nobody gave: a user's file there is not replaced.
#[test]
fn files_beside_an_output_are_the_programs_own() {
    let folder = federation();
    let at = folder.path();
    crate::support::trained(at);
    let train =
        ["train", "--init", "global.safetensors", "--data", "data/node_1.csv", "--out", "t"];
    let merge = ["aggregate", "n1.safetensors", "n2.safetensors", "--base", "global.safetensors"];
    let merge = [&merge[..], &["--strategy", "fedadam", "--out", "o"]].concat();
    for (args, name) in [(&train[..], "t.state"), (&train, "t.variate"), (&merge, "o.server")] {
        fs::write(at.join(name), "my notes").expect("written");
        fails(at, args, &[name, "no file of edgectl"]);
        fs::remove_file(at.join(name)).expect("removed");
    }
    for args in [&train[..], &merge] {
        ok(at, args);
    }
    ok(at, &train);
}

#[test]
fn a_simulation_follows_no_link_below_its_folder() {
    let folder = federation();
    let at = folder.path();
    ok(at, &SIMULATE);
    fs::rename(at.join("run/nodes"), at.join("elsewhere")).expect("moved");
    symlink("../elsewhere", at.join("run/nodes")).expect("linked");
    fails(at, &SIMULATE, &["run/nodes: it is a link"]);
    let few =
        ["simulate", "--config", "job.toml", "--out", "run", "--rounds", "1", "--epochs", "1"];
    let output = edgectl(at, &few).output().expect("it runs");
    assert!(!output.status.success());
    assert!(at.join("elsewhere/node_2.safetensors").exists());
}

/// A model in several files is written by a merge alone.
#[test]
fn the_name_of_an_index_is_refused_where_one_file_is_written() {
    let folder = federation();
    let at = folder.path();
    crate::support::trained(at);
    let index = "m.safetensors.index.json";
    let model = "global.safetensors";
    for args in [
        vec!["init", "--config", "job.toml", "--out", index],
        vec!["train", "--config", "job.toml", "--out", index],
        vec!["train", "--init", model, "--data", "data/node_1.csv", "--out", index],
        vec!["predict", "--model", model, "--data", "data", "--out", "p.csv", "--tensors", index],
    ] {
        fails(at, &args, &[index, "models in several files"]);
    }
    // The shards that an index names go with it, and no input among them.
    let shard = "s-00001-of-00001.deadbeef.safetensors";
    fs::copy(at.join("n1.safetensors"), at.join(shard)).expect("copied");
    let merge = ["aggregate", shard, "n2.safetensors", "--out", "s.safetensors.index.json"];
    ok(at, &merge);
    assert!(at.join(shard).exists(), "no index named it");
    let text = format!("{{\"weight_map\":{{\"w\":\"{shard}\"}}}}");
    fs::write(at.join("s.safetensors.index.json"), text).expect("written");
    fails(at, &merge, &[shard, "it is the input"]);
}

/// A table of splits or labels is an input like the rows that it tells of.
#[test]
fn a_table_beside_the_data_is_not_replaced() {
    let folder = crate::support::federation();
    let at = folder.path();
    let split = "file,split\nnode_1.csv,train\nnode_2.csv,train\nnode_3.csv,test\n";
    std::fs::write(at.join("split.csv"), split).expect("written");
    let job = crate::support::JOB;
    assert!(job.contains("[data]\n"), "{job}");
    let job = job.replace("[data]\n", "[data]\nsplit_file = \"split.csv\"\n");
    std::fs::write(at.join("job.toml"), job).expect("written");
    let config = ["--config", "job.toml", "--out", "split.csv"];
    for command in [&["init"][..], &["train"], &["preprocess", "fit"], &["preprocess", "apply"]] {
        crate::support::fails(at, &[command, &config[..]].concat(), &["split.csv", "input"]);
    }
}
