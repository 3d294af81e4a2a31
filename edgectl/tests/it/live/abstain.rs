//! A threshold of answers that follows labels within bounds.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use super::{answered, rows, start, with_model};
use crate::support::{JOB, fails};

/// Labels without which nothing moves.
const FEWEST: usize = 20;

fn p(answer: &Value) -> f64 {
    answer["p"].as_f64().expect("a probability")
}

#[test]
fn labels_move_the_threshold_within_its_bounds() {
    let folder = with_model(JOB);
    let at = folder.path();
    let text = rows(at, "data/node_1.csv");
    let plain = answered(at, &["--model", "m.safetensors", "--queue", "all"], &text).answers;
    // The answers that are less sure were wrong, of the first ones, of which just enough have a label.
    let mut first: Vec<&Value> = plain[..FEWEST].iter().collect();
    first.sort_by(|a, b| p(b).total_cmp(&p(a)));
    let n_right = (5..15).find(|&n| p(first[n - 1]) > p(first[n])).expect("they differ");
    let mut labels = String::new();
    for (i, answer) in first.iter().enumerate() {
        let is_slow = (answer["answer"] == "slow") == (i < n_right);
        let label = if is_slow { "slow" } else { "fast" };
        writeln!(labels, "{{\"label\":\"{label}\",\"id\":{}}}", answer["id"]).expect("written");
    }
    // Up to 0.01 none is kept back, and the least that leaves the right ones is their least.
    let expected = p(first[n_right - 1]);
    for (bounds, expected) in [("0.01..0.9999999", expected), ("0.01..0.1", 0.1)] {
        let args = ["--model", "m.safetensors", "--queue", "all", "--abstain", bounds];
        let mut running = start(at, &args);
        running.read_on();
        running.feed(&text);
        running.feed(&labels);
        let told = running.event("abstain");
        let threshold = told["threshold"].as_f64().expect("a number");
        assert!((threshold - expected).abs() < 1e-6, "{told} for {expected}");
        assert_eq!((&told["was"], &told["labels"]), (&0.01.into(), &FEWEST.into()));
        running.feed(&text);
        let ended = running.end();
        let _ = ended.counts();
        let (before, after) = ended.answers.split_at(plain.len());
        assert!(before.iter().all(|answer| answer["status"] == "ok"));
        assert_eq!(after.len(), plain.len());
        for answer in after.iter().filter(|answer| (p(answer) - threshold).abs() > 1e-6) {
            let status = if p(answer) < threshold { "abstain" } else { "ok" };
            assert_eq!(answer["status"], status, "{answer} at {threshold}");
        }
    }
}

#[test]
fn one_threshold_stays_and_bounds_are_checked() {
    let folder = with_model(JOB);
    let at = folder.path();
    for (abstain, right) in
        [("0.9..0.5", "0.95"), ("0.5..1", "0.95"), ("0.5", "0.95"), ("0.5..0.9", "1.5")]
    {
        let args = ["run", "--model", "m.safetensors", "--abstain", abstain];
        fails(at, &[&args[..], &["--abstain-right", right]].concat(), &["--abstain"]);
    }
    let settings = "[run]\nmodel = \"m.safetensors\"\nqueue = \"all\"\nabstain = \"0.2..0.9\"\n";
    fs::write(at.join("live.toml"), settings).expect("written");
    let ended = answered(at, &["--config", "live.toml"], &rows(at, "data/node_1.csv"));
    // No label comes, so that it is the lower bound.
    assert!(ended.counts().keys().all(|status| status == "ok"));
    assert!(ended.events("abstain").is_empty());
}
