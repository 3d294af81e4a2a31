//! Rounds between machines: a center and nodes as processes that meet in a folder.

/// Rounds that close as soon as enough updates are there.
mod asynchronous;
/// Killed at any moment.
mod killed;
/// Processes that end with the test.
mod processes;
/// Regions: centers below a center.
mod trees;
/// Poison, revoked nodes, slow nodes: what the center does about it.
mod unequal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use processes::{Fleet, center_args, node_args};

use crate::support::{edgectl, fails, json, ok};

#[test]
fn rounds_between_machines_give_the_bytes_of_a_simulation() {
    let fleet = Fleet::new("");
    let at = fleet.path();
    let center = fleet.start(&center_args(&["--eval-data", "data"]));
    let nodes = [1, 2, 3].map(|node| fleet.start(&node_args(node, &[])));
    let report = center.ends_well();
    for node in nodes {
        node.ends_well();
    }
    ok(at, &["simulate", "--config", "job.toml", "--out", "sim", "--quiet"]);
    let simulated = fs::read(at.join("sim/global.safetensors")).expect("a model");
    assert!(simulated == fs::read(at.join("global.safetensors")).expect("a model"));
    assert_eq!((&report["closed"], &report["stopped"]), (&3.into(), &serde_json::Value::Null));
    let run: serde_json::Value =
        serde_json::from_slice(&fs::read(at.join("sim/report.json")).expect("a report"))
            .expect("JSON");
    assert_eq!(report["metrics"]["accuracy"], run["final"]["accuracy"]);

    // Each node has the model, and the one before.
    for node in 1..=3 {
        let folder = format!("models/{node}");
        let status = json(at, &["status", &folder]);
        assert_eq!(
            (&status["live"]["round"], &status["previous"]["round"]),
            (&3.into(), &2.into())
        );
        assert!(
            simulated == fs::read(at.join(folder).join("current.safetensors")).expect("a model")
        );
    }
    ok(at, &["rollback", "models/1"]);
    let status = json(at, &["status", "models/1"]);
    assert_eq!((&status["live"]["round"], &status["refused"][0]["round"]), (&2.into(), &3.into()));
    fails(at, &["rollback", "models/1"], &["no model before"]);

    // What the store tells.
    let status = json(at, &["status", "--store", "store", "--center", "center.pub"]);
    assert_eq!(
        (&status["closed"], status["results"].as_array().expect("rounds").len()),
        (&3.into(), 3)
    );
    assert_eq!(status["results"][0]["merged"], 3);
    let text = ok(at, &["status", "--store", "store", "--center", "center.pub", "--last", "1"]);
    assert!(text.contains("3 of 3 rounds are closed") && text.contains("3 of 3  |"), "{text}");

    let shown = ["status", "--store", "store", "--center", "center.pub", "--html", "run.html"];
    ok(at, &shown);
    let page = fs::read_to_string(at.join("run.html")).expect("a page");
    assert!(page.contains("3 of 3 rounds are closed") && page.contains("node_3"), "{page}");
    // Four of the rounds, and one of each node.
    assert_eq!(page.matches("<svg ").count(), 7);
    assert!(!page.contains("<script") && !page.contains("src="));
    fails(at, &[&shown[..6], &["center.pub"]].concat(), &["center.pub"]);

    // All is done: who is started again has nothing to do.
    let again = fleet.start(&center_args(&[])).ends_well();
    assert_eq!(again["closed"], 3);
    assert_eq!(fleet.start(&node_args(2, &[])).ends_well()["sent"], 0);
    let more = center_args(&["--rounds", "9"]);
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    fails(at, &more, &["has 3 rounds, as it was begun"]);
}

#[test]
fn many_nodes_in_one_process_give_the_same_bytes() {
    let fleet = Fleet::new("");
    let at = fleet.path();
    let center = fleet.start(&center_args(&[]));
    let all = [
        "node",
        "--store",
        "store",
        "--keys",
        "keys",
        "--center",
        "center.pub",
        "--data",
        "data",
        "--models",
        "models",
        "--poll",
        "20ms",
    ];
    let report = fleet.start(&all.map(str::to_owned)).ends_well();
    center.ends_well();
    assert_eq!(report["sent"], 9);
    ok(at, &["simulate", "--config", "job.toml", "--out", "sim", "--quiet"]);
    let of = |path: &str| fs::read(at.join(path)).expect("a model");
    assert!(of("sim/global.safetensors") == of("global.safetensors"));
    assert!(of("models/node_2/current.safetensors") == of("global.safetensors"));
}

#[test]
fn urls_for_others_are_refused() {
    let fleet = Fleet::new("");
    let at = fleet.path();
    let key = json(at, &["keys", "new", "--out", "other.key"])["key"].clone();
    let secret = || {
        let owner = fs::Permissions::from_mode(0o600);
        fs::set_permissions(at.join("node.urls"), owner).expect("changed");
    };
    let write = |center: &serde_json::Value, node: &str| {
        let urls = serde_json::json!({
            "version": 1, "use": "", "job": "a job", "center": center, "node": node, "rounds": [1, 3],
            "expires": 100_000_000_000_000_u64, "read": "http://127.0.0.1:1/", "get": {}, "put": {},
        });
        fs::write(at.join("node.urls"), urls.to_string()).expect("written");
        secret();
    };
    let node = ["node", "--store", "node.urls", "--center", "center.pub", "--data", "data"];
    let one = [&node[..], &["--models", "m", "--key", "keys/node_1.key"]].concat();
    write(&key, "node_2");
    fails(at, &one, &["has URLs for node_2, this node is node_1"]);
    fs::set_permissions(at.join("node.urls"), fs::Permissions::from_mode(0o644)).expect("changed");
    fails(at, &one, &["others may read these URLs (mode 644)"]);
    write(&key, "node_1");
    fails(at, &one, &["is of the center with the key", "--center gives"]);
    let many = [&node[..], &["--models", "m", "--keys", "keys"]].concat();
    fails(at, &many, &["has URLs for node_1 alone"]);
    fs::write(at.join("node.urls"), "a key").expect("written");
    fails(at, &one, &["no file of URLs, as edgectl presign writes it"]);
    let presign = ["presign", "--store", "store", "--center", "center.pub", "--id", "node_1"];
    let presign = [&presign[..], &["--out", "node_1.urls"]].concat();
    fails(at, &presign, &["no job has begun here"]);
    edgectl(at, &[&presign[..], &["--rounds", "2..1"]].concat()).assert().code(2);
    edgectl(at, &[&presign[..], &["--expires", "8days"]].concat()).assert().code(2);
}

#[test]
fn what_is_set_up_wrongly_is_said() {
    let fleet = Fleet::new("");
    let at = fleet.path();
    fs::create_dir(at.join("empty")).expect("a folder");
    let says = |args: &[&str], why: &str| fails(at, args, &[why]);
    fs::remove_dir(at.join("store")).expect("an empty folder");
    let center = ["center", "--key", "center.key", "--roster", "roster.toml", "--store"];
    says(&[&center[..], &["store"]].concat(), "no job has begun here: give --config");
    says(&[&center[..], &["no/such/store"]].concat(), "cannot make the folder");
    says(&[&center[..], &["ftp://x/y"]].concat(), "no store of kind");
    says(&[&center[..], &["file://x"]].concat(), "three slashes");
    says(
        &["center", "--key", "center.pub", "--roster", "roster.toml", "--store", "store"],
        "others may read",
    );
    says(&["keys", "new", "--out", "center.key"], "is there already");
    says(&["keys", "new", "--out", "x.pub"], "may not end in .pub");
    says(&["keys", "roster", "keys/node_1.key", "--out", "r.toml"], "this is the secret key");
    says(&["keys", "roster", "center.pub", "--out", "job.toml"], "what is there is not replaced");
    says(&["status", "empty"], "with a deploy.json in it");
    says(&["status", "--store", "empty", "--center", "center.pub"], "no job has begun here");
    says(&["rollback", "empty"], "with a deploy.json in it");
    let node = ["node", "--store", "empty", "--center", "center.pub", "--models", "m"];
    says(
        &[&node[..], &["--key", "keys/node_1.key", "--data", "nowhere"]].concat(),
        "there is no such file",
    );
    says(&[&node[..], &["--keys", "empty", "--data", "data"]].concat(), "no key in it");
    says(
        &[&node[..], &["--key", "keys/node_1.key", "--data", "data", "--slow", "nan"]].concat(),
        "at least 1",
    );
    assert_eq!(json(at, &["store", "check", "fresh"])["fit"], true);
    says(&[&center[..], &["store", "--deadline", "0s"]].concat(), "from 1s to 366days");
    says(&[&center[..], &["store", "--poll", "0s"]].concat(), "from 10ms");
    says(
        &[&center[..], &["store", "--quorum", "4"]].concat(),
        "3 nodes count, and --quorum asks for 4",
    );
    says(&[&center[..], &["store", "--eval-data", "nowhere"]].concat(), "there is no such file");
    // None of that has begun a job.
    assert!(!at.join("store/job.json").exists());
    // The outputs are none of the inputs.
    let out = [&center[..], &["store", "--config", "job.toml", "--out", "job.toml"]].concat();
    says(&out, "job.toml");
    assert!(fs::read_to_string(at.join("job.toml")).expect("text").contains("[federation]"));
    // Keys and rosters say who they are.
    let key = json(at, &["keys", "new", "--out", "node_4.key"]);
    assert!(key["key"].as_str().expect("a key").starts_with("ed25519:"));
    let roster = json(at, &["keys", "roster", "node_4.pub", "center.pub", "--out", "two.toml"]);
    assert_eq!(roster["nodes"], 2);
    edgectl(at, &["keys", "roster", "node_4.pub", "keys/../node_4.pub", "--out", "x.toml"])
        .assert()
        .failure();
    assert!(!Path::new(&at.join("x.toml")).exists());
}
