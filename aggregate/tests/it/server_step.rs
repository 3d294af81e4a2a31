//! The server step against its formula over many rounds, and its state between them.

use std::path::PathBuf;

use aggregate::{
    Dtype, Error, Options, ServerStep, TargetError, TensorData, TensorRef, Update, WeightFile,
};
use half::f16;

use crate::support::{Folder, f32_tensor, keep_going, raw_tensor, values, with};

const MOMENTUM: ServerStep = ServerStep::Sgd { lr: 0.5, momentum: 0.9, nesterov: false };

/// Options for rounds that replace the file `out` and the file `state`.
fn in_place(folder: &Folder, server: ServerStep) -> Options {
    let (base, state) = (folder.path("out"), folder.path("state"));
    let (state_in, state_out) = (Some(state.clone()), Some(state));
    let options = Options { base: Some(base), state_in, state_out, ..keep_going() };
    with(&options, |r| r.server = server)
}

fn save_model(folder: &Folder, name: &str, single: &[f32], double: &[f64], count: i64) -> PathBuf {
    let halves: Vec<u8> = single.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    folder.save(
        name,
        &[
            f32_tensor("single", &[single.len()], single),
            TensorRef { name: "double", shape: &[double.len()], data: TensorData::F64(double) },
            raw_tensor("half", &[single.len()], Dtype::F16, &halves),
            TensorRef { name: "count", shape: &[], data: TensorData::I64(&[count]) },
        ],
    )
}

/// `v ← βv + (x − mean)`, `x ← x − ηv`, or `x − η(x − mean + βv)`.
fn formula(x: &mut [f64], v: &mut [f64], mean: &[f64], (lr, beta): (f64, f64), nesterov: bool) {
    for ((x, v), mean) in x.iter_mut().zip(v).zip(mean) {
        let g = *x - mean;
        *v = beta * *v + g;
        *x -= lr * if nesterov { g + beta * *v } else { *v };
    }
}

fn close(name: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance, "{name}: {a} is not {b}");
    }
}

#[test]
fn eight_rounds_of_momentum_follow_the_formula() {
    for (lr, momentum, nesterov) in [(0.5, 0.9, false), (0.3, 0.8, true), (0.7, 0.0, false)] {
        let folder = Folder::new();
        let (lr32, momentum32) = (lr as f32, momentum as f32);
        let step = ServerStep::Sgd { lr: lr32, momentum: momentum32, nesterov };
        let start: Vec<f32> = testkit::sequence(1, 40);
        let wide: Vec<f64> = start.iter().map(|&v| 1e6 + f64::from(v)).collect();
        save_model(&folder, "out", &start, &wide, 0);
        let mut single: Vec<f64> = start.iter().map(|&v| v.into()).collect();
        let mut double = wide.clone();
        let (mut v_single, mut v_double) = (vec![0.0; 40], vec![0.0; 40]);
        for round in 1..=8 {
            let mut updates = Vec::new();
            let (mut mean, mut mean_wide) = (vec![0.0; 40], vec![0.0; 40]);
            for node in 0..3u64 {
                let local = testkit::sequence(100 * round + node, 40);
                let wide: Vec<f64> = local.iter().map(|&v| 1e6 + f64::from(v)).collect();
                let weight = [1.0, 2.0, 5.0][node as usize];
                for j in 0..40 {
                    mean[j] += weight / 8.0 * f64::from(local[j]);
                    mean_wide[j] += weight / 8.0 * wide[j];
                }
                let path =
                    save_model(&folder, &format!("n{node}"), &local, &wide, round.cast_signed());
                updates.push(Update::new(path, weight));
            }
            let report = folder.merge(&updates, &in_place(&folder, step)).unwrap();
            let options = (f64::from(lr32), f64::from(momentum32));
            formula(&mut single, &mut v_single, &mean, options, nesterov);
            formula(&mut double, &mut v_double, &mean_wide, options, nesterov);
            let out = folder.path("out");
            close("single", &values(&out, "single"), &single, 1e-5);
            close("half", &values(&out, "half"), &single, 1e-2);
            // The movement is as precise as f32, the sum as f64: at 1e6, f32 would be off by 0.03.
            close("double", &values(&out, "double"), &double, 1e-5);
            assert_eq!(values(&out, "count"), [round as f64], "integers are replaced");
            assert_eq!(report.summary.step, (momentum > 0.0).then_some(round));
            if momentum > 0.0 {
                close(
                    "state",
                    &values(&folder.path("state"), "single.momentum_buffer"),
                    &v_single,
                    1e-5,
                );
            }
        }
        if momentum > 0.0 {
            let state = WeightFile::open(folder.path("state")).unwrap();
            let names: Vec<_> = state.tensors().iter().map(|t| t.name.as_str()).collect();
            let slots = ["double", "half", "single"].map(|name| format!("{name}.momentum_buffer"));
            assert_eq!(names, slots);
            assert!(state.tensors().iter().all(|t| t.dtype == Dtype::F32));
            let note = &state.metadata()["sidecar"];
            assert!(note.starts_with(r#"{"kind":"server","version":1,"note":{"#), "{note}");
            let model = aggregate::hash_file(folder.path("out")).unwrap();
            assert!(note.contains(&format!("\"model\":\"{model}\"")), "{note}");
            assert!(note.contains("\"step\":8"), "{note}");
        } else {
            assert!(!folder.path("state").exists());
        }
    }
}

#[test]
fn sgd_at_rate_one_is_replace() {
    let folder = Folder::new();
    let numbers = |seed| testkit::sequence(seed, 50);
    folder.save_f32("out", &numbers(1));
    let updates = [
        Update::new(folder.save_f32("a", &numbers(2)), 3.0),
        Update::new(folder.save_f32("b", &numbers(3)), 4.0),
    ];
    let sgd = ServerStep::Sgd { lr: 1.0, momentum: 0.0, nesterov: false };
    let replaced = folder.merge(&updates, &keep_going()).unwrap();
    folder.save_f32("out", &numbers(1));
    let stepped = folder.merge(&updates, &in_place(&folder, sgd)).unwrap();
    assert_eq!(replaced.out_hash, stepped.out_hash);
    assert!(!folder.path("state").exists());
}

#[test]
fn options_are_checked_before_anything_is_read() {
    let folder = Folder::new();
    let update = [Update::new(folder.path("not read"), 1.0)];
    let fail = |server, options: Options| {
        folder.merge(&update, &with(&options, |r| r.server = server)).unwrap_err()
    };
    let sgd = |lr, momentum, nesterov| ServerStep::Sgd { lr, momentum, nesterov };
    for lr in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(matches!(fail(sgd(lr, 0.0, false), keep_going()), Error::LearningRate { .. }));
    }
    for bad in [sgd(1.0, 1.0, false), sgd(1.0, f32::NAN, false), sgd(1.0, 0.0, true)] {
        assert!(matches!(fail(bad, keep_going()), Error::Optimizer { .. }));
    }
    let text = fail(sgd(0.5, 0.0, false), keep_going()).to_string();
    assert_eq!(text, "sgd moves a base file; name the file the nodes started from");
    assert!(matches!(fail(MOMENTUM, keep_going()), Error::StateNeeded { .. }));
    let same = Options { state_out: Some(folder.path("out")), ..keep_going() };
    assert!(matches!(fail(MOMENTUM, same), Error::Target(TargetError::SameTarget { .. })));
    let nowhere = Options { state_out: Some(folder.path("none/state")), ..keep_going() };
    assert!(matches!(fail(MOMENTUM, nowhere), Error::Target(TargetError::NoFolder { .. })));
}

#[test]
fn a_state_of_another_model_is_refused() {
    let folder = Folder::new();
    folder.save_f32("out", &[0.0]);
    let updates = [Update::new(folder.save_f32("a", &[1.0]), 1.0)];
    let options = in_place(&folder, MOMENTUM);
    let merge = || folder.merge(&updates, &options);
    let base_bytes = std::fs::read(folder.path("out")).unwrap();
    merge().unwrap();
    let (model, state) =
        (std::fs::read(folder.path("out")).unwrap(), std::fs::read(folder.path("state")).unwrap());

    // As after a power cut between the two names: the new state beside the old model.
    folder.save_bytes("out", &base_bytes);
    let error = merge().unwrap_err();
    assert!(matches!(error, Error::StateModel { .. }));
    let text = error.to_string();
    assert!(text.contains("delete the state to start afresh"), "{text}");
    assert_eq!(std::fs::read(folder.path("out")).unwrap(), base_bytes);
    assert_eq!(std::fs::read(folder.path("state")).unwrap(), state);

    // Doing as the message says gives the same round again.
    std::fs::remove_file(folder.path("state")).unwrap();
    merge().unwrap();
    assert_eq!(std::fs::read(folder.path("out")).unwrap(), model);
    assert_eq!(std::fs::read(folder.path("state")).unwrap(), state);
    assert_eq!(folder.list(), ["a", "out", "state"]);
}

#[test]
fn what_is_no_state_is_refused() {
    let folder = Folder::new();
    let base = folder.save_f32("out", &[0.0, 0.0]);
    let hash = aggregate::hash_file(base).unwrap();
    let updates = [Update::new(folder.save_f32("a", &[1.0, 1.0]), 1.0)];
    let refuse = |optimizer: &str, tensor: TensorRef<'_>, key: &str, expected: &str| {
        let note = format!(
            r#"{{"optimizer":"{optimizer}","server_step":{{"name":"sgd"}},"step":1,"model":"{hash}"}}"#
        );
        let metadata = [(key.to_owned(), note)].into();
        aggregate::write_file(folder.path("state"), &[tensor], &metadata).unwrap();
        let text = folder.merge(&updates, &in_place(&folder, MOMENTUM)).unwrap_err().to_string();
        assert!(text.contains(expected) && text.contains("state"), "{text}");
        assert_eq!(folder.merged(), [0.0, 0.0]);
    };
    let good = f32_tensor("w.momentum_buffer", &[2], &[0.0, 0.0]);
    refuse("sgd", good, "other", "its metadata has no key \"sidecar\"");
    refuse("adam", good, "aggregate", "it is one of \"adam\", not of \"sgd\"");
    refuse(
        "sgd",
        f32_tensor("w.momentum_buffer", &[1], &[0.0]),
        "aggregate",
        "has shape [1], expected [2]",
    );
    refuse("sgd", f32_tensor("v", &[2], &[0.0; 2]), "aggregate", "\"v\" is not expected");
    let nan = f32_tensor("w.momentum_buffer", &[2], &[0.0, f32::NAN]);
    refuse("sgd", nan, "aggregate", "not finite at element 1");
    folder.save_bytes("state", b"garbage!");
    let error = folder.merge(&updates, &in_place(&folder, MOMENTUM)).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
}

/// What builds wrote before there were sidecars goes on to the same bits.
#[test]
fn a_state_of_an_earlier_build_is_read() {
    let folder = Folder::new();
    folder.save_f32("out", &[0.0, 8.0]);
    let updates = [Update::new(folder.save_f32("a", &[1.0, 2.0]), 1.0)];
    let merge = || folder.merge(&updates, &in_place(&folder, MOMENTUM)).unwrap();
    merge();
    let file = WeightFile::open(folder.path("state")).unwrap();
    let kept = file.read_f32("w.momentum_buffer").unwrap();
    let record = &file.metadata()["sidecar"];
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    let model = std::fs::read(folder.path("out")).unwrap();
    merge();
    let expected = std::fs::read(folder.path("out")).unwrap();

    folder.save_bytes("out", &model);
    let metadata = [("aggregate".to_owned(), record["note"].to_string())].into();
    let tensor = f32_tensor("w.momentum_buffer", &[2], &kept);
    aggregate::write_file(folder.path("state"), &[tensor], &metadata).unwrap();
    assert_eq!(merge().summary.step, Some(2));
    assert_eq!(std::fs::read(folder.path("out")).unwrap(), expected);
}

#[test]
fn steps_that_leave_the_numbers_are_errors() {
    let folder = Folder::new();
    let half = |v: f32| f16::from_f32(v).to_le_bytes();
    let updates = [Update::new(folder.save_raw("a", Dtype::F16, &half(60_000.0)), 1.0)];
    folder.save_raw("out", Dtype::F16, &half(-60_000.0));
    let double = ServerStep::Sgd { lr: 2.0, momentum: 0.0, nesterov: false };
    let text = folder.merge(&updates, &in_place(&folder, double)).unwrap_err().to_string();
    let expected = "the merge takes tensor \"w\" out of the range of F16 at element 0; \
                    lower the learning rate, leave out an update that moved far, or write a wider dtype";
    assert_eq!(text, expected);
    assert_eq!(folder.merged(), [-59_968.0 - 32.0], "the base is untouched");

    folder.save_raw("out", Dtype::F16, &half(f32::NAN));
    let text = folder.merge(&updates, &in_place(&folder, double)).unwrap_err().to_string();
    assert!(text.contains("out is not finite at element 0"), "{text}");
    // Replacing does not look at the base's values.
    folder.merge(&updates, &in_place(&folder, ServerStep::Replace)).unwrap();
    assert_eq!(folder.list(), ["a", "out"]);
}

#[test]
fn configuration_files_spell_it_strictly() {
    let parse = serde_json::from_str::<ServerStep>;
    assert_eq!(parse(r#"{"name":"replace"}"#).unwrap(), ServerStep::Replace);
    let json = serde_json::to_string(&MOMENTUM).unwrap();
    assert_eq!(json, r#"{"name":"sgd","lr":0.5,"momentum":0.9,"nesterov":false}"#);
    assert_eq!(parse(&json).unwrap(), MOMENTUM);
    for bad in [
        r#"{"name":"replace","lr":1}"#,
        r#"{"name":"sgd","beta":1}"#,
        r#"{"name":"SGD"}"#,
        r#"{"lr":1}"#,
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert!(serde_json::from_str::<aggregate::Reducer>(r#"{"name":"mean","b":1}"#).is_err());
}
