//! `kill -9` at any moment, and signals that ask.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use rand::{RngExt, SeedableRng};

use super::processes::{Fleet, Process, center_args, node_args};
use crate::support::{JOB, ok};

/// How often; `bench/fleet.py --kills` does it for longer, also to the server of a bucket.
const KILLS: u32 = 12;

/// What is remembered from round to round: the server's momentum, with parameters that stay on the nodes; or
/// variates of center and nodes.
#[test]
fn whoever_is_killed_begins_again_and_the_bytes_are_the_same() {
    killed(&format!("{JOB}keep_local = [\"head.*\"]\n"));
    let plain = JOB.replace(
        "server = { name = \"sgd\", lr = 1.0, momentum = 0.5 }",
        "correction = \"scaffold\"",
    );
    killed(&plain.replace("[train]", "[train]\noptimizer = { name = \"sgd\" }"));
}

/// What rounding left over is sent once, whoever was killed: two such runs give the same bytes.
#[test]
fn differences_leave_the_same_over() {
    let [first, second] = [7, 0].map(|kills| run(JOB, &["--compress", "int8"], kills, 9));
    let of = |fleet: &Fleet| fs::read(fleet.path().join("global.safetensors")).expect("a model");
    assert!(of(&first) == of(&second));
}

fn killed(job: &str) {
    let fleet = run(job, &[], KILLS, 5);
    let at = fleet.path();
    ok(at, &["simulate", "--config", "job.toml", "--out", "sim", "--quiet"]);
    let of = |path: &str| fs::read(at.join(path)).expect("a model");
    assert!(of("sim/global.safetensors") == of("global.safetensors"), "{job}");
    for node in 1..=3 {
        assert!(of(&format!("models/{node}/current.safetensors")) == of("global.safetensors"));
    }
}

/// Runs a job, and kills somebody so often.
fn run(job: &str, center: &[&str], kills: u32, seed: u64) -> Fleet {
    let fleet = Fleet::new("");
    fs::write(fleet.path().join("job.toml"), job).expect("written");
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let args = |who: usize| {
        if who == 0 { center_args(center) } else { node_args(who as u32, &["--slow", "3"]) }
    };
    let mut running: Vec<Process> = (0..4).map(|who| fleet.start(&args(who))).collect();
    for _ in 0..kills {
        sleep(Duration::from_millis(random.random_range(0..150)));
        let who = random.random_range(0..4);
        running[who].kill();
        running[who] = fleet.start(&args(who));
    }
    for process in running {
        process.ends_well();
    }
    fleet
}

#[test]
fn services_that_are_asked_to_end_do_so_with_0() {
    let fleet = Fleet::new("");
    let mut center = fleet.start(&center_args(&[]));
    center.says("job ");
    let node = fleet.start(&node_args(1, &[]));
    node.says("sent its update of round 1");
    for mut process in [node, fleet.start(&node_args(2, &["--slow", "1000"]))] {
        process.says("asked");
        process.terminate();
        assert_eq!(process.wait(), Some(0), "{}", process.said());
    }
    assert!(!center.is_over());
    center.terminate();
    assert_eq!(center.ends_well()["stopped"], "interrupted");
    // One that waits for a job that nobody begins.
    fs::create_dir(fleet.path().join("other")).expect("a folder");
    let mut waits = node_args(1, &[]);
    waits[2] = "other".to_owned();
    let mut waits = fleet.start(&waits);
    waits.says("waiting for the center");
    waits.terminate();
    assert_eq!(waits.wait(), Some(0));
}
