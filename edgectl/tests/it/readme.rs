//! The commands that README.md and `--help` show work, word for word.
//!
//! Every `$ edgectl …` line of the README's console blocks, and every example of `--help`, runs in a
//! folder that has small files under the names they use. What is not run is listed here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aggregate::{Dtype, TensorData, TensorRef, write_file};
use tempfile::TempDir;

use crate::hashes::{binary, run};

/// Lines that are not run, by their beginning, and why. All must be in the README or in `--help`.
const NOT_RUN: &[(&str, &str)] = &[
    ("cargo test", "this test is part of it"),
    ("edgectl simulate --attack all", "trains for minutes; its flags are looked up"),
    ("edgectl demo", "plays for a minute; live/demo.rs runs it"),
    ("edgectl adapt", "needs a trained model; live::adapt runs it"),
    ("edgectl center", "waits for nodes; the tests of the fleet run it"),
    ("edgectl node", "waits for a center; the tests of the fleet run it"),
    ("edgectl presign", "needs a bucket; bench/fleet.py --presign runs it"),
    ("edgectl status", "needs a job; the tests of the fleet run it"),
    ("edgectl promote", "needs a run's state; the tests of live answers run it"),
    ("edgectl rollback", "needs a node's models; the tests of the fleet run it"),
    (
        "edgectl run --model global.safetensors --http",
        "goes on until a signal; live/http.rs runs it",
    ),
    ("edgectl run --model global.safetensors --folder", "waits for files; live/sources.rs runs it"),
    ("edgectl replay", "plays at its pace; live/sources.rs runs it"),
    ("curl", "asks a run; live/http.rs does so"),
];

/// Flags in the README that are not edgectl's own.
const OTHER_FLAGS: &[(&str, &str)] =
    &[("--cv", "of the example `accuracy`"), ("--no-default-features", "of cargo")];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn readme() -> String {
    fs::read_to_string(repository("README.md")).expect("text")
}

/// The text of a Markdown file without its fenced blocks, and these blocks with their language.
fn parts(markdown: &str) -> (String, Vec<(String, Vec<&str>)>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    let mut block: Option<(String, Vec<&str>)> = None;
    for line in markdown.lines() {
        match (line.trim_start().strip_prefix("```"), &mut block) {
            (Some(_), Some(_)) => blocks.extend(block.take()),
            (Some(language), None) => block = Some((language.trim().to_owned(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => prose.extend([line, "\n"]),
        }
    }
    assert!(block.is_none(), "a fenced block is not closed");
    (prose, blocks)
}

/// The command lines of a console block, without what the shell prints.
fn commands(lines: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in lines {
        let begins = line.strip_prefix("$ ");
        if let Some(text) = begins.or(goes_on.then_some(*line)) {
            let (text, more) = text.strip_suffix('\\').map_or((text, false), |text| (text, true));
            match begins {
                Some(_) => found.push(text.to_owned()),
                None => found.last_mut().expect("begun").push_str(text),
            }
            goes_on = more;
        }
    }
    // `cargo run` builds and runs the binary that is there already.
    let run = "cargo run --release -p edgectl -- ";
    let short = |line: String| match line.strip_prefix(run) {
        Some(args) => format!("edgectl {args}"),
        None => line,
    };
    found.into_iter().map(short).collect()
}

/// The examples at the end of a subcommand's `--help`.
fn examples(subcommand: &str) -> Vec<String> {
    let help = help(subcommand);
    let examples = help.lines().skip_while(|line| !line.starts_with("Example"));
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in examples.map(str::trim) {
        let begins = line.starts_with("edgectl ");
        if begins {
            found.push(String::new());
        }
        if begins || goes_on {
            // A description stands behind some spaces.
            let text = line.split("  ").next().unwrap_or_default();
            let (text, more) = text.strip_suffix('\\').map_or((text, false), |text| (text, true));
            found.last_mut().expect("begun").push_str(text);
            goes_on = more;
        }
    }
    found
}

fn help(subcommand: &str) -> String {
    let args = [subcommand, "--help"];
    let output = run(Path::new("."), if subcommand.is_empty() { &args[1..] } else { &args[..] });
    assert!(output.status.success(), "{subcommand} --help");
    String::from_utf8(output.stdout).expect("text")
}

fn subcommands() -> Vec<String> {
    let help = help("");
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let list = list.take_while(|line| !line.is_empty());
    let names = list.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn is_not_run(line: &str) -> bool {
    NOT_RUN.iter().any(|(beginning, _)| line.starts_with(beginning))
}

/// A folder with the data and jobs that README and `--help` name, all of them small, and no weight
/// file.
fn machine() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for name in ["examples", "data/watch", "data/gunpoint", "D", "refused", "a", "b", "c", "merged"]
    {
        fs::create_dir_all(at.join(name)).expect("a folder");
    }
    for entry in fs::read_dir(repository("examples")).expect("readable") {
        let path = entry.expect("readable").path();
        // Below are jobs of data that is not in the project.
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        let name = path.file_name().expect("a name");
        fs::write(at.join("examples").join(name), small_job(&text)).expect("written");
    }
    let watch = fs::read_to_string(at.join("examples/watch.toml")).expect("text");
    fs::write(at.join("job.toml"), watch.replace("../data", "data")).expect("written");
    for node in 1..=10 {
        let name = format!("data/watch/subject_{node:02}.csv");
        let text = fs::read_to_string(repository(&name)).expect("text");
        fs::write(at.join(&name), first_rows(&text)).expect("written");
    }
    for copy in ["D/subject_01.csv", "D/mine.csv", "subject_01.csv", "mine.csv"] {
        let from = if copy.contains("mine") { "subject_02" } else { "subject_01" };
        fs::copy(at.join(format!("data/watch/{from}.csv")), at.join(copy)).expect("copied");
    }
    fs::copy(at.join("mine.csv"), at.join("recording.csv")).expect("copied");
    let row = |t: u32| {
        format!(
            "{{\"t\":{t},\"series\":\"s1\",\"ax\":0.{t},\"ay\":0,\"az\":1,\"wx\":0,\"wy\":0,\"wz\":0}}\n"
        )
    };
    // As many as a window takes.
    fs::write(at.join("sensor.jsonl"), (0..100).map(row).collect::<String>()).expect("written");
    let settings = "[run]\nmodel = \"global.safetensors\"\ndeadline = \"20ms\"\n";
    fs::write(at.join("live.toml"), settings).expect("written");
    for name in ["data/gunpoint/GunPoint_TRAIN.ts", "data/gunpoint/GunPoint_TEST.ts"] {
        let text = fs::read_to_string(repository(name)).expect("text");
        let n_header = text.lines().position(|line| line.trim() == "@data").expect("cases") + 1;
        let lines = text.lines().take(n_header + 12).flat_map(|line| [line, "\n"]);
        fs::write(at.join(name), lines.collect::<String>()).expect("written");
    }
    other_models(at);
    folder
}

/// Files of other programs: of two dtypes, and adapters.
fn other_models(at: &Path) {
    let halves = [0x3c00_u16; 4].map(u16::to_le_bytes).concat();
    let half = TensorData::Raw { dtype: Dtype::F16, bytes: &halves };
    for (name, data) in [("half", half), ("single", TensorData::F32(&[1.0; 4]))] {
        let tensor = TensorRef { name: "w", shape: &[4], data };
        let path = at.join(name).with_extension("safetensors");
        write_file(path, &[tensor], &BTreeMap::new()).expect("written");
    }
    for (name, rank) in [("lora-1", 1), ("lora-2", 2)] {
        fs::create_dir(at.join(name)).expect("a folder");
        let data = TensorData::F32(&[0.5; 6][..3 * rank]);
        let (down, up) = ([rank, 3], [3, rank]);
        let tensors = [("m.lora_A.weight", &down), ("m.lora_B.weight", &up)];
        let tensors = tensors.map(|(name, shape)| TensorRef { name, shape, data });
        let path = at.join(name).join("adapter_model.safetensors");
        write_file(path, &tensors, &BTreeMap::new()).expect("written");
        let config = format!("{{\"r\": {rank}, \"lora_alpha\": 8}}");
        fs::write(at.join(name).join("adapter_config.json"), config).expect("written");
    }
}

/// A job with few rounds and epochs and a small model.
fn small_job(text: &str) -> String {
    let small = [("rounds", 2), ("epochs", 1), ("d_model", 16), ("d_ff", 16), ("n_layers", 1)];
    let line = |line: &str| {
        let key = line.split('=').next().unwrap_or_default().trim();
        let value = small.iter().find(|(name, _)| *name == key);
        value.map_or_else(|| line.to_owned(), |(name, value)| format!("{name} = {value}"))
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

/// Of every recording of the watch data one window for training and one for the test.
fn first_rows(text: &str) -> String {
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut lines = text.lines();
    let header = lines.next().expect("a header");
    let rows = lines.filter(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let count = counts.entry((cells[0], cells[3])).or_default();
        *count += 1;
        *count <= 110
    });
    [header].into_iter().chain(rows).flat_map(|line| [line, "\n"]).collect()
}

/// Makes the weight files that single lines of README and `--help` begin from.
fn with_models(at: &Path) {
    let all = "
        edgectl init --config job.toml --data data/watch --out global.safetensors
        cp global.safetensors model.safetensors
        for i in 1 2 3 4 5; do
            edgectl train --init global.safetensors --data data/watch/subject_0$i.csv --out node-0$i.safetensors
        done
        cp node-01.safetensors a.safetensors
        cp node-02.safetensors b.safetensors
        cp node-03.safetensors tuned-1.safetensors
        cp node-04.safetensors tuned-2.safetensors
        edgectl train --init global.safetensors --data mine.csv --out node.safetensors
        for i in 1 2; do
            edgectl preprocess fit --config job.toml --data data/watch/subject_0$i.csv --out stats-0$i.safetensors
        done
        edgectl aggregate stats-*.safetensors --out stats.safetensors
        edgectl keys new --out subject_02.key
        edgectl aggregate node-01.safetensors --out a/model.safetensors.index.json --shard-size 10KB
        edgectl aggregate node-02.safetensors --out b/model.safetensors.index.json --shard-size 10KB
    ";
    shell(at, &format!("set -e\n{all}"));
}

/// Runs a line as it stands in the shell; it must succeed and leave what `--out` names.
#[track_caller]
fn shell(at: &Path, line: &str) {
    // Here the binary has its name.
    let bin = at.join("bin");
    if fs::create_dir(&bin).is_ok() {
        std::os::unix::fs::symlink(binary(), bin.join("edgectl")).expect("a link");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = [bin].into_iter().chain(std::env::split_paths(&path));
    let output = Command::new("sh")
        .args(["-c", line])
        .current_dir(at)
        .env("PATH", std::env::join_paths(paths).expect("paths"))
        .output()
        .expect("a shell");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "this does not work: {line}\n{stderr}");
    let words: Vec<&str> = line.split_whitespace().collect();
    for pair in words.windows(2).filter(|pair| pair[0] == "--out" && !pair[1].contains('$')) {
        assert!(at.join(pair[1]).exists(), "this leaves no {}: {line}", pair[1]);
    }
}

/// Copies a folder with all that is in it but links.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_symlink() || path.ends_with("bin") {
            continue;
        }
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            fs::create_dir_all(&target).expect("a folder");
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

/// Each line in a folder of its own, where all files are there.
fn run_each(lines: &[String]) {
    let prepared = machine();
    with_models(prepared.path());
    for line in lines.iter().filter(|line| !is_not_run(line)) {
        let folder = tempfile::tempdir().expect("a folder");
        copy(prepared.path(), folder.path());
        shell(folder.path(), line);
    }
}

#[test]
fn console_blocks_run() {
    let text = readme();
    let (_, blocks) = parts(&text);
    let consoles = blocks.iter().filter(|(language, _)| language == "console");
    let mut n_run = 0;
    for (_, lines) in consoles {
        let lines = commands(lines);
        for line in lines.iter().filter(|line| !is_not_run(line)) {
            assert!(
                line.starts_with("edgectl "),
                "README.md: `$ {line}` is no edgectl command: list it in NOT_RUN with the reason"
            );
            n_run += 1;
        }
        // A block that begins with `init` is one story; the lines of others are alternatives.
        if lines[0].starts_with("edgectl init") {
            let folder = machine();
            for line in lines.iter().filter(|line| !is_not_run(line)) {
                shell(folder.path(), line);
            }
        } else {
            run_each(&lines);
        }
    }
    assert!(n_run >= 8, "only {n_run} commands were found in README.md: has its form changed?");
}

#[test]
fn examples_of_help_run() {
    let mut names = subcommands();
    names.push(String::new());
    let lines: Vec<String> = names.iter().flat_map(|name| examples(name)).collect();
    assert!(lines.len() >= 15, "only {} examples were found in --help", lines.len());
    run_each(&lines);
}

#[test]
fn what_is_not_run_is_still_there() {
    let text = readme();
    let (prose, blocks) = parts(&text);
    let mut lines: Vec<String> = blocks.iter().flat_map(|(_, lines)| commands(lines)).collect();
    lines.extend(subcommands().iter().flat_map(|name| examples(name)));
    for (beginning, why) in NOT_RUN {
        let there = lines.iter().any(|line| line.starts_with(beginning));
        assert!(there, "`{beginning}` ({why}) is nowhere: take it from NOT_RUN");
    }
    for (flag, of) in OTHER_FLAGS {
        assert!(prose.contains(flag), "{flag} ({of}) is nowhere: take it from OTHER_FLAGS");
    }
}

/// Whether a help text has a flag as a word.
fn has_flag(help: &str, flag: &str) -> bool {
    let separators = |c: char| c.is_whitespace() || ",[]".contains(c);
    help.split(separators).any(|word| word == flag)
}

/// The flags in `code` between other words exist, at the subcommand where one is named.
#[test]
fn flags_in_prose_exist() {
    let text = readme();
    let (prose, _) = parts(&text);
    let names = subcommands();
    let helps: Vec<(String, String)> =
        names.iter().map(|name| (name.clone(), help(name))).collect();
    let mut n_found = 0;
    for code in prose.split('`').skip(1).step_by(2) {
        let mut words: Vec<&str> = code.split_whitespace().collect();
        if words.starts_with(&["cargo"]) {
            if let Some(i) = words.iter().position(|word| *word == "--example") {
                let path = repository("edgectl/examples").join(words[i + 1]);
                let there = path.is_dir() || path.with_extension("rs").exists();
                assert!(there, "README.md: `{code}`: no such example");
            }
            continue;
        }
        if words.first() == Some(&"edgectl") {
            words.remove(0);
        }
        let Some(first) = words.first() else { continue };
        let flags = words.iter().filter(|word| word.starts_with("--"));
        let flags: Vec<&str> = flags.filter_map(|word| word.split('=').next()).collect();
        let own = helps.iter().find(|(name, _)| name == first);
        for flag in flags {
            if OTHER_FLAGS.iter().any(|(other, _)| *other == flag) {
                continue;
            }
            let there = match own {
                Some((_, help)) => has_flag(help, flag),
                None if first.starts_with("--") => helps.iter().any(|(_, h)| has_flag(h, flag)),
                None => continue,
            };
            assert!(there, "README.md: `{code}`: --help knows no {flag}");
            n_found += 1;
        }
    }
    assert!(n_found >= 10, "only {n_found} flags were found in README.md: has its form changed?");
}

/// The job that the README shows for one's own data is a job, and trains; settings of a run are read.
#[test]
fn jobs_of_the_readme_train() {
    let text = readme();
    let (_, blocks) = parts(&text);
    let jobs: Vec<_> = blocks.iter().filter(|(language, _)| language == "toml").collect();
    assert!(!jobs.is_empty(), "README.md shows no job");
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    fs::create_dir(at.join("my-data")).expect("a folder");
    let mut table = "recording,activity,split,x,y,z\n".to_owned();
    for i in 0..1200 {
        let (recording, t) = (i / 300, i % 300);
        let activity = if recording % 2 == 0 { "walk" } else { "run" };
        let split = if t < 200 { "train" } else { "test" };
        let x = f64::from(t * (1 + 2 * (recording % 2)) % 20) / 10.0;
        table += &format!("{recording},{activity},{split},{x},{},{}\n", 1.0 - x, x * x);
    }
    fs::write(at.join("my-data/one.csv"), table).expect("written");
    for (_, lines) in jobs {
        fs::write(at.join("job.toml"), lines.join("\n")).expect("written");
        if lines[0] == "[adapt]" {
            edgectl::job::Settings::read(&at.join("job.toml")).expect("settings");
            continue;
        }
        if lines[0] == "[run]" {
            let settings = edgectl::job::Settings::read(&at.join("job.toml")).expect("settings");
            assert!(settings.run.model.is_some() && settings.run.gap.is_some());
            continue;
        }
        crate::hashes::json(at, &["init", "--config", "job.toml", "--out", "m.safetensors"]);
        let train = ["train", "--config", "job.toml", "--out", "n.safetensors"];
        crate::hashes::json(at, &[&train[..], &["--epochs", "1", "--lr", "1e-3"]].concat());
    }
}
