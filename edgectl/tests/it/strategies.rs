//! Strategies end to end: by hand as in `simulate`, trees of merges, files of other programs,
//! quarantine and quorum, privacy, attackers.

use std::collections::BTreeMap;
use std::path::Path;

use aggregate::{TensorData, TensorRef, WeightFile, write_file};

use crate::support::{JOB, bytes, edgectl, fails, federation, json, ok, trained, weights};

/// Two rounds by hand, every node training so many times, as if its first try had been lost.
fn by_hand(at: &Path, n_tries: u32) {
    ok(at, &["init", "--config", "job.toml", "--data", "data", "--out", "global.safetensors"]);
    for _ in 0..2 {
        for node in 1..=3 {
            let (data, out) = (format!("data/node_{node}.csv"), format!("n{node}.safetensors"));
            for _ in 0..n_tries {
                ok(at, &["train", "--init", "global.safetensors", "--data", &data, "--out", &out]);
            }
        }
        let updates = ["n3.safetensors", "n1.safetensors", "n2.safetensors"];
        let end =
            ["--base", "global.safetensors", "--out", "global.safetensors", "--strategy", "job"];
        ok(at, &[&["aggregate"], &updates[..], &end[..]].concat());
    }
}

#[test]
fn every_kind_of_federation_is_the_same_by_hand_and_simulated() {
    let server = "server = { name = \"sgd\", lr = 1.0, momentum = 0.5 }";
    let sgd = JOB.replace("lr = 3e-3", "lr = 3e-2\noptimizer = { name = \"sgd\" }");
    for (what, job) in [
        (
            "scaffold",
            sgd.replace(server, "correction = \"scaffold\"\nweights = \"uniform\"\npopulation = 4"),
        ),
        ("feddyn", JOB.replace(server, "server = { name = \"dyn\", alpha = 0.1, population = 3 }")),
        ("fedbn", JOB.replace(server, "keep_local = [\"*norm*\"]")),
        ("fedadam", JOB.replace(server, "server = { name = \"adam\", lr = 0.01 }")),
        ("fednova", JOB.replace(server, "reduce = { name = \"nova\" }")),
        ("clipping", JOB.replace(server, "reduce = { name = \"centred-clipping\" }\nbucket = 2")),
    ] {
        let folder = federation();
        let at = folder.path();
        let job = job.replace("rounds = 3", "rounds = 2");
        std::fs::write(at.join("job.toml"), job).expect("written");
        let report = json(at, &["simulate", "--config", "job.toml", "--out", "run"]);
        assert_eq!(report["rounds"].as_array().expect("a list").len(), 2, "{what}");
        // What stays on a node has learned from a first try.
        by_hand(at, if what == "fedbn" { 1 } else { 2 });
        let [hand, simulated] =
            ["global.safetensors", "run/global.safetensors"].map(|file| bytes(at, file));
        assert!(hand == simulated, "{what}: the models differ");
        match what {
            "scaffold" => {
                let file = WeightFile::open(at.join("global.safetensors")).expect("readable");
                let control = file.read_f32("control.head.weight").expect("carried");
                assert!(control.iter().any(|c| *c != 0.0), "the variate has not moved");
                ok(at, &["eval", "--model", "global.safetensors", "--data", "data"]);
            }
            "fedbn" => {
                let open = |name: &str| WeightFile::open(at.join(name)).expect("readable");
                let norm = |name: &str| {
                    let file = open(name);
                    let tensor = file.tensors().iter().find(|t| t.name.contains("norm"));
                    file.read_f32(&tensor.expect("a norm").name).expect("read")
                };
                assert_ne!(norm("n1.safetensors"), norm("n2.safetensors"));
                assert_ne!(norm("global.safetensors"), norm("n1.safetensors"));
            }
            _ => {}
        }
    }
}

#[test]
fn a_merge_of_merges_is_the_merge_of_all() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let merge = |updates: &[&str], out: &str, more: &[&str]| {
        let end = ["--base", "global.safetensors", "--out", out];
        json(at, &[&["aggregate"], updates, &end[..], more].concat())
    };
    let [a, b, c] = ["n1.safetensors", "n2.safetensors", "n3.safetensors"];
    for more in [&[][..], &["--by-count"][..]] {
        let all = merge(&[a, b, c], "all.safetensors", more);
        merge(&[a, b], "region.safetensors", more);
        // How many nodes are in it is the file's own word: it has no more than half.
        let half = merge(&["region.safetensors", c], "half.safetensors", more);
        assert_eq!(half["updates"][0]["share"], 0.5, "{half}");
        assert_eq!(half["capped"].as_array().map(Vec::len), Some(1), "{half}");
        // A center that trusts its regions says so.
        let believed = [more, &["--max-weight", "off"]].concat();
        let tree = merge(&["region.safetensors", c], "tree.safetensors", &believed);
        assert_eq!(tree["capped"].as_array().map(Vec::len), Some(0));
        assert_eq!(tree["n_updates"], 3);
        assert_eq!(tree["weight"], all["weight"]);
        let [all, tree] = ["all.safetensors", "tree.safetensors"]
            .map(|name| WeightFile::open(at.join(name)).expect("readable"));
        for tensor in all.tensors() {
            let [expected, found] =
                [&all, &tree].map(|file| file.read_f32(&tensor.name).expect("read"));
            for (e, f) in expected.iter().zip(&found) {
                // The region's file is rounded once, and so is the result.
                assert!((e - f).abs() <= 2e-7 * e.abs() + 1e-9, "{}: {e} {f}", tensor.name);
            }
        }
        // Who is in the region's file does not count once more.
        let twice = ["aggregate", "region.safetensors", a, "--out", "twice.safetensors"];
        let twice = [&twice[..], &["--strict"]].concat();
        fails(at, &twice, &["region.safetensors: node \"node_1\"", "n1.safetensors too"]);
        let names = json(at, &["inspect", "tree.safetensors"]);
        let merged = &names["edgectl"]["provenance"]["merged"];
        assert_eq!(merged.as_array().expect("a list").len(), 3, "{merged}");
    }
}

#[test]
fn files_of_other_programs_keep_what_they_say_and_remember_their_weight() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let save = |name: &str, value: f32, own: &str| {
        let values = [value; 4];
        let tensor = TensorRef { name: "w", shape: &[2, 2], data: TensorData::F32(&values) };
        let metadata = BTreeMap::from([
            ("format".to_owned(), "pt".to_owned()),
            ("own".to_owned(), own.to_owned()),
        ]);
        write_file(at.join(name), &[tensor], &metadata).expect("written");
    };
    save("a.safetensors", 1.0, "a");
    save("b.safetensors", 2.0, "b");
    save("c.safetensors", 7.0, "c");
    let merge = ["aggregate", "a.safetensors", "b.safetensors"];
    let report =
        json(at, &[&merge[..], &["--weights", "0.75,0.25", "--out", "ab.safetensors"]].concat());
    assert_eq!(report["strategy"], "weighted");
    let file = WeightFile::open(at.join("ab.safetensors")).expect("readable");
    assert_eq!(file.read_f32("w").expect("read"), [1.25; 4]);
    assert_eq!(file.metadata()["format"], "pt");
    assert!(!file.metadata().contains_key("own"), "they do not agree on it");
    // Three such nodes in one file weigh as three.
    ok(at, &[&merge[..], &["c.safetensors", "--out", "abc.safetensors", "--uniform"]].concat());
    ok(at, &[&merge[..], &["--out", "ab.safetensors", "--uniform"]].concat());
    let tree = ["aggregate", "ab.safetensors", "c.safetensors", "--out", "tree.safetensors"];
    ok(at, &[&tree[..], &["--by-count", "--max-weight", "off"]].concat());
    assert_eq!(weights(at, "tree.safetensors"), weights(at, "abc.safetensors"));
    // Where only some files say what they weigh, somebody must.
    fails(at, &tree, &["c.safetensors", "--uniform"]);
    // Sharded, as large models come.
    let sharded = ["--out", "big.safetensors.index.json", "--shard-size", "10B"];
    ok(at, &[&merge[..], &sharded[..]].concat());
    let index = std::fs::read_to_string(at.join("big.safetensors.index.json")).expect("text");
    assert!(index.contains("\"total_size\": 16"), "{index}");
    let again = ["aggregate", "big.safetensors.index.json", "--out", "small.safetensors"];
    ok(at, &again);
    assert_eq!(weights(at, "small.safetensors"), weights(at, "ab.safetensors"));
}

#[test]
fn refused_updates_are_listed_and_moved_and_a_quorum_is_kept() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let mut bad = bytes(at, "n3.safetensors");
    let len = bad.len();
    bad[len - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(at.join("bad.safetensors"), bad).expect("written");
    let merge = ["aggregate", "n1.safetensors", "n2.safetensors", "bad.safetensors"];
    let end = ["--base", "global.safetensors", "--out", "merged.safetensors"];
    let few = [&merge[..], &end[..], &["--quorum", "3"]].concat();
    fails(at, &few, &["quorum is 3", "bad.safetensors"]);
    assert!(!at.join("merged.safetensors").exists());
    let away = [&merge[..], &end[..], &["--quarantine", "refused", "--quorum", "2"]].concat();
    fails(at, &away, &["refused", "create it"]);
    std::fs::create_dir(at.join("refused")).expect("made");
    let report = json(at, &away);
    assert_eq!(report["rejected"][0]["path"], "bad.safetensors");
    assert_eq!(report["quarantined"][0], "refused/bad.safetensors");
    assert!(!at.join("bad.safetensors").exists() && at.join("refused/bad.safetensors").exists());
    let updates = report["updates"].as_array().expect("a list");
    let verdicts: Vec<&str> = updates.iter().filter_map(|u| u["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["merged", "merged", "value"]);
    assert!(updates[0]["norm"].as_f64().expect("a number") > 0.0);
    let changes = report["changes"].as_array().expect("a list");
    assert!(changes.iter().any(|change| change["relative"].is_number()));
    // By its own name, also where that is no text and another file has the text that stands for it.
    #[cfg(unix)]
    {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let odd = at.join(OsStr::from_bytes(b"x\xff.safetensors"));
        let twin = at.join("x\u{fffd}.safetensors");
        std::fs::copy(at.join("refused/bad.safetensors"), &odd).expect("copied");
        std::fs::copy(at.join("n3.safetensors"), &twin).expect("copied");
        let mut command = edgectl(at, &["aggregate", "n1.safetensors", "n2.safetensors"]);
        command.args([&odd, &twin]).args(end).args(["--quarantine", "refused"]);
        assert!(command.output().expect("it runs").status.success());
        assert!(!odd.exists() && twin.exists(), "another file was moved");
    }
    // The global model among the updates, as a careless glob has it, is refused and stays.
    let glob = ["aggregate", "n1.safetensors", "n2.safetensors", "global.safetensors"];
    let in_place = ["--base", "global.safetensors", "--out", "global.safetensors"];
    ok(at, &["init", "--config", "job.toml", "--out", "old.safetensors"]);
    let copy = bytes(at, "global.safetensors");
    let report = json(at, &[&glob[..], &in_place[..], &["--quarantine", "refused"]].concat());
    assert_eq!(report["quarantined"].as_array().expect("a list").len(), 0, "{report}");
    assert!(bytes(at, "global.safetensors") != copy, "the new model is in its place");
    std::fs::write(at.join("global.safetensors"), copy).expect("written");
    let text = ok(at, &[&merge[..3], &end[..]].concat());
    assert!(text.contains("| update ") && text.contains("moved most: "), "{text}");
}

#[test]
fn rules_of_the_job_hold_until_a_flag_says_otherwise() {
    let folder = federation();
    let at = folder.path();
    let rules = "quorum = 4\nmax_age = 3\nreduce = { name = \"median\" }\n";
    std::fs::write(at.join("job.toml"), format!("{JOB}{rules}")).expect("written");
    trained(at);
    let merge = ["aggregate", "n1.safetensors", "n2.safetensors", "n3.safetensors"];
    let end = ["--base", "global.safetensors", "--out", "merged.safetensors"];
    let by_job = [&merge[..], &end[..], &["--strategy", "job"]].concat();
    fails(at, &by_job, &["3 of 3 nodes' updates can be merged, the quorum is 4"]);
    let report = json(at, &[&by_job[..], &["--quorum", "3"]].concat());
    assert_eq!(report["strategy"], "median+sgd");
    let mean =
        ["--quorum", "3", "--reduce", "mean", "--server", "replace", "--max-deviation", "off"];
    let by_flags = json(at, &[&by_job[..], &mean].concat());
    assert_eq!(by_flags["strategy"], "fedavg");
    let flagged = weights(at, "merged.safetensors");
    json(at, &[&merge[..], &end[..]].concat());
    assert_eq!(weights(at, "merged.safetensors"), flagged, "as without the job");
}

#[test]
fn private_merges_state_their_privacy_over_all_rounds() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let merge = ["aggregate", "n1.safetensors", "n2.safetensors", "n3.safetensors"];
    let private = [
        &merge[..],
        &["--base", "global.safetensors", "--out", "global2.safetensors", "--insecure-seed", "1"],
        &["--clip-norm", "0.1", "--noise-multiplier", "1.0", "--clip-quantile", "0.5"],
    ]
    .concat();
    let report = json(at, &private);
    let first = report["privacy"]["epsilon"].as_f64().expect("a number");
    assert!(first > 1.0 && first < 10.0, "{first}");
    assert_eq!(report["updates"].as_array().expect("a list").len(), 0, "they would tell of nodes");
    let inside = json(at, &["inspect", "global2.safetensors"]);
    let provenance = &inside["edgectl"]["provenance"];
    assert!(provenance["merged"].is_null() && provenance["examples"] == 0, "{provenance}");
    let merged = bytes(at, "global2.safetensors");
    json(at, &private);
    assert_eq!(bytes(at, "global2.safetensors"), merged, "the seed repeats it");
    // The next round adds to the cost, and starts from the norm that was found.
    for node in 1..=3 {
        let (data, out) = (format!("data/node_{node}.csv"), format!("n{node}.safetensors"));
        ok(at, &["train", "--init", "global2.safetensors", "--data", &data, "--out", &out]);
    }
    let mut second = private.clone();
    second[5] = "global2.safetensors";
    let report = json(at, &second);
    assert_eq!(report["privacy"]["rounds"], 2);
    assert!(report["privacy"]["epsilon"].as_f64().expect("a number") > first);
    let clip = report["privacy"]["clip_norm"].as_f64().expect("a number");
    assert!((clip - 0.1).abs() > 1e-4, "the norm has not moved: {clip}");
    let reduce = [&private[..], &["--reduce", "median"]].concat();
    fails(at, &reduce, &["private merging", "reducer"]);
}

#[test]
fn attackers_are_shown_beside_the_honest_run() {
    let folder = federation();
    let at = folder.path();
    let args = ["simulate", "--config", "job.toml", "--out", "run", "--attackers", "1"];
    let one = [&args[..], &["--attack", "nan,sign-flip", "--reduce", "median"]].concat();
    let report = json(at, &one);
    let cells = report["attacks"].as_array().expect("a list");
    assert_eq!(cells.len(), 3);
    assert!(cells.iter().all(|cell| cell["rule"] == "median" && cell["accuracy"].is_number()));
    assert_eq!(cells[1]["attack"], "nan");
    assert_eq!(cells[1]["refused"], 3, "one update in each of three rounds");
    // What is claimed shows in neither weights nor norms.
    let two = [&args[..], &["--attack", "inflate,impersonate", "--reduce", "mean"]].concat();
    let report = json(at, &two);
    let cells = report["attacks"].as_array().expect("a list");
    assert_eq!((&cells[1]["attack"], &cells[1]["capped"]), (&"inflate".into(), &3.into()));
    assert!(cells[1]["accuracy"].is_number() && cells[1]["refused"] == 0);
    // With the name of one of two others, one of two is left.
    assert_eq!(cells[2]["attack"], "impersonate");
    assert!(cells[2]["accuracy"].is_null(), "{report}");
    let reason = cells[2]["reason"].as_str().expect("text");
    assert!(reason.contains("1 of 2 nodes' updates") && reason.contains("quorum"), "{reason}");
    fails(at, &[&args[..], &["--attack", "sign-flop"]].concat(), &["sign-flop", "sign-flip"]);
    fails(at, &["simulate", "--config", "job.toml", "--attack", "nan", "--attackers", "3"], &["3"]);
}

#[test]
fn the_table_of_attacks_has_every_rule_and_hides_no_error() {
    let folder = federation();
    let at = folder.path();
    let args = ["simulate", "--config", "job.toml", "--out", "run", "--attackers", "1"];
    let args = [&args[..], &["--attack", "nan"]].concat();
    let short = [&args[..], &["--rounds", "1", "--epochs", "1"]].concat();
    let report = json(at, &short);
    let named = |cell: &serde_json::Value| {
        let rule = cell["rule"].as_str().expect("text");
        rule.split([':', ',']).next().expect("a name").to_owned()
    };
    let cells = report["attacks"].as_array().expect("a list");
    let left_out = report["left_out"].as_array().expect("a list");
    let rules: std::collections::BTreeSet<String> =
        cells.iter().chain(left_out).map(named).collect();
    let all = aggregate::Reducer::NAMES.map(str::to_owned);
    assert_eq!(rules, all.into());
    let [slerp] = &left_out[..] else { panic!("{left_out:?}") };
    assert_eq!(slerp["rule"], "slerp");
    assert!(slerp["reason"].as_str().expect("text").contains("exactly two updates"), "{slerp}");
    // Krum needs three, and one of three sends NaN.
    let krum = |cell: &&serde_json::Value| named(cell) == "krum" && cell["attack"] == "nan";
    let krum = cells.iter().find(krum).expect("in the table");
    assert!(krum["accuracy"].is_null(), "{krum}");
    let reason = krum["reason"].as_str().expect("text");
    assert!(reason.contains("krum needs at least 3 updates") && reason.contains("NaN"), "{reason}");
    // A program that fails is no rule that loses.
    std::fs::remove_dir_all(at.join("run/attacked")).expect("removed");
    std::fs::write(at.join("run/attacked"), "a file").expect("written");
    fails(at, &short, &["run/attacked: cannot prepare the folder"]);
    std::fs::remove_file(at.join("run/attacked")).expect("removed");
    let job = format!("{JOB}correction = \"scaffold\"\n").replace("lr = 3e-3", "lr = 3e-2");
    std::fs::write(
        at.join("job.toml"),
        job.replace("[train]", "[train]\noptimizer = { name = \"sgd\" }"),
    )
    .expect("written");
    // What the job excludes is left out, with the reason; the mean goes with it.
    let report = json(at, &short);
    let left_out = report["left_out"].as_array().expect("a list");
    let median = left_out.iter().find(|l| l["rule"] == "median").expect("left out");
    let reason = median["reason"].as_str().expect("text");
    assert!(reason.contains("scaffold") && reason.contains("does not go with"), "{reason}");
    assert!(
        report["attacks"].as_array().expect("a list").iter().all(|c| named(c).contains("mean"))
    );
}

/// Peak memory does not grow with the size of the files: here they are twice the bound together.
#[test]
#[cfg(target_os = "linux")]
fn memory_is_bounded_by_the_number_of_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let n = 4_000_000;
    let base = testkit::sequence(1, n);
    let save = |name: &str, scale: f32| {
        let values: Vec<f32> =
            base.iter().rev().zip(&base).map(|(r, b)| b + scale * (r + 2.0)).collect();
        let tensor = TensorRef { name: "w", shape: &[n], data: TensorData::F32(&values) };
        write_file(at.join(name), &[tensor], &BTreeMap::new()).expect("written");
    };
    let names: Vec<String> = (0..9).map(|i| format!("{i}.safetensors")).collect();
    for (i, name) in names.iter().enumerate() {
        save(name, 1e-3 * (1.0 + i as f32 / 9.0));
    }
    save("base.safetensors", 0.0);
    let bound = 64 * 1024 * 1024 + 10 * 256 * 1024;
    for strategy in [
        "fedavg",
        "median",
        "trimmed-mean",
        "krum",
        "multi-krum",
        "bulyan",
        "geometric-median",
        "centred-clipping",
        "norm-clipped-mean",
        "fednova",
        "ties",
        "dare",
        "fedadam",
    ] {
        let mut args: Vec<&str> = vec!["aggregate", "--uniform", "--strategy", strategy];
        args.extend(names.iter().map(String::as_str));
        args.extend(["--base", "base.safetensors", "--out", "out.safetensors"]);
        let report = json(at, &args);
        let peak = report["peak_rss_bytes"].as_u64().expect("a number");
        let buffers = report["buffer_bytes"].as_u64().expect("a number");
        assert!(peak <= bound && buffers <= peak, "{strategy}: {peak} and {buffers}, not {bound}");
    }
}

/// A process may hold so many files open and no more.
#[test]
#[cfg(unix)]
fn more_updates_than_files_may_be_open() {
    let folder = tempfile::tempdir().expect("a folder");
    for i in 0..300_u16 {
        let values = [f32::from(i); 3];
        let tensor = TensorRef { name: "w", shape: &[3], data: TensorData::F32(&values) };
        write_file(folder.path().join(format!("{i:03}.safetensors")), &[tensor], &BTreeMap::new())
            .expect("written");
    }
    for reduce in ["mean", "multi-krum"] {
        let command = format!(
            "ulimit -n 180; exec {} aggregate [0-9]*.safetensors --out out.safetensors --uniform --reduce {reduce}",
            assert_cmd::cargo::cargo_bin("edgectl").display()
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &command])
            .current_dir(folder.path())
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
