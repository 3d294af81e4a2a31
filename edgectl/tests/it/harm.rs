//! What one node alone can do to a round: every kind of harm, by every tolerance, by a mean and by a
//! robust rule.

use std::path::Path;

use aggregate::{TensorData, TensorRef, WeightFile, write_file};
use serde_json::Value;

use crate::support::{bytes, fails, federation, json, ok, trained, weights};

/// The file that does harm, beside the updates of three nodes.
const BAD: &str = "wrong.safetensors";
const GOOD: [&str; 3] = ["n1.safetensors", "n2.safetensors", "n3.safetensors"];

/// A kind of harm.
struct Harm {
    name: &'static str,
    /// Makes the bad file.
    make: fn(&Path),
    /// What the report says of it.
    reason: &'static str,
    /// Those of the others that count.
    counting: &'static [&'static str],
}

/// All that shows in a file or beside the others.
const HARMS: [Harm; 23] = [
    harm("torn", |at| cut(at, |file| file.truncate(file.len() - 9)), "cut short"),
    harm("empty", |at| cut(at, Vec::clear), "the file is empty"),
    harm("short", |at| cut(at, |file| file.truncate(5)), "has 5 bytes"),
    harm(
        "huge header",
        |at| cut(at, |file| file[..8].copy_from_slice(&(u64::MAX / 2).to_le_bytes())),
        "claims a header of",
    ),
    harm("text", |at| cut(at, |file| *file = vec![b'x'; 5000]), "another kind of file"),
    harm("folder", |at| std::fs::create_dir(at.join(BAD)).expect("made"), "a folder or a device"),
    harm("dtype", |at| edit(at, "\"dtype\":\"F32\"", "\"dtype\":\"I32\""), "has dtype I32"),
    harm("shape", |at| edit(at, "\"shape\":[16,32]", "\"shape\":[32,16]"), "has shape [32, 16]"),
    harm("name", |at| edit(at, "\"head.bias\"", "\"head.bibs\""), "tensor \"head.bi"),
    harm("base", |at| said(at, "base", "\"0123\""), "started from another base"),
    harm("version", |at| edit(at, "needs\\\":[]", "needs\\\":[\\\"wings\\\"]"), "wings"),
    harm("metadata", |at| edit(at, "\\\"model\\\":{", "\\\"model\\\":[{"), "is damaged"),
    harm("classes", |at| edit(at, "\\\"fast\\\"", "\\\"last\\\""), "another classes"),
    harm("negative", |at| said(at, "examples", "-5"), "is damaged"),
    harm("loss", |at| said(at, "metrics", "{\"loss\":1e999}"), "is damaged"),
    harm("huge count", |at| said(at, "examples", "18446744073709551616"), "is damaged"),
    harm("nan", |at| value(at, f32::NAN), "holds NaN"),
    harm("infinite", |at| value(at, f32::NEG_INFINITY), "holds -inf"),
    harm("far", |at| value(at, 1e30), "its change has norm"),
    harm("unknown count", foreign, "does not say how many examples"),
    harm("copy", |at| copy(at, GOOD[0]), "is a copy of"),
    harm("all in one", all_in_one, "is in "),
    Harm {
        name: "second",
        make: |at| said(at, "node", "\"node_1\""),
        reason: "node \"node_1\" sent ",
        counting: &["n2.safetensors", "n3.safetensors"],
    },
];

const fn harm(name: &'static str, make: fn(&Path), reason: &'static str) -> Harm {
    Harm { name, make, reason, counting: &GOOD }
}

/// The update of a fourth node with other bytes.
fn cut(at: &Path, edit: impl Fn(&mut Vec<u8>)) {
    let mut file = bytes(at, "n4.safetensors");
    edit(&mut file);
    std::fs::write(at.join(BAD), file).expect("written");
}

/// With another header.
fn edit(at: &Path, from: &str, to: &str) {
    cut(at, |file| {
        let len = 8 + u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
        let header = std::str::from_utf8(&file[8..len]).expect("text");
        assert!(header.contains(from), "{from} is not in {header}");
        let header = header.replacen(from, to, 1).into_bytes();
        *file = [&(header.len() as u64).to_le_bytes()[..], &header, &file[len..]].concat();
    });
}

/// With another value of a key of its provenance, as JSON.
fn said(at: &Path, key: &str, json: &str) {
    let file = WeightFile::open(at.join("n4.safetensors")).expect("readable");
    let meta: Value = serde_json::from_str(&file.metadata()["edgectl"]).expect("JSON");
    let escaped = |text: &str| text.replace('"', "\\\"");
    let old = format!("\"{key}\":{}", meta["provenance"][key]);
    edit(at, &escaped(&old), &escaped(&format!("\"{key}\":{json}")));
}

fn value(at: &Path, value: f32) {
    cut(at, |file| {
        let start = file.len() - 4;
        file[start..].copy_from_slice(&value.to_le_bytes());
    });
}

fn copy(at: &Path, of: &str) {
    std::fs::copy(at.join(of), at.join(BAD)).expect("copied");
}

/// The same tensors from another program.
fn foreign(at: &Path) {
    let file = WeightFile::open(at.join("n4.safetensors")).expect("readable");
    let values: Vec<Vec<f32>> =
        file.tensors().iter().map(|t| file.read_f32(&t.name).expect("floats")).collect();
    let tensor = |(t, values): (&aggregate::TensorInfo, &Vec<f32>)| (t.clone(), values.clone());
    let tensors: Vec<_> = file.tensors().iter().zip(&values).map(tensor).collect();
    let tensors: Vec<TensorRef<'_>> = tensors
        .iter()
        .map(|(t, v)| TensorRef { name: &t.name, shape: &t.shape, data: TensorData::F32(v) })
        .collect();
    write_file(at.join(BAD), &tensors, &[].into()).expect("written");
}

/// A file that says that all nodes are in it.
fn all_in_one(at: &Path) {
    ok(at, &[&["aggregate"], &GOOD[..], &["--base", "global.safetensors", "--out", BAD]].concat());
}

/// Three nodes, and a fourth in whose file something is wrong.
fn four_nodes() -> tempfile::TempDir {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let train = ["train", "--init", "global.safetensors", "--data", "data/node_3.csv"];
    ok(at, &[&train[..], &["--node", "node_4", "--seed", "9", "--out", "n4.safetensors"]].concat());
    folder
}

fn remove(path: &Path) {
    if path.is_dir() {
        std::fs::remove_dir(path).expect("removed");
    } else {
        let _ = std::fs::remove_file(path);
    }
}

fn refs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn no_harm_of_one_node_ends_or_bends_the_round_of_the_others() {
    let folder = four_nodes();
    let at = folder.path();
    let merge = |files: &[&str], reduce: &str, more: &[&str]| -> Vec<String> {
        let end = ["--base", "global.safetensors", "--out", "x.safetensors", "--reduce", reduce];
        let all = [&["aggregate"], files, &end[..], more].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    for Harm { name, make, reason, counting } in HARMS {
        make(at);
        for reduce in ["mean", "median"] {
            ok(at, &refs(&merge(counting, reduce, &[])));
            let expected = weights(at, "x.safetensors");
            let all = [GOOD[1], BAD, GOOD[0], GOOD[2]];
            for more in [&[][..], &["--keep-going"]] {
                std::fs::remove_file(at.join("x.safetensors")).expect("written");
                let report = json(at, &refs(&merge(&all, reduce, more)));
                let rejected = report["rejected"].as_array().expect("a list");
                assert_eq!(rejected.len(), 4 - counting.len(), "{name}: {report}");
                let bad = rejected.iter().find(|r| r["path"] == BAD).expect(name);
                let text = bad["reason"].as_str().expect("text");
                assert!(text.contains(reason), "{name}: {text}");
                assert!(weights(at, "x.safetensors") == expected, "{name} {reduce} {more:?}");
            }
            std::fs::remove_file(at.join("x.safetensors")).expect("written");
            let strict = merge(&all, reduce, &["--strict"]);
            fails(at, &refs(&strict), &[BAD, reason, "nothing was merged", "--keep-going"]);
            assert!(!at.join("x.safetensors").exists(), "{name}");
        }
        remove(&at.join(BAD));
    }
}

#[test]
#[cfg(unix)]
fn a_link_that_leads_nowhere_is_left_out_and_a_wrong_path_is_an_error() {
    let folder = four_nodes();
    let at = folder.path();
    std::os::unix::fs::symlink("nowhere", at.join(BAD)).expect("made");
    let merge = [&["aggregate"], &GOOD[..], &["--out", "x.safetensors"]].concat();
    let report = json(at, &[&merge[..], &[BAD]].concat());
    assert_eq!(report["rejected"][0]["path"], BAD);
    std::fs::remove_file(at.join(BAD)).expect("removed");
    fails(at, &[&merge[..], &["none.safetensors"]].concat(), &["none.safetensors", "no such"]);
    // With few open files each is opened for every read; with none to spare that is this machine's
    // failure and none of the updates'.
    let names: Vec<String> = (0..40).map(|i| format!("many-{i}.safetensors")).collect();
    for name in &names {
        std::fs::copy(at.join(GOOD[0]), at.join(name)).expect("copied");
    }
    let limited = |n: u32| {
        let command = format!(
            "ulimit -n {n}; exec {} aggregate many-*.safetensors --out y.safetensors --threads 1",
            assert_cmd::cargo::cargo_bin("edgectl").display()
        );
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-c", &command]).current_dir(at).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = limited(6);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("Too many open files"), "{stderr}");
    assert!(!stderr.contains("quorum") && !stderr.contains("rejected"), "{stderr}");
    assert!(!at.join("y.safetensors").exists());
    for n in [24, 40, 100] {
        let (code, stderr) = limited(n);
        assert_eq!(code, Some(0), "{n}: {stderr}");
    }
}

#[test]
fn a_claim_of_many_examples_has_half_at_most() {
    let folder = four_nodes();
    let at = folder.path();
    said(at, "examples", "1000000000000000");
    let base = ["--base", "global.safetensors", "--out", "x.safetensors"];
    let files = [GOOD[0], GOOD[1], GOOD[2], BAD];
    for reduce in ["mean", "geometric-median", "norm-clipped-mean", "nova"] {
        let merge = [&["aggregate"], &files[..], &base[..], &["--reduce", reduce]].concat();
        let report = json(at, &merge);
        let [capped] = &report["capped"].as_array().expect("a list")[..] else {
            panic!("{report}")
        };
        assert_eq!((&capped["path"], &capped["node"]), (&BAD.into(), &"node_4".into()));
        assert_eq!(capped["claimed"].as_f64(), Some(1e15));
        // Of 20 windows of each of three others.
        assert_eq!(capped["counted"].as_f64(), Some(60.0));
        assert_eq!(report["weight"].as_f64(), Some(120.0));
        let text = ok(at, &merge);
        assert!(
            text.contains("capped: wrong.safetensors: claims weight 1000000000000000"),
            "{text}"
        );
        let kept = json(at, &["inspect", "x.safetensors"]);
        let provenance = &kept["edgectl"]["provenance"];
        assert_eq!(provenance["merge"]["capped"][0]["counted"].as_f64(), Some(60.0));
        assert_eq!(provenance["examples"], 120, "what is claimed is not handed on");
        let off = json(at, &[&merge[..], &["--max-weight", "off"]].concat());
        assert_eq!(off["capped"].as_array().map(Vec::len), Some(0));
        // The operator's word is not a claim.
        let given = [&merge[..], &["--weights", "1,1,1,1e15"]].concat();
        assert_eq!(json(at, &given)["capped"].as_array().map(Vec::len), Some(0));
    }
    // Alike claims count as they are: the bytes are those without a cap.
    let merge = [&["aggregate"], &GOOD[..], &base[..]].concat();
    ok(at, &merge);
    let capped = bytes(at, "x.safetensors");
    ok(at, &[&merge[..], &["--max-weight", "off"]].concat());
    assert!(bytes(at, "x.safetensors") == capped);
}

#[test]
fn absurd_steps_are_left_out_where_steps_count() {
    let folder = four_nodes();
    let at = folder.path();
    said(at, "local_steps", "1000000000000000");
    let base = ["--base", "global.safetensors", "--out", "x.safetensors", "--reduce", "nova"];
    ok(at, &[&["aggregate"], &GOOD[..], &base[..]].concat());
    let expected = weights(at, "x.safetensors");
    let report = json(at, &[&["aggregate", BAD], &GOOD[..], &base[..]].concat());
    assert!(report["rejected"][0]["reason"].as_str().expect("text").contains("local steps"));
    assert!(weights(at, "x.safetensors") == expected);
}

#[test]
fn files_that_are_no_updates_of_nodes_are_merged_strictly() {
    let folder = four_nodes();
    let at = folder.path();
    cut(at, |file| file.truncate(file.len() - 9));
    let merge = [&["aggregate", BAD], &GOOD[..]].concat();
    let end = ["--base", "global.safetensors", "--out", "x.safetensors"];
    let run = |more: &[&str]| -> Vec<String> {
        [&merge[..], &end[..], more].concat().into_iter().map(str::to_owned).collect()
    };
    for more in [
        &["--weights", "1,1,1,1"][..],
        &["--strategy", "linear"],
        &["--strategy", "ties"],
        &["--reduce", "dare"],
        &["--strategy", "ties:density=0.5"],
    ] {
        let args = run(more);
        let args = refs(&args);
        fails(at, &args, &[BAD, "nothing was merged", "--keep-going"]);
        let report = json(at, &[&args[..], &["--keep-going"]].concat());
        assert_eq!(report["rejected"].as_array().map(Vec::len), Some(1), "{more:?}");
    }
    let two = ["aggregate", BAD, GOOD[0], GOOD[1], "--out", "y.safetensors", "--reduce", "slerp"];
    fails(at, &two, &[BAD, "nothing was merged"]);
    json(at, &[&two[..], &["--keep-going"]].concat());
    // A quorum ends a round, and says why.
    let few = run(&["--quorum", "4"]);
    let few = refs(&few);
    fails(at, &few, &["3 of 4 nodes' updates can be merged, the quorum is 4", BAD, "cut short"]);
    fails(at, &[&few[..few.len() - 1], &["most"]].concat(), &["a number of updates, or half"]);
}

#[test]
fn a_single_file_that_says_what_it_weighs_does_not_silence_those_that_do_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let save = |name: &str, value: f32| {
        let tensor = TensorRef { name: "w", shape: &[1], data: TensorData::F32(&[value]) };
        write_file(at.join(name), &[tensor], &[].into()).expect("written");
    };
    let names = ["a.safetensors", "b.safetensors", "c.safetensors"];
    for (name, value) in names.iter().zip([1.0, 2.0, 3.0]) {
        save(name, value);
    }
    // A merge says what went into it.
    save("x.safetensors", 6.0);
    ok(at, &["aggregate", "x.safetensors", "--weights", "1e9", "--out", BAD]);
    let merge = [&["aggregate"], &names[..], &[BAD, "--out", "y.safetensors"]].concat();
    let report = json(at, &merge);
    assert_eq!(report["rejected"].as_array().map(Vec::len), Some(0), "{report}");
    let file = WeightFile::open(at.join("y.safetensors")).expect("readable");
    assert_eq!(file.read_f32("w").expect("read"), [3.0]);
    fails(at, &[&merge[..], &["--strict"]].concat(), &["a.safetensors", "does not say how many"]);
}

#[test]
fn without_a_base_the_recipe_of_most_is_handed_on() {
    let folder = four_nodes();
    let at = folder.path();
    let train = ["train", "--init", "global.safetensors", "--data", "data/node_3.csv"];
    let own = ["--node", "a_node", "--epochs", "3", "--out", BAD];
    ok(at, &[&train[..], &own[..]].concat());
    ok(at, &[&["aggregate", BAD], &GOOD[..], &["--out", "x.safetensors"]].concat());
    let epochs = |name: &str| {
        let file = WeightFile::open(at.join(name)).expect("readable");
        let meta: Value = serde_json::from_str(&file.metadata()["edgectl"]).expect("JSON");
        meta["train"]["epochs"].clone()
    };
    assert_eq!((epochs(BAD), epochs("x.safetensors")), (3.into(), 2.into()));
}

/// Metadata takes many times its length in memory once it is parsed: an update has a bounded part of it.
#[test]
fn an_update_with_huge_metadata_is_left_out() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let good = aggregate::WeightFile::open(at.join(GOOD[0])).expect("a file");
    let mut metadata = good.metadata().clone();
    metadata.insert("pad".to_owned(), "x".repeat(17 << 20));
    let values = [0.0];
    let tensor =
        aggregate::TensorRef { name: "w", shape: &[1], data: aggregate::TensorData::F32(&values) };
    aggregate::write_file(at.join(BAD), &[tensor], &metadata).expect("written");
    let merge = [&["aggregate"], &GOOD[..], &[BAD, "--out", "x.safetensors"]].concat();
    let report = json(at, &merge);
    let reason = report["rejected"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("its metadata has"), "{reason}");
}
