//! Optimizers and schedules with drawn options.

use optim::{
    AdagradConfig, AdamConfig, AdamWConfig, AmsGradConfig, Anneal, DecayKind, LambConfig,
    LionConfig, NAdamConfig, OptimizerConfig, PlateauConfig, RAdamConfig, RmsPropConfig, Schedule,
    ScheduleFreeAdamWConfig, SgdConfig, YogiConfig,
};
use proptest::prelude::*;

/// What options are drawn from.
pub(crate) type Drawn = (f32, f32, f32, f32, bool, DecayKind, f32);

/// Every optimizer with drawn options.
pub(crate) fn optimizers() -> impl Strategy<Value = OptimizerConfig> {
    let rate = || prop_oneof![Just(0.0_f32), 0.01_f32..0.999];
    let decay = prop_oneof![Just(DecayKind::L2), Just(DecayKind::Decoupled)];
    let options = (rate(), rate(), 1e-10_f32..1e-2, rate(), any::<bool>(), decay, rate());
    (0..OptimizerConfig::NAMES.len(), options)
        .prop_map(|(which, options)| with_options(OptimizerConfig::NAMES[which], options))
}

/// The optimizer of that name with these options.
pub(crate) fn with_options(name: &str, options: Drawn) -> OptimizerConfig {
    let (beta1, beta2, eps, weight_decay, flag, decay, other) = options;
    let bias_correction = flag;
    let momentum = beta1;
    let (beta1, beta2) = (f64::from(beta1), f64::from(beta2));
    match name.parse().unwrap() {
        OptimizerConfig::Sgd(_) => {
            let nesterov = flag && momentum > 0.0;
            let dampening = if nesterov { 0.0 } else { other };
            OptimizerConfig::Sgd(SgdConfig { momentum, dampening, nesterov, weight_decay })
        }
        OptimizerConfig::Adam(_) => {
            OptimizerConfig::Adam(AdamConfig { beta1, beta2, eps, weight_decay, bias_correction })
        }
        OptimizerConfig::AmsGrad(_) => {
            OptimizerConfig::AmsGrad(AmsGradConfig { beta1, beta2, eps, weight_decay, decay })
        }
        OptimizerConfig::AdamW(_) => {
            OptimizerConfig::AdamW(AdamWConfig { beta1, beta2, eps, weight_decay })
        }
        OptimizerConfig::NAdam(_) => OptimizerConfig::NAdam(NAdamConfig {
            beta1,
            beta2,
            eps,
            momentum_decay: other,
            weight_decay,
            decay,
        }),
        OptimizerConfig::RAdam(_) => {
            OptimizerConfig::RAdam(RAdamConfig { beta1, beta2, eps, weight_decay, decay })
        }
        OptimizerConfig::Adagrad(_) => OptimizerConfig::Adagrad(AdagradConfig {
            lr_decay: momentum,
            eps,
            weight_decay,
            initial_accumulator: other,
        }),
        OptimizerConfig::RmsProp(_) => OptimizerConfig::RmsProp(RmsPropConfig {
            alpha: beta2,
            eps,
            momentum,
            centered: flag,
            weight_decay,
        }),
        OptimizerConfig::Yogi(_) => OptimizerConfig::Yogi(YogiConfig {
            beta1,
            beta2,
            eps,
            weight_decay,
            decay,
            initial_accumulator: other,
            bias_correction,
        }),
        OptimizerConfig::Lion(_) => {
            OptimizerConfig::Lion(LionConfig { beta1, beta2, weight_decay })
        }
        OptimizerConfig::Lamb(_) => {
            OptimizerConfig::Lamb(LambConfig { beta1, beta2, eps, weight_decay })
        }
        OptimizerConfig::ScheduleFreeAdamW(free) => {
            OptimizerConfig::ScheduleFreeAdamW(ScheduleFreeAdamWConfig {
                beta1: beta1.max(0.1),
                beta2,
                eps,
                weight_decay,
                warmup_steps: u64::from(flag) * 5,
                r: other,
                ..free
            })
        }
        _ => panic!("no options are drawn for {name}: add it here, so that the laws see it"),
    }
}

pub(crate) fn schedules() -> impl Strategy<Value = Schedule> {
    let share = || prop_oneof![Just(0.0_f32), Just(1.0), 0.0_f32..1.0];
    prop_oneof![
        Just(Schedule::Constant),
        share().prop_map(|warmup| Schedule::LinearWarmup { warmup }),
        (share(), share()).prop_map(|(warmup, min_ratio)| Schedule::Cosine { warmup, min_ratio }),
        (1_u32..9, 1_u32..5, share(), share()).prop_map(
            |(cycles, cycle_mult, warmup, min_ratio)| Schedule::CosineRestarts {
                cycles,
                cycle_mult,
                warmup,
                min_ratio,
            }
        ),
        (0.1_f32..4.0, share()).prop_map(|(power, warmup)| Schedule::Polynomial { power, warmup }),
        (share(), 1.0_f32..50.0, 1.0_f32..1e5, any::<bool>()).prop_map(
            |(pct_start, div_factor, final_div_factor, linear)| Schedule::OneCycle {
                pct_start,
                div_factor,
                final_div_factor,
                anneal: if linear { Anneal::Linear } else { Anneal::Cosine },
            }
        ),
        Just(Schedule::ReduceOnPlateau(PlateauConfig::default())),
        (1_u64..1000, 1e-6_f32..=1.0).prop_map(|(every, gamma)| Schedule::Step { every, gamma }),
        (1e-30_f32..=1.0).prop_map(|final_ratio| Schedule::Exponential { final_ratio }),
    ]
}

#[test]
fn options_are_drawn_for_every_name() {
    for name in OptimizerConfig::NAMES {
        let config = with_options(name, (0.5, 0.5, 1e-3, 0.5, true, DecayKind::L2, 0.5));
        assert_eq!(config.name(), *name);
        config.validate().unwrap();
        assert_ne!(config, name.parse().unwrap(), "{name}: the draw changes nothing");
    }
}
