//! Laws that hold for all options and all gradients.

use optim::{
    AdamConfig, AdamWConfig, GroupConfig, LionConfig, Optimizer, OptimizerConfig, ParamGroups,
    Plateau, PlateauConfig, Schedule, clip_by_global_norm, global_norm,
};
use proptest::prelude::*;
use testkit::{assert_same_bits, sequence};

use crate::drawn::{optimizers, schedules};

/// Magnitudes from 1e-15 to 1e15, both signs, zeros between.
fn gradients() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        Just(0.0_f32),
        (-1.0_f32..1.0, -15_i32..15).prop_map(|(m, e)| m * 10.0_f32.powi(e))
    ];
    prop::collection::vec(value, 0..200)
}

/// A run of some steps with a schedule, which at `stop` goes on from what was saved.
fn run(
    config: OptimizerConfig,
    schedule: Schedule,
    groups: &ParamGroups,
    seed: u64,
    stop: u64,
) -> Vec<f32> {
    const STEPS: u64 = 12;
    let eager = PlateauConfig { patience: 1, ..PlateauConfig::default() };
    let mut params = sequence(seed, groups.n_params());
    let mut optimizer = config.build_for(groups).unwrap();
    let mut plateau = Plateau::default();
    for step in 0..STEPS {
        if step == stop {
            let state = optimizer.state();
            assert_eq!((state.step, state.optimizer.as_str()), (step, config.name()));
            optimizer = config.build_for(groups).unwrap();
            optimizer.load_state(&state).unwrap();
            assert_eq!(optimizer.state(), state);
        }
        let grads = sequence(seed.wrapping_add(step + 1), groups.n_params());
        let lr = 0.01 * plateau.ratio() * schedule.factor(step, STEPS);
        optimizer.step(&mut params, &grads, lr as f32);
        if matches!(schedule, Schedule::ReduceOnPlateau(_)) {
            plateau.observe(&eager, f64::from(params.first().copied().unwrap_or(0.0)).abs());
        }
    }
    optimizer.average(&mut params);
    params
}

/// Three tensors with a group of their own each, the last but one frozen.
fn groups(n: usize) -> ParamGroups {
    let tensors = [("a", n), ("b", n / 2), ("c", n / 3 + 1)];
    let a = GroupConfig { lr_scale: 0.5, weight_decay: Some(0.1), ..GroupConfig::new(&["a"]) };
    let b = GroupConfig { frozen: true, ..GroupConfig::new(&["b"]) };
    ParamGroups::by_name(&tensors, &[a, b], &[]).unwrap()
}

proptest! {
    #[test]
    fn resumed_equals_uninterrupted(
        config in optimizers(),
        schedule in schedules(),
        n in 0_usize..40,
        stop in 0_u64..12,
        seed in any::<u64>(),
    ) {
        for groups in [ParamGroups::whole(n), groups(n)] {
            let resumed = run(config, schedule, &groups, seed, stop);
            assert_same_bits("params", &resumed, &run(config, schedule, &groups, seed, u64::MAX));
        }
    }

    #[test]
    fn a_step_treats_each_parameter_alone(
        config in optimizers(),
        n_params in 1_usize..40,
        seed in any::<u64>(),
    ) {
        // LAMB's step is as long as all weights of a layer demand.
        prop_assume!(config.name() != "lamb");
        let start = sequence(seed, n_params);
        let mut whole = start.clone();
        let mut optimizer = config.build(n_params).unwrap();
        let last = n_params - 1;
        let mut alone = vec![start[last]];
        let mut single = config.build(1).unwrap();
        for step in 0..5 {
            let grads = sequence(seed.wrapping_add(step + 1), n_params);
            optimizer.step(&mut whole, &grads, 0.01);
            single.step(&mut alone, &grads[last..], 0.01);
        }
        assert_same_bits("last", &whole[last..], &alone);
    }

    #[test]
    fn groups_are_optimizers_of_their_own(
        config in optimizers(),
        n in 1_usize..40,
        seed in any::<u64>(),
    ) {
        let groups = groups(n);
        let start = sequence(seed, groups.n_params());
        let mut together = start.clone();
        let mut optimizer = config.build_for(&groups).unwrap();
        // The last tensor has no group: it is stepped as if it were alone.
        let from = n + n / 2;
        let mut alone = start[from..].to_vec();
        let mut single = config.build(alone.len()).unwrap();
        for step in 0..5 {
            let grads = sequence(seed.wrapping_add(step + 1), groups.n_params());
            optimizer.step(&mut together, &grads, 0.01);
            single.step(&mut alone, &grads[from..], 0.01);
        }
        assert_same_bits("no group", &together[from..], &alone);
        assert_same_bits("frozen", &together[n..from], &start[n..from]);
        optimizer.average(&mut together);
        assert_same_bits("frozen", &together[n..from], &start[n..from]);
    }

    #[test]
    fn clipping_keeps_the_direction_and_bounds_the_norm(
        grads in gradients(),
        max_norm in 1e-3_f32..1e3,
    ) {
        let mut clipped = grads.clone();
        let before = global_norm(&grads);
        let returned = clip_by_global_norm(&mut clipped, max_norm);
        prop_assert_eq!(returned.to_bits(), (before as f32).to_bits());

        let limit = f64::from(max_norm);
        if before + 1e-6 <= limit {
            assert_same_bits("unchanged", &clipped, &grads);
        } else {
            let after = global_norm(&clipped);
            prop_assert!(after <= limit * (1.0 + 1e-6), "{} > {}", after, limit);
            let share = limit / (before + 1e-6);
            for (&c, &g) in clipped.iter().zip(&grads) {
                let expected = f64::from(g) * share;
                let diff = (f64::from(c) - expected).abs();
                prop_assert!(diff <= 1e-6 * expected.abs() + 1e-44, "{} from {}", c, g);
            }
        }
        // What is within the limit stays as it is.
        let mut again = clipped.clone();
        clip_by_global_norm(&mut again, max_norm * 1.001);
        assert_same_bits("again", &again, &clipped);
    }

    #[test]
    fn factors_stay_in_range(
        schedule in schedules(),
        step in prop_oneof![0_u64..2000, any::<u64>()],
        total in prop_oneof![0_u64..1000, any::<u64>()],
    ) {
        schedule.validate().unwrap();
        let factor = schedule.factor(step, total);
        prop_assert!((0.0..=1.0).contains(&factor), "{}", factor);
        let ends = !matches!(schedule, Schedule::Step { .. });
        if step >= total && ends {
            prop_assert_eq!(factor.to_bits(), schedule.factor(total, total).to_bits());
        }
    }
}

#[test]
fn a_large_gradient_does_not_drown_the_next_small_one() {
    // Without momentum every step of Adam is lr along the sign, whatever came before.
    let adam = AdamConfig { beta1: 0.0, beta2: 0.0, ..AdamConfig::default() };
    let lion = LionConfig { beta1: 0.0, beta2: 0.0, ..LionConfig::default() };
    for config in [OptimizerConfig::Adam(adam), OptimizerConfig::Lion(lion)] {
        let mut optimizer = config.build(1).unwrap();
        let mut params = [0.5];
        for (gradient, expected) in [(1e8, 0.4), (1.0, 0.3), (-1e-4, 0.4)] {
            optimizer.step(&mut params, &[gradient], 0.1);
            testkit::assert_close(config.name(), &params, &[expected], 2e-4, 0.0);
        }
    }
}

#[test]
fn every_processor_gives_the_same_bits() {
    // What a step computes is what its formula says in plain f32, operation by operation.
    let (n, lr) = (1000, 0.01_f32);
    let mut params = sequence(1, n);
    let mut expected = params.clone();
    let (mut m, mut v) = (vec![0.0_f32; n], vec![0.0_f32; n]);
    let mut adamw = AdamWConfig::default().build(n).unwrap();
    for t in 1..=5 {
        let grads = sequence(1 + t, n);
        adamw.step(&mut params, &grads, lr);
        let correction = |beta: f64| 1.0 - beta.powf(t as f64);
        let step_size = (f64::from(lr) / correction(0.9)) as f32;
        let root_scale = (1.0 / correction(0.999).sqrt()) as f32;
        let keep = (1.0 - f64::from(lr) * f64::from(0.01_f32)) as f32;
        let weight = |beta: f64| (1.0 - beta) as f32;
        for i in 0..n {
            m[i] += weight(0.9) * (grads[i] - m[i]);
            v[i] = 0.999 * v[i] + weight(0.999) * grads[i] * grads[i];
            let root = root_scale * v[i].sqrt() + 1e-8;
            expected[i] = keep * expected[i] - step_size * m[i] / root;
        }
    }
    assert_same_bits("adamw", &params, &expected);
}
