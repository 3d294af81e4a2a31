//! What is written to files comes back as it was, and what does not belong there is refused.

use optim::{Guard, OptimizerConfig, Plateau, PlateauConfig, Schedule, State};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use testkit::{assert_same_bits, sequence};

use crate::drawn::{optimizers, schedules};

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(json)
}

fn through_json<T: Serialize + DeserializeOwned>(value: &T) -> T {
    parse(&serde_json::to_string(value).unwrap()).unwrap()
}

/// Twelve steps, with an optimizer that was saved and loaded before every one, or without.
fn run(config: OptimizerConfig, n: usize, seed: u64, saves: bool) -> Vec<f32> {
    let mut params = sequence(seed, n);
    let mut optimizer = config.build(n).unwrap();
    for step in 0..12 {
        if saves {
            let state = through_json(&optimizer.state());
            assert_eq!(state, optimizer.state());
            optimizer = config.build(n).unwrap();
            optimizer.load_state(&state).unwrap();
        }
        let grads = sequence(seed.wrapping_add(step + 1), n);
        // A learning rate whose powers need all digits of an f64.
        optimizer.step(&mut params, &grads, 0.0123 / (step + 3) as f32);
    }
    optimizer.average(&mut params);
    params
}

#[test]
fn every_optimizer_goes_on_from_json_to_the_same_bits() {
    for &name in OptimizerConfig::NAMES {
        let config = name.parse().unwrap();
        assert_same_bits(name, &run(config, 100, 1, true), &run(config, 100, 1, false));
    }
}

#[test]
fn infinity_and_nan_come_back() {
    let values = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -0.0, 1e-45, f32::MAX, 0.1];
    let state = State {
        version: State::VERSION,
        optimizer: "sgd".to_owned(),
        step: u64::MAX,
        scalars: [("weight".to_owned(), 0.1_f64.next_up())].into(),
        tensors: [("momentum_buffer".to_owned(), values.to_vec())].into(),
    };
    let loaded = through_json(&state);
    assert_eq!((loaded.version, loaded.step), (state.version, state.step));
    assert_eq!(loaded.scalars, state.scalars);
    assert_same_bits("tensor", &loaded.tensors["momentum_buffer"], &values);
    // That no honest run holds a NaN is for the optimizer to say, not for the file.
    let loaded = State { scalars: [].into(), ..loaded };
    let config: OptimizerConfig = parse(r#"{"name":"sgd","momentum":0.5}"#).unwrap();
    let message = config.build(values.len()).unwrap().load_state(&loaded).unwrap_err().to_string();
    assert!(message.contains("is NaN at element 2"), "{message}");
}

#[test]
fn a_damaged_state_is_refused() {
    let good = serde_json::to_string(
        &"adam".parse::<OptimizerConfig>().unwrap().build(1).unwrap().state(),
    )
    .unwrap();
    assert!(parse::<State>(&good).is_ok());
    for (from, to) in [
        ("\"step\":0", "\"step\":-1"),
        ("[0]", "[0.5]"),
        ("[0]", "[4294967296]"),
        ("step", "steps"),
    ] {
        assert!(good.contains(from), "{good}");
        assert!(parse::<State>(&good.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn every_optimizer_is_parsed_by_its_name() {
    for name in OptimizerConfig::NAMES {
        let bare: OptimizerConfig = parse(&format!("{{\"name\":\"{name}\"}}")).unwrap();
        assert_eq!(bare, name.parse().unwrap());
    }
}

#[test]
fn unknown_optimizers_and_options_are_refused() {
    let message = |json| parse::<OptimizerConfig>(json).unwrap_err().to_string();
    assert!(message(r#"{"name":"adamm"}"#).contains("adamw"));
    let unknown = message(r#"{"name":"adam","momentum":0.9}"#);
    assert!(unknown.contains("unknown field `momentum`"), "{unknown}");
    assert!(unknown.contains("beta1"), "{unknown}");
}

#[test]
fn names_of_schedules_are_kebab_case_and_defaults_apply() {
    for (json, expected) in [
        (r#"{"name":"constant"}"#, Schedule::Constant),
        (r#"{"name":"linear-warmup","warmup":0.05}"#, Schedule::LinearWarmup { warmup: 0.05 }),
        (r#"{"name":"cosine"}"#, Schedule::Cosine { warmup: 0.0, min_ratio: 0.0 }),
        (r#"{"name":"step","every":30}"#, Schedule::Step { every: 30, gamma: 0.1 }),
        (r#"{"name":"polynomial"}"#, Schedule::Polynomial { power: 1.0, warmup: 0.0 }),
        (r#"{"name":"reduce-on-plateau"}"#, Schedule::ReduceOnPlateau(PlateauConfig::default())),
    ] {
        assert_eq!(parse::<Schedule>(json).unwrap(), expected, "{json}");
    }
}

#[test]
fn unknown_keys_of_schedules_are_refused_even_without_options() {
    for json in [
        r#"{"name":"constant","warmup":0.1}"#,
        r#"{"name":"cosine","warm_up":0.1}"#,
        r#"{"name":"exponential","final_ratio":0.1,"gamma":0.9}"#,
        r#"{"name":"cosinus"}"#,
        r#"{"name":"polynomial","powr":2.0}"#,
        r#"{"name":"reduce-on-plateau","patient":2}"#,
    ] {
        assert!(parse::<Schedule>(json).is_err(), "{json}");
    }
}

#[test]
fn accounts_round_trip() {
    let config = PlateauConfig { patience: 0, ..PlateauConfig::default() };
    let mut plateau = Plateau::default();
    for loss in [0.1_f64.next_up(), 0.3, 0.2] {
        plateau.observe(&config, loss);
        assert_eq!(through_json(&plateau), plateau);
    }
    let guard = Guard { skipped: 3, in_a_row: 2 };
    assert_eq!(through_json(&guard), guard);
}

proptest! {
    #[test]
    fn drawn_optimizers_round_trip_and_go_on(config in optimizers(), n in 0_usize..40, seed in any::<u64>()) {
        prop_assert_eq!(through_json(&config), config);
        assert_same_bits("params", &run(config, n, seed, true), &run(config, n, seed, false));
    }

    #[test]
    fn drawn_schedules_round_trip(schedule in schedules()) {
        prop_assert_eq!(through_json(&schedule), schedule);
    }
}
