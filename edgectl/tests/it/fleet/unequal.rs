//! Poison, revoked nodes, slow nodes, and stores that were tampered with: what a center and nodes do about it.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use edgectl::checkpoint::Checkpoint;
use rounds::{Board, Encoding, Patience, PublicKey, Seat, Store, Work};
use serde_json::Value;

use super::processes::{Fleet, center_args, node_args};
use crate::support::{json, ok, table};

fn status(fleet: &Fleet) -> Value {
    json(fleet.path(), &["status", "--store", "store", "--center", "center.pub"])
}

/// Rows of a node with every label turned round.
fn poisoned(node: u32) -> String {
    table(node).replace(",slow,", ",?,").replace(",fast,", ",slow,").replace(",?,", ",fast,")
}

#[test]
fn a_round_that_a_poisoned_majority_would_ruin_is_refused_and_the_next_clean_one_taken() {
    let fleet = Fleet::new("");
    let at = fleet.path();
    // A sound model to begin with.
    ok(
        at,
        &[
            "train",
            "--config",
            "job.toml",
            "--out",
            "start.safetensors",
            "--epochs",
            "30",
            "--quiet",
        ],
    );
    let mut args =
        center_args(&["--init", "start.safetensors", "--rounds", "2", "--eval-data", "data"]);
    args.drain(3..5);
    let center = fleet.start(&args);
    fs::create_dir(at.join("poison")).expect("a folder");
    for node in [1, 2] {
        fs::write(at.join(format!("poison/node_{node}.csv")), poisoned(node)).expect("written");
    }
    let third = fleet.start(&node_args(3, &[]));
    for node in [1, 2] {
        let mut args = node_args(node, &[]);
        args[8] = format!("poison/node_{node}.csv");
        let mut poisoner = fleet.start(&args);
        poisoner.says("sent its update of round 1");
        poisoner.kill();
    }
    center.says("NOT TAKEN");
    // The nodes are cleaned, and go on.
    let nodes = [1, 2].map(|node| fleet.start(&node_args(node, &[])));
    let report = center.ends_well();
    nodes.into_iter().chain([third]).for_each(|node| {
        node.ends_well();
    });
    let status = status(&fleet);
    let [second, first] = [0, 1].map(|i| &status["results"][i]);
    let why = first["refused"].as_str().expect("refused");
    assert!(why.contains("more than 0.0200 worse"), "{why}");
    assert!(second["refused"].is_null(), "{second}");
    assert!(report["metrics"]["accuracy"].as_f64() > first["metrics"]["accuracy"].as_f64());
    // Who was clean learned something else the second time, though the model to start from is the same.
    let sent = |round: u32| -> Vec<String> {
        let folder = at.join(format!("store/in/round-00000{round}/node_3"));
        let names =
            fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").file_name());
        names
            .map(|name| name.into_string().expect("text"))
            .filter(|name| name != "commit.json")
            .collect()
    };
    assert!(sent(1).len() == 1 && sent(2).len() == 1 && sent(1) != sent(2));
    // Round 1 left the model as it was.
    let start = json(at, &["status", "models/3"]);
    assert_eq!(start["live"]["round"], 2);
}

#[test]
fn who_is_revoked_counts_no_more_from_the_next_plan_on() {
    let fleet = Fleet::new("");
    let at = fleet.path();
    let center = fleet.start(&center_args(&["--rounds", "2"]));
    center.says("job ");
    for node in [1, 2] {
        fleet.start(&node_args(node, &[])).says("sent its update of round 1");
    }
    // Before the third sends, so that the plan of round 2 is not there yet.
    let roster = fs::read_to_string(at.join("roster.toml")).expect("a roster");
    fs::write(at.join("roster.toml"), format!("revoked = [\"node_2\"]\n\n{roster}"))
        .expect("written");
    let nodes = [3, 2, 1].map(|node| fleet.start(&node_args(node, &[])));
    center.ends_well();
    let [_, second, _] = nodes.map(|node| (node.ends_well(), 0).0);
    assert_eq!(second["stayed_away"], 1);
    let status = status(&fleet);
    assert_eq!(
        (&status["results"][1]["merged"], &status["results"][0]["merged"]),
        (&3.into(), &2.into())
    );
}

#[test]
fn the_deadline_closes_a_round_with_the_quorum_and_slow_nodes_send_what_they_have() {
    let fleet = Fleet::new("");
    let center = fleet.start(&center_args(&["--rounds", "2", "--quorum", "2", "--deadline", "6s"]));
    center.says("job ");
    // One does its work, one a part of it, one is not there.
    let fast = fleet.start(&node_args(1, &[]));
    let slow = fleet.start(&node_args(2, &["--slow", "100000"]));
    let log = center.ends_well();
    assert_eq!(log["closed"], 2);
    fast.ends_well();
    let said = slow.said();
    slow.ends_well();
    assert!(said.contains("not all that was asked"), "{said}");
    let status = status(&fleet);
    for round in 0..2 {
        assert_eq!(status["results"][round]["merged"], 2, "{status}");
    }
}

#[test]
fn differences_are_small_and_merge_as_well() {
    let mut sent = Vec::new();
    for how in ["whole", "bf16", "int8"] {
        let fleet = Fleet::new("");
        let center = fleet.start(&center_args(&["--compress", how, "--eval-data", "data"]));
        let nodes = [1, 2, 3].map(|node| fleet.start(&node_args(node, &[])));
        let report = center.ends_well();
        for node in nodes {
            node.ends_well();
        }
        let status = status(&fleet);
        let mut bytes = 0;
        for round in status["results"].as_array().expect("rounds") {
            assert_eq!(round["merged"], 3, "{round}");
            for update in round["updates"].as_array().expect("updates") {
                assert_eq!(update["sent"][1], how, "{update}");
                bytes += update["sent"][0].as_u64().expect("bytes");
            }
        }
        sent.push((bytes, report["metrics"]["loss"].as_f64().expect("a loss")));
        let left = fleet.path().join("models/1/update.safetensors.residual");
        assert_eq!(left.exists(), how != "whole");
    }
    let [whole, bf16, int8] = [0, 1, 2].map(|i| sent[i]);
    assert!(bf16.0 < whole.0 * 6 / 10 && int8.0 < whole.0 * 5 / 10, "{sent:?}");
    assert!((bf16.1 - whole.1).abs() < 0.02 && (int8.1 - whole.1).abs() < 0.05, "{sent:?}");
}

/// Sends in the place of a node, in a round, what this makes of an honest update.
fn sends(fleet: &Fleet, (node, round): (u32, u32), change: &dyn Fn(&mut Checkpoint, &mut Work)) {
    let at = fleet.path();
    let store = Store::open(&at.join("store").display().to_string(), None, Patience::default());
    let store = store.expect("a store");
    let center = PublicKey::read(&at.join("center.pub")).expect("a key");
    let board = Board::open(&store, center).expect("sound").expect("a job");
    // The center takes a little to come to it.
    let plans = (0..6000).map(|_| {
        sleep(Duration::from_millis(10));
        board.plan(round).expect("sound")
    });
    let plan = plans.flatten().next().expect("a plan").body;
    let base = board.blob(&plan.base, 1 << 30).expect("a model");
    fs::write(at.join("base.safetensors"), base).expect("written");
    let data = format!("data/node_{node}.csv");
    let train = ["train", "--init", "base.safetensors", "--data", &data, "--quiet"];
    ok(at, &[&train[..], &["--out", "own.safetensors"]].concat());
    let mut own = Checkpoint::read(&at.join("own.safetensors")).expect("an update");
    let examples = own.meta.provenance.examples;
    let mut work = Work { examples, steps: 1, partial: false, seconds: 1.0, speed: None };
    change(&mut own, &mut work);
    own.write(&at.join("own.safetensors")).expect("written");
    let seat = Seat::read(&at.join(format!("keys/node_{node}.key")), None).expect("a key");
    let bytes = fs::read(at.join("own.safetensors")).expect("an update");
    seat.send(&board, &plan, (&bytes, Encoding::Whole, work), 0).expect("sent");
}

/// Finite, and beyond all bounds.
fn huge(own: &mut Checkpoint, _: &mut Work) {
    own.params.iter_mut().for_each(|w| *w *= 1e30);
}

#[test]
fn updates_that_say_something_else_than_their_node_has_signed_do_not_count() {
    type Change = fn(&mut Checkpoint, &mut Work);
    let cases: [(Change, &str); 6] = [
        (
            |own, _| own.meta.provenance.node = Some("node_1".to_owned()),
            "of node \"node_1\", node_3 has signed",
        ),
        (|_, work| work.examples += 1, "its node has signed"),
        (|own, _| own.meta.provenance.base = Some("0".repeat(64)), "its node has signed"),
        // To take out what another one has sent.
        (
            |own, _| own.meta.provenance.merged = vec!["node_3/a".to_owned(), "node_1".to_owned()],
            "names \"node_1\", which is no node below node_3",
        ),
        (|own, _| own.params[7] = f32::NAN, "NaN"),
        (|own, _| own.meta.classes.swap(0, 1), "classes"),
    ];
    for (change, why) in cases {
        let fleet = Fleet::new("");
        let center = fleet.start(&center_args(&["--rounds", "1", "--quorum", "2"]));
        center.says("job ");
        sends(&fleet, (3, 1), &change);
        let nodes = [1, 2].map(|node| fleet.start(&node_args(node, &[])));
        center.ends_well();
        for node in nodes {
            node.ends_well();
        }
        let status = status(&fleet);
        assert_eq!(status["results"][0]["merged"], 2, "{why}: {status}");
        let reason = status["results"][0]["updates"][2]["refused"].as_str().expect(why).to_owned();
        assert!(reason.contains(why), "{reason:?} does not say {why:?}");
    }
}

#[test]
fn a_node_takes_no_model_that_is_worse_on_what_it_holds_out() {
    let fleet = Fleet::new("max_deviation = \"off\"\n[train.validation]\nfraction = 0.5\n");
    let at = fleet.path();
    let start = ["train", "--config", "job.toml", "--out", "start.safetensors", "--epochs", "30"];
    ok(at, &[&start[..], &["--quiet"]].concat());
    let mut args = center_args(&["--init", "start.safetensors", "--rounds", "2"]);
    args.drain(3..5);
    let center = fleet.start(&args);
    center.says("job ");
    let node = fleet.start(&node_args(3, &[]));
    for round in [1, 2] {
        for other in [1, 2] {
            sends(&fleet, (other, round), &|own, _| {
                if round == 2 {
                    // Every answer becomes the opposite.
                    let tensors = own.encoder.layout().tensors().iter();
                    for head in tensors.filter(|tensor| tensor.name.starts_with("head")) {
                        own.params[head.range.clone()].iter_mut().for_each(|w| *w *= -10.0);
                    }
                }
            });
        }
    }
    center.ends_well();
    node.ends_well();
    let status = json(at, &["status", "models/3"]);
    let accuracy = status["live"]["accuracy"].as_f64().expect("an accuracy");
    assert!(accuracy > 0.8, "{status}");
    assert_eq!((&status["live"]["round"], &status["refused"][0]["round"]), (&1.into(), &2.into()));
    let why = status["refused"][0]["reason"].as_str().expect("a reason");
    assert!(why.contains("on what this node holds out"), "{why}");
}

#[test]
fn weights_beyond_all_bounds_are_refused_with_and_without_rows_to_measure_on() {
    for more in [&["--eval-data", "data"][..], &[]] {
        let fleet = Fleet::new("max_deviation = \"off\"\n");
        let center = fleet.start(&center_args(&[more, &["--rounds", "2"]].concat()));
        center.says("job ");
        sends(&fleet, (3, 1), &huge);
        let nodes = [1, 2, 3].map(|node| fleet.start(&node_args(node, &[])));
        let report = center.ends_well();
        assert_eq!(report["not_taken"], 1);
        for node in nodes {
            assert_eq!(node.ends_well()["not_taken"], 1);
        }
        let status = status(&fleet);
        let why = status["results"][1]["refused"].as_str().expect("refused").to_owned();
        assert!(why.contains("not finite"), "{why}");
        assert!(status["results"][0]["refused"].is_null(), "{status}");
    }
}

#[test]
fn a_run_in_which_no_model_was_taken_is_no_success() {
    let fleet = Fleet::new("max_deviation = \"off\"\n");
    let mut center = fleet.start(&center_args(&["--rounds", "1"]));
    center.says("job ");
    sends(&fleet, (3, 1), &huge);
    let nodes = [1, 2].map(|node| fleet.start(&node_args(node, &[])));
    assert_eq!(center.wait(), Some(1), "{}", center.said());
    assert!(center.said().contains("no round gave a model that was taken"), "{}", center.said());
    for node in nodes {
        node.ends_well();
    }
}

#[test]
fn a_store_that_was_tampered_with_is_not_believed() {
    let fleet = Fleet::new("");
    let at = fleet.path();
    let center = fleet.start(&center_args(&["--quorum", "2", "--deadline", "1s"]));
    center.says("job ");
    // Somebody writes in the place of the third node.
    let place = at.join("store/in/round-000001/node_3");
    fs::create_dir_all(&place).expect("a folder");
    fs::write(place.join("commit.json"), "{}\ned25519 00\n").expect("written");
    let robbed = fleet.start(&node_args(3, &[]));
    let nodes = [1, 2].map(|node| fleet.start(&node_args(node, &[])));
    center.says("node_3: not counted");
    for node in nodes {
        node.ends_well();
    }
    center.ends_well();
    robbed.ends_well();
    let status = status(&fleet);
    let of = |round: usize, node: usize| &status["results"][round]["updates"][node]["refused"];
    assert!(of(2, 2).as_str().is_some_and(|why| why.contains("not signed by")), "{status}");
    // It takes part in the rounds after that.
    assert_eq!(status["results"][0]["merged"], 3);

    // A node that is started on a store that was taken back does not go along.
    fs::remove_dir_all(at.join("store/round-000002")).expect("removed");
    fs::remove_dir_all(at.join("store/round-000003")).expect("removed");
    let node = fleet.start(&node_args(1, &[]));
    node.says("the store was taken back");
    drop(node);
    assert_eq!(json(at, &["status", "models/1"])["live"]["round"], 3);
}
