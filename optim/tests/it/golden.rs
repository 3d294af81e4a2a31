//! Comparison with `torch`; the files are written by `tests/golden/make_golden.py`.

use optim::{AdamConfig, AdamWConfig, OptimizerConfig, Schedule, SgdConfig};
use testkit::{assert_close, golden};

const LR: f32 = 0.01;

/// The options of `CASES` in `make_golden.py`.
fn cases() -> Vec<(&'static str, OptimizerConfig)> {
    let sgd = SgdConfig::default();
    let adam = AdamConfig::default();
    let adamw = AdamWConfig::default();
    let sgds = [
        ("sgd", sgd),
        ("sgd_decay", SgdConfig { weight_decay: 0.1, ..sgd }),
        ("sgd_momentum", SgdConfig { momentum: 0.9, ..sgd }),
        ("sgd_dampening", SgdConfig { momentum: 0.9, dampening: 0.5, ..sgd }),
        ("sgd_nesterov", SgdConfig { momentum: 0.8, nesterov: true, ..sgd }),
        ("sgd_all", SgdConfig { momentum: 0.7, dampening: 0.3, weight_decay: 0.05, ..sgd }),
        (
            "sgd_nesterov_decay",
            SgdConfig { momentum: 0.9, nesterov: true, weight_decay: 0.05, ..sgd },
        ),
    ];
    let adams = [
        ("adam", adam),
        ("adam_decay", AdamConfig { weight_decay: 0.1, ..adam }),
        ("adam_betas", AdamConfig { beta1: 0.5, beta2: 0.9, eps: 1e-3, ..adam }),
        ("adam_no_momentum", AdamConfig { beta1: 0.0, beta2: 0.99, ..adam }),
    ];
    let adamws = [
        ("adamw", adamw),
        ("adamw_no_decay", AdamWConfig { weight_decay: 0.0, ..adamw }),
        ("adamw_all", AdamWConfig { beta1: 0.8, beta2: 0.95, eps: 1e-6, weight_decay: 0.3 }),
    ];
    let sgds = sgds.map(|(name, config)| (name, OptimizerConfig::Sgd(config)));
    let adams = adams.map(|(name, config)| (name, OptimizerConfig::Adam(config)));
    let adamws = adamws.map(|(name, config)| (name, OptimizerConfig::AdamW(config)));
    sgds.into_iter().chain(adams).chain(adamws).collect()
}

#[test]
fn ten_steps_of_every_optimizer() {
    let tensors = golden("tests/golden/optimizers.safetensors");
    let mut compared = 0;
    for (case, config) in cases() {
        for shape in ["vector", "matrix", "cube"] {
            let expected = &tensors[&format!("{case}/{shape}/params")];
            let grads = &tensors[&format!("{shape}/grads")];
            let n_params = expected.values.len() / expected.shape[0];
            let mut rows = expected.values.chunks(n_params);
            let mut params = rows.next().unwrap().to_vec();
            let mut optimizer = config.build(n_params).unwrap();
            for (step, (row, g)) in rows.zip(grads.values.chunks(n_params)).enumerate() {
                optimizer.step(&mut params, g, LR);
                // The gradients of 1e-20 move SGD's parameters by 1e-22 and Adam's by 1e-14. With
                // an L2 penalty Adam then divides a penalty of that size by eps and overshoots
                // zero: the rounding of the first steps grows with it.
                let rel_tol = if case == "adam_decay" { 1e-5 } else { 1e-6 };
                let name = format!("{case}, {shape}, step {}", step + 1);
                assert_close(&name, &params, row, rel_tol, 1e-30);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 14 * 3 * 10);
}

#[test]
fn every_case_of_the_file_is_compared() {
    let tensors = golden("tests/golden/optimizers.safetensors");
    let names: Vec<_> = cases().into_iter().map(|(name, _)| name).collect();
    for key in tensors.keys().filter(|key| key.ends_with("/params")) {
        assert!(names.contains(&key.split('/').next().unwrap()), "{key}");
    }
}

#[test]
fn every_schedule() {
    let tensors = golden("tests/golden/schedules.safetensors");
    let cases = [
        ("constant", Schedule::Constant),
        ("warmup_linear", Schedule::LinearWarmup { warmup: 0.2 }),
        ("warmup_lambda", Schedule::LinearWarmup { warmup: 0.2 }),
        ("cosine", Schedule::Cosine { warmup: 0.0, min_ratio: 0.0 }),
        ("cosine_floor", Schedule::Cosine { warmup: 0.0, min_ratio: 0.25 }),
        ("cosine_warmup", Schedule::Cosine { warmup: 0.2, min_ratio: 0.1 }),
        ("step", Schedule::Step { every: 7, gamma: 0.5 }),
        ("exponential_per_step", Schedule::Step { every: 1, gamma: 0.9 }),
        ("exponential", Schedule::Exponential { final_ratio: 0.01 }),
    ];
    assert_eq!(tensors.len(), cases.len());
    for (name, schedule) in cases {
        let expected = &tensors[name].values;
        assert_eq!(expected.len(), 41, "{name}");
        let actual: Vec<f32> = (0..41).map(|step| schedule.factor(step, 40) as f32).collect();
        assert_close(name, &actual, expected, 2e-6, 1e-7);
    }
}
