//! Sanity of convergence: `Σ c_i·(p_i − t_i)²/2` with curvatures from 0.1 to 10.

use optim::{AdamConfig, AdamWConfig, OptimizerConfig, Schedule, SgdConfig};
use testkit::assert_close;

const CURVATURES: [f32; 4] = [0.1, 1.0, 3.0, 10.0];
const TARGETS: [f32; 4] = [1.0, -2.0, 0.5, 3.0];

/// The parameters after 2000 steps along a cosine.
fn minimise(config: OptimizerConfig, base_lr: f32) -> [f32; 4] {
    let schedule = Schedule::Cosine { warmup: 0.1, min_ratio: 0.0 };
    let mut params = [0.0; 4];
    let mut optimizer = config.build(params.len()).unwrap();
    for step in 0..2000 {
        let mut grads = [0.0; 4];
        for i in 0..4 {
            grads[i] = CURVATURES[i] * (params[i] - TARGETS[i]);
        }
        optimizer.step(&mut params, &grads, base_lr * schedule.factor(step, 2000) as f32);
    }
    params
}

#[test]
fn every_optimizer_finds_the_minimum() {
    let adamw = AdamWConfig { weight_decay: 0.0, ..AdamWConfig::default() };
    let cases = [
        (OptimizerConfig::Sgd(SgdConfig::default()), 0.1),
        (OptimizerConfig::Sgd(SgdConfig { momentum: 0.9, ..SgdConfig::default() }), 0.02),
        (
            OptimizerConfig::Sgd(SgdConfig {
                momentum: 0.9,
                nesterov: true,
                ..SgdConfig::default()
            }),
            0.02,
        ),
        (OptimizerConfig::Adam(AdamConfig::default()), 0.05),
        (OptimizerConfig::AdamW(adamw), 0.05),
    ];
    for (config, lr) in cases {
        assert_close(config.name(), &minimise(config, lr), &TARGETS, 1e-3, 0.0);
    }
}

#[test]
fn weight_decay_pulls_towards_zero() {
    // The minimum of c·(p − t)²/2 + w·p²/2 is c·t/(c + w).
    let decayed = OptimizerConfig::Sgd(SgdConfig { weight_decay: 0.5, ..SgdConfig::default() });
    let mut expected = [0.0; 4];
    for i in 0..4 {
        expected[i] = CURVATURES[i] * TARGETS[i] / (CURVATURES[i] + 0.5);
    }
    assert_close("sgd", &minimise(decayed, 0.1), &expected, 1e-3, 0.0);
}
