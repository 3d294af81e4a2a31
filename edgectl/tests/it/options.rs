//! An option that is written in one place reaches the job, the checkpoint, `inspect` and the flags.

use aggregate::Rules;
use serde_json::{Map, Value, json};

use crate::support::{JOB, federation, json, ok};

/// Every rule of a merge: a value that is not its default, what the value needs beside it, and the
/// flags of `aggregate` that set it.
fn rules() -> Vec<(&'static str, Value, Value, &'static [&'static str])> {
    let none = || json!({});
    let sgd = || json!({ "train": { "optimizer": { "name": "sgd" } } });
    let median = || json!({ "federation": { "reduce": { "name": "median" } } });
    let plain = || json!({ "federation": { "server": { "name": "replace" } } });
    vec![
        ("reduce", json!({ "name": "median" }), none(), &["--reduce", "--strategy"]),
        ("bucket", json!(2), median(), &["--bucket"]),
        ("server", json!({ "name": "lion", "lr": 0.5 }), none(), &["--server"]),
        ("weights", json!("count"), none(), &["--uniform", "--by-count", "--weights"]),
        ("max_weight", json!(3.0), none(), &["--max-weight"]),
        ("keep_local", json!(["head.*"]), none(), &["--keep-local"]),
        ("carry", json!(["*.ids=first"]), none(), &["--carry"]),
        ("correction", json!("scaffold"), sgd(), &["--strategy"]),
        ("population", json!(7), none(), &["--population"]),
        ("max_deviation", json!("off"), none(), &["--max-deviation"]),
        ("max_age", json!(2), none(), &["--max-age"]),
        ("quorum", json!(2), none(), &["--quorum"]),
        ("tolerance", json!("strict"), none(), &["--strict", "--keep-going"]),
        (
            "privacy",
            json!({ "clip_norm": 1.0, "noise_multiplier": 0.5 }),
            plain(),
            &["--clip-norm"],
        ),
    ]
}

/// A job with parts of another on top, section by section.
fn job(parts: &[&Value]) -> String {
    let mut job: Map<String, Value> = toml::from_str(JOB).expect("a job");
    for part in parts {
        for (section, keys) in part.as_object().expect("sections") {
            let table = job.entry(section).or_insert_with(|| json!({}));
            for (key, value) in keys.as_object().expect("keys") {
                table[key] = value.clone();
            }
        }
    }
    toml::to_string(&job).expect("TOML")
}

#[test]
fn every_rule_reaches_checkpoint_inspect_and_flags() {
    let folder = federation();
    let at = folder.path();
    let help = ok(at, &["aggregate", "--help"]);
    let listed: Vec<&str> = rules().iter().map(|(key, ..)| *key).collect();
    assert_eq!(listed, Rules::KEYS, "the table above has every rule");
    for (key, value, needs, flags) in rules() {
        let own = json!({ "federation": { key: value } });
        std::fs::write(at.join("job.toml"), job(&[&needs, &own])).expect("written");
        json(at, &["init", "--config", "job.toml", "--out", "g"]);
        let inspected = json(at, &["inspect", "g"]);
        let found = &inspected["edgectl"]["federation"][key];
        for (option, value) in value.as_object().into_iter().flatten() {
            assert_eq!(&found[option], value, "{key}: {found}");
        }
        assert!(value.is_object() || *found == value, "{key}: {found}");
        assert!(ok(at, &["inspect", "g"]).contains(&format!("\"{key}\":")), "{key}");
        for flag in flags {
            let is_there = help.split_whitespace().any(|word| word == *flag);
            assert!(is_there, "{key}: no {flag} in aggregate --help");
        }
    }
}

#[test]
fn the_limits_of_a_simulation_are_those_of_its_flags() {
    let folder = federation();
    let at = folder.path();
    let run = ["simulate", "--config", "job.toml", "--out", "run", "--rounds", "1"];
    json(at, &[&run[..], &["--max-weight", "2.5", "--max-deviation", "off"]].concat());
    let inspected = json(at, &["inspect", "run/global.safetensors"]);
    let rules = &inspected["edgectl"]["federation"];
    assert_eq!((&rules["max_weight"], &rules["max_deviation"]), (&json!(2.5), &json!("off")));
}

#[test]
fn every_reducer_runs_from_a_job() {
    let folder = federation();
    let at = folder.path();
    for name in aggregate::Reducer::NAMES {
        // Bulyan and Krum need more nodes than three, slerp exactly two.
        let too_few = ["krum", "multi-krum", "bulyan", "slerp"].contains(&name);
        let own = json!({ "federation": { "reduce": { "name": name } } });
        std::fs::write(at.join("job.toml"), job(&[&own])).expect("written");
        let args = ["simulate", "--config", "job.toml", "--out", "run", "--rounds", "1"];
        let output = crate::support::edgectl(at, &args).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || too_few, "{name}: {stderr}");
        assert!(output.status.success() || stderr.contains(name), "{name}: {stderr}");
    }
}

/// What the help says can be chosen is all there is.
#[test]
fn the_help_names_every_rule() {
    let folder = federation();
    let help = ok(folder.path(), &["aggregate", "--help"]);
    let named = |name: &str| {
        let is = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
        help.split(is).any(|word| word == name)
    };
    let strategies: Vec<&str> = edgectl::federation::Strategy::names().collect();
    for name in
        [&aggregate::Reducer::NAMES[..], &aggregate::ServerStep::NAMES, &strategies].concat()
    {
        assert!(named(name), "{name} is missing in aggregate --help");
    }
}

#[test]
fn a_flag_of_a_merge_without_effect_is_an_error() {
    let folder = federation();
    let at = folder.path();
    crate::support::trained(at);
    let merge = ["aggregate", "n1.safetensors", "n2.safetensors", "--out", "o.safetensors"];
    for (flags, part) in [
        (&["--shard-size", "1GB"][..], "--shard-size has no effect on one file"),
        (&["--older-base", "global.safetensors"], "--older-base has no effect on mean"),
        (&["--max-deviation", "3"], "--max-deviation has no effect without --base"),
        (
            &["--max-weight", "3", "--uniform"],
            "--max-weight has no effect where all weigh the same",
        ),
        (&["--max-weight", "3", "--weights", "1,2"], "beside --weights"),
        (&["--max-weight", "3", "--reduce", "median"], "on a rule that does not weigh"),
        (&["--weights", "1,2", "--reduce", "median"], "--weights has no effect on median"),
        (&["--by-count", "--reduce", "median"], "--by-count has no effect on median"),
        (&["--quarantine", ".", "--strict"], "cannot be used with"),
    ] {
        crate::support::fails(at, &[&merge[..], flags].concat(), &[part]);
    }
    let simulate = ["simulate", "--config", "job.toml", "--attack", "all", "--centralised"];
    crate::support::fails(at, &simulate, &["cannot be used with"]);
}
