//! The states that a merge leaves for the next one.

use std::fs;
use std::path::Path;

use aggregate::{AdaptiveClip, Options, Privacy, Rules, ServerStep, Tolerance, Update, aggregate};
use edgectl_fuzz::Campaign;

use crate::merge::check_output;

/// Merges from a base with a state; whether the state was taken.
fn merge(folder: &Path, server_step: ServerStep, privacy: Option<Privacy>) -> bool {
    let update = |name: &str| Update::new(folder.join(name), 1.0);
    let updates = ["n1.safetensors", "n2.safetensors", "n3.safetensors"].map(update);
    let state_out = folder.join("next.server");
    let tolerance = Tolerance::KeepGoing;
    let rules = Rules { server: server_step, privacy, tolerance, ..Rules::default() };
    let options = Options {
        rules,
        base: Some(folder.join("base.safetensors")),
        state_in: Some(folder.join("state.server")),
        state_out: Some(state_out.clone()),
        ..Options::default()
    };
    let out = folder.join("out.safetensors");
    let result = aggregate(&updates, &options, &out, &|_| Ok([].into()));
    for path in [&out, &state_out] {
        assert_eq!(path.exists(), result.is_ok(), "{}", path.display());
        if result.is_ok() {
            check_output(path);
            fs::remove_file(path).expect("it is there");
        }
    }
    result.is_ok()
}

#[test]
fn states_of_a_server_step() {
    Campaign::new("server-states", 4000)
        .damaged("state.server", "adam-state")
        .sound("base.safetensors", "adam-base")
        .sound("n1.safetensors", "n1")
        .sound("n2.safetensors", "n2")
        .sound("n3.safetensors", "n3")
        .run(|folder, _| merge(folder, "adam".parse().expect("a step"), None));
}

#[test]
fn states_of_private_merges() {
    let privacy = Privacy {
        clip_norm: 1.0,
        noise_multiplier: 1.5,
        sampling_rate: 1.0,
        delta: 1e-5,
        adaptive: Some(AdaptiveClip { count_noise: Some(2.0), ..AdaptiveClip::default() }),
        seed: Some(7),
    };
    Campaign::new("privacy-states", 4000)
        .damaged("state.server", "private-state")
        .sound("base.safetensors", "private-base")
        .sound("n1.safetensors", "n1")
        .sound("n2.safetensors", "n2")
        .sound("n3.safetensors", "n3")
        .run(move |folder, _| merge(folder, ServerStep::Replace, Some(privacy)));
}
