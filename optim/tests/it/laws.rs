//! Laws that hold for all options and all gradients.

use optim::{
    AdamConfig, AdamWConfig, OptimizerConfig, Schedule, SgdConfig, clip_by_global_norm, global_norm,
};
use proptest::prelude::*;
use testkit::{assert_same_bits, sequence};

fn optimizers() -> impl Strategy<Value = OptimizerConfig> {
    let rate = || prop_oneof![Just(0.0_f32), 0.01_f32..0.999];
    let sgd = (rate(), rate(), any::<bool>(), rate()).prop_map(
        |(momentum, dampening, nesterov, weight_decay)| {
            let nesterov = nesterov && momentum > 0.0;
            let dampening = if nesterov { 0.0 } else { dampening };
            OptimizerConfig::Sgd(SgdConfig { momentum, dampening, nesterov, weight_decay })
        },
    );
    let options = || (rate(), rate(), 1e-10_f32..1e-2, rate());
    let adam = options().prop_map(|(beta1, beta2, eps, weight_decay)| {
        OptimizerConfig::Adam(AdamConfig { beta1, beta2, eps, weight_decay })
    });
    let adamw = options().prop_map(|(beta1, beta2, eps, weight_decay)| {
        OptimizerConfig::AdamW(AdamWConfig { beta1, beta2, eps, weight_decay })
    });
    prop_oneof![sgd, adam, adamw]
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let share = || prop_oneof![Just(0.0_f32), Just(1.0), 0.0_f32..1.0];
    prop_oneof![
        Just(Schedule::Constant),
        share().prop_map(|warmup| Schedule::LinearWarmup { warmup }),
        (share(), share()).prop_map(|(warmup, min_ratio)| Schedule::Cosine { warmup, min_ratio }),
        (1_u64..1000, 1e-6_f32..=1.0).prop_map(|(every, gamma)| Schedule::Step { every, gamma }),
        (1e-30_f32..=1.0).prop_map(|final_ratio| Schedule::Exponential { final_ratio }),
    ]
}

/// Magnitudes from 1e-15 to 1e15, both signs, zeros between.
fn gradients() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        Just(0.0_f32),
        (-1.0_f32..1.0, -15_i32..15).prop_map(|(m, e)| m * 10.0_f32.powi(e))
    ];
    prop::collection::vec(value, 0..200)
}

proptest! {
    #[test]
    fn resumed_equals_uninterrupted(
        config in optimizers(),
        n_params in 0_usize..40,
        stop in 0_u64..12,
        seed in any::<u64>(),
    ) {
        let start = sequence(seed, n_params);
        let run = |stop: u64| {
            let mut params = start.clone();
            let mut optimizer = config.build(n_params).unwrap();
            for step in 0..12 {
                if step == stop {
                    let state = optimizer.state();
                    prop_assert_eq!(state.step, step);
                    prop_assert_eq!(&state.optimizer, config.name());
                    optimizer = config.build(n_params).unwrap();
                    optimizer.load_state(&state).unwrap();
                    prop_assert_eq!(optimizer.state(), state);
                }
                let grads = sequence(seed.wrapping_add(step + 1), n_params);
                optimizer.step(&mut params, &grads, 0.01);
            }
            Ok(params)
        };
        assert_same_bits("params", &run(stop)?, &run(u64::MAX)?);
    }

    #[test]
    fn a_step_treats_each_parameter_alone(
        config in optimizers(),
        n_params in 1_usize..40,
        seed in any::<u64>(),
    ) {
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
        if step >= total && !matches!(schedule, Schedule::Step { .. }) {
            prop_assert_eq!(factor.to_bits(), schedule.factor(total, total).to_bits());
        }
    }

    #[test]
    fn optimizers_round_trip(config in optimizers()) {
        let json = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(serde_json::from_str::<OptimizerConfig>(&json).unwrap(), config);
    }

    #[test]
    fn schedules_round_trip(schedule in schedules()) {
        let json = serde_json::to_string(&schedule).unwrap();
        prop_assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    }
}
